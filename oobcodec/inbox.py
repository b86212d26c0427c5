"""What arrives on a connection: received, checked, decoded and counted."""

from __future__ import annotations

import socket
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from oobcodec.errors import AuthenticationError, DecodeError, IntegrityError
from oobcodec.limits import UNLIMITED
from oobcodec.small import remember, taken
from oobcodec.transfer import RECEIVED_AT_ONCE, RECEIVING, abandon, check, poison, receive, tell
from oobcodec.wire import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.auth import Session
    from oobcodec.limits import Limits
    from oobcodec.statistics import Traffic
    from oobcodec.transfer import Progress
    from oobcodec.wire import Allocate

    T = TypeVar("T")

AHEAD: Final = 64 * 1024
"""Bytes that are read ahead: a small message takes one call of the system, and of a large one few are copied."""


class Inbox:
    """The messages that arrive on a socket, for one thread at a time.

    Parameters
    ----------
    sock
        A connected stream socket, blocking or with a timeout.
    peer
        Address of the other side, for people.
    limits
        What is accepted.
    session
        Verifies it.
    received
        Counts what has arrived.
    """

    __slots__ = ("_ahead", "_limits", "_lock", "_peer", "_plain", "_receiver", "_session", "_sock", "_traffic")

    def __init__(
        self, sock: socket.socket, peer: str, limits: Limits, session: Session | None, received: Traffic
    ) -> None:
        self._sock = sock
        self._peer = peer
        self._limits = limits
        self._session = session
        self._traffic = received
        self._ahead = _ReadAhead(sock)
        self._receiver = self._new_receiver(None)
        self._plain = limits is UNLIMITED and session is None
        self._lock = Lock()

    @property
    def waiting(self) -> bool:
        """Whether something has arrived that nobody has asked for yet."""
        return bool(self._ahead.waiting)

    def _new_receiver(self, allocate: Allocate | None) -> Receiver:
        return Receiver(limits=self._limits, session=self._session, allocate=allocate)

    def receive(
        self,
        decode: Callable[[list[memoryview]], T],
        progress: Progress | None = None,
        allocate: Allocate | None = None,
    ) -> T:
        """Receive the next message, and return what `decode` makes of its frames."""
        if self._lock.locked():
            message = f"another thread is receiving from {self._peer}: one at a time"
            raise RuntimeError(message)
        traffic = self._traffic
        number = traffic.messages + 1
        begun = False
        try:
            # By `with`, since no signal handler runs between taking a lock and holding it.
            with self._lock:
                check(self._sock, RECEIVING)
                self._ahead.wait()
                begun = True
                start = perf_counter()
                frames: Any = self._taken() if self._plain and progress is None else None
                if frames is None:
                    receiver = self._receiver if allocate is None else self._new_receiver(allocate)
                    frames = receive(self._sock, receiver, self._ahead.read, progress)
                    traffic.count(frames)
                    remember(frames)
                arrived = perf_counter()
                traffic.wire_seconds += arrived - start
                traffic.copied_bytes = self._ahead.copied
                obj = decode(frames)
                traffic.coding_seconds += perf_counter() - arrived
        except BaseException as error:
            self._stop(error, number, begun=begun)
            raise
        return obj

    def _taken(self) -> list[bytes] | None:
        """Return the next message if it is a small one of a known form, and here."""
        frames = self._ahead.take()
        if frames is not None:
            self._traffic.messages += 1
            self._traffic.in_band_bytes += len(frames[1])
        return frames

    def _stop(self, error: BaseException, number: int, *, begun: bool) -> None:
        # What arrives is signed: whoever changes it is on the way of what leaves, too.
        tampered = self._session is not None and self._traffic.messages < number and isinstance(error, DecodeError)
        if tampered or isinstance(error, AuthenticationError | IntegrityError):
            abandon(self._sock, f"this connection refused a message: {type(error).__name__}")
        elif self._ahead.lost:
            poison(self._sock, RECEIVING, socket.SHUT_RD, "nobody knows how many bytes received", error)
        elif begun and not isinstance(error, Exception) and self._sock not in RECEIVING:
            # An interrupt: the message is lost, and nobody has told that it is no good.
            poison(self._sock, RECEIVING, socket.SHUT_RD, "received, but not returned", error)
        tell(error, f"from {self._peer}, message {number}")


class _ReadAhead:
    """The bytes that arrive on a socket. Whatever interrupts it and wherever, none is lost unseen or comes twice."""

    __slots__ = ("_begin", "_end", "_memory", "_recv_into", "copied")

    def __init__(self, sock: socket.socket) -> None:
        self._recv_into = sock.recv_into
        self._memory = memoryview(bytearray(AHEAD))
        self._begin = 0
        self._end: list[int] = []
        self.copied = 0

    @property
    def waiting(self) -> int:
        """Bytes that are here and were not read."""
        return max(sum(self._end) - self._begin, 0)

    @property
    def lost(self) -> bool:
        """Whether a message has begun to arrive, and an interrupt has taken the count of its bytes with it."""
        return not self._end and self._memory[0] != 0

    def wait(self) -> None:
        """Wait until there are bytes to read, or the peer has closed the connection."""
        if not self._end or self._begin >= self._end[0]:
            self._memory[0] = 0  # no message begins with that
            self._end.clear()
            self._begin = 0
            # What `extend` consumes cannot be interrupted by a signal handler between the call and its result, unless
            # the call is one of Python, as that of a TLS socket is.
            self._end.extend(map(self._recv_into, (self._memory,)))

    def take(self) -> list[bytes] | None:
        """Return the message that they begin with, if all of it is here and it is a small one of a known form."""
        begin, (end,) = self._begin, self._end
        found = taken(self._memory, begin, end)
        if found is None:
            return None
        frames, self._begin = found
        self.copied += self._begin - begin
        return frames

    def read(self, target: memoryview) -> int:
        """Read into memory, and return the number of bytes: none where the peer has closed the connection."""
        if len(target) >= AHEAD and not self.waiting:
            return self._recv_into(target[:RECEIVED_AT_ONCE])
        self.wait()
        nbytes = min(len(target), self.waiting)
        target[:nbytes] = self._memory[self._begin : self._begin + nbytes]
        self._begin += nbytes
        self.copied += nbytes
        return nbytes
