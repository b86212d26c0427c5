import ml_dtypes
import numpy as np
import pytest
from helpers import SECRET, holds_secret, transferred

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError
from oobcodec.reducers import numpy_scalars as reducers


class Length(np.float64):
    pass


class Half(np.float16):
    __slots__ = ()


class Long(np.longdouble):
    __slots__ = ()


@pytest.mark.parametrize(
    "scalar",
    [
        *(np.dtype(char).type(3) for char in "bBhHiIlLqQefdFDgG"),
        np.bool_(1),
        np.bool_(0),
        np.float32("nan"),
        np.float64("-0.0"),
        np.float16("inf"),
        np.int64(-(2**63)),
        np.uint64(2**64 - 1),
        np.longdouble("1.1"),
        np.complex128(complex("nan-0j")),
        np.str_("a\0"),
        np.str_(""),
        np.bytes_(b"a\0"),
        np.bytes_(b""),
        np.datetime64("2020-01-01T00:00", "25s"),
        np.datetime64("NaT", "s"),
        np.array([-(2**63)]).view("M8")[0],  # NaT without a unit, which numpy 2.5 refuses to make
        np.datetime64("NaT", "ns"),
        np.timedelta64(3, "D"),
        np.array([-(2**63)]).view("m8")[0],
        np.void(b"a\0b\0"),
        np.void(b""),
        np.zeros(2, "i4,f8")[1],
        np.zeros(2, ">i4,S3")[1],
        np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0],
        ml_dtypes.bfloat16(1.5),
        ml_dtypes.float8_e4m3fn(2),
        ml_dtypes.int4(-3),
        ml_dtypes.uint4(3),
    ],
    ids=lambda scalar: f"{type(scalar).__name__}-{scalar}",
)
def test_scalars_keep_type_and_value(scalar):
    back, again = transferred([scalar, scalar])
    assert back is again
    assert type(back) is type(scalar)
    assert back.dtype == scalar.dtype
    assert back.tobytes() == scalar.tobytes()
    if isinstance(scalar, str | bytes):
        assert len(back) == len(scalar)


def test_a_structured_scalar_is_one_element_without_holes():
    table = np.full(1000, SECRET, [("a", "u8"), ("b", "u8"), ("c", "u8")])
    table["a"] = table["c"] = 1
    scalar = table[["a", "c"]][5]
    frames = dumps(scalar)
    assert not holds_secret(frames)
    assert frames[1].nbytes < 500
    back = loads(frames)
    assert back == scalar
    back["a"] = 9
    assert back["a"] == 9
    assert table["a"][5] == 1
    dense = transferred(table[5])
    dense["b"] = 3
    assert dense.tolist() == (1, 3, 1)
    held = np.zeros(1, "i4,O")[0]
    held[1] = [1]
    assert transferred(held)[1] == [1]


def test_scalars_of_derived_classes():
    length = Length(2.5)
    length.unit = "m"
    back = transferred(length)
    assert type(back) is Length
    assert back == 2.5
    assert back.unit == "m"
    derived = [Length(1), Half(2), Long("1.1")]
    bare = transferred(derived)
    assert [type(scalar) for scalar in bare] == [Length, Half, Long]
    assert bare == derived


def test_a_bool_is_the_one_that_numpy_has():
    assert transferred(np.bool_(1)) is np.True_


def test_an_unknown_dtype_is_named():
    with pytest.raises(DecodeError, match=r"has no dtype '<Z3'"):
        reducers.rebuild_scalar("<Z3", b"abc")


def test_many_scalars_of_a_type_name_it_once():
    for make in (np.float64, np.bool_, ml_dtypes.bfloat16, lambda i: np.datetime64(i, "ns"), np.longdouble):
        frames = dumps([make(i) for i in range(1000)])
        assert frames[1].nbytes < 40_000
