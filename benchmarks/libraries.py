"""Frames, tables and tensors beside what other serializers make of them.

A peer counts only if what arrives is what was sent, by the judgement of the conformance table, for the fastest way to
serialize an object is to leave out a part of it. Every serializer loads from fresh copies of its buffers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import objects, peers
from benchmarks.results import Result
from benchmarks.timing import Contender, Effort, best_times
from benchmarks.verdict import lost

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 1_000_000


class Workload(NamedTuple):
    """An object, and what `oobcodec` may cost in multiples of the best peer that does not lose any of it."""

    make: Callable[[int], object]
    """Takes a divisor of the number of rows."""
    dumps_bar: float
    loads_bar: float
    shipped_bar: float | None = None
    """In KiB, where the question is what of the memory travels."""


def _polars(scale: int) -> object:
    return import_module("polars").DataFrame(objects.columns(ROWS // scale))


def _arrow(scale: int) -> Any:
    return import_module("pyarrow").table(objects.columns(ROWS // scale))


WORKLOADS = {
    "polars, 1M rows of floats and strings": Workload(_polars, 0.1, 0.1),
    "Arrow table, the same": Workload(_arrow, 1.4, 1.2),
    "ten rows of it": Workload(lambda scale: _arrow(scale).slice(1000, 10), 1.0, 1.0, 4),
    "torch tensor of 8 MB": Workload(lambda _: objects.tensor(8_000_000), 1.25, 1.25),
    "state_dict of 60 tensors": Workload(lambda _: objects.state_dict(), 1.0, 1.0),
    "pandas, 10 x 100k floats": Workload(lambda scale: objects.pandas_floats(100_000 // scale), 1.15, 1.15),
    "pandas, floats, strings, times": Workload(lambda scale: objects.pandas_mixed(100_000 // scale), 1.0, 1.0),
    "100 data frames": Workload(lambda _: objects.many_frames(100), 1.0, 1.0),
}


def measure(name: str, effort: Effort) -> list[Result]:
    """Return the ratios to the best peer that is right, beside the times of those that lose something."""
    workload = WORKLOADS[name]
    obj = workload.make(effort.scale)
    found = {peer: _lost(peer, obj) for peer in map(peers.find, peers.NAMES) if peer}
    able = {peer: _label(peer, lost) for peer, lost in found.items() if "error" not in lost}
    right = {label for peer, label in able.items() if not found[peer] and peer.name != "oobcodec"}
    dumping, loading, shipped = {}, {}, {}
    for peer, label in able.items():
        head, buffers = peer.dumps(obj)
        shipped[label] = float(peer.sizes(head, buffers)[1])
        dumping[label] = Contender("dumps(obj)", {"dumps": peer.dumps, "obj": obj})
        names = {"loads": peer.loads, "head": head, "buffers": [bytearray(buffer) for buffer in buffers]}
        loading[label] = Contender("loads(head, buffers)", names)
    results = [
        _against_best(name, "dumps", best_times(dumping, effort), right, workload.dumps_bar),
        _against_best(name, "loads", best_times(loading, effort), right, workload.loads_bar),
    ]
    if workload.shipped_bar:
        results.append(Result(name, "shipped", shipped["oobcodec"] / 1024, workload.shipped_bar, "KiB", shipped))
    return results


def _lost(peer: peers.Peer, obj: object) -> dict[str, str]:
    try:
        return lost(peer, obj)
    except Exception as error:  # noqa: BLE001  # whatever a peer raises
        return {"error": f"{type(error).__name__}: {error}"}


def _label(peer: peers.Peer, lost: dict[str, str]) -> str:
    return f"{peer.name} (loses {lost[min(lost)]})" if lost else peer.name


def _against_best(name: str, operation: str, seconds: dict[str, float], right: set[str], bar: float) -> Result:
    return Result(name, operation, seconds["oobcodec"] / min(seconds[peer] for peer in right), bar, "x", seconds)
