"""The packed form: a message as one piece of memory, the same on a socket, in a file and in shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oobcodec.buffers import allocate, flat
from oobcodec.errors import HeaderError, IntegrityError, TruncatedError
from oobcodec.header import check_sizes, decode_prelude, packed_offsets, read
from oobcodec.limits import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.limits import Limits


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
    """
    memory = allocate(packed_size(frames))
    _copy(frames, memory)
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
    ValueError
        `buffer` is too small, or read-only. Nothing is written.
    """
    target = flat(buffer)
    size = packed_size(frames)
    if target.readonly:
        message = "the buffer is read-only"
        raise ValueError(message)
    if target.nbytes < size:
        message = f"the message packs into {size} bytes, the buffer has {target.nbytes}"
        raise ValueError(message)
    _copy(frames, target)
    return size


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
    """
    memory = flat(buffer)
    limits = UNLIMITED if limits is None else limits
    prelude = decode_prelude(memory)
    check_sizes(prelude, limits)
    if memory.nbytes != prelude.packed_length:
        if memory.nbytes < prelude.packed_length:
            message = f"the message has {prelude.packed_length} bytes, the buffer ends after {memory.nbytes}"
            raise TruncatedError(message)
        message = f"{memory.nbytes - prelude.packed_length} bytes follow a message of {prelude.packed_length}"
        raise HeaderError(message)
    first = memory[: prelude.first_length]
    if keyring is not None:
        keyring.verify(first)
    header = read(first.tobytes(), limits)
    lengths = (prelude.first_length, *header.lengths)
    if header.digests is not None:
        check_padding(memory, lengths)
    return [first, *split(memory, lengths)[1:]]


def split(memory: memoryview, lengths: Sequence[int]) -> list[memoryview]:
    """Return consecutive frames of the packed form as slices of `memory`, which starts where the first of them does."""
    offsets = packed_offsets(lengths)
    return [memory[offset : offset + length] for offset, length in zip(offsets, lengths, strict=False)]


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


def _copy(frames: Sequence[Buffer], memory: memoryview) -> None:
    end = 0
    for frame, offset in zip(frames, packed_offsets(memoryview(frame).nbytes for frame in frames), strict=False):
        view = flat(frame)
        memory[end:offset] = bytes(offset - end)
        end = offset + view.nbytes
        memory[offset:end] = view
