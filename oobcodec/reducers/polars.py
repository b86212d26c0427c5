"""polars: frames and series as the Arrow arrays that they consist of, plans with the version that understands them.

What Arrow cannot carry exactly goes polars' own way, column types of which it would silently make others included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import polars as pl
from polars import selectors

from oobcodec.errors import DecodeError, EncodeError
from oobcodec.reducers import polars_types, polars_wide
from oobcodec.registry import DEFAULT

try:
    import pyarrow as pa  # type: ignore[import-untyped]
except ImportError:
    pa = None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Needs: TypeAlias = tuple[str, Sequence[str]]
    Reduced: TypeAlias = str | tuple[Any, ...]

# Polars has its text in views, which older versions of Arrow for Python cannot take apart.
_NEWEST: Final = hasattr(getattr(pa, "DataType", None), "has_variadic_buffers")
_LEVEL: Final = pl.CompatLevel.newest() if _NEWEST else pl.CompatLevel.oldest()
# Early versions have no class of selectors, or a private one.
_SELECTOR: Final[Any] = getattr(selectors, "Selector", None) or getattr(selectors, "_selector_proxy_", pl.Expr)
_PLANS: Final = {cls.__name__: cls for cls in (pl.Expr, pl.LazyFrame, _SELECTOR)}
# Types that all versions have which this works with. A younger one is made another by those that do not know it.
_OLD: Final = (
    *(pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
    *(pl.Float32, pl.Float64, pl.Decimal, pl.String, pl.Binary, pl.Date, pl.Datetime, pl.Duration, pl.Time),
    *(pl.Categorical, pl.Enum, pl.List, pl.Array, pl.Struct, pl.Null, pl.Object, pl.Unknown),
)
_NUL: Final = "\0"
"""What is not to be in a name: polars panics when it tells Arrow."""
_PRIVATE: Final = vars(pl.DataFrame()).keys() | vars(pl.Series()).keys()
"""Names of the attributes that hold what polars pickles."""


def reduce_frame(frame: pl.DataFrame) -> Reduced:
    """Take a frame apart, a subclass in polars' own way."""
    columns = frame.get_columns()
    if type(frame) is pl.DataFrame and columns:
        dtypes = frame.dtypes
        if all(map(_is_carried, dtypes)) and not any(_NUL in name for name in frame.columns):
            orders = [_order(column) for column in columns]
            return rebuild_frame, (frame.to_arrow(compat_level=_LEVEL), orders, *_needed(dtypes))
        return rebuild_columns, (columns,)
    if type(frame) is pl.DataFrame and frame.height:
        return rebuild_rows, (frame.height, pl.__version__)
    return _pickled(frame, frame.dtypes)


def rebuild_frame(table: Any, orders: Sequence[str], needs: Needs | None = None) -> pl.DataFrame:
    """Rebuild a frame over the memory of an Arrow table.

    Parameters
    ----------
    table
        The columns.
    orders
        For each ``"a"`` if it is known to be ascending, ``"d"`` if descending, and ``""`` otherwise.
    needs
        The sender's version of polars, and the names of what not all versions have.

    Raises
    ------
    DecodeError
        This polars does not have it all.
    """
    _check(needs)
    frame: Any = pl.from_arrow(table, rechunk=False)
    if frame.columns != table.column_names:
        frame.columns = table.column_names  # polars replaces an empty name
    for i, order in enumerate(orders):
        if order:
            frame.replace_column(i, frame.to_series(i).set_sorted(descending=order == "d"))
    return frame  # type: ignore[no-any-return]


def rebuild_rows(height: int, version: str) -> pl.DataFrame:
    """Rebuild a frame of so many rows without columns.

    Raises
    ------
    DecodeError
        This polars has none, other than that of the sender.
    """
    try:
        return pl.DataFrame(height=height)
    except TypeError as error:
        message = f"polars {pl.__version__} has no rows without columns: install polars {version}, as the sender has"
        raise DecodeError(message) from error


def rebuild_columns(columns: Sequence[pl.Series]) -> pl.DataFrame:
    """Rebuild a frame from its columns."""
    frame = pl.DataFrame(columns)
    if (names := [column.name for column in columns]) != frame.columns:
        frame.columns = names  # polars replaces an empty name
    return frame


def reduce_series(series: pl.Series) -> Reduced:
    """Take a series apart, a subclass in polars' own way."""
    if type(series) is pl.Series:
        if _NUL in series.name:
            return rebuild_renamed, (series.rename(""), series.name)
        if _is_carried(series.dtype):
            # As a table, whose field tells more of the type than an array does.
            table = series.to_frame().to_arrow(compat_level=_LEVEL)
            return rebuild_series, (table, _order(series), *_needed([series.dtype]))
        if _is_wide(series.dtype):
            needs = pl.__version__, sorted(_younger(series.dtype))
            signs = polars_wide.signs(series.dtype)
            return rebuild_wide, (polars_wide.to_arrow(series), signs, _order(series), needs)
        if not _is_pickled(series.dtype):
            return rebuild_elements, (series.name, series.to_list(), series.dtype)
    return _pickled(series, [series.dtype])


def rebuild_series(table: Any, order: str, needs: Needs | None = None) -> pl.Series:
    """Rebuild a series as the one column of a frame."""
    return rebuild_frame(table, [order], needs).to_series()


def rebuild_wide(table: Any, signs: str, order: str, needs: Needs) -> pl.Series:
    """Rebuild a series with 128-bit integers in it.

    Parameters
    ----------
    table
        The column, with values of 16 bytes in their place.
    signs
        For each of these types ``"i"``, or ``"u"`` if the integers are unsigned.
    order, needs
        As of `rebuild_frame`.

    Raises
    ------
    DecodeError
        This polars does not have it, or does not take it from Arrow.
    """
    _check(needs)
    try:
        series = polars_wide.from_arrow(table, signs)
    except (ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        message = f"polars {pl.__version__} takes no {table.schema.types[0]} for 128-bit integers: install polars "
        message += f"{needs[0]}, as the sender has"
        raise DecodeError(message) from error
    return series.set_sorted(descending=order == "d") if order else series


def rebuild_renamed(series: pl.Series, name: str) -> pl.Series:
    """Rebuild a series with a name that Arrow would not carry."""
    return series.rename(name)


def rebuild_elements(name: str, elements: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """Rebuild a series from Python's objects."""
    return pl.Series(name, elements, dtype)


def _pickled(obj: pl.DataFrame | pl.Series, dtypes: Sequence[pl.DataType]) -> Reduced:
    """Take something apart as polars does it, with what a receiver needs to have."""
    reduced: Any = obj.__reduce_ex__(5)
    needs = _needed(dtypes)
    return (rebuild_pickled, (*reduced[1], *needs), *reduced[2:]) if needs else reduced


def rebuild_pickled(cls: Any, needs: Needs) -> Any:
    """Make a frame or a series, whose state is what polars pickles, if this polars has what that needs."""
    _check(needs)
    return cls.__new__(cls)


def _needed(dtypes: Sequence[pl.DataType]) -> tuple[Needs, ...]:
    """Return what a receiver needs to have, as an argument that is left out if all versions do."""
    names = {name for dtype in dtypes for name in _younger(dtype)}
    return ((pl.__version__, sorted(names)),) if names else ()


def _check(needs: Needs | None) -> None:
    version, names = needs or ("", ())
    missing = [name for name in names if name not in vars(pl)]
    if missing:
        message = f"polars {pl.__version__} has no {missing[0]}: install polars {version}, as the sender has"
        raise DecodeError(message)


@lru_cache(maxsize=1024)
def _younger(dtype: Any) -> frozenset[str]:
    """Return what of this type not all versions have: those without would make another type of it."""
    if isinstance(dtype, pl.Struct):
        return frozenset().union(*[_younger(field.dtype) for field in dtype.fields])
    if isinstance(dtype, pl.List | pl.Array):
        return _younger(dtype.inner)
    if isinstance(dtype, pl.Categorical):
        named = hasattr(dtype, "categories") and not dtype.categories.is_global()
        return frozenset({"Categories"} if named else ())
    cls = dtype if isinstance(dtype, type) else type(dtype)  # polars itself has a class for a dtype now and then
    return frozenset(() if cls in _OLD else {cls.__name__})


def _order(series: pl.Series) -> str:
    flags = series.flags
    return "a" if flags["SORTED_ASC"] else "d" if flags["SORTED_DESC"] else ""


@lru_cache(maxsize=1024)
def _is_carried(dtype: pl.DataType) -> bool:
    """Tell whether Arrow brings back what it is given of this type."""
    if pa is None or _is_unreadable(dtype):
        return False
    sample = pl.DataFrame({"sample": pl.Series([None], dtype=dtype)})
    try:
        returned: Any = pl.from_arrow(sample.to_arrow(compat_level=_LEVEL))
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    return bool(returned.schema == sample.schema)


@lru_cache(maxsize=1024)
def _is_wide(dtype: pl.DataType) -> bool:
    """Tell whether Arrow brings back the 128-bit integers in this type, if there are any."""
    signs = polars_wide.signs(dtype)
    if pa is None or not signs or _is_unreadable(dtype):
        return False
    sample = pl.Series("sample", [None], dtype=dtype)
    try:
        return polars_wide.from_arrow(polars_wide.to_arrow(sample), signs).dtype == dtype
    except (ValueError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False


@lru_cache(maxsize=1024)
def _is_pickled(dtype: pl.DataType) -> bool:
    """Tell whether polars reads what it writes of this type; of enumerations in arrays, early versions do not."""
    if _is_unreadable(dtype):
        return False
    sample, returned = pl.Series("sample", [None], dtype=dtype), pl.Series()
    try:
        returned.__setstate__(sample.__getstate__())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return True  # of nothing, early versions do not read it
    return returned.dtype == dtype


def _is_unreadable(dtype: Any) -> bool:
    """Tell whether this is of Python's objects, which polars does not write, or has arrays without elements in it.

    Those it writes, but does not read.
    """
    if dtype == pl.Object:
        return True
    if isinstance(dtype, pl.Array):
        return 0 in dtype.shape or _is_unreadable(dtype.inner)
    if isinstance(dtype, pl.List):
        return _is_unreadable(dtype.inner)
    return isinstance(dtype, pl.Struct) and any(_is_unreadable(field.dtype) for field in dtype.fields)


def _with_attributes(reduce: Callable[[Any], Reduced]) -> Callable[[Any], Reduced]:
    """Return a reducer that keeps the attributes which users have set, and polars forgets.

    Where polars panics, it raises an EncodeError.
    """

    def reduce_all(obj: Any) -> Reduced:
        try:
            reduced: Any = reduce(obj)
        except pl.exceptions.PanicException as error:  # which is no Exception
            message = f"polars panics over this {type(obj).__name__}: {error}"
            raise EncodeError(message) from error
        attributes = {name: value for name, value in vars(obj).items() if name not in _PRIVATE}
        if not attributes:
            return reduced  # type: ignore[no-any-return]
        function, arguments, *state = reduced
        return function, arguments, (state[0] if state else None, attributes), None, None, set_attributes

    return reduce_all


def set_attributes(obj: Any, state: tuple[Any, dict[str, Any]]) -> None:
    """Give an object what polars says is its state, if it says so, and its attributes."""
    own, attributes = state
    if own is not None:
        obj.__setstate__(own)
    vars(obj).update(attributes)


def reduce_plan(plan: pl.Expr | pl.LazyFrame) -> Reduced:
    """Take an expression or a lazy frame apart, which only the same version of polars surely understands."""
    return rebuild_plan, (type(plan).__name__, pl.__version__, plan.__getstate__())


def rebuild_plan(name: str, version: str, state: bytes) -> Any:
    """Rebuild an expression or a lazy frame.

    Raises
    ------
    DecodeError
        It is from another version of polars, to which it may mean something else.
    """
    if version != pl.__version__:
        message = f"a polars {name} of polars {version} may mean something else to polars {pl.__version__}: "
        message += "use the same version on both sides, or send the collected data"
        raise DecodeError(message)
    cls: Any = _PLANS[name]
    plan = cls.__new__(cls)
    plan.__setstate__(state)
    return plan


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(pl.DataFrame, _with_attributes(reduce_frame), subclasses=True)
    DEFAULT.provide(pl.Series, _with_attributes(reduce_series), subclasses=True)
    DEFAULT.provide(pl.Schema, _with_attributes(polars_types.reduce_schema))
    for cls in _PLANS.values():
        DEFAULT.provide(cls, reduce_plan)
    polars_types.register()
