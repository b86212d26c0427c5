"""What sockets do with messages, without any agreement between the two sides.

A socket that stops inside a message, for whatever reason, is of no more use in that direction: what comes next on it is
the rest of that message. Such a socket is *poisoned*: `send` or `recv` refuse it from then on.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from oobcodec.codec import dumps, loads
from oobcodec.errors import OobError, PoisonedError
from oobcodec.policy import TRUSTED
from oobcodec.wire import Receiver, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy
    from oobcodec.wire import Allocate

JOINED: Final = 64 * 1024
"""Bytes up to which joining the pieces of a message is cheaper than naming them one by one to the system."""

PARTS: Final = 1024
"""Pieces that the system takes in one call: IOV_MAX of Linux, the BSDs and macOS."""

SENT_AT_ONCE: Final = 1 << 20
RECEIVED_AT_ONCE: Final = 256 * 1024
"""Bytes a call. Larger ones are slower: what is being copied no longer fits into the caches."""

_sending: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()
_receiving: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()
_sendmsg = getattr(socket.socket, "sendmsg", None)


def send(sock: socket.socket, obj: object, **options: Any) -> int:
    """Send an object, without copying its data.

    Parameters
    ----------
    sock
        A connected stream socket, blocking or with a timeout, which then bounds each wait for the peer. Only one thread
        at a time may send on it; another may receive.
    obj
        Whatever `oobcodec.dumps` takes.
    **options
        Passed on to `oobcodec.dumps`.

    Returns
    -------
    int
        Bytes sent.

    Raises
    ------
    EncodeError
        Of `oobcodec.dumps`; nothing has been sent.
    PoisonedError
        An earlier `send` on this socket stopped inside a message.
    OSError
        Of the socket, `TimeoutError` included. The socket is poisoned unless nothing has been sent yet, which a TLS
        socket cannot tell.
    """
    return send_frames(sock, dumps(obj, **options))


def recv(
    sock: socket.socket,
    *,
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    allocate: Allocate | None = None,
    **options: Any,
) -> Any:
    """Receive an object, into memory that it then lies in.

    Parameters
    ----------
    sock
        A connected stream socket, blocking or with a timeout, which then bounds each wait for the peer. Only one thread
        at a time may receive on it; another may send.
    policy, limits, keyring
        As for `oobcodec.loads`. What the first frame declares is held against the limits before memory is set aside
        for it, and its signature is verified before it is parsed.
    allocate
        As for `oobcodec.Receiver`.
    **options
        Passed on to `oobcodec.loads`.

    Returns
    -------
    object
        No byte behind its message has been read from the socket.

    Raises
    ------
    EOFError
        The peer has closed the connection, after the last message.
    TruncatedError
        It has done so inside a message.
    LimitError, AuthenticationError, HeaderError
        As for `recv_frames`; the socket is poisoned.
    DecodeError
        Of `oobcodec.loads`; the next message can be received all the same.
    PoisonedError
        An earlier `recv` on this socket stopped inside a message.
    OSError
        Of the socket, `TimeoutError` included. Unless nothing has been received yet, the socket is poisoned.
    """
    # What is refused should be refused before it is here.
    frames = recv_frames(sock, limits=policy.limited(limits), keyring=keyring, allocate=allocate)
    return loads(frames, policy=policy, limits=limits, keyring=keyring, **options)


def send_frames(sock: socket.socket, frames: Sequence[Buffer]) -> int:
    """Send a message that is encoded already.

    Parameters
    ----------
    sock
        As for `send`.
    frames
        A message, as `oobcodec.dumps` returns it.

    Returns
    -------
    int
        Bytes sent.

    Raises
    ------
    HeaderError
        The frames are not one whole message; nothing has been sent.
    PoisonedError, OSError
        As for `send`.
    """
    _check(sock, _sending)
    pieces = parts(frames)
    total = sum(map(len, pieces))
    # A method in Python, as that of TLS sockets, may raise although something has been sent.
    exact = _sendmsg is not None and getattr(type(sock), "sendmsg", None) is _sendmsg
    sent: list[int] = []
    try:
        for batch in _batches(pieces, total):
            if not exact:
                sock.sendall(batch[0] if len(batch) == 1 else b"".join(batch))
                continue
            rest = batch
            while rest:
                # What `extend` consumes cannot be interrupted by a signal handler between the call and the record of
                # its result: either both have happened or neither has.
                sent.extend(map(sock.sendmsg, (rest,)))
                rest = _behind(rest, sent[-1])
    except BaseException as error:
        if not exact or 0 < sum(sent) < total:
            count = f"{sum(sent):,} of {total:,}" if exact else f"part of {total:,}"
            _poison(sock, _sending, socket.SHUT_WR, f"{count} bytes sent", error)
        raise
    return total


def recv_frames(
    sock: socket.socket,
    *,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    allocate: Allocate | None = None,
) -> list[memoryview]:
    """Receive a message without decoding it.

    Parameters
    ----------
    sock, allocate
        As for `recv`.
    limits
        As for `oobcodec.Receiver`.
    keyring
        Verifies the first frame. The digests of the others, which that holds, are checked by `oobcodec.loads`.

    Returns
    -------
    list of memoryview
        The frames. All but the first are writable and, where `allocate` did not place them, aligned to 64 bytes.

    Raises
    ------
    HeaderError
        What has been received is not a message.
    LimitError
        It is over a limit.
    AuthenticationError
        It is not signed by a key of `keyring`.
    EOFError, TruncatedError, PoisonedError, OSError
        As for `recv`.
    """
    return receive(sock, Receiver(limits=TRUSTED.limited(limits), keyring=keyring, allocate=allocate))


def receive(sock: socket.socket, receiver: Receiver) -> list[memoryview]:
    """Receive the next message of a receiver that is between two messages; errors are those of `recv_frames`."""
    _check(sock, _receiving)
    # All zero until the first byte arrives: so that is noticed even if an interrupt takes the count of bytes with it.
    start = receiver.get_buffer()
    frames = None
    try:
        while frames is None:
            nbytes = sock.recv_into(receiver.get_buffer()[:RECEIVED_AT_ONCE])
            if not nbytes:
                receiver.end()
            frames = receiver.advance(nbytes)
    except BaseException as error:
        if receiver.started or any(start):
            _poison(sock, _receiving, socket.SHUT_RD, receiver.describe(), error)
        raise
    return frames


def abandon(sock: socket.socket, reason: str) -> None:
    """Poison both directions of a socket, for a reason in words, unless they are already."""
    for record in (_sending, _receiving):
        record.setdefault(sock, f"{reason}; close it and connect again")
    shut(sock, socket.SHUT_RDWR)


def shut(sock: socket.socket, how: int) -> None:
    """Shut a direction down, so that both sides see an end of it."""
    # By the method of plain sockets: a TLS socket's own takes the TLS layer off, and what is sent afterwards travels
    # in clear.
    shutdown = socket.socket.shutdown if isinstance(sock, socket.socket) else type(sock).shutdown
    with suppress(OSError):
        shutdown(sock, how)


def tell(error: BaseException, where: str) -> None:
    """Let an error say where it happened, at its front if it is ours and else in a note."""
    if isinstance(error, OobError) and len(error.args) == 1:
        error.args = (f"{where}: {error.args[0]}",)
    else:
        error.add_note(where)


def _batches(pieces: Sequence[memoryview], total: int) -> Iterator[list[memoryview]]:
    """Group the pieces of a message into what one call should send, splitting the large ones."""
    if total <= JOINED:
        yield [memoryview(b"".join(pieces))]
        return
    batch: list[memoryview] = []
    room = SENT_AT_ONCE
    for piece in pieces:
        rest = piece
        while rest:
            batch.append(rest[:room])
            rest = rest[room:]
            room -= len(batch[-1])
            if not room or len(batch) == PARTS:
                yield batch
                batch, room = [], SENT_AT_ONCE
    if batch:
        yield batch


def _behind(batch: list[memoryview], nbytes: int) -> list[memoryview]:
    """Return what is left to send of a batch after its first `nbytes` bytes."""
    for index, piece in enumerate(batch):
        if nbytes < len(piece):
            return [piece[nbytes:], *batch[index + 1 :]]
        nbytes -= len(piece)
    return []


def _check(sock: socket.socket, record: WeakKeyDictionary[socket.socket, str]) -> None:
    stopped = record.get(sock)
    if stopped is not None:
        raise PoisonedError(stopped)
    if sock.gettimeout() == 0:
        message = "the socket is non-blocking: call setblocking(True) or settimeout(seconds) on it first"
        raise ValueError(message)


def _poison(
    sock: socket.socket, record: WeakKeyDictionary[socket.socket, str], how: int, progress: str, error: BaseException
) -> None:
    record[sock] = (
        f"this socket stopped inside a message: {progress}, then {type(error).__name__}; close it and connect again"
    )
    shut(sock, how)
