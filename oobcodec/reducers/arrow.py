"""Arrow: schemas, arrays and tables as views of the frames they arrive in, slices as what is theirs.

Types that a schema's message does not carry exactly (extension types, since the receiver may not know them), and arrays
of types that are younger than this module go Arrow's own way.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa  # type: ignore[import-untyped]

from oobcodec.engine import IN_BAND
from oobcodec.errors import DecodeError, EncodeError
from oobcodec.reducers.arrow_nodes import UnknownLayout, build, take, unknown
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oobcodec.buffers import Buffer
    from oobcodec.reducers.arrow_nodes import Array, DataType, Node

    Reduced: TypeAlias = str | tuple[Any, ...]

_PLAIN: Final[dict[str, DataType]] = {
    str(plain): plain
    for plain in (
        *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
        *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.date32(), pa.date64()),
    )
}
_NAMES: Final = {plain: name for name, plain in _PLAIN.items()}
_FLAT: Final = frozenset(plain.id for plain in _PLAIN.values() if plain != pa.null()) | {
    getattr(pa.lib, f"Type_{name}") for name in ("DECIMAL128", "DURATION", "TIME32", "TIME64", "TIMESTAMP")
}
"""Types of which a message about rows carries all there is."""
_IDS: Final = frozenset(number for name, number in vars(pa.lib).items() if name.startswith("Type_"))
"""Of the types that this pyarrow knows: Arrow itself, of the same version, may read more."""
_CANONICAL: Final = [
    getattr(pa, name)
    for name in ("Bool8Type", "FixedShapeTensorType", "JsonType", "OpaqueType", "UuidType")
    if hasattr(pa, name)
]
"""Extension types that Arrow has itself, some of them since lately."""
_EXTENSION: Final = b"ARROW:extension:name"
"""Field metadata that stands for an extension type, which a process that does not know it takes for its storage."""
_SPARSE: Final = {
    cls.__name__: cls for cls in (pa.SparseCOOTensor, pa.SparseCSRMatrix, pa.SparseCSCMatrix, pa.SparseCSFTensor)
}


# Types and schemas


def reduce_type(data_type: DataType) -> Reduced:
    """Take a type apart; one with an extension type in it goes Arrow's own way, which names the extension's class."""
    name = _NAMES.get(data_type)
    if name is not None:
        return rebuild_type, (name,)
    data = _serialized(pa.schema([pa.field("", data_type)]))
    if data:
        return rebuild_type, (data,)
    if isinstance(data_type, pa.MapType):  # Arrow's own way forgets that the keys are sorted
        return rebuild_map, (data_type.key_field, data_type.item_field, data_type.keys_sorted)
    return data_type.__reduce_ex__(5)  # type: ignore[no-any-return]


def reduce_field(field: Any) -> Reduced:
    """Take a field apart, its metadata included."""
    data = _serialized(pa.schema([field]))
    return (rebuild_field, (data,)) if data else field.__reduce_ex__(5)


def reduce_schema(schema: Any) -> Reduced:
    """Take a schema apart, its metadata included."""
    data = _serialized(schema)
    return (rebuild_schema, (data,)) if data else schema.__reduce_ex__(5)


def rebuild_map(key: Any, item: Any, keys_sorted: bool) -> DataType:  # noqa: FBT001  # pickle passes by position
    """Rebuild the type of a map from its fields."""
    return pa.map_(key, item, keys_sorted)


def _serialized(schema: Any) -> bytes | None:
    """Return the message of a schema, or None if the receiver might make another one of it."""
    data: bytes = schema.serialize().to_pybytes()
    # Of maps, for one, the names of the fields are lost.
    exact = _EXTENSION not in data and rebuild_schema(data).equals(schema, check_metadata=True)
    return data if exact else None


@lru_cache(maxsize=1024)
def rebuild_schema(data: bytes) -> Any:
    """Rebuild a schema from the message that Arrow's interprocess format makes of it.

    Raises
    ------
    DecodeError
        This pyarrow does not know all types in it.
    """
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(data))
    except pa.ArrowInvalid as error:
        message = (
            f"pyarrow {pa.__version__} does not read this schema: {error}; install the version that the sender has"
        )
        raise DecodeError(message) from error
    for data_type in schema.types:
        if data_type.id not in _IDS:
            raise unknown(data_type)
    return schema


def rebuild_field(data: bytes) -> Any:
    """Rebuild a field from the message of a schema that has no other."""
    return rebuild_schema(data).field(0)


def rebuild_type(name: str | bytes) -> DataType:
    """Rebuild a type without parameters from its name, another one as that of a field."""
    return _PLAIN[name] if isinstance(name, str) else rebuild_schema(name).field(0).type


def reduce_canonical(data_type: DataType) -> Reduced:
    """Take an extension type apart that Arrow has itself."""
    function, arguments = data_type.__reduce__()
    return rebuild_canonical, (function.__name__, *arguments)


def rebuild_canonical(name: str, *arguments: Any) -> DataType:
    """Rebuild an extension type that the function with that name in `pyarrow` makes.

    Raises
    ------
    DecodeError
        This pyarrow has none.
    """
    make = getattr(pa, name, None)
    if make is None:
        message = f"pyarrow {pa.__version__} has no extension type {name!r}: install the version that the sender has"
        raise DecodeError(message)
    return make(*arguments)


def _check_order(byteorder: str) -> None:
    if byteorder != sys.byteorder:
        message = f"Arrow's memory of a {byteorder}-endian machine means something else on a {sys.byteorder}-endian one"
        raise DecodeError(message)


# What users hold


def _or_its_own_way(reduce: Callable[[Any], Reduced]) -> Callable[[Any], Reduced]:
    def reduce_known(obj: Any) -> Reduced:
        try:
            return reduce(obj)
        except UnknownLayout:
            return obj.__reduce_ex__(5)  # type: ignore[no-any-return]

    return reduce_known


def reduce_array(array: Array) -> Reduced:
    """Take an array apart."""
    return rebuild_array, (array.type, take(array), sys.byteorder)


def rebuild_array(data_type: DataType, node: Node, byteorder: str) -> Array:
    """Rebuild an array over the buffers of a node.

    Parameters
    ----------
    data_type
        The type.
    node
        ``(length, buffers, *children)``: the buffers of Arrow's columnar format in their order, None for one that is
        absent, and a node for each child. A dictionary array has the node of its dictionary behind those of its
        indices; an extension array is that of its storage.
    byteorder
        `sys.byteorder` of the sender.

    Raises
    ------
    DecodeError
        This machine orders bytes differently.
    """
    _check_order(byteorder)
    return build(data_type, node)


def reduce_chunked(chunked: Any) -> Reduced:
    """Take a chunked array apart, and keep its chunks."""
    return rebuild_chunked, (chunked.type, [take(chunk) for chunk in chunked.chunks], sys.byteorder)


def rebuild_chunked(data_type: DataType, nodes: Sequence[Node], byteorder: str) -> Any:
    """Rebuild a chunked array from a node a chunk."""
    _check_order(byteorder)
    return pa.chunked_array([build(data_type, node) for node in nodes], data_type)


def reduce_batch(batch: Any) -> Reduced:
    """Take a record batch apart."""
    if messages := _messages([batch]):
        return rebuild_short_batch, messages
    return rebuild_batch, (batch.schema, batch.num_rows, [take(column) for column in batch.columns], sys.byteorder)


def rebuild_batch(schema: Any, length: int, nodes: Sequence[Node], byteorder: str) -> Any:
    """Rebuild a record batch of so many rows from a node a column."""
    _check_order(byteorder)
    if not nodes:
        rows = pa.Array.from_buffers(pa.struct([]), length, [None])
        return pa.RecordBatch.from_struct_array(rows).replace_schema_metadata(schema.metadata)
    return pa.RecordBatch.from_arrays(list(map(build, schema.types, nodes)), schema=schema)


def _messages(batches: Sequence[Any]) -> tuple[bytes, bytes, str] | None:
    """Return what Arrow's interprocess format makes of a single batch, if that is not worth a frame."""
    if len(batches) != 1 or not 0 < batches[0].num_rows < IN_BAND:
        return None
    (batch,) = batches
    schema = batch.schema
    for data_type in schema.types:
        if data_type.id not in _FLAT:
            return None
    if pa.ipc.get_record_batch_size(batch) >= IN_BAND:
        return None
    data = schema.serialize().to_pybytes()
    return None if _EXTENSION in data else (data, batch.serialize().to_pybytes(), sys.byteorder)


def rebuild_short_batch(schema: bytes, data: bytes, byteorder: str) -> Any:
    """Rebuild a record batch from two messages of Arrow's interprocess format: of its schema, and of its columns."""
    _check_order(byteorder)
    return pa.ipc.read_record_batch(pa.py_buffer(data), rebuild_schema(schema))


def reduce_table(table: Any) -> Reduced:
    """Take a table apart, and keep the chunks of its columns."""
    if not table.num_columns:
        return rebuild_table, (table.schema, table.num_rows, sys.byteorder)
    if table.num_rows < IN_BAND and (messages := _messages(table.to_batches())):
        return rebuild_short_table, messages
    columns = [[take(chunk) for chunk in column.chunks] for column in table.itercolumns()]
    return rebuild_table, (table.schema, columns, sys.byteorder)


def rebuild_table(schema: Any, columns: Sequence[Sequence[Node]] | int, byteorder: str) -> Any:
    """Rebuild a table from a list of nodes a column, or its number of rows if it has no columns."""
    if isinstance(columns, int):
        return pa.Table.from_batches([rebuild_batch(schema, columns, (), byteorder)])
    _check_order(byteorder)
    arrays = [
        pa.chunked_array([build(data_type, node) for node in nodes], data_type)
        for data_type, nodes in zip(schema.types, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def rebuild_short_table(schema: bytes, data: bytes, byteorder: str) -> Any:
    """Rebuild a table of one batch, as `rebuild_short_batch` does."""
    return pa.Table.from_batches([rebuild_short_batch(schema, data, byteorder)])


def reduce_scalar(scalar: Any) -> Reduced:
    """Take a scalar apart as an array of it."""
    if not isinstance(scalar, pa.ExtensionScalar):
        return rebuild_scalar, (pa.repeat(scalar, 1),)
    storage = scalar.value if scalar.is_valid else pa.scalar(None, scalar.type.storage_type)
    return rebuild_scalar, (pa.ExtensionArray.from_storage(scalar.type, pa.repeat(storage, 1)),)


def rebuild_scalar(array: Array) -> Any:
    """Rebuild a scalar as the first element of an array."""
    return array[0]


def reduce_buffer(buffer: Any) -> Reduced:
    """Take a buffer apart."""
    return rebuild_buffer, (PickleBuffer(buffer),)


def rebuild_buffer(memory: Buffer) -> Any:
    """Rebuild a buffer over `memory`."""
    return pa.py_buffer(memory)


def reduce_tensor(tensor: Any) -> Reduced:
    """Take a tensor apart as an array of numpy's over the same memory."""
    return rebuild_tensor, (tensor.to_numpy(), tensor.dim_names)


def rebuild_tensor(array: Any, names: Sequence[str]) -> Any:
    """Rebuild a tensor over the memory of an array of numpy's."""
    return pa.Tensor.from_numpy(array, dim_names=names or None)


def reduce_sparse(tensor: Any) -> Reduced:
    """Take a sparse tensor apart as arrays of numpy's over the same memory.

    Raises
    ------
    EncodeError
        Nobody can tell which axis of a `SparseCSFTensor` is which.
    """
    data, *places = tensor.to_numpy()
    arguments = type(tensor).__name__, data, places, tensor.shape, tensor.dim_names
    # Arrow keeps the order of the axes to itself, and takes no NaN for another.
    if isinstance(tensor, pa.SparseCSFTensor) and not rebuild_sparse(*arguments).equals(tensor):
        message = "Arrow does not tell the order of the axes of a SparseCSFTensor, and this one has another or "
        message += "holds NaN: send the arrays that its to_numpy() returns"
        raise EncodeError(message)
    return rebuild_sparse, arguments


def rebuild_sparse(name: str, data: Any, places: Sequence[Any], shape: Sequence[int], names: Sequence[str]) -> Any:
    """Rebuild a sparse tensor over the memory of arrays of numpy's.

    Parameters
    ----------
    name
        Of its class.
    data, places
        The elements, and where they are, as ``from_numpy`` of the class takes them.
    shape, names
        The lengths of the axes, and their names if they have any.
    """
    if name == "SparseCOOTensor" and not len(data):
        (where,) = places
        # Of those of nothing, Arrow takes just these strides, which numpy does not have by itself.
        places = [type(where)(where.shape, where.dtype, bytearray(), 0, (where.itemsize, where.itemsize))]
    return _SPARSE[name].from_numpy(data, *places, shape=shape, dim_names=names or None)


def register() -> None:
    """Tell the registry."""
    for base, reduce in (
        (pa.DataType, reduce_type),
        (pa.Array, _or_its_own_way(reduce_array)),
        (pa.Scalar, reduce_scalar),
    ):
        for cls in vars(pa.lib).values():
            # One by one: many have a pickling method of their own. Extension types do, and know best.
            if isinstance(cls, type) and issubclass(cls, base) and not issubclass(cls, pa.BaseExtensionType):
                DEFAULT.provide(cls, reduce)
    DEFAULT.provide(pa.ExtensionArray, _or_its_own_way(reduce_array), subclasses=True)
    for cls in _CANONICAL:
        DEFAULT.provide(cls, reduce_canonical)
    DEFAULT.provide(pa.Field, reduce_field)
    DEFAULT.provide(pa.Schema, reduce_schema)
    DEFAULT.provide(pa.ChunkedArray, _or_its_own_way(reduce_chunked))
    DEFAULT.provide(pa.RecordBatch, _or_its_own_way(reduce_batch))
    DEFAULT.provide(pa.Table, _or_its_own_way(reduce_table))
    DEFAULT.provide(pa.Buffer, reduce_buffer)
    DEFAULT.provide(pa.Tensor, reduce_tensor)
    for sparse in _SPARSE.values():
        DEFAULT.provide(sparse, reduce_sparse)
