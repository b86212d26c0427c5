"""Messages that are nothing but a small pickle, past all that only other ones need.

There is one ``frames[0]`` of such messages for each length of the pickle. Once it was looked at, it is enough to
compare it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oobcodec.buffers import padding
from oobcodec.engine import SMALL
from oobcodec.header import PRELUDE_SIZE, encode_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.buffers import Buffer

_FRAMES: Final = 2

_padded: Final[dict[bytes, bytes]] = {}
"""``frames[0]`` with the zeros behind it."""

_forms: Final[dict[bytes, tuple[bytes, bytes, int, int]]] = {}
"""``frames[0]``, the same with the zeros behind it, the length of that, and of the packed message, by the prelude."""


def remember(frames: Sequence[Buffer]) -> None:
    """Remember what a message begins with, if it is one of these."""
    if len(frames) == _FRAMES and len(frames[1]) < SMALL:
        first = bytes(frames[0])
        # What is remembered of a peer's are these alone: of others it could send any number.
        if first == encode_small("pickle", None, (len(frames[1]),), 1, ()):
            padded = first + bytes(padding(len(first)))
            _padded[first] = padded
            _forms[first[:PRELUDE_SIZE]] = first, padded, len(padded), len(padded) + len(frames[1])


def packed(frames: Sequence[memoryview]) -> bytes | None:
    """Return the packed form of a message, if it begins with what was remembered."""
    padded = _padded.get(frames[0].tobytes()) if len(frames) == _FRAMES else None
    return None if padded is None else padded + frames[1]


def taken(memory: memoryview, begin: int, end: int) -> tuple[list[bytes], int] | None:
    """Return the message that begins in a place of some memory, and where it ends.

    That is, if it is one that was remembered, and ends before or at `end`.
    """
    form = _forms.get(memory[begin : begin + PRELUDE_SIZE].tobytes())
    if form is None:
        return None
    first, padded, size, nbytes = form
    stream = begin + size
    if begin + nbytes > end or memory[begin:stream].tobytes() != padded:
        return None
    return [first, memory[stream : begin + nbytes].tobytes()], begin + nbytes
