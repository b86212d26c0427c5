"""Connections in asyncio: two sides that have agreed on the format of messages, and on their order.

They say to each other what those of `oobcodec.sockets` say, so that either side may be one of the others.
"""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from oobcodec.aio.ahead import Ahead
from oobcodec.aio.coding import aside
from oobcodec.aio.lines import Line, assemble, transmit
from oobcodec.buffers import copied
from oobcodec.connections import check_timeout, session_of
from oobcodec.errors import AuthenticationError, DecodeError, EncodeError, IntegrityError, PoisonedError
from oobcodec.header import read
from oobcodec.integrity import check
from oobcodec.limits import UNLIMITED
from oobcodec.small import remember
from oobcodec.transfer import tell
from oobcodec.wire import Receiver, parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from oobcodec.aio.budget import Budget
    from oobcodec.aio.coding import Manner
    from oobcodec.buffers import Buffer
    from oobcodec.hello import Hello


class Connection:
    """Messages both ways over a stream whose other side is a connection too: of this class, or of `oobcodec.sockets`.

    `connect` and `start_server` make them. One task at a time sends and one receives; others wait for their turn. A
    connection that stops inside a message, or gets a message that its peer has not sent in this place, is poisoned, and
    of no more use.

    Iterating over it (``async for``) yields objects until the peer has closed the connection.

    Attributes
    ----------
    peer : str
        Address of the other side, for people.
    """

    def __init__(
        self, line: Line, peer: str, agreed: Manner, hellos: tuple[Hello, Hello], budget: Budget | None = None
    ) -> None:
        self.peer = peer
        self._role = "server" if hellos[0].listening else "client"
        self._line = line
        self._manner = agreed
        self._budget = budget
        self._session = session_of(agreed.keyring, hellos)
        self._sending = asyncio.Lock()
        self._receiving = asyncio.Lock()
        self._receiver = Receiver(limits=agreed.limits, keyring=agreed.keyring, session=self._session)
        self._ahead = Ahead(line)
        # No message has to be looked at before it is taken.
        self._plain = self._session is None and agreed.limits is UNLIMITED and budget is None
        self._arrived: list[Any] | None = None
        self._claimed = 0
        self._sent = 0
        self._received = 0
        # Why nothing more can be sent, or received, if so.
        self._cannot_send = ""
        self._cannot_recv = ""

    async def send(self, obj: object) -> int:
        """Send an object, without copying its data.

        It must not change until this returns: a pickle stream of more than 1 MiB is made by a thread. Then the system
        has taken all of it, so that a peer that is slow to receive makes this wait.

        Returns
        -------
        int
            Bytes sent.

        Raises
        ------
        EncodeError
            Of `oobcodec.dumps`, or the keyring only verifies; nothing has been sent.
        PoisonedError
            The connection has stopped inside a message, or refused one.
        OSError
            The connection is lost, or closed; `TimeoutError` after `timeout` seconds. It is poisoned, as it is where
            this is cancelled, unless nothing has been sent yet.
        """
        return await self._send(self._manner.encode, obj)

    async def send_frames(self, frames: Sequence[Buffer]) -> int:
        """Send a message that is encoded already, as `oobcodec.dumps` returns it.

        Raises
        ------
        HeaderError
            The frames are not one whole message; nothing has been sent.
        PoisonedError, OSError
            As for `send`.
        """
        return await self._send(_unchanged, frames)

    async def recv(self) -> Any:
        """Receive an object, into memory that it then lies in.

        One that is cancelled loses nothing: what has arrived so far is there for the next one. It may come to the same
        object again, where it was cancelled while a thread rebuilt that.

        Raises
        ------
        EOFError
            The connection was closed, after the last message.
        AuthenticationError, IntegrityError
            The message is not the next one that the peer has sent; both directions are poisoned.
        TruncatedError, HeaderError, LimitError
            It ends in the middle, is none, or is over a limit; receiving is poisoned, with a keyring both directions.
        DecodeError
            Any other of `oobcodec.loads`; the next message can be received all the same.
        PoisonedError
            The connection has stopped inside a message, or refused one.
        OSError
            The connection is lost, or was closed before; `TimeoutError` after `timeout` seconds, which loses nothing
            either.
        """
        return await self._recv(self._manner.decode)

    async def recv_frames(self) -> list[memoryview]:
        """Receive a message without decoding it, into memory that is writable and aligned but for the first frame.

        Raises
        ------
        EOFError, DecodeError, PoisonedError, OSError
            As for `recv`.
        """
        frames: list[memoryview] = await self._recv(self._checked)
        return frames

    async def _checked(self, frames: list[memoryview]) -> list[memoryview]:
        header = read(bytes(frames[0]), self._manner.limits)
        work = partial(check, header, frames[1:], self._manner.keyring)
        await aside(work, 0 if header.digests is None else sum(header.lengths))
        return [frame if type(frame) is memoryview else copied(memoryview(frame)) for frame in frames]

    async def _send(self, code: Callable[[Any], Awaitable[Sequence[Buffer]]], obj: object) -> int:
        async with self._sending:
            try:
                self._check(self._cannot_send)
                nbytes = await self._transmit(await code(obj))
            except BaseException as error:
                tell(error, f"to {self.peer}, message {self._sent + 1}")
                raise
            self._sent += 1
            return nbytes

    async def _transmit(self, frames: Sequence[Buffer]) -> int:
        whole = parts(frames)
        if self._session is None:
            return await transmit(self._line, whole, self._stop_sending)
        try:
            sealed = await aside(partial(self._session.seal, frames), sum(map(len, whole)))
            return await transmit(self._line, parts(sealed), self._stop_sending)
        except EncodeError:
            raise
        except BaseException as error:
            # Its number is taken: the peer would refuse the next one.
            self._abandon(f"could not send a message: {type(error).__name__}")
            raise

    async def _recv(self, code: Callable[[list[memoryview]], Awaitable[Any]]) -> Any:
        async with self._receiving:
            number = self._received + 1
            try:
                self._check(self._cannot_recv)
                frames = await self._whole()
                obj = await code(frames)
            except asyncio.CancelledError:
                raise  # what has arrived is for the next one
            except BaseException as error:
                self._judge(error)
                tell(error, f"from {self.peer}, message {number}")
                raise
            self._next()
            return obj

    async def _whole(self) -> list[memoryview]:
        """Receive the rest of the message that is next."""
        if self._arrived is None and self._plain and not self._receiver.started:
            self._arrived = await self._ahead.take()
        if self._arrived is None:
            self._arrived = await assemble(self._ahead, self._receiver, self._admit)
            remember(self._arrived)
        return self._arrived

    async def _admit(self, nbytes: int) -> None:
        if self._budget is not None and not self._claimed:
            await self._budget.claim(nbytes)
            self._claimed = nbytes

    def _next(self) -> None:
        self._received += 1
        self._arrived = None
        self._release()

    def _release(self) -> None:
        if self._budget is not None and self._claimed:
            self._budget.release(self._claimed)
            self._claimed = 0

    def _judge(self, error: BaseException) -> None:
        """Decide what can still be done after a message could not be received."""
        # What arrives is signed: whoever changes it is on the way of what leaves, too.
        tampered = self._session is not None and self._arrived is None and isinstance(error, DecodeError)
        if tampered or isinstance(error, AuthenticationError | IntegrityError):
            self._abandon(f"refused a message: {type(error).__name__}")
        elif self._arrived is not None:
            self._next()
        elif self._receiver.started and not isinstance(error, TimeoutError | PoisonedError):
            progress = self._receiver.describe()
            self._cannot_recv = f"stopped inside a message: {progress}, then {type(error).__name__}"
            self._line.refuse()
            self._release()

    def _stop_sending(self, reason: str) -> None:
        self._cannot_send = reason
        self._line.end()

    def _abandon(self, reason: str) -> None:
        self._cannot_send = self._cannot_send or reason
        self._cannot_recv = self._cannot_recv or reason
        self._line.end()
        self._line.refuse()
        self._arrived = None
        self._release()

    def _check(self, stopped: str) -> None:
        if self.closed:
            raise OSError(errno.EBADF, f"the connection with {self.peer} is closed")
        if stopped:
            message = f"this connection {stopped}; close it and connect again"
            raise PoisonedError(message)

    @property
    def timeout(self) -> float | None:
        """Seconds that each wait for the peer may last, ``None`` for ever."""
        return self._line.timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        check_timeout(seconds)
        self._line.timeout = seconds

    @property
    def closed(self) -> bool:
        """Whether this side has closed the connection."""
        return self._line.closed

    def close(self) -> None:
        """Close the connection, also under tasks that wait for the peer; more than once does no harm."""
        if not self.closed:
            self._line.close()
            self._release()

    async def wait_closed(self) -> None:
        """Wait until tasks that were sending or receiving have noticed."""
        async with self._sending, self._receiving:
            pass

    async def aclose(self) -> None:
        """Close it, and wait until that is done."""
        self.close()
        await self.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.recv()
        except EOFError:
            raise StopAsyncIteration from None

    def __repr__(self) -> str:
        what = "closed" if self.closed else f"{self._role} of"
        return f"<Connection, {what} {self.peer}: {self._sent} sent, {self._received} received>"


async def _unchanged(frames: Any) -> Any:
    return frames
