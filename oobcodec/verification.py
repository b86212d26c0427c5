"""Whether a file is what was written, without executing any of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from oobcodec.digests import LARGE, blake3, of_package
from oobcodec.errors import DecodeError, IntegrityError
from oobcodec.files import mapped, naming
from oobcodec.header import read
from oobcodec.limits import FOR_DATA, Limits
from oobcodec.packed import unpack

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from oobcodec.transfer import Progress

LIMITS: Final = Limits(max_total_bytes=None).over(FOR_DATA)
"""A large file takes no more memory than a small one here."""

_HASHES: Final[dict[str, Callable[[], Any]]] = {
    "xxh3_64": lambda: of_package("xxhash", "xxh3_64", "checksum"),
    "sha256": lambda: hashlib.sha256,
    "blake3": blake3,
}


def verify(path: str | os.PathLike[str], *, limits: Limits = LIMITS, progress: Progress | None = None) -> str | None:
    """Check that a file is one whole message, and that its frames are what was written, if it has digests of them.

    Parameters
    ----------
    path
        What `oobcodec.dump` has written.
    limits
        What its header may declare.
    progress
        Called as ``progress(done, total)`` with bytes of the frames, as these are read.

    Returns
    -------
    str or None
        By which digests: ``"xxh3_64"``, checksums; or another algorithm in a signed message, of which the signature is
        not looked at. ``None``: it has none, and no more than its structure has been checked.

    Raises
    ------
    HeaderError, TruncatedError
        It is not one whole message.
    IntegrityError
        A frame, or what lies between two, is not what was written.
    LimitError
        It declares more than `limits` allow.
    DecodeError
        The package that computes the digests is not installed.
    OSError
        The file cannot be read.
    """
    with naming(path):
        first, *frames = unpack(mapped(path), limits=limits)
        digests = read(first.tobytes(), limits).digests
        if digests is None:
            return None
        try:
            new = _HASHES[digests.algorithm]()
        except ImportError as error:
            message = f"the message holds digests of its frames that cannot be checked: {error}"
            raise DecodeError(message) from error
        total = sum(map(len, frames))
        done = 0
        for index, (frame, declared) in enumerate(zip(frames, digests.values, strict=True), 1):
            digest = new()
            for start in range(0, len(frame), LARGE):
                chunk = frame[start : start + LARGE]
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            if digest.digest() != declared:
                message = f"frame {index} is not what was written: its {digests.algorithm} digest is another"
                raise IntegrityError(message)
    return digests.algorithm
