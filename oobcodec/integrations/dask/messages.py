"""What Dask's own messages are made of, with the objects in them in one piece each.

`dumps` returns the frames of `distributed.protocol.dumps`, for `distributed.protocol.loads` to read. Only what is
marked as `Serialize` goes another way: collections are not taken apart, since oobcodec finds the arrays in them itself,
and large frames are not cut into shards, which would have to be copied into one another again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack
from distributed import protocol
from distributed.metrics import context_meter
from distributed.protocol.compression import maybe_compress
from distributed.protocol.serialize import Pickled, Serialize, Serialized, ToPickle, msgpack_encode_default, serialize

from oobcodec.integrations.dask.family import goes_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oobcodec.buffers import Buffer

_REFERENCES: Final = {
    Serialize: "__Serialized__",
    Serialized: "__Serialized__",
    ToPickle: "__Pickled__",
    Pickled: "__Pickled__",
}
"""How the first frame refers to the further ones of each mark."""


def dumps(
    msg: Any, *, serializers: list[str] | None = None, on_error: str = "message", context: Mapping[str, Any]
) -> list[Buffer]:
    """Turn a message into frames; parameters and errors are those of `distributed.protocol.dumps`."""
    options: dict[str, Any] = {"serializers": serializers, "on_error": on_error, "context": context}
    frames: list[Buffer] = [b""]

    def encode(obj: Any) -> Any:
        reference = _REFERENCES.get(type(obj))
        if reference is None:
            return msgpack_encode_default(obj)
        marked = _serialized(obj.data, **options) if type(obj) is Serialize else obj
        start = len(frames)
        frames.extend(protocol.dumps(marked, **options)[1:])
        return {reference: start}

    try:
        frames[0] = msgpack.dumps(msg, default=encode, use_bin_type=True)
    except TypeError:  # at something that msgpack does not know: Dask pickles it, or raises this again
        frames = protocol.dumps(msg, **options)
    return frames


@context_meter.meter("serialize")  # type: ignore[untyped-decorator]  # Dask has no types here
def _serialized(obj: Any, *, serializers: list[str] | None, on_error: str, context: Mapping[str, Any]) -> Serialized:
    whole = (serializers is None or "pickle" in serializers) and goes_whole(obj)
    header, frames = serialize(obj, serializers, on_error, context, iterate_collection=not whole)
    compression = context.get("compression")
    if compression and frames:
        header["compression"], frames = zip(
            *(maybe_compress(frame, compression=compression) for frame in frames), strict=True
        )
    return Serialized(header, list(frames))
