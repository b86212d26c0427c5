"""Objects that are made where they lie."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from oobcodec.codec import loads
from oobcodec.packed import copy_into

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def made_in(memory: memoryview, frames: Sequence[memoryview]) -> Iterator[Any]:
    """Give a block an object like the one that a message holds, with its data in memory of the packed message's size.

    Nobody may write to it when the block has ended.

    Raises
    ------
    TypeError
        All of its data is in the pickle.
    """
    head, stream, *data = frames
    if not data:
        message = "an array of Python objects has no place in shared memory: fill it, and then put() it"
        raise TypeError(message)
    begin = memory.nbytes - data[0].nbytes
    end = copy_into([head, stream], memory)
    memory[end:begin] = bytes(begin - end)
    made = loads(memory)
    try:
        yield made
    finally:
        if isinstance(made, memoryview):
            made.release()
        else:
            made.setflags(write=False)
