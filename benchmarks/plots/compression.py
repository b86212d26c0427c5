"""A plot of what has been measured: how much a way to compress leaves out, against how fast it is."""

from __future__ import annotations

from importlib import import_module
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import plots
from benchmarks.compression import UNCOMPRESSED, WAYS, is_compressible
from benchmarks.datasets import BFLOAT16, DATA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.results import Result

PANELS = {"dumps": "speed of compression", "loads": "speed of decompression"}
NOTE = (
    "Large: geometric means, of the ratio over the eight data sets, and of the speed over those that LZ4 compresses.\n"
    "What a way leaves as it is has no speed, and is not shown."
)
# Blue is ours; one colour for each library, lighter for what comes after the first.
COLOURS = dict(
    zip(
        WAYS,
        ("#08306b", "#2171b5", "#6baed6", "#d95f02", "#fdae61", "#1b7837", "#7fbf7b", "#c51b7d", "#777777"),
        strict=True,
    )
)
MARKERS = dict(zip(DATA, "osD^vP*Xh", strict=True))
LEFT = 1.02
"""Ratio below which data is left as it is."""


class Point(NamedTuple):
    """What a way makes of a data set, and whether LZ4 compresses that."""

    name: str
    speed: float
    ratio: float
    compressible: bool


def draw(results: Sequence[Result], folder: Path) -> str:
    """Write ``compression.png`` and ``compression.svg``, with a point for each way and data set."""
    ticker = import_module("matplotlib.ticker")
    figure, ((*axes,),) = plots.panels(1, 2, figsize=(14, 7), sharey=True)
    for (operation, label), axis in zip(PANELS.items(), axes, strict=True):
        for way in WAYS:
            _draw_way(axis, _points(results, operation, way), way)
        axis.set(xscale="log", yscale="log", xlabel=f"{label} in GB/s of uncompressed bytes")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            side.set_major_formatter("{x:g}")
            side.set_minor_locator(ticker.NullLocator())
    axes[0].set_ylabel("ratio of uncompressed to compressed bytes")
    figure.suptitle(NOTE, fontsize="medium")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", title="way", markerscale=0.5)
    shapes = [axes[1].plot([], [], marker, color="black")[0] for marker in MARKERS.values()]
    figure.legend(shapes, MARKERS, loc="outside right lower", title="data set")
    return plots.save(figure, folder, "compression")


def _points(results: Sequence[Result], operation: str, way: str) -> list[Point]:
    found = {(result.name, result.operation): result.measured for result in results}
    points = []
    for name in DATA:
        size, seconds = (found.get((f"compression, {name}", which), {}) for which in ("size", operation))
        if way in size and way in seconds:
            nbytes = size[UNCOMPRESSED]
            points.append(Point(name, nbytes / seconds[way] / 1e9, nbytes / size[way], is_compressible(size)))
    return points


def _draw_way(axis: Any, points: Sequence[Point], way: str) -> None:
    colour = COLOURS[way]
    for point in points:
        if point.ratio >= LEFT:
            axis.plot(point.speed, point.ratio, MARKERS[point.name], color=colour, markersize=6, alpha=0.6)
    speeds = [point.speed for point in points if point.compressible]
    if speeds:
        ratio = geometric_mean(point.ratio for point in points if point.name != BFLOAT16)
        axis.plot(geometric_mean(speeds), ratio, "o", color=colour, markersize=16, markeredgecolor="black", label=way)
