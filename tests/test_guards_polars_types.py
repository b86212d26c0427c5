import polars as pl
import pytest
from guarding import arrived, limited

from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards import polars_types as guards
from oobcodec.reducers import polars as reducers

reducers.register()

GUARDS = {name.partition(":")[2]: guard for name, guard in guards.GUARDS_OF_TYPES.items()}
MADE = {name.partition(":")[2] for name in guards.GUARDS_OF_TYPES if name.startswith("polars.")}
if not hasattr(pl, "Categories"):
    MADE.discard("Categories")
REFUSED = (DecodeError, pl.exceptions.PolarsError, TypeError, ValueError)
INT = pl.Int8()


def made(kind, /, **state):
    dtype = GUARDS[kind]()
    guards.STATES_OF_TYPES[type(dtype)](dtype, state)
    return dtype


@pytest.mark.parametrize(
    "dtype",
    [
        *(pl.Int8(), pl.String(), pl.Object(), pl.Null(), pl.Boolean(), pl.Date(), pl.Time(), pl.Unknown()),
        *(pl.Datetime("ns", "UTC"), pl.Datetime("ms"), pl.Duration("us"), pl.Decimal(20, 3), pl.Enum(["a", "b"])),
        *(pl.List(INT), pl.Array(INT, 3), pl.Array(INT, (2, 3)), pl.Array(pl.Array(INT, 0), 5)),
        *(pl.Struct({"a": INT, "b": pl.List(pl.Struct({"c": INT}))}), pl.Struct([])),
        *(pl.Int8, pl.List, pl.Categorical, pl.Enum, pl.List(pl.Int8), pl.Array(pl.Time, 2), pl.Struct({"a": pl.Int8})),
        *(pl.Categorical(), pl.Field("x", pl.Int8), pl.Schema(), pl.Schema({"a": pl.Int8, "b": pl.Categorical()})),
        *(getattr(pl, name) for name in ("Float16", "UInt128") if hasattr(pl, name)),
        *[pl.Categorical(pl.Categories("own", "space", pl.UInt8)) for _ in range(hasattr(pl, "Categories"))],
    ],
    ids=str,
)
def test_dtypes_arrive(dtype):
    got = arrived([dtype, dtype])
    assert got == [dtype, dtype]
    assert repr(got[0]) == repr(dtype)
    assert got[0] is got[1]


@pytest.mark.parametrize("name", sorted(MADE))
def test_dtypes_without_their_state_are_dtypes(name):
    dtype = GUARDS[name]()
    assert name in repr(dtype)
    assert dtype == GUARDS[name]()


LOOP = pl.List(pl.Null())


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("Datetime", {}),
        ("Datetime", {"time_unit": "h", "time_zone": None}),
        ("Datetime", {"time_unit": ["us"], "time_zone": None}),
        ("Datetime", {"time_unit": "us", "time_zone": 5}),
        ("Datetime", {"time_unit": "us", "time_zone": None, "other": 1}),
        ("Duration", {"time_unit": None}),
        ("Decimal", {"precision": 0, "scale": 0}),
        ("Decimal", {"precision": 39, "scale": 0}),
        ("Decimal", {"precision": True, "scale": 0}),
        ("Decimal", {"precision": 5, "scale": -1}),
        ("Decimal", {"precision": 5, "scale": None}),
        ("List", {"inner": None}),
        ("List", {"inner": "Int8"}),
        ("List", {"inner": pl.Field("x", INT)}),
        ("Array", {"inner": INT, "size": -1, "shape": (-1,)}),
        ("Array", {"inner": INT, "size": 1 << 40, "shape": (1 << 40,)}),
        ("Array", {"inner": INT, "size": 2, "shape": (3,)}),
        ("Array", {"inner": INT, "size": 2, "shape": [2]}),
        ("Array", {"inner": None, "size": 2, "shape": (2,)}),
        ("Struct", {"fields": None}),
        ("Struct", {"fields": [INT]}),
        ("Struct", {"fields": (pl.Field("x", INT),)}),
        ("Field", {"name": 5, "dtype": INT}),
        ("Field", {"name": "x", "dtype": None}),
        ("Enum", {"categories": None}),
        ("Enum", {"categories": ["a"]}),
        ("Enum", {"categories": pl.Series([1])}),
        ("Enum", {"categories": pl.Series(["a", "a"])}),
        ("Enum", {"categories": pl.Series(["a", None])}),
    ],
)
def test_states_of_no_dtype_are_refused(name, state):
    with pytest.raises(REFUSED):
        made(name, **state)


def test_a_state_is_a_dict():
    with pytest.raises(DecodeError, match="is a dict"):
        guards.STATES_OF_TYPES[pl.List](pl.List(INT), [INT])


def test_no_dtype_is_in_itself():
    outer = GUARDS["List"]()
    inner = made("List", inner=outer)
    for each in (outer, inner):
        with pytest.raises(DecodeError, match="in itself"):
            guards.STATES_OF_TYPES[pl.List](outer, {"inner": each})


def doubled(levels):
    dtype = INT
    for _ in range(levels):
        dtype = made("Struct", fields=[made("Field", name=name, dtype=dtype) for name in "xy"])
    return dtype


def nested(levels):
    dtype = INT
    for _ in range(levels):
        dtype = made("List", inner=dtype)
    return dtype


def test_dtypes_in_each_other_are_counted():
    assert len(doubled(3).fields) == 2
    with limited(), pytest.raises(LimitError, match="max_operations"):
        doubled(25)


def test_dtypes_are_not_too_deep_in_each_other():
    assert str(nested(60)).startswith("List")
    with pytest.raises(DecodeError, match="64 levels deep"):
        nested(100)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("rebuild_class", (None,)),
        ("rebuild_class", (["Int8"],)),
        ("rebuild_class", ("DataType",)),
        ("rebuild_class", ("Field",)),
        ("rebuild_class", ("__loader__",)),
        ("rebuild_class", ("Categories",)),
        ("rebuild_dtype", (None,)),
        ("rebuild_dtype", ("DataType",)),
        ("rebuild_dtype", ("Field", {"name": "x", "dtype": INT})),
        ("rebuild_dtype", ("Int8", {"a": 1})),
        ("rebuild_dtype", ("Int8", {})),
        ("rebuild_dtype", ("List",)),
        ("rebuild_dtype", ("List", [INT])),
        ("rebuild_dtype", ("List", {"inner": "Int8"})),
        ("rebuild_dtype", ("Array", {"inner": pl.Int8, "size": 2, "shape": (3,)})),
        ("rebuild_dtype", ("Categorical", {})),
        ("rebuild_dtype", ("Categorical", {"categories": None})),
        ("rebuild_dtype", ("Categorical", {"categories": "a"})),
        ("rebuild_dtype", ("Categorical", {"ordering": 5})),
        ("rebuild_dtype", ("Categorical", {"other": "x"})),
        ("rebuild_schema", (None, [])),
        ("rebuild_schema", (["a"], None)),
        ("rebuild_schema", (["a"], [])),
        ("rebuild_schema", (["a", "a"], [INT, INT])),
        ("rebuild_schema", ([5], [INT])),
        ("rebuild_schema", (["a"], ["Int8"])),
        ("rebuild_schema", (["a"], [int])),
        ("rebuild_schema", (["a"], [pl.List])),
    ],
)
def test_what_is_no_dtype_is_refused(function, arguments):
    with pytest.raises(REFUSED):
        GUARDS[function](*arguments)


@pytest.mark.skipif(not hasattr(pl, "Categories"), reason="this polars has no Categories")
@pytest.mark.parametrize(
    "state",
    [None, ("", ""), ("a", 5, pl.UInt8), (None, "", pl.UInt32), ("a", "", pl.Int8), ("a", "", pl.UInt8()), ["a"] * 3],
)
def test_what_are_no_categories_is_refused(state):
    with pytest.raises(REFUSED):
        guards.set_categories(GUARDS["Categories"](), state)


def test_dtypes_of_dtypes_are_counted():
    def rebuilt(levels):
        dtype = rebuilt(levels - 1) if levels else INT
        return GUARDS["rebuild_dtype"]("Struct", {"fields": [pl.Field(name, dtype) for name in "xy"]})

    with limited(), pytest.raises(LimitError, match="max_operations"):
        rebuilt(25)
