"""What was lost on the way: what arrived beside what was sent, aspect by aspect."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import functools
import struct
import types
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = {bool, complex, float, int}
"""Types of which pickle writes an object as often as it comes."""
SHARED = 1024
"""Bytes from which memory that objects shared is shared again."""

_COMPARE: dict[type, Callable[[Comparison, Any, Any, str], None]] = {}


def compares(*classes):
    """Return a decorator for what compares two objects of these classes, or of their subclasses."""

    def decorate(function):
        _COMPARE.update(dict.fromkeys(classes, function))
        return function

    return decorate


class Comparison:
    """The aspects in which one object differs from another, with the first place of each.

    Parameters
    ----------
    got
        What has arrived.
    want
        What was sent, or should arrive.
    sent
        Whether `want` consists of the very objects that were sent. If it was made anew, it is an accident which equal
        values are one object, and is not compared.

    Attributes
    ----------
    lost : dict
        By the name of the aspect, where it was lost and how.
    """

    def __init__(self, got: object, want: object, *, sent: bool = True) -> None:
        self.lost: dict[str, str] = {}
        self._sent = sent
        self._seen: dict[int, tuple[object, object]] = {}
        self._memory: dict[tuple[int, int], tuple[str, int, int, int]] = {}
        self.compare(got, want, "obj")
        self._compare_sharing()

    def equal(self, aspect: str, got: object, want: object, where: str) -> bool:
        """Note a difference between two plain values."""
        if same := bool(got == want):
            return same
        return self.miss(aspect, f"{where}: {_short(got)}, not {_short(want)}")

    def miss(self, aspect: str, text: str) -> bool:
        """Note a difference."""
        self.lost.setdefault(aspect, text)
        return False

    def memory(self, where: str, got: int, want: int, nbytes: int) -> None:
        """Note the addresses of memory without gaps."""
        if nbytes >= SHARED:
            self._memory.setdefault((got, want), (where, got, want, nbytes))

    def compare(self, got: Any, want: Any, where: str) -> None:
        """Compare two objects, and what they consist of."""
        if type(got) is not type(want):
            self.miss("type", f"{where}: {type(got).__qualname__}, not {type(want).__qualname__}")
            return
        if id(want) in self._seen and type(want) not in _NUMBERS:
            if self._seen[id(want)][0] is not got and not self._is_value(want):
                self.miss("identity", f"{where}: another object")
            return
        if isinstance(want, _ONE_OF_A_KIND) or want is None or want is np.ma.masked:
            if got is not want:
                self.miss("identity", f"{where}: {_short(got)}, not {_short(want)} itself")
            return
        self._seen[id(want)] = got, want
        function = next((_COMPARE[cls] for cls in type(want).__mro__ if cls in _COMPARE), _compare_object)
        function(self, got, want, where)

    def parts(self, got: dict[str, Any], want: dict[str, Any], where: str, *, ordered: bool = False) -> None:
        """Compare what objects consist of, by its name."""
        order = list if ordered else sorted
        if self.equal("value", order(got), order(want), where):
            for name, part in want.items():
                self.compare(got[name], part, f"{where}{name}")

    def _is_value(self, obj: object) -> bool:
        """Tell whether an object that was made anew is known by its value alone."""
        try:
            return not self._sent and hash(obj) not in {id(obj), object.__hash__(obj)}
        except TypeError:
            return False

    def _compare_sharing(self) -> None:
        spans = list(self._memory.values())
        for index, (where, got, want, nbytes) in enumerate(spans):
            for elsewhere, other_got, other_want, other_nbytes in spans[:index]:
                shared = want < other_want + other_nbytes and other_want < want + nbytes
                sharing = got < other_got + other_nbytes and other_got < got + nbytes
                if shared and got - other_got != want - other_want:
                    self.miss("sharing", f"{where} and {elsewhere} do not share memory as they did")
                elif sharing and not shared:
                    self.miss("sharing", f"{where} and {elsewhere} share memory, and did not")


_ONE_OF_A_KIND = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, enum.Enum, np.ufunc)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# Plain objects


def _compare_object(comparison, got, want, where):
    state = _state(want)
    if state:
        comparison.parts(_state(got), state, where)
    elif type(want).__eq__ is not object.__eq__:
        comparison.equal("value", got, want, where)


def _state(obj):
    slots = [slot for cls in type(obj).__mro__ for slot in getattr(cls, "__slots__", ()) if hasattr(obj, slot)]
    names = [field.name for field in dataclasses.fields(obj)] if dataclasses.is_dataclass(obj) else []
    state = dict(getattr(obj, "__dict__", {})) | {name: getattr(obj, name) for name in (*slots, *names)}
    return {f".{name}": value for name, value in state.items()}


@compares(dict)
def _compare_dicts(comparison, got, want, where):
    if isinstance(want, collections.defaultdict):
        comparison.compare(got.default_factory, want.default_factory, f"{where}.default_factory")
    comparison.parts(*({f"[{key!r}]": value for key, value in one.items()} for one in (got, want)), where, ordered=True)
    _compare_attributes(comparison, got, want, where)


@compares(list, tuple, collections.deque)
def _compare_sequences(comparison, got, want, where):
    comparison.equal("value", getattr(got, "maxlen", None), getattr(want, "maxlen", None), f"{where}.maxlen")
    if type(want) in {list, tuple} and len(want) > 1000 and got == want:
        return
    comparison.parts(*({f"[{index}]": item for index, item in enumerate(one)} for one in (got, want)), where)
    _compare_attributes(comparison, got, want, where)


def _compare_attributes(comparison, got, want, where):
    if vars_of := getattr(want, "__dict__", None):
        comparison.parts(*({f".{name}": value for name, value in one.items()} for one in (vars(got), vars_of)), where)


@compares(float)
def _compare_floats(comparison, got, want, where):
    comparison.equal("value", struct.pack("<d", got), struct.pack("<d", want), where)


@compares(complex)
def _compare_complex(comparison, got, want, where):
    comparison.equal("value", repr(got), repr(want), where)


@compares(BaseException)
def _compare_exceptions(comparison, got, want, where):
    comparison.parts(*({".args": one.args, **_state(one)} for one in (got, want)), where)


@compares(functools.partial)
def _compare_partials(comparison, got, want, where):
    comparison.parts(*({".func": one.func, ".args": one.args, ".keywords": one.keywords} for one in (got, want)), where)


@compares(bytes, bytearray, memoryview, array.array)
def _compare_octets(comparison, got, want, where):
    if isinstance(want, memoryview):
        comparison.equal("dtype", got.format, want.format, where)
        comparison.equal("layout", (got.shape, got.strides), (want.shape, want.strides), where)
        comparison.equal("mutability", got.readonly, want.readonly, where)
    if isinstance(want, array.array):
        comparison.equal("dtype", got.typecode, want.typecode, where)
    comparison.equal("value", bytes(got), bytes(want), where)
