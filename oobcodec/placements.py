"""Where buffers lie in the frames of a message."""

from __future__ import annotations

from reprlib import repr as short
from typing import Any, Final, TypeAlias

from oobcodec.errors import HeaderError

Placement: TypeAlias = tuple[int, int, int, bool]
"""Where a buffer lies: frame (index in the message), offset and length in bytes, read-only."""

_NOWHERE: Final = (None, None, None, None)


def _is_one_a_frame(buffers: tuple[Any, ...], lengths: tuple[int, ...], pickle_frames: int) -> bool:
    """Tell whether there is a buffer for each frame in turn, as in most messages with thousands of them."""
    if set(map(type, buffers)) != {tuple} or set(map(len, buffers)) != {len(_NOWHERE)}:
        return False
    frames, offsets, nbytes, readonly = zip(*buffers, strict=True)
    types = set(map(type, frames)) | set(map(type, offsets)) | set(map(type, nbytes))
    return (
        types == {int}
        and set(map(type, readonly)) == {bool}
        and frames == tuple(range(1 + pickle_frames, 1 + len(lengths)))
        and not any(offsets)
        and nbytes == lengths[pickle_frames:]
    )


def check(buffers: Any, lengths: tuple[int, ...], pickle_frames: int) -> None:
    """Check where a header says that buffers lie, in frames of these lengths.

    Raises
    ------
    HeaderError
        That is not what the format has there, is nowhere in a frame that is for buffers, or leaves one of them out.
    """
    if type(buffers) is not tuple:
        message = "the buffers are not an array"
        raise HeaderError(message)
    count = len(lengths)
    if _is_one_a_frame(buffers, lengths, pickle_frames):
        return
    for index, place in enumerate(buffers):
        # By name, not by a tuple of types: large messages have thousands of them.
        frame, offset, length, readonly = place if type(place) is tuple and len(place) == len(_NOWHERE) else _NOWHERE
        if type(frame) is not int or type(offset) is not int or type(length) is not int or type(readonly) is not bool:
            message = f"buffer {index} is placed at {short(place)}, not at [frame, offset, length, read-only]"
            raise HeaderError(message)
        if not pickle_frames < frame <= count:
            message = f"buffer {index} lies in frame {frame}; buffers lie in {1 + pickle_frames} to {count}"
            raise HeaderError(message)
        if offset < 0 or length < 0 or offset + length > lengths[frame - 1]:
            message = f"buffer {index} ends at {offset + length} in frame {frame} of {lengths[frame - 1]} bytes"
            raise HeaderError(message)
    unused = set(range(1 + pickle_frames, 1 + count)).difference([place[0] for place in buffers])
    if unused:
        message = f"frame {min(unused)} belongs to no buffer"
        raise HeaderError(message)


def overlapping(placements: tuple[Placement, ...]) -> set[int]:
    """Return which buffers share memory with others."""
    found: set[int] = set()
    if len({place[0] for place in placements}) == len(placements):
        return found
    before, end, last = 0, 0, -1
    for index in sorted(range(len(placements)), key=placements.__getitem__):
        frame, offset, length, _ = placements[index]
        if frame == last and offset < end:
            found |= {before, index}
        if frame != last or offset + length > end:
            before, end, last = index, offset + length, frame
    return found
