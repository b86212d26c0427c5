import datetime as dt
import subprocess
import sys
import textwrap
from fractions import Fraction
from types import ModuleType
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import names, received, shipped, transferred
from hypothesis import given, settings
from hypothesis import strategies as st

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError
from oobcodec.reducers import arrow
from oobcodec.reducers import pandas as frames_and_indexes
from oobcodec.reducers import pandas_arrays as reducers

arrow.register()
frames_and_indexes.register()

N = 5000


def assert_equal(actual, expected):
    assert type(actual) is type(expected)
    assert actual.dtype == expected.dtype
    assert type(actual.dtype) is type(expected.dtype)
    pd.testing.assert_extension_array_equal(actual, expected, check_exact=True)


def arrow_array(values, data_type):
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, data_type)]))


TIMES = pd.date_range("2020", periods=N, freq="h", tz="Europe/Berlin")
ARRAYS = {
    "Int8": pd.array([1, None, 3], dtype="Int8"),
    "UInt64": pd.array(np.arange(N), dtype="UInt64"),
    "boolean": pd.array([True, None] * N),
    "Float32": pd.array([1.5, None], dtype="Float32"),
    "NaN and NA": pd.arrays.FloatingArray(np.array([np.nan, 1, 2]), np.array([False, True, False])),
    "empty integers": pd.array([], dtype="Int64"),
    "times": TIMES.array,
    "naive": TIMES.tz_localize(None).array,
    "milliseconds": pd.array(np.arange(N).astype("M8[ms]")),
    "fixed offset": TIMES.tz_convert(dt.timezone(dt.timedelta(hours=5))).array,
    "not a time": pd.array([pd.NaT, pd.Timestamp("2020")]),
    "timedeltas": pd.timedelta_range(0, periods=N, freq="s").array,
    "periods": pd.period_range("2020", periods=N, freq="2D").array,
    "weeks": pd.period_range("2020", periods=3, freq="W-WED").array,
    "no period": pd.array([pd.NaT, pd.Period("2020", "M")], dtype="period[M]"),
    "intervals": pd.interval_range(0, N, closed="neither").array,
    "intervals of times": pd.interval_range(TIMES[0], TIMES[9], freq="h", closed="left").array,
    "missing interval": pd.array([pd.Interval(0.0, 1.0), None], dtype="interval"),
    "categories": pd.Categorical(["a", "b", None], ["b", "a", "c"], ordered=True),
    "categories of times": pd.Categorical(TIMES[:5]),
    "many categories": pd.Categorical(np.arange(N) * 3),
    "no categories": pd.Categorical([]),
    "sparse": pd.arrays.SparseArray(np.arange(N) % 3),
    "sparse blocks": pd.arrays.SparseArray([np.nan] * 9 + [1.0, 2.0], kind="block"),
    "sparse truth": pd.arrays.SparseArray([True, False, True], fill_value=True),
    "numpy": pd.arrays.NumpyExtensionArray(np.arange(N)),
    "numpy objects": pd.arrays.NumpyExtensionArray(np.array([1, "a", None], object)),
    "string": pd.array(["a", None, "", "ü\ud800", "𝄞"], dtype="string[python]"),
    "string without missing": pd.array(["a", "b"] * N, dtype="string[python]"),
    "string with NUL": pd.array(["a\0b", None], dtype="string[python]"),
    "all missing": pd.array([None, None], dtype="string[python]"),
    "no string": pd.array([], dtype="string[python]"),
    "one empty string": pd.array([""], dtype="string[python]"),
    "arrow string": pd.array(["a", None, "ü"] * N, dtype="string[pyarrow]"),
    "default string": pd.Series(["a", None]).astype("str").array if pd.__version__ >= "3" else pd.array(["a"]),
    "arrow integers": arrow_array([1, None] * N, pa.int64()),
    "arrow truth": arrow_array([True, None, False], pa.bool_()),
    "arrow decimals": arrow_array([1, None], pa.decimal128(10, 2)),
    "arrow lists": arrow_array([[1], None, []], pa.list_(pa.int8())),
    "arrow records": arrow_array([{"a": 1}, None], pa.struct([("a", pa.int8())])),
    "arrow dictionary": arrow_array(["a", "b", "a"], pa.dictionary(pa.int8(), pa.string())),
    "arrow times": arrow_array([0, 1], pa.timestamp("ms", "UTC")),
    "arrow text": arrow_array(["a", None], pa.string()),
    "arrow nothing": arrow_array([], pa.null()),
    "arrow chunks": pd.arrays.ArrowExtensionArray(pa.chunked_array([[1, 2], [], [3]])),
}
DTYPES = [
    *[array.dtype for name, array in ARRAYS.items() if not name.startswith("numpy")],
    *[getattr(pd, name)() for name in reducers._WITHOUT],
    pd.IntervalDtype(),
    pd.SparseDtype("f4", 7),
    pd.CategoricalDtype(),
    pd.CategoricalDtype([3, 1], ordered=True),
    pd.StringDtype("pyarrow"),
]
OFFSETS = [
    *[pd.offsets.Second(3), pd.offsets.Day(-1), pd.offsets.BDay(2), pd.offsets.MonthEnd(normalize=True)],
    *[pd.offsets.Week(weekday=2), pd.offsets.QuarterEnd(startingMonth=2), pd.offsets.Easter(), pd.offsets.FY5253()],
    pd.offsets.CustomBusinessDay(holidays=["2020-01-01"], weekmask="Mon Tue"),
    pd.offsets.CustomBusinessHour(start="08:30", end="10:00"),
    pd.offsets.BusinessHour(2),
    pd.offsets.DateOffset(months=1, day=3),
    pd.offsets.DateOffset(2),
]


@pytest.mark.parametrize("memory", [bytearray, bytes])
@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_arrives(name, memory):
    array = ARRAYS[name]
    for part in (array, array[1:], array[::-1], array[:0], array[np.arange(len(array)) < 0]):
        frames = dumps(part)
        assert_equal(loads(received(frames, memory)), part)
        assert not [name for name in names(frames) if name.startswith("pandas.")]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_arrives(dtype):
    frames = dumps(dtype)
    back = loads(received(frames))
    assert type(back) is type(dtype)
    assert back == dtype
    assert hash(back) == hash(dtype)
    assert repr(back) == repr(dtype)
    assert not [name for name in names(frames) if name.startswith("pandas.")]


@pytest.mark.parametrize("offset", OFFSETS, ids=repr)
def test_every_offset_arrives(offset):
    frames = dumps(offset)
    back = loads(received(frames))
    assert back == offset
    assert repr(back) == repr(offset)
    assert type(back) is type(offset)
    assert pd.Timestamp("2020-02-03 04:05") + back == pd.Timestamp("2020-02-03 04:05") + offset
    assert not [name for name in names(frames) if name.startswith("pandas.")]


@pytest.mark.parametrize("kind", ["integer", "block"])
def test_sparse_arrays_keep_their_kind(kind):
    array = pd.arrays.SparseArray([0, 0, 1, 2], kind=kind)
    back = transferred(array)
    assert back.kind == kind
    assert back.sp_index.equals(array.sp_index)
    assert_equal(back, array)


def test_two_dimensional_times_arrive():
    # As a frame holds several columns in one time zone.
    for array in (TIMES[:4].array, TIMES.tz_localize(None)[:4].array, TIMES[:4].array - TIMES[0]):
        square = array.reshape(2, 2)
        back = transferred(square)
        assert back.shape == (2, 2)
        assert type(back) is type(square)
        assert back.dtype == square.dtype
        assert (back == square).all()


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("UInt64", "_data"),
        ("boolean", "_mask"),
        ("times", "_ndarray"),
        ("naive", "_ndarray"),
        ("timedeltas", "_ndarray"),
        ("periods", "_ndarray"),
        ("intervals", "_left"),
        ("many categories", "_ndarray"),
        ("sparse", "sp_values"),
        ("numpy", "_ndarray"),
    ],
)
def test_arrays_travel_from_their_memory_into_their_memory(name, attribute):
    array = ARRAYS[name]
    frames = dumps(array)
    memory = getattr(array, attribute)
    assert any(np.shares_memory(memory, frame) for frame in frames[2:])
    arrived = received(frames)
    result = getattr(loads(arrived), attribute)
    assert any(np.shares_memory(result, np.frombuffer(frame, np.uint8)) for frame in arrived[2:])
    assert result.flags.writeable == memory.flags.writeable
    assert not getattr(loads(received(frames, bytes)), attribute).flags.writeable
    assert not getattr(loads(arrived, writable=False), attribute).flags.writeable


@pytest.mark.parametrize("name", ["arrow string", "arrow integers"])
def test_arrow_arrays_travel_from_their_memory_into_their_memory(name):
    array = ARRAYS[name]
    frames = dumps(array)
    addresses = {np.frombuffer(frame, np.uint8).__array_interface__["data"][0] for frame in frames[2:]}
    assert {buffer.address for buffer in array.__arrow_array__().chunk(0).buffers()} >= addresses
    arrived = received(frames)
    places = {np.frombuffer(frame, np.uint8).__array_interface__["data"][0] for frame in arrived[2:]}
    assert {buffer.address for buffer in loads(arrived).__arrow_array__().chunk(0).buffers()} == places


def test_slices_of_strings_ship_what_they_show():
    for dtype in ("string[python]", "string[pyarrow]"):
        array = pd.array(["a" * 10] * 100_000, dtype=dtype)
        assert shipped(dumps(array[5:15])) == 0
        assert shipped(dumps(array[500:1500])) < 20_000


def test_strings_travel_out_of_band():
    frames = dumps(ARRAYS["string without missing"])
    assert frames[1].nbytes < 500
    assert shipped(frames) == 4 * N  # each with its end
    with_missing = pd.array(["abcdefgh", None] * N, dtype="string[python]")
    assert dumps(with_missing)[1].nbytes < 1000
    assert_equal(transferred(with_missing), with_missing)


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=3) | st.none()))
@settings(max_examples=200)
def test_any_strings_arrive(strings):
    array = pd.array(strings, dtype="string[python]")
    back = transferred(array)
    assert_equal(back, array)
    assert all(type(string) is str or string is pd.NA for string in back)


def test_strings_of_other_classes_keep_them():
    array = pd.array(["a", "b", None], dtype="string[python]")
    array._ndarray[1] = np.str_("b")
    back = transferred(array)
    assert_equal(back, array)
    assert type(back[1]) is np.str_


def test_writable_false_makes_strings_read_only():
    frames = received(dumps(ARRAYS["string"]))
    assert loads(frames)._ndarray.flags.writeable
    frozen = loads(frames, writable=False)
    assert not frozen._ndarray.flags.writeable
    assert_equal(frozen, ARRAYS["string"])


def test_arrays_share_a_dtype_afterwards_if_they_did():
    categories = pd.CategoricalDtype(["a", "b"])
    sent = [pd.Categorical(["a"], dtype=categories), pd.Categorical(["b"], dtype=categories)]
    first, second = transferred(sent)
    assert (first.dtype is second.dtype) == (sent[0].dtype is sent[1].dtype)
    assert first.categories is second.categories


def test_an_array_of_another_library_goes_its_own_way():
    from pandas.tests.extension.decimal import DecimalArray, make_data

    array = DecimalArray(make_data(10) if pd.__version__ >= "3" else make_data())
    back = transferred(array)
    assert type(back) is DecimalArray
    assert (back == array).all()


def test_the_dtype_of_wrapped_arrays_arrives():
    # It has no public name: pandas' own way.
    dtype = ARRAYS["numpy"].dtype
    assert transferred(dtype) == dtype
    assert type(transferred(dtype)) is type(dtype)


def test_what_numpy_calls_objects_stays_objects():
    series = pd.Series([Fraction(1, 3), "a", np.arange(3)], dtype=object)
    back = transferred(series)
    assert back.dtype == object
    assert back[0] == Fraction(1, 3)
    assert np.array_equal(back[2], np.arange(3))


def test_missing_values_stay_what_they_are():
    frames = dumps([pd.NA, pd.NaT, pd.NA])
    assert not [name for name in names(frames) if name.startswith("pandas.")]
    back = loads(received(frames))
    assert back[0] is back[2] is pd.NA
    assert back[1] is pd.NaT


# Between versions


class _WithoutNan:
    """`pandas.StringDtype` as it was before 2.3."""

    def __init__(self, storage=None):
        self.storage = storage

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


def test_str_becomes_objects_where_pandas_has_no_such_dtype(monkeypatch):
    monkeypatch.setattr(pd, "StringDtype", _WithoutNan)
    objects = reducers.rebuild_string_dtype("pyarrow", True)  # noqa: FBT003  # as pickle passes it
    assert objects == np.dtype(object)
    assert reducers.rebuild_string_dtype("pyarrow_numpy", True) == _WithoutNan("pyarrow_numpy")  # noqa: FBT003
    assert reducers.rebuild_string_dtype("python", False) == _WithoutNan("python")  # noqa: FBT003
    expected = ["a", np.nan, "b"]
    missing = reducers.numbers("Q", [1])
    for strings in (
        reducers.rebuild_arrow_strings(pa.chunked_array([["a", None, "b"]]), objects),
        reducers.rebuild_strings(b"a\0\0b\0", missing, objects),
        reducers.rebuild_string_objects(np.array(expected, object), objects),
        reducers._rebuild_strings_read_only(b"a\0\0b\0", missing, objects),
    ):
        assert type(strings) is np.ndarray
        assert strings.dtype == object
        assert strings[[0, 2]].tolist() == ["a", "b"]
        assert np.isnan(strings[1])
        series = frames_and_indexes.rebuild_series(None, strings, pd.RangeIndex(3), None)
        assert series.dtype == object
        assert frames_and_indexes.rebuild_index("Index", strings, "n").dtype == object


@pytest.mark.skipif(pd.__version__ < "2.3", reason="pandas 2.2 has no str dtype")
@pytest.mark.parametrize("storage", ["python", "pyarrow"])
def test_str_stays_str(storage):
    dtype = pd.StringDtype(storage, na_value=np.nan)
    array = pd.array(["a", None, "ü"], dtype=dtype)
    back = transferred(array)
    assert_equal(back, array)
    assert np.isnan(back.dtype.na_value)
    assert back.dtype.storage == storage
    assert reducers.rebuild_string_dtype("pyarrow_numpy", True) == pd.StringDtype("pyarrow", np.nan)  # noqa: FBT003


def test_what_this_pandas_does_not_have_is_named():
    with pytest.raises(DecodeError, match=rf"pandas {pd.__version__} has no FutureDtype"):
        reducers.rebuild_dtype("FutureDtype")
    with pytest.raises(DecodeError, match="has no Fortnight"):
        reducers.rebuild_offset("Fortnight", 2)
    with pytest.raises(DecodeError, match="has no such Day as the sender's pandas: "):
        reducers.rebuild_offset("Day", 1, False, 3, 4, 5)  # noqa: FBT003


class _PytzZone(dt.tzinfo):
    """As those of pytz, which pandas 3 does not need any more."""

    __module__ = "pytz.tzfile"
    zone = "Europe/Berlin"

    def utcoffset(self, when):
        return dt.timedelta(hours=1)

    dst = tzname = lambda self, when: None


def test_zones_of_pytz_arrive_with_and_without_pytz(monkeypatch):
    dtype = pd.DatetimeTZDtype("s", _PytzZone())
    frames = received(dumps(dtype))
    monkeypatch.setitem(sys.modules, "pytz", None)
    assert loads(frames) == pd.DatetimeTZDtype("s", "Europe/Berlin")
    pytz = ModuleType("pytz")
    pytz.timezone = ZoneInfo
    monkeypatch.setitem(sys.modules, "pytz", pytz)
    assert loads(frames).tz == ZoneInfo("Europe/Berlin")


def test_zones_of_the_real_pytz_arrive():
    pytz = pytest.importorskip("pytz", reason="pandas 3 does without pytz")
    for zone in (pytz.timezone("Europe/Berlin"), pytz.UTC, pytz.FixedOffset(90)):
        times = pd.date_range("2020", periods=N, freq="h", tz=zone)
        back = transferred(times)
        pd.testing.assert_index_equal(back, times)
        assert str(back.tz) == str(times.tz)
        assert type(back.tz) is type(times.tz)


def test_the_freq_of_an_array_is_kept_where_pandas_keeps_it_there(monkeypatch):
    day = pd.offsets.Day()
    if not hasattr(pd.arrays.DatetimeArray, "_freq"):
        array = reducers.rebuild_times("DatetimeArray", np.zeros(1, "M8[ns]"), None, day)
        assert not hasattr(array, "_freq")
        monkeypatch.setattr(pd.arrays.DatetimeArray, "_freq", None, raising=False)
    array = reducers.rebuild_times("DatetimeArray", np.zeros(1, "M8[ns]"), None, day)
    assert array._freq is day
    monkeypatch.undo()


def test_another_process_rebuilds_what_it_never_imported(tmp_path):
    for i, frame in enumerate(dumps(list(ARRAYS.values()))):
        (tmp_path / f"{i:03}").write_bytes(frame)
    script = """
        import pathlib, sys
        from oobcodec.codec import loads
        assert "pandas" not in sys.modules
        frames = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[1]).iterdir())]
        print(*[str(array.dtype).replace(" ", "") for array in loads(frames)])
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(array.dtype).replace(" ", "") for array in ARRAYS.values()]


def test_memory_behind_missing_truth_values_stays_at_home():
    values, mask = np.frombuffer(bytearray(b"\xa5\x01") * N, bool), np.array([True, False] * N)
    frames = dumps(pd.arrays.BooleanArray(values, mask))
    assert b"\xa5" not in b"".join(frames)
    pd.testing.assert_extension_array_equal(loads(frames), pd.array([None, True] * N, dtype="boolean"))
