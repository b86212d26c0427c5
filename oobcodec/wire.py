"""A message as a stream of bytes: the packed form, sent in pieces and received into its final place.

Nothing here does input or output, and nothing here knows what a message means.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from oobcodec import buffers
from oobcodec.buffers import ALIGNMENT, OWN_ALLOCATION, flat, padding
from oobcodec.errors import LimitError, PoisonedError, TruncatedError
from oobcodec.header import PRELUDE_SIZE, check_sizes, decode_prelude, packed_offsets, read
from oobcodec.limits import SIGNED, UNLIMITED, in_units
from oobcodec.packed import check_padding, not_whole, split

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from oobcodec.auth import Keyring, Session
    from oobcodec.buffers import Buffer
    from oobcodec.header import Header, Prelude
    from oobcodec.limits import Limits

    T = TypeVar("T")
    Allocate: TypeAlias = Callable[[int, int, Header, Sequence[memoryview]], Buffer | None]
    Verify: TypeAlias = Callable[[memoryview], object]
    Steps: TypeAlias = Generator[memoryview, None, T]

SMALL_MESSAGE: Final = 64 * 1024
"""Bytes of the packed form up to which a message is received into one piece of memory, by two reads."""

ARENA: Final = 1 << 20
"""Bytes up to which consecutive small frames share memory; also how far the memory for a header runs ahead of it."""

_GAPS: Final = [memoryview(bytes(length)) for length in range(ALIGNMENT)]


def parts(frames: Sequence[Buffer]) -> list[memoryview]:
    """Return the packed form of a message in pieces, ready for scatter-gather output.

    Parameters
    ----------
    frames
        A message, as `oobcodec.dumps` returns it.

    Returns
    -------
    list of memoryview
        The frames themselves, with zeros between them; none is empty.

    Raises
    ------
    HeaderError
        The frames are not one whole message: the receiver would lose its place in the stream.
    """
    pieces = []
    end = 0
    for frame in frames:
        view = flat(frame)
        size = len(view)
        gap = -end % ALIGNMENT
        if gap:
            pieces.append(_GAPS[gap])
        if size:
            pieces.append(view)
        end += gap + size
    declared = decode_prelude(pieces[0] if pieces else b"").packed_length
    if declared != end:
        raise not_whole(end, declared)
    return pieces


@dataclass(slots=True)
class _Progress:
    """What is known of the message that is being received."""

    expected: int | None = None
    starts: Sequence[int] = (0,)
    """Offsets of the frames, as far as they are known; none while a small message arrives as a whole."""


class Receiver:
    """Messages from a stream of bytes, into memory that nothing has to be copied out of.

    Lend memory with `get_buffer`, fill some of it, say how much with `advance`. What is lent never reaches beyond the
    end of the message. A small message takes two fills; in a larger one each frame of 64 KiB or more has memory of its
    own, and smaller ones share at most 1 MiB. Every frame but the first starts at a multiple of 64 bytes.

    However much a message declares, no more is set aside ahead of the bytes that arrive than 1 MiB or one frame, and
    the pages of a large frame cost nothing until they are filled.

    Parameters
    ----------
    limits
        Larger messages are refused as soon as the number is known. With `keyring` or `session` a header has at most
        8 MiB, unless they say something else about it.
    allocate
        Called as ``allocate(index, nbytes, header, frames)`` for the memory of each buffer frame: the frame's index in
        the message, its length in bytes, the decoded `oobcodec.header.Header`, and the frames before it, which have
        arrived. Returns writable contiguous memory of exactly that size (pinned, pooled, an array that is there
        already), or ``None`` for the default. Frames of less than 64 KiB arrive with their neighbours, and are copied
        into it.
    keyring
        What messages must be signed with. It is verified with the first frame alone: nothing of the header is parsed,
        and no memory set aside for the other frames, before. That these are what was signed is for `oobcodec.loads` to
        check, with the same keyring.
    session
        The connection that messages must belong to, in their order there. Instead of `keyring`, of which it has one.

    Attributes
    ----------
    received : int
        Bytes of the current message that have arrived.
    """

    __slots__ = ("_allocate", "_free", "_limits", "_progress", "_steps", "_verify", "received")

    def __init__(
        self,
        *,
        limits: Limits = UNLIMITED,
        allocate: Allocate | None = None,
        keyring: Keyring | None = None,
        session: Session | None = None,
    ) -> None:
        self._verify = session.open_first if session is not None else keyring.verify if keyring is not None else None
        self._limits = limits if self._verify is None else limits.over(SIGNED)
        self._allocate = allocate
        self._begin()

    def _begin(self) -> None:
        self.received = 0
        self._progress = _Progress()
        self._steps = _steps(self._progress, self._limits, self._allocate, self._verify)
        self._free = next(self._steps)

    @property
    def expected(self) -> int | None:
        """Bytes of the current message, or ``None`` until its first 24 bytes are there."""
        return self._progress.expected

    @property
    def started(self) -> bool:
        """Whether the stream is inside a message."""
        return self.received > 0

    def get_buffer(self) -> memoryview:
        """Lend writable memory for the next bytes of the stream.

        Returns
        -------
        memoryview
            Never empty. At the start of a message it is all zero, which no message begins with.

        Raises
        ------
        PoisonedError
            An error has left the stream inside a message.
        """
        if not self._free:
            message = f"an earlier error left this stream inside a message, {self.describe()}; close it"
            raise PoisonedError(message)
        return self._free

    def advance(self, nbytes: int) -> list[memoryview] | None:
        """Take the next `nbytes` bytes of the stream, which the lent memory begins with now.

        Returns
        -------
        list of memoryview, or None
            The frames if this completes a message; the next bytes begin another one.

        Raises
        ------
        HeaderError
            The bytes are not a message of a format that this version reads.
        LimitError
            The message declares more than the limits, or the memory of this process, allow.
        AuthenticationError
            It is not signed by a key of the keyring, or it is not the next one of the session.
        IntegrityError
            It is signed or has checksums, and its header or the padding between its frames is not what was sent.
        TypeError, ValueError
            `allocate` returned something else than memory of the right size; or `nbytes` is not what was lent.
        PoisonedError
            An earlier error has left the stream inside a message.
        """
        lent = self.get_buffer()
        if not 0 <= nbytes <= len(lent):
            message = f"advanced by {nbytes} bytes, {len(lent)} were lent"
            raise ValueError(message)
        self.received += nbytes
        # Empty while the next step may fail: that is how `get_buffer` knows that one did.
        self._free = lent[nbytes:]
        if self._free:
            return None
        try:
            self._free = next(self._steps)
        except StopIteration as stop:
            frames: list[memoryview] = stop.value
            self._begin()
            return frames
        return None

    def end(self) -> None:
        """Say that the stream has ended.

        Raises
        ------
        EOFError
            Between two messages, which is where a stream should end.
        TruncatedError
            Inside a message.
        """
        if not self.started:
            message = "the stream ended, after the last message"
            raise EOFError(message)
        starts = self._progress.starts
        where = f", in frame {bisect_right(starts, self.received) - 1}" if starts else ""
        message = f"the stream ended inside a message: {self.describe()}{where}"
        raise TruncatedError(message)

    def describe(self) -> str:
        """Return how much of the current message has arrived, in words."""
        if self.expected is None:
            return f"{self.received} bytes received"
        return f"{self.received:,} of {self.expected:,} bytes received"


def _steps(
    progress: _Progress, limits: Limits, allocate: Allocate | None, verify: Verify | None
) -> Steps[list[memoryview]]:
    """Yield the memory for each piece of a message in turn, to be filled before the next; return the frames.

    Not a method: a generator that refers to its receiver would keep the memory of an unfinished message until the
    garbage collector runs.
    """
    start = memoryview(bytearray(PRELUDE_SIZE))
    yield start
    prelude = decode_prelude(start)
    check_sizes(prelude, limits)
    progress.expected = prelude.packed_length
    if prelude.packed_length <= SMALL_MESSAGE and verify is None:
        progress.starts = ()
        memory = _memory(0, prelude.packed_length)
        memory[:PRELUDE_SIZE] = start
        yield from _fill(memory[PRELUDE_SIZE:])
        header = read(memory[: prelude.first_length].tobytes(), limits)
        lengths = (prelude.first_length, *header.lengths)
        if header.digests is not None:
            check_padding(memory, lengths)
        first, *others = split(memory, lengths)
        frames = [first]
        _settle(others, frames, header, allocate)
        return frames

    memory = yield from _first_frame(start, prelude)
    first = memory[: prelude.first_length]
    if verify is not None:
        verify(first)
    header = read(first.tobytes(), limits)
    if header.digests is not None:
        check_padding(memory, (prelude.first_length,))
    progress.starts = packed_offsets((prelude.first_length, *header.lengths))
    frames = [first]
    yield from _other_frames(progress.starts, frames, header, allocate)
    return frames


def _other_frames(
    offsets: Sequence[int], frames: list[memoryview], header: Header, allocate: Allocate | None
) -> Iterator[memoryview]:
    """Receive the frames behind the first, each into memory of its own or with small neighbours."""
    lengths = (offsets[0], *header.lengths)
    for index, stop in _runs(lengths, offsets):
        nbytes = offsets[stop] - offsets[index]
        large = lengths[index] >= OWN_ALLOCATION
        own = _callers(lengths[index], frames, header, allocate) if large else None
        if own is None:
            # With room for the padding, which then needs no read of its own.
            memory = _memory(index, nbytes)
            yield from _fill(memory)
            inside = lengths[index:stop]
            _settle(split(memory, inside), frames, header, None if large else allocate)
        else:
            yield own
            memory, inside = memoryview(bytearray(nbytes - own.nbytes)), (0,)
            yield from _fill(memory)
            frames.append(own)
        if header.digests is not None:
            check_padding(memory, inside, index)


def _first_frame(start: memoryview, prelude: Prelude) -> Steps[memoryview]:
    """Receive the rest of ``frames[0]``, and the padding behind it."""
    pieces = [start]
    missing = min(prelude.first_length + padding(prelude.first_length), prelude.packed_length) - len(start)
    while missing:
        # Its length may be a lie: no more is set aside ahead of the bytes than a piece.
        piece = memoryview(bytearray(min(missing, ARENA)))
        yield piece
        pieces.append(piece)
        missing -= len(piece)
    return memoryview(b"".join(pieces))


def _fill(memory: memoryview) -> Iterator[memoryview]:
    if memory:
        yield memory


def _runs(lengths: Sequence[int], offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Group the frames behind the first (from, to): a large one by itself, neighbouring small ones up to an arena."""
    index = 1
    while index < len(lengths):
        stop = index + 1
        if lengths[index] < OWN_ALLOCATION:
            while (
                stop < len(lengths) and lengths[stop] < OWN_ALLOCATION and offsets[stop + 1] - offsets[index] <= ARENA
            ):
                stop += 1
        yield index, stop
        index = stop


def _memory(index: int, nbytes: int) -> memoryview:
    try:
        return buffers.allocate(nbytes)
    except MemoryError as error:
        message = (
            f"frame {index} declares {in_units(nbytes)}, more memory than this process can get. "
            "Refuse such messages at their first bytes with Limits(max_total_bytes=...)."
        )
        raise LimitError(message) from error


def _settle(arrived: Sequence[memoryview], frames: list[memoryview], header: Header, allocate: Allocate | None) -> None:
    """Add frames that have arrived to those before them, where the caller wants them."""
    if allocate is None:
        frames.extend(arrived)
        return
    for frame in arrived:
        own = _callers(frame.nbytes, frames, header, allocate)
        if own is not None:
            own[:] = frame
        frames.append(frame if own is None else own)


def _callers(nbytes: int, frames: list[memoryview], header: Header, allocate: Allocate | None) -> memoryview | None:
    """Return the memory that the caller wants the frame behind some others in, if it wants any."""
    index = len(frames)
    memory = None
    plain = header.codecs is None or header.codecs[index - 1] is None
    if allocate is not None and index > header.pickle_frames and plain:
        memory = allocate(index, nbytes, header, frames)
    if memory is None:
        return None
    try:
        view = flat(memory)
    except TypeError as error:
        message = f"allocate returned {type(memory).__name__!r} for frame {index}, neither a buffer nor None"
        raise TypeError(message) from error
    except BufferError as error:
        message = f"allocate returned memory for frame {index} that is not contiguous"
        raise ValueError(message) from error
    if view.readonly:
        message = f"allocate returned read-only memory for frame {index}"
        raise ValueError(message)
    if view.nbytes != nbytes:
        message = f"allocate returned {view.nbytes:,} bytes for frame {index} of {nbytes:,}"
        raise ValueError(message)
    return view
