"""What arrives on a connection: received, checked, decoded and counted."""

from __future__ import annotations

import socket
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from oobcodec.buffers import ALIGNMENT
from oobcodec.codec import loads
from oobcodec.context import RUNNING
from oobcodec.decoder import loads_small
from oobcodec.engine import STOP
from oobcodec.errors import AuthenticationError, DecodeError, IntegrityError
from oobcodec.limits import UNLIMITED
from oobcodec.small import LEAD, LENGTHS, remember, taken
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

    __slots__ = ("_ahead", "_busy", "_limits", "_peer", "_plain", "_receiver", "_session", "_sock", "_traffic")

    def __init__(
        self, sock: socket.socket, peer: str, limits: Limits, session: Session | None, received: Traffic
    ) -> None:
        self._sock = sock
        self._peer = peer
        self._limits = limits
        self._session = session
        self._traffic = received
        self._ahead = _ReadAhead(sock, received)
        self._receiver = self._new_receiver(None)
        self._plain = limits is UNLIMITED and session is None
        self._busy = False

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
        if self._busy:
            message = f"another thread is receiving from {self._peer}: one at a time"
            raise RuntimeError(message)
        ahead, traffic = self._ahead, self._traffic
        number = traffic.messages + 1
        begun = False
        # Not a lock, which costs more: neither another thread nor a signal handler runs before the next call.
        self._busy = True
        try:
            check(self._sock, RECEIVING)
            ahead.wait()
            begun = True
            if self._plain and decode is loads and progress is None and not RUNNING:
                # Most messages, at half of the price: small ones of a known form that are here as a whole.
                start = perf_counter()
                memory, begin = ahead.memory, ahead.begin
                nbytes = LENGTHS.get(memory[begin : begin + LEAD].tobytes())
                if nbytes and begin + nbytes <= ahead.end and memory[begin + nbytes - 1] == STOP:
                    ahead.begin = begin + nbytes
                    traffic.messages += 1
                    traffic.in_band_bytes += nbytes - ALIGNMENT
                    traffic.copied_bytes += nbytes
                    obj: T = loads_small(memory[begin + ALIGNMENT : begin + nbytes])
                    traffic.coding_seconds += perf_counter() - start
                    return obj
            return self._receive(decode, progress, allocate)
        except BaseException as error:
            self._stop(error, number, begun=begun)
            raise
        finally:
            self._busy = False

    def _receive(
        self, decode: Callable[[list[memoryview]], T], progress: Progress | None, allocate: Allocate | None
    ) -> T:
        ahead, traffic = self._ahead, self._traffic
        start = perf_counter()
        found = taken(ahead.memory, ahead.begin, ahead.end) if self._plain and progress is None else None
        frames: Any
        if found is None:
            receiver = self._receiver if allocate is None else self._new_receiver(allocate)
            frames = receive(self._sock, receiver, ahead.read, progress)
            remember(frames)
        else:
            frames, stop = found
            traffic.copied_bytes += stop - ahead.begin
            ahead.begin = stop
        traffic.count(frames)
        arrived = perf_counter()
        traffic.wire_seconds += arrived - start
        obj = decode(frames)
        traffic.coding_seconds += perf_counter() - arrived
        return obj

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

    __slots__ = ("_reads", "_recv_into", "_traffic", "begin", "end", "memory")

    def __init__(self, sock: socket.socket, traffic: Traffic) -> None:
        self.memory = memoryview(bytearray(AHEAD))
        self.begin = 0
        self.end = 0
        self._traffic = traffic
        self._recv_into = sock.recv_into
        self._reads = map(sock.recv_into, repeat(self.memory))

    @property
    def waiting(self) -> int:
        """Bytes that are here and were not read."""
        return self.end - self.begin

    @property
    def lost(self) -> bool:
        """Whether a message has begun to arrive, and an interrupt has taken the count of its bytes with it."""
        return not self.end and self.memory[0] != 0

    def wait(self) -> None:
        """Wait until there are bytes to read, or the peer has closed the connection."""
        if self.begin == self.end:
            self.memory[0] = 0  # no message begins with that
            self.begin = self.end = 0
            # No signal handler runs between what a `for` calls and the record of its result, unless the call is one of
            # Python, as that of a TLS socket is.
            for nbytes in self._reads:
                self.end = nbytes
                break

    def read(self, target: memoryview) -> int:
        """Read into memory, and return the number of bytes: none where the peer has closed the connection."""
        if len(target) >= AHEAD and not self.waiting:
            return self._recv_into(target[:RECEIVED_AT_ONCE])
        self.wait()
        nbytes = min(len(target), self.waiting)
        target[:nbytes] = self.memory[self.begin : self.begin + nbytes]
        self.begin += nbytes
        self._traffic.copied_bytes += nbytes
        return nbytes
