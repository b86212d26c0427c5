"""What ``oobcodec demo`` sends: things that real programs send, and how to tell whether they arrived.

All of it is made from a seed, so that a receiver can make it once more and compare, instead of trusting what it got.
"""

from __future__ import annotations

import datetime as dt
import itertools
from array import array
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from random import Random
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oobcodec.buffers import address, flat
from oobcodec.paths import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MB = 1_000_000


class Sample(NamedTuple):
    """One kind of thing to send.

    Attributes
    ----------
    name : str
        What it is called in the batch.
    make : callable
        Takes the seed, returns the thing.
    library : str or None
        What has to be installed for it.
    compacted : bool
        Its arrays are promised to arrive without the gaps between their elements, so with other strides.
    picklable : bool
        `pickle` by itself can send it.
    """

    name: str
    make: Callable[[int], object]
    library: str | None = None
    compacted: bool = False
    picklable: bool = True

    @property
    def available(self) -> bool:
        """Whether its library is installed."""
        return self.library is None or find_spec(self.library) is not None


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
    return _generator(seed).integers(1 << 60, size=_MB).view("datetime64[ns]")


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
]


def kind(obj: Any) -> str:
    """Describe an object in a word or two."""
    if _is_array(obj):
        return f"{obj.dtype} {'x'.join(map(str, obj.shape))}"
    name = type(obj).__name__
    return f"{name} of {len(obj)} {type(next(iter(obj))).__name__}" if isinstance(obj, list) else name


def nbytes(obj: object) -> int:
    """Return the bytes of all buffers in an object, as if they shared nothing and repeated nothing."""
    return sum(_size(node) for _, node in _nodes(obj))


def difference(expected: object, received: object, *, compacted: bool = False) -> str:
    """Say where an object that was received differs first from the one that was sent; nothing if it does not.

    Compares types, values, dtypes, shapes, strides (unless `compacted`), writability, what functions return, and which
    of the buffers share memory.
    """
    pairs = itertools.zip_longest(_facts(expected, compacted), _facts(received, compacted), fillvalue=("end", None))
    for (name, wanted), (found, got) in pairs:
        if name != found:
            return f"{found} where {name} should be"
        if type(wanted) is not type(got) or wanted != got:
            return f"{name} is {short(got)} instead of {short(wanted)}"
    return ""


def _facts(obj: object, compacted: bool) -> Iterator[tuple[str, object]]:  # noqa: FBT001  # handed on
    buffers = []
    for path, node in _nodes(obj):
        yield f"type of {path}", type(node)
        if _is_array(node):
            buffers.append((path, node))
            yield f"dtype of {path}", node.dtype
            yield f"shape of {path}", node.shape
            yield f"strides of {path}", None if compacted else node.strides
            yield f"writability of {path}", node.flags.writeable
            yield path, node.tobytes()
        elif isinstance(node, memoryview | array):
            view = memoryview(node)
            buffers.append((path, view))
            yield f"format of {path}", view.format
            yield f"writability of {path}", not view.readonly
            yield path, view.tobytes()
        elif not _is_container(node):
            yield path, node
    shared = [(one, other) for (one, a), (other, b) in itertools.combinations(buffers, 2) if _overlap(a, b)]
    yield "pairs that share memory", shared


def _nodes(obj: Any, path: str = "it") -> Iterator[tuple[str, Any]]:
    """Visit an object and all that is in it; what a function holds shows in what it returns."""
    yield path, obj
    match obj:
        case dict():
            children = [(f"{path}[{key!r}]", value) for key, value in obj.items()]
        case list() | tuple():
            children = [(f"{path}[{index}]", value) for index, value in enumerate(obj)]
        case FunctionType():
            children = [(f"{path}()", obj())]
        case _ if is_dataclass(obj):
            children = [(f"{path}.{field.name}", getattr(obj, field.name)) for field in fields(obj)]
        case _:
            children = []
    for label, child in children:
        yield from _nodes(child, label)


def _is_array(obj: object) -> bool:
    return hasattr(obj, "__array_interface__")


def _is_container(obj: object) -> bool:
    return isinstance(obj, dict | list | tuple | FunctionType) or is_dataclass(obj)


def _size(obj: Any) -> int:
    if isinstance(obj, bytes | bytearray | array):
        return memoryview(obj).nbytes
    size: int = obj.nbytes if isinstance(obj, memoryview) or _is_array(obj) else 0
    return size


def _overlap(one: Any, other: Any) -> bool:
    if isinstance(one, memoryview):
        first, second = (range(start := address(flat(view)), start + view.nbytes) for view in (one, other))
        return first.start < second.stop and second.start < first.stop
    shared: bool = _numpy().shares_memory(one, other)
    return shared
