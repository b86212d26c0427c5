"""numpy: arrays as views of the frames they arrive in, subclasses with their types.

What has no gaps travels where it lies and keeps its strides; what has gaps is compacted, in the order of its memory.
A `numpy.memmap` arrives as an ordinary array: the receiver does not have the file.
"""

from __future__ import annotations

import warnings
from functools import cache
from math import prod
from operator import attrgetter
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from oobcodec.engine import IN_BAND
from oobcodec.reducers.attributes import with_attributes
from oobcodec.reducers.numpy_dtypes import describe, named, reduce_dtype, runs
from oobcodec.reducers.numpy_memory import compacted, extent_of, gapless, gappy, memory_of
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oobcodec.buffers import Buffer
    from oobcodec.registry import BufferCall

    Array: TypeAlias = np.ndarray[Any, Any]
    Dtype: TypeAlias = np.dtype[Any]
    Reduced: TypeAlias = str | tuple[Any, ...]

# The dtypes that the buffer protocol knows, both byte orders of each.
_NATIVE: Final = [np.dtype(char) for char in "?bBhHiIlLqQefdFD"]
_NAMES: Final = {dtype: dtype.str for native in _NATIVE for dtype in (native, native.newbyteorder("S"))}
_name_of = _NAMES.get
_frombuffer = np.frombuffer
_ndarray: Any = np.ndarray
_USER_DEFINED: Final = 2  # of ``dtype.isbuiltin``
_KNOWN: Final = frozenset(np.typecodes["All"])
# By name, because numpy 2 moved some to modules that numpy 1 does not have.
_CLASSES: Final = {
    "MaskedArray": "ma.MaskedArray",
    "chararray": "char.chararray",
    "matrix": "matrix",
    "mvoid": "ma.core.mvoid",
    "recarray": "rec.recarray",
}
_MEMMAP: Final = ("_mmap", "filename", "mode", "offset")


# Arrays


def reduce_ndarray(array: Any) -> Reduced:
    """Take an array apart, or a subclass that has no pickling method of its own."""
    if type(array) is not _ndarray:
        return reduce_view(array, _ndarray.view(array, _ndarray))
    dtype = array.dtype
    name = _name_of(dtype)
    if name is not None and array.flags.c_contiguous and dtype.metadata is None and array.size:
        if array.ndim == 1:
            return _frombuffer, (PickleBuffer(array), name)
        return rebuild_ndarray, (PickleBuffer(array), name, array.shape)
    return _reduce_unusual(array, dtype)


def _alone(array: Any) -> BufferCall | None:
    """Return how a large plain array is rebuilt: what `reduce_ndarray` says of it."""
    dtype = array.dtype
    name = _name_of(dtype)
    if name is None or array.nbytes < IN_BAND or not array.flags.c_contiguous or dtype.metadata is not None:
        return None
    if array.ndim == 1:
        return _frombuffer, PickleBuffer(array), (name,)
    return rebuild_ndarray, PickleBuffer(array), (name, array.shape)


def _reduce_unusual(array: Array, dtype: Dtype) -> Reduced:
    if array.size == 0 or dtype.itemsize == 0:
        return rebuild_empty, (describe(dtype), array.shape, _writeable(array))
    if dtype.kind == "T":
        return _reduce_boxed(array, _reduce_strings)
    if dtype.hasobject:
        return _reduce_boxed(array, _reduce_objects if dtype.names is None else _reduce_fields)
    if dtype.char not in _KNOWN and dtype.isbuiltin != _USER_DEFINED:
        return array.__reduce_ex__(5)
    return _reduce_strided(array)


def _reduce_strided(array: Any) -> Reduced:
    dtype, shape, strides = array.dtype, array.shape, array.strides
    # Four short cuts, for what is frequent: by columns, times, broadcast, and a few elements of a table.
    if array.flags.forc and (dtype in _NAMES or dtype.kind in "mM"):
        where = () if array.flags.c_contiguous else (strides, 0)
        memory = array if dtype in _NAMES else array.view("u8")
        return rebuild_ndarray, (PickleBuffer(memory), describe(dtype), shape, *where)
    if 0 in strides and dtype in _NAMES:
        core = array[tuple([slice(None if stride else 1) for stride in strides])]
        if core.flags.forc:
            return rebuild_ndarray, (PickleBuffer(core), describe(dtype), shape, strides, 0)
    if array.ndim == 1 and strides[0] > dtype.itemsize and dtype in _NAMES:
        return _reduce_spaced(array, _NAMES[dtype], array.nbytes, strides[0])
    nbytes, offset, gap_free = extent_of(shape, strides, dtype.itemsize)
    dense = runs(dtype) == ((0, dtype.itemsize),)
    where = () if array.flags.c_contiguous else (strides, offset)
    if gap_free and dense:
        buffer: Buffer = memory_of(array, nbytes, offset)
    elif min(nbytes, gapless(shape, strides, dtype.itemsize)[1]) < IN_BAND:
        # Not by `Gappy`: the stream would take a small extent with its gaps, and so little is not worth a frame.
        buffer = compacted(array)
        if not memory_of(array, nbytes, offset).flags.writeable:
            buffer = buffer.toreadonly()
    else:
        buffer = gappy(array, nbytes, offset)
    return rebuild_ndarray, (PickleBuffer(buffer), describe(dtype), shape, *where)


def _reduce_spaced(array: Any, dtype: str, nbytes: int, step: int) -> Reduced:
    if nbytes < IN_BAND:
        copy = array.copy()
        copy.flags.writeable = not memoryview(array).readonly
        return _frombuffer, (PickleBuffer(copy), dtype)
    extent = (array.size - 1) * step + array.itemsize
    return rebuild_spaced, (PickleBuffer(gappy(array, extent, 0)), dtype, nbytes, step)


def rebuild_ndarray(
    buffer: Buffer, dtype: str | Dtype, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0
) -> Array:
    """Rebuild an array as a view of `buffer`.

    Parameters
    ----------
    buffer
        Either all bytes from the first to the last of the array, or if that is another number, its elements alone:
        contiguous, and their axes in the order in which they lay in memory.
    dtype
        The dtype, or its string.
    shape
        The shape.
    strides
        Bytes from an element to the next along each axis; by default the elements are contiguous in C order.
    offset
        Bytes from the start of the memory to the first element.
    """
    if isinstance(dtype, str):
        dtype = named(dtype)
    if strides is None:
        return _frombuffer(buffer, dtype).reshape(shape)
    # The view is one of an array, because numpy looks through a memoryview and would not hold its memory.
    flat = _frombuffer(buffer, np.uint8)
    extent = dtype.itemsize
    for length, stride in zip(shape, strides, strict=True):
        extent += abs(stride) * (length - 1)
    if flat.size != extent:
        strides, offset = gapless(shape, strides, dtype.itemsize)[0], 0
    return np.ndarray(shape, dtype, flat, offset, strides)


def rebuild_spaced(buffer: Buffer, dtype: str, nbytes: int, step: int) -> Array:
    """Rebuild an array of one dimension whose elements lay apart.

    Parameters
    ----------
    buffer
        The elements alone, or if it is longer than that, all bytes from the first to the last of them.
    dtype
        The string of the dtype.
    nbytes
        Bytes of all elements.
    step
        Bytes from an element to the next where the buffer is longer.
    """
    if len(buffer) == nbytes:
        return _frombuffer(buffer, dtype)
    element = named(dtype)
    return np.ndarray((nbytes // element.itemsize,), element, _frombuffer(buffer, np.uint8), 0, (step,))


def rebuild_empty(dtype: str | Dtype, shape: tuple[int, ...], writeable: bool) -> Array:  # noqa: FBT001  # by position
    """Rebuild an array without bytes."""
    # Most other functions of numpy make one byte or character of elements that have none.
    array: Array = np.ndarray(shape, named(dtype) if isinstance(dtype, str) else dtype)
    array.flags.writeable = writeable
    return array


# Arrays of Python objects, and of strings of any length


def _reduce_boxed(array: Array, reduce: Callable[[Array, Array], Reduced]) -> Reduced:
    if any(length > 1 and not stride for length, stride in zip(array.shape, array.strides, strict=True)):
        core = array[tuple([slice(None if stride else 1) for stride in array.strides])]
        return rebuild_broadcast, (core, array.shape)
    return reduce(array, array.transpose(_memory_order(array)))


def _memory_order(array: Array) -> list[int]:
    """Return the axes of an array from that with the largest steps in memory to that with the smallest."""
    return sorted(range(array.ndim), key=lambda axis: (-abs(array.strides[axis]), axis))


def _reduce_objects(array: Array, core: Array) -> Reduced:
    state = (core.reshape(-1).tolist(), _writeable(array))
    return rebuild_blank, (describe(array.dtype), array.shape, _memory_order(array)), state, None, None, set_objects


def _reduce_fields(array: Array, _core: Array) -> Reduced:
    parts = [array[name] for name in array.dtype.names or ()]
    state = (parts, _writeable(array))
    return rebuild_blank, (describe(array.dtype), array.shape, _memory_order(array)), state, None, None, set_fields


def rebuild_broadcast(core: Array, shape: tuple[int, ...]) -> Array:
    """Rebuild an array that repeats its elements along some axes; it is read-only, whatever it was."""
    return np.broadcast_to(core, shape)


def rebuild_blank(dtype: str | Dtype, shape: tuple[int, ...], order: Sequence[int]) -> Array:
    """Return an array to be filled, contiguous with its axes in the given order in memory."""
    dtype = named(dtype) if isinstance(dtype, str) else dtype
    return _ordered(np.zeros(prod(shape), dtype), shape, order)


def _ordered(flat: Array, shape: tuple[int, ...], order: Sequence[int]) -> Array:
    """Return `flat` with the axes of `shape`, which are in the given order in memory."""
    return flat.reshape([shape[axis] for axis in order]).transpose([order.index(axis) for axis in range(len(shape))])


def set_objects(array: Array, state: tuple[list[Any], bool]) -> None:
    """Fill an array with the objects that it holds, in the order of its memory."""
    objects, array_writeable = state
    flat = array.transpose(_memory_order(array)).reshape(-1)
    # Not the list itself, which numpy would take for nested sequences.
    flat[:] = np.fromiter(objects, object, len(objects))
    array.flags.writeable = array_writeable


def set_fields(array: Array, state: tuple[list[Array], bool]) -> None:
    """Fill a structured array field by field."""
    parts, array_writeable = state
    for name, part in zip(array.dtype.names or (), parts, strict=True):
        array[name][...] = part
    array.flags.writeable = array_writeable


def _reduce_strings(array: Array, core: Array) -> Reduced:
    strings = core.reshape(-1).tolist()
    missing = None
    if hasattr(array.dtype, "na_object"):
        na = array.dtype.na_object
        missing = np.fromiter((string is na for string in strings), np.bool_, len(strings))
        strings = ["" if string is na else string for string in strings]
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    lengths = lengths.astype(np.min_scalar_type(lengths.max()))
    text = PickleBuffer("".join(strings).encode())
    layout = (array.shape, _memory_order(array), _writeable(array))
    return rebuild_strings, (text, lengths, missing, array.dtype, layout)


def rebuild_strings(
    text: Buffer,
    lengths: Array,
    missing: Array | None,
    dtype: Dtype,
    layout: tuple[tuple[int, ...], Sequence[int], bool],
) -> Array:
    """Rebuild an array of ``StringDType``.

    Parameters
    ----------
    text
        All strings in the order of the array's memory, one after the other, as UTF-8.
    lengths
        Code points of each.
    missing
        Which of them are missing values, if the dtype has such.
    dtype
        The dtype.
    layout
        The shape; the axes, from that with the largest steps in memory to that with the smallest; whether the array may
        be written to.
    """
    shape, order, writeable = layout
    whole = str(text, "utf-8")
    stops = np.cumsum(lengths, dtype=np.int64).tolist()
    strings: list[Any] = [whole[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
    if missing is not None:
        for i in np.flatnonzero(missing).tolist():
            strings[i] = dtype.na_object  # type: ignore[attr-defined]
    array = _ordered(np.array(strings, dtype), shape, order)
    array.flags.writeable = writeable
    return array


def _writeable(array: Array) -> bool:
    with warnings.catch_warnings():
        # Some results of `numpy.broadcast_arrays` warn when they are asked.
        warnings.simplefilter("ignore")
        return bool(array.flags.writeable)


# Subclasses


def reduce_view(array: Array, data: Array) -> Reduced:
    """Take a view of `data` apart that has a class and attributes besides."""
    arguments = (class_reference(type(array)), data)
    state = object.__getstate__(array)
    if isinstance(array, np.memmap) and isinstance(state, dict):
        state = {name: value for name, value in state.items() if name not in _MEMMAP}
    return with_attributes(rebuild_view, arguments, state)


def reduce_memmap(array: Array) -> Reduced:
    """Take an array apart that is mapped from a file, and will not be."""
    return reduce_ndarray(np.ndarray.view(array, np.ndarray))


def class_reference(cls: type) -> str | type:
    """Return what `rebuild_view` wants to know of a class."""
    return cls.__name__ if cls.__module__.partition(".")[0] == "numpy" and cls.__name__ in _CLASSES else cls


def rebuild_view(cls: str | type, data: Array) -> Array:
    """Rebuild an array of a subclass, without its attributes."""
    view: Array = data.view(numpy_class(cls) if isinstance(cls, str) else cls)
    return view


@cache
def numpy_class(name: str) -> type:
    """Return a class of numpy's by its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what numpy 2.5 thinks of chararray
        cls: type = attrgetter(_CLASSES[name])(np)
    return cls


# The registry


def _read_only(rebuild: Callable[..., Array]) -> Callable[..., Array]:
    def rebuild_read_only(*arguments: Any) -> Array:
        array = rebuild(*arguments)
        array.flags.writeable = False
        return array

    return rebuild_read_only


def _set_read_only(fill: Callable[[Array, Any], None]) -> Callable[[Array, Any], None]:
    def fill_read_only(array: Array, state: tuple[Any, bool]) -> None:
        fill(array, (state[0], False))

    return fill_read_only


def register() -> None:
    """Tell the registry."""
    provide, frozen = DEFAULT.provide, DEFAULT.frozen
    provide(np.ndarray, reduce_ndarray, subclasses=True, alone=_alone)
    provide(np.memmap, reduce_memmap)
    provide(np.dtype, reduce_dtype, subclasses=True)
    if hasattr(np.dtypes, "StringDType"):
        provide(np.dtypes.StringDType, reduce_dtype)  # it has a method of its own, with a private function in it
    for rebuild in (_frombuffer, rebuild_ndarray, rebuild_empty, rebuild_strings):
        frozen[rebuild] = _read_only(rebuild)
    for fill in (set_objects, set_fields):
        frozen[fill] = _set_read_only(fill)
