import array
import datetime as dt
import sys
import warnings
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from uuid import UUID, SafeUUID

import numpy as np
import pytest
from helpers import run_python

import oobcodec
from oobcodec.context import DEFAULTS, LOADING
from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards import stdlib
from oobcodec.limits import FOR_DATA, Budget
from oobcodec.names import Name
from oobcodec.registry import DEFAULT

LIST, ZONE = Name("builtins", "list"), Name("zoneinfo", "ZoneInfo")
OTHER = "big" if sys.byteorder == "little" else "little"


def attributed():
    one = OrderedDict(a=1)
    one._metadata = {"version": 2}
    return one


def characters():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which Python 3.13 has for the typecode
        return array.array("u", "schön \U0001f40d")


MADE = {
    "complex": lambda: complex(-0.0, 3),
    "truth": lambda: [..., NotImplemented],
    "range": lambda: [range(5), range(10, -10, -3)],
    "slice": lambda: [slice(None), slice(1, None, 2), slice("a", b"b", 1.5), slice(dt.date(1, 2, 3), Decimal(1), 1j)],
    "slice of numpy's": lambda: slice(np.float64(1), np.datetime64("2020-01-01"), np.str_("x")),
    "decimals": lambda: [
        Decimal(text) for text in ("1.10", "-0", "1E-7", "1E+999999999", "-Infinity", "sNaN12", "NaN")
    ],
    "fractions": lambda: [Fraction(-22, 7), Fraction(3), Fraction(0)],
    "dates": lambda: [dt.date.min, dt.date.max, dt.date(2024, 2, 29)],
    "times": lambda: [dt.time.min, dt.time.max, dt.time(1, 2, 3, 4, dt.UTC, fold=1)],
    "moments": lambda: [
        dt.datetime.fromisoformat("0001-01-01"),
        dt.datetime.fromisoformat("9999-12-31T23:59:59.999999"),
        dt.datetime(2024, 10, 27, 2, 30, tzinfo=dt.UTC, fold=1),
    ],
    "durations": lambda: [dt.timedelta.min, dt.timedelta.max, dt.timedelta(-1, 2, 3)],
    "time zones": lambda: [dt.timezone(dt.timedelta(hours=-5), "EST"), dt.timezone.min, dt.timezone.max],
    "deques": lambda: [deque([1, 2], maxlen=3), deque("abc"), deque(maxlen=0)],
    "ordered dict": lambda: OrderedDict(b=1, a=2),
    "defaultdicts": lambda: [defaultdict(list, a=[1]), defaultdict(None, a=1), defaultdict(complex), defaultdict(set)],
    "counter": lambda: Counter(a=3, b=-1, c=0.5, d=Decimal(1)),
    "identifiers": lambda: [UUID(int=0), UUID(int=(1 << 128) - 1), UUID(int=5, is_safe=SafeUUID.unsafe)],
    "arrays": lambda: [array.array(code, [1, 2, 3]) for code in "bBhHiIlLqQfd"] + [array.array("d")],
    "text": characters,
    "paths": lambda: [PurePosixPath("/a/\udcff"), PureWindowsPath("c:/d")],
}


def loads(obj):
    return oobcodec.loads([bytearray(frame) for frame in oobcodec.dumps(obj)], policy=oobcodec.DATA)


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_data_arrives_as_it_left(make):
    sent, got = make(), loads(make())
    assert repr(got) == repr(sent)
    assert type(got) is type(sent)


def test_the_one_of_utc_arrives():
    assert loads(dt.UTC) is dt.UTC


def test_zones_of_the_database_arrive():
    assert loads(zoneinfo.ZoneInfo("UTC")) is zoneinfo.ZoneInfo("UTC")
    own = loads(zoneinfo.ZoneInfo.no_cache("America/Argentina/Buenos_Aires"))
    assert own is not zoneinfo.ZoneInfo("America/Argentina/Buenos_Aires")
    assert own.key == "America/Argentina/Buenos_Aires"


def test_attributes_of_an_ordered_dict_arrive():
    assert loads(attributed())._metadata == {"version": 2}


@pytest.mark.parametrize("data", [bytearray(range(48)), bytes(48)])
@pytest.mark.parametrize(("code", "shape"), [("B", (48,)), ("d", (2, 3)), ("?", (0,)), ("h", (24, 1)), ("b", (0,))])
def test_memoryviews_arrive(data, code, shape):
    view = memoryview(data)[: 0 if 0 in shape else 48].cast("B").cast(code, shape) if shape[0] else memoryview(data)[:0]
    got = loads(view)
    assert (got.format, got.shape, got.readonly, got.tobytes()) == (
        view.format,
        view.shape,
        view.readonly,
        view.tobytes(),
    )


def test_memoryviews_with_gaps_arrive():
    view = memoryview(bytearray(range(256)))[::-3]
    assert loads(view).tolist() == view.tolist()


def test_memoryview_of_the_other_byte_order():
    data = np.arange(3, dtype="i4").byteswap().tobytes()
    assert stdlib.rebuild_memoryview(data, "i", (3,), 4, OTHER).tolist() == [0, 1, 2]


def test_truth_values_in_a_memoryview():
    assert stdlib.rebuild_memoryview(b"\0\1", "?", (2,), 1, "big").tolist() == [False, True]


def test_array_of_the_other_byte_order():
    data = np.arange(3, dtype="i4").byteswap().tobytes()
    assert stdlib.rebuild_array(data, "i", 4, OTHER) == array.array("i", range(3))


def test_memoryview_is_read_only_where_all_is_to_be():
    frozen = DEFAULT.frozen[stdlib.rebuild_memoryview]
    assert frozen(bytearray(4), "B", (4,), 1, "little").readonly


def test_fractions_in_both_forms():
    assert stdlib.rebuild_fraction("-22/7") == stdlib.rebuild_fraction(-22, 7) == Fraction(-22, 7)
    assert stdlib.rebuild_fraction("5") == 5


def test_decimals_are_not_rounded():
    assert str(stdlib.rebuild_decimal("1" * 5000)) == "1" * 5000


HOSTILE = [
    (stdlib.rebuild_complex, (1, 1.0)),
    (stdlib.rebuild_complex, ("1", "2")),
    (stdlib.rebuild_decimal, (1,)),
    (stdlib.rebuild_decimal, ("1_000",)),
    (stdlib.rebuild_decimal, ("\u0661",)),
    (stdlib.rebuild_decimal, (" 1",)),
    (stdlib.rebuild_decimal, ("",)),
    (stdlib.rebuild_decimal, ("1" * 70_000,)),
    (stdlib.rebuild_decimal, ("1E" + "9" * 21,)),
    (stdlib.rebuild_fraction, ("1e999999999",)),
    (stdlib.rebuild_fraction, ("1/2/3",)),
    (stdlib.rebuild_fraction, ("1/2", 3)),
    (stdlib.rebuild_fraction, (0.5,)),
    (stdlib.rebuild_fraction, (1, True)),
    (stdlib.rebuild_fraction, (1 << 20_000, 3)),
    (stdlib.rebuild_range, (5,)),
    (stdlib.rebuild_range, (0, 5.0, 1)),
    (stdlib.rebuild_range, (0, True, 1)),
    (stdlib.rebuild_range, (0, 1 << 20_000, 1)),
    (stdlib.rebuild_slice, (1,)),
    (stdlib.rebuild_slice, (slice(1), None, None)),
    (stdlib.rebuild_slice, (None, [1], None)),
    (stdlib.rebuild_slice, (None, None, np.array([None]))),
    (stdlib.rebuild_slice, (None, None, np.zeros((), [("a", "O")])[()])),
    (stdlib.rebuild_date, ("2024",)),
    (stdlib.rebuild_date, (b"\x07\xe8\x02",)),
    (stdlib.rebuild_time, (b"\0" * 5,)),
    (stdlib.rebuild_time, (bytearray(6),)),
    (stdlib.rebuild_time, (b"\0" * 6, "UTC")),
    (stdlib.rebuild_datetime, (b"\0" * 9,)),
    (stdlib.rebuild_datetime, (b"\x07\xe8\x01\x01" + b"\0" * 6, 3600)),
    (stdlib.rebuild_timedelta, (1,)),
    (stdlib.rebuild_timedelta, (1, 2, 3.0)),
    (stdlib.rebuild_timedelta, (10**100, 0, 0)),
    (stdlib.rebuild_timedelta, (0, 86_400, 0)),
    (stdlib.rebuild_timedelta, (0, 0, -1)),
    (stdlib.rebuild_timezone, (3600,)),
    (stdlib.rebuild_timezone, (dt.timedelta(1), 5)),
    (stdlib.rebuild_timezone, (dt.timedelta(0), "a", "b")),
    (stdlib.rebuild_zone, (b"UTC", 1)),
    (stdlib.rebuild_zone, ("../../etc/localtime", 1)),
    (stdlib.rebuild_zone, ("/etc/localtime", 1)),
    (stdlib.rebuild_zone, ("a.b", 1)),
    (stdlib.rebuild_zone, ("UTC\n", 1)),
    (stdlib.rebuild_zone, ("UTC\0", 1)),
    (stdlib.rebuild_zone, ("UTC", None)),
    (stdlib.get_attribute, (ZONE, "from_file")),
    (stdlib.get_attribute, (Name("os", "path"), "_unpickle")),
    (stdlib.get_attribute, (Name("builtins", "list"), "__class__")),
    (stdlib.get_attribute, (zoneinfo.ZoneInfo, "_unpickle")),
    (stdlib.get_attribute, ("zoneinfo", "ZoneInfo")),
    (stdlib.rebuild_deque, ([1],)),
    (stdlib.rebuild_deque, ((1,),)),
    (stdlib.rebuild_deque, ((), -1)),
    (stdlib.rebuild_deque, ((), True)),
    (stdlib.rebuild_default, (list,)),
    (stdlib.rebuild_default, (Name("builtins", "eval"),)),
    (stdlib.rebuild_default, (Name("collections", "list"),)),
    (stdlib.rebuild_default, ("list",)),
    (stdlib.rebuild_default, (lambda: 1,)),
    (stdlib.rebuild_counter, ([("a", 1)],)),
    (stdlib.rebuild_counter, (OrderedDict(a=1),)),
    (stdlib.rebuild_counter, ({"a": []},)),
    (stdlib.rebuild_memoryview, ([1], "B", (1,), 1, "little")),
    (stdlib.rebuild_memoryview, (b"12", "B", (3,), 1, "little")),
    (stdlib.rebuild_memoryview, (b"12", "B", (1 << 63, 0), 1, "little")),
    (stdlib.rebuild_memoryview, (b"", "B", (0, 1 << 63), 1, "little")),
    (stdlib.rebuild_memoryview, (b"12", "B", [2], 1, "little")),
    (stdlib.rebuild_memoryview, (b"12", "B", (2,), True, "little")),
    (stdlib.rebuild_memoryview, (b"12", "B", (2,), 3, "little")),
    (stdlib.rebuild_memoryview, (b"12", "B", (2,), 8, "little")),
    (stdlib.rebuild_memoryview, (b"12", "B", (2,), 1, "middle")),
    (stdlib.rebuild_memoryview, (b"12", "BB", (1,), 2, "little")),
    (stdlib.rebuild_memoryview, (b"12", "O", (2,), 1, "little")),
    (stdlib.rebuild_memoryview, (b"12", "d", (2,), 1, "little")),
    (stdlib.rebuild_memoryview, (b"\0\2", "?", (2,), 1, "little")),
    (stdlib.rebuild_view, (b"12",)),
    (stdlib.rebuild_view, (np.array([None]),)),
    (stdlib.rebuild_view, (np.ma.masked,)),
    (stdlib.rebuild_array, ("12", "B", 1, "little")),
    (stdlib.rebuild_array, (b"12", "bh", 1, "little")),
    (stdlib.rebuild_array, (b"12", "P", 8, "little")),
    (stdlib.rebuild_array, (b"12", "", 1, "little")),
    (stdlib.rebuild_array, (b"123", "h", 2, "little")),
    (stdlib.rebuild_array, (b"12345678", "u", 8, "little")),
    (stdlib.rebuild_path, ("PurePosixPath", b"/")),
    (stdlib.rebuild_path, (1, "/")),
    (stdlib.set_attributes, (OrderedDict(), ({"a": 1},))),
    (stdlib.set_attributes, (OrderedDict(), {"items": 1})),
    (stdlib.set_attributes, (OrderedDict(), {"__class__": 1})),
    (stdlib.set_attributes, (OrderedDict(), {1: 1})),
    (stdlib.set_uuid, (UUID(int=0), {})),
    (stdlib.set_uuid, (UUID(int=0), {"int": 1, "hex": 2})),
    (stdlib.set_uuid, (UUID(int=0), {"int": "1"})),
    (stdlib.set_uuid, (UUID(int=0), {"int": 1, "is_safe": "yes"})),
    (stdlib.set_uuid, (UUID(int=0), None)),
]


@pytest.mark.parametrize(("guard", "arguments"), HOSTILE)
def test_what_no_reducer_sends_is_refused(guard, arguments):
    with pytest.raises(DecodeError):
        guard(*arguments)


@pytest.mark.parametrize(
    ("guard", "arguments", "error"),
    [
        (stdlib.rebuild_decimal, ("1E" + "9" * 20,), ArithmeticError),
        (stdlib.rebuild_fraction, (1, 0), ZeroDivisionError),
        (stdlib.rebuild_fraction, ("1" * 5000,), ValueError),
        (stdlib.rebuild_range, (1, 2, 0), ValueError),
        (stdlib.rebuild_date, (b"\x07\xe8\x0d\x01",), ValueError),
        (stdlib.rebuild_time, (b"\x18\0\0\0\0\0",), ValueError),
        (stdlib.rebuild_time, (b"\0\0\0\xff\xff\xff",), ValueError),
        (stdlib.rebuild_datetime, (b"\0" * 10,), ValueError),
        (stdlib.rebuild_timezone, (dt.timedelta(2),), ValueError),
        (stdlib.rebuild_zone, ("Europe/Nowhere", 1), zoneinfo.ZoneInfoNotFoundError),
        (stdlib.rebuild_path, ("Path", "/"), KeyError),
        (stdlib.set_uuid, (UUID(int=0), {"int": 1 << 128}), DecodeError),
        (stdlib.set_uuid, (UUID(int=0), {"int": 1, "is_safe": 7}), ValueError),
        (stdlib.rebuild_array, (b"\xff" * 4, "u", 4, "little"), UnicodeDecodeError),
        (stdlib.rebuild_default, (("builtins", []),), TypeError),
    ],
)
def test_what_python_itself_refuses(guard, arguments, error):
    with pytest.raises(error):
        guard(*arguments)


def again_and_again(guard, *arguments):
    for _ in range(1000):
        guard(*arguments)


@pytest.mark.parametrize(
    ("guard", "arguments", "limit"),
    [
        (stdlib.rebuild_memoryview, (b"", "d", (0, 1 << 40), 8, "little"), "max_decompressed_bytes"),
        (stdlib.rebuild_counter, (dict.fromkeys(range(1000), 1),), "max_ratio"),
        (stdlib.rebuild_array, (bytes(100_000), "B", 1, "little"), "max_ratio"),
        (stdlib.rebuild_memoryview, (bytes(100_000), "h", (50_000,), 2, OTHER), "max_ratio"),
        (stdlib.rebuild_zone, ("UTC", 1), "max_operations"),
        (stdlib.rebuild_fraction, ((1 << 13_000) + 1, (1 << 13_000) - 1), "max_operations"),
    ],
)
def test_what_is_done_again_and_again_is_limited(guard, arguments, limit):
    limits = replace(FOR_DATA, max_operations=1000)
    token = LOADING.set(DEFAULTS._replace(budget=Budget(limits)))
    try:
        with pytest.raises(LimitError, match=limit):
            again_and_again(guard, *arguments)
    finally:
        LOADING.reset(token)


def test_the_number_of_an_identifier_is_set_on_that_one():
    one = stdlib.rebuild_uuid()
    stdlib.set_uuid(one, {"int": 7, "is_safe": 0})
    assert (one, one.is_safe) == (UUID(int=7), SafeUUID.safe)


def test_nothing_of_numpy_is_needed_for_python_s_own():
    code = """
        import sys
        from oobcodec.errors import DecodeError
        from oobcodec.guards import stdlib
        for guard, *arguments in [(stdlib.rebuild_slice, object(), 2, None), (stdlib.rebuild_view, object())]:
            try:
                guard(*arguments)
            except DecodeError:
                print("refused")
        print("numpy" in sys.modules)
    """
    assert run_python(code).split() == [b"refused", b"refused", b"False"]
