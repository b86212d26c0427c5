"""numpy: arrays whose elements all lie in the memory that they are given."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from oobcodec.guards.attributes import ACCEPTS, check_plain
from oobcodec.guards.checks import claim, expect, is_ints
from oobcodec.guards.numpy_contents import check_contents
from oobcodec.guards.numpy_dtypes import MOST, PLAIN, element, element_in_memory, size_of
from oobcodec.reducers import numpy as reducers
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable

    Array: TypeAlias = np.ndarray[Any, Any]
    Dtype: TypeAlias = np.dtype[Any]

BUFFERS: Final = frozenset({bytes, bytearray, memoryview})
"""What has bytes of its own, that hold no addresses of objects."""

_FURTHEST: Final = 1 << 62  # bytes from one element to another, were there another
_CHECKED: Final = frozenset("bUM")
_CHARACTERS: Final = frozenset("SUV")
_frombuffer = np.frombuffer


# Arrays over buffers


def frombuffer(buffer: Any, name: Any) -> Array:
    """Rebuild an array of one dimension as a view of a buffer."""
    # Only of strings: the hash of a tuple of tuples may take for ever.
    dtype = PLAIN.get(name) if type(name) is str else None
    if dtype is None or type(buffer) not in BUFFERS:
        expect(condition=False, text="an array is made of bytes, and of a dtype of numbers")
    array: Array = _frombuffer(buffer, dtype)
    if name == "|b1":
        check_contents(array)
    return array


def rebuild_ndarray(buffer: Any, dtype: Any, shape: Any, strides: Any = None, offset: Any = 0) -> Array:
    """Rebuild an array as a view of a buffer, which holds its elements and nothing else, or all between them too."""
    known = element_in_memory(dtype)
    size = size_of(shape)
    if not size or type(buffer) not in BUFFERS:
        expect(condition=False, text="an array with elements is made of bytes")
    if strides is None:
        array = _frombuffer(buffer, known)
        if array.size != size:
            expect(condition=False, text="an array has as many elements as arrive")
        array = array.reshape(shape)
    else:
        _check_strides(memoryview(buffer).nbytes, known.itemsize, shape, strides, offset)
        expect(size * known.itemsize <= MOST, "an array is not too large for its elements to be counted")
        array = reducers.rebuild_ndarray(buffer, known, shape, strides, offset)
    if known.kind in _CHECKED or known.names is not None:
        check_contents(array if strides is None else _distinct(array, buffer))
    return array


def _check_strides(nbytes: int, itemsize: int, shape: tuple[int, ...], strides: Any, offset: Any) -> None:
    expect(is_ints(strides) and len(strides) == len(shape) and type(offset) is int, "each axis has a stride")
    extent, first, packed = itemsize, 0, itemsize
    for length, stride in zip(shape, strides, strict=True):
        if not -_FURTHEST < stride < _FURTHEST:
            expect(condition=False, text="a stride is a number of bytes")
        reach = stride * (length - 1)
        if reach < 0:
            extent -= reach
            first -= reach
        else:
            extent += reach
        if stride:
            packed *= length
    if nbytes == extent:
        expect(offset == first, "the first element lies where the strides say")
    else:
        expect(nbytes == packed, "an array has as many bytes as arrive")


def _distinct(array: Array, buffer: Any) -> Array:
    """Return an array of elements that together are all of another one, and no more bytes than there are."""
    core = array[(*[slice(None if stride else 1) for stride in array.strides], ...)]
    if core.nbytes <= memoryview(buffer).nbytes:
        return core
    # Windows that slide over an array: each element begins where one does without them.
    itemsize = array.itemsize
    expect(not any(stride % itemsize for stride in core.strides), "elements that overlap do so wholly")
    flat: Array = _frombuffer(buffer, array.dtype)
    return flat


def rebuild_spaced(buffer: Any, dtype: Any, nbytes: Any, step: Any) -> Array:
    """Rebuild an array of one dimension whose elements lay apart."""
    known = PLAIN.get(dtype)
    expect(known is not None and type(buffer) in BUFFERS, "an array is made of bytes, and of a dtype of numbers")
    itemsize = known.itemsize  # type: ignore[union-attr]  # expected
    view = memoryview(buffer)
    expect(view.ndim == view.itemsize == 1, "a buffer consists of bytes")
    expect(type(nbytes) is type(step) is int and nbytes > 0 and nbytes % itemsize == 0, "elements have bytes")
    expect(step >= itemsize, "elements that lie apart do not overlap")
    extent = (nbytes // itemsize - 1) * step + itemsize
    expect(view.nbytes in {nbytes, extent}, "an array has as many bytes as arrive")
    array = reducers.rebuild_spaced(buffer, dtype, nbytes, step)
    if dtype == "|b1":
        check_contents(array)
    return array


def rebuild_empty(dtype: Any, shape: Any, writeable: Any) -> Array:
    """Rebuild an array without bytes."""
    known = element(dtype)
    size = size_of(shape)
    expect(not (size and known.itemsize), "an array without bytes has no elements, or they have none")
    expect(type(writeable) is bool, "an array can be written to, or not")
    # numpy has room for one element where there is none, and goes through all of those that have no bytes.
    claim(known.itemsize + size)
    return reducers.rebuild_empty(known, shape, writeable)


# Arrays of Python objects, and of strings of any length


class Blank(np.ndarray[Any, Any]):
    """The memory of an array of objects.

    Attributes
    ----------
    depth : int
        How many such arrays lie in each other, this one included; 0 until it is filled. numpy frees them by calls in
        each other, which crash if there are too many.
    """

    depth = 0


_DEEPEST: Final = 32
_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})


def rebuild_blank(dtype: Any, shape: Any, order: Any) -> Array:
    """Return an array of objects to be filled."""
    known = element(dtype)
    size = size_of(shape)
    expect(known.hasobject and known.kind != "T", "it is objects that an array is filled with")
    _check_order(order, len(shape))
    claim(size * known.itemsize)
    # It owns its memory, so that it is among the bases of its views; and where there are objects, numpy clears that.
    memory = Blank(size, known)
    array = memory.view(np.ndarray)
    if len(shape) == 1:
        return array
    return array.reshape([shape[axis] for axis in order]).transpose([order.index(axis) for axis in range(len(order))])


def _check_order(order: Any, axes: int) -> None:
    expect(type(order) is list and len(order) == axes and is_ints(tuple(order)), "the axes of an array are in order")
    expect(sorted(order) == [*range(axes)], "each axis of an array is somewhere in its order")


def _memory_of(obj: Any) -> Blank | None:
    """Return the memory of an array of objects, or of one of its elements."""
    while isinstance(obj, (np.ndarray, np.void)) and type(obj) is not Blank:
        obj = obj.base
    return obj if type(obj) is Blank else None


def _blank(array: Any) -> Blank:
    expect(type(array) is np.ndarray, "it is an array that is filled")
    memory = _memory_of(array)
    expect(memory is not None and memory.depth == 0, "an array is filled once")
    return memory  # type: ignore[return-value]  # expected


def _contents(state: Any, array: Array) -> Any:
    expect(type(state) is tuple and len(state) == 2, "an array is filled with a list")  # noqa: PLR2004  # and a flag
    contents, writeable = state
    expect(type(contents) is list and type(writeable) is bool, "an array is filled with a list")
    count = len(array.dtype.names) if array.dtype.names is not None else array.size
    expect(len(contents) == count, "an array is filled wholly")
    return contents


def set_objects(array: Any, state: Any) -> None:
    """Fill an array with the objects that it holds."""
    memory = _blank(array)
    expect(array.dtype.char == "O", "it is objects that an array is filled with")
    depth = 1 + _depth(_contents(state, array))
    reducers.set_objects(array, state)
    memory.depth = depth


def _depth(objects: list[Any]) -> int:
    """Return how many arrays of objects lie in each other in these, one directly in the other."""
    classes = set(map(type, objects))
    if classes <= _ATOMS:
        return 0
    depth = 0
    # What they hold may still change, and they are freed by calls in each other just the same.
    expect(
        not classes & {deque, defaultdict}, "no deque and no defaultdict lies directly in an array: put it in a list"
    )
    if any(issubclass(cls, (np.ndarray, np.void)) for cls in classes):
        for obj in objects:
            depth = max(depth, _depth_of(obj))
    expect(depth < _DEEPEST, f"at most {_DEEPEST} arrays of objects lie in each other")
    return depth


def _depth_of(obj: Any) -> int:
    memory = _memory_of(obj)
    expect(memory is None or memory.depth, "an array is filled before it is put into another, or into itself")
    return 0 if memory is None else memory.depth


def set_fields(array: Any, state: Any) -> None:
    """Fill a structured array field by field."""
    memory = _blank(array)
    names = array.dtype.names
    expect(names is not None, "it is fields that an array is filled with")
    parts = _contents(state, array)
    for name, part in zip(names, parts, strict=True):
        field = array[name]
        expect(type(part) is np.ndarray, "a field is an array")
        expect(part.shape == field.shape and part.dtype == field.dtype, "a field fits into its array")
    depth = max(map(_depth_of, parts))
    reducers.set_fields(array, state)
    memory.depth = max(depth, 1)


def rebuild_broadcast(core: Any, shape: Any) -> Array:
    """Rebuild an array that repeats its elements along some axes."""
    expect(type(core) is np.ndarray, "it is an array that is repeated")
    expect(size_of(shape) * core.itemsize <= MOST, "an array is not too large for its elements to be counted")
    return reducers.rebuild_broadcast(core, shape)


def rebuild_strings(text: Any, lengths: Any, missing: Any, dtype: Any, layout: Any) -> Array:
    """Rebuild an array of strings of any length."""
    expect(type(layout) is tuple and len(layout) == 3, "an array of strings has a layout")  # noqa: PLR2004  # shape, order, flag
    shape, order, writeable = layout
    size = size_of(shape)
    expect(element(dtype).kind == "T" and type(text) in BUFFERS, "strings are bytes")
    expect(type(writeable) is bool, "an array can be written to, or not")
    _check_order(order, len(shape))
    _check_each(lengths, "u", size)
    if missing is not None:
        _check_each(missing, "b", size)
        expect(hasattr(dtype, "na_object"), "strings are missing only where they may be")
    view = memoryview(text)
    # For a string of Python's each, and for numpy's of them.
    claim(size * 80 + view.nbytes * 5)
    characters = len(str(view, "utf-8"))
    expect(int(lengths.max()) <= characters and int(lengths.sum()) == characters, "the strings are all of the text")
    return reducers.rebuild_strings(text, lengths, missing, dtype, layout)


def _check_each(array: Any, kind: str, size: int) -> None:
    expect(type(array) is np.ndarray and array.dtype.kind == kind, "each string has a length")
    expect(array.shape == (size,) and array.flags.c_contiguous, "each string has a length")


# Subclasses


def rebuild_view(name: Any, data: Any) -> Array:
    """Rebuild an array of one of numpy's subclasses, without its attributes."""
    known = _VIEWS.get(name) if type(name) is str else None
    expect(known is not None, "an array is of a class of numpy's")
    expect(known(data), "an array can be of its class")  # type: ignore[misc]  # expected
    return reducers.rebuild_view(name, data)


def _is_array(data: Any) -> bool:
    return type(data) is np.ndarray


_VIEWS: Final[dict[str, Callable[[Any], bool]]] = {
    "MaskedArray": lambda data: _is_array(data) or type(data) in {np.matrix, np.rec.recarray},
    "chararray": lambda data: _is_array(data) and data.dtype.kind in _CHARACTERS,
    "matrix": lambda data: _is_array(data) and data.ndim == 2,  # noqa: PLR2004  # rows and columns
    "mvoid": lambda data: _is_array(data) and data.ndim == 0 and data.dtype.names is not None,
    "recarray": _is_array,
}


def check_numpy(obj: Any, attributes: Any) -> None:
    """Refuse attributes that neither a user attaches to an array nor numpy to a matrix.

    Raises
    ------
    DecodeError
        One of them is something else.
    """
    expect(type(attributes) is dict, "attributes are a dict")
    plain = dict(attributes)
    # Whether a matrix is asked for an item of it.
    expect(type(plain.pop("_getitem", False)) is bool, "a matrix is asked for an item, or not")
    check_plain(obj, plain)


ACCEPTS.update(dict.fromkeys((np.matrix, np.rec.recarray, reducers.numpy_class("chararray")), check_numpy))


# The tables


_HERE: Final = "oobcodec.reducers.numpy"

GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "numpy:frombuffer": frombuffer,
    f"{_HERE}:rebuild_blank": rebuild_blank,
    f"{_HERE}:rebuild_broadcast": rebuild_broadcast,
    f"{_HERE}:rebuild_empty": rebuild_empty,
    f"{_HERE}:rebuild_ndarray": rebuild_ndarray,
    f"{_HERE}:rebuild_spaced": rebuild_spaced,
    f"{_HERE}:rebuild_strings": rebuild_strings,
    f"{_HERE}:rebuild_view": rebuild_view,
    f"{_HERE}:set_fields": set_fields,
    f"{_HERE}:set_objects": set_objects,
}


def _read_only(rebuild: Callable[..., Array]) -> Callable[..., Array]:
    def rebuild_read_only(*arguments: Any) -> Array:
        array = rebuild(*arguments)
        array.flags.writeable = False
        return array

    return rebuild_read_only


def _set_read_only(fill: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def fill_read_only(array: Any, state: Any) -> None:
        fill(array, state)
        array.flags.writeable = False

    return fill_read_only


_REBUILD: Final[tuple[Callable[..., Array], ...]] = (
    *(frombuffer, rebuild_empty, rebuild_ndarray, rebuild_spaced, rebuild_strings),
)
DEFAULT.frozen.update({rebuild: _read_only(rebuild) for rebuild in _REBUILD})
DEFAULT.frozen.update({fill: _set_read_only(fill) for fill in (set_fields, set_objects)})
