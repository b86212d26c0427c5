"""Gathered output: the pieces of a message, for system calls that take many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARTS: Final = 1024
"""Pieces that the system takes in one call: IOV_MAX of Linux, the BSDs and macOS."""

SENT_AT_ONCE: Final = 1 << 20
"""Bytes a call. Larger ones are slower: what is being copied no longer fits into the caches."""


def batches(pieces: Sequence[memoryview]) -> Iterator[list[memoryview]]:
    """Group the pieces of a message, of which none is empty, into what one call should send: large ones are split."""
    batch: list[memoryview] = []
    room = SENT_AT_ONCE
    for piece in pieces:
        rest = piece
        while len(rest) > room:
            yield [*batch, rest[:room]]
            rest = rest[room:]
            batch, room = [], SENT_AT_ONCE
        batch.append(rest)
        room -= len(rest)
        if not room or len(batch) == PARTS:
            yield batch
            batch, room = [], SENT_AT_ONCE
    if batch:
        yield batch


def behind(batch: list[memoryview], nbytes: int) -> list[memoryview]:
    """Return what is left to send of a batch after its first `nbytes` bytes."""
    for index, piece in enumerate(batch):
        if nbytes < len(piece):
            return [piece[nbytes:], *batch[index + 1 :]]
        nbytes -= len(piece)
    return []
