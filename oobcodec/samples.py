"""What ``oobcodec demo`` sends: things that real programs send.

All of it is made from a seed, so that a receiver can make it once more and compare, instead of trusting what it got.
"""

from __future__ import annotations

import datetime as dt
from array import array
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_MB: Final = 1_000_000
_BILLION: Final = 1_000_000_000


class Sample(NamedTuple):
    """One kind of thing to send.

    Attributes
    ----------
    name : str
        What it is called in the batch.
    make : callable
        Takes the seed, returns the thing.
    libraries : str
        What has to be installed for it, with spaces between.
    compacted : bool
        Its arrays are promised to arrive without the gaps between their elements, so with other strides.
    picklable : bool
        `pickle` by itself can send it.
    """

    name: str
    make: Callable[[int], object]
    libraries: str = ""
    compacted: bool = False
    picklable: bool = True

    @property
    def missing(self) -> list[str]:
        """Those of its libraries that are not installed."""
        return [library for library in self.libraries.split() if find_spec(library) is None]


@dataclass
class Measurement:
    """An object of the kind that programs are full of: a few plain attributes and the arrays that matter."""

    station: str
    signal: Any
    valid: Any


@dataclass
class TiedModel:
    """Members that are views of one memory, as a language model's first and last layer are."""

    embedding: Any
    output: Any
    first_rows: Any


def _bytes(seed: int) -> object:
    return _random(seed).randbytes(64 * _MB)


def _bytearray(seed: int) -> object:
    return bytearray(_random(seed).randbytes(2 * _MB))


def _array(seed: int) -> object:
    return array("q", _random(seed).randbytes(2 * _MB))


def _memoryviews(seed: int) -> object:
    memory = memoryview(bytearray(_random(seed).randbytes(2 * _MB)))
    return {"whole": memory, "second half": memory[_MB:]}


def _records(seed: int) -> object:
    random = _random(seed)
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return [
        {
            "id": number,
            "when": start + dt.timedelta(seconds=random.random()),
            "price": Decimal(random.randrange(10_000)) / 100,
            "tags": {"new", random.choice(["red", "green"])},
            "position": (random.random(), None),
        }
        for number in range(5)
    ]


def _floats(seed: int) -> object:
    return _generator(seed).standard_normal(4 * _MB)


def _datetimes(seed: int) -> object:
    # When something happened, to the millisecond: once in five seconds on average.
    steps = _generator(seed).exponential(5000, _MB).astype("timedelta64[ms]")
    return _numpy().datetime64("2026-01-01", "ns") + steps.cumsum()


def _view_and_base(seed: int) -> object:
    base = _generator(seed).standard_normal((1000, 1000))
    return {"base": base, "every other column": base[:, ::2]}


def _strided_view(seed: int) -> object:
    return _generator(seed).standard_normal((1000, 2000))[:, ::2]


def _broadcast(seed: int) -> object:
    return _numpy().broadcast_to(_generator(seed).standard_normal(1000), (1000, 1000))


def _fortran_order(seed: int) -> object:
    return _generator(seed).standard_normal((1000, 500)).T


def _small_arrays(seed: int) -> object:
    return list(_generator(seed).standard_normal((200, 10)).copy())


def _measurements(seed: int) -> object:
    generator = _generator(seed)
    signals = [generator.standard_normal(100_000) for _ in range(10)]
    return [Measurement(f"station {number}", signal, signal > 0) for number, signal in enumerate(signals)]


def _tied_model(seed: int) -> object:
    embedding = _generator(seed).standard_normal((1000, 500))
    return TiedModel(embedding, embedding.T, embedding[:100])


def _closure(seed: int) -> object:
    weights = _generator(seed).standard_normal(_MB // 8)

    def scaled() -> Any:
        return weights * seed

    return scaled


def _pandas_frame(seed: int) -> object:
    pandas, generator = import_module("pandas"), _generator(seed)
    numbers = generator.standard_normal((100_000, 3))
    seconds = generator.integers(1 << 30, size=100_000) * _BILLION
    frame = pandas.DataFrame(numbers, columns=["wind", "rain", "sun"])
    frame["when"] = pandas.DatetimeIndex(seconds, tz="Europe/Berlin")
    frame["station"] = [f"station {number}" for number in generator.integers(1000, size=100_000)]
    frame["sky"] = pandas.Categorical.from_codes(generator.integers(3, size=100_000), ["blue", "grey", "black"])
    frame.attrs = {"source": "simulated", "seed": seed}
    return frame


def _polars_frame(seed: int) -> object:
    polars, generator = import_module("polars"), _generator(seed)
    texts = [f"an order of item {number}" for number in generator.integers(_MB, size=200_000)]
    frame = polars.DataFrame({"price": generator.standard_normal(200_000), "order": texts})
    return {"frame": frame, "slice": frame[50_000:100_000]}


def _arrow_table(seed: int) -> Any:
    arrow, generator = import_module("pyarrow"), _generator(seed)
    numbers = generator.integers(1 << 40, size=300_000)
    columns = {"id": numbers, "price": generator.standard_normal(300_000), "name": [f"item {n}" for n in numbers % 997]}
    return arrow.table({name: arrow.array(column) for name, column in columns.items()})


def _arrow_slice(seed: int) -> object:
    return _arrow_table(seed)[200_000:200_010]


def _state_dict(seed: int) -> object:
    torch, generator = import_module("torch"), _generator(seed)
    model = torch.nn.ModuleDict(
        {
            "conv": torch.nn.Conv2d(16, 64, 3).to(memory_format=torch.channels_last),
            "embed": torch.nn.Embedding(10_000, 64),
            "head": torch.nn.Linear(64, 10_000, bias=False),
        }
    )
    model["head"].weight = model["embed"].weight
    state = model.state_dict()
    for tensor in state.values():
        tensor.copy_(torch.from_numpy(generator.standard_normal(tuple(tensor.shape))))
    return state


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311  # repeatable, not secret


def _generator(seed: int) -> Any:
    return _numpy().random.default_rng(seed)


def _numpy() -> Any:
    return import_module("numpy")  # only here is it known to be installed


SAMPLES: Final = [
    Sample("bytes", _bytes),
    Sample("bytearray", _bytearray),
    Sample("array.array", _array),
    Sample("memoryviews", _memoryviews, picklable=False),
    Sample("records", _records),
    Sample("floats", _floats, "numpy"),
    Sample("datetimes", _datetimes, "numpy"),
    Sample("view and base", _view_and_base, "numpy"),
    Sample("view alone", _strided_view, "numpy", compacted=True),
    Sample("broadcast", _broadcast, "numpy"),
    Sample("Fortran order", _fortran_order, "numpy"),
    Sample("small arrays", _small_arrays, "numpy"),
    Sample("dataclasses", _measurements, "numpy"),
    Sample("tied model", _tied_model, "numpy"),
    Sample("closure", _closure, "numpy", picklable=False),
    Sample("pandas", _pandas_frame, "numpy pandas"),
    Sample("polars", _polars_frame, "numpy polars pyarrow"),
    Sample("Arrow", _arrow_table, "numpy pyarrow"),
    Sample("Arrow slice", _arrow_slice, "numpy pyarrow"),
    Sample("state_dict", _state_dict, "numpy torch"),
]
