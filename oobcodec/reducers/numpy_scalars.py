"""numpy's scalars: small, and often many, so each is as little as its type allows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from oobcodec.reducers.attributes import with_attributes
from oobcodec.reducers.numpy_dtypes import named, runs
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.reducers.numpy import Array, Dtype, Reduced
    from oobcodec.registry import Reduce

_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    "bBhHiIlLqQ": int,
    "efd": float,
    "FD": complex,
    "S": bytes,
    "U": str.__str__,  # ``str`` itself drops NULs at the end of numpy's strings
}


def _by_value(cls: type, value: Callable[[Any], Any]) -> Reduce:
    """Return the reducer of a scalar type whose objects Python's own `value` type can hold."""

    def reduce(scalar: Any) -> Reduced:
        return (cls, (value(scalar),)) if type(scalar) is cls else _reduce_derived(scalar, cls)

    return reduce


def _reduce_bool(scalar: Any) -> Reduced:
    # The class has another name in each major version of numpy.
    return rebuild_bool, (bool(scalar),)


def rebuild_bool(value: bool) -> np.bool_:  # noqa: FBT001  # pickle passes by position
    """Rebuild a truth value of numpy's."""
    return np.bool_(value)


def reduce_scalar(scalar: Any) -> Reduced:
    """Take apart a scalar that no type of Python's can hold."""
    dtype = scalar.dtype
    if type(scalar) is not dtype.type:
        return _reduce_derived(scalar, dtype.type)
    return rebuild_scalar, (sys.intern(dtype.str) if dtype.kind in "mM" else dtype, scalar.tobytes())


def rebuild_scalar(dtype: str | Dtype, data: bytes) -> Any:
    """Rebuild a scalar from its bytes."""
    return np.frombuffer(data, named(dtype) if isinstance(dtype, str) else dtype)[0]


def _reduce_void(scalar: Any) -> Reduced:
    if type(scalar) is np.void and scalar.dtype.names is None:
        return np.void, (scalar.tobytes(),)
    dtype = scalar.dtype
    if not dtype.hasobject and runs(dtype) == ((0, dtype.itemsize),):
        return rebuild_void, (dtype, scalar.tobytes())
    return rebuild_element, (np.asarray(scalar),)


def rebuild_void(dtype: Dtype, data: bytes) -> Any:
    """Rebuild a structured scalar from its bytes, into memory of its own that its fields can be set in."""
    return np.frombuffer(bytearray(data), dtype)[0]


def rebuild_element(array: Array) -> Any:
    """Rebuild a scalar from an array of no dimensions that holds it."""
    return array[()]


def _reduce_derived(scalar: Any, base: type) -> Reduced:
    arguments = (type(scalar), base(scalar))
    return with_attributes(rebuild_derived, arguments, object.__getstate__(scalar))


def rebuild_derived(cls: type, value: Any) -> Any:
    """Rebuild a scalar of a class that is derived from that of `value`."""
    return type(value).__new__(cls, value)


def register() -> None:
    """Tell the registry."""
    provide = DEFAULT.provide
    provide(np.generic, reduce_scalar, subclasses=True)
    for chars, value in _VALUES.items():
        for char in chars:
            cls = np.dtype(char).type
            provide(cls, _by_value(cls, value), subclasses=True)
    provide(np.bool_, _reduce_bool)
    provide(np.void, _reduce_void, subclasses=True)
