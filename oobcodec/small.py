"""Messages that are nothing but a small pickle, past all that only other ones need.

There is one ``frames[0]`` of such messages for each length of the pickle. Once it was looked at, it is enough to
compare it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oobcodec.buffers import ALIGNMENT
from oobcodec.engine import SMALL, opening
from oobcodec.header import encode_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.buffers import Buffer

LEAD: Final = ALIGNMENT + len(opening(0))
"""Bytes up to what differs between two of them with pickles of one length."""

_FRAMES: Final = 2

HEADS: Final[dict[object, bytes]] = {}
"""``frames[0]`` with the zeros behind it, which always is as long as the alignment, by the same without them."""

LENGTHS: Final[dict[bytes, int]] = {}
"""The length of the packed message by what it begins with, if the pickle is one frame as `opening` says."""

_forms: Final[dict[bytes, tuple[bytes, int]]] = {}
"""``frames[0]``, and the length of the packed message, by what `HEADS` has of it."""


def remember(frames: Sequence[Buffer]) -> None:
    """Remember what a message begins with, if it is one of these."""
    if len(frames) == _FRAMES and len(frames[1]) < SMALL:
        first, size = bytes(frames[0]), len(frames[1])
        # What is remembered of a peer's are these alone: of others it could send any number.
        if first == encode_small("pickle", None, (size,), 1, ()):
            head = first.ljust(ALIGNMENT, b"\0")
            HEADS[first] = head
            LENGTHS[head + opening(size)] = ALIGNMENT + size
            _forms[head] = first, ALIGNMENT + size


def taken(memory: memoryview, begin: int, end: int) -> tuple[list[bytes], int] | None:
    """Return the message that begins in a place of some memory, and where it ends.

    That is, if it is one that was remembered, and ends before or at `end`.
    """
    stream = begin + ALIGNMENT
    form = _forms.get(memory[begin:stream].tobytes())
    if form is None:
        return None
    first, nbytes = form
    stop = begin + nbytes
    return None if stop > end else ([first, memory[stream:stop].tobytes()], stop)
