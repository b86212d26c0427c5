"""The suite: each workload by each peer, in turns, in processes of their own."""

from __future__ import annotations

import random
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from benchmarks import machine
from benchmarks.peers import ALL, SHAPES
from benchmarks.records import OPERATIONS, Entry, Results, Subject, Timing
from benchmarks.timing import Effort
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from multiprocessing.connection import Connection

ROOT = Path(__file__).resolve().parents[1]
OLD = "proxystore-old"
"""ProxyStore as it was when serialization was asked to become faster, in an environment of that name."""

CONTENDERS = (*ALL, OLD)
OLD_PYTHON = ROOT / ".venvs" / OLD / "bin" / "python"

FULL = Effort(rounds=7, seconds=0.02, scale=1)
QUICK = Effort(rounds=3, seconds=0.004, scale=16)
ROUNDS_OF_LARGE = {50_000_000: 3, 500_000_000: 1}
"""How often at most, from so many bytes on: what takes seconds varies by less."""
PATIENCE = 600
"""Seconds after which a peer is taken to hang."""


class WorkerError(Exception):
    """What a worker raised, or that it is gone."""


class Process:
    """A worker, started when it is asked, and again after it has crashed."""

    def __init__(self, python: Path | str, names: Sequence[str]) -> None:
        self._python = python
        self._names = list(names)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._workload = ""

    def versions(self) -> dict[str, str]:
        """Return the versions of those peers that are installed there."""
        versions: dict[str, str] = self._ask("versions", self._names)
        return versions

    def ask(self, workload: str, *what: Any) -> Any:
        """Return what a method of the worker returns, with the object of a workload at hand."""
        if workload != self._workload:
            self._ask("prepare", workload)
            self._workload = workload
        return self._ask(*what)

    def close(self) -> None:
        if self._process and self._connection:
            self._connection.close()
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None
        self._workload = ""

    def _ask(self, *what: Any) -> Any:
        connection = self._connection or self._start()
        try:
            connection.send(what)
            if not connection.poll(PATIENCE):
                self.close()
                message = f"nothing after {PATIENCE} seconds"
                raise WorkerError(message)
            done, answer = connection.recv()
        except (EOFError, ConnectionError):
            self.close()
            message = "the process crashed"
            raise WorkerError(message) from None
        if not done:
            raise WorkerError(answer)
        return answer

    def _start(self) -> Connection[Any, Any]:
        near, far = Pipe()
        command = [self._python, "-m", "benchmarks.worker", str(far.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[far.fileno()], cwd=ROOT)
        far.close()
        self._connection = near
        self._ask("versions", self._names)
        return near

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Contender(NamedTuple):
    """A peer, and where it runs."""

    name: str
    process: Process
    peer: str

    def ask(self, workload: str, method: str, *arguments: Any) -> Any:
        return self.process.ask(workload, method, self.peer, *arguments)


def measure(
    names: Iterable[str],
    wanted: Sequence[str],
    effort: Effort,
    advance: Callable[[str], object],
    keep: Callable[[Results], object],
) -> Results:
    """Measure workloads; tell `advance` the name of each before, and give `keep` all that is known after it."""
    with Process(sys.executable, [*ALL, *SHAPES]) as here, Process(OLD_PYTHON, ["proxystore"]) as there:
        versions = here.versions()
        contenders = [Contender(name, here, name) for name in versions]
        if OLD_PYTHON.exists():
            versions[OLD] = there.versions()["proxystore"]
            contenders.append(Contender(OLD, there, "proxystore"))
        chosen = [each for each in contenders if not wanted or each.name in (*wanted, *SHAPES)]
        compared = {each.name: versions[each.name] for each in chosen if each.name in CONTENDERS}
        results = Results(machine.environment(), compared)
        for name in names:
            advance(name)
            if WORKLOADS[name].missing:
                continue
            _measure_one(results, name, here, [each for each in chosen if _is_meant(each, name)], effort)
            keep(results)
    return results


def _is_meant(contender: Contender, workload: str) -> bool:
    return contender.peer in WORKLOADS[workload].peers


def _measure_one(results: Results, name: str, here: Process, contenders: Sequence[Contender], effort: Effort) -> None:
    workload = WORKLOADS[name]
    found: dict[str, dict[str, Any]] = {}
    turns: dict[str, list[dict[str, float]]] = {each.name: [] for each in contenders}
    able = []
    for each in contenders:
        try:
            found[each.name] = each.ask(name, "examine")
            able.append(each)
        except WorkerError as error:
            results.add(Entry(name, each.name, unsupported=str(error)))
    copies = []
    rounds = [most for nbytes, most in ROUNDS_OF_LARGE.items() if workload.nbytes >= nbytes]
    for number in range(min([effort.rounds, *rounds])):
        copies.append(here.ask(name, "memcpy", effort.seconds))
        # In another order each round: who follows one that has given much memory back pays for getting it.
        for each in random.Random(number).sample(able, len(able)):
            try:
                turns[each.name].append(each.ask(name, "turn", effort.seconds))
            except WorkerError as error:
                able.remove(each)
                results.add(Entry(name, each.name, unsupported=str(error)))
    results.subjects[name] = Subject(workload.family, workload.nbytes, min(copies))
    for each in able:
        results.add(Entry(name, each.name, times=_timings(turns[each.name]), **found[each.name]))


def _timings(turns: Sequence[dict[str, float]]) -> dict[str, Timing]:
    rounds = {operation: [turn[operation] for turn in turns] for operation in OPERATIONS}
    return {operation: Timing(min(seconds), median(seconds)) for operation, seconds in rounds.items()}
