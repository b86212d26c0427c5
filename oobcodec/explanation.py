"""How an object travels, buffer by buffer, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from oobcodec.buffers import Extent, address
from oobcodec.codec import dumps
from oobcodec.compression import compressed, described
from oobcodec.engine import IN_BAND, SEGMENT
from oobcodec.header import decode
from oobcodec.paths import class_name, walk
from oobcodec.reports import Report, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oobcodec.compression import Compression
    from oobcodec.paths import Step
    from oobcodec.placements import Placement


@dataclass(frozen=True, slots=True)
class ItemRow(Row):
    """A piece of memory of the object, and how it travels.

    Attributes
    ----------
    path : str
        How to get to the object that it belongs to: ``['x'].y[3]``. A frame, table or tensor is one such object, with a
        row for each of its buffers.
    type : str
        Of that object.
    bytes : int
        That travel for it.
    copied : int
        Bytes that `dumps` had to copy.
    way : str
        ``"out-of-band"``, ``"shared"``, ``"compacted"``, ``"by reference"`` or ``"in-band"``.
    frame : int or None
        Index in the message, if it is one.
    why : str
        The reason.
    """

    path: str
    type: str
    bytes: int
    copied: int
    way: str
    frame: int | None
    why: str


@dataclass(frozen=True, slots=True)
class CompressedItemRow(ItemRow):
    """The same, where compression was asked for.

    Attributes
    ----------
    codec, filter : str or None
        What its frame is compressed with, if it is.
    ratio : float or None
        How many times the bytes that travel the frame has.
    """

    codec: str | None
    filter: str | None
    ratio: float | None


def explain(obj: object, *, compression: Compression | str | None = None) -> Report:
    """Report how an object travels: what goes out of band, what is shared, compacted or in-band, and why.

    Parameters
    ----------
    obj
        What `oobcodec.dumps` would be given.
    compression
        The same. What each frame would be compressed with, and how far, is then in columns of its own.

    Returns
    -------
    Report
        To be printed, or taken apart with ``to_dict()``: a row for each piece of memory of 1 KiB or more in ``items``.

    Raises
    ------
    EncodeError
        As `oobcodec.dumps`.
    """
    frames = dumps(obj)
    header = decode(frames[0].tobytes())
    leaves = [step for step in walk(obj) if step.again or _nbytes(step.obj) >= IN_BAND]
    buffers = [step for step in leaves if type(step.obj) is PickleBuffer]
    places = header.buffers
    if not header.pickle_frames or len(buffers) != len(places):
        # A serializer that took the object as a whole, or a __reduce__ that differs from call to call: no telling
        # which object of the walk a buffer belongs to.
        leaves = [step for step in leaves if type(step.obj) is not PickleBuffer]
        buffers, places = [], ()
    items = [*_rows(leaves, [*_buffer_rows(buffers, places, frames)], frames)]
    lengths = header.lengths
    summary: dict[str, Any] = {
        "serializer": header.tag,
        "frames": len(frames),
        "in-band bytes": sum(lengths[: header.pickle_frames]),
        "out-of-band bytes": sum(lengths[header.pickle_frames :]),
        "copied bytes": sum(row.copied for row in items),
    }
    if compression is not None:
        sent = compressed(frames, compression)
        summary["compressed bytes"] = sum(map(len, sent[1:]))
        items = [*_compressed_rows(items, sent)]
    return Report(summary, {"items": items})


def _compressed_rows(items: list[ItemRow], frames: list[memoryview]) -> Iterator[ItemRow]:
    codecs = decode(frames[0].tobytes()).codecs or (None,) * len(frames)
    for row in items:
        codec, name, ratio = described(frames[row.frame or 0], None if row.frame is None else codecs[row.frame - 1])
        yield CompressedItemRow(**row.to_dict(), codec=codec, filter=name, ratio=ratio)


def _nbytes(obj: Any) -> int:
    if type(obj) is PickleBuffer:
        nbytes: int = obj.raw().nbytes
        return nbytes
    # Exactly: what is of a subclass holds one of these, which is visited next.
    return len(obj) if type(obj) in (bytes, bytearray, str) else 0


def _rows(steps: list[Step], buffer_rows: list[ItemRow], frames: list[memoryview]) -> Iterator[ItemRow]:
    of_buffers = iter(buffer_rows)
    first_of: dict[int, ItemRow] = {}
    for step in steps:
        if step.again:
            first = first_of.get(id(step.obj))
            if first is not None:
                yield _shared(step, first.frame, first.path)
        elif type(step.obj) is PickleBuffer:
            row = next(of_buffers)
            for part in step.parts:
                first_of.setdefault(id(part.obj), row)
            yield row
        else:
            yield _row(step, frames)


def _shared(step: Step, frame: int | None, path: str) -> ItemRow:
    return ItemRow(*_owner(step), 0, 0, "shared", frame, f"lies in the memory of {path or 'the object itself'}")


def _buffer_rows(steps: list[Step], placements: tuple[Placement, ...], frames: list[memoryview]) -> Iterator[ItemRow]:
    first_in: dict[int, str] = {}
    for step, (frame, offset, nbytes, _) in zip(steps, placements, strict=True):
        view = step.obj.raw()
        path, kind = _owner(step)
        if address(frames[frame]) + offset != address(view):
            gaps = isinstance(view.obj, Extent)
            why = "its elements lie apart: only they travel" if gaps else "its library keeps it in another form"
            yield ItemRow(path, kind, nbytes, nbytes, "compacted" if gaps else "out-of-band", frame, why)
        elif frame in first_in:
            yield _shared(step, frame, first_in[frame])
        else:
            first_in[frame] = path
            yield ItemRow(path, kind, frames[frame].nbytes, 0, "out-of-band", frame, "memory of 1 KiB or more")


def _row(step: Step, frames: list[memoryview]) -> ItemRow:
    """Describe a string of bytes or text, which pickle itself writes."""
    path, kind = _owner(step)
    obj = step.obj
    if isinstance(obj, str):
        nbytes = len(obj.encode("utf-8", "surrogatepass"))
        whole = len(frames) == 2 and frames[1].nbytes == nbytes  # noqa: PLR2004
        return ItemRow(path, kind, nbytes, nbytes, "out-of-band" if whole else "in-band", None, "text is encoded")
    # What an object makes anew each time that it is taken apart can only be told by its bytes.
    alike = [i for i, frame in enumerate(frames) if type(frame.obj) is type(obj) and frame.obj == obj]
    frame = next((i for i in alike if frames[i].obj is obj), alike[0] if alike else None)
    if frame is None:
        why = f"shorter than {SEGMENT // 1024} KiB: cheaper inside the stream"
        return ItemRow(path, kind, len(obj), len(obj), "in-band", None, why)
    return ItemRow(path, kind, len(obj), 0, "by reference", frame, "a frame of its own")


def _owner(step: Step) -> tuple[str, str]:
    """Return the path and the type of the object that a piece of memory was found in."""
    return step.path, class_name(type(step.parts[-1].obj))
