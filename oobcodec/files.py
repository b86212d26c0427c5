"""Messages in files: a whole file that is replaced at once and mapped, or one after another in a file object."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager
from functools import partial
from mmap import ACCESS_COPY, ACCESS_READ, mmap
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from oobcodec.codec import dumps, loads
from oobcodec.errors import HeaderError
from oobcodec.gathering import SENT_AT_ONCE, batches, behind
from oobcodec.policy import TRUSTED, limited
from oobcodec.replacing import check_regular, replacing
from oobcodec.transfer import tell
from oobcodec.wire import Receiver, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oobcodec.auth import Keyring
    from oobcodec.compression import Compression
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy
    from oobcodec.transfer import Progress

    File: TypeAlias = str | os.PathLike[str] | Any
    Mode: TypeAlias = Literal["r", "c"]

_ACCESS: Final = {"r": ACCESS_READ, "c": ACCESS_COPY}

# Otherwise each mapping keeps a descriptor open that nothing here needs, and processes have few.
_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}

_NON_BLOCKING: Final = "The file object is non-blocking"

_OTHERS: Final = {
    b"\x80": "a pickle",
    b"\x93NUMPY": "an array of numpy (.npy)",
    b"PK\x03\x04": "a zip archive, such as numpy (.npz) and torch (.pt) write",
    b"\x89HDF": "HDF5",
    b"ARROW1": "Arrow (Feather)",
    b"PAR1": "Parquet",
    b"\x1f\x8b": "compressed with gzip",
}
"""What begins like that."""


def dump(  # noqa: PLR0913  # all options by keyword
    obj: object,
    file: File,
    *,
    copy: bool = False,
    compression: Compression | str | None = None,
    checksum: bool = False,
    keyring: Keyring | None = None,
    progress: Progress | None = None,
) -> int:
    """Write an object into a file, without copying its data.

    Parameters
    ----------
    obj
        Whatever `oobcodec.dumps` takes.
    file
        A path: the file there is replaced at once by a new one when that is on the disk. Whatever happens meanwhile, to
        this process or to the machine, the old one is there or the new one, and who has mapped the old one keeps it. A
        symbolic link stays, with its target replaced. Or a binary file object (anything with ``write``), to which the
        message is appended.
    copy, compression, checksum, keyring
        As for `oobcodec.dumps`.
    progress
        Called as ``progress(done, total)`` with bytes of the message, each time that the system has taken some. What it
        raises ends the call.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    EncodeError
        Of `oobcodec.dumps`; nothing has been written.
    OSError
        Of the system, such as a full disk. The file at the path is as it was; a file object has part of a message.
    """
    path = _path(file, "write")
    frames = dumps(obj, copy=copy, compression=compression, checksum=checksum, keyring=keyring)
    with naming(file):
        pieces = parts(frames)
        if path is None:
            return _write(partial(_write_joined, file), pieces, progress)
        with replacing(path) as descriptor:
            return _write(partial(os.writev, descriptor), pieces, progress)


def load(  # noqa: PLR0913  # all options by keyword
    file: File,
    *,
    mode: Mode = "r",
    policy: Policy = TRUSTED,
    limits: Limits | None = None,
    keyring: Keyring | None = None,
    writable: bool | None = None,
    open_encoded: bool = True,
    map_location: Any = None,
    progress: Progress | None = None,
) -> Any:
    """Read an object from a file; from a path without reading its arrays before they are used.

    Like `pickle.load` it runs what the file says, unless `policy` is another than ``TRUSTED``.

    Parameters
    ----------
    file
        A path: the file is mapped, and arrays are views of the page cache. Or a binary file object (anything with
        ``readinto`` or ``read``): the next message is read from it, and nothing behind that.
    mode
        How a file at a path is mapped. ``"r"``: its arrays are read-only. ``"c"``, copy on write: they are writable as
        they were, a page is copied when it is first written to, and the file does not change. A message from a file
        object has memory of its own, writable as it was.
    policy, limits, keyring, writable, open_encoded, map_location
        As for `oobcodec.loads`. Limits are held against what the message declares before memory is set aside for it.
    progress
        Called as ``progress(done, total)`` with bytes of the message, each time that some have been read from a file
        object. Of a path nothing is read here.

    Returns
    -------
    object
        Its arrays keep the mapping alive, and there is nothing to close.

    Raises
    ------
    HeaderError
        The file is empty, is something else, or has bytes behind the message.
    TruncatedError
        It ends inside the message.
    EOFError
        A file object is at its end.
    DecodeError
        Of `oobcodec.loads`, and all below it.
    OSError
        Of the system; or there is no regular file at the path.

    Notes
    -----
    Checksums and signatures are checked if the message has them or a `keyring` is given, for which all of the file is
    read. ``dump(obj, path, keyring=...)`` signs.

    `dump` to the same path does not disturb what is mapped. A program that shortens the file itself does: the system
    ends a process that touches what is not there any more (SIGBUS). Torch has no read-only tensors: with ``"r"`` their
    memory is copied.

    Before Python 3.13 each mapping keeps a file descriptor open, of which a process often may have 1,024.
    """
    if mode not in _ACCESS:
        message = f"mode is 'r' (read-only) or 'c' (copy on write), not {mode!r}"
        raise ValueError(message)
    decode = partial(
        loads,
        policy=policy,
        limits=limits,
        keyring=keyring,
        writable=writable,
        open_encoded=open_encoded,
        map_location=map_location,
    )
    path = _path(file, "readinto", "read")
    with naming(file):
        if path is not None:
            return decode(mapped(path, mode))
        receiver = Receiver(limits=limited(policy, limits), keyring=keyring)
        return decode(_read(file, receiver, progress))


def mapped(path: str | os.PathLike[str], mode: Mode = "r") -> memoryview:
    """Return the bytes of a file with a message in it, none of which has been read but the first.

    Raises
    ------
    HeaderError
        The file is empty, or begins as files of another kind do.
    OSError
        It cannot be opened or mapped, or is no regular file.
    """
    # What is no regular file may let those wait who open it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        check_regular(status, path)
        if not status.st_size:
            message = "the file is empty"
            raise HeaderError(message)
        view = memoryview(mmap(descriptor, 0, access=_ACCESS[mode], **_UNTRACKED))
    finally:
        os.close(descriptor)
    for begin, kind in _OTHERS.items():
        if view[: len(begin)] == begin:
            message = f"not an oobcodec message: by its first bytes the file is {kind}"
            raise HeaderError(message)
    return view


def _path(file: File, *methods: str) -> str | os.PathLike[str] | None:
    """Return `file` if it is a path, and None if it is a file object."""
    # File objects of fsspec have a path too, and paths of py.path can write.
    if isinstance(file, str | os.PathLike) and not isinstance(file, io.IOBase):
        return file
    if not any(hasattr(file, method) for method in methods):
        remedy = "; memory is for oobcodec.loads" if isinstance(file, bytes | bytearray | memoryview | list) else ""
        wanted = " or ".join(f"{method}()" for method in methods)
        message = f"file is a path or a binary file object with {wanted}, not {type(file).__name__}{remedy}"
        raise TypeError(message)
    return None


@contextmanager
def naming(file: File) -> Iterator[None]:
    """Let an error name the file: at its front if it is ours, and else in a note."""
    try:
        yield
    except Exception as error:
        name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", type(file).__name__)
        tell(error, str(name))
        raise


def _write(write: Callable[[list[memoryview]], int], pieces: list[memoryview], progress: Progress | None) -> int:
    """Write the pieces of a message with `write`, which says how many bytes it has taken."""
    total = sum(map(len, pieces))
    done = 0
    for batch in batches(pieces):
        rest = batch
        while rest:
            nbytes = write(rest)
            rest = behind(rest, nbytes)
            done += nbytes
            if progress is not None:
                progress(done, total)
    return done


def _write_joined(file: Any, batch: list[memoryview]) -> int:
    data = batch[0] if len(batch) == 1 else b"".join(batch)
    nbytes: int | None = file.write(data)
    if nbytes is None and isinstance(file, io.RawIOBase):
        raise BlockingIOError(errno.EAGAIN, _NON_BLOCKING)
    return len(data) if nbytes is None else nbytes  # not all that write everything say so


def _read(file: Any, receiver: Receiver, progress: Progress | None) -> list[memoryview]:
    """Read the next message of a file object."""
    readinto = getattr(file, "readinto", None) or partial(_read_into, file)
    frames = None
    done = total = 0
    while frames is None:
        nbytes = readinto(receiver.get_buffer()[:SENT_AT_ONCE])
        if nbytes is None:
            raise BlockingIOError(errno.EAGAIN, _NON_BLOCKING)
        if not nbytes:
            receiver.end()
        frames = receiver.advance(nbytes)
        done += nbytes
        total = receiver.expected or total  # which it does not know any more after the last bytes
        if progress is not None and total:
            progress(done, total)
    return frames


def _read_into(file: Any, memory: memoryview) -> int | None:
    data = file.read(len(memory))
    if data is None:
        return None
    memory[: len(data)] = data
    return len(data)
