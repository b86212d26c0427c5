"""Old against new: how many times as long the old serializer takes, workload by workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.ratios import gain
from benchmarks.records import OPERATIONS, OURS
from benchmarks.suite import OLD

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.records import Results

COLOURS = dict(zip(OPERATIONS, ("#08306b", "#2171b5", "#6baed6"), strict=True))


def compared(results: Results) -> list[str]:
    """Return the workloads that both have done."""
    return [name for name in results.subjects if gain(results, OLD, OURS, name, OPERATIONS[0]) is not None]


def draw(results: Results, folder: Path) -> str:
    """Draw a bar for each workload and operation; pale where the old serializer loses something of the object."""
    names = compared(results)
    figure, ((axis,),) = plots.panels(1, 1, figsize=(10, 1.5 + 0.42 * len(names)))
    height = 0.8 / len(OPERATIONS)
    least = 1.0
    for number, operation in enumerate(OPERATIONS):
        for row, name in enumerate(names):
            ratio = gain(results, OLD, OURS, name, operation)
            alpha = 1.0 if results.entries[name, OLD].right else 0.4
            axis.barh(row + (number - 1) * height, (ratio or 1) - 1, height, 1, color=COLOURS[operation], alpha=alpha)
            least = min(least, ratio or 1)
    axis.axvline(1, color="black", linewidth=1)
    axis.set(xscale="log", xlabel=f"time of {OLD} divided by that of {OURS}: right of 1, {OURS} is quicker")
    axis.set_xlim(left=least / 1.5)  # else it begins at 1, and hides what has become slower
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)  # the first on top
    bars = [axis.barh(0, 0, left=1, color=COLOURS[operation]) for operation in OPERATIONS]
    figure.legend(bars, OPERATIONS, loc="outside upper right", ncols=len(OPERATIONS))
    return plots.save(figure, folder, "old-and-new")
