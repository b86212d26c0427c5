"""Guards of polars' dtypes: a dtype is made by its constructor of what its state says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from oobcodec.context import LOADING
from oobcodec.guards.checks import expect, is_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Make = Callable[..., Any]

_MODULE: Final = "polars.datatypes.classes"
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


def _enum(categories: Any) -> Any:
    expect(type(categories) is pl.Series and categories.dtype == pl.String, "categories are a series of text")
    return pl.Enum(categories)


_PLAIN: Final = (
    *("Binary", "Boolean", "Date", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "Int128", "Null"),
    *("Object", "String", "Time", "UInt8", "UInt16", "UInt32", "UInt64", "Unknown"),
)
"""Names of dtypes that have no state."""
_MADE: Final[dict[str, tuple[Make, Make]]] = {
    "Array": (lambda: pl.Array(pl.Null(), 1), _array),
    "Datetime": (pl.Datetime, _datetime),
    "Decimal": (lambda: pl.Decimal(_MOST_DIGITS, 0), _decimal),
    "Duration": (pl.Duration, _duration),
    "Enum": (lambda: pl.Enum([]), _enum),
    "Field": (lambda: pl.Field("", pl.Null()), _field),
    "List": (lambda: pl.List(pl.Null()), _list),
    "Struct": (lambda: pl.Struct([]), _struct),
}
"""How to make the others without a state, and of one."""
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
    expect(all(isinstance(part, pl.DataType) for part in level), "dtypes consist of dtypes")
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


def _maker(name: str) -> Make:
    def make() -> Any:
        return getattr(pl, name)()

    return make


GUARDS_OF_TYPES: Final[dict[str, Make | None]] = {
    **{f"{_MODULE}:{name}": _maker(name) for name in _PLAIN},
    **{f"{_MODULE}:{name}": make for name, (make, _) in _MADE.items()},
}
STATES_OF_TYPES: Final[dict[type, Callable[[Any, Any], None]]] = dict.fromkeys(_STATES, set_state)
