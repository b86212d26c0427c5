"""Serializers for objects of some types; they refuse others."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from io import BytesIO
from typing import TYPE_CHECKING, Any

from benchmarks.peers.peer import one_buffer

if TYPE_CHECKING:
    from benchmarks.peers.peer import Peer


def numpy_save() -> Peer:
    import numpy as np  # noqa: PLC0415

    def dumps(array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            raise _refusal(array)
        file = BytesIO()
        np.save(file, array, allow_pickle=False)
        return file.getbuffer()

    return one_buffer("numpy.save", np.__version__, dumps, lambda data: np.load(BytesIO(data)))


def torch_save() -> Peer:
    torch = import_module("torch")

    def dumps(obj: Any) -> Any:
        file = BytesIO()
        torch.save(obj, file)
        return file.getbuffer()

    def loads(data: Any) -> Any:
        return torch.load(BytesIO(data), weights_only=False)

    return one_buffer("torch.save", version("torch"), dumps, loads)


def safetensors() -> Peer:
    """Return what writes dicts of tensors; a tensor by itself is one of those."""
    torch, module = import_module("torch"), import_module("safetensors.torch")

    def dumps(obj: Any) -> Any:
        tensors = {"": obj} if isinstance(obj, torch.Tensor) else obj
        if not isinstance(tensors, dict) or not all(isinstance(each, torch.Tensor) for each in tensors.values()):
            raise _refusal(obj)
        return module.save(tensors)

    def loads(data: Any) -> Any:
        tensors = module.load(bytes(data))
        return tensors.get("", tensors)

    return one_buffer("safetensors", version("safetensors"), dumps, loads)


def arrow_ipc() -> Peer:
    """Return what writes a table to a stream, with the conversions of pandas and polars to and from one."""
    pa = import_module("pyarrow")

    def dumps(obj: Any) -> Any:
        table, origin = _to_table(pa, obj)
        sink = pa.BufferOutputStream()
        tagged = table.replace_schema_metadata({**(table.schema.metadata or {}), b"": origin})
        with pa.ipc.new_stream(sink, tagged.schema) as stream:
            stream.write_table(tagged)
        return sink.getvalue()

    def loads(data: Any) -> Any:
        table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
        metadata = dict(table.schema.metadata)
        origin = metadata.pop(b"")
        return _from_table(table.replace_schema_metadata(metadata or None), origin)

    return one_buffer("Arrow IPC", version("pyarrow"), dumps, loads)


def _to_table(pa: Any, obj: Any) -> tuple[Any, bytes]:
    match type(obj).__module__.partition(".")[0], type(obj).__name__:
        case "pyarrow", "Table":
            return obj, b"pyarrow"
        case "polars", "DataFrame":
            return obj.to_arrow(), b"polars"
        case "pandas", "DataFrame":
            return pa.Table.from_pandas(obj), b"pandas"
        case _:
            raise _refusal(obj)


def _from_table(table: Any, origin: bytes) -> Any:
    match origin:
        case b"polars":
            return import_module("polars").from_arrow(table)
        case b"pandas":
            return table.to_pandas()
        case _:
            return table


def msgspec() -> Peer:
    msgpack = import_module("msgspec").msgpack
    return one_buffer("msgspec", version("msgspec"), msgpack.encode, msgpack.decode)


def _refusal(obj: object) -> TypeError:
    return TypeError(f"not for objects of type {type(obj).__name__}")
