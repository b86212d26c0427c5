"""What it costs not to trust a peer: loads under the policy DATA, beside TRUSTED.

What is loaded comes again and again, and its stream is then known under both policies; or it is forgotten each time.
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
    objects: dict[str, tuple[Any, float]] = {"an array": (np.arange(1_000_000.0), ARRAY_BAR)}
    if find_spec("pandas"):
        columns = {f"column {i}": np.arange(ROWS) / (i + 1) for i in range(10)}
        objects["a DataFrame of floats"] = import_module("pandas").DataFrame(columns), FRAME_BAR
    results = []
    for name, (obj, bar) in objects.items():
        frames = [bytearray(frame) for frame in oobcodec.dumps(obj)]
        for operation, forget in (("loads again", _nothing), ("loads at first", _forget)):
            seconds = best_times(
                {
                    "DATA": _contender(partial(oobcodec.loads, policy=oobcodec.DATA), frames, forget),
                    "TRUSTED": _contender(oobcodec.loads, frames, forget),
                },
                effort,
            )
            results.append(ratio(f"trust, {name}", operation, seconds, bar * (FIRST if forget is _forget else 1)))
    return results


def _contender(loads: Any, frames: Any, forget: Any) -> Contender:
    return Contender("forget(); loads(frames)", {"loads": loads, "frames": frames, "forget": forget})


def _nothing() -> None:
    pass


def _forget() -> None:
    calls.calls.clear()
    scan.forget()
