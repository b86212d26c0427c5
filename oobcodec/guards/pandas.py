"""Guards of pandas' frames, series and indexes.

Their classes alone: what a subclass does with its data is code of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from oobcodec.context import LOADING
from oobcodec.guards.checks import claim, expect, is_ints
from oobcodec.guards.pandas_arrays import (
    BOOLS,
    FLOATS,
    INTEGERS,
    SIGNED,
    check_codes,
    check_labels,
    has_duplicates,
    is_array,
    is_block,
)
from oobcodec.guards.pandas_offsets import GREATEST, conforming, is_integer
from oobcodec.reducers import pandas as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.limits import Budget

_References: Final[Any] = type(reducers.rebuild_references())
_ExtensionArray: Final[Any] = pd.api.extensions.ExtensionArray
_PLACES: Final = 16
"""Bytes that pandas takes for each column, to find it in its block."""
_DEEPEST: Final = 100
_OWN_ARRAYS: Final[dict[str, type]] = {
    "CategoricalIndex": pd.Categorical,
    "DatetimeIndex": pd.arrays.DatetimeArray,
    "IntervalIndex": pd.arrays.IntervalArray,
    "PeriodIndex": pd.arrays.PeriodArray,
    "TimedeltaIndex": pd.arrays.TimedeltaArray,
}
"""What indexes of these classes, and no others, hold."""
_LABELS: Final = BOOLS + INTEGERS + FLOATS + "FDO"
_SUBCLASS: Final = "subclasses of pandas' classes are no data, but code: accept them with policy=TRUSTED"


# Names


def check_name(name: Any) -> None:
    """Refuse what cannot be the name of a series or an index.

    Pandas hashes it, and the hash of a tuple goes through all tuples in it as often as they are there.

    Raises
    ------
    DecodeError
        It cannot be hashed, or not soon.
    """
    if name is None or type(name) in {str, int}:
        return
    budget: Budget = LOADING.get().budget
    level, depth = [name], 0
    while level:
        depth += 1
        expect(depth <= _DEEPEST, f"a name is at most {_DEEPEST} levels deep")
        expect(slice not in map(type, level), "a name is no slice")
        level = [member for item in level if isinstance(item, tuple) for member in item]
        budget.operate(len(level))
    hash(name)


# Frames and series


def guard_frame(cls: Any, blocks: Any, index: Any, columns: Any, references: Any = ()) -> Any:
    """Check what `rebuild_frame` gets: pandas reads outside of memory where blocks do not fit the labels."""
    expect(cls is None, _SUBCLASS)
    expect(isinstance(index, pd.Index) and isinstance(columns, pd.Index), "labels are indexes")
    expect(type(blocks) is tuple and len(blocks) % 2 == 0, "blocks have places")
    rows, width = len(index), len(columns)
    claim(_PLACES * width)
    if len(blocks) == 2 and blocks[1] == (0, width, 1) and is_ints(blocks[1]):  # noqa: PLR2004  # one block
        _check_block(blocks[0], width, rows)
    else:
        _check_places(blocks, width, rows)
    _check_references(references, len(blocks) // 2)
    return reducers.rebuild_frame(None, blocks, index, columns, references)


def _check_places(blocks: tuple[Any, ...], width: int, rows: int) -> None:
    """Refuse blocks that do not hold each column once."""
    seen = bytearray(width)
    total = 0
    for values, where in zip(blocks[::2], blocks[1::2], strict=True):
        expect(type(where) is tuple or is_array(where, SIGNED), "the places of a block are a range, or an array")
        places: Any = _range(where) if type(where) is tuple else where
        count = len(places)
        total += count
        expect(total <= width, "blocks have as many columns as there are labels")
        _check_block(values, count, rows)
        if count and type(places) is range:
            _expect_columns(min(places[0], places[-1]), max(places[0], places[-1]), width)
            seen[places.start : None if places.stop < 0 else places.stop : places.step] = b"\1" * count
        elif count:
            _expect_columns(places.min(), places.max(), width)
            np.frombuffer(seen, bool)[places] = True
    # As many as there are, so that none is there twice.
    expect(total == width and 0 not in seen, "each column is in one block")


def _expect_columns(least: int, greatest: int, width: int) -> None:
    expect(least >= 0 and greatest < width, "blocks have the columns that there are")


def _range(where: tuple[Any, ...]) -> range:
    start, stop, step = where
    if stop is None:
        stop = -1  # of a block that runs backwards
    expect(is_ints((start, stop, step)), "the places of a block are numbers")
    return range(start, stop, step)


def _check_block(values: Any, count: int, rows: int) -> None:
    """Refuse values that are no `count` columns of `rows` values."""
    if type(values) is np.ndarray:
        expect(values.shape == (count, rows), "a block has a row for each column, and a value for each label")
        expect(is_block(values.dtype), "a block is of a dtype of pandas")
        return
    _check_extension(values)
    shape = values.shape
    expect(shape == (count, rows) or (count == 1 and shape == (rows,)), "a block has a value for each label")


def _check_extension(values: Any) -> None:
    expect(
        isinstance(values, _ExtensionArray) and type(values) is not pd.arrays.NumpyExtensionArray,
        "values are an array of numpy or an extension array",
    )


def _check_references(references: Any, count: int) -> None:
    """Refuse what is not shared by `count` blocks; who shares it without need is copied without need."""
    expect(type(references) is tuple and len(references) in {0, count}, "each block may share its memory")
    expect(
        all(shared is None or type(shared) is _References for shared in references), "blocks share what tells them so"
    )


def guard_series(cls: Any, values: Any, index: Any, name: Any, references: Any = ()) -> Any:
    """Check what `rebuild_series` gets."""
    expect(cls is None, _SUBCLASS)
    if type(values) is np.ndarray:
        expect(is_block(values.dtype), "a series is of a dtype of pandas")
    else:
        _check_extension(values)
    expect(isinstance(index, pd.Index) and values.shape == (len(index),), "a series has a value for each label")
    check_name(name)
    _check_references(references, 1)
    return reducers.rebuild_series(None, values, index, name, references)


def guard_state(obj: Any, state: Any) -> None:
    """Check what `set_state` gets, and do the same: numpy looks up addresses of memory among attributes."""
    expect(type(obj) is pd.DataFrame or type(obj) is pd.Series, "only frames and series have attrs")
    attrs, duplicates, attributes = state
    expect(type(attrs) is dict and type(attributes) is dict and type(duplicates) is bool, "attrs are a dict")
    cls = type(obj)
    for name in attributes:
        fine = type(name) is str and not name.startswith("_") and name != "name" and not hasattr(cls, name)
        expect(fine, "pandas' own attributes and private ones are not set")
    if not duplicates:
        expect(not any(map(has_duplicates, obj.axes)), "labels are there once where the sender says so")
        obj.flags._allows_duplicate_labels = False  # noqa: SLF001  # what is public hashes: see `has_duplicates`
    reducers.set_state(obj, (attrs, True, attributes))


# Indexes


def guard_index(kind: Any, values: Any, name: Any, freq: Any = None, references: Any = None) -> Any:
    """Check what `rebuild_index` gets, and do the same."""
    if kind == "Index" and type(values) is np.ndarray:
        expect(is_array(values, _LABELS), "an index is of a dtype of pandas")
    elif kind == "Index":
        _check_extension(values)
        expect(type(values) not in _OWN_ARRAYS.values(), "an index of these values has a class of its own")
    else:
        expect(type(values) is _OWN_ARRAYS[kind], f"a {kind} has values of its own")
    expect(values.ndim == 1, "an index has one axis")
    check_name(name)
    expect(references is None or type(references) is _References, "an index shares what tells it so")
    if freq is not None:
        expect(kind in {"DatetimeIndex", "TimedeltaIndex"}, "only times have a step")
        freq = conforming(values, freq)
    return reducers.rebuild_index(kind, values, name, freq, references)


def guard_range(start: Any, stop: Any, step: Any, name: Any) -> Any:
    """Check what `rebuild_range` gets."""
    expect(is_integer(start) and is_integer(stop) and is_integer(step) and step, "a range is of integers of 64 bits")
    expect(abs(stop - start) <= GREATEST, "a range has a length of 63 bits")
    check_name(name)
    return reducers.rebuild_range(start, stop, step, name)


def guard_multi_index(levels: Any, codes: Any, sortorder: Any, names: Any) -> Any:
    """Check what `rebuild_multi_index` gets: pandas reads outside of memory where codes are no places of labels."""
    for each in (levels, codes, names):
        expect(type(each) is tuple and len(each) == len(levels), "levels have labels, codes and names")
    expect(sortorder is None or type(sortorder) is int, "a sort order is a number")
    for level, places in zip(levels, codes, strict=True):
        check_labels(level)
        check_codes(places, len(level))
        expect(len(places) == len(codes[0]), "all levels have as many codes")
    for name in names:
        check_name(name)
    index = reducers.rebuild_multi_index(levels, codes, None, names)
    if sortorder is None:
        return index
    expect(0 <= sortorder <= _sorted_levels(codes), "an index is sorted where the sender says so")
    return reducers.rebuild_multi_index(levels, codes, sortorder, names)


def _sorted_levels(codes: tuple[Any, ...]) -> int:
    """Return by how many of the first levels an index is sorted."""
    claim(2 * sum(places.nbytes for places in codes))
    undecided = np.ones(max(len(codes[0]) - 1, 0), bool)
    for count, places in enumerate(codes):
        if (places[1:] < places[:-1])[undecided].any():
            return count
        undecided &= places[1:] == places[:-1]
    return len(codes)


def guard_references() -> Any:
    """Do what `rebuild_references` does."""
    return reducers.rebuild_references()


GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "oobcodec.reducers.pandas:rebuild_frame": guard_frame,
    "oobcodec.reducers.pandas:rebuild_index": guard_index,
    "oobcodec.reducers.pandas:rebuild_multi_index": guard_multi_index,
    "oobcodec.reducers.pandas:rebuild_range": guard_range,
    "oobcodec.reducers.pandas:rebuild_references": guard_references,
    "oobcodec.reducers.pandas:rebuild_series": guard_series,
    "oobcodec.reducers.pandas:set_state": guard_state,
}
