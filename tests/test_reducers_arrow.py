import dataclasses
import pickle
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import received, run_python, transferred, weight

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError, EncodeError
from oobcodec.reducers import arrow, arrow_nodes

arrow.register()


class Celsius(pa.ExtensionType):
    """Registered nowhere: a receiver finds it by its class."""

    def __init__(self, places=1):
        self.places = places
        super().__init__(pa.float64(), "tests.celsius")

    def __arrow_ext_serialize__(self):
        return b"%d" % self.places

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls(int(serialized))

    def __arrow_ext_class__(self):
        return Temperatures


class Temperatures(pa.ExtensionArray):
    pass


@dataclasses.dataclass
class Holder:
    table: Any


FIELD = pa.field("n", pa.int32(), nullable=False, metadata={b"unit": b"m"})
TYPES = [
    *arrow._PLAIN.values(),
    *(pa.decimal128(20, 3), pa.decimal256(50, 3), pa.binary(3), pa.fixed_shape_tensor(pa.int8(), (2, 2))),
    *(pa.timestamp("ns", "Europe/Paris"), pa.timestamp("s"), pa.time32("ms"), pa.duration("us")),
    *(pa.month_day_nano_interval(), pa.list_(FIELD), pa.large_list(FIELD), pa.list_(FIELD, 3)),
    *(pa.map_(pa.string(), FIELD, keys_sorted=True), pa.struct([FIELD]), pa.struct([])),
    *(pa.dictionary(pa.int8(), pa.string(), ordered=True), pa.run_end_encoded(pa.int16(), pa.string())),
    *(pa.sparse_union([FIELD, FIELD], [5, 7]), pa.dense_union([FIELD])),
    *(Celsius(3), pa.list_(Celsius(3)), pa.struct([pa.field("t", Celsius(3), metadata={b"k": b"v"})])),
    # What early versions do not have.
    *(make(5, 2) for name in ("decimal32", "decimal64") if (make := getattr(pa, name, None))),
    *(make(FIELD) for name in ("list_view", "large_list_view") if (make := getattr(pa, name, None))),
    *(make() for name in ("string_view", "binary_view", "uuid", "json_", "bool8") if (make := getattr(pa, name, None))),
    *(pa.opaque(pa.int8(), "x", "y") for _ in range(hasattr(pa, "opaque"))),
]


@pytest.mark.parametrize("data_type", TYPES, ids=str)
def test_types_fields_and_schemas(data_type):
    field = pa.field("name", data_type, nullable=data_type == pa.null(), metadata={b"key": b"\xff"})
    schema = pa.schema([field, FIELD], metadata={b"pandas": b"{}"})
    for obj in (data_type, field, schema):
        back = transferred(obj)
        assert type(back) is type(obj)
        assert back.equals(obj, check_metadata=True)
    assert transferred(schema).metadata == schema.metadata
    assert transferred(data_type) == data_type


def test_extension_types_that_nobody_registered():
    array = pa.ExtensionArray.from_storage(Celsius(3), pa.array([1.5, None] * 1000))
    table = pa.table({"t": array})
    for obj in (array, table, table["t"]):
        frames = dumps(obj)
        assert max(frame.nbytes for frame in frames) == 16_000
        back = loads(received(frames))
        assert back == obj
        assert transferred(obj[:3]) == obj[:3]
    assert type(transferred(array)) is Temperatures
    assert transferred(array).type.places == 3


def make_table():
    return pa.table(
        {
            "f": pa.chunked_array([[1.5, None] * 500, [2.5] * 1000]),
            "s": pa.chunked_array([[f"text {i}" for i in range(2000)]]),
            "d": pa.chunked_array([pa.array(["a", "b"] * 1000).dictionary_encode()]),
        },
        metadata={b"key": b"value"},
    )


@pytest.mark.parametrize("memory", [bytearray, bytes])
def test_tables_keep_their_chunks_and_metadata(memory):
    table = make_table()
    for obj in (table, table[3:999], table[1001:1500], table[:0], table.select(["s"]), table["f"], table["f"][990:]):
        back = transferred({"nested": [Holder(obj), lambda: 0]}, memory)["nested"][0].table
        back.validate(full=True)
        assert back == obj
        if isinstance(obj, pa.Table):
            assert back.schema.equals(obj.schema, check_metadata=True)
            assert [c.num_chunks for c in back.columns] == [c.num_chunks for c in obj.columns]
        else:
            assert back.num_chunks == obj.num_chunks
            assert back.type == obj.type


@pytest.mark.parametrize("rows", [0, 5])
def test_rows_without_columns(rows):
    table = make_table()[:rows].select([])
    batch = make_table().to_batches()[0][:rows].select([])
    for obj in (table, batch):
        back = transferred(obj)
        assert type(back) is type(obj)
        assert back.num_rows == rows
        assert back.schema.equals(obj.schema, check_metadata=True)
    assert transferred(pa.chunked_array([], pa.int8())).type == pa.int8()


def test_batches():
    for batch in (make_table().to_batches()[0], make_table().to_batches()[1][3:50]):
        back = transferred(batch)
        back.validate(full=True)
        assert back.equals(batch, check_metadata=True)


def test_one_memory_travels_once():
    table = pa.table({"x": pa.array(range(100_000))})
    array = table["x"].chunk(0)
    buffer = array.buffers()[1]
    shared = [table, array, array[5000:], table[100:90_000], buffer, buffer.slice(80, 8000), np.asarray(array)]
    frames = dumps(shared)
    assert weight(frames) < 1.05 * buffer.size
    assert pa.py_buffer(frames[2]).address == buffer.address
    back = loads(received(frames))
    assert back[0] == table
    assert back[5].equals(buffer.slice(80, 8000))
    assert back[1].buffers()[1].address == back[4].address == back[6].ctypes.data
    assert transferred([table, table])[0] is not table
    first, second = transferred([table, table])
    assert first is second


def test_ten_rows_of_a_million():
    table = pa.table({"f": pa.array([1.5] * 1_000_000), "s": pa.array(["abc"] * 1_000_000)})
    frames = dumps(table[500_001:500_011])
    assert weight(frames) <= 4096
    frames = dumps(table)
    assert frames[1].nbytes <= 8192
    assert weight(frames) <= 1.05 * table.nbytes


def test_memory_of_numpy_stays_its_memory():
    numbers = np.arange(1000.0)
    back_array, back = transferred([numbers, pa.array(numbers)])
    assert back_array.flags.writeable
    back_array[0] = 7
    assert back[0].as_py() == 7


@pytest.mark.parametrize("memory", [bytearray, bytes])
def test_buffers(memory):
    for buffer in (pa.py_buffer(b"x" * 2000), pa.py_buffer(b""), pa.py_buffer(bytearray(5000)).slice(3, 4000)):
        back = transferred(buffer, memory)
        assert back.equals(buffer)
        assert back.is_mutable == (buffer.is_mutable and (memory is bytearray or not buffer.size))


SCALARS = [
    *(1, None, 2.5, "text", b"octets", [1, None], {"a": 1}),
    pa.scalar(1, pa.int8()),
    pa.scalar(123_456_789_012_345_678, pa.timestamp("ns", "UTC")),
    pa.array(["a", "b"]).dictionary_encode()[1],
    *(pa.scalar("view", make()) for make in [getattr(pa, "string_view", None)] if make),
    pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])[0],
    *pa.ExtensionArray.from_storage(Celsius(2), pa.array([1.5, None], Celsius(2).storage_type)),
]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_scalars(value):
    scalar = value if isinstance(value, pa.Scalar) else pa.scalar(value)
    back = transferred(scalar)
    assert type(back) is type(scalar)
    assert back.type == scalar.type
    assert back.equals(scalar)


def test_tensors():
    numbers = np.arange(6000.0).reshape(20, 300)
    for array, names in ((numbers, ["row", "column"]), (numbers.T, None), (numbers[::2, ::3], None)):
        tensor = pa.Tensor.from_numpy(array, names)
        with pytest.raises(TypeError):
            pickle.dumps(tensor)
        back = transferred(tensor)
        assert back.equals(tensor)
        assert back.dim_names == tensor.dim_names
    frames = dumps(pa.Tensor.from_numpy(numbers))
    assert pa.py_buffer(frames[2]).address == numbers.ctypes.data


@pytest.mark.parametrize("memory", [bytearray, bytes])
@pytest.mark.parametrize("cls", arrow._SPARSE.values())
def test_sparse_tensors(cls, memory):
    dense = np.zeros((600, 300))
    dense[::2, ::2] = np.arange(1, 300 * 150 + 1).reshape(300, 150)
    for tensor in (cls.from_dense_numpy(dense, ["row", "column"]), cls.from_dense_numpy(np.zeros((2, 2), "f2"))):
        with pytest.raises(TypeError):
            pickle.dumps(tensor)
        frames = dumps(tensor)
        back = loads(received(frames, memory))
        assert type(back) is cls
        assert back.equals(tensor)
        assert (back.type, back.shape, back.dim_names) == (tensor.type, tensor.shape, tensor.dim_names)
        assert back.is_mutable == (memory is bytearray or not tensor.non_zero_length)
        if tensor.non_zero_length:
            assert tensor.to_numpy()[0].ctypes.data in {pa.py_buffer(frame).address for frame in frames}
            assert frames[1].nbytes < 1000


def test_sparse_coordinates_in_any_order():
    coordinates = np.array([[1, 0], [0, 1], [0, 1]])
    tensor = pa.SparseCOOTensor.from_numpy(np.array([1.0, 2.0, np.nan]), coordinates, (2, 3))
    back = transferred(tensor)
    assert not back.has_canonical_format
    for part, expected in zip(back.to_numpy(), tensor.to_numpy(), strict=True):
        assert np.array_equal(part, expected, equal_nan=True)


def test_sparse_axes_in_an_order_that_nobody_can_tell():
    plain = pa.SparseCSFTensor.from_dense_numpy(np.eye(3))
    tensor = pa.SparseCSFTensor.from_numpy(*plain.to_numpy(), plain.shape, axis_order=[1, 0])
    with pytest.raises(EncodeError, match=r"order of the axes of a SparseCSFTensor.*: send the arrays"):
        dumps([tensor])


def test_a_type_from_the_future_goes_arrows_own_way(monkeypatch):
    monkeypatch.delitem(arrow_nodes._LAYOUTS, pa.int8().id)
    table = pa.table({"known": pa.array([1.5] * 1000), "unknown": pa.array([1] * 1000, pa.int8())})
    for obj in (table, table["unknown"], table["unknown"].chunk(0), table.to_batches()[0]):
        assert transferred(obj) == obj


def test_the_other_byte_order_is_refused():
    other = "big" if sys.byteorder == "little" else "little"
    array, chunked, batch, table = pa.array([1]), pa.chunked_array([[1]]), make_table().to_batches()[0], make_table()
    for reduce, obj in (
        (arrow.reduce_array, array),
        (arrow.reduce_chunked, chunked),
        (arrow.reduce_batch, batch),
        (arrow.reduce_table, table),
    ):
        rebuild, (*arguments, order) = reduce(obj)
        assert order == sys.byteorder
        with pytest.raises(DecodeError, match=f"of a {other}-endian machine"):
            rebuild(*arguments, other)


def test_another_process_rebuilds_what_it_never_imported(tmp_path):
    table = make_table()
    for i, frame in enumerate(dumps(table)):
        (tmp_path / str(i)).write_bytes(frame)
    script = """
        import pathlib, sys
        from oobcodec.codec import loads
        assert "pyarrow" not in sys.modules
        paths = sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda path: int(path.name))
        table = loads([path.read_bytes() for path in paths])
        table.validate(full=True)
        print(table.schema.metadata, table["f"].to_pylist()[:2], table["s"][1999], table["d"][1])
    """
    assert run_python(script, tmp_path).decode() == "{b'key': b'value'} [1.5, None] text 1999 b\n"


def test_streams_name_nothing_of_arrows():
    frames = dumps([make_table(), pa.list_(FIELD), FIELD, pa.scalar(1), pa.py_buffer(b""), make_table()["d"].chunk(0)])
    assert b"pyarrow" not in bytes(frames[1])


# What this version does not have


def test_types_that_this_version_does_not_have_are_refused(monkeypatch):
    frames = received(dumps(pa.month_day_nano_interval()))
    arrow.rebuild_schema.cache_clear()
    monkeypatch.setattr(arrow, "_IDS", frozenset())
    message = (
        rf"pyarrow {pa.__version__} has no arrays of type month_day_nano_interval: install pyarrow the version that"
    )
    with pytest.raises(DecodeError, match=message):
        loads(frames)


def test_schemas_that_this_version_does_not_read_are_refused():
    schema = pa.schema([("x", pa.decimal256(5, 2))]).serialize().to_pybytes()
    width = schema.rindex((256).to_bytes(4, "little"))
    with pytest.raises(DecodeError, match=rf"pyarrow {pa.__version__} does not read this schema: .* decimal"):
        arrow.rebuild_schema(schema[:width] + (7).to_bytes(4, "little") + schema[width + 4 :])


def test_extension_types_that_this_version_does_not_have_are_refused():
    message = rf"pyarrow {pa.__version__} has no extension type 'quaternion': install the version that the sender has"
    with pytest.raises(DecodeError, match=message):
        arrow.rebuild_canonical("quaternion", pa.float64())


def test_extension_types_of_arrow_name_no_private_function():
    tensor = pa.fixed_shape_tensor(pa.int8(), (2, 3), dim_names=["a", "b"], permutation=[1, 0])
    frames = received(dumps(tensor))
    assert b"pyarrow" not in frames[1]
    got = loads(frames)
    assert (got, got.shape, got.dim_names, got.permutation) == (tensor, [2, 3], ["a", "b"], [1, 0])
