"""Python's own types."""

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import pathlib
import pickle
import re
import uuid
import warnings
import zoneinfo
from types import SimpleNamespace
from typing import NamedTuple

from .comparison import compares
from .table import N, case


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: float
    y: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    sensor: str
    values: object


class Bag(dict):
    """A dict with attributes."""


class Stack(list):
    """A list with attributes."""


class Slotted:
    __slots__ = ("data", "name")

    def __init__(self):
        self.data, self.name = bytearray(8 * N), "slotted"


class Stateful:
    def __init__(self, items=()):
        self.items = list(items)
        self.cache = object()

    def __getstate__(self):
        return {"items": self.items}

    def __setstate__(self, state):
        self.__dict__.update(state, cache=None)


class RefusalError(Exception):
    def __init__(self, code, *, hint):
        super().__init__(code)
        self.code, self.hint = code, hint

    def __reduce__(self):
        return functools.partial(RefusalError, hint=self.hint), (self.code,)


def _attributed(cls, *arguments):
    one = cls(*arguments)
    one.label = "label"
    return one


def _characters():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which Python 3.13 has for the typecode
        return array.array("u", "schön " * 1000)


def _cycle():
    one = [1]
    one.append({"self": one, "twice": [one, one]})
    return one


def _deep(depth=100):
    one = "bottom"
    for _ in range(depth):
        one = [one]
    return one


def _ordered():
    one = collections.OrderedDict(b=1, a=2)
    one.move_to_end("b")
    return one


ZONE = dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")
TEXT = "".join(map(chr, range(0x20, 0xD7FF)))
MOMENT = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, ZONE, fold=1)

CASES = [
    case("nothing", lambda: None),
    case("truth", lambda: [True, False, Ellipsis, NotImplemented]),
    case("integers", lambda: [0, -1, 255, 1 << 31, -(1 << 63), 1 << 999]),
    case("floats", lambda: [0.0, -0.0, 1e308, 5e-324, float("inf"), float("nan")]),
    case("complex", lambda: [1j, complex(-0.0, 3)]),
    case("text", lambda: TEXT * 20, 20 * len(TEXT.encode())),
    case("ASCII text", lambda: "abcdefgh" * N, 8 * N),
    case("lone surrogates", lambda: "\ud800 \N{SNOWMAN} \U0001f40d"),
    case("bytes", lambda: bytes(range(256)) * (N // 32), 8 * N),
    case("bytes in a list", lambda: [bytes(range(256)) * (N // 32), b"", b"x"], 8 * N),
    case("bytearray", lambda: bytearray(range(256)) * (N // 32), 8 * N),
    case("memoryview", lambda: memoryview(bytearray(8 * N)), 8 * N),
    case("memoryview, read-only", lambda: memoryview(bytes(8 * N)), 8 * N),
    case("memoryview of doubles", lambda: memoryview(array.array("d", range(N))), 8 * N),
    case("memoryview of two axes", lambda: memoryview(bytearray(8 * N)).cast("d", (N // 8, 8)), 8 * N),
    case("memoryview, every second byte", lambda: memoryview(bytearray(range(256)) * (N // 16))[::2], 8 * N, arrives=lambda: memoryview(bytearray(range(0, 256, 2)) * (N // 16))),
    case("memoryview, reversed", lambda: memoryview(bytes(range(256)) * 40)[::-1], arrives=lambda: memoryview(bytes(range(256)) * 40)[::-1]),
    case("memoryview, empty", lambda: memoryview(b"")),
    *[case(f"array.array {c!r}", lambda c=c: array.array(c, list(range(100)) * (N // 25)), N * 4 * array.array(c).itemsize) for c in "bBhHiIlLqQfd"],
    case("array.array of text", _characters),
    case("array.array, empty", lambda: array.array("f")),
    case("PickleBuffer", lambda: pickle.PickleBuffer(bytearray(8 * N)), 8 * N, arrives=lambda: memoryview(bytearray(8 * N))),
    case("list of floats", lambda: [i / 7 for i in range(10_000)]),
    case("dict of many", lambda: {f"key {i}": (i, str(i)) for i in range(10_000)}),
    case("keys of all kinds", lambda: {1: "a", (2, "x"): "b", b"c": None, frozenset({3}): 4.5, None: 5}),
    case("empty containers", lambda: [[], (), {}, set(), frozenset(), "", b"", bytearray()]),
    case("sets", lambda: [{1, 2, 3}, frozenset({"a", "b"}), {(1, 2)}]),
    case("deep", _deep),
    case("cycle", _cycle),
    case("one list ninety-nine times", lambda: [[]] * 99),
    case("deque", lambda: collections.deque([1, 2], maxlen=3)),
    case("OrderedDict", _ordered),
    case("defaultdict", lambda: collections.defaultdict(list, {"x": [1]})),
    case("Counter", lambda: collections.Counter("abba")),
    case("ChainMap", lambda: collections.ChainMap({"a": 1}, {"a": 2, "b": 3})),
    case("UserDict", lambda: collections.UserDict(a=1)),
    case("namedtuple", lambda: Point(1.5)),
    case("dataclass holding bytes", lambda: Reading("s", bytes(8 * N)), 8 * N),
    case("dict with attributes", lambda: _attributed(Bag, {"a": 1})),
    case("list with attributes", lambda: _attributed(Stack, [1, 2])),
    case("slots", Slotted, 8 * N),
    case("state of its own", lambda: Stateful([1, [2]]), arrives=lambda: pickle.loads(pickle.dumps(Stateful([1, [2]])))),
    case("enum", lambda: [Colour.RED, Colour.BLUE, Access.READ | Access.WRITE, Access(0)]),
    case("exception", lambda: _attributed(ValueError, "bad", 3)),
    case("exception of its own", lambda: RefusalError(7, hint="no")),
    case("exception group", lambda: ExceptionGroup("many", [ValueError(1), KeyError("k")])),
    case("datetime", lambda: [MOMENT, dt.date(1, 1, 1), dt.time(1, 2, tzinfo=dt.UTC), dt.timedelta(-1, 2, 3), dt.UTC, ZONE]),
    case("time zone", lambda: dt.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("UTC"))),
    case("Decimal", lambda: [decimal.Decimal("1.10"), decimal.Decimal("-0"), decimal.Decimal("Infinity")]),
    case("Fraction", lambda: fractions.Fraction(-22, 7)),
    case("UUID", lambda: uuid.UUID(int=1 << 100)),
    case("paths", lambda: [pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/d")]),
    case("addresses", lambda: [ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")]),
    case("pattern", lambda: re.compile(r"(\w+)-(?P<n>\d+)", re.IGNORECASE)),
    case("range and slice", lambda: [range(1, 10, 3), slice(1, None, 2)]),
    case("namespace", lambda: SimpleNamespace(a=1, b=bytearray(8 * N)), 8 * N),
    case("functions", lambda: [len, str.upper, functools.reduce, decimal.getcontext]),
    case("classes", lambda: [int, type, Colour, Point, collections.abc.Mapping]),
    case("partial", lambda: functools.partial(int, base=16)),
]  # fmt: skip


@compares(pathlib.PurePath, uuid.UUID, fractions.Fraction, zoneinfo.ZoneInfo)
def _compare_by_meaning(comparison, got, want, where):
    comparison.equal("value", repr(got), repr(want), where)
