"""What to hand over at a time to where bytes go one piece after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMALL: Final = 64 * 1024
"""Bytes up to which it is cheaper to join the parts of a message than to hand them over one by one."""


def pieces(parts: Sequence[memoryview], largest: int) -> Iterator[memoryview]:
    """Yield the bytes of a message in pieces, of which none is empty, and none has more than `largest` bytes.

    Parameters
    ----------
    parts
        The message, as `oobcodec.wire.parts` returns it.
    largest
        Bytes, 64 KiB or more.
    """
    joined: list[memoryview] = []
    size = 0
    for part in parts:
        if size and size + len(part) > SMALL:
            yield memoryview(b"".join(joined))
            joined, size = [], 0
        if len(part) <= SMALL:
            joined.append(part)
            size += len(part)
        else:
            for start in range(0, len(part), largest):
                yield part[start : start + largest]
    if size:
        yield memoryview(b"".join(joined))
