"""Sockets that are connected to an address, for an event loop."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from oobcodec.connecting import RETRY, tried
from oobcodec.connections import tune


async def dial(where: tuple[str, int] | str) -> socket.socket:
    """Return a socket that is connected to an address, as `oobcodec.addresses.parse` returns it.

    Raises
    ------
    OSError
        There is nobody, at none of the addresses of the host; or no such host.
    """
    if isinstance(where, str):
        return await _connected(socket.AF_UNIX, where)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(*where, type=socket.SOCK_STREAM)
    *others, last = [(family, name) for family, _, _, _, name in found]
    for family, name in others:
        try:
            return await _connected(family, name)
        except OSError:
            continue  # "localhost" is ::1 too where nobody listens there
    return await _connected(*last)


def prepared(sock: socket.socket) -> socket.socket:
    """Make a socket what connections want, and return it."""
    sock.setblocking(False)  # noqa: FBT003  # the name says it
    tune(sock)
    return sock


async def _connected(family: int, name: Any) -> socket.socket:
    sock = prepared(socket.socket(family))
    try:
        if not isinstance(name, str):
            await asyncio.get_running_loop().sock_connect(sock, name)
        else:
            # Which there is nothing to wait for, unlike with TCP: either it is done or it was not begun.
            while not tried(sock, name):  # noqa: ASYNC110  # no event tells when
                await asyncio.sleep(RETRY)
    except BaseException:
        sock.close()
        raise
    return sock
