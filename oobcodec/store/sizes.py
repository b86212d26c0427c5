"""Numbers of bytes as people write them."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT]i?)?B|bytes)?")
_PREFIXES: Final = {"": 1} | {
    f"{prefix}{binary}": (1024 if binary else 1000) ** power
    for power, prefix in enumerate("KMGT", 1)
    for binary in ("", "i")
}


def parsed(size: int | str) -> int:
    """Return a number of bytes.

    >>> parsed("4 GiB"), parsed("1.5MB"), parsed(100)
    (4294967296, 1500000, 100)

    Raises
    ------
    TypeError, ValueError
        It is none, or not positive.
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size.strip())
        number = int(float(match[1]) * _PREFIXES[match[2] or ""]) if match else 0
    elif type(size) is int:
        number = size
    else:
        message = f"a size is an int or a str such as '4 GiB', not {type(size).__name__}"
        raise TypeError(message)
    if number <= 0:
        message = f"{size!r} is no number of bytes: write it as 4096, '512 MiB' or '4 GiB'"
        raise ValueError(message)
    return number
