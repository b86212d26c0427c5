import dataclasses
import pickle
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from helpers import in_band, received, run_python, transferred, weight

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError, EncodeError
from oobcodec.reducers import arrow
from oobcodec.reducers import polars as reducers

arrow.register()
reducers.register()


class Prices(pl.DataFrame):
    pass


class Signal(pl.Series):
    pass


@dataclasses.dataclass
class Holder:
    frame: Any


BY_ARROW = [
    *(pl.Series("number", [1, None, 3] * 200, kind) for kind in (pl.Int8, pl.UInt64, pl.Float32, pl.Decimal(20, 3))),
    *(pl.Series("time", [1, None, 3] * 200, kind) for kind in (pl.Date, pl.Time, pl.Duration("ms"))),
    pl.Series("zone", [1, None, 3] * 200, pl.Datetime("ns", "Europe/Paris")),
    *(pl.Series(name, ["a", None, "x" * 50] * 99) for name in ("", "^a.*$", "text")),
    pl.Series("bytes", [b"x" * 20, None, b""] * 99),
    pl.Series("truth", [True, None, False] * 99),
    pl.Series("nothing", [None] * 300),
    pl.Series("categories", ["a", None, "b"] * 99, pl.Categorical),
    pl.Series("enum", ["a", None, "b"] * 99, pl.Enum(["b", "a", "c"])),
    pl.Series("lists", [[[1], None], None, [], [[]]] * 99),
    pl.Series("arrays", [[[1, 2], [3, 4]], None] * 99, pl.Array(pl.Int64, (2, 2))),
    pl.Series("enums", [["a", "b"], None, []] * 99, pl.List(pl.Enum(["a", "b"]))),
    pl.Series("lists of categories", [["a", "b"], None, []] * 99, pl.List(pl.Categorical)),
    pl.Series("lists of nothing", [[None], [], None], pl.List(pl.Null)),
    pl.Series("structures", [{"a": 1, "b": "x", "c": [1]}, None, {"a": None, "b": None, "c": None}] * 99),
    pl.Series("empty structures", [{}, {}], pl.Struct({})),
    pl.Series("empty", [], pl.List(pl.String)),
    pl.Series("no categories", [None], pl.Enum([])),
]
BY_POLARS = [
    pl.Series("large", [2**100, None] * 99, pl.Int128),
    pl.Series("lists of large", [[2**100], None] * 99, pl.List(pl.Int128)),
]


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    assert actual.equals(expected, null_equal=True)
    if isinstance(expected, pl.Series):
        assert actual.name == expected.name
        actual, expected = actual.to_frame(), expected.to_frame()
    assert actual.schema == expected.schema
    assert actual.to_dict(as_series=False) == expected.to_dict(as_series=False)
    for name, flags in expected.flags.items():
        for flag in ("SORTED_ASC", "SORTED_DESC"):
            assert actual.flags[name][flag] == flags[flag]


@pytest.mark.parametrize("series", [*BY_ARROW, *BY_POLARS], ids=lambda series: f"{series.name} {series.dtype}"[:40])
@pytest.mark.parametrize("memory", [bytearray, bytes])
def test_every_type_whole_sliced_and_in_chunks(series, memory):
    pieces = [series, series[1:8], series[:0], series[-1:], pl.concat([series, series], rechunk=False)]
    for piece in pieces:
        assert_same(transferred(piece, memory), piece)
        assert_same(transferred(piece.to_frame(), memory), piece.to_frame())


def test_which_types_arrow_carries():
    assert all(reducers.reduce_series(series)[0] is reducers.rebuild_series for series in BY_ARROW)
    assert all(reducers.reduce_frame(series.to_frame())[0] is reducers.rebuild_frame for series in BY_ARROW)
    assert all(reducers.reduce_series(series)[0] is not reducers.rebuild_series for series in BY_POLARS)
    assert all(reducers.reduce_frame(series.to_frame())[0] is not reducers.rebuild_frame for series in BY_POLARS)
    for dtype in (pl.Object(), pl.Array(pl.Int8, 0)):
        assert not reducers._is_carried(dtype)


@pytest.mark.parametrize("memory", [bytearray, bytes])
def test_python_objects_are_not_turned_into_bytes(memory):
    array = np.arange(1000.0)
    series = pl.Series("objects", [{"a": array}, None, array, "text"], pl.Object)
    for one in (series, pl.DataFrame([pl.Series("n", [1, 2, 3, 4]), series]), series[1:3], series.clear()):
        got = transferred(one, memory)
        assert (type(got), got.shape) == (type(one), one.shape)
        columns = zip(*[each.to_frame() if isinstance(each, pl.Series) else each for each in (got, one)], strict=True)
        for actual, expected in columns:
            assert (actual.name, actual.dtype, len(actual)) == (expected.name, expected.dtype, len(expected))
    first, nothing, again, text = transferred(series, memory).to_list()
    assert (nothing, text) == (None, "text")
    assert again is first["a"]
    np.testing.assert_array_equal(again, array)
    assert again.flags.writeable is (memory is bytearray)
    assert in_band(dumps(series)) < 500


def test_type_that_polars_does_not_read_of_nothing_is_left_to_it(monkeypatch):
    def panic(series, state):
        raise pl.exceptions.ComputeError

    monkeypatch.setattr(pl.Series, "__setstate__", panic)
    assert reducers._is_pickled.__wrapped__(pl.List(pl.Categorical))


@pytest.mark.parametrize("name", ["a\0b", "\0"])
def test_names_that_arrow_does_not_carry(name):
    for series in (pl.Series(name, [1, 2]).set_sorted(), pl.Series(name, [2**100], pl.Int128)):
        for obj in (series, series.to_frame(), pl.DataFrame([series, pl.Series("x", [1.5] * len(series))])):
            assert_same(transferred(obj), obj)
    structure = pl.Series("s", [{name: 1}, None])
    assert_same(transferred(structure), structure)


def test_where_polars_panics_nothing_is_sent():
    far = pl.Series("when", [2**62]).cast(pl.Datetime("ms"))
    panics = pl.DataFrame([far, pl.Series("arrays", [[]], pl.Array(pl.Int8, 0))]).to_struct("both")
    for obj in (panics, panics.to_frame()):
        with pytest.raises(EncodeError, match=r"polars panics over this Series: .*overflowed"):
            dumps(obj)


WIDTHLESS = [
    pl.Series("^arrays$", [[], None] * 9, pl.Array(pl.Int8, 0)),
    pl.Series("lists", [[[]], None, []], pl.List(pl.Array(pl.String, (0, 3)))),
    pl.Series("structures", [{"a": [[], []]}, None], pl.Struct({"a": pl.Array(pl.Array(pl.Int8, 0), 2)})),
]


@pytest.mark.parametrize("series", WIDTHLESS, ids=lambda series: series.name)
def test_what_polars_writes_and_cannot_read(series):
    with pytest.raises((pl.exceptions.ComputeError, pl.exceptions.PanicException)):
        pickle.loads(pickle.dumps(series))
    beside = pl.Series("beside", [1.5] * len(series)).set_sorted()
    for piece in (series, series[1:], series[:0]):
        back = transferred(piece)
        assert (back.name, back.dtype, back.to_list()) == (piece.name, piece.dtype, piece.to_list())
        frame = pl.DataFrame([piece, beside[: len(piece)]])
        back = transferred(frame)
        assert back.schema == frame.schema
        assert back.rows() == frame.rows()
        assert back["beside"].flags == frame["beside"].flags


def test_columns_beside_those_that_arrow_cannot_carry():
    frame = pl.DataFrame([pl.Series("wide", [2**100] * 5000, pl.Int128), pl.Series("x", [1.5] * 5000)])
    frames = dumps(frame)
    assert frame["x"].to_arrow().buffers()[1].address in {pa.py_buffer(part).address for part in frames}
    assert_same(loads(received(frames)), frame)


def test_attributes_arrive():
    prices = Prices({"price": [1.5, 2.5]})
    wide, narrow = BY_POLARS[0].clone(), pl.DataFrame({"x": [1.5, 2.5]})
    for obj in (prices, Signal("volts", [1.5, 2.5]), wide, narrow, narrow["x"], pl.DataFrame()):
        obj.unit = ["EUR", obj]
        back = transferred(obj)
        assert_same(back, obj)
        assert vars(back).keys() == vars(obj).keys()
        assert back.unit[0] == "EUR"
        assert back.unit[1] is back


def test_frames():
    columns = {series.name: series.head(3) for series in [*BY_ARROW, BY_POLARS[0]] if len(series) > 2}
    frame = pl.DataFrame(list(columns.values()))
    assert_same(transferred(frame), frame)
    assert_same(transferred(frame.drop("large")), frame.drop("large"))
    for empty in (pl.DataFrame(), frame.select([]), frame.clear()):
        assert_same(transferred(empty), empty)
    back = transferred({"nested": [Holder(frame), lambda: 0, frame["text"]]})
    assert_same(back["nested"][0].frame, frame)
    assert_same(back["nested"][2], frame["text"])


def test_subclasses_keep_their_class():
    prices = Prices({"price": [1.5, 2.5]})
    back = transferred(prices)
    assert type(back) is Prices
    assert back.equals(prices)


def test_what_is_known_to_be_sorted():
    up, down = pl.Series("^u$", [1, 2, 3]).set_sorted(), pl.Series("down", [3, 2, 1]).set_sorted(descending=True)
    frame = pl.DataFrame([up, down, pl.Series("plain", [1, 3, 2])])
    for obj in (up, down, frame, pl.concat([up, up + 2], rechunk=False).set_sorted()):
        assert_same(transferred(obj), obj)


def test_nothing_is_copied():
    series = pl.Series("x", [1.5, 2.5] * 5000)
    start = series.to_arrow().buffers()[1].address
    frames = dumps([series, series.to_frame(), series[10:9000]])
    assert len(frames) == 3
    assert pa.py_buffer(frames[2]).address == start
    arrived = received(frames)
    for back in loads(arrived)[:2]:
        column = back if isinstance(back, pl.Series) else back["x"]
        assert column.to_arrow().buffers()[1].address == pa.py_buffer(arrived[2]).address
    chunks = pl.concat([series, series], rechunk=False)
    assert transferred(chunks).n_chunks() == 2


def test_ten_rows_of_a_million():
    texts = pl.Series("s", [f"a text that is long {i}" for i in range(1_000_000)])
    frame = pl.DataFrame([texts, pl.Series("f", [1.5] * 1_000_000)])
    assert weight(dumps(frame[500_001:500_011])) <= 4096
    assert weight(dumps(frame.filter(pl.col("s") == "a text that is long 7"))) <= 4096
    held = frame.to_arrow(compat_level=pl.CompatLevel.newest()).nbytes
    assert weight(dumps(frame)) <= 1.05 * held
    assert dumps(frame)[1].nbytes <= 8192


def test_few_of_many_categories():
    many = pl.Series("c", [f"category {i}" for i in range(50_000)], pl.Categorical)
    assert_same(transferred(many), many)
    assert weight(dumps(many[100:110])) <= 4096


PLANS = [
    pl.col("a") + 1,
    pl.selectors.numeric() | pl.selectors.by_name("b"),
    pl.when(pl.col("a") > 1).then(1).otherwise(2),
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_expressions(plan):
    back = transferred(plan)
    assert type(back) is type(plan)
    frame = pl.DataFrame({"a": [1, 2], "b": [3, 4], "c": ["x", "y"]})
    assert frame.select(back).equals(frame.select(plan))


def test_lazy_frames():
    lazy = pl.LazyFrame({"a": [1, 2, 3]}).filter(pl.col("a") > 1)
    assert transferred(lazy).collect().equals(lazy.collect())


def test_plans_of_another_version_are_refused():
    for plan, name in ((pl.col("a"), "Expr"), (pl.LazyFrame({"a": [1]}), "LazyFrame")):
        rebuild, (found, version, state) = reducers.reduce_plan(plan)
        assert (found, version) == (name, pl.__version__)
        with pytest.raises(DecodeError, match=rf"{name} of polars 1\.20\.0 .* polars {pl.__version__}"):
            rebuild(name, "1.20.0", state)


def test_without_arrow():
    script = """
        import sys
        sys.modules["pyarrow"] = None
        import polars as pl
        from oobcodec.codec import dumps, loads
        from oobcodec.reducers import polars
        polars.register()
        frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
        assert loads(dumps(frame)).equals(frame)
        assert loads(dumps(frame["b"])).equals(frame["b"], null_equal=True)
        assert polars.reduce_frame(frame)[0] is not polars.rebuild_frame
    """
    run_python(script)


def test_another_process_rebuilds_what_it_never_imported(tmp_path):
    series = pl.Series("lists", [["a", "b"], None, []] * 99, pl.List(pl.Categorical))
    frame = pl.DataFrame([series, series.alias("again")])
    for i, part in enumerate(dumps([frame, frame["again"], pl.col("a")])):
        (tmp_path / str(i)).write_bytes(part)
    script = """
        import pathlib, sys
        from oobcodec.codec import loads
        assert "polars" not in sys.modules
        paths = sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda path: int(path.name))
        frame, series, _ = loads([path.read_bytes() for path in paths])
        print(frame.shape, series[0].to_list())
    """
    assert run_python(script, tmp_path).decode() == "(297, 2) ['a', 'b']\n"


# What not all versions have

YOUNG = [
    *[pl.Series("f", [1.5, None], pl.Float16) for _ in range(hasattr(pl, "Float16"))],
    *[pl.Series("u", [2**127, None], pl.UInt128) for _ in range(hasattr(pl, "UInt128"))],
    *[pl.Series("l", [[2**127], []], pl.List(pl.UInt128)) for _ in range(hasattr(pl, "UInt128"))],
    *[pl.Series("s", [{"f": 1.5}], pl.Struct({"f": pl.Float16})) for _ in range(hasattr(pl, "Float16"))],
    *[pl.Series("z", [{"f\0": 1.5}], pl.Struct({"f\0": pl.Float16})) for _ in range(hasattr(pl, "Float16"))],
    *[pl.Series("c", ["a"], pl.Categorical(pl.Categories("mine"))) for _ in range(hasattr(pl, "Categories"))],
]


@pytest.mark.parametrize("series", YOUNG, ids=str)
@pytest.mark.parametrize("obj", [lambda series: series, pl.Series.to_frame], ids=["series", "frame"])
def test_a_type_that_not_all_versions_have_needs_one_that_has_it(obj, series, monkeypatch):
    sent = obj(series)
    frames = received(dumps(sent))
    assert loads(frames).equals(sent, null_equal=True)
    (name,) = reducers._younger(series.dtype)
    monkeypatch.delattr(pl, name)
    message = rf"polars \S+ has no {name}: install polars {pl.__version__}, as the sender has"
    with pytest.raises(DecodeError, match=message):
        loads(frames)


def test_types_that_all_versions_have_need_nothing():
    nested = pl.Struct({"a": pl.List(pl.Categorical), "b": pl.Array(pl.Int128, 2), "t": pl.Time})
    for dtype in (nested, pl.Time(), pl.Time, pl.Enum(["a"]), pl.Datetime("ms", "UTC")):
        assert not reducers._younger(dtype)


def test_rows_without_columns():
    assert transferred(pl.DataFrame(height=7)).height == 7
    with pytest.raises(DecodeError, match=r"polars \S+ has no rows without columns: install polars 9\.9\.9, as the"):
        reducers.rebuild_rows("seven", "9.9.9")  # as wrong for this version as any number is for early ones
