"""Digests of the frames of a message: whether they arrived as they left.

A message with checksums holds the XXH3 of each frame, which finds accidents. A signed message holds digests that
nobody can make other frames for; `oobcodec.auth` vouches for the digests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oobcodec.auth import UNSIGNED
from oobcodec.buffers import flat
from oobcodec.digests import compute
from oobcodec.errors import AuthenticationError, DecodeError, EncodeError, IntegrityError
from oobcodec.header import CHECKSUM, Digests, checksummed, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.header import Header


def seal(frames: Sequence[Buffer], *, checksum: bool = False, keyring: Keyring | None = None) -> list[memoryview]:
    """Return a message with digests of its frames.

    Parameters
    ----------
    frames
        A message, as `oobcodec.dumps` returns it.
    checksum
        Add checksums. They are not needed, and left out, where it is signed.
    keyring
        Sign it.

    Returns
    -------
    list of memoryview
        A new first frame where anything is added, and the same others.

    Raises
    ------
    EncodeError
        The package xxhash is not installed, or the keyring only verifies.
    """
    if keyring is not None:
        return keyring.seal(frames)
    views = [flat(frame) for frame in frames]
    if not checksum:
        return views
    try:
        values = compute(CHECKSUM, views[1:])
    except ImportError as error:
        message = f"no checksums: {error}"
        raise EncodeError(message) from error
    return [memoryview(checksummed(read(bytes(views[0])), Digests(CHECKSUM, tuple(values)))), *views[1:]]


def check(header: Header, frames: Sequence[memoryview], keyring: Keyring | None = None) -> None:
    """Check that frames are what the digests in their header say, if there are any.

    Parameters
    ----------
    header
        What ``frames[0]`` of the message says. With a keyring `Keyring.verify` has found that signed.
    frames
        The other frames, of the lengths that the header says.
    keyring
        What the message must be signed with. Without one, a message that is signed is read like any other.

    Raises
    ------
    IntegrityError
        A frame is another.
    AuthenticationError
        There is a keyring, and no digests, or not those that a keyring of this algorithm writes.
    DecodeError
        The package that computes the digests is not installed.
    """
    digests = header.digests
    if keyring is not None:
        if digests is None or digests.algorithm == CHECKSUM:
            raise AuthenticationError(UNSIGNED)
        if digests.algorithm != keyring.digest_algorithm:
            message = f"frames have {digests.algorithm} digests, the keyring takes {keyring.digest_algorithm} only"
            raise AuthenticationError(message)
    if digests is None:
        return
    try:
        values = compute(digests.algorithm, frames)
    except ImportError as error:
        message = f"the message holds digests of its frames that cannot be checked: {error}"
        raise DecodeError(message) from error
    for index, (found, declared) in enumerate(zip(values, digests.values, strict=True), 1):
        if found != declared:
            message = f"frame {index} is not what was sent: its {digests.algorithm} digest is another than the header's"
            raise IntegrityError(message)
