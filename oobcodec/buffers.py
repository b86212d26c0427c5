"""Memory: flat views, addresses, aligned allocation.

A *frame* is a `memoryview` that is one-dimensional, contiguous and of format ``"B"``, even when it is empty. Nothing
here knows what the bytes mean.
"""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    # typing_extensions.Buffer from Python 3.12 on; until then no annotation says "has the buffer protocol".
    Buffer: TypeAlias = Any

ALIGNMENT = 64
"""Bytes: a cache line, the widest vector register, and what Arrow recommends."""

OWN_ALLOCATION = 64 * 1024
"""Bytes from which a frame gets memory of its own, so that keeping it alive keeps nothing else alive."""

_HUGE_PAGE = 2 << 20

EMPTY = memoryview(b"")


def flat(buffer: Buffer) -> memoryview:
    """Return the memory behind `buffer` as a frame, without copying it.

    Parameters
    ----------
    buffer
        Anything with the buffer protocol whose memory is contiguous in C or Fortran order.

    Returns
    -------
    memoryview
        Shape ``(nbytes,)``, format ``"B"``, read-only where `buffer` is.

    Raises
    ------
    TypeError
        `buffer` has no buffer protocol.
    BufferError
        Its memory is not contiguous.
    """
    cls = type(buffer)
    if cls is bytes or cls is bytearray:
        return memoryview(buffer)
    view = buffer if cls is memoryview else memoryview(buffer)
    if view.format == "B" and view.ndim == 1 and view.contiguous:
        return view
    if not view.nbytes:  # ``cast`` rejects some empty shapes, and there is nothing to look at in them
        return EMPTY if view.readonly else memoryview(bytearray())
    try:
        return view.cast("B")
    except TypeError:
        # In Fortran order, or of a format that is not native. Not ``PickleBuffer(view).raw()``: CPython crashes when
        # its garbage collector finds a memoryview of a memoryview (3.11 and 3.12 do).
        return span(address(view), view.nbytes, (view,), readonly=view.readonly)


def padding(nbytes: int) -> int:
    """Return how many bytes follow `nbytes` up to the next multiple of 64."""
    return -nbytes % ALIGNMENT


class _PyBuffer(ctypes.Structure):
    """``Py_buffer`` of the C API (https://docs.python.org/3/c-api/buffer.html#c.Py_buffer)."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_PyBuffer),)
_release_buffer.restype = None

_ANY_CONTIGUOUS = 0x98

_char_at = ctypes.c_char.from_buffer
_address_of = ctypes.addressof


def address(view: memoryview) -> int:
    """Return the memory address of the first byte of a contiguous view that is not empty."""
    if not view.readonly and view.c_contiguous:
        return _address_of(_char_at(view))
    # ``from_buffer`` refuses other memory, and this way costs five times as much.
    record = _PyBuffer()
    _get_buffer(view, record, _ANY_CONTIGUOUS)
    try:
        return record.buf or 0
    finally:
        _release_buffer(record)


def span(start: int, nbytes: int, owners: Sequence[object], *, readonly: bool) -> memoryview:
    """Return the `nbytes` bytes at address `start` as a frame that keeps every one of `owners` alive.

    For memory that several objects own in part, and none as a whole. The caller vouches that all of it is mapped.
    """
    memory: Any = (ctypes.c_ubyte * nbytes).from_address(start)
    memory.owners = owners
    view = PickleBuffer(memory).raw()
    return view.toreadonly() if readonly else view


def allocate(nbytes: int) -> memoryview:
    """Return `nbytes` bytes of writable memory that starts at a multiple of 64.

    From 2 MiB on it is an anonymous private mapping, with transparent huge pages where the system has them: its pages
    cost nothing until they are written, and go back to the system with the last view. Smaller pieces come from the
    allocator, which has warm pages at hand.

    Raises
    ------
    MemoryError
        The system does not have (or does not let this process have) that much.
    """
    if nbytes >= _HUGE_PAGE:
        try:
            mapping = _anonymous(nbytes)
        except (OSError, ValueError, OverflowError) as error:
            message = f"cannot allocate {nbytes:,} bytes"
            raise MemoryError(message) from error
        return memoryview(mapping)[:nbytes]
    memory = memoryview(bytearray(nbytes + ALIGNMENT - 1))
    start = -_address_of(_char_at(memory)) % ALIGNMENT if nbytes else 0
    return memory[start : start + nbytes]


def copied(frame: memoryview) -> memoryview:
    """Return a writable copy of a frame, in memory that starts at a multiple of 64."""
    memory = allocate(frame.nbytes)
    memory[:] = frame
    return memory


def aligned(frame: memoryview) -> memoryview:
    """Return a frame, or an equally mutable copy of it if it has 64 bytes or more and does not start at a multiple."""
    if len(frame) < ALIGNMENT or address(frame) % ALIGNMENT == 0:
        return frame
    return copied(frame).toreadonly() if frame.readonly else copied(frame)


def _anonymous(nbytes: int) -> mmap.mmap:
    # The default of ``mmap.mmap`` is MAP_SHARED, whose pages cost twice as much; Windows has neither flag nor advice.
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, nbytes)
    mapping = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel built without transparent huge pages
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping


class Extent:
    """Mixin for the exporter of the memory between the first and the last byte of an array that does not fill it.

    Such a buffer travels as it is only inside memory that travels anyway; otherwise `compact` replaces it, and what
    lies between the elements stays at home. A rebuild function tells the two apart by their lengths.
    """

    __slots__ = ()

    def compact(self) -> Buffer:
        """Return a contiguous copy of the elements alone, or of the extent with its gaps zeroed if that is smaller."""
        raise NotImplementedError
