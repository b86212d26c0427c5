"""Results as tables in a terminal: ratios first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks import ratios
from benchmarks.records import OPERATIONS, OURS
from benchmarks.units import amount, duration, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.ratios import Change
    from benchmarks.records import Results
    from benchmarks.results import Result

WIDTH = 140


NOTES = """\
Times are the best of several rounds in which the contenders take turns, with the garbage collector off.
Loads reads what a receiver has in memory of its own: arrays that lie in it are not copied, bytes objects are.
The same object is dumped, and the same message loaded, again and again: oobcodec then knows the stream of a lone array.
A peer that loses something of the object is shown with what it loses, and not compared with.
Copied is what dumps writes a second time. Views that share memory and frames that refer to it are not copies.
Memory is what the peak grows by during dumps. The socket's time runs from the object to its acknowledgement."""


def show_bars(results: Sequence[Result]) -> None:
    """Print what was held against bars, and what that means."""
    table = Table("workload", "operation", "figure", "bar", "", "measured")
    for result in results:
        table.add_row(*_cells(result), style=None if result.met else "red")
    _print(table)
    print(NOTES)


def show_run(results: Results) -> None:
    """Print the time of oobcodec for each workload, beside that of the best other peer that loses nothing."""
    table = Table("workload", *OPERATIONS)
    for workload in results.subjects:
        table.add_row(workload, *(_beside_best(results, workload, operation) for operation in OPERATIONS))
    _print(table)
    unsupported = sum(bool(entry.unsupported) for entry in results.entries.values())
    lossy = sum(bool(entry.lost) for entry in results.entries.values())
    print(f"Of {len(results.entries)} entries, {lossy} lose something and {unsupported} were refused.")


def show_changes(changes: Sequence[Change]) -> None:
    """Print what has changed, the worst first."""
    if not changes:
        print("Nothing has changed by more than is tolerated.")
        return
    table = Table("workload", "peer", "operation", "before", "after", "against the others")
    for change in changes:
        style = "red" if change.ratio > 1 and change.peer == OURS else None
        seconds = duration(change.before), duration(change.after)
        table.add_row(change.workload, change.peer, change.operation, *seconds, times(change.ratio), style=style)
    _print(table)


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def _beside_best(results: Results, workload: str, operation: str) -> str:
    ours = results.entries.get((workload, OURS))
    other = ratios.best(results, workload, operation, without=OURS)
    shown = duration(ours.times[operation].best) if ours and ours.times else "-"
    if other is None:
        return shown
    ratio = ratios.to_ours(results, workload, operation)[other.peer]
    return f"{shown}, {other.peer} {times(ratio)}"


def _cells(result: Result) -> tuple[str, ...]:
    scale = duration if result.unit == "x" else amount
    measured = ", ".join(f"{name} {scale(amount)}" for name, amount in result.measured.items())
    return (
        result.name,
        result.operation,
        f"{result.figure:.3g} {result.unit}".rstrip(),
        f"<= {result.bar:g} {result.unit}".rstrip(),
        "" if result.met else "missed",
        measured,
    )
