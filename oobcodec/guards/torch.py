"""Guards of torch's data: tensors of all kinds, and what describes them.

Modules, optimizers, subclasses and generators are objects with code of their own, and none of this.
"""

from __future__ import annotations

from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, UntypedStorage

from oobcodec.context import LOADING
from oobcodec.errors import DecodeError
from oobcodec.guards import torch_storages as storages
from oobcodec.guards.attributes import ACCEPTS, check_plain
from oobcodec.guards.checks import claim, expect, is_count, is_ints
from oobcodec.guards.torch_storages import check_bools, check_extent, checked_place
from oobcodec.reducers import torch as reducers
from oobcodec.reducers.torch_storages import CPU

if TYPE_CHECKING:
    from collections.abc import Callable

_DTYPES: Final[dict[str, torch.dtype]] = {
    str(dtype)[6:]: dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)
}
_QUANTIZED: Final = {name: torch.iinfo(_DTYPES[name]) for name in ("qint8", "quint8", "qint32")}
_PLAIN: Final = {name: dtype for name, dtype in _DTYPES.items() if name not in {*_QUANTIZED, "quint4x2", "quint2x4"}}
_itemsize_of: Final = {name: dtype.itemsize for name, dtype in _PLAIN.items()}.get
_COMPLEX: Final = frozenset(name for name, dtype in _DTYPES.items() if dtype.is_complex)
_SIGNED: Final = _COMPLEX | {"bfloat16", "float16", "float32", "float64", "int8", "int16", "int32", "int64"}
# Whether a block of several rows and columns takes the place of an element.
_COMPRESSED: Final = {"sparse_csr": False, "sparse_csc": False, "sparse_bsr": True, "sparse_bsc": True}
_INDICES: Final = frozenset({torch.int32, torch.int64})
_CLASSES: Final[dict[str, type]] = {"Tensor": Tensor} | {
    name: getattr(torch.nn, name) for name in ("Parameter", "Buffer") if hasattr(torch.nn, name)
}
_CONSTANTS: Final = {
    str(constant).removeprefix("torch."): constant
    for constant in vars(torch).values()
    if isinstance(constant, torch.layout | torch.memory_format | torch.qscheme)
}
_MARKS: Final = frozenset({"_is_buffer", "_is_param"})  # by which a tensor of another class is one of these
_MOST_DEVICES: Final = 128  # torch keeps the index of a device in a signed byte, and does not look whether it fits
_LONGEST: Final = 2**63
_MOST_LETTERS: Final = 32


def _dtype(name: Any, among: dict[str, torch.dtype] = _PLAIN) -> torch.dtype:
    expect(type(name) is str and len(name) <= _MOST_LETTERS, "a dtype has a name")
    dtype = among.get(name)
    if dtype is None:
        message = f"torch {torch.__version__} has no such dtype as {name!r}: install the sender's version"
        raise DecodeError(message)
    return dtype


def _is_dense(tensor: Any) -> bool:
    """Tell whether something is a tensor of strided layout that has data and nothing that this hides."""
    return (
        type(tensor) is Tensor
        and tensor.layout is torch.strided
        and not (tensor.is_nested or tensor.is_quantized or tensor.is_meta or tensor.requires_grad)
    )


def _check_numbers(tensor: Any, ndim: int, *, on: torch.device) -> None:
    """Refuse what is no dense tensor of some axes on a device, and account for reading all of its elements.

    Elements of a broadcast axis count one by one: those functions of torch that read indices take them so.
    """
    expect(_is_dense(tensor) and not tensor.is_neg(), "indices and scales are dense tensors")
    expect(tensor.ndim == ndim and tensor.device == on, "indices and scales have the axes and device of their tensor")
    claim(tensor.nbytes)


# Tensors


def rebuild_tensor(  # noqa: PLR0913, PLR0917
    memory: Any,
    strides: Any,
    dtype: Any,
    shape: Any,
    conjugate: Any = False,  # noqa: FBT002  # pickle passes by position
    negative: Any = False,  # noqa: FBT002
) -> Any:
    """Rebuild a tensor that lies within its memory."""
    # Only strings are looked for in a table: the hash of a tuple may take longer than anybody has time.
    itemsize = (_itemsize_of(dtype) if type(dtype) is str else None) or _dtype(dtype).itemsize
    _check_bits(dtype, conjugate, negative)
    storage, strides = checked_place(memory, strides, shape, itemsize)
    if dtype == "bool":
        check_bools(storage, strides, shape)
    return reducers.rebuild_tensor(storage, strides, dtype, shape, conjugate, negative)


def _check_bits(dtype: str, conjugate: Any, negative: Any) -> None:
    if conjugate is not False or negative is not False:
        expect(type(conjugate) is bool and type(negative) is bool, "the bits of a tensor are bools")
        expect(dtype in (_COMPLEX if conjugate else _SIGNED), "a tensor with these bits has a dtype with signs")


def rebuild_view(cls: Any, data: Any, requires_grad: Any) -> Any:
    """Rebuild a tensor, parameter or buffer on the memory of another tensor."""
    expect(type(cls) is str and cls in _CLASSES, "a tensor is of a class of torch's")
    expect(type(data) is Tensor and not data.requires_grad, "the data of a tensor is a plain tensor")
    expect(type(requires_grad) is bool, "whether a tensor requires a gradient is a bool")
    return reducers.rebuild_view(cls, data, requires_grad)


def _check_attributes(tensor: Any, state: Any) -> None:
    expect(type(state) is dict, "the attributes of a tensor are a dict")
    for mark in _MARKS & state.keys():
        expect(type(state[mark]) is bool, "a mark of a tensor is a bool")
    check_plain(tensor, {name: value for name, value in state.items() if name not in _MARKS})


# Other kinds of tensors


def rebuild_nested(values: Any, sizes: Any, strides: Any, offsets: Any) -> Any:
    """Rebuild a nested tensor whose parts lie within its values."""
    expect(_is_dense(values) and values.ndim == 1 and values.is_contiguous(), "the values of a nested tensor are flat")
    parts = (sizes, strides, offsets)
    expect(all(type(part) is list for part in parts), "the parts of a nested tensor are described by lists")
    expect(0 < len(sizes) == len(strides) == len(offsets), "there is a description of each part of a nested tensor")
    LOADING.get().budget.operate(len(sizes))
    total, available = 0, values.numel()
    for size, step, offset in zip(sizes, strides, offsets, strict=True):
        expect(type(size) is list and type(step) is list and len(size) == len(sizes[0]), "parts have the same axes")
        extent = check_extent(tuple(size), tuple(step), 1)
        expect(is_count(offset) and offset + extent <= available, "the parts of a nested tensor lie within its values")
        count = 1
        for length in size:
            count *= length
        total += count
    expect(total <= available, "no two parts of a nested tensor are on the same values")
    return reducers.rebuild_nested(values, sizes, strides, offsets)


def rebuild_sparse(indices: Any, values: Any, shape: Any, coalesced: Any) -> Any:
    """Rebuild a sparse tensor whose indices are within its shape, and in order and once if that is said."""
    expect(_is_dense(values), "the values of a sparse tensor are dense")
    _check_numbers(indices, 2, on=values.device)
    expect(indices.dtype is torch.int64, "indices are 64-bit integers")
    check_extent(shape, (0,) * len(shape), values.itemsize)
    claim(indices.shape[1] * values.itemsize)  # where no axis is sparse, there are values without indices
    expect(type(coalesced) is bool, "whether a tensor is coalesced is a bool")
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=True, is_coalesced=coalesced)


def rebuild_compressed(layout: Any, compressed: Any, plain: Any, values: Any, shape: Any) -> Any:
    """Rebuild a sparse tensor in a compressed format whose indices are within bounds and in order."""
    expect(type(layout) is str and layout in _COMPRESSED, "the layout of a compressed tensor is one of torch's")
    expect(_is_dense(values), "the values of a sparse tensor are dense")
    check_extent(shape, (0,) * len(shape), values.itemsize)
    expect(type(compressed) is Tensor and compressed.ndim, "the compressed indices have an axis at least")
    for indices in (compressed, plain):
        _check_numbers(indices, compressed.ndim, on=values.device)
        expect(indices.dtype in _INDICES, "indices are integers")
    if _COMPRESSED[layout]:
        # torch divides by them.
        expect(0 not in values.shape[compressed.ndim : compressed.ndim + 2], "the blocks of a tensor have elements")
    # torch checks these too, but only after it has taken some for positions in the other indices.
    rising = compressed[..., 1:] >= compressed[..., :-1]
    expect(bool(rising.all()), "compressed indices do not fall")
    ends = compressed[..., :1] == 0, compressed[..., -1:] == plain.shape[-1]
    expect(compressed.shape[-1] and all(bool(end.all()) for end in ends), "compressed indices cover all elements")
    torch._validate_sparse_compressed_tensor_args(compressed, plain, values, shape, _CONSTANTS[layout])  # noqa: SLF001
    return reducers.rebuild_compressed(layout, compressed, plain, values, shape)


def rebuild_meta(
    dtype: Any,
    shape: Any,
    strides: Any,
    conjugate: Any = False,  # noqa: FBT002  # pickle passes by position
    negative: Any = False,  # noqa: FBT002
) -> Any:
    """Rebuild a tensor without data, of a size that torch can count."""
    check_extent(shape, strides, _dtype(dtype).itemsize)
    _check_bits(dtype, conjugate, negative)
    return reducers.rebuild_meta(dtype, shape, strides, conjugate, negative)


def rebuild_quantized(  # noqa: PLR0913, PLR0917
    memory: Any, strides: Any, dtype: Any, shape: Any, scale: Any, zero_point: Any, axis: Any = None
) -> Any:
    """Rebuild a quantized tensor that lies within its memory, with a finite scale of its own or of each channel."""
    expect(type(dtype) is str and dtype in _QUANTIZED, "a quantized tensor is of a dtype with a scale")
    bounds = _QUANTIZED[dtype]
    storage, strides = checked_place(memory, strides, shape, _DTYPES[dtype].itemsize)
    if axis is None:
        expect(type(scale) is float and isfinite(scale), "a scale is a finite float")
        expect(type(zero_point) is int and bounds.min <= zero_point <= bounds.max, "a zero point is of the dtype")
    else:
        expect(is_count(axis) and axis < len(shape), "the channels of a tensor are along one of its axes")
        for numbers in (scale, zero_point):
            _check_numbers(numbers, 1, on=storage.device)
            expect(len(numbers) == shape[axis], "there is a scale and a zero point of each channel")
            expect(not numbers.is_complex() and bool(torch.isfinite(numbers).all()), "scales are finite numbers")
        expect(scale.is_floating_point(), "scales are floats")
        if not zero_point.is_floating_point() and len(zero_point):
            least, most = int(zero_point.min()), int(zero_point.max())
            expect(bounds.min <= least and most <= bounds.max, "zero points are of the dtype")
    # torch makes a tensor of its own first, of as many elements, even of those that all are one in memory.
    nbytes = _DTYPES[dtype].itemsize
    for length in shape:
        nbytes *= length
    claim(nbytes)
    return reducers.rebuild_quantized(storage, strides, dtype, shape, scale, zero_point, axis)


def rebuild_typed_storage(storage: Any, dtype: Any) -> Any:
    """Rebuild a storage with a dtype."""
    expect(type(storage) is UntypedStorage, "what a dtype is given to is a storage")
    kind = _dtype(dtype, _DTYPES)
    if kind is torch.bool:
        check_bools(storage, (1,), (storage.nbytes(),))
    return reducers.rebuild_typed_storage(storage, dtype)


# Descriptions


def rebuild_constant(name: Any) -> Any:
    """Return a layout, a memory format or a scheme of quantization."""
    expect(type(name) is str and name in _CONSTANTS, "torch has a layout, memory format or scheme of this name")
    return _CONSTANTS[name]


def rebuild_size(lengths: Any = ()) -> Any:
    """Rebuild a `torch.Size`."""
    expect(is_ints(lengths) and all(-_LONGEST <= length < _LONGEST for length in lengths), "lengths are integers")
    return torch.Size(lengths)


def rebuild_device(kind: Any, index: Any = None) -> Any:
    """Rebuild a `torch.device`, whether this machine has it or not."""
    expect(type(kind) is str and len(kind) <= _MOST_LETTERS and kind.isalpha(), "a kind of device has a name")
    expect(index is None or (is_count(index) and index < _MOST_DEVICES), "a device has a small number")
    return torch.device(kind) if index is None else torch.device(kind, index)


# Tuples


def rebuild_result(cls: Any, values: Any, rest: Any = None) -> Any:
    """Rebuild what an operation with several results returns."""
    expect(type(values) is tuple and all(type(value) in _CLASSES.values() for value in values), "results are tensors")
    expect(rest is None or (type(rest) is dict and not rest), "results have no other attributes")
    return cls(values)


def rebuild_packed(data: Any, batch_sizes: Any, order: Any = None, back: Any = None) -> Any:
    """Rebuild a `torch.nn.utils.rnn.PackedSequence` whose batches are all of its data."""
    expect(_is_dense(data) and data.ndim, "the data of a packed sequence is dense")
    _check_numbers(batch_sizes, 1, on=CPU)
    sizes = batch_sizes.tolist()
    expect(sizes and batch_sizes.dtype is torch.int64, "batches have lengths")
    expect(sizes[-1] > 0 and sizes == sorted(sizes, reverse=True), "batches do not grow, and none is empty")
    expect(sum(sizes) == len(data), "the batches of a packed sequence are all of its data")
    expect((order is None) == (back is None), "the order of a packed sequence can be undone")
    if order is not None:
        for indices in (order, back):
            _check_numbers(indices, 1, on=data.device)
            expect(indices.dtype is torch.int64 and len(indices) == sizes[0], "there is an index for each sequence")
            expect(sorted(indices.tolist()) == list(range(sizes[0])), "the order of sequences names each of them once")
        expect(order[back].tolist() == list(range(sizes[0])), "the order of a packed sequence can be undone")
    return torch.nn.utils.rnn.PackedSequence(data, batch_sizes, order, back)


ACCEPTS.update(dict.fromkeys(_CLASSES.values(), _check_attributes))

GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    **storages.GUARDS,
    "oobcodec.reducers.torch:rebuild_compressed": rebuild_compressed,
    "oobcodec.reducers.torch:rebuild_constant": rebuild_constant,
    "oobcodec.reducers.torch:rebuild_meta": rebuild_meta,
    "oobcodec.reducers.torch:rebuild_nested": rebuild_nested,
    "oobcodec.reducers.torch:rebuild_quantized": rebuild_quantized,
    "oobcodec.reducers.torch:rebuild_sparse": rebuild_sparse,
    "oobcodec.reducers.torch:rebuild_tensor": rebuild_tensor,
    "oobcodec.reducers.torch:rebuild_typed_storage": rebuild_typed_storage,
    "oobcodec.reducers.torch:rebuild_view": rebuild_view,
    "torch:Size": rebuild_size,
    "torch:device": rebuild_device,
    "torch.nn.utils.rnn:PackedSequence": rebuild_packed,
    **{
        f"torch.return_types:{cls.__name__}": partial(rebuild_result, cls)
        for cls in torch.return_types.all_return_types
    },
}

VALUES: Final[dict[str, Any]] = {f"torch:{name}": dtype for name, dtype in _DTYPES.items()}
"""Names that are data themselves."""
