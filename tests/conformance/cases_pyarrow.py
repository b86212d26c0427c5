"""Arrow."""

import numpy as np
import pyarrow as pa

from .cases_numpy import compare_arrays as compare_numpy
from .comparison import compares
from .table import N, case

HALF = N // 2
ROWS = N // 8
FIELD = pa.field("n", pa.int32(), nullable=False, metadata={"unit": "m"})
FLOATS = {pa.float16(): "<f2", pa.float32(): "<f4", pa.float64(): "<f8"}
TIMES = (pa.date32(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.month_day_nano_interval())
STAMPS = tuple(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "Europe/Paris"))
SPANS = tuple(pa.duration(unit) for unit in ("s", "ms", "us", "ns"))
INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
WIDE = (pa.decimal128(20, 3), pa.decimal256(50, 3), pa.binary(16))
VIEWS = hasattr(pa, "string_view") and hasattr(pa.DataType, "has_variadic_buffers")
LIST_VIEWS = hasattr(pa, "list_view")


def _words(kind, count=N):
    """Return small numbers in as many bytes each as an element of the type has."""
    words = np.zeros((count, kind.bit_width // 8), "u1")
    words[:, 0] = np.arange(count) % 100
    return words


def _numbers(kind=None, count=N, *, missing=False):
    kind = kind or pa.float64()
    if kind in FLOATS:
        data = (np.arange(count) % 100 - 0.5).astype(FLOATS[kind])
    elif kind == pa.date64():
        data = np.arange(count) % 100 * 86_400_000
    else:
        data = _words(kind, count)
    present = pa.py_buffer(np.packbits(np.arange(count) % 3 > 0, bitorder="little")) if missing else None
    return pa.Array.from_buffers(kind, count, [present, pa.py_buffer(data)])


def _odd_floats():
    return pa.array(np.tile(np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 5e-324]), HALF // 3))


def _truth(count=8 * N, *, missing=False):
    data = np.arange(count) % 7 > 3
    return pa.array(data, mask=np.arange(count) % 3 == 0) if missing else pa.array(data)


def _texts(kind=None, count=ROWS, *, missing=False):
    """Return texts of 56 bytes each."""
    texts = [None if missing and i % 3 == 0 else f"{i:8} {'schön ' * 6}{'x' * 5}" for i in range(count)]
    return pa.array(texts, pa.string()).cast(kind or pa.string())


def _lists(kind, size=4):
    offsets = pa.array(np.arange(0, N + 1, size), pa.int64() if "large" in str(kind) else pa.int32())
    values = _numbers(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.Array.from_buffers(kind, N // size, [None], children=[values])
    return pa.Array.from_buffers(kind, N // size, [None, offsets.buffers()[1]], children=[values])


def _list_views(kind):
    width = "<i8" if "large" in str(kind) else "<i4"
    starts, sizes = np.arange(0, N, 4).astype(width)[::-1].copy(), np.full(N // 4, 4, width)
    views = [None, pa.py_buffer(starts), pa.py_buffer(sizes)]
    return pa.Array.from_buffers(kind, N // 4, views, children=[_numbers(kind.value_type)])


def _maps():
    offsets = pa.array(np.arange(0, N + 1, 4), pa.int32())
    kind = pa.map_(pa.int64(), pa.field("of", pa.float64(), metadata={"unit": "m"}), keys_sorted=True)
    entries = pa.StructArray.from_arrays([_numbers(pa.int64()), _numbers()], fields=[kind.key_field, kind.item_field])
    return pa.Array.from_buffers(kind, N // 4, [None, offsets.buffers()[1]], children=[entries])


def _structs(*, missing=False):
    fields = [pa.field("x", pa.float64(), nullable=False, metadata={"unit": "m"}), pa.field("n", pa.int32())]
    mask = pa.array(np.arange(N) % 5 == 0) if missing else None
    return pa.StructArray.from_arrays([_numbers(), _numbers(pa.int32(), missing=missing)], fields=fields, mask=mask)


def _dictionary(values=None, *, ordered=False, kind=None):
    values = pa.array(["b", "a", "never used"]) if values is None else values
    indices = pa.array(np.arange(N) % 2, kind or pa.int32())
    return pa.DictionaryArray.from_arrays(indices, values, ordered=ordered)


def _one_dictionary():
    values = _texts()
    return pa.chunked_array([_dictionary(values), _dictionary(values)[100:]])


def _sparse_union():
    codes = pa.array(np.arange(N) % 2 * 2 + 5, pa.int8())
    return pa.UnionArray.from_sparse(codes, [_numbers(), _numbers(pa.int32(), missing=True)], ["x", "n"], [5, 7])


def _dense_union():
    codes = pa.array(np.arange(N) % 2 * 2 + 5, pa.int8())
    children = [_numbers(count=HALF), _numbers(pa.int32(), HALF, missing=True)]
    return pa.UnionArray.from_dense(codes, pa.array(np.arange(N) // 2, pa.int32()), children, ["x", "n"], [5, 7])


def _runs(ends=None):
    ends = pa.array(np.arange(1, N + 1) * 10, ends or pa.int32())
    kind = pa.run_end_encoded(ends.type, pa.float64())
    return pa.RunEndEncodedArray.from_buffers(kind, 10 * N, [None], children=[ends, _numbers()])


def _table():
    columns = {
        "x": pa.chunked_array([_numbers(count=ROWS), _numbers(count=7 * ROWS)]),
        "n": _numbers(pa.int32(), missing=True),
        "when": _numbers(pa.timestamp("us", "UTC")),
    }
    fields = [pa.field(name, column.type, metadata={"column": name}) for name, column in columns.items()]
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata={"pandas": "{}", b"\xff": b"\x00"}))


def _batch():
    fields = [pa.field("x", pa.float64()), pa.field("s", pa.string(), metadata={"k": "v"})]
    return pa.RecordBatch.from_arrays([_numbers(), _texts(count=N)], schema=pa.schema(fields, metadata={"k": "v"}))


def _rows(count):
    """Return rows without columns."""
    empty = pa.Array.from_buffers(pa.struct([]), count, [None])
    return pa.RecordBatch.from_struct_array(empty).replace_schema_metadata({"k": "v"})


def _windows():
    one = _numbers()
    return [one[i : i + N - 1000] for i in range(0, 1000, 10)]


def _chunks():
    one = _numbers()
    return pa.chunked_array([one[i : i + 1000] for i in range(0, 100_000, 1000)])


def _of_one_buffer():
    one = _numbers()
    return [one, one[1000:], pa.table({"x": one, "again": one}), one.buffers()[1], one.buffers()[1].slice(8000, 80_000)]


def _of_one_text():
    one = _texts(count=N)
    return [one, one[1000:HALF], pa.table({"s": one})[5:], one.buffers()[2]]


def _buffer(nbytes=8 * N, kind=bytearray):
    return pa.py_buffer(kind(bytes(range(256)) * (nbytes // 256)))


def _dense(order="C", dtype="<f8"):
    return (np.arange(N) % 100).astype(dtype).reshape((256, N // 256), order=order)


def _mostly_zeros():
    zeros = np.zeros((1024, 1024))
    zeros[::4, ::4] = np.arange(1, 256 * 256 + 1).reshape(256, 256)
    return zeros


def _coordinates():
    where = np.stack([np.arange(ROWS)[::-1], np.arange(ROWS) % 7], axis=1)
    return pa.SparseCOOTensor.from_numpy(np.arange(ROWS, dtype="f4"), where, (ROWS, 7))


class Celsius(pa.ExtensionType):
    """Registered nowhere: a receiver finds it by its class."""

    def __init__(self, places=1):
        self.places = places
        super().__init__(pa.float64(), "conformance.celsius")

    def __arrow_ext_serialize__(self):
        return b"%d" % self.places

    @classmethod
    def __arrow_ext_deserialize__(cls, _, serialized):
        return cls(int(serialized))

    def __arrow_ext_class__(self):
        return Temperatures


class Temperatures(pa.ExtensionArray):
    """An array of them."""


def _temperatures():
    return pa.ExtensionArray.from_storage(Celsius(3), _numbers(missing=True))


def _extended(name, storage, *arguments):
    return pa.ExtensionArray.from_storage(getattr(pa, name)(*arguments), storage())


def _pictures():
    kind = pa.fixed_shape_tensor(pa.float64(), (4, 8), dim_names=["row", "column"], permutation=[1, 0])
    return pa.ExtensionArray.from_storage(kind, _lists(pa.list_(pa.float64(), 32), 32))


TYPES = (
    *(pa.null(), pa.bool_(), *INTEGERS, *FLOATS, *WIDE, *TIMES, *STAMPS, *SPANS, pa.date64()),
    *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.list_(FIELD), pa.large_list(FIELD)),
    *(pa.list_(FIELD, 3), pa.struct([FIELD]), pa.struct([]), pa.map_(pa.string(), FIELD, keys_sorted=True)),
    *(pa.map_(pa.string(), pa.list_(FIELD)), pa.dictionary(pa.int8(), pa.string(), ordered=True)),
    *(pa.sparse_union([FIELD, FIELD], [5, 7]), pa.dense_union([FIELD]), pa.run_end_encoded(pa.int16(), pa.utf8())),
    *(Celsius(3), pa.list_(Celsius(2)), pa.fixed_shape_tensor(pa.int8(), (2, 2))),
)
SCALARS = (
    *(True, 1, -0.0, float("nan"), "text", b"octets", [1, None], {"a": 1, "b": None}, None),
    *((1, pa.int8()), (None, pa.int32()), (10**9, pa.timestamp("s", "UTC"))),
    *((5, pa.date32()), (7, pa.duration("ns")), ([("k", 1)], pa.map_(pa.string(), pa.int8()))),
    *[((1, 2, 3), pa.month_day_nano_interval())],
)


def _scalar(value):
    return pa.scalar(*value) if isinstance(value, tuple) else pa.scalar(value)


CASES = [
    *[case(f"{t}", lambda t=t: _numbers(t), N * t.bit_width // 8) for t in (*INTEGERS, *FLOATS, *WIDE, *TIMES, *STAMPS, *SPANS, pa.date64())],
    *[case(f"{t} with nulls", lambda t=t: _numbers(t, missing=True), N * (t.bit_width + 1) // 8) for t in (pa.int8(), *FLOATS, *WIDE, *STAMPS[:2])],
    case("decimal32", lambda: _numbers(pa.decimal32(5, 2)), 4 * N, given=hasattr(pa, "decimal32")),
    case("decimal64", lambda: _numbers(pa.decimal64(9, 2)), 8 * N, given=hasattr(pa, "decimal64")),
    case("NaN, infinities, signed zeros", _odd_floats, 8 * (HALF // 3 * 6)),
    case("bool", _truth, N),
    case("bool with nulls", lambda: _truth(missing=True), 2 * N),
    case("null", lambda: pa.nulls(N)),
    case("all missing", lambda: pa.array(np.zeros(N), mask=np.ones(N, bool)), 8 * N + N // 8),
    *[case(f"{t}", lambda t=t: _texts(t), ROWS * (56 + w)) for t, w in ((pa.string(), 4), (pa.large_string(), 8), (pa.binary(), 4), (pa.large_binary(), 8))],
    case("string with nulls", lambda: _texts(missing=True), ROWS * 56 * 2 // 3 + ROWS * 4 + ROWS // 8),
    case("string_view", lambda: _texts(pa.string_view()), ROWS * (56 + 16), given=VIEWS),
    case("binary_view with nulls", lambda: _texts(pa.binary_view(), missing=True), ROWS * (56 * 2 // 3 + 16) + ROWS // 8, given=VIEWS),
    case("string_view, short and long", lambda: pa.array(["short", "x" * 100, None, ""] * ROWS, pa.string_view()), ROWS * (100 + 64) + ROWS // 2, given=VIEWS),
    case("empty texts", lambda: pa.array(["", None, ""] * 1000)),
    case("binary of no bytes", lambda: pa.array([b"", None] * 1000, pa.binary(0))),
    *[case(f"{t}", lambda t=t: _lists(t), 8 * N + N // 4 * w) for t, w in ((pa.list_(pa.float64()), 4), (pa.large_list(pa.float64()), 8), (pa.list_(pa.float64(), 4), 0))],
    case("list, its field named, not nullable, with metadata", lambda: _lists(pa.list_(FIELD)), 4 * N + N),
    case("list_view, backwards", lambda: _list_views(pa.list_view(pa.float64())), 8 * N + 2 * N, given=LIST_VIEWS),
    case("large_list_view, backwards", lambda: _list_views(pa.large_list_view(pa.int32())), 4 * N + 4 * N, given=LIST_VIEWS),
    case("list_view, sliced", lambda: _list_views(pa.list_view(pa.float64()))[1000:5000], 4000 * 40, given=LIST_VIEWS),
    case("lists of lists of text, with nulls", lambda: pa.array([[["a", None], None, []], None, [["schön" * 5]], []] * 500)),
    case("lists holding NaN", lambda: pa.array([[float("nan"), -0.0], [], None] * 500)),
    case("map", _maps, 16 * N + N),
    case("map, sliced", lambda: _maps()[777:9000], (9000 - 777) * (4 * 16 + 4)),
    case("struct", _structs, 12 * N),
    case("struct with nulls", lambda: _structs(missing=True), 12 * N + N // 4),
    case("struct, sliced", lambda: _structs(missing=True)[801:50_003], (50_003 - 801) * 12 + 2 * 49_202 // 8),
    case("struct of structs", lambda: pa.StructArray.from_arrays([_structs(), _lists(pa.list_(pa.float64(), 1), 1)], ["in", "box"]), 20 * N),
    case("struct without fields", lambda: pa.array([{}, None, {}], pa.struct([]))),
    case("struct with one name twice", lambda: pa.StructArray.from_arrays([_numbers(), _numbers(pa.int8())], ["x", "x"]), 9 * N),
    case("dictionary", _dictionary, 4 * N),
    case("dictionary, ordered", lambda: _dictionary(ordered=True, kind=pa.int8()), N),
    case("dictionary of uint64 indices", lambda: _dictionary(kind=pa.uint64()), 8 * N),
    case("dictionary, large", lambda: _dictionary(_texts(count=N)), 4 * N + 60 * N),
    case("dictionary, sliced", lambda: _dictionary()[1001:90_000], (90_000 - 1001) * 4),
    case("dictionary of lists, with nulls", lambda: pa.DictionaryArray.from_arrays(pa.array([1, None, 0] * 50, pa.int8()), pa.array([[1], None, []]))),
    case("dictionary of a dictionary", lambda: pa.DictionaryArray.from_arrays(pa.array(np.arange(N) % 3, pa.int16()), pa.array(["a", "b", "c"]).dictionary_encode()), 2 * N),
    case("dictionary in a struct in a list", lambda: pa.array([[{"d": "a"}, {"d": None}], None] * 500, pa.list_(pa.struct([("d", pa.dictionary(pa.int8(), pa.string()))])))),
    case("dictionary shared by chunks", _one_dictionary, 4 * (2 * N - 100) + 60 * ROWS),
    case("dictionaries, one a chunk", lambda: pa.chunked_array([_dictionary(), _dictionary(pa.array(["z", "y"]))]), 8 * N),
    case("sparse union", _sparse_union, N + 8 * N + 4 * N + N // 8),
    case("sparse union, sliced", lambda: _sparse_union()[1001:90_000], (90_000 - 1001) * 13 + 88_999 // 8),
    case("dense union", _dense_union, 5 * N + 12 * HALF + HALF // 8),
    case("dense union, sliced", lambda: _dense_union()[1001:90_001], 89_000 * 5 + 44_500 * 12 + 44_500 // 8),
    case("run-end-encoded", _runs, 12 * N),
    case("run-end-encoded, 64-bit ends", lambda: _runs(pa.int64()), 16 * N),
    case("run-end-encoded, sliced", lambda: _runs()[100_005:900_001], 80_000 * 12),
    case("extension type that nobody registered", _temperatures, 8 * N + N // 8),
    case("extension type, sliced", lambda: _temperatures()[1001:90_000], (90_000 - 1001) * 8 + 88_999 // 8),
    case("fixed_shape_tensor, permuted", _pictures, 8 * N),
    case("uuid", lambda: _extended("uuid", lambda: _numbers(pa.binary(16))), 16 * N, given=hasattr(pa, "uuid")),
    case("json", lambda: _extended("json_", _texts), 60 * ROWS, given=hasattr(pa, "json_")),
    case("bool8", lambda: _extended("bool8", lambda: _numbers(pa.int8())), N, given=hasattr(pa, "bool8")),
    case("opaque", lambda: _extended("opaque", _numbers, pa.float64(), "kind", "vendor"), 8 * N, given=hasattr(pa, "opaque")),
    case("head", lambda: _numbers()[:HALF], 8 * HALF),
    case("tail", lambda: _numbers()[HALF:], 8 * HALF),
    case("slice of a slice", lambda: _numbers(missing=True)[1000:][7:HALF], (HALF - 7) * 8 + HALF // 8),
    case("ten elements of many", lambda: _numbers(missing=True)[50:60], 82),
    *[case(f"bits {start} to {stop}", lambda a=start, b=stop: _truth(missing=True)[a:b], (stop - start) // 4) for start, stop in ((0, 9), (3, HALF), (8, HALF), (8, HALF + 3), (7, 8), (1001, 9 * HALF + 5))],
    case("string, sliced", lambda: _texts()[1001:9000], 60 * (9000 - 1001)),
    case("string, ten of many", lambda: _texts()[50:60], 600),
    case("string_view, sliced", lambda: _texts(pa.string_view())[1001:9000], (9000 - 1001) * 72, given=VIEWS),
    case("string_view, ten of many", lambda: _texts(pa.string_view())[50:60], 720, given=VIEWS),
    case("large_list, sliced", lambda: _lists(pa.large_list(pa.float64()))[101:9000], (9000 - 101) * 40),
    case("list of three, sliced", lambda: pa.array([[1.5, None, 2.5], None] * ROWS, pa.list_(pa.float64(), 3))[101:9000], (9000 - 101) * 25),
    case("sliced to nothing", lambda: [_numbers()[5:5], _texts()[7:7], _structs()[:0], _dictionary()[9:9], _runs()[3:3], _truth()[8:8]]),
    *[case(f"empty {t}", lambda t=t: pa.array([], t)) for t in (pa.null(), pa.bool_(), pa.float64(), pa.string(), pa.list_(FIELD), pa.struct([FIELD]), TYPES[-8])],
    case("chunks", lambda: pa.chunked_array([_numbers(count=HALF), _numbers(count=0), _numbers(count=1), _numbers(count=HALF, missing=True)]), 8 * N + HALF // 8),
    case("chunks, sliced", lambda: pa.chunked_array([_numbers(count=HALF), _numbers(count=HALF)])[HALF - 1000 : HALF + 9000], 80_000),
    case("a hundred chunks of one array", _chunks, 800_000),
    case("no chunks", lambda: pa.chunked_array([], pa.list_(FIELD))),
    case("table", _table, 20 * N + N // 8),
    case("table, sliced", lambda: _table()[1001:90_000], (90_000 - 1001) * 20 + 88_999 // 8),
    case("table, ten rows of many", lambda: _table()[ROWS - 5 : ROWS + 5], 202),
    case("table, two columns", lambda: _table().select(["when", "x"]), 16 * N),
    case("table, one name twice", lambda: pa.Table.from_arrays([_numbers(), _texts(count=N)], ["x", "x"]), 68 * N),
    case("table, empty", lambda: _table()[:0]),
    case("table without columns", lambda: [_table().select([]), pa.table({})]),
    case("table of extension types", lambda: pa.table({"t": _temperatures(), "d": _dictionary(), "s": _structs()}), 24 * N + N // 8),
    case("batch", _batch, 68 * N),
    case("batch, sliced", lambda: _batch()[1001:90_000], (90_000 - 1001) * 68),
    case("batch, empty", lambda: _batch()[:0]),
    case("batch without columns", lambda: [_rows(0), _rows(7)]),
    case("batches of a table, and it", lambda: [(one := _table()), *one.to_batches()], 20 * N + N // 8),
    case("array, slice, table, and buffer", _of_one_buffer, 8 * N),
    case("text, slice, table, and buffer", _of_one_text, 64 * N),
    case("overlapping windows", _windows, 8 * N),
    case("struct and its field", lambda: [(one := _structs()), one.field(0), one.field("n")], 12 * N),
    case("lists and their elements", lambda: [(one := _lists(pa.list_(pa.float64()))), one.values, one[10:]], 9 * N + N),
    case("over numpy's memory", lambda: [(one := np.arange(float(N))), pa.array(one), pa.array(one)[HALF:]], 8 * N),
    case("array over bytes", lambda: pa.Array.from_buffers(pa.int64(), N, [None, pa.py_buffer(bytes(8 * N))]), 8 * N),
    case("buffer", _buffer, 8 * N),
    case("buffer, read-only", lambda: _buffer(kind=bytes), 8 * N),
    case("buffer, sliced", lambda: _buffer(kind=bytes).slice(1001, HALF), HALF),
    case("buffer, empty", lambda: [pa.py_buffer(b""), _buffer().slice(7, 0)]),
    case("buffer, small", lambda: [pa.py_buffer(b"octets"), pa.py_buffer(bytearray(b"octets"))]),
    case("tensor", lambda: pa.Tensor.from_numpy(_dense(), ["row", "column"]), 8 * N),
    case("tensor of half floats", lambda: pa.Tensor.from_numpy(_dense(dtype="<f2")), 2 * N),
    case("tensor in Fortran order", lambda: pa.Tensor.from_numpy(_dense("F")), 8 * N),
    case("tensor, strided", lambda: pa.Tensor.from_numpy(_dense()[::2, ::2]), 2 * N),
    case("tensor, empty", lambda: pa.Tensor.from_numpy(np.zeros((0, 3)))),
    case("sparse tensor", lambda: pa.SparseCOOTensor.from_dense_numpy(_mostly_zeros(), ["row", "column"]), 24 << 16),
    case("sparse tensor, not sorted", _coordinates, 20 * ROWS),
    case("sparse rows", lambda: pa.SparseCSRMatrix.from_dense_numpy(_mostly_zeros(), ["row", "column"]), (16 << 16) + 8200),
    case("sparse columns", lambda: pa.SparseCSCMatrix.from_dense_numpy(_mostly_zeros()), (16 << 16) + 8200),
    case("sparse fibres", lambda: pa.SparseCSFTensor.from_dense_numpy(_mostly_zeros(), ["row", "column"]), (16 << 16) + 4104),
    case("sparse and empty", lambda: [pa.SparseCOOTensor.from_dense_numpy(np.zeros((3, 3))), pa.SparseCSFTensor.from_dense_numpy(np.zeros((3, 3)))]),
    *[case(f"scalar {value!r}", lambda value=value: _scalar(value)) for value in SCALARS],
    case("scalars of half floats", lambda: [pa.scalar(np.float16(x), pa.float16()) for x in (2.5, np.nan, -0.0)]),
    case("scalars of arrays", lambda: [one[2] for one in (_dictionary(), _sparse_union(), _dense_union(), _runs(), _temperatures(), _structs(), _maps())]),
    case("scalar of a large list", lambda: _lists(pa.list_(pa.float64()), N // 2)[1], 8 * HALF),
    case("views as scalars", lambda: [pa.scalar("x" * 20, pa.string_view()), pa.scalar(b"x", pa.binary_view())], given=VIEWS),
    *[case(f"type {t}", lambda t=t: t) for t in TYPES],
    case("types younger", lambda: [pa.string_view(), pa.binary_view(), pa.list_view(FIELD), pa.large_list_view(FIELD)], given=VIEWS),
    case("fields", lambda: [FIELD, pa.field("", pa.null()), *(pa.field("f", t, nullable=False, metadata={b"\xff": ""}) for t in TYPES[1:])]),
    case("schema", lambda: pa.schema([FIELD, ("s", pa.string()), FIELD, ("t", Celsius(2))], metadata={"pandas": "{}", b"\xff": b"\x00"})),
    case("schema of everything", lambda: pa.schema([(str(i), t) for i, t in enumerate(TYPES)])),
    case("schema of nothing", lambda: [pa.schema([]), pa.schema([], metadata={"k": "v"})]),
]  # fmt: skip


# Types


def _subtypes(kind):
    """Return the fields and types that a type consists of."""
    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    names = ("key_field", "item_field", "value_field", "index_type", "value_type", "run_end_type")
    parts = [getattr(kind, name) for name in names if hasattr(kind, name)]
    if isinstance(kind, pa.StructType | pa.UnionType):
        parts += [kind.field(i) for i in range(kind.num_fields)]
    return parts


@compares(pa.DataType)
def _compare_types(comparison, got, want, where):
    names = ("ordered", "keys_sorted", "mode", "type_codes", "tz", "unit", "precision", "scale", "list_size", "places")
    facts = [(type(one), str(one), *(getattr(one, name, None) for name in names)) for one in (got, want)]
    if comparison.equal("dtype", *facts, where) and comparison.equal("dtype", got, want, where):
        if not got.equals(want, check_metadata=True):
            comparison.miss("metadata", f"{where}: of other fields")
        for i, (part, wanted) in enumerate(zip(_subtypes(got), _subtypes(want), strict=True)):
            compare = _compare_fields if isinstance(wanted, pa.Field) else _compare_types
            compare(comparison, part, wanted, f"{where}[{i}]")


@compares(pa.Field)
def _compare_fields(comparison, got, want, where):
    comparison.equal("names", got.name, want.name, f"{where}.name")
    comparison.equal("dtype", got.nullable, want.nullable, f"{where}.nullable")
    comparison.equal("metadata", got.metadata, want.metadata, f"{where}.metadata")
    _compare_types(comparison, got.type, want.type, f"{where}.type")


@compares(pa.Schema)
def _compare_schemas(comparison, got, want, where):
    comparison.equal("metadata", got.metadata, want.metadata, f"{where}.metadata")
    if comparison.equal("names", got.names, want.names, f"{where}.names"):
        for one, other in zip(got, want, strict=True):
            _compare_fields(comparison, one, other, f"{where}.{other.name}")


# Arrays


@compares(pa.Array)
def _compare_arrays(comparison, got, want, where):
    comparison.equal("type", type(got), type(want), where)
    _compare_types(comparison, got.type, want.type, f"{where}.type")
    comparison.equal("value", len(got), len(want), f"len({where})")
    if comparison.lost.keys() & {"type", "dtype", "value"} or not _is_valid(comparison, got, where):
        return
    comparison.equal("value", got.null_count, want.null_count, f"{where}.null_count")
    if isinstance(want, pa.ExtensionArray):
        _compare_arrays(comparison, got.storage, want.storage, f"{where}.storage")
        return
    if want.type in FLOATS:
        comparison.equal("value", *(_bits(one).equals(_bits(want)) for one in (got, want)), where)
    elif not got.equals(want):
        # Arrow takes no NaN for another.
        comparison.equal("value", *(repr(one.to_pylist()) for one in (got, want)), where)
    for name, (part, wanted) in _children(got, want).items():
        _compare_arrays(comparison, part, wanted, f"{where}{name}")
    for (start, nbytes), (wanted, wanted_nbytes) in zip(_memory(got), _memory(want), strict=False):
        if nbytes == wanted_nbytes:
            comparison.memory(where, start, wanted, nbytes)
        if start % min(wanted & -wanted, 8):
            comparison.miss("alignment", f"{where}: at {start:#x}")


def _is_valid(comparison, obj, where):
    try:
        obj.validate(full=True)
    except pa.ArrowInvalid as error:
        return comparison.miss("value", f"{where}.validate(): {error}")
    return True


def _bits(array):
    return array.view({16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[array.type.bit_width])


def _children(got, want):
    if isinstance(want, pa.DictionaryArray):
        names = {".indices": lambda one: one.indices, ".dictionary": lambda one: one.dictionary}
    elif isinstance(want, pa.StructArray):
        names = {f".field({i})": lambda one, i=i: one.field(i) for i in range(want.type.num_fields)}
    elif isinstance(want, pa.MapArray):
        names = {".keys": lambda one: _within(one, one.keys), ".items": lambda one: _within(one, one.items)}
    elif hasattr(want, "flatten") and len(want) and not want.null_count:
        names = {".flatten()": lambda one: one.flatten()}
    elif isinstance(want, pa.RunEndEncodedArray) and want.offset == 0:
        names = {".run_ends": lambda one: one.run_ends, ".values": lambda one: one.values}
    else:
        names = {}
    return {name: (part(got), part(want)) for name, part in names.items()}


def _within(array, values):
    """Return those of the values that a map holds: it knows all that it is a slice of."""
    if not len(array):
        return values[:0]
    first, last = (np.frombuffer(array.buffers()[1], "<i4")[array.offset + i] for i in (0, len(array)))
    return values[int(first) : int(last)]


def _memory(array):
    """Return the address and length of the memory of the elements, and of bits that have bytes of their own."""
    buffers, count, start = array.buffers(), len(array), array.offset
    if not count or isinstance(array, pa.UnionArray | pa.DictionaryArray | pa.RunEndEncodedArray):
        return
    whole_bytes = start % 8 == 0 and count % 8 == 0
    if buffers[0] and whole_bytes:
        yield buffers[0].address + start // 8, count // 8
    if array.type in {pa.string(), pa.binary(), pa.large_string(), pa.large_binary()}:
        width = 8 if "large" in str(array.type) else 4
        offsets = np.frombuffer(buffers[1], f"<i{width}")
        first, last = int(offsets[start]), int(offsets[start + count])
        if first == 0:
            yield buffers[1].address + start * width, (count + 1) * width
        if buffers[2]:
            yield buffers[2].address + first, last - first
    elif array.type == pa.bool_():
        if whole_bytes:
            yield buffers[1].address + start // 8, count // 8
    elif len(buffers) == 2 and not str(array.type).endswith("_view"):
        width = array.type.bit_width // 8
        yield buffers[1].address + start * width, count * width


@compares(pa.ChunkedArray)
def _compare_chunked(comparison, got, want, where):
    _compare_types(comparison, got.type, want.type, f"{where}.type")
    chunks = [list(map(len, one.chunks)) for one in (got, want)]
    if comparison.equal("layout", *chunks, f"{where}.chunks") and _is_valid(comparison, got, where):
        for i, (chunk, wanted) in enumerate(zip(got.chunks, want.chunks, strict=True)):
            _compare_arrays(comparison, chunk, wanted, f"{where}.chunk({i})")


@compares(pa.Table, pa.RecordBatch)
def _compare_tables(comparison, got, want, where):
    _compare_schemas(comparison, got.schema, want.schema, f"{where}.schema")
    same = comparison.equal("value", *((one.num_rows, one.num_columns) for one in (got, want)), f"{where}.shape")
    if same and _is_valid(comparison, got, where):
        compare = _compare_chunked if isinstance(want, pa.Table) else _compare_arrays
        for i, (column, wanted) in enumerate(zip(got.columns, want.columns, strict=True)):
            compare(comparison, column, wanted, f"{where}.column({i})")


@compares(pa.Scalar)
def _compare_scalars(comparison, got, want, where):
    _compare_types(comparison, got.type, want.type, f"{where}.type")
    if not comparison.lost.keys() & {"dtype"}:
        # As arrays, which tell all of their elements.
        _compare_arrays(comparison, *(_as_array(one) for one in (got, want)), where)
    if isinstance(want, pa.DictionaryScalar):
        _compare_arrays(comparison, got.dictionary, want.dictionary, f"{where}.dictionary")


def _as_array(scalar):
    if isinstance(scalar, pa.ListScalar | pa.LargeListScalar) and scalar.is_valid:
        return scalar.values
    if isinstance(scalar, pa.ExtensionScalar):
        return pa.ExtensionArray.from_storage(scalar.type, pa.array([scalar.value.as_py()], scalar.type.storage_type))
    return pa.repeat(scalar, 1)


# Memory


@compares(pa.Buffer)
def _compare_buffers(comparison, got, want, where):
    comparison.equal("mutability", got.is_mutable, want.is_mutable, f"{where}.is_mutable")
    comparison.equal("value", got.to_pybytes(), want.to_pybytes(), where)
    comparison.memory(where, got.address, want.address, want.size)


@compares(pa.Tensor)
def _compare_tensors(comparison, got, want, where):
    comparison.equal("names", got.dim_names, want.dim_names, f"{where}.dim_names")
    comparison.equal("mutability", got.is_mutable, want.is_mutable, f"{where}.is_mutable")
    compare_numpy(comparison, got.to_numpy(), want.to_numpy(), f"{where}.to_numpy()")


@compares(pa.SparseCOOTensor, pa.SparseCSRMatrix, pa.SparseCSCMatrix, pa.SparseCSFTensor)
def _compare_sparse(comparison, got, want, where):
    comparison.equal("names", got.dim_names, want.dim_names, f"{where}.dim_names")
    comparison.equal("dtype", got.type, want.type, f"{where}.type")
    comparison.equal("value", got.shape, want.shape, f"{where}.shape")
    comparison.equal("mutability", got.is_mutable, want.is_mutable, f"{where}.is_mutable")
    comparison.equal("value", *(getattr(one, "has_canonical_format", None) for one in (got, want)), where)
    comparison.parts(*({".to_numpy()": one.to_numpy()} for one in (got, want)), where)
    if not got.equals(want) and not np.isnan(want.to_numpy()[0]).any():
        comparison.miss("value", f"{where}: of another order")
