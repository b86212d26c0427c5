"""Frames, tables and tensors beside what other serializers make of them.

A peer counts only if what arrives is what was sent, by the judgement of the conformance table, for the fastest way to
serialize an object is to leave out a part of it. Every serializer loads from fresh copies of its buffers.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks import peers
from benchmarks.results import Result
from benchmarks.timing import Contender, Effort, best_times

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


def _columns(rows: int) -> dict[str, Any]:
    return {"x": np.arange(rows) / 7, "name": [f"item {i}" for i in range(rows)]}


def _polars(scale: int) -> object:
    return import_module("polars").DataFrame(_columns(ROWS // scale))


def _arrow(scale: int) -> Any:
    return import_module("pyarrow").table(_columns(ROWS // scale))


def _tensor(_: int) -> object:
    torch = import_module("torch")
    return torch.arange(2_000_000, dtype=torch.float32)


def _state_dict(_: int) -> object:
    torch = import_module("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.Linear(384, 384) for _ in range(30))).state_dict()


def _floats(scale: int, rows: int = 100_000) -> object:
    return import_module("pandas").DataFrame({f"c{i}": np.arange(rows // scale) / (i + 1) for i in range(10)})


def _mixed(scale: int) -> object:
    rows = 100_000 // scale
    times = np.arange(rows).astype("M8[s]").astype("M8[ns]")
    return import_module("pandas").DataFrame({**_columns(rows), "time": times})


WORKLOADS = {
    "polars, 1M rows of floats and strings": Workload(_polars, 0.1, 0.1),
    "Arrow table, the same": Workload(_arrow, 1.4, 1.2),
    "ten rows of it": Workload(lambda scale: _arrow(scale).slice(1000, 10), 1.0, 1.0, 4),
    "torch tensor of 8 MB": Workload(_tensor, 1.25, 1.25),
    "state_dict of 60 tensors": Workload(_state_dict, 1.0, 1.0),
    "pandas, 10 x 100k floats": Workload(_floats, 1.15, 1.15),
    "pandas, floats, strings, times": Workload(_mixed, 1.0, 1.0),
    "100 data frames": Workload(lambda _: {f"k{i}": _floats(1, 100) for i in range(100)}, 1.0, 1.0),
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
    """Return what a peer loses of an object, but for the chunks that its memory is divided into."""
    from tests.conformance.judgement import judge  # noqa: PLC0415
    from tests.conformance.table import Case, table  # noqa: PLC0415

    table()  # type: ignore[no-untyped-call]  # which brings what compares the objects of each library
    with redirect_stderr(io.StringIO()):
        try:
            lost = judge(peer, Case("", lambda: obj), "alone").lost
        except Exception as error:  # noqa: BLE001  # whatever a peer raises
            lost = {"error": f"{type(error).__name__}: {error}"}
    return {aspect: text for aspect, text in lost.items() if "chunk_lengths" not in text}


def _label(peer: peers.Peer, lost: dict[str, str]) -> str:
    return f"{peer.name} (loses {lost[min(lost)]})" if lost else peer.name


def _against_best(name: str, operation: str, seconds: dict[str, float], right: set[str], bar: float) -> Result:
    return Result(name, operation, seconds["oobcodec"] / min(seconds[peer] for peer in right), bar, "x", seconds)
