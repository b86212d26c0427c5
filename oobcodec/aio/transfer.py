"""What asyncio does with messages over sockets and streams of the user's, without any agreement between the two sides.

As in `oobcodec.transfer`, whatever stops inside a message is poisoned in that direction.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from oobcodec.aio.coding import decode, encode
from oobcodec.aio.lines import Line, ReaderLine, WriterLine, assemble, transmit
from oobcodec.errors import PoisonedError
from oobcodec.policy import TRUSTED, limited
from oobcodec.transfer import shut
from oobcodec.wire import Receiver, parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy
    from oobcodec.wire import Allocate

    Sink: TypeAlias = socket.socket | asyncio.StreamWriter
    Source: TypeAlias = socket.socket | asyncio.StreamReader

_sending: WeakKeyDictionary[Sink, str] = WeakKeyDictionary()
_receiving: WeakKeyDictionary[Source, str] = WeakKeyDictionary()


async def send(sink: Sink, obj: object, **options: Any) -> int:
    """Send an object, without copying its data.

    It must not change until this returns: a pickle stream of more than 1 MiB is made by a thread. Then nothing of it is
    left with the event loop.

    Parameters
    ----------
    sink
        A connected stream socket that is non-blocking, with TLS or without, or a `asyncio.StreamWriter`. Only one task
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
        An earlier `send` stopped inside a message.
    OSError
        Of the socket. It is poisoned, as it is where this is cancelled, unless nothing has been sent for sure.
    """
    return await send_frames(sink, await encode(obj, **options))


async def recv(
    source: Source,
    *,
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    allocate: Allocate | None = None,
    **options: Any,
) -> Any:
    """Receive an object, from a socket into memory that it then lies in.

    Parameters
    ----------
    source
        A connected stream socket that is non-blocking, with TLS or without, or a `asyncio.StreamReader`, which copies
        all bytes twice on their way: prefer the socket, or a `Connection`. Only one task at a time may receive on it;
        another may send.
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
        No byte behind its message has been read.

    Raises
    ------
    EOFError
        The peer has closed the connection, after the last message.
    TruncatedError
        It has done so inside a message.
    LimitError, AuthenticationError, HeaderError
        As for `recv_frames`; the source is poisoned.
    DecodeError
        Of `oobcodec.loads`; the next message can be received all the same.
    PoisonedError
        An earlier `recv` stopped inside a message.
    OSError
        Of the socket. It is poisoned, as it is where this is cancelled, unless nothing has been received yet.
    """
    # What is refused should be refused before it is here.
    frames = await recv_frames(source, limits=limited(policy, limits), keyring=keyring, allocate=allocate)
    return await decode(frames, policy=policy, limits=limits, keyring=keyring, **options)


async def send_frames(sink: Sink, frames: Sequence[Buffer]) -> int:
    """Send a message that is encoded already.

    Parameters
    ----------
    sink
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
    line = WriterLine(sink) if isinstance(sink, asyncio.StreamWriter) else Line(sink)
    _check(sink, _sending)

    def poison(reason: str) -> None:
        _sending[sink] = f"this connection {reason}; close it and connect again"
        line.end()

    return await transmit(line, parts(frames), poison)


async def recv_frames(
    source: Source,
    *,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    allocate: Allocate | None = None,
) -> list[memoryview]:
    """Receive a message without decoding it.

    Parameters
    ----------
    source, allocate
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
    line = ReaderLine(source) if isinstance(source, asyncio.StreamReader) else Line(source)
    _check(source, _receiving)
    receiver = Receiver(limits=limited(TRUSTED, limits), keyring=keyring, allocate=allocate)
    try:
        return await assemble(line, receiver)
    except BaseException as error:
        if receiver.started:
            reason = f"stopped inside a message: {receiver.describe()}, then {type(error).__name__}"
            _receiving[source] = f"this connection {reason}; close it and connect again"
            if isinstance(source, socket.socket):
                shut(source, socket.SHUT_RD)
        raise


def _check(stream: Any, record: WeakKeyDictionary[Any, str]) -> None:
    stopped = record.get(stream)
    if stopped is not None:
        raise PoisonedError(stopped)
    if isinstance(stream, socket.socket) and stream.gettimeout() != 0:
        message = "the socket is blocking: call setblocking(False) on it first, or use oobcodec.sockets"
        raise ValueError(message)
