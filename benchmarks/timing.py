"""Time, as the best of several rounds in which the contenders take turns: what disturbs one disturbs the other."""

from __future__ import annotations

from functools import partial
from timeit import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Effort(NamedTuple):
    """How long to measure.

    Attributes
    ----------
    rounds : int
        How often each contender has its turn.
    seconds : float
        How long a turn takes, if what is timed is quicker than that.
    scale : int
        Divisor of sizes in the benchmarks that take a whole gigabyte or a second process.
    """

    rounds: int
    seconds: float
    scale: int


FULL = Effort(rounds=20, seconds=0.04, scale=1)
QUICK = Effort(rounds=3, seconds=0.02, scale=16)


class Contender(NamedTuple):
    """A statement and the names in it: called through a function, it would cost more than what is to be timed."""

    statement: str
    names: dict[str, Any]


def settle_allocator() -> None:
    """Bring the heap into the state of a process that has run for a while.

    The first large block that is freed makes glibc keep such blocks from then on (``M_MMAP_THRESHOLD`` in mallopt(3)).
    Before that, a copy of some megabytes costs up to ten times as much.
    """
    bytearray(32_000_000)


def best_times(contenders: Mapping[str, Contender], effort: Effort) -> dict[str, float]:
    """Return the seconds that one execution of each contender takes, with the garbage collector off."""
    timers = {name: _timer(contender) for name, contender in contenders.items()}
    turns = {name: partial(_mean, timer, _calibrated(timer, effort.seconds)[0]) for name, timer in timers.items()}
    return take_turns(turns, effort.rounds)


def mean(contender: Contender, seconds: float) -> float:
    """Return the seconds that one execution takes, with the garbage collector off: the mean of one turn."""
    executions, elapsed = _calibrated(_timer(contender), seconds)
    return elapsed / executions


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the least that each contender returns in as many rounds."""
    turns = [{name: measure() for name, measure in contenders.items()} for _ in range(rounds)]
    return {name: min(turn[name] for turn in turns) for name in contenders}


def _timer(contender: Contender) -> Timer:
    return Timer(contender.statement, globals=contender.names)


def _mean(timer: Timer, executions: int) -> float:
    return timer.timeit(executions) / executions


def _calibrated(timer: Timer, seconds: float) -> tuple[int, float]:
    """Return how many executions take about as long as a turn should, and how long they took."""
    count = 1
    while (elapsed := timer.timeit(count)) < seconds / 2:
        count = max(2 * count, int(count * seconds / max(elapsed, 1e-6)))
    return count, elapsed
