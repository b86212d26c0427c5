"""The store in shared memory: beside the bare system calls, what Python has, and Ray.

``memcpy`` is ``numpy.copyto``, of one thread and into memory that has been written to before; so is a put into recycled
pages. Ray copies what is large with several threads, a put does so with one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import Result, ratio
from benchmarks.timing import Contender, best_times, take_turns
from oobcodec.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from benchmarks.timing import Effort

NAME = "store"

NBYTES = 256 << 20
ROUNDS = 8
"""At most: what is put is a quarter of a gigabyte each time."""
WRITEV_BAR = 1.15
MEMCPY_BAR = 1.3
PUT_BAR = 1 / 2
GET_BAR_SECONDS = 200e-6
PIPE_BAR = 1 / 20
NO_SLOWER = 1.0

SMALL = np.ones(128)
SMALL_BAR_SECONDS = 60e-6
WITH_DELETE = 2.0
"""For what is measured to be known."""
SMALL_BAR = 1 / 3

READERS = 16
SHARED = 1 << 30
READERS_BAR_MIB = 16.0

OBJECTS = 100_000
LIST_BAR_SECONDS = 1.0


def measure(effort: Effort) -> list[Result]:
    if sys.platform != "linux":
        return []
    array = np.ones(NBYTES // effort.scale // 8)
    shared = SHARED // effort.scale
    rounds = min(effort.rounds, ROUNDS)
    with warnings.catch_warnings(record=True) as without, Store.temporary(huge_pages=True) as store:
        print(f"store: in {store.directory}, {'without' if without else 'with'} huge pages", file=sys.stderr)
        if store.capacity < 2 * shared:
            print("store: there is no room, and nothing is measured", file=sys.stderr)
            return []
        results = [*_puts(store, array, rounds), *_gets(store, array, effort), *_small(store, effort)]
        if find_spec("ray"):
            results += _beside_ray(store, array, effort)
        else:
            print("store: ray is not installed, and not measured", file=sys.stderr)
        return [*results, _readers(store, shared), _listing(store, OBJECTS // effort.scale)]


def _puts(store: Store, array: Any, rounds: int) -> list[Result]:
    what = f"put {array.nbytes >> 20} MiB"
    there = np.ones_like(array)
    fresh, recycled = (partial(_put, store, array, pages) for pages in ("fresh", "recycled"))
    return [
        ratio(NAME, f"{what} into {pages} pages", take_turns({"oobcodec": ours, peer: theirs}, rounds), bar)
        for pages, ours, peer, theirs, bar in (
            ("fresh", fresh, "bare writev", partial(_write_bare, store.directory, array), WRITEV_BAR),
            ("recycled", recycled, "memcpy", partial(_seconds, partial(np.copyto, there, array)), MEMCPY_BAR),
            ("fresh", fresh, "SharedMemory", partial(_copy_to_shared_memory, array), PUT_BAR),
            ("recycled", recycled, "SharedMemory", partial(_copy_to_shared_memory, array), PUT_BAR),
        )
    ]


def _gets(store: Store, array: Any, effort: Effort) -> list[Result]:
    what = f"get {array.nbytes >> 20} MiB"
    ref = store.put(array)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_send, args=(there, array.nbytes))
    process.start()
    there.close()
    with here:
        here.recv()
        ways = {"oobcodec": partial(store.get, ref), "Pipe": partial(_receive, here)}
        turns = {name: partial(_seconds, way) for name, way in ways.items()}
        seconds = take_turns(turns, min(effort.rounds, ROUNDS))
    process.join()
    alone = best_times({"oobcodec": Contender("get(ref)", {"get": store.get, "ref": ref})}, effort)
    store.delete(ref)
    return [
        ratio(NAME, what, seconds, PIPE_BAR),
        ratio(NAME, what, alone | {"200 µs": GET_BAR_SECONDS}, NO_SLOWER),
    ]


def _small(store: Store, effort: Effort) -> list[Result]:
    names = {"store": store, "small": SMALL}
    ours = Contender("store.get(store.put(small))", names)
    deleting = Contender("ref = store.put(small); store.get(ref); store.delete(ref)", names)
    bar = {"60 µs": SMALL_BAR_SECONDS}
    return [
        ratio(NAME, "put and get 1 KB", best_times({"oobcodec": ours}, effort) | bar, NO_SLOWER),
        ratio(NAME, "put, get and delete 1 KB", best_times({"oobcodec": deleting}, effort) | bar, WITH_DELETE),
    ]


def _beside_ray(store: Store, array: Any, effort: Effort) -> list[Result]:
    ray = import_module("ray")
    what = f"{array.nbytes >> 20} MiB"
    rounds = min(effort.rounds, ROUNDS)
    size = max((rounds + 3) * array.nbytes, 1 << 28)
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=size, log_to_driver=False)
    kept: list[Any] = []
    try:
        puts = {
            pages: {
                "oobcodec": partial(_put, store, array, pages),
                "ray.put": partial(_put_ray, ray, array, kept, pages),
            }
            for pages in ("fresh", "recycled")  # what Ray has used once is warm
        }
        gets = {
            "oobcodec": Contender("get(ref)", {"get": store.get, "ref": store.put(array, pinned=True)}),
            "ray.get": Contender("get(ref)", {"get": ray.get, "ref": ray.put(array)}),
        }
        small = {
            "oobcodec": Contender("store.get(store.put(small))", {"store": store, "small": SMALL}),
            "ray.put, ray.get": Contender("ray.get(ray.put(small))", {"ray": ray, "small": SMALL}),
        }
        return [
            *(
                ratio(NAME, f"put {what} into {pages} pages", take_turns(puts[pages], rounds), PUT_BAR)
                for pages in puts
            ),
            ratio(NAME, f"get {what}", best_times(gets, effort), NO_SLOWER),
            ratio(NAME, "put and get 1 KB", best_times(small, effort), SMALL_BAR),
        ]
    finally:
        kept.clear()
        ray.shutdown()


def _put(store: Store, array: Any, pages: str) -> float:
    """Return how long a put takes, into pages that are new or that the last one has left."""
    store.evict(2 * array.nbytes)
    if pages == "recycled":
        store.delete(store.put(array))
    start = perf_counter()
    ref = store.put(array)
    seconds = perf_counter() - start
    store.delete(ref)
    return seconds


def _put_ray(ray: Any, array: Any, kept: list[Any], pages: str) -> float:
    """Return how long Ray takes, into memory that it has not used before, or has just freed."""
    if pages == "recycled":
        ray.put(array)
    start = perf_counter()
    ref = ray.put(array)
    seconds = perf_counter() - start
    if pages == "fresh":
        kept.append(ref)
    return seconds


def _write_bare(directory: str, array: Any) -> float:
    start = perf_counter()
    descriptor = os.open(directory, os.O_WRONLY | os.O_TMPFILE)
    rest = memoryview(array).cast("B")
    while rest:
        rest = rest[os.writev(descriptor, [rest]) :]
    seconds = perf_counter() - start
    os.close(descriptor)
    return seconds


def _copy_to_shared_memory(array: Any) -> float:
    start = perf_counter()
    memory = SharedMemory(create=True, size=array.nbytes)
    np.ndarray(array.shape, array.dtype, memory.buf)[:] = array
    seconds = perf_counter() - start
    memory.close()
    memory.unlink()
    return seconds


def _receive(connection: Connection) -> object:
    connection.send(None)
    return connection.recv()


def _send(connection: Connection, nbytes: int) -> None:
    array = np.ones(nbytes // 8)
    connection.send(None)
    try:
        while True:
            connection.recv()
            connection.send(array)
    except EOFError:
        return


def _seconds(way: Callable[[], object]) -> float:
    start = perf_counter()
    result = way()
    seconds = perf_counter() - start
    del result  # what it takes to let go of memory is no part of it
    return seconds


def _readers(store: Store, nbytes: int) -> Result:
    """Return what processes need that all read one object, besides that object."""
    ref = store.put(np.ones(nbytes // 8))
    command = [sys.executable, "-m", "benchmarks.store", store.name, store.directory, ref.key]
    start = partial(subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    readers: list[Any] = [start() for _ in range(READERS)]
    for reader in readers:
        reader.stdout.readline()
    found = []
    for reader in readers:  # while all of them have it
        reader.stdin.write("\n")
        reader.stdin.flush()
        found.append(json.loads(reader.stdout.readline()))
    for reader in readers:
        reader.communicate("\n")
    store.delete(ref)
    measured = {kind: sum(each[kind] for each in found) for kind in found[0]}
    measured["proportional"] -= nbytes
    what = f"{READERS} readers of {nbytes >> 20} MiB"
    return Result(NAME, what, measured["proportional"] / 2**20, READERS_BAR_MIB, "MiB", measured)


def read(name: str, directory: str, key: str) -> None:
    """Print by how much an object raises the memory of this process, each time that a line comes in."""
    store = Store(name, directory=directory, create=False)
    store.put(SMALL).get().sum()  # imports what it needs
    before = _memory()
    array = store.get(key)
    array[::512].sum()  # all pages
    for _ in range(2):
        print(json.dumps({kind: nbytes - before[kind] for kind, nbytes in _memory().items()}), flush=True)
        input()


def _memory() -> dict[str, int]:
    text = Path("/proc/self/smaps_rollup").read_text() + Path("/proc/self/status").read_text()
    kinds = {"proportional": "Pss", "page tables": "VmPTE"}
    return {kind: int(text.partition(f"\n{field}:")[2].split()[0]) << 10 for kind, field in kinds.items()}


def _listing(store: Store, count: int) -> Result:
    for _ in range(count - len(store)):
        store.put(b"x" * 1000)
    seconds = min(_seconds(store.objects) for _ in range(3))
    return ratio(NAME, f"list {len(store):,} objects", {"oobcodec": seconds, "a second": LIST_BAR_SECONDS}, NO_SLOWER)


if __name__ == "__main__":
    read(*sys.argv[1:])
