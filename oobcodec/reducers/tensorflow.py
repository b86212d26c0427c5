"""TensorFlow: eager tensors over the frames they arrive in, and what consists of them.

An eager tensor never changes, and TensorFlow copies memory that is not its own before it writes to it: a read-only
frame serves as well as a writable one, and a variable starts on the frame that its value arrived in.
"""

from __future__ import annotations

from io import BytesIO
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable  # whose name is not public

from oobcodec.buffers import ALIGNMENT, allocate
from oobcodec.errors import DecodeError, EncodeError
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from typing import TypeAlias

    from oobcodec.buffers import Buffer

    Array: TypeAlias = np.ndarray[Any, Any]
    Ints: TypeAlias = tuple[int, ...]
    Reduced: TypeAlias = tuple[Any, ...]

_NUMBERS: Final = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
# What TensorFlow lays over memory as numbers of another dtype, whose bits it then takes for its own.
_DISGUISES: Final = {
    "bfloat16": "uint16",
    "qint8": "int8",
    "qint16": "int16",
    "qint32": "int32",
    "quint8": "uint8",
    "quint16": "uint16",
}
_OVERLAID: Final = {name: np.dtype(name) for name in _NUMBERS} | {
    name: np.dtype(disguise) for name, disguise in _DISGUISES.items()
}
_NAMES: Final = {tf.as_dtype(name): name for name in _NUMBERS}
_name_of = _NAMES.get
_HANDLES: Final = frozenset({"resource", "variant"})
_CPU: Final = "CPU:0"
_from_dlpack = tf.experimental.dlpack.from_dlpack


# Tensors


def reduce_tensor(tensor: Any) -> Reduced:
    """Take an eager tensor apart; one of another device goes through the memory of the host."""
    name = _name_of(tensor.dtype)
    if name is None or tensor.__dict__ or not tensor.device.endswith(_CPU):
        return _reduce_unusual(tensor)
    # A `PickleBuffer` of the tensor itself would not know that it is read-only.
    memory = memoryview(tensor)
    return rebuild_tensor, (PickleBuffer(memory), name, memory.shape)


def _reduce_unusual(tensor: Any) -> Reduced:
    name, shape, device = tensor.dtype.name, tuple(tensor.shape), tensor.device.rpartition("device:")[2]
    if name in _HANDLES:
        message = f"a tensor of dtype {name!r} is a handle of this process: send the numbers or strings behind it"
        raise EncodeError(message)
    # What TensorFlow returns of a tensor without dimensions is no array.
    array = np.asarray(tensor) if shape else np.asarray(tensor.numpy(), object if name == "string" else None)
    state = (tensor.__dict__,) if tensor.__dict__ else ()
    if name == "string":
        strings: list[bytes] = array.reshape(-1).tolist()
        lengths = np.fromiter(map(len, strings), np.int64, len(strings))
        lengths = lengths.astype(np.min_scalar_type(lengths.max(initial=0)))
        text, where = PickleBuffer(b"".join(strings)), PickleBuffer(lengths.data)
        return rebuild_strings, (text, where, lengths.itemsize, shape), *state
    memory = array.reshape(-1).view(f"V{array.itemsize}").view(np.uint8).data.toreadonly()
    return rebuild_tensor, (PickleBuffer(memory), name, shape, device), *state


def rebuild_tensor(buffer: Buffer, dtype: str, shape: Ints, device: str = _CPU) -> Any:
    """Rebuild a tensor over `buffer`, or over a copy if that does not start at a multiple of 64 bytes.

    Parameters
    ----------
    buffer
        The elements, contiguous in C order.
    dtype
        The name of the dtype. TensorFlow cannot lay all of them over memory: ``"float8_e5m2"`` is copied, for example.
    shape
        The shape.
    device
        Where to place a copy of the tensor, if this machine has a device of that name.

    Raises
    ------
    DecodeError
        This TensorFlow has no such dtype.
    """
    overlaid = _OVERLAID.get(dtype)
    if overlaid is not None and dtype not in _DISGUISES:
        tensor = _over(np.frombuffer(buffer, overlaid).reshape(shape))
    else:
        known = rebuild_dtype(dtype)
        with tf.init_scope(), tf.device(_CPU):  # where the memory is: by default TensorFlow prefers accelerators
            if overlaid is not None:
                tensor = tf.bitcast(_over(np.frombuffer(buffer, overlaid).reshape(shape)), known)
            else:
                tensor = tf.constant(np.frombuffer(buffer, known.as_numpy_dtype).reshape(shape))
    return tensor if device == _CPU else _placed(tensor, device)


class _Interface:
    """What `numpy.asarray` makes an array of, over the memory of another one."""

    __slots__ = ("__array_interface__", "source")

    def __init__(self, interface: dict[str, Any], source: object) -> None:
        self.__array_interface__ = interface
        self.source = source


def _over(array: Array) -> Any:
    """Return a tensor over the memory of an array, or of a copy with the alignment that TensorFlow relies on."""
    interface = array.__array_interface__
    start, _ = interface["data"]
    if start % ALIGNMENT:
        memory = allocate(array.nbytes)
        memory[:] = array.reshape(-1).view(np.uint8).data
        array = np.frombuffer(memory, array.dtype).reshape(array.shape)
    else:
        # DLPack as TensorFlow knows it has no read-only memory; TensorFlow does not write to what it gets this way.
        interface["data"] = start, False
        array = np.asarray(_Interface(interface, array))
    return _from_dlpack(array.__dlpack__())


def _placed(tensor: Any, device: str) -> Any:
    if device not in {known.name.rpartition("device:")[2] for known in tf.config.list_logical_devices()}:
        return tensor
    with tf.device(device):
        return tf.identity(tensor)


def rebuild_strings(text: Buffer, lengths: Buffer, itemsize: int, shape: Ints) -> Any:
    """Rebuild a tensor of strings.

    Parameters
    ----------
    text
        All of them, one after the other.
    lengths
        Bytes of each, as unsigned integers.
    itemsize
        Bytes of each of these integers.
    shape
        The shape.
    """
    strings = list(map(BytesIO(text).read, np.frombuffer(lengths, f"u{itemsize}").tolist()))
    with tf.init_scope():  # at once, even while a function is traced
        return tf.constant(np.array(strings, object).reshape(shape), tf.string)


def reduce_symbolic(tensor: Any) -> Reduced:
    """Refuse a tensor that stands for what a graph will compute."""
    message = f"{tensor} is symbolic, and has no value: send what the function returns that computes it"
    raise EncodeError(message)


# Variables


def reduce_variable(variable: Any) -> Reduced:
    """Take a variable apart; a message that holds its value does not change when the variable does."""
    value = variable.value()
    shape = None if variable.shape == value.shape else variable.shape
    name = variable.name.rpartition(":")[0]
    kinds = (variable.synchronization.name, variable.aggregation.name)
    return rebuild_variable, (value, name, variable.trainable, shape, *kinds, variable.constraint)


def rebuild_variable(  # noqa: PLR0913, PLR0917
    value: Any,
    name: str,
    trainable: bool,  # noqa: FBT001  # pickle passes by position
    shape: tf.TensorShape | None,
    synchronization: str,
    aggregation: str,
    constraint: Any,
) -> Any:
    """Rebuild a variable, which starts on the memory of its value and leaves it when it is first assigned to.

    Parameters
    ----------
    value
        A tensor.
    name, trainable, constraint
        As of `tensorflow.Variable`.
    shape
        Which values it takes, if not only those with the shape of this one.
    synchronization, aggregation
        The names of members of `tensorflow.VariableSynchronization` and `tensorflow.VariableAggregation`.
    """
    return ResourceVariable(
        value,
        trainable=trainable,
        name=name,
        constraint=constraint,
        synchronization=tf.VariableSynchronization[synchronization],
        aggregation=tf.VariableAggregation[aggregation],
        shape=shape,
    )


# What consists of tensors


def reduce_ragged(tensor: Any) -> Reduced:
    """Take a ragged tensor apart."""
    if tensor.uniform_row_length is None:
        return rebuild_ragged, (tensor.values, tensor.row_splits)
    return rebuild_uniform, (tensor.values, tensor.uniform_row_length, tensor.nrows())


def rebuild_ragged(values: Any, row_splits: Any) -> Any:
    """Rebuild a ragged tensor."""
    return tf.RaggedTensor.from_row_splits(values, row_splits, validate=False)


def rebuild_uniform(values: Any, length: Any, count: Any) -> Any:
    """Rebuild a ragged tensor with `count` rows of one length."""
    return tf.RaggedTensor.from_uniform_row_length(values, length, count, validate=False)


def reduce_sparse(tensor: Any) -> Reduced:
    """Take a sparse tensor apart."""
    return rebuild_sparse, (tensor.indices, tensor.values, tensor.dense_shape)


def rebuild_sparse(indices: Any, values: Any, shape: Any) -> Any:
    """Rebuild a sparse tensor; all arguments are tensors."""
    return tf.SparseTensor(indices, values, shape)


def reduce_slices(slices: Any) -> Reduced:
    """Take slices of a tensor apart, as gradients of embeddings are."""
    return rebuild_slices, (slices.values, slices.indices, slices.dense_shape)


def rebuild_slices(values: Any, indices: Any, shape: Any) -> Any:
    """Rebuild slices of a tensor; `shape` is that of the whole one, or None."""
    return tf.IndexedSlices(values, indices, shape)


# Descriptions


def reduce_dtype(dtype: Any) -> Reduced:
    """Take a dtype apart."""
    return rebuild_dtype, (dtype.name,)


def rebuild_dtype(name: str) -> Any:
    """Return the dtype of a name.

    Raises
    ------
    DecodeError
        This TensorFlow has no such dtype.
    """
    try:
        return tf.as_dtype(name)
    except TypeError as error:
        message = f"TensorFlow {tf.__version__} has no dtype {name!r}: install the sender's version"
        raise DecodeError(message) from error


def reduce_shape(shape: Any) -> Reduced:
    """Take a shape apart."""
    return rebuild_shape, (None if shape.rank is None else tuple(shape.as_list()),)


def rebuild_shape(lengths: tuple[int | None, ...] | None) -> Any:
    """Rebuild a shape of which lengths, or all of it, may be unknown."""
    return tf.TensorShape(lengths)


def register() -> None:
    """Tell the registry."""
    provide = DEFAULT.provide
    provide(tf.Tensor, reduce_symbolic, subclasses=True)
    provide(tf.__internal__.EagerTensor, reduce_tensor)
    provide(ResourceVariable, reduce_variable)
    provide(tf.RaggedTensor, reduce_ragged)
    provide(tf.SparseTensor, reduce_sparse)
    provide(tf.IndexedSlices, reduce_slices)
    provide(tf.DType, reduce_dtype)
    provide(tf.TensorShape, reduce_shape)
