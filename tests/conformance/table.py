"""The lines of the table."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES = ("stdlib", "numpy", "torch", "pandas", "pyarrow", "polars", "jax", "tensorflow", "scipy", "xarray")
N = 1 << 17
"""Elements of most objects: a megabyte of floats."""


@dataclass(frozen=True, slots=True)
class Case:
    """An object that must travel.

    Attributes
    ----------
    name : str
        Of the case, once in a library.
    make : callable
        Returns the object, equal whenever it is called, in another process too.
    holds : int or None
        Bytes of data that the object holds; ``None`` if that is small, or if it is Python's objects that hold it.
    arrives : callable or None
        Returns what it arrives as, where the documentation says that this is something else.
    """

    name: str
    make: Callable[[], Any]
    holds: int | None = None
    arrives: Callable[[], Any] | None = None


def case(name, make, holds=None, *, arrives=None, given=True):
    """Return the cases of a line: none, where the library does not have what it needs."""
    return [Case(name, make, holds, arrives)] if given else []


def cases(library):
    """Return the cases of a library by name, none if it is not installed."""
    if library != "stdlib" and find_spec(library) is None:
        return {}
    lines = import_module(f"{__package__}.cases_{library}").CASES
    found = {each.name: each for line in lines for each in line}
    assert len(found) == sum(map(len, lines)), f"two cases of {library} have the same name"
    return found


def table():
    """Return all cases, by library and name."""
    return {(library, name): each for library in LIBRARIES for name, each in cases(library).items()}
