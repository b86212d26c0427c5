"""Frames that travel compressed, where a sample says that it pays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from oobcodec import blosc, fill
from oobcodec import header as headers
from oobcodec.buffers import allocate, flat
from oobcodec.codings import Coding
from oobcodec.errors import DecodeError, EncodeError, LimitError, OobError
from oobcodec.limits import in_units
from oobcodec.registry import DEFAULT as REGISTRY
from oobcodec.sampling import PAYS, choose, element_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oobcodec.header import Header
    from oobcodec.limits import Budget
    from oobcodec.policy import Policy
    from oobcodec.sampling import Trial

    Decompress: TypeAlias = Callable[[memoryview, memoryview], object]
    Describe: TypeAlias = Callable[[memoryview], tuple[str, str]]

AUTO: Final = "auto"
SMALLEST: Final = 4096
"""Bytes from which a frame is looked at."""

SMALLEST_AUTO: Final = {True: 64 * 1024, False: 2 << 20}
"""The same for ``"auto"``, of text and the pickle stream and of buffers: a look takes 20 µs, and must not be felt."""

_WORTH_A_SECOND_LOOK: Final = 4 << 20

_LEVELS: Final = range(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How to compress the frames of a message.

    Parameters
    ----------
    codec
        ``"lz4"`` or ``"zstd"``, with the filter that leaves the least of a frame; ``"auto"``, whichever of them has it
        arrive first; or the tag of a codec that `oobcodec.register_codec` knows.
    level
        0 to 9, from fast to small. ``None``: 5 for LZ4 and 1 for Zstandard.
    threads
        Of a frame of 1 MiB or more. ``None``: one for each processor, and 8 at most.
    bandwidth
        Bytes a second that the way to the other side takes: the faster it is, the less ``"auto"`` compresses.

    Raises
    ------
    TypeError
        An option is of another type.
    ValueError
        There is no such codec, or a number is out of range.
    """

    codec: str = AUTO
    level: int | None = None
    threads: int | None = None
    bandwidth: float = 200e6

    def __post_init__(self) -> None:
        if not isinstance(self.codec, str):
            message = f"compression={self.codec!r} is neither the name of a codec nor an oobcodec.Compression"
            raise TypeError(message)
        for name, number in (("level", self.level), ("threads", self.threads)):
            if number is not None and type(number) is not int:
                message = f"{name}={number!r} is neither an int nor None"
                raise TypeError(message)
        if not isinstance(self.bandwidth, int | float):
            message = f"bandwidth={self.bandwidth!r} is neither an int nor a float"
            raise TypeError(message)
        known = (AUTO, *blosc.CODECS, *REGISTRY.registered_codecs())
        if self.codec not in known:
            message = f"compression={self.codec!r} is not known; there are {', '.join(known)}"
            raise ValueError(message)
        if self.level is not None and self.level not in _LEVELS:
            message = f"level={self.level!r} is not one of 0 to {_LEVELS[-1]}"
            raise ValueError(message)
        if self.threads is not None and self.threads < 1:
            message = f"threads={self.threads!r} is less than one"
            raise ValueError(message)
        if not self.bandwidth > 0:
            message = f"bandwidth={self.bandwidth!r} is not a number of bytes a second"
            raise ValueError(message)


_BY_NAME: Final = {codec: Compression(codec=codec) for codec in (AUTO, *blosc.CODECS)}


def resolved(compression: Compression | str) -> Compression:
    """Return options by their short form, the name of a codec.

    Raises
    ------
    TypeError
        It is neither.
    ValueError
        There is no such codec.
    """
    if isinstance(compression, Compression):
        return compression
    known = isinstance(compression, str) and _BY_NAME.get(compression)
    return known or Compression(codec=compression)


def compressed(frames: Sequence[memoryview], compression: Compression | str) -> list[memoryview]:
    """Return a message with those of its frames compressed where that pays.

    Raises
    ------
    EncodeError
        The package blosc2 is not installed.
    ValueError
        There is no such codec.
    """
    options = resolved(compression)
    header = headers.read(bytes(frames[0]))
    others = list(frames[1:])
    codecs: list[Coding | None] = [None] * len(others)
    for index, frame in enumerate(others):
        streamed = index < header.pickle_frames or header.tag == "str"
        if len(frame) < (SMALLEST_AUTO[streamed] if options.codec == AUTO else SMALLEST):
            continue
        thorough = streamed or options.codec != AUTO or len(frame) >= _WORTH_A_SECOND_LOOK
        found = _compressed(frame, 1 if streamed else element_size(frame), options, thorough=thorough)
        if found is not None:
            codecs[index] = Coding(found[0], len(frame))
            others[index] = flat(found[1])
    if not any(codecs):
        return [*frames]
    lengths = tuple(map(len, others))
    first = headers.encode(*header[:2], lengths, *header[3:5], codecs=tuple(codecs))
    return [memoryview(first), *others]


def _compressed(frame: memoryview, itemsize: int, options: Compression, *, thorough: bool) -> tuple[str, Any] | None:
    """Return the tag of a codec and what it has made of a frame, if that is worth it."""
    element = fill.compress(frame, itemsize if itemsize > 1 else 8)
    if element is not None:
        return fill.TAG, element
    most = int(len(frame) * PAYS)
    if options.codec not in (AUTO, *blosc.CODECS):
        data = REGISTRY.codec(options.codec).compress(frame, itemsize)
        return (options.codec, data) if data is not None and memoryview(data).nbytes <= most else None
    nthreads = (options.threads or blosc.threads()) if len(frame) >= blosc.THREADED else 1
    try:
        cost = partial(_seconds, options.bandwidth, nthreads) if options.codec == AUTO else attrgetter("part")
        way = choose(frame, itemsize, _levels(options), cost, thorough=thorough)
        data = None if way is None else blosc.compress(frame, way, nthreads, most)
    except ImportError as error:
        message = f"no compression: {error}"
        raise EncodeError(message) from error
    return None if data is None else (blosc.TAG, data)


def _levels(options: Compression) -> dict[str, int]:
    """Return the codecs to choose from, with the level of each."""
    codecs = blosc.CODECS if options.codec == AUTO else [options.codec]
    return {codec: blosc.CODECS[codec][1] if options.level is None else options.level for codec in codecs}


def _seconds(bandwidth: float, nthreads: int, trial: Trial) -> float:
    """Return how long a byte takes to be on the other side; infinity if it is there earlier as it is."""
    seconds = trial.seconds / nthreads + trial.part / bandwidth
    return inf if seconds > 1 / bandwidth else seconds


def expanded(header: Header, views: Sequence[memoryview], policy: Policy, budget: Budget) -> list[memoryview]:
    """Return the frames of a message behind the first as they were before they were compressed.

    Parameters
    ----------
    header
        What the first one says.
    views
        The others, as long as that says; or those that are wanted of them, from the first on.
    policy
        Codecs other than those of oobcodec are asked only if it allows their tags.
    budget
        Asked before any memory is set aside.

    Raises
    ------
    LimitError
        They are more than the limits, or the memory of this process, allow.
    PolicyError
        The policy refuses a codec.
    DecodeError
        A frame is not what its codec writes, or has another length inside, or the codec is not known here.
    """
    if header.codecs is None:
        return [*views]
    codecs = header.codecs[: len(views)]
    budget.expand(sum(map(len, views)), sum(header.sizes[: len(views)]))
    ways = [None if coding is None else _decoder(index, coding.tag, policy) for index, coding in enumerate(codecs, 1)]
    return [
        view if coding is None or way is None else _expanded(index, view, coding, way)
        for index, (view, coding, way) in enumerate(zip(views, codecs, ways, strict=True), 1)
    ]


_BUILT_IN: Final[dict[str, tuple[Decompress, Describe]]] = {
    blosc.TAG: (blosc.decompress, blosc.describe),
    fill.TAG: (fill.decompress, fill.describe),
}


def _decoder(index: int, tag: str, policy: Policy) -> Decompress:
    if tag in _BUILT_IN:
        return _BUILT_IN[tag][0]
    policy.check_tag("codec", tag)
    try:
        return REGISTRY.codec(tag).decompress
    except DecodeError as error:
        message = f"frame {index} is compressed: {error}"
        raise DecodeError(message) from error


def _expanded(index: int, frame: memoryview, coding: Coding, decompress: Decompress) -> memoryview:
    try:
        memory = allocate(coding.nbytes)
    except (MemoryError, OverflowError) as error:
        message = (
            f"frame {index} declares {in_units(coding.nbytes)} when decompressed, more memory than this process can "
            "get. Refuse such messages at their first bytes with Limits(max_decompressed_bytes=...)."
        )
        raise LimitError(message) from error
    try:
        decompress(frame, memory)
    except ImportError as error:
        message = f"frame {index} is compressed with {coding.tag!r}: {error}"
        raise DecodeError(message) from error
    except Exception as error:
        kind = "" if isinstance(error, OobError) else f"{type(error).__name__}: "
        message = f"frame {index} is not what the codec {coding.tag!r} writes: {kind}{error}"
        raise DecodeError(message) from error
    return memory


def described(frame: memoryview, coding: Coding | None) -> tuple[str | None, str | None, float | None]:
    """Return the names of codec and filter of a frame, and how many times its bytes it has when decompressed."""
    if coding is None:
        return None, None, None
    try:
        names = _BUILT_IN[coding.tag][1](frame)
    except (KeyError, DecodeError):
        names = coding.tag, "?"
    return *names, round(coding.nbytes / max(len(frame), 1), 2)
