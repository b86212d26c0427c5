"""Arrow arrays of text and bytes, validated in full, though not one element after the other.

Arrow looks at each of them. numpy, where it is installed, tells of all at once that most are fine; what it cannot tell
is left to Arrow, which also says what is wrong.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from oobcodec.reducers.arrow_nodes import Array

_numpy: Final[Any] = sys.modules.get("numpy")  # Arrow imports it where it is installed
_from_buffers: Final = pa.Array.from_buffers
_FEW: Final = 2048
"""Elements up to which Arrow is the faster one."""
_PART: Final = 1 << 15
"""Elements that are looked at together, so that what comes of it stays in the caches."""
_INLINE: Final = 12
"""Bytes of the longest text that a view holds by itself: https://arrow.apache.org/docs/format/Columnar.html."""
_FIRST_BYTE: Final = -64
"""The least byte, with a sign, that a character of UTF-8 begins with."""
_OFFSETS: Final = {
    pa.lib.Type_STRING: "=i4",
    pa.lib.Type_BINARY: "=i4",
    pa.lib.Type_LARGE_STRING: "=i8",
    pa.lib.Type_LARGE_BINARY: "=i8",
}
_VIEWS: Final = frozenset(
    getattr(pa.lib, f"Type_{name}") for name in ("STRING_VIEW", "BINARY_VIEW") if hasattr(pa.lib, f"Type_{name}")
)
_BYTES: Final = frozenset({pa.lib.Type_BINARY, pa.lib.Type_LARGE_BINARY, getattr(pa.lib, "Type_BINARY_VIEW", None)})
TEXTS: Final = _VIEWS.union(_OFFSETS)


def validate_text(array: Array) -> None:
    """Validate an array of text or bytes in full.

    Parameters
    ----------
    array
        One without nulls, that begins where its buffers do.

    Raises
    ------
    ArrowInvalid, ArrowIndexError
        An element does not lie in the memory, or is no text.
    """
    if _numpy is None or len(array) <= _FEW:
        array.validate(full=True)
    elif array.type.id in _VIEWS:
        _validate_views(array)
    elif not _is_fine(array):
        array.validate(full=True)


def _is_fine(array: Array) -> bool:
    """Tell whether the offsets ascend within the data, and part it into text."""
    _, ends, data = array.buffers()
    offsets = _numpy.frombuffer(ends, _OFFSETS[array.type.id], len(array) + 1)
    first, last = offsets[[0, -1]].tolist()
    if not 0 <= first <= last <= data.size:
        return False
    for start in range(0, len(array), _PART):
        part = offsets[start : start + _PART + 1]
        if (part[1:] < part[:-1]).any():
            return False
    return first == last or array.type.id in _BYTES or _is_text(data, offsets, first, last)


def _is_text(data: Any, offsets: Any, first: int, last: int) -> bool:
    signed = _numpy.frombuffer(data, "i1", last)
    if signed[first:].min() >= 0:
        return True  # ASCII
    whole = pa.py_buffer(struct.pack("=qq", first, last))
    try:
        _from_buffers(pa.large_string(), 1, [None, whole, data]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return bool(signed[offsets[: offsets.searchsorted(last)]].min() >= _FIRST_BYTE)


# Views


def _forbidden(byte: int) -> Any:
    """Return which bits are not set in a view of inline text, by its length.

    Behind the text are zeros, and in it, no bits of `byte`. Of views of longer text, none is told.
    """
    rows = [bytes(4) + bytes([byte] * n) + b"\xff" * (_INLINE - n) for n in range(_INLINE + 1)]
    return _numpy.frombuffer(b"".join([*rows, bytes(16)]), "u8").reshape(-1, 2)


_NOT_ASCII: Final = _numpy and _forbidden(0x80)
_NOT_BYTES: Final = _numpy and _forbidden(0)


def _validate_views(array: Array) -> None:
    """Leave to Arrow what is not inline, or no ASCII; and all that follows, where it is most."""
    _, memory, *data = array.buffers()
    views = _numpy.frombuffer(memory, "u8", 2 * len(array)).reshape(-1, 2)
    forbidden = _NOT_BYTES if array.type.id in _BYTES else _NOT_ASCII
    # One for all parts: to get new memory takes as long as what is done with it.
    numbers, masks = _numpy.empty(_PART, "intp"), _numpy.empty((_PART, 2), "u8")
    for start in range(0, len(array), _PART):
        part = views[start : start + _PART]
        lengths, bits = numbers[: len(part)], masks[: len(part)]
        lengths[:] = sizes = part.view("u4")[:, 0]
        forbidden.take(lengths, 0, out=bits, mode="clip")
        bits &= part
        doubtful = sizes > _INLINE
        if bits.max():
            doubtful |= (bits[:, 0] | bits[:, 1]) != 0
        count = int(_numpy.count_nonzero(doubtful))
        if 2 * count > len(part):
            array.slice(start).validate(full=True)
            return
        if count:
            rest = pa.py_buffer(part.compress(doubtful, 0))
            _from_buffers(array.type, count, [None, rest, *data]).validate(full=True)
