"""Guards of TensorFlow's data: eager tensors, variables, what consists of them, and what describes them.

Functions, models, layers and Keras' own variables are objects with code of their own, and none of this. TensorFlow ends
the process where it finds itself contradicted, so all that it relies on is checked here.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from oobcodec.buffers import ALIGNMENT
from oobcodec.errors import DecodeError
from oobcodec.guards.attributes import check_plain
from oobcodec.guards.checks import claim, expect, is_shape
from oobcodec.reducers import attributes
from oobcodec.reducers import tensorflow as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

_EagerTensor: Final[Any] = tf.__internal__.EagerTensor
_DTYPES: Final = {
    dtype.name: dtype
    for dtype in {**vars(tf.dtypes), **vars(tf.dtypes.experimental)}.values()
    if isinstance(dtype, tf.DType)
}
# The others are handles of the process, or strings, which have a way of their own.
_ELEMENTS: Final = {
    name: np.dtype(dtype.as_numpy_dtype)
    for name, dtype in _DTYPES.items()
    if name not in {"resource", "string", "variant"}
}
_INTEGERS: Final = frozenset({tf.int32, tf.int64})
# What `tensorflow.zeros` and layers of Keras attach to tensors.
_MARKS: Final = {"_is_zeros_tensor": bool, "_keras_mask": _EagerTensor}
_CPU: Final = "CPU:0"
_LONGEST: Final = 2**63 - 1
_MOST_ELEMENTS: Final = 1 << 48
"""Of one tensor, even if it is empty: far from the numbers where TensorFlow ends the process."""

_MOST_LETTERS: Final = 1000
_MOST_LEVELS: Final = 32
"""Of ragged tensors in ragged tensors; TensorFlow goes through them by recursion."""

_STRING: Final = 56
"""Bytes that a short string takes beside its text, in Python and in TensorFlow, while a tensor of them is made."""


# Tensors


def _check_buffer(buffer: Any) -> None:
    flat = type(buffer) is memoryview and buffer.ndim == 1 and buffer.format == "B" and buffer.c_contiguous
    expect(flat or type(buffer) in {bytes, bytearray}, "memory is a flat buffer")


def _count(shape: Any, most: int = _MOST_ELEMENTS) -> int:
    """Return how many elements there are of a shape, whose lengths TensorFlow multiplies without its zeros too."""
    expect(is_shape(shape), "a shape is a tuple of lengths")
    expect(prod([length or 1 for length in shape]) <= most, f"a tensor has no more than {most:,} elements")
    return prod(shape)


def rebuild_tensor(buffer: Any, dtype: Any, shape: Any, device: Any = _CPU) -> Any:
    """Rebuild a tensor that fills its buffer."""
    _check_buffer(buffer)
    expect(type(dtype) is str and type(device) is str, "dtypes and devices have names")
    element = _ELEMENTS.get(dtype)
    if element is None:
        message = f"TensorFlow {tf.__version__} has no tensors of dtype {dtype[:_MOST_LETTERS]!r} over memory"
        raise DecodeError(message)
    expect(_count(shape) * element.itemsize == len(buffer), "a tensor fills its buffer")
    octets = np.frombuffer(buffer, np.uint8)
    if dtype == "bool":
        expect(octets.max(initial=0) <= 1, "bools are 0 or 1")  # kernels count others in one way and copy in another
    aligned = octets.__array_interface__["data"][0] % ALIGNMENT == 0
    if not aligned or device != _CPU or dtype not in reducers._OVERLAID:  # noqa: SLF001  # those that are not copied
        claim(len(buffer))
    return reducers.rebuild_tensor(buffer, dtype, shape, device)


def rebuild_strings(text: Any, lengths: Any, itemsize: Any, shape: Any) -> Any:
    """Rebuild a tensor of strings that are all of a text."""
    _check_buffer(text)
    _check_buffer(lengths)
    expect(type(itemsize) is int and itemsize in {1, 2, 4, 8}, "lengths are integers of 1, 2, 4 or 8 bytes")
    count = _count(shape)
    expect(count * itemsize == len(lengths), "each string has a length")
    claim(len(text) + _STRING * count)
    # Numbers of Python's, whose sum has no bounds.
    expect(sum(np.frombuffer(lengths, f"u{itemsize}").tolist()) == len(text), "strings are all of their text")
    return reducers.rebuild_strings(text, lengths, itemsize, shape)


def set_attributes(tensor: Any, state: Any) -> None:
    """Set attributes of an eager tensor, as a user does, or as TensorFlow and Keras do with their own."""
    expect(type(state) is dict, "the attributes of a tensor are a dict")
    for name in _MARKS.keys() & state.keys():
        expect(type(state[name]) is _MARKS[name], f"the mark {name} of a tensor is of its class")
    check_plain(tensor, {name: value for name, value in state.items() if name not in _MARKS})
    attributes.set_attributes(tensor, state)


# Variables


def rebuild_variable(  # noqa: PLR0913, PLR0917
    value: Any, name: Any, trainable: Any, shape: Any, synchronization: Any, aggregation: Any, constraint: Any
) -> Any:
    """Rebuild a variable without a constraint, for that is a function."""
    expect(type(value) is _EagerTensor, "the value of a variable is a tensor")
    expect(type(name) is str and len(name) <= _MOST_LETTERS, "a variable has a name")
    expect(type(trainable) is bool, "whether a variable is trainable is a bool")
    expect(shape is None or type(shape) is tf.TensorShape, "a variable has a shape")
    expect(shape is None or shape.is_compatible_with(value.shape), "a variable has a shape that its value has")
    expect(type(synchronization) is str and type(aggregation) is str, "kinds of variables have names")
    expect(constraint is None, "a variable that arrives has no constraint")
    return reducers.rebuild_variable(value, name, trainable, shape, synchronization, aggregation, None)


# What consists of tensors


def _integers(tensor: Any, ndim: int) -> Any:
    """Return the integers of a tensor as numpy's, and account for them."""
    expect(type(tensor) is _EagerTensor and tensor.dtype in _INTEGERS, "indices are a tensor of integers")
    expect(tensor.shape.rank == ndim, "indices have as many axes as they need")
    array = np.asarray(tensor.numpy())
    claim(array.nbytes)
    return array


def _rows(values: Any) -> int:
    """Return how many rows there are in what a ragged tensor is made of."""
    if type(values) is tf.RaggedTensor:
        expect(values.ragged_rank < _MOST_LEVELS, "a ragged tensor has few levels")
        return int(values.nrows())
    expect(type(values) is _EagerTensor and values.shape.rank, "the values of a ragged tensor have rows")
    return int(values.shape[0])


def rebuild_ragged(values: Any, row_splits: Any) -> Any:
    """Rebuild a ragged tensor whose rows are all of its values."""
    splits = _integers(row_splits, 1)
    expect(len(splits) and splits[0] == 0 and splits[-1] == _rows(values), "the rows of a ragged tensor are its values")
    expect(bool((splits[1:] >= splits[:-1]).all()), "no row of a ragged tensor has a negative length")
    return reducers.rebuild_ragged(values, row_splits)


def rebuild_uniform(values: Any, length: Any, count: Any) -> Any:
    """Rebuild a ragged tensor with rows of one length, which are all of its values."""
    each, rows = int(_integers(length, 0)), int(_integers(count, 0))
    expect(each >= 0 and rows >= 0, "rows have lengths")
    expect(each * rows == _rows(values), "the rows of a ragged tensor are its values")
    # Rows without elements take no values, but the numbers of where they end take memory, twice until they are there.
    claim(2 * 8 * (rows + 1))
    return reducers.rebuild_uniform(values, length, count)


def _check_shape(shape: Any) -> list[int]:
    lengths: list[int] = _integers(shape, 1).tolist()
    _count(tuple(lengths), _LONGEST)  # the features of a sparse tensor may be hashes
    return lengths


def rebuild_sparse(indices: Any, values: Any, shape: Any) -> Any:
    """Rebuild a sparse tensor whose indices are within its shape; their order is the sender's."""
    expect(type(values) is _EagerTensor and values.shape.rank == 1, "the values of a sparse tensor are flat")
    where, lengths = _integers(indices, 2), _check_shape(shape)
    expect(where.shape == (values.shape[0], len(lengths)), "there is an index for each value and axis")
    expect(bool(((where >= 0) & (where < np.array(lengths, np.int64))).all()), "indices are within the shape")
    return reducers.rebuild_sparse(indices, values, shape)


def rebuild_slices(values: Any, indices: Any, shape: Any) -> Any:
    """Rebuild slices of a tensor that are within it."""
    expect(type(values) is _EagerTensor and values.shape.rank, "slices are a tensor")
    where = _integers(indices, 1)
    expect(len(where) == values.shape[0] and where.min(initial=0) >= 0, "there is an index for each slice")
    if shape is not None:
        lengths = _check_shape(shape)
        expect(lengths[1:] == values.shape[1:].as_list() and lengths, "slices have the shape of the whole tensor")
        expect(where.max(initial=-1) < lengths[0], "indices are within the shape")
    return reducers.rebuild_slices(values, indices, shape)


# Descriptions


def rebuild_dtype(name: Any) -> Any:
    """Return the dtype of a name."""
    expect(type(name) is str and len(name) <= _MOST_LETTERS, "a dtype has a name")
    dtype = _DTYPES.get(name)
    if dtype is None:
        message = f"TensorFlow {tf.__version__} has no dtype {name!r}: install the sender's version"
        raise DecodeError(message)
    return dtype


def rebuild_shape(lengths: Any) -> Any:
    """Rebuild a shape of which lengths, or all of it, may be unknown."""
    if lengths is not None:
        expect(type(lengths) is tuple, "a shape is a tuple of lengths")
        _count(tuple([0 if length is None else length for length in lengths]))
    return reducers.rebuild_shape(lengths)


STATES: Final[dict[type, Callable[[Any, Any], None]]] = {_EagerTensor: set_attributes}
GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "oobcodec.reducers.tensorflow:rebuild_dtype": rebuild_dtype,
    "oobcodec.reducers.tensorflow:rebuild_ragged": rebuild_ragged,
    "oobcodec.reducers.tensorflow:rebuild_shape": rebuild_shape,
    "oobcodec.reducers.tensorflow:rebuild_slices": rebuild_slices,
    "oobcodec.reducers.tensorflow:rebuild_sparse": rebuild_sparse,
    "oobcodec.reducers.tensorflow:rebuild_strings": rebuild_strings,
    "oobcodec.reducers.tensorflow:rebuild_tensor": rebuild_tensor,
    "oobcodec.reducers.tensorflow:rebuild_uniform": rebuild_uniform,
    "oobcodec.reducers.tensorflow:rebuild_variable": rebuild_variable,
}
