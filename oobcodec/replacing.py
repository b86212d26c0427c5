"""A file that is replaced as a whole or not at all, whatever happens to the process or to the machine.

What is being written has no name where the system has files without (Linux): a process that is killed leaves nothing
of it. Elsewhere, and on Linux for the moment before it takes the place of the old file, it has a hidden name beside
that. Its process holds a lock on it, and what nobody holds any more is removed by the next one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODE: Final = 0o666
"""Of a new file, before the umask."""

_STEM: Final = 32
"""Characters of the file's name in the hidden one, which must not become longer than a system takes."""

_DESCRIPTORS: Final = Path("/proc/self/fd")
"""Through which a file without a name gets one; not mounted everywhere."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[int]:
    """Give a block a new file to write to, which takes its place when the block has ended without an exception.

    Parameters
    ----------
    path
        A regular file, from which the new one has its permissions and, if the system lets it, its owner; a symbolic
        link to one, which stays; or nothing yet.

    Yields
    ------
    int
        The descriptor of the new file.

    Raises
    ------
    OSError
        There is something else at `path`, or what this process may not write to; or what the system says. The old file
        is as it was, unless all that failed is to bring its directory to the disk.
    """
    target = Path(os.path.realpath(path))
    old = _replaceable(target)
    descriptor, name = _create(target)
    try:
        yield descriptor
        if old is not None:
            _take_after(old, descriptor)
        os.fsync(descriptor)
        source, names = name, _free_names(target)
        while name.parent == _DESCRIPTORS:
            name = next(names)  # known before the file has it, so that an interrupt leaves nothing
            try:
                # With any descriptor as a directory: Python follows the link only if there is one.
                os.link(source, name, src_dir_fd=descriptor, follow_symlinks=True)
            except FileExistsError:
                name = source
        name.replace(target)
    finally:
        try:
            _remove(name, descriptor)
        finally:
            os.close(descriptor)
    _sync(target.parent)


def check_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    """Refuse what is no regular file.

    Raises
    ------
    OSError
        It is a directory, or something that can only be read or written as a stream.
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file (open it and pass the file object)", os.fspath(path))


def _replaceable(path: Path) -> os.stat_result | None:
    try:
        old = path.stat()
    except FileNotFoundError:
        return None
    check_regular(old, path)
    # Another file may take the place of one that is write-protected; who protected it did not mean that.
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return old


def _create(target: Path) -> tuple[int, Path]:
    """Return the descriptor of a new file beside `target`, and its name: one in `_DESCRIPTORS` if it has no other."""
    if hasattr(os, "O_TMPFILE") and _DESCRIPTORS.exists():
        # Not all file systems have them. For whatever other reason, the following fails too, and says so.
        with suppress(OSError):
            descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY, _MODE)
            _lock(descriptor)
            return descriptor, _DESCRIPTORS / str(descriptor)
    names = _free_names(target)
    while True:
        name = next(names)
        with suppress(FileExistsError):
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
            # Another process may have taken it for one that nobody holds, before it was locked.
            if _lock(descriptor) and _is(name, descriptor):
                return descriptor, name
            os.close(descriptor)


def _free_names(target: Path) -> Iterator[Path]:
    """Yield hidden names beside `target`, and remove what processes that are gone have left there."""
    number = 0
    while True:
        name = target.with_name(f".{target.name[:_STEM]}.{number}.oobcodec")
        with suppress(OSError):  # there is nothing, or something that is not ours, or there are no locks
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(name, descriptor)
            finally:
                os.close(descriptor)
        yield name
        number += 1


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # there are no locks on this file system, by which anybody could think that it is free
    return True


def _is(name: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(name.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(name: Path, descriptor: int) -> None:
    if _is(name, descriptor):
        name.unlink()


def _take_after(old: os.stat_result, descriptor: int) -> None:
    """Give a file the owner of another one, if this process may, and its permissions."""
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _sync(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return  # it may be written to, and not read
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
