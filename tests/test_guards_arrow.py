import struct
import sys
from pickle import PickleBuffer

import numpy as np
import pyarrow as pa
import pytest
from conformance.comparison import Comparison
from conformance.table import cases
from guarding import arrived, limited
from helpers import run_python

from oobcodec.errors import DecodeError, LimitError, PolicyError
from oobcodec.guards import arrow as guards
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
SHORT = {"x": [1.5, None], "s": ["a", None], "w": ["a", "b"], "t": pa.array([1, 2], pa.timestamp("us", "UTC"))}


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


# What arrives


SHARED = {"array, slice, table, and buffer", "text, slice, table, and buffer", "over numpy's memory"}


@pytest.mark.parametrize("name", sorted(CASES.keys() - CODE))
def test_data_arrives_as_it_left(name):
    sent = CASES[name].make()
    # What arrays share with something else is read-only.
    assert Comparison(arrived(sent), sent).lost.keys() == ({"mutability"} if name in SHARED else set())


@pytest.mark.parametrize("name", sorted(CODE))
def test_extension_types_of_others_are_refused(name):
    with pytest.raises(PolicyError, match=r"refused global 'conformance\.cases_pyarrow\.Celsius'"):
        arrived(CASES[name].make())


SQUARE = pa.fixed_shape_tensor(pa.int8(), (2, 2))


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
LONG_RUNS = pa.run_end_encoded(pa.int64(), pa.int32())
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
        (
            pa.run_end_encoded(pa.int64(), pa.int32()),
            (1 << 33, (None,), (1, (None, ints(1 << 33, width=8))), numbers(1)),
        ),
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
    table, batch = pa.table({"x": range(1000)}), pa.RecordBatch.from_pydict({"x": pa.array(range(1000))})
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
    batch = pa.RecordBatch.from_pydict({"x": pa.array(range(100))})
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write(batch)
    _, message = pa.ipc.MessageReader.open_stream(stream.getvalue())
    data = message.serialize().to_pybytes()
    assert pa.ipc.read_record_batch(pa.py_buffer(data), batch.schema).equals(batch)
    with pytest.raises(DecodeError, match="not compressed"):
        GUARDS["rebuild_short_batch"](batch.schema.serialize().to_pybytes(), data, ORDER)


def test_short_batches_have_rows():
    nothing = pa.RecordBatch.from_pylist([], pa.schema([("s", pa.string())]))
    arguments = nothing.schema.serialize().to_pybytes(), nothing.serialize().to_pybytes(), ORDER
    with pytest.raises(DecodeError, match="has rows"):
        GUARDS["rebuild_short_batch"](*arguments)


def test_rows_of_short_batches_without_columns_are_memory_that_is_claimed():
    rows = pa.RecordBatch.from_struct_array(pa.Array.from_buffers(pa.struct([]), 1 << 33, [None]))
    arguments = pa.schema([]).serialize().to_pybytes(), rows.serialize().to_pybytes(), ORDER
    with limited(max_ratio=None), pytest.raises(LimitError, match="max_decompressed_bytes"):
        GUARDS["rebuild_short_batch"](*arguments)


def test_counts_of_nulls_are_not_believed():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([1, None, 3], pa.int64())})
    data = patched(batch.serialize().to_pybytes(), struct.pack("<qq", 3, 1), struct.pack("<qq", 3, 2))
    with pytest.raises(pa.ArrowInvalid, match="null_count"):
        GUARDS["rebuild_short_batch"](batch.schema.serialize().to_pybytes(), data, ORDER)


def test_text_behind_a_null_of_a_short_batch_is_text():
    batch = pa.record_batch(
        [pa.Array.from_buffers(pa.string(), 1, [pa.py_buffer(b"\0"), pa.py_buffer(ints(0, 4)), pa.py_buffer(b"hide")])],
        ["s"],
    )
    schema, data = batch.schema.serialize().to_pybytes(), batch.serialize().to_pybytes()
    assert GUARDS["rebuild_short_batch"](schema, data, ORDER).to_pydict() == {"s": [None]}
    with pytest.raises(pa.ArrowInvalid):
        GUARDS["rebuild_short_batch"](schema, patched(data, b"hide", b"\xff" * 4), ORDER)


# Scalars, buffers and tensors


def test_what_is_no_scalar_is_refused():
    for argument in (None, 1, pa.array([], pa.int8()), pa.array([1, 2]), pa.chunked_array([[1]]), pa.table({"x": [1]})):
        with pytest.raises(DecodeError, match="array of one element"):
            GUARDS["rebuild_scalar"](argument)


def test_what_is_no_buffer_is_refused():
    for argument in (None, 1 << 40, "x", np.arange(3), pa.array([1])):
        with pytest.raises(DecodeError, match="is memory"):
            GUARDS["rebuild_buffer"](argument)


@pytest.mark.parametrize(
    "arguments",
    [
        (None, []),
        ([1.5], []),
        (np.arange(3)[::-1], []),
        (np.arange(3).astype(">i4" if sys.byteorder == "little" else "<i4"), []),
        (np.array(["a"]), []),
        (np.array([None]), []),
        (np.zeros(3, "M8[s]"), []),
        (np.ma.MaskedArray([1, 2]), []),
        (np.zeros((2, 2)), ["a"]),
        (np.zeros((2, 2)), ["a", 1]),
        (np.zeros((2, 2)), 5),
    ],
)
def test_what_is_no_tensor_is_refused(arguments):
    with pytest.raises(REFUSED):
        GUARDS["rebuild_tensor"](*arguments)


DATA = np.array([[1.5], [2.5]])
WHERE = np.array([[0, 1], [2, 2]])
MATRIX = [np.array([0, 1, 1, 2]), np.array([1, 2])]
FIBRES = [[np.array([0, 1, 2])], [np.array([0, 2]), np.array([1, 2])]]
EMPTY = np.zeros((0, 1))


@pytest.mark.parametrize(
    ("name", "data", "places", "shape"),
    [
        ("SparseCOOTensor", DATA, [WHERE], (3, 3)),
        ("SparseCOOTensor", EMPTY, [np.zeros((0, 2), int)], (3, 3)),
        ("SparseCSRMatrix", DATA, MATRIX, (3, 3)),
        ("SparseCSCMatrix", DATA, MATRIX, (3, 3)),
        ("SparseCSRMatrix", EMPTY, [np.zeros(4, int), np.zeros(0, int)], (3, 3)),
        ("SparseCSFTensor", DATA, FIBRES, (3, 3)),
        ("SparseCSFTensor", EMPTY, [[np.zeros(1, int)], [np.zeros(0, int)] * 2], (3, 3)),
    ],
)
def test_sparse_tensors_arrive(name, data, places, shape):
    got = GUARDS["rebuild_sparse"](name, data, places, shape, ("row", "column"))
    assert type(got).__name__ == name
    assert tuple(got.dim_names) == ("row", "column")
    assert got.non_zero_length == len(data)
    if len(data):
        assert got.to_tensor().to_numpy().sum() == data.sum()


@pytest.mark.parametrize(
    ("name", "data", "places", "shape"),
    [
        (None, DATA, [WHERE], (3, 3)),
        ("Tensor", DATA, [WHERE], (3, 3)),
        ("SparseCOOTensor", None, [WHERE], (3, 3)),
        ("SparseCOOTensor", DATA.T, [WHERE], (3, 3)),
        ("SparseCOOTensor", np.zeros(()), [WHERE], (3, 3)),
        ("SparseCOOTensor", np.zeros((4, 1))[::2], [WHERE], (3, 3)),
        ("SparseCOOTensor", DATA, None, (3, 3)),
        ("SparseCOOTensor", DATA, [], (3, 3)),
        ("SparseCOOTensor", DATA, [None], (3, 3)),
        ("SparseCOOTensor", DATA, [WHERE.astype(float)], (3, 3)),
        ("SparseCOOTensor", DATA, [WHERE[0]], (3, 3)),
        ("SparseCOOTensor", DATA, [WHERE[:1]], (3, 3)),
        ("SparseCOOTensor", DATA, [WHERE[:, :1].copy()], (3, 3)),
        ("SparseCOOTensor", DATA, [WHERE[:, ::-1]], (3, 3)),
        ("SparseCOOTensor", DATA, [WHERE], (3, 2)),
        ("SparseCOOTensor", DATA, [-WHERE], (3, 3)),
        ("SparseCOOTensor", DATA, [WHERE], (3, 3, 3)),
        ("SparseCOOTensor", DATA, [WHERE], (3, -3)),
        ("SparseCOOTensor", DATA, [WHERE], (3, True)),
        ("SparseCOOTensor", DATA, [WHERE], [3, 3]),
        ("SparseCOOTensor", DATA, [WHERE], ()),
        ("SparseCSRMatrix", DATA, MATRIX, (2, 3)),
        ("SparseCSRMatrix", DATA, MATRIX, (4, 3)),
        ("SparseCSRMatrix", DATA, MATRIX, (3, 2)),
        ("SparseCSRMatrix", DATA, MATRIX, (3, 3, 3)),
        ("SparseCSRMatrix", DATA, MATRIX[:1], (3, 3)),
        ("SparseCSRMatrix", DATA, [np.array([0, 5, 1, 2]), MATRIX[1]], (3, 3)),
        ("SparseCSRMatrix", DATA, [np.array([1, 1, 1, 2]), MATRIX[1]], (3, 3)),
        ("SparseCSRMatrix", DATA, [np.array([0, 1, 1, 3]), MATRIX[1]], (3, 3)),
        ("SparseCSRMatrix", DATA, [MATRIX[0], np.array([-1, 2])], (3, 3)),
        ("SparseCSRMatrix", DATA, [MATRIX[0], np.array([1, 2, 2])], (3, 3)),
        ("SparseCSRMatrix", DATA, [MATRIX[0], MATRIX[1].astype("i2")], (3, 3)),
        ("SparseCSCMatrix", DATA, MATRIX, (2, 3)),
        ("SparseCSFTensor", DATA, FIBRES, (3,)),
        ("SparseCSFTensor", DATA, FIBRES, (2, 3)),
        ("SparseCSFTensor", DATA, FIBRES, (3, 2)),
        ("SparseCSFTensor", DATA, FIBRES[:1], (3, 3)),
        ("SparseCSFTensor", DATA, [None, FIBRES[1]], (3, 3)),
        ("SparseCSFTensor", DATA, [FIBRES[0], None], (3, 3)),
        ("SparseCSFTensor", DATA, [[], FIBRES[1]], (3, 3)),
        ("SparseCSFTensor", DATA, [[np.array([0, 1, 3])], FIBRES[1]], (3, 3)),
        ("SparseCSFTensor", DATA, [FIBRES[0], [FIBRES[1][0], np.array([1, 2, 2])]], (3, 3)),
    ],
)
def test_what_is_no_sparse_tensor_is_refused(name, data, places, shape):
    with pytest.raises(REFUSED):
        GUARDS["rebuild_sparse"](name, data, places, shape, ())


def test_tensors_need_numpy(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy")
    with pytest.raises(DecodeError, match="an array of numpy's"):
        GUARDS["rebuild_tensor"](np.zeros(3), [])


# What ends the process


def test_damaged_nodes_and_messages_do_not_end_the_process():
    """Each of them is refused, or may be used."""
    seen = run_python(ATTACK, 1500)
    survived, refused = map(int, seen.split())
    assert survived > 100
    assert refused > 100


ATTACK = """
import random, resource, sys, warnings
from pickle import PickleBuffer

import numpy as np
import pyarrow as pa

from oobcodec.context import DEFAULTS, LOADING
from oobcodec.guards import arrow as guards
from oobcodec.limits import FOR_DATA, Budget
from oobcodec.reducers import arrow as reducers

warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
dice = random.Random(4)
CODES, RUNS = pa.array([0, 1], pa.int8()), pa.run_end_encoded(pa.int32(), pa.string())
samples = [
    pa.array([1, None, 3]),
    pa.array(["a", None, "bcd", "x" * 20]),
    pa.array(["a", None, "bcd", "x" * 20], pa.string_view() if hasattr(pa.DataType, "has_variadic_buffers") else None),
    pa.array([[1, 2], None, [], [3, None]]),
    pa.array([[("a", 1)], [], None, [("b", 2), ("c", 3)]], pa.map_(pa.string(), pa.int32())),
    pa.array([{"a": 1, "b": "x"}, None]),
    pa.array(["a", None, "a", "b"]).dictionary_encode(),
    pa.UnionArray.from_sparse(CODES, [pa.array([1, 2]), pa.array(["a", None])]),
    pa.UnionArray.from_dense(CODES, pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["a"])]),
    pa.Array.from_buffers(RUNS, 5, [None], children=[pa.array([2, 5], pa.int32()), pa.array(["a", None])]),
]


def plain(part):
    return bytes(part) if isinstance(part, PickleBuffer) else tuple(map(plain, part)) if type(part) is tuple else part


calls = [(guards.rebuild_array, plain(reducers.reduce_array(sample)[1])) for sample in samples]
calls.append((guards.rebuild_short_table, reducers.reduce_table(pa.table({"s": ["a", None], "x": [1.5, None]}))[1]))
numbers = (0, 1, 2, 3, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)


def damaged(part):
    if type(part) in (tuple, list) and part:
        parts = list(part)
        i = dice.randrange(len(parts))
        parts[i] = damaged(parts[i])
        return type(part)(parts)
    if type(part) is bytes and (data := bytearray(part)):
        i = dice.randrange(len(data))
        if dice.random() < 0.5:
            data[i] ^= 1 << dice.randrange(8)
        else:
            width = dice.choice((1, 4, 8))
            data[i : i + width] = (dice.choice(numbers) % (1 << 8 * width)).to_bytes(width, "little")
        return bytes(data)
    return dice.choice((None, *numbers)) if part is None or type(part) is int else part


survived = refused = 0
for _ in range(int(sys.argv[1])):
    guard, arguments = dice.choice(calls)
    for _ in range(dice.choice((1, 1, 2))):
        arguments = damaged(arguments)
    LOADING.set(DEFAULTS._replace(budget=Budget(FOR_DATA)))
    try:
        got = guard(*arguments)
    except Exception:
        refused += 1
        continue
    survived += 1
    for use in ("nbytes", "null_count", "to_pylist", "to_numpy", "flatten", "unique", "combine_chunks"):
        try:
            attribute = getattr(got, use)
            attribute() if callable(attribute) else None
            repr(got), got.equals(got), got.slice(1).to_pylist(), got.take([0]).validate(full=True)
        except Exception:
            continue
print(survived, refused)
"""
