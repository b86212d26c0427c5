"""The first frame of a message: what the other frames are.

::

    frames[0] = prelude (24 bytes) + header (msgpack) + authentication block
    prelude   = b"OOB", version (1 byte), flags (u16), length of the authentication block (u16),
                length of the header (u64), length of the packed message (u64), all little-endian
    header    = [serializer tag, meta, lengths of frames[1:], pickle frames, codecs, digests,
                 [[frame, offset, length, read-only], ...]]
    codecs    = nil or [nil or [codec tag, bytes when decompressed], ...], one for each of frames[1:]
    digests   = nil or [algorithm, [digest of frames[1], ...]]
    block     = nothing without digests, else
                layout (u8: 1), algorithm (u8: 0), CRC-32 of prelude and header (u32);
                or a signature, which `oobcodec.auth` describes

The prelude is all that has to be read before any memory is set aside, and all that a relay needs.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from reprlib import repr as short
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

import msgpack

from oobcodec import placements
from oobcodec.buffers import ALIGNMENT
from oobcodec.codings import checked, sizes
from oobcodec.errors import EncodeError, HeaderError, IntegrityError, TruncatedError
from oobcodec.limits import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oobcodec.codings import Codings
    from oobcodec.limits import Limits
    from oobcodec.placements import Placement

MAGIC = b"OOB"
VERSION = 1

_PRELUDE = Struct("<3sBHHQQ")
PRELUDE_SIZE = _PRELUDE.size

_FIELDS = 7
SMALL = 512
"""Bytes up to which a header is worth remembering: repeated messages of one shape are the rule."""

_LARGE: Final = 256 * 1024
"""Bytes from which not even one is worth the memory."""

AUTH_LAYOUT: Final = 1
NONCE_SIZE: Final = 16
MAC_SIZE: Final = 32
CHECKSUM: Final = "xxh3_64"
DIGEST_SIZES: Final = {CHECKSUM: 8, "sha256": 32, "blake3": 32}
MAC_ALGORITHMS: Final = {"hmac-sha256": (1, "sha256"), "blake3": (2, "blake3")}
"""Number in the authentication block, and name of the digests that go with it, of each way to sign."""

_CRC = Struct("<BBI")
_SIGNATURE = 3 + NONCE_SIZE + 8 + MAC_SIZE
"""Bytes of a signature beside the key id, whose length is its third byte."""

_DIGESTS_OF = {0: CHECKSUM, **dict(MAC_ALGORITHMS.values())}
_KEYS = frozenset({str, bytes, int, float, bool, type(None)})
"""Types of keys: the hashes of others can be made to collide."""

_LENGTHS = "the frame lengths are not an array of non-negative integers"


class Prelude(NamedTuple):
    """The fixed-size start of a message."""

    flags: int
    auth_length: int
    header_length: int
    packed_length: int

    @property
    def first_length(self) -> int:
        """Bytes of ``frames[0]``."""
        return PRELUDE_SIZE + self.header_length + self.auth_length


class Digests(NamedTuple):
    """What the bytes of the frames behind the first must give."""

    algorithm: str
    values: tuple[bytes, ...]


class Header(NamedTuple):
    """What ``frames[0]`` says about the rest of the message."""

    tag: str
    meta: Any
    lengths: tuple[int, ...]
    pickle_frames: int
    buffers: tuple[Placement, ...]
    digests: Digests | None = None
    codecs: Codings | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of the frames behind the first, once they are decompressed."""
        return sizes(self.lengths, self.codecs)


def packed_offsets(lengths: Iterable[int]) -> list[int]:
    """Return the offset of each frame in the packed form, and behind them the length of the whole.

    Each frame starts at a multiple of 64 bytes; nothing follows the last one.
    """
    lengths = [*lengths]
    offsets = [*accumulate([-(-length // ALIGNMENT) * ALIGNMENT for length in lengths], initial=0)]
    if lengths:
        offsets[-1] = offsets[-2] + lengths[-1]
    return offsets


def encode(  # noqa: PLR0913  # the fields of the format
    tag: str,
    meta: Any,
    lengths: tuple[int, ...],
    pickle_frames: int,
    buffers: tuple[Placement, ...],
    *,
    digests: Digests | None = None,
    codecs: Codings | None = None,
    auth_length: int = 0,
) -> bytes:
    """Return ``frames[0]`` of a message, without the authentication block of `auth_length` bytes behind it."""
    if meta is not None:
        _check_meta(tag, meta)
    body: bytes = msgpack.packb((tag, meta, lengths, pickle_frames, codecs, digests, buffers))
    packed = packed_offsets((PRELUDE_SIZE + len(body) + auth_length, *lengths))[-1]
    return _PRELUDE.pack(MAGIC, VERSION, 0, auth_length, len(body), packed) + body


encode_small = lru_cache(maxsize=1024)(encode)


def checksummed(header: Header, digests: Digests) -> bytes:
    """Return ``frames[0]`` with checksums of the other frames, and one of its own behind it."""
    first = encode(*header[:5], digests=digests, codecs=header.codecs, auth_length=_CRC.size)
    return first + _CRC.pack(AUTH_LAYOUT, 0, crc32(first))


def decode_prelude(data: bytes | memoryview) -> Prelude:
    """Read the first 24 bytes of a message.

    Raises
    ------
    TruncatedError
        There are fewer bytes than that.
    HeaderError
        They do not start a message, or one of a version or with flags that this library does not know.
    """
    return _decode_prelude(bytes(data[:PRELUDE_SIZE]))


@lru_cache(maxsize=1024)
def _decode_prelude(data: bytes) -> Prelude:
    if len(data) < PRELUDE_SIZE:
        if data[:3] != MAGIC[: len(data)]:
            raise HeaderError(_not_a_message(data))
        message = f"a message starts with {PRELUDE_SIZE} bytes, here are {len(data)}"
        raise TruncatedError(message)
    magic, version, flags, auth_length, header_length, packed_length = _PRELUDE.unpack(data)
    if magic != MAGIC:
        raise HeaderError(_not_a_message(data))
    if version != VERSION:
        message = f"message format version {version}; this oobcodec reads version {VERSION}: upgrade the older side"
        raise HeaderError(message)
    if flags:
        message = f"unknown flags {flags:#06x}: the message needs a newer oobcodec"
        raise HeaderError(message)
    prelude = Prelude(flags, auth_length, header_length, packed_length)
    if packed_length < prelude.first_length:
        message = f"the message claims {packed_length} bytes, its first frame alone {prelude.first_length}"
        raise HeaderError(message)
    return prelude


def _not_a_message(data: bytes) -> str:
    return f"not an oobcodec message: it starts with {data[:3]!r} instead of {MAGIC!r}"


def split_first(first: bytes) -> tuple[Prelude, bytes, bytes]:
    """Return the prelude, the bytes of it and the header, and the authentication block. The header is not looked at.

    Raises
    ------
    TruncatedError, HeaderError
        As `decode_prelude`; or there are fewer or more bytes than it says.
    """
    prelude = decode_prelude(first)
    if len(first) != prelude.first_length:
        error = TruncatedError if len(first) < prelude.first_length else HeaderError
        message = f"frame 0 has {len(first)} bytes, its prelude says {prelude.first_length}"
        raise error(message)
    end = PRELUDE_SIZE + prelude.header_length
    return prelude, first[:end], first[end:]


def decode(first: bytes, limits: Limits = UNLIMITED) -> Header:
    """Read and check a whole ``frames[0]``, but for its signature.

    Parameters
    ----------
    first
        The frame.
    limits
        Each is checked before there is any work that the declared number makes long.

    Raises
    ------
    TruncatedError, HeaderError
        As `split_first`; or the header contradicts the prelude, itself, or the format.
    LimitError
        It declares more than a limit.
    IntegrityError
        The frame has a checksum, which is another.
    """
    prelude, covered, block = split_first(first)
    if limits is not UNLIMITED:
        limits.check("the header", max_header_bytes=prelude.header_length)
    if block:
        _check_crc(covered, block)
    header = _checked(covered[PRELUDE_SIZE:], limits)
    if limits is not UNLIMITED:
        _check_lengths(prelude, header.lengths, limits)
    packed = packed_offsets((len(first), *header.lengths))[-1]
    if packed != prelude.packed_length:
        message = f"the frames pack into {packed} bytes, the prelude says {prelude.packed_length}"
        raise HeaderError(message)
    _check_block(block, header.digests)
    return header


decode_small = lru_cache(maxsize=1024)(decode)
# Whoever receives a message reads its header before `oobcodec.loads` does.
_decode_again = lru_cache(maxsize=1)(decode)


def read(first: bytes, limits: Limits = UNLIMITED) -> Header:
    """Do what `decode` does, and remember the result: of small headers many, of others the last one."""
    if len(first) > SMALL:
        return _decode_again(first, limits) if len(first) < _LARGE else decode(first, limits)
    return decode_small(first) if limits is UNLIMITED else decode_small(first, limits)


def check_sizes(prelude: Prelude, limits: Limits) -> None:
    """Refuse what is over a limit by its prelude alone.

    Raises
    ------
    LimitError
        The header, or the whole message, is too long.
    """
    if limits is not UNLIMITED:  # the usual ones, where a call counts
        limits.check("the header", max_header_bytes=prelude.header_length)
        limits.check("the message", max_total_bytes=prelude.packed_length)


def _check_lengths(prelude: Prelude, lengths: tuple[int, ...], limits: Limits) -> None:
    """Refuse what is too long, by the frame that is if one is it alone."""
    longest = max(lengths, default=0)
    most = limits.get("max_total_bytes")
    if most is not None and longest > most:
        limits.check(f"frame {1 + lengths.index(longest)}", max_total_bytes=longest)
    limits.check("the message", max_total_bytes=prelude.packed_length)


def _check_crc(covered: bytes, block: bytes) -> None:
    """Check the checksum of ``frames[0]``, if it is what the authentication block holds."""
    if len(block) != _CRC.size or block[1]:
        return
    if crc32(covered) != _CRC.unpack(block)[2]:
        message = "frame 0 is damaged: it is not what its checksum says"
        raise IntegrityError(message)


def _check_block(block: bytes, digests: Digests | None) -> None:
    """Check that the authentication block is one of those that go with the digests."""
    if not block and digests is None:
        return
    expected = None if digests is None else digests.algorithm
    size = _CRC.size
    if len(block) >= _CRC.size and block[1]:
        size = _SIGNATURE + block[2]
    if len(block) != size or block[0] != AUTH_LAYOUT or _DIGESTS_OF.get(block[1]) != expected:
        message = f"a block of {len(block)} bytes behind the header does not go with digests of {expected}"
        raise HeaderError(message)


def _check_meta(tag: str, meta: Any) -> None:
    """Refuse what msgpack cannot carry, or `decode` would refuse."""
    try:
        _parsed(msgpack.packb(meta))
    except (HeaderError, OverflowError, TypeError, ValueError) as error:
        message = f"the serializer {tag!r} describes its buffers by what no header can carry: {error}"
        raise EncodeError(message) from error


def _parsed(body: bytes) -> Any:
    try:
        if len(body) > SMALL:
            # Reads all of it without keeping anything: memory for an array is set aside by its declared length.
            unpacker = msgpack.Unpacker(max_buffer_size=len(body))
            unpacker.feed(body)
            unpacker.skip()
        return msgpack.unpackb(body, use_list=False, strict_map_key=False, object_pairs_hook=_mapping)
    except Exception as error:  # msgpack raises ValueError, its own exceptions and RecursionError alike
        message = f"the header is not msgpack: {str(error) or type(error).__name__}"
        raise HeaderError(message) from error


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    for key, _ in pairs:
        if type(key) not in _KEYS:
            message = f"a key of type {type(key).__name__} in a map"
            raise ValueError(message)
    return dict(pairs)


def _checked(body: bytes, limits: Limits) -> Header:
    fields = _parsed(body)
    if type(fields) is not tuple or len(fields) != _FIELDS:
        message = f"the header is not an array of {_FIELDS} fields"
        raise HeaderError(message)
    tag, meta, lengths, pickle_frames, codecs, digests, buffers = fields
    if type(lengths) is not tuple:
        raise HeaderError(_LENGTHS)
    limits.check("the message", max_frames=1 + len(lengths))
    if msgpack.packb(fields) != body:
        message = "the header is not in the shortest form of msgpack, or a map in it has a key twice"
        raise HeaderError(message)
    if type(tag) is not str or not tag:
        message = f"the serializer tag is {short(tag)}, not a name"
        raise HeaderError(message)
    if not set(map(type, lengths)) <= {int} or min(lengths, default=0) < 0:
        raise HeaderError(_LENGTHS)
    if type(pickle_frames) is not int or not 0 <= pickle_frames <= len(lengths):
        message = f"{short(pickle_frames)} pickle frames among {len(lengths)}"
        raise HeaderError(message)
    codings = checked(codecs, len(lengths))
    placements.check(buffers, sizes(lengths, codings), pickle_frames)
    return Header(tag, meta, lengths, pickle_frames, buffers, _checked_digests(digests, len(lengths)), codings)


def _checked_digests(digests: Any, count: int) -> Digests | None:
    if digests is None:
        return None
    if type(digests) is not tuple or tuple(map(type, digests)) != (str, tuple):
        message = f"the digests are {short(digests)}, not [algorithm, [digest of each frame]]"
        raise HeaderError(message)
    algorithm, values = digests
    size = DIGEST_SIZES.get(algorithm)
    if size is None:
        message = f"frames carry digests of {short(algorithm)}: the message needs a newer oobcodec"
        raise HeaderError(message)
    if len(values) != count or not all(type(value) is bytes and len(value) == size for value in values):
        message = f"the digests are not {size} bytes for each of {count} frames"
        raise HeaderError(message)
    return Digests(algorithm, values)
