"""ProxyStore: objects in a `proxystore.store.Store` as oobcodec's messages.

::

    store = Store("name", connector, serializer=serializer, deserializer=deserializer)

Proxies carry the deserializer by its name: who resolves them needs oobcodec, and no setting.

With ``connector = StoreConnector("name", capacity="4 GiB")`` objects are in the shared memory of an `oobcodec.Store`,
and what is resolved on the same machine views them there.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import oobcodec
from oobcodec.codec import dumps, loads
from oobcodec.errors import NoSuchKeyError
from oobcodec.header import encode
from oobcodec.packed import pack, packed_size
from oobcodec.wire import parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from oobcodec.buffers import Buffer

# Serializing

_SECOND: Final = 64
"""Where the second frame begins in the packed form, if the first one is as short as it mostly is."""


_LARGE: Final = 32 << 20
"""Bytes from which the allocator's memory is new to the process every time, and costs more than the copy into it."""


def serializer(obj: object, **options: Any) -> bytes | memoryview:
    """Return an object as one message in its packed form, for ``Store(serializer=...)``.

    Parameters
    ----------
    obj
        Whatever `oobcodec.dumps` takes.
    **options
        Its options: ``Store(serializer=functools.partial(serializer, compression="auto"))``.

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
    if type(obj) is bytes and obj and not options:
        return _opening("bytes", len(obj))[1] + obj
    if type(obj) is str and obj and not options:
        data = obj.encode("utf-8", "surrogatepass")
        return _opening("str", len(data))[1] + data
    frames = dumps(obj, **options)
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
        tag, first = _opened(bytes(data[:_SECOND]), size)
        if tag == "pickle":
            return loads([first, memoryview(data)[_SECOND:]])
        if tag == "bytes":
            return bytes(data[_SECOND:])
        if tag == "str":
            return str(memoryview(data)[_SECOND:], "utf-8", "surrogatepass")
    return loads(data)


@lru_cache(maxsize=4096)
def _opened(start: bytes, size: int) -> tuple[str, bytes]:
    """Return the tag and the first of two frames, the second one being of `size` bytes; or no tag."""
    for tag in ("pickle", "bytes", "str"):
        first, opening = _opening(tag, size)
        if start == opening:
            return tag, first
    return "", b""


@lru_cache(maxsize=4096)
def _opening(tag: str, size: int) -> tuple[bytes, bytes]:
    """Return the first of two frames, the second one being of `size` bytes, and all that precedes that."""
    pickled, places = (1, ()) if tag == "pickle" else (0, ((1, 0, size, True),))
    first = encode(tag, None, (size,), pickled, places)
    return first, first.ljust(_SECOND, b"\0")


# Shared memory


class StoreKey(NamedTuple):
    """Of an object in an `oobcodec.Store`.

    Attributes
    ----------
    key : str
        By which the store has it.
    """

    key: str


class StoreConnector:
    """Keeps what ProxyStore stores in shared memory, for the processes of this user on this machine.

    Nothing goes to make room, for the store cannot know which proxies there are. What nobody needs any more is evicted
    by ProxyStore, as with ``Store.proxy(evict=True)``.

    Parameters
    ----------
    name
        Of the `oobcodec.Store`, which goes when the last process that has it open closes it or ends.
    **options
        As for `oobcodec.Store`. Who resolves a proxy opens the store without them.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self._store = oobcodec.Store(name, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store.name!r})"

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def config(self) -> dict[str, Any]:
        """Return what `from_config` takes to open the same store in another process."""
        return {"name": self._store.name, "directory": self._store.directory, "create": False}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Open the store that `config` was called of."""
        return cls(**config)

    def new_key(self, obj: Buffer | None = None) -> StoreKey:  # noqa: ARG002  # of the protocol
        """Return a key for what is going to be put."""
        return StoreKey(token_hex(8))

    def set(self, key: StoreKey, obj: Buffer) -> None:
        """Put the bytes for which a new key was made."""
        # What comes out again is a memoryview: bytes would be copied.
        self._store.put(memoryview(obj).toreadonly(), key.key, pinned=True)

    def put(self, obj: Buffer) -> StoreKey:
        """Put bytes, and return their key."""
        key = self.new_key()
        self.set(key, obj)
        return key

    def put_batch(self, objs: Sequence[Buffer]) -> list[StoreKey]:
        """Put several."""
        return [self.put(obj) for obj in objs]

    def get(self, key: StoreKey) -> memoryview | None:
        """Return bytes where they are in shared memory, read-only; or `None` if there are none."""
        with suppress(NoSuchKeyError):
            return self._store.get(key.key)  # type: ignore[no-any-return]
        return None

    def get_batch(self, keys: Sequence[StoreKey]) -> list[memoryview | None]:
        """Get several."""
        return [self.get(key) for key in keys]

    def exists(self, key: StoreKey) -> bool:
        """Tell whether there are bytes of a key."""
        return key.key in self._store

    def evict(self, key: StoreKey) -> None:
        """Delete bytes, if there are any. Who has got them keeps them."""
        with suppress(NoSuchKeyError):
            self._store.delete(key.key)
