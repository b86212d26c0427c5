"""Files in memory, mapped where their pages can be huge ones: of 2 MiB instead of 4 KiB.

The kernel puts small pages together when it is told to, whatever way the file system is mounted: ``MADV_COLLAPSE``,
from Linux 6.1 on (madvise(2)). That and the copying take a third of the time that it takes to write to a file that has
no pages yet, and half of it where it has some. Only whole huge pages are made, so the file takes no more memory than
before. Who maps them meets one fault for 2 MiB, and needs no page tables.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from oobcodec.buffers import address
from oobcodec.gathering import batches

if TYPE_CHECKING:
    from collections.abc import Sequence

HUGE_PAGE: Final = 2 << 20

_COLLAPSE: Final = 25  # MADV_COLLAPSE
_FIXED: Final = 0x10  # MAP_FIXED

_system = ctypes.CDLL(None, use_errno=True)
_map = _system.mmap
_map.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_map.restype = ctypes.c_void_p
_advise = _system.madvise  # `mmap.madvise` does not let other threads run meanwhile
_advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def mapped(descriptor: int, nbytes: int, *, private: bool = False) -> memoryview:
    """Map a file, which may be closed then: a lock on it stays until the memory is let go of.

    Parameters
    ----------
    descriptor
        Of the file.
    nbytes
        Its length.
    private
        Copy on write; otherwise the memory is read-only.

    Raises
    ------
    OSError
        Of the system; ``ENOMEM`` if the process has too many mappings, or no addresses left.
    """
    if private:
        return _laid(descriptor, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE)[1]
    return _laid(descriptor, nbytes, mmap.PROT_READ, mmap.MAP_SHARED)[1]


def huge_memory(descriptor: int, nbytes: int, *, inherited: bool = True) -> memoryview | None:
    """Return a file as memory in huge pages, or `None` where there are none to be had.

    Parameters
    ----------
    descriptor
        Of the file, to be written to; what is in it may change.
    nbytes
        Its length.
    inherited
        Whether children that are forked meanwhile have the memory, too, and with it the lock of the file.

    Returns
    -------
    memoryview or None
        Shape ``(nbytes,)``, writable, aligned to 2 MiB. All pages are there: none can be missing when it is filled.
    """
    whole = nbytes - nbytes % HUGE_PAGE
    if not whole:
        return None
    with suppress(OSError):  # no memory, no space, no such kernel: who writes without huge pages will see which
        place, memory = _laid(descriptor, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED)
        if not inherited:
            place.madvise(mmap.MADV_DONTFORK)
        for offset in range(0, whole, HUGE_PAGE):
            os.pwrite(descriptor, b"\0", offset)  # where there is no page yet, there is nothing to put together
        if _advise(address(memory), whole, _COLLAPSE) == 0:
            os.posix_fallocate(descriptor, 0, nbytes)  # the rest, or a signal would end the process
            return memory
    return None


def _laid(descriptor: int, nbytes: int, access: int, sharing: int) -> tuple[mmap.mmap, memoryview]:
    """Map a file to where huge pages can lie; return the place, which unmaps it when it goes, and the memory."""
    room = HUGE_PAGE if nbytes >= HUGE_PAGE else 0
    # For `mmap.mmap` cannot be told where to map, and it keeps a descriptor of a file.
    place = mmap.mmap(-1, nbytes + room, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, access)
    memory = memoryview(place)
    begin = -address(memory) % HUGE_PAGE if room else 0
    memory = memory[begin : begin + nbytes]
    start = address(memory)
    if _map(start, nbytes, access, sharing | _FIXED, descriptor, 0) != start:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return place, memory


def fill(memory: memoryview, pieces: Sequence[memoryview]) -> None:
    """Copy pieces one after the other into memory, while other threads may run."""
    to = address(memory)
    for batch in batches(pieces):
        for piece in batch:
            ctypes.memmove(to, address(piece), piece.nbytes)
            to += piece.nbytes
