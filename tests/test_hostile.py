"""Messages made to do harm are refused, each in the words that it deserves, and nothing happens.

They are loaded in processes of their own, with little memory and little time each.
"""

import importlib
import json
import pickle
import pickletools
from functools import cache
from pathlib import Path

import pytest
from helpers import pickled, run_python
from hostile import court, make
from hostile.assembler import call, message, packed, put
from hostile.streams import GADGET

import oobcodec
from oobcodec.errors import LimitError, PolicyError

EXPECTED = json.loads(court.EXPECTED.read_text())
DATA, TRUSTED = EXPECTED["DATA"], EXPECTED["TRUSTED"]
HERE = Path(__file__).parent
MARKER = "oobcodec-was-here"
LIBRARIES = {
    "arrow": "pyarrow",
    "numpy": "numpy",
    "pandas": "pandas",
    "polars": "polars",
    "torch": "torch",
    "jax": "jax",
}
pytestmark = pytest.mark.timeout(600)  # one of the tests waits for all messages
PLAIN = [path for path in DATA if not path.startswith("large/")]
WRITTEN = frozenset(
    """
    ADDITEMS APPEND APPENDS BINBYTES BINBYTES8 BINFLOAT BINGET BININT BININT1 BININT2 BINUNICODE BINUNICODE8 BUILD
    BYTEARRAY8 EMPTY_DICT EMPTY_LIST EMPTY_SET EMPTY_TUPLE FRAME FROZENSET LONG1 LONG4 LONG_BINGET MARK MEMOIZE NEWFALSE
    NEWOBJ NEWOBJ_EX NEWTRUE NEXT_BUFFER NONE POP POP_MARK READONLY_BUFFER REDUCE SETITEM SETITEMS SHORT_BINBYTES
    SHORT_BINUNICODE STACK_GLOBAL STOP TUPLE TUPLE1 TUPLE2 TUPLE3
    """.split()  # noqa: SIM905  # a line for each would be a page
)
UNWRITTEN = [opcode for opcode in pickletools.opcodes if opcode.name not in WRITTEN]
# Not those with another message inside, which is opened, nor those that a guard refuses.
REFUSED_BY_NAME = [
    path
    for path, verdict in DATA.items()
    if verdict.get("message", "").startswith("refused global ") and not path.startswith("names/nested_")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def paths(folder):
    return court.located(folder / "messages")


@pytest.fixture(scope="module")
def verdicts(paths, folder):
    place = folder / "of all"
    place.mkdir()

    @cache
    def of(policy, *flags):
        return court.judged(policy, [paths[path] for path in EXPECTED[policy]], place, *flags)

    yield of
    assert list(place.iterdir()) == [], "a message has made a file"


def needed(path):
    subject, _, file = path.partition("/")
    library = LIBRARIES.get(file.partition("_")[0] if subject == "large" else subject)
    if library is not None:
        pytest.importorskip(library, reason=f"without {library}, its messages are refused for that")


@pytest.mark.parametrize("path", DATA)
def test_outcome(path, verdicts):
    needed(path)
    assert verdicts("DATA")[path] == DATA[path]


@pytest.mark.parametrize("path", TRUSTED)
def test_what_is_damaged_is_refused_from_trusted_peers_too(path, verdicts):
    assert verdicts("TRUSTED")[path] == TRUSTED[path]


def test_outcomes_do_not_depend_on_asserts(verdicts):
    assert verdicts("DATA", "-O") == verdicts("DATA")
    assert verdicts("TRUSTED", "-O") == verdicts("TRUSTED")


def test_there_are_many_and_they_are_small():
    assert len(PLAIN) >= 60
    assert max(path.stat().st_size for path in make.FOLDER.glob("*/*")) < 8 * 1024


def test_files_are_what_the_script_makes():
    files = {str(path.relative_to(make.FOLDER)): path.read_bytes() for path in make.FOLDER.glob("*/*")}
    assert files == make.small(), "python tests/hostile/make.py writes them"
    assert set(DATA) == {*files, *make.large()}, "expected.json has something to say of each"


def test_every_error_is_one_of_ours():
    for path, verdict in (*DATA.items(), *TRUSTED.items()):
        if "error" in verdict:
            assert issubclass(getattr(oobcodec, verdict["error"]), oobcodec.DecodeError), path


def test_texts_are_short_and_printable():
    # Whoever logs them is not to be led astray by what an attacker has put into a name.
    for path, verdict in DATA.items():
        text = verdict.get("message", "")
        assert len(text) < 1000, path
        assert text.isprintable(), path


class TestNothingHappens:
    def test_the_gadget_would_work(self, tmp_path):
        code = f"""
            import os, sys, oobcodec
            os.chdir(sys.argv[1])
            oobcodec.loads(open({str(make.FOLDER / "names" / "name_os_system.oob")!r}, "rb").read())
        """
        run_python(code, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [MARKER]

    def test_a_refused_name_imports_nothing(self, paths, tmp_path):
        code = """
            import sys
            import oobcodec
            oobcodec.loads(oobcodec.dumps([1]), policy=oobcodec.DATA)
            sys.path.insert(0, sys.argv[1])
            from hostile.judge import frames_of
            from pathlib import Path
            for path in sys.stdin.read().splitlines():
                frames = frames_of(Path(path))
                before = set(sys.modules)
                try:
                    oobcodec.loads(frames, policy=oobcodec.DATA)
                except oobcodec.PolicyError:
                    pass
                else:
                    raise SystemExit(f"{path} is loaded")
                new = set(sys.modules) - before
                if new:
                    raise SystemExit(f"{path} imports {sorted(new)}")
        """
        listed = "\n".join(str(paths[path]) for path in REFUSED_BY_NAME)
        run_python(code, HERE, stdin=listed.encode())

    def test_nothing_that_is_allowed_is_imported_before_all_names_are(self):
        code = """
            import sys
            import oobcodec
            frames = sys.stdin.buffer.read()
            before = set(sys.modules)
            try:
                oobcodec.loads(frames, policy=oobcodec.DATA)
            except oobcodec.PolicyError:
                print(sorted(name for name in set(sys.modules) - before if not name.startswith("oobcodec.")))
        """
        both = message([call("numpy:frombuffer", b"abc", "|u1"), call(*GADGET)])
        assert run_python(code, stdin=packed(both)).decode().strip() == "[]"


class TestOpcodes:
    """Of all opcodes there are, those that picklers of ours write are read, and no others."""

    @pytest.mark.parametrize("opcode", UNWRITTEN, ids=lambda opcode: opcode.name)
    def test_others_are_refused(self, opcode):
        stream = b"\x80\x05" + put(1) + put(2) + opcode.code.encode("latin-1") + bytes(64) + pickle.STOP
        with pytest.raises(oobcodec.DecodeError, match=rf"^the pickle stream has the opcode {ord(opcode.code):#04x}, "):
            oobcodec.loads(pickled(stream), policy=oobcodec.DATA)

    def test_bytes_that_are_no_opcode_are_refused(self):
        known = {opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
        for number in range(256):
            byte = bytes([number])
            if byte not in known:
                with pytest.raises(oobcodec.DecodeError, match=rf"opcode {number:#04x}, "):
                    oobcodec.loads(pickled(b"\x80\x05" + byte + pickle.STOP), policy=oobcodec.DATA)


class TestEscapes:
    """What can be named in a process with all libraries is what stands in the table, and no more."""

    def test_of_all_attributes_only_those_in_the_table_are_allowed(self):
        code = """
            import importlib, sys, warnings
            from contextlib import suppress
            warnings.simplefilter("ignore")  # of what is old and asked for its attributes
            import oobcodec
            from oobcodec.errors import PolicyError
            from oobcodec.names import WHERE
            from oobcodec.policy import Name
            for library in sys.argv[1:]:
                with suppress(ImportError):
                    importlib.import_module(library)
            oobcodec.dumps(object)

            def is_allowed(module, qualname):
                try:
                    oobcodec.DATA.check(Name(module, qualname))
                except PolicyError:
                    return False
                return True

            seen = 0
            for module, held in list(sys.modules.items()):
                exported = getattr(held, "__all__", ())
                exported = exported if isinstance(exported, list | tuple) else ()
                names = {name for name in (*dir(held), *exported) if isinstance(name, str)}
                for name in names:
                    seen += 1
                    if is_allowed(module, name):
                        assert f"{module}:{name}" in WHERE, (module, name)
                    for dotted in (f"{name}.__class__", f"{name}.__globals__", f"{name}.__init__", f".{name}"):
                        assert not is_allowed(module, dotted), (module, dotted)
                    for other in (f" {name}", f"{name} ", f"{name}\\0", f"{name}\\n", f"{name}:{name}"):
                        assert not is_allowed(module, other), (module, other)
            print(seen)
        """
        assert int(run_python(code, "scipy", "xarray", *LIBRARIES.values(), measured=False)) > 10_000

    def test_what_is_in_the_table_is_ours(self):
        names = importlib.import_module("oobcodec.names")
        for wire, guards in dict(names.WHERE).items():
            module, _, qualname = wire.partition(":")
            assert "." not in qualname, wire
            assert guards.startswith("oobcodec.guards."), wire
            assert oobcodec.DATA.check(oobcodec.policy.Name(module, qualname)) is None

    @pytest.mark.parametrize(
        "which",
        ["os:system", "builtins:eval", "builtins:getattr", "subprocess:Popen", "functools:partial", "os:path.join"],
    )
    def test_gadgets_cannot_be_allowed(self, which):
        with pytest.raises(PolicyError) as refused:
            oobcodec.DATA.allowing(which)
        assert (
            str(refused.value) == f"{which!r} would let a message run whatever it says; only policy=TRUSTED allows that"
        )

    def test_who_allows_a_name_allows_no_other(self):
        policy = oobcodec.DATA.allowing("collections:UserList", "tests.celsius")
        for which in ("collections:UserDict", "collections:UserList.copy", "tests:celsius", "os:system"):
            with pytest.raises(PolicyError, match=r"^refused global "):
                oobcodec.loads(message(call(which)), policy=policy)


class TestWords:
    """Texts of errors that the documentation promises."""

    def test_a_gadget(self):
        with pytest.raises(PolicyError) as refused:
            oobcodec.loads(message(call(*GADGET)), policy=oobcodec.DATA)
        assert str(refused.value) == (
            "refused global 'os.system' (policy DATA). To accept any class from this peer: policy=TRUSTED."
        )

    def test_another_name(self):
        with pytest.raises(PolicyError) as refused:
            oobcodec.loads(message(call("collections:UserList")), policy=oobcodec.DATA)
        assert str(refused.value) == (
            "refused global 'collections.UserList' (policy DATA). "
            'If you trust it: policy=DATA.allowing("collections:UserList"); '
            "to accept any class from this peer: policy=TRUSTED."
        )

    def test_the_remedy_works(self):
        frames = message(call("collections:UserList", [1, 2]))
        assert oobcodec.loads(frames, policy=oobcodec.DATA.allowing("collections:UserList")) == [1, 2]

    def test_a_limit(self):
        frames = make.FOLDER / "headers" / "frame_of_9_2_gib.frames"
        from hostile.judge import frames_of

        with pytest.raises(LimitError) as refused:
            oobcodec.loads(frames_of(frames), policy=oobcodec.DATA)
        assert str(refused.value) == (
            "frame 3 declares 9.2 GiB; limit max_total_bytes=4 GiB. Raise it with Limits(max_total_bytes=...)."
        )

    def test_no_signature(self):
        keyring = oobcodec.Keyring({"a": bytes(32)}, sign_with="a")
        with pytest.raises(oobcodec.AuthenticationError) as refused:
            oobcodec.loads(oobcodec.dumps(1), keyring=keyring)
        assert str(refused.value) == "frames are unsigned but keyring= was given."
