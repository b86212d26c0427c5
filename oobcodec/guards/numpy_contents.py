"""What the elements of numpy's arrays may be, where not all bytes make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from oobcodec.context import LOADING
from oobcodec.guards.checks import expect

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray[Any, Any]

_LAST_CODE_POINT: Final = 0x10FFFF
_BYTES_AN_OPERATION: Final = 1 << 14


def check_contents(array: Array) -> None:
    """Refuse elements that are none, of whatever kind: after this, all of them can be shown and compared.

    Truth values are bytes of 0 or 1. numpy takes others for true, most of the time; but libraries that get them from
    numpy add them up, and count with the sum how much memory they write.

    Parameters
    ----------
    array
        An array of at most as many bytes as have arrived.

    Raises
    ------
    DecodeError
        An element is none.
    LimitError
        Messages that look at the same bytes again and again take too long.
    """
    dtype = array.dtype
    if dtype.names is not None:
        LOADING.get().budget.operate(len(dtype.names))
        for name in dtype.names:
            check_contents(array[name])
    elif dtype.kind in "bUM":
        if array.nbytes >= _BYTES_AN_OPERATION:
            LOADING.get().budget.operate(array.nbytes // _BYTES_AN_OPERATION)
        _CHECKS[dtype.kind](array)


def _check_truth(array: Array) -> None:
    expect(not array.size or array.view(np.uint8).max() <= 1, "a truth value is a byte of 0 or 1")


def _check_text(array: Array) -> None:
    dtype = array.dtype
    if array.size and dtype.itemsize:
        word = np.dtype(np.uint32).newbyteorder(dtype.byteorder)
        points = array.view(np.dtype((word, (dtype.itemsize // word.itemsize,))))
        expect(points.max() <= _LAST_CODE_POINT, "a string consists of code points of Unicode")


def _check_time(array: Array) -> None:
    if not array.dtype.str.endswith("]"):
        expect(np.isnat(array).all(), "a time without a unit is not a time")


_CHECKS: Final = {"b": _check_truth, "U": _check_text, "M": _check_time}
