"""Verdicts counted, and as the tables of the README."""

from __future__ import annotations

import json
import platform
import textwrap
from collections import Counter
from importlib.metadata import packages_distributions, version
from pathlib import Path

from .table import LIBRARIES

RECORD = Path(__file__).with_name("counts.json")
"""What the tables of the README are made of: not all libraries fit into one environment."""
TITLES = {
    "stdlib": "Python",
    "pyarrow": "Arrow",
    "jax": "JAX",
    "tensorflow": "TensorFlow",
    "pickle5": "pickle 5",
    "proxystore": "ProxyStore",
}
GUARANTEES = {
    "error": "It arrives, without an error",
    "type": "Its type",
    "value": "Its value, names and metadata",
    "names": "Its value, names and metadata",
    "metadata": "Its value, names and metadata",
    "flags": "Its value, names and metadata",
    "device": "Its value, names and metadata",
    "dtype": "Its dtype",
    "layout": "The order of its axes",
    "mutability": "Read-only or writable, as it was",
    "identity": "What was one object is one",
    "sharing": "What shared memory shares it",
    "alignment": "Its memory is aligned",
    "in-band": "Its data stays out of the stream",
    "shipped": "No data but its own is shipped",
}
"""What a user may rely on, by the aspect of a comparison that breaks it."""
COSTS = {"in-band", "shipped"}
"""Aspects that make an object slow, not wrong."""


def counted(verdicts):
    """Return by peer and library how many cases there are, arrive as they left, and break a guarantee."""
    return {peer: {library: _count(found) for library, found in of.items()} for peer, of in verdicts.items()}


def _count(found):
    lost = [set().union(*contexts.values()) for contexts in found.values()]
    broken = Counter(guarantee for each in lost for guarantee in {GUARANTEES[aspect] for aspect in each})
    return {"cases": len(lost), "right": sum(not each - COSTS for each in lost), "broken": dict(sorted(broken.items()))}


def versions(libraries, peers):
    """Return the versions of what takes part, oobcodec and what comes with Python left out."""
    distributions = packages_distributions()
    found = {library: version(distributions[library][0]) for library in libraries if library != "stdlib"}
    found |= {peer.name: peer.version for peer in peers if peer.name not in {"oobcodec", "pickle5"}}
    return {"CPython": platform.python_version()} | found


def record(counts, found, path=RECORD):
    """Write counts and versions over those of the same peers and libraries."""
    recorded = json.loads(path.read_text()) if path.exists() else {"versions": {}, "counts": {}}
    recorded["versions"] |= found
    for peer, of in counts.items():
        recorded["counts"].setdefault(peer, {}).update(of)
    path.write_text(json.dumps(recorded, indent=1) + "\n")


def tables(recorded):
    """Return the cases that break each guarantee, those of each library that arrive, and versions, for the README."""
    counts = recorded["counts"]
    libraries = [library for library in LIBRARIES if library in counts["oobcodec"]]
    groups = {TITLES.get(library, library): [library] for library in libraries} | {"**all**": libraries}
    peers = [TITLES.get(peer, peer) for peer in counts]
    broken = [
        (guarantee, *numbers)
        for guarantee in dict.fromkeys(GUARANTEES.values())
        if any(numbers := [sum(of[each]["broken"].get(guarantee, 0) for each in libraries) for of in counts.values()])
    ]
    arrived = [
        (title, _sum(counts["oobcodec"], group, "cases"), *(_sum(of, group, "right") for of in counts.values()))
        for title, group in groups.items()
    ]
    took_part = [f"{TITLES.get(name, name)} {number}" for name, number in recorded["versions"].items()]
    return "\n".join(
        [
            *_table(("Guarantee", *peers), broken),
            *_table(("Objects of", "Cases", *peers), arrived),
            *textwrap.wrap(f"{', '.join(took_part)}.", 120),
        ]
    )


def _sum(of, libraries, what):
    return sum(of[library][what] for library in libraries)


def _table(head, rows):
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return [rule, lines[0], rule, *lines[1:], rule, ""]
