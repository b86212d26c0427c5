"""The standard library: plain data, of values that its types have."""

from __future__ import annotations

import datetime as dt
import re
import sys
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from math import prod
from numbers import Number
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, SafeUUID

from oobcodec.context import LOADING
from oobcodec.guards.checks import claim, expect, is_count, is_shape
from oobcodec.reducers import stdlib as reducers
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    import array
    import pathlib
    from collections.abc import Callable

_BUFFERS: Final = frozenset({bytes, bytearray, memoryview})
_MOST: Final = (1 << 63) - 1


# Numbers


def rebuild_complex(real: Any, imaginary: Any) -> complex:
    """Rebuild a complex number."""
    expect(type(real) is type(imaginary) is float, "a complex number has two parts")
    return complex(real, imaginary)


_DECIMAL: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(E[+-]?\d{1,20})?|[+-]?(Infinity|s?NaN\d*)", re.ASCII)
_DIGITS: Final = 1 << 16
_FRACTION: Final = re.compile(r"-?\d+(/\d+)?", re.ASCII)
_BITS: Final = 14_000
"""As many as 4,300 digits have at least, the most that Python reads and writes by default."""
_BITS_AN_OPERATION: Final = 1 << 19  # those of the numerator by those of the denominator


def rebuild_decimal(text: Any) -> Decimal:
    """Rebuild a decimal number."""
    expect(type(text) is str and len(text) <= _DIGITS, "a decimal number does not have too many digits")
    expect(_DECIMAL.fullmatch(text), "a decimal number has digits")
    return Decimal(text)


def rebuild_fraction(numerator: Any, denominator: Any = 1) -> Fraction:
    """Rebuild a fraction from its text, as Python 3.11 writes it, or from two integers."""
    if type(numerator) is str:
        expect(denominator == 1 and _FRACTION.fullmatch(numerator), "a fraction has digits")
        numerator, denominator = map(int, f"{numerator}/1".split("/")[:2])
    expect(type(numerator) is type(denominator) is int, "a fraction has two integers")
    bits = max(numerator.bit_length(), denominator.bit_length())
    expect(bits <= _BITS, "a fraction does not have too many digits")
    LOADING.get().budget.operate(bits * bits // _BITS_AN_OPERATION)
    return Fraction(numerator, denominator)


def rebuild_range(*arguments: Any) -> range:
    """Rebuild a range."""
    expect(len(arguments) == 3, "a range has a start, a stop and a step")  # noqa: PLR2004  # these
    for number in arguments:
        expect(type(number) is int and number.bit_length() <= _BITS, "a range is of integers, not too large")
    return range(*arguments)


_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_MOMENTS: Final = (dt.date, dt.time, dt.timedelta, Number)


def rebuild_slice(*arguments: Any) -> slice:
    """Rebuild a slice of plain values."""
    # Of no others: Python frees slices in each other by calls in each other, which crash if there are too many.
    expect(len(arguments) == 3, "a slice has a start, a stop and a step")  # noqa: PLR2004  # these
    for bound in arguments:
        plain = type(bound) in _ATOMS or isinstance(bound, _MOMENTS) or _is_scalar(bound)
        expect(plain, "a slice is from one value to another")
    return slice(*arguments)


def _is_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.datetime64, numpy.timedelta64, numpy.bool_, numpy.str_))


# Times


def rebuild_date(state: Any) -> dt.date:
    """Rebuild a date from its four bytes."""
    expect(type(state) is bytes and len(state) == 4, "a date has four bytes")  # noqa: PLR2004  # so many
    return dt.date(state[0] << 8 | state[1], state[2], state[3])


def rebuild_time(state: Any, zone: Any = None) -> dt.time:
    """Rebuild a time of the day from its six bytes."""
    expect(type(state) is bytes and len(state) == 6, "a time has six bytes")  # noqa: PLR2004  # so many
    hour, minute, second = state[:3]
    _check_zone(zone)
    microsecond = int.from_bytes(state[3:], "big")
    return dt.time(hour & 0x7F, minute, second, microsecond, zone, fold=hour >> 7)


def rebuild_datetime(state: Any, zone: Any = None) -> dt.datetime:
    """Rebuild a date and time from its ten bytes."""
    expect(type(state) is bytes and len(state) == 10, "a date and time has ten bytes")  # noqa: PLR2004  # so many
    month, day, hour, minute, second = state[2:7]
    _check_zone(zone)
    year, microsecond = state[0] << 8 | state[1], int.from_bytes(state[7:], "big")
    return dt.datetime(year, month & 0x7F, day, hour, minute, second, microsecond, zone, fold=month >> 7)


def _check_zone(zone: Any) -> None:
    expect(zone is None or isinstance(zone, dt.tzinfo), "a time is in a zone, or in none")


def rebuild_timedelta(*arguments: Any) -> dt.timedelta:
    """Rebuild a duration from days, seconds and microseconds."""
    expect(len(arguments) == 3 and all(type(number) is int for number in arguments), "a duration is of three integers")  # noqa: PLR2004  # these
    days, seconds, microseconds = arguments
    expect(abs(days) <= dt.timedelta.max.days, "a duration is of not too many days")
    expect(0 <= seconds < 24 * 3600 and 0 <= microseconds < 1_000_000, "less than a day remains of a duration")  # noqa: PLR2004
    return dt.timedelta(days, seconds, microseconds)


def rebuild_timezone(offset: Any, *name: Any) -> dt.timezone:
    """Rebuild a time zone of one offset."""
    expect(type(offset) is dt.timedelta, "the offset of a time zone is a duration")
    expect(len(name) <= 1 and all(type(text) is str for text in name), "the name of a time zone is a string")
    return dt.timezone(offset, *name)


_READING: Final = 64  # operations: it may be read from a file
_ZONE: Final = re.compile(r"[A-Za-z][\w+-]{0,31}(/[A-Za-z0-9][\w+-]{0,31}){0,3}", re.ASCII)


def rebuild_zone(key: Any, from_cache: Any) -> zoneinfo.ZoneInfo:
    """Rebuild a time zone of the database, in which it looks for a name without dots."""
    expect(type(key) is str and _ZONE.fullmatch(key), "a time zone has a name")
    expect(type(from_cache) in {bool, int}, "a time zone is the one of its name, or its own")
    LOADING.get().budget.operate(_READING)
    return zoneinfo.ZoneInfo(key) if from_cache else zoneinfo.ZoneInfo.no_cache(key)


def get_attribute(owner: Any, name: Any) -> Callable[..., Any]:
    """Return what ``zoneinfo.ZoneInfo._unpickle`` stands for, the one attribute that data looks up."""
    wanted = isinstance(owner, tuple) and owner == ("zoneinfo", "ZoneInfo") and name == "_unpickle"
    expect(wanted, "nothing but zoneinfo.ZoneInfo is asked for an attribute")
    return rebuild_zone


# Containers


def rebuild_deque(items: Any = (), maxlen: Any = None) -> deque[Any]:
    """Return an empty deque."""
    expect(type(items) is tuple and not items, "a deque is made empty")
    expect(maxlen is None or is_count(maxlen), "the length of a deque is limited, or not")
    return deque(maxlen=maxlen)


def rebuild_ordered() -> OrderedDict[Any, Any]:
    """Return an empty dict that can be reordered."""
    return OrderedDict()


_FACTORIES: Final = {
    cls.__name__: cls for cls in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}


def rebuild_default(factory: Any = None) -> defaultdict[Any, Any]:
    """Return an empty dict with default values of one of Python's own classes."""
    if factory is None:
        return defaultdict(None)
    expect(isinstance(factory, tuple) and len(factory) == 2 and factory[0] == "builtins", "default values are plain")  # noqa: PLR2004
    expect(factory[1] in _FACTORIES, "default values are plain")
    return defaultdict(_FACTORIES[factory[1]])


def rebuild_counter(counts: Any) -> Counter[Any]:
    """Rebuild a dict of counts."""
    expect(type(counts) is dict, "counts are in a dict")
    expect(all(isinstance(count, Number) for count in counts.values()), "counts are numbers")
    claim(sys.getsizeof(counts))
    return Counter(counts)


def set_attributes(obj: Any, state: Any) -> None:
    """Set the attributes of a dict that can be reordered: torch keeps the versions of modules in one."""
    expect(type(state) is dict, "attributes are a dict")
    for name in state:
        expect(type(name) is str and name.isidentifier() and name[:2] != "__", "an attribute has a name")
        expect(not hasattr(OrderedDict, name), "no attribute takes the place of a method")
    vars(obj).update(state)


def rebuild_uuid() -> UUID:
    """Return an identifier that gets its number with its state."""
    return UUID(int=0)


def set_uuid(obj: UUID, state: Any) -> None:
    """Set the number of an identifier."""
    expect(type(state) is dict and {"int"} <= state.keys() <= {"int", "is_safe"}, "an identifier has a number")
    number, safe = state["int"], state.get("is_safe")
    expect(type(number) is int and 0 <= number < 1 << 128, "the number of an identifier has 128 bits")
    expect(safe is None or type(safe) is int, "an identifier was made safely, or was not, or nobody knows")
    made = UUID(int=number, is_safe=SafeUUID(safe))
    for name in ("int", "is_safe"):
        object.__setattr__(obj, name, getattr(made, name))


# Memory


_BYTEORDERS: Final = frozenset({"little", "big"})
_NUMBERS: Final = frozenset("bhilqnBHILQNPfdc?")
_ARRAYS: Final = frozenset("bhilqBHILQfd")
_TYPECODES: Final = _ARRAYS | {"u", "w"}
_SIZES: Final = frozenset({1, 2, 4, 8})
_TEXTS: Final = {2: "utf-16", 4: "utf-32"}


def _check_elements(buffer: Any, itemsize: Any, byteorder: Any) -> None:
    expect(type(buffer) in _BUFFERS, "an array is made of bytes")
    expect(type(itemsize) is int and itemsize in _SIZES, "an element has 1, 2, 4 or 8 bytes")
    expect(type(byteorder) is str and byteorder in _BYTEORDERS, "bytes are in one order or the other")


def rebuild_memoryview(buffer: Any, code: Any, shape: Any, itemsize: Any, byteorder: Any) -> memoryview:
    """Rebuild a memoryview over a buffer, or over a copy if this platform orders bytes differently."""
    _check_elements(buffer, itemsize, byteorder)
    expect(type(code) is str and code in _NUMBERS, "a memoryview has the format of a number")
    expect(is_shape(shape) and 0 not in shape[1:] and max(shape, default=0) <= _MOST, "a memoryview has a shape")
    view = memoryview(buffer)
    expect(prod(shape) * itemsize == view.nbytes, "a memoryview has as many bytes as arrive")
    if view.nbytes == 0:
        claim(itemsize * prod(shape[1:]))
    if code == "?" or (byteorder != sys.byteorder and itemsize > 1):
        claim(view.nbytes)
    expect(code != "?" or not view.tobytes().strip(b"\0\1"), "a truth value is a byte of 0 or 1")
    return reducers.rebuild_memoryview(buffer, code, shape, itemsize, byteorder)


def rebuild_view(array: Any) -> memoryview:
    """Return a view of the memory of a numpy array."""
    numpy = sys.modules.get("numpy")
    expect(numpy is not None and type(array) is numpy.ndarray, "a memoryview is one of an array")
    expect(not array.dtype.hasobject, "a memoryview does not show the addresses of objects")
    return memoryview(array)


def rebuild_array(buffer: Any, typecode: Any, itemsize: Any, byteorder: Any) -> array.array[Any]:
    """Rebuild an array, which copies."""
    _check_elements(buffer, itemsize, byteorder)
    expect(type(typecode) is str and typecode in _TYPECODES, "an array is one of numbers or text")
    view = memoryview(buffer)
    expect(view.nbytes % itemsize == 0, "an array has whole elements")
    claim(view.nbytes)
    if typecode not in _ARRAYS:
        expect(itemsize in _TEXTS, "a character has 2 or 4 bytes")
        claim(view.nbytes * 2)
        str(view, f"{_TEXTS[itemsize]}-{byteorder[0]}e", "surrogatepass")  # to see whether they are characters
    return reducers.rebuild_array(buffer, typecode, itemsize, byteorder)


def rebuild_path(name: Any, path: Any) -> pathlib.PurePath:
    """Rebuild a path."""
    expect(type(name) is type(path) is str, "a path is a string")
    return reducers.rebuild_path(name, path)


# The tables


GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    **{f"builtins:{name}": None for name in _FACTORIES},
    "builtins:complex": rebuild_complex,
    "builtins:getattr": get_attribute,
    "builtins:memoryview": rebuild_view,
    "builtins:range": rebuild_range,
    "builtins:slice": rebuild_slice,
    "collections:Counter": rebuild_counter,
    "collections:OrderedDict": rebuild_ordered,
    "collections:defaultdict": rebuild_default,
    "collections:deque": rebuild_deque,
    "datetime:date": rebuild_date,
    "datetime:datetime": rebuild_datetime,
    "datetime:time": rebuild_time,
    "datetime:timedelta": rebuild_timedelta,
    "datetime:timezone": rebuild_timezone,
    "decimal:Decimal": rebuild_decimal,
    "fractions:Fraction": rebuild_fraction,
    "oobcodec.reducers.stdlib:rebuild_array": rebuild_array,
    "oobcodec.reducers.stdlib:rebuild_memoryview": rebuild_memoryview,
    "oobcodec.reducers.stdlib:rebuild_path": rebuild_path,
    "uuid:UUID": rebuild_uuid,
    "zoneinfo:ZoneInfo": None,
}

VALUES: Final[dict[str, Any]] = {"builtins:Ellipsis": ..., "builtins:NotImplemented": NotImplemented}
"""Names that are data themselves."""

TAKES_NAMES: Final = frozenset(("builtins:getattr", "collections:defaultdict"))

STATES: Final[dict[type, Callable[[Any, Any], None]]] = {OrderedDict: set_attributes, UUID: set_uuid}


def _rebuild_read_only(*arguments: Any) -> memoryview:
    return rebuild_memoryview(*arguments).toreadonly()


DEFAULT.frozen[rebuild_memoryview] = _rebuild_read_only
