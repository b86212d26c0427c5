"""From an object to frames."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from oobcodec import header as headers
from oobcodec.buffers import Extent, copied, flat
from oobcodec.calls import Taken, remember, streams
from oobcodec.engine import (
    PYTHON,
    SMALL,
    STACK_GLOBAL,
    TINY,
    dump_by_value,
    engines,
    forget,
    holds_code,
    joined,
    names_what_goes_by_value,
    new_engine,
    refused,
)
from oobcodec.errors import EncodeError
from oobcodec.paths import find_culprit
from oobcodec.registry import DEFAULT as REGISTRY
from oobcodec.sharing import place

if TYPE_CHECKING:
    from oobcodec.auth import Keyring
    from oobcodec.compression import Compression
    from oobcodec.engine import Chunk, Watch
    from oobcodec.placements import Placement

_FEW: Final = 16
"""Frames below which the header of any other message is worth remembering."""

_take = engines.pop
_give_back = engines.append
_alone = REGISTRY.alone
_first_frames: dict[int, memoryview] = {}
"""``frames[0]`` of messages that are nothing but a pickle, by the length of that."""


def dumps(  # noqa: PLR0911  # the common messages pass through with few calls
    obj: object,
    *,
    copy: bool = False,
    compression: Compression | str | None = None,
    checksum: bool = False,
    keyring: Keyring | None = None,
) -> list[memoryview]:
    """Turn an object into frames, without copying its data.

    The frames are live memory of the object until they are sent: whoever changes an array meanwhile changes the
    message, and a bytearray of 256 KiB or more cannot be resized while they live. ``copy=True`` takes a snapshot.

    Parameters
    ----------
    obj
        Anything that pickle or cloudpickle can take, with arrays and other buffers of any size at any depth.
    copy
        Copy all memory that is the object's.
    compression
        ``"lz4"``, ``"zstd"``, ``"auto"``, the tag of a registered codec, or `oobcodec.Compression` with more options:
        compress each frame where a sample of it says that this pays. Needs blosc2:
        ``pip install oobcodec[compression]``.
    checksum
        Put a checksum of each frame into the message, for `loads` to find what was damaged by accident. Needs xxhash:
        ``pip install oobcodec[checksum]``.
    keyring
        Sign the message, so that `loads` with a keyring that has the key knows who made it. The memory must then not
        change until the message is sent; neither must it with `checksum`.

    Returns
    -------
    list of memoryview
        One message. Each frame is one-dimensional, contiguous and of format ``"B"``; ``frames[0]`` says what the others
        are. `loads` wants them back in this order.

    Raises
    ------
    EncodeError
        Something in the object cannot be pickled; the text names the path to it. Or the keyring has no key to sign
        with, or what computes the digests or compresses is not installed.
    ValueError
        There is no such compression.
    Exception
        What a ``__reduce__`` of the object's raises passes unchanged, with a note that names the path.

    Notes
    -----
    Memory that objects share travels once. Arrays whose elements lie apart are compacted, so that no byte between them
    leaves, unless the memory between travels anyway. Lambdas, closures, local classes and what ``__main__`` defines
    travel by value, as cloudpickle does it, and can then be rebuilt by the same minor version of Python only.
    """
    if compression is not None or checksum or keyring is not None:
        frames = dumps(obj, copy=copy and compression is None)
        return finished(frames, copy=copy, compression=compression, checksum=checksum, keyring=keyring)
    serializers = REGISTRY.serializers
    if type(obj) in _alone or serializers:
        alone = _dump_alone(obj)
        if alone is not None:
            return _snapshots(alone) if copy else alone
    try:
        engine = _take()
    except IndexError:
        engine = new_engine()
    dump, chunks, buffers, clear_memo, _, room = engine
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
        if buffers or copy or len(chunks) > 1:
            frames = framed("pickle", None, chunks, buffers, copy=copy)
            forget(engine, sum(map(len, chunks)))
            chunks.clear()
            buffers.clear()
            _give_back(engine)
            return frames
        chunks.clear()
    # Plain data, the common small message, mostly without any of the calls above.
    length = len(stream)
    if length < TINY and not room:
        clear_memo()
    else:
        forget(engine, length)
    _give_back(engine)
    try:
        first = _first_frames[length]
    except KeyError:
        first = _first_frame(length)
    return [first.toreadonly(), memoryview(stream)]


def finished(
    frames: list[memoryview],
    *,
    copy: bool = False,
    compression: Compression | str | None = None,
    checksum: bool = False,
    keyring: Keyring | None = None,
) -> list[memoryview]:
    """Do with a message what `dumps` is asked for beyond making it; `copy` is for what is left of it uncompressed."""
    # Not at import: most messages need none of it.
    if compression is not None:
        from oobcodec.compression import compressed  # noqa: PLC0415

        frames = compressed(frames, compression)
        frames = _snapshots(frames) if copy else frames
    if checksum or keyring is not None:
        from oobcodec.integrity import seal  # noqa: PLC0415

        frames = seal(frames, checksum=checksum, keyring=keyring)
    return frames


def dumps_watched(obj: object, watch: Watch, *, copy: bool = False) -> list[memoryview]:
    """Do what `dumps` does, and call `watch` with each piece of a pickle stream, of 64 KiB or more, once it is written.

    That is what lets other threads run: within `dumps` they wait until it has finished. To give up, `watch` raises
    something that is no `Exception`.
    """
    serializers = REGISTRY.serializers
    frames = _dump_alone(obj) if type(obj) in _alone or serializers else None
    if frames is not None:
        return _snapshots(frames) if copy else frames
    dump, chunks, buffers, *_ = new_engine(watch=watch)
    try:
        dump(obj)
    except Exception as error:  # noqa: BLE001  # as in `dumps`
        return _dump_by_value(obj, error, watch, copy=copy)
    if REGISTRY.outdated() or REGISTRY.serializers is not serializers:
        return dumps_watched(obj, watch, copy=copy)
    if names_what_goes_by_value(chunks):
        return _dump_by_value(obj, None, watch, copy=copy)
    return framed("pickle", None, chunks, buffers, copy=copy)


def _first_frame(length: int) -> memoryview:
    first = memoryview(headers.encode_small("pickle", None, (length,), 1, ()))
    if length < SMALL:
        _first_frames[length] = first
    return first


def _dump_by_value(obj: object, error: Exception | None, watch: Watch | None = None, *, copy: bool) -> list[memoryview]:
    """Pickle what pickle refused with `error`, or what only cloudpickle sends right."""
    if error is None or (refused(error) and not isinstance(error, RecursionError | MemoryError)):
        try:
            chunks, buffers = dump_by_value(obj, watch)
        except Exception as final:  # noqa: BLE001  # raised again below
            error = final
        else:
            tag, meta = ("cloudpickle", PYTHON) if holds_code(chunks) else ("pickle", None)
            return framed(tag, meta, chunks, buffers, copy=copy)
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
    view = buffer.raw()
    stream = streams.get((function, arguments, view.readonly))
    if stream is None:
        frames = dumps(Taken(function, buffer, arguments))
        remember(call, frames)
        return frames
    return [_first_of_one(len(stream), view.nbytes, view.readonly).toreadonly(), memoryview(stream), view]


def framed(tag: str, meta: Any, chunks: list[Chunk], buffers: list[memoryview], *, copy: bool) -> list[memoryview]:
    """Return the frames of a message: what a pickler has written, and the buffers that it has handed over."""
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
    return [copied(frame).toreadonly() if frame.readonly else copied(frame) for frame in frames]
