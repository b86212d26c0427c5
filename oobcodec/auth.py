"""Who wrote a message: keys, the authentication block behind its header, and the order of messages on a connection.

::

    block = layout (u8: 1), algorithm (u8), length of the key id (u8), key id (UTF-8),
            nonce (16 bytes), sequence (u64, little-endian), MAC (32 bytes)
    MAC   = over "oobcodec message authentication" and a zero byte, the version of the format (u8),
            the block up to here, and frames[0] up to the block

The header that is signed holds a digest of each frame. Nothing of it is parsed before its MAC is verified.
"""

from __future__ import annotations

import hashlib
import hmac
from reprlib import repr as short
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from oobcodec import digests
from oobcodec.buffers import flat
from oobcodec.errors import AuthenticationError, EncodeError
from oobcodec.header import (
    AUTH_LAYOUT,
    MAC_ALGORITHMS,
    MAC_SIZE,
    NONCE_SIZE,
    VERSION,
    Digests,
    encode,
    read,
    split_first,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oobcodec.buffers import Buffer

__all__ = ["Keyring", "Session", "session_nonces"]

KEY_SIZE: Final = 32
"""Bytes that a key has at least: as many as its MAC."""

NO_NONCE: Final = bytes(NONCE_SIZE)
"""The nonce of messages outside of a connection."""

_DOMAIN: Final = b"oobcodec message authentication\0"
_CONNECTION: Final = b"oobcodec connection nonce\0"
_CONTEXT: Final = "oobcodec 2025 message authentication key"
"""What blake3 makes a key of exactly 32 bytes with, from one that may be longer."""

_START: Final = Struct("<BBB")
_STAMP: Final = Struct("<16sQ")
_LONGEST_ID: Final = 255
UNSIGNED: Final = "frames are unsigned but keyring= was given."


class Stamp(NamedTuple):
    """What an authentication block says beside who signed."""

    nonce: bytes
    sequence: int


class Keyring:
    """Keys that messages are signed and verified with.

    A signature proves who wrote a message and that no bit of it was changed. It does not hide anything, and outside of
    a connection it does not prove that a message is new: whoever has recorded one can send it again.

    To change keys, give all receivers the new key beside the old one, then sign with the new one everywhere, then take
    the old one away.

    Parameters
    ----------
    keys
        The secret keys, each of 32 random bytes or more (``secrets.token_bytes(32)``), by their ids. An id is text of
        up to 255 bytes in UTF-8, which travels in clear.
    sign_with
        The id of the key that signs. Without it the keyring only verifies.
    algorithm
        ``"hmac-sha256"``, or ``"blake3"``, which is several times as fast and needs the package of that name. Messages
        that are signed with any other algorithm are refused.

    Raises
    ------
    ValueError
        A key is not bytes or too short, an id is not text, empty or too long, `sign_with` is not the id of a key, or
        `algorithm` is not known.
    ImportError
        The package of `algorithm` is not installed.
    """

    __slots__ = ("_algorithm", "_keys", "_mac", "_signer")

    _algorithm: str
    _keys: dict[bytes, bytes]
    _mac: Callable[[bytes, bytes], bytes]
    _signer: bytes | None

    def __init__(
        self, keys: Mapping[str, bytes], *, sign_with: str | None = None, algorithm: str = "hmac-sha256"
    ) -> None:
        if algorithm not in MAC_ALGORITHMS:
            message = f"algorithm={algorithm!r} is not known; there are {', '.join(MAC_ALGORITHMS)}"
            raise ValueError(message)
        if sign_with is not None and sign_with not in keys:
            message = f"sign_with={sign_with!r} is not the id of a key"
            raise ValueError(message)
        own = {_checked_id(key_id): _checked_key(key_id, key) for key_id, key in keys.items()}
        if not own:
            message = "a keyring without a key verifies no message"
            raise ValueError(message)
        mac = _blake3_mac() if algorithm == "blake3" else _hmac_sha256
        signer = None if sign_with is None else sign_with.encode()
        for name, value in (("_algorithm", algorithm), ("_keys", own), ("_mac", mac), ("_signer", signer)):
            object.__setattr__(self, name, value)

    @property
    def digest_algorithm(self) -> str:
        """Name of the digests that the headers of signed messages hold."""
        return MAC_ALGORITHMS[self._algorithm][1]

    def seal(self, frames: Sequence[Buffer], *, nonce: bytes = NO_NONCE, sequence: int = 0) -> list[memoryview]:
        """Return a message with digests of its frames in its header, and that signed.

        Parameters
        ----------
        frames
            A message, as `oobcodec.dumps` returns it.
        nonce, sequence
            The connection that it belongs to, and its number there.

        Returns
        -------
        list of memoryview
            A new first frame, and the same others.

        Raises
        ------
        EncodeError
            The keyring only verifies.
        """
        signer = self._signer
        if signer is None:
            message = "this keyring only verifies: name the key that signs with Keyring(..., sign_with=...)"
            raise EncodeError(message)
        views = [flat(frame) for frame in frames]
        start = _START.pack(AUTH_LAYOUT, MAC_ALGORITHMS[self._algorithm][0], len(signer)) + signer
        start += _STAMP.pack(nonce, sequence)
        header = read(bytes(views[0]))
        own = Digests(self.digest_algorithm, tuple(digests.compute(self.digest_algorithm, views[1:])))
        signed = encode(*header[:5], digests=own, codecs=header.codecs, auth_length=len(start) + MAC_SIZE)
        mac = self._mac(self._keys[signer], _covered(start, signed))
        return [memoryview(signed + start + mac), *views[1:]]

    def verify(self, first: Buffer) -> Stamp:
        """Check who signed a message, before anything of its header is parsed.

        The digests of the other frames are in the header, which can be believed afterwards: they are still to be
        checked.

        Parameters
        ----------
        first
            ``frames[0]`` of the message.

        Returns
        -------
        Stamp
            The connection that the message claims to belong to, and its number there.

        Raises
        ------
        AuthenticationError
            It is not signed, with another algorithm or with a key that is not in the keyring, or it was changed.
        HeaderError, TruncatedError
            It is no whole first frame of a message.
        """
        _, signed, block = split_first(bytes(first))
        if not block or block[1:2] == b"\0":
            raise AuthenticationError(UNSIGNED)
        key_id, stamp = self._read(block)
        key = self._keys.get(key_id)
        if key is None:
            message = f"the message is signed with the key {_shown(key_id)}, which is not in {self!r}"
            raise AuthenticationError(message)
        if not hmac.compare_digest(self._mac(key, _covered(block[:-MAC_SIZE], signed)), block[-MAC_SIZE:]):
            message = f"the header is not what the key {_shown(key_id)} has signed: forged, damaged, or another key"
            raise AuthenticationError(message)
        return stamp

    def _read(self, block: bytes) -> tuple[bytes, Stamp]:
        if len(block) < _START.size or block[0] != AUTH_LAYOUT:
            message = f"an authentication block of {len(block)} bytes that this oobcodec cannot read"
            raise AuthenticationError(message)
        _, algorithm, id_size = _START.unpack_from(block)
        expected = MAC_ALGORITHMS[self._algorithm][0]
        if algorithm != expected:
            names = {number: name for name, (number, _) in MAC_ALGORITHMS.items()}
            message = (
                f"the message is signed with {names.get(algorithm, f'algorithm {algorithm}')}, "
                f"the keyring takes {self._algorithm} only"
            )
            raise AuthenticationError(message)
        end = _START.size + id_size
        if len(block) != end + _STAMP.size + MAC_SIZE:
            message = f"the authentication block has {len(block)} bytes instead of {end + _STAMP.size + MAC_SIZE}"
            raise AuthenticationError(message)
        return block[_START.size : end], Stamp(*_STAMP.unpack_from(block, end))

    def __repr__(self) -> str:
        ids = ", ".join(map(_shown, self._keys))
        signer = "" if self._signer is None else f", sign_with={_shown(self._signer)}"
        return f"<Keyring of {ids}{signer}, algorithm={self._algorithm!r}>"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = "a keyring cannot be changed: make another one"
        raise AttributeError(message)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        message = "keys do not travel: a Keyring can be neither pickled nor copied"
        raise TypeError(message)


class Session:
    """The order of the messages on one connection: each direction has a nonce, and numbers its messages from 0.

    A message of another connection, of the other direction, or out of order is refused; so nothing can be replayed,
    reordered, dropped in between, or sent back. One thread at a time may seal messages, another one may open them.

    Parameters
    ----------
    keyring
        Signs and verifies.
    nonce_out, nonce_in
        16 bytes each, of messages that this side sends and that it receives. The other side has them the other way
        round. Both sides must have contributed randomness to `nonce_in`: `session_nonces` makes them of what the two
        sides have sent each other.

    Raises
    ------
    ValueError
        A nonce has another length.
    AuthenticationError
        Both nonces are the same: somebody sends back what this side has sent.
    """

    __slots__ = ("_keyring", "_nonce_in", "_nonce_out", "_received", "_sent")

    def __init__(self, keyring: Keyring, nonce_out: bytes, nonce_in: bytes) -> None:
        for nonce in (nonce_out, nonce_in):
            _check_nonce(nonce)
        if nonce_out == nonce_in:
            message = "both directions of the connection have the same nonce: the peer sends back what it gets"
            raise AuthenticationError(message)
        self._keyring = keyring
        self._nonce_out = nonce_out
        self._nonce_in = nonce_in
        self._sent = 0
        self._received = 0

    def seal(self, frames: Sequence[Buffer]) -> list[memoryview]:
        """Sign the next message of this side.

        Parameters
        ----------
        frames
            A message, as `oobcodec.dumps` returns it.

        Returns
        -------
        list of memoryview
            A new first frame, and the same others. The other side accepts no message before it has got this one.

        Raises
        ------
        EncodeError
            The keyring only verifies.
        """
        sealed = self._keyring.seal(frames, nonce=self._nonce_out, sequence=self._sent)
        self._sent += 1
        return sealed

    def open_first(self, first: Buffer) -> None:
        """Check that ``frames[0]`` is signed and begins the next message of the other side.

        A message that is refused changes nothing: the genuine one is accepted afterwards.

        Raises
        ------
        AuthenticationError
            As `Keyring.verify`; or it belongs to another connection or direction, or it is not the next one.
        HeaderError, TruncatedError
            It is no whole first frame of a message.
        """
        stamp = self._keyring.verify(first)
        if not hmac.compare_digest(stamp.nonce, self._nonce_in):
            message = "the message was signed for another connection, or for the other direction of this one"
            raise AuthenticationError(message)
        if stamp.sequence != self._received:
            message = (
                f"message {stamp.sequence} of the connection arrived where number {self._received} is the next: "
                "repeated, reordered, or one is missing"
            )
            raise AuthenticationError(message)
        self._received += 1

    def __repr__(self) -> str:
        return f"<Session of {self._keyring!r}: {self._sent} sent, {self._received} received>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        message = "the messages of a connection have one order: a Session can be neither pickled nor copied"
        raise TypeError(message)


def session_nonces(ours: bytes, theirs: bytes, *, listening: bool) -> tuple[bytes, bytes]:
    """Return the nonces of both directions of a connection, for `Session`.

    Each depends on what both sides have sent and on which of them was listening. With the bare random bytes somebody
    in the middle could join two connections of one side, so that it hears itself.

    Parameters
    ----------
    ours, theirs
        16 random bytes that this side has sent, and those that it has received.
    listening
        Whether this side accepted the connection, and did not ask for it.

    Returns
    -------
    tuple of bytes
        `nonce_out` and `nonce_in`.

    Raises
    ------
    ValueError
        One has another length.
    AuthenticationError
        Both are the same: somebody sends back what this side has sent.
    """
    for nonce in (ours, theirs):
        _check_nonce(nonce)
    if ours == theirs:
        message = "the peer sends back our own nonce"
        raise AuthenticationError(message)
    both = theirs + ours if listening else ours + theirs
    asking, accepting = (hashlib.sha256(_CONNECTION + side + both).digest()[:NONCE_SIZE] for side in (b"\0", b"\1"))
    return (accepting, asking) if listening else (asking, accepting)


def _check_nonce(nonce: bytes) -> None:
    if type(nonce) is not bytes or len(nonce) != NONCE_SIZE:
        message = f"a nonce is {NONCE_SIZE} bytes"
        raise ValueError(message)


def _checked_id(key_id: str) -> bytes:
    if type(key_id) is not str or not 0 < len(key_id.encode()) <= _LONGEST_ID:
        message = f"the id of a key is text of 1 to {_LONGEST_ID} bytes in UTF-8, not {short(key_id)}"
        raise ValueError(message)
    return key_id.encode()


def _checked_key(key_id: str, key: bytes) -> bytes:
    if not isinstance(key, bytes | bytearray) or len(key) < KEY_SIZE:
        found = f"{len(key)} bytes" if isinstance(key, bytes | bytearray) else type(key).__name__
        message = f"the key {key_id!r} is {found}; it needs {KEY_SIZE} bytes or more: secrets.token_bytes({KEY_SIZE})"
        raise ValueError(message)
    return bytes(key)


def _shown(key_id: bytes) -> str:
    return repr(key_id.decode("utf-8", "backslashreplace"))


def _covered(start: bytes, signed: bytes) -> bytes:
    # Each piece but the last has a length that is fixed or written before it: what is signed has one meaning.
    return b"".join((_DOMAIN, bytes((VERSION,)), start, signed))


def _hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _blake3_mac() -> Callable[[bytes, bytes], bytes]:
    blake3 = digests.blake3()

    def mac(key: bytes, data: bytes) -> bytes:
        derived = blake3(key, derive_key_context=_CONTEXT).digest()
        return bytes(blake3(data, key=derived).digest())

    return mac
