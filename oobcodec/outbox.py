"""What leaves on a connection: encoded, signed, sent and counted."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from oobcodec.buffers import ALIGNMENT
from oobcodec.codec import dumps
from oobcodec.sharing import COPIED
from oobcodec.small import HEADS, remember
from oobcodec.statistics import MUCH, Traffic
from oobcodec.transfer import JOINED, Sender, abandon, send_pieces, tell
from oobcodec.wire import parts

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence

    from oobcodec.auth import Session
    from oobcodec.buffers import Buffer
    from oobcodec.statistics import Stats
    from oobcodec.transfer import Progress


class Outbox:
    """The messages that leave on a socket, for one thread at a time.

    Parameters
    ----------
    sock
        A connected stream socket, blocking or with a timeout.
    peer
        Address of the other side, for people.
    encode
        Returns the frames of an object.
    session
        Signs them.
    stats
        Counts what has been sent.
    """

    __slots__ = ("_busy", "_encode", "_owed", "_peer", "_plain", "_refusal", "_sender", "_session", "_sock", "_stats")

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        encode: Callable[[object], list[memoryview]],
        session: Session | None,
        stats: Stats,
    ) -> None:
        self._sock = sock
        self._peer = peer
        self._encode = encode
        self._plain = session is None and encode is dumps
        self._session = session
        self._stats = stats
        self._sender = Sender(sock)
        self._refusal = f"another thread is sending to {peer}: one at a time"
        self._busy = False
        self._owed = 0  # messages that have a number and were not sent

    def send(self, obj: object, progress: Progress | None = None) -> int:
        """Send an object: `oobcodec.sockets.Connection.send`."""
        if self._busy:
            raise RuntimeError(self._refusal)
        # Not a lock, which costs more: neither another thread nor a signal handler runs before the next call.
        self._busy = True
        try:
            self._check_owed()
            start, copied = perf_counter(), COPIED.nbytes
            frames = self._encode(obj)
            head = HEADS.get(frames[0].obj) if self._plain and progress is None else None
            if head is None:
                return self._transmit(*self._coded(obj, frames, start, copied), progress)
            # Most messages, at half of the price: nothing but a small pickle, and what goes in front of it is known.
            data = head + frames[1]
            coded = perf_counter()
            try:
                nbytes = self._sender.send(data)
            except BaseException as error:
                self._stop(error)
                raise
            sent = self._stats.sent
            sent.messages += 1
            sent.in_band_bytes += nbytes - ALIGNMENT
            sent.coding_seconds += coded - start
            sent.wire_seconds += perf_counter() - coded
            return nbytes
        finally:
            self._busy = False

    def send_many(self, objects: Iterable[object]) -> int:
        """Send objects: `oobcodec.sockets.Connection.send_many`."""
        return self._alone(self._send_many, objects)

    def send_frames(self, frames: Sequence[Buffer], progress: Progress | None = None) -> int:
        """Send a message: `oobcodec.sockets.Connection.send_frames`."""
        return self._alone(self._send_frames, frames, progress)

    def _alone(self, send: Callable[..., int], *arguments: Any) -> int:
        """Do what `send` does around its own work: a call more would cost it too much."""
        if self._busy:
            raise RuntimeError(self._refusal)
        self._busy = True
        try:
            self._check_owed()
            return send(*arguments)
        finally:
            self._busy = False

    def _send_many(self, objects: Iterable[object]) -> int:
        batch, of_batch, nbytes = bytearray(), Traffic(), 0
        try:
            for obj in objects:
                start, copied = perf_counter(), COPIED.nbytes
                pieces, traffic = self._coded(obj, self._encode(obj), start, copied)
                size = sum(map(len, pieces))
                if len(batch) + size > JOINED:
                    nbytes += self._flush(batch, of_batch)
                    of_batch = Traffic()
                if size > JOINED:
                    nbytes += self._transmit(pieces, traffic)
                else:
                    # At once: the next object may come in the same memory.
                    batch += b"".join(pieces)
                    of_batch.add(traffic)
        finally:
            nbytes += self._flush(batch, of_batch)
        return nbytes

    def _send_frames(self, frames: Sequence[Buffer], progress: Progress | None) -> int:
        traffic = Traffic()
        pieces = self._pieces(frames)
        traffic.count(frames)
        return self._transmit(pieces, traffic, progress)

    def _check_owed(self) -> None:
        if self._owed:
            abandon(self._sock, "this connection was interrupted before it sent a message")

    def _coded(
        self, obj: object, frames: list[memoryview], start: float, copied: int
    ) -> tuple[list[memoryview], Traffic]:
        """Return an object's message in pieces, and what it counts: it was begun then, with so many bytes copied."""
        remember(frames)
        pieces = self._pieces(frames)
        traffic = Traffic(copied_bytes=COPIED.nbytes - copied)
        traffic.count(frames)
        traffic.coding_seconds = perf_counter() - start
        if traffic.in_band_bytes >= MUCH:
            self._stats.note(obj, traffic.in_band_bytes)
        return pieces, traffic

    def _pieces(self, frames: Sequence[Buffer]) -> list[memoryview]:
        pieces = parts(frames)  # first, since a message that is signed has taken a number
        if self._session is None:
            return pieces
        sealed = self._session.seal(frames)
        self._owed += 1
        return parts(sealed)

    def _flush(self, batch: bytearray, traffic: Traffic) -> int:
        if not batch:
            return 0
        data, batch[:] = bytes(batch), b""  # before anything can fail, and it be sent again
        return self._transmit([memoryview(data)], traffic)

    def _transmit(self, pieces: Sequence[memoryview], traffic: Traffic, progress: Progress | None = None) -> int:
        start = perf_counter()
        try:
            nbytes = send_pieces(self._sock, pieces, progress)
        except BaseException as error:
            self._stop(error)
            raise
        if self._session is not None:
            self._owed -= traffic.messages
        traffic.wire_seconds = perf_counter() - start
        self._stats.sent.add(traffic)
        return nbytes

    def _stop(self, error: BaseException) -> None:
        self._owed = 0
        # Its number is taken: the peer would refuse the next one.
        if self._session is not None and self._sock.fileno() >= 0:
            abandon(self._sock, f"this connection could not send a message: {type(error).__name__}")
        tell(error, f"to {self._peer}, message {self._stats.sent.messages + 1}")
