"""Names that people choose as names of files: any text goes, and none leads out of its directory."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import quote, unquote

_LONGEST: Final = 255
"""Bytes that Linux takes (NAME_MAX)."""

_SHOWN: Final = 40
"""Characters of a name that an error shows."""


def encoded(name: str, what: str) -> str:
    """Return the name of a file for the name of something, percent-encoded, with no dot at its start.

    >>> encoded("layer/1", "key"), encoded("..", "key"), encoded("", "key")
    ('layer%2F1', '%..', '%')

    Raises
    ------
    TypeError
        It is no string.
    ValueError
        It is too long for a file.
    """
    if not isinstance(name, str):
        message = f"a {what} is a str, not {type(name).__name__}"
        raise TypeError(message)
    # As most are, which `quote` takes ten times as long to find out.
    plain = name.isascii() and name.isalnum()
    file = name if plain else quote(name, safe="", errors="surrogatepass")
    if file[:1] in {"", "."}:
        file = f"%{file}"  # which nothing else begins with: a quoted character has two digits
    if len(file) > _LONGEST:
        message = (
            f"the {what} {name[:_SHOWN]!r}… takes {len(file):,} bytes as the name of a file, of which a system takes "
            f"{_LONGEST}: shorten it, or take a digest of it"
        )
        raise ValueError(message)
    return file


def decoded(file: str) -> str:
    """Return what `encoded` has made the name of a file."""
    return unquote(file.removeprefix("%") if file[1:2] in {"", "."} else file, errors="surrogatepass")


def fresh() -> str:
    """Return a name that nothing else has."""
    return os.urandom(8).hex()
