"""Results as text: the ratio first, then the bar, then what was measured."""

from __future__ import annotations

import platform
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import oobcodec
from benchmarks import peers

try:
    from rich.console import Console
    from rich.table import Table
except ModuleNotFoundError:
    RICH = False
else:
    RICH = True

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Result

COLUMNS = ("workload", "operation", "figure", "bar", "", "measured")

NOTES = """\
Times are the best of several rounds in which the contenders take turns, with the garbage collector off.
Loads reads what a receiver has in memory of its own: arrays that lie in it are not copied, bytes objects are.
The same object is dumped, and the same message loaded, again and again: oobcodec then knows the stream of a lone array.
A peer that loses something of the object is shown with what it loses, and not compared with.
Copied is what dumps writes a second time. Views that share memory and frames that refer to it are not copies.
Memory is what the peak grows by during dumps. The socket's time runs from the object to its acknowledgement."""


def environment() -> dict[str, str]:
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "oobcodec": oobcodec.__version__,
        "CPU": f"{_cpu()}, {cpu_count()} cores",
        "system": platform.platform(),
        "peers": ", ".join(f"{peer.name} {peer.version}" for peer in map(peers.find, peers.NAMES) if peer),
    }


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def show(results: Sequence[Result]) -> None:
    """Print a table: with rich if it is installed."""
    rows = [_cells(result) for result in results]
    if not RICH:
        _show_plain(rows)
        return
    console = Console()
    table = Table(*COLUMNS)
    for row, result in zip(rows, results, strict=True):
        table.add_row(*row, style=None if result.met else "red")
    (console if console.is_terminal else Console(width=140)).print(table)


def _show_plain(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cells(result: Result) -> tuple[str, ...]:
    scale = _seconds if result.unit == "x" else _bytes
    measured = ", ".join(f"{name} {scale(amount)}" for name, amount in result.measured.items())
    return (
        result.name,
        result.operation,
        f"{result.figure:.3g} {result.unit}".rstrip(),
        f"<= {result.bar:g} {result.unit}".rstrip(),
        "" if result.met else "missed",
        measured,
    )


def _bytes(amount: float) -> str:
    return f"{amount:,.0f} bytes"


def _seconds(amount: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if amount >= scale:
            return f"{amount / scale:.3g} {unit}"
    return f"{amount / 1e-9:.3g} ns"
