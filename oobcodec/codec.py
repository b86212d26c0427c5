"""From an object to frames, and from frames to an object."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from oobcodec import header as headers
from oobcodec.buffers import allocate, flat
from oobcodec.context import DEFAULTS, LOADING, LoadOptions
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
    from collections.abc import Iterable, Sequence

    from oobcodec.buffers import Buffer
    from oobcodec.engine import Chunk
    from oobcodec.header import Header, Placement

_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_SMALL: Final = 4096
"""Bytes below which a pickle is worth a remembered header: there is one a size, so they stay few."""

_FEW: Final = 16
"""Frames below which the header of any other message is worth remembering."""

_TINY: Final = 512
"""Bytes of a pickle that is too short to have made a memo large."""

_take = engines.pop
_give_back = engines.append
_unpickle = pickle.loads


class _FirstFrames(dict[int, memoryview]):
    """``frames[0]`` of a message that is nothing but a pickle of so many bytes."""

    def __missing__(self, size: int) -> memoryview:
        first = memoryview(headers.encode("pickle", None, (size,), 1, ()))
        if size < _SMALL:
            self[size] = first
        return first


class _Openings(dict[bytes, tuple[int, bytes]]):
    """What ``frames[1]`` must be, length and first bytes, to be read the short way; by ``frames[0]``."""

    def __missing__(self, first: bytes) -> tuple[int, bytes]:
        header = headers.decode(first)
        if header.tag != "pickle" or len(header.lengths) != 1 or header.lengths[0] >= _SMALL:
            return -1, b""
        self[first] = length, begin = header.lengths[0], opening(header.lengths[0])
        return length, begin


_first_frames = _FirstFrames()
_openings = _Openings()


def dumps(obj: object, *, copy: bool = False) -> list[memoryview]:
    """Turn an object into frames, without copying its data.

    The frames are live memory of the object until they are sent: whoever changes an array meanwhile changes the
    message, and a bytearray of 64 KiB or more cannot be resized while they live. ``copy=True`` takes a snapshot.

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
    cls = type(obj)
    if cls is bytes or cls is str or REGISTRY.serializers:
        frames = _dump_whole(obj)
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
        if REGISTRY.outdated():
            return dumps(obj, copy=copy)
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
    return [_first_frames[length].toreadonly(), memoryview(stream)]


def _dump_by_value(obj: object, error: Exception | None, *, copy: bool) -> list[memoryview]:
    """Pickle what pickle refused with `error`, or what only cloudpickle sends right."""
    if error is None or (refused(error) and not isinstance(error, RecursionError)):
        try:
            chunks, buffers = dump_by_value(obj)
        except Exception as final:  # noqa: BLE001  # raised again below
            error = final
        else:
            tag, meta = ("cloudpickle", _PYTHON) if holds_code(chunks) else ("pickle", None)
            return _message(tag, meta, chunks, buffers, copy=copy)
    culprit = find_culprit(obj)
    if refused(error):
        message = f"cannot pickle {culprit}: {error}"
        raise EncodeError(message) from error
    error.add_note(f"raised while oobcodec.dumps was pickling {culprit}")
    raise error


def _dump_whole(obj: object) -> list[memoryview] | None:
    """Return the message of a serializer that takes `obj` as a whole, if there is one."""
    for serializer in REGISTRY.serializers:
        if serializer.supports(obj):
            meta, buffers = serializer.dumps(obj)
            return _headed(serializer.tag, meta, [flat(buffer) for buffer in buffers])
    if type(obj) is bytes:
        return _headed("bytes", None, [memoryview(obj)])
    if type(obj) is str:
        return _headed("str", None, [memoryview(obj.encode("utf-8", "surrogatepass"))])
    return None


def _message(tag: str, meta: Any, chunks: list[Chunk], buffers: list[memoryview], *, copy: bool) -> list[memoryview]:
    pieces = [memoryview(piece) for piece in joined(chunks)]
    placed, placements = place(buffers, 1 + len(pieces)) if buffers else ([], ())
    frames = _headed(tag, meta, [*pieces, *placed], len(pieces), placements)
    return _snapshots(frames) if copy else frames


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


def loads(frames: Iterable[Buffer] | Buffer, *, writable: bool | None = None, open_encoded: bool = True) -> Any:
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

    Returns
    -------
    object
        Its arrays lie in the frames, and each keeps alive the frame it lies in.

    Raises
    ------
    HeaderError, TruncatedError
        The frames are not one whole message of a format that this version reads.
    DecodeError
        The message needs a module, a tag or a Python version that is not here, or its pickle stream is damaged.
    Exception
        What a ``__setstate__`` of the object's raises passes unchanged, with a note that names the method.
    """
    if type(frames) is not list:
        frames = _listed(frames)
    if not frames:
        message = "no frames: a message has one at least"
        raise TruncatedError(message)
    first = frames[0]
    first = first.tobytes() if type(first) is memoryview else bytes(_view(0, first))
    if writable is None and open_encoded and len(frames) == 2 and LOADING.get() is DEFAULTS:  # noqa: PLR2004
        # Plain data again, at half of the general price: one pickle frame that fills one message frame.
        length, begin = _openings[first]
        stream = frames[1]
        if type(stream) is memoryview and stream.nbytes == length:
            stream = stream.tobytes()
            if stream[: len(begin)] == begin and stream[-1] == STOP:
                try:
                    return _unpickle(stream)
                except Exception as error:  # noqa: BLE001  # raised again there
                    _fail(error)
    header = headers.decode_small(first) if len(first) <= headers.SMALL else headers.decode(first)
    return _load(header, _checked(frames, header), LoadOptions(writable, open_encoded))


def _listed(frames: Iterable[Buffer] | Buffer) -> list[Buffer]:
    if isinstance(frames, tuple):
        return list(frames)
    try:
        view = memoryview(frames)  # type: ignore[arg-type]
    except TypeError:
        try:
            return list(frames)
        except TypeError:
            message = f"frames are a list of buffers or one packed buffer, not {type(frames).__name__}"
            raise DecodeError(message) from None
    return unpack(view)


def _view(index: int, frame: Buffer) -> memoryview:
    try:
        return flat(frame)
    except (TypeError, BufferError, ValueError) as error:
        message = f"frame {index} is no contiguous buffer but {type(frame).__name__}: {error}"
        raise DecodeError(message) from error


def _checked(frames: Sequence[Buffer], header: Header) -> list[memoryview]:
    """Return the frames as views, as many and as long as the header says."""
    if len(frames) != 1 + len(header.lengths):
        message = f"the message has {1 + len(header.lengths)} frames, here are {len(frames)}"
        raise (TruncatedError if len(frames) <= len(header.lengths) else HeaderError)(message)
    views = [_view(index, frame) for index, frame in enumerate(frames)]
    for index, length in enumerate(header.lengths, 1):
        if views[index].nbytes != length:
            message = f"frame {index} has {views[index].nbytes} bytes, the header says {length}"
            raise (TruncatedError if views[index].nbytes < length else HeaderError)(message)
    return views


def _load(header: Header, views: list[memoryview], options: LoadOptions) -> Any:
    """Rebuild the object of a message whose frames are what its header says."""
    if header.tag == "cloudpickle" and header.meta != _PYTHON:
        message = (
            f"the message holds code of Python {header.meta}, which Python {_PYTHON} cannot run: use the same version "
            "on both sides, or define its functions and classes in a module that both can import"
        )
        raise DecodeError(message)
    buffers = _buffers(header, views, writable=options.writable)
    token = LOADING.set(options) if LOADING.get() != options else None
    try:
        match header.tag:
            case "pickle" | "cloudpickle":
                return _load_pickle(header, views, buffers, readonly=options.writable is False)
            case "bytes":
                (data,) = buffers
                return data.obj if type(data.obj) is bytes and len(data.obj) == data.nbytes else bytes(data)
            case "str":
                (data,) = buffers
                return str(data, "utf-8", "surrogatepass")
            case tag:
                return REGISTRY.serializer(tag).loads(header.meta, buffers)
    except Exception as error:  # noqa: BLE001  # raised again there
        _fail(error)
    finally:
        if token is not None:
            LOADING.reset(token)


def _load_pickle(header: Header, views: list[memoryview], buffers: list[memoryview], *, readonly: bool) -> Any:
    unused = iter(buffers)
    obj = load(views[1 : 1 + header.pickle_frames], unused, readonly=readonly)
    surplus = sum(1 for _ in unused)
    if surplus:
        message = f"the pickle stream leaves {surplus} of {len(buffers)} buffers unused"
        raise DecodeError(message)
    return obj


def _buffers(header: Header, views: list[memoryview], *, writable: bool | None) -> list[memoryview]:
    """Return the buffers as slices of their frames, with the mutability that they had and that is asked for."""
    if writable:
        for frame in {place[0] for place in header.buffers if not place[3]}:
            if views[frame].readonly:
                views[frame] = _copied(views[frame])
    buffers = []
    for frame, offset, length, readonly in header.buffers:
        view = views[frame]
        if length != view.nbytes:
            view = view[offset : offset + length]
        buffers.append(view.toreadonly() if readonly or writable is False else view)
    return buffers


def _fail(error: Exception) -> NoReturn:
    """Raise what rebuilding an object has raised, as an error of ours if pickle or a rebuild function refused."""
    if isinstance(error, OobError):
        raise error
    if isinstance(error, ModuleNotFoundError) and refused(error):
        message = f"the message needs the module {error.name!r}: install it on this side"
        raise DecodeError(message) from error
    if refused(error):
        message = f"the pickle stream cannot be rebuilt: {type(error).__name__}: {error}"
        raise DecodeError(message) from error
    error.add_note(f"raised in {raised_in(error)} while oobcodec.loads was rebuilding an object")
    raise error


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """The options of `dumps` and `loads`, held once.

    Parameters
    ----------
    copy
        As in `dumps`.
    writable, open_encoded
        As in `loads`.
    """

    copy: bool = False
    writable: bool | None = None
    open_encoded: bool = True

    def dumps(self, obj: object) -> list[memoryview]:
        """Turn an object into frames: `oobcodec.dumps` with these options."""
        return dumps(obj, copy=self.copy)

    def loads(self, frames: Iterable[Buffer] | Buffer) -> Any:
        """Rebuild an object from frames: `oobcodec.loads` with these options."""
        return loads(frames, writable=self.writable, open_encoded=self.open_encoded)
