import ml_dtypes
import numpy as np
import pytest

import oobcodec
from oobcodec.context import DEFAULTS, LOADING
from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards import numpy_dtypes as dtypes
from oobcodec.limits import FOR_DATA, Budget
from oobcodec.names import Name
from oobcodec.reducers.numpy_dtypes import reduce_dtype

PAIR = np.dtype([("a", "<i4"), ("b", "<f8")])
OBJECTS = np.dtype([("n", "<i4"), ("o", "O")])
MANTISSA = int(np.finfo("g").nmant)
NAMED = [
    *[np.dtype(char).newbyteorder(order) for char in "?bBhHiIlLqQefdFD" for order in "<>"],
    *map(
        np.dtype, ("S0", "S12", "U0", "<U3", ">U4", "V8", "V0", "O", "M8", "m8", ">M8[7D]", "<m8[25as]", "M8[generic]")
    ),
    np.dtype("<f8", metadata={"unit": "m"}),
]
OTHERS = [
    np.dtype("g"),
    np.dtype("G").newbyteorder("S"),
    np.dtype(("<f8", (2, 3))),
    np.dtype((np.dtype(("<f8", (2,))), (3,))),
    np.dtype(("<f8", (0, 3))),
    np.dtype([("p", "<f8", (3,)), ("in", PAIR), ("t", "U3")], metadata={"a": 1}),
    np.dtype({"names": ["a"], "formats": ["<f4"], "offsets": [4], "titles": ["A"], "itemsize": 12}),
    np.dtype({"names": ["a", "b"], "formats": ["<f4", "V4"], "offsets": [0, 0], "titles": [None, "A"]}),
    np.dtype([("a", "?"), ("b", "<f8")], align=True),
    np.dtype((np.record, PAIR)),
    np.dtype((np.int32, {"low": ("i2", 0), "high": ("i2", 2)})),
    np.dtype([]),
    OBJECTS,
    np.dtype([("o", "O"), ("in", OBJECTS, (2,))]),
    np.dtype(ml_dtypes.bfloat16),
    np.dtype(ml_dtypes.int4),
]


@pytest.mark.parametrize("dtype", [*NAMED, *OTHERS], ids=repr)
def test_dtypes_arrive_as_they_left(dtype):
    got = oobcodec.loads(oobcodec.dumps(dtype), policy=oobcodec.DATA)
    assert got == dtype
    assert (got.str, got.metadata) == (dtype.str, dtype.metadata)
    assert got.type is dtype.type or dtype.kind in "iu"  # of two types in C that are one size
    assert (got.isalignedstruct, got.hasobject) == (dtype.isalignedstruct, dtype.hasobject)


@pytest.mark.parametrize("dtype", NAMED, ids=repr)
def test_strings_of_reducers_are_known(dtype):
    _, (name, _) = reduce_dtype(dtype)
    assert dtypes.element(name) == dtype


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="this numpy has no StringDType")
@pytest.mark.parametrize("arguments", [(True,), (False, None), (True, "none"), (True, float("nan"))])
def test_dtypes_of_strings_arrive(arguments):
    dtype = dtypes.rebuild_string_dtype(*arguments)
    assert dtype.coerce is arguments[0]
    assert hasattr(dtype, "na_object") == (len(arguments) == 2)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="this numpy has no StringDType")
def test_strings_may_be_missing_as_in_pandas():
    pandas = pytest.importorskip("pandas")
    assert dtypes.rebuild_string_dtype(True, pandas.NA).na_object is pandas.NA  # noqa: FBT003  # by position


@pytest.mark.parametrize(
    "arguments", [(1,), (None,), (True, None, None), (True, [1]), (True, b"none"), (True, {"a": 1})]
)
def test_missing_strings_are_plain(arguments):
    with pytest.raises(DecodeError):
        dtypes.rebuild_string_dtype(*arguments)


NO_NAMES = [
    *("", "f8", "<f8 ", "<f8\n", "<f8,<f8", "(2,)<f8", "O", "|O8", "object", "T", "datetime64[s]", "<c64", "{'a': 1}"),
    *(
        "<M8[0s]",
        "<M8[-1s]",
        "<M8[s/3]",
        "<M8[9999999999s]",
        "<M8[x]",
        "|S-1",
        "|S99999999999",
        "<U٣",
        "S8",
        "=f8",
        "<f16",
    ),
]


@pytest.mark.parametrize("name", [*NO_NAMES, None, 8, b"<f8", ["<f8"], ("<f8",), float])
def test_other_strings_are_refused(name):
    with pytest.raises(DecodeError):
        dtypes.element(name)
    with pytest.raises(DecodeError):
        dtypes.rebuild_dtype(name)


@pytest.mark.parametrize("dtype", ["<f8", "<M8[s]", PAIR])
def test_dtypes_of_what_lies_in_a_buffer(dtype):
    assert dtypes.element_in_memory(dtype) == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["|O", OBJECTS, "|V0", "|S0", "O", np.dtype(("<f8", (2,)))])
def test_no_objects_lie_in_a_buffer_and_no_elements_without_bytes(dtype):
    with pytest.raises(DecodeError):
        dtypes.element_in_memory(dtype)


@pytest.mark.parametrize("name", ["|S2147483648", "|V9999999999", "<U999999999", "<U536870912"])
def test_elements_are_not_larger_than_numpy_counts(name):
    with pytest.raises(DecodeError, match="numpy counts"):
        dtypes.element(name)


@pytest.mark.parametrize("metadata", [[], "a", 3, [("a", 1)]])
@pytest.mark.parametrize(
    ("guard", "arguments"),
    [
        (dtypes.rebuild_dtype, ("<f8",)),
        (dtypes.rebuild_extended_dtype, (np.dtype("g").str, MANTISSA)),
        (dtypes.rebuild_subarray_dtype, ("<f8", (2,))),
        (dtypes.rebuild_custom_dtype, (Name("ml_dtypes", "int4"),)),
        (dtypes.rebuild_structured_dtype, ((("a",), ["<f4"], [0], None), 8, False, None)),
    ],
)
def test_metadata_is_a_dict(guard, arguments, metadata):
    guard(*arguments, {"a": 1})
    with pytest.raises(DecodeError):
        guard(*arguments, metadata)


@pytest.mark.parametrize(
    "arguments",
    [("<f4", 23), ("|O", MANTISSA), ("<i16", MANTISSA), (None, MANTISSA), ("<f16", True), ("<f16", -1), ("<f16", 5)],
)
def test_long_doubles_have_their_string(arguments):
    with pytest.raises(DecodeError):
        dtypes.rebuild_extended_dtype(*arguments)


FIELDS = (("a", "b"), ["<f4", "<i8"], [0, 8], None)


def changed(place, value):
    return tuple(value if index == place else part for index, part in enumerate(FIELDS))


@pytest.mark.parametrize(
    ("fields", "others"),
    [
        (list(FIELDS), (16, False, None)),
        (FIELDS[:3], (16, False, None)),
        (changed(0, "ab"), (16, False, None)),
        (changed(0, ("a",)), (16, False, None)),
        (changed(0, ("a", 1)), (16, False, None)),
        (changed(1, ["<f4"]), (16, False, None)),
        (changed(1, ["<f4", "<f8,<f8"]), (16, False, None)),
        (changed(1, ["<f4", None]), (16, False, None)),
        (changed(2, [0]), (16, False, None)),
        (changed(2, [0, -8]), (16, False, None)),
        (changed(2, [0, 9]), (16, False, None)),
        (changed(2, [0, 1 << 40]), (16, False, None)),
        (changed(2, [0, 1 << 64]), (16, False, None)),
        (changed(2, [0, True]), (16, False, None)),
        (changed(2, [0, 8.0]), (16, False, None)),
        (changed(2, "08"), (16, False, None)),
        (changed(3, ("A", "B")), (16, False, None)),
        (changed(3, ["A"]), (16, False, None)),
        (changed(3, ["A", 1]), (16, False, None)),
        (FIELDS, (15, False, None)),
        (FIELDS, (-16, False, None)),
        (FIELDS, (1 << 31, False, None)),
        (FIELDS, (16.0, False, None)),
        (FIELDS, (16, 0, None)),
        (FIELDS, (16, False, Name("numpy", "ndarray"))),
        (FIELDS, (16, False, "record")),
        (FIELDS, (16, False, "|O")),
        (FIELDS, (16, False, "<U4")),
        (FIELDS, (16, False, "<f8")),
        (FIELDS, (16, False, 16)),
        # objects
        (changed(1, ["|O", "<i8"]), (16, False, "<c16")),
        ((("a", "b"), ["|O", "<i8"], [0, 0], None), (16, False, None)),
        ((("a", "b"), ["|O", "|O"], [0, 4], None), (16, False, None)),
        ((("b", "a"), ["<i8", "|O"], [4, 0], None), (16, False, None)),
        ((("a", "b"), [OBJECTS, "<i8"], [0, 11], None), (20, False, None)),
    ],
)
def test_fields_lie_in_their_structure_and_objects_alone(fields, others):
    with pytest.raises(DecodeError):
        dtypes.rebuild_structured_dtype(fields, *others, None)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="this numpy has no StringDType")
def test_no_strings_of_any_length_lie_in_a_structure():
    strings = dtypes.rebuild_string_dtype(True)  # noqa: FBT003  # by position
    with pytest.raises(DecodeError):
        dtypes.rebuild_structured_dtype((("a",), [strings], [0], None), 16, False, None, None)  # noqa: FBT003
    with pytest.raises(DecodeError):
        dtypes.rebuild_subarray_dtype(strings, (2,), None)


@pytest.mark.parametrize(("names", "titles"), [(("a", "a"), None), (("a", "b"), ["b", None]), (("a", "b"), ["A", "A"])])
def test_numpy_tells_fields_apart_by_their_names(names, titles):
    with pytest.raises(ValueError, match=r"used|twice|occurs"):
        dtypes.rebuild_structured_dtype((names, ["<f4", "<f4"], [0, 4], titles), 8, False, None, None)  # noqa: FBT003


@pytest.mark.parametrize(
    "arguments",
    [
        ("<f8,<f8", (2,)),
        ("<f8", 2),
        ("<f8", [2]),
        ("<f8", (-2,)),
        ("<f8", (True,)),
        ("<f8", (1 << 29,)),
        ("<f8", (1 << 40, 1 << 40)),
        ("|V0", (1 << 31,)),
        ("<f8", (1,) * 65),
        (None, (2,)),
    ],
)
def test_an_array_in_an_element_is_not_too_large(arguments):
    with pytest.raises(DecodeError):
        dtypes.rebuild_subarray_dtype(*arguments, None)


@pytest.mark.parametrize(
    "arguments",
    [
        (Name("ml_dtypes", "finfo"), None),
        (Name("ml_dtypes", "__version__"), None),
        (Name("numpy", "bfloat16"), None),
        (Name("os", "system"), None),
        ("ml_dtypes", None),
        (("ml_dtypes", "int4", 8), None),
        (ml_dtypes.int4, None),
        (Name("ml_dtypes", "int4"), None, "S"),
        (Name("ml_dtypes", "int4"), None, 3),
    ],
)
def test_custom_dtypes_are_those_of_ml_dtypes(arguments):
    with pytest.raises(DecodeError):
        dtypes.rebuild_custom_dtype(*arguments)


def test_custom_dtypes_have_a_byte_order():
    got = dtypes.rebuild_custom_dtype(Name("ml_dtypes", "bfloat16"), None, ">")
    assert got == np.dtype(ml_dtypes.bfloat16).newbyteorder(">")


def structure(*parts):
    names = tuple(map(str, range(len(parts))))
    size = sum(part.itemsize for part in parts)
    return dtypes.rebuild_structured_dtype((names, parts, [0] * len(parts), None), size, False, None, None)  # noqa: FBT003


def doubled(times):
    dtype = np.dtype("V0")
    for _ in range(times):
        dtype = structure(dtype, dtype)


def nested(times):
    dtype = np.dtype("<f4")
    for _ in range(times):
        dtype = structure(dtype)


def in_arrays(times):
    dtype = np.dtype("<f4")
    for _ in range(times):
        dtype = dtypes.rebuild_subarray_dtype(dtype, (1,), None)


@pytest.mark.parametrize("build", [doubled, nested, in_arrays])
def test_dtypes_lie_in_each_other_only_so_deep(build):
    build(12)
    with pytest.raises(DecodeError):
        build(40)


def again_and_again(*parts):
    for _ in range(200):
        structure(*parts)


def test_making_dtypes_of_the_same_parts_is_limited():
    parts = [structure(*[np.dtype("V0")] * 100)] * 100
    token = LOADING.set(DEFAULTS._replace(budget=Budget(FOR_DATA)))
    try:
        with pytest.raises(LimitError, match="max_operations"):
            again_and_again(*parts)
    finally:
        LOADING.reset(token)
