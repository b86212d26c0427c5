"""numpy's masked arrays: data and mask as arrays of their own, so that both lie where they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from oobcodec.reducers.attributes import set_attributes
from oobcodec.reducers.numpy import class_reference, rebuild_view
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    MaskedArray: TypeAlias = np.ma.MaskedArray[Any, Any]
    State: TypeAlias = tuple[Any, Any, bool, bool, bool, dict[str, Any], Any]

# What numpy keeps in the instance, under names of its own that are not to enter a message.
_INTERNAL: Final = frozenset(
    ("_mask", "_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_optinfo", "_basedict")
)


def reduce_masked(array: MaskedArray) -> tuple[Any, ...]:
    """Take a masked array apart."""
    internal: Any = array
    mask = None if internal._mask is np.ma.nomask else internal._mask  # noqa: SLF001  # `mask` makes a view at each call
    attributes: Any = object.__getstate__(array)
    slots = None
    if isinstance(attributes, tuple):
        attributes, slots = attributes
    attributes = {name: value for name, value in attributes.items() if name not in _INTERNAL}
    state: State = (
        mask,
        internal._fill_value,  # noqa: SLF001  # `fill_value` sets a default where there is none
        array.hardmask,
        array.sharedmask,
        internal._isfield,  # noqa: SLF001  # nothing public tells
        internal._optinfo,  # noqa: SLF001  # nor this
        (attributes, slots) if slots else attributes,
    )
    return rebuild_view, (class_reference(type(array)), array.data), state, None, None, set_masked


def set_masked(array: MaskedArray, state: State) -> None:
    """Set the mask of an array, and what else belongs to it."""
    mask, fill_value, hard, shared, is_field, info, attributes = state
    vars(array).update(
        _mask=np.ma.nomask if mask is None else mask,
        _fill_value=fill_value,
        _hardmask=hard,
        _sharedmask=shared,
        _isfield=is_field,
        _optinfo=info,
        _basedict=info,
    )
    set_attributes(array, attributes)


def _reduce_masked_constant(_constant: object) -> tuple[Any, ...]:
    return rebuild_masked_constant, ()


def rebuild_masked_constant() -> Any:
    """Return `numpy.ma.masked`, of which there is one in a process."""
    return np.ma.masked


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(np.ma.MaskedArray, reduce_masked, subclasses=True)
    DEFAULT.provide(type(np.ma.masked), _reduce_masked_constant)
