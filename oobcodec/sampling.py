"""Which codec and filter suit a buffer: what a sample of it says."""

from __future__ import annotations

from itertools import product
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oobcodec.blosc import FILTERS, LARGEST_ITEM, Way, library, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAYS: Final = 0.92
"""Part of its bytes that a buffer must become at most: less is not worth the work of two sides."""

_LOOK: Final = 8 * 1024
_PART: Final = 64
_LEAST: Final = 32 * 1024
_MOST: Final = 64 * 1024
"""Bytes of a sample: at first few, then a 64th of the buffer."""

_PIECES: Final = 8
_UNKNOWN: Final = (8, 4, 2)
"""Sizes that elements may have if their owner exports bytes, as Arrow does."""


_NANOSECONDS: Final = {
    ("lz4", "none"): (1.5, 0.0),
    ("lz4", "shuffle"): (0.5, 1.0),
    ("lz4", "bitshuffle"): (0.9, 0.0),
    ("lz4", "bytedelta"): (0.7, 1.0),
    ("zstd", "none"): (4.3, 0.0),
    ("zstd", "shuffle"): (0.5, 2.5),
    ("zstd", "bitshuffle"): (1.2, 1.2),
    ("zstd", "bytedelta"): (0.8, 2.5),
}
"""What a byte takes to be compressed and decompressed by one thread, and more for each byte that is left.

Measured once, on the data sets of the benchmark: a clock that is looked at for each buffer says more about what else
the machine does, and has the same data travel now so and now so.
"""


class Trial(NamedTuple):
    """What a way to compress has made of a sample: the part that is left."""

    part: float
    way: Way

    @property
    def seconds(self) -> float:
        """What a byte is likely to take one thread, on both sides together."""
        once, left = _NANOSECONDS[self.way.codec, self.way.filter]
        return (once + left * self.part) / 1e9


def element_size(frame: memoryview) -> int:
    """Return the bytes of an element of whoever exports a frame; 1 where nobody says."""
    exporter: Any = frame.obj
    owners = getattr(exporter, "owners", None)  # of a `buffers.span`
    if owners:
        exporter = owners[0].obj
    try:
        itemsize = memoryview(exporter).itemsize
    except (TypeError, ValueError, BufferError):
        return 1
    return itemsize if 0 < itemsize <= LARGEST_ITEM else 1


def choose(
    frame: memoryview, itemsize: int, levels: Mapping[str, int], cost: Callable[[Trial], float], *, thorough: bool
) -> Way | None:
    """Return the way to compress a buffer that costs least, or None if none pays.

    Parameters
    ----------
    frame
        The buffer.
    itemsize
        Bytes of its elements; 1 if they are unknown.
    levels
        The codecs to choose from, and the level of each.
    cost
        Of a trial; infinity where it would be better to let the buffer be.
    thorough
        Take a second look at what seems not to be compressible.
    """
    size = itemsize if itemsize > 1 else _UNKNOWN[0]
    # All that most data gets which cannot be compressed; what only repeats itself at a distance shows in more of it.
    look = _tried(_sample(frame, size, _LOOK), "bitshuffle", size)
    if look.part > PAYS and not thorough:
        return None
    sample = _sample(frame, itemsize, min(max(len(frame) // _PART, _LEAST), _MOST))
    # Zstandard, which is the last, finds something in text of which nothing comes again.
    if look.part > PAYS and _tried(sample, "none", 1, *[*levels.items()][-1]).part > PAYS:
        return None
    if itemsize == 1:
        guess = min([_tried(sample, "shuffle", size) for size in _UNKNOWN], key=attrgetter("part"))
        itemsize = guess.way.itemsize if guess.part < min(look.part, _tried(sample, "none", 1).part) else 1
    names = FILTERS if itemsize > 1 else ("none", "bitshuffle")
    best = min([_tried(sample, name, itemsize, *way) for name, way in product(names, levels.items())], key=cost)
    return best.way if best.part <= PAYS and cost(best) < inf else None


def _tried(sample: bytes, name: str, itemsize: int, codec: str = "lz4", level: int = 1) -> Trial:
    way = Way(codec, name, itemsize, level)
    return Trial(len(library().compress2(sample, **settings(way), nthreads=1)) / len(sample), way)


def _sample(frame: memoryview, itemsize: int, nbytes: int) -> bytes:
    """Return so many bytes of a buffer or somewhat less, in pieces of whole elements from all over it."""
    size = nbytes // _PIECES // itemsize * itemsize or itemsize
    if len(frame) < _PIECES * size:
        return frame.tobytes()
    step = (len(frame) - size) // (_PIECES - 1) // itemsize * itemsize
    return b"".join([frame[start : start + size] for start in range(0, _PIECES * step, step)])
