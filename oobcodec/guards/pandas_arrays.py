"""Guards of pandas' extension arrays, their dtypes, offsets and missing values.

What pandas would read outside of memory is checked. What it or a check here goes through is claimed as if it were
allocated, so that a small message that names one large array many times cannot keep anybody busy for long.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from array import array as numbers
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from oobcodec.context import LOADING
from oobcodec.guards.checks import claim, expect, is_count
from oobcodec.guards.pandas_offsets import conforming, known_pytz_zone
from oobcodec.reducers import pandas_arrays as reducers
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable

BOOLS: Final = "?"
SIGNED: Final = "bhilq"
INTEGERS: Final = "bhilqBHILQ"
FLOATS: Final = "fd"

_UNITS: Final = ("s", "ms", "us", "ns")
_BLOCKS: Final = "biufcOS"
_MASKED: Final = {"BooleanArray": BOOLS, "FloatingArray": FLOATS, "IntegerArray": INTEGERS}
_TIMES: Final = {"DatetimeArray": "M", "TimedeltaArray": "m"}
_TIME_ARRAYS: Final = (pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray)
_MASKED_ARRAYS: Final = (pd.arrays.FloatingArray, pd.arrays.IntegerArray)
_CLOSED: Final = ("left", "right", "both", "neither")
_OBJECTS: Final = np.dtype(object)
_STRING_OBJECT: Final = 64
"""Bytes of a short string of Python's, and of the places that refer to it."""
_STORAGES: Final = ("python", "pyarrow", "pyarrow_numpy")
_STRING_TYPES: Final = frozenset({str, np.str_, float, type(None), type(pd.NA), type(pd.NaT)})
_LONGEST_SPARSE: Final = 2**31 - 1  # pandas keeps places in 32 bits

_WIDTHS: Final = ((2**7, 1), (2**15, 2), (2**31, 4))


# What values are


def is_array(values: Any, characters: str, ndim: int = 1) -> bool:
    """Tell whether something is an array of numpy's itself, of some dtypes, in the order of bytes of this machine."""
    return (
        type(values) is np.ndarray
        and values.ndim == ndim
        and values.dtype.char in characters
        and bool(values.dtype.isnative)
    )


def is_block(dtype: Any) -> bool:
    """Tell whether pandas has columns of a dtype of numpy's."""
    return dtype.kind in _BLOCKS or (dtype.kind in "mM" and is_times(dtype, dtype.kind))


def is_times(dtype: Any, kind: str) -> bool:
    """Tell whether pandas has times of a dtype of numpy's."""
    if dtype.kind != kind or not dtype.isnative:
        return False
    unit, count = np.datetime_data(dtype)
    return unit in _UNITS and count == 1


def check_codes(codes: Any, count: int) -> None:
    """Refuse places in `count` labels that are not there; -1 is that of a missing value."""
    expect(is_array(codes, SIGNED), "codes are an array of signed integers")
    # Pandas copies them into the narrowest integers that fit.
    width = next((width for most, width in _WIDTHS if count < most), 8)
    claim(codes.nbytes + (0 if codes.itemsize == width else codes.size * width))
    if codes.size:
        expect(codes.min() >= -1 and codes.max() < count, "codes are places of labels, or -1")


def check_labels(labels: Any) -> None:
    """Refuse what is no index of labels, each of which is there once."""
    expect(isinstance(labels, pd.Index) and not isinstance(labels, pd.MultiIndex), "labels are an index of one level")
    if type(labels) is pd.RangeIndex:
        claim(8 * len(labels))  # which are made when they are needed
    expect(not has_duplicates(labels), "labels are there once")


def has_duplicates(index: Any) -> bool:
    """Tell whether a label of an index is there twice, so far as sorting shows it, or the hashes of strings.

    Pandas itself hashes in a way that everybody can foresee, and a sender could choose labels that take it long.
    """
    if type(index) is pd.RangeIndex:
        return False
    keys = list(index.codes) if isinstance(index, pd.MultiIndex) else _numbers_of(index._data)  # noqa: SLF001
    if not keys:
        return _has_equal_strings(index)
    claim(sum(key.nbytes for key in keys))
    if len(keys) == 1 and (keys[0][1:] > keys[0][:-1]).all():
        return False
    ordered = [key[np.lexsort(keys)] for key in keys]
    return bool(np.logical_and.reduce([key[1:] == key[:-1] for key in ordered]).any())


def _numbers_of(values: Any) -> list[Any]:
    """Return arrays of numpy's that are equal where some values are; none of what holds no numbers."""
    if isinstance(values, np.ndarray):
        return [values] if values.dtype.kind in "biufcmM" else []
    if isinstance(values, (*_TIME_ARRAYS, pd.arrays.PeriodArray)):
        return [values._ndarray]  # noqa: SLF001
    if isinstance(values, pd.Categorical):
        return [values.codes]
    if isinstance(values, pd.arrays.IntervalArray):
        return _numbers_of(values._left) + _numbers_of(values._right)  # noqa: SLF001
    if isinstance(values, (*_MASKED_ARRAYS, pd.arrays.BooleanArray)):
        return [np.where(values._mask, 0, values._data), values._mask]  # noqa: SLF001
    return []


def _has_equal_strings(index: Any) -> bool:
    values = index._data  # noqa: SLF001
    arrow = isinstance(values, pd.arrays.ArrowExtensionArray)
    if not isinstance(values, np.ndarray | pd.arrays.StringArray) and not (arrow and _holds_strings(index.dtype)):
        return False
    claim(_STRING_OBJECT * len(index) + (values.nbytes if arrow else 0))
    strings = index.tolist()
    if not set(map(type, strings)) <= {str}:
        return False
    # One object that is there twice first: comparing long strings again and again takes long.
    return len(set(map(id, strings))) < len(strings) or len(set(strings)) < len(strings)


def _holds_strings(dtype: Any) -> bool:
    return type(dtype) is pd.StringDtype


# Arrays over numpy's


def guard_masked(name: Any, values: Any, mask: Any) -> Any:
    """Check what `rebuild_masked` gets."""
    expect(is_array(values, _MASKED[name]), f"the values of a {name} are an array of its kind")
    expect(is_array(mask, BOOLS) and mask.shape == values.shape, "a mask has a truth value for each value")
    return reducers.rebuild_masked(name, values, mask)


def guard_times(name: Any, values: Any, dtype: Any, freq: Any = None) -> Any:
    """Check what `rebuild_times` gets."""
    kind = _TIMES[name]
    _check_axes(values)
    expect(is_times(values.dtype, kind), f"the values of a {name} are of a unit of pandas")
    if dtype is not None:
        expect(type(dtype) is pd.DatetimeTZDtype and kind == "M", "only times, no durations, are in a time zone")
        expect(dtype.unit == np.datetime_data(values.dtype)[0], "the unit of times is that of their dtype")
    array = reducers.rebuild_times(name, values, dtype)
    if freq is None:
        return array
    expect(values.ndim == 1, "times with a step have one axis")
    return reducers.rebuild_times(name, values, dtype, conforming(array, freq))


def _check_axes(values: Any) -> None:
    """Refuse what is no array of numpy's with one axis or two."""
    expect(type(values) is np.ndarray and values.ndim in {1, 2}, "there is an array with one axis or two")
    if values.ndim > 1:
        claim(8 * len(values))  # pandas goes through rows, of which there may be any number where they are empty


def guard_periods(values: Any, dtype: Any) -> Any:
    """Check what `rebuild_periods` gets."""
    _check_axes(values)
    expect(values.dtype == np.dtype("i8") and values.dtype.isnative, "periods are an array of integers of 64 bits")
    expect(type(dtype) is pd.PeriodDtype, "the dtype of periods is one of periods")
    return reducers.rebuild_periods(values, dtype)


def guard_intervals(left: Any, right: Any, closed: Any) -> Any:
    """Check what `rebuild_intervals` gets, which itself looks for ends before their beginnings."""
    expect(type(closed) is str and closed in _CLOSED, f"intervals are closed: {', '.join(_CLOSED)}")
    for side in (left, right):
        plain = is_array(side, INTEGERS + FLOATS + "mM") and (side.dtype.kind not in "mM" or is_block(side.dtype))
        expect(plain or type(side) in (*_TIME_ARRAYS, *_MASKED_ARRAYS), "intervals are between numbers or times")
    expect(left.ndim == right.ndim == 1 and len(left) == len(right), "an interval has two ends")
    expect(type(left) is type(right) and left.dtype == right.dtype, "both ends of intervals have one dtype")
    claim(left.nbytes + right.nbytes)
    return reducers.rebuild_intervals(left, right, closed)


def guard_categorical(codes: Any, dtype: Any) -> Any:
    """Check what `rebuild_categorical` gets."""
    expect(type(dtype) is pd.CategoricalDtype and dtype.categories is not None, "there are categories")
    check_codes(codes, len(dtype.categories))
    return reducers.rebuild_categorical(codes, dtype)


def guard_sparse(values: Any, length: Any, where: Any, dtype: Any) -> Any:
    """Check what `rebuild_sparse` gets: pandas overlooks negative lengths of runs, and sums over 32 bits."""
    expect(type(values) is np.ndarray and values.ndim == 1 and is_block(values.dtype), "sparse values are an array")
    expect(type(dtype) is pd.SparseDtype and dtype.subtype == values.dtype, "the dtype is that of the sparse values")
    expect(is_count(length) and length <= _LONGEST_SPARSE, "the length of a sparse array fits into 32 bits")
    expect(type(where) is tuple and len(where) in {1, 2}, "there is one array of places, or two of runs")
    expect(all(is_array(each, "il") and each.itemsize == 4 for each in where), "places fit into 32 bits")  # noqa: PLR2004
    claim(length * values.itemsize + 16 * where[0].size)  # of all elements, which are made when they are needed
    starts = where[0].astype("i8")
    counts = where[-1].astype("i8") if len(where) > 1 else np.ones_like(starts)
    expect(starts.shape == counts.shape, "each run has a length")
    ends = starts + counts
    if starts.size:
        expect((counts > 0).all() and starts[0] >= 0 and ends[-1] <= length, "places lie in the array")
        expect((starts[1:] >= ends[:-1]).all(), "places ascend")
    expect(counts.sum() == len(values), "there is a place for each value")
    return reducers.rebuild_sparse(values, length, where, dtype)


def guard_wrapped(values: Any) -> Any:
    """Check what `rebuild_wrapped` gets."""
    _check_axes(values)
    return reducers.rebuild_wrapped(values)


# Strings


def guard_strings(text: Any, missing: Any, dtype: Any) -> Any:
    """Check what `rebuild_strings` gets, and do the same."""
    expect(type(text) in {bytes, bytearray, memoryview}, "the text of strings is bytes")
    expect(type(missing) is numbers and missing.typecode == "Q", "places of missing strings are an array")
    expect(_is_dtype_of_strings(dtype), "strings have a dtype of strings")
    data = bytes(text)
    count = data.count(b"\0")
    expect(data[-1:] in {b"", b"\0"}, "each string has an end")
    claim(2 * len(data) + _STRING_OBJECT * count)
    expect(not missing or max(missing) < count, "missing strings have a place")
    rebuild = reducers.rebuild_strings
    if LOADING.get().writable is False:
        rebuild = DEFAULT.frozen.get(rebuild, rebuild)
    return rebuild(data, missing, dtype)


def _is_dtype_of_strings(dtype: Any) -> bool:
    return type(dtype) is pd.StringDtype or (isinstance(dtype, np.dtype) and dtype == _OBJECTS)


def guard_string_objects(objects: Any, dtype: Any) -> Any:
    """Check what `rebuild_string_objects` gets: pandas calls `str` on what is no string."""
    expect(is_array(objects, "O"), "strings are an array of objects")
    expect(_is_dtype_of_strings(dtype), "strings have a dtype of strings")
    claim(_STRING_OBJECT * objects.size)
    expect(set(map(type, objects.tolist())) <= _STRING_TYPES, "strings are strings, or missing")
    return reducers.rebuild_string_objects(objects, dtype)


def guard_arrow_strings(strings: Any, dtype: Any) -> Any:
    """Check what `rebuild_arrow_strings` gets."""
    arrow = _arrow()
    expect(arrow is not None and type(strings) is arrow.ChunkedArray, "strings of Arrow are an array of Arrow")
    expect(strings.type in (arrow.string(), arrow.large_string()), "strings of Arrow are of its types of strings")
    expect(_is_dtype_of_strings(dtype), "strings have a dtype of strings")
    if dtype == _OBJECTS or dtype.storage == "python":
        claim(strings.nbytes + _STRING_OBJECT * len(strings))
    return reducers.rebuild_arrow_strings(strings, dtype)


def guard_arrow(values: Any) -> Any:
    """Check what `rebuild_arrow` gets."""
    arrow = _arrow()
    expect(arrow is not None and type(values) is arrow.ChunkedArray, "an array of Arrow is one")
    return reducers.rebuild_arrow(values)


def _arrow() -> Any:
    """Return pyarrow, if something of it can have arrived."""
    return sys.modules.get("pyarrow")


# Dtypes


_FREQ: Final = re.compile(r"([1-9]\d{0,17})?[A-Za-z]{1,8}(-[A-Za-z]{1,8}){0,2}")
_MOST_CACHED: Final = 1000
_FILLS: Final = (bool, int, float, complex, str, bytes, type(None), np.generic, dt.datetime, dt.timedelta)


def _is_arrow_type(data_type: Any) -> bool:
    arrow = _arrow()
    return arrow is not None and isinstance(data_type, arrow.DataType)


def _is_interval(subtype: Any = None, closed: Any = None) -> bool:
    if closed is not None and (type(closed) is not str or closed not in _CLOSED):
        return False
    if isinstance(subtype, np.dtype):
        return subtype.kind in "iuf" or (subtype.kind in "mM" and is_block(subtype))
    return subtype is None or isinstance(subtype, pd.api.extensions.ExtensionDtype)


def _is_freq(freq: Any) -> bool:
    if len(pd.PeriodDtype._cache_dtypes) > _MOST_CACHED:  # noqa: SLF001  # a message could fill it
        pd.PeriodDtype.reset_cache()
    return type(freq) is str and _FREQ.fullmatch(freq) is not None


def _is_sparse(subtype: Any, fill: Any) -> bool:
    return isinstance(subtype, np.dtype) and is_block(subtype) and (fill is pd.NA or isinstance(fill, _FILLS))


def is_zoned(unit: Any, zone: Any) -> bool:
    """Tell whether something is a unit of times and a time zone."""
    return type(unit) is str and unit in _UNITS and isinstance(zone, dt.tzinfo)


_DTYPES: Final[dict[str, Callable[..., bool]]] = {
    "ArrowDtype": _is_arrow_type,
    "DatetimeTZDtype": is_zoned,
    "IntervalDtype": _is_interval,
    "PeriodDtype": _is_freq,
    "SparseDtype": _is_sparse,
    "BooleanDtype": lambda: True,
    **{f"{kind}{bits}Dtype": lambda: True for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    **{f"Float{bits}Dtype": lambda: True for bits in (32, 64)},
}


def guard_dtype(name: Any, *parameters: Any) -> Any:
    """Check what `rebuild_dtype` gets."""
    expect(type(name) is str and name in _DTYPES, "a dtype is one of pandas")
    expect(_DTYPES[name](*parameters), f"a {name} has other parameters")
    return reducers.rebuild_dtype(name, *parameters)


def guard_pytz_dtype(unit: Any, zone: Any) -> Any:
    """Check what `rebuild_pytz_dtype` gets, and do the same: pandas reads any file that a zone of dateutil names."""
    expect(type(unit) is str and unit in _UNITS and type(zone) is str, "times in a zone have a unit and a name")
    try:
        return pd.DatetimeTZDtype(unit, known_pytz_zone(zone))
    except ImportError:
        return pd.DatetimeTZDtype(unit, ZoneInfo(zone))


def guard_categories(categories: Any, ordered: Any) -> Any:
    """Check what `rebuild_categories` gets."""
    expect(ordered is None or type(ordered) is bool, "categories are ordered or not")
    if categories is not None:
        check_labels(categories)
    return reducers.rebuild_categories(categories, ordered)


def guard_string_dtype(storage: Any, nan: Any) -> Any:
    """Check what `rebuild_string_dtype` gets."""
    expect(type(storage) is str and storage in _STORAGES and type(nan) is bool, "strings have a storage of pandas")
    return reducers.rebuild_string_dtype(storage, nan)


def guard_missing(name: Any) -> Any:
    """Check what `rebuild_missing` gets."""
    expect(type(name) is str and name in {"NA", "NaT"}, "pandas has two missing values")
    return reducers.rebuild_missing(name)


GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "oobcodec.reducers.pandas_arrays:rebuild_arrow": guard_arrow,
    "oobcodec.reducers.pandas_arrays:rebuild_arrow_strings": guard_arrow_strings,
    "oobcodec.reducers.pandas_arrays:rebuild_categorical": guard_categorical,
    "oobcodec.reducers.pandas_arrays:rebuild_categories": guard_categories,
    "oobcodec.reducers.pandas_arrays:rebuild_dtype": guard_dtype,
    "oobcodec.reducers.pandas_arrays:rebuild_intervals": guard_intervals,
    "oobcodec.reducers.pandas_arrays:rebuild_masked": guard_masked,
    "oobcodec.reducers.pandas_arrays:rebuild_missing": guard_missing,
    "oobcodec.reducers.pandas_arrays:rebuild_periods": guard_periods,
    "oobcodec.reducers.pandas_arrays:rebuild_pytz_dtype": guard_pytz_dtype,
    "oobcodec.reducers.pandas_arrays:rebuild_sparse": guard_sparse,
    "oobcodec.reducers.pandas_arrays:rebuild_string_dtype": guard_string_dtype,
    "oobcodec.reducers.pandas_arrays:rebuild_string_objects": guard_string_objects,
    "oobcodec.reducers.pandas_arrays:rebuild_strings": guard_strings,
    "oobcodec.reducers.pandas_arrays:rebuild_times": guard_times,
    "oobcodec.reducers.pandas_arrays:rebuild_wrapped": guard_wrapped,
}
