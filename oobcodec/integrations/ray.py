"""Ray: objects go into its store as messages of oobcodec, and come out as views of the shared memory they lie in.

On the driver call `install`; the workers call it by themselves where Ray is told so::

    import oobcodec.integrations.ray

    oobcodec.integrations.ray.install()
    ray.init(runtime_env={"worker_process_setup_hook": "oobcodec.integrations.ray.install"})
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final

from ray._private.serialization import SerializationContext
from ray.actor import ActorHandle
from ray.cloudpickle import CloudPickler
from ray.exceptions import RayTaskError

from oobcodec.encoded import rebuild_encoded
from oobcodec.encoder import framed
from oobcodec.engine import new_engine
from oobcodec.registry import DEFAULT as REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.registry import Reduce

_AS_EVER: Final = frozenset({type(None), bool, int, float, str, bytes})
_OUTDONE: Final = ("ray._private.arrow_serialization", "ray.cloudpickle.")
"""The modules of Ray whose reducers ours precede; all others are registered by users, or count references."""

_rays_own: Final = SerializationContext.serialize


def install() -> None:
    """Let what this process puts into Ray's store, passes to tasks and actors, and returns from them be a message.

    Whoever gets it needs oobcodec installed, but not this call: that is for those who put. Again does no harm, and it
    does not matter whether Ray is initialized.

    - Memory that objects share is stored once and shared again; an object that appears twice is one object, also in
      lists and dicts, of which Ray itself makes two.
    - Arrays, tables and Series lie in the shared memory of the store, aligned to 64 bytes. All processes of a node have
      the same memory, so it is read-only, however it was: copy what you want to write to. What is below 1 KiB is a copy
      already. As ever, the store keeps the whole object for as long as a view of a part of it lives.
    - Torch has no read-only tensors: they are copied out of the store, and are writable. Tied weights stay tied;
      tensors over parts of one storage are copies each. With ``RAY_ENABLE_ZERO_COPY_TORCH_TENSORS=1`` plain tensors go
      Ray's own way, without that copy, and must not be written to.
    - What is registered with `ray.util.register_serializer` goes before oobcodec's reducers.
    - None, truth values, numbers, ``str`` and ``bytes`` stay as they are, and can be read in Java and C++; containers
      cannot.
    """
    SerializationContext.serialize = _serialize


def uninstall() -> None:
    """Let Ray serialize as it does by itself. What is in the store can still be got."""
    SerializationContext.serialize = _rays_own


def _serialize(self: SerializationContext, value: object) -> Any:
    passes = type(value) in _AS_EVER or isinstance(value, ActorHandle | RayTaskError)
    return _rays_own(self, value if passes else _Message(value))


class _Message:
    """Stands for an object before Ray's pickler, which puts beside the stream what oobcodec has beside its own.

    Inside of that, for Ray counts there the references to other objects that it meets.
    """

    __slots__ = ("obj",)

    def __init__(self, obj: object) -> None:
        self.obj = obj

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[pickle.PickleBuffer, ...]]:
        dump, chunks, buffers, *_ = new_engine(_Pickler, _Table())
        dump(self.obj)
        frames = framed("pickle", None, chunks, buffers, copy=False)
        return rebuild_encoded, tuple(map(pickle.PickleBuffer, frames))


class _Pickler(CloudPickler):  # type: ignore[misc]  # Ray has no types
    # As of `oobcodec.engine`: a table in cloudpickle's class hides the slot for that of a pickler.
    dispatch_table = pickle.Pickler.dispatch_table


class _Table(dict[type, "Reduce"]):
    """What is registered with Ray, then ours, then those of Ray's cloudpickle, which include copyreg's."""

    def __missing__(self, cls: type) -> Reduce:
        registered = CloudPickler.dispatch.maps[0].get(cls)
        if registered is not None and not registered.__module__.startswith(_OUTDONE):
            return registered  # type: ignore[no-any-return]
        how = REGISTRY.exact(cls) or CloudPickler.dispatch.get(cls) or REGISTRY.inherited(cls)
        if how is None:
            raise KeyError(cls)
        self[cls] = how  # for one call, in which nothing is registered
        return how
