"""Objects of all kinds that travel, each made anew by its name, and how to tell whether one arrived.

The golden messages were written from the first of them, so a specimen is never changed; new ones may join.
"""

import array
import collections
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import struct
import types
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import oobcodec

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None

HAS_STRINGS = hasattr(np.dtypes, "StringDType")


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    first: object
    second: object


@dataclass
class Model:
    name: str
    weights: object


class Slotted:
    __slots__ = ("data", "name")


class Labelled(np.ndarray):
    """A subclass with an attribute of its own, which numpy's own pickling would lose."""

    label = None


class OldPickle:
    """Reduces to a call, with a state that is set by a method."""

    def __init__(self, size):
        self.size = size
        self.items = []

    def __reduce__(self):
        return type(self), (self.size,), {"items": self.items}

    def __setstate__(self, state):
        self.items = state["items"]


class Celsius:
    """Travels under a tag."""

    tag = "specimens.celsius"

    def __init__(self, degrees):
        self.degrees = degrees


@contextmanager
def registered():
    """Know what the specimens need to be known, for as long as this lasts."""
    oobcodec.register_type(Celsius, Celsius.tag, lambda celsius: celsius.degrees, Celsius)
    try:
        yield
    finally:
        oobcodec.unregister_type(Celsius.tag)


class Specimen(NamedTuple):
    make: Callable[[], Any]
    arrives: Callable[[], Any]
    """What it arrives as: another one of the same, or what the documentation says instead."""


SPECIMENS: dict[str, Specimen] = {}


def specimen(make, arrives=None):
    SPECIMENS[make.__name__] = Specimen(make, arrives or make)
    return make


def arriving_as(arrives):
    return lambda make: specimen(make, arrives)


def given(condition):
    return specimen if condition else lambda make: make


# Plain data, and text.


@specimen
def plain():
    return {"id": 7, "tags": ["a", "b"], "nested": {"none": None, "yes": True, "pi": 3.14, "big": -(1 << 90)}}


@specimen
def nothing():
    return None


@specimen
def numbers():
    return [0, -1, 255, 1 << 63, 0.0, -0.0, float("inf"), float("nan"), 1j, True]


@specimen
def text():
    return "grüße, \N{SNOWMAN}, \U0001f40d, a lone \ud800"


@specimen
def empty_text():
    return ""


@specimen
def octets():
    return bytes(range(256)) * 5


@specimen
def no_octets():
    return b""


@specimen
def octets_within():
    return {"small": b"abc", "large": bytes(range(256)) * 8, "mutable": bytearray(b"abc")}


@specimen
def mutable_octets():
    return bytearray(range(256)) * 8


@specimen
def segments():
    """Bytes by reference, which are a frame of the pickle stream by themselves."""
    return ["before", bytes(300 * 1024), "after"]


@specimen
def cyclic():
    one: list = [1]
    one.append({"self": one, "twice": [one, one]})
    return one


@specimen
def sets():
    return [{1, 2, 3}, frozenset({4}), (), (1,), ((2, 3), [])]


# Of the standard library.


@specimen
def collected():
    ordered = collections.OrderedDict(b=1, a=2)
    ordered.move_to_end("b")
    grouped = collections.defaultdict(list, {"x": [1]})
    return [collections.deque([1, 2], maxlen=3), ordered, grouped, collections.Counter("abba")]


@specimen
def dates():
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")
    moment = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, zone, fold=1)
    return [moment, dt.date(1, 1, 1), dt.time(1, 2), dt.timedelta(-1, 2, 3), dt.UTC]


@specimen
def exact_numbers():
    return [decimal.Decimal("-1.50"), decimal.Decimal("NaN"), fractions.Fraction(1, 3), range(0, 10, 3), slice(1, None)]


@specimen
def identifiers():
    return [uuid.UUID(int=5), ipaddress.ip_network("10.0.0.0/8"), re.compile("a+", re.IGNORECASE), ...]


@specimen
def paths():
    return [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c:/d")]


@specimen
def instances():
    slotted = Slotted()
    slotted.data = [1]
    old = OldPickle(3)
    old.items = [1, 2]
    return [Model("m", [0.5]), Pair(1, "x"), Colour.RED, slotted, old, types.SimpleNamespace(a=1), Model, len]


@specimen
def failure():
    error = ValueError("no", 3)
    error.detail = [1]
    return error


@specimen
def typed_arrays():
    return [array.array("d", range(200)), array.array("h", [1, -2]), array.array("Q")]


@arriving_as(lambda: [memoryview(bytes(range(200)) * 8), memoryview(array.array("f", range(300)))])
def views():
    return [memoryview(bytes(range(200)) * 8), memoryview(array.array("f", range(300)))]


# Arrays with elements of each kind.


@specimen
def doubles():
    return np.arange(200, dtype="<f8")


@specimen
def element_types():
    codes = ["?", "b", "B", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"]
    return {code: np.arange(5).astype(code) for code in codes}


@specimen
def element_types_out_of_band():
    codes = ["?", "b", "B", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"]
    return {code: (np.arange(1024 // np.dtype(code).itemsize) % 100).astype(code) for code in codes}


@specimen
def big_endian():
    return [np.arange(200, dtype=">i8"), np.arange(3, dtype=">c8"), np.array(["a", "bc"], dtype=">U3")]


@specimen
def characters():
    return [np.array(["a", "grüße"]), np.array([b"a", b"bc"]), np.array([b"ab\0"], dtype="V3"), np.full(64, "abcdef")]


@specimen
def times():
    return [
        np.array(["2024-02-29T12:00", "NaT"], dtype="<M8[ns]"),
        np.arange(200).astype("<m8[25s]"),
        np.arange(200).astype(">M8[D]"),
    ]


@specimen
def structured():
    inner = np.dtype([("x", "<f4"), ("y", ">i2", (2,))])
    dtype = np.dtype([("id", "<u4"), ("at", inner), ("name", "<U4"), ("when", "<M8[s]")])
    one = np.zeros(40, dtype)
    one["id"] = np.arange(40)
    one["at"]["y"] = 7
    one["name"] = "abc"
    return one


@specimen
def structured_with_gaps():
    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "<f8"], "offsets": [1, 8], "itemsize": 24})
    one = np.zeros(60, dtype)
    one["b"] = np.arange(60)
    return [one, np.zeros(3, np.dtype([("a", "u1"), ("b", "<i8")], align=True))]


@specimen
def structured_with_titles():
    return np.ones(3, np.dtype([(("the first", "a"), "<i4"), ("b", "<f4")]))


@specimen
def described():
    return np.arange(3, dtype=np.dtype("<i4", metadata={"unit": "m"}))


@specimen
def objects():
    shared = [1]
    return np.array([shared, None, {"x": shared}, np.arange(2), "s"], dtype=object)


@specimen
def structured_objects():
    one = np.zeros(2, np.dtype([("a", "<i4"), ("o", "O")]))
    one["o"] = [[1, 2], "x"]
    return one


@given(HAS_STRINGS)
def strings():
    return np.array(["a", "grüße", "long " * 20, ""], dtype=np.dtypes.StringDType())


@given(HAS_STRINGS)
def strings_with_missing():
    return np.array([["a", None], ["b", "c"]], dtype=np.dtypes.StringDType(na_object=None)).T


@given(ml_dtypes)
def small_floats():
    values = np.arange(1024) % 8
    names = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"]
    return {name: (values % 5).astype(getattr(ml_dtypes, name)) for name in names}


# Arrays that lie in memory in each way.


@specimen
def orders():
    cube = np.arange(240.0).reshape(5, 6, 8).transpose(1, 0, 2)
    return [np.arange(144.0).reshape(12, 12).T, cube, np.arange(6).reshape(2, 3).T]


@specimen
def backwards():
    return [np.arange(200.0)[::-1], np.arange(200, dtype="<i4").reshape(10, 20)[::-1, ::-1], np.arange(3)[::-1]]


@specimen
def broadcast():
    return [np.broadcast_to(np.float64(2.5), (1000, 1000)), np.broadcast_to(np.arange(200.0)[:, None], (200, 300))]


@arriving_as(lambda: [np.arange(0.0, 600.0, 3), np.arange(20 * 40, dtype="<i4").reshape(20, 40)[:, 5:25].copy()])
def with_gaps():
    return [np.arange(600.0)[::3], np.arange(20 * 40, dtype="<i4").reshape(20, 40)[:, 5:25]]


@specimen
def overlapping():
    one = np.arange(512.0)
    return {"whole": one, "tail": one[200:], "table": one.reshape(16, 32), "other": np.arange(256.0)}


@specimen
def overlapping_in_part():
    one = np.arange(512.0)
    return [one[:300], one[200:]]


@specimen
def gaps_within():
    one = np.arange(1024.0)
    return {"every third": one[::3], "all": one}


@specimen
def the_same_twice():
    one = np.arange(200.0)
    return [one, one, {"again": one}]


@specimen
def empty_arrays():
    return [np.zeros(0), np.zeros((0, 3), "<i4"), np.zeros((2, 0, 5), ">f4"), np.zeros(3, "V0"), np.zeros(0, "O")]


@specimen
def no_dimensions():
    return [np.array(1.5), np.array("x"), np.array(None), np.array(3, dtype=">i2")]


@specimen
def read_only():
    large, small = np.arange(200.0), np.arange(3)
    large.flags.writeable = small.flags.writeable = False
    return [large, small]


@specimen
def unaligned():
    return np.frombuffer(bytearray(range(255)) * 8, dtype="<f4", offset=1, count=400)


# What else numpy has.


@specimen
def numpy_scalars():
    record = np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")])[0]
    moment = np.datetime64("2024-02-29T12:00", "m")
    text = [np.str_("x"), np.bytes_(b"y")]
    return [np.float64(1.5), np.float16(0.1), np.int8(-1), np.True_, np.complex64(1j), *text, moment, record]


@specimen
def dtypes():
    return [np.dtype(">i4"), np.dtype([("a", "<f8", (2,))]), np.dtype("<M8[ms]"), np.dtype("O"), np.float32]


@specimen
def masked():
    one = np.ma.masked_array(np.arange(200.0), mask=np.arange(200) % 3 == 0, fill_value=-1.0)
    two = np.ma.masked_array(np.arange(6).reshape(2, 3), hard_mask=True)
    return [one, two, np.ma.masked]


@specimen
def records():
    return np.rec.fromrecords([(i, i / 2, "x") for i in range(50)], names="id,half,name")


@specimen
def matrix():
    return np.arange(144.0).reshape(12, 12).view(np.matrix)


@specimen
def labelled():
    one = np.arange(200.0).view(Labelled)
    one.label = {"unit": "m"}
    return one


@specimen
def nested():
    weights = np.arange(300, dtype="<f4").reshape(10, 30)
    return {"model": Model("m", weights), "layers": [Pair(weights, weights.T), (weights[2:],)], "step": np.int64(3)}


@specimen
def tagged():
    return [Celsius(20.5), {"again": Celsius(np.arange(200.0))}]


@arriving_as(lambda: {"what": [1, np.arange(200.0)]})
def encoded():
    return {"what": oobcodec.Encoded(oobcodec.dumps([1, np.arange(200.0)]))}


OUT_OF_BAND = 1024


def assert_same(got, want):
    """Raise an AssertionError that says where two objects differ: in type, value, layout, mutability or identity."""
    arrays: list[tuple[str, Any, Any]] = []
    _compare(got, want, "obj", {}, arrays)
    large = [(where, one, other) for where, one, other in arrays if other.nbytes >= OUT_OF_BAND]
    for index, (where, got_one, want_one) in enumerate(large):
        for elsewhere, got_other, want_other in large[:index]:
            if np.shares_memory(want_one, want_other):
                assert _address(got_one) - _address(got_other) == _address(want_one) - _address(want_other), (
                    f"{where} and {elsewhere} do not share memory as they did"
                )
            else:
                assert not np.shares_memory(got_one, got_other), f"{where} and {elsewhere} share memory"


def _address(one):
    return one.__array_interface__["data"][0]


def _compare(got, want, where, seen, arrays):
    assert type(got) is type(want), f"{where} is {type(got)}, not {type(want)}"
    if isinstance(want, type | types.FunctionType | types.BuiltinFunctionType | enum.Enum) or want is np.ma.masked:
        assert got is want, f"{where} is {got!r}, not {want!r}"
        return
    if id(want) in seen:
        assert seen[id(want)][0] is got, f"{where} is another object"
        return
    if isinstance(want, np.ndarray):
        _compare_layout(got, want, where)
        arrays.append((where, got, want))
    want_parts = _parts(want)
    if want_parts is not None:
        seen[id(want)] = got, want
        got_parts = _parts(got)
        assert list(got_parts) == list(want_parts), f"{where} has {list(got_parts)}, not {list(want_parts)}"
        for label, part in want_parts.items():
            _compare(got_parts[label], part, f"{where}.{label}", seen, arrays)
    else:
        assert _plain(got) == _plain(want), f"{where} is {got!r}, not {want!r}"


def _plain(leaf):
    match leaf:
        case np.generic():
            plain = _dtype(leaf.dtype), leaf.tobytes()
        case float():
            plain = struct.pack("<d", leaf)
        case decimal.Decimal():
            plain = leaf.as_tuple()
        case memoryview():
            plain = leaf.format, leaf.shape, leaf.strides, leaf.readonly, leaf.tobytes()
        case array.array():
            plain = leaf.typecode, leaf.tobytes()
        case np.dtype():
            plain = _dtype(leaf)
        case _:
            plain = leaf
    return plain


def _dtype(dtype):
    return dtype, repr(dtype), dtype.isalignedstruct, dtype.metadata


def _parts(obj):
    """Return what an object consists of, by label, or None if it has no parts."""
    match obj:
        case np.ndarray():
            parts = _array_parts(obj)
        case dict():
            items = {f"[{key!r}]": value for key, value in obj.items()}
            parts = {"factory": getattr(obj, "default_factory", None), **items}
        case list() | tuple() | collections.deque():
            parts = {"maxlen": getattr(obj, "maxlen", None), **dict(enumerate(obj))}
        case BaseException():
            parts = {"args": obj.args, **vars(obj)}
        case _ if type(obj).__module__ in (__name__, "types"):
            slots = [slot for slot in getattr(type(obj), "__slots__", ()) if hasattr(obj, slot)]
            parts = getattr(obj, "__dict__", {}) | {slot: getattr(obj, slot) for slot in slots}
        case _:
            parts = None
    return parts


def _compare_layout(got, want, where):
    assert _dtype(got.dtype) == _dtype(want.dtype), f"{where} has {got.dtype!r}, not {want.dtype!r}"
    assert got.shape == want.shape, f"{where} has shape {got.shape}, not {want.shape}"
    assert got.flags.writeable == want.flags.writeable, f"{where}: writeable={got.flags.writeable}"
    if want.size:
        steps = [[step for step, n in zip(one.strides, one.shape, strict=True) if n > 1] for one in (got, want)]
        assert steps[0] == steps[1], f"{where} has strides {got.strides}, not {want.strides}"


def _array_parts(one):
    if isinstance(one, np.ma.MaskedArray):
        return {"data": one.data, "mask": one.mask, "fill": one.fill_value, "hard": one.hardmask}
    state = {".label": one.label} if isinstance(one, Labelled) else {}
    plain = np.asarray(one)
    if plain.dtype.names:
        return state | {f"[{name!r}]": plain[name] for name in plain.dtype.names}
    if plain.dtype.kind in "OT":
        return state | dict(enumerate(plain.ravel().tolist()))
    return state | {"bytes": plain.tobytes()}
