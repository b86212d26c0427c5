import polars as pl
import pytest
from helpers import transferred

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError
from oobcodec.reducers import polars as reducers
from oobcodec.reducers import polars_types

reducers.register()

INT = pl.Int8()
DTYPES = [
    *(INT, pl.Object(), pl.Datetime("ns", "UTC"), pl.Decimal(20, 3), pl.Enum(["a", "b"]), pl.Categorical()),
    *(pl.List(INT), pl.List(pl.Int8), pl.Array(pl.Time, (2, 3)), pl.Struct({"a": pl.List(pl.Int8), "b": INT})),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_arrive(dtype):
    got, again = transferred([dtype, dtype])
    assert got is again
    assert (type(got), repr(got), got) == (type(dtype), repr(dtype), dtype)


def test_parts_that_are_classes_stay_classes():
    assert transferred(pl.List(pl.Int8)).inner is pl.Int8
    assert type(transferred(pl.List(INT)).inner) is pl.Int8


def test_classes_are_themselves():
    for cls in polars_types.CLASSES.values():
        assert transferred(cls) is cls


def test_classes_beside_what_goes_by_value():
    cls, function = transferred([pl.Int8, lambda: pl.List(pl.Int8)])
    assert cls is pl.Int8
    assert function().inner is cls


class Celsius(pl.Float64):
    """A type that polars does not have."""


def test_types_of_others_go_as_pickle_does_it():
    assert transferred(Celsius) is Celsius
    assert type(transferred(Celsius())) is Celsius


def test_types_that_only_other_versions_have_are_an_error(monkeypatch):
    frames = dumps([pl.Int8])
    monkeypatch.delitem(polars_types.CLASSES, "Int8")
    with pytest.raises(DecodeError, match=rf"polars {pl.__version__} has no Int8: install the version"):
        loads(frames)


def test_schemas_arrive():
    schema = pl.Schema({"b": pl.Int8, "a": pl.List(pl.String), "": pl.Enum(["x"])})
    schema.unit = ["m"]
    for one in (schema, pl.Schema()):
        got = transferred(one)
        assert type(got) is pl.Schema
        assert list(got.items()) == list(one.items())
        assert vars(got) == vars(one)
