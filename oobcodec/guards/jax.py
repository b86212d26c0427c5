"""Guards of JAX's data: arrays, keys of random numbers, and what describes them.

Functions, and the structures of trees that JAX keeps by itself, are none.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

import jax
import numpy as np

from oobcodec.buffers import ALIGNMENT
from oobcodec.guards.checks import claim, expect, is_count, is_shape
from oobcodec.reducers import jax as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

_USER_DEFINED: Final = 2  # of ``dtype.isbuiltin``, as those of ml_dtypes are
_MOST_ELEMENTS: Final = 1 << 48
"""Of one array, even if it is empty: far from the numbers where XLA ends the process, for it cannot count the bytes."""

_MOST_LETTERS: Final = 32
_MOST_BYTES_A_CHARACTER: Final = 4  # of UTF-8


def rebuild_array(values: Any, weak_type: Any, place: Any = None) -> Any:
    """Rebuild an array from a checked one of numpy's."""
    expect(type(values) is np.ndarray, "the elements of an array are one of numpy's")
    dtype = values.dtype
    expect(dtype.kind in "biufcT" or dtype.isbuiltin == _USER_DEFINED, "JAX has arrays of this dtype")
    _check_lengths(values.shape)
    expect(type(weak_type) is bool and (dtype.kind in "biufc" or not weak_type), "a weak type is that of a number")
    expect(place is None or _is_place(place), "a place is a kind of device and a number")
    if _is_copied(values, place):
        claim(values.nbytes)  # of a broadcast array, those of all its elements
    if dtype.kind == "T":
        claim(_MOST_BYTES_A_CHARACTER * int(np.strings.str_len(values).sum()))
    if dtype.kind == "b":
        # Compiled code takes other bytes for what they are.
        expect(values.view(np.uint8).max(initial=0) <= 1, "bools are 0 or 1")
    return reducers.rebuild_array(values, weak_type, place)


def _check_lengths(shape: tuple[int, ...]) -> None:
    expect(
        prod([length or 1 for length in shape]) <= _MOST_ELEMENTS, f"an array has {_MOST_ELEMENTS:,} elements at most"
    )


def _is_place(place: Any) -> bool:
    if type(place) is not tuple or len(place) != 2:  # noqa: PLR2004
        return False
    platform, index = place
    return type(platform) is str and len(platform) <= _MOST_LETTERS and platform.isalpha() and is_count(index)


def _is_copied(values: Any, place: Any) -> bool:
    platform = jax.default_backend() if place is None else place[0]
    aligned = values.__array_interface__["data"][0] % ALIGNMENT == 0
    return platform != "cpu" or not values.flags.c_contiguous or not aligned


def rebuild_keys(data: Any, kind: Any) -> Any:
    """Rebuild an array of keys from a checked array of their bits."""
    expect(isinstance(data, jax.Array) and data.dtype == np.dtype(np.uint32), "keys consist of 32-bit integers")
    expect(type(kind) is str and len(kind) <= _MOST_LETTERS, "a kind of keys has a name")
    return reducers.rebuild_keys(data, kind)


def rebuild_shape(shape: Any, dtype: Any) -> Any:
    """Rebuild a `jax.ShapeDtypeStruct`."""
    expect(is_shape(shape) and isinstance(dtype, np.dtype), "a shape has lengths and a dtype of numpy's")
    _check_lengths(shape)
    return reducers.rebuild_shape(shape, dtype)


def rebuild_partition(*axes: Any, **reduced: Any) -> Any:
    """Rebuild a `jax.sharding.PartitionSpec`, which names axes of a mesh of devices."""
    for axis in axes:
        names = axis if type(axis) is tuple else () if axis is None else (axis,)
        expect(all(type(name) is str for name in names), "an axis of a mesh has a name")
    for members in reduced.values():
        expect(
            type(members) is frozenset and all(type(name) is str for name in members), "an axis of a mesh has a name"
        )
    return jax.sharding.PartitionSpec(*axes, **reduced)


GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "jax:P": rebuild_partition,
    "oobcodec.reducers.jax:rebuild_array": rebuild_array,
    "oobcodec.reducers.jax:rebuild_keys": rebuild_keys,
    "oobcodec.reducers.jax:rebuild_shape": rebuild_shape,
}
