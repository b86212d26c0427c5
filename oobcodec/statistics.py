"""What a connection has moved, and what that has cost."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Final

from oobcodec.engine import SEGMENT, is_pickled
from oobcodec.header import read
from oobcodec.paths import class_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.buffers import Buffer

MUCH: Final = 1 << 20
"""Bytes in-band from which a message is worth a remark: pickling copies them, and takes its time."""

_log: Final = logging.getLogger("oobcodec")
_told: set[str] = set()


@dataclass(slots=True)
class Traffic:
    """The messages in one direction.

    Attributes
    ----------
    messages : int
        How many.
    out_of_band_bytes : int
        Bytes of their memory that went beside the pickle streams, or by reference: uncopied.
    in_band_bytes : int
        Bytes of the pickle streams, compressed ones as they travel.
    copied_bytes : int
        Bytes that were copied all the same. Sent: of arrays whose elements lie apart. Received: of what arrived before
        it was known where it belongs.
    coding_seconds : float
        Spent in `oobcodec.dumps` or `oobcodec.loads`.
    wire_seconds : float
        Spent between the first byte of a message and its last one, waits for the peer included.
    """

    messages: int = 0
    out_of_band_bytes: int = 0
    in_band_bytes: int = 0
    copied_bytes: int = 0
    coding_seconds: float = 0.0
    wire_seconds: float = 0.0

    def count(self, frames: Sequence[Buffer]) -> None:
        """Add a message."""
        header = read(bytes(frames[0]))
        inside = total = sum(header.lengths)
        if total >= SEGMENT or header.pickle_frames < len(header.lengths):
            stream = frames[1 : 1 + header.pickle_frames]
            codecs = header.codecs or repeat(None)
            # What is compressed was copied, whoever wrote it.
            inside = sum(
                [len(frame) for frame, coding in zip(stream, codecs, strict=False) if coding or is_pickled(frame)]
            )
        self.messages += 1
        self.in_band_bytes += inside
        self.out_of_band_bytes += total - inside

    def add(self, other: Traffic) -> None:
        """Add the messages of another one."""
        self.messages += other.messages
        self.out_of_band_bytes += other.out_of_band_bytes
        self.in_band_bytes += other.in_band_bytes
        self.copied_bytes += other.copied_bytes
        self.coding_seconds += other.coding_seconds
        self.wire_seconds += other.wire_seconds


@dataclass(slots=True)
class Stats:
    """What a connection has moved since it was made.

    Attributes
    ----------
    sent, received : Traffic
        Each direction.
    fallbacks : dict of str to int
        How many messages with 1 MiB or more in-band were sent, by the class of the object.
    """

    sent: Traffic = field(default_factory=Traffic)
    received: Traffic = field(default_factory=Traffic)
    fallbacks: dict[str, int] = field(default_factory=dict)

    def note(self, obj: object, inside: int) -> None:
        """Count an object of which so many bytes are in-band, if they are many, and tell once of each class."""
        if inside < MUCH:
            return
        name = class_name(type(obj))
        self.fallbacks[name] = self.fallbacks.get(name, 0) + 1
        if name not in _told:
            _told.add(name)
            _log.info(
                "an object of class %s sends %.1f MB in-band, where they are copied: oobcodec.explain says which (this "
                "is told once a class)",
                name,
                inside / 1e6,
            )
