"""Attributes that objects of a subclass have besides the data of their library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def with_attributes(rebuild: Callable[..., Any], arguments: tuple[Any, ...], state: Any) -> tuple[Any, ...]:
    """Return how an object is rebuilt, and given its attributes if it has any.

    Parameters
    ----------
    rebuild, arguments
        What makes the object, without its attributes.
    state
        What `object.__getstate__` returns of it.
    """
    return (rebuild, arguments, state, None, None, set_attributes) if state else (rebuild, arguments)


def set_attributes(obj: Any, state: dict[str, Any] | tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
    """Set what `object.__getstate__` returned of another object, without asking the class of this one."""
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    if attributes:
        vars(obj).update(attributes)
    for name, value in slots.items():
        object.__setattr__(obj, name, value)
