"""What sockets do with messages, without any agreement between the two sides.

A socket that stops inside a message, for whatever reason, is of no more use in that direction: what comes next on it is
the rest of that message. Such a socket is *poisoned*: `send` or `recv` refuse it from then on.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from oobcodec.codec import dumps, loads
from oobcodec.errors import OobError, PoisonedError
from oobcodec.gathering import batches, behind
from oobcodec.into import target
from oobcodec.policy import TRUSTED, limited
from oobcodec.wire import Receiver, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy
    from oobcodec.wire import Allocate

    Progress: TypeAlias = Callable[[int, int], object]

JOINED: Final = 64 * 1024
"""Bytes up to which joining the pieces of a message is cheaper than naming them one by one to the system."""

MANY: Final = 128
"""Pieces in one call above which it is cheaper as well."""

RECEIVED_AT_ONCE: Final = 256 * 1024
"""Bytes a call. As with `SENT_AT_ONCE`, larger ones are slower."""

SENDING: Final[WeakKeyDictionary[socket.socket, str]] = WeakKeyDictionary()
RECEIVING: Final[WeakKeyDictionary[socket.socket, str]] = WeakKeyDictionary()
"""Sockets that stopped inside a message, and why."""

_sendmsg = getattr(socket.socket, "sendmsg", None)


def send(sock: socket.socket, obj: object, *, progress: Progress | None = None, **options: Any) -> int:
    """Send an object, without copying its data.

    Parameters
    ----------
    sock
        A connected stream socket, blocking or with a timeout, which then bounds each wait for the peer. Only one thread
        at a time may send on it; another may receive.
    obj
        Whatever `oobcodec.dumps` takes.
    progress
        Called as ``progress(done, total)`` with bytes of the message, each time that the system has taken some.
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
    return send_frames(sock, dumps(obj, **options), progress=progress)


def recv(  # noqa: PLR0913  # each is a choice of its own
    sock: socket.socket,
    *,
    into: Any = None,
    progress: Progress | None = None,
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
    into
        What to receive into. A ``bytearray``, ``memoryview`` or ``mmap``: the object lies in it. Any other object is
        one like that which arrives, as the ``state_dict`` of a model: with the same classes, keys, dtypes and shapes,
        and the same values outside of arrays. It is changed to equal what arrives, and returned. Frames go straight
        into the memory of its arrays and tensors where these are contiguous on both sides, if all that is large in the
        message is numbers in dicts, lists and tuples; all else, and messages with checksums or a signature, are checked
        first, in memory of their own, and copied.
    progress
        Called as ``progress(done, total)`` with bytes of the message, each time that some have arrived.
    policy, limits, keyring
        As for `oobcodec.loads`. What the first frame declares is held against the limits before memory is set aside
        for it, and its signature is verified before it is parsed.
    allocate
        As for `oobcodec.Receiver`; instead of `into`.
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
        Of `oobcodec.loads`, or what arrives does not fit into `into`, whose arrays have not been changed; the next
        message can be received all the same.
    ValueError
        Nothing can be received into `into`: it is read-only, a buffer that is not contiguous, or without memory. Or
        `allocate` is given too.
    PoisonedError
        An earlier `recv` on this socket stopped inside a message.
    OSError
        Of the socket, `TimeoutError` included. Unless nothing has been received yet, the socket is poisoned.

    Notes
    -----
    A buffer for `into` holds whatever part of a message has arrived, also if that is refused. After an error that
    poisons the socket, so do the arrays of another `into`.
    """

    def decode(frames: list[memoryview]) -> Any:
        return loads(frames, policy=policy, limits=limits, keyring=keyring, **options)

    # What is refused should be refused before it is here.
    arriving = limited(policy, limits)
    if into is None:
        return decode(recv_frames(sock, progress=progress, limits=arriving, keyring=keyring, allocate=allocate))
    if allocate is not None:
        message = "into= and allocate= both say where frames go: give one of them"
        raise ValueError(message)
    place = target(into, decode)
    frames = recv_frames(sock, progress=progress, limits=arriving, keyring=keyring, allocate=place.allocate)
    return place.finish(frames)


def send_frames(sock: socket.socket, frames: Sequence[Buffer], *, progress: Progress | None = None) -> int:
    """Send a message that is encoded already.

    Parameters
    ----------
    sock, progress
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
    return send_pieces(sock, parts(frames), progress)


def send_pieces(sock: socket.socket, pieces: Sequence[memoryview], progress: Progress | None = None) -> int:
    """Send whole messages that are in pieces already; errors are those of `send`."""
    total = sum(map(len, pieces))
    if total <= JOINED:
        Sender(sock).send(b"".join(pieces))
        if progress is not None:
            progress(total, total)
        return total
    check(sock, SENDING)
    exact = _is_exact(sock)
    send_some = sock.sendmsg if exact else partial(_sendall, sock)
    sent: list[int] = []
    done = 0
    try:
        for batch in batches(pieces):
            rest = [memoryview(b"".join(batch))] if len(batch) > MANY else batch
            while rest:
                # What `extend` consumes cannot be interrupted by a signal handler between the call and the record of
                # its result: either both have happened or neither has.
                sent.extend(map(send_some, (rest,)))
                rest = behind(rest, sent[-1])
                if progress is not None:
                    done += sent[-1]
                    progress(done, total)
    except BaseException as error:
        _stopped(sock, sum(sent), total, error)
        raise
    return total


class Sender:
    """Sends whole messages that are one small piece already, on one socket; errors are those of `send`."""

    __slots__ = ("_rest", "_sends", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = [b""]
        # Each step of it sends of what is in there: cheaper than an iterator for each piece.
        self._sends = map(sock.send, map(self._rest.__getitem__, repeat(0)))

    def send(self, data: bytes) -> int:
        """Send a piece, and return its length."""
        check(self._sock, SENDING)
        sent = 0
        self._rest[0] = data
        try:
            # No signal handler runs between what a `for` calls and the record of its result: either both have happened
            # or neither has.
            for nbytes in self._sends:  # pragma: no branch  # it has no end
                sent += nbytes
                if sent >= len(data):
                    break
                self._rest[0] = data[sent:]
        except BaseException as error:
            _stopped(self._sock, sent, len(data), error)
            raise
        return sent


def _is_exact(sock: socket.socket) -> bool:
    """Tell whether an error means that nothing was sent: what is written in Python, as TLS sockets, cannot tell."""
    return _sendmsg is not None and getattr(type(sock), "sendmsg", None) is _sendmsg


def _stopped(sock: socket.socket, sent: int, total: int, error: BaseException) -> None:
    """Poison a socket on which sending has failed, unless all of its messages or none were sent."""
    exact = _is_exact(sock)
    if not exact or 0 < sent < total:
        count = f"{sent:,} of {total:,}" if exact else f"part of {total:,}"
        poison(sock, SENDING, socket.SHUT_WR, f"{count} bytes sent", error)


def recv_frames(
    sock: socket.socket,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    allocate: Allocate | None = None,
) -> list[memoryview]:
    """Receive a message without decoding it.

    Parameters
    ----------
    sock, progress, allocate
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
    receiver = Receiver(limits=limited(TRUSTED, limits), keyring=keyring, allocate=allocate)
    return receive(sock, receiver, lambda lent: sock.recv_into(lent[:RECEIVED_AT_ONCE]), progress)


def receive(
    sock: socket.socket, receiver: Receiver, read: Callable[[memoryview], int], progress: Progress | None = None
) -> list[memoryview]:
    """Receive the next message of a receiver that is between two messages; errors are those of `recv_frames`.

    Parameters
    ----------
    sock
        The socket that is of no more use if that fails.
    receiver
        The receiver.
    read
        Fills some memory with what comes next, and returns the number of bytes: none at the end of the stream.
    progress
        As for `recv`.
    """
    check(sock, RECEIVING)
    # All zero until the first byte arrives: so that is noticed even if an interrupt takes the count of bytes with it.
    start = receiver.get_buffer()
    frames = total = None
    try:
        while frames is None:
            nbytes = read(receiver.get_buffer())
            if not nbytes:
                receiver.end()
            frames = receiver.advance(nbytes)
            total = receiver.expected or total
            if progress is not None and total is not None:
                progress(receiver.received if frames is None else total, total)
    except BaseException as error:
        if receiver.started or any(start):
            poison(sock, RECEIVING, socket.SHUT_RD, receiver.describe(), error)
        raise
    return frames


def abandon(sock: socket.socket, reason: str) -> None:
    """Poison both directions of a socket, for a reason in words, unless they are already."""
    for record in (SENDING, RECEIVING):
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


def _sendall(sock: socket.socket, batch: list[memoryview]) -> int:
    data = batch[0] if len(batch) == 1 else b"".join(batch)
    sock.sendall(data)
    return len(data)


def check(sock: socket.socket, record: WeakKeyDictionary[socket.socket, str]) -> None:
    """Refuse a socket that has stopped in a direction, or that does not wait."""
    if record.data:  # type: ignore[attr-defined]  # none in most processes, and that is the quickest way to see it
        stopped = record.get(sock)
        if stopped is not None:
            raise PoisonedError(stopped)
    if sock.gettimeout() == 0:
        message = "the socket is non-blocking: call setblocking(True) or settimeout(seconds) on it first"
        raise ValueError(message)


def poison(
    sock: socket.socket, record: WeakKeyDictionary[socket.socket, str], how: int, progress: str, error: BaseException
) -> None:
    """Poison a direction of a socket that an error has stopped there, so far through a message."""
    if not isinstance(error, OobError):
        error.add_note(progress)
    reason = f"this socket stopped inside a message: {progress}, then {type(error).__name__}"
    record.setdefault(sock, f"{reason}; close it and connect again")
    shut(sock, how)
