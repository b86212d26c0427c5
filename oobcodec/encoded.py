"""A message inside an object."""

from __future__ import annotations

from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from oobcodec.buffers import flat
from oobcodec.context import LOADING
from oobcodec.decoder import loads, loads_within
from oobcodec.errors import HeaderError
from oobcodec.header import decode
from oobcodec.registry import DEFAULT as REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oobcodec.buffers import Buffer


class Encoded:
    """A message to be sent inside an object, by reference and unopened.

    Encode once and send to many, or forward what came in without unpickling it: `oobcodec.dumps` splices the frames
    into the outer message. On the other side `oobcodec.loads` puts the object in its place; with ``open_encoded=False``
    it hands over the `Encoded`, whose frames can go on.

    Parameters
    ----------
    frames
        One message, as `oobcodec.dumps` returns it.

    Attributes
    ----------
    frames : list of memoryview
        The message.

    Raises
    ------
    HeaderError, TruncatedError
        The frames are not one whole message.

    Examples
    --------
    >>> import oobcodec
    >>> inner = oobcodec.Encoded(oobcodec.dumps([1, 2]))
    >>> oobcodec.loads(oobcodec.dumps({"to": "anna", "what": inner}))
    {'to': 'anna', 'what': [1, 2]}
    """

    __slots__ = ("frames",)

    def __init__(self, frames: Iterable[Buffer]) -> None:
        self.frames = [flat(frame) for frame in frames]
        wanted = decode(bytes(self.frames[0]) if self.frames else b"").lengths
        lengths = tuple([frame.nbytes for frame in self.frames[1:]])
        if lengths != wanted:
            message = f"the frames have {list(lengths)} bytes, the header says {list(wanted)}"
            raise HeaderError(message)

    def __repr__(self) -> str:
        nbytes = sum(frame.nbytes for frame in self.frames)
        return f"<Encoded: {len(self.frames)} frames, {nbytes:,} bytes>"

    def loads(self, **options: Any) -> Any:
        """Rebuild the object: `oobcodec.loads` of the frames, with its options."""
        return loads(self.frames, **options)


def reduce_encoded(encoded: Encoded) -> tuple[Any, ...]:
    """Send the frames as buffers of the outer message."""
    return rebuild_encoded, tuple(PickleBuffer(frame) for frame in encoded.frames)


def rebuild_encoded(*frames: Buffer) -> Any:
    """Return the object of a message, or the message, as the `loads` that is running was asked."""
    options = LOADING.get()
    return loads_within(list(frames), options) if options.open_encoded else Encoded(frames)


REGISTRY.provide(Encoded, reduce_encoded)
