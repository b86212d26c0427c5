"""Where to connect to and where to listen: TCP and Unix sockets, and who can reach them."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from oobcodec.errors import InsecureError

Address: TypeAlias = str | os.PathLike[str] | tuple[str, int]
"""``("host", port)``, ``"host:port"``, ``"[::1]:port"``; or a path, as text with a slash in it or behind ``unix:``."""

_UNIX: Final = "unix:"
_HIGHEST_PORT: Final = 0xFFFF


def parse(address: Address) -> tuple[str, int] | str:
    """Return the host and the port of an address, or the path of a Unix socket.

    >>> parse("localhost:4000"), parse("[::1]:4000"), parse("unix:/run/oob"), parse("./oob")
    (('localhost', 4000), ('::1', 4000), '/run/oob', './oob')

    Raises
    ------
    TypeError
        It is neither text, nor a path, nor a host and a port.
    ValueError
        It is text that is neither, or a port that there cannot be.
    """
    if isinstance(address, tuple) and len(address) == 2:  # noqa: PLR2004  # a host and a port
        host, port = address
        if isinstance(host, str) and type(port) is int:
            return host, _checked_port(port, address)
    if isinstance(address, os.PathLike):
        return _checked_path(os.fspath(address))
    if not isinstance(address, str):
        message = f"{address!r} is no address: give (host, port), 'host:port', or the path of a Unix socket"
        raise TypeError(message)
    if address.startswith(_UNIX):
        return _checked_path(address.removeprefix(_UNIX))
    if "/" in address and "://" not in address:
        return _checked_path(address)
    host, colon, number = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or "/" in address or not (number.isascii() and number.isdigit()) or (":" in host and not bracketed):
        message = f"{address!r} is no address: write 'host:port', '[::1]:port', or 'unix:path'"
        raise ValueError(message)
    return host[1:-1] if bracketed else host, _checked_port(int(number), address)


def certified(where: tuple[str, int] | str, server_hostname: str | None, *, secure: bool) -> str | None:
    """Return whom the certificate of a server must be for: the host of what `parse` returned, if nobody says else.

    Raises
    ------
    ValueError
        Somebody says so where there is no TLS.
    """
    if server_hostname is not None and not secure:
        message = "server_hostname= is for TLS: give ssl= too"
        raise ValueError(message)
    return where[0] if server_hostname is None and not isinstance(where, str) else server_hostname


def _checked_port(port: int, address: object) -> int:
    if not 0 <= port <= _HIGHEST_PORT:
        message = f"{port} in {address!r} is no port: they are 0 to {_HIGHEST_PORT}"
        raise ValueError(message)
    return port


def _checked_path(path: object) -> str:
    # A name that starts with a zero byte would be in no directory, and open to every user of the machine.
    if not isinstance(path, str) or not path or "\0" in path:
        message = f"{path!r} is not the path of a Unix socket"
        raise ValueError(message)
    return path


def text(name: Any) -> str:
    """Return an address of the system as `parse` takes it; empty for a socket without a name.

    >>> text(("127.0.0.1", 4000)), text(("::1", 4000, 0, 0)), text("/run/oob"), text("")
    ('127.0.0.1:4000', '[::1]:4000', 'unix:/run/oob', '')
    """
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = os.fsdecode(name)
    return f"{_UNIX}{path}" if path else ""


def peer_of(sock: socket.socket) -> str:
    """Return who is at the other end of a socket, in words for errors."""
    # Who connects to a Unix socket has no name of its own.
    for name in (sock.getpeername, sock.getsockname):
        try:
            found = text(name())
        except OSError:  # the peer is gone already
            continue
        if found:
            return found
    return "an unnamed socket"


def resolve(host: str, port: int) -> list[tuple[int, Any]]:
    """Return the family and the address of the system for each address that a host to listen on has.

    Raises
    ------
    OSError
        There is no such host.
    """
    # All interfaces, as for `socket.bind`.
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    return [(family, name) for family, _, _, _, name in found]


def is_loopback(host: str) -> bool:
    """Tell whether a numeric host is reached from this machine alone.

    >>> is_loopback("127.1.2.3"), is_loopback("::ffff:127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("10.0.0.7")
    (True, True, False, False)
    """
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_exposure(host: str, names: list[tuple[int, Any]]) -> None:
    """Refuse to listen where other machines reach a process that does what it is sent.

    Parameters
    ----------
    host
        As it was asked for.
    names
        What it stands for, as `resolve` returns it.

    Raises
    ------
    InsecureError
        Something of that is not a loopback address.
    """
    exposed = [name[0] for _, name in names if not is_loopback(name[0])]
    if exposed:
        shown = exposed[0] if host in {"", exposed[0]} else f"{host} ({exposed[0]})"
        message = (
            f"refused to listen on {shown} with policy=TRUSTED: whoever can connect could run any code in this "
            "process. Choose policy=oobcodec.DATA, keyring=oobcodec.Keyring(...), ssl=ssl.SSLContext, a loopback "
            "address such as 127.0.0.1, or insecure=True."
        )
        raise InsecureError(message)
