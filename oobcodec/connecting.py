"""Connections to whoever listens."""

from __future__ import annotations

import socket
from math import inf
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from oobcodec.addresses import certified, parse
from oobcodec.connections import HELLO_TIMEOUT, Connection, check_timeout, coding
from oobcodec.policy import TRUSTED

if TYPE_CHECKING:
    import ssl as tls

    from oobcodec.addresses import Address
    from oobcodec.auth import Keyring
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy

RETRY: Final = 0.01
"""Seconds until the next try to connect to a Unix socket whose backlog is full."""


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
        The address is none, `timeout` leaves no time, or `server_hostname` is given without `ssl`.
    DecodeError
        As for `Connection`.
    OSError
        There is nobody, or TLS fails; `TimeoutError` included.
    """
    check_timeout(timeout)
    where = parse(address)
    name = certified(where, server_hostname, secure=ssl is not None)
    coding(policy, limits, keyring, checksum=checksum, options=options)  # what is wrong with them shows before
    try:
        sock = _unix(where, timeout) if isinstance(where, str) else socket.create_connection(where, timeout)
    except OSError as error:
        error.add_note(f"to connect to {address}")
        raise
    try:
        if ssl is not None:
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
        _wait(sock, path, timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def _wait(sock: socket.socket, path: str, timeout: float | None) -> None:
    end = inf if timeout is None else monotonic() + timeout
    # Linux waits for room in a backlog only where a socket may wait for ever.
    while not tried(sock, path):
        if monotonic() >= end:
            message = f"not connected within {timeout} s: the backlog is full"
            raise TimeoutError(message)
        sleep(RETRY)


def tried(sock: socket.socket, path: str) -> bool:
    """Connect to a Unix socket, unless its backlog is full."""
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    return True
