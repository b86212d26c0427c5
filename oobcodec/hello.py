"""What the two sides of a connection tell each other before the first message.

::

    hello = magic (8 bytes: 0xD0, "OOBconn"), version of the message format (u8), flags (u8),
            6 zero bytes, nonce (16 random bytes)
    flags = 1: this side accepted the connection, 2: it has a keyring

Each side sends its own and waits for the other's. Its length, the magic and the place of the version are the same in
all versions, so that two sides of different versions both learn it.
"""

from __future__ import annotations

import secrets
from struct import Struct
from typing import Final, NamedTuple

from oobcodec.errors import AuthenticationError, HeaderError
from oobcodec.header import NONCE_SIZE, VERSION

MAGIC: Final = b"\xd0OOBconn"
"""Starts with a byte that neither a message nor a protocol of text does."""

_HELLO: Final = Struct("<8sBB6s16s")
HELLO_SIZE: Final = _HELLO.size

_UNUSED: Final = bytes(6)
_LISTENING: Final = 1
_SIGNING: Final = 2

_OTHERS: Final = (
    (b"OOB", "bare messages, as oobcodec.sockets.send does: use oobcodec.sockets.connect and listen on both sides"),
    (b"\x16\x03", "TLS: give ssl= on this side too"),
    (b"\x15\x03", "TLS: give ssl= on this side too"),
    (b"HTTP/", "HTTP"),
    (b"GET ", "HTTP"),
    (b"POST ", "HTTP"),
)


class Hello(NamedTuple):
    """What one side says.

    Attributes
    ----------
    listening : bool
        Whether it accepted the connection, and did not ask for it.
    signing : bool
        Whether it has a keyring.
    nonce : bytes
        16 random bytes.
    """

    listening: bool
    signing: bool
    nonce: bytes

    def encode(self) -> bytes:
        """Return the bytes to send."""
        flags = _LISTENING * self.listening | _SIGNING * self.signing
        return _HELLO.pack(MAGIC, VERSION, flags, _UNUSED, self.nonce)


def new_hello(*, listening: bool, signing: bool) -> Hello:
    """Return a hello that nobody can foresee."""
    return Hello(listening, signing, secrets.token_bytes(NONCE_SIZE))


def check_start(data: bytes) -> None:
    """Refuse what cannot become a hello, however few bytes of it are there.

    Raises
    ------
    HeaderError
        The peer speaks something else; the text says what, where that is known.
    """
    if MAGIC.startswith(data[: len(MAGIC)]):
        return
    message = f"the peer is not an oobcodec connection: it starts with {data[: len(MAGIC)]!r}"
    for start, name in _OTHERS:
        if data.startswith(start):
            message += f". It sends {name}"
    raise HeaderError(message)


def decode_hello(data: bytes) -> Hello:
    """Read the bytes of a hello, which are as many as one has.

    Raises
    ------
    HeaderError
        They are not a hello, or one of a version or with flags that this library does not know.
    """
    check_start(data)
    _, version, flags, unused, nonce = _HELLO.unpack(data)
    if version != VERSION:
        message = (
            f"the peer sends message format version {version}, this oobcodec version {VERSION}: upgrade the older side"
        )
        raise HeaderError(message)
    if flags & ~(_LISTENING | _SIGNING) or unused != _UNUSED:
        message = f"unknown flags {flags:#04x} {unused.hex()} in the hello: the peer is a newer oobcodec"
        raise HeaderError(message)
    return Hello(bool(flags & _LISTENING), bool(flags & _SIGNING), nonce)


def check_agreement(ours: Hello, theirs: Hello) -> None:
    """Refuse a peer that does not fit to this side.

    Raises
    ------
    HeaderError
        Both sides accepted the connection, or both asked for it.
    AuthenticationError
        One side has a keyring and the other has not, or the peer sends back our own nonce.
    """
    if theirs.listening == ours.listening:
        role = "server" if ours.listening else "client"
        message = f"both sides are the {role}: one of them needs the other role, or the peer sends back what it gets"
        raise HeaderError(message)
    if theirs.nonce == ours.nonce:
        message = "the peer sends back our own nonce"
        raise AuthenticationError(message)
    if theirs.signing != ours.signing:
        has, lacks = ("this side", "the peer") if ours.signing else ("the peer", "this side")
        message = f"{has} signs its messages and {lacks} does not: both sides need keyring= with a key in common"
        raise AuthenticationError(message)
