"""The addresses ``oob://`` and ``oobs://`` of Dask, for which `protocol` of its clusters and servers is the choice.

Sockets, TLS, names and ports are as with ``tcp://`` and ``tls://``. What travels is the packed form of oobcodec, so
that each large frame arrives in memory of its own, aligned to 64 bytes; and who writes waits for who reads.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager, suppress
from functools import partial
from ssl import SSLError
from typing import TYPE_CHECKING, Any, Final

from distributed.comm.core import CommClosedError
from distributed.comm.tcp import (
    TCP,
    TLS,
    TCPBackend,
    TCPConnector,
    TCPListener,
    TLSBackend,
    TLSConnector,
    TLSListener,
    convert_stream_closed_error,
)
from distributed.comm.utils import OFFLOAD_THRESHOLD, from_frames
from distributed.sizeof import safe_sizeof
from distributed.utils import offload
from tornado.iostream import StreamClosedError

from oobcodec.aio.pieces import pieces
from oobcodec.buffers import flat
from oobcodec.errors import OobError
from oobcodec.header import PRELUDE_SIZE, encode
from oobcodec.integrations.dask import install
from oobcodec.integrations.dask.messages import dumps
from oobcodec.wire import Receiver, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oobcodec.buffers import Buffer

AT_ONCE: Final = 1 << 20
"""Bytes that are written at once. With more, what is being copied no longer fits into the caches."""

SENT_AHEAD: Final = 1 << 20
"""Bytes that the system holds for a reader on this machine, who then finds them in the caches. Others need more."""

READ_AT_ONCE: Final = 1 << 30
"""More than the system gives, and less than TLS refuses."""


class Oob(TCP):  # type: ignore[misc]  # Dask has no types here
    """A connection, as what Dask calls a comm.

    A message has the frames that Dask would send over TCP, so that a scheduler can pass on what is in it over any
    connection, unopened.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not self.stream.closed() and self.same_host:
            self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD)
        self._writing = asyncio.Lock()

    async def write(self, msg: Any, serializers: list[str] | None = None, on_error: str = "message") -> int:
        """Send a message, and return its bytes once the system has taken them."""
        self._open_stream()
        message = parts(_headed(await self._encoded(msg, serializers=serializers, on_error=on_error)))
        async with self._writing:
            stream = self._open_stream()
            with self._closed_by_errors():
                for piece in pieces(message, AT_ONCE):
                    await self._write_piece(stream, piece)
        return sum(map(len, message))

    async def _write_piece(self, stream: Any, piece: memoryview) -> None:
        # Past the stream, which hands the system 128 KiB a call, and waits for the loop in between.
        with suppress(OSError):
            while piece and not stream.closed():
                piece = piece[stream.socket.send(piece) :]
        if piece:
            await stream.write(piece)  # which waits, or finds the same error

    async def read(self, deserializers: Any = None) -> Any:
        """Receive a message."""
        frames = await self._received()
        return await from_frames(
            frames[1:], deserialize=self.deserialize, deserializers=deserializers, allow_offload=self.allow_offload
        )

    async def _encoded(self, msg: Any, **options: Any) -> list[Buffer]:
        context = {"sender": self.local_info, "recipient": self.remote_info, **self.handshake_options}
        work = partial(dumps, msg, context=context, **options)
        if not (OFFLOAD_THRESHOLD and self.allow_offload):
            return work()
        size = safe_sizeof(msg, default_size=-1)
        return work() if 0 <= size <= OFFLOAD_THRESHOLD else await offload(work)

    async def _received(self) -> list[memoryview]:
        stream = self._open_stream()
        receiver = Receiver()
        with self._closed_by_errors():
            # Through the buffer of the stream, which asks the system for more: it often gets a small message at once.
            receiver.get_buffer()[:] = await stream.read_bytes(PRELUDE_SIZE)
            frames = receiver.advance(PRELUDE_SIZE)
            while frames is None:
                frames = receiver.advance(await stream.read_into(receiver.get_buffer()[:READ_AT_ONCE]))
        return frames

    def _open_stream(self) -> Any:
        if self.stream is None:
            raise CommClosedError
        return self.stream

    @contextmanager
    def _closed_by_errors(self) -> Iterator[None]:
        """Close for good where the stream may be left inside a message, and say so as Dask does."""
        try:
            yield
        except BaseException as error:
            self.abort()
            if isinstance(error, StreamClosedError | SSLError):
                convert_stream_closed_error(self, error)
            if isinstance(error, OobError):
                message = f"in {self}: {error}"
                raise CommClosedError(message) from error
            raise


class OobTLS(Oob, TLS):  # type: ignore[misc]
    """A connection with TLS."""

    async def _write_piece(self, stream: Any, piece: memoryview) -> None:
        await stream.write(piece)


def _headed(frames: Sequence[Buffer]) -> list[memoryview]:
    """Return a message of oobcodec: for its receiver, all frames are those of some pickle."""
    views = [flat(frame) for frame in frames]
    return [memoryview(encode("dask", None, tuple(map(len, views)), len(views), ())), *views]


class OobConnector(TCPConnector):  # type: ignore[misc]
    """Connects."""

    prefix = "oob://"
    comm_class = Oob


class OobListener(TCPListener):  # type: ignore[misc]
    """Listens."""

    prefix = "oob://"
    comm_class = Oob


class OobBackend(TCPBackend):  # type: ignore[misc]
    """What Dask asks for about addresses with ``oob://``; whoever speaks that also serializes by oobcodec."""

    _connector_class = OobConnector
    _listener_class = OobListener

    def __init__(self) -> None:
        install()


class OobTLSConnector(TLSConnector):  # type: ignore[misc]
    """Connects with TLS."""

    prefix = "oobs://"
    comm_class = OobTLS


class OobTLSListener(TLSListener):  # type: ignore[misc]
    """Listens with TLS."""

    prefix = "oobs://"
    comm_class = OobTLS


class OobTLSBackend(TLSBackend):  # type: ignore[misc]
    """What Dask asks for about addresses with ``oobs://``."""

    _connector_class = OobTLSConnector
    _listener_class = OobTLSListener

    def __init__(self) -> None:
        install()
