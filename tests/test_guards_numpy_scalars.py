import warnings

import numpy as np
import pytest

from oobcodec.context import DEFAULTS, LOADING
from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards import numpy_scalars as scalars
from oobcodec.limits import FOR_DATA, Budget

EIGHT = bytes(64)
NOT_TEXT = b"\xff\xff\xff\x7f" * 16
OBJECTS = np.dtype([("n", "i4"), ("o", "O")])
RECORDS = np.dtype([("a", "i4"), ("b", [("c", "f8", (2,))])])


@pytest.mark.parametrize("char", "bBhHiIlLqQefdFDSUV")
def test_each_type_has_a_guard(char):
    cls = np.dtype(char).type
    values = {"e": 65504.0, "f": float("inf"), "d": -0.0, "F": 1 + 2j, "D": 1j, "S": b"a", "V": b"abc", "U": "\udc80"}
    value = values.get(char, 100)
    got = scalars.GUARDS[f"{cls.__module__}:{cls.__name__}"](value)
    assert type(got) is cls
    assert got == cls(value)


def test_what_is_not_a_number_is_one():
    assert np.isnan(scalars.GUARDS["numpy:float16"](float("nan")))


def test_scalars_of_other_types():
    assert scalars.rebuild_bool(value=True) is np.bool_(1)
    assert scalars.rebuild_scalar("<M8[D]", bytes(8)) == np.datetime64("1970-01-01")
    record = scalars.rebuild_void(RECORDS, bytes(20))
    record["a"] = 5
    assert record["a"] == 5
    one = np.ones((), RECORDS)
    assert scalars.rebuild_element(one) == one[()]


def again_and_again(guard, *arguments):
    for _ in range(100):
        guard(*arguments)


@pytest.mark.parametrize(
    ("guard", "arguments"),
    [
        (scalars.GUARDS["numpy:str_"], ("a" * 100_000,)),
        (scalars.GUARDS["numpy:void"], (bytes(100_000),)),
        (scalars.rebuild_void, (np.dtype([("a", "V100000")]), bytes(100_000))),
    ],
)
def test_copies_are_limited(guard, arguments):
    token = LOADING.set(DEFAULTS._replace(budget=Budget(FOR_DATA)))
    try:
        with pytest.raises(LimitError, match="max_ratio"):
            again_and_again(guard, *arguments)
    finally:
        LOADING.reset(token)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int8", 128),
        ("int8", -129),
        ("uint8", -1),
        ("uint64", 1 << 64),
        ("int64", True),
        ("int64", 1.0),
        ("int64", "1"),
        ("float64", 1),
        ("float64", "1"),
        ("float64", [1.0]),
        ("float32", 1e300),
        ("float16", -65536.0),
        ("complex64", 1.0),
        ("complex64", complex(1e300, 0)),
        ("complex64", complex(0, 1e300)),
        ("str_", b"a"),
        ("bytes_", "a"),
        ("bytes_", 1 << 40),
        ("void", 1 << 40),
        ("void", bytearray(3)),
    ],
)
def test_scalars_are_values_of_their_types(name, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DecodeError):
            scalars.GUARDS[f"numpy:{name}"](value)


@pytest.mark.parametrize(
    ("guard", "arguments"),
    [
        (scalars.rebuild_bool, (1,)),
        (scalars.rebuild_bool, (None,)),
        (scalars.rebuild_scalar, ("|O", EIGHT[:8])),
        (scalars.rebuild_scalar, (OBJECTS, EIGHT[:12])),
        (scalars.rebuild_scalar, (RECORDS, EIGHT[:20])),
        (scalars.rebuild_scalar, ("<M8[s]", EIGHT)),
        (scalars.rebuild_scalar, ("<M8[s]", EIGHT[:7])),
        (scalars.rebuild_scalar, ("<M8[s]", bytearray(8))),
        (scalars.rebuild_scalar, ("<M8", b"\1" * 8)),
        (scalars.rebuild_scalar, ("<U2", NOT_TEXT[:8])),
        (scalars.rebuild_scalar, ("|V0", b"")),
        (scalars.rebuild_scalar, (None, EIGHT[:8])),
        (scalars.rebuild_void, (OBJECTS, EIGHT[:12])),
        (scalars.rebuild_void, ("<f8", EIGHT[:8])),
        (scalars.rebuild_void, (RECORDS, EIGHT[:21])),
        (scalars.rebuild_void, (np.dtype([("b", "?")]), b"\2")),
        (scalars.rebuild_element, (np.zeros(3, RECORDS),)),
        (scalars.rebuild_element, (np.zeros(()),)),
        (scalars.rebuild_element, (np.ma.masked,)),
        (scalars.rebuild_element, (3,)),
    ],
)
def test_scalars_consist_of_as_many_bytes_as_their_types(guard, arguments):
    with pytest.raises(DecodeError):
        guard(*arguments)
