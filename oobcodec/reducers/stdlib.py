"""The standard library: memoryviews and arrays, which pickle refuses or copies into the stream; and paths."""

from __future__ import annotations

import array
import pathlib
import struct
import sys
import warnings
from math import prod
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final

from oobcodec.errors import DecodeError, EncodeError
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from oobcodec.buffers import Buffer

# Which sizes the letters stand for depends on the platform; what kind of number they are does not.
_KINDS: Final = ("bhilqn", "BHILQNP", "fd", "c", "?")
# What `memoryview.cast` takes: https://docs.python.org/3/library/stdtypes.html#memoryview.cast
_NATIVE: Final = frozenset("".join(_KINDS))
_UNSIGNED: Final = {struct.calcsize(code): code for code in "BHIQ"}
_UNICODE: Final = {2: {"little": "utf-16-le", "big": "utf-16-be"}, 4: {"little": "utf-32-le", "big": "utf-32-be"}}


def reduce_memoryview(view: Any) -> tuple[Any, ...]:
    """Take a memoryview apart; one whose elements lie apart shares memory again if the process has imported numpy.

    Raises
    ------
    EncodeError
        It is released, or nobody here knows what its memory means.
    """
    try:
        code = view.format.removeprefix("@")
    except ValueError as error:
        message = "a released memoryview holds nothing to send: send it before its release()"
        raise EncodeError(message) from error
    # `memoryview.cast` makes no zeros in a shape, and slicing makes them in the first axis only.
    native = code in _NATIVE and 0 not in view.shape[1:]
    if not (native and view.c_contiguous):
        converted = _converted(view)
        if converted is not None:
            return memoryview, (converted,)
    if not native:
        message = f"a memoryview of format {view.format!r} and shape {view.shape} cannot be sent as it is: "
        message += "send view.tobytes()" if "numpy" in sys.modules else "import numpy first, or send view.tobytes()"
        raise EncodeError(message)
    buffer: Buffer = PickleBuffer(view)
    if view.nbytes == 0 or not view.c_contiguous:
        packed: Any = view.tobytes() if view.readonly else bytearray(view.tobytes())
        buffer = PickleBuffer(memoryview(packed).cast(code)) if packed else packed
    return rebuild_memoryview, (buffer, code, view.shape, view.itemsize, sys.byteorder)


def _converted(view: memoryview) -> Any:
    """Return an array over the same memory, or None if there is no numpy or it does not know the format."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    try:
        converted = numpy.asarray(view)
        again = memoryview(converted)
    except (BufferError, NotImplementedError, TypeError, ValueError):
        return None
    # Elsewhere numpy spells the byte order differently, to the same effect.
    return converted if again.format.lstrip("@=<>") == view.format.lstrip("@=<>") else None


def rebuild_memoryview(buffer: Buffer, code: str, shape: tuple[int, ...], itemsize: int, byteorder: str) -> memoryview:
    """Rebuild a memoryview over `buffer`, or over a copy if this platform orders bytes differently.

    Parameters
    ----------
    buffer
        The elements in C order.
    code
        Format of an element, a letter of the `struct` module.
    shape
        Length of each axis.
    itemsize
        Bytes an element.
    byteorder
        `sys.byteorder` of the sender.

    Raises
    ------
    DecodeError
        This platform has no such number.
    """
    view: Any = memoryview(buffer)
    code = _local_code(code, itemsize)
    if view.nbytes == 0:
        blank = bytearray(itemsize * prod(shape[1:]))
        one: Any = memoryview(bytes(blank) if view.readonly else blank)
        return one.cast(code, (1, *shape[1:]))[:0]  # type: ignore[no-any-return]
    if byteorder != sys.byteorder and itemsize > 1:
        swapped = array.array(_UNSIGNED[itemsize], view.tobytes())
        swapped.byteswap()
        view = memoryview(swapped).toreadonly() if view.readonly else memoryview(swapped)
    return view.cast("B").cast(code, shape)  # type: ignore[no-any-return]


def _local_code(code: str, itemsize: int) -> str:
    """Return the letter for the same kind of number in `itemsize` bytes on this platform."""
    kind = next(kind for kind in _KINDS if code in kind)
    for local in code + kind:
        if struct.calcsize(local) == itemsize:
            return local
    message = f"this platform has no number of {itemsize} bytes like the sender's {code!r}"
    raise DecodeError(message)


def reduce_array(values: array.array[Any]) -> tuple[Any, ...]:
    """Take an array apart; it cannot be resized while its frames live, because they are its memory."""
    buffer = PickleBuffer(values) if values else b""
    return rebuild_array, (buffer, values.typecode, values.itemsize, sys.byteorder)


def rebuild_array(buffer: Buffer, typecode: str, itemsize: int, byteorder: str) -> array.array[Any]:
    """Rebuild an array, which copies: an `array.array` owns its memory.

    Parameters
    ----------
    buffer
        The elements.
    typecode, itemsize
        As the sender's array had them. A number takes the typecode that has this size here.
    byteorder
        `sys.byteorder` of the sender.

    Raises
    ------
    DecodeError
        This Python, or this platform, has no such typecode.
    """
    if typecode not in "uw":
        values = array.array(_local_code(typecode, itemsize))
    elif typecode not in array.typecodes:
        message = f"Python {sys.version_info.major}.{sys.version_info.minor} has no arrays of typecode {typecode!r}"
        raise DecodeError(message)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # what 3.13 thinks of "u"
            values = array.array(typecode)
        if values.itemsize != itemsize:
            values.fromunicode(str(buffer, _UNICODE[itemsize][byteorder], "surrogatepass"))
            return values
    values.frombytes(buffer)
    if byteorder != sys.byteorder:
        values.byteswap()
    return values


def reduce_path(path: pathlib.PurePath) -> tuple[Any, ...]:
    """Send a path without the module that defines its class, which Python 3.13 moved."""
    return rebuild_path, (type(path).__name__, str(path))


def rebuild_path(name: str, path: str) -> pathlib.PurePath:
    """Rebuild a path of a class of `pathlib`.

    Raises
    ------
    DecodeError
        This platform cannot have such paths.
    """
    try:
        return _PATHS[name](path)
    except NotImplementedError as error:
        message = f"this platform has no {name}: send Pure{name} instead"
        raise DecodeError(message) from error


_PATHS: Final = {
    cls.__name__: cls
    for cls in (pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.WindowsPath)
}


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(memoryview, reduce_memoryview)
    DEFAULT.provide(array.array, reduce_array)
    for cls in _PATHS.values():
        DEFAULT.provide(cls, reduce_path)
    DEFAULT.frozen[rebuild_memoryview] = _rebuild_read_only


def _rebuild_read_only(*arguments: Any) -> memoryview:
    return rebuild_memoryview(*arguments).toreadonly()
