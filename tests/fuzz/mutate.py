"""Mutants of messages: the same again for the same seed and number.

Most are changed as programs, and their headers say then what is true, so that they get past the first checks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgpack

from oobcodec.header import PRELUDE_SIZE, packed_offsets

from . import programs
from .corpus import span
from .programs import Buffer, Get, constant, spans, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .corpus import Corpus, Specimen
    from .programs import Operation, Program, Spans

NUMBERS = (
    0, 1, -1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 63, 64, 65, 100, 127, 128, 255, 256, 257, 1000, 1023, 1024, 4096, 65_535,
    65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**100,
    -2, -8, -128, -(2**31), -(2**31) - 1, -(2**63), -(2**63) - 1, -(2**100), 2**2000,
)  # fmt: skip
CONSTANTS = (
    *(programs.NONE, programs.TRUE, programs.FALSE, b"]", b"}", b")", b"\x8f"),  # an empty list, dict, tuple, set
    *map(constant, (0.0, -0.0, 1.5, 1e308, float("nan"), float("inf"), b"", b"\0" * 64, b"\xff" * 64, bytearray(8))),
)
OPCODES = [bytes([code]) for code in b"().012FNQRVbdeghjlopstu]a}" + bytes([0x81, *range(0x85, 0x9A)])]
TAGS = ("pickle", "cloudpickle", "bytes", "str", "unknown", "")
_CRC = struct.Struct("<BBI")
PLENTY = 64 * 1024
"""Bytes of the longest mutant."""


@dataclass
class Mutant:
    """A message that nobody sent, and how to load it."""

    specimen: Specimen
    frames: list[bytes | bytearray] | bytearray
    options: dict[str, Any]
    changes: list[str]


def mutant(corpus: Corpus, seed: int, number: int) -> Mutant:
    """Return a mutant."""
    rng = Random(f"{seed}:{number}")
    specimen = corpus.choose(rng)
    chance = rng.random()
    if chance < 0.83 and specimen.program:
        frames, changes = _changed_program(corpus, specimen, rng)
    elif chance < 0.94 and len(specimen.frames) > 1:
        frames, changes = _changed_frames(specimen, rng)
    else:
        frames, changes = changed_header(specimen, rng)
    return Mutant(specimen, _delivered(frames, rng), _options(rng), changes)


def _delivered(frames: list[bytes], rng: Random) -> list[bytes | bytearray] | bytearray:
    """Return a message as it may arrive: in frames, writable or not, or packed."""
    if rng.random() < 0.1:
        return packed(frames)
    return [bytearray(frame) if rng.random() < 0.6 else frame for frame in frames]


def packed(frames: list[bytes]) -> bytearray:
    memory = bytearray()
    for frame in frames:
        memory += bytes(-len(memory) % 64) + frame
    return memory


def _options(rng: Random) -> dict[str, Any]:
    if rng.random() < 0.8:
        return {}
    return rng.choice(({"writable": True}, {"writable": False}, {"open_encoded": False}))


# Programs


def stream(corpus: Corpus, rng: Random) -> bytes:
    """Return a stream that no pickler wrote."""
    changed, _, _ = _changed_stream(corpus, rng.choice(corpus.programs), rng)
    return damaged(changed, corpus, rng) if rng.random() < 0.3 else changed


def _changed_program(corpus: Corpus, specimen: Specimen, rng: Random) -> tuple[list[bytes], list[str]]:
    stream, buffers, changes = _changed_stream(corpus, specimen, rng)
    if len(stream) > PLENTY:
        return specimen.frames, ["grew too long"]
    return _message(specimen, stream, buffers, rng), changes


def _changed_stream(corpus: Corpus, specimen: Specimen, rng: Random) -> tuple[bytes, list[Buffer], list[str]]:
    program, where = list(specimen.program), specimen.spans
    changes = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        change = rng.choices(_CHANGES, _WEIGHTS)[0]
        where = where if not changes else spans(program)
        change(program, where, corpus, rng)
        changes.append(change.__name__)
    return *programs.write(program), changes


def _message(specimen: Specimen, stream: bytes, buffers: list[Buffer], rng: Random) -> list[bytes]:
    """Return a message with a stream and its buffers, of which those of one frame share it."""
    pieces = [stream]
    if rng.random() < 0.05:
        cut = rng.randrange(len(stream))
        pieces = [stream[:cut], stream[cut:]]
    frames, places, numbers = list(pieces), [], {}
    for buffer in buffers:
        if id(buffer.frame) not in numbers:
            frames.append(buffer.frame)
            numbers[id(buffer.frame)] = len(frames)
        places.append([numbers[id(buffer.frame)], *buffer[1:]])
    fields = [*specimen.fields[:2], list(map(len, frames)), len(pieces), None, None, places]
    return [first(fields), *frames]


def first(fields: Any, block: bytes = b"", **prelude: int) -> bytes:
    """Return ``frames[0]``, true where nothing is said, and with a checksum that is right if it has one."""
    body = fields if isinstance(fields, bytes) else msgpack.packb(fields)
    size = PRELUDE_SIZE + len(body) + len(block)
    try:
        whole = packed_offsets((size, *fields[2]))[-1]
    except (LookupError, TypeError):
        whole = size
    whole = whole if isinstance(whole, int) else size
    numbers = {"version": 1, "flags": 0, "auth": len(block), "header": len(body), "packed": whole, **prelude}
    widths = {"version": 1, "flags": 2, "auth": 2, "header": 8, "packed": 8}
    start = b"OOB" + b"".join((numbers[n] % 256**w).to_bytes(w, "little") for n, w in widths.items()) + body
    return start + (_CRC.pack(*_CRC.unpack(block)[:2], crc32(start)) if len(block) == _CRC.size else block)


def replace_value(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    start, stop = span(where, rng)
    program[start:stop] = corpus.part(rng)


def replace_by_constant(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    start, stop = span(where, rng)
    program[start:stop] = [rng.choice(CONSTANTS)]


def replace_by_number(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    start, stop = span(where, rng)
    program[start:stop] = [constant(rng.choice(NUMBERS))]


def replace_by_part_of_itself(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    start, stop = span(where, rng)
    other, end = span(where, rng)
    program[start:stop] = program[other:end]


def replace_by_a_reference(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    labels = [each.label for each in program if isinstance(each, programs.Memoize)]
    if labels:
        start, stop = span(where, rng)
        program[start:stop] = [Get(rng.choice(labels))]


def replace_name(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    if where.names and corpus.names:
        start, stop = rng.choice(where.names)
        program[start:stop] = rng.choice(corpus.names)


def change_number(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    found = [(i, value) for i, each in enumerate(program) if type(value := value_of(each)) in {int, float}]
    if found:
        index, value = rng.choice(found)
        near = (value + 1, value - 1, -value, value * 2, value // 2)
        program[index] = constant(rng.choice(near if rng.random() < 0.4 else NUMBERS))


def change_text(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    places = (
        [start for start, stop in where.values if stop == start + 1] if rng.random() < 0.98 else range(len(program))
    )
    found = [(i, value) for i in places if isinstance(value := value_of(program[i]), str)]
    if found:
        index, value = rng.choice(found)
        if value and rng.random() < 0.3:
            at = rng.randrange(len(value))
            text = value[:at] + rng.choice(("", "\0", "8", "O", "\ud800", value)) + value[at + 1 :]
        else:
            text = rng.choice(corpus.texts)
        program[index] = constant(text)


def change_bytes(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    found = [(i, value) for i, each in enumerate(program) if isinstance(value := value_of(each), bytes | bytearray)]
    if found:
        index, value = rng.choice(found)
        program[index] = constant(type(value)(damaged(bytes(value), corpus, rng)))


def change_buffer(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    found = [i for i, each in enumerate(program) if isinstance(each, Buffer)]
    if not found:
        change_bytes(program, where, corpus, rng)
        return
    index = rng.choice(found)
    old: Any = program[index]
    chance = rng.random()
    if chance < 0.7:
        data = damaged(old.frame[old.offset :][: old.length], corpus, rng)
        program[index] = Buffer(data, 0, len(data), old.readonly)
    elif chance < 0.8:
        program[index] = old._replace(readonly=not old.readonly)
    elif chance < 0.9:
        other = rng.choice(found)
        program[index], program[other] = program[other], program[index]
    else:
        offset = rng.randrange(len(old.frame) + 1)
        program[index] = old._replace(offset=offset, length=rng.randrange(len(old.frame) - offset + 1))


def swap_values(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    (start, stop), (other, end) = sorted((span(where, rng), span(where, rng)))
    if stop <= other:
        program[start:end] = [*program[other:end], *program[stop:other], *program[start:stop]]


def repeat_value(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    start, stop = span(where, rng)
    program[stop:stop] = program[start:stop] * rng.choice((1, 1, 1, 2, 50))


def drop_value(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    start, stop = span(where, rng)
    del program[start:stop]


def wrap_value(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    start, stop = span(where, rng)
    before, after = rng.choice(
        ((b"", b"\x85"), (b"(", b"t"), (b"]", b"a"), (b"(", b"\x91"), (b"(", b"d"), (b"", b"\x98"))
    )
    times = rng.choice((1, 1, 1, 2, 30, 120))
    program[start:stop] = [before] * (times * bool(before)) + program[start:stop] + [after] * times


def splice(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    other = corpus.choose(rng).program
    program[rng.randrange(len(program) + 1) :] = other[rng.randrange(len(other) + 1) :]


def change_operation(program: Program, where: Spans, corpus: Corpus, rng: Random) -> None:
    if program:
        index = rng.randrange(len(program))
        operations: tuple[list[Operation], ...] = ([], [program[index]] * 2, [rng.choice(OPCODES)])
        program[index : index + 1] = rng.choice(operations)


_CHANGES: list[Callable[[Program, Spans, Corpus, Random], None]]
_CHANGES, _WEIGHTS = zip(  # type: ignore[assignment]
    *{
        change_number: 14,
        change_text: 12,
        change_buffer: 14,
        change_bytes: 8,
        replace_value: 14,
        replace_by_constant: 6,
        replace_by_number: 6,
        replace_by_part_of_itself: 6,
        replace_by_a_reference: 4,
        replace_name: 8,
        swap_values: 4,
        repeat_value: 3,
        drop_value: 2,
        wrap_value: 3,
        splice: 1,
        change_operation: 2,
    }.items(),
    strict=True,
)


# Bytes


def damaged(data: bytes, corpus: Corpus | None, rng: Random) -> bytes:
    """Return other bytes than these."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        chance = rng.random()
        if chance < 0.25 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif chance < 0.6:
            width, kind = rng.choice(((1, "b"), (2, "h"), (4, "i"), (8, "q")))
            at -= at % width
            number = (rng.choice(NUMBERS) + 2 ** (8 * width - 1)) % 2 ** (8 * width) - 2 ** (8 * width - 1)
            changed[at : at + width] = struct.pack(f"<{kind}", number)[: len(changed) - at]
        elif chance < 0.7:
            del changed[at : at + rng.choice((1, 8, 64, len(changed)))]
        elif chance < 0.8:
            changed[at:at] = bytes(rng.choice((1, 8, 64)))
        elif chance < 0.85:
            changed[at:] = rng.choice((b"\0", b"\xff")) * (len(changed) - at)
        elif chance < 0.9:
            changed = changed[::-1]
        elif corpus is not None and corpus.buffers:
            other = rng.choice(corpus.buffers)
            changed[at:] = other.frame[other.offset :][: other.length]
    return bytes(changed)


def _changed_frames(specimen: Specimen, rng: Random) -> tuple[list[bytes], list[str]]:
    """Return a message of which a frame is other bytes, mostly with a header that says so."""
    _, *frames = specimen.frames
    chance = rng.random()
    index = rng.randrange(len(frames))
    if chance < 0.8:
        before = len(frames[index])
        frames[index] = damaged(frames[index], None, rng)
        after = len(frames[index])
        places = [
            [frame, offset, after if frame == index + 1 and length == before else length, *rest]
            for frame, offset, length, *rest in specimen.fields[-1]
        ]
        fields = [*specimen.fields[:2], list(map(len, frames)), *specimen.fields[3:-1], places]
        return [first(fields), *frames], ["damage a frame"]
    whole = list(specimen.frames)
    other = rng.randrange(len(whole))
    if chance < 0.85:
        del whole[other]
    elif chance < 0.9:
        whole.insert(other, whole[index])
    elif chance < 0.95:
        whole[other], whole[index] = whole[index], whole[other]
    else:
        whole[other] = damaged(whole[other], None, rng)
    return whole, ["shuffle frames"]


# Headers


def changed_header(specimen: Specimen, rng: Random) -> tuple[list[bytes], list[str]]:
    frames = list(specimen.frames)
    chance = rng.random()
    if chance < 0.4:
        frames[0] = damaged(frames[0], None, rng)
        return frames, ["damage frame 0"]
    if chance < 0.5:
        fields: Any = damaged(frames[0][PRELUDE_SIZE:], None, rng)
    else:
        fields = changed_fields(specimen.fields, rng)
    known = {}
    if rng.random() < 0.2:
        known[rng.choice(("version", "flags", "auth", "header", "packed"))] = rng.choice(NUMBERS)
    try:
        frames[0] = first(fields, specimen.block, **known)
    except (TypeError, ValueError, OverflowError):  # what msgpack cannot write
        return frames, ["nothing"]
    return frames, ["change the header"]


def changed_fields(fields: list[Any], rng: Random) -> Any:
    """Return a header of which a part is another one."""
    fields = [list(each) if isinstance(each, list) else each for each in fields]
    at = rng.randrange(len(fields))
    odd = rng.choice((None, True, "", b"", 1.5, [], {}, [[]], [None], -1, 2**63, 2**64 - 1, rng.choice(TAGS)))
    chance = rng.random()
    if chance < 0.2:
        fields[0] = rng.choice(TAGS)
    elif chance < 0.4:
        fields[at] = odd
    elif chance < 0.5:
        fields[at : at + 1] = rng.choice(([], [fields[at]] * 2))
    elif isinstance(fields[at], list) and fields[at]:
        inner = rng.randrange(len(fields[at]))
        if isinstance(fields[at][inner], list) and fields[at][inner]:
            fields[at][inner] = list(fields[at][inner])
            fields[at][inner][rng.randrange(len(fields[at][inner]))] = rng.choice((odd, *NUMBERS[:20]))
        elif rng.random() < 0.5:
            fields[at][inner] = rng.choice((odd, *NUMBERS[:20]))
        else:
            fields[at][inner : inner + 1] = [fields[at][inner]] * rng.choice((0, 2, 3))
    else:
        fields[3] = rng.choice((0, 1, 2, 3, -1, True, None, 2**40))
    return fields
