"""A queue between processes that no death of one of them can block.

Small messages travel in the packets of a Unix socket, which the system hands over whole to one receiver or not at all.
Of a large message the packet holds the file descriptor of unnamed shared memory with its packed form. So there is no
lock that a process could take into its grave, and nothing that could remain behind.
"""

from __future__ import annotations

import array
import errno
import mmap
import os
import socket
import sys
import traceback
from collections import deque
from multiprocessing import get_context, util
from multiprocessing.connection import wait
from multiprocessing.context import assert_spawning
from multiprocessing.synchronize import SEM_VALUE_MAX  # type: ignore[attr-defined]  # typeshed leaves it out
from queue import Empty, Full
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from oobcodec.buffers import allocate, copied
from oobcodec.codec import dumps, loads
from oobcodec.integrations.multiprocessing.pipes import pair
from oobcodec.wire import parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import BaseContext

INLINE: Final = 64 * 1024
"""Bytes of the packed form up to which a message is a packet; no socket holds less than three of these."""

MAPPED: Final = 16 << 20
"""Bytes of the packed form from which a message is used where its sender put it, which takes a file descriptor."""

ELSEWHERE: Final = b"\0"
"""The packet of a message in shared memory. No message is that short."""

DESCRIPTOR: Final = array.array("i").itemsize

# Where Python can do without, the mapping holds no descriptor.
_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class Queue:
    """First in, first out, for any number of processes that put and get. Linux only.

    It can be inherited by child processes or passed to them as an argument of ``Process``, and by no other way.

    Other than `multiprocessing.Queue`:

    - `put` encodes the object, and raises what comes of it; it takes a snapshot, so that the object may be changed
      afterwards.
    - Objects of up to 16 MiB arrive in memory of the receiver's. Larger ones lie in memory that the sender filled: any
      array of such an object keeps all of it, and (before Python 3.13) a file descriptor.
    - A process that is killed takes with it the object that it was putting or getting, what waits in it (see below),
      and their places of the `maxsize`. Nobody waits for it, and nobody gets anything else than what was put.
    - There are no ``task_done`` and ``join``.

    As there: objects wait in the process that put them once the system holds no more, and when that process ends it
    waits until somebody has taken them, unless it calls `cancel_join_thread`.

    Parameters
    ----------
    maxsize
        How many objects may be between `put` and `get`; 0 is no limit.
    mp_context
        Of `multiprocessing.get_context`, for processes of another start method than the default.
    """

    def __init__(self, maxsize: int = 0, *, mp_context: BaseContext | None = None) -> None:
        self._maxsize = maxsize if maxsize > 0 else SEM_VALUE_MAX
        self._free = (mp_context or get_context()).BoundedSemaphore(self._maxsize)
        self._reader, self._writer = pair(socket.SOCK_SEQPACKET)
        self._begin()
        util.register_after_fork(self, Queue._begin)

    def _begin(self) -> None:
        # In a forked child too: what a thread of the parent was doing, the child does not go on with.
        self._lock = Lock()
        self._waiting: deque[list[memoryview]] = deque()
        self._feeder: Thread | None = None
        self._at_exit: util.Finalize | None = None
        self._leaving = False
        self._closed = False

    def __getstate__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        return self._maxsize, self._free, self._reader, self._writer

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._maxsize, self._free, self._reader, self._writer = state
        self._begin()
        util.register_after_fork(self, Queue._begin)

    def put(self, obj: object, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        """Put an object into the queue.

        Parameters
        ----------
        obj
            Whatever `oobcodec.dumps` takes.
        block, timeout
            Whether, and for how many seconds, to wait for a place in a queue that is full; ``None`` is for ever.

        Raises
        ------
        queue.Full
            There is no place.
        EncodeError
            Of `oobcodec.dumps`.
        ValueError
            The queue is closed.
        OSError
            The system has no memory, or no file descriptor, for the object.
        """
        self._check()
        frames = dumps(obj)
        if not self._free.acquire(block, timeout):
            raise Full
        try:
            with self._lock:
                if self._waiting or not self._sent(frames, socket.MSG_DONTWAIT):
                    self._wait_with([copied(frame) for frame in frames])
        except Exception:
            self._free.release()
            raise

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
        """Take the next object out of the queue.

        Parameters
        ----------
        block, timeout
            Whether, and for how many seconds, to wait for one; ``None`` is for ever.

        Raises
        ------
        queue.Empty
            There is none.
        DecodeError
            Of `oobcodec.loads`; the object is gone.
        ValueError
            The queue is closed.
        OSError
            This process has no file descriptor free for a large object, which is gone.
        """
        self._check()
        end = None if block and timeout is None else monotonic() + max(timeout or 0, 0) * block
        packet, ancillary = self._received(end)
        self._free.release()
        return loads(_fetched(ancillary) if packet == ELSEWHERE else copied(memoryview(packet)))

    def put_nowait(self, obj: object) -> None:
        """Do ``put(obj, block=False)``."""
        self.put(obj, block=False)

    def get_nowait(self) -> Any:
        """Do ``get(block=False)``."""
        return self.get(block=False)

    def qsize(self) -> int:
        """Return about how many objects are in the queue."""
        return self._maxsize - self._free.get_value()

    def empty(self) -> bool:
        """Tell whether `get` would have found nothing a moment ago."""
        return not wait([self._reader], 0)

    def full(self) -> bool:
        """Tell whether `put` would have found no place a moment ago."""
        return self._free.get_value() == 0

    def close(self) -> None:
        """Say that this process neither puts nor gets any more; what waits in it will still be sent."""
        with self._lock:
            self._closed = True
            self._reader.close()
            if self._feeder is None:
                self._writer.close()

    def join_thread(self) -> None:
        """Wait until nothing waits in this process any more."""
        feeder = self._feeder
        if feeder is not None:
            feeder.join()

    def cancel_join_thread(self) -> None:
        """Let this process end without waiting until somebody takes what it has put: that may be lost."""
        with self._lock:
            self._leaving = True
            if self._at_exit is not None:
                self._at_exit.cancel()

    def _check(self) -> None:
        if self._closed:
            message = "this process has closed the queue"
            raise ValueError(message)

    def _received(self, end: float | None) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        """Receive a packet until a point in time."""
        flags = socket.MSG_CMSG_CLOEXEC | (0 if end is None else socket.MSG_DONTWAIT)
        while True:
            try:
                return self._reader.recvmsg(INLINE, socket.CMSG_SPACE(DESCRIPTOR), flags)[:2]
            except BlockingIOError:
                # Between two attempts another process may have been quicker.
                if end is None or not wait([self._reader], max(end - monotonic(), 0)):
                    raise Empty from None

    def _sent(self, frames: Sequence[memoryview], flags: int = 0) -> bool:
        """Send a message, if there is room for it or nothing against waiting."""
        pieces = parts(frames)
        try:
            if sum(map(len, pieces)) <= INLINE:
                self._writer.send(b"".join(pieces), flags)
                return True
            with open(os.memfd_create("oobcodec"), "wb") as file:  # noqa: PTH123  # of a descriptor
                file.writelines(pieces)
                file.flush()
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))
                self._writer.sendmsg([ELSEWHERE], [rights], flags)
        except BlockingIOError:
            return False
        return True

    def _wait_with(self, frames: list[memoryview]) -> None:
        self._waiting.append(frames)
        if self._feeder is None:
            self._feeder = Thread(target=self._feed, name="oobcodec queue", daemon=True)
            self._feeder.start()
            if not self._leaving:
                self._at_exit = util.Finalize(None, self._feeder.join, exitpriority=-5)

    def _feed(self) -> None:
        while True:
            try:
                self._sent(self._waiting[0])
            except OSError:
                # As the standard library does: nobody is there to be told.
                traceback.print_exc()
                self._free.release()
            with self._lock:
                self._waiting.popleft()
                if self._waiting:
                    continue
                self._feeder = None
                if self._at_exit is not None:
                    self._at_exit.cancel()
                if self._closed:
                    self._writer.close()
                return


def _fetched(ancillary: Sequence[tuple[int, int, bytes]]) -> memoryview:
    """Return the packed form of a message that lies in shared memory."""
    if not ancillary:
        raise OSError(errno.EMFILE, "no file descriptor was free for an object, which is lost; raise `ulimit -n`")
    (number,) = array.array("i", ancillary[0][2])
    try:
        nbytes = os.fstat(number).st_size
        if nbytes >= MAPPED:
            return memoryview(mmap.mmap(number, nbytes, **_UNTRACKED))
        memory = allocate(nbytes)
        os.preadv(number, [memory], 0)
        return memory
    finally:
        os.close(number)
