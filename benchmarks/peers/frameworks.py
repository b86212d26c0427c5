"""Serializers that are parts of frameworks, without the rest of these."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.peers.peer import Peer, length_of_head, length_with_pickles, nbytes, on_a_copy, one_buffer

if TYPE_CHECKING:
    from benchmarks.peers.peer import Message


def distributed() -> Peer:
    from distributed.protocol import deserialize, serialize  # noqa: PLC0415

    return Peer("distributed", version("distributed"), serialize, on_a_copy(deserialize), length_with_pickles)


def distributed_dumps() -> Peer:
    """Return what distributed's comms use, whose answer is frames, with all that it takes to read them."""
    from distributed.protocol import Serialize, dumps, loads  # noqa: PLC0415

    return Peer(
        "distributed dumps",
        version("distributed"),
        lambda obj: (None, dumps({"data": Serialize(obj)})),
        lambda _, frames: loads(frames)["data"],
        lambda _, frames: sum(map(nbytes, frames[:2])),
    )


def proxystore() -> Peer:
    from proxystore.serialize import deserialize, serialize  # noqa: PLC0415

    return one_buffer("proxystore", version("proxystore"), serialize, lambda data: deserialize(bytes(data)))


def xoscar() -> Peer:
    from xoscar.serialization import deserialize, serialize  # noqa: PLC0415

    return Peer("xoscar", version("xoscar"), serialize, on_a_copy(deserialize), length_with_pickles)


def pyfory() -> Peer:
    import pyfory  # noqa: PLC0415

    fory = pyfory.Fory(xlang=False, ref=True, strict=False)

    def dumps(obj: Any) -> Message:
        buffers: list[Any] = []
        head = fory.serialize(obj, buffer_callback=buffers.append)
        return head, [buffer.getbuffer() for buffer in buffers]

    def loads(head: Any, buffers: list[Any]) -> Any:
        return fory.deserialize(pyfory.Buffer(head), [memoryview(buffer) for buffer in buffers])

    return Peer("pyfory", version("pyfory"), dumps, loads, length_of_head)


def ray() -> Peer:
    """Return the serialization context of a Ray worker, which writes and reads the bytes of its object store."""
    serialization: Any = import_module("ray._private.serialization")
    split = serialization.split_buffer
    # Its own takes buffers of the object store only, and goes on doing so for Ray itself.
    serialization.split_buffer = lambda memory: (_split_for_ray if isinstance(memory, memoryview) else split)(memory)
    context = serialization.SerializationContext(import_module("ray._private.worker").global_worker)

    def dumps(obj: Any) -> Message:
        serialized = context.serialize(obj)
        raw = isinstance(obj, bytes)
        return serialized.metadata, [obj if raw else serialized.to_bytes()]

    def loads(metadata: Any, buffers: list[Any]) -> Any:
        if metadata == b"RAW":
            return bytes(buffers[0])
        return context._deserialize_object(memoryview(buffers[0]), bytes(metadata), None, None)  # noqa: SLF001

    return Peer("ray", version("ray"), dumps, loads, lambda head, buffers: len(head) + sum(map(nbytes, buffers)))


def _split_for_ray(memory: memoryview) -> tuple[memoryview, memoryview]:
    """Divide a message into what msgpack and what pickle has written, after nine bytes that tell the first length."""
    unpacker = import_module("msgpack").Unpacker()
    unpacker.feed(memory[:9])
    end = 9 + unpacker.unpack()
    return memory[9:end], memory[end:]
