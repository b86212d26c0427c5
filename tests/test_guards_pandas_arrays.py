import datetime as dt
import sys
from array import array as numbers
from types import ModuleType
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conformance import cases_pandas  # which also tells how to compare them
from conformance.comparison import Comparison
from guarding import arrived, limited

from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards import pandas_arrays as guards
from oobcodec.reducers import arrow, pandas

arrow.register()
pandas.register()

BERLIN = ZoneInfo("Europe/Berlin")
N = 2000
HOUR = np.arange(3).astype("M8[s]")
ZONED = pd.DatetimeTZDtype("s", BERLIN)
WORDS = pd.CategoricalDtype(["b", "a", "c"])
STRING = pd.StringDtype("python")
NAN_STRINGS = pd.StringDtype("python", na_value=np.nan) if cases_pandas.NAN_STRINGS else pd.StringDtype("pyarrow_numpy")
BROADCAST = np.broadcast_to(np.int8(0), (2**40,))


@pytest.fixture
def budget():
    with limited():
        yield


TIMES = pd.date_range("2020", periods=N, freq="h", tz=BERLIN)
DATA_OF_ALL_KINDS = {
    "Int8": pd.array([1, None, 3], dtype="Int8"),
    "UInt64": pd.array(np.arange(N), dtype="UInt64"),
    "boolean": pd.arrays.BooleanArray(np.arange(N) % 3 == 1, np.arange(N) % 3 == 0),
    "Float32": pd.array([1.5, None], dtype="Float32"),
    "times": TIMES.array,
    "times with a step": pd.array(pd.date_range("2020", periods=N, freq="h")),
    "naive": TIMES.tz_localize(None).array,
    "two axes": pd.arrays.DatetimeArray._simple_new(np.arange(6).astype("M8[s]").reshape(2, 3), dtype=ZONED),
    "timedeltas": pd.timedelta_range(0, periods=N, freq="s").array,
    "periods": pd.period_range("2020", periods=N, freq="2D").array,
    "intervals": pd.interval_range(0, N, closed="neither").array,
    "intervals of times": pd.interval_range(TIMES[0], TIMES[9], freq="h", closed="left").array,
    "intervals of durations": pd.IntervalIndex.from_breaks(pd.timedelta_range(0, periods=5, freq="s")).array,
    "missing interval": pd.array([pd.Interval(0.0, 1.0), None], dtype="interval"),
    "categories": pd.Categorical(["a", "b", None], dtype=WORDS),
    "categories of times": pd.Categorical(TIMES[:5]),
    "categories of a range": pd.Categorical.from_codes([0, 99, -1], dtype=pd.CategoricalDtype(pd.RangeIndex(100))),
    "many categories": pd.Categorical(np.arange(N) * 3),
    "categories of words": pd.Categorical(list("abcab")),
    "no categories": pd.Categorical([]),
    "sparse": pd.arrays.SparseArray(np.arange(N) % 3),
    "sparse blocks": pd.arrays.SparseArray([np.nan] * 9 + [1.0, 2.0, np.nan, 3.0], kind="block"),
    "nothing sparse": pd.arrays.SparseArray(np.zeros(N), fill_value=0.0),
    "wrapped": pd.arrays.NumpyExtensionArray(np.array([1, "a", None], object)),
    "string": pd.array(["a", None, "", "ü\ud800", "𝄞"], dtype="string[python]"),
    "string with NUL": pd.array(["a\0b", None], dtype="string[python]"),
    "no string": pd.array([], dtype="string[python]"),
    "string of Arrow": pd.array(["a", None, "ü"] * N, dtype="string[pyarrow]"),
    # What pandas 2.2 has of these is an array of a class of its own.
    "string with NaN": pd.array(["a", None], dtype=NAN_STRINGS if cases_pandas.NAN_STRINGS else STRING),
    "Arrow": pd.arrays.ArrowExtensionArray(pa.chunked_array([[1, None], [3]])),
    "dtypes": [
        *map(pd.api.types.pandas_dtype, ("Int16", "UInt8", "Float64", "boolean", "category", "interval")),
        *(pd.PeriodDtype("Q-OCT"), pd.PeriodDtype("W-WED"), pd.IntervalDtype("datetime64[us]", closed="both")),
        *(ZONED, WORDS, pd.SparseDtype("f4", np.nan), pd.SparseDtype("i8", 7), pd.SparseDtype("M8[ns]", pd.NaT)),
        *(pd.StringDtype("python"), NAN_STRINGS, pd.ArrowDtype(pa.int8()), pd.ArrowDtype(pa.list_(pa.string()))),
        *(pd.IntervalDtype(ZONED, "left"), pd.CategoricalDtype(ordered=True)),
    ],
    "missing values": [pd.NA, pd.NaT],
}


@pytest.mark.parametrize("sent", DATA_OF_ALL_KINDS.values(), ids=DATA_OF_ALL_KINDS)
def test_data_arrives_as_it_left(sent):
    assert not Comparison(arrived(sent), sent).lost


def test_strings_are_read_only_if_everything_is():
    strings = pd.array(["a" * 9, None] * N, dtype="string[python]")
    assert arrived(strings)._ndarray.flags.writeable
    assert not arrived(strings, writable=False)._ndarray.flags.writeable


# Masked


@pytest.mark.parametrize(
    "arguments",
    [
        ("IntegerArray", np.zeros(3), np.zeros(3, bool)),
        ("IntegerArray", np.zeros(3, ">i4"), np.zeros(3, bool)),
        ("IntegerArray", np.zeros(3, int), np.zeros(3, "i1")),
        ("IntegerArray", np.zeros(3, int), np.zeros(4, bool)),
        ("IntegerArray", np.zeros(3, int), [False] * 3),
        ("IntegerArray", np.zeros((3, 1), int), np.zeros((3, 1), bool)),
        ("IntegerArray", [1, 2, 3], np.zeros(3, bool)),
        ("FloatingArray", np.zeros(3, "f2"), np.zeros(3, bool)),
        ("FloatingArray", np.zeros(3, "g"), np.zeros(3, bool)),
        ("BooleanArray", np.zeros(3, "i1"), np.zeros(3, bool)),
        ("BooleanArray", np.zeros(3, object), np.zeros(3, bool)),
        ("BooleanArray", np.ma.zeros(3, bool), np.zeros(3, bool)),
    ],
    ids=repr,
)
def test_masked_of_other_arrays_is_refused(arguments):
    with pytest.raises(DecodeError):
        guards.guard_masked(*arguments)


@pytest.mark.parametrize("name", ["PeriodArray", "__class__", 5, None])
def test_masked_of_another_class_is_refused(name):
    with pytest.raises((KeyError, DecodeError)):
        guards.guard_masked(name, np.zeros(3, int), np.zeros(3, bool))


# Times and periods


@pytest.mark.parametrize(
    "arguments",
    [
        ("DatetimeArray", np.arange(3), None),
        ("DatetimeArray", HOUR.astype("m8[s]"), None),
        ("TimedeltaArray", HOUR, None),
        ("DatetimeArray", HOUR.astype("M8[D]"), None),
        ("DatetimeArray", HOUR.astype("M8[7s]"), None),
        ("DatetimeArray", HOUR.astype(">M8[s]"), None),
        ("DatetimeArray", np.array(["NaT"], "M8"), None),
        ("DatetimeArray", HOUR.reshape(3, 1, 1), None),
        ("DatetimeArray", np.array(5, "M8[s]"), None),
        ("DatetimeArray", list(HOUR), None),
        ("DatetimeArray", HOUR.astype("M8[ns]"), ZONED),
        ("TimedeltaArray", HOUR.astype("m8[s]"), ZONED),
        ("DatetimeArray", HOUR, "UTC"),
        ("DatetimeArray", HOUR, pd.PeriodDtype("D")),
        ("DatetimeArray", HOUR, None, "h"),
        ("DatetimeArray", HOUR.reshape(3, 1), None, pd.offsets.Second()),
    ],
    ids=repr,
)
def test_times_of_other_arrays_are_refused(arguments):
    with pytest.raises(DecodeError):
        guards.guard_times(*arguments)


def test_times_have_the_step_that_they_have():
    times = guards.guard_times("DatetimeArray", HOUR, None, pd.offsets.Second())
    assert times.equals(pd.array(HOUR))
    assert getattr(times, "_freq", None) in {None, pd.offsets.Second()}
    times = guards.guard_times("DatetimeArray", HOUR, None, pd.offsets.Hour())
    assert getattr(times, "_freq", None) is None


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.zeros(3, "i4"), pd.PeriodDtype("D")),
        (np.zeros(3, ">i8"), pd.PeriodDtype("D")),
        (np.zeros(3, "u8"), pd.PeriodDtype("D")),
        (np.zeros((1, 1, 1), "i8"), pd.PeriodDtype("D")),
        (HOUR, pd.PeriodDtype("D")),
        ([1], pd.PeriodDtype("D")),
        (np.zeros(3, "i8"), "D"),
        (np.zeros(3, "i8"), ZONED),
    ],
    ids=repr,
)
def test_periods_of_other_arrays_are_refused(values, dtype):
    with pytest.raises(DecodeError):
        guards.guard_periods(values, dtype)


def test_periods_of_any_integers_have_a_text():
    values = np.array([2**63 - 1, -(2**63) + 1, 2**62, 0])
    for freq in ("Y", "Q", "M", "W", "D", "h", "min", "s", "ms", "us", "ns"):
        assert repr(guards.guard_periods(values, pd.PeriodDtype(freq)))


# Intervals


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros(3), np.ones(4), "left"),
        (np.zeros(3), np.ones(3, "f4"), "left"),
        (np.zeros(3), np.ones(3, "i8"), "left"),
        (np.zeros(3), pd.array(np.ones(3)), "left"),
        (np.zeros(3, object), np.ones(3, object), "left"),
        (np.zeros(3, complex), np.ones(3, complex), "left"),
        (np.zeros((3, 1)), np.ones((3, 1)), "left"),
        (HOUR.astype("M8[D]"), HOUR.astype("M8[D]"), "left"),
        ([1, 2], [3, 4], "left"),
        (pd.Index([1, 2]), pd.Index([3, 4]), "left"),
        (TIMES.array, TIMES.tz_convert("UTC").array, "left"),
        (np.zeros(3), np.ones(3), "other"),
        (np.zeros(3), np.ones(3), 5),
        (np.zeros(3), np.ones(3), np.zeros(3)),
    ],
    ids=lambda arguments: repr(arguments)[:60],
)
def test_intervals_of_other_arrays_are_refused(arguments):
    with pytest.raises(DecodeError):
        guards.guard_intervals(*arguments)


def test_intervals_that_end_before_they_begin_are_refused():
    with pytest.raises(ValueError, match="left side of interval must be <= right side"):
        guards.guard_intervals(np.array([0.0, 2]), np.array([1.0, 1]), "left")
    with pytest.raises(ValueError, match="missing values must be missing"):
        guards.guard_intervals(np.array([0.0, np.nan]), np.array([1.0, 1]), "left")


# Categories


@pytest.mark.parametrize(
    "codes",
    [
        np.array([3], "i1"),
        np.array([0, -2], "i1"),
        np.array([127, -128], "i1"),
        np.array([2**40, 0]),
        np.array([0], "u1"),
        np.array([0.0]),
        np.array([0], ">i4"),
        np.array([[0]]),
        np.array([True]),
        [0],
        bytearray(5),
    ],
    ids=repr,
)
def test_codes_that_are_no_places_of_categories_are_refused(codes):
    with pytest.raises(DecodeError):
        guards.guard_categorical(codes, WORDS)


@pytest.mark.parametrize("dtype", [pd.CategoricalDtype(), None, "category", pd.PeriodDtype("D")], ids=repr)
def test_codes_without_categories_are_refused(dtype):
    with pytest.raises(DecodeError, match="there are categories"):
        guards.guard_categorical(np.array([0], "i1"), dtype)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8"])
def test_codes_of_any_width_are_taken(dtype):
    assert list(guards.guard_categorical(np.array([0, 2, -1], dtype), WORDS).dropna()) == ["b", "c"]


@pytest.mark.usefixtures("budget")
def test_codes_that_repeat_without_end_take_no_time():
    with pytest.raises(LimitError):
        guards.guard_categorical(BROADCAST, WORDS)


@pytest.mark.usefixtures("budget")
def test_one_array_of_codes_cannot_be_looked_at_without_end():
    codes = np.zeros(1 << 20, "i1")
    with pytest.raises(LimitError):  # noqa: PT012  # one of them
        for _ in range(5000):
            guards.guard_categorical(codes, WORDS)


REPEATED = {
    "integers": np.array([2, 1, 2]),
    "floats": np.array([2.0, 1, 2]),
    "complex": np.array([2j, 1, 2j]),
    "truth": np.array([True, False, True]),
    "strings": np.array(["a", "b", "a"], object),
    "long strings": np.array(["a" * 99, "b", "".join(["a"] * 99)], object),
    "times": pd.array(np.array([2, 1, 2], "M8[s]")),
    "durations": pd.array(np.array([2, 1, 2], "m8[s]")),
    "zoned": TIMES.array[[1, 2, 1]],
    "periods": pd.period_range("2020", periods=3).array[[1, 2, 1]],
    "intervals": pd.interval_range(0, 5).array[[1, 2, 1]],
    "intervals of times": pd.IntervalIndex.from_breaks(TIMES[:5]).array[[1, 2, 1]],
    "masked": pd.array([1, None, 1]),
    "missing": pd.array([1, None, None]),
    "categories": pd.Categorical(["a", "b", "a"]),
    "strings of Python": pd.array(["a", "b", "a"], dtype="string[python]"),
    "strings of Arrow": pd.array(["a", "b", "a"], dtype="string[pyarrow]"),
}


@pytest.mark.parametrize("values", REPEATED.values(), ids=REPEATED)
def test_categories_that_are_there_twice_are_refused(values):
    with pytest.raises(DecodeError, match="labels are there once"):
        guards.guard_categories(pd.Index(values), ordered=False)
    assert list(guards.guard_categories(pd.Index(values[:2]), ordered=False).categories) == list(pd.Index(values[:2]))


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, "a", (1, 2), 1], object),
        pd.array([1, 1], dtype=pd.ArrowDtype(pa.int8())),
        pd.arrays.SparseArray([1, 0, 0]),
        np.array([], object),
    ],
    ids=repr,
)
def test_categories_that_cannot_be_sorted_are_taken_as_they_are(values):
    categories = pd.Index(values, tupleize_cols=False)
    assert guards.guard_categories(categories, None).categories is categories


@pytest.mark.parametrize(
    ("categories", "ordered"),
    [
        (pd.MultiIndex.from_product([[1], [2]]), False),
        (np.array([1, 2]), False),
        (["a"], False),
        (pd.Index([1]), 1),
        (pd.Index([1]), "yes"),
    ],
    ids=repr,
)
def test_categories_that_are_none_are_refused(categories, ordered):
    with pytest.raises(DecodeError):
        guards.guard_categories(categories, ordered)


@pytest.mark.usefixtures("budget")
def test_categories_of_an_endless_range_are_refused():
    with pytest.raises(LimitError):
        guards.guard_categories(pd.RangeIndex(2**62), ordered=False)


# Sparse


def places(*numbers):
    return np.array(numbers, "i4")


@pytest.mark.parametrize(
    ("count", "where"),
    [
        (2, (places(1, 1),)),
        (2, (places(2, 1),)),
        (2, (places(-1, 1),)),
        (2, (places(1, 10),)),
        (2, (places(1),)),
        (1, (places(1, 2),)),
        (2, (places(1, 2).astype("i8"),)),
        (2, (places(1, 2).astype("u4"),)),
        (2, (places(1, 2).astype(">i4"),)),
        (2, (places(1, 2).reshape(1, 2),)),
        (2, ([1, 2],)),
        (2, [places(1, 2)]),
        (2, ()),
        (2, (places(1, 2),) * 3),
        (2, (places(1), places(2, 3))),
        (1, (places(0, 2), places(-1, 2))),
        (3, (places(-5), places(3))),
        (5, (places(2**31 - 1), places(5))),
        (4, (places(1, 2), places(2, 2))),
        (2, (places(1, 3), places(2, 0))),
        (9, (places(2), places(9))),
        (3, (places(2), places(2))),
    ],
    ids=repr,
)
def test_sparse_values_elsewhere_are_refused(count, where):
    with pytest.raises(DecodeError):
        guards.guard_sparse(np.ones(count), 10, where, pd.SparseDtype("f8"))


@pytest.mark.parametrize(
    ("values", "length", "dtype"),
    [
        (np.ones(1), -1, pd.SparseDtype("f8")),
        (np.ones(1), 5.0, pd.SparseDtype("f8")),
        (np.ones(1), True, pd.SparseDtype("f8")),
        (np.ones(1), 2**31, pd.SparseDtype("f8")),
        (np.ones(1), 2**62, pd.SparseDtype("f8")),
        (np.ones(1), 5, pd.SparseDtype("f4")),
        (np.ones(1), 5, np.dtype("f8")),
        (np.ones(1, "U1"), 5, pd.SparseDtype("f8")),
        (np.ones((1, 1)), 5, pd.SparseDtype("f8")),
        ([1.0], 5, pd.SparseDtype("f8")),
    ],
    ids=repr,
)
def test_sparse_values_of_other_arguments_are_refused(values, length, dtype):
    with pytest.raises(DecodeError):
        guards.guard_sparse(values, length, (places(0),), dtype)


def test_runs_that_touch_each_other_are_taken():
    array = guards.guard_sparse(np.arange(1.0, 5), 6, (places(1, 3), places(2, 2)), pd.SparseDtype("f8", 0))
    assert array.to_dense().tolist() == [0, 1, 2, 3, 4, 0]


@pytest.mark.usefixtures("budget")
def test_sparse_array_takes_the_room_of_a_dense_one():
    with pytest.raises(LimitError):
        guards.guard_sparse(np.ones(1), 2**31 - 1, (places(0),), pd.SparseDtype("f8"))


# Wrapped, strings, Arrow


@pytest.mark.usefixtures("budget")
def test_empty_rows_without_end_are_refused():
    with pytest.raises(LimitError):
        guards.guard_wrapped(np.zeros((2**40, 0)))


@pytest.mark.parametrize("values", [[1], np.zeros((1, 1, 1)), np.array(5), np.ma.zeros(3), pd.array([1])], ids=repr)
def test_wrapped_of_other_arrays_is_refused(values):
    with pytest.raises(DecodeError):
        guards.guard_wrapped(values)


@pytest.mark.parametrize(
    "arguments",
    [
        ("a\0", numbers("Q"), STRING),
        (np.zeros(2, "u1"), numbers("Q"), STRING),
        (b"a", numbers("Q"), STRING),
        (b"a\0b", numbers("Q"), STRING),
        (b"a\0", [0], STRING),
        (b"a\0", numbers("q", [-1]), STRING),
        (b"a\0", numbers("d", [0]), STRING),
        (b"a\0", numbers("Q", [1]), STRING),
        (b"a\0", numbers("Q", [2**63]), STRING),
        (b"", numbers("Q", [0]), STRING),
        (b"a\0", numbers("Q"), "string"),
        (b"1\0", numbers("Q"), pd.Int64Dtype()),
        (b"1\0", numbers("Q"), np.dtype("i8")),
    ],
    ids=repr,
)
def test_strings_of_other_arguments_are_refused(arguments):
    with pytest.raises(DecodeError):
        guards.guard_strings(*arguments)


def test_strings_that_are_no_text_are_refused():
    with pytest.raises(UnicodeDecodeError):
        guards.guard_strings(b"\xff\0", numbers("Q"), STRING)


def test_strings_may_be_objects():
    assert guards.guard_strings(b"a\0\0", numbers("Q", [1]), np.dtype(object))[0] == "a"
    assert guards.guard_string_objects(one := np.array(["a", None], object), np.dtype(object)) is one


@pytest.mark.usefixtures("budget")
def test_one_text_cannot_become_strings_without_end():
    text = b"a\0" * 100_000
    with pytest.raises(LimitError):  # noqa: PT012  # one of them
        for _ in range(5000):
            guards.guard_strings(text, numbers("Q"), STRING)


@pytest.mark.parametrize(
    "objects",
    [
        np.array([1, "a"], object),
        np.array([["a"]], object),
        np.array(["a"]),
        ["a"],
        np.array([[1], None], object)[:1],
    ],
    ids=repr,
)
def test_strings_that_are_no_strings_are_refused(objects):
    with pytest.raises(DecodeError):
        guards.guard_string_objects(objects, STRING)


def test_lists_in_lists_are_not_written_out_as_strings():
    nested = []
    for _ in range(60):
        nested = [nested, nested]
    objects = np.empty(1, object)
    objects[0] = nested
    with pytest.raises(DecodeError, match="strings are strings"):
        guards.guard_string_objects(objects, STRING)


@pytest.mark.parametrize("dtype", ["string", np.dtype("i8"), pd.Int64Dtype(), None], ids=repr)
def test_strings_of_another_dtype_are_refused(dtype):
    with pytest.raises(DecodeError, match="strings have a dtype of strings"):
        guards.guard_string_objects(np.array(["a"], object), dtype)
    with pytest.raises(DecodeError, match="strings have a dtype of strings"):
        guards.guard_arrow_strings(pa.chunked_array([["a"]]), dtype)


@pytest.mark.parametrize("values", [["a"], pa.array(["a"]), pa.chunked_array([[1]]), np.zeros(3)], ids=type)
def test_strings_of_arrow_of_other_arrays_are_refused(values):
    with pytest.raises(DecodeError):
        guards.guard_arrow_strings(values, STRING)


@pytest.mark.parametrize("dtype", [STRING, np.dtype(object), pd.StringDtype("pyarrow")], ids=repr)
def test_strings_of_arrow_become_what_their_dtype_says(dtype):
    assert list(guards.guard_arrow_strings(pa.chunked_array([["a", "b"]]), dtype)) == ["a", "b"]


@pytest.mark.parametrize("values", [pa.array([1]), np.zeros(3), None, [1]], ids=type)
def test_arrays_of_arrow_of_other_arrays_are_refused(values):
    with pytest.raises(DecodeError, match="an array of Arrow is one"):
        guards.guard_arrow(values)


def test_nothing_is_of_arrow_that_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "pyarrow")
    for call in (lambda: guards.guard_arrow(5), lambda: guards.guard_arrow_strings(5, STRING)):
        with pytest.raises(DecodeError):
            call()
    with pytest.raises(DecodeError):
        guards.guard_dtype("ArrowDtype", 5)
    assert "pyarrow" not in sys.modules


# Dtypes


@pytest.mark.parametrize(
    "arguments",
    [
        ("read_pickle", "/etc/passwd"),
        ("DataFrame",),
        (5,),
        ("__version__",),
        ("CategoricalDtype", [1], True),
        ("ArrowDtype", "int8"),
        ("ArrowDtype", np.dtype("i8")),
        ("DatetimeTZDtype", "s", "dateutil//etc/passwd"),
        ("DatetimeTZDtype", "s", None),
        ("DatetimeTZDtype", "D", BERLIN),
        ("DatetimeTZDtype", 5, BERLIN),
        ("IntervalDtype", "int64", "left"),
        ("IntervalDtype", np.dtype("V8"), "left"),
        ("IntervalDtype", np.dtype("M8[D]"), "left"),
        ("IntervalDtype", np.dtype("i8"), "other"),
        ("IntervalDtype", np.dtype("i8"), 5),
        ("PeriodDtype", pd.offsets.Day()),
        ("PeriodDtype", "D" * 100),
        ("PeriodDtype", "1" * 30 + "D"),
        ("PeriodDtype", "D\n"),
        ("PeriodDtype", 5),
        ("PeriodDtype", "0D"),
        ("SparseDtype", "f8", 0),
        ("SparseDtype", np.dtype("V8"), 0),
        ("SparseDtype", np.dtype("M8[D]"), 0),
        ("SparseDtype", np.dtype("f8"), [1]),
        ("SparseDtype", np.dtype("f8"), np.zeros(2)),
    ],
    ids=repr,
)
def test_dtypes_of_other_arguments_are_refused(arguments):
    with pytest.raises(DecodeError):
        guards.guard_dtype(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [("Int8Dtype", 1), ("PeriodDtype",), ("PeriodDtype", "QQ"), ("IntervalDtype", STRING, "left")],
    ids=repr,
)
def test_what_pandas_itself_refuses_is_refused(arguments):
    with pytest.raises((TypeError, ValueError)):
        guards.guard_dtype(*arguments)


def test_dtypes_of_periods_do_not_fill_the_memory():
    for count in range(1, 3000):
        guards.guard_dtype("PeriodDtype", f"{count}D")
    assert len(pd.PeriodDtype._cache_dtypes) < 1100


@pytest.mark.parametrize("arguments", [("python", 1), ("other", False), (5, False), (["python"], True)], ids=repr)
def test_dtypes_of_strings_of_other_arguments_are_refused(arguments):
    with pytest.raises(DecodeError):
        guards.guard_string_dtype(*arguments)


@pytest.mark.parametrize("name", ["read_pickle", "NaN", 5, None, ["NA"]])
def test_other_missing_values_are_refused(name):
    with pytest.raises(DecodeError):
        guards.guard_missing(name)


@pytest.fixture(params=["with pytz", "without", "with the real one"])
def _pytz(request, monkeypatch):
    if request.param == "with the real one":
        pytest.importorskip("pytz", reason="pandas 3 does without it")
        return
    pytz = ModuleType("pytz")
    pytz.timezone = ZoneInfo
    pytz.all_timezones_set = {"Asia/Tokyo"}
    monkeypatch.setitem(sys.modules, "pytz", pytz if request.param == "with pytz" else None)


@pytest.mark.usefixtures("_pytz")
class TestDtypeOfPytz:
    def test_is_of_a_name_that_there_is(self):
        dtype = guards.guard_pytz_dtype("ms", "Asia/Tokyo")
        assert dtype.unit == "ms"
        assert pd.Timestamp(0, tz=dtype.tz).utcoffset() == dt.timedelta(hours=9)

    @pytest.mark.parametrize("zone", ["dateutil//etc/passwd", "../../etc/passwd", "/etc/localtime", "Mars/Olympus"])
    def test_is_of_no_file(self, zone):
        with pytest.raises((DecodeError, KeyError, ValueError)):
            guards.guard_pytz_dtype("s", zone)

    @pytest.mark.parametrize("arguments", [("D", "UTC"), (5, "UTC"), ("s", 5), ("s", BERLIN)], ids=repr)
    def test_is_of_a_string(self, arguments):
        with pytest.raises(DecodeError):
            guards.guard_pytz_dtype(*arguments)
