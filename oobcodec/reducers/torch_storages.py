"""torch's memory: storages, and the parts of them that tensors span.

Memory comes from the addresses of storages, which is the one way for all dtypes, with or without numpy.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, UntypedStorage
from torch.serialization import default_restore_location, location_tag

from oobcodec.buffers import Extent, allocate
from oobcodec.context import LOADING, RUNNING
from oobcodec.engine import IN_BAND
from oobcodec.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from typing import TypeAlias

    from oobcodec.buffers import Buffer

    Ints: TypeAlias = tuple[int, ...]
    Reduced: TypeAlias = str | tuple[Any, ...]

CPU: Final = torch.device("cpu")
NO_DATA: Final = (
    "a tensor inside of a torch.func or torch.compile transformation holds no data of its own: send it from outside"
)
# To move elements whatever they mean: not all dtypes can be copied, and a bit may say that they are conjugate.
_ELEMENTS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}
_WORDS: Final = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}
_UINT8: Final = torch.uint8
_frombuffer = torch.frombuffer
_string_at = ctypes.string_at


def reduce_storage(storage: Any) -> Reduced:
    """Take a storage apart; one of another device goes through the memory of the host."""
    location = None
    if storage.device != CPU:
        location = location_tag(storage)
        storage = _on_host(storage)
    nbytes = storage.nbytes()
    buffer = memory_at(_address(storage), nbytes, storage) if nbytes else b""
    return rebuild_storage, (buffer,) if location is None else (buffer, location)


def _address(storage: Any) -> int:
    try:
        return storage.data_ptr()  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise EncodeError(NO_DATA) from error


def _on_host(storage: Any) -> Any:
    # Pinned memory is what a device copies into without a stop on the way.
    host = torch.empty(storage.nbytes(), dtype=torch.uint8, device=CPU, pin_memory=torch.cuda.is_available())
    host.copy_(torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage))
    return host.untyped_storage()


def rebuild_storage(buffer: Buffer, location: str = "cpu") -> Any:
    """Rebuild a storage over `buffer`, or over a copy if that is read-only: torch knows no read-only memory.

    Parameters
    ----------
    buffer
        All its bytes.
    location
        The device that it came from, and goes to unless `oobcodec.loads` was given a ``map_location``.

    Raises
    ------
    DecodeError
        This machine, or this build of torch, does not have the device.
    """
    # A view of our own, which nobody can release: torch holds the object that it is given, but not its memory.
    view = memoryview(buffer)
    if not view.nbytes:
        storage = UntypedStorage(0)
    else:
        if view.readonly:
            memory = allocate(view.nbytes)
            memory[:] = view
            view = memory
        storage = _frombuffer(view, dtype=_UINT8).untyped_storage()
    if RUNNING or location != "cpu":
        return _located(storage, location)
    return storage


def _located(storage: Any, location: str) -> Any:
    """Return a storage of the CPU, or its copy, where it is to be: as `torch.load` does."""
    wanted = LOADING.get().map_location
    if isinstance(wanted, dict):
        location = str(wanted.get(location, location))
    elif isinstance(wanted, str | torch.device):
        location = str(wanted)
    elif callable(wanted):
        mapped = wanted(storage, location)
        if isinstance(mapped, UntypedStorage):
            return mapped
        if mapped is not None:
            message = f"map_location returned {type(mapped).__name__}: it returns a torch.UntypedStorage or None"
            raise DecodeError(message)
    elif wanted is not None:
        message = f"map_location is a device, its name, a dict or a function, not {type(wanted).__name__}"
        raise DecodeError(message)
    try:
        return default_restore_location(storage, location)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        message = f'tensors on {location!r} cannot be rebuilt here: give loads another device, as in map_location="cpu"'
        raise DecodeError(message) from error


def memory_at(address: int, nbytes: int, owner: Any, kind: Any = ctypes.Array) -> Buffer:
    """Return `nbytes` bytes at an address as a buffer that keeps `owner` alive."""
    if nbytes < IN_BAND and kind is ctypes.Array:
        return bytearray(_string_at(address, nbytes))
    memory = _array_type(kind, nbytes, address & 7).from_address(address)
    memory.owner = owner
    return PickleBuffer(memory)


@lru_cache(maxsize=1024)
def _array_type(kind: Any, nbytes: int, skew: int) -> Any:
    # A new type costs more than all the rest, so the sizes that come again are remembered. Its words are the largest
    # that fit, which tell how the memory is aligned.
    both = skew | nbytes | 8
    word = both & -both
    return type("Memory", (kind,), {"_length_": nbytes // word, "_type_": _WORDS[word]})


class _Gappy(Extent, ctypes.Array):  # type: ignore[type-arg]
    """All bytes that a tensor with gaps spans."""

    _length_ = 0
    _type_ = ctypes.c_uint8
    owner: Tensor

    def compact(self) -> memoryview:
        """Return the elements of the tensor alone, or the memory with zeros in its gaps if that is not more."""
        packed, _ = _compacted(self.owner)
        return PickleBuffer(memory_at(packed.data_ptr(), packed.nbytes(), packed)).raw()


def _extent(shape: Ints, strides: Ints) -> tuple[int, bool]:
    """Return how many elements a tensor spans, and whether it covers all of them."""
    covered, gap_free = 1, True
    for stride, length in sorted(zip(strides, shape, strict=True)):
        if length > 1:
            gap_free = gap_free and stride <= covered
            covered += stride * (length - 1)
    return covered, gap_free


def _packed(shape: Ints, strides: Ints) -> tuple[Ints, int]:
    """Return the strides and the number of elements without gaps, their axes in the same order in memory."""
    packed, count = [0] * len(shape), 1
    for axis in sorted(range(len(shape)), key=lambda axis: (strides[axis], -axis)):
        if strides[axis]:
            packed[axis] = count
            count *= shape[axis]
    return tuple(packed), count


def _compacted(tensor: Tensor) -> tuple[Any, Ints]:
    """Return a storage with the elements of a tensor and no others, and the strides that they have there."""
    shape, strides, device = tuple(tensor.size()), tensor.stride(), tensor.device
    # A broadcast axis repeats one element.
    core = tuple([length if stride else 1 for length, stride in zip(shape, strides, strict=True)])
    dtype = _ELEMENTS[tensor.itemsize]
    source = torch.empty(0, dtype=dtype, device=device)
    source.set_(tensor.untyped_storage(), tensor.storage_offset(), core, strides)
    count, _ = _extent(shape, strides)
    packed_strides, packed = _packed(shape, strides)
    if packed < count:
        target = torch.empty_strided(core, packed_strides, dtype=dtype, device=device).copy_(source)
        return target.untyped_storage(), packed_strides
    # Windows that overlap, with gaps between all of them.
    target = torch.zeros(count, dtype=dtype, device=device)
    where = torch.arange(count, device=device).as_strided(core, strides)
    target[where.reshape(-1)] = source.reshape(-1)
    return target.untyped_storage(), strides


# Between tensors and memory


def memory_of(tensor: Any, storage: Any) -> tuple[Any, Ints]:
    """Return the memory of a strided tensor, and the strides that it has there.

    Raises
    ------
    EncodeError
        Its storage was freed or made smaller.
    """
    shape, strides, itemsize = tuple(tensor.size()), tensor.stride(), tensor.itemsize
    if not tensor.numel():
        return b"", strides
    count, gap_free = _extent(shape, strides)
    offset, nbytes, capacity = tensor.storage_offset() * itemsize, count * itemsize, storage.nbytes()
    if offset + nbytes > capacity:
        message = (
            f"a tensor that needs {offset + nbytes} bytes has a storage of {capacity}: gather it before it is sent"
        )
        raise EncodeError(message)
    if gap_free and nbytes == capacity:
        return storage, strides
    if tensor.device != CPU:
        return _compacted(tensor)
    address = _address(storage) + offset
    if gap_free:
        return memory_at(address, nbytes, storage), strides
    if min(count, _packed(shape, strides)[1]) * itemsize < IN_BAND:
        # Not by `_Gappy`: the stream would take a small extent with its gaps, and so little is not worth a frame.
        return _compacted(tensor)
    return memory_at(address, nbytes, tensor, _Gappy), strides


def placed(memory: Any, strides: Ints, shape: Ints, itemsize: int) -> tuple[Any, Ints]:
    """Return a storage with the memory of a tensor, and the strides that it has there."""
    if type(memory) is not UntypedStorage:
        nbytes = memoryview(memory).nbytes  # other picklers hand over whatever their users do
        memory = rebuild_storage(memory)
        if nbytes != _extent(shape, strides)[0] * itemsize and 0 not in shape:
            strides, _ = _packed(shape, strides)
    return memory, strides
