"""What guards of all libraries ask of their arguments."""

from __future__ import annotations

from typing import Any, Final

from oobcodec.context import LOADING
from oobcodec.errors import DecodeError

LARGEST: Final = (1 << 63) - 1
"""What libraries count with; and products of larger numbers could take for ever."""

MOST_AXES: Final = 64
"""Axes of an array in numpy 2; earlier ones and other libraries have fewer, and say so."""


def expect(condition: object, text: str) -> None:
    """Refuse what the message says, unless a condition holds.

    Parameters
    ----------
    condition
        What must be true.
    text
        What must be true, in words.

    Raises
    ------
    DecodeError
        It is not.
    """
    if not condition:
        message = f"damaged or hostile data: {text}"
        raise DecodeError(message)


def is_count(number: Any) -> bool:
    """Tell whether something is an integer of at most 63 bits, not a bool, and not negative."""
    return type(number) is int and 0 <= number <= LARGEST


def is_shape(shape: Any) -> bool:
    """Tell whether something is a tuple of lengths of axes."""
    return type(shape) is tuple and len(shape) <= MOST_AXES and all(map(is_count, shape))


def is_ints(numbers: Any) -> bool:
    """Tell whether something is a tuple of integers of at most 63 bits, of which none is a bool."""
    return type(numbers) is tuple and all(type(number) is int and -LARGEST <= number <= LARGEST for number in numbers)


def claim(nbytes: int) -> None:
    """Account for memory that is about to be allocated, and did not arrive as such.

    Raises
    ------
    LimitError
        With what was claimed before, it is over ``max_decompressed_bytes`` of the message's limits.
    """
    LOADING.get().budget.claim(nbytes)
