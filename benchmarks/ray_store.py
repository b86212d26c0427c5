"""Objects into Ray's store and out of it, by Ray alone and with oobcodec."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.results import ratio
from benchmarks.timing import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from benchmarks.timing import Effort

ROWS = 1_000_000
NO_SLOWER = 1.25
"""For what Ray does as well by itself: times of large memory vary by a fifth."""

STORE = 1 << 30
"""Bytes: Ray frees what is no longer referred to only after a while."""


class Workload(NamedTuple):
    """An object, and what putting and getting it may cost in multiples of Ray alone."""

    make: Callable[[int], object]
    """Takes a divisor of sizes."""
    bar: float
    times: int = 1
    """How often in a turn: the less it takes, the more it varies."""


def _columns(scale: int) -> dict[str, Any]:
    rows = ROWS // scale
    return {"x": np.arange(rows) / 7, "name": [f"item {i}" for i in range(rows)]}


def _polars(scale: int) -> object:
    return import_module("polars").DataFrame(_columns(scale))


def _pandas(scale: int) -> object:
    return import_module("pandas").DataFrame({f"x{i}": np.arange(ROWS // scale) / 7 for i in range(10)})


def _batch(scale: int) -> Any:
    return import_module("pyarrow").RecordBatch.from_pydict(_columns(scale))


def _state_dict(_: int) -> object:
    torch = import_module("torch")
    return torch.nn.Sequential(*(torch.nn.Linear(384, 384) for _ in range(30))).state_dict()


WORKLOADS = {
    "polars, 1M rows of floats and strings": Workload(_polars, 1 / 5),
    "state_dict of 60 tensors": Workload(_state_dict, 1 / 3),
    "128 MiB of floats": Workload(lambda scale: np.ones((128 << 20) // scale // 8), NO_SLOWER),
    "the same by columns": Workload(lambda scale: np.ones((128 << 20) // scale // 8).reshape(-1, 16).T, NO_SLOWER),
    "pandas, 10 columns of 1M floats": Workload(_pandas, NO_SLOWER),
    "ten rows of an Arrow batch": Workload(lambda scale: _batch(scale).slice(1000, 10), 1.0, times=10),
    "1,000 arrays of 800 bytes": Workload(lambda _: {str(i): np.arange(100.0) + i for i in range(1000)}, 1.0, times=10),
    "a small dict": Workload(lambda _: {"op": "update", "key": ("x", 1), "v": [1, 2, 3]}, 1.2, times=100),
}


def measure(effort: Effort) -> list[Result]:
    if find_spec("ray") is None:
        return []
    ray = import_module("ray")
    ours = import_module("oobcodec.integrations.ray")
    ways = {"oobcodec": ours.install, "Ray": ours.uninstall}
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=STORE, log_to_driver=False)
    results = []
    try:
        for what, (make, bar, times) in WORKLOADS.items():
            obj = make(effort.scale)
            turns = {name: partial(_timed, ray, set_up, obj, times) for name, set_up in ways.items()}
            results.append(ratio("Ray", f"{what}, put and get", take_turns(turns, effort.rounds), bar))
    finally:
        ours.uninstall()
        ray.shutdown()
    return results


def _timed(ray: Any, set_up: Callable[[], object], obj: object, times: int) -> float:
    set_up()
    start = perf_counter()
    for _ in range(times):
        ray.get(ray.put(obj))
    return (perf_counter() - start) / times
