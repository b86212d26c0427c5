"""How full a store is, in numbers for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """How full a store is.

    Attributes
    ----------
    name, directory : str
        As they were given.
    persistent : bool
        Whether it outlives its users.
    capacity, used : int
        Bytes of memory that it may take, and takes. What was deleted while somebody had it mapped does not count.
    recyclable : int
        Bytes of that which are only kept for the next objects.
    pinned, mapped : int
        Bytes of objects that are never evicted, and of those that processes have mapped.
    objects : int
        How many there are.
    """

    name: str
    directory: str
    persistent: bool
    capacity: int
    used: int
    recyclable: int
    pinned: int
    mapped: int
    objects: int
