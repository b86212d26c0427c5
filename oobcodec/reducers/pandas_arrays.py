"""pandas' extension arrays, their dtypes, offsets and missing values.

Nothing here names a module of pandas in a message, because pandas has moved most of them: the receiver looks up by name
what it has.
"""

from __future__ import annotations

from array import array as numbers
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pandas as pd  # type: ignore[import-untyped]

from oobcodec.errors import DecodeError
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.buffers import Buffer

    Reduced: TypeAlias = tuple[Any, ...]

_MASKED: Final = ("BooleanArray", "FloatingArray", "IntegerArray")
# What pandas 2.1 and 2.2 called the strings whose missing values are NaN: their successor has the same meaning.
_NAN_STRINGS: Final = "pyarrow_numpy"
_END: Final = "\0"
_NAN: Final = float("nan")
_OBJECTS: Final = pd.api.types.pandas_dtype("object")


# Arrays over numpy's


def _by_masked(name: str) -> Callable[[Any], Reduced]:
    def reduce(array: Any) -> Reduced:
        values, mask = array._data, array._mask  # noqa: SLF001  # nothing public is uncopied
        if values.dtype.kind == "b" and mask.any():
            values = values & ~mask  # where a truth value is missing, pandas leaves what was in the memory before
        return rebuild_masked, (name, values, mask)

    return reduce


def rebuild_masked(name: str, values: Any, mask: Any) -> Any:
    """Rebuild integers, floating-point numbers or truth values of which some are missing."""
    return getattr(pd.arrays, name)(values, mask)


def _by_times(name: str) -> Callable[[Any], Reduced]:
    def reduce(array: Any) -> Reduced:
        dtype = array.dtype
        zoned = dtype if isinstance(dtype, pd.DatetimeTZDtype) else None
        freq = getattr(array, "_freq", None)  # of the index, from pandas 3.1 on
        return rebuild_times, (name, array._ndarray, zoned, *(() if freq is None else (freq,)))  # noqa: SLF001

    return reduce


def rebuild_times(name: str, values: Any, dtype: Any | None, freq: Any | None = None) -> Any:
    """Rebuild an array of times, one- or two-dimensional.

    Parameters
    ----------
    name
        ``"DatetimeArray"`` or ``"TimedeltaArray"``.
    values
        An array of numpy's, ``datetime64`` or ``timedelta64``.
    dtype
        That of times in a time zone, or None.
    freq
        The offset from each to the next, if pandas keeps it with the array.
    """
    # What is public reads times without a zone as local ones, or takes one dimension only.
    array = getattr(pd.arrays, name)._simple_new(values, dtype=values.dtype if dtype is None else dtype)  # noqa: SLF001
    if freq is not None and hasattr(array, "_freq"):
        array._freq = freq  # noqa: SLF001  # it belongs to these times: pandas would compute them all to see that
    return array


def _reduce_periods(array: Any) -> Reduced:
    return rebuild_periods, (array._ndarray, array.dtype)  # noqa: SLF001  # `asi8` is a copy in some versions


def rebuild_periods(values: Any, dtype: Any) -> Any:
    """Rebuild an array of periods from their ordinal numbers."""
    return pd.arrays.PeriodArray(values, dtype=dtype)


def _reduce_intervals(array: Any) -> Reduced:
    return rebuild_intervals, (array._left, array._right, array.closed)  # noqa: SLF001  # `left` makes an index of it


def rebuild_intervals(left: Any, right: Any, closed: str) -> Any:
    """Rebuild an array of intervals from two arrays of their ends."""
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=closed)


def _reduce_categorical(array: Any) -> Reduced:
    return rebuild_categorical, (array._ndarray, array.dtype)  # noqa: SLF001  # `codes` are read-only


def rebuild_categorical(codes: Any, dtype: Any) -> Any:
    """Rebuild a categorical array."""
    return pd.Categorical.from_codes(codes, dtype=dtype, validate=False)


def _reduce_sparse(array: Any) -> Reduced:
    index = array.sp_index
    where = (index.indices,) if array.kind == "integer" else (index.blocs, index.blengths)
    return rebuild_sparse, (array.sp_values, index.length, where, array.dtype)


def rebuild_sparse(values: Any, length: int, where: tuple[Any, ...], dtype: Any) -> Any:
    """Rebuild a sparse array.

    Parameters
    ----------
    values
        The elements that are there.
    length
        How many elements there would be.
    where
        An array of the places of `values`, or two: of where runs of them begin, and how long they are.
    dtype
        The dtype, with the value of all other elements.
    """
    from pandas.core.arrays.sparse import BlockIndex, IntIndex  # type: ignore[import-untyped]  # noqa: PLC0415

    index = IntIndex(length, *where) if len(where) == 1 else BlockIndex(length, *where)
    # The way without a deprecation is younger than pandas 2.2.
    return pd.arrays.SparseArray._simple_new(values, index, dtype)  # noqa: SLF001


def _reduce_wrapped(array: Any) -> Reduced:
    return rebuild_wrapped, (array._ndarray,)  # noqa: SLF001  # `to_numpy` may be read-only


def rebuild_wrapped(values: Any) -> Any:
    """Rebuild an array of numpy's as an extension array."""
    return pd.arrays.NumpyExtensionArray(values)


# Strings


def _reduce_strings(array: Any) -> Reduced:
    objects = array._ndarray  # noqa: SLF001  # `to_numpy` looks for missing values first
    strings = objects.tolist()
    na = array.dtype.na_value
    missing = numbers("Q")
    if set(map(type, strings)) != {str}:
        missing.extend([i for i, string in enumerate(strings) if string is na])
        for i in missing:
            strings[i] = ""
    strings.append("")
    # The rest are strings of other classes, as numpy has one, and what would be mistaken for the end of a string.
    if set(map(type, strings)) == {str}:
        text = _END.join(strings)
        if text.count(_END) == len(strings) - 1:
            data = PickleBuffer(text.encode("utf-8", "surrogatepass")) if text else b""
            return rebuild_strings, (data, missing, array.dtype)
    return rebuild_string_objects, (objects, array.dtype)


def rebuild_strings(text: Buffer, missing: numbers[int], dtype: Any) -> Any:
    """Rebuild an array of Python's strings, or the same as objects if that is the dtype.

    Parameters
    ----------
    text
        All strings, each with a NUL behind it, as UTF-8.
    missing
        Which of them are missing values.
    dtype
        The dtype.
    """
    strings: list[Any] = str(text, "utf-8", "surrogatepass").split(_END)
    del strings[-1]
    for i in missing:
        strings[i] = _NAN if dtype == _OBJECTS else None
    array = pd.array(strings, dtype=dtype)
    return array.to_numpy() if dtype == _OBJECTS else array


def rebuild_string_objects(objects: Any, dtype: Any) -> Any:
    """Rebuild an array of Python's strings from an array of them, which it is already if that is the dtype."""
    return objects if dtype == _OBJECTS else pd.array(objects, dtype=dtype)


def _reduce_arrow_strings(array: Any) -> Reduced:
    return rebuild_arrow_strings, (array.__arrow_array__(), array.dtype)


def rebuild_arrow_strings(strings: Any, dtype: Any) -> Any:
    """Rebuild an array of Arrow's strings, or the same as objects if that is the dtype."""
    if dtype == _OBJECTS:
        return pd.array([_NAN if s is None else s for s in strings.to_pylist()], dtype=_OBJECTS).to_numpy()
    return dtype.__from_arrow__(strings)


def _reduce_arrow(array: Any) -> Reduced:
    return rebuild_arrow, (array.__arrow_array__(),)


def rebuild_arrow(values: Any) -> Any:
    """Rebuild an array of any type of Arrow's."""
    return pd.arrays.ArrowExtensionArray(values)


# Dtypes

_PARAMETERS: Final[dict[str, Callable[[Any], tuple[Any, ...]]]] = {
    "ArrowDtype": lambda dtype: (dtype.pyarrow_dtype,),
    "IntervalDtype": lambda dtype: (dtype.subtype, dtype.closed),
    "PeriodDtype": lambda dtype: (dtype.name.removeprefix("period[").removesuffix("]"),),
    "SparseDtype": lambda dtype: (dtype.subtype, dtype.fill_value),
}
_WITHOUT: Final = (
    *("BooleanDtype", "Float32Dtype", "Float64Dtype", "Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype"),
    *("UInt8Dtype", "UInt16Dtype", "UInt32Dtype", "UInt64Dtype"),
)


def _by_parameters(name: str) -> Callable[[Any], Reduced]:
    parameters = _PARAMETERS.get(name, lambda _: ())
    return lambda dtype: (rebuild_dtype, (name, *parameters(dtype)))


def rebuild_dtype(name: str, *parameters: Any) -> Any:
    """Rebuild a dtype of the class with that name in pandas.

    Raises
    ------
    DecodeError
        This pandas has none.
    """
    return _look_up(pd, name)(*parameters)


def _look_up(module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        message = f"pandas {pd.__version__} has no {name}, which the sender's pandas has: install the same version"
        raise DecodeError(message)
    return found


def _reduce_zoned(dtype: Any) -> Reduced:
    zone = dtype.tz
    if type(zone).__module__.partition(".")[0] == "pytz" and zone.zone is not None:
        return rebuild_pytz_dtype, (dtype.unit, zone.zone)
    return rebuild_dtype, ("DatetimeTZDtype", dtype.unit, zone)


def rebuild_pytz_dtype(unit: str, zone: str) -> Any:
    """Rebuild the dtype of times in a zone of pytz, which pandas 3 does without if it is not installed."""
    try:
        import pytz  # type: ignore[import-untyped]  # noqa: PLC0415  # most never need it
    except ImportError:
        return pd.DatetimeTZDtype(unit, zone)
    return pd.DatetimeTZDtype(unit, pytz.timezone(zone))


def _reduce_categories(dtype: Any) -> Reduced:
    return rebuild_categories, (dtype.categories, dtype.ordered)


def rebuild_categories(categories: Any, ordered: bool | None) -> Any:  # noqa: FBT001  # pickle passes by position
    """Rebuild the dtype of categorical arrays."""
    # The constructor would look for duplicates, which are not there.
    dtype = pd.CategoricalDtype.__new__(pd.CategoricalDtype)
    dtype.__setstate__({"categories": categories, "ordered": ordered})
    return dtype


def _reduce_string_dtype(dtype: Any) -> Reduced:
    return rebuild_string_dtype, (dtype.storage, dtype.na_value is not pd.NA)


def rebuild_string_dtype(storage: str, nan: bool) -> Any:  # noqa: FBT001  # pickle passes by position
    """Rebuild the dtype of strings; before pandas 2.3, ``str`` is the dtype of objects, as it always was there.

    Parameters
    ----------
    storage
        ``"python"``, ``"pyarrow"``, or ``"pyarrow_numpy"``.
    nan
        Missing values are NaN, as those of ``str``, not `pandas.NA`.
    """
    if not nan:
        return pd.StringDtype(storage)
    try:
        return pd.StringDtype("pyarrow" if storage == _NAN_STRINGS else storage, na_value=_NAN)
    except TypeError:
        return pd.StringDtype(storage) if storage == _NAN_STRINGS else _OBJECTS


# Offsets and missing values


def _by_offset(name: str) -> Callable[[Any], Reduced]:
    def reduce(offset: Any) -> Reduced:
        make, arguments, *state = offset.__reduce_ex__(5)
        # Either the class with its arguments, or `copyreg.__newobj__` with the class.
        return (rebuild_offset, (name, *(arguments if make is type(offset) else arguments[1:])), *state)

    return reduce


def rebuild_offset(name: str, *arguments: Any) -> Any:
    """Rebuild an offset of the class with that name in `pandas.offsets`.

    Raises
    ------
    DecodeError
        This pandas has none, or its takes other arguments.
    """
    cls = _look_up(pd.offsets, name)
    try:
        return cls(*arguments)
    except TypeError as error:
        message = f"pandas {pd.__version__} has no such {name} as the sender's pandas: {error}"
        raise DecodeError(message) from error


def _by_name(name: str) -> Callable[[Any], Reduced]:
    return lambda _: (rebuild_missing, (name,))


def rebuild_missing(name: str) -> Any:
    """Return `pandas.NA` or `pandas.NaT`, of which there is one each."""
    return getattr(pd, name)


# The registry


def _rebuild_strings_read_only(*arguments: Any) -> Any:
    strings = rebuild_strings(*arguments)
    getattr(strings, "_ndarray", strings).flags.writeable = False
    return strings


def register() -> None:
    """Tell the registry."""
    provide = DEFAULT.provide
    for name in _MASKED:
        provide(getattr(pd.arrays, name), _by_masked(name))
    for name in ("DatetimeArray", "TimedeltaArray"):
        provide(getattr(pd.arrays, name), _by_times(name))
    provide(pd.arrays.PeriodArray, _reduce_periods)
    provide(pd.arrays.IntervalArray, _reduce_intervals)
    provide(pd.Categorical, _reduce_categorical)
    provide(pd.arrays.SparseArray, _reduce_sparse)
    provide(pd.arrays.NumpyExtensionArray, _reduce_wrapped)
    provide(pd.arrays.StringArray, _reduce_strings)
    provide(pd.arrays.ArrowExtensionArray, _reduce_arrow)
    provide(pd.arrays.ArrowStringArray, _reduce_arrow_strings)
    for name in (*_PARAMETERS, *_WITHOUT):
        provide(getattr(pd, name), _by_parameters(name))
    provide(pd.DatetimeTZDtype, _reduce_zoned)
    provide(pd.CategoricalDtype, _reduce_categories)
    provide(pd.StringDtype, _reduce_string_dtype)
    for name in pd.offsets.__all__:
        offset = getattr(pd.offsets, name)
        if offset is not pd.offsets.BaseOffset:
            provide(offset, _by_offset(offset.__name__))
    for name in ("NA", "NaT"):
        provide(type(getattr(pd, name)), _by_name(name))
    DEFAULT.frozen[rebuild_strings] = _rebuild_strings_read_only
