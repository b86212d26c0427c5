"""Errors that name the store and the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oobcodec.transfer import tell

if TYPE_CHECKING:
    from types import TracebackType


class Naming:
    """A block whose errors name a store and a key: no generator, which would take as long as three system calls."""

    __slots__ = ("_key", "_name")

    def __init__(self, name: str, key: str) -> None:
        self._name = name
        self._key = key

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            tell(error, f"store {self._name!r}, key {self._key!r}")
