import ml_dtypes
import numpy as np
import pytest
from helpers import transferred
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from oobcodec.codec import dumps
from oobcodec.errors import DecodeError
from oobcodec.reducers import numpy_dtypes as reducers


class Body(np.void):
    pass


INNER = np.dtype([("x", "u1"), ("y", "f8")], align=True)

DTYPES = [
    *(np.dtype(char).newbyteorder(order) for char in "?bBhHiIlLqQefdFDgGO" for order in "=S"),
    *map(np.dtype, ["S", "S5", "U", "U5", ">U5", "V", "V5", "M8", "M8[D]", ">M8[25us]", "m8[7W]", "m8"]),
    *(np.dtype(getattr(ml_dtypes, name)) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4")),
    np.dtype(ml_dtypes.bfloat16).newbyteorder(),
    np.dtype([]),
    np.dtype([("a", "i4"), ("b", "S3")]),
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    np.dtype([(("a title", "a"), "i4"), ("b", "f8")]),
    np.dtype({"names": ["a", "c"], "formats": ["i4", "M8[ns]"], "offsets": [4, 16], "itemsize": 40}),
    np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]}),
    np.dtype({"names": ["b", "a"], "formats": ["i4", "i4"], "offsets": [4, 0]}),
    np.dtype([("deep", INNER, (2, 3)), ("o", "O"), ("g", "g"), ("bf", ml_dtypes.bfloat16)]),
    np.dtype((np.record, [("a", "i4"), ("b", INNER)])),
    np.dtype((np.record, INNER)),
    np.dtype((Body, [("a", "i4")])),
    np.dtype((Body, 5)),
    np.dtype(("f4", (2, 3))),
    np.dtype((INNER, (4,))),
    np.dtype((np.int32, {"names": ["low", "high"], "formats": ["i2", "i2"], "offsets": [0, 2]})),
    np.dtype("f8", metadata={"unit": "m"}),
    np.dtype("f8", metadata={}),
    np.dtype("g", metadata={"unit": "m"}),
    np.dtype(ml_dtypes.bfloat16, metadata={"unit": "m"}),
    np.dtype(("f4", (2,)), metadata={"unit": ["m"]}),
    np.dtype([("a", np.dtype("i4", metadata={1: 2})), ("b", "f8")], metadata={"unit": np.float32(1)}),
    np.dtype(np.dtype((np.record, [("a", "i4")])), metadata={"unit": "m"}),
]


def assert_equal(actual, expected):
    assert actual == expected
    if expected.char in "qQ":  # an equal of int64, which is what arrives
        expected = np.dtype(expected.str)
    assert type(actual) is type(expected)
    for attribute in ("str", "char", "type", "itemsize", "alignment", "isalignedstruct", "names", "fields", "shape"):
        assert getattr(actual, attribute) == getattr(expected, attribute), attribute
    assert actual.metadata == expected.metadata
    if expected.subdtype is not None:
        assert_equal(actual.base, expected.base)
    for name in expected.names or ():
        assert_equal(actual[name], expected[name])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_arrives_with_all_that_belongs_to_it(dtype):
    assert_equal(transferred(dtype), dtype)
    assert_equal(transferred(np.zeros(3, dtype)).dtype, np.zeros(3, dtype).dtype)


@given(hnp.array_dtypes(allow_subarrays=True) | hnp.nested_dtypes() | hnp.scalar_dtypes())
@settings(max_examples=300)
def test_any_dtype_arrives(dtype):
    assert_equal(transferred(dtype), dtype)


@pytest.mark.parametrize("coerce", [True, False])
@pytest.mark.parametrize("na", [(), (None,), (np.nan,), (float("nan"),), ("NA",), (Body,)])
def test_dtypes_of_strings_of_any_length(coerce, na):
    dtype = np.dtypes.StringDType(coerce=coerce, **({"na_object": na[0]} if na else {}))
    back = transferred(dtype)
    assert back == dtype
    assert back.coerce is coerce
    assert hasattr(back, "na_object") == bool(na)
    if na:
        nan = isinstance(na[0], float)
        assert back.na_object is (np.nan if nan else na[0]) or back.na_object == "NA"


def test_one_dtype_of_many_arrays_travels_once():
    dtype = np.dtype([(f"a field with a long name {i}", "i4") for i in range(100)])
    one, many = dumps([np.zeros(1, dtype)]), dumps([np.zeros(1, dtype)] * 2 + [np.ones(1, dtype) for _ in range(20)])
    assert many[1].nbytes < one[1].nbytes + 20 * (dtype.itemsize + 50)


def test_a_name_is_enough_for_most():
    assert reducers.describe(np.dtype("M8[25s]")) == "<M8[25s]"
    assert reducers.describe(np.dtype("U5")) == np.dtype("U5").str
    for dtype in DTYPES:
        described = reducers.describe(dtype)
        if isinstance(described, str):
            assert_equal(np.dtype(described), dtype)


def test_what_is_unknown_here_is_named_with_the_version():
    version = np.__version__.replace(".", r"\.")
    with pytest.raises(DecodeError, match=rf"numpy {version} has no dtype '<f99'"):
        reducers.rebuild_dtype("<f99")
    with pytest.raises(DecodeError, match="bits of mantissa does not exist here"):
        reducers.rebuild_extended_dtype("<f16", 7)


def test_a_numpy_without_strings_of_any_length_is_named(monkeypatch):
    monkeypatch.delattr(np.dtypes, "StringDType")
    with pytest.raises(DecodeError, match=r"numpy .* has no StringDType: install numpy 2"):
        reducers.rebuild_string_dtype(1)


def test_a_dtype_that_only_numpy_knows_goes_numpys_way():
    scaled = np._core._multiarray_umath._get_sfloat_dtype()(2.0)
    assert reducers.reduce_dtype(scaled)[0] not in vars(reducers).values()


@pytest.mark.parametrize(
    ("dtype", "runs"),
    [
        ("f8", ((0, 8),)),
        ("V0", ()),
        ([], ()),
        ([("a", "i4"), ("b", "i4")], ((0, 8),)),
        (INNER, ((0, 1), (8, 16))),
        ((INNER, (2,)), ((0, 1), (8, 17), (24, 32))),
        ((np.dtype("i4"), (3,)), ((0, 12),)),
        ({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]}, ((0, 4),)),
        ({"names": ["b", "a"], "formats": ["i4", "i4"], "offsets": [6, 0], "itemsize": 12}, ((0, 4), (6, 10))),
        ((np.int32, {"names": ["low", "high"], "formats": ["i2", "i2"], "offsets": [0, 2]}), ((0, 4),)),
        ([("pad", "V3"), ("empty", "S0"), ("in", INNER)], ((0, 4), (11, 19))),
    ],
    ids=str,
)
def test_which_bytes_hold_data(dtype, runs):
    assert reducers.runs(np.dtype(dtype)) == runs
