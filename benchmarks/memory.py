"""The memory that ``dumps`` takes beside the object, in a process of its own whose peak nothing else has raised."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import oobcodec
from benchmarks.results import Result

if TYPE_CHECKING:
    from benchmarks.timing import Effort

NBYTES = 1 << 30
BAR_MIB = 1.0


def measure(effort: Effort) -> list[Result]:
    nbytes = NBYTES // effort.scale
    command = [sys.executable, "-m", "benchmarks.memory", str(nbytes)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    extra: dict[str, float] = json.loads(done.stdout)
    return [Result("memory", f"dumps of {nbytes >> 20} MiB", max(extra.values()) / 2**20, BAR_MIB, "MiB", extra)]


def extra_bytes(nbytes: int) -> dict[str, int]:
    """Return by how much ``dumps`` raises the peaks."""
    oobcodec.dumps(np.ones(1000))  # imports what it needs
    array = np.ones(nbytes // 8)
    extra = {}
    before = peak_rss()
    oobcodec.dumps(array)
    after = peak_rss()
    if before is not None and after is not None:
        extra["RSS"] = after - before
    tracemalloc.start()
    oobcodec.dumps(array)
    extra["tracemalloc"] = tracemalloc.get_traced_memory()[1]
    return extra


def peak_rss() -> int | None:
    # Not from ``getrusage``, where a process begins with the peak of the one that started it.
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(extra_bytes(int(sys.argv[1]))))
