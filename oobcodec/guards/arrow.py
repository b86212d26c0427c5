"""Guards of Arrow's data: whatever a message says is validated in full before anybody uses it.

Plain validation is not enough, for it takes offsets and indices as they are. None of it looks at where the elements of
sparse tensors are.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from oobcodec.context import LOADING
from oobcodec.engine import IN_BAND
from oobcodec.guards.arrow_messages import check_batch, check_native
from oobcodec.guards.arrow_nodes import Builder, check_hidden
from oobcodec.guards.arrow_texts import TEXTS
from oobcodec.guards.arrow_types import GUARDS_OF_TYPES, rebuild_schema
from oobcodec.guards.checks import claim, expect, is_count
from oobcodec.reducers import arrow as reducers
from oobcodec.reducers.arrow import _FLAT, _check_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oobcodec.reducers.arrow_nodes import Array

_MEMORY: Final = frozenset({bytes, bytearray, memoryview})
_LISTS: Final = frozenset({list, tuple})
_SHORT: Final = 64 * IN_BAND
"""Bytes that no short batch has, nor had in other versions."""
_NUMBERS: Final = "biuf"
_AXES_OF_MATRICES: Final = {"SparseCSRMatrix": (0, 1), "SparseCSCMatrix": (1, 0)}
"""Which axis the pointers of a matrix are for, and which the indices."""


def rebuild_array(data_type: Any, node: Any, byteorder: Any) -> Array:
    """Rebuild an array."""
    expect(isinstance(data_type, pa.DataType), "an array has a type")
    _check_order(byteorder)
    builder = Builder()
    array = builder.validated(data_type, node)
    builder.finish()
    return array


def rebuild_chunked(data_type: Any, nodes: Any, byteorder: Any) -> Any:
    """Rebuild a chunked array."""
    expect(isinstance(data_type, pa.DataType) and type(nodes) in _LISTS, "a chunked array has a type and chunks")
    _check_order(byteorder)
    builder = Builder()
    chunked = pa.chunked_array([builder.validated(data_type, node) for node in nodes], data_type)
    builder.finish()
    return chunked


def rebuild_batch(schema: Any, length: Any, nodes: Any, byteorder: Any) -> Any:
    """Rebuild a record batch."""
    _check_columns(schema, length, nodes)
    _check_order(byteorder)
    if not nodes:
        return reducers.rebuild_batch(schema, length, (), byteorder)
    builder = Builder()
    columns = [builder.validated(data_type, node) for data_type, node in zip(schema.types, nodes, strict=True)]
    builder.finish()
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    expect(batch.num_rows == length, "a record batch has as many rows as it says")
    batch.validate()
    return batch


def rebuild_table(schema: Any, columns: Any, byteorder: Any) -> Any:
    """Rebuild a table."""
    if type(columns) is int:
        _check_columns(schema, columns, ())
        return reducers.rebuild_table(schema, columns, byteorder)
    _check_columns(schema, 0, columns)
    _check_order(byteorder)
    builder = Builder()
    arrays = []
    for data_type, nodes in zip(schema.types, columns, strict=True):
        expect(type(nodes) in _LISTS, "a column has chunks")
        arrays.append(pa.chunked_array([builder.validated(data_type, node) for node in nodes], data_type))
    builder.finish()
    table = pa.Table.from_arrays(arrays, schema=schema)
    table.validate()
    return table


def _check_columns(schema: Any, length: Any, columns: Any) -> None:
    expect(isinstance(schema, pa.Schema) and type(columns) in _LISTS, "a table has a schema and columns")
    expect(is_count(length), "a table has some rows")
    if not columns:
        expect(not len(schema), "a table has the columns of its schema")
        claim(length)


def rebuild_short_batch(schema: Any, data: Any, byteorder: Any) -> Any:
    """Rebuild a record batch from messages, which are such as no other batch is sent as."""
    expect(type(schema) is bytes and len(schema) <= _SHORT, "a short batch has a short schema")
    texts = _texts(schema)
    check_batch(data)
    expect(len(data) <= _SHORT, "a short batch is short")
    _check_order(byteorder)
    batch = pa.ipc.read_record_batch(pa.py_buffer(data), rebuild_schema(schema))
    expect(batch.num_rows, "a short batch has rows")
    LOADING.get().budget.operate(1 + batch.num_columns)
    if not batch.num_columns:
        claim(batch.num_rows)
    batch.validate(full=True)
    for i in texts:
        column = batch.column(i)
        if column.null_count:
            check_hidden(column.type, len(column), column.buffers())
    return batch


@lru_cache(maxsize=64)
def _texts(schema: bytes) -> tuple[int, ...]:
    """Return which columns of a short batch are text."""
    types = rebuild_schema(schema).types
    check_native(schema)
    expect(all(data_type.id in _FLAT for data_type in types), "a short batch has flat columns")
    return tuple(i for i, data_type in enumerate(types) if data_type.id in TEXTS)


def rebuild_short_table(schema: Any, data: Any, byteorder: Any) -> Any:
    """Rebuild a table of one such batch."""
    return pa.Table.from_batches([rebuild_short_batch(schema, data, byteorder)])


def rebuild_scalar(array: Any) -> Any:
    """Rebuild a scalar as the one element of an array."""
    expect(isinstance(array, pa.Array) and len(array) == 1, "a scalar comes as an array of one element")
    return reducers.rebuild_scalar(array)


def rebuild_buffer(memory: Any) -> Any:
    """Rebuild a buffer."""
    expect(type(memory) in _MEMORY, "a buffer is memory")
    return reducers.rebuild_buffer(memory)


# Tensors


def rebuild_tensor(array: Any, names: Any) -> Any:
    """Rebuild a tensor over an array of numpy's."""
    _check_numbers(array)
    _check_names(names, array.ndim)
    return reducers.rebuild_tensor(array, names)


def rebuild_sparse(name: Any, data: Any, places: Any, shape: Any, names: Any) -> Any:
    """Rebuild a sparse tensor over arrays of numpy's."""
    expect(type(shape) is tuple and all(map(is_count, shape)) and shape, "a sparse tensor has a shape")
    _check_names(names, len(shape))
    _check_numbers(data)
    expect(data.flags.forc and data.shape in {(len(data),), (len(data), 1)}, "a sparse tensor has one row of elements")
    expect(type(places) in _LISTS, "the elements of a sparse tensor are somewhere")
    if name == "SparseCOOTensor":
        _check_coordinates(len(data), places, shape)
    elif type(name) is str and name in _AXES_OF_MATRICES:
        expect(len(shape) == len(places) == 2, "a matrix has rows and columns")  # noqa: PLR2004  # that is what 2 means
        _check_fibres(len(data), places[:1], places[1:], shape, _AXES_OF_MATRICES[name])
    else:
        expect(name == "SparseCSFTensor" and len(shape) > 1, "a sparse tensor is of a kind that there is")
        pointers, indices = places
        expect(type(pointers) in _LISTS and type(indices) in _LISTS, "a sparse tensor has indices for each axis")
        expect(len(pointers) + 1 == len(indices) == len(shape), "a sparse tensor has indices for each axis")
        _check_fibres(len(data), pointers, indices, shape, range(len(shape)))
    return reducers.rebuild_sparse(name, data, places, shape, names)


def _check_numbers(array: Any, kinds: str = _NUMBERS) -> None:
    # Nobody has an array of numpy's where that has not been imported.
    numpy = sys.modules.get("numpy")
    expect(numpy is not None and type(array) is numpy.ndarray, "a tensor is over an array of numpy's")
    expect(array.dtype.kind in kinds and array.dtype.isnative, "a tensor consists of numbers")


def _check_names(names: Any, count: int) -> None:
    expect(type(names) in _LISTS and all(type(name) is str for name in names), "the axes of a tensor have names")
    expect(not names or len(names) == count, "all axes of a tensor have names")


def _check_coordinates(count: int, places: Sequence[Any], shape: tuple[int, ...]) -> None:
    (where,) = places
    _check_indices(where, 2)
    expect(where.shape == (count, len(shape)), "each element of a sparse tensor is somewhere")
    if count:
        inside = all(low >= 0 and high < n for low, high, n in zip(where.min(0), where.max(0), shape, strict=True))
        expect(inside, "the elements of a sparse tensor are in it")


def _check_fibres(
    count: int, pointers: Sequence[Any], indices: Sequence[Any], shape: tuple[int, ...], axes: Sequence[int]
) -> None:
    """Refuse what does not lead from each index of an axis to its indices of the next one, and at last to elements.

    Of a matrix, the indices of the first axis are all there are.
    """
    lengths = [*map(len, indices), count]
    if len(indices) == len(pointers):
        lengths = [shape[axes[0]], *lengths]
    for starts, outer, inner in zip(pointers, lengths, lengths[1:], strict=False):
        _check_indices(starts, 1)
        expect(len(starts) == outer + 1 and starts[0] == 0 and starts[-1] == inner, "the axes of a tensor fit together")
        expect((starts[1:] >= starts[:-1]).all(), "the pointers of a tensor lead on")
    expect(lengths[-2] == count, "each element of a sparse tensor is somewhere")
    for places, axis in zip(indices, axes[-len(indices) :], strict=True):
        _check_indices(places, 1)
        expect(not len(places) or (places.min() >= 0 and places.max() < shape[axis]), "the elements are in the tensor")
    for one, other in pairwise([*pointers, *indices]):
        expect(one.dtype == other.dtype, "the indices of a tensor are integers of one kind")


def _check_indices(array: Any, ndim: int) -> None:
    _check_numbers(array, "iu")
    expect(array.ndim == ndim and array.flags.forc, "the indices of a tensor are in one piece")


GUARDS: Final[dict[str, Callable[..., Any] | None]] = GUARDS_OF_TYPES | {
    "oobcodec.reducers.arrow:rebuild_array": rebuild_array,
    "oobcodec.reducers.arrow:rebuild_batch": rebuild_batch,
    "oobcodec.reducers.arrow:rebuild_buffer": rebuild_buffer,
    "oobcodec.reducers.arrow:rebuild_chunked": rebuild_chunked,
    "oobcodec.reducers.arrow:rebuild_scalar": rebuild_scalar,
    "oobcodec.reducers.arrow:rebuild_short_batch": rebuild_short_batch,
    "oobcodec.reducers.arrow:rebuild_short_table": rebuild_short_table,
    "oobcodec.reducers.arrow:rebuild_sparse": rebuild_sparse,
    "oobcodec.reducers.arrow:rebuild_table": rebuild_table,
    "oobcodec.reducers.arrow:rebuild_tensor": rebuild_tensor,
}
