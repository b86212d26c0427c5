"""Servers of connections: who may listen where, and how peers that are slow or no peers at all stay in nobody's way."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from threading import RLock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Self

from oobcodec.addresses import check_exposure, parse, resolve, text
from oobcodec.connections import HELLO_TIMEOUT, Coding, Connection, check_timeout, coding
from oobcodec.errors import OobError
from oobcodec.handshake import exchange, no_hello
from oobcodec.hello import new_hello
from oobcodec.policy import TRUSTED
from oobcodec.transfer import tell

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Generator, Iterator
    from selectors import SelectorKey

    from oobcodec.addresses import Address
    from oobcodec.auth import Keyring
    from oobcodec.hello import Hello
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy

_log: Final = logging.getLogger("oobcodec")

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that pass when others give back what they hold."""

_RETRY: Final = 0.5
"""Seconds until the next try to accept a connection when there are no file descriptors."""


class _Manner(NamedTuple):
    """How a listener treats those who connect."""

    agreed: Coding
    ssl: tls.SSLContext | None
    timeout: float | None
    hello_timeout: float | None
    backlog: int


class _Caller(NamedTuple):
    """Somebody who has connected, and whose hello is not complete."""

    sock: socket.socket
    peer: str
    ours: Hello
    steps: Generator[int, None, Hello]
    end: float | None


class Listener:
    """What `listen` returns: accepts connections, in any number of threads.

    Peers that have connected say hello all at the same time, while somebody waits in `accept`, so that one that is slow
    or silent delays no other. As many as the backlog may be at it; one more, and the oldest is dropped.

    Iterating over it yields connections until it is closed, and tells of peers that come to nothing in warnings of the
    logger ``oobcodec``. So it does where there are no file descriptors left, or no memory: those who connect then wait
    until there are some.

    Attributes
    ----------
    address : str
        Where it listens, with the port that was chosen for port 0; `connect` takes it.
    """

    def __init__(self, sock: socket.socket, manner: _Manner) -> None:
        name = sock.getsockname()
        self.address = text(name)
        self._sock = sock
        self._manner = manner
        self._closed = False
        self._lock = RLock()
        self._callers: list[_Caller] = []
        # Absolute, since the process may be elsewhere when it closes.
        self._path = Path(name if sock.family == socket.AF_UNIX else os.devnull).absolute()
        self._file = _identity(self._path)
        self._process = os.getpid()
        sock.settimeout(0)
        # By which `close` reaches a thread that waits.
        self._wake, self._waker = socket.socketpair()
        self._selector = DefaultSelector()
        self._selector.register(sock, EVENT_READ)
        self._selector.register(self._wake, EVENT_READ)

    def accept(self, timeout: float | None = None) -> Connection:
        """Wait for the next peer whose hello is complete.

        Parameters
        ----------
        timeout
            Seconds to wait, ``None`` for ever.

        Raises
        ------
        OobError
            Somebody has connected who is no `oobcodec.sockets.Connection`, or does not fit to this side, or sent no
            hello in time. The text names the peer and ``__cause__`` may say more; the listener goes on.
        TimeoutError
            Nobody has connected.
        OSError
            Any other is the listener's own: it is closed, or there are no file descriptors left.
        """
        end = None if timeout is None else monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            raise TimeoutError(_nobody(timeout))
        try:
            while True:
                for key in self._ready(end):
                    connection = self._proceed(key)
                    if connection is not None:
                        return connection
                # Not before what has arrived meanwhile was looked at: this thread may have been busy elsewhere.
                self._drop_the_overdue()
                if end is not None and monotonic() >= end:
                    raise TimeoutError(_nobody(timeout))
        finally:
            self._lock.release()

    def __iter__(self) -> Iterator[Connection]:
        while not self._closed:
            try:
                connection = self.accept()
            except OobError as error:
                _log.warning("%s; %s goes on", error, self.address)
                continue
            except OSError as error:
                if self._closed:
                    return
                if error.errno not in _EXHAUSTED:
                    raise
                _log.warning("%s cannot accept a connection: %s", self.address, error)
                sleep(_RETRY)
                continue
            yield connection

    def _ready(self, end: float | None) -> list[SelectorKey]:
        ends = [caller.end for caller in self._callers if caller.end is not None]
        first = min(ends if end is None else [*ends, end], default=None)
        try:
            if not self._closed:
                ready = self._selector.select(None if first is None else max(first - monotonic(), 0))
                if not self._closed:
                    # Those who are here already before those who come, for whom there may be no file descriptor.
                    return sorted((key for key, _ in ready), key=lambda key: key.data is None)
        except (OSError, ValueError):
            # A signal handler may have closed it here.
            if not self._closed:
                raise
        raise OSError(errno.EBADF, f"the listener on {self.address} is closed")

    def _proceed(self, key: SelectorKey) -> Connection | None:
        """Do the next step of what is possible now; return a connection that is complete."""
        if isinstance(key.data, _Caller):
            return self._step(key.data)
        try:
            sock, name = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError:
            self._drop_the_overdue()  # who may hold the file descriptor that it takes
            raise
        peer = text(name) or self.address
        return self._step(self._caller(sock, peer))

    def _caller(self, sock: socket.socket, peer: str) -> _Caller:
        manner = self._manner
        ours = new_hello(listening=True, signing=manner.agreed.keyring is not None)
        try:
            sock.settimeout(0)
            if manner.ssl is not None:
                sock = manner.ssl.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            sock.close()
            _refuse(peer, error)
        end = None if manner.hello_timeout is None else monotonic() + manner.hello_timeout
        caller = _Caller(sock, peer, ours, exchange(sock, ours), end)
        self._selector.register(sock, EVENT_READ, caller)
        self._callers.append(caller)
        return caller

    def _step(self, caller: _Caller) -> Connection | None:
        try:
            try:
                wanted = next(caller.steps)
            except StopIteration as stop:
                hellos = (caller.ours, stop.value)
                manner = self._manner
                connection = Connection.greeted(caller.sock, caller.peer, hellos, manner.agreed, manner.timeout)
                self._forget(caller)
                return connection
            self._selector.modify(caller.sock, wanted, caller)
        except (OobError, OSError) as error:
            self._drop(caller, error)
        return None

    def _drop_the_overdue(self) -> None:
        for caller in self._callers:
            if caller.end is not None and monotonic() >= caller.end:
                self._drop(caller, TimeoutError(no_hello(self._manner.hello_timeout)))
        if len(self._callers) > self._manner.backlog:
            self._drop(self._callers[0], TimeoutError(f"no hello while {self._manner.backlog} others connected"))

    def _drop(self, caller: _Caller, error: OobError | OSError) -> NoReturn:
        self._forget(caller)
        caller.sock.close()
        _refuse(caller.peer, error)

    def _forget(self, caller: _Caller) -> None:
        self._callers.remove(caller)
        self._selector.unregister(caller.sock)

    def close(self) -> None:
        """Stop listening, also under a thread that waits in `accept`; the file of a Unix socket goes away.

        Connections that were accepted stay. More than once does no harm.
        """
        self._closed = True
        with suppress(OSError):
            self._waker.send(b"\0")
        with self._lock:
            if self._sock.fileno() < 0:
                return
            # Another listener may have taken the place; and a forked process closes what its parent goes on using.
            if self._file is not None and self._process == os.getpid() and _identity(self._path) == self._file:
                self._path.unlink()
            self._selector.close()
            for sock in (self._sock, self._wake, self._waker, *(caller.sock for caller in self._callers)):
                sock.close()
            self._callers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Listener{', closed,' if self._closed else ''} on {self.address}>"


def listen(  # noqa: PLR0913  # each is a choice of its own
    address: Address,
    *,
    backlog: int = 128,
    timeout: float | None = None,
    ssl: tls.SSLContext | None = None,
    insecure: bool = False,
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    checksum: bool = False,
    hello_timeout: float | None = HELLO_TIMEOUT,
    **options: Any,
) -> Listener:
    """Listen for those who `connect`.

    Under ``policy=TRUSTED`` whoever connects can run any code in this process. So an address that other machines reach
    is refused with that policy, unless there is a keyring or TLS. TLS tells the server who its clients are only with
    ``verify_mode=ssl.CERT_REQUIRED`` and an authority of one's own; else it keeps nobody out. On a loopback address or
    a Unix socket, the other users of this machine are left to their permissions.

    Parameters
    ----------
    address
        ``("host", port)`` or ``"host:port"``, where port 0 chooses one and an empty host is all IPv4 interfaces; or the
        path of a Unix socket, where the file of a listener that is no more gives way.
    backlog
        Peers that may wait to be accepted; and that may be saying hello.
    timeout
        Seconds for each wait on the accepted connections; ``None`` is for ever.
    ssl
        For TLS.
    insecure
        Do what would be refused.
    policy, limits, keyring, checksum, hello_timeout, **options
        As for `Connection`.

    Raises
    ------
    InsecureError
        See above; the text says what to choose.
    ValueError
        The address is none, `timeout` leaves no time, or `ssl` is for clients.
    OSError
        The address cannot be had.
    """
    check_timeout(timeout)
    where = parse(address)
    manner = _Manner(
        coding(policy, limits, keyring, checksum=checksum, options=options), ssl, timeout, hello_timeout, backlog
    )
    if ssl is not None and ssl.protocol.name == "PROTOCOL_TLS_CLIENT":
        message = "ssl= is a context for clients: make one with ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
        raise ValueError(message)
    try:
        if isinstance(where, str):
            return Listener(_bound_to_path(where, backlog), manner)
        names = resolve(*where)
        if policy.trusted and keyring is None and ssl is None and not insecure:
            check_exposure(where[0], names)
        return Listener(_bound_to_first(names, backlog), manner)
    except OSError as error:
        error.add_note(f"to listen on {address}")
        raise


def _bound_to_first(names: list[tuple[int, Any]], backlog: int) -> socket.socket:
    """Return a socket that listens on the first address that can be had."""
    (family, name), *others = names
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(name)
        sock.listen(backlog)
    except OSError:
        sock.close()
        if not others:
            raise
        # "localhost" is ::1 too where there is no IPv6.
        return _bound_to_first(others, backlog)
    return sock


def _bound_to_path(path: str, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _removed_dead(Path(path)):
                raise
            sock.bind(path)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _removed_dead(path: Path) -> bool:
    """Remove the file of a Unix socket on which nobody listens any more, and tell whether that was one."""
    before = _identity(path)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        if before is None or probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            return False
    # Somebody else may have found the same, and be quicker.
    if _identity(path) != before:
        return False
    path.unlink()
    return True


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what tells the file of a socket from a later one of the same name; None if it is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    # Without the time of its last change, which a change of its permissions changes.
    return (found.st_dev, found.st_ino, found.st_mtime_ns) if stat.S_ISSOCK(found.st_mode) else None


def _refuse(peer: str, error: OobError | OSError) -> NoReturn:
    """Raise the error of one peer as one of ours, which says whose it is."""
    if isinstance(error, OobError):
        tell(error, f"from {peer}")
        raise error
    message = f"from {peer}: no connection came of it: {error}"
    raise OobError(message) from error


def _nobody(timeout: float | None) -> str:
    return f"nobody has connected within {timeout} s"
