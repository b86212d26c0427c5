"""From an object to frames, and from frames to an object."""

from __future__ import annotations

import pickle
import sys
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from oobcodec import header as headers
from oobcodec.buffers import Extent, allocate, flat
from oobcodec.calls import LENGTH, Taken, calls, notice, remember, streams
from oobcodec.context import DEFAULTS, LOADING, RUNNING, LoadOptions
from oobcodec.engine import (
    REUSABLE,
    STACK_GLOBAL,
    STOP,
    dump_by_value,
    engines,
    holds_code,
    joined,
    load,
    names_what_goes_by_value,
    new_engine,
    opening,
    raised_in,
    refused,
)
from oobcodec.errors import DecodeError, EncodeError, HeaderError, OobError, TruncatedError
from oobcodec.packed import unpack
from oobcodec.paths import find_culprit
from oobcodec.registry import DEFAULT as REGISTRY
from oobcodec.sharing import place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from oobcodec.buffers import Buffer
    from oobcodec.engine import Chunk
    from oobcodec.header import Header, Placement

    _Plan: TypeAlias = tuple[bytes, int, int, tuple[tuple[int, bool], ...]]

_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_SMALL: Final = 4096
"""Bytes below which a pickle is worth a remembered header: there is one a size, so they stay few."""

_FEW: Final = 16
"""Frames below which the header of any other message is worth remembering."""

_PICKLED: Final = ("pickle", "cloudpickle")

_PLANNED: Final = 4096
"""Headers that are remembered at a time with the way to read the rest of the message."""

_TINY: Final = 512
"""Bytes of a pickle that is too short to have made a memo large."""

_take = engines.pop
_give_back = engines.append
_unpickle = pickle.loads

_alone = REGISTRY.alone
_first_frames: dict[int, memoryview] = {}
"""``frames[0]`` of messages that are nothing but a pickle, by the length of that."""
_plans: dict[bytes, _Plan] = {}
"""How to read messages the short way, by ``frames[0]``."""


def dumps(obj: object, *, copy: bool = False) -> list[memoryview]:
    """Turn an object into frames, without copying its data.

    The frames are live memory of the object until they are sent: whoever changes an array meanwhile changes the
    message, and a bytearray of 256 KiB or more cannot be resized while they live. ``copy=True`` takes a snapshot.

    Parameters
    ----------
    obj
        Anything that pickle or cloudpickle can take, with arrays and other buffers of any size at any depth.
    copy
        Copy all memory that is the object's.

    Returns
    -------
    list of memoryview
        One message. Each frame is one-dimensional, contiguous and of format ``"B"``; ``frames[0]`` says what the others
        are. `loads` wants them back in this order.

    Raises
    ------
    EncodeError
        Something in the object cannot be pickled; the text names the path to it.
    Exception
        What a ``__reduce__`` of the object's raises passes unchanged, with a note that names the path.

    Notes
    -----
    Memory that objects share travels once. Arrays whose elements lie apart are compacted, so that no byte between them
    leaves, unless the memory between travels anyway. Lambdas, closures, local classes and what ``__main__`` defines
    travel by value, as cloudpickle does it, and can then be rebuilt by the same minor version of Python only.
    """
    serializers = REGISTRY.serializers
    if type(obj) in _alone or serializers:
        frames = _dump_alone(obj)
        if frames is not None:
            return _snapshots(frames) if copy else frames
    try:
        engine = _take()
    except IndexError:
        engine = new_engine()
    dump, chunks, buffers, clear_memo, size = engine
    try:
        dump(obj)
    except Exception as error:  # noqa: BLE001  # a refusal of pickle's or an error of the object's: told apart there
        return _dump_by_value(obj, error, copy=copy)
    stream = chunks.pop()
    if STACK_GLOBAL in stream or chunks or buffers or copy:
        chunks.append(stream)
        if REGISTRY.outdated() or REGISTRY.serializers is not serializers:
            return dumps(obj, copy=copy)  # with what has been registered since, perhaps for this very object
        if names_what_goes_by_value(chunks):
            return _dump_by_value(obj, None, copy=copy)
        frames = _message("pickle", None, chunks, buffers, copy=copy)
        chunks.clear()
        buffers.clear()
        if size() < REUSABLE:
            clear_memo()
            _give_back(engine)
        return frames
    # Plain data, the common small message, without any of the calls above.
    length = len(stream)
    if length < _TINY or size() < REUSABLE:
        clear_memo()
        _give_back(engine)
    try:
        first = _first_frames[length]
    except KeyError:
        first = _first_frame(length)
    return [first.toreadonly(), memoryview(stream)]


def _first_frame(length: int) -> memoryview:
    first = memoryview(headers.encode("pickle", None, (length,), 1, ()))
    if length < _SMALL:
        _first_frames[length] = first
    return first


def _dump_by_value(obj: object, error: Exception | None, *, copy: bool) -> list[memoryview]:
    """Pickle what pickle refused with `error`, or what only cloudpickle sends right."""
    if error is None or (refused(error) and not isinstance(error, RecursionError | MemoryError)):
        try:
            chunks, buffers = dump_by_value(obj)
        except Exception as final:  # noqa: BLE001  # raised again below
            error = final
        else:
            tag, meta = ("cloudpickle", _PYTHON) if holds_code(chunks) else ("pickle", None)
            return _message(tag, meta, chunks, buffers, copy=copy)
    ours = refused(error) and not isinstance(error, MemoryError)
    try:
        culprit = find_culprit(obj)
        if ours:
            message = f"cannot pickle {culprit}: {error}"
            raise EncodeError(message) from error
        error.add_note(f"raised while oobcodec.dumps was pickling {culprit}")
        raise error
    finally:
        del error  # its traceback refers to this frame, and that to the object


def _dump_alone(obj: object) -> list[memoryview] | None:
    """Return the message of a serializer that takes `obj` as a whole, or of a call that is known, if there is one."""
    for serializer in REGISTRY.serializers:
        if serializer.supports(obj):
            meta, buffers = serializer.dumps(obj)
            return _headed(serializer.tag, meta, [flat(buffer) for buffer in buffers])
    if type(obj) is bytes:
        return _headed("bytes", None, [memoryview(obj)])
    if type(obj) is str:
        return _headed("str", None, [memoryview(obj.encode("utf-8", "surrogatepass"))])
    return None if REGISTRY.serializers or REGISTRY.outdated() else _dump_call(obj)


def _dump_call(obj: object) -> list[memoryview] | None:
    reduce, take_apart = _alone[type(obj)]
    # Someone else's reducer may have the class now.
    call = take_apart(obj) if REGISTRY.table.get(type(obj)) is reduce else None
    if call is None:
        return None
    function, buffer, arguments = call
    stream = streams.get((function, arguments))
    if stream is None:
        frames = dumps(Taken(function, buffer, arguments))
        remember(call, frames)
        return frames
    view = buffer.raw()
    return [_first_of_one(len(stream), view.nbytes, view.readonly).toreadonly(), memoryview(stream), view]


def _message(tag: str, meta: Any, chunks: list[Chunk], buffers: list[memoryview], *, copy: bool) -> list[memoryview]:
    if len(chunks) == len(buffers) == 1 and tag == "pickle" and not isinstance(buffers[0].obj, Extent):
        # One array, the common large message, without the calls below.
        stream, buffer = memoryview(chunks[0]), buffers[0]
        frames = [_first_of_one(len(stream), len(buffer), buffer.readonly).toreadonly(), stream, buffer]
    else:
        pieces = [memoryview(piece) for piece in joined(chunks)]
        placed, placements = place(buffers, 1 + len(pieces)) if buffers else ([], ())
        frames = _headed(tag, meta, [*pieces, *placed], len(pieces), placements)
    return _snapshots(frames) if copy else frames


@lru_cache(maxsize=1024)
def _first_of_one(stream: int, buffer: int, readonly: bool) -> memoryview:  # noqa: FBT001  # a key of the cache
    return memoryview(headers.encode("pickle", None, (stream, buffer), 1, ((2, 0, buffer, readonly),)))


def _headed(
    tag: str,
    meta: Any,
    frames: list[memoryview],
    pickle_frames: int = 0,
    placements: tuple[Placement, ...] | None = None,
) -> list[memoryview]:
    lengths = tuple([frame.nbytes for frame in frames])
    if placements is None:
        placements = tuple([(i, 0, frame.nbytes, frame.readonly) for i, frame in enumerate(frames, 1)])
    encode = headers.encode_small if meta is None and len(lengths) < _FEW else headers.encode
    return [memoryview(encode(tag, meta, lengths, pickle_frames, placements)), *frames]


def _snapshots(frames: list[memoryview]) -> list[memoryview]:
    return [_copied(frame).toreadonly() if frame.readonly else _copied(frame) for frame in frames]


def _copied(frame: memoryview) -> memoryview:
    memory = allocate(frame.nbytes)
    memory[:] = frame
    return memory


def loads(
    frames: Iterable[Buffer] | Buffer,
    *,
    writable: bool | None = None,
    open_encoded: bool = True,
    map_location: Any = None,
) -> Any:
    """Rebuild an object from frames, as views of them.

    Like `pickle.loads` it runs what the message says: call it only on messages from a peer you trust.

    Parameters
    ----------
    frames
        One message: the frames that `dumps` returned, each as anything with the buffer protocol (`bytes`, `memoryview`,
        ``zmq.Frame``, …); or one buffer with its packed form. Memory that does not start at a multiple of 64 bytes
        works, but arrays in it may be unaligned.
    writable
        ``None``: what was writable is writable if its frame is. ``True``: frames that are read-only are copied where
        needed, so that everything is writable that was. ``False``: every buffer is read-only.
    open_encoded
        Rebuild the objects inside `oobcodec.Encoded` too; otherwise hand over the `Encoded` itself.
    map_location
        Where torch's storages go, as in `torch.load`. ``None``: to the device that they came from. A ``str`` or a
        ``torch.device``: all to that one, those of the CPU included. A dict: to other devices than they came from. A
        function of a storage on the CPU and the name of the device that it came from: it returns the storage to use,
        or ``None`` for the default.

    Returns
    -------
    object
        Its arrays lie in the frames, and each keeps alive the frame it lies in.

    Raises
    ------
    HeaderError, TruncatedError
        The frames are not one whole message of a format that this version reads.
    DecodeError
        The message needs a module, a tag, a device or a Python version that is not here, or its pickle stream is
        damaged.
    Exception
        What a ``__setstate__`` of the object's raises passes unchanged, with a note that names the method.
    """
    if type(frames) is not list:
        frames = _listed(frames)
    try:
        first = frames[0]
    except IndexError:
        message = "no frames: a message has one at least"
        raise TruncatedError(message) from None
    if type(first) is memoryview:
        first = first.tobytes()
    elif type(first) is not bytes:
        first = bytes(_view(0, first))
    if writable is None and open_encoded and map_location is None and not RUNNING:
        # Most messages, at half of the general price; all others are sorted out below.
        try:
            begin, size, count, places = _plans[first]
        except KeyError:
            begin, size, count, places = _plan(first)
        if len(frames) == count:
            stream = frames[1]
            kind = type(stream)
            if kind is not bytes:
                stream = stream.tobytes() if kind is memoryview else bytes(stream) if kind is bytearray else b""
            if len(stream) == size and stream[:11] == begin and stream[-1] == STOP:
                try:
                    return _load_buffers(stream, frames, places) if places else _unpickle(stream)
                except Exception as error:  # noqa: BLE001  # raised again there
                    _fail(error)
    return _load_message(first, frames, writable, open_encoded, map_location)


def _plan(first: bytes) -> _Plan:
    """Return how to read a message the short way, which goes for a small pickle, beside it no buffer less than a frame.

    That is how the pickle begins, its length, how many frames the message has, and the length and read-only flag of
    each buffer. No message has the plan of any other, which is one without frames.
    """
    if len(first) > headers.SMALL:
        return b"", 0, 0, ()
    tag, meta, lengths, pickle_frames, placements = headers.decode_small(first)
    buffers = tuple([(place[2], place[3]) for place in placements])
    whole = tuple([(frame, 0, *buffer) for frame, buffer in enumerate(buffers, 2)]) == placements
    plan: _Plan = b"", 0, 0, ()
    if tag == "pickle" and meta is None and pickle_frames == 1 and lengths[0] < _SMALL and whole:
        plan = opening(lengths[0]), lengths[0], 1 + len(lengths), buffers
    if len(_plans) >= _PLANNED:
        _plans.clear()
    _plans[first] = plan
    return plan


def _load_message(
    first: bytes,
    frames: Sequence[Buffer],
    writable: bool | None,  # noqa: FBT001  # an option
    open_encoded: bool,  # noqa: FBT001  # an option
    map_location: Any,
) -> Any:
    """Rebuild the object of any message."""
    header = headers.decode_small(first) if len(first) <= headers.SMALL else headers.decode(first)
    options = DEFAULTS
    if writable is not None or not open_encoded or map_location is not None:
        options = LoadOptions(writable, open_encoded, map_location)
    lengths = header.lengths
    if len(frames) != 1 + len(lengths):
        message = f"the message has {1 + len(lengths)} frames, here are {len(frames)}"
        raise (TruncatedError if len(frames) <= len(lengths) else HeaderError)(message)
    views = [_checked(index, frames[index], length) for index, length in enumerate(lengths, 1)]
    return _load(header, views, options)


def _load_buffers(stream: bytes, frames: Sequence[Buffer], places: tuple[tuple[int, bool], ...]) -> Any:
    buffers = []
    for index, (length, readonly) in enumerate(places, 2):
        view = _checked(index, frames[index], length)
        buffers.append(view.toreadonly() if readonly else view)
    if len(buffers) == 1 and len(stream) < LENGTH:
        call = calls.get(stream)
        if call:
            function, arguments = call
            return function(buffers[0], *arguments)
        if call is None:
            notice(stream)
    unused = iter(buffers)
    obj = _unpickle(stream, buffers=unused)
    _check_used(unused)
    return obj


def _check_used(unused: Iterator[memoryview]) -> None:
    if next(unused, None) is not None:
        message = "the pickle stream does not use all buffers of the message"
        raise DecodeError(message)


def _listed(frames: Iterable[Buffer] | Buffer) -> list[Buffer]:
    if isinstance(frames, tuple):
        return list(frames)
    try:
        view = memoryview(frames)  # type: ignore[arg-type]
    except TypeError:
        try:
            iterator = iter(frames)
        except TypeError:
            message = f"frames are a list of buffers or one packed buffer, not {type(frames).__name__}"
            raise DecodeError(message) from None
        return list(iterator)
    return unpack(_view(0, view))


def _view(index: int, frame: Buffer) -> memoryview:
    try:
        return flat(frame)
    except (TypeError, BufferError, ValueError) as error:
        message = f"frame {index} is no contiguous buffer but {type(frame).__name__}: {error}"
        raise DecodeError(message) from error


def _checked(index: int, frame: Buffer, length: int) -> memoryview:
    """Return a frame as a view, if it is as long as the header says."""
    view = frame if type(frame) is memoryview else _view(index, frame)
    if view.format != "B" or view.ndim != 1 or not view.contiguous:
        view = _view(index, frame)
    if len(view) != length:
        message = f"frame {index} has {len(view)} bytes, the header says {length}"
        raise (TruncatedError if len(view) < length else HeaderError)(message)
    return view


def _load(header: Header, views: list[memoryview], options: LoadOptions) -> Any:
    """Rebuild the object of a message whose frames are what its header says."""
    if header.tag == "cloudpickle" and header.meta != _PYTHON:
        message = (
            f"the message holds code of Python {header.meta}, which Python {_PYTHON} cannot run: use the same version "
            "on both sides, or define its functions and classes in a module that both can import"
        )
        raise DecodeError(message)
    if (header.pickle_frames and header.tag not in _PICKLED) or (len(header.buffers) != 1 and header.tag in _WHOLE):
        message = (
            f"{header.pickle_frames} pickle frames and {len(header.buffers)} buffers are no message of {header.tag!r}"
        )
        raise HeaderError(message)
    buffers = _buffers(header.buffers, views, options.writable)
    token = None
    try:
        if options is not DEFAULTS:
            RUNNING.append(options)
        if LOADING.get() is not options:
            token = LOADING.set(options)
        if header.tag in _PICKLED:
            unused = iter(buffers)
            obj = load(views, header.pickle_frames, unused, options.writable is False)
            _check_used(unused)
            return obj
        if header.tag in _WHOLE:
            return _WHOLE[header.tag](*buffers)
        # A copy: the header is remembered, and the serializer may change what it gets.
        return REGISTRY.serializer(header.tag).loads(deepcopy(header.meta), buffers)
    except Exception as error:  # noqa: BLE001  # raised again there
        _fail(error)
    finally:
        if options in RUNNING:
            RUNNING.remove(options)
        if token is not None:
            LOADING.reset(token)


def _bytes(data: memoryview) -> bytes:
    return data.obj if type(data.obj) is bytes and len(data.obj) == data.nbytes else bytes(data)


def _str(data: memoryview) -> str:
    return str(data, "utf-8", "surrogatepass")


_WHOLE: Final = {"bytes": _bytes, "str": _str}


def _buffers(
    placements: tuple[Placement, ...],
    views: list[memoryview],
    writable: bool | None,  # noqa: FBT001  # an option
) -> list[memoryview]:
    """Return the buffers as slices of their frames, with the mutability that they had and that is asked for."""
    if writable:
        for frame in {place[0] - 1 for place in placements if not place[3]}:
            if views[frame].readonly:
                views[frame] = _copied(views[frame])
    buffers = []
    for frame, offset, length, readonly in placements:
        view = views[frame - 1]
        if length != view.nbytes:
            view = view[offset : offset + length]
        buffers.append(view.toreadonly() if readonly or writable is False else view)
    return buffers


def _fail(error: Exception) -> NoReturn:
    """Raise what rebuilding an object has raised, as an error of ours if pickle or a rebuild function refused."""
    try:
        if isinstance(error, OobError):
            raise error
        if not refused(error):
            error.add_note(f"raised in {raised_in(error)} while oobcodec.loads was rebuilding an object")
            raise error
        if isinstance(error, ModuleNotFoundError):
            message = f"the message needs the module {error.name!r}{_remedy(str(error.name))}"
        else:
            message = f"the object cannot be rebuilt: {type(error).__name__}: {error}"
        raise DecodeError(message) from error
    finally:
        del error  # its traceback refers to this frame


def _remedy(module: str) -> str:
    package = module.partition(".")[0]
    if package not in sys.modules:
        return ": install it on this side"
    # Not at import: it takes 30 ms.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        here = f"{package} {version(package)} does not have"
    except PackageNotFoundError:
        here = f"{package} does not have here"
    return f", which {here}: install the sender's version of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """The options of `dumps` and `loads`, held once.

    Parameters
    ----------
    copy
        As in `dumps`.
    writable, open_encoded, map_location
        As in `loads`.
    """

    copy: bool = False
    writable: bool | None = None
    open_encoded: bool = True
    map_location: Any = None

    def dumps(self, obj: object) -> list[memoryview]:
        """Turn an object into frames: `oobcodec.dumps` with these options."""
        return dumps(obj, copy=self.copy)

    def loads(self, frames: Iterable[Buffer] | Buffer) -> Any:
        """Rebuild an object from frames: `oobcodec.loads` with these options."""
        return loads(frames, writable=self.writable, open_encoded=self.open_encoded, map_location=self.map_location)
