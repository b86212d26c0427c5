"""Objects from one process to another, by the pipes, queues and pools of the standard library and by those of ours."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import ratio
from benchmarks.timing import take_turns
from oobcodec.integrations.multiprocessing import Pipe, ProcessPoolExecutor, Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from benchmarks.timing import Effort

NBYTES = 256 << 20
ROUNDS = 5
"""At most, for each takes the standard library seconds."""

BAR = 1 / 6
NO_SLOWER = 1.0
"""For what is measured to be known."""


def measure(effort: Effort) -> list[Result]:
    array = np.ones(NBYTES // effort.scale // 8)
    few = effort._replace(rounds=min(effort.rounds, ROUNDS))
    results = [*_race(f"{array.nbytes >> 20} MiB", array, few, BAR), _call(array, few)]
    for what, make in OTHERS.items():
        results += _race(what, make(effort.scale), effort, NO_SLOWER)
    return results


def _frame(scale: int) -> Any:
    return import_module("pandas").DataFrame({f"x{i}": np.arange(1_000_000 // scale) / 7 for i in range(10)})


def _state_dict(_: int) -> Any:
    torch = import_module("torch")
    return torch.nn.Sequential(*(torch.nn.Linear(384, 384) for _ in range(30))).state_dict()


def _arrays(_: int) -> Any:
    return {str(i): np.arange(100.0) + i for i in range(1000)}


OTHERS: dict[str, Callable[[int], Any]] = {
    "10 columns": _frame,
    "state_dict": _state_dict,
    "1,000 arrays of 800 bytes": _arrays,
}


def _race(what: str, obj: Any, effort: Effort, bar: float) -> list[Result]:
    return [
        ratio("processes", f"{what}, pipe", _moved(obj, effort, _over_pipe), bar),
        ratio("processes", f"{what}, queue", _moved(obj, effort, _over_queue), bar),
    ]


def _moved(obj: Any, effort: Effort, over: Callable[[Any], tuple[Any, Any]]) -> dict[str, float]:
    """Return the seconds from an object to the receiver's word that it is there, with each library."""
    context = multiprocessing.get_context("spawn")
    ways = {"oobcodec": over(None), "multiprocessing": over(context)}
    done, said = context.Pipe(duplex=False)
    receives = [receive for _, receive in ways.values()]
    receiver = context.Process(target=_receive, args=(receives, effort.rounds, said), daemon=True)
    receiver.start()
    seconds = take_turns({name: partial(_timed, send, done, obj) for name, (send, _) in ways.items()}, effort.rounds)
    receiver.join()
    return seconds


def _over_pipe(context: Any) -> tuple[Any, Any]:
    reader, writer = Pipe(duplex=False) if context is None else context.Pipe(duplex=False)
    return writer.send, reader.recv


def _over_queue(context: Any) -> tuple[Any, Any]:
    channel = Queue(mp_context=multiprocessing.get_context("spawn")) if context is None else context.Queue()
    return channel.put, channel.get


def _timed(send: Callable[[Any], object], done: Any, obj: Any) -> float:
    start = perf_counter()
    send(obj)
    if not done.poll(60):
        message = "the receiver did not get what was sent"
        raise RuntimeError(message)
    done.recv()
    return perf_counter() - start


def _receive(receives: list[Callable[[], Any]], rounds: int, said: Any) -> None:
    for _ in range(rounds):
        for receive in receives:
            obj = receive()
            said.send("here")
            del obj  # so that the next one comes into other memory


def _call(array: Any, effort: Effort) -> Result:
    """Compare the time that an array takes to a process of a pool and its sum takes back."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as ours, concurrent.futures.ProcessPoolExecutor(1, context) as theirs:
        pools = {"oobcodec": ours, "concurrent.futures": theirs}
        for pool in pools.values():
            pool.submit(abs, -1).result()
        seconds = take_turns({name: partial(_called, pool, array) for name, pool in pools.items()}, effort.rounds)
    return ratio("processes", f"{array.nbytes >> 20} MiB, call in a pool", seconds, BAR)


def _called(pool: concurrent.futures.Executor, array: Any) -> float:
    start = perf_counter()
    pool.submit(len, array).result()
    return perf_counter() - start
