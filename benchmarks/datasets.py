"""Data of the shapes that travel, made from a seed: what compression is measured on.

Where a choice had to be made, it is the one that is harder to compress: neighbours are independent of each other if
nothing in what the data stands for ties them together, and measurements have noise down to their last bit.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NBYTES = 32 << 20
WORDS = 20_000
PHRASES = 200_000
LETTERS = "etaoinshrdlcumwfgypbvk"
"""Of English, the most frequent first."""

BFLOAT16 = "model weights, bfloat16"
"""Which takes torch."""


def make(scale: int) -> Iterator[tuple[str, Any]]:
    """Yield the name of each data set and an object of 32 MiB, divided by `scale`."""
    for name, create in DATA.items():
        if name != BFLOAT16 or find_spec("torch"):
            yield name, create(np.random.default_rng(6), NBYTES // scale)


def noise(nbytes: int) -> Any:
    """Return random bytes, of which nothing can be saved."""
    return np.frombuffer(np.random.default_rng(6).bytes(nbytes), np.uint8)


def _timestamps(generator: Any, nbytes: int) -> Any:
    """Return the seconds, since 1970, in which events fell that do not wait for each other, one in 5 s on average."""
    times = 1_700_000_000 + np.cumsum(generator.exponential(5, nbytes // 8))
    return times.astype(np.int64)


def _ids(generator: Any, nbytes: int) -> Any:
    """Return the keys of those rows of a table that a query has kept: any one in 10, with the same probability."""
    return 100_000_000 + np.cumsum(generator.geometric(0.1, nbytes // 8))


def _small_ints(generator: Any, nbytes: int) -> Any:
    """Return integers from 0 to 100, each as frequent as any other, in the type that Python's become."""
    return generator.integers(0, 101, nbytes // 8)


def _codes(generator: Any, nbytes: int) -> Any:
    """Return codes of 1,000 categories as pandas and Arrow have them, whose frequencies follow Zipf's law."""
    return generator.choice(1000, nbytes // 2, p=_zipf(1000)).astype(np.int16)


def _prices(generator: Any, nbytes: int) -> Any:
    """Return a price from trade to trade: a random walk, of 2 basis points a step, in whole cents."""
    return np.round(100 * np.exp(np.cumsum(generator.normal(0, 2e-4, nbytes // 8))), 2)


def _sensor(generator: Any, nbytes: int) -> Any:
    """Return what an accelerometer on a motor says, at 10 kHz: a hum, an overtone, a slow drift, and 2 % of noise."""
    seconds = np.arange(nbytes // 4) / 10_000
    turns = 2 * np.pi * seconds
    signal = np.sin(50 * turns) + 0.3 * np.sin(120 * turns) + 0.5 * np.sin(turns / 60)
    return (signal + generator.normal(0, 0.02, seconds.size)).astype(np.float32)


def _text(generator: Any, nbytes: int) -> Any:
    """Return phrases in a row, of words that are the shorter the more frequent they are; both follow Zipf's law.

    LZ4 makes of it about what it makes of English, 1.7 times less.
    """
    lengths = 1 + generator.poisson(np.log2(np.arange(WORDS) + 2) / 2)
    letters = generator.choice([*LETTERS], (WORDS, lengths.max()), p=_zipf(len(LETTERS), 5))
    words = ["".join(row[:length]) for row, length in zip(letters, lengths, strict=True)]
    ends = np.cumsum(1 + generator.poisson(2, PHRASES))
    picks = [words[rank] for rank in generator.choice(WORDS, ends[-1], p=_zipf(WORDS)).tolist()]
    phrases = [" ".join(picks[start:end]) for start, end in pairwise([0, *ends.tolist()])]
    ranks = generator.choice(PHRASES, nbytes // 8, p=_zipf(PHRASES)).tolist()
    return " ".join([phrases[rank] for rank in ranks]).encode()[:nbytes]


def _weights(generator: Any, nbytes: int) -> Any:
    """Return the weights of a linear layer, as they are initialized and, nearly, remain."""
    return generator.normal(0, 0.02, nbytes // 4).astype(np.float32)


def _bfloat16(generator: Any, nbytes: int) -> Any:
    torch = import_module("torch")
    return torch.from_numpy(_weights(generator, 2 * nbytes)).to(torch.bfloat16)


def _zipf(count: int, offset: float = 2.7) -> Any:
    """Return the probabilities of as many things by rank, after Zipf and Mandelbrot."""
    weights = 1 / (np.arange(count) + 1 + offset)
    return weights / weights.sum()


DATA: dict[str, Callable[[Any, int], Any]] = {
    "timestamps": _timestamps,
    "sorted ids": _ids,
    "small ints": _small_ints,
    "categorical codes": _codes,
    "prices": _prices,
    "sensor noise": _sensor,
    "text": _text,
    "model weights": _weights,
    BFLOAT16: _bfloat16,
}
