"""Connections: two sides that have agreed on the format of messages, and on their order.

Both send a hello before the first message. Where they have a keyring, each message is signed for its place in its
direction of this connection, so that it can be neither repeated, reordered, left out nor sent back.

The end of a connection is not signed: whoever can cut it between two messages can make it look like a clean end, with
TLS too. Where that matters, let a last message say that it is the last.
"""

from __future__ import annotations

import socket
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from oobcodec.addresses import parse, peer_of
from oobcodec.auth import Session, session_nonces
from oobcodec.codec import Codec
from oobcodec.errors import AuthenticationError, DecodeError, IntegrityError
from oobcodec.handshake import exchange_within
from oobcodec.header import read
from oobcodec.hello import new_hello
from oobcodec.integrity import check
from oobcodec.policy import TRUSTED
from oobcodec.transfer import abandon, receive, send_frames, shut, tell
from oobcodec.wire import Receiver

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Callable, Mapping, Sequence

    from oobcodec.addresses import Address
    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.hello import Hello
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy

HELLO_TIMEOUT: Final = 10.0
"""Seconds for a peer to prove that it is one of ours. It has 32 bytes to send, and the handshake of TLS before."""


class Coding(NamedTuple):
    """What a connection does with the messages, for its whole life."""

    encode: Callable[[object], Sequence[Buffer]]
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
    return Coding(sender.dumps, receiver.loads, policy.limited(limits), keyring)


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
        Seconds that the peer has for its hello.
    **options
        Other options of `oobcodec.Codec`.

    Attributes
    ----------
    peer : str
        Address of the other side, for people.

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
        seconds = min((each for each in (timeout, hello_timeout) if each is not None), default=None)
        try:
            theirs = exchange_within(sock, ours, seconds)
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
        ours, theirs = hellos
        sock.settimeout(timeout)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            # A message is sent as a whole: there is nothing to wait for.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = peer
        self._sock = sock
        self._role = "server" if ours.listening else "client"
        self._coding = agreed
        self._session = None
        if agreed.keyring is not None:
            nonces = session_nonces(ours.nonce, theirs.nonce, listening=ours.listening)
            self._session = Session(agreed.keyring, *nonces)
        self._sending = Lock()
        self._receiving = Lock()
        self._sent = 0
        self._received = 0

    def send(self, obj: object) -> int:
        """Send an object, without copying its data.

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
        return self._send(self._coding.encode, obj)

    def send_frames(self, frames: Sequence[Buffer]) -> int:
        """Send a message that is encoded already, as `oobcodec.dumps` returns it.

        Raises
        ------
        HeaderError
            The frames are not one whole message; nothing has been sent.
        PoisonedError, RuntimeError, OSError
            As for `send`.
        """
        return self._send(_unchanged, frames)

    def recv(self) -> Any:
        """Receive an object, into memory that it then lies in.

        Raises
        ------
        EOFError
            The peer has closed the connection, after the last message.
        AuthenticationError, IntegrityError
            The message is not the next one that the peer has sent; both directions are poisoned.
        TruncatedError, HeaderError, LimitError
            It ends in the middle, is none, or is over a limit; receiving is poisoned, with a keyring both directions.
        DecodeError
            Any other of `oobcodec.loads`; the next message can be received all the same.
        PoisonedError
            The connection has stopped inside a message, or refused one.
        RuntimeError
            Another thread is receiving.
        OSError
            Of the socket, `TimeoutError` included. Unless nothing has been received yet, the connection is poisoned.
        """
        return self._recv(self._coding.decode)

    def recv_frames(self) -> list[memoryview]:
        """Receive a message without decoding it, into memory that is writable and aligned but for the first frame.

        Raises
        ------
        EOFError, DecodeError, PoisonedError, RuntimeError, OSError
            As for `recv`.
        """
        frames: list[memoryview] = self._recv(self._checked)
        return frames

    def _checked(self, frames: list[memoryview]) -> list[memoryview]:
        check(read(bytes(frames[0]), self._coding.limits), frames[1:], self._coding.keyring)
        return frames

    def _send(self, encode: Callable[[Any], Sequence[Buffer]], obj: object) -> int:
        if not self._sending.acquire(blocking=False):
            message = f"another thread is sending to {self.peer}: one at a time"
            raise RuntimeError(message)
        try:
            frames = encode(obj)
            try:
                nbytes = self._transmit(frames)
            except BaseException as error:
                tell(error, f"to {self.peer}, message {self._sent + 1}")
                raise
            self._sent += 1
            return nbytes
        finally:
            self._sending.release()

    def _transmit(self, frames: Sequence[Buffer]) -> int:
        if self._session is None:
            return send_frames(self._sock, frames)
        sealed = self._session.seal(frames)
        try:
            return send_frames(self._sock, sealed)
        except BaseException as error:
            # Its number is taken: the peer would refuse the next one.
            if not self.closed:
                abandon(self._sock, f"this connection could not send a message: {type(error).__name__}")
            raise

    def _recv(self, decode: Callable[[list[memoryview]], Any]) -> Any:
        if not self._receiving.acquire(blocking=False):
            message = f"another thread is receiving from {self.peer}: one at a time"
            raise RuntimeError(message)
        number = self._received + 1
        agreed = self._coding
        try:
            receiver = Receiver(limits=agreed.limits, keyring=agreed.keyring, session=self._session)
            frames = receive(self._sock, receiver)
            self._received = number
            return decode(frames)
        except BaseException as error:
            # What arrives is signed: whoever changes it is on the way of what leaves, too.
            tampered = self._session is not None and self._received < number and isinstance(error, DecodeError)
            if tampered or isinstance(error, AuthenticationError | IntegrityError):
                abandon(self._sock, f"this connection refused a message: {type(error).__name__}")
            tell(error, f"from {self.peer}, message {number}")
            raise
        finally:
            self._receiving.release()

    @property
    def timeout(self) -> float | None:
        """Seconds that each wait for the peer may last, ``None`` for ever."""
        return self._sock.gettimeout()

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        if seconds is not None and not seconds > 0:
            message = f"timeout={seconds} leaves no time; None is for ever"
            raise ValueError(message)
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
        what = "closed" if self.closed else f"{self._role} of"
        return f"<Connection, {what} {self.peer}: {self._sent} sent, {self._received} received>"


def connect(  # noqa: PLR0913  # each is a choice of its own
    address: Address,
    *,
    timeout: float | None = None,
    ssl: tls.SSLContext | None = None,
    server_hostname: str | None = None,
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    checksum: bool = False,
    hello_timeout: float | None = HELLO_TIMEOUT,
    **options: Any,
) -> Connection:
    """Connect to what `listen` has made somewhere.

    Parameters
    ----------
    address
        ``("host", port)``, ``"host:port"``, or the path of a Unix socket.
    timeout
        Seconds to connect, and later for each wait for the peer; ``None`` is for ever.
    ssl
        For TLS.
    server_hostname
        Whom the certificate of the server must be for; the host of `address` by default.
    policy, limits, keyring, checksum, hello_timeout, **options
        As for `Connection`.

    Raises
    ------
    ValueError
        The address is none, or `server_hostname` is given without `ssl`.
    DecodeError
        As for `Connection`.
    OSError
        There is nobody, or TLS fails; `TimeoutError` included.
    """
    where = parse(address)
    if server_hostname is not None and ssl is None:
        message = "server_hostname= is for TLS: give ssl= too"
        raise ValueError(message)
    coding(policy, limits, keyring, checksum=checksum, options=options)  # what is wrong with them shows before
    sock = _unix(where, timeout) if isinstance(where, str) else socket.create_connection(where, timeout)
    try:
        if ssl is not None:
            name = where[0] if server_hostname is None and not isinstance(where, str) else server_hostname
            sock = ssl.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise
    return Connection(
        sock,
        role="client",
        policy=policy,
        limits=limits,
        keyring=keyring,
        checksum=checksum,
        hello_timeout=hello_timeout,
        **options,
    )


def _unix(path: str, timeout: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _unchanged(frames: Any) -> Any:
    return frames
