import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from oobcodec.reducers.numpy_memory import compacted, extent_of, gapless, gappy, memory_of

CUBE = np.arange(4 * 5 * 6, dtype="i8").reshape(4, 5, 6)
LAYOUTS = {
    "as it is": CUBE,
    "by columns": CUBE.T,
    "backwards": CUBE[::-1, :, ::-1],
    "every other": CUBE[::2, 1:, ::-3],
    "axes in another order": CUBE[:, ::2, 1:].transpose(2, 0, 1),
    "one of an axis": CUBE[1:2, ::2],
    "not in whole words": as_strided(CUBE.view("u4"), (4,), (6,)),
    "of no dimension": CUBE[1, 2, 3, ...],
    "broadcast": np.broadcast_to(CUBE[:, :1, ::2], (4, 5, 3)),
    "windows": as_strided(CUBE, (5, 3), (64, 8)),
    "windows that overlap": as_strided(CUBE, (5, 3), (8, 8)),
}


def addresses(array):
    """Return the addresses of all bytes of an array, found one element at a time."""
    first, size = array.__array_interface__["data"][0], array.itemsize
    starts = [first + np.dot(index, array.strides) for index in np.ndindex(array.shape)]
    return {int(start) + i for start in starts for i in range(size)}


@pytest.mark.parametrize("array", LAYOUTS.values(), ids=LAYOUTS)
def test_extent(array):
    covered = addresses(array)
    nbytes, offset, gap_free = extent_of(array.shape, array.strides, array.itemsize)
    assert nbytes == max(covered) + 1 - min(covered)
    assert offset == array.__array_interface__["data"][0] - min(covered)
    assert gap_free == (nbytes == len(covered))
    memory = memory_of(array, nbytes, offset)
    assert memory.nbytes == nbytes
    assert memory.__array_interface__["data"][0] == min(covered)


@pytest.mark.parametrize("array", LAYOUTS.values(), ids=LAYOUTS)
def test_elements_alone(array):
    strides, nbytes = gapless(array.shape, array.strides, array.itemsize)
    extent, offset, _ = extent_of(array.shape, array.strides, array.itemsize)
    left = compacted(array)
    assert left.nbytes == min(nbytes, extent)
    if nbytes >= extent:
        strides = array.strides
    else:
        offset = 0
    assert np.array_equal(np.ndarray(array.shape, array.dtype, left, offset, strides), array)


def test_what_lies_between_the_elements_is_left_out_or_zero():
    memory = np.full(80, 0xEE, np.uint8)
    apart, windows = memory[::8], as_strided(memory, (10, 3, 3), (8, 1, 1))
    apart[...] = 7
    assert bytes(compacted(apart)) == bytes([7]) * 10
    windows[...] = 7
    # As windows that overlap take more than their memory does, it travels; but not what is outside of them.
    assert bytes(compacted(windows)) == (bytes([7]) * 5 + bytes(3)) * 9 + bytes([7]) * 5


def test_holes_of_structures_are_zero():
    table = np.full(3, 0xEEEEEEEE, [("a", "u4"), ("b", "u4"), ("c", "u2")])[["a", "c"]]
    table["a"], table["c"] = 1, 2
    for view, count in ((table, 3), (table[::2], 2)):
        assert bytes(compacted(view)) == (b"\x01\0\0\0" + bytes(4) + b"\x02\0") * count


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">f4", "M8[s]", "c16", "V3", "U5"])
def test_memory_of_elements_that_are_read_only_or_aligned_otherwise(dtype):
    array = np.zeros(7, dtype)
    for read_only in (False, True):
        array.flags.writeable = not read_only
        memory = memory_of(array, array.nbytes, 0)
        assert memory.flags.writeable == (not read_only)
        assert memory.nbytes == array.nbytes
        assert memory.dtype.alignment == array.dtype.alignment
        assert np.shares_memory(memory.view("u1"), array.view("u1"))


def test_memory_with_gaps_can_do_without():
    table = np.arange(3000.0).reshape(1000, 3)
    column = table[:, 1]
    memory = gappy(column, 999 * 24 + 8, 0)
    assert np.shares_memory(memory, table)
    assert memory.nbytes == 999 * 24 + 8
    assert memory.compact() == column.copy().data.cast("B")
