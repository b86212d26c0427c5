"""Every small change of a message: bytes that may be missing, bits that may flip, frames that may go astray."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def flips(frames: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield a message with each of its bits the other way, and which one that is."""
    for index, frame in enumerate(frames):
        for bit in range(8 * len(frame)):
            changed = bytearray(frame)
            changed[bit // 8] ^= 1 << bit % 8
            yield f"bit {bit} of frame {index}", [*frames[:index], bytes(changed), *frames[index + 1 :]]


def truncations(frames: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield a message with each of its frames cut at each byte, and without the frames behind it too."""
    for index, frame in enumerate(frames):
        for size in range(len(frame)):
            yield f"frame {index} cut at {size}", [*frames[:index], frame[:size], *frames[index + 1 :]]
            yield f"the end behind byte {size} of frame {index}", [*frames[:index], frame[:size]]


def shuffles(frames: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield a message without each of its frames, with it twice, with two of them swapped, and with one more."""
    frames = list(frames)
    for index, frame in enumerate(frames):
        yield f"without frame {index}", frames[:index] + frames[index + 1 :]
        yield f"frame {index} twice", [*frames[:index], frame, *frames[index:]]
        yield f"an empty frame before {index}", [*frames[:index], b"", *frames[index:]]
        for other in range(index):
            swapped = list(frames)
            swapped[index], swapped[other] = frames[other], frame
            if swapped != frames:
                yield f"frames {other} and {index} swapped", swapped
    yield "frame 0 behind the others too", [*frames, frames[0]]
    yield "an empty frame behind the others", [*frames, b""]


def changes(frames: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    yield from truncations(frames)
    yield from flips(frames)
    yield from shuffles(frames)
