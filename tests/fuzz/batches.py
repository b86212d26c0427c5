"""Run workers, watch them, and keep what they find."""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .worker import PROGRESS, USING

TESTS = Path(__file__).parents[1]
START_UP = 300.0
"""Seconds until a worker has imported everything and begins."""
HANGS = 30.0
"""Seconds, of the clock, after which a worker is not slow but hangs."""
TOO_MANY = 20
"""Crashes of one batch, after which the rest of it is left out."""


class Finding(NamedTuple):
    """What no message may do."""

    number: int
    kind: str
    text: str


@dataclass
class Outcome:
    """What became of some messages."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.counts += other.counts
        self.findings += other.findings


def run_all(corpus: Path, source: str, count: int, size: int) -> Outcome:
    """Load the first messages of a source, `size` in one process, in as many processes at a time as there are cores."""
    starts = range(0, count, size)
    whole = Outcome()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for outcome in pool.map(lambda start: run(corpus, source, start, min(start + size, count)), starts):
            whole.add(outcome)
    return whole


def run(corpus: Path, source: str, start: int, stop: int) -> Outcome:
    """Load some messages in one process, and in another one what a crash has left."""
    outcome = Outcome()
    for _ in range(TOO_MANY):
        start = _run_once(corpus, source, start, stop, outcome)
        if start >= stop:
            break
    else:
        outcome.findings.append(Finding(start, "too many crashes", f"{stop - start} messages are left out"))
    return outcome


def _run_once(corpus: Path, source: str, start: int, stop: int, outcome: Outcome) -> int:
    """Return the number to go on with."""
    arguments = (str(corpus), source, str(start), str(stop))
    with tempfile.TemporaryDirectory() as folder:
        progress, output, errors = (Path(folder) / name for name in ("progress", "output", "errors"))
        progress.write_bytes(PROGRESS.pack(-1, 0))
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "fuzz.worker", *arguments, str(progress)],
                env=environment(),
                stdout=out,
                stderr=err,
            )
            hung = _watch(process, progress)
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        text = errors.read_text(errors="replace")
        number, phase = PROGRESS.unpack(progress.read_bytes())
    counts = lines.pop() if process.returncode == 0 else {}
    outcome.counts.update(counts)
    outcome.findings += [Finding(**line) for line in lines]
    if process.returncode == 0:
        return stop
    doing = "using" if phase == USING else "loading"
    how = "hangs" if hung else f"signal {-process.returncode}" if process.returncode < 0 else "ends"
    outcome.findings.append(Finding(number, f"{how} {doing}", text[-3000:]))
    return max(number, start) + 1 if number >= 0 else stop


def environment() -> dict[str, str]:
    """Return the environment of a worker: one thread a library, for the cores are busy with workers."""
    paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    rest = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return {**rest, **threads, "PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}


def _watch(process: subprocess.Popen[bytes], progress: Path) -> bool:
    """Wait for a worker, and end one that does not get on; tell whether it had to be ended."""
    last, since = b"", time.monotonic()
    while True:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            now = progress.read_bytes()
            if now != last:
                last, since = now, time.monotonic()
            patience = START_UP if PROGRESS.unpack(now)[0] < 0 else HANGS
            if time.monotonic() - since > patience:
                process.send_signal(signal.SIGABRT)  # which makes it say where it is
                process.wait()
                return True
        else:
            return False


def write_corpus(path: Path) -> None:
    subprocess.run([sys.executable, "-m", "fuzz.corpus", path], env=environment(), check=True)
