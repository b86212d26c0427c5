"""JAX."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from . import cases_numpy  # noqa: F401  # compares arrays, which are beside JAX's
from .comparison import compares
from .table import N, case

DTYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bfloat16", "float16", "float32",
    "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e3m4", "float8_e4m3", "float8_e8m0fnu",
]  # fmt: skip
PACKED = ["int2", "int4", "uint2", "uint4", "float4_e2m1fn"]
"""Those that take less than a byte on a device, and a byte in numpy."""
KINDS = {"threefry2x32": 2, "rbg": 4, "unsafe_rbg": 4}
"""Of keys, and how many integers each key has."""

if hasattr(jax, "enable_x64"):
    _x64 = partial(jax.enable_x64, True)  # noqa: FBT003
else:
    from jax.experimental import enable_x64 as _x64


def _array(values, *device):
    with _x64():
        return jax.device_put(values, *device)


def _part(array, *where):
    with _x64():
        return array[where] if where else array.T


def _of(dtype, *shape):
    """Return an array of any dtype, made of bits: what they stand for need not be the same in all versions."""
    dtype = jnp.dtype(dtype)
    octets = np.arange(int(np.prod(shape)) * dtype.itemsize)
    return _array((octets % (2 if dtype.name in {"bool", *PACKED} else 251)).astype("u1").view(dtype).reshape(shape))


def _numbers(*shape, dtype="f8"):
    return _array((np.arange(np.prod(shape or (N,), dtype=int)) % 100).astype(dtype).reshape(shape or (N,)))


def _special():
    return _array(np.array([np.nan, -0.0, np.inf, 5e-324] * (N // 4)))


def _weak(*shape):
    return jnp.broadcast_to(jnp.asarray(1.5), shape)


def _host():
    return jax.local_devices(backend="cpu")[0]


def _bound(*shape):
    return _array(_numbers(*shape), _host())


def _keys(kind="threefry2x32", *shape):
    return jax.random.wrap_key_data(_numbers(*shape, KINDS[kind], dtype="u4"), impl=kind)


# Trees


class Moments(NamedTuple):
    """What an optimizer remembers."""

    count: Any
    mean: Any
    square: Any


@dataclass
class Train:
    """A node of a tree."""

    params: Any
    moments: Any
    name: str = "train"


class Node:
    """A node of a tree, by functions."""

    def __init__(self, children, label):
        self.children, self.label = children, label


jax.tree_util.register_dataclass(Train, ["params", "moments"], ["name"])
jax.tree_util.register_pytree_node(
    Node, lambda node: (node.children, node.label), lambda label, c: Node(list(c), label)
)


def _params():
    half = _array(np.arange(N // 2).astype(jnp.bfloat16))
    return {"dense": {"kernel": _numbers(256, N // 256), "bias": _numbers(256, dtype="f4")}, "scale": half, "no": None}


PARAMS = 8 * N + 1024 + N


def _train():
    params = _params()
    kernel = params["dense"]["kernel"]
    return Train(params, Moments(jnp.asarray(np.int32(7)), {"kernel": _numbers(dtype="f4")}, [kernel, (kernel,)]))


def _one_memory():
    free = _numbers()
    return [free, _array(free, _host()), np.asarray(free), np.asarray(free)[N // 2 :]]


def _zeros_of_tangents():
    return np.zeros((3, 2), jax.dtypes.float0)


def _partial():
    return jax.tree_util.Partial(jnp.sum, _numbers(), axis=0)


CASES = [
    *[case(f"dtype {d}", lambda d=d: _of(d, N), N * jnp.dtype(d).itemsize) for d in DTYPES + PACKED if hasattr(jnp, d)],
    *[case(f"dtype {d}, three elements", lambda d=d: _of(d, 3)) for d in DTYPES + PACKED if hasattr(jnp, d)],
    case("strings", lambda: _array(np.array(["a", "", "long" * 9] * 99, np.dtypes.StringDType()), _host()), given=hasattr(np.dtypes, "StringDType")),
    case("two axes", lambda: _numbers(256, N // 256), 8 * N),
    case("six axes", lambda: _numbers(2, 4, 8, 16, 1, N // 1024), 8 * N),
    case("not a number", _special, 8 * N),
    case("transposed", lambda: _part(_numbers(256, N // 256)), 8 * N),
    case("every second element", lambda: _part(_numbers(2 * N), slice(None, None, 2)), 8 * N),
    case("ten elements of many", lambda: _part(_numbers(), slice(50, 60)), 80),
    case("an element of many", lambda: _part(_numbers(), 50), 8),
    case("zero dimensions", lambda: [_part(_numbers(), 7), _array(np.float16(3.5)), _array(np.int64(1 << 40)), _array(np.bool_(1))]),
    case("empty", lambda: [_array(np.empty(0)), _array(np.empty((2, 0, 3), "i2")), _array(np.empty((0,), jnp.bfloat16))]),
    case("weak type", lambda: _weak(N), 4 * N),
    case("weak types of numbers", lambda: [jnp.asarray(1), jnp.asarray(1.5), jnp.asarray(1j), jnp.asarray(np.float32(1))]),
    case("weak type, committed", lambda: jax.device_put(_weak(N), _host()), 4 * N),
    case("committed", _bound, 8 * N),
    case("committed and not, three elements", lambda: [_bound(3), _numbers(3), _of("bfloat16", 3)]),
    case("computed", lambda: _numbers(dtype="f4") * 2, 4 * N),
    case("one memory, four times", _one_memory, 8 * N),
    *[case(f"keys {kind}", lambda kind=kind: _keys(kind, N // KINDS[kind]), 4 * N) for kind in KINDS],
    case("a key", lambda: [_keys(), jax.random.PRNGKey(5), _keys("rbg")]),
    case("keys of two axes", lambda: _keys("threefry2x32", 4, 25)),
    case("keys, none", lambda: _keys("threefry2x32", 0, 3)),
    case("keys, committed", lambda: jax.device_put(_keys("threefry2x32", N), _host()), 8 * N),
    case("tree of dicts", _params, PARAMS),
    case("tree of dataclass, namedtuple and lists", _train, PARAMS + 4 * N),
    case("tree with a node of its own", lambda: Node([_numbers(), {"deep": Node([_bound()], "in")}], "out"), 16 * N),
    case("tree of tuples", lambda: (_numbers(), (_numbers(dtype="i4"), [None, 3, "text"]), {1: _weak(2)}), 12 * N),
    case("tree with numpy's", lambda: {"jax": _numbers(), "numpy": np.arange(N), "scalar": np.float32(2)}, 16 * N),
    case("a thousand arrays of ten", lambda: [_numbers(10)] + [_array(np.arange(10) + i) for i in range(999)]),
    case("leaves and structure", lambda: jax.tree_util.tree_flatten({"a": [_numbers(), None], "b": (1, {"c": 2.5})}), 8 * N),
    case("partial of a tree", _partial, 8 * N),
    case("zero tangents", _zeros_of_tangents),
    case("shape and dtype", lambda: [jax.ShapeDtypeStruct((3, 4), jnp.bfloat16), jnp.dtype("bfloat16"), np.dtype("V0")]),
    case("places", lambda: [jax.sharding.PartitionSpec("rows", None, ("a", "b")), jax.sharding.PartitionSpec()]),
    case("functions and types", lambda: [jnp.sum, jnp.float32, jax.jit, jax.nn.softmax, jax.random.normal, jnp.ndarray]),
]  # fmt: skip


@compares(type(jnp.zeros(())))
def _compare_arrays(comparison, got, want, where):
    comparison.equal("dtype", got.dtype, want.dtype, f"{where}.dtype")
    comparison.equal("flags", got.weak_type, want.weak_type, f"{where}.weak_type")
    comparison.equal("value", got.shape, want.shape, f"{where}.shape")
    _compare_places(comparison, got, want, where)
    if not comparison.lost.keys() & {"dtype", "value"}:
        # Elements that nobody can change: whether two arrays share memory shows in what is shipped, and nowhere else.
        comparison.equal("value", *map(_bits, (got, want)), where)
        comparison.equal("alignment", *(np.asarray(one).flags.aligned for one in (got, want)), f"{where}: aligned")


def _bits(array):
    values = np.asarray(array)
    return values.tolist() if values.dtype.kind == "T" else values.tobytes()


def _compare_places(comparison, got, want, where):
    committed = [one.committed if hasattr(one, "committed") else one._committed for one in (got, want)]
    comparison.equal("device", *committed, f"{where}.committed")
    comparison.equal("device", got.devices(), want.devices(), f"{where}.devices()")


@compares(type(jax.random.key(0)))
def _compare_keys(comparison, got, want, where):
    comparison.equal("dtype", got.dtype, want.dtype, f"{where}.dtype")
    comparison.equal("dtype", *(str(jax.random.key_impl(one)) for one in (got, want)), f"{where}: kind")
    comparison.equal("value", got.shape, want.shape, f"{where}.shape")
    comparison.equal("flags", got._consumed, want._consumed, f"{where}: used")
    comparison.compare(jax.random.key_data(got), jax.random.key_data(want), f"{where}: bits")


@compares(jax.tree_util.Partial)
def _compare_partials(comparison, got, want, where):
    comparison.parts(*({".func": one.func, ".args": one.args, ".keywords": one.keywords} for one in (got, want)), where)


@compares(type(jax.tree_util.tree_structure(0)), jax.ShapeDtypeStruct, jax.sharding.PartitionSpec)
def _compare_descriptions(comparison, got, want, where):
    comparison.equal("value", repr(got), repr(want), where)
    comparison.equal("value", got, want, where)


@compares(type(jnp.float32), type(jax.nn.softmax))
def _compare_functions(comparison, got, want, where):
    if got is not want:
        comparison.miss("identity", f"{where}: not {want!r} itself")
