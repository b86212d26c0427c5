"""scipy: sparse matrices whose insides are not the same in all versions.

All other objects of scipy go its own way, their arrays out of band.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import scipy
import scipy.sparse

from oobcodec.errors import DecodeError
from oobcodec.reducers.attributes import with_attributes
from oobcodec.registry import DEFAULT

Reduced: TypeAlias = str | tuple[Any, ...]

# scipy 1.13 has ``coords`` instead of ``row`` and ``col``.
_OF_COO: Final = frozenset({"_shape", "col", "coords", "data", "has_canonical_format", "row"})
_OF_DOK: Final = frozenset({"_dict", "_shape", "dtype"})


# Sparse matrices


def reduce_coo(matrix: Any) -> Reduced:
    """Take a sparse matrix or array in coordinate format apart."""
    coordinates = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)
    arguments = (type(matrix).__name__, matrix.data, coordinates, matrix.shape, matrix.has_canonical_format)
    return with_attributes(rebuild_coo, arguments, _attributes(matrix, _OF_COO))


def rebuild_coo(name: str, data: Any, coordinates: tuple[Any, ...], shape: tuple[int, ...], canonical: bool) -> Any:  # noqa: FBT001  # by position
    """Rebuild a sparse matrix or array in coordinate format.

    Parameters
    ----------
    name
        The name of the class: ``"coo_matrix"`` or ``"coo_array"``.
    data
        The elements.
    coordinates
        Where they are: an array for each axis.
    shape
        The shape.
    canonical
        Whether they are sorted and no two of them are in the same place.

    Raises
    ------
    DecodeError
        This scipy knows matrices of two axes only.
    """
    matrix = _empty(name, shape)
    # Not by the constructor, which may make other integers of the coordinates.
    matrix.data = data
    if hasattr(matrix, "coords"):
        matrix.coords = coordinates
    else:
        matrix.row, matrix.col = coordinates
    matrix.has_canonical_format = canonical
    return matrix


def reduce_dok(matrix: Any) -> Reduced:
    """Take a sparse matrix or array that is a dictionary of keys apart: in some versions it inherits from `dict`."""
    elements = matrix._dict  # noqa: SLF001  # as all versions have it, but in none it is public
    arguments = (type(matrix).__name__, elements, matrix.shape, matrix.dtype)
    return with_attributes(rebuild_dok, arguments, _attributes(matrix, _OF_DOK))


def rebuild_dok(name: str, elements: dict[Any, Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """Rebuild a sparse matrix or array that is a dictionary of keys.

    Parameters
    ----------
    name
        The name of the class: ``"dok_matrix"`` or ``"dok_array"``.
    elements
        The elements by their places, in their order.
    shape
        The shape.
    dtype
        The dtype.

    Raises
    ------
    DecodeError
        This scipy knows matrices of two axes only.
    """
    matrix = _empty(name, shape)
    matrix._dict, matrix.dtype = elements, dtype  # noqa: SLF001  # to set one element after the other takes long
    return matrix


def _attributes(matrix: Any, own: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(matrix).items() if name not in own}


def _empty(name: str, shape: tuple[int, ...]) -> Any:
    try:
        return getattr(scipy.sparse, name)(shape)
    except (TypeError, ValueError) as error:
        message = f"scipy {scipy.__version__} has no {name} of {len(shape)} axes: install the sender's version"
        raise DecodeError(message) from error


# The registry


def register() -> None:
    """Tell the registry."""
    for cls, reduce in {
        scipy.sparse.coo_array: reduce_coo,
        scipy.sparse.coo_matrix: reduce_coo,
        scipy.sparse.dok_array: reduce_dok,
        scipy.sparse.dok_matrix: reduce_dok,
    }.items():
        DEFAULT.provide(cls, reduce)
