"""numpy's dtypes: from strings of known forms, and structures whose fields lie inside of them.

A dtype that lies is worse than wrong data: it makes numpy read or write outside of its memory, or take numbers for the
addresses of objects.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from oobcodec.context import LOADING
from oobcodec.guards.checks import MOST_AXES, expect, is_count
from oobcodec.reducers import numpy_dtypes as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

    Dtype: TypeAlias = np.dtype[Any]

PLAIN: Final[dict[str, Dtype]] = {
    dtype.str: dtype for char in "?bBhHiIlLqQefdFD" for dtype in (np.dtype(char), np.dtype(char).newbyteorder("S"))
}
"""The dtypes of numbers and truth values by their strings, in both byte orders."""

MOST: Final = (1 << 63) - 1
"""Bytes and elements of an array: numpy counts them in a C ``ssize_t``."""

LARGEST: Final = (1 << 31) - 1
"""Bytes of an element: numpy counts them in a C ``int``."""

# The unit of a time is counted, and numpy divides by that count.
_FORMS: Final = re.compile(r"\|O|\|[SV]\d{1,10}|[<>]U\d{1,9}|[<>][mM]8(\[([1-9]\d{0,8})?([YMWDhms]|[munpfa]s)\])?")
_EXTENDED: Final = re.compile(r"[<>](f(8|12|16)|c(16|24|32))")
_UNITS: Final = {"S": 1, "U": 4, "V": 1}  # bytes
_NUMBERS: Final = frozenset("biufcmM")
_DEEPEST: Final = 32
"""Structures in each other: numpy goes through them by calls in each other."""
_MOST_PARTS: Final = 1 << 16
_CUSTOM: Final = frozenset(
    [
        *("bcomplex32", "bfloat16", "complex32", "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "float8_e3m4"),
        *("float8_e4m3", "float8_e4m3b11", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"),
        *("float8_e5m2fnuz", "float8_e8m0fnu", "int1", "int2", "int4", "uint1", "uint2", "uint4"),
    ]
)
_RECORD: Final = ("numpy", "record")


def size_of(shape: Any) -> int:
    """Return how many elements a shape has.

    Raises
    ------
    DecodeError
        It is no shape.
    """
    size = 1
    valid = type(shape) is tuple and len(shape) <= MOST_AXES
    for length in shape if valid else ():
        # Not more: the product of a few integers of a megabyte each would take minutes.
        valid = valid and type(length) is int and 0 <= length <= MOST
        size *= length if valid else 0
    if not valid:
        expect(condition=False, text="an array has a shape")
    return size


def element(dtype: Any) -> Dtype:
    """Return the dtype that an array has.

    Parameters
    ----------
    dtype
        A dtype that a guard made, or a string of those that reducers write.

    Raises
    ------
    DecodeError
        It is neither.
    """
    if type(dtype) is str:
        plain = PLAIN.get(dtype)
        return _named(dtype) if plain is None else plain
    expect(isinstance(dtype, np.dtype) and dtype.subdtype is None, "the dtype of an array is one of numpy's")
    return dtype  # type: ignore[no-any-return]  # expected


def element_in_memory(dtype: Any) -> Dtype:
    """Return the dtype of an array whose elements are bytes in a buffer.

    Raises
    ------
    DecodeError
        It is no dtype; or its elements refer to objects, of which nobody else can know the addresses.
    """
    if type(dtype) is str and dtype in PLAIN:
        return PLAIN[dtype]
    known = element(dtype)
    expect(not known.hasobject, "no object lies in a buffer")
    expect(known.itemsize, "the elements in a buffer have bytes")
    return known


@lru_cache(maxsize=1024)
def _named(name: str) -> Dtype:
    expect(_FORMS.fullmatch(name), f"{name[:40]!r} is a dtype that numpy has")
    # numpy 1.26 makes negative numbers of sizes that are too large.
    unit = _UNITS.get(name[1])
    expect(unit is None or int(name[2:]) * unit <= LARGEST, "an element is not larger than numpy counts")
    return reducers.named(name)


def _metadata(metadata: Any) -> None:
    expect(metadata is None or type(metadata) is dict, "the metadata of a dtype is a dict")


def rebuild_dtype(name: Any, metadata: Any = None) -> Dtype:
    """Rebuild a dtype that has a string."""
    expect(type(name) is str, "a dtype has a string")
    _metadata(metadata)
    known = element(name)
    return known if metadata is None else reducers.rebuild_dtype(name, metadata)


def rebuild_extended_dtype(name: Any, mantissa: Any, metadata: Any = None) -> Dtype:
    """Rebuild a long double, or a pair of them."""
    expect(type(name) is str and _EXTENDED.fullmatch(name), "a long double has the string of one")
    expect(is_count(mantissa), "a mantissa has a number of bits")
    _metadata(metadata)
    return reducers.rebuild_extended_dtype(name, mantissa, metadata)


def rebuild_structured_dtype(fields: Any, itemsize: Any, aligned: Any, base: Any, metadata: Any) -> Dtype:
    """Rebuild a dtype with fields."""
    expect(type(fields) is tuple and len(fields) == 4, "fields have names, formats, offsets and titles")  # noqa: PLR2004  # these
    names, formats, offsets, titles = fields
    expect(all(type(part) in {tuple, list} for part in (names, formats, offsets)), "fields are in order")
    expect(len(names) == len(formats) == len(offsets), "each field has a format and an offset")
    expect(all(type(name) is str for name in names), "the name of a field is a string")
    if titles is not None:
        expect(type(titles) is list and len(titles) == len(names), "each field has a title or none")
        expect(all(title is None or type(title) is str for title in titles), "the title of a field is a string")
    expect(is_count(itemsize) and itemsize <= LARGEST and type(aligned) is bool, "a structure has a size")
    _metadata(metadata)
    known = [_part(form) for form in formats]
    for part in known:
        LOADING.get().budget.operate(_weight(part))
    _check_places(known, offsets, itemsize)
    inner = (names, known, offsets, titles)
    return reducers.rebuild_structured_dtype(inner, itemsize, aligned, _base(base, known, itemsize), metadata)


def _part(dtype: Any) -> Dtype:
    """Return the dtype of a field, which may be an array itself."""
    if isinstance(dtype, np.dtype) and dtype.subdtype is not None:
        return dtype
    known = element(dtype)
    # numpy has no such fields, and what it makes of them differs between its versions.
    expect(known.kind != "T", "no strings of any length lie in a structure")
    return known


def _weight(dtype: Dtype, depth: int = 1) -> int:
    """Return of how many dtypes a dtype consists."""
    expect(depth < _DEEPEST, "dtypes do not lie in each other for ever")
    if dtype.subdtype is not None:
        return 1 + _weight(dtype.subdtype[0], depth + 1)
    weight = 1
    for name in dtype.names or ():
        weight += _weight(dtype.fields[name][0], depth + 1)  # type: ignore[index]  # those of its names
        expect(weight <= _MOST_PARTS, "a field does not consist of too many others")
    return weight


def _check_places(known: list[Dtype], offsets: Any, itemsize: int) -> None:
    for dtype, offset in zip(known, offsets, strict=True):
        expect(is_count(offset) and offset + dtype.itemsize <= itemsize, "a field lies in its structure")
    if any(dtype.hasobject for dtype in known):
        end = 0
        for offset, dtype in sorted(zip(offsets, known, strict=True), key=lambda field: field[0]):
            expect(offset >= end, "no field lies on another one in a structure with objects")
            end = offset + dtype.itemsize


def _base(base: Any, known: list[Dtype], itemsize: int) -> Any:
    """Return the scalar type of a structure, or the dtype of the number that its fields are parts of."""
    if base is None:
        return None
    if type(base) is str:
        number = element(base)
        expect(number.kind in _NUMBERS and number.itemsize == itemsize, "a structure is as large as its number")
        expect(not any(dtype.hasobject for dtype in known), "no object is a part of a number")
        return number
    expect(isinstance(base, tuple) and base == _RECORD, "a structure is a record, or a number")
    return np.record


def rebuild_subarray_dtype(base: Any, shape: Any, metadata: Any) -> Dtype:
    """Rebuild a dtype whose elements are arrays."""
    known = _part(base)
    expect(size_of(shape) * max(known.itemsize, 1) <= LARGEST, "an array in an element is not too large")
    LOADING.get().budget.operate(_weight(known))
    _metadata(metadata)
    return reducers.rebuild_subarray_dtype(known, shape, metadata)


def rebuild_custom_dtype(base: Any, metadata: Any, byteorder: Any = "=") -> Dtype:
    """Rebuild the dtype of a scalar type of ml_dtypes."""
    expect(isinstance(base, tuple) and len(base) == 2, "a scalar type has a name")  # noqa: PLR2004  # and a module
    module, name = base
    expect(module == "ml_dtypes" and name in _CUSTOM, "a scalar type is one of ml_dtypes")
    expect(type(byteorder) is str and byteorder in {"=", "<", ">"}, "a dtype has a byte order")
    _metadata(metadata)
    return reducers.rebuild_custom_dtype(getattr(import_module(module), name), metadata, byteorder)


def rebuild_string_dtype(coerce: Any, *na: Any) -> Dtype:
    """Rebuild a dtype of strings of any length."""
    expect(
        type(coerce) is bool and len(na) <= 1, "a dtype of strings coerces or not, and has one missing value or none"
    )
    expect(all(map(_is_missing, na)), "a missing string is None, NaN, pandas.NA or a string")
    return reducers.rebuild_string_dtype(coerce, *na)


def _is_missing(na: Any) -> bool:
    return na is None or type(na) in {float, str} or na is getattr(sys.modules.get("pandas"), "NA", None)


_HERE: Final = "oobcodec.reducers.numpy_dtypes"

GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    f"{_HERE}:rebuild_custom_dtype": rebuild_custom_dtype,
    f"{_HERE}:rebuild_dtype": rebuild_dtype,
    f"{_HERE}:rebuild_extended_dtype": rebuild_extended_dtype,
    f"{_HERE}:rebuild_string_dtype": rebuild_string_dtype,
    f"{_HERE}:rebuild_structured_dtype": rebuild_structured_dtype,
    f"{_HERE}:rebuild_subarray_dtype": rebuild_subarray_dtype,
    "numpy:record": None,
    **{f"ml_dtypes:{name}": None for name in _CUSTOM},
}

TAKES_NAMES: Final = frozenset((f"{_HERE}:rebuild_custom_dtype", f"{_HERE}:rebuild_structured_dtype"))
