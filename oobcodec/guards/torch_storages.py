"""Guards of torch's memory: storages, and tensors within the bounds of theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import UntypedStorage

from oobcodec.context import LOADING
from oobcodec.guards.checks import MOST_AXES, claim, expect
from oobcodec.reducers import torch_storages as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

    from oobcodec.reducers.torch_storages import Ints

# What torch's own `location_tag` writes, of the devices that are part of torch.
_is_location: Final = re.compile(r"(?:cpu|meta|mps)|(?:cuda|hpu|mtia|xpu)(?::[0-9]{1,3})?", re.ASCII).fullmatch
_LONGEST: Final = 2**63 - 1
_octets: Final = torch.empty(0, dtype=torch.uint8, device=reducers.CPU).new


def rebuild_storage(buffer: Any, location: Any = "cpu") -> Any:
    """Rebuild a storage as long as its buffer."""
    expect(type(location) is str and _is_location(location), "a storage is on a device of torch's")
    check_memory(buffer, copied=location != "cpu")
    return reducers.rebuild_storage(buffer, location)


def check_memory(buffer: Any, *, copied: bool = False) -> None:
    """Refuse what are no bytes, and account for the copy that a storage may need of them.

    Parameters
    ----------
    buffer
        Anything.
    copied
        Whether there will be a copy whatever the buffer is.

    Raises
    ------
    DecodeError
        It is not a buffer.
    LimitError
        The copy is too large.
    """
    cls = type(buffer)
    if cls is memoryview:
        expect(buffer.ndim == 1 and buffer.format == "B" and buffer.c_contiguous, "memory is a flat buffer")
        copied = copied or buffer.readonly
    else:
        expect(cls is bytes or cls is bytearray, "memory is a buffer")
        copied = copied or cls is bytes
    # A few operations of the stream may name one buffer many times, and another device has less memory than this.
    if copied or LOADING.get().map_location is not None:
        claim(len(buffer))


def check_extent(shape: Any, strides: Any, itemsize: int) -> int:
    """Refuse what are no shape and strides, and return how many bytes a tensor with these spans.

    Raises
    ------
    DecodeError
        They are not, or the tensor would have more bytes than torch can count.
    """
    fits = type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides) <= MOST_AXES
    expect(fits, "a shape and strides are tuples of a length and a step for each axis")
    last, nbytes, empty = 0, itemsize, False
    for length, step in zip(shape, strides, strict=True):
        if type(length) is not int or type(step) is not int or length < 0 or not 0 <= step <= _LONGEST:
            expect(condition=False, text="lengths and steps of axes are 64-bit integers, and not negative")
        # torch multiplies the lengths of an empty tensor too, without its zeros.
        if length:
            nbytes *= length
            last += step * (length - 1)
        else:
            empty = True
    extent = (last + 1) * itemsize
    expect(nbytes <= _LONGEST and extent <= _LONGEST, "a tensor has fewer than 2**63 bytes")
    return 0 if empty else extent


def checked_place(memory: Any, strides: Any, shape: Any, itemsize: int) -> tuple[Any, Ints]:
    """Return a storage in which a tensor lies as a whole, and the strides that it has there.

    Raises
    ------
    DecodeError
        The memory does not have the length that the tensor needs.
    LimitError
        It must be copied, and is too large for that.
    """
    extent = check_extent(shape, strides, itemsize)
    if type(memory) is UntypedStorage:
        expect(extent <= memory.nbytes(), "a tensor lies within its storage")
        return memory, strides
    check_memory(memory)
    nbytes = len(memory)
    memory, strides = reducers.placed(memory, strides, shape, itemsize)
    if nbytes != extent:
        expect(check_extent(shape, strides, itemsize) == nbytes, "a tensor fills its buffer")
    return memory, strides


def check_bools(storage: Any, strides: Ints, shape: Ints) -> None:
    """Refuse bytes other than 0 and 1 in a tensor of dtype bool: what compiled code makes of them is undefined.

    Raises
    ------
    DecodeError
        There are such.
    LimitError
        This message made us look at too many bytes, which can be those of one storage again and again.
    """
    extent = check_extent(shape, strides, 1)
    if not extent or storage.device.type == "meta":
        return
    claim(extent)
    # A broadcast axis repeats one element, and there may be more overlapping windows than there is time.
    core = tuple([length if stride else 1 for length, stride in zip(shape, strides, strict=True)])
    count = 1
    for length in core:
        count *= length
    layout = (core, strides) if count <= extent else ((extent,), (1,))
    octets = _octets() if storage.device == reducers.CPU else _octets().to(storage.device)
    expect(int(octets.set_(storage, 0, *layout).max()) <= 1, "bools are 0 or 1")


GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "oobcodec.reducers.torch_storages:rebuild_storage": rebuild_storage,
}
