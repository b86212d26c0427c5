"""Outlive peers that are killed inside a message, and print what became of it: ``python -m faults.killed WAY ROUNDS``.

WAY is what the survivor does, ``recv`` or ``send``. It is one process, for all rounds, and its peers are forks of it.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import random
import signal
import struct
import sys
from itertools import cycle
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process should not fork under threads

import numpy as np

from oobcodec import OobError

from .channels import over, side

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.connections import Connection

    from .channels import Bare

SIZE = 256 << 20
SLACK = 64 << 20
"""Bytes that sockets take without a reader: whoever has sent all but these may never learn that nobody reads them."""

NOTE = struct.Struct("dq")
"""When a victim was killed, and how many bytes it had sent or received then."""

KINDS = [("bare", "unix"), ("bare", "tcp"), ("connection", "tcp"), ("keyring", "unix")]
SETTLED = 2 * len(KINDS)
"""Rounds after which the survivor needs no more memory."""


def die_at(point: int, note: mmap.mmap) -> Callable[[int, int], None]:
    """Return what kills this process as soon as so many bytes have moved."""

    def progress(done: int, total: int) -> None:
        if done >= point:
            NOTE.pack_into(note, 0, monotonic(), done)
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


def be_killed(way: str, other: Bare | Connection, obj: object, progress: Callable[[int, int], None]) -> None:
    """Do the other end of what the survivor does."""
    if way == "recv":
        other.send(obj, progress=progress)
    else:
        other.recv(progress=progress)


def survive(way: str, kind: str, family: str, point: int, obj: object) -> dict[str, object]:
    """Lose a peer, and return what that was like."""
    note = mmap.mmap(-1, NOTE.size)
    here, there = over(family)
    pid = os.fork()
    if not pid:
        try:
            here.close()
            there.settimeout(60)  # with which calls of the system end anywhere
            be_killed(way, side(kind, there, "server"), obj, die_at(point, note))
        finally:
            os._exit(1)
    there.close()
    survivor = side(kind, here, "client")
    uses = [survivor.recv, lambda: survivor.send(obj)]
    if way == "send":
        uses.reverse()
    error = told(uses[0])
    seconds = monotonic() - NOTE.unpack_from(note)[0]
    again, other_way = map(told, uses)
    survivor.close()
    return {
        "kind": kind,
        "error": error,
        "again": again,
        "other way": other_way,
        "bytes": NOTE.unpack_from(note)[1],
        "seconds": seconds,
        "signal": os.WTERMSIG(os.waitpid(pid, 0)[1]),
    }


def told(use: Callable[[], object]) -> tuple[str, str]:
    """Return the name of the error that there is, and what it says."""
    try:
        use()
    except (EOFError, OSError, OobError) as error:
        return type(error).__name__, str(error)
    return "none", ""


def possessions() -> dict[str, int]:
    """Return how many file descriptors there are, and the bytes of all memory, and of that which is in use."""
    gc.collect()
    mapped, resident = (int(pages) * mmap.PAGESIZE for pages in Path("/proc/self/statm").read_text().split()[:2])
    return {"descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()), "mapped": mapped, "resident": resident}


def main(way: str, rounds: int) -> None:
    points, obj = random.Random(way), np.ones(SIZE, "u1")
    lost, before = [], {}
    for number, (kind, family) in zip(range(SETTLED + rounds), cycle(KINDS), strict=False):
        if number == SETTLED:
            before = possessions()
        lost.append(survive(way, kind, family, points.randrange(1, SIZE - SLACK), obj))
    after = possessions()
    json.dump({"lost": lost, "grown": {name: after[name] - before[name] for name in after}}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
