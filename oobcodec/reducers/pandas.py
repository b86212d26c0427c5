"""pandas: frames, series and indexes over the arrays that they consist of, block by block.

A message names no module of pandas but those of the sender's own subclasses, so that it can be read by another version.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pandas as pd  # type: ignore[import-untyped]

from oobcodec.errors import DecodeError
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
_WITH_FREQ: Final = ("DatetimeIndex", "TimedeltaIndex")
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
    arguments = (None if cls is pd.DataFrame else cls, tuple(blocks), index, columns, *_references_of(frame))
    return _with_state(frame, rebuild_frame, arguments)


def reduce_series(series: Any) -> Reduced:
    """Take a series apart."""
    cls = type(series)
    values = _bare(series._values)  # noqa: SLF001  # `values` is read-only, or converted
    arguments = (None if cls is pd.Series else cls, values, series.index, series.name, *_references_of(series))
    return _with_state(series, rebuild_series, arguments)


def _bare(values: Any) -> Any:
    """Return numpy's array for times without a zone: pandas wraps it again."""
    if isinstance(values, _TIMES) and not isinstance(values.dtype, pd.DatetimeTZDtype):
        return values._ndarray  # noqa: SLF001  # without a copy, and writable if it is
    return values


def _references_of(obj: Any) -> tuple[Any, ...]:
    """Return by what pandas copies before it writes, as an argument that is left out if it needs not."""
    # The array manager of pandas 2 has no blocks.
    references = tuple([_if_shared(block.refs) for block in getattr(obj._mgr, "blocks", ())])  # noqa: SLF001
    return (references,) if any(references) else ()


def _if_shared(references: Any) -> Any:
    return references if references.has_reference() else None


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


def rebuild_frame(
    cls: type | None, blocks: Sequence[Any], index: Any, columns: Any, references: Sequence[Any] = ()
) -> Any:
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
    references
        For each block what `rebuild_references` returned, the same for all that share its memory, or None.
    """
    placed = [
        (values, slice(*where) if type(where) is tuple else where)
        for values, where in zip(blocks[::2], blocks[1::2], strict=True)
    ]
    return _of_class(cls, _with_references(_assemble(placed, index, columns), references))


def rebuild_series(cls: type | None, values: Any, index: Any, name: Any, references: Sequence[Any] = ()) -> Any:
    """Rebuild a series over its values; the class is given if it is not `pandas.Series`, references as of a frame."""
    # Without its dtype, pandas would guess what an array of objects holds.
    dtype = values.dtype if values.dtype.kind == "O" else None
    return _of_class(cls, _with_references(pd.Series(values, index, dtype, name, copy=False), references))


def rebuild_references() -> Any:
    """Return what objects have in common that share memory.

    From pandas 3 on, writing to one of them does not change the others: it is what tells pandas when to copy.
    """
    return _References()


def _with_references(obj: Any, references: Sequence[Any]) -> Any:
    if references:
        for block, shared in zip(getattr(obj._mgr, "blocks", ()), references, strict=False):  # noqa: SLF001
            if shared is not None:
                block.refs = shared
                shared.add_reference(block)
    return obj


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
_References: Final[Any] = type(pd.Index([0])._references)  # noqa: SLF001  # nor that of this
_internals: Any = getattr(pd.api, "internals", None)
_assemble: Final = getattr(_internals, "create_dataframe_from_blocks", _assemble_by_state)


# Indexes


def _by_values(name: str) -> Callable[[Any], Reduced]:
    def reduce(index: Any) -> Reduced:
        values = index._data  # noqa: SLF001  # `array` and `values` are other objects
        freq = index.freq if name in _WITH_FREQ else None
        references = _if_shared(index._references)  # noqa: SLF001
        if references is not None:
            return rebuild_index, (name, values, index.name, freq, references)
        return rebuild_index, (name, values, index.name, *(() if freq is None else (freq,)))

    return reduce


def rebuild_index(kind: str, values: Any, name: Any, freq: Any | None = None, references: Any | None = None) -> Any:
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
    references
        What `rebuild_references` returned, the same for all that share the memory of the values.
    """
    # The constructors take ten times as long, because they guess what the values might be.
    index = getattr(pd, kind)._simple_new(values, name, references)  # noqa: SLF001
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


# Computations to come: groups, windows, samples


def _reduce_deferred(obj: Any) -> Reduced:
    cls = type(obj)
    reduced: Any = obj.__reduce_ex__(5)
    if cls.__module__.partition(".")[0] != "pandas":
        return reduced  # type: ignore[no-any-return]
    return rebuild_deferred, (cls.__module__, cls.__name__, pd.__version__), reduced[2]


def rebuild_deferred(module: str, name: str, version: str) -> Any:
    """Make an object of a class of pandas's, whose state is private to a version of pandas.

    Raises
    ------
    DecodeError
        It is from another version of pandas.
    """
    if version != pd.__version__:
        message = f"a {name} of pandas {version} consists of what pandas {pd.__version__} does not know: "
        message += "use the same version on both sides, or send the frame and compute there"
        raise DecodeError(message)
    cls = getattr(import_module(module), name)
    return cls.__new__(cls)


def _deferred() -> list[type]:
    """Return the classes that all such objects inherit from, of which some are not public."""
    public = pd.api.typing.DataFrameGroupBy, pd.api.typing.Rolling, pd.Grouper
    names = {"BaseGroupBy", "BaseWindow", "Grouper"}
    return [base for cls in public for base in cls.__mro__ if base.__name__ in names]


# The registry


def register() -> None:
    """Tell the registry."""
    from oobcodec.reducers import pandas_arrays  # noqa: PLC0415  # only together

    provide = DEFAULT.provide
    provide(pd.DataFrame, reduce_frame, subclasses=True)
    provide(pd.Series, reduce_series, subclasses=True)
    provide(_References, lambda _: (rebuild_references, ()))
    for name in ("CategoricalIndex", "Index", "IntervalIndex", "PeriodIndex", *_WITH_FREQ):
        provide(getattr(pd, name), _by_values(name))
    provide(pd.RangeIndex, _reduce_range)
    provide(pd.MultiIndex, _reduce_multi_index)
    for cls in _deferred():
        provide(cls, _reduce_deferred, subclasses=True)
    pandas_arrays.register()
