import array
import ctypes
import pathlib
import pickle
import struct
import subprocess
import sys
import textwrap
from pickle import PickleBuffer

import numpy as np
import pytest
from helpers import received, transferred
from hypothesis import given
from hypothesis import strategies as st

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError, EncodeError
from oobcodec.reducers import stdlib

OTHER = "big" if sys.byteorder == "little" else "little"


def assert_equal(actual, expected):
    assert type(actual) is memoryview
    assert actual.shape == expected.shape
    assert actual.ndim == expected.ndim
    assert actual.itemsize == expected.itemsize
    assert actual.tobytes() == expected.tobytes()
    assert actual.format == expected.format.removeprefix("@")


def same_memory(left, right):
    return np.shares_memory(np.frombuffer(left, np.uint8), np.frombuffer(right, np.uint8))


# memoryview


@pytest.mark.parametrize("code", "cbB?hHiIlLqQnNfdP")
@pytest.mark.parametrize("count", [1, 24, 4800])
def test_every_native_format_in_every_shape(code, count):
    memory = bytearray(bytes(i % 2 for i in range(count * struct.calcsize(code))))
    view = memoryview(memory).cast(code)
    shapes = [(count,), (1, count), *([(2, 3, count // 6)] if count % 6 == 0 else []), *([()] if count == 1 else [])]
    for shape in shapes:
        assert_equal(transferred(view.cast("B").cast(code, shape)), view.cast("B").cast(code, shape))
    assert_equal(transferred(view.cast("B").cast("@" + code)), view)


def test_a_large_memoryview_travels_uncopied():
    memory = bytearray(range(256)) * 80
    view = memoryview(memory)[8:-8].cast("d")
    frames = dumps(view)
    assert frames[2].nbytes == view.nbytes
    assert same_memory(frames[2], memory)
    arrived = received(frames)
    back = loads(arrived)
    assert same_memory(back, arrived[2])
    assert_equal(back, view)
    back[0] = 1.5
    assert arrived[2][:8] == struct.pack("d", 1.5)


@pytest.mark.parametrize("size", [0, 8, 4096])
@pytest.mark.parametrize("memory", [bytes, bytearray])
def test_read_only_stays_read_only(size, memory):
    frozen = memoryview(bytes(size)).cast("d") if size else memoryview(b"")
    assert transferred(frozen, memory).readonly
    loose = memoryview(bytearray(size))
    assert transferred(loose, memory).readonly == (size > 1024 and memory is bytes)
    assert loads(received(dumps(loose), memory), writable=False).readonly
    strided = memoryview(bytes(2 * size))[::2]
    assert transferred(strided).readonly


@pytest.mark.parametrize("code", "cb?dPn")
@pytest.mark.parametrize("shape", [(0,), (0, 3), (0, 2, 5)])
@pytest.mark.parametrize("memory", [bytes, bytearray])
def test_empty(code, shape, memory):
    row = memory(struct.calcsize(code) * int(np.prod(shape[1:], dtype=int)))
    view = memoryview(row).cast(code, (1, *shape[1:]))[:0]
    back = transferred(view)
    assert_equal(back, view)
    assert back.shape == shape
    assert back.readonly == (memory is bytes)


def test_zeros_elsewhere_in_the_shape_go_through_numpy():
    view = memoryview(np.zeros((3, 0, 2)))
    back = transferred(view)
    assert_equal(back, view)
    assert back.shape == (3, 0, 2)


@pytest.mark.parametrize("count", [10, 5000])
@pytest.mark.parametrize("step", [2, -1, -3])
def test_strided_views(count, step):
    for code in "Bdilc?":
        memory = bytearray(i % 2 for i in range(count * struct.calcsize(code)))
        view = memoryview(memory).cast(code)[::step]
        assert_equal(transferred(view), view)
        assert not transferred(view).readonly


def test_strided_views_share_memory_with_their_base():
    base = memoryview(bytearray(8000)).cast("d")
    back, strided = transferred([base, base[::-2]])
    back[999] = 2.5
    assert strided[0] == 2.5
    assert strided.strides == (-16,)


def test_what_a_step_leaves_out_never_leaves():
    for count in (10, 5000):
        view = memoryview(bytearray(b"\x01\xee" * count))[::2]
        assert b"\xee" not in b"".join(dumps(view)[1:])


@pytest.mark.parametrize(
    "exporter",
    [
        np.asfortranarray(np.arange(600.0).reshape(20, 30)),
        np.arange(600.0).reshape(20, 30)[:, ::2],
        np.zeros(500, ">f8"),
        np.zeros(300, "i4,f8"),
        np.zeros(300, "F"),
        np.zeros(600, "e"),
        np.zeros(300, "g"),
        np.zeros(300, "U3"),
        (ctypes.c_double * 300)(),
    ],
    ids=lambda exporter: memoryview(exporter).format,
)
def test_formats_that_only_numpy_knows(exporter):
    view = memoryview(exporter)
    frames = dumps(view)
    back = loads(received(frames))
    assert back.shape == view.shape
    assert back.tobytes() == view.tobytes()
    assert back.format.lstrip("<=") == view.format.lstrip("<=")
    assert not back.readonly
    if view.contiguous:
        assert np.shares_memory(np.frombuffer(frames[2], np.uint8), np.asarray(exporter))
        assert back.strides == view.strides


class Unknown(ctypes.Structure):
    _fields_ = (("callback", ctypes.CFUNCTYPE(None)),)


def test_what_not_even_numpy_knows_is_refused_with_the_remedy():
    view = memoryview((Unknown * 3)())
    with pytest.raises(EncodeError, match=r"format .* cannot be sent as it is: send view\.tobytes\(\)"):
        dumps(view)
    assert transferred(view.tobytes()) == view.tobytes()


def test_a_released_memoryview_is_refused():
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(EncodeError, match="released"):
        dumps(view)
    with pytest.raises(EncodeError, match="released"):
        dumps([b"abc", {"view": view}])


def test_without_numpy_strides_are_packed_and_formats_refused():
    script = """
        import ctypes, sys
        from oobcodec.codec import dumps, loads
        from oobcodec.errors import EncodeError

        for memory in (bytes(range(100)), bytearray(range(100)) * 100):
            view = memoryview(memory)[::-3]
            back = loads(dumps(view))
            assert back == view and back.readonly == view.readonly, back
            twice = memoryview(memory).cast("i")[::2]
            assert loads(dumps(twice)) == twice
            rows = memoryview(memory).cast("B", (10, len(memory) // 10))[::2]
            assert loads(dumps(rows)).tolist() == rows.tolist()
            assert loads(dumps(memoryview(memory)[::2][:0])).nbytes == 0
        try:
            dumps(memoryview((ctypes.c_double * 3)()))
        except EncodeError as error:
            print(error)
        assert "numpy" not in sys.modules
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert "import numpy first, or send view.tobytes()" in done.stdout


@pytest.mark.parametrize(("code", "itemsize"), [("d", 8), ("h", 2), ("i", 4), ("Q", 8), ("c", 1)])
@pytest.mark.parametrize("memory", [bytes, bytearray])
def test_the_byte_order_of_another_platform(code, itemsize, memory):
    here = struct.pack(f"={code}", b"a" if code == "c" else 3)
    there = struct.pack(f"{'>' if OTHER == 'big' else '<'}{code}", b"a" if code == "c" else 3)
    back = stdlib.rebuild_memoryview(memory(there * 6), code, (2, 3), itemsize, OTHER)
    assert back.tobytes() == here * 6
    assert back.format == code
    assert back.shape == (2, 3)
    assert back.readonly == (memory is bytes)


def test_the_sizes_of_another_platform():
    smaller = stdlib.rebuild_memoryview(bytearray(8), "l", (2,), 4, sys.byteorder)
    assert (smaller.format, smaller.shape) == ("i", (2,))
    with pytest.raises(DecodeError, match="no number of 16 bytes like the sender's 'd'"):
        stdlib.rebuild_memoryview(bytearray(16), "d", (1,), 16, sys.byteorder)


@given(st.binary(min_size=1, max_size=3000), st.slices(3000))
def test_any_slice_of_any_bytes(data, part):
    for memory in (data, bytearray(data)):
        view = memoryview(memory)[part]
        back = transferred(view)
        assert back == view
        assert back.readonly == view.readonly


def test_identity_of_memoryviews():
    view = memoryview(bytearray(5000))
    left, right, other = transferred([view, view, view[1000:4000]])
    assert left is right
    assert same_memory(left, other)


# array.array


@pytest.mark.parametrize("code", [code for code in array.typecodes if code not in "uw"])
@pytest.mark.parametrize("count", [0, 1, 100, 5000])
def test_arrays_of_every_typecode(code, count):
    values = array.array(code, [i % 100 for i in range(count)])
    back = transferred(values)
    assert type(back) is array.array
    assert back.typecode == code
    assert back == values
    back.append(1)


@pytest.mark.filterwarnings("ignore:.*'u'.*:DeprecationWarning")  # what 3.13 thinks of the array that the test makes
@pytest.mark.parametrize("code", [code for code in array.typecodes if code in "uw"])
@pytest.mark.parametrize("text", ["", "abc", "日本\0語\U0001f600" * 500])
def test_arrays_of_text(code, text):
    values = array.array(code, text)
    back = transferred(values)
    assert back.typecode == code
    assert back.tounicode() == text


def test_an_array_is_sent_uncopied_and_arrives_with_memory_of_its_own():
    values = array.array("d", range(1000))
    frames = dumps(values)
    assert same_memory(frames[2], values)
    with pytest.raises(BufferError):
        values.append(1)
    arrived = received(frames)
    back = loads(arrived)
    arrived[2][:] = bytes(8000)
    assert back == values
    del frames
    values.append(1)


def test_arrays_share_memory_with_views_of_them():
    values = array.array("d", range(1000))
    frames = dumps([values, memoryview(values)[5:500]])
    assert sum(frame.nbytes for frame in frames[2:]) == 8000


@pytest.mark.parametrize(
    ("code", "itemsize", "local"), [("l", 4, "i"), ("L", 4, "I"), ("q", 8, "q"), ("i", 8, "l"), ("f", 8, "d")]
)
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_arrays_of_another_platform(code, itemsize, local, byteorder):
    kind = {"f": "d", "l": "i", "L": "I", "q": "q", "i": "q"}[code]
    data = struct.pack(f"{'<' if byteorder == 'little' else '>'}3{kind}", 1, 2, 300)
    back = stdlib.rebuild_array(data, code, itemsize, byteorder)
    assert back.tolist() == [1, 2, 300]
    assert back.itemsize == itemsize
    assert back.typecode == local


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_text_of_another_platform(codec):
    text = "aé\U0001f600"
    data = text.encode(codec)
    back = stdlib.rebuild_array(data, "u", int(codec[4:6]) // 8, "little" if codec.endswith("le") else "big")
    assert back.tounicode() == text


def test_typecodes_that_are_not_here_are_named():
    if "w" in array.typecodes:
        assert stdlib.rebuild_array("ab".encode("utf-32-le"), "w", 4, "little").tounicode() == "ab"
        return
    with pytest.raises(DecodeError, match=r"Python 3\.\d+ has no arrays of typecode 'w'"):
        stdlib.rebuild_array(b"", "w", 4, "little")


class Series(array.array):
    pass


def test_a_derived_array_keeps_class_and_attributes():
    values = Series("d", [1, 2])
    values.name = "x"
    back = transferred(values)
    assert type(back) is Series
    assert back == values
    assert back.name == "x"


# What needs no reducer


@pytest.mark.parametrize("size", [0, 10, 1023, 1024, 5000])
@pytest.mark.parametrize("memory", [bytes, bytearray])
def test_a_pickle_buffer_arrives_as_memory(size, memory):
    original = memory(size)
    frames = dumps([PickleBuffer(original)])
    back = loads(received(frames))[0]
    assert bytes(back) == bytes(size)
    if size < 1024:
        assert type(back) is memory
    else:
        assert same_memory(frames[2], original)
        assert memoryview(back).readonly == (memory is bytes)


@pytest.mark.parametrize("make", [bytes, bytearray])
def test_large_bytes_go_by_reference(make):
    original = make(1_000_000)
    frames = dumps(["before", original, "after"])
    assert any(frame.nbytes == len(original) and same_memory(frame, original) for frame in frames)
    assert loads(received(frames)) == ["before", original, "after"]
    assert type(loads(received(frames))[1]) is make


def test_large_ascii_text_costs_one_copy():
    text = "x" * 1_000_000
    frames = dumps([text])
    assert sum(frame.nbytes for frame in frames) < 1_000_500
    assert loads(received(frames)) == [text]


def test_pickle_itself_is_left_alone():
    dumps(memoryview(b""))
    with pytest.raises(TypeError):
        pickle.dumps(memoryview(b""), 5)


@pytest.mark.parametrize("path", [pathlib.Path("a/b"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("c:/d")])
def test_path_travels_without_the_module_that_python_3_13_moved_it_to(path):
    frames = dumps([path])
    assert loads(frames) == [path]
    assert type(loads(frames)[0]) is type(path)
    assert b"pathlib" not in frames[1].tobytes()


def test_path_of_the_other_platform_is_refused_with_the_remedy():
    foreign = "WindowsPath" if sys.platform != "win32" else "PosixPath"
    with pytest.raises(DecodeError, match=f"no {foreign}: send Pure{foreign} instead"):
        stdlib.rebuild_path(foreign, "a")
