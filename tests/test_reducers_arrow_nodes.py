import random
import sys

import numpy as np
import pyarrow as pa
import pytest
from helpers import received, weight
from hypothesis import given
from hypothesis import strategies as st

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError
from oobcodec.reducers import arrow, arrow_nodes

arrow.register()

COUNT = 500


def address(frame):
    return pa.py_buffer(frame).address


def arrays():
    """Return an array of every layout, with missing values wherever it can have them."""
    choose = random.Random(1)
    ints = [None if choose.random() < 0.2 else choose.randrange(100) for _ in range(COUNT)]
    texts = [None if i is None else "é" * (i % 30) for i in ints]
    lists = [None if i is None else list(range(i % 5)) for i in ints]
    numbers, strings = pa.array(ints, pa.int16()), pa.array(texts)
    yield pa.nulls(COUNT)
    yield pa.array([None if i is None else i > 50 for i in ints])
    for number in (pa.int8(), pa.uint64(), pa.float64()):
        yield pa.array(ints, number)
    yield pa.array([None if i is None else np.float16(i) for i in ints], pa.float16())
    for wide in (
        pa.decimal128(30, 3),
        pa.decimal256(60, 3),
        pa.timestamp("ns", "UTC"),
        pa.duration("s"),
        pa.time64("us"),
    ):
        yield pa.array(ints, pa.int64()).cast(wide)
    yield pa.array([None if i is None else (i, -i, i) for i in ints], pa.month_day_nano_interval())
    for text in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()):
        yield strings.cast(text)
    yield pa.array([None if i is None else b"abc" for i in ints], pa.binary(3))
    yield pa.array([b""] * COUNT, pa.binary(0))
    item = pa.field("element", pa.int8(), metadata={b"key": b"value"})
    for nested in (pa.list_(item), pa.large_list(item), pa.list_view(item), pa.large_list_view(item)):
        yield pa.array(lists, nested)
    yield pa.array([[["a", None], None, []], None, [["é" * 20]]] * 20, pa.list_(pa.large_list(pa.string())))
    yield pa.array([None if i is None else [i, None] for i in ints], pa.list_(pa.int16(), 2))
    pairs = [None if i is None else [(f"key {j}", j) for j in range(i % 4)] for i in ints]
    yield pa.array(
        pairs, pa.map_(pa.string(), pa.field("of", pa.int8(), metadata={b"key": b"value"}), keys_sorted=True)
    )
    yield pa.StructArray.from_arrays([numbers, strings, pa.array(lists)], ["a", "b", "c"], mask=numbers.is_null())
    yield pa.array([None if i is None else {} for i in ints], pa.struct([]))
    yield strings.dictionary_encode()
    yield pa.DictionaryArray.from_arrays(pa.array([1, None, 0] * 50, pa.int8()), pa.array([[1], []]), ordered=True)
    codes = pa.array([5 + i % 2 for i in range(COUNT)], pa.int8())
    yield pa.UnionArray.from_sparse(codes, [numbers, strings], ["i", "s"], [5, 6])
    halves = [numbers.slice(3, COUNT // 2), strings.slice(5, COUNT // 2)]
    yield pa.UnionArray.from_dense(
        codes, pa.array([i // 2 for i in range(COUNT)], pa.int32()), halves, ["i", "s"], [5, 6]
    )
    yield pa.RunEndEncodedArray.from_arrays(pa.array(range(5, COUNT + 5, 5), pa.int32()), strings.slice(0, COUNT // 5))
    yield pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef"] * COUNT, pa.binary(16)))
    yield pa.ExtensionArray.from_storage(pa.json_(), strings)
    boxes = pa.array([[1, 2, 3, 4]] * COUNT, pa.list_(pa.int8(), 4))
    yield pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int8(), (2, 2)), boxes)


ARRAYS = list(arrays())
EVERY = pytest.mark.parametrize("array", ARRAYS, ids=[str(array.type)[:40] for array in ARRAYS])


def assert_arrives(array, memory=bytearray):
    back = loads(received(dumps(array), memory))
    back.validate(full=True)
    assert type(back) is type(array)
    assert back.type.equals(array.type, check_metadata=True)
    assert back.to_pylist() == array.to_pylist()
    assert not len(array) or back.equals(array)
    assert back.null_count == array.null_count


@EVERY
@pytest.mark.parametrize("memory", [bytearray, bytes])
def test_every_layout_and_its_slices(array, memory):
    assert_arrives(array, memory)
    for piece in (array[:13], array[8:24], array[101:158], array[3:], array[:0], array[7:7], array[50:150][3:43]):
        assert_arrives(piece, memory)


@given(st.sampled_from(ARRAYS), st.integers(0, COUNT), st.integers(0, COUNT), st.integers(0, 70), st.integers(0, 70))
def test_slices_of_slices(array, start, length, start_within, length_within):
    assert_arrives(array.slice(start, length).slice(start_within, length_within))


@EVERY
def test_nothing_of_the_neighbours_is_shipped(array):
    if len(array) == COUNT:
        repeated = pa.concat_arrays([array] * 200)
        assert weight(dumps(repeated[COUNT * 100 : COUNT * 100 + 10])) <= weight(dumps(array[:10])) + 600


def test_whole_arrays_travel_uncopied():
    array = pa.array([1.5, None] * 5000)
    frames = dumps(array)
    assert {address(frame) for frame in frames[2:]} == {buffer.address for buffer in array.buffers()}
    arrived = received(frames)
    assert {address(frame) for frame in arrived[2:]} == {buffer.address for buffer in loads(arrived).buffers()}
    for text in (pa.string(), pa.string_view()):
        array = pa.array([f"a text of more than twelve bytes {i}" for i in range(5000)], text)
        held = {(buffer.address, buffer.size) for buffer in array.buffers()[1:]}
        assert {(address(frame), frame.nbytes) for frame in dumps(array)[2:]} <= held


def test_slices_lie_in_the_memory_of_the_whole():
    numbers, texts = pa.array(range(10_000)), pa.array([f"text {i}" for i in range(10_000)])
    frames = dumps([numbers, numbers[1000:3000], texts, texts[1000:3000], texts.buffers()[2]])
    assert len(frames) == 2 + 4  # the offsets of the slice of texts are the only ones that were made anew
    whole, part, _, _, characters = loads(received(frames))
    assert part.buffers()[1].address == whole.buffers()[1].address + 8000
    assert characters.size == texts.buffers()[2].size


@pytest.mark.parametrize("start", [0, 3, 8])
def test_bits_of_the_neighbours_are_blanked(start):
    secret = pa.array([True] * 100_000)
    piece = loads(received(dumps(secret[start : start + 20_003])))
    bits = piece.buffers()[1]
    assert bits.size == 2501
    assert bits[2500] == 0b111
    whole = pa.array([True] * 20_003)
    assert address(dumps(whole)[2]) == whole.buffers()[1].address


@pytest.mark.parametrize("values", [["x" * 5000, "short", None, "y" * 3000], ["a", "b", None, "c"], [None] * 4])
@pytest.mark.parametrize("has_numpy", [True, False])
def test_views_do_not_bring_the_text_that_they_no_longer_use(values, has_numpy, monkeypatch):
    if not has_numpy:
        monkeypatch.setitem(sys.modules, "numpy", None)
    array = pa.array(["z" * 50_000, *values], pa.string_view())
    assert weight(dumps(array[1:])) < 10_000
    assert_arrives(array[1:])
    assert b"zzz" not in b"".join(dumps(array[1:])[1:])


def test_buffers_that_are_absent():
    back = loads(received(dumps(pa.Array.from_buffers(pa.int8(), 0, [None, None]))))
    assert back.buffers() == [None, None]
    assert len(back) == 0


def test_list_views_in_any_order():
    backwards = pa.ListViewArray.from_arrays([3, 0, 2, 0], [2, 2, 0, 1], pa.array(range(10_000)))
    assert weight(dumps(backwards)) < 1000
    assert_arrives(backwards)
    assert_arrives(backwards[1:3])
    tight = pa.ListViewArray.from_arrays([3, 0], [2, 3], pa.array(range(5)))
    assert loads(dumps(tight)).offsets.to_pylist() == [3, 0]


def test_no_name_of_a_layout_is_wrong():
    if int(pa.__version__.partition(".")[0]) >= 26:
        unknown = {
            name for name, i in vars(pa.lib).items() if name.startswith("Type_") and i not in arrow_nodes._LAYOUTS
        }
        assert unknown <= {"Type_INTERVAL_MONTHS", "Type_INTERVAL_DAY_TIME"}  # which Python cannot make


def test_layouts_that_nobody_knows(monkeypatch):
    monkeypatch.delitem(arrow_nodes._LAYOUTS, pa.int8().id)
    with pytest.raises(arrow_nodes.UnknownLayout):
        arrow_nodes.take(pa.array([[1]], pa.list_(pa.int8())))


def test_arrays_of_types_that_this_version_does_not_have_are_refused(monkeypatch):
    monkeypatch.delitem(arrow_nodes._LAYOUTS, pa.string().id)
    message = rf"pyarrow {pa.__version__} has no arrays of type string: install pyarrow the version that the sender has"
    with pytest.raises(DecodeError, match=message):
        arrow_nodes.build(pa.list_(pa.string()), (1, (None, b"\0\0\0\0\0\0\0\0"), (0, (None, bytes(4), b""))))


def test_the_release_that_has_a_type_is_named(monkeypatch):
    monkeypatch.setitem(arrow_nodes._SINCE, "list", 16)
    assert str(arrow_nodes.unknown(pa.list_(pa.int8()))).endswith("list<item: int8>: install pyarrow 16 or later")
