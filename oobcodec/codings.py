"""How the frames of a message are compressed, as its header says it."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from oobcodec.errors import HeaderError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Coding(NamedTuple):
    """What a frame takes to be decompressed: the tag of a codec, and the bytes that it then has."""

    tag: str
    nbytes: int


Codings: TypeAlias = tuple[Coding | None, ...]
"""One for each frame behind the first; ``None`` for a frame that travels as it is."""


def checked(fields: Any, count: int) -> Codings | None:
    """Return what a header says of the codecs of `count` frames.

    Raises
    ------
    HeaderError
        It is not what the format has there.
    """
    if fields is None:
        return None
    if type(fields) is not tuple or len(fields) != count or fields == (None,) * count:
        message = f"the codecs are {short(fields)}, not nil or one for each of {count} frames"
        raise HeaderError(message)
    return tuple([None if field is None else _checked(index, field) for index, field in enumerate(fields, 1)])


def _checked(index: int, field: Any) -> Coding:
    if type(field) is tuple and tuple(map(type, field)) == (str, int):
        coding = Coding(*field)
        if coding.tag and coding.nbytes > 0:
            return coding
    message = f"the codec of frame {index} is {short(field)}, not [tag, bytes when decompressed]"
    raise HeaderError(message)


def sizes(lengths: tuple[int, ...], codings: Sequence[Coding | None] | None) -> tuple[int, ...]:
    """Return how many bytes frames have that travel as so many, once they are decompressed."""
    if codings is None:
        return lengths
    return tuple([nbytes if coding is None else coding.nbytes for nbytes, coding in zip(lengths, codings, strict=True)])
