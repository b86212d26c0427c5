"""Locks that no process can leave behind: the kernel takes them away with the last descriptor of an opened file.

They belong to what one call of ``open`` has opened, not to a process. So every use opens anew, which tells threads
apart as well as processes; and a forked child must close what it has inherited, or it would hold the lock.
"""

from __future__ import annotations

import os
from fcntl import LOCK_EX, LOCK_NB, flock
from io import FileIO
from typing import Final
from weakref import ref

_opened: Final[dict[int, ref[FileIO]]] = {}
"""By descriptor, so that it does not grow."""


def _close_inherited() -> None:
    for inherited in _opened.values():
        file = inherited()
        if file is not None:
            file.close()


os.register_at_fork(after_in_child=_close_inherited)


def opened(path: str, flags: int, directory: int) -> FileIO:
    """Open a file, to be locked.

    Returns
    -------
    FileIO
        As a context manager it is closed whatever happens: an interrupt may leave out a function of Python's, but not
        one of C's.
    """
    file = FileIO(os.open(path, flags, 0o600, dir_fd=directory))
    _opened[file.fileno()] = ref(file)
    return file


def try_lock(file: FileIO | int, operation: int = LOCK_EX) -> bool:
    """Lock an opened file unless that would have to wait."""
    try:
        flock(file, operation | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_named(path: str, descriptor: int, directory: int) -> bool:
    """Tell whether a name is still that of what has been opened by it."""
    try:
        return os.path.samestat(os.stat(path, dir_fd=directory, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
