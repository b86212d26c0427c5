"""The report of a run: a page of tables and plots, ratios first and times second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import plots, ratios
from benchmarks.markup import bullets, heading, html, image, literal, plain, table
from benchmarks.peers import SHAPES
from benchmarks.plots import compression, gains, sizes
from benchmarks.records import OPERATIONS, OURS
from benchmarks.results import from_dict
from benchmarks.suite import OLD
from benchmarks.units import amount, duration, times
from benchmarks.workloads import SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.records import Entry, Results

LOSES, REFUSES = "✗", "—"
INTRODUCTION = f"""\
Every time is the best of several rounds in which all peers take turns, in another order each, with the garbage
collector off. A round trip is the time from the object to the word of another process that it has loaded it, over TCP
on this machine; all messages are sent and received by the same loop. Peers load what they made from other memory, which
they may write to. A peer marked {LOSES} loses something of the object (its type, its values, shared memory, or that it
can be written to), and one marked {REFUSES} does not take such objects: `Everything`_ says what and why.
"""
SHAPES_TEXT = """\
A message can be one byte string that begins with a tag; it can be a ``BytesIO`` that tag and payload are written into;
or it can be a list of frames, one of them the memory of the array itself. The three differ in nothing else: a line of
text describes the type and the shape of the array.
"""
COMMANDS_TEXT = """\
The two command lines of ProxyStore's request 591 for faster serialization, to the letter, and the same with oobcodec.
Each loop makes a new array of 800 MB, which takes most of the time; the first row is that alone, and the last column
what is left without it.
"""


def write(results: Results, folder: Path) -> Path:
    """Write the page and its plots to a folder, and return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    source = "\n".join(_page(results, folder))
    (folder / "report.rst").write_text(source, encoding="utf-8")
    (folder / "index.html").write_text(html(source), encoding="utf-8")
    return folder / "index.html"


def _page(results: Results, folder: Path) -> Iterator[str]:
    yield heading("oobcodec and its peers", 0)
    yield INTRODUCTION
    yield from _in_short(results)
    yield from _plots(results, folder)
    yield from _shapes(results)
    yield from _commands(results)
    for operation in OPERATIONS if ratios.rows(results) else ():
        yield heading(f"{operation.capitalize()}: times as multiples of oobcodec's")
        yield overview(results, operation)
    yield heading("Everything")
    for workload in results.subjects:
        yield heading(workload, 2)
        yield details(results, workload)
    yield heading("Machine and versions")
    lines = [f"{name}: {value}" for name, value in {**results.environment, **results.peers}.items()]
    yield bullets(lines)


def _in_short(results: Results) -> Iterator[str]:
    yield heading("In short")
    lost = ratios.losses(results)
    rows = [name for name in ratios.rows(results) if (ours := results.entries.get((name, OURS))) and ours.right]
    count = len(rows) * len(OPERATIONS)
    lines = [f"{OURS} is the fastest that loses nothing, or within 5 % of it, in {count - len(lost)} of {count} rows."]
    gains_of = {
        operation: ratios.mean(ratios.gain(results, OLD, OURS, name, operation) for name in results.subjects)
        for operation in OPERATIONS
    }
    means = (
        f"{operation}: {OLD} takes {times(gain)} as long as {OURS}, in the geometric mean."
        for operation, gain in gains_of.items()
        if gain
    )
    yield bullets([*lines, *means])
    if lost:
        yield plain(f"Rows in which another peer that loses nothing is faster than {OURS}:") + "\n"
        yield table(
            ("workload", "operation", "fastest", f"{OURS} takes"),
            [(loss.workload, loss.operation, loss.peer, times(loss.ratio)) for loss in lost],
        )


def _plots(results: Results, folder: Path) -> Iterator[str]:
    if not plots.is_possible():
        return
    if gains.compared(results):
        yield heading("Old against new")
        yield image(gains.draw(results, folder), "how many times as long the old serializer takes")
    if sizes.families(results):
        yield heading("Time against size")
        for family, name in sizes.draw_times(results, folder).items():
            yield image(name, f"{family}: time against size")
        yield heading("Throughput against that of a copy")
        yield image(sizes.draw_throughput(results, folder), "throughput of round trips beside that of memcpy")
    if results.compression:
        yield heading("Compression: ratio against speed")
        yield image(compression.draw([from_dict(each) for each in results.compression], folder), "ratio against speed")


def _shapes(results: Results) -> Iterator[str]:
    names = [name for name, subject in results.subjects.items() if subject.family == SHAPE]
    if not names:
        return
    yield heading("Tag + payload, BytesIO, or frames?")
    yield SHAPES_TEXT
    header = ("array of", *(f"{peer}: {operation}" for operation in OPERATIONS for peer in (OURS, *SHAPES)))
    yield table(header, [_shape_row(results, name) for name in names])
    largest = max(names, key=lambda name: results.subjects[name].nbytes)
    one, _, three = (results.entries.get((largest, peer)) for peer in SHAPES)
    if one and three and one.times and three.times:
        first, last = (entry.times["round trip"].best for entry in (one, three))
        label = largest.removeprefix(f"{SHAPE}, ")
        yield f"Frames: for {label} a round trip of tag + payload takes {times(first / last)} as long.\n"


def _shape_row(results: Results, name: str) -> tuple[str, ...]:
    entries = [results.entries.get((name, peer)) for peer in (OURS, *SHAPES)]
    cells = [_time(entry, operation) for operation in OPERATIONS for entry in entries]
    return (name.removeprefix(f"{SHAPE}, "), *cells)


def _commands(results: Results) -> Iterator[str]:
    if not results.commands:
        return
    yield heading("The commands that the question came with")
    yield COMMANDS_TEXT
    alone = results.commands[0].seconds or 0.0
    rows = [
        (each.what, duration(each.seconds), duration(max(0.0, each.seconds - alone)))
        if each.seconds is not None
        else (each.what, REFUSES, REFUSES)
        for each in results.commands
    ]
    yield table(("command", "a loop", "beyond the array"), rows)
    for each in results.commands:
        yield f"{plain(each.what)} {literal(each.command)}"


def overview(results: Results, operation: str) -> str:
    """Return the table of an operation, a line a workload and a column a peer."""
    others = [peer for peer in results.peers if peer != OURS]
    rows = []
    for name in ratios.rows(results):
        found = ratios.to_ours(results, name, operation)
        cells = [_cell(results.entries.get((name, peer)), found.get(peer)) for peer in others]
        rows.append((name, _time(results.entries.get((name, OURS)), operation), *cells))
    return table(("workload", OURS, *others), rows)


def _cell(entry: Entry | None, ratio: float | None) -> str:
    if entry is None:
        return ""
    if ratio is None:
        return REFUSES
    return times(ratio) if entry.right else f"{times(ratio)} {LOSES}"


def _time(entry: Entry | None, operation: str) -> str:
    return duration(entry.times[operation].best) if entry and entry.times else REFUSES


def details(results: Results, workload: str) -> str:
    """Return the table of a workload, a line a peer, the quickest round trip first."""
    entries = sorted(
        results.of(workload), key=lambda each: each.times["round trip"].best if each.times else float("inf")
    )
    relative = {operation: ratios.to_ours(results, workload, operation) for operation in OPERATIONS}
    rows = []
    for each in entries:
        if each.unsupported:
            rows.append((each.peer, *[REFUSES] * (len(OPERATIONS) + 3), each.unsupported))
            continue
        cells = [f"{times(relative[name][each.peer])} ({duration(each.times[name].best)})" for name in OPERATIONS]
        peaks = [REFUSES if (peak := each.peaks.get(name)) is None else amount(peak) for name in OPERATIONS[:2]]
        lost = "; ".join(f"{aspect}: {text}" for aspect, text in each.lost.items())
        rows.append((each.peer, *cells, amount(each.shipped), *peaks, f"{LOSES} {lost}" if lost else "as it was"))
    return table(("peer", *OPERATIONS, "shipped", "memory, dumps", "memory, loads", "arrives"), rows)
