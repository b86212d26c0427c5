"""A pipe: messages over a pair of Unix sockets that processes inherit."""

from __future__ import annotations

import errno
import socket
from multiprocessing.connection import wait
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any, Final, Self

from oobcodec import sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oobcodec.buffers import Buffer

AT_ONCE: Final = 512 * 1024
"""Bytes that a Unix socket should hold: with fewer, the two sides wait for each other. The system may allow less."""


class Socket(socket.socket):
    """A Unix socket that can be given to a child process, and is closed with the last reference to it."""

    def __reduce__(self) -> tuple[Callable[..., Socket], tuple[Any]]:
        return _rebuild_socket, (DupFd(self.fileno()),)

    def __del__(self) -> None:
        self.close()


def _rebuild_socket(duplicate: Any) -> Socket:
    return Socket(fileno=duplicate.detach())


def pair(kind: int) -> tuple[Socket, Socket]:
    """Return two Unix sockets of a kind that are connected with each other."""
    here, there = (Socket(fileno=end.detach()) for end in socket.socketpair(socket.AF_UNIX, kind))
    for end in (here, there):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, AT_ONCE)
    return here, there


class Connection:
    """One end of a `Pipe`.

    It can be inherited by child processes, passed to them as an argument, sent over another end, and waited for with
    `multiprocessing.connection.wait`. As with the standard library's, one process (and one thread of it) at a time
    may send on an end, and one receive.

    Other than there:

    - `send` is from where the data lies, and blocks until the peer has received all but what the system holds.
    - Arrays lie in memory that `recv` has set aside for each of them.
    - There are no ``send_bytes`` and ``recv_bytes``: `send` does not copy ``bytes`` either.
    - A peer that dies inside a message leaves a `TruncatedError` to the other side, if no other process has its end
      open. As ever, a process should close the end that is not its own.

    Attributes
    ----------
    readable, writable : bool
        What the end is for.
    """

    def __init__(self, sock: Socket, *, readable: bool = True, writable: bool = True) -> None:
        self._sock = sock
        self.readable = readable
        self.writable = writable

    def send(self, obj: object) -> None:
        """Send an object, without copying its data.

        Raises
        ------
        EncodeError
            Of `oobcodec.dumps`; nothing has been sent.
        BrokenPipeError, ConnectionResetError
            Nobody has the other end open any more.
        OSError
            This end is closed, or only for receiving.
        PoisonedError
            An earlier call stopped inside a message.
        """
        self._check(self.writable, "receiving")
        sockets.send(self._sock, obj)

    def recv(self) -> Any:
        """Wait for the next object, and return it.

        Raises
        ------
        EOFError
            Nobody has the other end open any more.
        TruncatedError
            The same, inside a message.
        DecodeError
            Any other of `oobcodec.loads`; the next object can be received all the same.
        OSError
            This end is closed, or only for sending.
        PoisonedError
            An earlier call stopped inside a message.
        """
        self._check(self.readable, "sending")
        return sockets.recv(self._sock)

    def send_frames(self, frames: Sequence[Buffer]) -> None:
        """Send a message that is encoded already; errors are those of `send`."""
        self._check(self.writable, "receiving")
        sockets.send_frames(self._sock, frames)

    def recv_frames(self) -> list[memoryview]:
        """Wait for the next message, and return it without decoding it; errors are those of `recv`."""
        self._check(self.readable, "sending")
        return sockets.recv_frames(self._sock)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Tell whether `recv` would find something, or the end, within so many seconds; ``None`` is for ever."""
        self._check(self.readable, "sending")
        return bool(wait([self._sock], timeout))

    def fileno(self) -> int:
        """Return the file descriptor, which is that of a socket; -1 if it is closed."""
        return self._sock.fileno()

    @property
    def closed(self) -> bool:
        """Whether this process has closed this end."""
        return self.fileno() < 0

    def close(self) -> None:
        """Close this end in this process; more than once does no harm."""
        self._sock.close()

    def _check(self, allowed: bool, purpose: str) -> None:  # noqa: FBT001  # an attribute of its own
        if self.closed:
            raise OSError(errno.EBADF, "this end of the pipe is closed")
        if not allowed:
            raise OSError(errno.EBADF, f"this end of the pipe is for {purpose} only")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        ways = " and ".join(way for way in ("readable", "writable") if getattr(self, way))
        return f"<Connection, {'closed' if self.closed else ways}>"


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: FBT001, FBT002, N802  # as multiprocessing has it
    """Return the two ends of a new pipe.

    Parameters
    ----------
    duplex
        Whether both ends send and receive; otherwise the first only receives and the second only sends.
    """
    here, there = pair(socket.SOCK_STREAM)
    return Connection(here, writable=duplex), Connection(there, readable=duplex)
