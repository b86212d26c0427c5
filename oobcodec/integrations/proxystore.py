"""ProxyStore: objects in a `proxystore.store.Store` as oobcodec's messages.

::

    store = Store("name", connector, serializer=serializer, deserializer=deserializer)

Proxies carry the deserializer by its name: who resolves them needs oobcodec, and no setting.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from oobcodec.codec import dumps, loads
from oobcodec.header import encode
from oobcodec.packed import pack, packed_size
from oobcodec.wire import parts

if TYPE_CHECKING:
    from oobcodec.buffers import Buffer

# Serializing

_SECOND: Final = 64
"""Where the second frame begins in the packed form, if the first one is as short as it mostly is."""


_LARGE: Final = 32 << 20
"""Bytes from which the allocator's memory is new to the process every time, and costs more than the copy into it."""


def serializer(obj: object) -> bytes | memoryview:
    """Return an object as one message in its packed form, for ``Store(serializer=...)``.

    Parameters
    ----------
    obj
        Whatever `oobcodec.dumps` takes.

    Returns
    -------
    bytes or memoryview
        All memory of the object, copied once. It is read-only, for a connector may keep it. Only a message of more than
        32 MiB is a memoryview, which some connectors copy once more.

    Raises
    ------
    EncodeError
        Of `oobcodec.dumps`.
    """
    if type(obj) is bytes and obj:
        return _opening("bytes", len(obj))[1] + obj
    if type(obj) is str and obj:
        data = obj.encode("utf-8", "surrogatepass")
        return _opening("str", len(data))[1] + data
    frames = dumps(obj)
    if len(frames) == 2 and len(frames[0]) <= _SECOND:  # noqa: PLR2004
        return bytes(frames[0]).ljust(_SECOND, b"\0") + frames[1]
    if packed_size(frames) > _LARGE:
        return pack(frames).toreadonly()
    return b"".join(parts(frames))


def deserializer(data: Buffer) -> Any:
    """Rebuild an object from its message in what a connector returns, for ``Store(deserializer=...)``.

    Like the one of ProxyStore it runs what the message says: a store is to be trusted as its writers are.

    Parameters
    ----------
    data
        The message, contiguous.

    Returns
    -------
    object
        Its arrays are views of `data`, without a copy, and read-only where that is: several proxies may stand for
        one object, and with the local connector it is the stored memory itself. Torch has no read-only tensors: theirs
        is a copy. For writable arrays, which are copies, take ``functools.partial(oobcodec.loads, writable=True)`` as
        the deserializer.

    Raises
    ------
    DecodeError
        Of `oobcodec.loads`.
    """
    size = len(data) - _SECOND
    if size > 0:
        # Plain data, which ProxyStore's own serializer has a short way for too.
        start = data[:_SECOND]
        if start == _opening("bytes", size)[1]:
            return bytes(data[_SECOND:])
        if start == _opening("str", size)[1]:
            return str(memoryview(data)[_SECOND:], "utf-8", "surrogatepass")
        first, opening = _opening("pickle", size)
        if start == opening:
            return loads([first, memoryview(data)[_SECOND:]])
    return loads(data)


@lru_cache(maxsize=4096)
def _opening(tag: str, size: int) -> tuple[bytes, bytes]:
    """Return the first of two frames, the second one being of `size` bytes, and all that precedes that."""
    pickled, places = (1, ()) if tag == "pickle" else (0, ((1, 0, size, True),))
    first = encode(tag, None, (size,), pickled, places)
    return first, first.ljust(_SECOND, b"\0")
