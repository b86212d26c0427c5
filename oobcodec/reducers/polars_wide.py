"""Polars' 128-bit integers as Arrow's values of 16 bytes, over the same memory, wherever they lie in a column.

Arrow has no type for them, and polars has two formats of its own in Arrow's C interface. So a stream of that interface
is given with its schema changed: https://arrow.apache.org/docs/format/CStreamInterface.html.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

try:
    import pyarrow as pa  # type: ignore[import-untyped]
except ImportError:
    pa = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BYTES: Final = b"w:16"
_FORMATS: Final = {"i": b"_pli128", "u": b"_plu128"}
"""What polars calls signed and unsigned ones. A schema refers to these very bytes."""
_CLASSES: Final[dict[Any, str]] = {
    getattr(pl, name): sign for name, sign in (("Int128", "i"), ("UInt128", "u")) if hasattr(pl, name)
}


class _Schema(ctypes.Structure):
    """https://arrow.apache.org/docs/format/CDataInterface.html."""


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
]


class _Stream(ctypes.Structure):
    _fields_ = (("get_schema", ctypes.c_void_p),)


_GetSchema: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Schema))
_pointer: Final = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Changed:
    """The stream that something exports, with its schema changed."""

    def __init__(self, source: Any, change: Callable[[_Schema], None]) -> None:
        self._capsule = source.__arrow_c_stream__()
        stream = _Stream.from_address(_pointer(self._capsule, b"arrow_array_stream"))
        exported = _GetSchema(stream.get_schema)

        def get_schema(address: int, schema: Any) -> int:
            code: int = exported(address, schema)
            if not code:
                change(schema.contents)
            return code

        self._get_schema = _GetSchema(get_schema)  # which lives as long as this object
        stream.get_schema = ctypes.cast(self._get_schema, ctypes.c_void_p).value

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._capsule


def _parts(schema: Any) -> Iterator[Any]:
    yield schema
    for i in range(schema.n_children):
        yield from _parts(schema.children[i].contents)


def _to_bytes(schema: _Schema) -> None:
    for part in _parts(schema):
        if part.format in _FORMATS.values():
            part.format = _BYTES


def _from_bytes(signs: str, schema: _Schema) -> None:
    parts = [part for part in _parts(schema) if part.format == _BYTES]
    for part, sign in zip(parts, signs, strict=False):  # nobody hears of what a callback raises
        part.format = _FORMATS[sign]


def signs(dtype: Any) -> str:
    """Return for each 128-bit integer in a type, in the order of Arrow's types, ``"i"``, or ``"u"`` for an unsigned."""
    if isinstance(dtype, pl.Struct):
        return "".join([signs(field.dtype) for field in dtype.fields])
    if isinstance(dtype, pl.List | pl.Array):
        return signs(dtype.inner)
    return _CLASSES.get(dtype if isinstance(dtype, type) else type(dtype), "")


def to_arrow(series: pl.Series) -> Any:
    """Return a series with 128-bit integers in it as a table of one column."""
    chunks = [_Changed(chunk.to_frame(), _to_bytes) for chunk in series.get_chunks()]
    return pa.concat_tables([pa.RecordBatchReader.from_stream(chunk).read_all() for chunk in chunks])


def from_arrow(table: Any, signs: str) -> pl.Series:
    """Return the series of such a table."""
    column = table.column(0)
    if signs == "i" and column.type == pa.binary(16):
        # Early versions take no such format. The memory of decimals is that of integers.
        decimals = pa.decimal128(38, 0)
        chunks = [pa.Array.from_buffers(decimals, len(c), c.buffers(), offset=c.offset) for c in column.chunks]
        made: Any = pl.from_arrow(pa.chunked_array(chunks, decimals), rechunk=False)
        return made.to_physical().rename(table.column_names[0])  # type: ignore[no-any-return]
    change = partial(_from_bytes, signs)
    streams = [_Changed(pa.table([chunk], schema=table.schema), change) for chunk in column.chunks]
    return pl.concat([pl.DataFrame(stream).to_series() for stream in streams], rechunk=False)
