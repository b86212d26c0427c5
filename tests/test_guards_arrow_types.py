import pyarrow as pa
import pytest
from guarding import arrived, limited

from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards import arrow_types as guards
from oobcodec.reducers import arrow as reducers

reducers.register()

GUARDS = {name.partition(":")[2]: guard for name, guard in guards.GUARDS_OF_TYPES.items()}
REFUSED = (DecodeError, TypeError, ValueError, LookupError, OverflowError)


SQUARE = pa.fixed_shape_tensor(pa.int8(), (2, 2))


@pytest.mark.parametrize(
    "kind",
    [
        *(SQUARE, pa.list_(SQUARE), pa.large_list(SQUARE), pa.list_(SQUARE, 3), pa.struct([("f", SQUARE)])),
        *(pa.map_(pa.string(), SQUARE), pa.dictionary(pa.int8(), SQUARE), pa.run_end_encoded(pa.int16(), SQUARE)),
        *(pa.dense_union([pa.field("f", SQUARE)], [5]), pa.dictionary(pa.int8(), pa.dictionary(pa.int8(), pa.int8()))),
        *(make(SQUARE) for name in ("list_view", "large_list_view") if (make := getattr(pa, name, None))),
        *(make(SQUARE, "a", "b") for name in ("opaque",) if (make := getattr(pa, name, None))),
    ],
    ids=str,
)
def test_types_with_extension_types_of_arrow_in_them_arrive(kind):
    sent = pa.schema([pa.field("é", kind, nullable=False, metadata={"k": b"\xff"})], {"k": "v"})
    got = arrived([kind, sent])
    assert got[0] == kind
    assert got[1].equals(sent, check_metadata=True)


def test_a_schema_is_remembered_if_it_is_short():
    short, long = (pa.schema([("x" * n, pa.int8())]).serialize().to_pybytes() for n in (1, 1 << 16))
    rebuild = GUARDS["rebuild_schema"]
    assert rebuild(short) is rebuild(bytes(bytearray(short)))
    assert rebuild(long) is not rebuild(long)
    assert rebuild(long).equals(rebuild(long))


# Types as Arrow's functions make them

INT = pa.int8()
PAIRS = [pa.field("k", INT, nullable=False), pa.field("v", INT)]
TENSOR = ("fixed_shape_tensor", INT)
MADE = {
    "rebuild_map": [(None, PAIRS[1], False), (PAIRS[0], INT, False), (*PAIRS, 0), (PAIRS[1], PAIRS[1], False)],
    "rebuild_canonical": [
        (None,),
        ("int8",),
        ("ipc",),
        ("register_extension_type",),
        ("uuid", 1),
        ("bool8", None),
        ("json_", None),
        ("json_", INT),
        ("opaque", None, "a", "b"),
        ("opaque", INT, None, "b"),
        ("opaque", INT, "a", 5),
        ("opaque", INT),
        (*TENSOR,),
        ("fixed_shape_tensor", None, [2], None, None),
        ("fixed_shape_tensor", pa.string(), [2], None, None),
        (*TENSOR, None, None, None),
        (*TENSOR, [-1], None, None),
        (*TENSOR, [True], None, None),
        (*TENSOR, [2.5], None, None),
        (*TENSOR, [1 << 16, 1 << 16], None, None),
        (*TENSOR, [0, 1 << 40], None, None),
        (*TENSOR, [2], ["a", "b"], None),
        (*TENSOR, [2], [1], None),
        (*TENSOR, [2], "a", None),
        (*TENSOR, [2], None, [1]),
        (*TENSOR, [2, 2], None, [0, 0]),
        (*TENSOR, [2, 2], None, [0]),
        (*TENSOR, [2, 2], None, 5),
    ],
    "field": [
        (None, INT, True, None),
        ("x", None, True, None),
        ("x", INT, 1, None),
        ("x", INT, True, 5),
        ("x", INT, True, {"k": b"v"}),
        ("x", INT, True, {b"k": "v"}),
        ("x", INT, True, {b"ARROW:extension:name": b"tests.x"}),
    ],
    "schema": [
        (None, None),
        ([None], None),
        ([INT], None),
        ((PAIRS[0],), None),
        (PAIRS, 5),
        (PAIRS, {b"ARROW:extension:name": b"tests.x"}),
    ],
    "list_": [(None,), ("int8",), (INT, None), (INT, -2), (INT, True), (INT, 1 << 31)],
    "large_list": [(None,), (5,)],
    "list_view": [(None,)],
    "large_list_view": [(None,)],
    "struct": [(None,), ([None],), ([INT],)],
    "dictionary": [(None, INT, False), (pa.float32(), INT, False), (INT, None, False), (INT, INT, None)],
    "union": [
        (None, "sparse", [0]),
        (PAIRS, None, [0, 1]),
        (PAIRS, "other", [0, 1]),
        (PAIRS, "sparse", None),
        (PAIRS, "sparse", [0]),
        (PAIRS, "sparse", [5, 5]),
        (PAIRS, "dense", [-1, 5]),
        (PAIRS, "dense", [5, 128]),
        (PAIRS, "dense", [0, 1.0]),
    ],
    "run_end_encoded": [(None, INT), (INT, INT), (pa.int16(), None)],
}


@pytest.mark.parametrize(("name", "arguments"), [(name, each) for name, calls in MADE.items() for each in calls])
def test_what_makes_no_type_is_refused(name, arguments):
    with pytest.raises(REFUSED):
        GUARDS[name](*arguments)


def doubled(levels):
    data_type = INT
    for _ in range(levels):
        data_type = GUARDS["struct"]([GUARDS["field"]("x", data_type, *FIELD)] * 2)
    return data_type


def nested(levels):
    data_type = INT
    for _ in range(levels):
        data_type = GUARDS["list_"](data_type)
    return data_type


FIELD = (True, None)


def test_types_in_each_other_are_counted():
    assert doubled(3).num_fields == 2
    with limited(), pytest.raises(LimitError, match="max_operations"):
        doubled(60)


def test_types_are_not_too_deep_in_each_other():
    assert str(nested(63)).startswith("list<")
    with pytest.raises(DecodeError, match="64 levels deep"):
        nested(100)
