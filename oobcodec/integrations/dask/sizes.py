"""What Dask takes objects to weigh: it decides by that what to spill, what to move, and what to serialize in a thread.

It does not know the memory behind the tensors of torch, the frames of polars, and the attributes of objects.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from dask.sizeof import sizeof

MOST: Final = 1000
"""Objects with attributes that are looked into for the size of one."""

_PARTS: Final = {
    "torch.sparse_coo": ("_indices", "_values"),
    "torch.sparse_csr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_bsr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_csc": ("ccol_indices", "row_indices", "values"),
    "torch.sparse_bsc": ("ccol_indices", "row_indices", "values"),
}
"""Methods for the tensors that a sparse one consists of, by its layout."""

_seen: ContextVar[set[int] | None] = ContextVar("_seen", default=None)


def install() -> None:
    """Tell Dask, in this process."""
    sizeof.register(object, of_object)
    for library, register in {"polars": _register_polars, "torch": _register_torch}.items():
        if library in sys.modules:
            register()
        else:
            sizeof.register_lazy(library, register)


def of_object(obj: object) -> int:
    """Return the bytes of an object and, once each, of what its attributes refer to."""
    size = sys.getsizeof(obj)
    seen = _seen.get()
    if seen is None:
        token = _seen.set(set())
        try:
            return of_object(obj)
        except RecursionError:
            return size
        finally:
            _seen.reset(token)
    try:
        attributes = object.__getattribute__(obj, "__dict__")  # without calling anything of the object's
    except AttributeError:
        return size
    if type(attributes) is not dict or issubclass(type(obj), ModuleType) or id(obj) in seen or len(seen) >= MOST:
        return size
    seen.add(id(obj))
    inside: int = sum(map(sizeof, [*attributes.values()]))
    return size + inside


def _register_polars() -> None:
    polars = import_module("polars")
    for cls in (polars.DataFrame, polars.Series):
        sizeof.register(cls, cls.estimated_size)


def _register_torch() -> None:
    torch = import_module("torch")
    sizeof.register(torch.Tensor, _of_tensor)
    sizeof.register(torch.nn.Module, _of_module)


def _of_tensor(tensor: Any) -> int:
    parts = _PARTS.get(str(tensor.layout))
    if parts is not None:
        return sum(_of_tensor(getattr(tensor, part)()) for part in parts)
    nbytes: int = tensor.numel() * tensor.element_size()
    if str(tensor.layout) == "torch.strided":
        nbytes = min(nbytes, tensor.untyped_storage().nbytes())  # of an expanded one
    return nbytes


def _of_module(module: Any) -> int:
    return sum(map(_of_tensor, [*module.parameters(), *module.buffers()]))
