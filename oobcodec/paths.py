"""Where in an object something lies: the way that a pickler takes through it, retraced with names.

A pickler knows no path. When one is wanted, for an error or for `oobcodec.explain`, the object is walked a second time,
in the same order and with the same reducers.
"""

from __future__ import annotations

import itertools
import sys
from pickle import PickleBuffer
from types import CellType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

from oobcodec.engine import REDUCERS, reduce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ATOMS: Final = frozenset({type(None), type(...), type(NotImplemented), bool, int, float, complex, ModuleType})
_LEAVES: Final = frozenset({str, bytes, bytearray})
_EMPTY_CELL: Final = CellType()
_SHOWN: Final = 8
_REPR: Final = 40

INSIDE: Final = "…"
"""The label of what only a reducer of oobcodec's has a place for: no index or attribute of the object leads there."""

_UNNAMED: Final = ("", INSIDE)


class Step:
    """One object on the way, and how it hangs on the one before."""

    __slots__ = ("again", "depth", "failed", "label", "obj", "parent")

    def __init__(self, parent: Step | None, label: str, obj: Any) -> None:
        self.parent = parent
        self.label = label
        self.obj = obj
        self.depth: int = parent.depth + 1 if parent else 0
        self.failed = False
        self.again = False

    @property
    def parts(self) -> list[Step]:
        """The step itself, and those before it up to the object at `path`, which they are parts of."""
        steps = [self]
        while steps[-1].label in _UNNAMED and steps[-1].parent is not None:
            steps.append(steps[-1].parent)
        return steps

    @property
    def path(self) -> str:
        """How to get here from the root: ``['cfg'].lock``; empty for the root; its middle left out if it is long.

        It ends at the array, frame or tensor that this is a part of. For an object that one holds, it goes on from
        where there are names again: ``['frame']…['cfg'].lock``.
        """
        labels: list[str] = []
        step: Step | None = self
        while step is not None:
            redundant = step.label == INSIDE and (not labels or labels[-1] == INSIDE)
            if step.label and not redundant:
                labels.append(step.label)
            step = step.parent
        labels.reverse()
        if len(labels) > 2 * _SHOWN:
            labels[_SHOWN:-_SHOWN] = [f"…({len(labels) - 2 * _SHOWN} more)…"]
        return "".join(labels)

    def __str__(self) -> str:
        """Name the object by its type and path: ``'_thread.lock' object at ['cfg'].lock``."""
        name = class_name(type(self.obj))
        return f"{name!r} object at {self.path}" if self.path else f"{name!r} object"


def walk(root: object) -> Iterator[Step]:
    """Visit what a pickler visits, each object once, in the same order.

    A step whose object cannot be reduced has `failed`, and the walk goes on behind it. What a reducer finds in two
    objects, as the storage of two tensors, is visited `again`, but not what is in it.
    """
    stack = [Step(None, "", root)]
    seen: dict[int, object] = {}
    while stack:
        step = stack.pop()
        cls = type(step.obj)
        if cls in ATOMS:
            continue
        if cls is not PickleBuffer:  # a pickler remembers all others
            if id(step.obj) in seen:
                step.again = step.label == INSIDE
                if step.again:
                    yield step
                continue
            seen[id(step.obj)] = step.obj  # kept alive: the next object must not get its id
        if cls not in _LEAVES:
            try:
                # A tuple or list in there was made by the reducer, or might have been.
                nowhere = step.label == INSIDE and cls in (tuple, list)
                children = [
                    Step(step, INSIDE if nowhere else label, child)
                    for label, child in children_of(step.obj)
                    if type(child) not in ATOMS
                ]
            except Exception:  # noqa: BLE001  # whatever a __reduce__ of the user's may raise
                step.failed = True
                children = []
            stack.extend(reversed(children))
        yield step


def find_culprit(root: object) -> str:
    """Name the object inside `root` that cannot be pickled, or `root` if no single one can be made out."""
    steps = walk(root)
    too_deep = sys.getrecursionlimit()
    for step in steps:
        if step.failed or step.depth > too_deep:
            return str(step)
    return str(Step(None, "", root))


def children_of(obj: Any) -> Iterator[tuple[str, Any]]:
    """Return what a pickler saves after `obj`, with the labels of the paths to it."""
    by_type = _BY_TYPE.get(type(obj))
    if by_type is not None:
        return by_type(obj)
    if isinstance(obj, type):
        return _class(obj)
    reduced = reduce(obj)
    return iter(()) if isinstance(reduced, str) else _reduced(obj, reduced)


def _reduced(obj: Any, reduced: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    function, args, state, listitems, dictitems = (*reduced, None, None, None)[:5]
    unnamed = INSIDE if str(getattr(function, "__module__", "")).startswith(REDUCERS) else ""
    yield "", function
    for index, argument in enumerate(args):
        # The arguments of a namedtuple are its class and then its fields.
        yield (f"[{index - 1}]" if index and isinstance(obj, tuple) else unnamed), argument
    yield from _sequence(listitems or ())
    yield from _items(dictitems or ())
    match state:
        case (None | dict(), dict(slots)):  # what object.__getstate__ returns for a class with __slots__
            yield from _attributes(state[0] or {})
            yield from _attributes(slots)
        case dict():
            yield from _attributes(state)
        case _:
            yield unnamed, state


def _sequence(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"[{index}]", item) for index, item in enumerate(items))


def _set(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{{{short(item)}}}", item) for item in items)


def _mapping(mapping: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    return _items(mapping.items())


def _items(items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    for key, value in items:
        yield f"{{key {short(key)}}}", key
        yield f"[{short(key)}]", value


def _attributes(state: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    return ((f".{name}", value) for name, value in state.items())


def _by_reference(obj: Any) -> bool:
    by_value = ("__main__", *cloudpickle.list_registry_pickle_by_value())
    if any(f"{obj.__module__}.".startswith(f"{name}.") for name in by_value):
        return False
    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def _function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    if _by_reference(function):
        return
    code = function.__code__
    for name in _names(code):
        if name in function.__globals__:
            yield f".<global {name}>", function.__globals__[name]
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    yield from ((f".<closure {name}>", cell.cell_contents) for name, cell in cells if cell != _EMPTY_CELL)
    yield ".__defaults__", function.__defaults__
    yield ".__kwdefaults__", function.__kwdefaults__
    yield from _attributes(function.__dict__)


def _names(code: Any) -> Iterator[str]:
    nested = (_names(constant) for constant in code.co_consts if isinstance(constant, type(code)))
    return itertools.chain(code.co_names, *nested)


def _class(cls: type) -> Iterator[tuple[str, Any]]:
    if cls.__module__ == "builtins" or _by_reference(cls):
        return
    yield from (("", base) for base in cls.__bases__)
    yield from _attributes({name: value for name, value in vars(cls).items() if name not in _NOT_SENT})


_NOT_SENT: Final = frozenset({"__dict__", "__weakref__", "__module__", "__doc__", "_abc_impl"})


def _method(method: MethodType) -> Iterator[tuple[str, Any]]:
    yield ".__self__", method.__self__


def _buffer(buffer: PickleBuffer) -> Iterator[tuple[str, Any]]:
    buffer.raw()  # which refuses what a pickler would refuse
    return iter(())


_BY_TYPE: Final[dict[type, Callable[[Any], Iterator[tuple[str, Any]]]]] = {
    dict: _mapping,
    list: _sequence,
    tuple: _sequence,
    set: _set,
    frozenset: _set,
    FunctionType: _function,
    MethodType: _method,
    PickleBuffer: _buffer,
}


def class_name(cls: type) -> str:
    """Return the name of a class with its module, unless everybody knows it."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def short(obj: object) -> str:
    """Return ``repr(obj)``, cut to what a path can hold."""
    text = repr(obj)
    return text if len(text) <= _REPR else f"{text[: _REPR - 3]}..."
