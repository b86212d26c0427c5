"""Real messages, small ones: the cases of the conformance table with few elements, and others that are small enough.

``python -m fuzz.corpus PATH`` writes them. It is a process of its own, for it changes how messages are made.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from .mutate import OTHERS, SEALED, Corpus, Specimen

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = 64
"""Elements of most objects."""
SMALL = 64
"""Bytes from which a buffer is a frame of its own, so that short messages have some."""
LONGEST = 12 * 1024
"""Bytes of a message that is worth its time."""


def write(path: Path) -> None:
    from conformance import table

    import oobcodec
    from oobcodec import engine

    table.N = FEW
    engine.IN_BAND = SMALL
    from .specimens import SPECIMENS

    warnings.simplefilter("ignore")
    cases = {key: each.make for key, each in table.table().items()} | {
        (lib, name): make for lib, name, make in SPECIMENS
    }
    found = []
    for (library, name), make in cases.items():
        try:
            frames = [bytes(frame) for frame in oobcodec.dumps(make())]
        except Exception:  # noqa: BLE001  # a case that needs more elements than there are
            continue
        if sum(map(len, frames)) <= LONGEST:
            found.append((library if _is_data(frames) else OTHERS, name, frames))
    path.write_bytes(msgpack.packb(found + list(_sealed(oobcodec))))


def _sealed(oobcodec: Any) -> Iterator[tuple[str, str, list[bytes]]]:
    keyring = oobcodec.Keyring({"a key": bytes(32)}, sign_with="a key")
    for name, options in (("checksums", {"checksum": True}), ("signed", {"keyring": keyring})):
        for obj in (None, [1, bytearray(100), bytearray(200)], "text"):
            frames = oobcodec.dumps(obj, **options)
            yield SEALED, f"{name}: {type(obj).__name__}", [bytes(frame) for frame in frames]


def _is_data(frames: list[bytes]) -> bool:
    import oobcodec

    try:
        oobcodec.loads([bytearray(frame) for frame in frames], policy=oobcodec.DATA)
    except oobcodec.DecodeError:
        return False
    return True


def read(path: Path) -> Corpus:
    return Corpus([Specimen(*each) for each in msgpack.unpackb(path.read_bytes())])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
