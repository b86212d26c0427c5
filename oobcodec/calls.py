"""Pickle streams that are nothing but one call with a buffer, as those of most single arrays are.

Arrays of one dtype and shape have one stream. When they are sent again, it is not pickled again; when it comes again,
its call is made without unpickling it. Both take half of the time.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oobcodec.engine import LIBRARIES
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oobcodec.registry import BufferCall

    Call = tuple[Callable[..., Any], tuple[Any, ...]]

streams: Final[dict[tuple[Any, ...], bytes]] = {}
"""The stream of a call, by its function, the arguments behind the buffer, and whether that is read-only."""

calls: Final[dict[bytes, Call | tuple[()]]] = {}
"""The function, and its arguments behind the buffer, by the stream; nothing if that is something else."""

LENGTH: Final = 256
"""Bytes of the longest stream that is looked at."""

_MOST: Final = 2048
_FRAMES: Final = 3  # of a message with one buffer
_CONSTANTS: Final = (str, int, bool, type(None))
# Whose functions nobody replaces while the process runs.
_TRUSTED: Final = LIBRARIES | {"oobcodec"}

_seen: set[bytes] = set()


class Taken:
    """A call, to be pickled instead of the object that it rebuilds."""

    def __init__(self, function: Any, buffer: Any, arguments: tuple[Any, ...]) -> None:
        self.parts = function, (buffer, *arguments)


DEFAULT.provide(Taken, attrgetter("parts"))


def remember(call: BufferCall, frames: Sequence[memoryview]) -> None:
    """Remember the stream of the message that a call became, if its buffer lies outside of that."""
    function, buffer, arguments = call
    if len(frames) == _FRAMES and len(frames[1]) < LENGTH:
        if len(streams) >= _MOST:
            streams.clear()
        streams[function, arguments, buffer.raw().readonly] = frames[1].tobytes()


class _Recorded(NamedTuple):
    function: Any
    arguments: tuple[Any, ...]


class _Recorder(pickle.Unpickler):
    """Notes which function a stream calls, and does not call it."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in _TRUSTED:
            raise pickle.UnpicklingError
        function = super().find_class(module, name)
        return lambda *arguments: _Recorded(function, arguments)


def notice(stream: bytes) -> None:
    """Remember a stream, and when it comes for the second time, what it calls."""
    if stream not in _seen:
        if len(_seen) >= _MOST:
            _seen.clear()
            calls.clear()
        _seen.add(stream)
        return
    try:
        found = _Recorder(BytesIO(stream), buffers=[bytearray()]).load()
    except Exception:  # noqa: BLE001  # whatever it is, it will be raised again when the stream is read as it is
        found = None
    calls[stream] = _call(found) if type(found) is _Recorded else ()


def _call(recorded: _Recorded) -> Call | tuple[()]:
    first, *others = recorded.arguments or (None,)
    # A read-only view would be of the stream's making, and no other one could take its place.
    plain = type(first) is bytearray and all(map(_is_constant, others))
    return (recorded.function, tuple(others)) if plain else ()


def _is_constant(argument: Any) -> bool:
    return type(argument) in _CONSTANTS or (type(argument) is tuple and all(map(_is_constant, argument)))
