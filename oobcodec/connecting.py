"""Connections to whoever listens."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from oobcodec.addresses import certified, parse
from oobcodec.connections import HELLO_TIMEOUT, Connection, coding
from oobcodec.policy import TRUSTED

if TYPE_CHECKING:
    import ssl as tls

    from oobcodec.addresses import Address
    from oobcodec.auth import Keyring
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy


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
    name = certified(where, server_hostname, secure=ssl is not None)
    coding(policy, limits, keyring, checksum=checksum, options=options)  # what is wrong with them shows before
    sock = _unix(where, timeout) if isinstance(where, str) else socket.create_connection(where, timeout)
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
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
