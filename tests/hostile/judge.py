"""Loads messages in this process, which may die of it, and says what became of each.

``python judge.py POLICY PATH...`` prints a line for each file: its name before it is loaded, and then, as JSON, the
class and the text of the error, or what it became. It may use little memory, and little time for each of them.
"""

import contextlib
import copyreg
import importlib
import json
import re
import resource
import sys
from pathlib import Path

SECONDS = 10
MEMORY = 2 << 30
LIBRARIES = ("numpy", "pandas", "polars", "pyarrow", "torch", "jax")
SHOWN = 200


class Whole:
    """A serializer that somebody registered, and that no policy allows."""

    tag = "tests.whole"

    def supports(self, obj):
        return False

    def dumps(self, obj):
        raise NotImplementedError

    def loads(self, meta, buffers):
        Path("oobcodec-was-here").touch()


def frames_of(path):
    """Return a message as a receiver has it: memory that it may write to."""
    data = path.read_bytes()
    if path.suffix == ".oob":
        return bytearray(data)
    frames, at = [], 0
    while at < len(data):
        start = at + 8
        at = start + int.from_bytes(data[at:start], "little")
        frames.append(bytearray(data[start:at]))
    return frames


def prepare():
    """Have all libraries there, and what an attacker hopes to find."""
    import oobcodec

    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    oobcodec.register_type(type(copyreg), "tests.celsius", str, lambda _: Path("oobcodec-was-here").touch())
    oobcodec.register_serializer(Whole())
    copyreg.add_extension("os", "system", 0xF0)
    copyreg.add_extension("builtins", "eval", 0xF1)
    copyreg._extension_cache[0xF1] = eval


def limit_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def limit_time():
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def outcome(load, frames):
    try:
        obj = load(frames)
    except Exception as error:  # noqa: BLE001  # which one is what this is about
        return {"error": type(error).__name__, "message": str(error)}
    return {"value": shown(obj)}


def shown(obj):
    """Return what an object is, in words that are short however large it is."""
    try:
        text = repr(obj)
    except Exception as error:  # noqa: BLE001  # it is data all the same, as a list in a list in a list...
        text = f"no repr: {type(error).__name__}"
    text = re.sub("0x[0-9a-f]+", "0x...", text[: 10 * SHOWN])
    return f"{type(obj).__qualname__}: {text[:SHOWN]}"


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    import oobcodec

    policy, *paths = sys.argv[1:]
    prepare()
    oobcodec.loads(oobcodec.dumps([1, 2]), policy=oobcodec.DATA)
    limit_memory()
    for path in map(Path, paths):
        frames = frames_of(path)
        limit_time()
        say(f"{path.parent.name}/{path.name}")
        result = outcome(lambda frames: oobcodec.loads(frames, policy=getattr(oobcodec, policy)), frames)
        say(json.dumps(result))


if __name__ == "__main__":
    main()
