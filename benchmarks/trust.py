"""What it costs not to trust a peer: loads under the policy DATA, beside TRUSTED.

What is loaded comes again and again, and its stream is then known under both policies; or it is forgotten each time.
TRUSTED looks at no element. DATA does at truth values and at text, and takes as long as that takes to read.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

import oobcodec
from benchmarks.results import ratio
from benchmarks.timing import Contender, best_times
from oobcodec import calls, scan

if TYPE_CHECKING:
    from benchmarks.results import Result
    from benchmarks.timing import Effort

ROWS = 100_000
ARRAY_BAR = 8.0
FRAME_BAR = 3.0
FIRST = 3
"""Times the bar, for what has not come before: its stream is read, opcode by opcode, in Python."""


def measure(effort: Effort) -> list[Result]:
    results = []
    for name, (obj, bar) in _objects().items():
        frames = [bytearray(frame) for frame in oobcodec.dumps(obj)]
        load_data = partial(oobcodec.loads, policy=oobcodec.DATA)
        load_data(frames)  # imports the guards, which the number of executions in a turn must not follow from
        for operation, forget in (("loads again", _nothing), ("loads at first", _forget)):
            seconds = best_times(
                {
                    "DATA": _contender(load_data, frames, forget),
                    "TRUSTED": _contender(oobcodec.loads, frames, forget),
                },
                effort,
            )
            results.append(ratio(f"trust, {name}", operation, seconds, bar * (FIRST if forget is _forget else 1)))
    return results


def _objects() -> dict[str, tuple[Any, float]]:
    """Return what is loaded, and its bar."""
    objects: dict[str, tuple[Any, float]] = {
        "an array": (np.arange(1_000_000.0), ARRAY_BAR),
        "4 MB of bools": (np.arange(4_000_000) % 3 == 0, ARRAY_BAR),
    }
    columns = {f"column {i}": np.arange(ROWS) / (i + 1) for i in range(10)}
    with_text = {**columns, "column 9": [f"word {i}" for i in range(ROWS)]}
    if find_spec("pandas"):
        pandas = import_module("pandas")
        objects["a DataFrame of floats"] = pandas.DataFrame(columns), FRAME_BAR
        objects["a DataFrame with text"] = pandas.DataFrame(with_text), FRAME_BAR
    if find_spec("pyarrow"):
        objects["an Arrow table with text"] = import_module("pyarrow").table(with_text), FRAME_BAR
    if find_spec("polars") and find_spec("pyarrow"):
        objects["a polars frame with text"] = import_module("polars").DataFrame(with_text), FRAME_BAR
    return objects


def _contender(loads: Any, frames: Any, forget: Any) -> Contender:
    return Contender("forget(); loads(frames)", {"loads": loads, "frames": frames, "forget": forget})


def _nothing() -> None:
    pass


def _forget() -> None:
    calls.calls.clear()
    scan.forget()
