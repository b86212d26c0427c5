"""Attributes that objects of some classes may have besides the data of their library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from oobcodec.guards.checks import expect
from oobcodec.reducers import attributes as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPTS: Final[dict[type, Callable[[Any, dict[str, Any]], None]]] = {}
"""By the exact class of an object, what checks its attributes. The guards of each library enter its classes here."""


def check_plain(obj: Any, attributes: Any) -> None:
    """Refuse attributes other than those that a user attaches to an object.

    Their names are public, and the class has none of them: no method is replaced, and nothing that a library keeps.

    Parameters
    ----------
    obj
        The object.
    attributes
        Its attributes by their names.

    Raises
    ------
    DecodeError
        One of them is something else.
    """
    expect(type(attributes) is dict, "attributes are a dict")
    for name in attributes:
        expect(type(name) is str and name.isidentifier(), "the name of an attribute is an identifier")
        expect(not name.startswith("_"), f"no private attribute {name!r} is set")
        expect(not hasattr(type(obj), name), f"no attribute {name!r} takes the place of one of {type(obj).__name__}")


def set_attributes(obj: Any, state: Any) -> None:
    """Set the attributes of an object whose class may have some."""
    check = ACCEPTS.get(type(obj))
    if check is None:
        expect(condition=False, text=f"no attributes are set on objects of {type(obj).__name__}")
    else:
        check(obj, state)
        reducers.set_attributes(obj, state)


GUARDS: Final[dict[str, Callable[..., Any] | None]] = {"oobcodec.reducers.attributes:set_attributes": set_attributes}
