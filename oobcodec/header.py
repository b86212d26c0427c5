"""The first frame of a message: what the other frames are.

::

    frames[0] = prelude (24 bytes) + header (msgpack) + authentication block
    prelude   = b"OOB", version (1 byte), flags (u16), length of the authentication block (u16),
                length of the header (u64), length of the packed message (u64), all little-endian
    header    = [serializer tag, meta, lengths of frames[1:], pickle frames, codecs, digests,
                 [[frame, offset, length, read-only], ...]]

The prelude is all that has to be read before any memory is set aside, and all that a relay needs.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgpack

from oobcodec.buffers import padding
from oobcodec.errors import HeaderError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC = b"OOB"
VERSION = 1

_PRELUDE = Struct("<3sBHHQQ")
PRELUDE_SIZE = _PRELUDE.size

_PLACEMENT = (int, int, int, bool)
_FIELDS = 7
SMALL = 512
"""Bytes up to which a header is worth remembering: repeated messages of one shape are the rule."""

Placement: TypeAlias = tuple[int, int, int, bool]
"""Where a buffer lies: frame (index in the message), offset and length in bytes, read-only."""


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


class Header(NamedTuple):
    """What ``frames[0]`` says about the rest of the message."""

    tag: str
    meta: Any
    lengths: tuple[int, ...]
    pickle_frames: int
    buffers: tuple[Placement, ...]


def packed_offsets(lengths: Iterable[int]) -> list[int]:
    """Return the offset of each frame in the packed form, and behind them the length of the whole.

    Each frame starts at a multiple of 64 bytes; nothing follows the last one.
    """
    offsets, end = [], 0
    for length in lengths:
        end += padding(end)
        offsets.append(end)
        end += length
    return [*offsets, end]


def encode(tag: str, meta: Any, lengths: tuple[int, ...], pickle_frames: int, buffers: tuple[Placement, ...]) -> bytes:
    """Return ``frames[0]`` of a message."""
    body: bytes = msgpack.packb((tag, meta, lengths, pickle_frames, None, None, buffers))
    first = PRELUDE_SIZE + len(body)
    packed = packed_offsets((first, *lengths))[-1]
    return _PRELUDE.pack(MAGIC, VERSION, 0, 0, len(body), packed) + body


encode_small = lru_cache(maxsize=1024)(encode)


def decode_prelude(data: bytes | memoryview) -> Prelude:
    """Read the first 24 bytes of a message.

    Raises
    ------
    TruncatedError
        There are fewer bytes than that.
    HeaderError
        They do not start a message, or one of a version or with flags that this library does not know.
    """
    if len(data) < PRELUDE_SIZE:
        if bytes(data[:3]) != MAGIC[: len(data)]:
            raise HeaderError(_not_a_message(data))
        message = f"a message starts with {PRELUDE_SIZE} bytes, here are {len(data)}"
        raise TruncatedError(message)
    magic, version, flags, auth_length, header_length, packed_length = _PRELUDE.unpack_from(data)
    if magic != MAGIC:
        raise HeaderError(_not_a_message(data))
    if version != VERSION:
        message = f"message format version {version}; this oobcodec reads version {VERSION}: upgrade the older side"
        raise HeaderError(message)
    if flags:
        message = f"unknown flags {flags:#06x}: the message needs a newer oobcodec"
        raise HeaderError(message)
    if auth_length:
        message = f"an authentication block of {auth_length} bytes: the message needs a newer oobcodec"
        raise HeaderError(message)
    prelude = Prelude(flags, auth_length, header_length, packed_length)
    if packed_length < prelude.first_length:
        message = f"the message claims {packed_length} bytes, its first frame alone {prelude.first_length}"
        raise HeaderError(message)
    return prelude


def _not_a_message(data: bytes | memoryview) -> str:
    return f"not an oobcodec message: it starts with {bytes(data[:3])!r} instead of {MAGIC!r}"


def decode(first: bytes) -> Header:
    """Read and check a whole ``frames[0]``.

    Raises
    ------
    TruncatedError, HeaderError
        As `decode_prelude`; or the header contradicts the prelude, itself, or the format.
    """
    prelude = decode_prelude(first)
    if len(first) != prelude.first_length:
        error = TruncatedError if len(first) < prelude.first_length else HeaderError
        message = f"frame 0 has {len(first)} bytes, its prelude says {prelude.first_length}"
        raise error(message)
    try:
        fields = msgpack.unpackb(first[PRELUDE_SIZE:], use_list=False, strict_map_key=False)
    except Exception as error:  # msgpack raises ValueError, its own exceptions and RecursionError alike
        message = f"the header is not msgpack: {error}"
        raise HeaderError(message) from error
    header = _checked(fields)
    packed = packed_offsets((len(first), *header.lengths))[-1]
    if packed != prelude.packed_length:
        message = f"the frames pack into {packed} bytes, the prelude says {prelude.packed_length}"
        raise HeaderError(message)
    return header


decode_small = lru_cache(maxsize=1024)(decode)


def _checked(fields: Any) -> Header:
    if type(fields) is not tuple or len(fields) != _FIELDS:
        message = f"the header is not an array of {_FIELDS} fields"
        raise HeaderError(message)
    tag, meta, lengths, pickle_frames, codecs, digests, buffers = fields
    if type(tag) is not str or not tag:
        message = f"the serializer tag is {tag!r}, not a name"
        raise HeaderError(message)
    if codecs is not None:
        message = f"frames are coded with {codecs!r}: the message needs a newer oobcodec"
        raise HeaderError(message)
    if digests is not None:
        message = "frames carry digests: the message needs a newer oobcodec"
        raise HeaderError(message)
    if type(lengths) is not tuple or not all(type(n) is int and n >= 0 for n in lengths):
        message = "the frame lengths are not an array of non-negative integers"
        raise HeaderError(message)
    if type(pickle_frames) is not int or not 0 <= pickle_frames <= len(lengths):
        message = f"{pickle_frames!r} pickle frames among {len(lengths)}"
        raise HeaderError(message)
    if type(buffers) is not tuple:
        message = "the buffers are not an array"
        raise HeaderError(message)
    for index, place in enumerate(buffers):
        _check_placement(index, place, lengths, pickle_frames)
    used = {place[0] for place in buffers}
    for frame in range(1 + pickle_frames, 1 + len(lengths)):
        if frame not in used:
            message = f"frame {frame} belongs to no buffer"
            raise HeaderError(message)
    return Header(tag, meta, lengths, pickle_frames, buffers)


def _check_placement(index: int, place: Any, lengths: tuple[int, ...], pickle_frames: int) -> None:
    if type(place) is not tuple or tuple(map(type, place)) != _PLACEMENT:
        message = f"buffer {index} is placed at {place!r}, not at [frame, offset, length, read-only]"
        raise HeaderError(message)
    frame, offset, length, _ = place
    if not pickle_frames < frame <= len(lengths):
        message = f"buffer {index} lies in frame {frame}; buffers lie in {1 + pickle_frames} to {len(lengths)}"
        raise HeaderError(message)
    if offset < 0 or length < 0 or offset + length > lengths[frame - 1]:
        message = f"buffer {index} ends at {offset + length} in frame {frame} of {lengths[frame - 1]} bytes"
        raise HeaderError(message)
