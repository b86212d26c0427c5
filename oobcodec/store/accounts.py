"""How full a store is, in a file of a few numbers that is only touched under a lock.

What counts is pages: those of the objects, of the files that are free to be used again, and of the drafts, which are
given their length before anything is written to them. So the directories tell the same as the accounts do, and where
a process was killed in between, which leaves a mark, they are added up again.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from mmap import PAGESIZE
from struct import Struct
from typing import TYPE_CHECKING, Final

from oobcodec.errors import StoreError
from oobcodec.store.directories import listed
from oobcodec.store.locks import opened, try_lock
from oobcodec.store.names import fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE: Final = "accounts"
_FIELDS: Final = Struct("<8s16sQQQ?")
_MAGIC: Final = b"OOBSTOR1"
_STATE: Final = Struct("<QQ?")
"""The last of the fields, which change."""
_SETTLED: Final = False
_CHANGING: Final = _FIELDS.size - 1, b"\1"

_thread = threading.local()


@dataclass(slots=True)
class Accounts:
    """What a store is, and how full.

    Attributes
    ----------
    store : int
        The descriptor of its directory.
    id : str
        No other store has it, not even one of the same name.
    capacity, used, free : int
        Bytes that there may be, that there are, and that are of no use but for the next object.
    """

    store: int
    id: str
    capacity: int
    used: int
    free: int

    def reap(self) -> None:
        """Remove the drafts whose writers are gone."""
        for name in listed(self.store, "drafts"):
            path = f"drafts/{name}"
            with suppress(FileNotFoundError), opened(path, os.O_RDONLY, self.store) as file:
                if try_lock(file):
                    status = os.fstat(file.fileno())
                    os.unlink(path, dir_fd=self.store)
                    # With two names it is an object already.
                    self.used -= charged(status.st_size) if status.st_nlink == 1 else 0

    def recount(self) -> None:
        """Add up what is there."""
        self.reap()
        self.free = self._sum("free")
        self.used = self.free + self._sum("drafts") + self._sum("objects")

    def _sum(self, part: str) -> int:
        total = 0
        for name in listed(self.store, part):
            with suppress(FileNotFoundError):
                status = os.stat(f"{part}/{name}", dir_fd=self.store)
                # What is being published is an object and a draft for a moment.
                total += charged(status.st_size) if status.st_nlink == 1 or part == "objects" else 0
        return total


def charged(nbytes: int) -> int:
    """Return the bytes that the pages of a file have."""
    return -(-nbytes // PAGESIZE) * PAGESIZE


def establish(store: int, capacity: int) -> None:
    """Make the accounts of a store that has none yet."""
    name = f"{_FILE}.{fresh()}"
    with opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, store) as file:
        try:
            os.write(file.fileno(), _FIELDS.pack(_MAGIC, fresh().encode(), capacity, 0, 0, _SETTLED))
            with suppress(FileExistsError):
                os.link(name, _FILE, src_dir_fd=store, dst_dir_fd=store)
        finally:
            os.unlink(name, dir_fd=store)


def read(store: int) -> Accounts:
    """Return the accounts as they are at the moment, which may be amidst a change.

    Raises
    ------
    StoreError
        They are of another version of oobcodec.
    FileNotFoundError
        There are none: the store is not complete yet, or has been destroyed.
    """
    with opened(_FILE, os.O_RDONLY, store) as file:
        return _unpacked(store, os.pread(file.fileno(), _FIELDS.size, 0))[0]


@contextmanager
def changing(store: int) -> Iterator[Accounts]:
    """Give a block the accounts to change, together with what they count, while no other process or thread does.

    Raises
    ------
    StoreError
        The store has been destroyed; or this very thread is in such a block. One that the block raises says that all
        is in order; after any other exception the directories are added up again.
    """
    if getattr(_thread, "inside", False):
        message = "the store is being changed by this thread, which a finalizer or a signal handler has interrupted"
        raise StoreError(message)
    try:
        with opened(_FILE, os.O_RDWR, store) as file:
            descriptor = file.fileno()
            flock(descriptor, LOCK_EX)
            _thread.inside = True
            accounts, interrupted = _unpacked(store, os.pread(descriptor, _FIELDS.size, 0))
            os.pwrite(descriptor, _CHANGING[1], _CHANGING[0])
            if interrupted:
                accounts.recount()
            try:
                yield accounts
            except StoreError:
                _save(descriptor, accounts)
                raise
            _save(descriptor, accounts)
    except FileNotFoundError:
        check_exists(store)
        raise
    finally:
        _thread.inside = False


def check_exists(store: int) -> None:
    """Refuse a store that has been destroyed, which begins with its accounts.

    Raises
    ------
    StoreError
        It has.
    """
    try:
        os.stat(_FILE, dir_fd=store)
    except FileNotFoundError as error:
        message = "the store has been destroyed"
        raise StoreError(message) from error


def _save(descriptor: int, accounts: Accounts) -> None:
    os.pwrite(descriptor, _STATE.pack(accounts.used, accounts.free, _SETTLED), _FIELDS.size - _STATE.size)


def _unpacked(store: int, data: bytes) -> tuple[Accounts, bool]:
    """Return accounts, and whether a process was interrupted while it changed them."""
    if len(data) != _FIELDS.size or not data.startswith(_MAGIC):
        message = f"the store is of another version of oobcodec ({data[: len(_MAGIC)]!r}): use the same on both sides"
        raise StoreError(message)
    _, identity, capacity, used, free, interrupted = _FIELDS.unpack(data)
    return Accounts(store, identity.decode(), capacity, used, free), interrupted
