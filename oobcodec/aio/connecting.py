"""Connections to whoever listens, in asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from oobcodec.addresses import certified, parse, peer_of
from oobcodec.aio.coding import manner
from oobcodec.aio.connections import Connection
from oobcodec.aio.dialling import dial
from oobcodec.aio.lines import Line
from oobcodec.connections import HELLO_TIMEOUT, check_timeout
from oobcodec.handshake import no_hello, shorter
from oobcodec.hello import new_hello
from oobcodec.policy import TRUSTED
from oobcodec.transfer import tell

if TYPE_CHECKING:
    import ssl as tls

    from oobcodec.addresses import Address
    from oobcodec.aio.coding import Manner
    from oobcodec.auth import Keyring
    from oobcodec.hello import Hello
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy


async def greet(line: Line, agreed: Manner, *, listening: bool, seconds: float | None) -> tuple[Hello, Hello]:
    """Exchange hellos in so many seconds, after the handshake of TLS, and return ours and theirs.

    Raises
    ------
    HeaderError, AuthenticationError, TruncatedError, OSError
        As for `oobcodec.handshake.exchange`; `TimeoutError` if it takes longer.
    """
    ours = new_hello(listening=listening, signing=agreed.keyring is not None)
    try:
        async with asyncio.timeout(seconds):
            return ours, await line.greet(ours)
    except BaseException as error:
        line.close()
        if isinstance(error, TimeoutError):
            raise TimeoutError(no_hello(seconds)) from error
        raise


async def connect(  # noqa: PLR0913  # each is a choice of its own
    address: Address,
    *,
    timeout: float | None = None,  # noqa: ASYNC109  # of the connection's whole life
    ssl: tls.SSLContext | None = None,
    server_hostname: str | None = None,
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    checksum: bool = False,
    hello_timeout: float | None = HELLO_TIMEOUT,
    **options: Any,
) -> Connection:
    """Connect to what `start_server`, or `oobcodec.sockets.listen`, has made somewhere.

    Parameters
    ----------
    address
        ``("host", port)``, ``"host:port"``, or the path of a Unix socket.
    timeout
        Seconds to connect, and later for each wait for the peer; ``None`` is for ever.
    ssl, server_hostname
        For TLS, as for `oobcodec.sockets.connect`.
    policy, limits, keyring, checksum, hello_timeout, **options
        As for `oobcodec.sockets.Connection`.

    Raises
    ------
    ValueError, DecodeError, OSError
        As for `oobcodec.sockets.connect`.
    """
    check_timeout(timeout)
    where = parse(address)
    name = certified(where, server_hostname, secure=ssl is not None)
    agreed = manner(policy, limits, keyring, checksum=checksum, options=options)
    try:
        async with asyncio.timeout(timeout):
            sock = await dial(where)
    except OSError as error:
        if not error.args:  # asyncio's, which says nothing
            error.args = (f"not connected within {timeout} s",)
        error.add_note(f"to connect to {address}")
        raise
    try:
        peer = peer_of(sock)
        if ssl is not None:
            sock = ssl.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        line = Line(sock, ours=True)
        hellos = await greet(line, agreed, listening=False, seconds=shorter(timeout, hello_timeout))
    except BaseException as error:
        sock.close()
        tell(error, f"from {address}")
        raise
    line.timeout = timeout
    return Connection(line, peer, agreed, hellos)
