"""The other side of the skew tests: runs in another environment, and does what it is told over a socket."""

import socket
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from conformance.comparison import Comparison
from conformance.table import LIBRARIES, table
from skew.mapped import mapped
from specimens import SPECIMENS, assert_same, registered

import oobcodec
from oobcodec.sockets import recv, send

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def _drawn(generator):
    return generator.integers(1 << 30, size=4).tolist()


# What is no golden message, because it depends on the platform or on the version of Python.
OTHERS = {
    "code": lambda: lambda x: x + 1,
    "long_doubles": lambda: [np.arange(200, dtype="g") / 3, np.longdouble(1) / 3, np.array([1j], "G")],
    "random_generators": lambda: [np.random.default_rng(5), np.random.Generator(np.random.MT19937(5))],
    "functions": lambda: [np.add, np.linalg.norm, np.random.default_rng, len, str.upper],
}
MEANING = {
    "code": lambda function: function(41),
    "long_doubles": lambda numbers: [repr(number) for number in numbers],
    "random_generators": lambda generators: [_drawn(generator) for generator in generators],
    "functions": lambda functions: [functions[0] is np.add, functions[1] is np.linalg.norm, *map(repr, functions)],
}
KNOWN = {*SPECIMENS, *OTHERS}
CASES = table()
MAKERS = {name: it.make for name, it in {**SPECIMENS, **CASES}.items()} | OTHERS
VERSIONS = {library: version(library) for library in LIBRARIES[1:] if find_spec(library)} | {"python": PYTHON}


def make(name):
    """Return the specimen of a name, or the case of a library and a name."""
    return MAKERS[name]()


def verdict(name, sock, sender):
    """Receive the object of that name from a sender with these versions, and say how it went."""
    try:
        got = recv(sock)
    except oobcodec.DecodeError as error:
        return f"refused: {error}"
    except Exception as error:  # noqa: BLE001  # whatever it is, the test is told
        return f"raised {type(error).__name__}: {error}"
    if name in MEANING:
        return "same" if MEANING[name](got) == MEANING[name](OTHERS[name]()) else f"another: {got!r}"
    if name in SPECIMENS:
        return _compared(got, SPECIMENS[name])
    case = CASES.get(name)
    lost = Comparison(got, (case.arrives or case.make)(), sent=False).lost if case else f"a {type(got)}, unknown here"
    if lost and any(not Comparison(got, want, sent=False).lost for want in mapped(name, sender)):
        return "mapped"
    return f"another: {lost}" if lost else "same"


def _compared(got, specimen):
    try:
        assert_same(got, specimen.arrives())
    except AssertionError as error:
        return f"another: {error}"
    return "same"


def main(port):
    with socket.create_connection(("127.0.0.1", port)) as sock, registered():
        send(sock, {"versions": VERSIONS, "known": {*MAKERS}})
        while True:
            try:
                order, name, versions = recv(sock)
            except EOFError:
                return
            send(sock, verdict(name, sock, versions) if order == "take" else make(name))


if __name__ == "__main__":
    main(int(sys.argv[1]))
