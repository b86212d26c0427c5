"""pandas."""

import datetime as dt
import decimal
import warnings
import zoneinfo
from importlib.util import find_spec

import numpy as np
import pandas as pd

from .cases_numpy import compare_arrays, compare_dtypes
from .comparison import SHARED, compares
from .table import N, case

try:
    import pyarrow as pa
except ImportError:
    pa = None

MASKED = ("boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
NAN_STRINGS = hasattr(pd.StringDtype(), "_metadata") and "_na_value" in pd.StringDtype._metadata
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NST = dt.timezone(-dt.timedelta(hours=3, minutes=30), "NST")
HEBREW = ["אחת", "שתיים", "שלוש", "ארבע", "חמש"]
TEXTS = [f"{HEBREW[i % 5]} {i:08} abcdefghijklmnop" for i in range(N // 32)]
TEXT = sum(len(text.encode()) for text in TEXTS)
"""Bytes of their characters."""


def _labels(labels):
    """Return an index of strings that is the same in all versions of pandas."""
    return pd.Index(labels, dtype=object)


SIZES = pd.CategoricalDtype(_labels(["small", "middle", "large"]), ordered=True)


def _numbers(dtype="f8", count=N):
    return (np.arange(count) % 100).astype(dtype)


def _frame(**columns):
    frame = pd.DataFrame(columns)
    frame.columns = _labels(list(columns))
    return frame


def _with_column(frame, name, values):
    frame[name] = values
    frame.columns = _labels(list(frame.columns))
    return frame


def _pytz(name):
    import pytz

    return pytz.timezone(name)


def _floats():
    """Return a frame of a block with a row in memory for each column."""
    return _frame(**{name: _numbers(count=N // 8) + i for i, name in enumerate("abcdefgh")})


def _table():
    """Return a frame over an array with a row in memory for each row."""
    return pd.DataFrame(_numbers().reshape(-1, 8), columns=_labels([*"abcdefgh"]), copy=False)


def _mixed():
    return _frame(
        f=_numbers(), i=_numbers("i4"), g=_numbers() * 0.5, b=_numbers("?"), j=_numbers("i4"), u=_numbers("u2")
    )


def _all_kinds():
    frame = _mixed()
    frame["masked"] = _masked("Int16")
    frame["times"] = _times()
    frame["zoned"] = _zoned(BERLIN)
    frame["periods"] = _periods()
    frame["sizes"] = _categorical()
    frame["intervals"] = _intervals()
    return frame.set_axis(_labels(list(frame.columns)), axis=1).set_index(_zoned(NST), drop=False)


def _masked(dtype):
    mask = np.arange(N) % 7 == 0
    if dtype == "boolean":
        # What lies where a value is missing stays at home.
        return pd.arrays.BooleanArray(_numbers("?") & ~mask, mask)
    return (pd.arrays.FloatingArray if dtype[0] == "F" else pd.arrays.IntegerArray)(_numbers(dtype.lower()), mask)


def _strings(dtype, texts=TEXTS):
    return pd.Series(texts, dtype=dtype, name="text")


def _strings_with_missing(dtype):
    return _strings(dtype, [None if i % 9 == 0 else text for i, text in enumerate(TEXTS)])


def _arrow(values, arrow_type=None):
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, arrow_type)])))


def _arrow_chunks():
    chunks = [pa.array(_numbers(count=N // 4) + i) for i in range(3)]
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array(chunks)))


def _times(unit="ns"):
    return (np.arange(N) * 3_600).astype("M8[s]").astype(f"M8[{unit}]")


def _zoned(zone, unit="ns"):
    return pd.DatetimeIndex(_times(unit)).tz_localize("UTC").tz_convert(zone)


def _hours(count=N, **options):
    return pd.date_range("2020", periods=count, freq="h", unit="ns", **options)


def _periods():
    return pd.arrays.PeriodArray(np.arange(N), dtype=pd.PeriodDtype("M"))


def _intervals(closed="right"):
    return pd.arrays.IntervalArray.from_arrays(_numbers() - 1, _numbers(), closed=closed)


def _categorical(dtype=SIZES, count=N):
    return pd.Categorical.from_codes(np.arange(count) % 4 - 1, dtype=dtype)


def _codes_of_many(dtype):
    return pd.Series(pd.Categorical.from_codes(np.arange(N)[::-1], dtype=dtype))


def _sparse(kind="integer", fill=0.0):
    dense = np.full(8 * N, fill)
    dense[::8] = _numbers() + 1
    return pd.arrays.SparseArray(dense, fill_value=fill, kind=kind)


def _multi(count=N):
    levels = [_labels(HEBREW), _hours(100), pd.RangeIndex(120)]
    return pd.MultiIndex(levels, [np.arange(count) % len(level) for level in levels], names=["word", None, ("k", 1)])


def _boxed(*items):
    column = np.empty(len(items), object)
    column[:] = items
    return pd.Series(column, dtype=object)


def _with_attrs(obj):
    obj.attrs = {"unit": "m", "deep": {"list": [1, (2, None)]}, 3: _numbers(count=1000)}
    return obj


def _with(obj, **attributes):
    for name, value in attributes.items():
        object.__setattr__(obj, name, value)
    return obj


def _part(frame, rows=slice(None), columns=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which pandas 2 has for its own way to make one
        return frame.iloc[rows] if columns is None else frame[columns]


def _frozen(array):
    array.flags.writeable = False
    return array


class Surveyed(pd.DataFrame):
    """A frame with attributes that pandas hands on."""

    _metadata = ["crs"]  # noqa: RUF012  # how pandas wants it

    @property
    def _constructor(self):
        return Surveyed

    @property
    def _constructor_sliced(self):
        return Track


class Track(pd.Series):
    """A series with an attribute that pandas hands on."""

    _metadata = ["name", "device"]  # noqa: RUF012  # how pandas wants it

    @property
    def _constructor(self):
        return Track


def _frame_and_parts():
    one = pd.DataFrame(_numbers().reshape(8, -1).T, copy=False)
    return {"column": one[2], "frame": one, "rows": one.iloc[100:5000], "columns": one.iloc[:, 2:5], "again": one[:]}


def _frame_and_array():
    array = _numbers().reshape(8, -1)
    return [array[2], pd.DataFrame(array.T, copy=False), array]


def _halves():
    one = pd.DataFrame(_numbers().reshape(-1, 1), copy=False)
    return [one.iloc[: N // 2 + 9], one.iloc[N // 2 - 9 :], one[0].iloc[5:]]


def _series_and_index():
    one = pd.Series(_numbers(), name="x")
    frame = one.to_frame()
    frame.columns = _labels(["x"])
    return [one, pd.Index(one), frame]


def _one_index():
    index = pd.Index(_numbers() * 7)
    return [pd.Series(_numbers(), index), pd.Series(_numbers("i4"), index), index]


def _one_dtype():
    dtype = pd.CategoricalDtype(pd.Index(np.arange(N)))
    return [_codes_of_many(dtype), _codes_of_many(dtype), dtype]


def _offsets():
    return [
        *(getattr(pd.offsets, name)(3) for name in ("Day", "Hour", "Nano", "MonthEnd", "BQuarterBegin", "YearEnd")),
        pd.offsets.Week(weekday=2),
        pd.offsets.BusinessHour(start="09:30", end="17:15"),
        pd.offsets.CustomBusinessDay(2, holidays=["2024-02-29"], weekmask="Mon Tue Wed"),
        pd.offsets.FY5253(weekday=4, startingMonth=12, variation="last"),
        pd.offsets.WeekOfMonth(week=1, weekday=3),
        pd.offsets.MonthBegin(normalize=True),
        pd.DateOffset(months=2, days=-1, hour=3),
    ]


def _dtypes():
    return [
        *(pd.api.types.pandas_dtype(name) for name in MASKED),
        SIZES,
        pd.CategoricalDtype(ordered=False),
        pd.DatetimeTZDtype("ms", BERLIN),
        pd.DatetimeTZDtype("ns", NST),
        pd.PeriodDtype("Q-OCT"),
        pd.IntervalDtype("datetime64[us]", closed="both"),
        pd.SparseDtype("f4", np.nan),
        pd.SparseDtype("i8", 7),
        pd.StringDtype("python"),
    ]


def _moments():
    return [
        pd.Timestamp("2024-02-29 23:59:59.123456789"),
        pd.Timestamp(year=2024, month=10, day=27, hour=2, tz=BERLIN, fold=1).as_unit("ns"),
        pd.Timestamp("0001-01-01").as_unit("s"),
        pd.Timestamp("2024", tz=NST).as_unit("ms"),
        pd.Timedelta(-1, "ns"),
        pd.Timedelta("3 days").as_unit("s"),
    ]


ARROW = pa and (
    ("bool", [True, None, False] * 1000, pa.bool_()),
    ("string", TEXTS, pa.string()),
    ("binary", [b"a", b"", None] * 1000, pa.binary()),
    ("decimal", [decimal.Decimal("1.10"), None], pa.decimal128(9, 2)),
    ("date", [dt.date(2024, 2, 29), None] * 1000, pa.date32()),
    ("time", [dt.time(1, 2, 3, 4), None] * 1000, pa.time64("us")),
    ("duration", [dt.timedelta(1), None] * 1000, pa.duration("ms")),
    ("dictionary", ["a", "b", None] * 1000, pa.dictionary(pa.int8(), pa.string())),
    ("list", [[1, 2], [], None] * 1000, pa.list_(pa.int16())),
    ("struct", [{"x": 1, "y": "a"}, None] * 1000, pa.struct([("x", pa.int8()), ("y", pa.string())])),
    ("map", [[("k", 1)], None] * 1000, pa.map_(pa.string(), pa.int64())),
    ("null", [None] * 1000, pa.null()),
)

CASES = [
    # Frames
    case("frame of floats", _floats, 8 * N),
    case("frame over an array", _table, 8 * N),
    case("frame over a read-only array", lambda: pd.DataFrame(_frozen(_numbers().reshape(-1, 8)), copy=False), 8 * N),
    case("frame of two kinds of integers and others", _mixed, 27 * N),
    case("frame of integer columns", lambda: _frame(a=_numbers("i1"), b=_numbers("i2"), c=_numbers("i4"), d=_numbers("u8")), 15 * N),
    case("frame, not consolidated", lambda: _with_column(_floats(), "i", _numbers(count=N // 8)), 9 * N),
    case("frame of all kinds", _all_kinds, (27 + 3 + 8 + 8 + 8 + 1 + 16 + 8) * N),
    case("ten rows of all kinds", lambda: _all_kinds().iloc[50:60], 10 * 79),
    case("ten rows of many", lambda: _floats().iloc[50:60], 640),
    case("ten rows of a table", lambda: _table().iloc[50:60], 640),
    case("half of the rows", lambda: _floats().iloc[N // 32 : -N // 32], 4 * N),
    case("every second row", lambda: _floats().iloc[::2], 4 * N),
    case("rows in reverse", lambda: _floats().iloc[::-1], 8 * N),
    case("rows by a mask", lambda: (one := _floats())[one["a"] > 50], None),
    case("two columns by name", lambda: _floats()[["g", "b"]], 2 * N),
    case("columns by place", lambda: _floats().iloc[:, 2:5], 3 * N),
    case("every third column", lambda: _floats().iloc[:, ::3], 3 * N),
    case("columns of a table", lambda: _table().iloc[:, 2:4], 2 * N),
    case("columns in reverse", lambda: _floats().set_axis(range(8), axis=1).iloc[:, ::-1], 8 * N),
    case("transposed", lambda: _floats().T, 8 * N),
    case("duplicate columns", lambda: _floats().set_axis(_labels([*"aabbacca"]), axis=1), 8 * N),
    case("duplicate columns of all kinds", lambda: _mixed().set_axis(_labels(["x", "y", "x", "x", "y", "y"]), axis=1), 27 * N),
    case("column labels of all kinds", lambda: pd.DataFrame(_numbers().reshape(-1, 8), columns=pd.Index([1, "a", None, 2.5, (1, 2), b"b", pd.Timestamp("2024").as_unit("ns"), True], dtype=object, tupleize_cols=False), copy=False), 8 * N),
    case("column labels of levels", lambda: _floats().set_axis(pd.MultiIndex.from_product([_labels(["x", "y"]), [0, 1, 2, 3]], names=["l", None]), axis=1), 8 * N),
    case("column labels of integers and times", lambda: [pd.DataFrame([[1, 2]], columns=pd.Index([2, 1])), pd.DataFrame([[1, 2]], columns=_hours(2))]),
    case("by default, labels and strings", lambda: pd.DataFrame({"text": TEXTS, "n": range(len(TEXTS))})),
    case("by default, times", lambda: pd.DataFrame({"t": pd.date_range("2024", periods=N, freq="s")}), 8 * N),
    case("index with a name", lambda: _floats().rename_axis(index="row", columns="column"), 8 * N),
    case("index of times", lambda: _floats().set_index(_hours(N // 8, tz=BERLIN)), 9 * N),
    case("index of levels", lambda: pd.DataFrame({0: _numbers()}, _multi()), 11 * N),
    case("ten rows of an index of levels", lambda: pd.DataFrame({0: _numbers()}, _multi()).iloc[70:80], 110 + 900),
    case("Hebrew index", lambda: pd.DataFrame({0: range(5)}, _labels(HEBREW))),
    case("attrs", lambda: _with_attrs(_floats()), 8 * N + 8000),
    case("flags", lambda: _floats().set_flags(allows_duplicate_labels=False), 8 * N),
    case("an attribute", lambda: _with(_floats(), note={"of": "mine"}), 8 * N),
    case("subclass", lambda: _with(Surveyed(_floats()), crs={"datum": "WGS84"}), 8 * N),
    case("subclass, its column", lambda: _with(_part(Surveyed(_floats()), columns="b"), device="d"), N),
    case("subclass, its slice", lambda: _part(_with(Surveyed(_floats()), crs=4326), rows=slice(5, 9)), 4 * 64),
    case("empty frame", lambda: pd.DataFrame(index=pd.RangeIndex(0), columns=pd.RangeIndex(0))),
    case("no rows", lambda: _mixed().iloc[:0]),
    case("no columns", lambda: pd.DataFrame(index=_hours()), 8 * N),
    case("one cell", lambda: pd.DataFrame({0: [1.5]})),
    case("a thousand columns of five rows", lambda: pd.DataFrame({i: _numbers("f8" if i % 2 else "i4", 5) for i in range(1000)}).set_axis(np.arange(1000), axis=1)),
    case("a hundred small frames", lambda: [_frame(a=[i], b=[-0.0]) for i in range(100)]),
    # Columns of objects
    case("bytes cells", lambda: _frame(b=_boxed(b"x" * 100, b"", bytearray(b"y"), None), t=_boxed("a", "ב", "", None))),
    case("bytes cells, long", lambda: pd.DataFrame({0: _boxed(bytes(8 * N), b"short")}), 8 * N),
    case("cells of arrays", lambda: _frame(a=_boxed(_numbers(), _numbers("f4"), None), b=_boxed(*range(3))), 12 * N),
    case("cells of frames", lambda: _boxed(_floats(), _floats()["a"], pd.Index(_numbers())), 17 * N),
    case("cells of all kinds", lambda: _boxed(1, 1.5, None, "x", pd.NA, pd.NaT, decimal.Decimal("1.10"), dt.date(2024, 2, 29), [1, {2: 3}], pd.Timestamp("2024").as_unit("ns"), np.float32(1))),
    case("cells with nothing there", lambda: _boxed(None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT", "s"))),
    case("one list in two cells", lambda: _boxed(one := [1], one, [1])),
    case("strings as objects", lambda: _strings(object)),
    # Series
    *[case(f"series of {d}", lambda d=d: pd.Series(_numbers(d)), N * np.dtype(d).itemsize) for d in ("?", "i1", "u2", "i4", "u8", "f4", "f8", "c8", "c16")],
    case("series with a name and NaN", lambda: pd.Series(np.where(_numbers() % 3, _numbers(), np.nan), name="x"), 8 * N),
    case("series with a name of no string", lambda: [pd.Series([1], name=("a", 1)), pd.Series([1], name=0), pd.Series([1], name=pd.Timestamp("2024"))]),
    case("series with attrs and flags", lambda: _with_attrs(pd.Series(_numbers())).set_flags(allows_duplicate_labels=False), 8 * N + 8000),
    case("series with an index of floats", lambda: pd.Series(_numbers(), pd.Index(_numbers() / 2, name="half")), 16 * N),
    case("series, every second", lambda: pd.Series(_numbers())[::2], 4 * N),
    case("series, reversed", lambda: pd.Series(_numbers())[::-1], 8 * N),
    case("series, a column of a table", lambda: _table()["c"], N),
    case("series, a row of a frame", lambda: _floats().loc[5]),
    case("series, ten of many", lambda: pd.Series(_numbers(), _hours()).iloc[50:60], 160),
    case("series, read-only", lambda: pd.Series(_frozen(_numbers()), copy=False), 8 * N),
    case("series, empty", lambda: pd.Series([], dtype="f4", name="none")),
    # Times
    *[case(f"times in {u}", lambda u=u: pd.Series(_times(u)), 8 * N) for u in ("s", "ms", "us", "ns")],
    *[case(f"times in a zone, {n}", lambda z=z: pd.Series(_zoned(z)), 8 * N) for n, z in (("UTC", dt.UTC), ("Berlin", BERLIN), ("fixed", NST))],
    case("times in a zone, in seconds", lambda: _frame(a=_zoned(BERLIN, "s"), b=_zoned(BERLIN, "s")), 16 * N),
    case("times in a zone of pytz", lambda: pd.Series(_zoned(_pytz("Asia/Tokyo"))), 8 * N, given=find_spec("pytz")),
    case("times, not all", lambda: pd.DataFrame({0: np.where(np.arange(N) % 2, _times(), np.datetime64("NaT", "ns"))}), 8 * N),
    case("times, two axes", lambda: pd.DataFrame(_times().reshape(-1, 8), copy=False), 8 * N),
    case("timedeltas", lambda: _frame(a=_times() - _times()[5], b=(_times("s") - _times("s")[7])), 16 * N),
    case("periods", lambda: pd.Series(_periods()), 8 * N),
    case("periods, not all", lambda: pd.Series(pd.PeriodIndex(["2020Q1", pd.NaT, "2021Q4"], freq="Q-OCT"))),
    # Extension arrays
    *[case(f"masked {d}", lambda d=d: pd.Series(_masked(d)), N * (1 + np.dtype(d.lower().replace("boolean", "?")).itemsize)) for d in MASKED],
    case("masked, an array", lambda: _masked("Int32"), 5 * N),
    case("masked, ten of many", lambda: pd.Series(_masked("Int64"))[50:60], 90),
    case("categorical, ordered", lambda: pd.Series(_categorical(count=8 * N)), 8 * N),
    case("categorical, not ordered", lambda: pd.Series(_categorical(pd.CategoricalDtype(_labels(HEBREW)), 8 * N)), 8 * N),
    case("categorical, an array", lambda: _categorical(count=8 * N), 8 * N),
    case("categorical of many", lambda: _codes_of_many(pd.CategoricalDtype(pd.Index(_numbers() + 100 * np.arange(N)))), 12 * N),
    case("categorical of times", lambda: _codes_of_many(pd.CategoricalDtype(_hours())), 12 * N),
    case("categorical of intervals", lambda: pd.Series(pd.cut(_numbers(), 10)), N),
    case("categorical by default", lambda: pd.Series(["a", "b", None], dtype="category")),
    case("categorical, nothing", lambda: pd.Series(pd.Categorical([], categories=_labels([])))),
    *[case(f"intervals, closed {c}", lambda c=c: pd.Series(_intervals(c)), 16 * N) for c in ("left", "right", "both", "neither")],
    case("intervals of times", lambda: pd.Series(pd.IntervalIndex.from_breaks(_zoned(BERLIN))), 16 * N),
    case("sparse", lambda: pd.Series(_sparse()), 12 * N),
    case("sparse in blocks", lambda: pd.Series(_sparse("block", np.nan)), 16 * N),
    case("sparse, an array", lambda: _sparse(fill=-1.0), 12 * N),
    case("array of numpy's", lambda: pd.arrays.NumpyExtensionArray(_numbers()), 8 * N),
    case("array of objects of numpy's", lambda: pd.arrays.NumpyExtensionArray(np.array([1, "a", None], object))),
    # Strings
    case("strings by default", lambda: pd.Series(TEXTS)),
    case("strings by default, missing", lambda: pd.Series(["a", None, float("nan")])),
    case("strings of Python", lambda: _strings(pd.StringDtype("python")), TEXT),
    case("strings of Python, missing", lambda: _strings_with_missing(pd.StringDtype("python")), TEXT * 8 // 9 + N // 32),
    case("strings of Python with NUL", lambda: _strings(pd.StringDtype("python"), ["a\0b", "", "\0", None, "\U0001f40d"])),
    case("strings of Python with NaN", lambda: _strings_with_missing(pd.StringDtype("python", na_value=np.nan)), TEXT * 8 // 9 + N // 32, given=NAN_STRINGS),
    case("strings of Python, ten of many", lambda: _strings(pd.StringDtype("python"))[50:60], 400),
    case("strings of Arrow", lambda: _strings(pd.StringDtype("pyarrow")), TEXT + N // 4, given=pa),
    case("strings of Arrow, missing", lambda: _strings_with_missing(pd.StringDtype("pyarrow")), TEXT * 8 // 9 + N // 4, given=pa),
    case("strings of Arrow with NaN", lambda: _strings_with_missing(pd.StringDtype("pyarrow", na_value=np.nan)), TEXT * 8 // 9 + N // 4, given=pa and NAN_STRINGS),
    case("strings of Arrow, ten of many", lambda: _strings(pd.StringDtype("pyarrow"))[50:60], 500, given=pa),
    case("strings, an array", lambda: [pd.array(["a", None], dtype=pd.StringDtype("python")), pd.array([], dtype=pd.StringDtype("python"))]),
    # Arrow
    *[case(f"Arrow {d}", lambda d=d: _arrow(_numbers(d)), N * np.dtype(d).itemsize, given=pa) for d in ("i1", "u4", "i8", "f4", "f8")],
    *[case(f"Arrow {n}", lambda v=v, t=t: _arrow(v, t)) for n, v, t in ARROW or ()],
    case("Arrow, missing", lambda: _arrow([None if i % 3 == 0 else i for i in range(N)]), 8 * N + N // 8, given=pa),
    case("Arrow times in a zone", lambda: _arrow(_times("us"), pa.timestamp("us", "Europe/Berlin")), 8 * N, given=pa),
    case("Arrow in chunks", _arrow_chunks, 6 * N, given=pa),
    case("Arrow, ten of many", lambda: _arrow(_numbers())[50:60], 80, given=pa),
    case("Arrow, an array", lambda: pd.array(_numbers("i8"), dtype=pd.ArrowDtype(pa.int64())), 8 * N, given=pa),
    case("Arrow frame", lambda: _frame(a=_arrow(_numbers()), b=_arrow(TEXTS * 32)), 8 * N + 32 * TEXT + 4 * N, given=pa),
    # Indexes
    *[case(f"index of {d}", lambda d=d: pd.Index(_numbers(d), name="n"), N * np.dtype(d).itemsize) for d in ("?", "i1", "i8", "u4", "f4", "f8", "c16")],
    case("range", lambda: [pd.RangeIndex(3, 99, 4, name="r"), pd.RangeIndex(0), pd.RangeIndex(9, 0, -2)]),
    case("index of objects", lambda: pd.Index([1, "a", None, (1, 2), float("nan")], dtype=object, name="o")),
    case("index of tuples", lambda: pd.Index([(1, 2), (3, 4)], tupleize_cols=False)),
    case("index of strings", lambda: _labels(TEXTS)),
    case("index of strings by default", lambda: pd.Index(TEXTS)),
    case("index of masked", lambda: pd.Index(_masked("Int64")), 9 * N),
    case("index of Arrow", lambda: pd.Index(_arrow(_numbers())), 8 * N, given=pa),
    case("index of times, alone", _hours, 8 * N),
    case("index of times in a zone", lambda: _hours(tz=BERLIN, name="t"), 8 * N),
    case("index of times without a step", lambda: _hours()[np.arange(N) != 5], 8 * N),
    case("index of times, every third", lambda: _hours()[::3], 8 * N // 3),
    case("index of business days", lambda: pd.bdate_range("2020", periods=5, freq="C", holidays=["2020-01-01"], unit="ns")),
    case("index of timedeltas", lambda: pd.timedelta_range(0, periods=N, freq="3s", unit="ns"), 8 * N),
    case("index of periods", lambda: pd.PeriodIndex(_periods(), name="month"), 8 * N),
    case("index of intervals", lambda: pd.IntervalIndex.from_breaks(np.arange(N + 1) / 2, closed="both", name="i"), 16 * N),
    case("index of categories", lambda: pd.CategoricalIndex(_categorical(count=8 * N), name="size"), 8 * N),
    case("index of levels, alone", _multi, 3 * N),
    case("index of levels, a slice", lambda: _multi()[7:-7], 3 * N),
    case("index of levels, sorted, with missing", lambda: pd.MultiIndex([[1, 2], [3, 4]], [[0, 1], [1, -1]], sortorder=0)),
    case("index of levels, many labels", lambda: pd.MultiIndex.from_arrays([np.arange(N), _zoned(BERLIN)], names=["n", "t"]), 24 * N),
    case("index of no levels' labels", lambda: pd.MultiIndex.from_arrays([pd.Index([], dtype="i8"), _hours(0)], names=["a", "b"])),
    case("index, ten of many", lambda: pd.Index(_numbers())[50:60], 80),
    # Memory that is shared
    case("a frame and its parts", _frame_and_parts, 8 * N),
    case("a frame and its array", _frame_and_array, 8 * N),
    case("overlapping halves", _halves, 8 * N),
    case("a series, its index and its frame", _series_and_index, 8 * N),
    case("a series and its array", lambda: [one := _numbers(), pd.Series(one, copy=False), one[5:]], 8 * N),
    case("columns of one series", lambda: [one := pd.Series(_numbers()), {"a": one, "b": one.iloc[9:]}, one.to_frame()], 8 * N),
    case("a zoned series and its slice", lambda: [one := pd.Series(_zoned(BERLIN)), one.iloc[N // 2 :]], 8 * N),
    case("a masked series and its slice", lambda: [one := pd.Series(_masked("Int64")), one.iloc[64:]], 9 * N),
    case("a categorical and its column", lambda: [one := _categorical(count=8 * N), pd.Series(one, copy=False)], 8 * N),
    case("an Arrow series and its slice", lambda: [one := _arrow(_numbers()), one.iloc[64:]], 8 * N, given=pa),
    case("one index of two series", _one_index, 20 * N),
    case("one dtype of two series", _one_dtype, 16 * N),
    case("a frame in its attrs", lambda: _with(one := _floats(), _attrs={"parent": one.iloc[:, :1], "list": [one["a"]]}), 8 * N),
    # All else
    case("missing values", lambda: [pd.NaT, pd.NA, {pd.NA: pd.NaT}]),
    case("timestamps and timedeltas", _moments),
    case("period scalars", lambda: [pd.Period("2024-02", "M"), pd.Period("2024Q1", "Q-OCT"), pd.Period("2024", "Y")]),
    case("interval scalars", lambda: [pd.Interval(1, 2.5, "both"), pd.Interval(*_hours(2, tz=BERLIN), closed="neither")]),
    case("offsets", _offsets),
    case("dtypes", _dtypes),
    case("dtypes of strings of Arrow", lambda: [pd.StringDtype("pyarrow"), pd.StringDtype("python")], given=pa),
    case("dtypes of strings with NaN", lambda: [pd.StringDtype(storage, na_value=np.nan) for storage in ("python", "pyarrow")], given=pa and NAN_STRINGS),
    case("dtypes of Arrow", lambda: [pd.ArrowDtype(t) for t in (pa.int8(), pa.timestamp("ms", "UTC"), pa.list_(pa.string()), pa.decimal128(9, 2))], given=pa),
    case("groupby", lambda: _floats().groupby(["a", "b"], sort=False, as_index=False), 8 * N),
    case("groupby of a series", lambda: (one := _floats())["c"].groupby(one["b"], dropna=False), 2 * N),
    case("rolling", lambda: _floats().rolling(3, min_periods=1, center=True), 8 * N),
    case("grouper", lambda: [pd.Grouper(key="a", sort=True), pd.Grouper(level=1), pd.IndexSlice]),
    case("functions", lambda: [pd.concat, pd.DataFrame.sum, pd.Series, pd.to_datetime]),
]  # fmt: skip


# Arrays and dtypes

_PARTS = {
    pd.arrays.BooleanArray: ("_data", "_mask"),
    pd.arrays.IntegerArray: ("_data", "_mask"),
    pd.arrays.FloatingArray: ("_data", "_mask"),
    pd.Categorical: ("_ndarray",),
    pd.arrays.DatetimeArray: ("_ndarray", "_freq"),
    pd.arrays.TimedeltaArray: ("_ndarray", "_freq"),
    pd.arrays.PeriodArray: ("_ndarray",),
    pd.arrays.IntervalArray: ("_left", "_right", "closed"),
    pd.arrays.NumpyExtensionArray: ("_ndarray",),
}


@compares(pd.api.extensions.ExtensionDtype)
def _compare_dtypes(comparison, got, want, where):
    # Whether it is one object says nothing: pandas makes dtypes when it is asked for them. Their categories it keeps.
    if isinstance(want, np.dtype):
        compare_dtypes(comparison, got, want, where)
    elif comparison.equal("dtype", *map(_facts, (got, want)), where) and comparison.equal("dtype", got, want, where):
        comparison.compare(getattr(got, "categories", None), getattr(want, "categories", None), f"{where}.categories")


def _facts(dtype):
    plain = {name: getattr(dtype, name, None) for name in ("unit", "ordered", "storage", "closed", "kind")}
    others = [getattr(dtype, name, None) for name in ("tz", "freq", "fill_value", "na_value")]
    return type(dtype), repr(dtype), plain, [(type(other), repr(other)) for other in others]


@compares(*_PARTS)
def _compare_arrays(comparison, got, want, where):
    _compare_dtypes_and_lengths(comparison, got, want, where)
    names = next(_PARTS[cls] for cls in type(want).__mro__ if cls in _PARTS)
    comparison.parts(*({f".{name}": getattr(one, name, None) for name in names} for one in (got, want)), where)


def _compare_dtypes_and_lengths(comparison, got, want, where):
    _compare_dtypes(comparison, got.dtype, want.dtype, f"{where}.dtype")
    comparison.equal("value", got.shape, want.shape, f"{where}.shape")


@compares(pd.arrays.StringArray)
def _compare_strings(comparison, got, want, where):
    _compare_dtypes_and_lengths(comparison, got, want, where)
    strings = [[(type(v), v if isinstance(v, str) else None) for v in one._ndarray.tolist()] for one in (got, want)]
    comparison.equal("value", *strings, where)
    flags = [one._ndarray.flags.writeable for one in (got, want)]
    comparison.equal("mutability", *flags, f"{where}._ndarray.flags.writeable")


@compares(pd.arrays.SparseArray)
def _compare_sparse_arrays(comparison, got, want, where):
    _compare_dtypes_and_lengths(comparison, got, want, where)
    if comparison.equal("layout", got.kind, want.kind, f"{where}.kind"):
        names = ("indices",) if want.kind == "integer" else ("blocs", "blengths")
        for name in names:
            comparison.compare(getattr(got.sp_index, name), getattr(want.sp_index, name), f"{where}.sp_index.{name}")
    comparison.compare(got.sp_values, want.sp_values, f"{where}.sp_values")


@compares(pd.arrays.ArrowExtensionArray)
def _compare_arrow_arrays(comparison, got, want, where):
    _compare_dtypes_and_lengths(comparison, got, want, where)
    got, want = got.__arrow_array__(), want.__arrow_array__()
    comparison.equal("dtype", got.type, want.type, f"{where}.type")
    if not got.equals(want):
        comparison.miss("value", f"{where}: other elements")
    lengths = [[len(chunk) for chunk in one.chunks] for one in (got, want)]
    if comparison.equal("layout", *lengths, f"{where}.chunks") and not comparison.lost:
        for index, chunks in enumerate(zip(got.chunks, want.chunks, strict=True)):
            _compare_arrow_memory(comparison, *chunks, f"{where}.chunks[{index}]")


def _compare_arrow_memory(comparison, got, want, where):
    got.validate(full=True)
    if pa.types.is_primitive(want.type) and want.type.bit_width >= 8:
        size = want.type.bit_width // 8
        addresses = [one.buffers()[1].address + one.offset * size for one in (got, want)]
        comparison.memory(where, *addresses, len(want) * size)


# Indexes


@compares(pd.Index)
def _compare_indexes(comparison, got, want, where):
    comparison.equal("names", *([(type(name), name) for name in one.names] for one in (got, want)), f"{where}.names")
    _compare_dtypes(comparison, got.dtype, want.dtype, f"{where}.dtype")
    if not comparison.equal("value", got.shape, want.shape, f"{where}.shape"):
        return
    if isinstance(want, pd.RangeIndex):
        comparison.equal("value", *((one.start, one.stop, one.step) for one in (got, want)), where)
    elif isinstance(want, pd.MultiIndex):
        comparison.equal("metadata", got.sortorder, want.sortorder, f"{where}.sortorder")
        for name in ("levels", "codes"):
            comparison.compare(list(getattr(got, name)), list(getattr(want, name)), f"{where}.{name}")
    else:
        comparison.compare(getattr(got, "freq", None), getattr(want, "freq", None), f"{where}.freq")
        _compare_values(comparison, got._data, want._data, f"{where}._data")
        _compare_references(comparison, got._references, want._references, want._data.nbytes, where)


def _compare_labels(comparison, got, want, where):
    # Whether two frames have one range makes no difference, but to versions of pandas.
    if type(got) is type(want) is pd.RangeIndex:
        _compare_indexes(comparison, got, want, where)
    else:
        comparison.compare(got, want, where)


def _compare_values(comparison, got, want, where):
    # That it is one object, no user sees: only that it is one memory.
    if type(got) is type(want) is np.ndarray:
        compare_arrays(comparison, got, want, where)
    else:
        comparison.compare(got, want, where)


def _compare_references(comparison, got, want, nbytes, where):
    """Compare by what pandas knows that it must copy before it writes."""
    if nbytes >= SHARED and want.has_reference():
        known, _ = comparison._seen.setdefault(id(want), (got, want))
        if known is not got:
            comparison.miss("sharing", f"{where}: pandas does not know what it shares its memory with")


# Frames and series


@compares(pd.DataFrame)
def _compare_frames(comparison, got, want, where):
    for name in ("index", "columns"):
        _compare_labels(comparison, getattr(got, name), getattr(want, name), f"{where}.{name}")
    if comparison.equal("value", got.shape, want.shape, f"{where}.shape"):
        blocks = [sorted(one._mgr.blocks, key=lambda block: block.mgr_locs[0]) for one in (got, want)]
        places = [[list(block.mgr_locs) for block in one] for one in blocks]
        if comparison.equal("layout", *places, f"{where}.blocks"):
            for place, *pair in zip(places[0], *blocks, strict=True):
                _compare_blocks(comparison, *pair, f"{where}.iloc[:, {place[:5]}]")
        else:
            for i in range(want.shape[1]):
                values = [one.iloc[:, i]._values for one in (got, want)]
                _compare_values(comparison, *values, f"{where}.iloc[:, {i}]")
    _compare_what_is_with_it(comparison, got, want, where)


@compares(pd.Series)
def _compare_series(comparison, got, want, where):
    comparison.equal("names", (type(got.name), got.name), (type(want.name), want.name), f"{where}.name")
    _compare_labels(comparison, got.index, want.index, f"{where}.index")
    _compare_blocks(comparison, got._mgr.blocks[0], want._mgr.blocks[0], f"{where}.values")
    _compare_what_is_with_it(comparison, got, want, where)


def _compare_blocks(comparison, got, want, where):
    _compare_values(comparison, got.values, want.values, where)
    _compare_references(comparison, got.refs, want.refs, want.values.nbytes, where)  # noqa: PD011  # of blocks


def _compare_what_is_with_it(comparison, got, want, where):
    flags = [one.flags.allows_duplicate_labels for one in (got, want)]
    comparison.equal("flags", *flags, f"{where}.flags.allows_duplicate_labels")
    if comparison.equal("metadata", list(got.attrs), list(want.attrs), f"{where}.attrs"):
        comparison.compare(got.attrs, want.attrs, f"{where}.attrs")
    attributes = [_attributes(one) for one in (got, want)]
    if comparison.equal("metadata", *map(list, attributes), where):
        comparison.parts(*attributes, where)


def _attributes(obj):
    names = [name for name in vars(obj) if not name.startswith("_") and name not in obj._accessors]
    names += [name for name in obj._metadata if name not in {"name", "_name", *names} and hasattr(obj, name)]
    return {f".{name}": getattr(obj, name) for name in sorted(names)}


# Scalars


@compares(type(pd.NaT), type(pd.NA))
def _compare_missing(comparison, got, want, where):
    if got is not want:
        comparison.miss("identity", f"{where}: not {want!r} itself")


@compares(pd.Timestamp, pd.Timedelta)
def _compare_times(comparison, got, want, where):
    comparison.equal("dtype", got.unit, want.unit, f"{where}.unit")
    comparison.equal("value", got.asm8.view("i8"), want.asm8.view("i8"), where)
    if isinstance(want, pd.Timestamp):
        comparison.equal("value", got.fold, want.fold, f"{where}.fold")
        comparison.equal("metadata", *((type(one.tz), str(one.tz)) for one in (got, want)), f"{where}.tz")


@compares(pd.Period)
def _compare_periods(comparison, got, want, where):
    comparison.compare(got.freq, want.freq, f"{where}.freq")
    comparison.equal("value", got.ordinal, want.ordinal, where)


@compares(pd.Interval)
def _compare_intervals(comparison, got, want, where):
    names = ("left", "right", "closed")
    comparison.parts(*({f".{name}": getattr(one, name) for name in names} for one in (got, want)), where)


@compares(pd.offsets.BaseOffset)
def _compare_offsets(comparison, got, want, where):
    facts = [(repr(one), one.n, one.normalize, one.freqstr) for one in (got, want)]
    comparison.equal("value", *facts, where)
    kwds = [{f".{name}": value for name, value in one.kwds.items() if name != "calendar"} for one in (got, want)]
    comparison.parts(*kwds, where)
    comparison.equal("value", got, want, where)
