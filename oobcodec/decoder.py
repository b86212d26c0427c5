"""From frames to an object."""

from __future__ import annotations

import pickle
import sys
from copy import deepcopy
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final, NoReturn

from oobcodec import header as headers
from oobcodec.buffers import aligned, copied
from oobcodec.calls import LENGTH, calls, notice
from oobcodec.context import DEFAULTS, LOADING, RUNNING, LoadOptions
from oobcodec.engine import PYTHON, SHORT, STOP, load, opening, raised_in, rebuilder, refused
from oobcodec.errors import DecodeError, HeaderError, LimitError, OobError, TruncatedError
from oobcodec.limits import Budget
from oobcodec.packed import unpack, viewed
from oobcodec.placements import overlapping
from oobcodec.policy import TRUSTED, limited
from oobcodec.registry import DEFAULT as REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.header import Header
    from oobcodec.limits import Limits
    from oobcodec.placements import Placement
    from oobcodec.policy import Policy

    _Plan: TypeAlias = tuple[bytes, int, int, tuple[tuple[int, bool], ...]]

_PICKLED: Final = ("pickle", "cloudpickle")

_PANIC: Final = "PanicException"
"""Of libraries that are written in Rust, each with a class of its own; no `Exception`."""

_PLANNED: Final = 4096
"""Headers that are remembered at a time with the way to read the rest of the message."""

_unpickle = pickle.loads
_plans: dict[bytes, _Plan] = {}
"""How to read messages the short way, by ``frames[0]``."""


def loads(  # noqa: C901, PLR0913  # most messages pass through without a call; all options by keyword
    frames: Iterable[Buffer] | Buffer,
    *,
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    writable: bool | None = None,
    align: bool = False,
    open_encoded: bool = True,
    map_location: Any = None,
) -> Any:
    """Rebuild an object from frames, as views of them.

    Like `pickle.loads` it runs what the message says, unless `policy` is another than ``TRUSTED``: call it only on
    messages from a peer you trust, or say ``policy=oobcodec.DATA``, or `keyring`.

    Parameters
    ----------
    frames
        One message: the frames that `dumps` returned, each as anything with the buffer protocol (`bytes`, `memoryview`,
        ``zmq.Frame``, …); or one buffer with its packed form. Memory that does not start at a multiple of 64 bytes
        works, but arrays in it may be unaligned; see `align`.
    policy
        What the message may name. ``TRUSTED``: anything. ``DATA``: plain data of Python, and of the libraries that
        oobcodec knows, and no more; or what ``DATA.allowing(...)`` adds to that.
    limits
        What the message may declare and use, beside the defaults of the policy.
    keyring
        Keys, one of which must have signed the message. It proves who made it, not that it is new.
    writable
        ``None``: what was writable is writable if its frame is. ``True``: frames that are read-only are copied where
        needed, so that everything is writable that was. ``False``: every buffer is read-only.
    align
        Copy buffer frames of 64 bytes or more that do not start at a multiple of 64, into memory that does.
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
    LimitError, PolicyError, IntegrityError, AuthenticationError
        It is over a limit, names what the policy refuses, is damaged, or is not signed with a key of the keyring.
    DecodeError
        The message needs a module, a tag, a device or a Python version that is not here, or its pickle stream is
        damaged.
    Exception
        What a ``__setstate__`` of the object's raises passes unchanged, with a note that names the method. Under
        ``DATA`` there is none, and whatever goes wrong is one of the above.
    """
    if type(frames) is not list:
        frames = _listed(frames, policy, limits, keyring)
    try:
        first = frames[0]
    except IndexError:
        message = "no frames: a message has one at least"
        raise TruncatedError(message) from None
    if type(first) is memoryview:
        first = first.tobytes()
    elif type(first) is not bytes:
        first = bytes(viewed(0, first))
    plain = policy is TRUSTED and limits is None and keyring is None and writable is None and map_location is None
    if plain and open_encoded and not align and not RUNNING:
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
    if keyring is not None:
        keyring.verify(first)  # before anything of the header is parsed
    limits = limited(policy, limits, signed=keyring is not None)
    options = DEFAULTS
    if policy is not TRUSTED or writable is not None or align or not open_encoded or map_location is not None:
        options = LoadOptions(writable, open_encoded, map_location, policy, limits, Budget(limits), align)
    return _load_message(first, frames, options, limits, keyring)


def loads_small(stream: memoryview) -> Any:
    """Rebuild the object of a small pickle that begins as `opening` says, ends with STOP, and came with no options."""
    try:
        return _unpickle(stream)
    except Exception as error:  # noqa: BLE001  # raised again there
        _fail(error)


def loads_within(frames: list[Buffer], options: LoadOptions) -> Any:
    """Rebuild the object of a message inside of another one, at the expense of the same budget."""
    if options is DEFAULTS:
        return loads(frames)
    first = bytes(viewed(0, frames[0])) if frames else b""
    with options.budget.inside():
        return _load_message(first, frames, options, options.limits, None)


def _plan(first: bytes) -> _Plan:
    """Return how to read a message the short way, which goes for a small pickle, beside it no buffer less than a frame.

    That is how the pickle begins, its length, how many frames the message has, and the length and read-only flag of
    each buffer. No message has the plan of any other, which is one without frames.
    """
    if len(first) > headers.SMALL:
        return b"", 0, 0, ()
    tag, meta, lengths, pickle_frames, placements, *special = headers.decode_small(first)
    buffers = tuple([(place[2], place[3]) for place in placements])
    whole = tuple([(frame, 0, *buffer) for frame, buffer in enumerate(buffers, 2)]) == placements
    plan: _Plan = b"", 0, 0, ()
    plain = tag == "pickle" and meta is None and special == [None, None]
    if plain and pickle_frames == 1 and lengths[0] < SHORT and whole:
        plan = opening(lengths[0]), lengths[0], 1 + len(lengths), buffers
    if len(_plans) >= _PLANNED:
        _plans.clear()
    _plans[first] = plan
    return plan


def _load_message(
    first: bytes, frames: Sequence[Buffer], options: LoadOptions, limits: Limits, keyring: Keyring | None
) -> Any:
    """Rebuild the object of any message."""
    header = headers.read(first, limits)
    lengths = header.lengths
    if len(frames) != 1 + len(lengths):
        message = f"the message has {1 + len(lengths)} frames, here are {len(frames)}"
        raise (TruncatedError if len(frames) <= len(lengths) else HeaderError)(message)
    views = [_checked(index, frames[index], length) for index, length in enumerate(lengths, 1)]
    if header.digests is not None:
        # Not at import: most messages have none.
        from oobcodec.integrity import check  # noqa: PLC0415

        check(header, views, keyring)
    if header.codecs is not None:
        # Not at import: most messages are not compressed.
        from oobcodec.compression import expanded  # noqa: PLC0415

        views = expanded(header, views, options.policy, Budget(limits) if options.policy.trusted else options.budget)
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


def _listed(
    frames: Iterable[Buffer] | Buffer, policy: Policy, limits: Limits | None, keyring: Keyring | None
) -> list[Buffer]:
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
    return unpack(view, limits=limited(policy, limits, signed=keyring is not None), keyring=keyring)


def _checked(index: int, frame: Buffer, length: int) -> memoryview:
    """Return a frame as a view, if it is as long as the header says."""
    view = frame if type(frame) is memoryview else viewed(index, frame)
    if view.format != "B" or view.ndim != 1 or not view.contiguous:
        view = viewed(index, frame)
    if len(view) != length:
        message = f"frame {index} has {len(view)} bytes, the header says {length}"
        raise (TruncatedError if len(view) < length else HeaderError)(message)
    return view


def _load(header: Header, views: list[memoryview], options: LoadOptions) -> Any:
    """Rebuild the object of a message whose frames are what its header says."""
    options.policy.check_tag("serializer", header.tag)
    _check_tag(header)
    if options.align and header.tag not in _WHOLE:
        views[header.pickle_frames :] = map(aligned, views[header.pickle_frames :])
    buffers = _buffers(header.buffers, views, options.writable)
    token = None
    try:
        if options is not DEFAULTS:
            RUNNING.append(options)
        if LOADING.get() is not options:
            token = LOADING.set(options)
        if not options.policy.trusted:
            return _load_data(header, views, buffers, options)
        if header.tag in _PICKLED:
            unused = iter(buffers)
            obj = load(views, header.pickle_frames, unused, options.writable is False)
            _check_used(unused)
            return obj
        return _load_whole(header, buffers)
    except Exception as error:  # noqa: BLE001  # raised again there
        _fail(error)
    finally:
        if options in RUNNING:
            RUNNING.remove(options)
        if token is not None:
            LOADING.reset(token)


def _check_tag(header: Header) -> None:
    if header.tag == "cloudpickle" and header.meta != PYTHON:
        message = (
            f"the message holds code of Python {header.meta}, which Python {PYTHON} cannot run: use the same version "
            "on both sides, or define its functions and classes in a module that both can import"
        )
        raise DecodeError(message)
    if header.meta is not None and (header.tag == "pickle" or header.tag in _WHOLE):
        message = f"a message of {header.tag!r} has no meta data, this one has {short(header.meta)}"
        raise HeaderError(message)
    if (header.pickle_frames and header.tag not in _PICKLED) or (len(header.buffers) != 1 and header.tag in _WHOLE):
        count = f"{header.pickle_frames} pickle frames and {len(header.buffers)} buffers"
        message = f"{count} are no message of {short(header.tag)}"
        raise HeaderError(message)


def _load_whole(header: Header, buffers: list[memoryview]) -> Any:
    if header.tag in _WHOLE:
        return _WHOLE[header.tag](*buffers)
    # A copy: the header is remembered, and the serializer may change what it gets.
    return REGISTRY.serializer(header.tag).loads(deepcopy(header.meta), buffers)


def _load_data(header: Header, views: list[memoryview], buffers: list[memoryview], options: LoadOptions) -> Any:
    """Rebuild an object that nobody vouches for."""
    try:
        options.budget.hold(sum(map(len, buffers)))
        if header.tag != "pickle":
            return _load_whole(header, buffers)
        # Not at import: most processes trust their peers.
        from oobcodec.machine import rebuild  # noqa: PLC0415

        stream = b"".join(views[: header.pickle_frames])
        return rebuild(stream, buffers, options, overlapping(header.buffers))
    except OobError:
        raise
    except RecursionError as error:
        message = "the objects or messages lie too deep in each other for sys.getrecursionlimit() of this process"
        raise LimitError(message) from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        message = f"the object cannot be rebuilt: {type(error).__name__}: {error}"
        raise DecodeError(message) from error


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
                views[frame] = copied(views[frame])
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
            message = f"the object cannot be rebuilt{rebuilder(error)}: {type(error).__name__}: {error}"
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
