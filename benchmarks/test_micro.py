"""Small benchmarks for who works on oobcodec: ``python -m pytest benchmarks/test_micro.py``, with pytest-benchmark.

``--benchmark-save=before``, and then ``--benchmark-compare`` with the change, show what it does to each stage.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import oobcodec
from benchmarks import objects, peers
from benchmarks.peers.peer import received

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark, which these are written for, is not installed")

OBJECTS: dict[str, Callable[[], Any]] = {
    "a small dict": objects.small_dict,
    "a task": objects.task,
    "1,000 dicts": partial(objects.small_dicts, 1000),
    "an array of 800 B": partial(objects.floats, 800),
    "an array of 8 MB": partial(objects.floats, 8_000_000),
    "every other element": partial(objects.strided, 800_000),
    "1,000 small arrays": partial(objects.small_arrays, 1000, 10),
    "100 larger arrays": partial(objects.small_arrays, 100, 500),
    "windows of a signal": partial(objects.overlapping, 800_000),
}
objects_by_name = pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
by_peer = pytest.mark.parametrize("name", ["oobcodec", "pickle5"])


def _peer(name: str) -> peers.Peer:
    peer = peers.find(name)
    assert peer is not None
    return peer


@by_peer
@objects_by_name
def test_dumps(benchmark: Any, make: Callable[[], Any], name: str) -> None:
    benchmark(_peer(name).dumps, make())


@by_peer
@objects_by_name
def test_loads(benchmark: Any, make: Callable[[], Any], name: str) -> None:
    peer = _peer(name)
    head, buffers = peer.dumps(make())
    benchmark(peer.loads, head, [received(buffer) for buffer in buffers])


@objects_by_name
def test_pack(benchmark: Any, make: Callable[[], Any]) -> None:
    benchmark(oobcodec.pack, oobcodec.dumps(make()))


@objects_by_name
def test_unpack(benchmark: Any, make: Callable[[], Any]) -> None:
    benchmark(oobcodec.unpack, oobcodec.pack(oobcodec.dumps(make())))


@objects_by_name
def test_inspect(benchmark: Any, make: Callable[[], Any]) -> None:
    benchmark(oobcodec.inspect, oobcodec.dumps(make()))


@objects_by_name
def test_loads_data(benchmark: Any, make: Callable[[], Any]) -> None:
    frames = [received(frame) for frame in oobcodec.dumps(make())]
    benchmark(partial(oobcodec.loads, policy=oobcodec.DATA), frames)
