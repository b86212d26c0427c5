"""A process that measures peers: one that crashes takes nobody with it, and peaks of memory are its own.

It does what it is asked to, one thing at a time, so that contenders can take turns, in other environments too.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.lane import Lane, parts
from benchmarks.peers.peer import received
from benchmarks.timing import Contender, mean, settle_allocator
from benchmarks.verdict import lost
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers import Peer

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


class Worker:
    """What can be asked for, by the names of its public methods."""

    def __init__(self) -> None:
        self._obj: object = None
        self._nbytes = 0
        self._peers: dict[str, Peer] = {}
        self._lane: Lane | None = None

    def versions(self, names: list[str]) -> dict[str, str]:
        """Return the versions of those peers that are installed."""
        self._peers |= {name: peer for name in names if (peer := peers.find(name))}
        return {name: self._peers[name].version for name in names if name in self._peers}

    def prepare(self, workload: str) -> None:
        """Make the object of a workload, in place of that before."""
        self._obj = None
        gc.collect()
        gc.freeze()  # else every collection goes through all modules of all libraries
        self._obj = WORKLOADS[workload].make()
        self._nbytes = WORKLOADS[workload].nbytes

    def memcpy(self, seconds: float) -> float:
        """Return the seconds in which as many bytes as the workload has are copied into memory that is there."""
        source, target = bytearray(self._nbytes), bytearray(self._nbytes)
        return mean(Contender("target[:] = source", {"target": memoryview(target), "source": source}), seconds)

    def examine(self, name: str) -> dict[str, Any]:
        """Return what a peer loses of the object, what it ships, and by how much it raises the peaks of memory."""
        peer = self._peers[name]
        found: dict[str, Any] = {"lost": lost(peer, self._obj)}
        head, buffers = peer.dumps(self._obj)
        found["shipped"] = sum(map(len, parts(peer, head, buffers)[2:]))
        arrived = [received(buffer) for buffer in buffers]
        del buffers
        found["peaks"] = {
            "dumps": extra_peak(lambda: peer.dumps(self._obj)),
            "loads": extra_peak(lambda: peer.loads(head, arrived)),
        }
        return found

    def turn(self, name: str, seconds: float) -> dict[str, float]:
        """Return the seconds that a peer takes for each operation."""
        peer = self._peers[name]
        times = {"dumps": mean(Contender("dumps(obj)", {"dumps": peer.dumps, "obj": self._obj}), seconds)}
        head, buffers = peer.dumps(self._obj)
        names = {"loads": peer.loads, "head": head, "buffers": [received(buffer) for buffer in buffers]}
        del buffers
        times["loads"] = mean(Contender("loads(head, buffers)", names), seconds)
        names.clear()
        self._lane = self._lane or Lane()
        try:
            times["round trip"] = mean(
                Contender("send(peer, obj)", {"send": self._lane.send, "peer": peer, "obj": self._obj}), seconds
            )
        except Exception:
            self._lane.close()
            self._lane = None
            raise
        return times


def extra_peak(call: Callable[[], object]) -> int | None:
    """Return by how many bytes a call raises the peak of what the process has in memory, where Linux tells."""
    if not CLEAR.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else a call takes what the one before has left
    CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS:")
    result = call()
    extra = _status("VmHWM:") - before
    del result
    return max(0, extra)


def _status(field: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def serve(connection: Connection) -> None:
    """Answer until nobody asks any more."""
    worker = Worker()
    settle_allocator()
    while True:
        try:
            name, *arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = True, getattr(worker, name)(*arguments)
        except Exception as error:  # noqa: BLE001  # whatever a peer raises is its result
            text = " ".join(str(error).replace(f"{sys.prefix}/", "").split())  # where it lies is nobody's business
            answer = False, f"{type(error).__name__}: {text}"[:200]
        with suppress(BrokenPipeError):  # who asked is gone
            connection.send(answer)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the peers' own
    logging.disable()
    os.dup2(2, 1)  # what they print is no result
    serve(Connection(int(sys.argv[1])))
