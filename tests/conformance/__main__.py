"""``python -m tests.conformance``: send the table by one peer or several, and count what arrives."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

from benchmarks import peers

from .counts import RECORD, counted, record, tables, versions
from .court import Court
from .table import LIBRARIES, cases

EXPLANATION = """\
A cell: cases that arrive as they left alone / also nested and twice in a message / also with their data out of band."""
NOT_WRONG = {"in-band", "shipped"}


def score(names, libraries):
    """Return what each peer loses: by peer, library, case and context."""
    court = Court()
    try:
        return {
            peer: {
                library: {case: court.lost_by(peer, library, case) for case in cases(library)} for library in libraries
            }
            for peer in names
        }
    finally:
        court.close()


def count(verdicts):
    """Return how many cases are right alone, how many in every context, and how many of these are out of band."""
    alone = [lost for lost in verdicts if not lost["alone"].keys() - NOT_WRONG]
    everywhere = [lost for lost in alone if not set().union(*lost.values()) - NOT_WRONG]
    return len(alone), len(everywhere), sum(not any(lost.values()) for lost in everywhere)


def show(verdicts, libraries):
    """Print a line a library, with a column a peer."""
    rows = [("", "cases", *(f"{name} {peers.find(name).version}" for name in verdicts))]
    for title, group in [*((library, [library]) for library in libraries), ("all", libraries)]:
        counts = [count([lost for library in group for lost in of[library].values()]) for of in verdicts.values()]
        total = sum(len(cases(library)) for library in group)
        rows.append((title, str(total), *(" / ".join(map(str, each)) for each in counts)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{EXPLANATION}")
    for name, of in verdicts.items():
        lost = [set().union(*contexts.values()) for library in of.values() for contexts in library.values()]
        aspects = Counter(aspect for each in lost for aspect in each)
        print(f"{name}: " + (", ".join(f"{n} {aspect}" for aspect, n in aspects.most_common()) or "nothing lost"))


def show_lost(verdicts):
    """Print every case that is not as it should be, and why."""
    for name, of in verdicts.items():
        for library, found in of.items():
            for case, contexts in found.items():
                for aspect, text in {
                    a: text for lost in reversed(contexts.values()) for a, text in lost.items()
                }.items():
                    print(f"{name}: {library}, {case}: {aspect}: {text}")


def main():
    parser = ArgumentParser(prog="python -m tests.conformance", description="Send the table of cases by some peers.")
    parser.add_argument("--peer", action="append", choices=peers.NAMES, help="repeatable; by default all installed")
    parser.add_argument("--library", action="append", choices=LIBRARIES, help="repeatable; by default all installed")
    parser.add_argument("--lost", action="store_true", help="list every case that is not as it should be, and why")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdicts to a file")
    parser.add_argument("--record", type=Path, metavar="FILE", nargs="?", const=RECORD, help="note what was counted")
    parser.add_argument("--rst", action="store_true", help="print the tables of what was noted, and do nothing else")
    arguments = parser.parse_args()
    if arguments.rst:
        print(tables(json.loads(RECORD.read_text())))
        return
    names = [name for name in arguments.peer or peers.NAMES if peers.find(name)]
    if missing := set(arguments.peer or ()) - set(names):
        parser.error(f"not installed: {', '.join(missing)}")
    libraries = [library for library in arguments.library or LIBRARIES if cases(library)]
    verdicts = score(names, libraries)
    show(verdicts, libraries)
    if arguments.lost:
        show_lost(verdicts)
    if arguments.json:
        arguments.json.write_text(json.dumps(verdicts, indent=1))
    if arguments.record:
        record(counted(verdicts), versions(libraries, map(peers.find, names)), arguments.record)
    ours = verdicts.get("oobcodec", {}).values()
    sys.exit(any(lost for library in ours for contexts in library.values() for lost in contexts.values()))


if __name__ == "__main__":
    main()
