"""Pickle streams as programs: taken apart, so that they can be changed, and written so that they are whole again.

A program is a list of operations: `bytes` as in the stream; `Memoize` and `Get`, whose numbers are found anew when the
program is written; and `Buffer`, which brings its memory along.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

OPENING = b"\x80\x05"
NONE, TRUE, FALSE, MARK, STOP, POP = b"N", b"\x88", b"\x89", b"(", b".", b"0"
STACK_GLOBAL, REDUCE, BUILD, NEWOBJ = b"\x93", b"R", b"b", b"\x81"
READONLY, NEXT_BUFFER, MEMOIZE, FRAME = b"\x98", b"\x97", b"\x94", b"\x95"

POPS = {
    **dict.fromkeys(b"\x85\x98", 1),  # TUPLE1, READONLY_BUFFER
    **dict.fromkeys(b"\x86\x93\x81Rba", 2),  # TUPLE2, STACK_GLOBAL, NEWOBJ, REDUCE, BUILD, APPEND
    **dict.fromkeys(b"\x87\x92s", 3),  # TUPLE3, NEWOBJ_EX, SETITEM
}
"""How many values an operation takes, which then returns one; any other one returns one, and takes none."""

CLOSE = b"tld\x91"
"""TUPLE, LIST, DICT, FROZENSET: what takes all values down to a mark."""

EXTEND = b"eu\x90"
"""APPENDS, SETITEMS, ADDITEMS: what adds all values down to a mark to the value below that."""

_SMALLEST_FRAME = 4
_labels = count()


class Memoize(NamedTuple):
    """Remember the value on top, under a label of its own in all programs."""

    label: int


class Get(NamedTuple):
    """Push the value that was remembered under a label, or what makes it again where that is not there."""

    label: int
    otherwise: tuple[bytes, ...] = ()


class Buffer(NamedTuple):
    """Push a buffer: these bytes of this frame."""

    frame: bytes
    offset: int
    length: int
    readonly: bool


Operation: TypeAlias = "bytes | Memoize | Get | Buffer"
Program: TypeAlias = "list[Operation]"


def read(stream: bytes, buffers: Iterable[Buffer] = ()) -> Program:
    """Take a stream of protocol 5 apart, without its opening and its end."""
    steps = list(pickletools.genops(stream))
    ends = [position for _, _, position in steps[1:]] + [len(stream)]
    unused = iter(buffers)
    memo: list[Get] = []
    program: Program = []
    for (opcode, argument, position), end in zip(steps, ends, strict=True):
        if opcode.name == "MEMOIZE":
            label = next(_labels)
            memo.append(Get(label, _again(program)))
            program.append(Memoize(label))
        elif opcode.name in {"BINGET", "LONG_BINGET"}:
            program.append(memo[argument])
        elif opcode.name == "NEXT_BUFFER":
            program.append(next(unused))
        elif opcode.name not in {"PROTO", "FRAME", "STOP"}:
            program.append(stream[position:end])
    return program


def _again(program: Program) -> tuple[bytes, ...]:
    """Return what makes the value again that a program ends with: a text, or what is imported."""
    if program[-1] == STACK_GLOBAL:
        texts: list[bytes] = []
        for operation in reversed(program[:-1]):
            if type(operation) is not Memoize:
                texts[:0] = [operation] if type(operation) is bytes else operation.otherwise
            if len(texts) == 2:
                return *texts, STACK_GLOBAL
    return (program[-1],) if isinstance(value_of(program[-1]), str) else ()


def write(program: Program) -> tuple[bytes, list[Buffer]]:
    """Return the stream of a program, and the buffers that it takes."""
    numbers: dict[int, int] = {}
    pieces: list[bytes] = []
    buffers, memoized = [], 0
    for operation in program:
        kind = type(operation)
        if kind is bytes:
            pieces.append(operation)
            memoized += operation == MEMOIZE
        elif kind is Memoize:
            if pieces[-1:] != [MEMOIZE]:  # nothing has two places in the memo
                memoized += 1
                pieces.append(MEMOIZE)
            numbers[operation.label] = memoized - 1
        elif kind is Get:
            # What was taken out, or comes from another program, is made again, or is some other value.
            if operation.label in numbers:
                pieces.append(_get(numbers[operation.label]))
            elif operation.otherwise:
                pieces += operation.otherwise
            else:
                pieces.append(_get(memoized - 1) if memoized else NONE)
        else:
            buffers.append(operation)
            pieces.append(NEXT_BUFFER)
    body = b"".join(pieces) + STOP
    if len(body) >= _SMALLEST_FRAME:
        body = FRAME + struct.pack("<Q", len(body)) + body
    return OPENING + body, buffers


def _get(number: int) -> bytes:
    return b"h" + bytes([number]) if number < 256 else b"j" + struct.pack("<I", number)


def constant(value: object) -> bytes:
    """Return the operation that pushes a value of Python's."""
    match value:
        case None | bool() | int() | float():
            return pickle.dumps(value, 2)[2:-1]  # in protocol 2 there is no frame around it
        case str():
            return _sized(value.encode("utf-8", "surrogatepass"), b"\x8c", b"X")
        case bytes():
            return _sized(value, b"C", b"B")
        case bytearray():
            return b"\x96" + struct.pack("<Q", len(value)) + value
    message = f"no operation for {value!r}"
    raise TypeError(message)


def _sized(data: bytes, short: bytes, long: bytes) -> bytes:
    return short + bytes([len(data)]) + data if len(data) < 256 else long + struct.pack("<I", len(data)) + data


def value_of(operation: Operation) -> object:
    """Return the number, the text or the bytes that an operation pushes, ``None`` if it does something else."""
    if type(operation) is not bytes:
        return None
    value: object = None
    match operation[:1]:
        case b"K" | b"M" | b"J" as code:
            value = int.from_bytes(operation[1:], "little", signed=code == b"J")
        case b"\x8a":
            value = pickle.decode_long(operation[2:])
        case b"G":
            value = struct.unpack(">d", operation[1:])[0]
        case b"\x8c" | b"X" as code:
            value = operation[2 if code == b"\x8c" else 5 :].decode("utf-8", "surrogatepass")
        case b"C" | b"B" as code:
            value = operation[2 if code == b"C" else 5 :]
        case b"\x96":
            value = bytearray(operation[9:])
    return value


class Spans(NamedTuple):
    """From where to where in a program something is made."""

    values: list[tuple[int, int]]
    names: list[tuple[int, int]]
    """What is imported, and called by most of these programs. Its parts are no values."""


def spans(program: Program) -> Spans:
    """Return where values are made; a program that is broken has some of them."""
    found = Spans([], [])
    stack: list[int] = []
    marks: list[int] = []
    for index, operation in enumerate(program):
        start = index
        if type(operation) is Memoize:
            start = stack.pop() if stack else index
        elif type(operation) is bytes:
            code = operation[0]
            if operation == MARK:
                marks.append(len(stack))
                stack.append(index)
                continue
            if operation == POP:
                del stack[-1:]
                continue
            if code in CLOSE or code in EXTEND:
                depth = marks.pop() if marks else 0
                depth = max(depth - 1, 0) if code in EXTEND else depth
            else:
                depth = max(len(stack) - POPS.get(code, 0), 0)
            start = stack[depth] if depth < len(stack) else index
            del stack[depth:]
        stack.append(start)
        if _is_name(program, index):
            while found.values and found.values[-1][0] >= start:
                found.values.pop()
            found.names.append((start, index + 1))
        else:
            found.values.append((start, index + 1))
    return found


def _is_name(program: Program, index: int) -> bool:
    operation = program[index]
    if type(operation) is Memoize and index:
        return program[index - 1] == STACK_GLOBAL
    return operation == STACK_GLOBAL or (type(operation) is Get and operation.otherwise[-1:] == (STACK_GLOBAL,))
