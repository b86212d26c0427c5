from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conformance import cases_pandas  # which tells how to compare them
from conformance.comparison import Comparison
from guarding import arrived, limited

from oobcodec.errors import DecodeError, LimitError, PolicyError
from oobcodec.guards import pandas as guards
from oobcodec.guards.pandas import guard_frame, guard_index, guard_multi_index, guard_range, guard_series, guard_state
from oobcodec.reducers import arrow, pandas

arrow.register()
pandas.register()

BERLIN = ZoneInfo("Europe/Berlin")
N = 1000
ROWS = pd.RangeIndex(3)
TWO = pd.RangeIndex(2)
TABLE = np.arange(6.0).reshape(2, 3)
HOURS = pd.date_range("2024", periods=N, freq="h")


@pytest.fixture
def budget():
    with limited():
        yield


def with_attrs(obj, **attrs):
    obj.attrs = attrs
    return obj


def with_note(obj):
    object.__setattr__(obj, "note", {"of": ["mine"]})
    return obj


MIXED = pd.DataFrame(
    {
        "f": np.arange(N) * 0.5,
        "text": [f"text {i}" for i in range(N)],
        "i": np.arange(N),
        "t": HOURS,
        "g": np.arange(N) * 0.5,
        "zoned": HOURS.tz_localize("UTC").tz_convert(BERLIN),
        "duration": HOURS - HOURS[0],
        "period": pd.period_range("2020", periods=N),
        "masked": pd.array([1, None] * (N // 2)),
        "category": pd.Categorical(["a", "b"] * (N // 2)),
        "interval": pd.interval_range(0, N),
        "object": [(1, None)] * N,
        "bytes": pd.Series(np.array([b"a", b"b"] * (N // 2))),
    }
)
LEVELS = pd.MultiIndex.from_product([["x", "y"], HOURS[:5], range(9)], names=["l", None, ("k", 1)])
DATA_OF_ALL_KINDS = {
    "floats": pd.DataFrame(np.arange(80.0).reshape(10, 8), columns=list("abcdefgh")),
    "mixed": MIXED,
    "rows": MIXED.iloc[5:9],
    "columns": MIXED.iloc[:, 2:7],
    "columns backwards": pd.DataFrame(TABLE).iloc[:, ::-1],
    "every second column": pd.DataFrame({i: np.arange(3, dtype="f8" if i % 2 else "i8") for i in range(9)}),
    "two axes of times": pd.DataFrame(np.arange(6).astype("M8[s]").reshape(2, 3)),
    "labels twice": pd.DataFrame(TABLE, columns=["a", "a", "b"]),
    "no rows": MIXED.iloc[:0],
    "no columns": pd.DataFrame(index=HOURS),
    "nothing": pd.DataFrame(),
    "attrs": with_attrs(pd.DataFrame(TABLE), unit="m", frame=pd.DataFrame(TABLE)),
    "flags": MIXED.iloc[:, :5].set_flags(allows_duplicate_labels=False),
    "an attribute": with_note(pd.DataFrame(TABLE)),
    "parts of a frame": [one := pd.DataFrame(np.arange(4000.0).reshape(4, -1)), one[2], one.iloc[1:], one.index],
    "series": pd.Series(np.arange(N), HOURS, name=("a", 1)),
    "series of a masked array": pd.Series(pd.array([1, None]), name=0),
    "series with flags": with_attrs(pd.Series([1.5]), unit="m").set_flags(allows_duplicate_labels=False),
    "index of floats": pd.Index(np.arange(N) * 0.5, name="n"),
    "index of strings": pd.Index([f"text {i}" for i in range(N)]),
    "index of objects": pd.Index([1, "a", None, (1, 2)], dtype=object),
    "index of a masked array": pd.Index(pd.array([1, None])),
    "index of a sparse array": pd.Index(pd.arrays.SparseArray([1, 0])),
    "index of times": HOURS,
    "index of times in a zone": HOURS.tz_localize("UTC").tz_convert(BERLIN),
    "index of times without a step": HOURS[[1, 2, 5]],
    "index of business days": pd.bdate_range("2020", periods=50),
    "index of durations": pd.timedelta_range(0, periods=N, freq="3s"),
    "index of periods": pd.period_range("2020", periods=N),
    "index of intervals": pd.interval_range(0, N),
    "index of categories": pd.CategoricalIndex(["a", "b", "a"]),
    "ranges": [pd.RangeIndex(3, 99, 4, name="r"), pd.RangeIndex(0), pd.RangeIndex(9, 0, -2), pd.RangeIndex(2**62)],
    "levels": LEVELS,
    "levels, sorted": pd.MultiIndex([[1, 2], [3, 4]], [[0, 1], [1, -1]], sortorder=0),
    "levels, sorted all": pd.MultiIndex([[1, 2], [3, 4]], [[0, 0, 1], [0, 1, 0]], sortorder=2),
    "levels, rows of": pd.DataFrame({0: np.arange(90)}, LEVELS).iloc[7:20],
    "levels, nothing": pd.MultiIndex.from_arrays([pd.Index([], dtype="i8"), HOURS[:0]]),
    "index and its series": [shared := pd.Series(np.arange(2.0 * N)), pd.Index(shared)],
}


@pytest.mark.parametrize("sent", DATA_OF_ALL_KINDS.values(), ids=DATA_OF_ALL_KINDS)
def test_data_arrives_as_it_left(sent):
    assert not Comparison(arrived(sent), sent).lost


@pytest.mark.parametrize(
    "refused",
    [
        pd.DataFrame(TABLE).groupby(0),
        pd.DataFrame(TABLE).rolling(2),
        pd.Grouper(key="a"),
        cases_pandas.Surveyed(TABLE),
        pd.concat,
        pd.Series,
        pd.read_pickle,
    ],
    ids=lambda obj: getattr(obj, "__name__", type(obj).__name__),
)
def test_what_is_no_data_is_refused(refused):
    with pytest.raises(PolicyError):
        arrived(refused)


# Frames


def one_block(values, rows=ROWS, columns=TWO):
    return guard_frame(None, (values, (0, len(columns), 1)), rows, columns)


@pytest.mark.parametrize(
    "values",
    [
        TABLE[:1],
        TABLE[:, :2],
        TABLE.T,
        TABLE.reshape(2, 3, 1),
        TABLE[0],
        np.zeros((2, 3), "U3"),
        np.zeros((2, 3), "V3"),
        np.zeros((2, 3), [("a", "i4")]),
        np.zeros((2, 3), "M8[D]"),
        np.zeros((2, 3), "M8[5s]"),
        np.zeros((2, 3), "M8"),
        np.zeros((2, 3), ">M8[s]"),
        np.ma.zeros((2, 3)),
        TABLE.tolist(),
        None,
        pd.Series([1, 2, 3]),
        HOURS[:3],
        pd.arrays.NumpyExtensionArray(TABLE),
        pd.array([1, 2, 3]),
        pd.arrays.PeriodArray(np.zeros((1, 3), "i8"), dtype=pd.PeriodDtype("D")),
        pd.arrays.PeriodArray(np.zeros((3, 2), "i8"), dtype=pd.PeriodDtype("D")),
    ],
    ids=lambda values: f"{type(values).__name__} {getattr(values, 'shape', '')} {getattr(values, 'dtype', '')}",
)
def test_blocks_of_other_values_are_refused(values):
    with pytest.raises(DecodeError):
        one_block(values)


def test_blocks_of_times_have_one_axis_or_two():
    periods = pd.period_range("2020", periods=3).array
    for values in (periods, periods.reshape(1, 3)):
        frame = guard_frame(None, (values, (0, 1, 1)), ROWS, pd.RangeIndex(1))
        assert list(frame[0]) == list(periods)


@pytest.mark.parametrize(
    "wheres",
    [
        [(0, 1, 1)],
        [(0, 1, 1)] * 3,
        [(0, 1, 1), (0, 1, 1)],
        [(0, 1, 1), (2, 3, 1)],
        [(0, 1, 1), (-1, 0, 1)],
        [(0, 1, 1), (2**62, 2**62 + 1, 1)],
        [(0, 1, 1), (1, 3, 1)],
        [(0, 1, 1), (2, 0, -1)],
        [(0, 2**70, 1), (1, 2, 1)],
        [(0, 1, 0), (1, 2, 1)],
        [(0, 1), (1, 2, 1)],
        [(False, True, True), (1, 2, 1)],
        [(0, 1, 1.0), (1, 2, 1)],
        [(None, 1, 1), (1, 2, 1)],
        [(0, None, 1), (1, 2, 1)],
        [slice(0, 1), (1, 2, 1)],
        [[0], (1, 2, 1)],
        [range(1), (1, 2, 1)],
        [np.array([0, 1]), (1, 2, 1)],
        [np.array([-1]), (0, 1, 1)],
        [np.array([2]), (0, 1, 1)],
        [np.array([2**40]), (0, 1, 1)],
        [np.array([0]), np.array([0])],
        [np.array([[0]]), (1, 2, 1)],
        [np.array([0.0]), (1, 2, 1)],
        [np.array([True]), (0, 1, 1)],
        [np.array([0], ">i8"), (1, 2, 1)],
        [np.array([0], "u8"), (1, 2, 1)],
        [0, 1],
        [None, None],
    ],
    ids=repr,
)
def test_blocks_in_other_places_are_refused(wheres):
    blocks = tuple(part for where in wheres for part in (TABLE[:1], where))
    with pytest.raises((DecodeError, ValueError, OverflowError)):
        guard_frame(None, blocks, ROWS, TWO)


@pytest.mark.parametrize(
    ("wheres", "columns"),
    [
        ([(1, 2, 1), (0, 1, 1)], [1, 0]),
        ([np.array([1]), np.array([0], "i4")], [1, 0]),
        ([(1, None, -1), (0, 1, 1)], None),
        ([(1, 0, -1), (0, None, -1)], [1, 0]),
        ([(1, 0, -1), (0, -1, -1)], [1, 0]),
    ],
    ids=repr,
)
def test_blocks_in_all_places_are_taken(wheres, columns):
    blocks = tuple(part for i, where in enumerate(wheres) for part in (np.full((1, 3), float(i)), where))
    if columns is None:
        with pytest.raises(DecodeError):
            guard_frame(None, blocks, ROWS, TWO)
    else:
        assert guard_frame(None, blocks, ROWS, TWO).iloc[0].tolist() == columns


def test_blocks_of_no_columns_are_taken():
    frame = guard_frame(None, (np.zeros((0, 3)), (5, 2, 1), TABLE, (0, 2, 1)), ROWS, TWO)
    assert frame.equals(pd.DataFrame(TABLE.T))


@pytest.mark.parametrize(
    "arguments",
    [
        (pd.DataFrame, (), ROWS, ROWS[:0]),
        ("DataFrame", (), ROWS, ROWS[:0]),
        (None, [], ROWS, ROWS[:0]),
        (None, (TABLE,), ROWS, TWO),
        (None, (TABLE, (0, 2, 1)), [0, 1, 2], TWO),
        (None, (TABLE, (0, 2, 1)), ROWS, ["a", "b"]),
        (None, (TABLE, (0, 2, 1)), np.arange(3), TWO),
        (None, (), ROWS, TWO),
        (None, (TABLE, (0, 2, 1)), ROWS, TWO, 5),
        (None, (TABLE, (0, 2, 1)), ROWS, TWO, [None]),
        (None, (TABLE, (0, 2, 1)), ROWS, TWO, (None, None)),
        (None, (TABLE, (0, 2, 1)), ROWS, TWO, (5,)),
        (None, (TABLE, (0, 2, 1)), ROWS, TWO, (TABLE,)),
    ],
    ids=lambda arguments: repr(arguments)[:60],
)
def test_frames_of_other_arguments_are_refused(arguments):
    with pytest.raises(DecodeError):
        guard_frame(*arguments)


def test_one_mark_of_shared_memory_for_blocks_that_share_none_is_harmless():
    shared = guards.guard_references()
    frames = [guard_frame(None, (TABLE.copy(), (0, 2, 1)), ROWS, TWO, (shared,)) for _ in range(2)]
    series = guard_series(None, TABLE[0].copy(), ROWS, None, (shared,))
    index = guard_index("Index", TABLE[0].copy(), None, None, shared)
    frames[0].iloc[0, 0] = series.iloc[0] = 99.0
    assert frames[1].iloc[0, 0] == index[0] == 0


@pytest.mark.usefixtures("budget")
def test_frames_of_endless_ranges_are_refused_unless_there_is_nothing_in_them():
    frame = guard_frame(None, (), pd.RangeIndex(2**62), pd.RangeIndex(0))
    assert frame.shape == (2**62, 0)
    assert repr(frame).startswith("Empty DataFrame")
    assert frame.equals(frame.copy())
    with pytest.raises(LimitError):
        guard_frame(None, (np.zeros((2**40, 0)), (0, 2**40, 1)), pd.RangeIndex(0), pd.RangeIndex(2**40))


def test_frames_of_many_blocks_take_linear_time():
    count = 50_000
    blocks = tuple(part for i in range(count) for part in (np.zeros((1, 0)), (i, i + 1, 1)))
    assert guard_frame(None, blocks, pd.RangeIndex(0), pd.RangeIndex(count)).shape == (0, count)


# Series and names


@pytest.mark.parametrize(
    "arguments",
    [
        (pd.Series, TABLE[0], ROWS, None),
        (None, TABLE, ROWS, None),
        (None, TABLE[0], TWO, None),
        (None, TABLE[0], [0, 1, 2], None),
        (None, [1, 2, 3], ROWS, None),
        (None, np.zeros(3, "U1"), ROWS, None),
        (None, np.zeros(3, "M8[D]"), ROWS, None),
        (None, np.array(5.0), ROWS, None),
        (None, pd.arrays.NumpyExtensionArray(TABLE[0]), ROWS, None),
        (None, pd.arrays.PeriodArray(np.zeros((3, 3), "i8"), dtype=pd.PeriodDtype("D")), ROWS, None),
        (None, pd.Index([1, 2, 3]), ROWS, None),
        (None, TABLE[0], ROWS, None, (None, None)),
        (None, TABLE[0], ROWS, None, (5,)),
        (None, TABLE[0], ROWS, slice(1)),
    ],
    ids=lambda arguments: repr(arguments)[:60],
)
def test_series_of_other_arguments_are_refused(arguments):
    with pytest.raises(DecodeError):
        guard_series(*arguments)


def nested(depth, width):
    name = ()
    for _ in range(depth):
        name = (name,) * width
    return name


@pytest.mark.parametrize("name", [[1], {}, (1, [2]), np.zeros(3), pd.Index([1])], ids=repr)
def test_names_that_cannot_be_hashed_are_refused(name):
    for call in (
        lambda: guard_series(None, TABLE[0], ROWS, name),
        lambda: guard_index("Index", TABLE[0], name),
        lambda: guard_range(0, 3, 1, name),
        lambda: guard_multi_index((ROWS,), (np.array([0]),), None, (name,)),
    ):
        with pytest.raises(TypeError, match="unhashable"):
            call()


@pytest.mark.parametrize("name", [1.5, True, ("a", (1, None)), pd.Timestamp(0), b"a", frozenset([1])], ids=repr)
def test_names_are_whatever_can_be_hashed(name):
    assert guard_range(0, 3, 1, name).name is name


@pytest.mark.usefixtures("budget")
def test_names_that_take_forever_to_hash_are_refused():
    with pytest.raises(DecodeError, match="at most 100 levels"):
        guard_range(0, 3, 1, nested(10_000, width=1))
    with pytest.raises(DecodeError, match="no slice"):
        guard_range(0, 3, 1, (1, slice(2)))
    with pytest.raises(LimitError, match="max_operations"):
        guard_range(0, 3, 1, nested(60, width=2))


# State


@pytest.mark.parametrize(
    "name",
    [
        *("_mgr", "_attrs", "__array_interface__", "__array_struct__", "__class__", "__dict__", "_ipython_display_"),
        *("index", "loc", "sum", "attrs", "values", "T", "name", 5, None, b"note", ("note",)),
    ],
    ids=repr,
)
def test_attributes_of_pandas_and_private_ones_are_not_set(name):
    for obj in (pd.DataFrame(TABLE), pd.Series([1])):
        with pytest.raises(DecodeError, match="are not set"):
            guard_state(obj, ({}, True, {name: {"data": (4096, False), "shape": (9,), "typestr": "<f8", "version": 3}}))


@pytest.mark.parametrize("obj", [pd.Index([1]), np.zeros(3), "text", None, {}, pd.array([1])], ids=repr)
def test_objects_without_a_state_get_none(obj):
    with pytest.raises(DecodeError, match="only frames and series"):
        guard_state(obj, ({}, True, {}))


@pytest.mark.parametrize(
    "state",
    [(5, True, {}), ([], True, {}), ({}, 1, {}), ({}, None, {}), ({}, True, []), ({}, True), None, ({}, True, {}, 1)],
    ids=repr,
)
def test_states_of_other_parts_are_refused(state):
    with pytest.raises((DecodeError, TypeError, ValueError)):
        guard_state(pd.DataFrame(TABLE), state)


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b", "a"],
        [1, 2, 1],
        HOURS[[1, 2, 1]],
        pd.MultiIndex.from_arrays([[1, 2, 1], [1, 1, 1]]),
        pd.CategoricalIndex(["a", "b", "a"]),
    ],
    ids=repr,
)
def test_labels_that_are_there_twice_are_not_said_to_be_there_once(labels):
    frame = pd.DataFrame({"x": range(3)}, index=labels)
    with pytest.raises(DecodeError, match="labels are there once"):
        guard_state(frame, ({}, False, {}))
    guard_state(frame.iloc[:2], ({}, False, {}))


def test_labels_of_a_sender_that_says_so_are_there_once():
    frame = pd.DataFrame({"x": range(3)})
    guard_state(frame, ({}, False, {}))
    assert not frame.flags.allows_duplicate_labels
    with pytest.raises(pd.errors.DuplicateLabelError):
        frame.iloc[[0, 0]]


# Indexes


@pytest.mark.parametrize(
    "arguments",
    [
        ("RangeIndex", TABLE[0], None),
        ("MultiIndex", TABLE[0], None),
        ("DataFrame", TABLE[0], None),
        ("read_pickle", "/etc/passwd", None),
        ([], TABLE[0], None),
        ("Index", TABLE, None),
        ("Index", np.array(5), None),
        ("Index", [1, 2], None),
        ("Index", HOURS._data._ndarray, None),
        ("Index", np.zeros(3, "f2"), None),
        ("Index", np.zeros(3, "g"), None),
        ("Index", np.zeros(3, ">i4"), None),
        ("Index", np.zeros(3, "U3"), None),
        ("Index", np.zeros(3, "S3"), None),
        ("Index", np.ma.zeros(3), None),
        ("Index", HOURS.array, None),
        ("Index", pd.Categorical(["a"]), None),
        ("Index", pd.interval_range(0, 3).array, None),
        ("Index", pd.arrays.NumpyExtensionArray(TABLE[0]), None),
        ("Index", pd.Series([1]), None),
        ("DatetimeIndex", HOURS._data._ndarray, None),
        ("DatetimeIndex", pd.timedelta_range(0, periods=3).array, None),
        ("DatetimeIndex", HOURS.array.reshape(-1, 1), None),
        ("CategoricalIndex", TABLE[0], None),
        ("IntervalIndex", TABLE[0], None),
        ("PeriodIndex", TABLE[0], None),
        ("Index", TABLE[0], None, pd.offsets.Day()),
        ("PeriodIndex", pd.period_range("2020", periods=3).array, None, pd.offsets.Day()),
        ("DatetimeIndex", HOURS.array, None, "h"),
        ("Index", TABLE[0], None, None, 5),
        ("Index", TABLE[0], None, None, TABLE),
    ],
    ids=lambda arguments: repr(arguments)[:60],
)
def test_indexes_of_other_arguments_are_refused(arguments):
    with pytest.raises((DecodeError, KeyError, TypeError)):
        guard_index(*arguments)


def test_step_of_an_index_is_left_out_where_it_is_wrong():
    hours = HOURS._data._ndarray
    for values, freq, kept in (
        (hours, pd.offsets.Hour(), pd.offsets.Hour()),
        (hours[[1, 2, 5]], pd.offsets.Hour(), None),
        (hours, pd.offsets.MonthEnd(), None),
    ):
        assert guard_index("DatetimeIndex", pd.array(values), None, freq).freq == kept


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 3, 0, None),
        (0, 2**63, 1, None),
        (-(2**63) - 1, 0, 1, None),
        (-(2**63), 2**63 - 1, 1, None),
        (0, 3, 2**70, None),
        (0, 3.0, 1, None),
        (False, 3, 1, None),
        (0, 3, True, None),
        (None, 3, 1, None),
        ("0", 3, 1, None),
        (0, np.int64(3), 1, None),
    ],
    ids=repr,
)
def test_ranges_of_other_numbers_are_refused(arguments):
    with pytest.raises(DecodeError):
        guard_range(*arguments)


CODES = np.array([0, 1, -1], "i1")


@pytest.mark.parametrize(
    "arguments",
    [
        ((), (), None, ()),
        ((ROWS,), (), None, (None,)),
        ((ROWS,), (CODES, CODES), None, (None,)),
        ((ROWS,), (CODES,), None, ()),
        ([ROWS], (CODES,), None, (None,)),
        ((ROWS,), [CODES], None, (None,)),
        ((ROWS,), (CODES,), None, [None]),
        ((["a", "b"],), (CODES,), None, (None,)),
        ((LEVELS,), (CODES,), None, (None,)),
        ((ROWS,), (np.array([3]),), None, (None,)),
        ((ROWS,), (np.array([-2]),), None, (None,)),
        ((ROWS,), (np.array([2**40]),), None, (None,)),
        ((ROWS,), (np.array([0.0]),), None, (None,)),
        ((ROWS,), (np.array([0], "u1"),), None, (None,)),
        ((ROWS,), (np.array([0], ">i4"),), None, (None,)),
        ((ROWS,), (np.array([[0]]),), None, (None,)),
        ((ROWS,), ([0],), None, (None,)),
        ((ROWS[:0],), (np.array([0]),), None, (None,)),
        ((ROWS, ROWS), (CODES, CODES[:2]), None, (None, None)),
        ((pd.Index([1, 2, 1]),), (CODES,), None, (None,)),
        ((ROWS,), (CODES,), 1, (None,)),
        ((ROWS,), (CODES,), -1, (None,)),
        ((ROWS,), (CODES,), True, (None,)),
        ((ROWS,), (CODES,), 0.0, (None,)),
        ((ROWS, ROWS), (CODES[:2], CODES[1::-1]), 3, (None, None)),
    ],
    ids=lambda arguments: repr(arguments)[:60],
)
def test_indexes_of_other_levels_are_refused(arguments):
    with pytest.raises((DecodeError, ValueError)):
        guard_multi_index(*arguments)


@pytest.mark.usefixtures("budget")
def test_levels_of_an_endless_range_are_refused():
    with pytest.raises(LimitError):
        guard_multi_index((pd.RangeIndex(2**40),), (np.array([2**39]),), None, (None,))


def test_index_is_sorted_by_as_many_levels_as_it_is():
    codes = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
    assert guard_multi_index((ROWS, ROWS), codes, 1, (None, None)).sortorder == 1
    with pytest.raises(DecodeError, match="sorted where the sender says so"):
        guard_multi_index((ROWS, ROWS), codes, 2, (None, None))


def test_strings_of_arrow_may_be_labels_and_values():
    strings = pd.array(["a", "b", "c"], dtype=pd.ArrowDtype(pa.string()))
    series = guard_series(None, strings, guard_index("Index", strings, "name"), "x")
    assert series["b"] == "b"
