"""What a benchmark finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """A figure and the bar that it should not exceed.

    Attributes
    ----------
    name, operation : str
        The workload, and what is done with it.
    figure, bar : float
        In `unit`: ``"x"`` is a ratio to the time of the other contender.
    measured : dict
        What the figure was made of, by contender: seconds where `unit` is ``"x"``, otherwise bytes.
    """

    name: str
    operation: str
    figure: float
    bar: float
    unit: str
    measured: dict[str, float]

    @property
    def met(self) -> bool:
        return self.figure <= self.bar

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def ratio(name: str, operation: str, seconds: dict[str, float], bar: float) -> Result:
    """Return the ratio of the first contender to the second."""
    ours, theirs = seconds.values()
    return Result(name, operation, ours / theirs, bar, "x", seconds)


def from_dict(fields: dict[str, Any]) -> Result:
    """Return the result that `Result.to_dict` was called of."""
    return Result(**{name: value for name, value in fields.items() if name != "met"})
