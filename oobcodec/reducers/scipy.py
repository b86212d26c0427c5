"""scipy: sparse matrices in coordinate format, whose attributes are not the same in all versions.

All other objects of scipy go its own way, their arrays out of band.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import scipy.sparse

from oobcodec.errors import DecodeError
from oobcodec.registry import DEFAULT

Reduced: TypeAlias = str | tuple[Any, ...]

# scipy 1.13 has ``coords`` instead of ``row`` and ``col``.
_OWN: Final = frozenset({"_shape", "col", "coords", "data", "has_canonical_format", "row"})


def reduce_coo(matrix: Any) -> Reduced:
    """Take a sparse matrix or array in coordinate format apart."""
    coordinates = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)
    attributes = {name: value for name, value in vars(matrix).items() if name not in _OWN}
    arguments = (type(matrix).__name__, matrix.data, coordinates, matrix.shape, matrix.has_canonical_format)
    return rebuild_coo, arguments, attributes, None, None, set_attributes


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
    cls = {"coo_array": scipy.sparse.coo_array, "coo_matrix": scipy.sparse.coo_matrix}[name]
    try:
        matrix = cls(shape, dtype=data.dtype)
    except (TypeError, ValueError) as error:
        message = f"scipy {scipy.__version__} has no {name} of {len(shape)} axes: install the sender's version"
        raise DecodeError(message) from error
    # Not by the constructor, which may make other integers of the coordinates.
    matrix.data = data
    if hasattr(matrix, "coords"):
        matrix.coords = coordinates
    else:
        matrix.row, matrix.col = coordinates
    matrix.has_canonical_format = canonical
    return matrix


def set_attributes(matrix: Any, attributes: dict[str, Any]) -> None:
    """Set attributes without asking the class."""
    vars(matrix).update(attributes)


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(scipy.sparse.coo_array, reduce_coo)
    DEFAULT.provide(scipy.sparse.coo_matrix, reduce_coo)
