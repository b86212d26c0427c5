"""The exchange of hellos over a socket, in steps, so that one thread can do it with many peers at a time."""

from __future__ import annotations

from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from oobcodec.errors import TruncatedError
from oobcodec.hello import HELLO_SIZE, check_agreement, check_start, decode_hello

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator

    from oobcodec.hello import Hello

# By name, since whoever has a TLS socket has imported ssl, which takes 10 ms, and nobody else needs it.
_TLS_WAITS: Final = {"SSLWantReadError": EVENT_READ, "SSLWantWriteError": EVENT_WRITE}


def exchange(sock: socket.socket, ours: Hello) -> Generator[int, None, Hello]:
    """Say hello over a non-blocking socket, after the handshake of TLS, and return the peer's hello.

    Yields
    ------
    int
        What to wait for before the next step, as `selectors` calls it.

    Raises
    ------
    HeaderError, AuthenticationError, TruncatedError, OSError
        The peer is no connection of ours, none that fits, or not there any more.
    """
    handshake = getattr(sock, "do_handshake", None)
    if handshake is not None:
        yield from _tried(handshake, EVENT_READ)
    rest = ours.encode()
    while rest:
        rest = rest[(yield from _tried(sock.send, EVENT_WRITE, rest)) :]
    received = b""
    while len(received) < HELLO_SIZE:
        data = yield from _tried(sock.recv, EVENT_READ, HELLO_SIZE - len(received))
        if not data:
            message = f"the peer closed the connection after {len(received)} of {HELLO_SIZE} bytes of its hello"
            raise TruncatedError(message)
        received += data
        check_start(received)
    theirs = decode_hello(received)
    check_agreement(ours, theirs)
    return theirs


def _tried(operation: Callable[..., Any], event: int, *arguments: Any) -> Generator[int, None, Any]:
    while True:
        try:
            return operation(*arguments)
        except BlockingIOError:
            yield event
        except OSError as error:
            wanted = _TLS_WAITS.get(type(error).__name__)
            if wanted is None:
                raise
            yield wanted


def exchange_within(sock: socket.socket, ours: Hello, seconds: float | None) -> Hello:
    """Exchange hellos in so many seconds in all, and leave the socket non-blocking.

    Raises
    ------
    HeaderError, AuthenticationError, TruncatedError, OSError
        As for `exchange`; `TimeoutError` if it takes longer.
    """
    end = None if seconds is None else monotonic() + seconds
    sock.settimeout(0)
    steps = exchange(sock, ours)
    with DefaultSelector() as selector:
        selector.register(sock, EVENT_READ)
        while True:
            try:
                selector.modify(sock, next(steps))
            except StopIteration as stop:
                theirs: Hello = stop.value
                return theirs
            left = None if end is None else end - monotonic()
            if (left is not None and left <= 0) or not selector.select(left):
                raise TimeoutError(no_hello(seconds))


def shorter(*timeouts: float | None) -> float | None:
    """Return the shortest of some timeouts in seconds, of which ``None`` is for ever."""
    return min((seconds for seconds in timeouts if seconds is not None), default=None)


def no_hello(seconds: float | None) -> str:
    """Return what to say of a peer that has not said hello in time."""
    return f"no hello within {seconds} s: the peer is not an oobcodec connection, or busy (hello_timeout=)"
