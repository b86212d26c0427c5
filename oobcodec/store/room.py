"""Room for the next object: what nobody needs any more is used again, or goes, the least recently used first."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from oobcodec.errors import StoreFullError
from oobcodec.limits import in_units
from oobcodec.store.accounts import charged
from oobcodec.store.directories import listed
from oobcodec.store.locks import opened, try_lock
from oobcodec.store.names import fresh
from oobcodec.store.objects import SMALL, last_used, path_of, statuses, stored

if TYPE_CHECKING:
    from oobcodec.store.accounts import Accounts

RECYCLED: Final = 1 << 20
"""Bytes of an object from which its pages are used again: new ones cost more than what is copied into them.

More than `SMALL`, so that the file of a small object never becomes that of another.
"""

_MOST_FREE: Final = 1 << 30
"""Bytes that are kept for the next objects, at most."""

_MOST_FILES: Final = 16

_NAMED: Final = 3
"""Objects that an error names."""


class Room:
    """What has to go for an object to fit into a store."""

    def __init__(self) -> None:
        # The one to evict first is the last. Whatever is put or used after this was made has a later time than all that
        # are in it: so it stays in order, and all objects are looked at only when it comes to its end.
        self._queue: list[tuple[int, str]] = []

    def make(self, accounts: Accounts, nbytes: int, draft: str | None = None) -> None:
        """Account for a file of `nbytes` bytes.

        Parameters
        ----------
        accounts
            Of the store.
        nbytes
            Of the file.
        draft
            Where to put a file that can be used again, if there is one of that size.

        Raises
        ------
        StoreFullError
            Not even evicting would make room.
        """
        needed = charged(nbytes)
        if accounts.used + needed > accounts.capacity:
            accounts.reap()
        while (missing := accounts.used - accounts.free + needed - accounts.capacity) > 0:
            victims, size = self._idle(accounts.store, missing)
            if size < missing:
                raise full(accounts, nbytes)
            for name in victims:
                remove(accounts, name, idle=True)
        if draft is not None and nbytes >= RECYCLED and accounts.free:
            _recycle(accounts, nbytes, draft)
        accounts.used += needed
        if accounts.free:
            trim(accounts, accounts.capacity - (accounts.used - accounts.free))

    def evict(self, accounts: Accounts, nbytes: int) -> int:
        """Give memory back to the system: `nbytes` bytes or more, or as much as can be; return how much."""
        before = accounts.used
        trim(accounts, max(accounts.free - nbytes, 0))
        missing = nbytes - (before - accounts.used)
        if missing > 0:
            for name in self._idle(accounts.store, missing)[0]:
                remove(accounts, name, idle=True)
            trim(accounts, 0)
        return before - accounts.used

    def relieve(self, accounts: Accounts, nbytes: int) -> None:
        """Give memory back to a file system that has no space for `nbytes` bytes.

        Raises
        ------
        StoreFullError
            There is nothing to evict.
        """
        if not self.evict(accounts, nbytes):
            system = os.fstatvfs(accounts.store)
            space, total = (in_units(blocks * system.f_frsize) for blocks in (system.f_bavail, system.f_blocks))
            message = (
                f"no space for {in_units(nbytes)}: the file system of the store has {space} of {total} left, and there "
                "is nothing to evict. Make it larger (docker run --shm-size=4g), or choose another directory="
            )
            if system.f_files and not system.f_favail:
                message = (
                    f"no inode for another object: the file system of the store has {system.f_files:,}, all in use, "
                    "and there is nothing to evict. Put many small objects as one, give it more (mount -o "
                    "remount,nr_inodes=), or choose another directory="
                )
            raise StoreFullError(message)

    def _idle(self, store: int, nbytes: int) -> tuple[list[str], int]:
        """Return the objects to evict for so many bytes, and how many they have: fewer if that is all there is."""
        names, size = self._next(store, nbytes)
        if size < nbytes:
            # What was in use when its turn came may not be any more.
            found = ((last_used(status), name) for name, status in statuses(store))
            self._queue = sorted(found, reverse=True)
            names, size = self._next(store, nbytes)
        return names, size

    def _next(self, store: int, nbytes: int) -> tuple[list[str], int]:
        names = []
        size = 0
        while self._queue and size < nbytes:
            time, name = self._queue.pop()
            # Not there any more, or used again since.
            with suppress(FileNotFoundError), opened(path_of(name), os.O_RDONLY, store) as file:
                status = os.fstat(file.fileno())
                pinned = status.st_mode & stat.S_ISVTX
                if last_used(status) == time and not pinned and (status.st_size <= SMALL or try_lock(file)):
                    names.append(name)
                    size += charged(status.st_size)
        return names, size


def remove(accounts: Accounts, name: str, *, idle: bool = False) -> None:
    """Remove an object, and keep its pages for the next one if they are worth it and nobody has mapped them.

    Parameters
    ----------
    accounts
        Of the store.
    name
        Of the object's file.
    idle
        Only if nobody has mapped it.

    Raises
    ------
    FileNotFoundError
        There is no such object.
    """
    path = path_of(name)
    with opened(path, os.O_RDONLY, accounts.store) as file:
        status = os.fstat(file.fileno())
        unused = status.st_size <= SMALL or try_lock(file)
        if idle and not unused:
            return
        if status.st_nlink > 1:
            _forget_draft(accounts.store, status)
        worth = unused and status.st_size >= RECYCLED and status.st_nlink == 1
        if worth and len(listed(accounts.store, "free")) < _MOST_FILES:
            os.fchmod(file.fileno(), 0o600)
            os.rename(path, f"free/{fresh()}", src_dir_fd=accounts.store, dst_dir_fd=accounts.store)
            accounts.free += charged(status.st_size)
        else:
            os.unlink(path, dir_fd=accounts.store)
            accounts.used -= charged(status.st_size)


def _forget_draft(store: int, published: os.stat_result) -> None:
    """Take away the name that an object had as a draft: if its writer is killed, what is left would count once more."""
    for name in listed(store, "drafts"):
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(f"drafts/{name}", dir_fd=store), published):
                os.unlink(f"drafts/{name}", dir_fd=store)


def trim(accounts: Accounts, most: int) -> None:
    """Give back files that are free until they have at most `most` bytes, or what is worth keeping."""
    most = min(most, _MOST_FREE)
    if accounts.free > most:
        for name, size in _free(accounts.store).items():
            if accounts.free > most:
                os.unlink(f"free/{name}", dir_fd=accounts.store)
                accounts.free -= charged(size)
                accounts.used -= charged(size)


def _recycle(accounts: Accounts, nbytes: int, draft: str) -> None:
    """Make the free file that is nearest in size a draft, unless most of it would be lost."""
    sizes = _free(accounts.store)
    name = min(sizes, key=lambda name: abs(sizes[name] - nbytes))
    if sizes[name] <= 2 * nbytes:
        os.rename(f"free/{name}", draft, src_dir_fd=accounts.store, dst_dir_fd=accounts.store)
        accounts.free -= charged(sizes[name])
        accounts.used -= charged(sizes[name])


def _free(store: int) -> dict[str, int]:
    return {name: os.stat(f"free/{name}", dir_fd=store).st_size for name in listed(store, "free")}


def full(accounts: Accounts, nbytes: int) -> StoreFullError:
    """Return the error that says why there is no room for `nbytes` bytes, and who could make some."""
    objects = stored(accounts.store)
    held = sorted((each for each in objects if each.pids), key=lambda each: -each.nbytes)
    pinned = sum(charged(each.nbytes) for each in objects if each.pinned)
    who = ", ".join(
        f"{each.key!r} ({in_units(each.nbytes)}) by process {' and '.join(map(str, each.pids))}"
        for each in held[:_NAMED]
    )
    more = f" and {len(held) - _NAMED:,} more" if len(held) > _NAMED else ""
    message = (
        f"no room for {in_units(nbytes)}: of {in_units(accounts.capacity)} are {in_units(accounts.used)} used, "
        f"{in_units(pinned)} of it pinned; mapped are {who or 'none'}{more}. Let go of objects, unpin or delete some, "
        "or create the store with a larger capacity="
    )
    return StoreFullError(message)
