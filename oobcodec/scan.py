"""Pickle streams read as programs, before any of it runs.

One pass over the opcodes finds everything that can be told of a stream without building an object: that all of its
opcodes are those of protocol 5 that picklers write today, that none takes more from the stack than there is, which
names it imports and which of these it calls, how many buffers it takes, how many operations it makes and how deep its
containers lie in each other. What comes of it is a shorter program for `oobcodec.machine`.
"""

from __future__ import annotations

import pickle
import struct
from functools import lru_cache, partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from oobcodec.errors import DecodeError, TruncatedError
from oobcodec.limits import Limits
from oobcodec.names import VALUES, Name

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT: Final = 2048
"""Bytes of a stream up to which its program is remembered: arrays and tables of one kind have one stream."""

# The operations of a program.
CONSTANT, GET, NAME, VALUE, BUFFER, BYTEARRAY, LIST, DICT, SET = range(9)
TUPLE, FROZENSET, APPEND, SETITEMS, ADD, POP, CALL, NEW, NEW_WITH_KEYWORDS, BUILD = range(9, 19)

_REPEATABLE: Final = frozenset({CONSTANT, NAME, VALUE})
_UNIQUE: Final = frozenset({GET, BUFFER})
_PROTOCOL: Final = b"\x80\x05"
_GETATTR: Final = ("builtins", "getattr")


class Program(NamedTuple):
    """What a stream does.

    Attributes
    ----------
    steps : list of tuple
        Operation, argument, and the place in the memo where the top of the stack goes then, or None.
    names : tuple of Name
        All that it imports.
    takers : frozenset of Name
        Those of them that it calls with names among the arguments.
    idle : tuple of Name
        Those of them that it puts into other objects, or returns, which is not to be done.
    buffers : int
        How many buffers it takes.
    operations : int
        Opcodes.
    """

    steps: list[tuple[int, Any, int | None]]
    names: tuple[Name, ...]
    takers: frozenset[Name]
    idle: tuple[Name, ...]
    buffers: int
    operations: int


class _Named(NamedTuple):
    """A tuple with a name in it: to be given to a function that takes names, and to nothing else."""

    depth: int
    name: Name


class _Function(NamedTuple):
    """What ``getattr`` returned: to be called, and nothing else."""

    name: Name


# Each as C does it: a stream has thousands.
_text: Final = methodcaller("decode", "utf-8", "surrogatepass")
_integer: Final = partial(int.from_bytes, byteorder="little", signed=True)

# Opcodes by their bytes: those with a value of their own, with one of fixed size, and with one behind its length.
_VALUES: Final = {pickle.NONE[0]: None, pickle.NEWTRUE[0]: True, pickle.NEWFALSE[0]: False, pickle.EMPTY_TUPLE[0]: ()}
_FIXED: Final = {
    pickle.BININT[0]: struct.Struct("<i"),
    pickle.BININT1[0]: struct.Struct("<B"),
    pickle.BININT2[0]: struct.Struct("<H"),
    pickle.BINFLOAT[0]: struct.Struct(">d"),
}
_SIZED: Final[dict[int, tuple[int, int, Callable[[bytes], Any]]]] = {
    pickle.SHORT_BINUNICODE[0]: (1, CONSTANT, _text),
    pickle.BINUNICODE[0]: (4, CONSTANT, _text),
    pickle.BINUNICODE8[0]: (8, CONSTANT, _text),
    pickle.SHORT_BINBYTES[0]: (1, CONSTANT, bytes),
    pickle.BINBYTES[0]: (4, CONSTANT, bytes),
    pickle.BINBYTES8[0]: (8, CONSTANT, bytes),
    pickle.BYTEARRAY8[0]: (8, BYTEARRAY, bytes),
    pickle.LONG1[0]: (1, CONSTANT, _integer),
    pickle.LONG4[0]: (4, CONSTANT, _integer),
}
_GETS: Final = {pickle.BINGET[0]: 1, pickle.LONG_BINGET[0]: 4}
_FRAME: Final = pickle.FRAME[0]
_STOP: Final = pickle.STOP[0]
_MEMOIZE: Final = pickle.MEMOIZE[0]
_FRAME_LENGTH: Final = 8
_WEIGHT: Final = 1 << 40


def scan(stream: bytes, *, max_depth: int | None = None, max_operations: int | None = None) -> Program:
    """Read a pickle stream, and build nothing.

    Parameters
    ----------
    stream
        One whole pickle of protocol 5.
    max_depth, max_operations
        As of `oobcodec.Limits`. Depth is that of the containers as the stream builds them: one that is filled after it
        was put into another may lie deeper. Not only the opcodes are operations, but also the members of a tuple, each
        as often as it is in it: its hash goes through them so often.

    Raises
    ------
    LimitError
        A limit is exceeded.
    TruncatedError
        The stream ends before its end.
    DecodeError
        It is not one that a pickler writes today.
    """
    read = _remembered if len(stream) <= SHORT else _read
    return read(stream, max_depth, max_operations)


def _read(stream: bytes, max_depth: int | None, max_operations: int | None) -> Program:
    if stream[:2] != _PROTOCOL:
        message = f"the pickle stream starts with {stream[:2]!r}, not with {_PROTOCOL!r}: it is none of protocol 5"
        raise DecodeError(message)
    try:
        return _Scanner(max_depth, max_operations).scan(
            stream, len(stream) if max_operations is None else max_operations
        )
    except (IndexError, struct.error):
        message = "the pickle stream ends too early, or takes more from its stack than there is"
        raise TruncatedError(message) from None
    except UnicodeError as error:
        message = f"the pickle stream holds a string that is not UTF-8: {error}"
        raise DecodeError(message) from error


_remembered = lru_cache(maxsize=128)(_read)
forget: Final = _remembered.cache_clear


class _Scanner:
    """The stack of a stream, with the depth of each object in the place of the object.

    A depth is an integer, or a list with one, where the object may still be filled. With that of a tuple goes its
    weight, `_WEIGHT` times as large: how many members it has, with those of its members. What is no object that may be
    part of another is a `Name`, a `_Named` or a `_Function`.
    """

    def __init__(self, max_depth: int | None, max_operations: int | None) -> None:
        self._max_depth = max_depth
        self._max_operations = max_operations
        self._steps: list[tuple[int, Any, int | None]] = []
        self._stack: list[Any] = []
        # Where the stack ends for whom takes from it.
        self._marks: list[int] = [0]
        # For each place the step that makes it again, and its depth.
        self._memo: list[tuple[int, Any, Any]] = []
        self._names: dict[Name, None] = {}
        self._takers: set[Name] = set()
        self._idle: dict[Name, None] = {}
        self._buffers = 0

    def scan(self, stream: bytes, most: int) -> Program:  # noqa: C901, PLR0912, PLR0915  # a call each would double it
        """Read all opcodes, of which there may be so many."""
        steps, stack, memo, marks = self._steps, self._stack, self._memo, self._marks
        at, count, end = len(_PROTOCOL), 0, len(stream)
        while (opcode := stream[at]) != _STOP:
            at += 1
            count += 1
            if count > most:
                Limits(max_operations=most).check("the pickle stream", max_operations=count)
            if opcode == _MEMOIZE:
                if len(stack) <= marks[-1]:
                    raise IndexError
                operation, argument, known = steps[-1]
                if operation not in _REPEATABLE:
                    if known is not None or operation in _UNIQUE:
                        _refuse("puts a buffer into its memo, or an object twice")
                    steps[-1] = operation, argument, len(memo)
                    operation, argument = GET, len(memo)
                memo.append((operation, argument, stack[-1]))
            elif opcode in _SIZED:
                width, operation, convert = _SIZED[opcode]
                start = at + width
                at = start + (stream[at] if width == 1 else int.from_bytes(stream[at:start], "little"))
                if at > end:
                    raise IndexError
                steps.append((operation, convert(stream[start:at]), None))
                stack.append(0)
            elif opcode in _STRUCTURE:
                method, argument = _STRUCTURE[opcode]
                method(self, argument)
            elif opcode in _VALUES:
                steps.append((CONSTANT, _VALUES[opcode], None))
                stack.append(0)
            elif opcode in _FIXED:
                number = _FIXED[opcode]
                steps.append((CONSTANT, number.unpack_from(stream, at)[0], None))
                stack.append(0)
                at += number.size
            elif opcode in _GETS:
                start, at = at, at + _GETS[opcode]
                place = int.from_bytes(stream[start:at], "little")
                if place >= len(memo):
                    _refuse(f"takes place {place} of a memo with {len(memo)}")
                operation, argument, depth = memo[place]
                steps.append((operation, argument, None))
                stack.append(depth)
            elif opcode == _FRAME:
                start, at = at, at + _FRAME_LENGTH
                if at + int.from_bytes(stream[start:at], "little") > end:
                    raise IndexError
            else:
                _refuse(f"has the opcode {opcode:#04x}, which no pickler of protocol 5 writes")
        self._finish(end - at - 1)
        return Program(steps, tuple(self._names), frozenset(self._takers), tuple(self._idle), self._buffers, count)

    def _finish(self, rest: int) -> None:
        if rest:
            _refuse(f"is followed by {rest} bytes behind its end")
        if len(self._stack) != 1 or len(self._marks) != 1:
            _refuse("leaves something on its stack beside its object")
        self._depth(self._stack[0])

    def _popped(self, count: int | None) -> list[Any]:
        """Take so many objects from the stack, but none from below the last mark; or all down to that."""
        stack, marks = self._stack, self._marks
        if count is None:
            start = marks.pop()
            if not marks:
                raise IndexError
        else:
            start = len(stack) - count
            if start < marks[-1]:
                raise IndexError
        popped = stack[start:]
        del stack[start:]
        return popped

    def _top(self) -> Any:
        if len(self._stack) <= self._marks[-1]:
            raise IndexError
        return self._stack[-1]

    def _push(self, operation: int, argument: Any, depth: Any) -> None:
        self._steps.append((operation, argument, None))
        self._stack.append(depth)

    # What makes something, or puts something into something

    def mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def container(self, operation: int) -> None:
        self._push(operation, None, [1])

    def bundle(self, count: int | None) -> None:
        items = self._popped(count)
        names = [item for item in items if type(item) is Name]
        depth = self._heavier([item for item in items if type(item) is not Name] if names else items)
        self._push(TUPLE, len(items), _Named(depth, names[0]) if names else depth)

    def frozenset(self, count: None) -> None:
        items = self._popped(count)
        self._push(FROZENSET, len(items), self._heavier(items))

    def fill(self, how: tuple[int, int | None]) -> None:
        operation, count = how
        items = self._popped(count)
        target = self._top()
        if type(target) is not list:
            _refuse("fills what cannot be filled")
        if operation == SETITEMS and len(items) % 2:
            _refuse("sets a key without a value")
        target[0] = max(target[0], self._deeper(items))
        self._steps.append((operation, len(items), None))

    def _heavier(self, items: list[Any]) -> int:
        """Return the depth of a tuple or a frozenset of some objects, and its weight."""
        weight = len(items) + sum([item // _WEIGHT for item in items if type(item) is int])
        if self._max_operations is not None and weight > self._max_operations:
            Limits(max_operations=self._max_operations).check("the pickle stream", max_operations=weight)
        return self._deeper(items) + weight * _WEIGHT

    def _deeper(self, items: list[Any]) -> int:
        """Return the depth of a container of some objects."""
        depth = 1 + max(map(self._depth, items)) if any(items) else 1
        if self._max_depth is not None and depth > self._max_depth:
            Limits(max_depth=self._max_depth).check("the pickle stream", max_depth=depth)
        return depth

    def _depth(self, item: Any) -> int:
        if type(item) is int:
            return item % _WEIGHT
        if type(item) is list:
            return int(item[0])
        # An error, but that the policy refuses the name would be a better one.
        self._idle[item if type(item) is Name else item.name] = None
        return 0

    def pop(self, count: int | None) -> None:
        self._steps.append((POP, len(self._popped(count)), None))

    # What names something, or calls it

    def name(self, _none: None) -> None:
        self._popped(2)
        (one, module, *_), (two, qualname, *_) = self._steps[-2:]
        if not one == two == CONSTANT or type(module) is not str or type(qualname) is not str:
            _refuse("imports under a name that is computed")
        name = Name(module, qualname)
        self._names[name] = None
        del self._steps[-2:]
        if str(name) in VALUES:
            self._push(VALUE, name, 0)
        else:
            self._push(NAME, name, name)

    def call(self, operation: int) -> None:
        others = self._popped(1) if operation == NEW_WITH_KEYWORDS else []
        function, arguments = self._popped(2)
        if type(function) not in {Name, _Function}:
            _refuse("calls what is no function that it names")
        if type(function) is _Function and operation != CALL:
            self._depth(function)
        if type(arguments) is _Named and type(function) is Name:
            self._takers.add(function)
            depth = arguments.depth % _WEIGHT
        else:
            depth = self._depth(arguments)
        for other in others:
            depth = max(depth, self._depth(other))
        self._push(operation, None, _Function(function) if function == _GETATTR else [depth])

    def build(self, _: None) -> None:
        target, state = self._popped(2)
        if type(target) is not list:
            _refuse("gives a state to what cannot have one")
        target[0] = max(target[0], self._depth(state))
        self._stack.append(target)
        self._steps.append((BUILD, None, None))

    def buffer(self, _: None) -> None:
        self._push(BUFFER, (self._buffers, False), 0)
        self._buffers += 1

    def readonly_buffer(self, _: None) -> None:
        operation, argument, place = self._steps[-1]
        if operation != BUFFER or place is not None:
            _refuse("makes something read-only that is no buffer")
        self._steps[-1] = operation, (argument[0], True), None


_STRUCTURE: Final[dict[int, tuple[Callable[[_Scanner, Any], None], Any]]] = {
    pickle.MARK[0]: (_Scanner.mark, None),
    pickle.EMPTY_LIST[0]: (_Scanner.container, LIST),
    pickle.EMPTY_DICT[0]: (_Scanner.container, DICT),
    pickle.EMPTY_SET[0]: (_Scanner.container, SET),
    pickle.TUPLE1[0]: (_Scanner.bundle, 1),
    pickle.TUPLE2[0]: (_Scanner.bundle, 2),
    pickle.TUPLE3[0]: (_Scanner.bundle, 3),
    pickle.TUPLE[0]: (_Scanner.bundle, None),
    pickle.FROZENSET[0]: (_Scanner.frozenset, None),
    pickle.APPEND[0]: (_Scanner.fill, (APPEND, 1)),
    pickle.APPENDS[0]: (_Scanner.fill, (APPEND, None)),
    pickle.SETITEM[0]: (_Scanner.fill, (SETITEMS, 2)),
    pickle.SETITEMS[0]: (_Scanner.fill, (SETITEMS, None)),
    pickle.ADDITEMS[0]: (_Scanner.fill, (ADD, None)),
    pickle.POP[0]: (_Scanner.pop, 1),
    pickle.POP_MARK[0]: (_Scanner.pop, None),
    pickle.STACK_GLOBAL[0]: (_Scanner.name, None),
    pickle.REDUCE[0]: (_Scanner.call, CALL),
    pickle.NEWOBJ[0]: (_Scanner.call, NEW),
    pickle.NEWOBJ_EX[0]: (_Scanner.call, NEW_WITH_KEYWORDS),
    pickle.BUILD[0]: (_Scanner.build, None),
    pickle.NEXT_BUFFER[0]: (_Scanner.buffer, None),
    pickle.READONLY_BUFFER[0]: (_Scanner.readonly_buffer, None),
}


def _refuse(what: str) -> NoReturn:
    message = f"the pickle stream {what}"
    raise DecodeError(message)
