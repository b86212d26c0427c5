"""Guards of polars' dtypes: a dtype is made by its constructor of what its state says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl
from polars.datatypes import DataTypeClass

from oobcodec.context import LOADING
from oobcodec.guards.checks import expect, is_count
from oobcodec.reducers import polars_types as reducers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Make = Callable[..., Any]

_Categories: Final[Any] = getattr(pl, "Categories", type(None))
"""Early versions have none, but orders."""
_MODULE: Final = "polars.datatypes.classes"
_REDUCERS: Final = "oobcodec.reducers.polars_types"
_DTYPES: Final = (pl.DataType, DataTypeClass)
_DEEPEST: Final = 64
"""Dtypes in each other."""
_LONGEST: Final = (1 << 31) - 1
"""Elements of an array."""
_UNITS: Final = frozenset({"ms", "us", "ns"})
_MOST_DIGITS: Final = 38


def _datetime(time_unit: Any, time_zone: Any) -> Any:
    _check_unit(time_unit)
    expect(time_zone is None or type(time_zone) is str, "a time zone has a name")
    return pl.Datetime(time_unit, time_zone)


def _duration(time_unit: Any) -> Any:
    _check_unit(time_unit)
    return pl.Duration(time_unit)


def _check_unit(unit: Any) -> None:
    expect(type(unit) is str and unit in _UNITS, "time has a unit that there is")


def _decimal(precision: Any, scale: Any) -> Any:
    expect(precision is None or (is_count(precision) and 0 < precision <= _MOST_DIGITS), "a decimal has some digits")
    expect(is_count(scale) and scale <= _MOST_DIGITS, "a decimal has some digits")
    return pl.Decimal(precision, scale)


def _list(inner: Any) -> Any:
    return pl.List(inner)


def _array(inner: Any, size: Any, shape: Any) -> Any:
    expect(is_count(size) and size <= _LONGEST, "an array has a size")
    made = pl.Array(inner, size)
    expect(type(shape) is tuple and shape == made.shape, "an array has the shape of its elements")
    return made


def _struct(fields: Any) -> Any:
    expect(type(fields) is list and all(type(field) is pl.Field for field in fields), "a struct has fields")
    return pl.Struct(fields)


def _field(name: Any, dtype: Any) -> Any:
    expect(type(name) is str, "a field has a name")
    return pl.Field(name, dtype)


def _categorical(**state: Any) -> Any:
    ((name, value),) = state.items()
    expect(type(value) is (_Categories if name == "categories" else str), "what is categorical has categories")
    return pl.Categorical(**state)


def _enum(categories: Any) -> Any:
    expect(type(categories) is pl.Series and categories.dtype == pl.String, "categories are a series of text")
    return pl.Enum(categories)


_PLAIN: Final = (
    *("Binary", "Boolean", "Date", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "Int128", "Null"),
    *("Object", "String", "Time", "UInt8", "UInt16", "UInt32", "UInt64", "Unknown"),
)
"""Names of dtypes that have no state."""
_YOUNG: Final = tuple(name for name in ("Float16", "UInt128") if hasattr(pl, name))
"""Others, that not all versions have."""
_MADE: Final[dict[str, tuple[Make, Make]]] = {
    "Array": (lambda: pl.Array(pl.Null(), 1), _array),
    "Categorical": (pl.Categorical, _categorical),
    "Datetime": (pl.Datetime, _datetime),
    "Decimal": (lambda: pl.Decimal(_MOST_DIGITS, 0), _decimal),
    "Duration": (pl.Duration, _duration),
    "Enum": (lambda: pl.Enum([]), _enum),
    "Field": (lambda: pl.Field("", pl.Null()), _field),
    "List": (lambda: pl.List(pl.Null()), _list),
    "Struct": (lambda: pl.Struct([]), _struct),
}
"""How to make the others without a state, and of one."""
_NAMES: Final = frozenset({*_PLAIN, *_YOUNG, *_MADE} - {"Field"})
"""Of all dtypes."""
_STATES: Final = {type(make()): of_state for make, of_state in _MADE.values()}


def set_state(dtype: Any, state: Any) -> None:
    """Make a dtype what its state says, which is no more than what its constructor makes of it.

    Raises
    ------
    DecodeError
        There is no such dtype; or others are too deep in it, or it itself.
    Exception
        Polars itself refuses it.
    """
    expect(type(state) is dict, "the state of a dtype is a dict")
    _weigh(state, dtype)
    made = _STATES[type(dtype)](**state)
    vars(dtype).update(vars(made))


def _weigh(state: dict[str, Any], dtype: Any) -> None:
    """Refuse dtypes too deep in each other, and account for them: one may be in another many times."""
    level = [part for name in ("inner", "dtype") if (part := state.get(name)) is not None]
    expect(all(isinstance(part, _DTYPES) for part in level), "dtypes consist of dtypes")
    fields = state.get("fields", [])
    expect(type(fields) is list and all(type(field) is pl.Field for field in fields), "a struct has fields")
    level += fields
    budget = LOADING.get().budget
    for _ in range(_DEEPEST):
        expect(not any(part is dtype for part in level), "no dtype is in itself")
        inner = [_parts(each) for each in level]
        budget.operate(len(level) + sum(map(len, inner)))
        level = [part for parts in inner for part in parts]
        if not level:
            return
    expect(condition=False, text=f"dtypes lie in each other {_DEEPEST} levels deep at most")


def _parts(dtype: Any) -> Sequence[Any]:
    if isinstance(dtype, pl.Field):
        return [dtype.dtype]
    if isinstance(dtype, pl.List | pl.Array):
        return [dtype.inner]
    return dtype.fields if isinstance(dtype, pl.Struct) else ()


def rebuild_class(name: Any) -> Any:
    """Return a class of dtypes."""
    expect(type(name) is str and name in _NAMES, "a class of dtypes has a name")
    return reducers.rebuild_class(name)


def rebuild_dtype(name: Any, state: Any = None) -> Any:
    """Rebuild a dtype as what its constructor makes of its attributes."""
    expect(type(name) is str and name in _NAMES, "a dtype has the name of its class")
    if name not in _MADE:
        expect(state is None, f"{name} has no attributes")
        return getattr(pl, name)()
    expect(type(state) is dict, "the state of a dtype is a dict")
    _weigh(state, None)
    return _MADE[name][1](**state)


def rebuild_schema(names: Any, dtypes: Any) -> pl.Schema:
    """Rebuild a schema."""
    expect(type(names) is list and all(type(name) is str for name in names), "the columns of a schema have names")
    expect(type(dtypes) is list and all(isinstance(each, _DTYPES) for each in dtypes), "and dtypes")
    expect(len(set(names)) == len(names) == len(dtypes), "the columns of a schema have a name and a dtype each")
    return reducers.rebuild_schema(names, dtypes)


def make_categories() -> Any:
    """Make categories, whose state follows."""
    return _Categories()


def set_categories(categories: Any, state: Any) -> None:
    """Make categories what their state says."""
    expect(type(state) is tuple and len(state) == 3, "categories have a name, another one, and a dtype")  # noqa: PLR2004
    expect(type(state[0]) is type(state[1]) is str, "categories have names")
    expect(isinstance(state[2], DataTypeClass), "categories have a dtype")
    vars(categories).update(vars(_Categories(*state)))


def _maker(name: str) -> Make:
    def make() -> Any:
        return getattr(pl, name)()

    return make


GUARDS_OF_TYPES: Final[dict[str, Make | None]] = {
    **{f"{_MODULE}:{name}": _maker(name) for name in (*_PLAIN, *_YOUNG)},
    **{f"{_MODULE}:{name}": make for name, (make, _) in _MADE.items()},
    f"{_MODULE}:Categories": make_categories,
    f"{_REDUCERS}:rebuild_class": rebuild_class,
    f"{_REDUCERS}:rebuild_dtype": rebuild_dtype,
    f"{_REDUCERS}:rebuild_schema": rebuild_schema,
}
STATES_OF_TYPES: Final[dict[type, Callable[[Any, Any], None]]] = {
    **dict.fromkeys(_STATES, set_state),
    _Categories: set_categories,
}
