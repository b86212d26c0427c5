"""The codec ``fill``: a buffer that repeats one element from end to end travels as that element."""

from __future__ import annotations

from typing import Final

from oobcodec.errors import DecodeError

TAG: Final = "fill"

_BLOCK: Final = 64 * 1024
"""Bytes that are compared or copied at a time, so that they stay in the cache."""


def compress(frame: memoryview, itemsize: int) -> bytes | None:
    """Return the element of `itemsize` bytes that fills a frame, or the byte that fills it; None if none does."""
    element = frame[:itemsize].tobytes()
    if len(frame) % itemsize or frame[-itemsize:] != element:
        return None
    block = element * max(_BLOCK // itemsize, 1)
    for start in range(0, len(frame), len(block)):
        part = frame[start : start + len(block)].tobytes()
        if part != block and part != block[: len(part)]:
            return None
    return element[:1] if element == element[:1] * itemsize else element


def decompress(frame: memoryview, memory: memoryview) -> None:
    """Fill new memory, which is all zeros, with the element in a frame.

    Raises
    ------
    DecodeError
        It does not fill it.
    """
    if not frame or len(memory) % len(frame):
        message = f"an element of {len(frame)} bytes does not fill {len(memory)}"
        raise DecodeError(message)
    if not any(frame):
        return  # pages that nobody writes to cost nothing
    block = frame.tobytes() * max(_BLOCK // len(frame), 1)
    for start in range(0, len(memory), len(block)):
        memory[start : start + len(block)] = block[: len(memory) - start]


def describe(frame: memoryview) -> tuple[str, str]:
    """Return the names of the codec and of the filter."""
    return TAG, f"{len(frame)} byte{'s' * (len(frame) > 1)}"
