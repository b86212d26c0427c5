"""Plots of what was measured, each as PNG and SVG."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.records import OURS
from benchmarks.suite import CONTENDERS

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "plots need the package matplotlib, which is not installed: pip install matplotlib"
COLOURS = dict(
    zip(
        CONTENDERS,
        (
            *("#08306b", "#1b7837", "#7fbf7b", "#d95f02", "#c51b7d", "#6a3d9a", "#b2df8a", "#35978f", "#fdae61"),
            *("#e31a1c", "#b15928", "#999999", "#fb9a99", "#cab2d6", "#666666", "#dfc27d", "#000000"),
        ),
        strict=True,
    )
)
"""Blue is ours, and black what was there before."""


def is_possible() -> bool:
    return find_spec("matplotlib") is not None


def panels(rows: int, columns: int, **options: Any) -> tuple[Any, Any]:
    """Return a figure and its axes, in rows."""
    import_module("matplotlib").use("agg")
    size = (5 * columns, 4 * rows)
    figure, axes = import_module("matplotlib.pyplot").subplots(
        rows, columns, **{"figsize": size, "layout": "constrained", "squeeze": False, **options}
    )
    for axis in axes.flat:
        axis.grid(color="#dddddd", linewidth=0.5)
        axis.set_axisbelow(True)
    return figure, axes


def style(peer: str, *, right: bool) -> dict[str, Any]:
    """Return how a peer is drawn: hollow where it loses something."""
    return {
        "color": COLOURS.get(peer, "#888888"),
        "marker": "o",
        "markersize": 5,
        "markerfacecolor": COLOURS.get(peer, "#888888") if right else "white",
        "linewidth": 2.5 if peer == OURS else 1,
        "linestyle": "-" if right else ":",
        "zorder": 3 if peer == OURS else 2,
    }


def legend(figure: Any, axes: Any) -> None:
    """List each peer once, beside the panels."""
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles, loc="outside right upper")


def save(figure: Any, folder: Path, name: str) -> str:
    """Write a figure to a folder, and return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"{name}.{suffix}", dpi=150, metadata={"Date": None} if suffix == "svg" else {})
    import_module("matplotlib.pyplot").close(figure)
    return name
