"""What several files of tests need."""

import contextlib
import os
import pickletools
import subprocess
import sys
import textwrap
from pathlib import Path

import msgpack

import oobcodec
from oobcodec.header import decode

KIB = 1024
SECRET = 0x5EC4E75EC4E75EC4


def roundtrip(obj, **options):
    """Return what arrives of an object."""
    return oobcodec.loads(oobcodec.dumps(obj), **options)


def received(frames, memory=bytearray):
    """Return the frames as a receiver has them: other memory, writable or not."""
    return [memory(frame) for frame in frames]


def transferred(obj, memory=bytearray):
    """Return what arrives of an object in other memory."""
    return oobcodec.loads(received(oobcodec.dumps(obj), memory))


def weight(frames):
    """Return the bytes of all frames but the header."""
    return sum(frame.nbytes for frame in frames[1:])


def shipped(frames):
    """Return the bytes of all buffers, where the stream is one frame."""
    return weight(frames[1:])


def in_band(frames):
    """Return the bytes of the header and of the stream, where that is one frame."""
    return frames[0].nbytes + frames[1].nbytes


def names(frames):
    """Return all strings of the stream, where that is one frame: among them the modules that it names."""
    return [argument for _, argument, _ in pickletools.genops(bytes(frames[1])) if isinstance(argument, str)]


def holds_secret(frames):
    """Tell whether the number that stands for what others must not see is anywhere in a message."""
    message = b"".join(frames)
    return SECRET.to_bytes(8, "little") in message or SECRET.to_bytes(8, "big") in message


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


def run_module(name, *arguments, paths=()):
    """Run a module of the repository as a command, with these paths before the others, and return how it went."""
    return subprocess.run(
        [sys.executable, "-m", name, *map(str, arguments)],
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, paths), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )


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
