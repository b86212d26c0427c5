"""Objects through a ProxyStore `Store` with files, by its own serializer and by ours."""

from __future__ import annotations

import tempfile
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import objects
from benchmarks.results import ratio
from benchmarks.timing import take_turns
from oobcodec.integrations.proxystore import deserializer, serializer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from benchmarks.timing import Effort

KB = 1000
MB = 1_000_000

NO_SLOWER = 1.0
"""For what is measured to be known."""
TOO_SHORT = 20
"""How often a small object takes its way, for one of those ways to be timed."""


def _state_dict(_: int) -> Any:
    torch = import_module("torch")
    return torch.nn.Sequential(*(torch.nn.Linear(384, 384) for _ in range(30))).state_dict()


LARGE: dict[str, tuple[Callable[[int], Any], float]] = {
    "numpy 100 MB": (lambda scale: np.ones(100 * MB // scale // 8), 1 / 1.5),
    "polars, 1M rows": (lambda scale: import_module("polars").DataFrame(objects.columns(MB // scale)), 1 / 3),
    "pandas, 1M rows": (lambda scale: import_module("pandas").DataFrame(objects.columns(MB // scale)), NO_SLOWER),
    "torch state_dict": (_state_dict, NO_SLOWER),
}
"""What is stored, and the bar."""

SMALL: dict[str, Callable[[int], Any]] = {
    "bytes": bytes,
    "str": lambda nbytes: "x" * nbytes,
    "numpy": lambda nbytes: np.ones(nbytes // 8),
    "dict": lambda nbytes: {str(i): i / 7 for i in range(nbytes // 14)},
}
SIZES = {"1 KB": KB, "10 KB": 10 * KB, "100 KB": 100 * KB, "1 MB": MB}


def measure(effort: Effort) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        stores = _stores(folder)
        results = [_race(stores, name, make(effort.scale), effort.rounds, bar) for name, (make, bar) in LARGE.items()]
        results += [
            _race(stores, f"{name} {size}", make(nbytes), TOO_SHORT * effort.rounds, NO_SLOWER)
            for name, make in SMALL.items()
            for size, nbytes in SIZES.items()
        ]
    return results


def _stores(folder: str) -> dict[str, Any]:
    connector = import_module("proxystore.connectors.file").FileConnector(folder)
    store = partial(import_module("proxystore.store").Store, connector=connector, cache_size=0, register=False)
    return {
        "oobcodec": store("oobcodec", serializer=serializer, deserializer=deserializer),
        "ProxyStore": store("ProxyStore"),
    }


def _race(stores: dict[str, Any], what: str, obj: Any, rounds: int, bar: float) -> Result:
    ways = {name: partial(_seconds, store, obj) for name, store in stores.items()}
    return ratio("proxystore", f"{what}, put and get", take_turns(ways, rounds), bar)


def _seconds(store: Any, obj: Any) -> float:
    """Return how long an object takes into the store and out again."""
    start = perf_counter()
    key = store.put(obj)
    got = store.get(key)
    seconds = perf_counter() - start
    del got
    store.evict(key)
    return seconds
