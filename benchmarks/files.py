"""An array in a file: beside a bare ``writev`` with the same fsync, and beside those who read files whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.memory import peak_rss
from benchmarks.results import Result, ratio
from benchmarks.timing import take_turns
from oobcodec.files import dump, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.timing import Effort

NBYTES = 1 << 30
ROUNDS = 3
"""At most: what is written is a gigabyte each time."""

DUMP_BAR = 1.1
MEMORY_BAR_MIB = 4.0
LOAD_BAR = 1 / 20
LOAD_BAR_SECONDS = 1e-3
SHARED_MEMORY = Path("/dev/shm")


def measure(effort: Effort) -> list[Result]:
    array = np.ones(NBYTES // effort.scale // 8)
    results = []
    for folder in (Path(tempfile.gettempdir()), SHARED_MEMORY):
        # For two files at a time, one of them while it is replaced, and some more.
        if not folder.is_dir() or disk_usage(folder).free < 4 * array.nbytes:
            print(f"files: no room in {folder}, nothing is measured there", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(dir=folder) as name:
            results += measure_in(Path(name), array, min(effort.rounds, ROUNDS))
    return results


def measure_in(folder: Path, array: Any, rounds: int) -> list[Result]:
    name = f"files in {folder.parent}"
    size = f"{array.nbytes >> 20} MiB"
    path = folder / "oobcodec"
    bare = folder / "bare"
    writers = {
        "oobcodec": partial(_seconds, partial(dump, array, path), fresh=path),
        "bare writev, fsync": partial(_seconds, partial(_write_bare, array, bare), fresh=bare),
    }
    results = [ratio(name, f"dump {size}", take_turns(writers, rounds), DUMP_BAR)]
    bare.unlink()
    command = [sys.executable, "-m", "benchmarks.files", str(path), str(array.nbytes)]
    extra: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    results.append(Result(name, f"dump {size}", max(extra.values()) / 2**20, MEMORY_BAR_MIB, "MiB", extra))
    ours = partial(_seconds, partial(load, path))
    for peer, (write, read) in readers().items():
        other = folder / peer
        write(array, other)
        seconds = take_turns({"oobcodec": ours, peer: partial(_seconds, partial(read, other))}, rounds)
        other.unlink()
        results.append(ratio(name, f"load {size}", seconds, LOAD_BAR))
    seconds = take_turns({"oobcodec": ours}, rounds) | {"a millisecond": LOAD_BAR_SECONDS}
    return [*results, ratio(name, f"load {size}", seconds, 1.0)]


def readers() -> dict[str, tuple[Callable[[Any, Path], object], Callable[[Path], Any]]]:
    """Return how peers write an array and read it, none of them by mapping it."""
    found: dict[str, tuple[Callable[[Any, Path], object], Callable[[Path], Any]]] = {"numpy.load": (_save, _load)}
    for module in ("joblib", "torch"):
        if not find_spec(module):
            print(f"files: {module} is not installed, and not measured", file=sys.stderr)
    if find_spec("joblib"):
        joblib = import_module("joblib")
        found["joblib.load"] = joblib.dump, joblib.load
    if find_spec("torch"):
        torch = import_module("torch")
        found["torch.load"] = lambda array, path: torch.save(torch.from_numpy(array), path), torch.load
    return found


def _save(array: Any, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        return np.load(file)


def _write_bare(array: Any, path: Path) -> None:
    rest = memoryview(array).cast("B")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        while rest:
            rest = rest[os.writev(descriptor, [rest]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _seconds(way: Callable[[], object], fresh: Path | None = None) -> float:
    """Return how long a call takes, before which the file that it writes is removed."""
    if fresh is not None:
        fresh.unlink(missing_ok=True)
    start = perf_counter()
    result = way()
    seconds = perf_counter() - start
    del result  # what it takes to let go of memory is no part of loading
    return seconds


def extra_bytes(path: Path, nbytes: int) -> dict[str, int]:
    """Return by how much ``dump`` raises the peaks."""
    dump(np.ones(1000), path)  # imports what it needs
    array = np.ones(nbytes // 8)
    before = peak_rss()
    dump(array, path)
    after = peak_rss()
    extra = {} if before is None or after is None else {"RSS": after - before}
    tracemalloc.start()
    dump(array, path)
    return extra | {"tracemalloc": tracemalloc.get_traced_memory()[1]}


if __name__ == "__main__":
    print(json.dumps(extra_bytes(Path(sys.argv[1]), int(sys.argv[2]))))
