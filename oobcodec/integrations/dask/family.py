"""The ways in which Dask serializes an object, its *families*: two of them, with oobcodec inside.

Of what Dask asks, in this order, ``dask`` leaves to ``pickle`` what oobcodec does better, and ``pickle`` is oobcodec's,
in the form that Dask gives it: one pickle, and its buffers. So it is read by any process in which oobcodec can be
imported, and without oobcodec where no function of it is named.
"""

from __future__ import annotations

import pickle
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from distributed.protocol.serialize import dask_dumps as dask_dumps_of_dask
from distributed.protocol.serialize import dask_loads, dask_serialize, pickle_loads, register_serialization_family
from distributed.protocol.serialize import pickle_dumps as pickle_dumps_of_dask

from oobcodec.codec import dumps
from oobcodec.encoded import rebuild_encoded
from oobcodec.header import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Serialization: TypeAlias = tuple[dict[str, Any], list[Any]]

_REPLACED: Final = frozenset(
    f"distributed.protocol.{name}" for name in ("arrow", "keras", "numpy", "scipy", "serialize", "torch")
)
"""Modules with functions for classes that oobcodec knows better."""

_PLAIN: Final = frozenset({bytes, bytearray, array})
"""Classes that need nothing better, and should be read by all."""


def install() -> None:
    """Replace the two families in this process."""
    register_serialization_family("dask", dask_dumps, dask_loads)
    register_serialization_family("pickle", pickle_dumps, pickle_loads)


def dask_dumps(x: object, context: Any = None) -> Serialization:
    """Serialize by the function that is registered for the class, unless it is one that oobcodec replaces."""
    if type(x) not in _PLAIN and _origin(x) in _REPLACED:
        raise NotImplementedError
    result: Serialization = dask_dumps_of_dask(x, context=context)
    return result


def pickle_dumps(x: object, context: Any = None) -> Serialization:
    """Serialize by oobcodec, or as Dask does what oobcodec refuses: it has more ways, and errors of its own."""
    frames = None
    if type(x) not in {bytes, str}:  # which are no pickle in oobcodec, and should be read by all
        with suppress(Exception):
            frames = _pickled(dumps(x))
    if frames is None:
        result: Serialization = pickle_dumps_of_dask(x, context=context)
        return result
    return {"writeable": tuple([not frame.readonly for frame in frames[1:]])}, frames


def goes_whole(x: object) -> bool:
    """Tell whether what is in a collection needs none of the functions that others have registered with Dask.

    As Dask does, it judges by the first element.
    """
    while type(x) in {list, tuple, set, dict} and x:
        x = next(iter(x.values() if type(x) is dict else x))  # type: ignore[call-overload]  # one of them
    return _origin(x) in {None, *_REPLACED}


def _origin(x: object) -> str | None:
    """Name the module of the function that is registered with Dask for the class of an object."""
    try:
        module: str = dask_serialize.dispatch(type(x)).__module__
    except TypeError:
        return None
    return module


class _Message:
    """A message, to be pickled by any pickler."""

    def __init__(self, frames: Sequence[memoryview]) -> None:
        self._buffers = tuple(map(pickle.PickleBuffer, frames))

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_encoded, self._buffers


def _pickled(frames: list[memoryview]) -> list[memoryview]:
    """Return a message as one pickle and its buffers."""
    header = read(bytes(frames[0]))
    whole = tuple([(index, 0, frame.nbytes, frame.readonly) for index, frame in enumerate(frames[2:], 2)])
    if header.tag in {"pickle", "cloudpickle"} and header.pickle_frames == 1 and header.buffers == whole:
        return frames[1:]
    # With memory that is shared, or bytes that are not copied into the pickle.
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(_Message(frames), 5, buffer_callback=buffers.append)
    return [memoryview(stream), *frames]
