"""Servers in asyncio: a task for each connection, and none that waits for peers that are slow or no peers at all."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from oobcodec.addresses import text
from oobcodec.aio.budget import Budget
from oobcodec.aio.coding import manner
from oobcodec.aio.connecting import greet
from oobcodec.aio.connections import Connection
from oobcodec.aio.dialling import prepared
from oobcodec.aio.lines import Line
from oobcodec.connections import HELLO_TIMEOUT
from oobcodec.errors import OobError
from oobcodec.handshake import no_hello
from oobcodec.listening import listen
from oobcodec.policy import TRUSTED

if TYPE_CHECKING:
    import socket
    import ssl as tls
    from collections.abc import Awaitable, Callable

    from oobcodec.addresses import Address
    from oobcodec.aio.coding import Manner
    from oobcodec.auth import Keyring
    from oobcodec.hello import Hello
    from oobcodec.limits import Limits
    from oobcodec.listening import Listener
    from oobcodec.policy import Policy

RETRY: Final = 0.5
"""Seconds until the next try where the process can accept nobody, since it has no file descriptors left."""

_log: Final = logging.getLogger("oobcodec")


class Welcome(NamedTuple):
    """How a server treats those who connect."""

    agreed: Manner
    ssl: tls.SSLContext | None
    timeout: float | None
    hello_timeout: float | None
    backlog: int
    budget: Budget | None


class Server:
    """What `start_server` returns: calls the handler for each connection, in a task of its own.

    As a context (``async with``) it closes in the end.

    Attributes
    ----------
    address : str
        Where it listens, with the port that was chosen for port 0; `connect` takes it.
    """

    def __init__(
        self, listener: Listener, welcome: Welcome, handler: Callable[[Connection], Awaitable[object]]
    ) -> None:
        self.address = listener.address
        self._sock = listener._sock  # noqa: SLF001  # of the same library
        self._welcome = welcome
        self._handler = handler
        self._callers: list[asyncio.Timeout] = []
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._accepting = asyncio.create_task(self._accept())
        # Not before the loop has forgotten the socket.
        self._accepting.add_done_callback(lambda _: listener.close())

    async def _accept(self) -> None:
        while True:
            await self._accept_one()

    async def _accept_one(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            sock, name = await loop.sock_accept(self._sock)
        except OSError as error:
            _log.warning("%s cannot accept a connection: %s", self.address, error)
            await asyncio.sleep(RETRY)
            return
        task = loop.create_task(self._attend(sock, text(name) or self.address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, sock: socket.socket, peer: str) -> None:
        try:
            connection = await self._connection(sock, peer)
        except (OobError, OSError) as error:
            _log.warning("from %s: no connection came of it: %s; %s goes on", peer, error, self.address)
            return
        self._connections.add(connection)
        try:
            async with connection:
                if not self._closed:  # as it may be since the hello
                    await self._handler(connection)
        except Exception:  # noqa: BLE001  # the handler's, whatever it is
            _log.exception("the handler of the connection from %s failed; %s goes on", peer, self.address)
        finally:
            self._connections.remove(connection)

    async def _connection(self, sock: socket.socket, peer: str) -> Connection:
        welcome = self._welcome
        try:
            sock = prepared(sock)
            if welcome.ssl is not None:
                sock = welcome.ssl.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            line = Line(sock, ours=True)
            hellos = await self._hellos(line)
        except BaseException:
            sock.close()
            raise
        line.timeout = welcome.timeout
        return Connection(line, peer, welcome.agreed, hellos, welcome.budget)

    async def _hellos(self, line: Line) -> tuple[Hello, Hello]:
        welcome = self._welcome
        patience = asyncio.timeout(welcome.hello_timeout)
        try:
            async with patience:
                self._callers.append(patience)
                try:
                    # More than may wait to be accepted, and the oldest have had their time. Of a burst all are here
                    # before the first that is ended has gone.
                    room = 0 if self._closed else welcome.backlog
                    for oldest in self._callers[: max(len(self._callers) - room, 0)]:
                        _end(oldest)
                    return await greet(line, welcome.agreed, listening=True, seconds=None)
                finally:
                    self._callers.remove(patience)
        except TimeoutError as error:
            if self._closed:
                message = "no hello until the server was closed"
            elif patience.when() == 0:
                message = f"no hello while {welcome.backlog} others connected"
            else:
                message = no_hello(welcome.hello_timeout)
            raise TimeoutError(message) from error

    def close(self) -> None:
        """Stop listening, and close all connections, whose handlers see an end; more than once does no harm."""
        if not self._closed:
            self._closed = True
            self._accepting.cancel()
            for connection in self._connections:
                connection.close()
            for patience in self._callers:
                _end(patience)

    async def wait_closed(self) -> None:
        """Wait until it is closed, and all handlers have returned."""
        await asyncio.wait([self._accepting])
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def serve_forever(self) -> None:
        """Wait until another task closes it; close it if that is cancelled."""
        try:
            await asyncio.wait([self._accepting])
        finally:
            self.close()
            await self.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()
        await self.wait_closed()

    def __repr__(self) -> str:
        return f"<Server{', closed,' if self._closed else ''} on {self.address}: {len(self._connections)} connections>"


def _end(patience: asyncio.Timeout) -> None:
    if not patience.expired():
        patience.reschedule(0)


async def start_server(  # noqa: PLR0913  # each is a choice of its own
    handler: Callable[[Connection], Awaitable[object]],
    address: Address,
    *,
    max_bytes: int | None = None,
    backlog: int = 128,
    timeout: float | None = None,  # noqa: ASYNC109  # of each connection
    ssl: tls.SSLContext | None = None,
    insecure: bool = False,
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    checksum: bool = False,
    hello_timeout: float | None = HELLO_TIMEOUT,
    **options: Any,
) -> Server:
    """Listen for those who `connect`, here or in `oobcodec.sockets`.

    What can be reached from other machines is refused under ``policy=TRUSTED`` without a keyring or TLS, as by
    `oobcodec.sockets.listen`, which says more about that.

    Parameters
    ----------
    handler
        Called as ``await handler(connection)`` for each connection, which is closed when it returns. What it raises is
        logged as an error of the logger ``oobcodec``; peers that come to nothing are logged as warnings.
    address, backlog, ssl, insecure
        As for `oobcodec.sockets.listen`.
    max_bytes
        Memory for the messages that all connections together are receiving or rebuilding at a time. Where it is used
        up, reading goes on when there is room, in the order of who waits in `Connection.recv`; a peer that stops inside
        a message keeps its part, unless there is a `timeout` and the handler ends by it. A message that is larger than
        all of it is refused. ``None`` is any amount.
    timeout
        Seconds for each wait for a peer that has connected; ``None`` is for ever.
    policy, limits, keyring, checksum, hello_timeout, **options
        As for `oobcodec.sockets.Connection`.

    Raises
    ------
    InsecureError, ValueError, OSError
        As for `oobcodec.sockets.listen`; `ValueError` also if `max_bytes` is not positive.
    """
    welcome = Welcome(
        manner(policy, limits, keyring, checksum=checksum, options=options),
        ssl,
        timeout,
        hello_timeout,
        backlog,
        None if max_bytes is None else Budget(max_bytes),
    )
    listener = listen(
        address, timeout=timeout, backlog=backlog, ssl=ssl, insecure=insecure, policy=policy, keyring=keyring
    )
    return Server(listener, welcome, handler)
