"""What several files of tests need."""

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import msgpack

import oobcodec
from oobcodec.header import decode

KIB = 1024


def roundtrip(obj, **options):
    """Return what arrives of an object."""
    return oobcodec.loads(oobcodec.dumps(obj), **options)


def head(frames):
    """Return the header of a message."""
    return decode(bytes(frames[0]))


def packed_length(lengths):
    """Return the length of the packed form, computed in another way than oobcodec does."""
    *body, last = lengths
    return sum((length + 63) // 64 * 64 for length in body) + last


def first_frame(fields, **prelude):
    """Return ``frames[0]`` with any fields and any prelude, made without oobcodec."""
    body = fields if isinstance(fields, bytes) else msgpack.packb(fields)
    size = 24 + len(body)
    try:
        packed = packed_length([size, *fields[2]])
    except (LookupError, TypeError):
        packed = size
    if not isinstance(packed, int) or not 0 <= packed < 2**64:
        packed = size
    values = {"magic": b"OOB", "version": 1, "flags": 0, "auth": 0, "header": len(body), "packed": packed, **prelude}
    numbers = [("version", 1), ("flags", 2), ("auth", 2), ("header", 8), ("packed", 8)]
    return values["magic"] + b"".join(values[name].to_bytes(n, "little") for name, n in numbers) + body


def pickled(stream, buffers=(), tag="pickle"):
    """Return a message with a given pickle stream, made without oobcodec."""
    streams = stream if isinstance(stream, list) else [stream]
    frames = [*streams, *buffers]
    places = [[1 + len(streams) + i, 0, len(buffer), True] for i, buffer in enumerate(buffers)]
    fields = [tag, None, [len(frame) for frame in frames], len(streams), None, None, places]
    return [memoryview(frame) for frame in (first_frame(fields), *frames)]


def run_python(code, *arguments, stdin=b"", measured=True):
    """Run a script in a second process and return what it prints, as bytes."""
    environment = {name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE")}
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**environment, "PYTHONPATH": path},
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def write_module(folder, name, source):
    """Write a module, in a package if its name has a dot."""
    *packages, module = name.split(".")
    for package in packages:
        folder = folder / package
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
    (folder / f"{module}.py").write_text(textwrap.dedent(source))


@contextlib.contextmanager
def forgotten_modules(*names):
    """Forget modules afterwards, submodules too."""
    try:
        yield
    finally:
        for module in list(sys.modules):
            if any(f"{module}.".startswith(f"{name}.") for name in names):
                del sys.modules[module]
