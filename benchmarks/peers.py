"""Ways to serialize an object, oobcodec among them, with one face: a head and the buffers beside it.

Each is used as its documentation says, with buffers out of band where it can.
"""

from __future__ import annotations

import pickle
import platform
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Message: TypeAlias = tuple[Any, list[Any]]


class Peer(NamedTuple):
    """A serializer.

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
        return own, max(own, self.in_band(head, ()) + sum(_nbytes(buffer) for buffer in buffers))


def _nbytes(buffer: Any) -> int:
    return memoryview(buffer).nbytes


def _oobcodec() -> Peer:
    import oobcodec  # noqa: PLC0415
    from oobcodec.header import decode  # noqa: PLC0415

    def in_band(_: Any, frames: Sequence[Any]) -> int:
        # Of the pickle stream, bytes and bytearrays by reference are frames too, which nobody has written.
        stream = frames[1 : 1 + decode(bytes(frames[0])).pickle_frames] if frames else ()
        return sum(_nbytes(frame) for frame in frames[:1]) + sum(n for n in map(_nbytes, stream) if n < 256 * 1024)

    return Peer(
        "oobcodec",
        oobcodec.__version__,
        lambda obj: (None, oobcodec.dumps(obj)),
        lambda _, frames: oobcodec.loads(frames),
        in_band,
    )


def _pickle5() -> Peer:
    def dumps(obj: Any) -> Message:
        buffers: list[pickle.PickleBuffer] = []
        return pickle.dumps(obj, 5, buffer_callback=buffers.append), buffers

    return Peer("pickle5", platform.python_version(), dumps, _unpickle, _length_of_head)


def _cloudpickle() -> Peer:
    import cloudpickle  # noqa: PLC0415

    def dumps(obj: Any) -> Message:
        buffers: list[pickle.PickleBuffer] = []
        return cloudpickle.dumps(obj, 5, buffer_callback=buffers.append), buffers

    return Peer("cloudpickle", cloudpickle.__version__, dumps, _unpickle, _length_of_head)


def _unpickle(head: Any, buffers: list[Any]) -> Any:
    return pickle.loads(head, buffers=buffers)


def _length_of_head(head: Any, _: Sequence[Any]) -> int:
    return len(head)


def _distributed() -> Peer:
    from distributed.protocol import deserialize, serialize  # noqa: PLC0415

    def in_band(header: Any, frames: Sequence[Any]) -> int:
        return len(pickle.dumps(header, 5)) + _pickles(frames)

    return Peer("distributed", version("distributed"), serialize, _on_a_copy(deserialize), in_band)


def _proxystore() -> Peer:
    from proxystore.serialize import deserialize, serialize  # noqa: PLC0415

    # One byte string, which is a copy of everything.
    return Peer(
        "proxystore",
        version("proxystore"),
        lambda obj: (None, [serialize(obj)]),
        lambda _, buffers: deserialize(bytes(buffers[0])),
        lambda _, buffers: sum(map(len, buffers)),
    )


def _xoscar() -> Peer:
    from xoscar.serialization import deserialize, serialize  # noqa: PLC0415

    def in_band(header: Any, buffers: Sequence[Any]) -> int:
        return len(pickle.dumps(header, 5)) + _pickles(buffers)

    return Peer("xoscar", version("xoscar"), serialize, _on_a_copy(deserialize), in_band)


def _pyfory() -> Peer:
    import pyfory  # noqa: PLC0415

    fory = pyfory.Fory(xlang=False, ref=True, strict=False)

    def dumps(obj: Any) -> Message:
        buffers: list[Any] = []
        head = fory.serialize(obj, buffer_callback=buffers.append)
        return head, [buffer.getbuffer() for buffer in buffers]

    def loads(head: Any, buffers: list[Any]) -> Any:
        return fory.deserialize(head, [memoryview(buffer) for buffer in buffers])

    return Peer("pyfory", version("pyfory"), dumps, loads, _length_of_head)


def _pickles(buffers: Sequence[Any]) -> int:
    """Return the length of those buffers that are pickle streams."""
    return sum(_nbytes(buffer) for buffer in buffers if bytes(memoryview(buffer)[:2]) in {b"\x80\x04", b"\x80\x05"})


def _on_a_copy(deserialize: Callable[[Any, list[Any]], Any]) -> Callable[[Any, list[Any]], Any]:
    # They take the header apart while they read it.
    return lambda header, buffers: deserialize(pickle.loads(pickle.dumps(header, 5)), buffers)


_MAKERS: dict[str, tuple[str, Callable[[], Peer]]] = {
    "oobcodec": ("oobcodec", _oobcodec),
    "pickle5": ("pickle", _pickle5),
    "cloudpickle": ("cloudpickle", _cloudpickle),
    "distributed": ("distributed", _distributed),
    "proxystore": ("proxystore", _proxystore),
    "xoscar": ("xoscar", _xoscar),
    "pyfory": ("pyfory", _pyfory),
}
NAMES = tuple(_MAKERS)


def find(name: str) -> Peer | None:
    """Return a peer, or None if it is not installed."""
    module, make = _MAKERS[name]
    try:
        import_module(module)
    except ModuleNotFoundError:
        return None
    return make()
