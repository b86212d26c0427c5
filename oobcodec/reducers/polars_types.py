"""polars: dtypes, and classes of dtypes, which stand for them, by their names; schemas.

A message that holds a class itself could not be told from one that calls it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import polars as pl
from polars.datatypes import DataTypeClass, classes

from oobcodec.errors import DecodeError
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    Reduced: TypeAlias = str | tuple[Any, ...]

CLASSES: Final[dict[str, Any]] = {name: cls for name, cls in vars(classes).items() if isinstance(cls, DataTypeClass)}
"""By their names."""


def reduce_class(cls: Any) -> Reduced:
    """Take a class apart, of others than polars as pickle does it."""
    name = cls.__name__
    return (rebuild_class, (name,)) if CLASSES.get(name) is cls else cls.__qualname__


def rebuild_class(name: str) -> Any:
    """Return a class of dtypes.

    Raises
    ------
    DecodeError
        This polars has none of that name.
    """
    if name not in CLASSES:
        message = f"polars {pl.__version__} has no {name}: install the version that the sender has"
        raise DecodeError(message)
    return CLASSES[name]


def reduce_dtype(dtype: Any) -> Reduced:
    """Take a dtype apart."""
    state = vars(dtype)
    return rebuild_dtype, (type(dtype).__name__, state) if state else (type(dtype).__name__,)


def rebuild_dtype(name: str, state: dict[str, Any] | None = None) -> Any:
    """Rebuild a dtype of the class with that name, with its attributes."""
    cls = rebuild_class(name)
    dtype = cls.__new__(cls)
    vars(dtype).update(state or {})
    return dtype


def reduce_schema(schema: pl.Schema) -> Reduced:
    """Take a schema apart."""
    return rebuild_schema, (list(schema), list(schema.values()))


def rebuild_schema(names: Sequence[str], dtypes: Sequence[Any]) -> pl.Schema:
    """Rebuild a schema from names and as many dtypes."""
    schema = pl.Schema()
    for name, dtype in zip(names, dtypes, strict=True):
        schema[name] = dtype
    return schema


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(DataTypeClass, reduce_class)
    for cls in CLASSES.values():
        DEFAULT.provide(cls, reduce_dtype)
