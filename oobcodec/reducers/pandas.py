"""pandas: frames, series and indexes over the arrays that they consist of, block by block.

A message names no module of pandas but those of the sender's own subclasses, so that it can be read by another version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pandas as pd  # type: ignore[import-untyped]

from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Reduced: TypeAlias = str | tuple[Any, ...]
    Placement: TypeAlias = slice | Any
    State: TypeAlias = tuple[dict[Any, Any], bool, dict[str, Any]]

# What pandas itself keeps in its instances, now or formerly; all else in them is the user's.
_INTERNAL: Final = frozenset(
    ("_attrs", "_cache", "_cacher", "_flags", "_is_copy", "_item_cache", "_mgr", "_name", "_references", "name")
)
_ABSENT: Final = object()
_TIMES: Final = (pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray)


# Frames and series


def reduce_frame(frame: Any) -> Reduced:
    """Take a frame apart."""
    manager = frame._mgr  # noqa: SLF001  # what is public makes a frame or a series of each column
    if not isinstance(manager, _BlockManager):
        return frame.__reduce_ex__(5)  # type: ignore[no-any-return]  # the array manager of pandas 2
    blocks: list[Any] = []
    for block in manager.blocks:
        where = block.mgr_locs.indexer
        blocks += _bare(block.values), (where.start, where.stop, where.step) if type(where) is slice else where
    columns, index = manager.axes
    cls = type(frame)
    arguments = (None if cls is pd.DataFrame else cls, tuple(blocks), index, columns)
    return _with_state(frame, rebuild_frame, arguments)


def reduce_series(series: Any) -> Reduced:
    """Take a series apart."""
    cls = type(series)
    values = _bare(series._values)  # noqa: SLF001  # `values` is read-only, or converted
    arguments = (None if cls is pd.Series else cls, values, series.index, series.name)
    return _with_state(series, rebuild_series, arguments)


def _bare(values: Any) -> Any:
    """Return numpy's array for times without a zone: pandas wraps it again."""
    if isinstance(values, _TIMES) and not isinstance(values.dtype, pd.DatetimeTZDtype):
        return values._ndarray  # noqa: SLF001  # without a copy, and writable if it is
    return values


def _with_state(obj: Any, rebuild: Callable[..., Any], arguments: tuple[Any, ...]) -> Reduced:
    attributes = {}
    for name in (*vars(obj), *obj._metadata):  # noqa: SLF001  # how pandas wants subclasses to name their attributes
        if name not in _INTERNAL and name not in obj._accessors:  # noqa: SLF001  # pandas caches them here
            value = getattr(obj, name, _ABSENT)
            if value is not _ABSENT:
                attributes[name] = value
    duplicates = obj.flags.allows_duplicate_labels
    if duplicates and not attributes and not obj.attrs:
        return rebuild, arguments
    return rebuild, arguments, (obj.attrs, duplicates, attributes), None, None, set_state


def rebuild_frame(cls: type | None, blocks: Sequence[Any], index: Any, columns: Any) -> Any:
    """Rebuild a frame over its blocks.

    Parameters
    ----------
    cls
        The class, if it is not `pandas.DataFrame`.
    blocks
        In turn the values of a block, and which columns they are: an array of their numbers, or start, stop and step.
        Values are an array of numpy's with a row for each column, or an extension array.
    index, columns
        The labels.
    """
    placed = [
        (values, slice(*where) if type(where) is tuple else where)
        for values, where in zip(blocks[::2], blocks[1::2], strict=True)
    ]
    return _of_class(cls, _assemble(placed, index, columns))


def rebuild_series(cls: type | None, values: Any, index: Any, name: Any) -> Any:
    """Rebuild a series over its values; the class is given if it is not `pandas.Series`."""
    # Without its dtype, pandas would guess what an array of objects holds.
    dtype = values.dtype if values.dtype.kind == "O" else None
    return _of_class(cls, pd.Series(values, index, dtype, name, copy=False))


def _of_class(cls: Any, plain: Any) -> Any:
    """Return an object of a subclass with the data of `plain`, as its unpickling would make it."""
    if cls is None:
        return plain
    obj: Any = cls.__new__(cls)
    state = plain.__getstate__()
    del state["_metadata"]
    obj.__setstate__(state)
    return obj


def set_state(obj: Any, state: State) -> None:
    """Set attrs, whether labels may appear twice, and attributes of a subclass."""
    attrs, duplicates, attributes = state
    obj.attrs = attrs
    if not duplicates:
        obj.flags.allows_duplicate_labels = False
    for name, value in attributes.items():
        object.__setattr__(obj, name, value)  # not as a column


def _assemble_by_state(blocks: Sequence[tuple[Any, Placement]], index: Any, columns: Any) -> Any:
    """Do what `pandas.api.internals.create_dataframe_from_blocks` does, in a pandas without it.

    By the state that pandas pickled from 0.14.1 on, which all versions read.
    """
    members = [{"values": values, "mgr_locs": where} for values, where in blocks]
    manager = _BlockManager.__new__(_BlockManager)
    manager.__setstate__((None, None, None, {"0.14.1": {"axes": [columns, index], "blocks": members}}))
    frame = pd.DataFrame.__new__(pd.DataFrame)
    flags = {"allows_duplicate_labels": True}
    frame.__setstate__({"_mgr": manager, "_typ": "dataframe", "attrs": {}, "_flags": flags})
    return frame


_BlockManager: Final[Any] = type(pd.DataFrame()._mgr)  # noqa: SLF001  # its module is not public
_internals: Any = getattr(pd.api, "internals", None)
_assemble: Final = getattr(_internals, "create_dataframe_from_blocks", _assemble_by_state)


# Indexes


def _by_values(name: str) -> Callable[[Any], Reduced]:
    def reduce(index: Any) -> Reduced:
        return rebuild_index, (name, index._data, index.name)  # noqa: SLF001  # `array` and `values` are other objects

    return reduce


def _by_times(name: str) -> Callable[[Any], Reduced]:
    def reduce(index: Any) -> Reduced:
        freq = index.freq
        return rebuild_index, (name, index._data, index.name, *(() if freq is None else (freq,)))  # noqa: SLF001

    return reduce


def rebuild_index(kind: str, values: Any, name: Any, freq: Any | None = None) -> Any:
    """Rebuild an index over its values.

    Parameters
    ----------
    kind
        Name of its class in `pandas`.
    values
        An array of numpy's, or an extension array.
    name
        The name.
    freq
        The offset from each time to the next.
    """
    # The constructors take ten times as long, because they guess what the values might be.
    index = getattr(pd, kind)._simple_new(values, name)  # noqa: SLF001
    if freq is not None:
        # It belongs to these times: the constructors compute them all to see that.
        holder = values if hasattr(values, "_freq") else index
        holder._freq = freq  # noqa: SLF001  # the array has it before pandas 3.1
    return index


def _reduce_range(index: Any) -> Reduced:
    return rebuild_range, (index.start, index.stop, index.step, index.name)


def rebuild_range(start: int, stop: int, step: int, name: Any) -> Any:
    """Rebuild an index that is a range."""
    return pd.RangeIndex.from_range(range(start, stop, step), name)


def _reduce_multi_index(index: Any) -> Reduced:
    return rebuild_multi_index, (tuple(index.levels), tuple(index.codes), index.sortorder, tuple(index.names))


def rebuild_multi_index(
    levels: Sequence[Any], codes: Sequence[Any], sortorder: int | None, names: Sequence[Any]
) -> Any:
    """Rebuild an index of several levels from the labels of each, and arrays that say which comes where."""
    return pd.MultiIndex(levels, codes, sortorder, names, verify_integrity=False)


# The registry


def register() -> None:
    """Tell the registry."""
    from oobcodec.reducers import pandas_arrays  # noqa: PLC0415  # only together

    provide = DEFAULT.provide
    provide(pd.DataFrame, reduce_frame, subclasses=True)
    provide(pd.Series, reduce_series, subclasses=True)
    for name in ("CategoricalIndex", "Index", "IntervalIndex", "PeriodIndex"):
        provide(getattr(pd, name), _by_values(name))
    for name in ("DatetimeIndex", "TimedeltaIndex"):
        provide(getattr(pd, name), _by_times(name))
    provide(pd.RangeIndex, _reduce_range)
    provide(pd.MultiIndex, _reduce_multi_index)
    pandas_arrays.register()
