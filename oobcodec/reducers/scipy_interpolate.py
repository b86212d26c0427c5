"""scipy: splines and other interpolators, with the version that understands them."""

from __future__ import annotations

from typing import Any, TypeAlias

import scipy.interpolate

from oobcodec.errors import DecodeError
from oobcodec.registry import DEFAULT

Reduced: TypeAlias = str | tuple[Any, ...]


def reduce_interpolator(interpolator: Any) -> Reduced:
    """Take an interpolator apart."""
    _, _, state, *_ = interpolator.__reduce_ex__(5)
    return rebuild_interpolator, (type(interpolator), scipy.__version__), state


def rebuild_interpolator(cls: Any, version: str) -> Any:
    """Make an object of a class of `scipy.interpolate`, whose state is private to a version of scipy.

    Raises
    ------
    DecodeError
        It is from another version of scipy.
    """
    if version != scipy.__version__:
        message = f"a {cls.__name__} of scipy {version} consists of what scipy {scipy.__version__} does not know: "
        message += "use the same version on both sides, or send what it is made from"
        raise DecodeError(message)
    return cls.__new__(cls)


def register() -> None:
    """Tell the registry."""
    for cls in vars(scipy.interpolate).values():
        if isinstance(cls, type) and cls.__module__.startswith("scipy.interpolate."):
            DEFAULT.provide(cls, reduce_interpolator, subclasses=True)
