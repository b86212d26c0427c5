"""Programs of pickle streams run, where nobody is trusted.

The C unpickler never sees such a stream. What a program may call is decided by the guards that it is given: functions
of ours that check all their arguments.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

from oobcodec import scan
from oobcodec.errors import DecodeError, PolicyError
from oobcodec.names import Name
from oobcodec.policy import DATA
from oobcodec.registry import DEFAULT as REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from oobcodec.context import LoadOptions
    from oobcodec.limits import Budget
    from oobcodec.policy import Policy
    from oobcodec.scan import Program

    Step = Callable[["_Machine", Any], object]

__all__ = ["DATA", "rebuild", "run"]

# Whose hashes are as random as those of strings, or as many as they are.
_SIMPLE: Final = frozenset({str, bytes, bool, type(None)})
_MODULUS: Final = (1 << 61) - 1  # of the hashes of integers: sys.hash_info.modulus
_COLLISIONS: Final = 128
"""Keys of one dict with one hash that happen by chance in no data."""

_DICTS: Final = frozenset({dict, OrderedDict, defaultdict, Counter})
_LISTS: Final = frozenset({list, deque})
_ARROW: Final = frozenset({"oobcodec.reducers.arrow", "oobcodec.reducers.polars", "oobcodec.encoded"})
_FRAGILE: Final = {
    "oobcodec.reducers.pandas": {"rebuild_multi_index"},
    "oobcodec.reducers.pandas_arrays": {"rebuild_categorical", "rebuild_sparse"},
    "oobcodec.reducers.tensorflow": {"rebuild_ragged", "rebuild_sparse"},
    "oobcodec.reducers.torch": {"rebuild_compressed", "rebuild_nested", "rebuild_sparse"},
}
"""What makes objects in whose memory are the numbers of places; and so may be in that of all of Arrow's."""

_CHAINED: Final = frozenset({deque, defaultdict})
"""Whose objects are freed by recursion in C. What is built from the inside lies no deeper than `scan` allows."""

_SEQUENCES: Final = frozenset({list, tuple})
_NESTED: Final = (tuple, frozenset)


def rebuild(
    stream: bytes, buffers: Sequence[memoryview], options: LoadOptions, overlapping: Collection[int] = ()
) -> Any:
    """Rebuild the object of a stream, as a policy and its limits allow.

    Parameters
    ----------
    stream, buffers
        The stream, and what it takes as buffers.
    options
        Those of the `oobcodec.loads` that is running.
    overlapping
        Which of the buffers share memory with others.
    """
    limits = options.limits
    depth = limits.get("max_depth")
    program = scan.scan(stream, max_depth=depth, max_operations=limits.get("max_operations"))
    if overlapping and any(map(_is_fragile, program.names)):
        # Whoever wrote to one object could make another one that was checked into what crashes.
        buffers = [view.toreadonly() if i in overlapping else view for i, view in enumerate(buffers)]
    frozen = REGISTRY.frozen if options.writable is False else None
    return run(program, options.policy, buffers, options.budget, max_depth=depth, frozen=frozen)


def run(  # noqa: PLR0913  # two of them by keyword
    program: Program,
    policy: Policy,
    buffers: Sequence[memoryview],
    budget: Budget,
    *,
    max_depth: int | None = None,
    frozen: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
) -> Any:
    """Run a program.

    Parameters
    ----------
    program
        What `oobcodec.scan.scan` returned.
    policy
        What it may name, and what stands for that.
    buffers
        What it takes as buffers.
    budget
        What it may use.
    max_depth
        Tuples in each other, in the keys of dicts and sets.
    frozen
        What to call instead of a guard where everything is to be read-only.

    Returns
    -------
    object
        What it builds.

    Raises
    ------
    PolicyError
        It names what the policy refuses. Then nothing has been imported.
    DecodeError
        It does something else that is not allowed, or does not take as many buffers.
    Exception
        Whatever a guard raises.
    """
    guards = policy.guards(program.names, program.takers)
    if program.idle:
        message = f"the message holds {program.idle[0]} itself, which {policy!r} allows to be called only"
        raise PolicyError(message)
    if program.buffers != len(buffers):
        message = f"the pickle stream takes {program.buffers} buffers, the message has {len(buffers)}"
        raise DecodeError(message)
    budget.operate(program.operations)
    if frozen:
        guards = {name: frozen.get(guard, guard) for name, guard in guards.items()}
    return _Machine(guards, policy, buffers, budget, max_depth).run(program.steps)


class _Machine:
    """The stack and the memo of a program that runs."""

    def __init__(
        self,
        guards: Mapping[Name, Any],
        policy: Policy,
        buffers: Sequence[memoryview],
        budget: Budget,
        max_depth: int | None,
    ) -> None:
        self._guards = guards
        self._policy = policy
        self._buffers = buffers
        self._budget = budget
        self._max_depth = max_depth
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._frozen = 0
        self._within: set[int] = set()
        self._taken_again: set[int] = set()
        # How many keys of a dict or a set have a hash that its sender can choose.
        self._hashes: dict[tuple[int, int], int] = {}

    def run(self, steps: Sequence[tuple[int, Any, int | None]]) -> Any:
        stack, memo = self._stack, self._memo
        for operation, argument, place in steps:
            if operation == scan.CONSTANT:
                stack.append(argument)
            else:
                _STEPS[operation](self, argument)
            if place is not None:
                memo[place] = stack[-1]
        return stack.pop()

    def value(self, name: Name) -> None:
        self._stack.append(self._guards[name])

    def get(self, place: int) -> None:
        obj = self._memo[place]
        if type(obj) is bytearray:
            self._take_again(obj)
        self._stack.append(obj)

    def _take_again(self, memory: bytearray) -> None:
        """Refuse the memory of an array, and remember all other: nothing that is checked may lie in it."""
        try:
            memory.append(0)
            memory.pop()
        except BufferError:
            _refuse("is the memory of an array, and something else too", memory)
        self._taken_again.add(id(memory))

    def _check_memory(self, arguments: Any) -> None:
        level = [arguments]
        while level:
            self._budget.operate(len(level))
            items = [item for container in level for item in container]
            if not self._taken_again.isdisjoint([id(item) for item in items if type(item) is bytearray]):
                _refuse("is given to a function, and something else too", bytearray())
            level = [item for item in items if type(item) in _SEQUENCES]

    def name(self, name: Name) -> None:
        self._stack.append(name)

    def buffer(self, which: tuple[int, bool]) -> None:
        index, readonly = which
        view = self._buffers[index]
        self._stack.append(view.toreadonly() if readonly else view)

    def push(self, obj: object) -> None:
        self._stack.append(obj)

    def pop(self, count: int) -> list[Any]:
        start = len(self._stack) - count
        popped = self._stack[start:]
        del self._stack[start:]
        return popped

    def frozenset(self, count: int) -> None:
        members = self.pop(count)
        self._frozen -= 1
        self._admit(self._frozen, members)
        self._stack.append(frozenset(members))

    # Containers

    def append(self, count: int) -> None:
        items = self.pop(count)
        target = self._stack[-1]
        if type(target) not in _LISTS and type(target) not in self._policy.classes:
            _refuse("has no items", target)
        self._chain(target, items)
        extend = getattr(target, "extend", None)
        if extend is not None:
            extend(items)
            return
        for item in items:
            target.append(item)

    def setitems(self, count: int) -> None:
        items = self.pop(count)
        target = self._stack[-1]
        cls = type(target)
        if cls not in _DICTS and cls not in self._policy.classes:
            _refuse("has no keys", target)
        keys = items[::2]
        self._chain(target, items)
        self._admit(id(target), keys)
        pairs = zip(keys, items[1::2], strict=True)
        if cls is dict or cls is OrderedDict:
            target.update(pairs)
            return
        for key, value in pairs:
            target[key] = value

    def add(self, count: int) -> None:
        members = self.pop(count)
        target = self._stack[-1]
        if type(target) is not set:
            _refuse("has no members", target)
        self._admit(id(target), members)
        target.update(members)

    def _chain(self, target: Any, items: list[Any]) -> None:
        """Refuse to fill what was already put into another of its kind: a chain of these, freed, crashes."""
        if type(target) not in _CHAINED:
            return
        if id(target) in self._within:
            _refuse("is filled after it was put into another", target)
        self._within.update([id(item) for item in items if type(item) in _CHAINED])

    def _admit(self, container: int, keys: list[Any]) -> None:
        """Refuse keys that were chosen to take long, or that crash when they are hashed."""
        if set(map(type, keys)) <= _SIMPLE:
            return
        for key in keys:
            if type(key) in _SIMPLE or (type(key) is int and -_MODULUS < key < _MODULUS):
                continue
            if isinstance(key, _NESTED):
                self._weigh(key)
            elif type(key) is slice:
                _refuse("is a key of a dict or a set", key)  # Python 3.12 hashes it with all that is in it
            where = container, hash(key)
            self._hashes[where] = count = self._hashes.get(where, 0) + 1
            if count > _COLLISIONS:
                message = (
                    f"more than {_COLLISIONS} keys of a dict or a set have one hash: they were chosen to take long"
                )
                raise DecodeError(message)

    def _weigh(self, key: Any) -> None:
        """Account for all members of a tuple, which its hash goes through as often as they are in it."""
        level, depth = [key], 0
        while level:
            depth += 1
            if self._max_depth is not None and depth > self._max_depth:
                _refuse(f"lies in a key, more than {self._max_depth} levels deep", level[0])
            self._budget.operate(sum(map(len, level)))
            level = [member for item in level for member in item if isinstance(member, _NESTED)]

    # Calls

    def call(self, _: None) -> None:
        function, arguments = self.pop(2)
        if type(arguments) is not tuple:
            _refuse("is no tuple of arguments", arguments)
        if self._taken_again:
            self._check_memory(arguments)
        self._stack.append(self._guards[function](*arguments) if type(function) is Name else function(*arguments))

    def new(self, _: None) -> None:
        name, arguments = self.pop(2)
        self._new(name, arguments, {})

    def new_with_keywords(self, _: None) -> None:
        name, arguments, keywords = self.pop(3)
        self._new(name, arguments, keywords)

    def _new(self, name: Name, arguments: Any, keywords: Any) -> None:
        if type(arguments) is not tuple or type(keywords) is not dict:
            _refuse("is no tuple of arguments, or no dict of them", arguments)
        if self._taken_again:
            self._check_memory((*arguments, *keywords.values()))
        guard = self._guards[name]
        make = guard.__new__ if guard in self._policy.classes else None
        self._stack.append(make(guard, *arguments, **keywords) if make else guard(*arguments, **keywords))

    def build(self, _: None) -> None:
        obj, state = self.pop(2)
        cls = type(obj)
        if cls in self._policy.classes:
            _set_state(obj, state)
        elif cls in self._policy.states:
            self._policy.states[cls](obj, state)
        else:
            _refuse("takes no state", obj)
        self._stack.append(obj)


def _is_fragile(name: Name) -> bool:
    return name.module in _ARROW or name.qualname in _FRAGILE.get(name.module, ())


def _set_state(obj: Any, state: Any) -> None:
    """Do what pickle does with a state: https://docs.python.org/3/library/pickle.html#object.__setstate__."""
    setstate = getattr(obj, "__setstate__", None)
    if setstate is not None:
        setstate(state)
        return
    attributes, slots = state if type(state) is tuple else (state, None)
    if attributes:
        vars(obj).update(attributes)
    for name, value in (slots or {}).items():
        setattr(obj, name, value)


def _refuse(what: str, obj: object) -> None:
    message = f"the message is refused: an object of {type(obj).__name__} {what}"
    raise DecodeError(message)


_STEPS: Final[dict[int, Step]] = {
    scan.GET: _Machine.get,
    scan.NAME: _Machine.name,
    scan.VALUE: _Machine.value,
    scan.BUFFER: _Machine.buffer,
    scan.BYTEARRAY: lambda machine, data: machine.push(bytearray(data)),
    scan.LIST: lambda machine, _: machine.push([]),
    scan.DICT: lambda machine, _: machine.push({}),
    scan.SET: lambda machine, _: machine.push(set()),
    scan.TUPLE: lambda machine, count: machine.push(tuple(machine.pop(count))),
    scan.FROZENSET: _Machine.frozenset,
    scan.APPEND: _Machine.append,
    scan.SETITEMS: _Machine.setitems,
    scan.ADD: _Machine.add,
    scan.POP: _Machine.pop,
    scan.CALL: _Machine.call,
    scan.NEW: _Machine.new,
    scan.NEW_WITH_KEYWORDS: _Machine.new_with_keywords,
    scan.BUILD: _Machine.build,
}
