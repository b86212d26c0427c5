"""The memory that an array spans, with the gaps between its elements or without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from oobcodec.buffers import ALIGNMENT, Extent
from oobcodec.reducers.numpy_dtypes import runs

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray[Any, Any]

# Unsigned integers by size, and what stands in for one of 16 bytes: to copy bytes, and to tell how they are aligned.
_WORDS: Final = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}


def extent_of(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int, bool]:
    """Return how many bytes an array spans, where its first element lies in them, and whether it covers them all."""
    offset, covered, gap_free = 0, itemsize, True
    for step, stride, length in sorted(zip(map(abs, strides), strides, shape, strict=True)):
        if length > 1:
            gap_free = gap_free and step <= covered
            covered += step * (length - 1)
            if stride < 0:
                offset += step * (length - 1)
    return covered, offset, gap_free


def gapless(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[tuple[int, ...], int]:
    """Return the strides and the number of bytes of elements without gaps, their axes in the same order in memory."""
    packed = [0] * len(shape)
    nbytes = itemsize
    for axis in sorted(range(len(shape)), key=lambda axis: (abs(strides[axis]), -axis)):
        if strides[axis]:
            packed[axis] = nbytes
            nbytes *= shape[axis]
    return tuple(packed), nbytes


class _Interface:
    """What `numpy.asarray` makes an array of, over the memory of another one."""

    __slots__ = ("__array_interface__", "source")

    def __init__(self, interface: dict[str, Any], source: object) -> None:
        self.__array_interface__ = interface
        self.source = source


def memory_of(array: Array, nbytes: int, offset: int) -> Array:
    """Return all bytes that an array spans, in words as large as its elements are aligned."""
    # As plain bytes: numpy cannot describe every structure in this protocol. It is asked here, and not through
    # ``flags``, because ``flags`` warns of some results of `numpy.broadcast_arrays`.
    address, readonly = array.view(f"V{array.dtype.itemsize}").__array_interface__["data"]
    size = array.dtype.alignment
    if nbytes % size:
        size = 1
    word = np.dtype(_WORDS[size]).str
    interface = {"data": (address - offset, readonly), "shape": (nbytes // size,), "typestr": word, "version": 3}
    return np.asarray(_Interface(interface, array))


class Gappy(np.ndarray[Any, Any], Extent):
    """All bytes that an array with gaps spans."""

    source: Array

    def compact(self) -> memoryview:
        """Return what is left of them without the gaps: see `compacted`."""
        return compacted(self.source)


def gappy(array: Array, nbytes: int, offset: int) -> Any:
    """Return all bytes that an array with gaps spans, which know of the array."""
    memory: Any = memory_of(array, nbytes, offset).view(Gappy)
    memory.source = array
    return memory


def compacted(array: Array) -> memoryview:
    """Return the elements of an array alone, or its memory with zeros in its gaps if that is not more."""
    dtype, strides = array.dtype, array.strides
    nbytes, offset, _ = extent_of(array.shape, strides, dtype.itemsize)
    target_strides, packed = gapless(array.shape, strides, dtype.itemsize)
    source = memory_of(array, nbytes, offset).view(np.uint8)
    stretches = runs(dtype)
    if packed < nbytes:
        target, target_offset, filled = _blank(packed), 0, stretches == ((0, dtype.itemsize),)
    else:
        target, target_offset, target_strides, filled = _blank(nbytes), offset, strides, False
    if not filled:
        target[:] = 0  # what was in this memory before is nobody's business
    # A broadcast axis repeats one element.
    shape = tuple([length if stride else 1 for length, stride in zip(array.shape, strides, strict=True)])
    for start, stop in stretches:
        word = _WORDS.get(stop - start, f"V{stop - start}")
        elements: Array = np.ndarray(shape, word, target, target_offset + start, target_strides)
        elements[...] = np.ndarray(shape, word, source, offset + start, strides)
    return target.data


def _blank(nbytes: int) -> Array:
    # Of numpy's allocator, which has warm pages at hand for what lives as briefly as a message does.
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + nbytes]
