"""The directories of stores: whom they belong to, and when they go.

::

    /dev/shm/oobcodec-1000/         what user 1000 has (mode 0700)
        experiment/                 a store; who has opened it holds a shared lock on its directory
            accounts                what it is and how full, as `oobcodec.store.accounts` describes
            objects/                sealed objects, by their encoded keys
            drafts/                 files that are being written, each locked by its writer
            free/                   files whose pages the next objects get
        .4fd0d7ff64bdf6b1           one that is being removed

The directory of a store that is to outlive its users is sticky, and so is the file of an object that is pinned.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from contextlib import suppress
from fcntl import LOCK_SH, flock
from pathlib import Path
from typing import Final

from oobcodec.errors import StoreError
from oobcodec.store.locks import is_named, try_lock
from oobcodec.store.names import fresh

DIRECTORY: Final = "/dev/shm"  # noqa: S108  # where users have no business with each other's files, and that is checked

PARTS: Final = ("objects", "drafts", "free")

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | os.O_NOFOLLOW


def open_base(directory: str) -> int:
    """Return a descriptor of the directory of all stores of this user, which is made if need be.

    Raises
    ------
    StoreError
        It is somebody else's, or others may use it; or the system is not Linux.
    OSError
        Of the system.
    """
    if sys.platform != "linux":
        message = "Store needs Linux: elsewhere, exchange files with oobcodec.dump and oobcodec.load"
        raise StoreError(message)
    path = Path(directory) / f"oobcodec-{os.geteuid()}"
    with suppress(FileExistsError):
        path.mkdir(0o700)
    return _open_own(str(path))


def open_store(base: int, name: str, *, create: bool, persistent: bool = False) -> int:
    """Return a descriptor of the directory of a store, which does not go as long as that, or a copy of it, is open.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    while True:
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, 0o1700 if persistent else 0o700, dir_fd=base)
        try:
            descriptor = _open_own(name, base)
        except FileNotFoundError:
            if create:
                continue  # somebody has removed it already, as one that nobody has open
            raise
        try:
            flock(descriptor, LOCK_SH)
            if is_named(name, descriptor, base):
                if create:
                    _furnish(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody was removing it


def is_persistent(descriptor: int) -> bool:
    """Tell whether a store is to outlive its users."""
    return bool(os.fstat(descriptor).st_mode & stat.S_ISVTX)


def listed(directory: int, path: str = ".") -> list[str]:
    """Return the names in a directory."""
    # Opened anew: descriptors that are copies of each other, in threads or processes, share the place where they read.
    descriptor = os.open(path, _FLAGS, dir_fd=directory)
    try:
        return os.listdir(descriptor)  # noqa: PTH208  # a descriptor is no path
    finally:
        os.close(descriptor)


def stores(base: int) -> list[str]:
    """Return the names of the directories of stores."""
    return [name for name in listed(base) if not name.startswith(".")]


def sweep(base: int) -> list[str]:
    """Remove the stores that nobody has open, unless they are to outlive that, and return their names."""
    removed = []
    for name in listed(base):
        if name.startswith("."):
            _clear(base, name)
            continue
        with suppress(FileNotFoundError, NotADirectoryError):
            descriptor = os.open(name, _FLAGS, dir_fd=base)
            try:
                if not is_persistent(descriptor) and try_lock(descriptor) and is_named(name, descriptor, base):
                    remove(base, name)
                    removed.append(name)
            finally:
                os.close(descriptor)
    return removed


def remove(base: int, name: str) -> None:
    """Remove a store, which is gone at once; what is mapped remains to those who have mapped it.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    hidden = f".{fresh()}"
    os.rename(name, hidden, src_dir_fd=base, dst_dir_fd=base)
    _clear(base, hidden)


def _clear(base: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(f"{name}/accounts", dir_fd=base)  # by which those who have it open know
    # One of them may still be putting something into it. The next sweep finds that.
    shutil.rmtree(name, ignore_errors=True, dir_fd=base)


def _furnish(store: int) -> None:
    for part in PARTS:
        with suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=store)


def _open_own(path: str, directory: int | None = None) -> int:
    """Open a directory that nobody but this user can have made or can use."""
    try:
        descriptor = os.open(path, _FLAGS, dir_fd=directory)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
            raise
        message = f"{path!r} is no directory of yours ({error.strerror}): remove it, or choose another directory="
        raise StoreError(message) from error
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(descriptor)
        message = (
            f"{path!r} belongs to user {status.st_uid}, with mode {stat.S_IMODE(status.st_mode):o}: others could put "
            f"into it what this process would run. Remove it (it is to have mode 700 and to belong to user "
            f"{os.geteuid()}), or choose another directory="
        )
        raise StoreError(message)
    return descriptor
