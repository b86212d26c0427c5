"""numpy's masked arrays: masks that fit their data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from oobcodec.guards.checks import expect
from oobcodec.guards.numpy import check_numpy
from oobcodec.reducers import numpy_masked as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

_VOID: Final = np.ma.core.mvoid
_STATE: Final = 7  # parts
_SIZED: Final = frozenset("SU")


def set_masked(array: Any, state: Any) -> None:
    """Set the mask of an array, and what else belongs to it."""
    # Exactly these: there is one masked constant in a process.
    expect(type(array) in {np.ma.MaskedArray, _VOID}, "it is a masked array that gets a mask")
    expect(type(state) is tuple and len(state) == _STATE, "a masked array has a state")
    mask, fill_value, hard, shared, is_field, info, attributes = state
    _check_mask(array, mask)
    _check_fill_value(array, fill_value)
    expect(all(type(flag) in {bool, int} for flag in (hard, shared, is_field)), "a mask has flags")
    # numpy sets what is in there on the views of an array.
    check_numpy(array, info)
    check_numpy(array, attributes)
    reducers.set_masked(array, state)


def _check_mask(array: Any, mask: Any) -> None:
    if mask is None:
        return
    expect(type(mask) is np.ndarray or (type(array) is _VOID and type(mask) is np.void), "a mask is an array")
    fits = mask.shape == array.shape and mask.dtype == np.ma.make_mask_descr(array.dtype)
    expect(fits, "a mask has the shape of its data, and tells of each element whether it is masked")


def _check_fill_value(array: Any, value: Any) -> None:
    if value is None:
        return
    expect(type(value) is np.ndarray and value.ndim == 0, "what fills an array is an array of no dimensions")
    sized = value.dtype.kind == array.dtype.kind and value.dtype.kind in _SIZED
    expect(value.dtype == array.dtype or sized, "what fills an array has its dtype")


def rebuild_masked_constant() -> Any:
    """Return `numpy.ma.masked`, of which there is one in a process."""
    return reducers.rebuild_masked_constant()


_HERE: Final = "oobcodec.reducers.numpy_masked"

GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    f"{_HERE}:rebuild_masked_constant": rebuild_masked_constant,
    f"{_HERE}:set_masked": set_masked,
}
