"""The face that all peers have: a head and the buffers beside it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Message: TypeAlias = tuple[Any, list[Any]]


class Peer(NamedTuple):
    """A serializer, used as its documentation says, with buffers out of band where it can.

    Attributes
    ----------
    name, version : str
        What it is called, and which one it is.
    dumps : callable
        Turns an object into a head, which the peer can send in some way, and the buffers that go beside it.
    loads : callable
        Rebuilds the object from a head and buffers.
    in_band : callable
        Returns how many bytes of a head and buffers the peer has written itself.
    """

    name: str
    version: str
    dumps: Callable[[Any], Message]
    loads: Callable[[Any, list[Any]], Any]
    in_band: Callable[[Any, Sequence[Any]], int]

    def sizes(self, head: Any, buffers: Sequence[Any]) -> tuple[int, int]:
        """Return how many bytes of a message the peer has written itself, and how many there are."""
        own = self.in_band(head, buffers)
        return own, max(own, self.in_band(head, ()) + sum(map(nbytes, buffers)))


def one_buffer(name: str, version: str, dumps: Callable[[Any], Any], loads: Callable[[Any], Any]) -> Peer:
    """Return a peer whose message is one buffer, which is a copy of everything."""
    return Peer(
        name,
        version,
        lambda obj: (None, [dumps(obj)]),
        lambda _, buffers: loads(buffers[0]),
        lambda _, buffers: sum(map(nbytes, buffers)),
    )


def nbytes(buffer: Any) -> int:
    return memoryview(buffer).nbytes


def length_of_head(head: Any, _: Sequence[Any]) -> int:
    return len(head)


def length_with_pickles(head: Any, buffers: Sequence[Any]) -> int:
    """Return the length of a head that is no bytes, and of those buffers that are pickle streams."""
    pickles = (nbytes(buffer) for buffer in buffers if bytes(memoryview(buffer)[:2]) in {b"\x80\x04", b"\x80\x05"})
    return len(pickle.dumps(head, 5)) + sum(pickles)


def on_a_copy(deserialize: Callable[[Any, list[Any]], Any]) -> Callable[[Any, list[Any]], Any]:
    """Return what leaves the head whole, for one that takes it apart while it reads it."""
    return lambda head, buffers: deserialize(pickle.loads(pickle.dumps(head, 5)), buffers)


def aligned(size: int) -> memoryview:
    """Return writable memory that begins at a multiple of 64, as a store's does: Ray misreads any other."""
    memory: Any = np.empty(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memoryview(memory)[start : start + size]


def received(buffer: Any) -> memoryview:
    """Return a buffer as a receiver has it, in memory of its own."""
    flat = pickle.PickleBuffer(buffer).raw()
    memory = aligned(flat.nbytes)
    memory[:] = flat
    return memory
