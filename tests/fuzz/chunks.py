"""Mutants of compressed frames, decompressed in this process: ``python -m fuzz.chunks SEED COUNT``.

Half of them say in their headers what is true of the rest, so that they get past the checks and into the library. What
crashes it ends this process; what it writes beyond its memory is found behind that.
"""

from __future__ import annotations

import struct
import sys
from itertools import product
from random import Random

import numpy as np

from oobcodec import blosc, fill
from oobcodec.errors import DecodeError

GUARD = 4096
SIZES = (4096, 5001, 70_000, 300_000)
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 31, 32, 33, 127, 128, 255, 256, 4096, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1)
HEADER = 32
BLOCKS = 8
"""Numbers behind the header that say where blocks start, or how long they are."""


def frames(seed: int) -> list[tuple[bytes, int, object]]:
    """Return what is compressed in each way, with the bytes that it had and what decompresses it."""
    rng = np.random.default_rng(seed)
    found = []
    for size, (codec, (_, level)), name, itemsize in product(SIZES, blosc.CODECS.items(), blosc.FILTERS, (1, 3, 8)):
        steps = rng.integers(0, 9, size // 8 + 1).cumsum() if size % 2 == 0 else np.repeat(rng.bytes(size // 50), 50)
        data = memoryview(np.ascontiguousarray(steps).tobytes()[:size].ljust(size, b"a"))
        frame = blosc.compress(data, blosc.Way(codec, name, itemsize, level), 1, 2 * size)
        found.append((frame, size, blosc.decompress))
    zeros = blosc.compress(memoryview(bytes(5000)), blosc.Way("lz4", "shuffle", 8, 5), 1, 5000)
    return [*found, (zeros, 5000, blosc.decompress), (b"abcd", 5000, fill.decompress)]


def mutant(frame: bytes, rng: Random) -> bytes:
    """Return a frame with something else in it."""
    data = bytearray(frame)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(data)) if rng.random() < 0.6 else rng.randrange(min(len(data), HEADER + 4 * BLOCKS))
        chance = rng.random()
        if chance < 0.4:
            data[at] ^= 1 << rng.randrange(8)
        elif chance < 0.6:
            data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif chance < 0.8 and len(data) > at + 4:
            at = at // 4 * 4
            number = struct.unpack_from("<I", data, at)[0] + rng.choice((-1, 1)) if rng.random() < 0.5 else -1
            struct.pack_into("<I", data, at, number if 0 <= number < 2**32 else rng.choice(NUMBERS))
        elif chance < 0.9:
            del data[at : at + rng.choice((1, 4, 100, len(data) - at or 1))]
        else:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 50)))
        if not data:
            return b""
    if rng.random() < 0.5 and len(data) > HEADER:
        data[:12] = frame[:12]
        data[12:16] = len(data).to_bytes(4, "little")
        data[16:HEADER] = frame[16:HEADER]
    return bytes(data)


def main(seed: int, count: int) -> None:
    rng = Random(seed)
    whole = frames(seed)
    taken = 0
    for _ in range(count):
        frame, size, decompress = rng.choice(whole)
        memory = memoryview(bytearray(size + GUARD))
        try:
            decompress(memoryview(mutant(frame, rng)), memory[:size])
        except DecodeError:
            pass
        else:
            taken += 1
        if any(memory[size:]):
            sys.exit("written beyond the memory")
    print(taken)  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
