"""Both ways of `oobcodec.sockets` to send and receive, under one pair of names."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import trustme

from oobcodec import Keyring, sockets

from .double import Interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

TIMES = int(os.environ.get("OOBCODEC_FAULTS", "1"))
"""How many times as much is tried of what is tried at random, or many times."""

NEXT = "the next message"
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")
KINDS = {"bare": None, "connection": {}, "keyring": {"keyring": KEYS}}
"""Options of the connections; None for a socket without one."""


class Bare:
    """A socket without a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, obj: object, **options: Any) -> int:
        return sockets.send(self._sock, obj, **options)

    def recv(self, **options: Any) -> Any:
        return sockets.recv(self._sock, **options)

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # under a thread that waits
        self._sock.close()


def side(kind: str, sock: socket.socket, role: str) -> Bare | sockets.Connection:
    """Return one side, whose other one has to open at the same time."""
    options = KINDS[kind]
    return Bare(sock) if options is None else sockets.Connection(sock, role=role, **options)


@contextmanager
def opened(kind: str, ends: tuple[socket.socket, socket.socket], pool: Executor) -> Iterator[tuple[Any, Any]]:
    """Give both sides over two connected sockets, and close them before that which threads of a pool still do there."""
    waiting = pool.submit(side, kind, ends[0], "client")
    far = side(kind, ends[1], "server")
    near = waiting.result()
    try:
        yield near, far
    finally:
        near.close()
        far.close()


def over(family: str) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets."""
    if family == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname()), server.accept()[0]


def over_tls() -> tuple[socket.socket, socket.socket]:
    """Return two connected TLS sockets, the client's first; their handshake is for the connections to make."""
    authority, trusting = trustme.CA(), ssl.create_default_context()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(trusting)
    authority.issue_cert("peer.example").configure_cert(serving)
    client, server = socket.socketpair()
    later = {"do_handshake_on_connect": False}
    return (
        trusting.wrap_socket(client, server_hostname="peer.example", **later),
        serving.wrap_socket(server, server_side=True, **later),
    )


def equal(got, want):
    if isinstance(want, list):
        return len(got) == len(want) and all(map(equal, got, want))
    if isinstance(want, dict):
        return list(got) == list(want) and all(equal(got[key], want[key]) for key in want)
    return np.array_equal(got, want) if isinstance(want, np.ndarray) else got == want


def attempt(use, *arguments):
    """Return what it returns, and the error that it raises."""
    try:
        return use(*arguments), None
    except (Exception, Interrupt) as error:  # noqa: BLE001  # each test says which
        return None, error


def all_of(side):
    """Return all objects that arrive, and what there was instead of one more."""
    objects = []
    while True:
        obj, error = attempt(side.recv)
        if error is not None:
            return objects, error
        objects.append(obj)
