"""Ratios between times, which stay the same from machine to machine where times do not."""

from __future__ import annotations

from statistics import geometric_mean, median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.records import OPERATIONS, OURS
from benchmarks.workloads import SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.records import Entry, Results

TIE = 1.05
"""Ratio up to which two times are the same, as far as a machine that does other things can tell."""


class Change(NamedTuple):
    """By what a time has grown from one run to another, beyond that by which those of the others have."""

    workload: str
    peer: str
    operation: str
    before: float
    after: float
    ratio: float


class Loss(NamedTuple):
    """A row that another peer wins, which loses nothing of the object."""

    workload: str
    operation: str
    peer: str
    ratio: float


def best(results: Results, workload: str, operation: str, *, without: str = "") -> Entry | None:
    """Return the quickest of those that lose nothing, if there are any."""
    right = [each for each in results.of(workload) if each.right and each.peer != without]
    return min(right, key=lambda entry: entry.times[operation].best, default=None)


def to_ours(results: Results, workload: str, operation: str) -> dict[str, float]:
    """Return the time of each peer as a multiple of oobcodec's, or of the best where that was not measured."""
    ours = results.entries.get((workload, OURS))
    reference = ours if ours and ours.times else best(results, workload, operation)
    if reference is None:
        return {}
    unit = reference.times[operation].best
    return {each.peer: each.times[operation].best / unit for each in results.of(workload) if each.times}


def rows(results: Results) -> list[str]:
    """Return the workloads in which peers are compared, and not shapes of a message."""
    return [name for name, subject in results.subjects.items() if subject.family != SHAPE]


def losses(results: Results) -> list[Loss]:
    """Return the rows in which another peer is the quickest that loses nothing, the worst first."""
    found = []
    for workload in rows(results):
        for operation in OPERATIONS:
            ours, other = results.entries.get((workload, OURS)), best(results, workload, operation, without=OURS)
            if ours and ours.right and other:
                ratio = ours.times[operation].best / other.times[operation].best
                if ratio > TIE:
                    found.append(Loss(workload, operation, other.peer, ratio))
    return sorted(found, key=lambda loss: -loss.ratio)


def gain(results: Results, old: str, new: str, workload: str, operation: str) -> float | None:
    """Return how many times as long as `new` `old` takes, or nothing if one of them was not measured."""
    first, second = (results.entries.get((workload, peer)) for peer in (old, new))
    if not (first and second and first.times and second.times):
        return None
    return first.times[operation].best / second.times[operation].best


def mean(ratios: Iterable[float | None]) -> float | None:
    """Return the geometric mean of those that there are."""
    found = [ratio for ratio in ratios if ratio is not None]
    return geometric_mean(found) if found else None


def changes(before: Results, after: Results, tolerance: float) -> list[Change]:
    """Return what has become slower or quicker by more than `tolerance`, in the best and in the median, worst first.

    By how much the machine itself was slower is seen from the other peers: the median of their ratios counts as 1.
    """
    found = []
    for workload in before.subjects.keys() & after.subjects.keys():
        for operation in OPERATIONS:
            ratios = dict(_ratios(before, after, workload, operation))
            for peer, (of_best, of_median) in ratios.items():
                control = median([other for name, (other, _) in ratios.items() if name not in {peer, OURS}] or [1.0])
                ratio = _nearer_to_one(of_best / control, of_median / control)
                if max(ratio, 1 / ratio) > tolerance:
                    first, second = (each.entries[workload, peer].times[operation].best for each in (before, after))
                    found.append(Change(workload, peer, operation, first, second, ratio))
    return sorted(found, key=lambda change: (-change.ratio, change[:3]))


def _ratios(
    before: Results, after: Results, workload: str, operation: str
) -> Iterator[tuple[str, tuple[float, float]]]:
    for key, entry in before.entries.items():
        other = after.entries.get(key)
        if key[0] == workload and other and entry.times and other.times:
            first, second = entry.times[operation], other.times[operation]
            yield key[1], (second.best / first.best, second.median / first.median)


def _nearer_to_one(one: float, other: float) -> float:
    """Return that of two ratios which says less, or 1 if they contradict each other."""
    if (one > 1) != (other > 1):
        return 1.0
    return min(one, other) if one > 1 else max(one, other)
