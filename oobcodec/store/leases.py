"""Entering a store, which then lives, and leaving it, which ends it if nobody else is there."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from oobcodec.errors import StoreError
from oobcodec.store import accounts, directories

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def base(directory: str) -> Iterator[int]:
    """Open the directory of this user's stores for a block."""
    descriptor = directories.open_base(directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def enter(directory: str, name: str, capacity: int | None, *, create: bool, persistent: bool) -> accounts.Accounts:
    """Open a store, or make it; stores that nobody has open any more go first.

    Raises
    ------
    FileNotFoundError
        There is none, and none is to be made.
    """
    with base(directory) as parent:
        directories.sweep(parent)
        store = directories.open_store(parent, name, create=create, persistent=persistent)
    try:
        with suppress(FileNotFoundError):
            return accounts.read(store)
        if create:
            system = os.fstatvfs(store)
            accounts.establish(store, capacity or system.f_blocks * system.f_frsize)
        return accounts.read(store)
    except BaseException:
        os.close(store)
        raise


def leave(store: int, directory: str) -> None:
    """Close a store, and remove it if this was the last one to have it open."""
    os.close(store)
    with suppress(OSError, StoreError), base(directory) as parent:  # the next one to enter any store tries again
        directories.sweep(parent)


def destroy(directory: str, name: str) -> None:
    """Remove a store, whoever has it open.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    with base(directory) as parent:
        directories.remove(parent, name)
