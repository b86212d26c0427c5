"""JAX: arrays as numpy's over the same memory, keys of random numbers as the arrays below them.

On the host JAX lends its memory to numpy, and takes numpy's where that starts at a multiple of 64 bytes, as frames do
that were packed or received. An array arrives on one device, whatever it was sharded over.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import jax
from jax import numpy as jnp

from oobcodec.engine import IN_BAND
from oobcodec.errors import DecodeError, EncodeError
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from typing import NoReturn, TypeAlias

    Place: TypeAlias = tuple[str, int]
    Reduced: TypeAlias = str | tuple[Any, ...]

_KINDS: Final = ("threefry2x32", "rbg", "unsafe_rbg")
_DELETED: Final = "a deleted or donated array holds nothing to send: send it before that, or send the result"


def reduce_array(array: Any) -> Reduced:
    """Take an array apart.

    Raises
    ------
    EncodeError
        It was deleted or donated, or parts of it are in other processes.
    """
    try:
        values = array.__array__()
    except RuntimeError as error:
        if array.is_deleted():
            message = _DELETED
        elif not array.is_fully_addressable:
            message = (
                "an array on devices of other processes cannot be sent as a whole: send array.addressable_data(0), or "
                "what jax.experimental.multihost_utils.process_allgather makes of it"
            )
        else:
            raise  # the computation of it failed
        raise EncodeError(message) from error
    if array.committed if hasattr(array, "committed") else array._committed:  # noqa: SLF001  # public since 0.4.31
        return rebuild_array, (values, array.weak_type, _place(array))
    return rebuild_array, (values, array.weak_type)


def _place(array: Any) -> Place | None:
    """Return the kind of device that an array is committed to, and which of them; None if they are several."""
    device, *others = array.devices()
    if others:
        return None
    return device.platform, jax.local_devices(backend=device.platform).index(device)


def rebuild_array(values: Any, weak_type: bool, place: Place | None = None) -> Any:  # noqa: FBT001  # by position
    """Rebuild an array over the memory of `values`, or over a copy if JAX wants other memory.

    Parameters
    ----------
    values
        The elements, as an array of numpy's.
    weak_type
        Whether its dtype gives way to others, as that of a number does.
    place
        The device that it is committed to: ``("cpu", 0)`` is the first of this process. Where that does not exist, and
        by default, it is on JAX's default device, and committed to none.
    """
    device = None if place is None else _device(*place)
    # 64 bits where they are not enabled: JAX would convert them first, and warn of what does not fit.
    array: Any = None
    if jax.dtypes.canonicalize_dtype(values.dtype) == values.dtype:
        # Of little data `jnp.array` makes a copy sooner than `jax.device_put` an array over it.
        array = jnp.array(values) if device is None and values.nbytes < IN_BAND else jax.device_put(values, device)
    if array is None or isinstance(array, jax.core.Tracer):
        # Neither that nor a transformation around this may change what was sent.
        with jax.ensure_compile_time_eval(), _x64():
            array = jax.device_put(values, device)
    if weak_type:
        # By the constructor, which JAX's own pickling does without: then compiled functions do not see the difference.
        aval = array.aval.update(weak_type=True)
        array = type(array)(aval, array.sharding, [array], committed=device is not None)
    return array


def _device(platform: str, index: int) -> Any:
    try:
        return jax.local_devices(backend=platform)[index]
    except (IndexError, RuntimeError):
        return None


def _x64() -> Any:
    # `jax.experimental` had it until `jax` did.
    module = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    return module.enable_x64(new_val=True)


# Keys of random numbers


def reduce_keys(keys: Any) -> Reduced:
    """Take an array of keys apart; kinds of keys that the user defined, and keys marked as used, go JAX's own way.

    Raises
    ------
    EncodeError
        It was deleted or donated.
    """
    if keys.is_deleted():
        raise EncodeError(_DELETED)
    kind = jax.random.key_impl(keys)
    name = kind if isinstance(kind, str) else _name_of(kind)
    if name is None or keys._consumed is not False:  # noqa: SLF001  # of jax.debug_key_reuse
        return keys.__reduce_ex__(5)  # type: ignore[no-any-return]
    with jax.ensure_compile_time_eval():
        return rebuild_keys, (jax.random.key_data(keys), name)


@lru_cache
def _name_of(kind: Any) -> str | None:
    """Return the name of a kind of keys that JAX says nothing more of: 0.4 says none, later versions JAX's own."""
    with jax.ensure_compile_time_eval():
        return next((name for name in _KINDS if jax.random.key_impl(jax.random.key(0, impl=name)) == kind), None)


def rebuild_keys(data: Any, kind: str) -> Any:
    """Rebuild an array of keys from their bits.

    Raises
    ------
    DecodeError
        This JAX has no such kind of keys.
    """
    try:
        with jax.ensure_compile_time_eval():
            return jax.random.wrap_key_data(data, impl=kind)
    except ValueError as error:
        message = f"jax {jax.__version__} has no keys of kind {kind!r}: the sender's is newer"
        raise DecodeError(message) from error


# Shapes


def reduce_shape(shape: Any) -> Reduced:
    """Take a shape with a dtype apart; one with more than that goes JAX's own way."""
    if shape != jax.ShapeDtypeStruct(shape.shape, shape.dtype):
        return shape.__reduce_ex__(5)  # type: ignore[no-any-return]
    return rebuild_shape, (shape.shape, shape.dtype)


def rebuild_shape(shape: tuple[int, ...], dtype: Any) -> Any:
    """Rebuild a `jax.ShapeDtypeStruct`."""
    return jax.ShapeDtypeStruct(shape, dtype)


# Tracers, and the registry


def refuse_tracer(_: object) -> NoReturn:
    """Refuse what stands for an array inside of a transformation.

    Raises
    ------
    EncodeError
        Always.
    """
    message = (
        "a tracer stands for an array inside of jax.jit, jax.grad or jax.vmap and has no elements: send what the "
        "transformed function returns, or send from inside with jax.experimental.io_callback"
    )
    raise EncodeError(message)


def register() -> None:
    """Tell the registry."""
    DEFAULT.provide(jax.core.Tracer, refuse_tracer, subclasses=True)
    DEFAULT.provide(jax.ShapeDtypeStruct, reduce_shape)
    # `jax.Array` is the public name of what both derive from, and both have methods for pickle. Older arrays only claim
    # to derive from it. None is made here to ask for its class: that would take hold of the accelerator.
    reducers = {"ArrayImpl": reduce_array, "PRNGKeyArray": reduce_keys}
    for cls in (*jax.Array.__subclasses__(), getattr(sys.modules.get("jax._src.array"), "ArrayImpl", jax.Array)):
        if cls.__name__ in reducers:
            DEFAULT.provide(cls, reducers[cls.__name__])
