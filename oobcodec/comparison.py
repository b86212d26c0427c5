"""How ``oobcodec demo`` tells whether what it sent has arrived: in every respect, and not just equal.

The libraries are not imported for that. Who holds an object of theirs has them.
"""

from __future__ import annotations

import itertools
from array import array
from dataclasses import fields, is_dataclass
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oobcodec.buffers import address, flat
from oobcodec.paths import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def kind(obj: Any) -> str:
    """Describe an object in a word or two."""
    if _is_array(obj):
        return f"{obj.dtype} {'x'.join(map(str, obj.shape))}"
    name = type(obj).__name__
    if _family(obj) in _TABLES:
        return f"{name} {'x'.join(map(str, obj.shape))}"
    return f"{name} of {len(obj)} {type(next(iter(obj))).__name__}" if isinstance(obj, list) else name


def nbytes(obj: object) -> int:
    """Return the bytes of all buffers in an object, as if they shared nothing and repeated nothing."""
    return sum(_size(node) for _, node in _nodes(obj))


def difference(expected: object, received: object, *, compacted: bool = False) -> str:
    """Say where an object that was received differs first from the one that was sent; nothing if it does not.

    Compares types, values, dtypes, shapes, strides (unless `compacted`), writability, what functions return, schemas,
    labels and attrs of frames, and what shares memory with what.
    """
    pairs = itertools.zip_longest(_facts(expected, compacted), _facts(received, compacted), fillvalue=("end", None))
    for (name, wanted), (found, got) in pairs:
        if name != found:
            return f"{found} where {name} should be"
        if type(wanted) is not type(got) or wanted != got:
            return f"{name} is {short(got)} instead of {short(wanted)}"
    return ""


def _facts(obj: object, compacted: bool) -> Iterator[tuple[str, object]]:  # noqa: FBT001  # handed on
    buffers: list[tuple[str, Any]] = []
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
        elif (table := _TABLES.get(_family(node))) is not None:
            buffers += ((path, view) for view in table.memory(node))
            yield from ((f"{name} of {path}", fact) for name, fact in table.facts(node))
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
        case _ if _family(obj) == _TENSOR:
            children = [(f"{path}.numpy()", obj.detach().numpy())]
        case _ if is_dataclass(obj):
            children = [(f"{path}.{field.name}", getattr(obj, field.name)) for field in fields(obj)]
        case _:
            children = []
    for label, child in children:
        yield from _nodes(child, label)


def _is_array(obj: object) -> bool:
    return hasattr(obj, "__array_interface__")


def _is_container(obj: object) -> bool:
    return isinstance(obj, dict | list | tuple | FunctionType) or is_dataclass(obj) or _family(obj) == _TENSOR


def _size(obj: Any) -> int:
    if isinstance(obj, bytes | bytearray | array):
        return memoryview(obj).nbytes
    if (table := _TABLES.get(_family(obj))) is not None:
        return int(table.nbytes(obj))
    size: int = obj.nbytes if isinstance(obj, memoryview) or _is_array(obj) else 0
    return size


def _overlap(one: Any, other: Any) -> bool:
    if isinstance(one, memoryview):
        first, second = (range(start := address(flat(view)), start + view.nbytes) for view in (one, other))
        return first.start < second.stop and second.start < first.stop
    shared: bool = import_module("numpy").shares_memory(one, other)
    return shared


def _family(obj: object) -> tuple[str, str]:
    return type(obj).__module__.partition(".")[0], type(obj).__name__


def _pandas_facts(frame: Any) -> Iterator[tuple[str, object]]:
    yield "attrs", frame.attrs
    yield "type of the index", type(frame.index)
    yield "index", frame.index.to_list()
    yield "columns", frame.columns.to_list()
    for name, column in frame.items():
        yield f"dtype of column {name!r}", column.dtype
        yield f"column {name!r}", column.to_list()


def _polars_facts(frame: Any) -> Iterator[tuple[str, object]]:
    yield "schema", frame.schema
    yield from ((f"column {column.name!r}", column.to_list()) for column in frame)


def _arrow_facts(table: Any) -> Iterator[tuple[str, object]]:
    yield "schema", table.schema.serialize().to_pybytes()  # with the metadata, which == leaves out
    yield from ((f"column {name!r}", table[name]) for name in table.column_names)


def _no_memory(_: object) -> Iterable[memoryview]:
    return ()


def _polars_memory(frame: Any) -> Iterable[memoryview]:
    return _arrow_memory(frame.to_arrow())  # which makes other text of it, but takes numbers as they are


def _arrow_memory(table: Any) -> Iterable[memoryview]:
    chunks = (chunk for column in table.columns for chunk in column.chunks)
    return (memoryview(buffer) for chunk in chunks for buffer in chunk.buffers() if buffer is not None)


class _Table(NamedTuple):
    """How to look into a library's kind of table.

    Attributes
    ----------
    facts : callable
        Returns all that is to be equal, with names.
    nbytes : callable
        Returns the bytes of its columns.
    memory : callable
        Returns buffers that it may share with others.
    """

    facts: Callable[[Any], Iterable[tuple[str, object]]]
    nbytes: Callable[[Any], int]
    memory: Callable[[Any], Iterable[memoryview]]


_TABLES: Final = {
    ("pandas", "DataFrame"): _Table(_pandas_facts, lambda frame: frame.memory_usage(index=False).sum(), _no_memory),
    ("polars", "DataFrame"): _Table(_polars_facts, lambda frame: frame.to_arrow().nbytes, _polars_memory),
    ("pyarrow", "Table"): _Table(_arrow_facts, lambda table: table.nbytes, _arrow_memory),
}
_TENSOR: Final = ("torch", "Tensor")
