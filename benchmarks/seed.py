"""The two command lines of ProxyStore's request 591 for faster serialization, to the letter, beside ours.

They make their array anew each time. How long that takes is timed
too, so that it can be seen how little is left.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.records import Command
from benchmarks.suite import OLD_PYTHON, ROOT

if TYPE_CHECKING:
    from pathlib import Path

NUMPY = (
    'python -m timeit -n 10 -s "import io, numpy" '
    '"x = numpy.random.rand(10000, 10000); output = io.BytesIO(); numpy.save(output, x)"'
)
PROXYSTORE = (
    'python -m timeit -n 10 -s "import numpy; from proxystore.serialize import serialize" '
    '"x = numpy.random.rand(10000, 10000); serialize(x)"'
)
OURS = (
    'python -m timeit -n 10 -s "import numpy; from oobcodec import dumps" '
    '"x = numpy.random.rand(10000, 10000); dumps(x)"'
)
ARRAY = 'python -m timeit -n 10 -s "import numpy" "x = numpy.random.rand(10000, 10000)"'

COMMANDS: dict[str, tuple[str, Path | str]] = {
    "the array alone": (ARRAY, sys.executable),
    "numpy.save, the first command": (NUMPY, sys.executable),
    "proxystore 0.6.5, the second command": (PROXYSTORE, OLD_PYTHON),
    "proxystore as it is now, the second command": (PROXYSTORE, sys.executable),
    "oobcodec": (OURS, sys.executable),
}
ONCE = ["-n", "1", "-r", "1"]
UNITS = {"nsec": 1e-9, "usec": 1e-6, "msec": 1e-3, "sec": 1.0}


def run(*, quick: bool) -> list[Command]:
    """Run them, one after the other; `quick` runs each loop once, instead of five times ten."""
    return [
        Command(what, command, _seconds(command, python, quick=quick)) for what, (command, python) in COMMANDS.items()
    ]


def _seconds(command: str, python: Path | str, *, quick: bool) -> float | None:
    """Return what the command says a loop takes, or nothing where it cannot run."""
    _, module, timeit, *arguments = shlex.split(command)
    # timeit takes the last of options that contradict each other.
    statement = [*arguments[:-1], *(ONCE if quick else ()), arguments[-1]]
    try:
        done = subprocess.run(
            [python, module, timeit, *statement], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return seconds(done.stdout)


def seconds(text: str) -> float:
    """Return the seconds that a line of ``timeit`` tells."""
    found = re.search(r"([\d.e+-]+) (nsec|usec|msec|sec) per loop", text)
    if not found:
        message = f"timeit says nothing of a loop: {text!r}"
        raise ValueError(message)
    return float(found[1]) * UNITS[found[2]]
