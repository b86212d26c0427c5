import struct
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conformance.comparison import Comparison
from conformance.table import cases
from guarding import arrived, limited
from helpers import run_python

from oobcodec.errors import DecodeError, LimitError, PolicyError
from oobcodec.guards import arrow
from oobcodec.guards import polars as guards
from oobcodec.names import Name
from oobcodec.reducers import polars as reducers

reducers.register()

CASES = cases("polars")
PLANS = {"expressions", "selectors", "LazyFrame"}
NESTED = reducers._is_wide(pl.List(pl.Int128))
"""Whether this polars takes 128-bit integers in other types from Arrow."""
PICKLED = {
    *(() if NESTED else ("List(Int128)", "DataFrame of everything")),
    *({"List(Categorical)"} if not hasattr(pl, "Categories") else ()),
}
CODE = {"subclass with an attribute"}
GUARDS = {name.partition(":")[2]: guard for name, guard in guards.GUARDS.items()}
VIEWS = hasattr(pa.DataType, "has_variadic_buffers")
TEXT = pa.string_view() if VIEWS else pa.large_string()
TABLE = pa.table({"x": [1.5, None], "n": [1, 2]})
OBJECT = Name("polars.datatypes.classes", "Object")
REFUSED = (DecodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError, LookupError)


# What arrives


@pytest.mark.parametrize("name", sorted(CASES.keys() - PLANS - PICKLED - CODE))
def test_data_arrives_as_it_left(name):
    sent = CASES[name].make()
    assert not Comparison(arrived(sent), sent).lost


@pytest.mark.parametrize("name", sorted(CODE & CASES.keys()))
def test_classes_are_refused(name):
    with pytest.raises(PolicyError):
        arrived(CASES[name].make())


@pytest.mark.parametrize("sent", [pl.Series([{"a\0b": 1}]), *[CASES[name].make() for name in sorted(PICKLED)]], ids=str)
def test_what_polars_pickles_in_its_own_way_is_refused(sent):
    with pytest.raises(PolicyError, match="a state of polars' own"):
        arrived(sent)


@pytest.mark.parametrize("name", sorted(PLANS & CASES.keys()))
def test_plans_are_refused(name):
    with pytest.raises(PolicyError, match="Let the sender collect it"):
        arrived(CASES[name].make())


def test_states_of_frames_are_refused():
    with pytest.raises(PolicyError, match="a state of polars' own"):
        GUARDS["rebuild_pickled"](Name("polars.dataframe.frame", "DataFrame"), None)
    frame = GUARDS["DataFrame"]()
    guards.STATES[pl.DataFrame](frame, pl.DataFrame().__getstate__())
    assert frame.equals(pl.DataFrame())
    for state in (pl.DataFrame({"x": [1]}).__getstate__(), b"", None, [], bytearray(pl.DataFrame().__getstate__())):
        with pytest.raises(PolicyError, match="a state of polars' own"):
            guards.STATES[pl.DataFrame](frame, state)


# Tables


def test_frames_and_series_have_the_orders_that_they_have():
    got = GUARDS["rebuild_frame"](pa.table({"up": [1, 2, 3], "down": [3, 2, 1], "neither": [1, 2, 3]}), ["a", "d", ""])
    flags = [{name for name, is_set in column.flags.items() if is_set} for column in got]
    assert flags == [{"SORTED_ASC"}, {"SORTED_DESC"}, set()]


@pytest.mark.parametrize(
    ("elements", "order"),
    [
        ([1, 3, 2], "a"),
        ([1, 3, 2], "d"),
        ([1, 2, 3], "d"),
        ([1, None, 2], "a"),
        ([1.0, float("nan"), 2.0], "a"),
        (["b", "a"], "a"),
        ([[2], [1]], "a"),
        ([{"a": 2}, {"a": 1}], "a"),
    ],
)
def test_orders_that_are_not_true_are_forgotten(elements, order):
    table = pl.DataFrame({"x": elements}).to_arrow(compat_level=reducers._LEVEL)
    got = GUARDS["rebuild_series"](table, order)
    assert not any(flag for name, flag in got.flags.items() if name != "FAST_EXPLODE")
    assert got.to_list()[0] == elements[0]


def test_what_has_no_order_has_none(monkeypatch):
    def fails(*_, **__):
        raise pl.exceptions.InvalidOperationError

    monkeypatch.setattr(pl.Series, "is_sorted", fails)
    assert not GUARDS["rebuild_series"](pa.table({"x": [1, 2]}), "a").flags["SORTED_ASC"]


@pytest.mark.parametrize(
    "arguments",
    [
        (None, ["", ""]),
        (pl.DataFrame({"x": [1]}), [""]),
        (TABLE.to_batches()[0], ["", ""]),
        (TABLE.select([]), []),
        (TABLE, None),
        (TABLE, "ad"),
        (TABLE, ["", "", ""]),
        (TABLE, ["", 1]),
        (TABLE, ["", "x"]),
        (TABLE, ["", ""], 5),
        (TABLE, ["", ""], ("1.0",)),
        (TABLE, ["", ""], (1, [])),
        (TABLE, ["", ""], ("1.0", "Int8")),
        (TABLE, ["", ""], ("1.0", [5])),
        (TABLE, ["", ""], ("1.0", ["NoSuch"])),
    ],
)
def test_what_is_no_frame_is_refused(arguments):
    with pytest.raises(REFUSED):
        GUARDS["rebuild_frame"](*arguments)


def test_what_a_frame_needs_may_be_here():
    assert GUARDS["rebuild_frame"](TABLE, ["", ""], ("1.0", ["Int8"])).height == 2


def test_frames_have_as_many_rows_as_polars_counts(monkeypatch):
    monkeypatch.setattr(guards, "_MOST_ROWS", 1)
    with pytest.raises(DecodeError, match="as many rows"):
        GUARDS["rebuild_frame"](TABLE, ["", ""])


@pytest.mark.parametrize(
    "data_type",
    [
        *(pa.string(), pa.list_(pa.int8()), pa.list_(pa.int8(), 0), pa.large_list(pa.string()), pa.decimal256(50, 2)),
        *(pa.binary(2), pa.date64(), pa.time32("s"), pa.month_day_nano_interval(), pa.map_(pa.int8(), pa.int8())),
        *(pa.struct([("x", pa.binary(2))]), pa.dictionary(pa.int8(), pa.int8()), pa.list_(pa.binary(2), 2)),
        *(pa.dense_union([pa.field("x", pa.int8())]), pa.run_end_encoded(pa.int16(), pa.int8())),
        pa.fixed_shape_tensor(pa.int8(), (2,)),
    ],
    ids=str,
)
def test_types_that_polars_makes_nothing_of_are_refused(data_type):
    table = pa.Table.from_arrays([pa.chunked_array([], data_type)], names=["x"])
    with pytest.raises(DecodeError, match=r"a column has a type|an array has elements|categories are text"):
        GUARDS["rebuild_frame"](table, [""])


def hidden(*buffers):
    """Return a table of a text of a null, as a message has it."""
    schema = pa.schema([("x", TEXT)])
    return arrow.GUARDS["oobcodec.reducers.arrow:rebuild_table"](schema, [[(1, (b"\0", *buffers))]], sys.byteorder)


def test_what_a_null_hides_is_text_too():
    """Polars crashes over some of it."""
    if VIEWS:
        wild = struct.pack("=i4sii", 13, b"xxxx", 9, 1 << 30), b"x" * 13
        foreign = struct.pack("=i4sii", 4, b"\xff" * 4, 0, 0), b""
    else:
        wild = np.array([0, 1 << 40]).tobytes(), b"x"
        foreign = np.array([0, 4]).tobytes(), b"\xff" * 4
    for buffers in (wild, foreign):
        with pytest.raises((pa.ArrowInvalid, pa.ArrowIndexError)):
            hidden(*buffers)


CATEGORIES = pa.array(["a", "b", "c"]).cast(TEXT)
ENUM = b"_PL_ENUM_VALUES2" if VIEWS else b"_PL_ENUM_VALUES"


@pytest.mark.parametrize("metadata", [b"1;a", b"1;z1;y", b"", b"99;a", b"-1;a", b"1;a1;a", b"\xff", b"9" * 50 + b";a"])
def test_categories_are_those_of_the_metadata_or_none(metadata):
    indices = pa.array([0, 1, 2, None], pa.uint8() if VIEWS else pa.uint32())
    column = pa.DictionaryArray.from_arrays(indices, CATEGORIES, ordered=True)
    table = pa.Table.from_arrays([column], schema=pa.schema([pa.field("x", column.type, metadata={ENUM: metadata})]))
    try:
        got = GUARDS["rebuild_series"](table, "")
    except REFUSED:
        return
    assert set(got.to_list()) <= {"a", "b", "c", None}
    assert set(got.cast(pl.String).to_list()) <= {"a", "b", "c", None}


# 128-bit integers


def wide(*values, count=1):
    column = pa.array([value.to_bytes(16, sys.byteorder) for value in values], pa.binary(16))
    return pa.table({f"x{i}": column for i in range(count)})


NEEDS = ("1.0", [])


def test_wide_integers_have_the_order_that_they_have():
    flags = [GUARDS["rebuild_wide"](wide(1, 2, 3), "i", order, NEEDS).flags for order in ("a", "d", "")]
    assert [each["SORTED_ASC"] for each in flags] == [True, False, False]
    assert not any(each["SORTED_DESC"] for each in flags)
    assert GUARDS["rebuild_wide"](wide(3, 2), "i", "d", NEEDS).flags["SORTED_DESC"]


@pytest.mark.parametrize(
    "arguments",
    [
        (None, "i", "", NEEDS),
        (wide(1, count=2), "ii", "", NEEDS),
        (wide(1, count=2), "i", "", NEEDS),
        (TABLE.select(["n"]), "i", "", NEEDS),
        (TABLE.select(["n"]), "", "", NEEDS),
        (wide(1), "", "", NEEDS),
        (wide(1), "ii", "", NEEDS),
        (wide(1), "x", "", NEEDS),
        (wide(1), ["i"], "", NEEDS),
        (wide(1), None, "", NEEDS),
        (wide(1), "i", None, NEEDS),
        (wide(1), "i", "x", NEEDS),
        (wide(1), "i", "", None),
        (wide(1), "i", "", ("1.0",)),
        (wide(1), "i", "", ("1.0", ["NoSuch"])),
        (pa.table({"x": pa.array([b"x" * 16], pa.binary())}), "i", "", NEEDS),
        (pa.table({"x": pa.array([b"x" * 17], pa.binary(17))}), "i", "", NEEDS),
        (pa.table({"x": pa.array([], pa.list_(pa.binary(16), 0))}), "i", "", NEEDS),
        (pa.table({"x": pa.array([], pa.dictionary(pa.int8(), pa.binary(16)))}), "i", "", NEEDS),
    ],
)
def test_what_are_no_wide_integers_is_refused(arguments):
    with pytest.raises(REFUSED):
        GUARDS["rebuild_wide"](*arguments)


def test_wide_integers_are_as_many_as_polars_counts(monkeypatch):
    monkeypatch.setattr(guards, "_MOST_ROWS", 1)
    with pytest.raises(DecodeError, match="as many rows"):
        GUARDS["rebuild_wide"](wide(1, 2), "i", "", NEEDS)


def test_wide_integers_are_no_part_of_a_frame():
    with pytest.raises(DecodeError, match="a type of polars"):
        GUARDS["rebuild_frame"](wide(1), [""])


# Rows, columns and elements


def test_names_that_arrow_does_not_carry_arrive():
    series, frame = pl.Series("a\0b", [1]), pl.DataFrame({"a\0": [1], "b": ["x"]})
    assert arrived(series).name == series.name
    assert arrived(frame).equals(frame)
    for arguments in ((frame, "x"), (series, None), (series, b"x"), (None, "x")):
        with pytest.raises(DecodeError):
            GUARDS["rebuild_renamed"](*arguments)


@pytest.mark.parametrize("arguments", [(-1, "1"), (True, "1"), ("1", "1"), (1 << 70, "1"), (1, None)])
def test_what_are_no_rows_is_refused(arguments):
    with pytest.raises(DecodeError):
        GUARDS["rebuild_rows"](*arguments)


def test_rows_are_memory_that_is_claimed():
    with limited(max_decompressed_bytes=1000), pytest.raises(LimitError, match="max_decompressed_bytes"):
        GUARDS["rebuild_rows"](1001, "1")


def test_columns_are_series_of_one_length():
    x, y = pl.Series("x", [1]), pl.Series("y", [1])
    assert GUARDS["rebuild_columns"]([x, y]).to_dicts() == [{"x": 1, "y": 1}]
    assert GUARDS["rebuild_columns"]([]).shape == (0, 0)
    for columns in (None, (x, y), [x, None], [x, x], [x, pl.Series("z", [1, 2])], [pl.DataFrame()], "x"):
        with pytest.raises(REFUSED):
            GUARDS["rebuild_columns"](columns)


def rebuilt(elements, dtype):
    return GUARDS["rebuild_elements"]("x", elements, dtype)


def test_elements_are_objects():
    elements = [{"a": 1}, None, [1, [2]]]
    for dtype in (OBJECT, pl.Object(), pl.Object):
        got = rebuilt(elements, dtype)
        assert got.dtype == pl.Object
        assert got[2] is elements[2]


def test_elements_of_arrays_without_any_arrive():
    dtype = pl.List(pl.Struct({"a": pl.Array(pl.Int8(), 0), "b": pl.Int8()}))
    elements = [[{"a": [], "b": 1}, {"a": None, "b": None}, None], None, []]
    assert rebuilt(elements, dtype).dtype == dtype


ENDLESS = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("elements", "dtype"),
    [
        (None, OBJECT),
        ((1,), OBJECT),
        ([1], None),
        ([1], "Int8"),
        ([["a"]], pl.List(pl.Object)),
        ([[1]], pl.List(pl.List)),
        ([[1]], pl.List),
        ([1], Name("polars.datatypes.classes", "Int8")),
        ([1], Name("os", "Object")),
        (ENDLESS, pl.List(pl.Array(pl.Int8(), 0))),
        ([5], pl.List(pl.Int8())),
        ([(1,)], pl.List(pl.Int8())),
        ([[]], pl.Array(pl.Int8(), 1)),
        ([[1]], pl.Array(pl.Int8(), 0)),
        ([[[]]], pl.List(pl.Array(pl.Int8(), 1))),
        ([5], pl.Struct({"a": pl.Int8()})),
        ([{"b": 1}], pl.Struct({"a": pl.Int8()})),
        ([object()], pl.Int8()),
        ([["a"]], pl.List(pl.Object())),
        ([[pl.Series([1])]], pl.List(pl.Int8())),
        ([["a"]], pl.List(pl.Enum)),
    ],
)
def test_what_are_no_elements_is_refused(elements, dtype):
    with pytest.raises(REFUSED):
        rebuilt(elements, dtype)


def test_a_series_has_a_name():
    with pytest.raises(DecodeError):
        GUARDS["rebuild_elements"](5, [], OBJECT)


def test_elements_that_only_a_null_stands_for_are_claimed():
    dtype = pl.Array(pl.Array(pl.Array(pl.Int8(), 0), 1 << 20), 1 << 20)
    with limited(), pytest.raises(LimitError):
        rebuilt([None], dtype)


def test_elements_that_are_in_others_many_times_are_counted():
    dtype, elements = pl.Array(pl.Int8(), 0), []
    for _ in range(4):
        dtype, elements = pl.List(dtype), [elements] * 100
    with limited(max_ratio=None), pytest.raises(LimitError, match="max_operations"):
        rebuilt(elements, dtype)


# Attributes


def test_attributes_arrive():
    for obj in (pl.DataFrame({"x": [1]}), pl.Series([1]), pl.Schema()):
        GUARDS["set_attributes"](obj, (None, {"source": ["north"]}))
        assert obj.source == ["north"]


@pytest.mark.parametrize(
    ("obj", "state"),
    [
        ([], (None, {})),
        (pl.LazyFrame(), (None, {})),
        (pl.Series([1]), None),
        (pl.Series([1]), (None,)),
        (pl.Series([1]), (None, [])),
        (pl.Series([1]), (b"", {})),
        (pl.Series([1]), (None, {"_s": 1})),
        (pl.DataFrame(), (None, {"_df": 1})),
        (pl.DataFrame(), (None, {"filter": 1})),
        (pl.DataFrame(), (None, {"__class__": 1})),
        (pl.DataFrame(), (None, {5: 1})),
    ],
)
def test_what_are_no_attributes_is_refused(obj, state):
    with pytest.raises(DecodeError):
        GUARDS["set_attributes"](obj, state)


# What ends the process


def test_damaged_tables_do_not_end_the_process():
    """Each of them is refused, or may be used."""
    survived, refused = map(int, run_python(ATTACK, 300).split())
    assert survived > 50
    assert refused > 50


ATTACK = """
import os, random, resource, sys, warnings
from pickle import PickleBuffer

os.environ["POLARS_MAX_THREADS"] = "2"
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where polars says that it panics

import polars as pl

from oobcodec.context import DEFAULTS, LOADING
from oobcodec.guards import arrow
from oobcodec.guards import polars as guards
from oobcodec.limits import FOR_DATA, Budget
from oobcodec.reducers import polars as reducers
from oobcodec.reducers.arrow_nodes import take

warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
dice = random.Random(7)
PAIR = pl.Array(pl.Int128, 2)
samples = [
    pl.Series([1, None, 3]),
    pl.Series(["a", None, "bcd", "x" * 20]),
    pl.Series([["a" * 15, None], None, ["b"]]),
    pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
    pl.Series([{"a": 1, "b": "x" * 20}, None]),
    pl.Series(["a", None, "b"], dtype=pl.Categorical),
    pl.Series(["a", None, "b"], dtype=pl.Enum(["a", "b", "c"])),
    pl.Series([2**100, None, -1], dtype=pl.Int128),
    pl.Series([[2**100, None], None, []], dtype=pl.List(pl.Int128)),
    pl.Series([{"a": 2**100, "b": [[1, 2]]}, None], dtype=pl.Struct({"a": pl.Int128, "b": pl.List(PAIR)})),
]
samples = [sample for sample in samples if reducers._is_carried(sample.dtype) or reducers._is_wide(sample.dtype)]
numbers = (0, 1, 2, 3, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)


def plain(part):
    return bytes(part) if isinstance(part, PickleBuffer) else tuple(map(plain, part)) if type(part) is tuple else part


tables = []
for sample in samples:
    function, (table, *rest) = reducers.reduce_series(sample.alias("x"))
    rebuild = guards.GUARDS[f"{function.__module__}:{function.__name__}"]
    tables.append((table.schema, plain(take(table.column(0).chunk(0))), rebuild, rest))


def damaged(part):
    if type(part) is tuple and part:
        parts = list(part)
        i = dice.randrange(len(parts))
        parts[i] = damaged(parts[i])
        return tuple(parts)
    if type(part) is bytes and (data := bytearray(part)):
        i = dice.randrange(len(data))
        if dice.random() < 0.5:
            data[i] ^= 1 << dice.randrange(8)
        else:
            width = dice.choice((1, 4, 8))
            data[i : i + width] = (dice.choice(numbers) % (1 << 8 * width)).to_bytes(width, "little")
        return bytes(data)
    return dice.choice((None, *numbers)) if part is None or type(part) is int else part


uses = (
    repr,
    pl.Series.to_list,
    pl.Series.sort,
    pl.Series.unique,
    pl.Series.rechunk,
    lambda series: series.cast(pl.String).to_list(),
    lambda series: series.to_physical().to_list(),
    lambda series: series.append(series.clone()).rechunk().to_list(),
    lambda series: series.to_frame().to_arrow(),
)
survived = refused = 0
for _ in range(int(sys.argv[1])):
    schema, node, rebuild, rest = dice.choice(tables)
    for _ in range(dice.choice((1, 1, 2))):
        node = damaged(node)
    LOADING.set(DEFAULTS._replace(budget=Budget(FOR_DATA)))
    try:
        table = arrow.rebuild_table(schema, [[node]], sys.byteorder)
        order = dice.choice(("", "a", "d"))
        got = rebuild(table, *[order if argument == "" else argument for argument in rest])
    except (Exception, pl.exceptions.PanicException):
        refused += 1
        continue
    survived += 1
    for use in uses:
        try:
            use(got)
        except (Exception, pl.exceptions.PanicException):
            continue
print(survived, refused)
"""
