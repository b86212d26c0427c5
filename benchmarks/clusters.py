"""Objects to a worker of Dask and back, by Dask alone and with oobcodec."""

from __future__ import annotations

import multiprocessing
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.results import Result, ratio
from benchmarks.timing import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from benchmarks.timing import Effort

ROWS = 1_000_000
PATIENCE = 120.0
PROTOCOLS = {"oobcodec": "oob://", "Dask": "tcp://"}
ROUNDS = 15
"""At most, for each takes Dask up to two seconds."""
WORKERS = 2
RELEASED = 0.1
"""Seconds in which a cluster frees what it no longer needs, after it is timed and before the other one is."""


class Workload(NamedTuple):
    """An object, and what scattering and gathering it may cost in multiples of Dask alone."""

    make: Callable[[int], object]
    """Takes a divisor of sizes."""
    bar: float


def _columns(scale: int) -> dict[str, Any]:
    rows = ROWS // scale
    return {"x": np.arange(rows) / 7, "name": [f"item {i}" for i in range(rows)]}


def _polars(scale: int) -> object:
    return import_module("polars").DataFrame(_columns(scale))


def _state_dict(_: int) -> object:
    torch = import_module("torch")
    return torch.nn.Sequential(*(torch.nn.Linear(384, 384) for _ in range(30))).state_dict()


def _slices(scale: int) -> object:
    table = import_module("pyarrow").table(_columns(scale))
    return {name: table[name].slice(1000, 10) for name in table.column_names}


def _array(scale: int) -> object:
    return np.ones((128 << 20) // scale // 8)


WORKLOADS = {
    "polars, 1M rows of floats and strings": Workload(_polars, 1 / 4),
    "state_dict of 60 tensors": Workload(_state_dict, 1 / 1.5),
    "10,000 arrays of 80 bytes": Workload(lambda scale: [np.arange(10.0) for _ in range(10_000 // scale)], 1 / 5),
    "128 MiB of floats": Workload(_array, 1 / 0.95),
}
BYTES = "ten rows of Arrow columns, bytes"
LESS = 1 / 10
"""Of the bytes that Dask sends of ten rows of a table in Arrow."""


def measure(effort: Effort) -> list[Result]:
    if find_spec("distributed") is None:
        return []
    context = multiprocessing.get_context("spawn")
    clusters: dict[str, Connection[Any, Any]] = {}
    for name, protocol in PROTOCOLS.items():
        clusters[name], there = context.Pipe()
        context.Process(target=_serve, args=(protocol, effort.scale, there)).start()
    results = []
    for name, workload in WORKLOADS.items():
        turns = {cluster: partial(_asked, connection, name) for cluster, connection in clusters.items()}
        for turn in WORKERS * [*turns.values()]:
            turn()  # each goes to the next worker
        results.append(ratio("Dask", name, take_turns(turns, min(effort.rounds, ROUNDS)), workload.bar))
    sent = {cluster: _asked(connection, BYTES) for cluster, connection in clusters.items()}
    results.append(Result("Dask", BYTES, sent["oobcodec"] / sent["Dask"], LESS, "x size", sent))
    for connection in clusters.values():
        connection.send(None)
    return results


def _asked(connection: Connection[Any, Any], what: str) -> float:
    connection.send(what)
    if not connection.poll(PATIENCE):
        message = f"no answer from a cluster about {what}"
        raise RuntimeError(message)
    figure: float = connection.recv()
    return figure


def _serve(protocol: str, scale: int, asks: Connection[Any, Any]) -> None:
    distributed = import_module("distributed")
    with (
        distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, protocol=protocol, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        objects: dict[str, object] = {}
        while (name := asks.recv()) is not None:
            if name == BYTES:
                frames = distributed.protocol.dumps({"data": distributed.protocol.to_serialize(_slices(scale))})
                asks.send(sum(memoryview(frame).nbytes for frame in frames))
                continue
            if name not in objects:
                objects = {name: WORKLOADS[name].make(scale)}
            start = perf_counter()
            got = client.gather(client.scatter([objects[name]], hash=False))
            seconds = perf_counter() - start
            del got
            sleep(RELEASED)
            asks.send(seconds)
