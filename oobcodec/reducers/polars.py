"""polars: frames and series as the Arrow arrays that they consist of, plans with the version that understands them.

What Arrow cannot carry exactly goes polars' own way, column types of which it would silently make others included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import polars as pl
from polars import selectors

from oobcodec.errors import DecodeError
from oobcodec.registry import DEFAULT

try:
    import pyarrow as pa  # type: ignore[import-untyped]
except ImportError:
    pa = None

if TYPE_CHECKING:
    from collections.abc import Sequence

    Reduced: TypeAlias = str | tuple[Any, ...]

# Polars has its text in views, which older versions of Arrow for Python cannot take apart.
_NEWEST: Final = hasattr(getattr(pa, "DataType", None), "has_variadic_buffers")
_LEVEL: Final = pl.CompatLevel.newest() if _NEWEST else pl.CompatLevel.oldest()
_PLANS: Final = {
    cls.__name__: cls
    for cls in (pl.Expr, pl.LazyFrame, getattr(selectors, "Selector", pl.Expr))  # some versions have no such class
}


def reduce_frame(frame: pl.DataFrame) -> Reduced:
    """Take a frame apart."""
    columns = frame.get_columns()
    if pa is None or not columns or not all(_is_carried(column.dtype) for column in columns):
        return frame.__reduce_ex__(5)
    return rebuild_frame, (frame.to_arrow(compat_level=_LEVEL), [_order(column) for column in columns])


def rebuild_frame(table: Any, orders: Sequence[str]) -> pl.DataFrame:
    """Rebuild a frame over the memory of an Arrow table.

    Parameters
    ----------
    table
        The columns.
    orders
        For each ``"a"`` if it is known to be ascending, ``"d"`` if descending, and ``""`` otherwise.
    """
    frame: Any = pl.from_arrow(table, rechunk=False)
    if frame.columns != table.column_names:
        frame.columns = table.column_names  # polars replaces an empty name
    for i, order in enumerate(orders):
        if order:
            frame.replace_column(i, frame.to_series(i).set_sorted(descending=order == "d"))
    return frame  # type: ignore[no-any-return]


def reduce_series(series: pl.Series) -> Reduced:
    """Take a series apart."""
    if pa is None or not _is_carried(series.dtype):
        return series.__reduce_ex__(5)
    # As a table, whose field tells more of the type than an array does.
    return rebuild_series, (series.to_frame().to_arrow(compat_level=_LEVEL), _order(series))


def rebuild_series(table: Any, order: str) -> pl.Series:
    """Rebuild a series as the one column of a frame."""
    return rebuild_frame(table, [order]).to_series()


def _order(series: pl.Series) -> str:
    flags = series.flags
    return "a" if flags["SORTED_ASC"] else "d" if flags["SORTED_DESC"] else ""


@lru_cache(maxsize=1024)
def _is_carried(dtype: pl.DataType) -> bool:
    """Tell whether Arrow brings back what it is given of this type."""
    sample = pl.DataFrame({"sample": pl.Series([None], dtype=dtype)})
    try:
        returned: Any = pl.from_arrow(sample.to_arrow(compat_level=_LEVEL))
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    return bool(returned.schema == sample.schema)


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
    DEFAULT.provide(pl.DataFrame, reduce_frame)
    DEFAULT.provide(pl.Series, reduce_series)
    for cls in _PLANS.values():
        DEFAULT.provide(cls, reduce_plan)
