import struct
import sys
from contextlib import contextmanager
from dataclasses import replace
from pickle import PickleBuffer

import numpy as np
import pyarrow as pa
import pytest
from conformance.comparison import Comparison
from conformance.table import cases
from helpers import run_python

import oobcodec
from oobcodec.context import DEFAULTS, LOADING
from oobcodec.errors import DecodeError, LimitError, PolicyError
from oobcodec.guards import arrow as guards
from oobcodec.guards.arrow_messages import check_schema
from oobcodec.limits import FOR_DATA, Budget
from oobcodec.reducers import arrow as reducers

reducers.register()

CASES = cases("pyarrow")
CODE = {name for name in CASES if "conformance.celsius" in name} | {
    *("extension type that nobody registered", "extension type, sliced", "table of extension types"),
    *("scalars of arrays", "fields", "schema", "schema of everything"),
}
GUARDS = {name.partition(":")[2]: guard for name, guard in guards.GUARDS.items()}
VIEWS = hasattr(pa, "string_view") and hasattr(pa.DataType, "has_variadic_buffers")
VIEW = pa.string_view() if VIEWS else None
REFUSED = (DecodeError, pa.ArrowInvalid, pa.ArrowIndexError, TypeError, ValueError, LookupError, OverflowError)
ORDER = sys.byteorder
MOST = 2**63 - 1
NESTED = pa.field("n", pa.int32())
BOTH = [pa.field("x", pa.int32()), pa.field("n", pa.string())]
SHORT = {"x": [1.5, None], "b": [True, None], "s": ["a", None], "t": pa.array([1, 2], pa.timestamp("us", "UTC"))}


def arrived(obj):
    return oobcodec.loads([bytearray(frame) for frame in oobcodec.dumps(obj)], policy=oobcodec.DATA)


def guarded(reduced):
    function, arguments = reduced
    return GUARDS[function.__name__](*map(plain, arguments))


def plain(argument):
    """Return an argument as it arrives."""
    if isinstance(argument, PickleBuffer):
        return memoryview(bytearray(argument.raw()))
    return type(argument)(map(plain, argument)) if type(argument) in {tuple, list} else argument


def array(data_type, *node):
    return GUARDS["rebuild_array"](data_type, node, ORDER)


def ints(*numbers, width=4):
    return b"".join(number.to_bytes(width, ORDER, signed=True) for number in numbers)


def numbers(*elements):
    return len(elements), (None, ints(*elements))


def texts(*elements):
    ends = np.cumsum([0, *map(len, elements)]).astype("i4")
    return len(elements), (None, ends.tobytes(), "".join(elements).encode())


def view(length, start, where, offset):
    return struct.pack("=i4sii", length, start, where, offset)


@contextmanager
def limited(**limits):
    """Count what is used, as `oobcodec.loads` does under a policy."""
    token = LOADING.set(DEFAULTS._replace(budget=Budget(replace(FOR_DATA, **limits))))
    try:
        yield
    finally:
        LOADING.reset(token)


# What arrives


@pytest.mark.parametrize("name", sorted(CASES.keys() - CODE))
def test_data_arrives_as_it_left(name):
    sent = CASES[name].make()
    assert not Comparison(arrived(sent), sent).lost


@pytest.mark.parametrize("name", sorted(CODE))
def test_extension_types_of_others_are_refused(name):
    with pytest.raises(PolicyError, match="refused global 'conformance.cases_pyarrow.Celsius'"):
        arrived(CASES[name].make())


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


def test_what_is_absent_of_nothing_is_there_afterwards():
    """Arrow crashes when it is asked how large some of these are."""
    for data_type in (pa.int8(), pa.binary(0), pa.bool_(), *([VIEW] if VIEWS else [])):
        assert array(data_type, 0, (None, None)).nbytes == 0
    assert array(pa.list_(NESTED), 0, (None, None), numbers()).flatten().nbytes == 0


def test_offsets_of_nothing_are_not_looked_at():
    wild = ints(99)
    assert array(pa.list_(NESTED), 0, (None, wild), numbers(1)).flatten().to_pylist() == []
    assert array(pa.string(), 0, (None, wild, b"")).buffers()[1][:4] == bytes(4)


def test_nulls_and_offsets_that_arrow_allows_arrive():
    got = array(pa.string(), 2, (b"\x01", ints(1, 2, 4), b"abcd"))
    assert got.to_pylist() == ["b", None]
    assert got.null_count == 1


# Arrays that are none

ENTRY = pa.map_(pa.string(), pa.int32())
RUNS = pa.run_end_encoded(pa.int32(), pa.int32())
DENSE, SPARSE = (pa.union(BOTH, mode, [5, 7]) for mode in ("dense", "sparse"))
NAMED = pa.dictionary(pa.int8(), pa.string())
WORDS = texts("a", "b")
HOSTILE = {
    "no node": (pa.int8(), 5),
    "a list": (pa.int8(), [1, (None, b"a")]),
    "an empty node": (pa.int8(), ()),
    "no buffers": (pa.int8(), (1, ())),
    "one buffer": (pa.int8(), (1, (None,))),
    "many buffers": (pa.int8(), (1, (None, b"a", b"b"))),
    "a list of buffers": (pa.int8(), (1, [None, b"a"])),
    "buffers of text": (pa.int8(), (1, (None, "a"))),
    "a number as buffer": (pa.int8(), (1, (None, 1 << 40))),
    "a length that is none": (pa.int8(), ("1", (None, b"a"))),
    "a length that is true": (pa.int8(), (True, (None, b"a"))),
    "a length below zero": (pa.int8(), (-1, (None, b"a"))),
    "a length over all": (pa.int8(), (MOST, (None, b"a"))),
    "a length beyond all": (pa.int8(), (1 << 70, (None, b"a"))),
    "more bits than bytes": (pa.bool_(), (MOST, (None, b"a"))),
    "a short buffer": (pa.int64(), (2, (None, bytes(15)))),
    "a short bitmap": (pa.int8(), (9, (b"\xff", bytes(9)))),
    "no elements": (pa.int8(), (1, (None, None))),
    "no offsets": (pa.string(), (1, (None, None, b"a"))),
    "no text": (pa.string(), (1, (None, ints(0, 1), None))),
    "wild offsets": (pa.string(), (2, (None, ints(0, 1 << 30, 2), b"ab"))),
    "offsets back": (pa.string(), (2, (None, ints(0, 2, 1), b"ab"))),
    "offsets below zero": (pa.string(), (1, (None, ints(-9, 1), b"ab"))),
    "no utf-8": (pa.string(), (1, (None, ints(0, 2), b"\xff\xff"))),
    "no utf-8 behind a null": (pa.string(), (1, (b"\0", ints(0, 2), b"\xff\xff"))),
    "children of a number": (pa.int8(), (1, (None, b"a"), (1, (None, b"a")))),
    "a list without a child": (pa.list_(NESTED), (1, (None, ints(0, 1)))),
    "a list with two children": (pa.list_(NESTED), (1, (None, ints(0, 1)), numbers(1), numbers(1))),
    "a list of no nodes": (pa.list_(NESTED), (1, (None, ints(0, 1)), None)),
    "a list beyond its child": (pa.list_(NESTED), (1, (None, ints(0, 5)), numbers(1))),
    "a list of a wild list": (
        pa.list_(pa.list_(NESTED)),
        (1, (None, ints(0, 1)), (1, (None, ints(0, 9)), numbers(1))),
    ),
    "lists of one size beyond their child": (pa.list_(NESTED, 3), (2, (None,), numbers(1))),
    "very long lists of one size": (pa.list_(NESTED, (1 << 31) - 1), (MOST, (None,), numbers(1))),
    "a short field": (pa.struct(BOTH), (2, (None,), numbers(1), texts("a", "b"))),
    "a field too few": (pa.struct(BOTH), (1, (None,), numbers(1))),
    "indices beyond": (NAMED, (1, (None, b"\x02"), WORDS)),
    "indices below zero": (NAMED, (1, (None, b"\xff"), WORDS)),
    "great indices": (pa.dictionary(pa.uint64(), pa.string()), (1, (None, b"\xff" * 8), WORDS)),
    "no dictionary": (NAMED, (1, (None, b"\x00"))),
    "a wild dictionary": (NAMED, (1, (None, b"\0"), (1, (None, ints(0, 99), b"a")))),
    "null keys": (ENTRY, (1, (None, ints(0, 1)), (1, (None,), (1, (b"\0", ints(0, 0), b"")), numbers(1)))),
    "null entries": (ENTRY, (1, (None, ints(0, 1)), (1, (b"\0",), texts("a"), numbers(1)))),
    "a map of numbers": (ENTRY, (1, (None, ints(0, 1)), numbers(1))),
    "codes of nothing": (SPARSE, (1, (None, b"\x06"), numbers(1), texts("a"))),
    "codes below zero": (SPARSE, (1, (None, b"\x85"), numbers(1), texts("a"))),
    "a union with a bitmap": (SPARSE, (1, (b"\xff", b"\x05"), numbers(1), texts("a"))),
    "a dense union with a bitmap": (DENSE, (1, (b"\xff", b"\x05", ints(0)), numbers(1), texts("a"))),
    "a short union": (SPARSE, (2, (None, b"\x05\x07"), numbers(1), texts("a"))),
    "a dense union beyond its child": (DENSE, (1, (None, b"\x05", ints(1)), numbers(1), texts("a"))),
    "a dense union below zero": (DENSE, (1, (None, b"\x05", ints(-1)), numbers(1), texts("a"))),
    "runs that end early": (RUNS, (9, (None,), numbers(3, 5), numbers(1, 2))),
    "runs that go back": (RUNS, (5, (None,), numbers(5, 3), numbers(1, 2))),
    "runs of nothing": (RUNS, (5, (None,), numbers(3, 5), numbers(1))),
    "runs without ends": (RUNS, (5, (None,), numbers(), numbers())),
    "runs that end at null": (RUNS, (5, (None,), (2, (b"\x01", ints(3, 5))), numbers(1, 2))),
    "runs with a bitmap": (RUNS, (5, (b"\xff",), numbers(3, 5), numbers(1, 2))),
    "a decimal with more digits": (pa.decimal128(3, 1), (1, (None, b"\xff" * 15 + b"\x7f"))),
    "half a day": (pa.date64(), (1, (None, ints(43_200_000, width=8)))),
    "more than a day": (pa.time32("s"), (1, (None, ints(86_400)))),
    "a tensor that is short": (SQUARE, (1, (None,), (3, (None, b"abc")))),
}
if VIEWS:
    LONG = b"x" * 13
    HOSTILE |= {
        "no views": (VIEW, (1, (None, None))),
        "views of nothing": (VIEW, (1, (None,))),
        "text of views missing": (VIEW, (1, (None, view(13, b"xxxx", 0, 0), None))),
        "views beyond": (VIEW, (1, (None, view(13, b"xxxx", 0, 1), LONG))),
        "views elsewhere": (VIEW, (1, (None, view(13, b"xxxx", 1, 0), LONG))),
        "views before": (VIEW, (1, (None, view(13, b"xxxx", -1, 0), LONG))),
        "views below zero": (VIEW, (1, (None, view(-13, b"xxxx", 0, 0), LONG))),
        "views that begin otherwise": (VIEW, (1, (None, view(13, b"xxxy", 0, 0), LONG))),
        "views that go on": (VIEW, (1, (None, view(2, b"xxxy", 0, 0), LONG))),
        "views of no utf-8": (VIEW, (1, (None, view(13, b"\xff" * 4, 0, 0), b"\xff" * 13))),
        "wild views behind a null": (VIEW, (1, (b"\0", view(13, b"xxxx", 9, 1 << 30), LONG))),
        "wild views of bytes behind a null": (pa.binary_view(), (1, (b"\0", view(13, b"xxxx", 9, 1 << 30), LONG))),
        "wild views behind a null in a list": (
            pa.list_(VIEW),
            (1, (None, ints(0, 1)), (1, (b"\0", view(-1, b"xxxx", 9, 9), LONG))),
        ),
    }
if hasattr(pa, "list_view"):
    HOSTILE |= {
        "list views beyond": (pa.list_view(NESTED), (1, (None, ints(0), ints(5)), numbers(1))),
        "list views behind a null": (pa.list_view(NESTED), (1, (b"\0", ints(99), ints(5)), numbers(1))),
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_array_is_refused(name):
    data_type, node = HOSTILE[name]
    with pytest.raises(REFUSED):
        GUARDS["rebuild_array"](data_type, node, ORDER)
    with pytest.raises(REFUSED):
        GUARDS["rebuild_chunked"](data_type, [node], ORDER)
    with pytest.raises(REFUSED):
        GUARDS["rebuild_table"](pa.schema([("x", data_type)]), [[node]], ORDER)


def test_types_of_a_younger_arrow_are_refused(monkeypatch):
    monkeypatch.setattr("oobcodec.guards.arrow_nodes._LAYOUTS", {})
    with pytest.raises(DecodeError, match="has no arrays of type int8"):
        array(pa.int8(), 1, (None, b"a"))


@pytest.mark.parametrize(
    ("data_type", "node"),
    [
        (pa.null(), (1 << 33, (None,))),
        (pa.binary(0), (1 << 33, (None, b""))),
        (pa.struct([]), (1 << 33, (None,))),
        (pa.list_(pa.null(), 0), (1 << 33, (None,), (0, (None,)))),
        (pa.list_(pa.null()), (1, (None, ints(0, 1)), (1 << 33, (None,)))),
        (pa.run_end_encoded(pa.int64(), pa.int32()), (1 << 33, (None,), (1, (None, ints(1 << 33, width=8))), numbers(1))),
    ],
    ids=lambda argument: str(argument) if isinstance(argument, pa.DataType) else "",
)
def test_elements_without_bytes_are_memory_that_is_claimed(data_type, node):
    with limited(max_ratio=None), pytest.raises(LimitError, match="max_decompressed_bytes"):
        array(data_type, *node)


def test_rows_without_columns_are_memory_that_is_claimed():
    empty = pa.schema([])
    with limited(max_ratio=None):
        for name, arguments in (
            ("rebuild_batch", (empty, 1 << 33, [], ORDER)),
            ("rebuild_table", (empty, 1 << 33, ORDER)),
        ):
            with pytest.raises(LimitError, match="max_decompressed_bytes"):
                GUARDS[name](*arguments)


def test_many_nodes_are_operations():
    node = numbers(1)
    with limited(max_operations=1000), pytest.raises(LimitError, match="max_operations"):
        GUARDS["rebuild_chunked"](pa.int32(), [node] * 1001, ORDER)


def test_one_memory_is_validated_a_limited_number_of_times():
    nbytes = 1 << 20
    node = 1, (None, ints(0, nbytes), b"x" * nbytes)
    with limited(max_decompressed_bytes=10 * nbytes, max_ratio=None), pytest.raises(LimitError):
        GUARDS["rebuild_chunked"](pa.string(), [node] * 1000, ORDER)


# Batches and tables

SCHEMA = pa.schema([("x", pa.int32()), ("s", pa.string())])


@pytest.mark.parametrize(
    "arguments",
    [
        (None, 1, [numbers(1), texts("a")]),
        (SCHEMA, 1, None),
        (SCHEMA, 1, []),
        (SCHEMA, "1", [numbers(1), texts("a")]),
        (SCHEMA, 2, [numbers(1), texts("a")]),
        (SCHEMA, 1, [numbers(1)]),
        (SCHEMA, 1, [numbers(1), texts("a", "b")]),
        (SCHEMA, 2, [numbers(1, 2), (2, (None, ints(0, 99, 1), b"a"))]),
        (pa.schema([]), -1, []),
        (pa.schema([]), True, []),
        (pa.schema([]), 1, [numbers(1)]),
    ],
)
def test_what_is_no_batch_is_refused(arguments):
    with pytest.raises(REFUSED):
        GUARDS["rebuild_batch"](*arguments, ORDER)


@pytest.mark.parametrize(
    "arguments",
    [
        (None, [[numbers(1)], [texts("a")]]),
        (SCHEMA, None),
        (SCHEMA, 1),
        (SCHEMA, []),
        (SCHEMA, [[numbers(1)]]),
        (SCHEMA, [numbers(1), texts("a")]),
        (SCHEMA, [[numbers(1)], [texts("a", "b")]]),
        (SCHEMA, [[numbers(1)], None]),
        (pa.schema([]), -1),
        (pa.schema([]), True),
    ],
)
def test_what_is_no_table_is_refused(arguments):
    with pytest.raises(REFUSED):
        GUARDS["rebuild_table"](*arguments, ORDER)


@pytest.mark.parametrize("name", ["rebuild_array", "rebuild_chunked"])
def test_what_is_no_type_is_refused(name):
    for data_type in (None, "int8", pa.schema([]), NESTED, 5):
        with pytest.raises(DecodeError, match="has a type"):
            GUARDS[name](data_type, [numbers(1)], ORDER)


def test_chunks_are_a_list():
    with pytest.raises(DecodeError, match="and chunks"):
        GUARDS["rebuild_chunked"](pa.int8(), None, ORDER)


def test_another_byte_order_is_refused():
    table, batch = pa.table({"x": range(1000)}), pa.record_batch({"x": pa.array(range(1000))})
    for reduced in (
        reducers.reduce_array(pa.array([1])),
        reducers.reduce_chunked(pa.chunked_array([[1]])),
        reducers.reduce_batch(batch),
        reducers.reduce_table(table),
        reducers.reduce_table(table[:5]),
    ):
        function, (*arguments, _) = reduced
        assert guarded((function, (*arguments, ORDER))) is not None
        with pytest.raises(DecodeError, match="-endian"):
            guarded((function, (*arguments, "middle")))


# Short tables


def short():
    function, arguments = reducers.reduce_table(pa.table(SHORT))
    assert function is reducers.rebuild_short_table
    return arguments


def patched(data, old, new):
    assert data.count(old) == 1
    return data.replace(old, new)


def test_short_tables_arrive():
    table = pa.table(SHORT)
    assert guarded(reducers.reduce_table(table)).equals(table)
    assert guarded(reducers.reduce_batch(table.to_batches()[0])).equals(table.to_batches()[0])


def test_what_is_no_short_batch_is_refused():
    schema, data, order = short()
    other = pa.schema([("x", pa.list_(NESTED))]).serialize().to_pybytes()
    for arguments in (
        (None, data),
        (schema, None),
        (bytearray(schema), data),
        (schema, bytearray(data)),
        (schema, schema),
        (data, data),
        (schema, b""),
        (schema, data[:-1]),
        (schema, data + bytes(1 << 20)),
        (schema + bytes(1 << 20), data),
        (other, data),
        (pa.schema([("x", pa.string())]).serialize().to_pybytes(), data),
    ):
        with pytest.raises((*REFUSED, struct.error, OSError)):
            GUARDS["rebuild_short_table"](*arguments, order)


def test_compressed_batches_are_refused():
    batch = pa.record_batch({"x": pa.array(range(100))})
    data = batch.serialize(options=pa.ipc.IpcWriteOptions(compression="lz4")).to_pybytes()
    with pytest.raises(DecodeError, match="not compressed"):
        GUARDS["rebuild_short_batch"](batch.schema.serialize().to_pybytes(), data, ORDER)


def test_batches_of_another_byte_order_are_refused():
    """Arrow turns them before anybody can validate them."""
    schema, data, order = short()
    header = schema.index(struct.pack("<HHHH", 12, 12, 4, 8)) if False else None
    assert header is None
    foreign = with_endianness(schema, 1 if order == "little" else 0)
    assert pa.ipc.read_schema(pa.py_buffer(foreign)).equals(pa.ipc.read_schema(pa.py_buffer(schema)))
    with pytest.raises(DecodeError, match="byte order"):
        GUARDS["rebuild_short_table"](foreign, data, order)


def with_endianness(data, number):
    """Return the message of a schema that gives its byte order explicitly."""
    for at in range(8, len(data) - 2):
        changed = bytearray(data)
        changed[at : at + 2] = number.to_bytes(2, "little")
        try:
            check_schema(bytes(changed))
            native = guards.check_native(bytes(changed)) is None
        except (*REFUSED, struct.error):
            native = False
            try:
                pa.ipc.read_schema(pa.py_buffer(bytes(changed)))
            except (*REFUSED, OSError):
                continue
        if not native:
            return bytes(changed)
    raise AssertionError
