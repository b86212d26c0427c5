from collections import defaultdict, deque
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from conformance.comparison import Comparison
from conformance.table import cases
from numpy.lib.stride_tricks import sliding_window_view

import oobcodec
from oobcodec.context import DEFAULTS, LOADING
from oobcodec.errors import DecodeError, LimitError, PolicyError
from oobcodec.guards import numpy as arrays
from oobcodec.guards import numpy_scalars as scalars
from oobcodec.limits import FOR_DATA, Budget
from oobcodec.reducers import numpy as reducers
from oobcodec.registry import DEFAULT

CASES = cases("numpy")
CODE = {
    "a subclass with a state of its own",
    "a subclass with an attribute",
    "functions",
    "poly1d",
    "random generator",
}
MOST = (1 << 63) - 1
EIGHT = bytes(64)


def loads(obj, **options):
    return oobcodec.loads([bytearray(frame) for frame in oobcodec.dumps(obj)], policy=oobcodec.DATA, **options)


def assert_arrives(obj):
    assert not Comparison(loads(obj), obj).lost


def boxed(*items):
    box = np.empty(len(items), object)
    box[:] = items
    return box


def structured(*fields, count=3, **options):
    return np.zeros(count, np.dtype([*fields], **options))


@pytest.fixture
def limited():
    token = LOADING.set(DEFAULTS._replace(budget=Budget(replace(FOR_DATA, max_operations=1000))))
    yield
    LOADING.reset(token)


# What fills it has padding, in which numpy leaves whatever was there.
PADDED = "masked records"


@pytest.mark.parametrize("name", sorted(CASES.keys() - CODE - {PADDED}))
def test_data_arrives_as_it_left(name):
    case = CASES[name]
    sent = case.make()
    assert not Comparison(loads(sent), sent).lost


def test_masked_records_arrive_as_they_left():
    sent = CASES[PADDED].make()
    got = loads(sent)
    assert (got.mask == sent.mask).all()
    assert (got.data == sent.data).all()


@pytest.mark.parametrize("name", sorted(CODE))
def test_what_is_more_than_data_is_refused(name):
    with pytest.raises(PolicyError):
        loads(CASES[name].make())


TEXT = np.arange(600).astype("U3")

OTHERS = {
    "text with gaps": lambda: TEXT[::2],
    "text of the other byte order, with gaps": lambda: TEXT.astype(">U3").reshape(20, 30)[::2, ::-3],
    "windows over text": lambda: sliding_window_view(TEXT, 7),
    "text broadcast": lambda: np.broadcast_to(TEXT[:2], (5, 2)),
    "text of every plane": lambda: np.array(["\0", "\ud800", "\U0010ffff"]),
    "truth with gaps": lambda: (TEXT > "3").reshape(20, 30)[:, ::3],
    "many truth values with gaps": lambda: np.zeros(9000, bool)[::3],
    "windows over truth values": lambda: sliding_window_view(TEXT > "3", 7),
    "windows over records": lambda: sliding_window_view(structured(("t", "U2"), ("b", "?"), count=50), 5),
    "no time at all": lambda: np.array(["NaT", "NaT"], "M8"),
    "long text": lambda: np.full(9000, "\U0001f40d" * 3),
    "text without characters": lambda: np.zeros(3, [("t", "U0"), ("n", "i4")]),
    "a number and its parts": lambda: np.arange(5, dtype=np.dtype((np.int32, {"low": ("i2", 0), "high": ("i2", 2)}))),
    "text in a number": lambda: np.zeros(5, np.dtype((np.int32, {"t": ("U1", 0)}))),
    "objects in each other": lambda: boxed(boxed(1, None), [boxed("a")], boxed(boxed(2.5))),
    "masked objects in objects": lambda: boxed(np.ma.MaskedArray(boxed("a", "b"), [True, False]), "c"),
    "numbers in objects": lambda: boxed(np.arange(4), np.zeros(2, [("a", "i4")])[0]),
    "objects broadcast": lambda: np.broadcast_to(boxed("a"), (4, 3)),
    "objects of two axes, by columns": lambda: np.asfortranarray(boxed(*"abcdef").reshape(2, 3)),
    "fields of objects": lambda: structured(("n", "i4"), ("o", "O", (2,)), ("in", [("t", "U2"), ("o", "O")])),
    "a record of objects": lambda: structured(("n", "i4"), ("o", "O"))[1],
    "characters": lambda: np.char.array(["a", "bc"]),
    "an element of a masked array of records": lambda: np.ma.MaskedArray(structured(("a", "i4")), [(1,)] * 3)[1],
    "a masked matrix": lambda: np.ma.MaskedArray(np.arange(6).reshape(2, 3).view(np.matrix), mask=False),
    "masked text": lambda: np.ma.MaskedArray(TEXT, TEXT > "3", fill_value="-"),
    "attributes": lambda: attributed(np.arange(6).reshape(2, 3).view(np.matrix)),
    "attributes of a masked array": lambda: attributed(np.ma.MaskedArray([1, 2], [True, False])),
    "strings of two axes": lambda: np.array([["a", "\U0001f40d"], ["", "bcd"]], np.dtypes.StringDType()).T,
    "strings with NaN": lambda: np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan)),
    "integers": lambda: [np.dtype(char).type(100) for char in "bBhHiIlLqQ"],
    "floats": lambda: [np.dtype(char).type(number) for char in "efd" for number in (1.5, np.inf, -np.inf, np.nan)],
    "complex": lambda: [np.dtype(char).type(complex(1, -np.inf)) for char in "FD"],
    "long": lambda: [np.clongdouble(1 + 2j) / 3, np.datetime64("2020-01-01T00", "h"), np.timedelta64(5, "25s")],
    "bytes": lambda: [np.void(b"abc"), np.bytes_(b"a"), np.str_("\udc80")],
    "custom": lambda: [ml_dtypes.float8_e5m2(2), np.dtype(ml_dtypes.uint4)],
}  # fmt: skip


def attributed(array):
    array.unit = "m"
    return array


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_other_data_arrives_as_it_left(make):
    if "StringDType" in make.__code__.co_names and not hasattr(np.dtypes, "StringDType"):
        pytest.skip("this numpy has no StringDType")
    assert_arrives(make())


def test_all_is_read_only_where_that_is_asked():
    objects = structured(("n", "i4"), ("o", "O"))
    sent = [np.arange(3), np.arange(4).reshape(2, 2), np.empty(0), boxed("a"), objects, np.arange(999)[::3]]
    if hasattr(np.dtypes, "StringDType"):
        sent.append(np.array(["a"], np.dtypes.StringDType()))
    assert not any(array.flags.writeable for array in loads(sent, writable=False))
    assert all(array.flags.writeable for array in loads(sent))


def test_spaced_elements_in_the_stream_are_read_only_where_that_is_asked():
    assert not DEFAULT.frozen[arrays.rebuild_spaced](bytearray(24), "<i8", 24, 16).flags.writeable


def test_filling_tells_whether_an_array_can_be_written_to():
    for guard in (arrays.set_objects, DEFAULT.frozen[arrays.set_objects]):
        blank = arrays.rebuild_blank("|O", (2,), [0])
        guard(blank, (["a", "b"], guard is arrays.set_objects))
        assert blank.flags.writeable == (guard is arrays.set_objects)


# Arrays over buffers


@pytest.mark.parametrize(
    "arguments",
    [
        (EIGHT, "|O"),
        (EIGHT, "O"),
        (EIGHT, "<U2"),
        (EIGHT, "<M8[s]"),
        (EIGHT, "|V8"),
        (EIGHT, "i4,O"),
        (EIGHT, "<f16"),
        (EIGHT, np.dtype("<f8")),
        (EIGHT, None),
        ("text", "<f8"),
        (np.zeros(3), "<f8"),
        (np.array([None]), "<i8"),
        ([1, 2], "<f8"),
        (b"\0\2", "|b1"),
    ],
)
def test_frombuffer_makes_numbers_of_bytes_and_nothing_else(arguments):
    with pytest.raises(DecodeError):
        arrays.frombuffer(*arguments)


OBJECTS = np.dtype([("n", "i4"), ("o", "O")])


@pytest.mark.parametrize(
    "arguments",
    [
        (EIGHT, "|O", (8,)),
        (EIGHT, OBJECTS, (1,)),
        (EIGHT, np.dtype((OBJECTS, (2,))), (1,)),
        (EIGHT, np.dtype(("<f8", (2,))), (4,)),
        (EIGHT, "|V0", (8,)),
        (EIGHT, "<f16", (4,)),
        (EIGHT, "f8", (8,)),
        (EIGHT, 8, (8,)),
        (EIGHT, "<M8[0s]", (8,)),
        (EIGHT, "<M8[99999999999s]", (8,)),
        (EIGHT, "<M8[s/3]", (8,)),
        (EIGHT, "(8,)<f8", (1,)),
        (EIGHT, "<f8,<f8", (4,)),
        (EIGHT, "<f8", [8]),
        (EIGHT, "<f8", (9,)),
        (EIGHT, "<f8", (7,)),
        (EIGHT, "<f8", (-8,)),
        (EIGHT, "<f8", (-1,)),
        (EIGHT, "<f8", (8, True)),
        (EIGHT, "<f8", (8.0,)),
        (EIGHT, "<f8", (8, 0)),
        (EIGHT, "<f8", (1 << 61, 1 << 6)),
        (EIGHT, "<f8", (1 << 64,)),
        (EIGHT, "<f8", (1,) * 65),
        ("text", "<f8", (8,)),
        (np.zeros(8), "<f8", (8,)),
        (b"", "<f8", (0,)),
        # strides
        (EIGHT, "<f8", (8,), (8, 8), 0),
        (EIGHT, "<f8", (8,), [8], 0),
        (EIGHT, "<f8", (8,), (8.0,), 0),
        (EIGHT, "<f8", (8,), (True,), 0),
        (EIGHT, "<f8", (8,), (8,), None),
        (EIGHT, "<f8", (8,), (8,), 8),
        (EIGHT, "<f8", (8,), (8,), -8),
        (EIGHT, "<f8", (8,), (-8,), 0),
        (EIGHT, "<f8", (8,), (-8,), 64),
        (EIGHT, "<f8", (9,), (8,), 0),
        (EIGHT, "<f8", (7,), (8,), 0),
        (EIGHT, "<f8", (2,), (57,), 0),
        (EIGHT, "<f8", (2, 2), (-8, 48), 0),
        (EIGHT, "<f8", (8, 1), (8, 1 << 63), 0),
        (EIGHT, "<f8", (8, 1), (8, 1 << 5000), 0),
        (EIGHT, "<f8", ((1 << 60) + 1,), (1 << 4,), 0),
        (EIGHT[:8], "<f8", (1 << 60,), (0,), 0),
        (EIGHT[:8], "<f8", (1 << 40, 1 << 40), (0, 0), 0),
        (EIGHT[:1], "|u1", (1 << 62, 2), (0, 0), 0),
    ],
)  # fmt: skip
def test_arrays_lie_in_their_buffers_and_consist_of_values(arguments):
    with pytest.raises(DecodeError):
        arrays.rebuild_ndarray(*arguments)


def test_largest_broadcast_is_not_made():
    got = arrays.rebuild_ndarray(b"\1", "|u1", (1 << 62,), (0,), 0)
    assert (got.nbytes, got.strides, got[1 << 61]) == (1 << 62, (0,), 1)


@pytest.mark.parametrize(
    "arguments",
    [
        (EIGHT, "|O", 32, 16),
        (EIGHT, "<M8[s]", 32, 16),
        ("text" * 14, "<f8", 32, 16),
        (memoryview(EIGHT).cast("d"), "<f8", 32, 16),
        (memoryview(EIGHT).cast("B", (32, 2)), "|u1", 32, 2),
        (EIGHT[:56], "<f8", 32.0, 16),
        (EIGHT[:56], "<f8", True, 16),
        (EIGHT[:56], "<f8", 32, 16.0),
        (EIGHT[:56], "<f8", 33, 16),
        (EIGHT[:56], "<f8", 0, 16),
        (EIGHT[:56], "<f8", -32, 16),
        (EIGHT[:56], "<f8", 40, 16),
        (EIGHT[:56], "<f8", 32, 17),
        (EIGHT[:56], "<f8", 32, 4),
        (EIGHT[:56], "<f8", 32, -16),
        (EIGHT[:8], "<f8", 1 << 63, 0),
        (b"\2\0\1", "|b1", 2, 2),
    ],
)
def test_elements_that_lie_apart_lie_in_their_buffer(arguments):
    with pytest.raises(DecodeError):
        arrays.rebuild_spaced(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("<f8", (1,), True),
        ("<f8", (0,), 1),
        ("<f8", (0, -1), True),
        ("<f8", 0, True),
        ("|V0", (1 << 64,), True),
        (None, (0,), True),
        (np.dtype(("<f8", (0,))), (1,), True),
    ],
)
def test_arrays_without_bytes_have_none(arguments):
    with pytest.raises(DecodeError):
        arrays.rebuild_empty(*arguments)


@pytest.mark.parametrize("arguments", [("|V0", (1 << 40,), True), ("|S2000000000", (0,), True)])
@pytest.mark.usefixtures("limited")
def test_arrays_without_bytes_take_little(arguments):
    with pytest.raises(LimitError):
        arrays.rebuild_empty(*arguments)


# Arrays of Python objects


@pytest.mark.parametrize(
    "arguments",
    [
        ("<f8", (3,), [0]),
        ("|O", (3,), (0,)),
        ("|O", (3,), []),
        ("|O", (3,), [1]),
        ("|O", (3,), ["0"]),
        ("|O", (3, 3), [0, 0]),
        ("|O", (3, 3), [False, True]),
        ("|O", (-3,), [0]),
        ("|O", [3], [0]),
        (np.dtype((OBJECTS, (2,))), (3,), [0]),
    ],
)
def test_what_is_filled_is_an_array_of_objects(arguments):
    with pytest.raises(DecodeError):
        arrays.rebuild_blank(*arguments)


@pytest.mark.usefixtures("limited")
def test_what_is_never_filled_is_limited():
    with pytest.raises(LimitError):
        arrays.rebuild_blank("|O", (1 << 40,), [0])


def test_what_is_never_filled_is_clear():
    blank = arrays.rebuild_blank(OBJECTS, (1000, 3), [1, 0])
    assert set(blank["n"].flat) == {0}
    assert type(blank) is np.ndarray


def blank(*shape, dtype="|O"):
    return arrays.rebuild_blank(dtype, shape, [*range(len(shape))])


@pytest.mark.parametrize(
    ("array", "state"),
    [
        (lambda: blank(2), (["a"], True)),
        (lambda: blank(2), (["a", "b", "c"], True)),
        (lambda: blank(2), (("a", "b"), True)),
        (lambda: blank(2), ("ab", True)),
        (lambda: blank(2), (["a", "b"], 1)),
        (lambda: blank(2), ["a", "b"]),
        (lambda: blank(2), (["a", "b"],)),
        (lambda: blank(2, dtype=OBJECTS), (["a", "b"], True)),
        (lambda: np.empty(2, object), (["a", "b"], True)),
        (lambda: np.zeros(2), (["a", "b"], True)),
        (lambda: arrays.rebuild_view("MaskedArray", blank(2)), (["a", "b"], True)),
        (lambda: [1, 2], (["a", "b"], True)),
        (lambda: np.ma.masked, (["a"], True)),
        (lambda: blank(2), ([deque(), "b"], True)),
        (lambda: blank(2), ([defaultdict(list), "b"], True)),
        (lambda: blank(2), ([blank(2), "b"], True)),
        (lambda: blank(2), ([blank(2)[None].T, "b"], True)),
        (lambda: blank(2), ([np.broadcast_to(blank(1), (2, 2)), "b"], True)),
        (lambda: blank(2), ([arrays.rebuild_view("MaskedArray", blank(2)), "b"], True)),
        (lambda: blank(2), ([blank(dtype=OBJECTS)[()], "b"], True)),
    ],
)  # fmt: skip
def test_arrays_are_filled_with_as_many_objects_as_they_have(array, state):
    with pytest.raises(DecodeError):
        arrays.set_objects(array(), state)


def test_arrays_are_filled_once():
    one = blank(1)
    arrays.set_objects(one, (["a"], True))
    with pytest.raises(DecodeError, match="filled once"):
        arrays.set_objects(one, (["b"], True))


def test_no_array_is_put_into_itself():
    one = blank(1)
    with pytest.raises(DecodeError, match="into itself"):
        arrays.set_objects(one, ([one], True))


def nested(depth):
    inner = "a"
    for _ in range(depth):
        outer = blank(1)
        arrays.set_objects(outer, ([inner], True))
        inner = outer


def in_lists(depth):
    inner = "a"
    for _ in range(depth):
        outer = blank(1)
        arrays.set_objects(outer, ([[inner]], True))
        inner = outer


def test_arrays_do_not_lie_in_each_other_so_deep_that_freeing_them_crashes():
    in_lists(100)
    nested(30)
    with pytest.raises(DecodeError, match="arrays of objects lie in each other"):
        nested(100)


def nested_records(depth):
    inner = "a"
    for _ in range(depth):
        part, record = blank(), blank(dtype=np.dtype([("o", "O")]))
        arrays.set_objects(part, ([inner], True))
        arrays.set_fields(record, ([part], True))
        inner = scalars.rebuild_element(record)


def test_records_count_like_the_arrays_that_they_are_of():
    nested_records(30)
    with pytest.raises(DecodeError, match="arrays of objects lie in each other"):
        nested_records(100)


def numbers():
    return np.arange(2, dtype="i4")


@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (lambda: blank(2, dtype=OBJECTS), []),
        (lambda: blank(2, dtype=OBJECTS), [numbers()]),
        (lambda: blank(2, dtype=OBJECTS), [numbers(), ["a", "b"]]),
        (lambda: blank(2, dtype=OBJECTS), [numbers(), boxed("a")]),
        (lambda: blank(2, dtype=OBJECTS), [numbers().astype("i8"), boxed("a", "b")]),
        (lambda: blank(2, dtype=OBJECTS), [boxed(1, 2), boxed("a", "b")]),
        (lambda: blank(2, dtype=OBJECTS), [numbers().view(np.ma.MaskedArray), boxed("a", "b")]),
        (lambda: blank(2, dtype=OBJECTS), [numbers(), blank(2)]),
        (lambda: blank(2), [numbers(), boxed("a", "b")]),
        (lambda: np.zeros(2, OBJECTS), [numbers(), boxed("a", "b")]),
    ],
)
def test_fields_fit_into_their_array(array, parts):
    with pytest.raises(DecodeError):
        arrays.set_fields(array(), (parts, True))


@pytest.mark.parametrize(
    "arguments", [([1], (3,)), (np.zeros(1), (-3,)), (np.zeros(1), (1 << 61, 4)), (np.ma.masked, (3,))]
)
def test_what_is_repeated_is_an_array_of_which_the_elements_can_be_counted(arguments):
    with pytest.raises(DecodeError):
        arrays.rebuild_broadcast(*arguments)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="this numpy has no StringDType")
class TestStrings:
    """Arrays of strings of any length."""

    lengths = np.array([1, 2], "u1")
    layout = ((2,), [0], True)

    @staticmethod
    def dtype(**options):
        return np.dtypes.StringDType(**options)

    @pytest.mark.parametrize(
        "changes",
        [
            {0: "abc"},
            {0: b"ab"},
            {0: b"abcd"},
            {0: None},
            {1: [1, 2]},
            {1: np.array([1, 2], "i8")},
            {1: np.array([2, 1 << 63], "u8")},
            {1: np.array([(1 << 64) - 1, 4], "u8")},
            {1: np.array([3], "u1")},
            {1: np.array([1, 2, 0], "u1")},
            {1: np.array([1, 9, 2, 9], "u1")[::2]},
            {1: np.array([1, 2], "u1").view(np.ma.MaskedArray)},
            {2: np.array([True, False])},
            {2: [True, False]},
            {2: np.array([True])},
            {2: np.array([1, 0], "u1")},
            {3: "T"},
            {3: np.dtype("O")},
            {3: np.dtype("U3")},
            {4: None},
            {4: ((2,), [0])},
            {4: ((2,), [0], 1)},
            {4: ((2,), [1], True)},
            {4: ((2,), (0,), True)},
            {4: ([2], [0], True)},
            {4: ((1 << 62,), [0], True)},
        ],
    )  # fmt: skip
    def test_the_strings_are_all_of_the_text(self, changes):
        arguments = [b"abc", self.lengths, None, self.dtype(), self.layout]
        assert arrays.rebuild_strings(*arguments).tolist() == ["a", "bc"]
        for place, value in changes.items():
            arguments[place] = value
        with pytest.raises(DecodeError):
            arrays.rebuild_strings(*arguments)

    def test_missing_ones_are_missing(self):
        missing = np.array([False, True])
        got = arrays.rebuild_strings(b"abc", self.lengths, missing, self.dtype(na_object=None), self.layout)
        assert got.tolist() == ["a", None]

    def test_text_is_text(self):
        with pytest.raises(UnicodeDecodeError):
            arrays.rebuild_strings(b"\xed\xa0\x80", self.lengths, None, self.dtype(), self.layout)

    @pytest.mark.usefixtures("limited")
    def test_making_them_is_limited(self):
        lengths = np.zeros(100_000, "u1")
        with pytest.raises(LimitError):
            arrays.rebuild_strings(b"", lengths, None, self.dtype(), ((100_000,), [0], True))


# Subclasses


@pytest.mark.parametrize(
    "arguments",
    [
        ("ndarray", np.zeros(3)),
        ("memmap", np.zeros(3)),
        ("MaskedConstant", np.zeros(())),
        (np.matrix, np.zeros((3, 3))),
        (("numpy", "matrix"), np.zeros((3, 3))),
        ("matrix", np.zeros(3)),
        ("matrix", np.zeros((3, 3, 3))),
        ("matrix", [[1]]),
        ("chararray", np.zeros(3)),
        ("mvoid", np.zeros(())),
        ("mvoid", np.zeros(3, [("a", "i4")])),
        ("MaskedArray", np.ma.masked),
        ("MaskedArray", 3),
        ("recarray", np.matrix),
    ],
)
def test_arrays_are_of_classes_of_numpy_s_that_they_can_be_of(arguments):
    with pytest.raises(DecodeError):
        arrays.rebuild_view(*arguments)


@pytest.mark.parametrize("state", [{"_getitem": 3}, {"shape": 3}, {"_private": 3}, [], (None, {})])
def test_attributes_of_a_matrix_are_harmless(state):
    with pytest.raises(DecodeError):
        arrays.check_numpy(np.zeros((2, 2)).view(np.matrix), state)


# Whole messages


class Call:
    """An object that travels as a call of any function."""

    def __init__(self, *how):
        self.how = how

    def __reduce__(self):
        return self.how


@pytest.mark.parametrize("name", ["ndarray", "dtype", "memmap", "fromfile", "load", "zeros", "fromiter", "vectorize"])
def test_other_functions_of_numpy_are_refused(name):
    with pytest.raises(PolicyError, match=f"numpy.*{name}"):
        loads(Call(getattr(np, name), (3,)))


class Chain:
    """An object that travels as arrays of objects in each other."""

    def __init__(self, depth):
        self.depth = depth

    def __reduce__(self):
        inner = Chain(self.depth - 1) if self.depth else None
        return reducers.rebuild_blank, ("|O", (1,), [0]), ([inner], True), None, None, reducers.set_objects


def test_a_message_does_not_make_arrays_that_crash_when_they_are_freed():
    assert loads(Chain(20))[0][0].shape == (1,)
    with pytest.raises(DecodeError, match="lie in each other"):
        loads(Chain(100))


def test_broadcast_is_not_made_larger_than_it_travels():
    got = loads(np.broadcast_to(TEXT[:1], (1 << 20, 1 << 20)))
    assert (got.shape, got.strides, got[5, 7]) == ((1 << 20, 1 << 20), (0, 0), "0")
