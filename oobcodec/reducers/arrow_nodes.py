"""Arrow arrays as nodes: what they consist of, without what lies around it.

A node is a tuple of the length, the buffers, and the nodes of the children. The buffers are cut to just the bytes of
the elements, which are not copied. Copied are bitmaps that begin or end inside a byte, and offsets that do not begin at
zero. What cannot be cut is compacted: slices of dense unions and of run ends, and views with something between them.
"""

from __future__ import annotations

import struct
import sys
from functools import partial
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa  # type: ignore[import-untyped]

from oobcodec.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Arrow has no types that a checker could read.
    Array: TypeAlias = Any
    DataType: TypeAlias = Any
    Node: TypeAlias = tuple[Any, ...]

_from_buffers: Final = pa.Array.from_buffers
_INLINE: Final = 12
"""Bytes of the longest text that a view holds by itself: https://arrow.apache.org/docs/format/Columnar.html."""
_VIEW: Final = 16
"""Bytes a view."""


class UnknownLayout(Exception):  # noqa: N818  # no error: somebody else may know it
    """The type is younger than this module."""


# Taking arrays apart


def take(array: Array) -> Node:
    """Take an array apart.

    Returns
    -------
    tuple
        ``(length, buffers, *children)``: the buffers of Arrow's columnar format in their order, None for one that is
        absent, and a node for each child. A dictionary array has the node of its dictionary behind those of its
        indices; an extension array is the node of its storage.

    Raises
    ------
    UnknownLayout
        Nobody here knows what an array of this type, or of a child's, consists of.
    """
    layout = _LAYOUTS.get(array.type.id)
    if layout is None:
        if isinstance(array, pa.ExtensionArray):
            return take(array.storage)
        raise UnknownLayout
    return layout(array)


def _cut(buffer: Any, start: int, nbytes: int) -> Any:
    if buffer is None:
        return None
    if not nbytes:
        return b""
    return PickleBuffer(buffer if buffer.size == nbytes else buffer.slice(start, nbytes))


def _bits(bitmap: Any, offset: int, length: int) -> Any:
    if bitmap is None:
        return None
    start, shift = divmod(offset, 8)
    nbytes = (length + 7) // 8
    if shift or (length % 8 and bitmap[start + nbytes - 1] >> length % 8):
        # Inside a byte lie the neighbours' bits too.
        bitmap = pa.concat_arrays([_from_buffers(pa.bool_(), length, [None, bitmap], 0, offset)]).buffers()[1]
        start = 0
    return _cut(bitmap, start, nbytes)


def _null(array: Array) -> Node:
    return len(array), (None,)


def _fixed(array: Array) -> Node:
    length, offset = len(array), array.offset
    width = array.type.bit_width // 8
    validity, data = array.buffers()[:2]
    return length, (_bits(validity, offset, length), _cut(data, offset * width, length * width))


def _boolean(array: Array) -> Node:
    length, offset = len(array), array.offset
    validity, data = array.buffers()
    return length, (_bits(validity, offset, length), _bits(data, offset, length))


def _text(form: struct.Struct, array: Array) -> Node:
    validity, offsets, first, last = _offsets(form, array)
    return len(array), (validity, offsets, _cut(array.buffers()[2], first, last - first))


def _list(form: struct.Struct, array: Array) -> Node:
    validity, offsets, first, last = _offsets(form, array)
    return len(array), (validity, offsets), take(array.values.slice(first, last - first))


def _offsets(form: struct.Struct, array: Array) -> tuple[Any, Any, int, int]:
    """Return the bitmap, the offsets from zero on, and where they began and end in what they point at."""
    length, offset, width = len(array), array.offset, form.size
    validity, offsets = array.buffers()[:2]
    if not length:
        return None, bytes(width), 0, 0
    (first,) = form.unpack_from(offsets, offset * width)
    (last,) = form.unpack_from(offsets, (offset + length) * width)
    if first:
        integers = pa.int32() if form is _INT32 else pa.int64()
        absolute = _from_buffers(integers, length + 1, [None, offsets], 0, offset)
        rebased = _compute("subtract", absolute, pa.scalar(first, integers))
        offsets, offset = rebased.buffers()[1], rebased.offset
    return _bits(validity, array.offset, length), _cut(offsets, offset * width, (length + 1) * width), first, last


def _fixed_list(array: Array) -> Node:
    length, offset, size = len(array), array.offset, array.type.list_size
    validity = _bits(array.buffers()[0], offset, length)
    return length, (validity,), take(array.values.slice(offset * size, length * size))


def _struct(array: Array) -> Node:
    length = len(array)
    validity = _bits(array.buffers()[0], array.offset, length)
    return length, (validity,), *map(take, _fields(array))


def _dictionary(array: Array) -> Node:
    return (*take(array.indices), take(array.dictionary))


def _union(array: Array) -> Node:
    length, dense = len(array), array.type.mode == "dense"
    if dense and sum(map(len, _fields(array))) != length:
        array = array.take(pa.array(range(length), pa.int64()))
    offset = array.offset
    # Not its ``type_codes`` and ``offsets``, which begin at those of the array that this one is a slice of.
    _, codes, *offsets = array.buffers()[: 3 if dense else 2]
    buffers = [_cut(codes, offset, length), *[_cut(part, offset * 4, length * 4) for part in offsets]]
    return length, (None, *buffers), *map(take, _fields(array))


def _fields(array: Array) -> list[Array]:
    return [array.field(i) for i in range(array.type.num_fields)]


def _runs(array: Array) -> Node:
    ends = array.run_ends
    if array.offset or (len(ends) and ends[-1].as_py() != len(array)):
        array = pa.concat_arrays([array])
    return len(array), (None,), take(array.run_ends), take(array.values)


def _list_view(form: struct.Struct, array: Array) -> Node:
    length, offset, width, values = len(array), array.offset, form.size, array.values
    validity, starts, sizes = array.buffers()[:3]
    bits = _bits(validity, offset, length)
    lengths = _from_buffers(pa.int32() if form is _INT32 else pa.int64(), length, [validity, sizes], -1, offset)
    if (lengths.sum().as_py() or 0) == len(values):
        return length, (bits, *[_cut(part, offset * width, length * width) for part in (starts, sizes)]), take(values)
    # Something lies between the lists, or in several of them.
    lengths = lengths.fill_null(0)
    starts = _compute("subtract", _compute("cumulative_sum", lengths), lengths)
    return length, (bits, *[_fixed(part)[1][1] for part in (starts, lengths)]), take(array.flatten())


def _view(plain: DataType, array: Array) -> Node:
    held = sum(buffer.size for buffer in array.buffers()[2:])
    if held and held > _referenced(array):
        array = array.cast(plain).cast(array.type)
    validity, views, *data = array.buffers()
    length, offset = len(array), array.offset
    pieces = [_cut(buffer, 0, buffer.size) for buffer in data]
    return length, (_bits(validity, offset, length), _cut(views, offset * _VIEW, length * _VIEW), *pieces)


def _referenced(array: Array) -> int:
    """Return how many bytes the views point at."""
    length, start = len(array), array.offset * _VIEW
    if not length:
        return 0
    validity, views = array.buffers()[:2]
    lengths: Any = memoryview(views)[start : start + length * _VIEW].cast("i")[::4]
    numpy = sys.modules.get("numpy")  # ten times as fast, and Arrow imports it where it is installed
    lengths = lengths.tobytes() if numpy is None else numpy.ascontiguousarray(lengths)
    bits = _bits(validity, array.offset, length)
    lengths = _from_buffers(pa.int32(), length, [bits and pa.py_buffer(bits), pa.py_buffer(lengths)])
    if (_compute("min_max", lengths)["min"].as_py() or 0) <= _INLINE:
        lengths = lengths.filter(_compute("greater", lengths, _INLINE))
    return lengths.sum().as_py() or 0


def _compute(function: str, *arguments: Any) -> Any:
    # Not at import: not everybody needs it.
    from pyarrow.compute import call_function  # type: ignore[import-untyped]  # noqa: PLC0415

    return call_function(function, list(arguments))


_INT32: Final = struct.Struct("=i")
_INT64: Final = struct.Struct("=q")
_VARIADIC: Final = hasattr(pa.DataType, "has_variadic_buffers")
_LAYOUTS: Final[dict[int, Callable[[Array], Node]]] = {
    getattr(pa.lib, f"Type_{name}"): layout
    for layout, names in (
        (_null, "NA"),
        (_boolean, "BOOL"),
        (_fixed, "INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 HALF_FLOAT FLOAT DOUBLE"),
        (_fixed, "DECIMAL32 DECIMAL64 DECIMAL128 DECIMAL256 FIXED_SIZE_BINARY"),
        (_fixed, "DATE32 DATE64 TIMESTAMP TIME32 TIME64 DURATION INTERVAL_MONTH_DAY_NANO"),
        (partial(_text, _INT32), "STRING BINARY"),
        (partial(_text, _INT64), "LARGE_STRING LARGE_BINARY"),
        (partial(_list, _INT32), "LIST MAP"),
        (partial(_list, _INT64), "LARGE_LIST"),
        (_fixed_list, "FIXED_SIZE_LIST"),
        (_struct, "STRUCT"),
        (_dictionary, "DICTIONARY"),
        (_union, "SPARSE_UNION DENSE_UNION"),
        (_runs, "RUN_END_ENCODED"),
        (partial(_list_view, _INT32), "LIST_VIEW"),
        (partial(_list_view, _INT64), "LARGE_LIST_VIEW"),
        # Versions before 19 have views, but cannot put arrays of them together.
        (partial(_view, pa.large_string()), "STRING_VIEW" * _VARIADIC),
        (partial(_view, pa.large_binary()), "BINARY_VIEW" * _VARIADIC),
    )
    for name in names.split()
    if hasattr(pa.lib, f"Type_{name}")  # younger than the oldest Arrow that this works with
}
_SINCE: Final = {"binary_view": 19, "large_list_view": 16, "list_view": 16, "string_view": 19}
"""From which version on pyarrow puts arrays of a type together."""


# Putting them together


def _children(data_type: DataType) -> Sequence[DataType]:
    """Return the types of an array's children."""
    if hasattr(data_type, "key_field"):
        return [pa.struct([data_type.key_field, data_type.item_field])]
    if hasattr(data_type, "run_end_type"):
        return [data_type.run_end_type, data_type.value_type]
    if hasattr(data_type, "value_type"):
        return [data_type.value_type]
    return [data_type.field(i).type for i in range(data_type.num_fields)]


def unknown(data_type: DataType) -> DecodeError:
    """Return the error that says what a type takes that this pyarrow does not have."""
    name = str(data_type).partition("<")[0]
    release = f"{_SINCE[name]} or later" if name in _SINCE else "the version that the sender has"
    return DecodeError(f"pyarrow {pa.__version__} has no arrays of type {data_type}: install pyarrow {release}")


def build(data_type: DataType, node: Node) -> Array:
    """Put an array together that views the buffers of a node.

    Raises
    ------
    DecodeError
        This pyarrow has no arrays of that type.
    """
    if isinstance(data_type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(data_type, build(data_type.storage_type, node))
    if isinstance(data_type, pa.DictionaryType):
        *indices, dictionary = node
        return pa.DictionaryArray.from_arrays(
            build(data_type.index_type, tuple(indices)),
            build(data_type.value_type, dictionary),
            ordered=data_type.ordered,
            safe=False,
        )
    if data_type.id not in _LAYOUTS:
        raise unknown(data_type)
    length, buffers, *parts = node
    memory = [None if buffer is None else pa.py_buffer(buffer) for buffer in buffers]
    if not parts:
        return _from_buffers(data_type, length, memory)
    children = [build(child, part) for child, part in zip(_children(data_type), parts, strict=True)]
    return _from_buffers(data_type, length, memory, children=children)
