"""polars."""

import datetime as dt
import decimal

import numpy as np
import polars as pl

from . import cases_numpy  # noqa: F401  # which tells how arrays are compared
from .comparison import compares
from .table import N, case

HALF = N // 2
ROWS = N // 8
INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
SPANS = tuple(pl.Duration(unit) for unit in ("ms", "us", "ns"))
STAMPS = tuple(pl.Datetime(unit, zone) for unit in ("ms", "us", "ns") for zone in (None, "Europe/Paris"))
TIMES = (pl.Date, pl.Time)
FLOATS = tuple(getattr(pl, name) for name in ("Float16", "Float32", "Float64") if hasattr(pl, name))
UNSIGNED = hasattr(pl, "UInt128")
CATEGORIES = hasattr(pl, "Categories")


def _numbers(dtype=pl.Float64, count=N, name="x"):
    return pl.Series(name, np.arange(count) % 100).cast(dtype)


def _missing(dtype=pl.Float64, count=N, name="x"):
    return _gaps(_numbers(dtype, count, name))


def _gaps(series):
    present = pl.Series(np.arange(len(series)) % 3 > 0)
    return series.to_frame().select(pl.when(present).then(pl.first())).to_series()


def _odd_floats():
    return pl.Series("x", np.tile(np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 5e-324]), HALF // 3))


def _texts(count=ROWS, name="s"):
    """Return texts of 56 bytes each."""
    return pl.Series(name, [f"{i:8} {'schön ' * 6}{'x' * 5}" for i in range(count)], pl.String)


def _lists():
    return _numbers().reshape((N // 4, 4)).cast(pl.List(pl.Float64))


def _arrays(width=4, count=N):
    return _numbers(count=count).reshape((count // width, width))


def _structs():
    return pl.DataFrame([_numbers(name="x"), _missing(pl.Int32, name="n")]).to_struct("both")


def _chunks(series=None):
    series = _numbers() if series is None else series
    return pl.concat([series[:HALF], series[HALF:]], rechunk=False)


def _frame(count=N):
    text = _texts(count).alias("")
    when = _numbers(STAMPS[3], count, "when")
    return pl.DataFrame([_numbers(count=count), _missing(pl.Int32, count, "n"), text, when])


def _sorted():
    up, down = _numbers(name="up").sort(), _numbers(name="down").sort(descending=True)
    return pl.DataFrame([up, down, _numbers(name="neither")])


def _of_one_memory():
    one = _numbers()
    return [one, one[1000:HALF], one.to_frame(), one.rename("y"), pl.DataFrame([one, one.alias("again")])]


def _windows():
    one = _numbers()
    return [one[i : i + N - 1000] for i in range(0, 1000, 10)]


def _over_numpy():
    one = np.arange(float(N))
    one.flags.writeable = False
    return [one, pl.Series("x", one), pl.DataFrame({"x": one})[HALF:]]


def _attributed():
    frame, series = _frame(10), _numbers(count=10)
    frame.source, series.unit = "north", ["m"]
    return [frame, series]


class Prices(pl.DataFrame):
    """A frame with a currency."""


def _prices():
    prices = Prices({"price": [1.5, None, 2.5]})
    prices.currency = {"name": "EUR"}
    return prices


def _categories(dtype):
    return pl.Series("c", ["b", "a", None, "b"] * (N // 4), dtype)


def _nested(dtype, items):
    return pl.Series("nested", [*items, None] * 500, dtype)


ENUM = pl.Enum(["b", "a", "never used"])
NESTED = (
    (pl.List(pl.String), [["a", None], [], ["schön" * 5]]),
    (pl.List(pl.List(pl.Int8)), [[[1], None, []], []]),
    (pl.List(pl.Float64), [[float("nan"), -0.0], []]),
    (pl.List(pl.Null), [[None], []]),
    (pl.List(pl.Boolean), [[True, None], [False]]),
    (pl.List(pl.Binary), [[b"\xff", b""], []]),
    (pl.List(pl.Decimal(20, 3)), [[decimal.Decimal("1.5")], []]),
    (pl.List(pl.Datetime("ns", "UTC")), [[dt.datetime(2024, 2, 29, tzinfo=dt.UTC)], []]),
    (pl.List(pl.Categorical), [["a", "b"], []]),
    (pl.List(ENUM), [["a", "b"], []]),
    (pl.List(pl.Array(pl.Int16, 2)), [[[1, 2], None], []]),
    (pl.List(pl.Struct({"x": pl.Float64, "s": pl.List(pl.String)})), [[{"x": 1.5, "s": ["a"]}, None], []]),
    (pl.Array(pl.Int64, (2, 3)), [[[1, 2, 3], [4, None, 6]]]),
    (pl.Array(pl.String, 2), [["a", None]]),
    (pl.Array(pl.Boolean, 3), [[True, None, False]]),
    (pl.Array(ENUM, 2), [["a", "b"]]),
    *[(pl.Array(pl.Categorical, 2), [["a", "b"]]) for _ in range(CATEGORIES)],
    (pl.Array(pl.List(pl.Int8), 2), [[[1], []]]),
    (pl.Array(pl.Int8, 0), [[]]),
    (pl.Struct({"e": ENUM, "c": pl.Categorical, "d": pl.Date}), [{"e": "a", "c": "b", "d": dt.date(2024, 2, 29)}]),
    (pl.Struct({"in": pl.Struct({"x": pl.Int8}), "a": pl.Array(pl.Int8, 2)}), [{"in": {"x": 1}, "a": [1, 2]}]),
    (pl.Struct({}), [{}]),
    (pl.List(pl.Int128), [[2**100, None], []]),
)


def _everything():
    columns = [_nested(dtype, items).head(9) for dtype, items in NESTED if len(items) > 1]
    return pl.DataFrame([column.rename(f"column {i}") for i, column in enumerate(columns)])


CASES = [
    *[case(f"{t}", lambda t=t: _numbers(t), N * n) for t, n in zip(INTEGERS, (1, 2, 4, 8) * 2, strict=True)],
    *[case(f"{t}", lambda t=t: _numbers(t), N * n) for t, n in zip(FLOATS[::-1], (8, 4, 2), strict=False)],
    *[case(f"{t}", lambda t=t: _numbers(t), 8 * N) for t in (*STAMPS, *SPANS)],
    case("Date", lambda: _numbers(pl.Date), 4 * N),
    case("Time", lambda: _numbers(pl.Int64).cast(pl.Time), 8 * N),
    case("Decimal", lambda: _numbers(pl.Decimal(20, 3)), 16 * N),
    case("Int128", lambda: pl.Series("x", [2**100, -(2**126), None] * 99, pl.Int128)),
    case("Int128, many", lambda: _numbers(pl.Int128), 16 * N),
    case("Int128, sliced", lambda: _numbers(pl.Int128)[1001:90_000], (90_000 - 1001) * 16),
    case("UInt128", lambda: pl.Series("x", [2**127, 0, None] * 99, pl.UInt128), given=UNSIGNED),
    *[case(f"{t} with nulls", lambda t=t: _missing(t), N * n + N // 8) for t, n in ((pl.Int8, 1), (pl.Float32, 4), (pl.Float64, 8), (STAMPS[1], 8), (pl.Date, 4))],
    case("NaN, infinities, signed zeros", _odd_floats, 8 * (HALF // 3 * 6)),
    case("Boolean", lambda: pl.Series("x", np.arange(8 * N) % 7 > 3), N),
    case("Boolean with nulls", lambda: _gaps(pl.Series("x", np.arange(8 * N) % 7 > 3)), 2 * N),
    case("Boolean, sliced", lambda: pl.Series("x", np.arange(8 * N) % 7 > 3)[1001:HALF], (HALF - 1001) // 8),
    case("Null", lambda: pl.Series("x", [None] * N)),
    case("all missing", lambda: pl.Series("x", [None] * N, pl.Float64), 8 * N + N // 8),
    case("String", _texts, ROWS * (56 + 16)),
    case("String with nulls", lambda: pl.Series("s", [text if i % 3 else None for i, text in enumerate(_texts())]), ROWS * (56 * 2 // 3 + 16) + ROWS // 8),
    case("String, short and long", lambda: pl.Series("s", ["short", "x" * 100, None, ""] * ROWS), ROWS * (100 + 64) + ROWS // 2),
    case("String, sliced", lambda: _texts()[1001:9000], (9000 - 1001) * 72),
    case("String, ten of many", lambda: _texts()[50:60], 720),
    case("String, filtered", lambda: _texts().filter(pl.Series(np.arange(ROWS) % 8 == 0)), ROWS // 8 * 72),
    case("Binary", lambda: _texts().cast(pl.Binary), ROWS * (56 + 16)),
    case("Categorical", lambda: _categories(pl.Categorical), 4 * N + N // 8),
    case("Categorical, in lexical order", lambda: _categories(pl.Categorical("lexical")), 4 * N + N // 8, given=not CATEGORIES),
    case("Categorical, ten of many", lambda: pl.Series("c", [f"category {i}" for i in range(50_000)], pl.Categorical)[100:110], 40, given=CATEGORIES),
    case("Categories of its own", lambda: _categories(pl.Categorical(pl.Categories("own", "space", pl.UInt8))), N + N // 8, given=CATEGORIES),
    case("Enum", lambda: _categories(ENUM), N * (4 if pl.Series([], dtype=ENUM).to_physical().dtype == pl.UInt32 else 1) + N // 8),
    case("Enum without categories", lambda: pl.Series("e", [None], pl.Enum([]))),
    *[case(f"{dtype}", lambda dtype=dtype, items=items: _nested(dtype, items)) for dtype, items in NESTED],
    case("List", _lists, 8 * N + N // 4 * 8),
    case("List, sliced", lambda: _lists()[101:9000], (9000 - 101) * 40),
    case("Array", _arrays, 8 * N),
    case("Array, sliced", lambda: _arrays()[101:9000], (9000 - 101) * 32),
    case("Struct", _structs, 12 * N + N // 8),
    case("Struct, sliced", lambda: _structs()[1001:90_000], (90_000 - 1001) * 12 + 88_999 // 8),
    case("head", lambda: _numbers()[:HALF], 8 * HALF),
    case("tail", lambda: _numbers()[HALF:], 8 * HALF),
    case("slice of a slice", lambda: _missing()[1000:][7:HALF], (HALF - 7) * 8 + HALF // 8),
    case("ten elements of many", lambda: _numbers()[50:60], 80),
    case("every third", lambda: _numbers().gather_every(3), N // 3 * 8),
    case("sliced to nothing", lambda: [_numbers()[5:5], _texts()[7:7], _structs()[:0], _lists()[9:9], _categories(ENUM)[:0]]),
    *[case(f"empty {t}", lambda t=t: pl.Series("x", [], t)) for t in (pl.Float64, pl.String, pl.List(pl.String), pl.Null, pl.Struct({"x": pl.Int8}))],
    case("names", lambda: [_numbers(count=9, name=name) for name in ("", "^a.*$", "schön", "x" * 300)]),
    case("chunks", _chunks, 8 * N),
    case("chunks of text", lambda: pl.concat([_texts(), _texts(ROWS // 2)], rechunk=False), ROWS * 3 // 2 * 72),
    case("chunks, sliced", lambda: _chunks()[HALF - 1000 : HALF + 9000], 80_000),
    case("chunks of categories", lambda: pl.concat([_categories(ENUM), _categories(ENUM)], rechunk=False)),
    case("chunks, an empty one among them", lambda: pl.concat([_numbers(), _numbers(count=0), _numbers()], rechunk=False), 16 * N),
    case("sorted", _sorted, 24 * N),
    case("sorted, in chunks", lambda: _chunks(_numbers().sort()).set_sorted(), 8 * N),
    case("sorted with nulls", lambda: [(one := _missing(count=999)).sort(), one.sort(descending=True, nulls_last=True)]),
    case("sorted text", lambda: _texts().sort(), ROWS * 72),
    case("DataFrame", _frame, N * (8 + 4 + 72 + 8) + N // 8),
    case("DataFrame, sliced", lambda: _frame()[1001:90_000], (90_000 - 1001) * 92 + 88_999 // 8),
    case("DataFrame, ten rows of many", lambda: _frame()[50:60], 921),
    case("DataFrame, two columns", lambda: _frame().select("when", "x"), 16 * N),
    case("DataFrame of numbers", lambda: pl.DataFrame([_numbers(count=ROWS, name=f"x{i}") for i in range(20)]), 160 * ROWS),
    case("DataFrame in chunks", lambda: pl.concat([_frame(HALF), _frame(ROWS)], rechunk=False), (HALF + ROWS) * 92 + (HALF + ROWS) // 8),
    case("DataFrame, empty", lambda: _frame(9).clear()),
    case("DataFrame without columns", lambda: [pl.DataFrame(), _frame(9).select([])]),
    case("DataFrame of rows only", lambda: pl.DataFrame(height=7), given="height" in pl.DataFrame.__init__.__annotations__),
    case("DataFrame of everything", _everything),
    case("DataFrame of wide numbers beside others", lambda: _frame().with_columns(_numbers(pl.Int128, name="wide")), N * (92 + 16) + N // 8),
    case("DataFrame, a hundred narrow", lambda: [_frame(9) for _ in range(100)]),
    case("series, slice, and frames over one memory", _of_one_memory, 8 * N),
    case("overlapping windows", _windows, 8 * N),
    case("column of a frame", lambda: [(one := _frame()), one["x"], one["when"][100:]], N * 92 + N // 8),
    case("over numpy's memory", _over_numpy, 8 * N),
    case("attributes", _attributed),
    case("subclass with an attribute", _prices),
    case("expressions", lambda: [pl.col("a") + 1, pl.when(pl.col("a") > 1).then(pl.lit("x")).otherwise(None), pl.col("a").rank().over("b").sum() * -0.0]),
    case("selectors", lambda: [pl.selectors.numeric() | pl.selectors.by_name("b"), ~pl.selectors.string()]),
    case("LazyFrame", lambda: pl.LazyFrame({"a": [1, 2, 3]}).filter(pl.col("a") > 1).group_by("a").agg(pl.len().alias("n")).sort("a")),
    case("Object", lambda: pl.Series("o", [{"a": 1}, None, "text", [1, [2]]], pl.Object)),
    case("frame with Object", lambda: pl.DataFrame([pl.Series("n", range(N)), pl.Series("o", [(1, "a"), None] * (N // 2), pl.Object)])),
    case("types", lambda: [pl.Int8, pl.Int8(), pl.Datetime("ns", "UTC"), pl.List(pl.Array(pl.String, (2, 3))), pl.Decimal(20, 3), pl.Struct({"a": pl.Null}), pl.Object]),
    case("Enum type", lambda: [ENUM, pl.List(ENUM), pl.Categorical]),
    case("Schema", lambda: pl.Schema({"a": pl.Int8(), "b": pl.List(pl.String)})),
]  # fmt: skip


# What is compared


@compares(pl.DataType)
def _compare_types(comparison, got, want, where):
    facts = [(type(one), repr(one), getattr(one, "ordering", None), one) for one in (got, want)]
    comparison.equal("dtype", *facts, where)


@compares(pl.Series)
def _compare_series(comparison, got, want, where):
    comparison.equal("names", got.name, want.name, f"{where}.name")
    comparison.equal("value", len(got), len(want), f"len({where})")
    _compare_types(comparison, got.dtype, want.dtype, f"{where}.dtype")
    if comparison.lost.keys() & {"dtype", "value"}:
        return
    comparison.equal("layout", got.chunk_lengths(), want.chunk_lengths(), f"{where}.chunk_lengths()")
    # Not whether lists may be exploded quickly, which nobody can tell polars.
    flags = [{flag: set_ for flag, set_ in one.flags.items() if flag != "FAST_EXPLODE"} for one in (got, want)]
    comparison.equal("flags", *flags, f"{where}.flags")
    # Some names mean more to polars than a name.
    _compare_elements(comparison, got.rename("x"), want.rename("x"), where)
    if got.n_chunks() == want.n_chunks() and want.dtype != pl.Object:
        for chunk, wanted in zip(got.rename("x").get_chunks(), want.rename("x").get_chunks(), strict=True):
            if span := _memory(wanted):
                comparison.memory(where, (_memory(chunk) or (0,))[0], *span)
    _compare_attributes(comparison, got, want, where)


def _compare_elements(comparison, got, want, where):
    comparison.equal("value", *(one.is_null().to_numpy().tobytes() for one in (got, want)), f"{where}.is_null()")
    if want.dtype in FLOATS:
        # Bit by bit, for polars takes one zero for the other.
        comparison.equal("value", *(one.drop_nulls().to_numpy().tobytes() for one in (got, want)), where)
    elif isinstance(want.dtype, pl.Struct):
        comparison.equal("value", got.to_list(), want.to_list(), where)
        for name in want.struct.fields:
            _compare_elements(comparison, got.struct.field(name), want.struct.field(name), f"{where}[{name!r}]")
    elif isinstance(want.dtype, pl.List | pl.Array):
        comparison.equal("value", *(_lengths(one) for one in (got, want)), where)
        if not isinstance(want.dtype, pl.Array) or want.dtype.size:
            _compare_elements(comparison, got.explode(), want.explode(), f"{where}.explode()")
    elif want.dtype.is_numeric() or want.dtype.is_temporal() or want.dtype == pl.Boolean:
        if not got.equals(want, null_equal=True):
            comparison.miss("value", f"{where}: {got}, not {want}")
    else:
        comparison.equal("value", got.to_list(), want.to_list(), where)


def _lengths(series):
    return [None if each is None else len(each) for each in series.to_list()]


def _memory(chunk):
    """Return the address and length of elements that numpy can see, or None."""
    if not (chunk.dtype.is_numeric() or chunk.dtype.is_temporal()) or chunk.null_count():
        return None
    physical = chunk.to_physical()
    if physical.dtype not in (*INTEGERS, *FLOATS):
        return None
    seen = physical.to_numpy(allow_copy=False)
    return seen.__array_interface__["data"][0], seen.nbytes


@compares(pl.DataFrame)
def _compare_frames(comparison, got, want, where):
    if comparison.equal("names", got.columns, want.columns, f"{where}.columns"):
        comparison.equal("value", got.height, want.height, f"{where}.height")
        for column, wanted in zip(got.get_columns(), want.get_columns(), strict=True):
            _compare_series(comparison, column, wanted, f"{where}[{wanted.name!r}]")
    _compare_attributes(comparison, got, want, where)


def _compare_attributes(comparison, got, want, where):
    states = ({f".{name}": value for name, value in vars(one).items() if name[0] != "_"} for one in (got, want))
    comparison.parts(*states, where)


@compares(pl.Expr)
def _compare_expressions(comparison, got, want, where):
    if comparison.equal("value", str(got), str(want), where) and not got.meta.eq(want):
        comparison.miss("value", f"{where}: what only looks like {want}")


@compares(pl.LazyFrame)
def _compare_plans(comparison, got, want, where):
    comparison.equal("value", *(one.explain(optimized=False) for one in (got, want)), f"{where}.explain()")
    _compare_frames(comparison, got.collect(), want.collect(), f"{where}.collect()")
