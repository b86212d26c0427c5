"""Messages into memory that is there already: a buffer, or the arrays of an object like the one that arrives."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections import Counter
from ctypes import string_at
from math import prod
from mmap import mmap
from pickle import PickleBuffer
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol, TypeAlias

from oobcodec.buffers import address, flat, padding
from oobcodec.codec import dumps
from oobcodec.errors import DecodeError, LimitError
from oobcodec.header import read
from oobcodec.paths import ATOMS, Step, children_of, class_name, short

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from oobcodec.header import Header

    Decode: TypeAlias = Callable[[list[memoryview]], Any]

_BUFFERS: Final = (bytearray, memoryview, mmap)
_WHOLE: Final = ATOMS | {str, bytes, set, frozenset, FunctionType, MethodType}
"""Classes whose objects are compared as they are."""

_NAMED: Final = 5

_CONTAINERS: Final = (dict, list, tuple)
_OWNERS: Final = (array, memoryview)
"""Classes whose memory nobody but its owner describes: what else has a buffer may rely on what is in it."""


class Target(Protocol):
    """Where a message goes."""

    def allocate(self, index: int, nbytes: int, header: Header, frames: Sequence[memoryview]) -> memoryview | None:
        """Return the memory for a frame, as `oobcodec.Receiver` asks for it."""

    def finish(self, frames: list[memoryview]) -> Any:
        """Return the object of the message, which has arrived."""


def target(into: Any, decode: Decode) -> Target:
    """Return where a message goes.

    Parameters
    ----------
    into
        A ``bytearray``, ``memoryview`` or ``mmap``: the frames of the message lie in it, and so does the object. Any
        other object is one like that which arrives, and is changed to equal it: the same classes, dtypes, shapes,
        keys, and other values outside of arrays, as a model's ``state_dict``. Frames go straight into the memory of its
        arrays and tensors, where both sides have them alike, contiguous or shared, if the message has neither checksums
        nor a signature, and nothing but numbers in containers outside of its pickle stream. What else arrives is
        checked first, in memory of its own, and copied.
    decode
        Rebuilds the object of a message.

    Raises
    ------
    EncodeError
        `into` cannot be pickled.
    ValueError
        It cannot be written to, is a buffer that is not contiguous, or there is no memory in it.
    """
    return _Memory(into, decode) if isinstance(into, _BUFFERS) else _Twin(into, decode)


class _Memory:
    """A buffer for one message."""

    def __init__(self, into: Any, decode: Decode) -> None:
        try:
            self._free = flat(into)
        except BufferError as error:
            message = f"into= is not contiguous: a {type(into).__name__}; give memory in one piece"
            raise ValueError(message) from error
        if self._free.readonly:
            message = f"into= is read-only: a {type(into).__name__}"
            raise ValueError(message)
        self._decode = decode
        self._lacks: int | None = None

    def allocate(self, index: int, nbytes: int, header: Header, frames: Sequence[memoryview]) -> memoryview | None:  # noqa: ARG002
        if self._lacks is None:
            skip = padding(address(self._free)) if self._free else 0
            # Without those that will be decompressed, into memory of their own.
            codecs = header.codecs or (None,) * len(header.lengths)
            pairs = [*zip(header.lengths, codecs, strict=True)][header.pickle_frames :]
            lengths = [length for length, coding in pairs if coding is None]
            needed = skip + sum(length + padding(length) for length in lengths) - padding(lengths[-1])
            self._lacks = max(needed - self._free.nbytes, 0)
            self._free = self._free[skip:]
        if self._lacks:
            return None
        taken = self._free[:nbytes]
        self._free = self._free[nbytes + padding(nbytes) :]
        return taken

    def finish(self, frames: list[memoryview]) -> Any:
        if self._lacks:
            message = f"into= is {self._lacks:,} bytes too small for the message, whose frames start at multiples of 64"
            raise LimitError(message)
        return self._decode(frames)


class _Dense(NamedTuple):
    """Memory whose elements can be overwritten."""

    obj: Any
    kind: tuple[Any, ...]
    start: int
    nbytes: int
    steps: tuple[tuple[int, int], ...]
    """Length, and bytes from an element to the next, of each axis that has several."""
    gap_free: bool = True
    numbers: bool = False
    """Whether all bytes make elements."""
    readonly: bool = False

    @property
    def place(self) -> tuple[Any, ...]:
        return self.start, self.nbytes, self.steps


class _Pair(NamedTuple):
    step: Step
    here: _Dense
    there: _Dense

    @property
    def moved(self) -> bool:
        return self.here.place != self.there.place

    @property
    def way(self) -> object:
        """How memory there becomes memory here: what shares memory must take the same way."""
        shift = self.there.start - self.here.start
        return shift if self.here.steps == self.there.steps else (shift, self.here.place, self.there.place)

    def lies_in_containers(self) -> bool:
        step = self.step.parent
        while step is not None and isinstance(step.obj, _CONTAINERS):
            step = step.parent
        return step is None


class _Twin:
    """An object that is to equal the one that arrives."""

    def __init__(self, into: Any, decode: Decode) -> None:
        self._into = into
        self._decode = decode
        frames = dumps(into)
        self._header = read(bytes(frames[0]))
        self._own = frames[1 + self._header.pickle_frames :]
        self._lent: Collection[int] = ()
        pairs = [*_pairs(into, into)]
        for pair in pairs:
            owner = _owner(pair.step)
            why = _obstacle(owner.obj, *pair)
            if why:
                name = class_name(type(owner.obj))
                message = f"into={owner.path} cannot be received into: the memory of a {name} there {why}"
                raise ValueError(message)
        if not pairs and not isinstance(into, _CONTAINERS):
            message = f"into= cannot be received into: there is no memory in a {class_name(type(into))}"
            raise ValueError(message)

    def allocate(self, index: int, nbytes: int, header: Header, frames: Sequence[memoryview]) -> memoryview | None:  # noqa: ARG002
        number = index - 1 - header.pickle_frames
        # Digests are checked, and frames decompressed, when all is there.
        if (
            number == 0
            and header.digests is None
            and header.codecs is None
            and _layout(header) == _layout(self._header)
        ):
            self._lent = self._lendable(frames)
        return self._own[number] if number in self._lent else None

    def _lendable(self, frames: Sequence[memoryview]) -> Collection[int]:
        """Return which frames may go where the arrays are, now that the pickle stream is there."""
        try:
            pairs = [*_pairs(self._into, self._decode([*frames, *self._own]))]
            _check_shared(pairs)
        except Exception:  # noqa: BLE001  # raised again when the whole message has arrived
            return ()
        starts = [address(frame) for frame in self._own]
        first = 1 + self._header.pickle_frames
        placed = Counter((starts[frame - first] + offset, nbytes) for frame, offset, nbytes, _ in self._header.buffers)
        numbers = (pair.there for pair in pairs if pair.there.numbers and pair.lies_in_containers())
        if placed - Counter((memory.start, memory.nbytes) for memory in numbers):
            return ()  # whether the other buffers fit depends on what is in them
        moved = sorted(memory.start for pair in pairs if pair.moved for memory in (pair.here, pair.there))
        spans = [(start, start + frame.nbytes) for start, frame in zip(starts, self._own, strict=True)]
        return {n for n, (start, end) in enumerate(spans) if bisect_left(moved, start) == bisect_left(moved, end)}

    def finish(self, frames: list[memoryview]) -> Any:
        # Again, where frames have been lent: what rebuilds an object may have copied what was there before.
        pairs = [*_pairs(self._into, self._decode(frames))]
        _check_shared(pairs)
        for pair in pairs:
            if pair.moved:
                where = slice(None) if type(pair.here.obj) is memoryview else ...
                pair.here.obj[where] = pair.there.obj
        return self._into


def _owner(step: Step) -> Step:
    """Return whose memory it is: of what a reducer says, the object that was reduced."""
    while step.parent is not None and isinstance(step.obj, (PickleBuffer, *_CONTAINERS)):
        step = step.parent
    return step


def _obstacle(owner: object, step: Step, here: _Dense, again: _Dense) -> str | None:
    """Return why an array cannot be received into, if so; `again` is the same of a second look."""
    if here.readonly or (type(step.obj) is PickleBuffer and not isinstance(owner, _OWNERS)):
        return "cannot be written to"
    if here.place != again.place:
        return "is made anew each time that it is sent"
    return "repeats its elements" if any(step == 0 for _, step in here.steps) else None


def _layout(header: Header) -> tuple[Any, ...]:
    return header.lengths[header.pickle_frames :], [
        (frame - header.pickle_frames, offset, length) for frame, offset, length, _ in header.buffers
    ]


def _pairs(here: Any, there: Any) -> Iterator[_Pair]:
    """Yield the memory of two objects in pairs, and compare all else.

    Raises
    ------
    DecodeError
        They differ.
    """
    stack = [(Step(None, "", here), there)]
    seen = {}
    while stack:
        step, there = stack.pop()
        here = step.obj
        pair = id(here), id(there)
        if pair in seen:
            continue
        seen[pair] = here, there  # kept alive: the next objects must not get their ids
        memory, other = _dense(here), _dense(there)
        if memory is not None and other is not None and memory.kind == other.kind:
            yield _Pair(step, memory, other)
            continue
        if type(here) is not type(there) or memory is not None or other is not None:
            _refuse(step, f"there is {_shown(there, other)} for {_shown(here, memory)}")
        ours, theirs = [*_parts(here)], [*_parts(there)]
        if len(ours) != len(theirs):
            odd = dict(ours).keys() ^ dict(theirs).keys()
            names = [name for name, _ in (*ours, *theirs) if name in odd and name[:1] not in {"", "{"}]
            _refuse(step, f"{', '.join(names[:_NAMED])} on one side only" if names else "there is more or less")
        if not ours and not _same(here, there):
            _refuse(step, f"there is {short(there)} for {short(here)}")
        children = [(Step(step, label, part), other) for (label, part), (_, other) in zip(ours, theirs, strict=True)]
        stack += reversed(children)


def _refuse(step: Step, why: str) -> NoReturn:
    message = f"what arrives does not fit into={step.path}: {why}"
    raise DecodeError(message)


def _shown(obj: Any, memory: _Dense | None) -> str:
    return short(obj) if memory is None else " ".join(map(str, memory.kind))


def _parts(obj: Any) -> Iterable[tuple[str, Any]]:
    return () if type(obj) in _WHOLE or isinstance(obj, type) or _is_index(obj) else children_of(obj)


def _same(here: Any, there: Any) -> bool:
    if _is_index(here):
        return bool(here.identical(there))
    return here is there or here == there or (here != here and there != there)  # noqa: PLR0124  # both not a number


def _is_index(obj: Any) -> bool:
    """Tell whether something is an index of pandas, which remembers where its labels are: they must stay."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(obj, pandas.Index)


def _check_shared(pairs: Sequence[_Pair]) -> None:
    """Refuse two values for the same memory."""
    last: _Pair | None = None
    for pair in sorted([pair for pair in pairs if pair.here.nbytes], key=lambda pair: pair.here.start):
        here = pair.here
        if last is not None and here.start < last.here.start + last.here.nbytes:
            # What has gaps may lie in those of another one.
            shared = here.gap_free or last.here.gap_free or here.start == last.here.start
            if shared and pair.way != last.way and not _agree(last, pair):
                _refuse(pair.step, f"it shares memory with {last.step.path or 'another one'}, which does not there")
        if last is None or here.start + here.nbytes > last.here.start + last.here.nbytes:
            last = pair


def _agree(one: _Pair, other: _Pair) -> bool:
    """Tell whether two arrays that arrive apart, as small ones do, are equal in what they share, from `other` on."""
    for pair in (one, other):
        if not pair.here.gap_free or pair.here.steps != pair.there.steps or not hasattr(pair.here.obj, "tobytes"):
            return False
    offset = other.here.start - one.here.start
    nbytes = min(one.here.nbytes - offset, other.here.nbytes)
    return string_at(one.there.start + offset, nbytes) == string_at(other.there.start, nbytes)


def _dense(obj: Any) -> _Dense | None:
    cls = type(obj)
    if cls is bytearray or cls is PickleBuffer:
        view = flat(obj)
        kind: tuple[Any, ...] = (class_name(cls), view.nbytes)
        return _Dense(view, kind, address(view) if view else 0, view.nbytes, (), readonly=view.readonly)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and cls in (numpy.ndarray, numpy.memmap) and not obj.dtype.hasobject:
        # A memmap arrives as an array.
        start, readonly = obj.__array_interface__["data"]
        kind = ("numpy.ndarray", obj.dtype, obj.shape)
        layout = start, obj.shape, obj.strides, obj.itemsize
        return _laid(obj, kind, layout, numbers=obj.dtype.kind in "iufc", readonly=readonly)
    if torch is not None and cls in (torch.Tensor, torch.nn.Parameter) and _is_plain(obj, torch):
        marks = [mark for mark in ("requires_grad", "is_conj", "is_neg") if _is_marked(obj, mark)]
        kind = (class_name(cls), obj.dtype, tuple(obj.shape), obj.device, *marks)
        size = obj.element_size()
        layout = obj.data_ptr(), obj.shape, [size * step for step in obj.stride()], size
        return _laid(obj.detach(), kind, layout, numbers=obj.dtype is not torch.bool, readonly=False)
    return None


def _laid(obj: Any, kind: tuple[Any, ...], layout: tuple[Any, ...], *, numbers: bool, readonly: bool) -> _Dense:
    start, shape, strides, itemsize = layout
    if 0 in shape:
        return _Dense(obj, kind, start, 0, (), readonly=readonly)
    steps = tuple((length, step) for length, step in zip(shape, strides, strict=True) if length > 1)
    start += sum((length - 1) * step for length, step in steps if step < 0)
    nbytes = itemsize + sum((length - 1) * abs(step) for length, step in steps)
    return _Dense(obj, kind, start, nbytes, steps, nbytes == itemsize * prod(shape), numbers, readonly)


def _is_marked(tensor: Any, mark: str) -> bool:
    value = getattr(tensor, mark)
    return bool(value() if callable(value) else value)


def _is_plain(tensor: Any, torch: Any) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized and not vars(tensor)
