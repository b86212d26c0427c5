"""numpy's dtypes, told in words that numpy 1.26 and later versions understand alike."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from oobcodec.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Dtype: TypeAlias = np.dtype[Any]
    Run: TypeAlias = tuple[int, int]

_NAMED: Final = frozenset("?bBhHiIlLqQefdFDmMSUVO")
_TYPES: Final = frozenset(np.dtype(char).type for char in _NAMED)
# Their bytes mean something else on another kind of processor.
_EXTENDED: Final = (np.longdouble, np.clongdouble)


@lru_cache(maxsize=1024)
def named(name: str) -> Dtype:
    """Return the dtype with the string `name`.

    Raises
    ------
    DecodeError
        This numpy has none.
    """
    try:
        return np.dtype(name)
    except TypeError as error:
        message = f"numpy {np.__version__} has no dtype {name!r}: the sender's numpy is newer, or its platform another"
        raise DecodeError(message) from error


def describe(dtype: Dtype) -> str | Dtype:
    """Return a string if that is all there is to a dtype, otherwise the dtype, which `reduce_dtype` takes apart.

    The string tells the size of an integer, not its type in C: a ``long long`` may arrive as its equal, a ``long``.
    """
    return dtype.str if dtype.metadata is None and _is_named(dtype) else dtype


def _is_named(dtype: Dtype) -> bool:
    return dtype.char in _NAMED and dtype.type in _TYPES and dtype.names is None and dtype.subdtype is None


def reduce_dtype(dtype: Dtype) -> str | tuple[Any, ...]:
    """Take a dtype apart."""
    metadata = None if dtype.metadata is None else dict(dtype.metadata)
    if dtype.kind == "T":
        na = (dtype.na_object,) if hasattr(dtype, "na_object") else ()
        return rebuild_string_dtype, (dtype.coerce, *na)  # type: ignore[attr-defined]  # what StringDType has
    if dtype.names is not None:
        return rebuild_structured_dtype, (*_structure(dtype), metadata)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return rebuild_subarray_dtype, (describe(base), shape, metadata)
    if _is_named(dtype):
        return rebuild_dtype, (dtype.str, metadata)
    if dtype.type in _EXTENDED:
        return rebuild_extended_dtype, (dtype.str, _mantissa(), metadata)
    return _reduce_custom(dtype, metadata)


def _reduce_custom(dtype: Dtype, metadata: dict[str, Any] | None) -> str | tuple[Any, ...]:
    flexible = isinstance(dtype.type, type) and issubclass(dtype.type, np.flexible)
    base: Any = (dtype.type, dtype.itemsize) if flexible else dtype.type
    native: Dtype = np.dtype(base)
    if native == dtype:
        return rebuild_custom_dtype, (base, metadata)
    if native.newbyteorder(dtype.byteorder) == dtype:
        # Not numpy's own way, which turns the byte order of the one dtype that the process has of this type.
        return rebuild_custom_dtype, (base, metadata, dtype.byteorder)
    return dtype.__reduce_ex__(5)


def rebuild_dtype(name: str, metadata: Mapping[str, Any] | None = None) -> Dtype:
    """Rebuild a dtype that has a string."""
    return _with_metadata(named(name), metadata)


def rebuild_extended_dtype(name: str, mantissa: int, metadata: Mapping[str, Any] | None = None) -> Dtype:
    """Rebuild a long double, or a pair of them.

    Raises
    ------
    DecodeError
        The long double of this platform is another format: its bits would mean another number.
    """
    if mantissa != _mantissa():
        message = (
            f"a long double with {mantissa} bits of mantissa does not exist here, where it has {_mantissa()}: "
            "send float64 between these platforms"
        )
        raise DecodeError(message)
    return _with_metadata(named(name), metadata)


def _mantissa() -> int:
    return int(np.finfo(np.longdouble).nmant)


def _structure(dtype: Dtype) -> tuple[Any, ...]:
    names: tuple[str, ...] = dtype.names or ()
    fields: Mapping[str, Any] = dtype.fields or {}
    entries = [fields[name] for name in names]
    formats = [describe(entry[0]) for entry in entries]
    offsets = [entry[1] for entry in entries]
    titles = [entry[2] if len(entry) > 2 else None for entry in entries]  # noqa: PLR2004  # (dtype, offset, title)
    base = dtype.str if dtype.kind != "V" else None if dtype.type is np.void else dtype.type
    has_titles = any(title is not None for title in titles)
    parts = (names, formats, offsets, titles if has_titles else None)
    return parts, dtype.itemsize, dtype.isalignedstruct, base


def rebuild_structured_dtype(
    fields: tuple[Sequence[str], Sequence[str | Dtype], Sequence[int], Sequence[object] | None],
    itemsize: int,
    aligned: bool,  # noqa: FBT001  # pickle passes by position
    base: type | str | None,
    metadata: Mapping[str, Any] | None,
) -> Dtype:
    """Rebuild a dtype with fields.

    Parameters
    ----------
    fields
        Names, formats, offsets and titles.
    itemsize
        Bytes an element.
    aligned
        Whether it is laid out as a C compiler would.
    base
        The scalar type, `numpy.record` for example, if it is not `numpy.void`; or the dtype of the number that the
        fields are parts of.
    metadata
        What the user attached.
    """
    names, formats, offsets, titles = fields
    structure: dict[str, Any] = {"names": list(names), "offsets": list(offsets), "itemsize": itemsize}
    structure["formats"] = [_resolved(form) for form in formats]
    if titles is not None:
        structure["titles"] = list(titles)
    dtype: Dtype = np.dtype(structure, align=aligned)  # type: ignore[call-overload]
    if base is not None:
        dtype = np.dtype((base, dtype))
    return _with_metadata(dtype, metadata)


def rebuild_subarray_dtype(base: str | Dtype, shape: tuple[int, ...], metadata: Mapping[str, Any] | None) -> Dtype:
    """Rebuild a dtype whose elements are arrays."""
    return _with_metadata(np.dtype((_resolved(base), shape)), metadata)


def rebuild_custom_dtype(
    base: type | tuple[type, int], metadata: Mapping[str, Any] | None, byteorder: str = "="
) -> Dtype:
    """Rebuild the dtype of a scalar type that another library defines, of a size that it may leave open."""
    dtype: Dtype = np.dtype(base)
    return _with_metadata(dtype if byteorder == "=" else dtype.newbyteorder(byteorder), metadata)  # type: ignore[arg-type]


def rebuild_string_dtype(coerce: bool, *na: object) -> Dtype:  # noqa: FBT001  # pickle passes by position
    """Rebuild a dtype of strings of any length.

    Raises
    ------
    DecodeError
        This numpy has no such dtype.
    """
    string_dtype: Any = getattr(np.dtypes, "StringDType", None)
    if string_dtype is None:
        message = f"numpy {np.__version__} has no StringDType: install numpy 2 or later"
        raise DecodeError(message)
    if not na:
        return string_dtype(coerce=coerce)  # type: ignore[no-any-return]
    # Code that asks ``x is np.nan`` gets the answer that it got at home.
    missing = np.nan if isinstance(na[0], float) and np.isnan(na[0]) else na[0]
    return string_dtype(coerce=coerce, na_object=missing)  # type: ignore[no-any-return]


def _resolved(dtype: str | Dtype) -> Dtype:
    return named(dtype) if isinstance(dtype, str) else dtype


def _with_metadata(dtype: Dtype, metadata: Mapping[str, Any] | None) -> Dtype:
    return dtype if metadata is None else np.dtype(dtype, metadata=metadata)  # type: ignore[call-overload]


@lru_cache(maxsize=1024)
def runs(dtype: Dtype) -> tuple[Run, ...]:
    """Return which bytes of an element hold data: (start, stop) of each stretch, in ascending order.

    The others are padding, or fields of another dtype that this one leaves out.
    """
    merged: list[Run] = []
    for start, stop in sorted(_leaves(dtype, 0)):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        elif start < stop:
            merged.append((start, stop))
    return tuple(merged)


def _leaves(dtype: Dtype, at: int) -> Iterator[Run]:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        if runs(base) == ((0, base.itemsize),):
            yield at, at + dtype.itemsize
        else:
            for i in range(prod(shape)):
                yield from _leaves(base, at + i * base.itemsize)
    elif dtype.names is not None and dtype.kind == "V":
        fields: Mapping[str, Any] = dtype.fields or {}
        for name in dtype.names:
            yield from _leaves(fields[name][0], at + fields[name][1])
    else:
        yield at, at + dtype.itemsize
