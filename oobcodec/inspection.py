"""What a message is made of, without executing any of it."""

from __future__ import annotations

import pickletools
from collections import Counter
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from os import PathLike, fstat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oobcodec.compression import described, expanded
from oobcodec.errors import DecodeError, HeaderError, TruncatedError
from oobcodec.header import decode, decode_prelude
from oobcodec.limits import FOR_DATA, Budget
from oobcodec.names import Name
from oobcodec.packed import unpack, viewed
from oobcodec.policy import DATA
from oobcodec.reports import Report, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from oobcodec.buffers import Buffer
    from oobcodec.limits import Limits


@dataclass(frozen=True, slots=True)
class FrameRow(Row):
    """A frame of the message: what it is for, how many buffers lie in it, and how it is compressed if it is."""

    frame: int
    role: str
    bytes: int
    buffers: int
    codec: str | None = None
    filter: str | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class BufferRow(Row):
    """A buffer that the pickle stream refers to, and where it lies."""

    buffer: int
    frame: int
    offset: int
    bytes: int
    readonly: bool


def inspect(message: Iterable[Buffer] | Buffer | str | PathLike[str], *, limits: Limits = FOR_DATA) -> Report:
    """Report what a message holds, without executing any of it, whoever made it.

    Parameters
    ----------
    message
        The frames that `oobcodec.dumps` returned, one buffer with their packed form, or the path of a file with that,
        which is mapped and not read.
    limits
        What the message may declare; by default what goes under the policy ``DATA``.

    Returns
    -------
    Report
        To be printed, or taken apart with ``to_dict()``. Its ``globals`` are the classes and functions that
        `oobcodec.loads` would import and may call; ``refused under DATA`` are those of them, and the tag, that the
        policy ``DATA`` does not allow: look at these before you trust the message. Signatures are not verified, and
        messages inside of the message are not looked into.

    Raises
    ------
    HeaderError, TruncatedError
        It is not one whole message.
    LimitError
        It declares more than `limits` allow.
    PolicyError
        The pickle stream is compressed with a codec that is none of oobcodec's.
    DecodeError
        A frame is no contiguous buffer; or the pickle stream is no pickle, or is compressed, and damaged or the package
        blosc2 is not installed.
    """
    frames = _frames(message, limits)
    prelude = decode_prelude(frames[0])
    header = decode(frames[0].tobytes(), limits)
    lengths = tuple(frame.nbytes for frame in frames[1:])
    if lengths != header.lengths:
        text = f"the frames have {lengths} bytes, the header says {header.lengths}"
        raise HeaderError(text)
    uses = Counter(place[0] for place in header.buffers)
    roles = ["header", *["pickle"] * header.pickle_frames, *["buffer"] * len(lengths)]
    stream = b"".join(expanded(header, frames[1 : 1 + header.pickle_frames], DATA, Budget(limits)))
    names = sorted(set(_globals(stream, limits))) if header.pickle_frames else []
    refused = [] if DATA.allows_tag(header.tag) else [header.tag]
    refused += [str(name) for name in names if not DATA.allows(name)]
    summary = {
        "format version": 1,
        "serializer": header.tag,
        "meta": header.meta if header.meta is None else str(header.meta),
        "packed bytes": prelude.packed_length,
        "frame bytes": sum(frame.nbytes for frame in frames),
        "in-band bytes": len(stream),
        "out-of-band bytes": sum(header.sizes[header.pickle_frames :]),
        "digests": header.digests and header.digests.algorithm,
        "globals": [f"{name.module}.{name.qualname}" for name in names],
        "refused under DATA": refused,
    }
    codecs = (None, *(header.codecs or (None,) * len(lengths)))
    rows = [
        FrameRow(index, role, frame.nbytes, uses[index], *described(frame, coding))
        for index, (role, frame, coding) in enumerate(zip(roles, frames, codecs, strict=False))
    ]
    places = [BufferRow(i, *place) for i, place in enumerate(header.buffers)]
    return Report(summary, {"frames": rows, "buffers": places})


def _frames(message: Iterable[Buffer] | Buffer | str | PathLike[str], limits: Limits) -> list[memoryview]:
    if isinstance(message, str | PathLike):
        return unpack(_mapped(Path(message)), limits=limits)
    try:
        view = memoryview(message)  # type: ignore[arg-type]  # what is no buffer is a list
    except TypeError:
        frames = [viewed(index, frame) for index, frame in enumerate(message)]
    else:
        return unpack(view, limits=limits)
    if not frames:
        text = "no frames: a message has one at least"
        raise TruncatedError(text)
    return frames


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        # Nothing can be mapped of an empty file, or of what is none.
        if not fstat(file.fileno()).st_size:
            return memoryview(file.read())
        return memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))


def _globals(stream: bytes, limits: Limits) -> Iterator[Name]:
    """Find the names in a pickle by reading its opcodes."""
    memo: dict[int, Any] = {}
    pushed: list[Any] = [None, None]
    try:
        for number, (opcode, value, _) in enumerate(pickletools.genops(stream), 1):
            limits.check("the pickle stream", max_operations=number)
            argument: Any = value
            match opcode.name:
                case "PROTO" | "FRAME":
                    continue
                case "MEMOIZE":
                    memo[len(memo)] = pushed[-1]
                    continue
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    memo[argument] = pushed[-1]
                    continue
                case "GET" | "BINGET" | "LONG_BINGET":
                    pushed.append(memo.get(argument))
                case "STACK_GLOBAL":
                    yield Name(str(pushed[-2]), str(pushed[-1]))
                    pushed.append(None)
                case "GLOBAL" | "INST":
                    yield Name(*argument.split(" ", 1))
                    pushed.append(None)
                case "EXT1" | "EXT2" | "EXT4":
                    yield Name("copyreg", f"extension {argument}")  # which each process has another for
                    pushed.append(None)
                case name:
                    pushed.append(argument if "UNICODE" in name or "STRING" in name else None)
            del pushed[:-2]
    except (ValueError, IndexError) as error:
        text = f"the pickle stream is damaged: {error}"
        raise DecodeError(text) from error
