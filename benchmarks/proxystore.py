"""Objects through a ProxyStore `Store` with files, by its own serializer and by ours; and what the files alone take.

Each has a process of its own, as with who uses it: in one process the heap that one leaves makes the other one's copies
up to twice as fast or as slow.
"""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import lru_cache, partial
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import objects
from benchmarks.results import ratio
from benchmarks.timing import settle_allocator, take_turns
from oobcodec.integrations.proxystore import deserializer, serializer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from benchmarks.timing import Effort

KB = 1000
MB = 1_000_000

NO_SLOWER = 1.0
"""For what is measured to be known."""


def _polars(rows: int) -> Any:
    return import_module("polars").DataFrame(objects.columns(rows))


def _state_dict(_: int) -> Any:
    torch = import_module("torch")
    return torch.nn.Sequential(*(torch.nn.Linear(384, 384) for _ in range(30))).state_dict()


LARGE: dict[str, tuple[Callable[[int], Any], float]] = {
    "polars, 1M rows, new heap": (lambda scale: _polars(MB // scale), 1 / 3),
    "numpy 100 MB": (lambda scale: np.ones(100 * MB // scale // 8), 1 / 1.5),
    "polars, 100,000 rows": (lambda scale: _polars(MB // 10 // scale), 1 / 3),
    "polars, 1M rows": (lambda scale: _polars(MB // scale), 1 / 3),
    "pandas, 1M rows": (lambda scale: import_module("pandas").DataFrame(objects.columns(MB // scale)), NO_SLOWER),
    "torch state_dict": (_state_dict, NO_SLOWER),
}
"""What is stored, and the bar. The first is measured before the heap is that of a process that has run for a while."""

SMALL: dict[str, Callable[[int], Any]] = {
    "bytes": bytes,
    "str": lambda nbytes: "x" * nbytes,
    "numpy": lambda nbytes: np.ones(nbytes // 8),
    "dict": lambda nbytes: {str(i): i / 7 for i in range(nbytes // 14)},
}
SIZES = {"1 KB": KB, "10 KB": 10 * KB, "100 KB": 100 * KB, "1 MB": MB}

FILES = "the files alone"
WAYS: dict[str, dict[str, Any]] = {
    "oobcodec": {"serializer": serializer, "deserializer": deserializer},
    "ProxyStore": {},
    FILES: {"serializer": bytes, "deserializer": bytes},
}
"""What a store is told. Files alone move bytes, which are not even copied."""


def measure(effort: Effort) -> list[Result]:
    bars = {name: bar for name, (_, bar) in LARGE.items()}
    bars |= {f"{name} {size}": NO_SLOWER for name in SMALL for size in SIZES}
    spawn = multiprocessing.get_context("spawn")
    results = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, spawn, _open, (name, folder))) for name in WAYS}
        for what, bar in bars.items():
            rows = {"oobcodec": bar} | ({FILES: NO_SLOWER} if what in LARGE else {})
            turns = {name: partial(_asked, pools[name], what, effort) for name in (*rows, "ProxyStore")}
            seconds = take_turns(turns, effort.rounds)
            for name, limit in rows.items():
                contenders = {each: seconds[each] for each in (name, "ProxyStore")}
                results.append(ratio("proxystore", f"{what}, put and get", contenders, limit))
            for pool in pools.values():
                pool.submit(settle_allocator).result()
    return results


def _asked(pool: ProcessPoolExecutor, what: str, effort: Effort) -> float:
    return pool.submit(_best, what, effort).result()


# In the process of one of them

_store: Any


def _open(name: str, folder: str) -> None:
    global _store  # noqa: PLW0603  # that of the process
    connector = import_module("proxystore.connectors.file").FileConnector(folder)
    _store = import_module("proxystore.store").Store(name, connector, cache_size=0, register=False, **WAYS[name])
    gc.disable()


@lru_cache(maxsize=1)
def _object(what: str, scale: int) -> Any:
    if what in LARGE:
        obj = LARGE[what][0](scale)
    else:
        name, _, size = what.partition(" ")
        obj = SMALL[name](SIZES[size])
    return bytes(serializer(obj)) if _store.name == FILES else obj


def _best(what: str, effort: Effort) -> float:
    """Return how long an object takes into the store and out again, at best in one turn."""
    obj = _object(what, effort.scale)
    end = perf_counter() + effort.seconds
    best = _once(obj)
    while perf_counter() < end:
        best = min(best, _once(obj))
    return best


def _once(obj: Any) -> float:
    start = perf_counter()
    key = _store.put(obj)
    got = _store.get(key)
    seconds = perf_counter() - start
    del got
    _store.evict(key)
    return seconds
