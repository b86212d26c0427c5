"""The codec ``blosc2``: chunks of a buffer, each a filter that knows the size of its elements and LZ4 or Zstandard.

The frame is one chunk of Blosc2 (https://github.com/Blosc/c-blosc2/blob/main/README_CHUNK_FORMAT.rst) behind the other,
each of 2 MiB of the buffer but the last. Of all that this format knows only what is written here is read.
"""

from __future__ import annotations

import os
from importlib import import_module
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oobcodec.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from types import ModuleType

TAG: Final = "blosc2"
CHUNK: Final = 2 << 20
"""Bytes of the buffer in a chunk: of 512 KiB to 64 MiB, 2 and 4 were the fastest."""

THREADED: Final = 1 << 20
"""Bytes from which a chunk is worth a second thread, which is started and ended with each."""

_BLOCK: Final = CHUNK // 2
"""Bytes that are compressed as one, by a thread each: the more, the more comes again.

The library's own choice, 0, is smaller, and better where LZ4 follows a filter: it looks back over 64 KiB, beyond which
a block of this size has put the bytes that are like each other.
"""

_MOST_THREADS: Final = 8

CODECS: Final = {"lz4": (1, 5), "zstd": (5, 1)}
"""Number in the library and default level."""

FILTERS: Final = {"none": (0,), "shuffle": (1,), "bitshuffle": (2,), "bytedelta": (1, 35)}
"""Numbers in the library; bytedelta is the difference of neighbours, after the shuffle."""

LARGEST_ITEM: Final = 255

_HEADER: Final = Struct("<BBBBIII6sBB6sBB")
_VERSIONS: Final = (5, 1)
_EXTENDED: Final = 0x05
_STORED: Final = 0x02
_KINDS: Final = {1: "lz4", 4: "zstd"}
"""What decompresses, in the last three bits of the flags."""

_ZEROS: Final = 0x10
_SLOTS: Final = 6
_PIPELINES: Final = {bytes(numbers).ljust(_SLOTS, b"\0"): name for name, numbers in FILTERS.items()}


class Way(NamedTuple):
    """How to compress a buffer."""

    codec: str
    filter: str
    itemsize: int
    level: int


class _Chunk(NamedTuple):
    """The header of a chunk."""

    version: int
    lz_version: int
    flags: int
    itemsize: int
    nbytes: int
    block: int
    length: int
    filters: bytes
    user_codec: int
    codec_meta: int
    filters_meta: bytes
    more_flags: int
    special: int

    @property
    def codec(self) -> str:
        return _KINDS.get(self.flags >> 5, "")

    @property
    def filter(self) -> str:
        return _PIPELINES.get(self.filters, "")

    def is_known(self) -> bool:
        """Tell whether the chunk is of a form that `compress` writes.

        Others have the library read files, call plug-ins, use dictionaries, or trust a size that nobody has checked.
        """
        metas = [0, self.itemsize] if self.filter == "bytedelta" else []
        if self.flags & _STORED:
            length = _HEADER.size + self.nbytes
        elif self.special:
            length = _HEADER.size
        else:
            length = max(self.length, _HEADER.size + 4 * -(-self.nbytes // max(self.block, 1)))
        return (
            (self.version, self.lz_version) == _VERSIONS
            and self.flags & _EXTENDED == _EXTENDED
            and "" not in {self.codec, self.filter}
            and bytes(metas).ljust(_SLOTS, b"\0") == self.filters_meta
            and self.codec_meta == self.more_flags == 0
            and self.special in {0, _ZEROS}
            and self.itemsize > 0
            and 0 < self.block <= self.nbytes
            and self.length == length
        )


def library() -> ModuleType:
    """Return the package blosc2.

    Raises
    ------
    ImportError
        It is not installed; the text says how to install it.
    """
    try:
        # Not at import: few processes need it, and it takes half a second.
        return import_module("blosc2")
    except ImportError as error:
        message = 'it needs the package blosc2, which is not installed: pip install "oobcodec[compression]"'
        raise ImportError(message) from error


def threads() -> int:
    """Return how many threads a chunk is worth."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _MOST_THREADS)


def settings(way: Way) -> dict[str, Any]:
    """Return what the library wants to be told."""
    return {
        "codec": CODECS[way.codec][0],
        "clevel": way.level,
        "typesize": way.itemsize,
        "filters": FILTERS[way.filter],
        "blocksize": 0 if way.codec == "lz4" and way.filter != "none" else _BLOCK,
    }


def compress(frame: memoryview, way: Way, nthreads: int, most: int) -> bytes | None:
    """Return a buffer as chunks, or None as soon as they are more than `most` bytes.

    Raises
    ------
    EncodeError
        The library does not do what it is told.
    """
    compress2, options = library().compress2, settings(way)
    chunks = []
    for start in range(0, len(frame), CHUNK):
        part = frame[start : start + CHUNK]
        chunk = compress2(part, **options, nthreads=nthreads if len(part) >= THREADED else 1)
        if not _Chunk(*_HEADER.unpack_from(chunk)).is_known():
            message = f"blosc2 has not compressed with {way.codec} and {way.filter}: unset its variables BLOSC_..."
            raise EncodeError(message)
        most -= len(chunk)
        if most < 0:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def decompress(frame: memoryview, memory: memoryview) -> None:
    """Decompress chunks straight into where their bytes belong.

    Raises
    ------
    ImportError
        The package blosc2 is not installed.
    DecodeError
        The frame is not just these chunks, of the form that `compress` writes.
    """
    decompress2, nthreads = library().decompress2, threads()
    for start in range(0, len(memory), CHUNK):
        part = memory[start : start + CHUNK]
        # Checked before the library sees it, which writes what the chunk says and not what there is room for.
        chunk = _read(frame, len(part))
        if chunk.nbytes != len(part):
            message = f"a chunk holds {chunk.nbytes:,} bytes instead of {len(part):,}"
            raise DecodeError(message)
        try:
            decompress2(frame[: chunk.length], part, nthreads=nthreads if len(part) >= THREADED else 1)
        except (ValueError, RuntimeError) as error:
            message = f"a chunk cannot be decompressed: {error}"
            raise DecodeError(message) from error
        frame = frame[chunk.length :]
    if frame:
        message = f"{len(frame):,} bytes follow its chunks"
        raise DecodeError(message)


def describe(frame: memoryview) -> tuple[str, str]:
    """Return the names of the codec and of the filter that a frame begins with."""
    chunk = _read(frame, CHUNK)
    return chunk.codec, chunk.filter if chunk.filter == "none" else f"{chunk.filter} of {chunk.itemsize}"


def _read(frame: memoryview, size: int) -> _Chunk:
    """Return what the chunk says that a frame begins with; `size` is how many bytes there is room for."""
    if len(frame) < _HEADER.size:
        message = f"{len(frame)} bytes are no chunk"
        raise DecodeError(message)
    chunk = _Chunk(*_HEADER.unpack_from(frame))
    if not chunk.is_known() or chunk.nbytes > size or chunk.length > len(frame):
        message = "a chunk is damaged, or of a form of Blosc2 that oobcodec does not write"
        raise DecodeError(message)
    return chunk
