"""Use what was loaded, as its owner would: anything may be raised, and nothing may crash, hang or take long."""

from __future__ import annotations

import array
import collections
import types
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any

import oobcodec
from oobcodec.scan import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from random import Random

MANY = 20_000
"""Elements of what is not used as a whole: a column of nothing may be as long as it likes."""
OBJECTS = 100
"""Of one message that are used."""
_CODE: tuple[type, ...] = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType)
_CODE += (types.MethodDescriptorType, types.ModuleType, types.CodeType, types.FrameType, types.GeneratorType, Name)


def parts(value: Any) -> list[Any]:
    """Return what a value holds, at most so much of it as is looked at."""
    if isinstance(value, dict):
        return [part for item in list(value.items())[:OBJECTS] for part in item]
    if isinstance(value, list | tuple | set | frozenset | collections.deque):
        return list(value)[:OBJECTS]
    return []


def objects(value: Any) -> Iterator[Any]:
    """Yield a value and what it holds, each object once."""
    left, seen = [value], {id(value)}
    while left and len(seen) < OBJECTS:
        one = left.pop()
        yield one
        for part in parts(one):
            if id(part) not in seen:
                seen.add(id(part))
                left.append(part)


def code_in(value: Any) -> str | None:
    """Name what is no data in a value, if there is anything."""
    for one in objects(value):
        if isinstance(one, _CODE) or (isinstance(one, type) and one.__module__.partition(".")[0] != "polars"):
            return repr(one)
    return None


def use(value: Any, rng: Random, most: int | None) -> None:
    """Use a value and what it holds: print it, compare it, go through it, calculate with it, send it on.

    Parameters
    ----------
    value
        What was loaded.
    rng
        Chooses what is done with each object.
    most
        How many things that are; ``None`` for all that there are.
    """
    _try(repr, value)
    _try(oobcodec.dumps, value)
    for one in objects(value):
        _try(_compare, one)
        library = type(one).__module__.partition(".")[0]
        functions = _USES.get(library, _PLAIN)
        for function in functions if most is None else rng.sample(functions, most):
            _try(function, one)


def _try(function: Callable[[Any], Any], value: Any) -> None:
    try:
        function(value)
    except SystemError:
        raise  # of C code that has broken the interpreter's rules: elsewhere that is a crash
    except Exception:  # noqa: BLE001  # odd values may refuse what is asked of them
        pass
    except BaseException as error:
        # Of dates that it cannot print, names that it cannot export, and what it has not implemented, polars panics:
        # that is its way to refuse, and nothing is damaged.
        if type(error).__name__ != "PanicException":
            raise


def _compare(one: Any) -> None:
    # What JAX calculates with, it compiles for each shape.
    if _size(one) <= MANY and type(one).__module__.partition(".")[0] not in {"jax", "jaxlib"}:
        bool(one == one)  # noqa: PLR0124


def _size(one: Any) -> int:
    """Return how many elements there are to go through, or lists of none."""
    for name in ("shape", "size"):
        size = getattr(one, name, None)
        size = size() if callable(size) else size
        if isinstance(size, int):
            return size
        if isinstance(size, tuple) and all(isinstance(length, int) for length in size):
            return prod(max(length, 1) for length in size)
    return len(one) if hasattr(one, "__len__") else 1


def _small(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda one: function(one) if _size(one) <= MANY else None


# What is asked of the objects of each library, by itself.

_PLAIN: list[Callable[[Any], Any]] = [
    hash,
    str,
    len,
    _small(list),
    lambda one: one + one,
    lambda one: one[0],
    lambda one: one[-1],
    lambda one: one.tobytes() if isinstance(one, memoryview | array.array) else bytes(1),
    lambda one: one.tolist() if isinstance(one, memoryview | array.array) else one.utctimetuple(),
]
_NUMPY: list[Callable[[Any], Any]] = [
    _small(lambda one: one.tolist()),
    _small(lambda one: one.sum()),
    _small(lambda one: one.copy()),
    _small(lambda one: one.astype(str)),
    _small(lambda one: sorted(one.ravel())),
    _small(lambda one: one.filled()),
    _small(lambda one: one.tobytes()),
    lambda one: (one.flat[0], one.flat[-1], one[(-1,) * one.ndim]),
    lambda one: (one.base, one.flags, one.strides, one.dtype, one.dtype.fields, one.dtype.descr),
    lambda one: one.T[..., :1].copy() if one.shape[0] < MANY else None,
]
_PANDAS: list[Callable[[Any], Any]] = [
    _small(lambda one: one.to_numpy()),
    _small(lambda one: one.copy(deep=True)),
    _small(lambda one: one.equals(one.copy())),
    _small(lambda one: one.sum()),
    _small(list),
    _small(lambda one: one.isna()),
    lambda one: one.iloc[-1],
    lambda one: one.index[0],
    lambda one: (one.memory_usage(), one.index.memory_usage(deep=True) if len(one) < MANY else None),
    _small(lambda one: one.sort_values()),
    _small(lambda one: one.is_unique),
    _small(lambda one: one.get_indexer(list(one[:3]))),
    _small(lambda one: one.reset_index()),
    _small(lambda one: one.astype(str)),
    lambda one: one[-2:],
    _small(lambda one: one.codes),
    lambda one: one + one,
]
_POLARS: list[Callable[[Any], Any]] = [
    _small(lambda one: one.to_list()),
    _small(lambda one: one.rows()),
    _small(lambda one: one.sum()),
    _small(lambda one: one.sort()),
    _small(lambda one: one.head(3)),
    _small(lambda one: one.to_arrow()),
    _small(lambda one: one.clone().rechunk()),
    _small(lambda one: one.equals(one)),
    _small(lambda one: one.null_count()),
    _small(lambda one: one.gather([0])),
    _small(lambda one: one.cast("str")),
    lambda one: one[-1],
    lambda one: one.slice(-3, 2),
    lambda one: one.estimated_size(),
]
_ARROW: list[Callable[[Any], Any]] = [
    _small(lambda one: one.to_pylist()),
    _small(lambda one: one.to_numpy(zero_copy_only=False)),
    _small(lambda one: one.equals(one)),
    _small(lambda one: one.take([0])),
    _small(lambda one: one.to_pandas()),
    _small(lambda one: one.combine_chunks()),
    _small(lambda one: one.cast("string")),
    _small(lambda one: one.unique()),
    lambda one: one.nbytes,
    lambda one: one[-1].as_py() if len(one[-1]) < MANY else None,
    lambda one: one.slice(1, 2),
    lambda one: (one.null_count, one.type, one.schema),
    lambda one: one.validate(full=True),
    lambda one: one.as_py(),
]
_TORCH: list[Callable[[Any], Any]] = [
    _small(lambda one: one.tolist()),
    _small(lambda one: one.sum()),
    _small(lambda one: one + one),
    _small(lambda one: one.clone()),
    _small(lambda one: one.contiguous()),
    _small(lambda one: one.to_dense().sum()),
    _small(lambda one: one.coalesce().indices()),
    _small(lambda one: one.dequantize()),
    _small(lambda one: one.numpy().tolist()),
    _small(lambda one: one.flatten()[-1].item()),
    _small(lambda one: one.equal(one)),
    lambda one: (one.shape, one.stride(), one.storage_offset(), one.dtype, one.layout, one.is_coalesced()),
    lambda one: one.untyped_storage().nbytes(),
]
_JAX: list[Callable[[Any], Any]] = [
    _small(lambda one: one.tolist()),
    _small(lambda one: one.copy()),
    lambda one: (one.shape, one.dtype, one.aval, one.devices(), one.nbytes, one.weak_type),
    _small(lambda one: memoryview(one).tobytes()),
]
_SCIPY: list[Callable[[Any], Any]] = [
    _small(lambda one: one.toarray()),
    _small(lambda one: one.tocsr()),
    _small(lambda one: one.sum()),
    lambda one: (one.nnz, one.shape, one.dtype),
]
_XARRAY: list[Callable[[Any], Any]] = [
    _small(lambda one: one.sum()),
    _small(lambda one: one.to_dict()),
    _small(lambda one: one.copy(deep=True)),
    lambda one: (one.dims, one.coords, one.indexes),
]
_USES = {
    "numpy": _NUMPY,
    "ml_dtypes": _NUMPY,
    "pandas": _PANDAS,
    "polars": _POLARS,
    "pyarrow": _ARROW,
    "torch": _TORCH,
    "jax": _JAX,
    "jaxlib": _JAX,
    "scipy": _SCIPY,
    "xarray": _XARRAY,
}


def imports(libraries: Iterable[str]) -> None:
    """Import what messages may hold, so that none of them is measured by that."""
    for name in {*libraries} & {"numpy", "pandas", "pyarrow", "polars", "torch", "jax"}:
        import_module(name)
    import_module("importlib.readers")
    if find_spec("tzdata"):
        # Whose folders are packages, which are imported for the files in them.
        for found in walk_packages(import_module("tzdata").__path__, "tzdata."):
            import_module(found.name)
