"""Time against size, a figure a family of workloads and a panel an operation; and throughput against that of a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import plots
from benchmarks.records import OPERATIONS
from benchmarks.workloads import LADDERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.records import Entry, Results, Subject

SEVERAL = 2
"""Sizes that it takes to draw a line."""


def draw_times(results: Results, folder: Path) -> dict[str, str]:
    """Draw all families of which several sizes were measured; return the names of the figures by theirs."""
    return {family: _draw_times(results, family, folder) for family in families(results)}


def families(results: Results) -> list[str]:
    """Return the families of which there are several sizes."""
    found = [workload.family for name, workload in LADDERS.items() if name in results.subjects]
    return [family for family in dict.fromkeys(found) if found.count(family) >= SEVERAL]


def _draw_times(results: Results, family: str, folder: Path) -> str:
    figure, axes = plots.panels(1, len(OPERATIONS), sharey=True)
    for operation, axis in zip(OPERATIONS, axes[0], strict=True):
        for peer in results.peers:
            for right, points in _lines(results, family, peer):
                times = [entry.times[operation].best for _, entry in points]
                sizes = [subject.nbytes for subject, _ in points]
                axis.plot(sizes, times, label=peer, **plots.style(peer, right=right))
        axis.set(xscale="log", yscale="log", title=operation, xlabel="size in bytes")
    axes[0][0].set_ylabel("time in seconds")
    figure.suptitle(f"{family}: time against size. Hollow: something of the object is lost")
    plots.legend(figure, axes)
    return plots.save(figure, folder, f"times-{family}")


def draw_throughput(results: Results, folder: Path) -> str:
    """Draw how much moves through a socket in a second, of each family, beside what a copy in memory moves."""
    shown = families(results)
    figure, axes = plots.panels(-(-len(shown) // 3), min(3, len(shown)), sharey=True)
    for axis, family in zip(axes.flat, shown, strict=False):
        for peer in results.peers:
            for right, points in _lines(results, family, peer):
                speeds = [subject.nbytes / entry.times["round trip"].best / 1e9 for subject, entry in points]
                sizes = [subject.nbytes for subject, _ in points]
                axis.plot(sizes, speeds, label=peer, **plots.style(peer, right=right))
        subjects = [each for each in results.subjects.values() if each.family == family]
        copies = [each.nbytes / each.memcpy / 1e9 for each in subjects]
        axis.plot([each.nbytes for each in subjects], copies, "--", color="#888888", label="memcpy")
        axis.set(xscale="log", yscale="log", title=family, xlabel="size in bytes")
    for row in axes:
        row[0].set_ylabel("round trip, throughput in GB/s")
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    plots.legend(figure, axes)
    return plots.save(figure, folder, "throughput")


def _lines(results: Results, family: str, peer: str) -> Iterator[tuple[bool, list[tuple[Subject, Entry]]]]:
    """Yield the sizes that arrive as they were, and those that do not."""
    points: list[tuple[Any, Any]] = [
        (subject, entry)
        for name, subject in results.subjects.items()
        if subject.family == family and (entry := results.entries.get((name, peer))) and entry.times
    ]
    for right in (True, False):
        if found := [point for point in points if point[1].right == right]:
            yield right, found
