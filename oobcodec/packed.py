"""The packed form: a message as one piece of memory, the same on a socket, in a file and in shared memory."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from oobcodec.buffers import allocate, flat, padding
from oobcodec.errors import DecodeError, HeaderError, IntegrityError, TruncatedError
from oobcodec.header import check_sizes, decode_prelude, packed_offsets, read
from oobcodec.limits import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.limits import Limits

_FEW: Final = 16
"""Frames below which it is worth remembering where each lies."""


def packed_size(frames: Sequence[Buffer]) -> int:
    """Return the length in bytes of the packed form of a message."""
    return packed_offsets(memoryview(frame).nbytes for frame in frames)[-1]


def pack(frames: Sequence[Buffer]) -> memoryview:
    """Copy a message into one new piece of memory.

    Parameters
    ----------
    frames
        A message, as `oobcodec.dumps` returns it.

    Returns
    -------
    memoryview
        Shape ``(packed_size(frames),)``, writable, aligned to 64 bytes. Each frame starts at a multiple of 64 bytes,
        and zeros fill what lies between two frames.

    Raises
    ------
    HeaderError, TruncatedError
        The frames are not one whole message.
    """
    memory = allocate(_whole_size(frames))
    copy_into(frames, memory)
    return memory


def pack_into(frames: Sequence[Buffer], buffer: Buffer) -> int:
    """Copy a message into memory of the caller's.

    Parameters
    ----------
    frames
        A message, as `oobcodec.dumps` returns it.
    buffer
        Writable contiguous memory of `packed_size` bytes or more; to be read without copying it should be aligned to 64
        bytes.

    Returns
    -------
    int
        Bytes written, from the start of `buffer`.

    Raises
    ------
    HeaderError, TruncatedError
        The frames are not one whole message. Nothing is written.
    ValueError
        `buffer` is too small, read-only, or not contiguous. Nothing is written.
    """
    size = _whole_size(frames)
    try:
        target = flat(buffer)
    except BufferError as error:
        message = "the buffer is not contiguous: give memory in one piece"
        raise ValueError(message) from error
    if target.readonly:
        message = "the buffer is read-only"
        raise ValueError(message)
    if target.nbytes < size:
        message = f"the message packs into {size} bytes, the buffer has {target.nbytes}"
        raise ValueError(message)
    return copy_into(frames, target)


def copy_into(frames: Sequence[Buffer], memory: memoryview) -> int:
    """Copy the first frames of a message, or all of them, to where they lie in its packed form; return their end."""
    end = 0
    for frame in frames:
        view = flat(frame)
        start = end + padding(end)
        memory[end:start] = bytes(start - end)
        end = start + len(view)
        memory[start:end] = view
    return end


def _whole_size(frames: Sequence[Buffer]) -> int:
    size = packed_size(frames)
    declared = decode_prelude(flat(frames[0]) if frames else b"").packed_length
    if declared != size:
        raise not_whole(size, declared)
    return size


def not_whole(size: int, declared: int) -> HeaderError:
    """Return the error of frames that pack into another size than the first of them declares."""
    message = f"the frames pack into {size} bytes, the prelude says {declared}: they are not one whole message"
    return HeaderError(message)


def unpack(buffer: Buffer, *, limits: Limits | None = None, keyring: Keyring | None = None) -> list[memoryview]:
    """Return the frames of a packed message, as views of the memory it lies in.

    Parameters
    ----------
    buffer
        Contiguous memory that holds one packed message and nothing else.
    limits
        Larger messages are refused before their header is parsed.
    keyring
        What the message must be signed with, which is verified before its header is parsed. That the frames are what
        was signed is for `oobcodec.loads` to check.

    Raises
    ------
    TruncatedError
        The message is longer than the buffer.
    HeaderError
        It is shorter, or is no message.
    LimitError
        It is over a limit.
    AuthenticationError
        It is not signed by a key of `keyring`.
    IntegrityError
        It is signed or has checksums, and its header or the padding between its frames is not what was written.
    DecodeError
        The buffer is not contiguous, or is none.
    """
    memory = viewed(0, buffer)
    limits = UNLIMITED if limits is None else limits
    prelude = decode_prelude(memory)
    check_sizes(prelude, limits)
    if memory.nbytes != prelude.packed_length:
        if memory.nbytes < prelude.packed_length:
            message = f"the message has {prelude.packed_length} bytes, the buffer ends after {memory.nbytes}"
            raise TruncatedError(message)
        message = f"{memory.nbytes - prelude.packed_length} bytes follow a message of {prelude.packed_length}"
        raise HeaderError(message)
    size = prelude.first_length
    first = memory[:size]
    if keyring is not None:
        keyring.verify(first)
    header = read(first.tobytes(), limits)
    lengths = (size, *header.lengths)
    if header.digests is not None:
        check_padding(memory, lengths)
    return split(memory, lengths)


def split(memory: memoryview, lengths: Sequence[int]) -> list[memoryview]:
    """Return consecutive frames of the packed form as slices of `memory`, which starts where the first of them does."""
    slices = _slices_of_few(tuple(lengths)) if len(lengths) < _FEW else _slices(lengths)
    return [memory[each] for each in slices]


def _slices(lengths: Sequence[int]) -> list[slice]:
    return [slice(start, start + length) for start, length in zip(packed_offsets(lengths), lengths, strict=False)]


_slices_of_few = lru_cache(maxsize=1024)(_slices)


def viewed(index: int, frame: Buffer) -> memoryview:
    """Return a frame of a message as a flat view of its memory.

    Raises
    ------
    DecodeError
        It is no contiguous buffer.
    """
    try:
        return flat(frame)
    except (TypeError, BufferError, ValueError) as error:
        message = f"frame {index} is no contiguous buffer but {type(frame).__name__}: {error}"
        raise DecodeError(message) from error


def check_padding(memory: memoryview, lengths: Sequence[int], index: int = 0) -> None:
    """Check that zeros lie between frames: no digest covers that, and of some messages each bit counts.

    Parameters
    ----------
    memory
        Consecutive frames of the packed form, and the padding behind the last of them if it has any.
    lengths
        The bytes of each frame.
    index
        The number of the first of them in the message.

    Raises
    ------
    IntegrityError
        Something else lies there.
    """
    *starts, end = packed_offsets(lengths)
    ends = map(int.__add__, starts, lengths)
    for number, gap in enumerate(zip(ends, [*starts[1:], max(end, memory.nbytes)], strict=True), index):
        if any(memory[slice(*gap)]):
            message = f"the padding behind frame {number} is not zero: the message was damaged or changed"
            raise IntegrityError(message)
