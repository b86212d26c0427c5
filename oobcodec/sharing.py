"""Memory that was shared travels once: from buffers to frames.

Buffers that overlap are views of one memory, whatever objects they belong to. Their union becomes one frame, and each
buffer is placed in it by offset and length, so that the receiver's objects overlap exactly as the sender's did.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from oobcodec.buffers import ALIGNMENT, Extent, address, allocate, flat, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.placements import Placement


class _Copied(threading.local):
    """Bytes that `place` has copied in this thread so far."""

    nbytes = 0


COPIED: Final = _Copied()


def place(views: Sequence[memoryview], first: int) -> tuple[list[memoryview], tuple[Placement, ...]]:
    """Decide which frames carry which buffers.

    Parameters
    ----------
    views
        One frame-shaped view a buffer, in the order of the pickle stream, none of them empty.
    first
        Index in the message of the first frame that is returned.

    Returns
    -------
    frames
        Memory of which no byte appears twice.
    placements
        One a buffer: (frame, offset, length, read-only).
    """
    if len(views) == 1 and not isinstance(views[0].obj, Extent):
        view = views[0]
        return [view], ((first, 0, view.nbytes, view.readonly),)
    starts = [*map(address, views)]
    if not any(isinstance(view.obj, Extent) for view in views) and _are_apart(starts, views):
        # The common large message, with little work for each of its thousands of buffers.
        return [*views], tuple([(i, 0, view.nbytes, view.readonly) for i, view in enumerate(views, first)])
    members = [*map(_Member, starts, views)]
    unions = _unions(members)
    origins = [union.start for union in unions]
    homes: list[_Union | None] = []
    for member in members:
        which = bisect_right(origins, member.start) - 1
        home = unions[which] if which >= 0 and member.end <= unions[which].end else None
        if home is not None:
            home.members.append(member)
        homes.append(home)
    frames: list[memoryview] = []
    placements: list[Placement] = []
    numbers: dict[int, int] = {}
    for member, home in zip(members, homes, strict=True):
        if home is None:
            compacted = flat(member.view.obj.compact())  # type: ignore[attr-defined]  # all others have a home
            frame, offset, nbytes = len(frames), 0, compacted.nbytes
            frames.append(compacted)
            COPIED.nbytes += nbytes
        else:
            frame = numbers.setdefault(home.start, len(frames))
            if frame == len(frames):
                frames.append(home.frame())
            offset, nbytes = member.start - home.origin, member.view.nbytes
        placements.append((first + frame, offset, nbytes, member.view.readonly))
    return frames, tuple(placements)


def _are_apart(starts: Sequence[int], views: Sequence[memoryview]) -> bool:
    """Tell whether no two of some views overlap."""
    ends = sorted(zip(starts, map(len, views), strict=True))
    return all(start + nbytes <= after for (start, nbytes), (after, _) in pairwise(ends))


@dataclass(slots=True)
class _Member:
    start: int
    view: memoryview

    @property
    def end(self) -> int:
        return self.start + self.view.nbytes

    def misaligned_at(self, offset: int) -> bool:
        """Tell whether elements that are aligned here would not be at `offset` in a frame."""
        exporter = self.view.obj
        itemsize = 1 if exporter is None else memoryview(exporter).itemsize
        # Of the scalars, only long double may ask for more than 8, and can do without.
        alignment = min(itemsize & -itemsize, 8)
        return offset % alignment != 0 and self.start % alignment == 0


class _Union:
    """The memory that overlapping gap-free buffers cover together."""

    __slots__ = ("end", "members", "origin", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.origin = start
        self.end = end
        self.members: list[_Member] = []

    def frame(self) -> memoryview:
        """Return all of it as one view: a member's own if that covers it."""
        if len(self.members) == 1:
            return self.members[0].view
        nbytes = self.end - self.start
        readonly = all(member.view.readonly for member in self.members)
        for member in self.members:
            if member.view.nbytes == nbytes and member.view.readonly == readonly:
                whole = member.view
                break
        else:
            whole = span(self.start, nbytes, [member.view for member in self.members], readonly=readonly)
        if any(member.misaligned_at(member.start - self.start) for member in self.members):
            return self._realigned(whole)
        return whole

    def _realigned(self, whole: memoryview) -> memoryview:
        # A union that begins at an odd address, with aligned elements behind that: the one case in which gap-free
        # memory is copied, because a frame begins at a multiple of 64 on the other side.
        skew = self.start % ALIGNMENT
        self.origin = self.start - skew
        memory = allocate(skew + whole.nbytes)
        memory[skew:] = whole
        COPIED.nbytes += whole.nbytes
        return memory.toreadonly() if whole.readonly else memory


def _unions(members: Sequence[_Member]) -> list[_Union]:
    """Return what the gap-free members cover, as disjoint unions in ascending order."""
    unions: list[_Union] = []
    end = -1
    for member in sorted(members, key=lambda member: member.start):
        if isinstance(member.view.obj, Extent):
            continue
        if member.start < end:
            unions[-1].end = end = max(end, member.end)
        else:
            end = member.end
            unions.append(_Union(member.start, end))
    return unions
