from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import SECRET, holds_secret, names, received, run_python, shipped, transferred, write_module

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError
from oobcodec.reducers import arrow
from oobcodec.reducers import pandas as reducers
from oobcodec.registry import DEFAULT

arrow.register()
reducers.register()

N = 5000


def assert_equal(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(actual, expected, check_freq=True, check_flags=True)
        assert_equal_indexes(actual.columns, expected.columns)
        assert_equal_indexes(actual.index, expected.index)
        for left, right in zip(actual._mgr.blocks, expected._mgr.blocks, strict=True):
            assert_equal_blocks(left, right)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(actual, expected, check_freq=True, check_flags=True)
        assert_equal_indexes(actual.index, expected.index)
    else:
        assert_equal_indexes(actual, expected)
        return
    assert actual.attrs == expected.attrs


def assert_equal_blocks(actual, expected):
    assert actual.mgr_locs.as_array.tolist() == expected.mgr_locs.as_array.tolist()
    left, right = actual.values, expected.values  # noqa: PD011  # of blocks
    assert left.shape == right.shape
    if isinstance(right, np.ndarray) and min(right.shape) > 1:
        assert left.flags.c_contiguous >= right.flags.c_contiguous
        assert left.flags.f_contiguous >= right.flags.f_contiguous
        assert np.argsort(np.abs(left.strides)).tolist() == np.argsort(np.abs(right.strides)).tolist()


def assert_equal_indexes(actual, expected):
    pd.testing.assert_index_equal(actual, expected, exact=True)
    assert type(actual) is type(expected)
    assert list(actual.names) == list(expected.names)
    assert getattr(actual, "freq", None) == getattr(expected, "freq", None)
    if isinstance(expected, pd.MultiIndex):
        assert actual.sortorder == expected.sortorder
        for left, right in zip(actual.levels, expected.levels, strict=True):
            assert_equal_indexes(left, right)


class Geo(pd.DataFrame):
    """As geopandas does it: attributes that pandas hands on, and methods that make its own class."""

    _metadata = ["crs", "never_set"]  # noqa: RUF012  # how pandas wants it

    @property
    def _constructor(self):
        return Geo


class GeoSeries(pd.Series):
    _metadata = ["crs"]  # noqa: RUF012  # without the name, which pandas has there


class Own(pd.DataFrame):
    def __setstate__(self, state):
        super().__setstate__(state)
        object.__setattr__(self, "restored", True)


class OwnIndex(pd.Index):
    pass


@dataclass
class Holder:
    table: Any
    label: str


TIMES = pd.date_range("2020", periods=N, freq="h", tz="Europe/Berlin")
INDEXES = {
    "range": pd.RangeIndex(3, 99, 4, name="r"),
    "empty range": pd.RangeIndex(0),
    "int": pd.Index(np.arange(N), name=("a", 1)),
    "small ints": pd.Index(np.arange(N, dtype="i2")),
    "float": pd.Index(np.arange(N) * 0.5),
    "bool": pd.Index([True, False]),
    "complex": pd.Index([1j, 2]),
    "object": pd.Index([1, "a", None, (1, 2)], dtype=object),
    "tuples": pd.Index([(1, 2), (3, 4)], tupleize_cols=False),
    "strings as objects": pd.Index(["a", "b"], dtype=object),
    "strings": pd.Index(["a", "ü", "b"], name="s"),
    "string": pd.Index(["a", None], dtype="string"),
    "Int64": pd.Index([1, None], dtype="Int64"),
    "arrow": pd.Index([1, None], dtype="int64[pyarrow]"),
    "times": TIMES,
    "times without freq": TIMES[[0, 5, 7]],
    "naive": pd.date_range("2020", periods=N, freq="min", name="t"),
    "business days": pd.bdate_range("2020", periods=5, freq="C", holidays=["2020-01-01"]),
    "seconds": pd.date_range("2020", periods=3, freq="D", unit="s"),
    "reversed": TIMES[::-1],
    "step": TIMES[::3],
    "timedeltas": pd.timedelta_range(0, periods=N, freq="3s"),
    "timedeltas without freq": pd.TimedeltaIndex([pd.Timedelta(1), pd.NaT]),
    "periods": pd.period_range("2020", periods=N, freq="M"),
    "intervals": pd.interval_range(0, N, closed="both", name="i"),
    "intervals of times": pd.interval_range(TIMES[0], TIMES[9], freq="h"),
    "categories": pd.CategoricalIndex(["a", "b", "a", None], ["b", "a"], ordered=True),
    "multi": pd.MultiIndex.from_product([["x", "y"], TIMES[:3]], names=["l", None]),
    "multi sorted": pd.MultiIndex([[1, 2], [3, 4]], [[0, 1], [1, -1]], sortorder=0),
    "multi sliced": pd.MultiIndex.from_product([range(100), range(100)])[7:],
    "empty": pd.Index([]),
    "empty times": pd.DatetimeIndex([], tz="UTC"),
    "empty multi": pd.MultiIndex.from_arrays([[], []]),
}
MIXED = pd.DataFrame(
    {
        "f": np.arange(N) * 0.5,
        "i": np.arange(N),
        "g": np.arange(N) * 0.25,
        "s": [f"é{i}" for i in range(N)],
        "t": TIMES.tz_localize(None),
        "d": pd.timedelta_range(0, periods=N, freq="s"),
        "z": TIMES,
        "y": TIMES + pd.Timedelta(1, "h"),
        "c": pd.Categorical(["a", "b"] * (N // 2), ordered=True),
        "p": pd.period_range("2020", periods=N, freq="D"),
        "v": pd.interval_range(0, N),
        "m": pd.array([1, None] * (N // 2), dtype="Int64"),
        "o": pd.Series([1, "a"] * (N // 2), dtype=object),
    }
)
FRAMES = {
    "floats": pd.DataFrame(np.random.default_rng(0).random((N, 10))),
    "by columns": pd.DataFrame(np.asfortranarray(np.random.default_rng(0).random((N, 3)))),
    "mixed": MIXED,
    "mixed rows": MIXED[5:150],
    "every second row": MIXED[::2],
    "backwards": MIXED[::-1],
    "some columns": MIXED[["z", "f", "o"]],
    "no rows": MIXED[:0],
    "no columns": MIXED[[]],
    "nothing": pd.DataFrame(),
    "duplicate columns": pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=["a", "a", "b"]),
    "any hashable": pd.DataFrame([[1, 2.0, "x", None]], columns=[1, "a", (2, 3), None]),
    "columns of two levels": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    "wide": pd.DataFrame(np.zeros((2, 3000))),
    "times by rows": pd.DataFrame({"a": TIMES, "b": TIMES}).T,
    "indexed": pd.DataFrame({"a": np.arange(N)}, index=TIMES),
    "unsorted blocks": pd.DataFrame({"a": [1], "b": [1.0], "c": [2], "d": [2.0], "e": [3.0], "f": [3]}),
    "not consolidated": pd.concat([pd.DataFrame({i: [1.0]}) for i in range(3)], axis=1),
    "single": pd.DataFrame(np.zeros((3, 1), "f4")),
    "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}),
    "arrow": pd.DataFrame({"a": pd.array([[1], None], dtype=pd.ArrowDtype(arrow.pa.list_(arrow.pa.int8())))}),
}
SERIES = {
    **{f"column {name}": MIXED[name] for name in MIXED},
    **{f"slice of column {name}": MIXED[name][5:500] for name in MIXED},
    "named": pd.Series([1.0], name=("a", 1)),
    "strings as objects": pd.Series(["a", "b"], dtype=object),
    "dates as objects": pd.Series([pd.Timestamp("2020"), pd.NaT], dtype=object),
    "strings": pd.Series(["a", None]),
    "empty": pd.Series([], dtype="f8"),
    "empty objects": pd.Series([], dtype=object),
    "indexed by times": pd.Series(np.arange(N), TIMES),
    "every third": pd.Series(np.arange(N))[::3],
    "seconds": pd.Series(np.arange(N).astype("M8[s]")),
    "complex": pd.Series([1j]),
    "duplicate labels": pd.Series([1, 2], index=["a", "a"]),
}


# Everything arrives equal


@pytest.mark.parametrize("memory", [bytearray, bytes])
@pytest.mark.parametrize("name", INDEXES)
def test_every_index_arrives(name, memory):
    assert_equal(transferred(INDEXES[name], memory), INDEXES[name])
    frame = pd.DataFrame({"a": range(len(INDEXES[name]))}, index=INDEXES[name])
    assert_equal(transferred(frame, memory), frame)


@pytest.mark.parametrize("memory", [bytearray, bytes])
@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_arrives(name, memory):
    assert_equal(transferred(FRAMES[name], memory), FRAMES[name])


@pytest.mark.parametrize("memory", [bytearray, bytes])
@pytest.mark.parametrize("name", SERIES)
def test_every_series_arrives(name, memory):
    assert_equal(transferred(SERIES[name], memory), SERIES[name])


def test_no_module_of_pandas_is_named():
    message = [list(INDEXES.values()), list(FRAMES.values()), list(SERIES.values())]
    dates = FRAMES["any hashable"], SERIES["dates as objects"]
    # Timestamps by themselves are pandas' own.
    for obj in (obj for kind in message for obj in kind if all(obj is not other for other in dates)):
        assert not [name for name in names(dumps(obj)) if name.startswith("pandas.")]


@pytest.mark.parametrize(
    "obj",
    [
        pd.Timestamp("2020", tz="Europe/Berlin"),
        pd.Timestamp("2020").as_unit("s"),
        pd.Timedelta(5, "ms"),
        pd.Period("2020", "M"),
        pd.Interval(0, 1, closed="both"),
        pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")),
    ],
    ids=repr,
)
def test_scalars_arrive(obj):
    back = transferred({"a": [obj]})["a"][0]
    assert back == obj
    assert type(back) is type(obj)
    assert repr(back) == repr(obj)


def test_singletons_stay_single():
    assert transferred([pd.NaT, pd.NA])[0] is pd.NaT
    assert transferred([pd.NaT, pd.NA])[1] is pd.NA


def test_what_pandas_makes_of_frames_travels_its_own_way():
    grouped = MIXED.groupby("c", observed=True)[["f", "i"]]
    pd.testing.assert_frame_equal(transferred(grouped).sum(), grouped.sum())
    rolling = MIXED["f"].rolling(5)
    pd.testing.assert_series_equal(transferred(rolling).sum(), rolling.sum())
    derived = OwnIndex._simple_new(np.arange(3), "n")
    assert transferred(derived).equals(derived)  # pandas' own way loses the class


# Without copies


@pytest.mark.parametrize("columns", [["f"], ["i"], ["t"], ["d"], ["z"], ["p"], ["m"], ["c"]])
def test_blocks_travel_from_their_memory_into_their_memory(columns):
    frame = MIXED[columns].copy()
    frames = dumps(frame)
    memory = memory_of(frame)
    assert np.shares_memory(memory, frames[2])
    arrived = received(frames)
    back = loads(arrived)
    assert np.shares_memory(memory_of(back), np.frombuffer(arrived[2], np.uint8))
    assert memory_of(back).flags.writeable
    assert not memory_of(loads(received(frames, bytes))).flags.writeable
    assert not memory_of(loads(received(frames), writable=False)).flags.writeable
    assert memory_of(loads(received(frames, bytes), writable=True)).flags.writeable


def memory_of(frame):
    values = frame._mgr.blocks[0].values  # noqa: PD011  # of a block
    return getattr(values, "_data", None) if hasattr(values, "_mask") else getattr(values, "_ndarray", values)


@pytest.mark.parametrize("index", [INDEXES["int"], TIMES, INDEXES["periods"], INDEXES["timedeltas"]])
def test_indexes_travel_from_their_memory_into_their_memory(index):
    frames = dumps(index)
    assert shipped(frames) == index.nbytes
    assert np.shares_memory(getattr(index._data, "_ndarray", index._data), frames[2])
    arrived = received(frames)
    back = loads(arrived)
    assert np.shares_memory(getattr(back._data, "_ndarray", back._data), np.frombuffer(arrived[2], np.uint8))


def test_writing_to_what_arrived_works():
    back = transferred(MIXED)
    back.loc[3, "f"] = -1.0
    back.iloc[4, 4] = pd.Timestamp("1999")
    back["new"] = 1
    del back["i"]
    assert back.loc[3, "f"] == -1
    assert back.loc[4, "t"] == pd.Timestamp("1999")
    assert MIXED.loc[3, "f"] == 1.5


def test_large_frames_are_little_more_than_their_data():
    rows = 100_000
    frame = pd.DataFrame({"f": np.arange(rows * 1.0), "t": pd.date_range("2020", periods=rows, freq="s")})
    frame = frame.assign(s=pd.Series([f"text {i}" for i in range(rows)], dtype="string[pyarrow]"), c=frame.f)
    frames = dumps(frame)
    data = frame.memory_usage(index=False).sum()
    assert shipped(frames) <= 1.05 * data
    assert frames[1].nbytes <= 8192
    assert_equal(loads(received(frames)), frame)


# Slices ship what they show


@pytest.mark.parametrize("rows", [10, 3000])
@pytest.mark.parametrize("dtype", ["u8", "M8[ns]", "Float64", "datetime64[ns, UTC]", "uint64[pyarrow]"])
def test_what_a_slice_leaves_out_never_leaves(rows, dtype):
    numbers = np.full((N, 3), SECRET, np.uint64)
    numbers[5 : 5 + rows, :2] = np.arange(2 * rows).reshape(rows, 2)
    frame = pd.DataFrame(numbers.view("f8") if dtype == "Float64" else numbers, columns=["a", "b", "c"]).astype(dtype)
    assert holds_secret(dumps(frame))  # the search finds what is there
    for part in (frame[["a", "b"]][5 : 5 + rows], frame.iloc[5 : 5 + rows, :2], frame["a"][5 : 5 + rows]):
        frames = dumps(part)
        assert not holds_secret(frames)
        assert shipped(frames) <= 1.05 * np.sum(part.memory_usage())
        assert_equal(loads(received(frames)), part)


@pytest.mark.parametrize("dtype", ["string[pyarrow]", "string[python]", object, None])
def test_strings_that_a_slice_leaves_out_never_leave(dtype):
    series = pd.Series(["secret"] * N + ["open"] * 3000, dtype=dtype)
    part = series[N:]
    frames = dumps(part)
    assert b"secret" in b"".join(dumps(series))
    assert b"secret" not in b"".join(frames)
    assert_equal(loads(received(frames)), part)


def test_every_second_row_ships_half():
    frame = pd.DataFrame(np.zeros((N, 4)))
    assert shipped(dumps(frame[::2])) == N * 4 * 8 // 2
    assert shipped(dumps(frame[5:15])) == 0  # in the pickle stream
    assert shipped(dumps(frame[500:1500])) == 1000 * 4 * 8
    assert shipped(dumps(TIMES[500:1500])) == 8000


# Sharing and identity


def test_memory_that_frames_share_arrives_shared():
    base = np.arange(N * 4.0).reshape(N, 4)
    frame = pd.DataFrame(base, copy=False)
    frames = dumps([base, frame, frame[:2500], frame[1]])
    assert shipped(frames) == base.nbytes
    array, whole, part, column = loads(received(frames))
    assert all(np.shares_memory(array, memory_of(other)) for other in (whole, part))
    assert np.shares_memory(array, column._values)
    assert_equal(part, frame[:2500])


def test_writing_to_what_shares_memory_has_the_effect_that_it_has_here():
    # pandas 3 copies before it writes if it knows that others share the memory, an older one writes through.
    def make():
        frame = pd.DataFrame({"a": np.arange(N * 1.0), "b": np.arange(N * 1.0)})
        index = frame.set_index("a").index
        return [
            frame,
            frame["a"],
            frame.iloc[10:1000],
            frame[:],
            pd.Series(TIMES),
            index,
            pd.Series(index),
            pd.Index(index),
        ]

    def write(parts):
        parts[0].iloc[20, 0] = -1.0
        parts[6].iloc[9] = -3.0
        return parts

    arrived = transferred(sent := make())
    for actual, expected in zip(write(arrived), write(sent), strict=True):
        assert_equal(actual, expected)


def test_a_series_and_its_slice_know_each_other_if_both_arrive():
    series = pd.Series(np.arange(N * 1.0))
    kept, part = series[:], series[:1000]
    assert "rebuild_references" in names(dumps(series))
    alone, (whole, slice_) = transferred(series), transferred([series, part])
    assert not alone._mgr.blocks[0].refs.has_reference()
    assert whole._mgr.blocks[0].refs is slice_._mgr.blocks[0].refs
    assert whole._mgr.blocks[0].refs.has_reference()
    del kept, part
    assert "rebuild_references" not in names(dumps(series))


def test_blocks_of_which_some_share_memory_know_it():
    frame = pd.DataFrame({"a": np.arange(N * 1.0), "b": np.arange(N)})
    column = frame["b"]
    whole, part = transferred([frame, column])
    floats, integers = whole._mgr.blocks
    assert not floats.refs.has_reference()
    assert integers.refs is part._mgr.blocks[0].refs


def test_the_same_object_is_one_object():
    first, second, index, table = transferred([MIXED, MIXED, TIMES, pd.Series(np.arange(N), TIMES)])
    assert first is second
    assert table.index is index


def test_a_frame_may_contain_itself():
    frame = pd.DataFrame({"a": pd.Series([None, 1], dtype=object)})
    memory_of(frame)[0, 0] = frame
    frame.attrs["series"] = pd.Series([None], dtype=object)
    frame.attrs["series"]._values[0] = frame
    back = transferred(frame)
    assert memory_of(back)[0, 0] is back
    assert back.attrs["series"]._values[0] is back


def test_arrays_in_a_column_of_objects_travel_out_of_band():
    frame = pd.DataFrame({"a": [np.arange(1000.0), np.arange(2000.0), None]})
    frames = dumps(frame)
    assert shipped(frames) == 24_000
    back = loads(received(frames))
    assert all(np.array_equal(x, y) for x, y in zip(back["a"][:2], frame["a"][:2], strict=True))
    assert back["a"][2] is None


def test_frames_inside_other_objects_and_beside_code():
    nested = {"a": [Holder(MIXED, "x")], "f": lambda x: x + 1, "s": (MIXED["f"],)}
    back = transferred(nested)
    assert back["f"](1) == 2
    assert_equal(back["a"][0].table, MIXED)
    assert_equal(back["s"][0], MIXED["f"])


# Attributes


@pytest.mark.parametrize("obj", [pd.DataFrame({"a": [1]}), pd.Series([1], name="n")], ids=["frame", "series"])
def test_attrs_and_flags_arrive(obj):
    marked = obj.copy()
    marked.attrs["unit"] = {"length": "m"}
    assert transferred(marked).attrs == {"unit": {"length": "m"}}
    unique = obj.set_flags(allows_duplicate_labels=False)
    back = transferred(unique)
    assert not back.flags.allows_duplicate_labels
    assert_equal(back, unique)
    assert transferred(obj).flags.allows_duplicate_labels
    assert transferred(obj).attrs == {}


def test_subclasses_keep_class_and_attributes():
    geo = Geo({"a": np.arange(N), "t": TIMES})
    geo.crs = "EPSG:4326"
    object.__setattr__(geo, "more", [1])
    geo.attrs["x"] = 1
    back = transferred(geo)
    assert_equal(back, geo)
    assert back.crs == "EPSG:4326"
    assert back.more == [1]
    assert not hasattr(back, "never_set")
    assert type(back[["a"]]) is Geo
    assert np.shares_memory(dumps(geo)[2], geo["a"]._values)
    bare = transferred(Geo({"a": [1]}))
    assert type(bare) is Geo
    assert not hasattr(bare, "crs")
    series = GeoSeries([1, 2], name="n")
    series.crs = "EPSG:1"
    back = transferred(series)
    assert_equal(back, series)
    assert (back.crs, back.name) == ("EPSG:1", "n")
    assert back._metadata == ["crs"]
    assert "_metadata" not in vars(back)


def test_a_subclass_that_pickles_itself_is_left_to_do_so():
    back = transferred(Own(MIXED))
    assert back.restored
    assert_equal(back, Own(MIXED))


def test_attributes_arrive_but_what_pandas_caches_does_not():
    series = pd.Series(["a"])
    object.__setattr__(series, "note", "kept")
    assert series.str.upper()[0] == "A"
    back = transferred(series)
    assert back.note == "kept"
    assert "str" not in vars(back)


# Versions


def test_frames_are_the_same_without_the_function_of_pandas_3(monkeypatch):
    for frame in FRAMES.values():
        monkeypatch.setattr(reducers, "_assemble", reducers._assemble_by_state)
        assert_equal(transferred(frame), frame)


def test_another_manager_is_left_to_pandas(monkeypatch):
    monkeypatch.setattr(reducers, "_BlockManager", int)
    reduced = reducers.reduce_frame(MIXED)
    assert reduced[0] is not reducers.rebuild_frame


def test_times_keep_their_freq_where_the_receivers_pandas_has_it():
    for index in (TIMES, INDEXES["timedeltas"], TIMES[::-1]):
        back = transferred([index, index.array])
        assert back[0].freq == index.freq
        assert getattr(back[1], "_freq", None) == getattr(index.array, "_freq", None)


@pytest.mark.parametrize("name", ["python", "pyarrow"])
def test_another_process_rebuilds_what_it_never_imported(tmp_path, name):
    message = [MIXED.assign(x=pd.Series(["a"] * N, dtype=f"string[{name}]")), TIMES, pd.Series([1], name="a")]
    for i, frame in enumerate(dumps(message)):
        (tmp_path / f"{i:03}").write_bytes(frame)
    code = """
        import pathlib, sys
        from oobcodec.codec import loads
        assert "pandas" not in sys.modules
        frames = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[1]).iterdir())]
        frame, times, series = loads(frames)
        print(frame.x.dtype, frame.f.sum(), frame.z.iloc[-1], times.freqstr, series.name)
    """
    expected = f"string {MIXED.f.sum()} {MIXED.z.iloc[-1]} h a"
    assert run_python(code, tmp_path).decode().strip() == expected


def test_a_subclass_arrives_in_a_process_that_can_import_it(tmp_path):
    write_module(tmp_path, "geography", "import pandas\nclass Table(pandas.DataFrame):\n    _metadata = ['crs']\n")
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        import geography
        from oobcodec.codec import dumps, loads
        table = geography.Table({"a": [1.5]})
        table.crs = 5
        back = loads([bytes(frame) for frame in dumps(table)])
        print(type(back).__qualname__, back.crs, back.a[0])
    """
    assert run_python(code, tmp_path).decode().split() == ["Table", "5", "1.5"]


def test_registering_twice_changes_nothing():
    known = dict(DEFAULT.frozen)
    reducers.register()
    assert DEFAULT.frozen.keys() == known.keys()
    assert_equal(transferred(MIXED), MIXED)


# Computations to come


class Grouped(pd.api.typing.DataFrameGroupBy):
    pass


def frame_of_groups():
    return pd.DataFrame({"key": [1, 2, 1], "x": [1.0, 2.0, 4.0]}, pd.date_range("2024", periods=3))


@pytest.mark.parametrize(
    "defer",
    [
        lambda frame: frame.groupby("key"),
        lambda frame: frame["x"].groupby(frame["key"]),
        lambda frame: frame.rolling(2),
        lambda frame: frame.expanding(),
        lambda frame: frame.ewm(1),
        lambda frame: frame.resample("2D"),
        lambda frame: frame.groupby("key").rolling(2),
        lambda frame: frame.groupby("key").resample("D"),
    ],
)
def test_computations_to_come_are_the_same_in_the_same_version(defer):
    deferred = defer(frame_of_groups())
    frames = dumps(deferred)
    got = loads(received(frames))
    assert type(got) is type(deferred)
    assert_equal(got.sum(), deferred.sum())
    assert pd.__version__ in names(frames)


@pytest.mark.parametrize("grouper", [pd.Grouper(key="key", sort=True), pd.Grouper(freq="2D")])
def test_groupers_are_the_same_in_the_same_version(grouper):
    got = transferred(grouper)
    assert type(got) is type(grouper)
    assert_equal(frame_of_groups().groupby(got).sum(), frame_of_groups().groupby(grouper).sum())


def test_computations_to_come_of_another_version_are_refused(monkeypatch):
    frames = received(dumps(frame_of_groups().groupby("key")))
    monkeypatch.setattr(pd, "__version__", "2.1.4")
    message = r"a DataFrameGroupBy of pandas \S+ consists of what pandas 2\.1\.4 does not know: use the same version"
    with pytest.raises(DecodeError, match=message):
        loads(frames)


def test_subclasses_of_computations_to_come_go_their_own_way():
    got = transferred(Grouped(frame_of_groups(), "key"))
    assert type(got) is Grouped
    assert got["x"].sum().tolist() == [5, 2]
