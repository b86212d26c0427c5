"""``dumps`` and ``loads`` beside those of pickle.

What is loaded is as it comes from a socket: in writable memory of the receiver's, which neither side is charged for.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import oobcodec
from benchmarks import objects
from benchmarks.results import Result, ratio
from benchmarks.timing import Contender, Effort, best_times

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 1_000_000


class Workload(NamedTuple):
    """An object, and what `oobcodec` may cost in multiples of pickle, protocol 5."""

    make: Callable[[], object]
    dumps_bar: float
    loads_bar: float
    out_of_band: bool = False
    """Whether pickle has a ``buffer_callback``."""


WORKLOADS = {
    "small_dict": Workload(objects.small_dict, 2.2, 2.2),
    "float_array": Workload(lambda: np.ones(MB), 0.85, 0.95, out_of_band=True),
    "small_arrays": Workload(lambda: objects.small_arrays(1000, 10), 0.7, 0.7, out_of_band=True),
    "small_dicts": Workload(objects.small_dicts, 1.2, 1.15),
    "datetimes": Workload(lambda: objects.datetimes(8 * MB), 0.02, 0.02),
    "strided": Workload(lambda: objects.strided(8 * MB), 0.7, 0.02),
    # Half of that: what pickle copies stays in the caches, so that there is less to save.
    "strided_4_MB": Workload(lambda: objects.strided(4 * MB), 0.7, 0.02),
    "broadcast": Workload(lambda: objects.broadcast(8 * MB), 0.02, 0.02),
    "bytes": Workload(lambda: bytes(100 * MB), 0.02, 1.2),
    "bytes_in_dict": Workload(lambda: {"data": bytes(100 * MB)}, 0.02, 1.2),
}


def measure(name: str, effort: Effort) -> list[Result]:
    workload = WORKLOADS[name]
    obj = workload.make()
    theirs = "pickle 5 out-of-band" if workload.out_of_band else "pickle 5"
    dumping = {"oobcodec": _our_dumps(obj), theirs: _their_dumps(obj, out_of_band=workload.out_of_band)}
    loading = {"oobcodec": _our_loads(obj), theirs: _their_loads(obj, out_of_band=workload.out_of_band)}
    return [
        ratio(name, "dumps", best_times(dumping, effort), workload.dumps_bar),
        ratio(name, "loads", best_times(loading, effort), workload.loads_bar),
    ]


def _our_dumps(obj: object) -> Contender:
    return Contender("dumps(obj)", {"dumps": oobcodec.dumps, "obj": obj})


def _their_dumps(obj: object, *, out_of_band: bool) -> Contender:
    statement = "dumps(obj, 5, buffer_callback=[].append)" if out_of_band else "dumps(obj, 5)"
    return Contender(statement, {"dumps": pickle.dumps, "obj": obj})


def _our_loads(obj: object) -> Contender:
    frames = oobcodec.unpack(oobcodec.pack(oobcodec.dumps(obj)))
    return Contender("loads(frames)", {"loads": oobcodec.loads, "frames": frames})


def _their_loads(obj: object, *, out_of_band: bool) -> Contender:
    buffers: list[pickle.PickleBuffer] = []
    names: dict[str, Any] = {
        "loads": pickle.loads,
        "data": pickle.dumps(obj, 5, buffer_callback=buffers.append if out_of_band else None),
        "buffers": [bytearray(buffer.raw()) for buffer in buffers],
    }
    return Contender("loads(data, buffers=buffers)" if out_of_band else "loads(data)", names)
