"""Sealed objects: how they are found, locked and mapped, and who has mapped them.

Whoever maps an object holds a shared lock on its file, which belongs to the mapping and goes with it. A small object is
read instead, without a lock: its file never becomes that of another object.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from fcntl import LOCK_SH
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from oobcodec.buffers import allocate
from oobcodec.errors import NoSuchKeyError, StoreError
from oobcodec.store.accounts import check_exists
from oobcodec.store.directories import listed
from oobcodec.store.locks import opened, try_lock
from oobcodec.store.names import decoded
from oobcodec.store.pages import mapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMALL: Final = 64 * 1024
"""Bytes up to which reading is cheaper than mapping."""

PAUSE: Final = 50e-6
"""Seconds between two attempts at something that another process is about to finish."""

_MISSING: Final = "there is no such object: it has not been put yet, or has been deleted or evicted"

_LONGEST_PAUSE: Final = 0.01
"""Seconds between two looks for an object that somebody waits for."""

_INSTANT: Final = 10_000_000
"""Nanoseconds within which it does not count which object was used before which; the clock of files has no fewer."""

_COMPARED: Final = 1 << 20
"""Bytes at a time."""

_LOCKS: Final = Path("/proc/locks")


class Stored(NamedTuple):
    """An object of a store.

    Attributes
    ----------
    key : str
        Its key.
    nbytes : int
        The bytes of its message.
    pinned : bool
        Whether it is never evicted.
    last_used : int
        When it was put, or got for the last time: nanoseconds since the epoch, give or take 10 ms.
    pids : tuple of int
        Processes that have mapped it. Children that they have forked since are not told.
    """

    key: str
    nbytes: int
    pinned: bool
    last_used: int
    pids: tuple[int, ...]


def path_of(name: str) -> str:
    """Return the path of an object in the directory of its store."""
    return f"objects/{name}"


def memory_of(store: int, name: str, *, private: bool = False) -> memoryview:
    """Return the bytes of an object.

    Parameters
    ----------
    store
        The descriptor of the store's directory.
    name
        Of the object's file.
    private
        Copy on write; otherwise they are read-only.

    Raises
    ------
    FileNotFoundError
        There is none.
    StoreError
        This process has too many objects mapped already.
    """
    memory = _read(path_of(name), store)
    if memory is None:
        memory = _mapped(store, name, private=private)
    return memory if private else memory.toreadonly()


def _read(path: str, store: int) -> memoryview | None:
    """Return the bytes of an object if it is a small one."""
    descriptor = os.open(path, os.O_RDONLY, dir_fd=store)
    try:
        status = os.fstat(descriptor)
        if status.st_size > SMALL:
            return None
        memory = allocate(status.st_size)
        os.preadv(descriptor, [memory], 0)
        _note_use(descriptor, status)
    finally:
        os.close(descriptor)
    return memory


def _mapped(store: int, name: str, *, private: bool) -> memoryview:
    try:
        while True:
            with opened(path_of(name), os.O_RDONLY, store) as file:
                descriptor = file.fileno()
                status = os.fstat(descriptor)
                if try_lock(descriptor, LOCK_SH) and _is_still(store, name, status):
                    memory = mapped(descriptor, status.st_size, private=private)
                    _note_use(descriptor, status)
                    return memory
            time.sleep(PAUSE)  # it is being deleted or evicted, and another may be taking its place
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        message = (
            "this process has no room for another mapping: let go of objects, put many small ones as one, or raise the "
            "limit (ulimit -v, sysctl vm.max_map_count)"
        )
        raise StoreError(message) from error


def awaited(store: int, name: str, timeout: float | None, *, private: bool = False) -> memoryview:
    """Return the bytes of an object, which may not be there yet.

    Parameters
    ----------
    store, name, private
        As for `memory_of`.
    timeout
        Seconds to wait for it; `None` for as long as it takes.

    Raises
    ------
    NoSuchKeyError
        It has not come.
    StoreError
        The store has been destroyed; or as for `memory_of`.
    """
    began = time.monotonic()
    while True:
        try:
            return memory_of(store, name, private=private)
        except FileNotFoundError:
            check_exists(store)
            waited = time.monotonic() - began
            if timeout is not None and waited >= timeout:
                raise NoSuchKeyError(_MISSING) from None
        # In proportion, so that a short wait stays short and a long one costs nothing.
        pause = min(max(waited / 8, PAUSE), _LONGEST_PAUSE)
        time.sleep(pause if timeout is None else min(pause, timeout - waited))


@contextmanager
def finding() -> Iterator[None]:
    """Say what it means that there is no file.

    Raises
    ------
    NoSuchKeyError
        There is none.
    """
    try:
        yield
    except FileNotFoundError:
        raise NoSuchKeyError(_MISSING) from None


def exists(store: int, name: str) -> bool:
    """Tell whether there is an object."""
    try:
        os.stat(path_of(name), dir_fd=store)
    except FileNotFoundError:
        return False
    return True


def holds(memory: memoryview, pieces: Sequence[memoryview]) -> bool:
    """Tell whether memory holds certain pieces, one after the other."""
    begin = 0
    for piece in pieces:
        for start in range(0, piece.nbytes, _COMPARED):
            part = piece[start : start + _COMPARED]
            # As bytes: memoryviews compare element by element.
            if bytes(memory[begin : begin + part.nbytes]) != bytes(part):
                return False
            begin += part.nbytes
    return begin == memory.nbytes


def _is_still(store: int, name: str, opened_status: os.stat_result) -> bool:
    """Tell whether an object is still in the file that was opened; that may hold another one by now."""
    try:
        return os.path.samestat(os.stat(path_of(name), dir_fd=store), opened_status)
    except FileNotFoundError:
        return False


def _note_use(descriptor: int, status: os.stat_result) -> None:
    now = time.time_ns()
    if now - last_used(status) > _INSTANT:
        os.utime(descriptor, ns=(now, status.st_mtime_ns))


def last_used(status: os.stat_result) -> int:
    """Return when an object was put or got, in nanoseconds since the epoch, give or take 10 ms."""
    return max(status.st_atime_ns, status.st_mtime_ns)


def statuses(store: int) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the objects there are: the names of their files, and what the system knows of these."""
    for name in listed(store, "objects"):
        try:
            yield name, os.stat(path_of(name), dir_fd=store)
        except FileNotFoundError:
            continue


def stored(store: int) -> list[Stored]:
    """Return the objects there are."""
    holders = _holders()
    return [
        Stored(
            decoded(name),
            status.st_size,
            bool(status.st_mode & stat.S_ISVTX),
            last_used(status),
            tuple(holders.get((os.major(status.st_dev), os.minor(status.st_dev), status.st_ino), ())),
        )
        for name, status in statuses(store)
    ]


def _holders() -> dict[tuple[int, int, int], list[int]]:
    """Return the processes that hold a lock, by the device and number of the file."""
    holders: dict[tuple[int, int, int], list[int]] = {}
    for line in _LOCKS.read_text().splitlines():
        _, kind, _, _, pid, file, *_ = line.split()
        if kind == "FLOCK":
            major, minor, number = file.split(":")
            holders.setdefault((int(major, 16), int(minor, 16), int(number)), []).append(int(pid))
    return holders
