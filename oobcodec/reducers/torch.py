"""torch: tensors over the frames they arrive in, on storages that they share as they did.

A tensor that fills its storage travels as that storage, which pickle sees once however many tensors have it. Of another
one only the part that it spans travels, and if that has gaps, its elements only.

As with torch's own pickling, gradients, hooks and the graph stay at home.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, UntypedStorage
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from oobcodec.engine import IN_BAND
from oobcodec.errors import DecodeError, EncodeError
from oobcodec.reducers.attributes import with_attributes
from oobcodec.reducers.torch_storages import CPU, NO_DATA, memory_at, memory_of, placed, reduce_storage
from oobcodec.registry import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oobcodec.reducers.torch_storages import Ints, Reduced
    from oobcodec.registry import BufferCall

_STRIDED: Final = torch.strided


class _ByName(dict[str, Any]):
    """What belongs to the dtypes of this torch, by their names."""

    def __missing__(self, name: str) -> Any:
        message = f"torch {torch.__version__} has no dtype {name!r}: install the sender's version"
        raise DecodeError(message)


_DTYPES: Final = _ByName((str(dtype)[6:], dtype) for dtype in vars(torch).values() if isinstance(dtype, torch.dtype))
# With a scale beside them, and of several elements in a byte.
_QUANTIZED: Final = frozenset({torch.qint8, torch.quint8, torch.qint32})
_PACKED: Final = frozenset({torch.quint4x2, torch.quint2x4})
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items() if dtype not in _QUANTIZED | _PACKED}
# Complex numbers may be conjugate, which is not worth asking all others.
_plain_name = {dtype: name for dtype, name in _NAMES.items() if not dtype.is_complex}.get
_COMPRESSED: Final = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}
# torch.nn.Buffer came with torch 2.5.
_IN_NN: Final = [name for name in ("Parameter", "Buffer") if hasattr(torch.nn, name)]
_OWN_CLASSES: Final[dict[type, str]] = {Tensor: "Tensor"} | {getattr(torch.nn, name): name for name in _IN_NN}
_CONSTANTS: Final = (torch.layout, torch.memory_format, torch.qscheme)
_PHANTOMS: Final = (FakeTensor, FunctionalTensor)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what torch says of kinds of tensors that the sender chose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


with _quiet():
    # Methods of tensors to make others with, which is the fastest way to one of a dtype.
    _BLANKS: Final = _ByName((name, torch.empty(0, dtype=dtype, device=CPU).new) for dtype, name in _NAMES.items())


# Tensors


def reduce_tensor(tensor: Any) -> Reduced:
    """Take a tensor apart, or one of a subclass that has no pickling method of its own."""
    if type(tensor) is not Tensor or tensor.requires_grad or tensor.__dict__:
        return _reduce_view(tensor)
    name = _plain_name(tensor.dtype)
    if name is None or not tensor.is_cpu or tensor.is_neg():
        return _reduce_unusual(tensor)
    try:
        storage, strides = tensor.untyped_storage(), tensor.stride()
    except (NotImplementedError, RuntimeError):
        return _reduce_unusual(tensor)  # which knows what it is that has none: of another layout, for example
    nbytes = tensor.nbytes
    if nbytes == storage.nbytes() and nbytes and tensor.is_contiguous():
        return rebuild_tensor, (storage, strides, name, tuple(tensor.size()))
    return rebuild_tensor, (*memory_of(tensor, storage), name, tuple(tensor.size()))


def _alone(tensor: Any) -> BufferCall | None:
    """Return how a large plain tensor is rebuilt where no other one can share its storage."""
    name = _plain_name(tensor.dtype)
    if name is None or not tensor.is_cpu or tensor.requires_grad or tensor.__dict__ or tensor.is_neg():
        return None
    try:
        storage, strides = tensor.untyped_storage(), tensor.stride()
        nbytes, address = storage.nbytes(), storage.data_ptr()
    except (NotImplementedError, RuntimeError):
        return None
    if nbytes < IN_BAND or nbytes != tensor.nbytes or not tensor.is_contiguous():
        return None
    return rebuild_tensor, memory_at(address, nbytes, storage), (strides, name, tuple(tensor.size()))


def reduce_without_names(tensor: Any) -> Reduced:
    """Take a tensor apart in an early torch, where the axes of some have names, which not all later ones know."""
    if tensor.has_names():
        message = f"a tensor with names of axes {tensor.names} cannot be sent: send tensor.rename(None)"
        raise EncodeError(message)
    return reduce_tensor(tensor)


def rebuild_tensor(  # noqa: PLR0913, PLR0917
    memory: Any,
    strides: Ints,
    dtype: str,
    shape: Ints,
    conjugate: bool = False,  # noqa: FBT001, FBT002  # pickle passes by position
    negative: bool = False,  # noqa: FBT001, FBT002
) -> Tensor:
    """Rebuild a tensor on a storage, or over a buffer.

    Parameters
    ----------
    memory
        Either all bytes from the first to the last of the tensor, or if that is another number, its elements alone:
        contiguous, and their axes in the order in which they lay in memory.
    strides
        Elements from one to the next along each axis.
    dtype
        The name of the dtype.
    shape
        The shape.
    conjugate, negative
        Whether the values are the conjugates, and the negatives, of those in memory.

    Raises
    ------
    DecodeError
        This torch has no such dtype.
    """
    blank = _BLANKS[dtype]()
    if type(memory) is not UntypedStorage:
        memory, strides = placed(memory, strides, shape, blank.itemsize)
    if memory.device != CPU:
        blank = blank.to(memory.device)
    elif memory.data_ptr() % blank.itemsize:
        memory = memory.clone()  # some of torch's functions crash on elements at odd addresses
    tensor = blank.set_(memory, 0, shape, strides)
    return _with_bits(tensor, conjugate=conjugate, negative=negative) if conjugate or negative else tensor


def _with_bits(tensor: Tensor, *, conjugate: bool, negative: bool) -> Tensor:
    # Nothing public sets the bits.
    if conjugate:
        torch._C._set_conj(tensor, True)  # noqa: FBT003, SLF001
    if negative:
        torch._C._set_neg(tensor, True)  # noqa: FBT003, SLF001
    return tensor


# Subclasses, and what a plain tensor may have besides its elements


def _reduce_view(tensor: Any) -> Reduced:
    cls = type(tensor)
    name = _OWN_CLASSES.get(cls)
    if name is None and cls.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        if isinstance(tensor, _PHANTOMS):
            raise EncodeError(NO_DATA)
        return tensor.__reduce_ex__(5)  # type: ignore[no-any-return]  # its elements are in its attributes
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001  # a subclass may count what is done to it
        arguments = (name or cls, tensor.data, tensor.requires_grad)
        state = object.__getstate__(tensor)
    return with_attributes(rebuild_view, arguments, state)


def rebuild_view(cls: str | type, data: Tensor, requires_grad: bool) -> Any:  # noqa: FBT001  # pickle passes by position
    """Rebuild a tensor of a class on the memory of `data`, without its attributes.

    Raises
    ------
    DecodeError
        This torch has no such class.
    """
    if isinstance(cls, str):
        found = Tensor if cls == "Tensor" else getattr(torch.nn, cls, None)
        if found is None:
            message = f"torch {torch.__version__} has no torch.nn.{cls}: install the sender's version"
            raise DecodeError(message)
        cls = found
    return Tensor._make_subclass(cls, data, requires_grad)  # noqa: SLF001  # as torch.nn.Parameter does


# Other kinds of tensors


def _reduce_unusual(tensor: Any) -> Reduced:  # noqa: PLR0911  # a kind after another
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # noqa: SLF001
        raise EncodeError(NO_DATA)
    if tensor.is_nested:
        # As lists: they stay on the CPU wherever the values go.
        parts = (tensor._nested_tensor_size(), tensor._nested_tensor_strides(), tensor._nested_tensor_storage_offsets())  # noqa: SLF001
        return rebuild_nested, (tensor.values(), *[part.long().tolist() for part in parts])
    layout, shape, name = tensor.layout, tuple(tensor.size()), str(tensor.dtype)[6:]
    if layout is torch.sparse_coo:
        return rebuild_sparse, (tensor._indices(), tensor._values(), shape, tensor.is_coalesced())  # noqa: SLF001
    if layout in _COMPRESSED:
        compressed, plain = _COMPRESSED[layout]
        arguments = (getattr(tensor, compressed)(), getattr(tensor, plain)(), tensor.values(), shape)
        return rebuild_compressed, (str(layout)[6:], *arguments)
    if layout is not _STRIDED:
        message = f"a tensor of layout {layout} cannot be sent: send tensor.to_dense()"
        raise EncodeError(message)
    if tensor.device.type == "meta":
        bits = (True, tensor.is_neg()) if tensor.is_conj() else (False, True) if tensor.is_neg() else ()
        return rebuild_meta, (name, shape, tensor.stride(), *bits)
    if tensor.dtype in _PACKED:
        return tensor.__reduce_ex__(5)  # type: ignore[no-any-return]
    arguments = (*memory_of(tensor, tensor.untyped_storage()), name, shape)
    if tensor.dtype not in _QUANTIZED:
        return rebuild_tensor, (*arguments, tensor.is_conj(), tensor.is_neg())
    if tensor.qscheme() is torch.per_tensor_affine:
        return rebuild_quantized, (*arguments, tensor.q_scale(), tensor.q_zero_point())
    scales, zero_points = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return rebuild_quantized, (*arguments, scales, zero_points, tensor.q_per_channel_axis())


def rebuild_nested(values: Tensor, sizes: list[Any], strides: list[Any], offsets: list[int]) -> Tensor:
    """Rebuild a nested tensor of strided layout.

    Parameters
    ----------
    values
        The elements of all its tensors, of one dimension.
    sizes, strides
        Those of each of the tensors, a row a tensor.
    offsets
        Where the first element of each lies in `values`.
    """
    parts = [torch.tensor(part, dtype=torch.int64, device=CPU) for part in (sizes, strides, offsets)]
    with _quiet():
        nested: Tensor = torch._nested_view_from_buffer(values, *parts)  # noqa: SLF001
    return nested


def rebuild_sparse(indices: Tensor, values: Tensor, shape: Ints, coalesced: bool) -> Tensor:  # noqa: FBT001
    """Rebuild a sparse tensor in COO format."""
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=False, is_coalesced=coalesced)


def rebuild_compressed(layout: str, compressed: Tensor, plain: Tensor, values: Tensor, shape: Ints) -> Tensor:
    """Rebuild a sparse tensor in one of the formats that compress the indices of one dimension.

    Parameters
    ----------
    layout
        ``"sparse_csr"``, ``"sparse_csc"``, ``"sparse_bsr"`` or ``"sparse_bsc"``.
    compressed, plain, values
        As of `torch.sparse_compressed_tensor`.
    shape
        The shape.
    """
    kind = getattr(torch, layout)
    with _quiet():
        return torch.sparse_compressed_tensor(compressed, plain, values, shape, layout=kind, check_invariants=False)


def rebuild_meta(
    dtype: str,
    shape: Ints,
    strides: Ints,
    conjugate: bool = False,  # noqa: FBT001, FBT002  # pickle passes by position
    negative: bool = False,  # noqa: FBT001, FBT002
) -> Tensor:
    """Rebuild a tensor without data."""
    with _quiet():
        tensor = torch.empty_strided(shape, strides, dtype=_DTYPES[dtype], device="meta")
        return _with_bits(tensor, conjugate=conjugate, negative=negative)


def rebuild_quantized(  # noqa: PLR0913, PLR0917
    memory: Any,
    strides: Ints,
    dtype: str,
    shape: Ints,
    scale: Any,
    zero_point: Any,
    axis: int | None = None,
) -> Tensor:
    """Rebuild a quantized tensor.

    Parameters
    ----------
    memory, strides, dtype, shape
        As of `rebuild_tensor`.
    scale, zero_point
        Numbers, or a tensor each with one for each index along an axis.
    axis
        That axis.
    """
    kind = _DTYPES[dtype]
    storage, strides = placed(memory, strides, shape, kind.itemsize)
    with _quiet():
        if axis is None:
            blank = torch._empty_affine_quantized(  # noqa: SLF001  # torch has no public way but to quantize floats
                shape, scale=scale, zero_point=zero_point, dtype=kind, device=storage.device
            )
        else:
            blank = torch._empty_per_channel_affine_quantized(  # noqa: SLF001
                shape, scales=scale, zero_points=zero_point, axis=axis, dtype=kind, device=storage.device
            )
    return blank.set_(storage, 0, shape, strides)


def reduce_typed_storage(storage: Any) -> Reduced:
    """Take a storage with a dtype apart, of which torch's own ways of pickling consist."""
    return rebuild_typed_storage, (storage._untyped_storage, str(storage.dtype)[6:])  # noqa: SLF001


def rebuild_typed_storage(storage: Any, dtype: str) -> Any:
    """Rebuild a storage with a dtype."""
    return torch.storage.TypedStorage(wrap_storage=storage, dtype=_DTYPES[dtype], _internal=True)


def reduce_constant(constant: Any) -> Reduced:
    """Name a layout, a memory format or a scheme of quantization: pickle would look for it in all modules."""
    return rebuild_constant, (str(constant).removeprefix("torch."),)


def rebuild_constant(name: str) -> Any:
    """Return what torch has under a name.

    Raises
    ------
    DecodeError
        This torch has no such thing.
    """
    constant = getattr(torch, name, None)
    if not isinstance(constant, _CONSTANTS):
        message = f"torch {torch.__version__} has no torch.{name}: install the sender's version"
        raise DecodeError(message)
    return constant


def register() -> None:
    """Tell the registry."""
    for cls in _CONSTANTS:
        DEFAULT.provide(cls, reduce_constant)
    DEFAULT.provide(UntypedStorage, reduce_storage)
    DEFAULT.provide(torch.storage.TypedStorage, reduce_typed_storage)
    reduce = reduce_without_names if hasattr(Tensor, "has_names") else reduce_tensor
    for cls in _OWN_CLASSES:
        DEFAULT.provide(cls, reduce, subclasses=True, alone=_alone if cls is Tensor else None)
