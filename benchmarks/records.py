"""The results of the suite: what each peer made of each workload, in a file that another can be held against."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

OURS = "oobcodec"
OPERATIONS = ("dumps", "loads", "round trip")
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds over the rounds. The best says what can be had, the median how far from it a machine stays."""

    best: float
    median: float


@dataclass(frozen=True, slots=True)
class Entry:
    """What a peer made of a workload.

    Attributes
    ----------
    workload, peer : str
        The names of both.
    times : dict of str to Timing
        By operation.
    peaks : dict of str to int or None
        Bytes by which an operation raises the peak of memory, where that is known.
    shipped : int
        Bytes of the message.
    lost : dict of str to str
        By aspect, where what arrives is not what was sent.
    unsupported : str
        Why there is nothing else: the error that the peer raised.
    """

    workload: str
    peer: str
    times: dict[str, Timing] = field(default_factory=dict)
    peaks: dict[str, int | None] = field(default_factory=dict)
    shipped: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    unsupported: str = ""

    @property
    def right(self) -> bool:
        """Whether what arrives is what was sent."""
        return not (self.lost or self.unsupported)


@dataclass(frozen=True, slots=True)
class Subject:
    """A workload that was measured: its family and bytes, and the seconds that a copy of as many bytes takes."""

    family: str
    nbytes: int
    memcpy: float


@dataclass(frozen=True, slots=True)
class Command:
    """A command line that was timed, what it stands for, and the seconds that it says a loop takes."""

    what: str
    command: str
    seconds: float | None


@dataclass(slots=True)
class Results:
    """All that a run has found.

    Attributes
    ----------
    environment, peers : dict
        What it ran on, and the version of each peer.
    subjects, entries : dict
        By workload; and by workload and peer.
    commands : list of Command
        Those of ProxyStore's request for faster serialization.
    compression : list of dict
        The results of the check of that name.
    """

    environment: dict[str, str]
    peers: dict[str, str]
    subjects: dict[str, Subject] = field(default_factory=dict)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    compression: list[dict[str, Any]] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        self.entries[entry.workload, entry.peer] = entry

    def of(self, workload: str) -> list[Entry]:
        """Return the entries of a workload."""
        return [entry for entry in self.entries.values() if entry.workload == workload]

    def save(self, path: Path) -> None:
        fields = {**asdict(self), "format": FORMAT, "entries": [asdict(entry) for entry in self.entries.values()]}
        path.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Results:
    """Return the results that a file has."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    if fields.pop("format", None) != FORMAT:
        message = f"{path.name} has no results of `python -m benchmarks run` in format {FORMAT}: make them anew"
        raise ValueError(message)
    entries = [_entry(each) for each in fields.pop("entries")]
    fields["subjects"] = {name: Subject(**subject) for name, subject in fields["subjects"].items()}
    fields["commands"] = [Command(**command) for command in fields["commands"]]
    return Results(**fields, entries={(entry.workload, entry.peer): entry for entry in entries})


def _entry(fields: dict[str, Any]) -> Entry:
    times = {operation: Timing(**timing) for operation, timing in fields.pop("times").items()}
    return Entry(**fields, times=times)
