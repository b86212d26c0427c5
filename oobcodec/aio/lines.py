"""Where bytes go and come from: sockets as they are or with TLS, and the streams of asyncio.

Sockets are not left to asyncio's transports or its `sock_recv_into`. A task that is cancelled here knows what has been
sent and received; and before Python 3.12 transports copy what the system does not take at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Final, Protocol

from oobcodec.aio.pieces import pieces
from oobcodec.handshake import exchange
from oobcodec.transfer import shut

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Sequence

    from oobcodec.hello import Hello
    from oobcodec.wire import Receiver

AT_ONCE: Final = 1 << 20
"""Bytes a call to a socket. With fewer there is more to wait for, each time through the event loop."""

TURN: Final = 8 << 20
"""Bytes after which others have a turn, if the peer is so fast that there was nothing to wait for."""

ANY: Final = 0.005
"""Seconds until the next try of what waits for something else than usual, as TLS may when it changes its keys."""

_WAITS: Final = {"BlockingIOError": 0, "SSLWantReadError": EVENT_READ, "SSLWantWriteError": EVENT_WRITE}


class Outward(Protocol):
    """Takes bytes."""

    largest: int
    exact: bool
    """Whether nothing has been sent where `send` has not returned."""

    async def send(self, data: memoryview) -> int:
        """Send some of the bytes, and return how many."""


class Inward(Protocol):
    """Gives bytes."""

    async def recv_into(self, memory: memoryview) -> int:
        """Receive some bytes, and return how many: none at the end. Nothing is lost if this is cancelled."""


class Line:
    """A connected stream socket that is non-blocking, as it is or with TLS.

    Parameters
    ----------
    sock
        The socket.
    ours
        Whether nobody else waits for it: then the event loop is told once, and not before and after each wait.

    Attributes
    ----------
    timeout : float or None
        Seconds that each wait for the peer may last.
    closed : bool
        Whether `close` was called.
    """

    largest = AT_ONCE

    def __init__(self, sock: socket.socket, *, ours: bool = False) -> None:
        self.timeout: float | None = None
        self.closed = False
        self.exact = type(sock) is socket.socket
        self._sock = sock
        self._ours = ours
        self._waits: dict[int, Future[None]] = {}
        self._watched: set[int] = set()
        self._idle: set[int] = set()

    async def greet(self, ours: Hello) -> Hello:
        """Exchange hellos, as `oobcodec.handshake.exchange`."""
        steps = exchange(self._sock, ours)
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                theirs: Hello = stop.value
                return theirs
            await self._ready(event)

    async def send(self, data: memoryview) -> int:
        """Send some of the bytes, and return how many."""
        return await self._tried(EVENT_WRITE, self._send, data)

    async def recv_into(self, memory: memoryview) -> int:
        """Receive some bytes, and return how many: none at the end. Nothing is lost if this is cancelled."""
        return await self._tried(EVENT_READ, self._recv_into, memory)

    # Both may find the line closed, when they had to wait.

    def _send(self, data: memoryview) -> int:
        if self.closed:
            raise OSError(errno.EBADF, "the connection was closed meanwhile")
        return self._sock.send(data)

    def _recv_into(self, memory: memoryview) -> int:
        return 0 if self.closed else self._sock.recv_into(memory)

    async def _tried(self, event: int, operation: Callable[[memoryview], int], memory: memoryview) -> int:
        while True:
            try:
                return operation(memory)
            except OSError as error:
                wanted = _WAITS.get(type(error).__name__)
                if wanted is None:
                    raise
            if wanted in {0, event}:
                await self._ready(event)
            else:
                await asyncio.sleep(ANY)  # another task may wait for the other event, and only one can

    async def _ready(self, event: int) -> None:
        loop = asyncio.get_running_loop()
        ready = self._waits[event] = loop.create_future()
        self._idle.discard(event)
        if event not in self._watched:
            self._watched.add(event)
            getattr(loop, _WATCHES[event][0])(self._sock.fileno(), self._wake, event)
        seconds = self.timeout
        late = None if seconds is None else loop.call_later(seconds, _fail, ready, seconds)
        try:
            await ready
        finally:
            if late is not None:
                late.cancel()
            if not self._ours and event in self._watched:
                self._unwatch(event)

    def _wake(self, event: int) -> None:
        ready = self._waits[event]
        if not ready.done():
            ready.set_result(None)
        elif event in self._idle:
            self._unwatch(event)  # nobody waits, and it would be told again and again
        else:
            self._idle.add(event)  # once more is usual: the loop looks again before the task that waited goes on

    def _unwatch(self, event: int) -> None:
        self._watched.remove(event)
        getattr(self._waits[event].get_loop(), _WATCHES[event][1])(self._sock.fileno())

    def end(self) -> None:
        """Let the peer see an end of what is sent."""
        shut(self._sock, socket.SHUT_WR)

    def refuse(self) -> None:
        """Receive no more."""
        shut(self._sock, socket.SHUT_RD)

    def close(self) -> None:
        """Close the socket, also under tasks that wait for it."""
        self.closed = True
        for event in [*self._watched]:
            self._unwatch(event)
        for ready in self._waits.values():
            if not ready.done():
                ready.set_result(None)
        shut(self._sock, socket.SHUT_RDWR)
        self._sock.close()


_WATCHES: Final = {EVENT_READ: ("add_reader", "remove_reader"), EVENT_WRITE: ("add_writer", "remove_writer")}


def _fail(ready: Future[None], seconds: float) -> None:
    if not ready.done():
        ready.set_exception(TimeoutError(f"the peer has done nothing for {seconds} s"))


class WriterLine:
    """A `asyncio.StreamWriter` of the user's."""

    # What a transport does not send at once, it may copy.
    largest = 256 * 1024
    exact = False

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        # That of TLS would never say that it has reached nothing.
        self._empty = 0 if writer.get_extra_info("sslcontext") is None else 1

    async def send(self, data: memoryview) -> int:
        """Send all of the bytes, and return how many."""
        transport = self._writer.transport
        if transport.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, "the connection is closed, or lost")
        low, high = transport.get_write_buffer_limits()
        # Until nothing is left of what is live memory of the user's.
        transport.set_write_buffer_limits(self._empty)
        try:
            self._writer.write(data)
            await self._writer.drain()
        finally:
            transport.set_write_buffer_limits(high, low)
        return len(data)

    def end(self) -> None:
        """Let the peer see an end."""
        if not self._writer.transport.is_closing():
            if self._writer.can_write_eof():
                self._writer.write_eof()
            else:
                self._writer.transport.abort()


class ReaderLine:
    """A `asyncio.StreamReader` of the user's."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def recv_into(self, memory: memoryview) -> int:
        """Receive some bytes, and return how many: none at the end. Nothing is lost if this is cancelled."""
        data = await self._reader.read(len(memory))
        memory[: len(data)] = data
        return len(data)


async def transmit(line: Outward, parts: Sequence[memoryview], poison: Callable[[str], object]) -> int:
    """Send a message.

    Parameters
    ----------
    line
        Where to.
    parts
        The message, as `oobcodec.wire.parts` returns it.
    poison
        Called if this stops inside of it, for whatever reason, with that in words.

    Returns
    -------
    int
        Bytes sent.
    """
    total = sum(map(len, parts))
    sent = turn = 0
    try:
        for piece in pieces(parts, line.largest):
            rest = piece
            while rest:
                nbytes = await line.send(rest)
                sent += nbytes
                rest = rest[nbytes:]
                turn = await _turn(turn, sent)
    except BaseException as error:
        if sent < total and (sent or not line.exact):
            poison(f"stopped inside a message: {sent:,} of {total:,} bytes sent, then {type(error).__name__}")
        raise
    return total


async def assemble(
    line: Inward, receiver: Receiver, admit: Callable[[int], Awaitable[object]] | None = None
) -> list[memoryview]:
    """Receive the rest of the message that a receiver is at.

    Parameters
    ----------
    line
        Where from.
    receiver
        Has what has arrived, also where this is cancelled.
    admit
        Awaited with the bytes of the message, before memory is set aside for its frames.
    """
    turn = receiver.received
    while True:
        nbytes = await line.recv_into(receiver.get_buffer()[:AT_ONCE])
        if not nbytes:
            receiver.end()
        frames = receiver.advance(nbytes)
        if frames is not None:
            return frames
        if admit is not None and receiver.expected is not None:
            await admit(receiver.expected)
        turn = await _turn(turn, receiver.received)


async def _turn(before: int, now: int) -> int:
    if now - before < TURN:
        return before
    await asyncio.sleep(0)
    return now
