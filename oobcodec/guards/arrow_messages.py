"""Messages of Arrow's interprocess format, looked at before Arrow reads them.

Arrow checks that what is in them lies in them. But several parts of a schema may lie in the same bytes, so that a few
bytes become gigabytes; extension types run code that somebody registered; compressed columns become as large as they
say; and those of another byte order are turned before they are validated. So a message is read here first, as far as
that is to be told of it. Its layout is that of https://github.com/apache/arrow/tree/main/format (Message.fbs and
Schema.fbs), in tables of https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import sys
from struct import Struct
from typing import Final

from oobcodec.guards.checks import expect

DEEPEST: Final = 64
"""Types in each other."""

_EXTENSION: Final = b"ARROW:extension:"
_BEGIN: Final = Struct("<iI")
_SCHEMA, _BATCH = 1, 3
_BYTE: Final = Struct("<B")
_SHORT: Final = Struct("<H")
_UNSIGNED: Final = Struct("<I")
_SIGNED: Final = Struct("<i")
_WORD: Final = 4
"""Bytes of a length, or of how far away something is."""

# The numbers of types that have more than scalars, or numbers that must not be negative.
_TIMESTAMP, _UNION, _WIDE, _SIZED = 10, 14, 15, 16


class _Message:
    """The tables of a message, of which each has bytes of its own."""

    def __init__(self, data: bytes, kind: int) -> None:
        expect(type(data) is bytes, "a message of Arrow's is bytes")
        self._data = data
        self._left = len(data)
        mark, nbytes = _BEGIN.unpack_from(data)
        expect(mark == -1 and nbytes <= len(data) - _BEGIN.size, "a message of Arrow's is a whole one")
        root = self._follow(_BEGIN.size)
        found = self._slot(root, 1)
        expect(found is not None and self._number(_BYTE, found) == kind, "a message of Arrow's is of its kind")
        expect(self._slot(root, 4) is None, "a message of Arrow's has no metadata of its own")
        self._header = self._table(root, 2)

    def check_schema(self) -> None:
        """Refuse a schema that takes more memory than it has bytes, whose types cannot be, or whose names are no text.

        Raises
        ------
        DecodeError
            It is such.
        UnicodeDecodeError, struct.error
            Or damaged in other ways.
        """
        expect(_EXTENSION not in self._data, "a schema has no extension types")
        self._fields(self._header, 1, 0)
        self._metadata(self._header, 2)

    def is_native(self) -> bool:
        """Tell whether a schema is that of a machine with the byte order of this one."""
        found = self._slot(self._header, 0)
        return (found is not None and self._number(_SHORT, found) == 1) is (sys.byteorder == "big")

    def is_compressed(self) -> bool:
        """Tell whether the columns of a batch are compressed."""
        return self._slot(self._header, 3) is not None

    # Types

    def _fields(self, table: int, index: int, depth: int) -> None:
        expect(depth <= DEEPEST, f"types lie in each other {DEEPEST} levels deep at most")
        for field in self._vector(table, index):
            self._text(field, 0)
            kind = self._slot(field, 2)
            self._type(0 if kind is None else self._number(_BYTE, kind), self._table(field, 3))
            if self._slot(field, 4) is not None:
                self._table(self._table(field, 4), 1)
            self._fields(field, 5, depth + 1)
            self._metadata(field, 6)

    def _type(self, kind: int, table: int) -> None:
        if kind == _TIMESTAMP:
            self._text(table, 1)
        elif kind == _UNION:
            found = self._slot(table, 1)
            if found is not None:
                self._spend(_WORD * self._number(_UNSIGNED, self._follow(found)))
        elif kind in {_WIDE, _SIZED}:
            found = self._slot(table, 0)
            expect(found is None or self._number(_SIGNED, found) >= 0, "the elements of a type have some length")

    def _metadata(self, table: int, index: int) -> None:
        for pair in self._vector(table, index):
            self._bytes(pair, 0)
            self._bytes(pair, 1)

    # Flatbuffers

    def _spend(self, nbytes: int) -> None:
        self._left -= nbytes
        expect(self._left >= 0, "the parts of a schema have bytes of their own")

    def _number(self, form: Struct, at: int) -> int:
        # A negative place is one from the end: Arrow, which checks that all parts lie in a message, will refuse it.
        number: int = form.unpack_from(self._data, at)[0]
        return number

    def _follow(self, at: int) -> int:
        return at + self._number(_UNSIGNED, at)

    def _slot(self, table: int, index: int) -> int | None:
        """Return where a table has an entry, None if it has not."""
        entries = table - self._number(_SIGNED, table)
        place = _WORD + 2 * index
        if place >= self._number(_SHORT, entries):
            return None
        offset = self._number(_SHORT, entries + place)
        return table + offset if offset else None

    def _table(self, table: int, index: int) -> int:
        found = self._slot(table, index)
        if found is None:
            message = "a message of Arrow's has all its parts"
            raise ValueError(message)
        self._spend(_WORD)
        return self._follow(found)

    def _vector(self, table: int, index: int) -> list[int]:
        """Return where the tables of a vector are."""
        found = self._slot(table, index)
        if found is None:
            return []
        start = self._follow(found)
        count = self._number(_UNSIGNED, start)
        self._spend(2 * _WORD * count)
        return [self._follow(start + _WORD * (1 + i)) for i in range(count)]

    def _bytes(self, table: int, index: int) -> bytes:
        found = self._slot(table, index)
        if found is None:
            return b""
        start = self._follow(found)
        nbytes = self._number(_UNSIGNED, start)
        self._spend(_WORD + nbytes)
        return self._data[start + _WORD : start + _WORD + nbytes]

    def _text(self, table: int, index: int) -> None:
        self._bytes(table, index).decode()


def check_schema(data: bytes) -> None:
    """Refuse the message of a schema that is not to be read.

    Raises
    ------
    DecodeError
        It is no bytes, or no whole message of a schema; some of its parts lie in the same bytes; types lie in each
        other too deep, or are such as cannot be; or it has extension types.
    Exception
        It is damaged in other ways.
    """
    _Message(data, _SCHEMA).check_schema()


def check_native(data: bytes) -> None:
    """Refuse the message of a schema, which was read, if it is that of a machine with another byte order.

    Raises
    ------
    DecodeError
        It is.
    """
    expect(_Message(data, _SCHEMA).is_native(), "a batch has the byte order that it says")


def check_batch(data: bytes) -> None:
    """Refuse the message of a batch that is not to be read.

    Raises
    ------
    DecodeError
        It is no bytes, or no whole message of a batch, or it is compressed.
    Exception
        It is damaged in other ways.
    """
    expect(not _Message(data, _BATCH).is_compressed(), "a short batch is not compressed")
