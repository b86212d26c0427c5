"""Real messages, and what they consist of: the cases of the conformance table with few elements, and some others.

``python -m fuzz.corpus PATH`` writes them. It is a process of its own, for it changes how messages are made.
"""

from __future__ import annotations

import sys
import warnings
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from oobcodec.header import PRELUDE_SIZE, split_first

from . import programs
from .programs import Buffer, spans, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from .programs import Operation, Program, Spans

FEW = 64
"""Elements of most objects."""
SMALL = 64
"""Bytes from which a buffer is a frame of its own, so that short messages have some."""
LONGEST = 12 * 1024
"""Bytes of a message that is worth its time."""

OTHERS = "others"
"""Stands for the library of messages that are refused as they are: functions, modules, objects with a state."""
SEALED = "sealed"
"""Stands for the library of messages with checksums, with a signature, or compressed."""
TEXTS = (
    "", "\0", " ", "x", "x" * 300, "\ud800", "\U0010ffff", "-", "O", "|O8", "object", "V", "V8", "S0", "U0", "<U1",
    "U1073741823", "<f8", ">f8", "f2", "g", "G", "?", "M8", "<M8[ns]", "<m8[0s]", "<M8[999999999999s]", "T", "i8,O",
    "(2,3)f8", "<f8:2", "float64", "int4", "bfloat16", "string", "category", "UTC", "../../etc/passwd", "Europe/Berlin",
    "os", "system", "posix", "builtins", "eval", "exec", "getattr", "__class__", "__import__", "numpy", "ndarray",
    "pickle", "loads", "torch", "torch.storage", "_load_from_bytes", "cpu", "cuda", "meta", "mps", "qint8", "sparse",
)  # fmt: skip


@dataclass
class Specimen:
    """A real message.

    Attributes
    ----------
    library, name : str
        Of whose table it is, and what it is there.
    frames : list of bytes
        The message.
    fields : list
        Its header.
    block : bytes
        What is behind that: a checksum, a signature, or nothing.
    program : list
        Its pickle stream taken apart, empty if there is none.
    """

    library: str
    name: str
    frames: list[bytes]
    fields: list[Any] = field(init=False)
    block: bytes = field(init=False)
    program: Program = field(init=False)
    spans: Spans = field(init=False)

    def __post_init__(self) -> None:
        header, self.block = split_first(self.frames[0])[1:]
        self.fields = msgpack.unpackb(header[PRELUDE_SIZE:], strict_map_key=False)
        buffers = [Buffer(self.frames[place[0]], *place[1:]) for place in self.fields[-1]]
        stream = b"".join(self.frames[1 : 1 + self.fields[3]])
        self.program = programs.read(stream, buffers) if stream else []
        self.spans = spans(self.program)


class Corpus:
    """Real messages, and what they consist of.

    Parameters
    ----------
    specimens
        The messages; those of all libraries have the same chance to be changed.
    """

    def __init__(self, specimens: list[Specimen]) -> None:
        self.specimens = specimens
        self.libraries: dict[str, list[Specimen]] = {}
        for specimen in specimens:
            self.libraries.setdefault(specimen.library, []).append(specimen)
        self._order = sorted(self.libraries.keys() - {OTHERS, SEALED})
        self.programs = [specimen for specimen in specimens if specimen.program]
        operations = [operation for specimen in self.programs for operation in specimen.program]
        self.texts = sorted({text for each in operations if isinstance(text := value_of(each), str)}) + list(TEXTS)
        self.buffers = [each for each in operations if isinstance(each, Buffer)]
        self.names = sorted({name for specimen in self.programs for name in _names(specimen)})

    def choose(self, rng: Random) -> Specimen:
        library = rng.choice(self._order) if rng.random() < 0.96 else rng.choice((OTHERS, SEALED))
        return rng.choice(self.libraries.get(library) or self.libraries[self._order[0]])

    def part(self, rng: Random) -> Program:
        """Return what makes a value in some message."""
        while True:
            donor = self.choose(rng)
            if donor.spans.values:
                start, stop = span(donor.spans, rng)
                return donor.program[start:stop]


def _names(specimen: Specimen) -> Iterator[tuple[Operation, ...]]:
    """Yield what imports the functions that a message calls, each of which may be given the arguments of any other."""
    for start, stop in specimen.spans.names:
        name = tuple(each for each in specimen.program[start:stop] if type(each) is bytes)
        if len(name) == 3:
            yield name


def span(where: Spans, rng: Random) -> tuple[int, int]:
    """Return where a value is made, seldom a name: what uses a name for a value is refused at once."""
    some = where.names if rng.random() < 0.02 else where.values
    return rng.choice(some) if some else (0, 0)


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
    for codec in ("lz4", "zstd"):
        for obj in ("word " * 1000 + "end", array("q", range(600)), array("d", bytes(8000))):
            frames = oobcodec.dumps(obj, compression=codec)
            yield SEALED, f"{codec}: {type(obj).__name__}", [bytes(frame) for frame in frames]


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
