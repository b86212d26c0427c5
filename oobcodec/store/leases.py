"""Entering a store, which then lives, and leaving it, which ends it if nobody else is there."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from weakref import finalize

from oobcodec.errors import StoreClosedError, StoreError
from oobcodec.store import accounts, directories

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lease:
    """A store that this process has open: until it is closed, and no block uses it any more.

    As a context manager it gives a block the descriptor of the store's directory, in any number of threads at a time.

    Parameters
    ----------
    name
        Of the store, for errors.
    store
        The descriptor of its directory, which from now on belongs to this.
    directory
        Where stores are.
    """

    def __init__(self, name: str, store: int, directory: str) -> None:
        self.descriptor = store
        self._name = name
        self._closed = False
        # What is done to a list no other thread can come between, nor a signal handler that uses the store.
        self._users: list[None] = []
        self._leave = finalize(self, leave, store, directory)

    def __enter__(self) -> int:
        self._users.append(None)  # and then look: otherwise who closes it could miss this
        if self._closed:
            self.__exit__()
            message = f"the store {self._name!r} is closed in this process: open it again with Store({self._name!r})"
            raise StoreClosedError(message)
        return self.descriptor

    def __exit__(self, *exception: object) -> None:
        self._users.pop()
        if self._closed:
            self._leave_if_unused()

    @property
    def closed(self) -> bool:
        """Whether nobody can begin to use it any more."""
        return self._closed

    def close(self) -> None:
        """Leave the store, or let the last one do so who is using it."""
        self._closed = True
        self._leave_if_unused()

    def _leave_if_unused(self) -> None:
        if not self._users:
            self._leave()


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
