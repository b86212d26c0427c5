"""numpy's scalars: of values that their types have."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from oobcodec.guards.checks import claim, expect
from oobcodec.guards.numpy_contents import check_contents
from oobcodec.guards.numpy_dtypes import element_in_memory
from oobcodec.reducers import numpy_scalars as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.guards.numpy_dtypes import Dtype

# Under the names that pickle finds, of which each platform has some.
_INTEGERS: Final = (
    *("int8", "int16", "int32", "int64", "intc", "longlong"),
    *("uint8", "uint16", "uint32", "uint64", "uintc", "ulonglong"),
)
_FLOATS: Final = ("float16", "float32", "float64")
_COMPLEX: Final = {"complex64": "float32", "complex128": "float64"}
_TEXTS: Final[dict[str, type]] = {"bytes_": bytes, "str_": str, "void": bytes}


def _integer(cls: Any) -> Callable[[Any], Any]:
    least, most = int(np.iinfo(cls).min), int(np.iinfo(cls).max)

    def rebuild(value: Any) -> Any:
        # Earlier versions of numpy take what is too large, and warn.
        expect(type(value) is int and least <= value <= most, f"the value of a {cls.__name__} is one of its integers")
        return cls(value)

    return rebuild


def _fits(value: float, most: float) -> bool:
    return -most <= value <= most or value in {inf, -inf} or value != value  # noqa: PLR0124  # that is what NaN is


def _float(cls: Any) -> Callable[[Any], Any]:
    most = float(np.finfo(cls).max)

    def rebuild(value: Any) -> Any:
        expect(type(value) is float and _fits(value, most), f"the value of a {cls.__name__} is one of its numbers")
        return cls(value)

    return rebuild


def _complex(cls: Any, part: Any) -> Callable[[Any], Any]:
    most = float(np.finfo(part).max)

    def rebuild(value: Any) -> Any:
        expect(type(value) is complex, f"the value of a {cls.__name__} is a complex number")
        expect(_fits(value.real, most) and _fits(value.imag, most), f"the value of a {cls.__name__} is one of its own")
        return cls(value)

    return rebuild


def _text(cls: Any, of: type) -> Callable[[Any], Any]:
    def rebuild(value: Any) -> Any:
        expect(type(value) is of, f"the value of a {cls.__name__} is of type {of.__name__}")
        claim(len(value) * np.dtype("U1").itemsize)
        return cls(value)

    return rebuild


def rebuild_bool(value: Any) -> Any:
    """Rebuild a truth value of numpy's."""
    expect(type(value) is bool, "a truth value is true or false")
    return reducers.rebuild_bool(value)


def _check_bytes(dtype: Dtype, data: Any) -> None:
    expect(type(data) is bytes and len(data) == dtype.itemsize, "a scalar has as many bytes as its type")
    check_contents(np.frombuffer(data, dtype))


def rebuild_scalar(dtype: Any, data: Any) -> Any:
    """Rebuild a scalar from its bytes."""
    known = element_in_memory(dtype)
    expect(known.names is None, "a scalar without fields has none")
    _check_bytes(known, data)
    return reducers.rebuild_scalar(known, data)


def rebuild_void(dtype: Any, data: Any) -> Any:
    """Rebuild a structured scalar from its bytes."""
    known = element_in_memory(dtype)
    expect(known.names is not None, "a scalar with fields has some")
    _check_bytes(known, data)
    claim(len(data))
    return reducers.rebuild_void(known, data)


def rebuild_element(array: Any) -> Any:
    """Rebuild a structured scalar from an array of no dimensions that holds it."""
    expect(type(array) is np.ndarray and array.ndim == 0, "a scalar is in an array of no dimensions")
    expect(array.dtype.names is not None, "a scalar with fields has some")
    return reducers.rebuild_element(array)


_HERE: Final = "oobcodec.reducers.numpy_scalars"

GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    f"{_HERE}:rebuild_bool": rebuild_bool,
    f"{_HERE}:rebuild_element": rebuild_element,
    f"{_HERE}:rebuild_scalar": rebuild_scalar,
    f"{_HERE}:rebuild_void": rebuild_void,
    **{f"numpy:{name}": _integer(getattr(np, name)) for name in _INTEGERS},
    **{f"numpy:{name}": _float(getattr(np, name)) for name in _FLOATS},
    **{f"numpy:{name}": _complex(getattr(np, name), getattr(np, part)) for name, part in _COMPLEX.items()},
    **{f"numpy:{name}": _text(getattr(np, name), of) for name, of in _TEXTS.items()},
}
