"""Arrow arrays from nodes that may say anything.

Arrow's own validation finds what would lead outside of the memory, but for what ends the process while an array is put
together: that is looked for here. Lengths, sizes of buffers and counts of children are Arrow's to check; it does so
before it reads anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from oobcodec.context import LOADING
from oobcodec.guards.arrow_texts import TEXTS, validate_text
from oobcodec.guards.checks import expect, is_count
from oobcodec.reducers.arrow_nodes import _LAYOUTS, _children, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.reducers.arrow_nodes import Array, DataType

_from_buffers: Final = pa.Array.from_buffers
_MEMORY: Final = frozenset({bytes, bytearray, memoryview})
_UNIONS: Final = frozenset({pa.lib.Type_SPARSE_UNION, pa.lib.Type_DENSE_UNION})
_OFFSETS: Final = frozenset(
    getattr(pa.lib, f"Type_{name}")
    for name in ("STRING", "LARGE_STRING", "BINARY", "LARGE_BINARY", "LIST", "LARGE_LIST", "MAP")
)
_MAP: Final = pa.lib.Type_MAP
_RUNS: Final = pa.lib.Type_RUN_END_ENCODED
_SIZED: Final = pa.lib.Type_FIXED_SIZE_LIST
_NOTHING: Final = pa.py_buffer(b"")
_ZERO: Final = pa.py_buffer(bytes(8))
_WORK: Final = 64
"""So many bytes are validated in the time that one takes which is new."""
_UNNOTICED: Final = 1 << 22
"""Bytes that are accounted for together with the next ones, and nodes as `_WORK` bytes each."""


def check_hidden(data_type: DataType, length: int, memory: Sequence[Any]) -> None:
    """Refuse an array of text unless it is valid without its bitmap too, and so with it.

    Arrow validates none of what a null hides, but follows the views there, and polars takes all text for such.

    Parameters
    ----------
    data_type
        Its type, of text or bytes.
    length
        How many elements it has.
    memory
        Its buffers.

    Raises
    ------
    ArrowInvalid, ArrowIndexError
        It is not.
    """
    validate_text(_from_buffers(data_type, length, [None, *memory[1:]]))


class Builder:
    """Puts arrays together, validates them, and accounts for all that takes."""

    __slots__ = ("_claimed", "_nbytes", "_nodes")

    def __init__(self) -> None:
        self._nodes = 0
        self._nbytes = 0
        self._claimed = 0

    def validated(self, data_type: DataType, node: Any) -> Array:
        """Put an array together that views the buffers of a node, as `oobcodec.reducers.arrow_nodes.build`.

        Raises
        ------
        DecodeError
            The node is none of such an array.
        LimitError
            Nodes are too many, have too many elements, or take too long to validate.
        Exception
            Arrow itself refuses it.
        """
        array = self._build(data_type, node)
        if self._claimed or self._nbytes + self._nodes * _WORK > _UNNOTICED:
            self.finish()
        if data_type.id not in TEXTS:
            array.validate(full=True)
        elif node[1][0] is None:  # all others are by now
            validate_text(array)
        return array

    def finish(self) -> None:
        """Account for what was built since that was done last.

        Raises
        ------
        LimitError
            As above.
        """
        budget = LOADING.get().budget
        budget.operate(self._nodes)
        budget.claim(self._claimed + self._nbytes // _WORK)
        self._nodes = self._nbytes = self._claimed = 0

    def _build(self, data_type: DataType, node: Any) -> Array:
        expect(type(node) is tuple and len(node) > 1, "the node of an array has a length and buffers")
        self._nodes += 1
        if isinstance(data_type, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(data_type, self._build(data_type.storage_type, node))
        if isinstance(data_type, pa.DictionaryType):
            indices = self._build(data_type.index_type, node[:-1])
            dictionary = self._build(data_type.value_type, node[-1])
            return pa.DictionaryArray.from_arrays(indices, dictionary, ordered=data_type.ordered, safe=False)
        number = data_type.id
        if number not in _LAYOUTS:
            raise unknown(data_type)
        length, buffers, *parts = node
        expect(is_count(length) and type(buffers) is tuple, "the node of an array has a length and buffers")
        nbytes = self._nbytes
        # That all elements are there is what is absent; all other buffers Arrow takes for granted.
        memory = [None if buffers[0] is None else self._memory(buffers[0]), *map(self._memory, buffers[1:])]
        if not length and number in _OFFSETS:
            memory[1] = _ZERO  # nobody else looks at the offset of nothing
        if not (parts or data_type.num_fields):
            if length > 8 * (self._nbytes - nbytes):
                self._claimed += length  # of nulls, or of elements without bytes
            if memory[0] is not None and number in TEXTS:
                check_hidden(data_type, length, memory)
            return _from_buffers(data_type, length, memory)
        children = [self._build(child, part) for child, part in zip(_children(data_type), parts, strict=True)]
        self._check(data_type, length, memory, children)
        return _from_buffers(data_type, length, memory, children=children)

    def _memory(self, buffer: Any) -> Any:
        if buffer is None:
            return _NOTHING
        expect(type(buffer) in _MEMORY, "the buffers of an array are memory")
        self._nbytes += len(buffer)
        return pa.py_buffer(buffer)

    def _check(self, data_type: DataType, length: int, memory: Sequence[Any], children: Sequence[Array]) -> None:
        """Refuse of an array with children what would end the process."""
        number = data_type.id
        if number in _UNIONS:
            expect(memory[0] is None, "a union has nulls in its children only")
        elif number == _RUNS or (number == _SIZED and not data_type.list_size):
            self._claimed += length
        elif number == _MAP:
            (entries,) = children
            expect(not entries.null_count and not entries.field(0).null_count, "the keys of a map are not null")
