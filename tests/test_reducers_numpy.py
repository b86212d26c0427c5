import pickle
import pickletools
import subprocess
import sys
import textwrap
import warnings
from pickle import PickleBuffer

import ml_dtypes
import numpy as np
import pytest
from helpers import SECRET, holds_secret, received, shipped, transferred
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError
from oobcodec.reducers import numpy as reducers
from oobcodec.registry import DEFAULT


def raw(array):
    return np.ascontiguousarray(array).tobytes()


def assert_equal(actual, expected):
    assert type(actual) is type(expected)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert actual.dtype.metadata == expected.dtype.metadata
    assert raw(actual) == raw(expected)


def assert_zero_copy(array):
    """Check that an array leaves as its own memory, and arrives as the receiver's with the same layout."""
    frames = dumps(array)
    assert len(frames) == 3
    first = min(memory.__array_interface__["data"][0] for memory in corners(array))
    assert address(frames[2]) == first
    arrived = received(frames)
    back = loads(arrived)
    assert_equal(back, array)
    assert steps(back) == steps(array)
    assert back.flags.c_contiguous == array.flags.c_contiguous
    assert back.flags.f_contiguous == array.flags.f_contiguous
    assert back.flags.writeable == writeable(array)
    assert np.shares_memory(np.frombuffer(arrived[2], np.uint8), as_bytes(back))
    return frames


def steps(array):
    """Return the strides of the axes that have a second element."""
    return [stride for stride, length in zip(array.strides, array.shape, strict=True) if length > 1]


def writeable(array):
    return not array.__array_interface__["data"][1]


def as_bytes(array):
    return array.view(f"V{array.dtype.itemsize}") if not array.dtype.hasobject else array


def corners(array):
    """Return the first and the last element of each axis, as arrays."""
    for corner in np.ndindex((2,) * array.ndim):
        yield as_bytes(array)[tuple(slice(-1, None) if end else slice(0, 1) for end in corner)]


def address(frame):
    return np.frombuffer(frame, np.uint8).__array_interface__["data"][0]


class Plain(np.ndarray):
    """Has attributes, and no pickling method."""

    def __array_finalize__(self, obj):
        self.unit = getattr(obj, "unit", None)


class Slotted(np.ndarray):
    __slots__ = ("label",)


class SlottedAndMore(np.ndarray):
    __slots__ = ("__dict__", "label")


class Quantity(np.ndarray):
    """Pickles as astropy's does: numpy's own state, and its own beside that."""

    def __reduce__(self):
        function, arguments, state = super().__reduce__()
        return function, arguments, (state, self.__dict__)

    def __setstate__(self, state):
        numpys, own = state
        super().__setstate__(numpys)
        self.__dict__.update(own)


class Mapped(np.memmap):
    pass


# Memory without gaps


@pytest.mark.parametrize("char", "?bBhHiIlLqQefdFDgG")
@pytest.mark.parametrize("order", ["=", "S"])
def test_every_number_travels_uncopied(char, order):
    dtype = np.dtype(char).newbyteorder(order)
    array = (np.arange(6000) % 100).reshape(5, 1200).astype(dtype)
    assert_zero_copy(array)
    assert_zero_copy(array[3])


@pytest.mark.parametrize(
    "dtype",
    [
        "S3",
        "U3",
        ">U5",
        "V7",
        "M8[us]",
        ">M8[ms]",
        "m8[25s]",
        "M8[D]",
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2,
        ml_dtypes.int4,
        [("a", "i4"), ("b", "S2")],
        [("a", "i8"), ("when", "M8[ns]"), ("many", "f4", (2, 2))],
        np.dtype([("a", "u1"), ("b", ml_dtypes.bfloat16)]),
        np.dtype((np.record, [("a", "i4"), ("b", "f8")])),
        np.dtype({"names": ["a", "b"], "formats": ["i4", "u1"], "offsets": [0, 1]}),
        np.dtype({"names": ["b", "a"], "formats": ["i4", "i4"], "offsets": [4, 0]}),
        np.dtype((np.int32, {"names": ["low", "high"], "formats": ["i2", "i2"], "offsets": [0, 2]})),
        np.dtype("f8", metadata={"unit": "m"}),
        np.dtype([("a", "i4")], metadata={"unit": "m"}),
    ],
    ids=str,
)
def test_every_dtype_of_fixed_size_travels_uncopied(dtype):
    dtype = np.dtype(dtype)
    memory = np.arange(3000 * dtype.itemsize).astype(np.uint8)
    array = memory.view(f"V{dtype.itemsize}").view(dtype).reshape(60, 50)
    if dtype.kind == "U":
        array = np.full((60, 50), "aé", dtype)
    for layout in (array, array.T, array[::-1], array[:, ::-1], array[:40]):
        frames = assert_zero_copy(layout)
        assert shipped(frames) == layout.nbytes


CUBE = np.arange(4 * 5 * 60.0).reshape(4, 5, 60)


@pytest.mark.parametrize(
    "array",
    [
        CUBE,
        CUBE.T,
        CUBE.transpose(1, 0, 2),
        CUBE.transpose(2, 0, 1),
        CUBE[::-1],
        CUBE[:, ::-1],
        CUBE[..., ::-1],
        CUBE[::-1, ::-1, ::-1].T,
        np.asfortranarray(CUBE),
        CUBE[1:3],
        CUBE.reshape(4, 1, 300)[:, :, ::1],
        CUBE[:, None],
        CUBE.ravel()[5:700],
        CUBE.ravel()[::-1],
        np.arange(0.0, 200).reshape(1, 1, 200)[::-1, ::-1],
    ],
    ids=lambda array: f"{array.shape}-{array.strides}",
)
def test_every_order_and_direction_of_axes_travels_uncopied(array):
    assert shipped(assert_zero_copy(array)) == array.nbytes


def test_a_broadcast_axis_ships_one_element():
    row = np.arange(200.0)
    array = np.broadcast_to(row, (1000, 200))
    assert shipped(assert_zero_copy(array)) == row.nbytes
    partial = np.broadcast_to(row.reshape(20, 1, 10)[::-1], (20, 1000, 10))
    assert shipped(assert_zero_copy(partial)) == row.nbytes
    whole = np.broadcast_to(np.float64(3), (1 << 40, 2))
    back = transferred(whole)
    assert back.shape == whole.shape
    assert back.strides == (0, 0)
    assert back[12345, 1] == 3
    assert sum(frame.nbytes for frame in dumps(whole)) < 300


def test_a_writable_broadcast_stays_writable():
    array = as_strided(np.arange(200.0), (3, 200), (0, 8))
    assert_zero_copy(array)
    back = transferred(array)
    back[0, 5] = -1
    assert back[2, 5] == -1


@pytest.mark.parametrize("window", [2, 10, 1000])
def test_overlapping_windows_ship_what_lies_under_them(window):
    base = np.arange(1000.0)
    frames = assert_zero_copy(sliding_window_view(base, window))
    assert shipped(frames) == base.nbytes


def test_broadcast_arrays_warn_nobody():
    left, right = np.broadcast_arrays(np.arange(600.0).reshape(2, 300), np.arange(300.0))
    for array in (left, right, right[0], right[:1], right[0, :3], right[:, ::2], right[0, ::2], right.astype("M8[s]")):
        assert_equal(transferred(array), array)
    strings, _ = np.broadcast_arrays(np.array(["a", None], object), np.zeros((3, 2)))
    assert_equal_objects(transferred(strings), strings)
    assert_equal_objects(transferred(strings[0]), strings[0])


@pytest.mark.parametrize("memory", [bytearray, bytes])
@pytest.mark.parametrize("size", [3, 3000])
@pytest.mark.parametrize("reshape", [(-1,), (3, -1)])
@pytest.mark.parametrize("dtype", ["f8", "M8[s]", "i2,f4"])
@pytest.mark.parametrize("read_only", [False, True])
def test_read_only_stays_read_only_and_writable_follows_the_frame(memory, size, reshape, dtype, read_only):
    array = np.zeros(size, dtype).reshape(reshape)
    array.flags.writeable = not read_only
    back = transferred(array, memory)
    in_band = array.nbytes < 1024
    assert back.flags.writeable == (not read_only and (in_band or memory is bytearray))
    assert_equal(back, array)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3.0),
        np.arange(6.0).reshape(2, 3),
        np.arange(6.0)[::2],
        np.arange(6.0).reshape(2, 3).T,
        np.arange(600.0),
        np.arange(600.0)[::-1],
        np.zeros((0, 3)),
        np.array([1, None]),
        np.array([(1, None)], "i4,O"),
        np.array(["a"], "T"),
        np.array(3.0),
        np.array([1, 2]).view(np.matrix),
    ],
    ids=repr,
)
def test_writable_false_makes_every_array_read_only(array):
    frames = received(dumps(array))
    assert loads(frames).flags.writeable
    frozen = loads(frames, writable=False)
    assert not frozen.flags.writeable
    assert np.array_equal(frozen, array)


@pytest.mark.parametrize("view", [np.s_[:], np.s_[::-1], np.s_[::2]])
def test_writing_to_what_arrived_works(view):
    array = np.arange(3000.0)[view]
    back = transferred(array)
    back[...] = 7
    assert np.all(back == 7)
    assert array[-1] != 7


def test_the_array_holds_its_frame():
    for array in (np.arange(500.0), np.arange(500.0).reshape(5, 100).T, np.zeros(500, "M8[s]")):
        frames = received(dumps(array))
        back = loads(frames)
        with pytest.raises(BufferError):
            frames[2].append(0)
        del back
        frames[2].append(0)


def test_elements_keep_their_alignment_inside_a_shared_frame():
    base = np.zeros(5000, np.uint8)
    start = -base.__array_interface__["data"][0] % 16
    odd = base[start + 3 : start + 4003]
    for dtype in ("f8", "M8[s]", "D", "g", ml_dtypes.bfloat16, np.dtype([("a", "i8"), ("t", "M8[s]")])):
        inner = base[start + 16 : start + 16 + 2048].view(dtype)
        assert inner.flags.aligned
        left, right = transferred([odd, inner])
        assert right.flags.aligned
        assert np.shares_memory(left, as_bytes(right))


@given(
    hnp.arrays(
        hnp.scalar_dtypes() | hnp.array_dtypes(allow_subarrays=True),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
        fill=st.nothing(),
    ),
    st.data(),
)
@settings(max_examples=400)
def test_any_view_of_any_array_arrives(array, data):
    if array.ndim:
        array = array[data.draw(hnp.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True))]
    if isinstance(array, np.ndarray):
        array = array.transpose(data.draw(st.permutations(range(array.ndim))))
        if array.ndim and data.draw(st.booleans()):
            array = np.broadcast_to(array, (3, *array.shape))
        if data.draw(st.booleans()):
            array = array.repeat(40, 0) if array.ndim else array
    back = transferred(array)
    assert_equal(back, array)
    assert back.dtype.type is array.dtype.type
    if isinstance(array, np.ndarray):
        assert back.flags.writeable == writeable(array)
        assert back.flags.aligned or back.nbytes < 64


@given(st.data())
@settings(max_examples=300)
def test_any_strides_over_any_memory_arrive_and_gaps_stay_at_home(data):
    dtype = np.dtype(data.draw(st.sampled_from(["u1", "u2", "f8", "M8[s]", "V3", "S5"])))
    memory = np.full(4096, 0xEE, np.uint8)
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    strides = tuple(data.draw(st.integers(-90, 90)) for _ in shape)
    start = sum(-stride * (length - 1) for stride, length in zip(strides, shape, strict=True) if stride < 0)
    array = np.ndarray(shape, dtype, memory, start, strides)
    used = np.zeros(4096, bool)
    np.ndarray((*shape, dtype.itemsize), bool, used, start, (*strides, 1))[...] = True
    memory[used] = np.arange(used.sum()) % 100 + 1
    frames = dumps(array)
    back = loads(received(frames))
    assert raw(back) == raw(array)
    if dtype.kind not in "SV":
        in_band = [
            value for _, value, _ in pickletools.genops(bytes(frames[1])) if isinstance(value, bytes | bytearray)
        ]
        assert 0xEE not in b"".join([*in_band, *frames[2:]])


# Memory with gaps


@pytest.mark.parametrize("rows", [5, 42, 43, 128, 129, 5000])
@pytest.mark.parametrize("dtype", ["u8", "M8[s]"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_column_that_is_left_out_never_leaves(rows, dtype, order):
    table = np.full((rows, 3), SECRET, np.uint64)
    table[:, :2] = np.arange(2 * rows).reshape(rows, 2)
    view = table.astype(np.uint64).view(dtype)[:, :2]
    transposed = view.T if order == "F" else view
    frames = dumps(transposed)
    assert not holds_secret(frames)
    assert shipped(frames) == (transposed.nbytes if transposed.nbytes >= 1024 else 0)
    back = loads(received(frames))
    assert_equal(back, transposed)
    assert back.flags.c_contiguous == (order == "C")
    assert back.flags.f_contiguous == (order == "F")
    assert holds_secret(dumps(table))  # the search finds what is there


def test_a_slice_ships_its_rows():
    base = np.arange(8_000_000).reshape(1000, 8000)
    assert shipped(dumps(base[5:15])) == 10 * 8000 * 8
    assert shipped(dumps(base[::100])) == 10 * 8000 * 8
    assert shipped(dumps(base[:, 5])) == 8000
    assert shipped(dumps(base[::100, ::80])) == 8000
    assert shipped(dumps(base[3:5, :10])) == 0  # in the pickle stream


def test_compaction_keeps_the_order_of_the_axes_in_memory():
    cube = np.arange(20 * 30 * 40.0).reshape(20, 30, 40)
    back = transferred(cube[::2, ::-3, 1:].transpose(2, 0, 1))
    assert_equal(back, cube[::2, ::-3, 1:].transpose(2, 0, 1))
    assert back.transpose(1, 2, 0).flags.c_contiguous


def test_a_broadcast_axis_of_a_gappy_array_ships_once():
    column = np.arange(3000.0)[::3]
    array = np.broadcast_to(column, (500, 1000))
    frames = dumps(array)
    assert shipped(frames) == column.nbytes
    back = loads(received(frames))
    assert_equal(back, array)
    assert back.strides == (0, 8)
    assert not back.flags.writeable


@pytest.mark.parametrize("count", [10, 1000])
def test_windows_with_gaps_between_ship_their_memory_with_zeros_in_the_gaps(count):
    memory = np.full(count * 8, SECRET, np.uint64)
    gappy = as_strided(memory, (count, 3, 3), (64, 8, 8))  # 5 of every 8, in 9 elements
    gappy[...] = 7
    frames = dumps(gappy)
    assert not holds_secret(frames)
    assert holds_secret(dumps(memory))
    back = loads(received(frames))
    assert_equal(back, gappy)
    assert back.strides == gappy.strides
    extent = (count - 1) * 64 + 40
    assert shipped(frames) == (extent if extent >= 1024 else 0)


def test_a_gappy_view_shares_memory_with_what_travels_anyway():
    base = np.arange(30_000.0).reshape(10_000, 3)
    for message in ([base, base[:, 1]], [base[:, 1], base], [base[:, ::-2], base[:, 1], base]):
        frames = dumps(message)
        assert shipped(frames) == base.nbytes
        back = loads(received(frames))
        whole = next(array for array in back if array.shape == base.shape)
        for actual, expected in zip(back, message, strict=True):
            assert_equal(actual, expected)
            assert actual.strides == expected.strides
            assert np.shares_memory(actual, whole)


def test_a_few_rows_of_a_huge_array_ship_a_few_rows():
    table = np.zeros((1 << 19, 1024))  # 4 GiB, of which no page is touched
    for rows, nbytes in ((table[:10], 80 << 10), (table[-10:, ::2], 40 << 10), (table[::-1][:10].T, 80 << 10)):
        frames = dumps(rows)
        assert shipped(frames) == nbytes
        assert_equal(loads(received(frames)), rows)


def test_overlapping_gappy_views_alone_are_compacted_one_by_one():
    base = np.full((1000, 3), SECRET, np.uint64)
    base[:, 0] = base[:, 2] = 1
    frames = dumps([base[:, 0], base[:, 2], base[:, ::2]])
    assert not holds_secret(frames)
    assert shipped(frames) == 4 * 8000


@pytest.mark.parametrize("small", [True, False])
def test_a_read_only_gappy_array_stays_read_only(small):
    base = np.arange(20.0 if small else 20_000.0)
    base.flags.writeable = False
    for view in (base[::2], base.reshape(-1, 2)[:, :1]):
        assert not transferred(view).flags.writeable
    base.flags.writeable = True
    assert transferred(base[::2]).flags.writeable


@pytest.mark.parametrize("length", [4, 63, 64, 65, 1000])
def test_holes_of_a_structure_never_leave(length):
    table = np.full(length, SECRET, [("a", "u8"), ("b", "u8"), ("c", "M8[s]"), ("d", "u8")])
    table["a"] = np.arange(length)
    table["c"] = np.arange(length)
    for view in (table[["a", "c"]], table[["c"]], table[["a", "c"]][::2], table[["a", "c"]][::-1]):
        frames = dumps(view)
        assert not holds_secret(frames)
        back = loads(received(frames))
        assert back.dtype == view.dtype
        assert back.dtype.itemsize == 32
        assert np.array_equal(back, view)
    assert holds_secret(dumps(table))


def test_padding_of_an_aligned_structure_never_leaves():
    dtype = np.dtype([("flag", "u1"), ("inner", np.dtype([("x", "u1"), ("y", "u4")], align=True), (2,))], align=True)
    memory = np.full(dtype.itemsize * 100, 0xEE, np.uint8)
    array = memory.view(dtype)
    array["flag"], array["inner"]["x"], array["inner"]["y"] = 1, 2, 3
    frames = dumps(array)
    assert b"\xee" not in b"".join(frames[2:])
    back = loads(received(frames))
    assert back.dtype == dtype
    assert back.dtype.isalignedstruct
    assert np.array_equal(back, array)


def test_holes_travel_where_their_memory_does():
    table = np.zeros(500, [("a", "u8"), ("b", "u8"), ("c", "u8")])
    whole, part = transferred([table, table[["a", "c"]]])
    assert np.shares_memory(as_bytes(whole), as_bytes(part))


@pytest.mark.parametrize("name", ["abc", "x" * 40])
@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 5, 8, 16, 24])
def test_elements_of_any_size_are_compacted_right(name, itemsize):
    memory = (np.arange(4000 * itemsize) % 251).astype(np.uint8)
    array = memory.view(f"V{itemsize}")[::3]
    assert_equal(transferred(array), array)


# Without bytes, without dimensions


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 5), (1, 0, 1)])
@pytest.mark.parametrize("dtype", ["f8", "M8[s]", "U5", "O", "i4,O", "T", "S0", ml_dtypes.bfloat16, "V0"])
@pytest.mark.parametrize("read_only", [False, True])
def test_empty_arrays(shape, dtype, read_only):
    array = np.ndarray(shape, dtype)
    array.flags.writeable = not read_only
    back = transferred(array)
    assert type(back) is np.ndarray
    assert back.shape == shape
    assert back.dtype == array.dtype
    assert back.flags.writeable == (not read_only)


@pytest.mark.parametrize("dtype", ["U0", "S0", "V0", []])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_elements_without_bytes(shape, dtype):
    array = np.ndarray(shape, dtype)
    back = transferred(array)
    assert back.shape == shape
    assert back.dtype == array.dtype
    assert back.dtype.itemsize == 0


@pytest.mark.parametrize("value", [1.5, 1j, True, "text", b"bytes", np.datetime64("2020-01-01"), ml_dtypes.int4(3)])
def test_no_dimensions(value):
    array = np.array(value)
    back = transferred(array)
    assert_equal(back, array)
    assert back.flags.writeable
    obj = np.array(None)
    obj[()] = [1, 2]
    assert transferred(obj)[()] == [1, 2]


def test_sixty_four_dimensions():
    limit = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
    array = np.arange(8.0).reshape((1,) * (limit - 3) + (2, 2, 2))
    assert_equal(transferred(array), array)
    assert_equal(transferred(array.T), array.T)


# Python objects


def assert_equal_objects(actual, expected):
    assert type(actual) is type(expected)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    for left, right in zip(actual.flat, expected.flat, strict=True):
        assert type(left) is type(right)
        assert np.array_equal(left, right)


def objects(shape):
    array = np.empty(shape, object)
    things = [1, "a", None, [1, 2], (3,), np.arange(5), np.array(7), np.float32(2), {"k": 1}, b"bytes"]
    for i in range(array.size):
        array.flat[i] = None  # flat[i] = sequence would spread it
        array[np.unravel_index(i, shape)] = things[i % len(things)]
    return array


@pytest.mark.parametrize("shape", [(1,), (10,), (2, 5), (3, 4, 5)])
def test_objects_of_any_type(shape):
    array = objects(shape)
    for view in (array, array.T, array[::-1], np.asfortranarray(array), array[..., ::2]):
        back = transferred(view)
        assert_equal_objects(back, view)
        assert back.flags.writeable
    assert transferred(np.asfortranarray(array)).flags.f_contiguous
    array.flags.writeable = False
    assert not transferred(array).flags.writeable


def test_arrays_inside_object_arrays_go_by_reference():
    inner = np.arange(1000.0)
    array = np.empty((2, 2), object)
    array[0, 0] = array[1, 1] = inner
    array[0, 1] = array
    frames = dumps(array)
    assert len(frames) == 3
    assert np.shares_memory(inner, np.frombuffer(frames[2]))
    back = loads(received(frames))
    assert back[0, 0] is back[1, 1]
    assert back[0, 1] is back
    assert_equal(back[0, 0], inner)


def test_a_broadcast_object_array_holds_each_object_once():
    array = np.broadcast_to(np.array([["a"], [[1]]], object), (2, 100_000))
    frames = dumps(array)
    assert sum(frame.nbytes for frame in frames) < 1000
    back = loads(received(frames))
    assert back.shape == array.shape
    assert back.strides == array.strides
    assert not back.flags.writeable
    assert back[1, 99] == [1]
    assert back[1, 0] is back[1, 7]


def test_structures_with_objects():
    dtype = [("n", "i4"), ("o", "O"), ("in", [("x", "O"), ("y", "f8")]), ("many", "O", (2,)), ("t", "M8[s]")]
    array = np.zeros((2, 3), dtype)
    array["n"] = [[1, 2, 3], [4, 5, 6]]
    array["o"][0, 1] = np.arange(1000.0)
    array["o"][1, 2] = array
    array["in"]["x"] = "text"
    array["in"]["y"] = 2.5
    array["many"][1, 1] = [[1], None]
    array["t"] = np.datetime64("2020-01-01")
    for view in (array, np.asfortranarray(array), array[:, ::2]):
        frames = dumps(view)
        back = loads(received(frames))
        assert back.dtype == view.dtype
        assert back.shape == view.shape
        for name in ("n", "t"):
            assert np.array_equal(back[name], view[name])
        assert np.array_equal(back["in"], view["in"])
        assert back.flags.f_contiguous == view.flags.f_contiguous
    back = transferred(array)
    assert_equal(back["o"][0, 1], array["o"][0, 1])
    assert back["o"][1, 2] is back
    assert back["many"][1, 1].tolist() == [[1], None]
    array.flags.writeable = False
    assert not transferred(array).flags.writeable


# Strings of any length


TEXTS = ["", "a", "béc\0", "\0", "日本語" * 50, "\U0001f600", "x" * 3000]


@pytest.mark.parametrize("na", [(), (None,), (np.nan,), ("missing",), (pickle.PicklingError,)])
@pytest.mark.parametrize("coerce", [True, False])
def test_strings_of_any_length(na, coerce):
    dtype = np.dtypes.StringDType(coerce=coerce, **({"na_object": na[0]} if na else {}))
    values = [*TEXTS, *na, "last"]
    array = np.array(values, dtype)
    back = transferred(array)
    assert back.dtype == dtype
    assert back.dtype.coerce is coerce
    assert hasattr(back.dtype, "na_object") == bool(na)
    assert [x if isinstance(x, str) else "NA" for x in back.tolist()] == [
        x if isinstance(x, str) else "NA" for x in values
    ]
    if na:
        assert back[len(TEXTS)] is back.dtype.na_object
        assert back.dtype.na_object is na[0] or na[0] == "missing"


def test_the_text_of_strings_goes_out_of_band():
    array = np.array([[str(i) * 5 for i in range(1000)]] * 2, np.dtypes.StringDType())
    frames = dumps(array)
    assert shipped(frames) == sum(map(len, array.flat)) + array.size
    assert frames[1].nbytes < 500
    for view in (array, array.T, array[:, ::-1], array[:, 3:9], array[0, 0:1].reshape(())):
        back = transferred(view)
        assert back.shape == view.shape
        assert back.dtype == view.dtype
        assert np.array_equal(back, view)
        assert back.flags.f_contiguous == (view.T.flags.c_contiguous)
    broadcast = np.broadcast_to(array[0], (50, 1000))
    assert shipped(dumps(broadcast)) == shipped(dumps(array[0].copy()))
    assert np.array_equal(transferred(broadcast), broadcast)
    array.flags.writeable = False
    assert not transferred(array).flags.writeable


# Subclasses


def chararray():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2.5 would rather not have it
        return np.char.chararray


def test_matrix_recarray_and_chararray_keep_their_class():
    matrix = np.arange(600.0).reshape(2, 300).view(np.matrix)
    records = np.rec.array([(1, 2.0, "a")] * 300, dtype=[("a", "i4"), ("b", "f8"), ("c", "U1")])
    chars = np.array([["ab ", "c"]] * 200).view(chararray())
    for array in (matrix, matrix.T, records, records[3:150], chars):
        frames = dumps(array)
        assert np.shares_memory(as_bytes(np.asarray(array)), np.frombuffer(frames[2], np.uint8))
        back = loads(received(frames))
        assert_equal(back, array)
    assert transferred(records)[0].b == 2.0
    assert type(transferred(records)[0]) is np.record
    assert transferred(matrix)[0].shape == (1, 300)


def test_names_of_numpys_classes_do_not_depend_on_its_version():
    for array in (
        np.zeros((2, 2)).view(np.matrix),
        np.rec.array([(1, 2.0)], dtype="i4,f8"),
        np.array(["a"]).view(chararray()),
        np.ma.array([1, 2], mask=[0, 1]),
        np.ma.masked,
        np.bool_(1),
        np.array(["a"], "T"),
        np.zeros(3, "g"),
        np.longdouble(1),
        np.zeros(2, "i4,f8")[0],
        np.datetime64("2020"),
        np.dtype("i4,f8"),
    ):
        stream = b"".join(dumps([array, np.zeros(2)])[1:])
        for moved in (b"_core", b"numpy.core", b"numpy.rec", b"numpy.char", b"numpy.ma", b"numpy.dtypes"):
            assert moved not in stream


def test_a_mapped_file_arrives_as_an_array(tmp_path):
    path = tmp_path / "numbers"
    np.arange(1000.0).tofile(path)
    mapped = np.memmap(path, "f8", "r")
    frames = dumps(mapped)
    assert np.shares_memory(mapped, np.frombuffer(frames[2]))
    back = loads(received(frames))
    assert type(back) is np.ndarray
    assert not back.flags.writeable
    assert np.array_equal(back, mapped)
    derived = np.memmap.__new__(Mapped, path, "f8", "r+")
    derived.note = "kept"
    arrived = transferred(derived)
    assert type(arrived) is Mapped
    assert arrived.note == "kept"
    assert arrived.filename is None
    assert np.array_equal(arrived, mapped)


@pytest.mark.parametrize("shape", [(2, 3), (20, 300), (0, 3)])
def test_other_subclasses_keep_class_and_attributes(shape):
    plain = np.zeros(shape).view(Plain)
    plain.unit, plain.owner = "m", [1, 2]
    slotted = np.zeros(shape).view(Slotted)
    slotted.label = "name"
    both = np.zeros(shape).view(SlottedAndMore)
    both.label, both.more = "name", 3
    bare = np.zeros(shape).view(Slotted)
    frames = dumps([plain, slotted, both, bare])
    if np.prod(shape) > 1000:
        assert all(np.shares_memory(array, frames[2 + i]) for i, array in enumerate([plain, slotted, both, bare]))
    for actual, expected in zip(loads(received(frames)), [plain, slotted, both, bare], strict=True):
        assert_equal(actual, expected)
        assert object.__getstate__(actual) == object.__getstate__(expected)
    assert not hasattr(loads(received(frames))[3], "label")


def test_a_subclass_that_pickles_itself_is_left_to_do_so():
    array = np.arange(100_000.0).view(Quantity)
    array.unit = "km"
    frames = dumps(array)
    assert any(frame.nbytes == array.nbytes for frame in frames[1:])
    back = loads(received(frames))
    assert_equal(back, array)
    assert back.unit == "km"


# What numpy pickles itself


def test_what_is_not_an_array():
    assert transferred(np.add) is np.add
    assert transferred(np.float32) is np.float32
    assert transferred(np.frombuffer) is np.frombuffer
    assert np.array_equal(transferred(np.poly1d([1, 2, 3])).coeffs, [1, 2, 3])
    generator = np.random.default_rng(5)
    assert transferred(generator).integers(1 << 60) == generator.integers(1 << 60)
    legacy = np.random.RandomState(5)
    assert transferred(legacy).randint(1 << 30) == legacy.randint(1 << 30)
    assert type(transferred(np.dtypes.StringDType)) is type(np.dtypes.StringDType)


def test_an_array_of_a_dtype_that_only_numpy_knows_goes_numpys_way():
    scaled = np._core._multiarray_umath._get_sfloat_dtype()
    array = np.zeros(3).view(scaled(2.0))
    assert reducers.reduce_ndarray(array)[0] is not reducers.rebuild_ndarray


# Identity, damage, names


def test_identity_and_shared_buffers():
    array = np.arange(1000.0)
    back = transferred([array] * 5 + [array.T, array[:500], array.view("M8[s]")])
    assert all(other is back[0] for other in back[:5])
    assert all(np.shares_memory(back[0], other.view("f8")) for other in back[5:])


def test_an_unknown_dtype_is_named():
    with pytest.raises(DecodeError, match=r"numpy .* has no dtype '<f99'"):
        reducers.rebuild_ndarray(b"", "<f99", (0,))


def test_too_short_a_buffer_is_refused():
    with pytest.raises((TypeError, ValueError)):
        reducers.rebuild_ndarray(bytes(15), "<f8", (2,))
    with pytest.raises((TypeError, ValueError)):
        reducers.rebuild_ndarray(bytes(15), "<f8", (2,), (16,), 0)
    with pytest.raises((TypeError, ValueError)):
        reducers.rebuild_ndarray(bytes(1000), "<f8", (200, 200), (0, 8), 0)


def test_the_format_of_a_plain_array_is_fixed():
    assert reducers.reduce_ndarray(np.arange(3.0))[0] is np.frombuffer
    assert reducers.reduce_ndarray(np.arange(3.0))[1][1] == ("<f8" if sys.byteorder == "little" else ">f8")
    buffer = reducers.reduce_ndarray(np.arange(6).astype("M8[s]")[::2])[1][0]
    assert isinstance(buffer, PickleBuffer)
    stream = b"".join(dumps(np.arange(3.0))[1:])
    assert b"oobcodec" not in stream  # any pickle protocol 5 reader can rebuild it


def test_registering_twice_changes_nothing():
    known = dict(DEFAULT.frozen)
    reducers.register()
    assert DEFAULT.frozen.keys() == known.keys()
    assert_equal(transferred(np.arange(3.0)), np.arange(3.0))


def test_registering_with_a_numpy_without_strings_of_any_length(monkeypatch):
    monkeypatch.delattr(np.dtypes, "StringDType")
    reducers.register()
    assert_equal(transferred(np.arange(3.0)), np.arange(3.0))


def test_another_process_rebuilds_what_it_never_imported(tmp_path):
    message = [
        np.arange(3.0),
        np.arange(6.0).reshape(2, 3).T,
        np.array(["a", None], object),
        np.ma.array([1, 2], mask=[0, 1]),
        ml_dtypes.bfloat16(1.5),
        np.zeros(3, ml_dtypes.bfloat16),
        np.rec.array([(1, 2.0)], dtype="i4,f8"),
    ]
    for i, frame in enumerate(dumps(message)):
        (tmp_path / str(i)).write_bytes(frame)
    script = """
        import pathlib, sys
        from oobcodec.codec import loads
        assert "numpy" not in sys.modules
        paths = sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda path: int(path.name))
        print(*[type(item).__module__ + "." + type(item).__name__ for item in loads([p.read_bytes() for p in paths])])
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    names = [f"{type(item).__module__}.{type(item).__name__}" for item in message]
    assert done.stdout.split() == names
    assert done.stderr == ""


def test_no_filter_of_warnings_is_left_behind():
    before = list(warnings.filters)
    transferred([np.array([None]), np.broadcast_arrays(np.zeros(3), np.zeros((2, 3)))])
    assert warnings.filters == before
