"""Pickling: an object into a stream with buffers beside it, and back.

An engine is pickle with the registry's reducers, which is fast. `dump_by_value` is cloudpickle with the same
reducers, for what can only travel by value: lambdas, closures, local classes, and what belongs to ``__main__`` or to a
module registered with ``cloudpickle.register_pickle_by_value``.
"""

from __future__ import annotations

import pickle
import sys
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

from oobcodec.buffers import EMPTY, flat
from oobcodec.errors import DecodeError
from oobcodec.registry import DEFAULT as REGISTRY
from oobcodec.registry import reduce_by_itself

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType
    from typing import TypeAlias

    from oobcodec.registry import Reduce

    Chunk: TypeAlias = bytes | bytearray
    Watch: TypeAlias = Callable[[Chunk], object]
    Engine: TypeAlias = tuple[
        Callable[[Any], None], list[Chunk], list[memoryview], Callable[[], None], Callable[[], None], list[int]
    ]
    # A plain tuple (dump, chunks, buffers, clear_memo, renew_memo, room): unpacking one is the fastest access there is.
    # The last one holds the bytes of the longest pickle since the memo was new, if it was not tiny.

IN_BAND: Final = 1024
"""Bytes below which a buffer stays in the pickle stream: there it costs less than a frame of its own."""

SEGMENT: Final = 256 * 1024
"""Bytes from which a ``bytes`` or ``bytearray`` object, by reference, is a frame of the pickle stream by itself."""

STACK_GLOBAL: Final = 0x93
"""The opcode without which a stream of protocol 5 names no class and no function."""

STOP: Final = ord(".")

# The libraries that oobcodec has reducers for are part of it: what they refuse, pickling refuses.
LIBRARIES: Final = {
    *("jax", "jaxlib", "keras", "numpy", "pandas", "polars", "pyarrow", "scipy", "tensorflow", "torch", "xarray"),
}
REDUCERS: Final = "oobcodec.reducers."
_MACHINERY: Final = frozenset({"cloudpickle", "copyreg", "oobcodec", "pickle", *LIBRARIES})

_OPENING: Final = 11
_FRAME: Final = (b"\x80\x05\x95", b"\x95")
# With the opcode and the length before it, it is told apart from longer strings, and found faster.
_MAIN: Final = b"\x8c\x08__main__"
_CLOUDPICKLE: Final = b"\x17cloudpickle.cloudpickle"
TINY: Final = 512
"""Bytes below which a pickle is too short to have made a memo large."""

SHORT: Final = 64 * 1024
"""Bytes below which a pickle may be a single frame, and is worth a copy to have it unpickled at once."""

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version of Python that code is of."""

SMALL: Final = 4096
"""Bytes below which a pickle is worth a remembered header: there is one a size, so they stay few."""


class _Sink:
    """The file that a pickler writes to."""

    __slots__ = ("write",)

    def __init__(self, write: Callable[[Chunk], None]) -> None:
        self.write = write


def new_engine(
    pickler: Callable[..., Any] = pickle.Pickler, table: dict[type, Reduce] = REGISTRY.table, watch: Watch | None = None
) -> Engine:
    """Return a pickler of protocol 5 with the registry's reducers, which shows what it has written to `watch`."""
    chunks: list[Chunk] = []
    buffers: list[memoryview] = []
    append = buffers.append

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool | None:
        view = buffer.raw()
        if type(view.obj) is memoryview:
            view = flat(view.obj)  # which says why
        return True if view.nbytes < IN_BAND else append(view)

    # The pickler hands bytes and bytearrays of 64 KiB or more to ``write`` as they are.
    write = chunks.append if watch is None else partial(_keep_and_show, chunks, watch)
    machine = pickler(_Sink(write), 5, buffer_callback=keep_in_band)
    machine.dispatch_table = table
    return machine.dump, chunks, buffers, machine.clear_memo, partial(machine.__setattr__, "memo", {}), []


def _keep_and_show(chunks: list[Chunk], watch: Watch, chunk: Chunk) -> None:
    chunks.append(chunk)
    watch(chunk)


engines: list[Engine] = []
"""Engines that no call is using.

A call takes one, and gives it back only if it succeeds. That alone makes threads, re-entrant calls and exceptions
safe, and keeps no object alive: calling ``dump`` on a pickler inside another ``dump`` of it crashes the interpreter,
and after an exception its memo holds the user's objects.
"""


def forget(engine: Engine, nbytes: int) -> None:
    """Let go of the objects of a pickle of `nbytes`, but keep the memo's room for others like it.

    To clear a memo costs what the largest object since it was new did; to fill a new one costs the steps in which it
    grows, up to a fifth of all pickling. The memory that is kept is a few MiB at most.
    """
    *_, clear_memo, renew_memo, room = engine
    longest = room[0] if room else TINY
    if longest >> 3 <= nbytes < SEGMENT:
        clear_memo()
        if nbytes > longest:
            room[:] = (nbytes,)
    else:
        renew_memo()
        room.clear()


def dump_by_value(obj: object, watch: Watch | None = None) -> tuple[list[Chunk], list[memoryview]]:
    """Pickle an object with cloudpickle."""
    dump, chunks, buffers, *_ = new_engine(_CloudPickler, _CloudTable(), watch)
    dump(obj)
    return chunks, buffers


_by_value = cloudpickle.list_registry_pickle_by_value


def names_what_goes_by_value(chunks: Sequence[Chunk]) -> bool:
    """Tell whether a stream names ``__main__``, or a module that cloudpickle is told to send by value.

    It may find the name in a string that is data: then cloudpickle is used needlessly, to the same effect.
    """
    names = _by_value()
    if len(chunks) == 1 and not names:
        return chunks[0].rfind(_MAIN) >= 0  # a third of the time that `in` takes (CPython 3.11 to 3.13)
    return _mention(chunks, _MAIN, *map(str.encode, names))


def holds_code(chunks: Sequence[Chunk]) -> bool:
    """Tell whether a stream holds code, which only the same minor version of Python can run."""
    return _mention(chunks, _CLOUDPICKLE)


def _mention(chunks: Sequence[Chunk], *names: bytes) -> bool:
    for chunk in chunks:  # each ends where an opcode ends
        if is_pickled(chunk):
            for name in names:
                if chunk.rfind(name) >= 0:
                    return True
    return False


def is_pickled(piece: Chunk | memoryview) -> bool:
    """Tell whether a pickler wrote a piece of a stream, which else is the user's bytes, by reference."""
    # The large ones are those, unless a long integer made a frame that long.
    return len(piece) < SEGMENT or bytes(piece[:3]).startswith(_FRAME)


def joined(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return a stream in as few pieces as leave large bytes uncopied."""
    if len(chunks) == 1:
        return list(chunks)
    pieces: list[Chunk] = []
    run: list[Chunk] = []
    for chunk in chunks:
        if len(chunk) < SEGMENT:
            run.append(chunk)
            continue
        if run:
            pieces.append(b"".join(run))
            run.clear()
        pieces.append(chunk)
    return [*pieces, b"".join(run)]


def reduce(obj: Any) -> str | tuple[Any, ...]:
    """Take one object apart as `dump_by_value` would, but for functions and classes."""
    try:
        how = _CloudTable()[type(obj)]
    except KeyError:
        how = reduce_by_itself
    return how(obj)


class _CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    # A table in cloudpickle's class hides the slot for that of a pickler: without this one, ours would be ignored.
    dispatch_table = pickle.Pickler.dispatch_table


class _CloudTable(dict[type, "Reduce"]):
    """Ours before cloudpickle's, which include copyreg's."""

    def __missing__(self, cls: type) -> Reduce:
        how = REGISTRY.exact(cls) or cloudpickle.Pickler.dispatch_table.get(cls) or REGISTRY.inherited(cls)
        if how is None:
            raise KeyError(cls)
        self[cls] = how  # for one call, in which copyreg does not change
        return how


def load(frames: Sequence[memoryview], count: int, buffers: Iterable[memoryview], readonly: bool) -> Any:  # noqa: FBT001
    """Unpickle a stream in the first `count` of some frames.

    Raises
    ------
    DecodeError
        Bytes follow the end of the pickle, or it ends with another byte than STOP.
    Exception
        Whatever pickle or a rebuild function raises.
    """
    if count == 1 and not readonly and len(frames[0]) < SHORT:
        whole = frames[0].tobytes()
        if whole[:_OPENING] == opening(len(whole)) and whole[-1] == STOP:
            return pickle.loads(whole, buffers=buffers)
    stream = _Stream(frames[:count])
    unpickler = _ReadOnlyUnpickler if readonly else pickle.Unpickler
    obj = unpickler(stream, buffers=buffers).load()  # type: ignore[arg-type]  # any buffer will do for ``read``
    if stream.remaining:
        message = f"{stream.remaining} bytes follow the end of the pickle stream"
        raise DecodeError(message)
    # The unpickler takes whole pickle frames, and does not mind what they hold behind STOP.
    end = next(piece[-1] for piece in reversed(frames[:count]) if piece)
    if end != STOP:
        message = f"the pickle stream ends with {end:#04x}, not with STOP ({STOP:#04x})"
        raise DecodeError(message)
    return obj


@lru_cache(maxsize=4096)
def opening(size: int) -> bytes:
    """Return how a pickle of so many bytes begins if it is one frame: then nothing follows that."""
    return b"\x80\x05\x95" + (size - _OPENING).to_bytes(8, "little", signed=True)


def refused(error: Exception) -> bool:
    """Tell whether an error was raised without a method of the user's having a part in it."""
    # What a module lacks while it is imported, it lacks without any of its methods. Code of `exec` may have any object
    # for a name, or none.
    importing = isinstance(error, ImportError)
    return all(
        (importing and frame.f_code.co_name == "<module>")
        or str(frame.f_globals.get("__name__")).partition(".")[0] in _MACHINERY
        for frame in _frames(error)
    )


def raised_in(error: Exception) -> str:
    """Name the function that raised an error."""
    *_, origin = _frames(error)
    return origin.f_code.co_qualname


def rebuilder(error: Exception) -> str:
    """Return " by " and the name of the rebuild function that an error comes from, if it comes from one of ours."""
    names = [frame.f_code.co_qualname for frame in _frames(error) if REDUCERS in str(frame.f_globals.get("__name__"))]
    return f" by {names[0]}" if names else ""


def _frames(error: Exception) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


class _Stream:
    """A pickle in pieces, as the file that an unpickler reads."""

    def __init__(self, pieces: Sequence[memoryview]) -> None:
        self._pieces = iter(pieces)
        self._piece = EMPTY
        self.remaining = sum(piece.nbytes for piece in pieces)

    def read(self, size: int) -> memoryview | bytearray:
        if size <= len(self._piece):
            return self._take(size)
        # Not `size`: a length that lies must not allocate.
        data = bytearray(min(size, self.remaining))
        self.readinto(data)
        return data

    def readinto(self, target: bytearray | memoryview) -> int:
        filled = 0
        wanted = min(len(target), self.remaining)
        while filled < wanted:
            if not self._piece:
                self._piece = next(self._pieces)
            part = self._take(min(wanted - filled, len(self._piece)))
            target[filled : filled + len(part)] = part
            filled += len(part)
        return filled

    def readline(self) -> bytes:
        return b""  # only the text opcodes of old protocols read lines: pickle calls that truncated

    def _take(self, size: int) -> memoryview:
        taken, self._piece = self._piece[:size], self._piece[size:]
        self.remaining -= size
        return taken


class _ReadOnlyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return REGISTRY.frozen.get(found, found) if callable(found) else found
