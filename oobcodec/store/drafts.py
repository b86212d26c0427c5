"""Files that are being written, and become objects at once when they are complete, or nothing."""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_SH, flock
from functools import partial
from mmap import mmap
from typing import TYPE_CHECKING, Any

from oobcodec.errors import KeyExistsError, StoreError
from oobcodec.gathering import batches, behind
from oobcodec.store.accounts import changing, charged
from oobcodec.store.locks import opened
from oobcodec.store.names import fresh
from oobcodec.store.objects import exists, path_of
from oobcodec.store.pages import fill, huge_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oobcodec.store.room import Room


class Draft:
    """A file of a store that has no key yet.

    Parameters
    ----------
    store
        The descriptor of the store's directory.
    room
        What makes room where the file system has none.
    path
        Of the file, in that directory.
    descriptor
        Of the file, which is locked.
    nbytes
        Its length.
    """

    def __init__(self, store: int, room: Room, path: str, descriptor: int, nbytes: int) -> None:
        self._store = store
        self._room = room
        self._path = path
        self._descriptor = descriptor
        self._nbytes = nbytes
        self._published = False

    def write(self, pieces: Sequence[memoryview]) -> None:
        """Write all of it.

        Raises
        ------
        StoreFullError
            The file system is full.
        """
        # Not to be inherited, or children that others fork meanwhile would keep the object from being evicted.
        memory = huge_memory(self._descriptor, self._nbytes, inherited=False)
        if memory is None:
            _write(self._descriptor, pieces, self._relieve)
        else:
            fill(memory, pieces)

    def map(self) -> memoryview:
        """Return all of it as memory to be filled. As long as that lives, nobody takes the pages away.

        Raises
        ------
        StoreFullError
            The file system is full.
        """
        memory = huge_memory(self._descriptor, self._nbytes)
        if memory is None:
            # Otherwise it is the filling that finds no pages, and the signal for that ends the process.
            _insist(self._relieve, os.posix_fallocate, self._descriptor, 0, self._nbytes)
            memory = memoryview(mmap(self._descriptor, self._nbytes))
        return memory

    def publish(self, name: str, *, pinned: bool = False) -> None:
        """Make it an object, which all of it must have been written to.

        Raises
        ------
        KeyExistsError
            There is one of that name.
        StoreFullError
            The file system has no inode for the name.
        """
        flock(self._descriptor, LOCK_SH)  # as those who map it
        os.fchmod(self._descriptor, _mode(pinned))
        now = time.time_ns()
        os.utime(self._descriptor, ns=(now, now))  # not when it was made
        _insist(self._relieve, _publish, self._store, self._path, name)
        self._published = True

    def close(self) -> None:
        """Discard it unless it has become an object."""
        # An interrupt may have come before it could be noted that it has.
        if self._published or os.fstat(self._descriptor).st_nlink > 1:
            with suppress(FileNotFoundError):  # the store has been destroyed
                os.unlink(self._path, dir_fd=self._store)
        else:
            with changing(self._store) as accounts:
                os.unlink(self._path, dir_fd=self._store)
                accounts.used -= charged(self._nbytes)

    def _relieve(self) -> None:
        with changing(self._store) as accounts:
            self._room.relieve(accounts, self._nbytes)


@contextmanager
def draft(store: int, room: Room, nbytes: int) -> Iterator[Draft]:
    """Give a block a file of `nbytes` bytes to write and to publish, which is discarded if the block does not.

    Raises
    ------
    StoreFullError
        There is no room for it.
    """
    path = f"drafts/{fresh()}"
    with changing(store) as accounts:
        accounts.reap()
        room.make(accounts, nbytes, path)
        try:
            file = _insist(partial(room.relieve, accounts, nbytes), opened, path, os.O_RDWR | os.O_CREAT, store)
        except StoreError:
            accounts.used -= charged(nbytes)
            raise
        flock(file, LOCK_EX)  # or it would be taken for what a killed process has left
        os.truncate(file.fileno(), nbytes)
    with file:
        new = Draft(store, room, path, file.fileno(), nbytes)
        try:
            yield new
        finally:
            new.close()


@contextmanager
def sealing(store: int, room: Room, name: str, nbytes: int, *, pinned: bool = False) -> Iterator[Draft]:
    """Give a block a file of `nbytes` bytes, which becomes an object when the block ends.

    Raises
    ------
    KeyExistsError
        There is one of that name.
    StoreFullError
        There is no room for it.
    """
    if exists(store, name):  # which is to be known before anything is written
        raise _key_exists()
    with draft(store, room, nbytes) as new:
        yield new
        new.publish(name, pinned=pinned)


def put_small(store: int, room: Room, name: str, pieces: Sequence[memoryview], *, pinned: bool = False) -> None:
    """Make an object of a few bytes, which are written sooner than a draft is made.

    Raises
    ------
    KeyExistsError
        There is one of that name.
    StoreFullError
        There is no room for it.
    """
    data = b"".join(pieces)
    nbytes = len(data)
    with changing(store) as accounts:
        room.make(accounts, nbytes)
        try:
            _insist(partial(room.relieve, accounts, nbytes), _put_small, store, name, data, _mode(pinned))
        except StoreError:
            accounts.used -= charged(nbytes)
            raise


def _put_small(store: int, name: str, data: bytes, mode: int) -> None:
    descriptor = os.open(".", os.O_WRONLY | os.O_TMPFILE, mode, dir_fd=store)
    try:
        rest = data
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        _publish(store, f"/proc/self/fd/{descriptor}", name)
    finally:
        os.close(descriptor)


def _key_exists() -> KeyExistsError:
    """Return the error that says that there is an object already."""
    return KeyExistsError("there is an object of that key already: choose another one, or delete it first")


def _mode(pinned: bool) -> int:  # noqa: FBT001  # all that there is to tell
    return 0o1400 if pinned else 0o400


def _publish(store: int, path: str, name: str) -> None:
    try:
        os.link(path, path_of(name), src_dir_fd=store, dst_dir_fd=store)
    except FileExistsError:
        raise _key_exists() from None


def _write(descriptor: int, pieces: Sequence[memoryview], relieve: Callable[[], None]) -> None:
    for batch in batches(pieces):
        rest = batch
        while rest:
            rest = behind(rest, _insist(relieve, os.writev, descriptor, rest))


def _insist(relieve: Callable[[], None], write: Callable[..., Any], *arguments: Any) -> Any:
    """Write, and where the file system is full before the store is, have something evicted."""
    while True:
        try:
            return write(*arguments)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            relieve()
