"""Connections: two sides that have agreed on the format of messages, and on their order.

Both send a hello before the first message. Where they have a keyring, each message is signed for its place in its
direction of this connection, so that it can be neither repeated, reordered, left out nor sent back.

The end of a connection is not signed: whoever can cut it between two messages can make it look like a clean end, with
TLS too. Where that matters, let a last message say that it is the last.
"""

from __future__ import annotations

import socket
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from oobcodec.addresses import peer_of
from oobcodec.auth import Session, session_nonces
from oobcodec.buffers import copied
from oobcodec.codec import Codec, dumps, loads
from oobcodec.handshake import exchange_within, shorter
from oobcodec.header import read
from oobcodec.hello import new_hello
from oobcodec.inbox import Inbox
from oobcodec.integrity import check
from oobcodec.into import target
from oobcodec.outbox import Outbox
from oobcodec.policy import TRUSTED, limited
from oobcodec.statistics import Stats
from oobcodec.transfer import shut, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.hello import Hello
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy
    from oobcodec.transfer import Progress

_UNIX_BUFFER: Final = 512 * 1024
"""Bytes of a Unix socket that may be on the way: with Linux's default, a large message takes twice as long."""

HELLO_TIMEOUT: Final = 10.0
"""Seconds for a peer to prove that it is one of ours. It has 32 bytes to send, and the handshake of TLS before."""


class Coding(NamedTuple):
    """What a connection does with the messages, for its whole life."""

    encode: Callable[[object], list[memoryview]]
    decode: Callable[[list[memoryview]], Any]
    limits: Limits
    keyring: Keyring | None


def coding(
    policy: Policy, limits: Limits | None, keyring: Keyring | None, *, checksum: bool, options: Mapping[str, Any]
) -> Coding:
    """Return what a connection of these options does."""
    # A signed message holds digests in any case; and it is not the codec that knows its place in the connection.
    sender = Codec(checksum=checksum and keyring is None, **options)
    receiver = Codec(policy=policy, limits=limits, keyring=keyring, **options)
    encode = dumps if sender == Codec() else sender.dumps
    decode = loads if receiver == Codec() else receiver.loads
    return Coding(encode, decode, limited(policy, limits), keyring)


def session_of(keyring: Keyring | None, hellos: tuple[Hello, Hello]) -> Session | None:
    """Return what signs and verifies the messages of two sides, ours and theirs, that have said these hellos."""
    if keyring is None:
        return None
    ours, theirs = hellos
    return Session(keyring, *session_nonces(ours.nonce, theirs.nonce, listening=ours.listening))


def check_timeout(seconds: float | None) -> None:
    """Refuse a timeout that leaves no time."""
    if seconds is not None and not seconds > 0:
        message = f"timeout={seconds} leaves no time; None is for ever"
        raise ValueError(message)


def tune(sock: socket.socket) -> None:
    """Make a socket of ours fit for messages."""
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        # A message is sent as a whole: there is nothing to wait for.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    elif sock.family == socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNIX_BUFFER)


class Connection:
    """Messages both ways over a stream socket whose two sides are both a `Connection`.

    One thread at a time may send and another one receive. A connection that stops inside a message, or gets a message
    that its peer has not sent in this place, is poisoned, and of no more use.

    Parameters
    ----------
    sock
        A connected stream socket (TCP, Unix, TLS), blocking or with a timeout, which then bounds each wait for the
        peer. It belongs to the connection from now on, and is closed if the hello fails.
    role
        ``"client"`` or ``"server"``; the other side has the other one.
    policy, limits
        What is accepted from the peer, as for `oobcodec.loads`.
    keyring
        Signs and verifies all messages; the peer needs one with the same keys. It proves who the peer is, and hides
        nothing: that is what TLS is for.
    checksum
        As for `oobcodec.dumps`.
    hello_timeout
        Seconds that the peer has for its hello, and before that for the handshake of TLS.
    **options
        Other options of `oobcodec.Codec`.

    Attributes
    ----------
    peer : str
        Address of the other side, for people.
    stats : Stats
        What has been sent and received, and what it cost.

    Raises
    ------
    HeaderError
        The peer is no `Connection`, or one of another message format version, or one with the same role.
    AuthenticationError
        One side has a keyring and the other has not.
    TruncatedError
        The peer has closed the connection before its hello was complete.
    OSError
        Of the socket; `TimeoutError` if the peer says nothing.
    """

    def __init__(  # noqa: PLR0913  # each is a choice of its own
        self,
        sock: socket.socket,
        *,
        role: str,
        policy: Policy = TRUSTED,
        limits: Limits | None = None,
        keyring: Keyring | None = None,
        checksum: bool = False,
        hello_timeout: float | None = HELLO_TIMEOUT,
        **options: Any,
    ) -> None:
        if role not in {"client", "server"}:
            message = f"role={role!r} is neither 'client' nor 'server'"
            raise ValueError(message)
        timeout = sock.gettimeout()
        if timeout == 0:
            message = "the socket is non-blocking: call setblocking(True) or settimeout(seconds) on it first"
            raise ValueError(message)
        agreed = coding(policy, limits, keyring, checksum=checksum, options=options)
        ours = new_hello(listening=role == "server", signing=keyring is not None)
        peer = peer_of(sock)
        try:
            theirs = exchange_within(sock, ours, shorter(timeout, hello_timeout))
            self._open(sock, peer, (ours, theirs), agreed, timeout)
        except BaseException as error:
            sock.close()
            tell(error, f"from {peer}")
            raise

    @classmethod
    def greeted(
        cls, sock: socket.socket, peer: str, hellos: tuple[Hello, Hello], agreed: Coding, timeout: float | None
    ) -> Connection:
        """Return a connection whose hellos, ours and theirs, have been exchanged already."""
        self = cls.__new__(cls)
        self._open(sock, peer, hellos, agreed, timeout)
        return self

    def _open(
        self, sock: socket.socket, peer: str, hellos: tuple[Hello, Hello], agreed: Coding, timeout: float | None
    ) -> None:
        sock.settimeout(timeout)
        tune(sock)
        self.peer = peer
        self.stats = Stats()
        self._sock = sock
        self._role = "server" if hellos[0].listening else "client"
        self._coding = agreed
        session = session_of(agreed.keyring, hellos)
        self._outbox = Outbox(sock, peer, agreed.encode, session, self.stats)
        self._inbox = Inbox(sock, peer, agreed.limits, session, self.stats.received)

    def send(self, obj: object, *, progress: Progress | None = None) -> int:
        """Send an object, without copying its data.

        Parameters
        ----------
        obj
            Whatever `oobcodec.dumps` takes.
        progress
            Called as ``progress(done, total)`` with bytes of the message, each time that the system has taken some.

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
        RuntimeError
            Another thread is sending.
        OSError
            Of the socket, `TimeoutError` included. The connection is poisoned unless nothing has been sent yet; with a
            keyring or TLS, in any case.
        """
        return self._outbox.send(obj, progress)

    def send_many(self, objects: Iterable[object]) -> int:
        """Send objects, each as a message of its own, but small ones many at a time: that costs much less.

        Returns
        -------
        int
            Bytes sent.

        Raises
        ------
        EncodeError
            Of an object, or whatever `objects` raises; the objects before have been sent.
        PoisonedError, RuntimeError, OSError
            As for `send`.
        """
        return self._outbox.send_many(objects)

    def send_frames(self, frames: Sequence[Buffer], *, progress: Progress | None = None) -> int:
        """Send a message that is encoded already, as `oobcodec.dumps` returns it.

        Raises
        ------
        HeaderError
            The frames are not one whole message; nothing has been sent.
        PoisonedError, RuntimeError, OSError
            As for `send`.
        """
        return self._outbox.send_frames(frames, progress)

    def recv(self, *, into: Any = None, progress: Progress | None = None) -> Any:
        """Receive an object, into memory that it then lies in.

        Parameters
        ----------
        into, progress
            As for `oobcodec.sockets.recv`.

        Raises
        ------
        EOFError
            The peer has closed the connection, after the last message.
        AuthenticationError, IntegrityError
            The message is not the next one that the peer has sent; both directions are poisoned.
        TruncatedError, HeaderError, LimitError
            It ends in the middle, is none, or is over a limit; receiving is poisoned, with a keyring both directions.
        DecodeError
            Any other of `oobcodec.loads`, or it does not fit into `into`, of which nothing has been changed; the next
            message can be received all the same.
        ValueError
            Nothing can be received into `into`.
        PoisonedError
            The connection has stopped inside a message, or refused one.
        RuntimeError
            Another thread is receiving.
        OSError
            Of the socket, `TimeoutError` included. Unless nothing has been received yet, the connection is poisoned.
        """
        if into is None:
            return self._inbox.receive(self._coding.decode, progress)
        place = target(into, self._coding.decode)
        return self._inbox.receive(place.finish, progress, place.allocate)

    def recv_frames(self, *, progress: Progress | None = None) -> list[memoryview]:
        """Receive a message without decoding it, into memory that is writable and aligned but for the first frame.

        Raises
        ------
        EOFError, DecodeError, PoisonedError, RuntimeError, OSError
            As for `recv`.
        """
        return self._inbox.receive(self._checked, progress)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Tell whether a message, or the end of the connection, begins to arrive within `timeout` seconds.

        `fileno` cannot tell alone: what came together with the last message has left the socket already. With TLS this
        is true also for what is no message, as a ticket for the next session.
        """
        if self._inbox.waiting or (hasattr(self._sock, "pending") and self._sock.pending()):
            return True
        with DefaultSelector() as selector:
            selector.register(self._sock, EVENT_READ)
            return bool(selector.select(timeout))

    def _checked(self, frames: list[memoryview]) -> list[memoryview]:
        check(read(bytes(frames[0]), self._coding.limits), frames[1:], self._coding.keyring)
        return [frame if type(frame) is memoryview else copied(memoryview(frame)) for frame in frames]

    @property
    def timeout(self) -> float | None:
        """Seconds that each wait for the peer may last, ``None`` for ever."""
        return self._sock.gettimeout()

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        check_timeout(seconds)
        self._sock.settimeout(seconds)

    @property
    def closed(self) -> bool:
        """Whether this side has closed the connection."""
        return self._sock.fileno() < 0

    def fileno(self) -> int:
        """Return the file descriptor of the socket; -1 if it is closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the connection, also under another thread that waits for the peer; more than once does no harm."""
        if not self.closed:
            shut(self._sock, socket.SHUT_RDWR)
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        sent, received = self.stats.sent.messages, self.stats.received.messages
        what = "closed" if self.closed else f"{self._role} of"
        return f"<Connection, {what} {self.peer}: {sent} sent, {received} received>"
