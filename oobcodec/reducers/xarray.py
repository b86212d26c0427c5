"""xarray: indexes whose dtype numpy does not have, of which each version of xarray has its own notion.

Everything else of xarray goes its own way, its arrays out of band.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from xarray.core.indexes import PandasIndex
from xarray.core.indexing import PandasIndexingAdapter

from oobcodec.registry import DEFAULT

Reduced: TypeAlias = str | tuple[Any, ...]

_OBJECT: Final = np.dtype(object)


def _is_derived(dtype: Any) -> bool:
    """Tell whether this is what xarray says of an index by itself: other versions say something else."""
    return dtype == _OBJECT or not isinstance(dtype, np.dtype)


def reduce_adapter(adapter: Any) -> Reduced:
    """Take the elements of a coordinate apart that is an index of pandas."""
    own: Reduced = adapter.__reduce_ex__(5)
    return (rebuild_adapter, (adapter.array,)) if _is_derived(adapter.dtype) else own


def rebuild_adapter(index: Any) -> Any:
    """Rebuild the elements of a coordinate, with the dtype that this xarray has for them."""
    return PandasIndexingAdapter(index)


def reduce_index(index: Any) -> Reduced:
    """Take the index of a dimension apart."""
    own: Reduced = index.__reduce_ex__(5)
    return (rebuild_index, (index.index, index.dim)) if _is_derived(index.coord_dtype) else own


def rebuild_index(index: Any, dim: Any) -> Any:
    """Rebuild the index of a dimension, with the dtype that this xarray has for it."""
    rebuilt = PandasIndex(index, dim)
    rebuilt.index = index  # not a copy: a coordinate has the same one
    return rebuilt


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(PandasIndexingAdapter, reduce_adapter)
    DEFAULT.provide(PandasIndex, reduce_index)
