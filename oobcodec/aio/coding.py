"""`dumps` and `loads` for an event loop: what takes long is done in a thread, which lets go of Python now and then.

Pickle never does so by itself. It does where it calls something that is written in Python, as the file here that it
writes to, or the one that it reads from in `oobcodec.engine`.
"""

from __future__ import annotations

from asyncio import to_thread
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oobcodec.codec import Codec, loads
from oobcodec.encoder import dumps_watched, finished
from oobcodec.engine import SEGMENT
from oobcodec.header import read
from oobcodec.policy import TRUSTED, limited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.engine import Chunk
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy

LARGE: Final = 1 << 20
"""Bytes of a pickle stream, or to compute digests of, that a thread is started for; 10 ms."""

LARGE_DATA: Final = 64 * 1024
"""The same for streams that are rebuilt by Python code of ours."""


class _TooLong(BaseException):
    """No `Exception`, which would be taken for an error of the object's."""


async def encode(obj: object, *, copy: bool = False, **further: Any) -> list[memoryview]:
    """Do what `oobcodec.dumps` does; the object must not change until that is done."""
    snapshot = copy and further.get("compression") is None
    try:
        frames = dumps_watched(obj, _up_to(LARGE), copy=snapshot)
    except _TooLong:
        frames = []
    if not frames:
        frames = await to_thread(dumps_watched, obj, _let_others_run, copy=snapshot)
    if any(further.values()):
        frames = await aside(partial(finished, frames, copy=copy, **further), sum(map(len, frames)))
    return frames


async def decode(
    frames: list[memoryview], *, policy: Policy = TRUSTED, limits: Limits | None = None, **options: Any
) -> Any:
    """Do what `oobcodec.loads` does with a message that has been received."""
    work = partial(loads, frames, policy=policy, limits=limits, **options)
    largest = LARGE if policy.trusted else LARGE_DATA
    header = read(bytes(frames[0]), limited(policy, limits))
    if header.codecs is None and header.digests is None:
        return await aside(work, sum(header.lengths[: header.pickle_frames]), largest)
    return await aside(work, sum(header.sizes), largest)


async def aside(work: Callable[[], Any], nbytes: int, largest: int = LARGE) -> Any:
    """Call a function, in a thread if it has more than so many bytes to do."""
    return await to_thread(work) if nbytes > largest else work()


def _up_to(nbytes: int) -> Callable[[Chunk], None]:
    """Return a function that gives up after so many bytes, without those that are there by reference."""
    left = nbytes

    def count(chunk: Chunk) -> None:
        nonlocal left
        if len(chunk) < SEGMENT:
            left -= len(chunk)
            if left < 0:
                raise _TooLong

    return count


def _let_others_run(_: Chunk) -> None:
    """Do nothing, in Python."""


class Manner(NamedTuple):
    """What a connection does with the messages, for its whole life."""

    encode: Callable[[Any], Awaitable[Sequence[Buffer]]]
    decode: Callable[[list[memoryview]], Awaitable[Any]]
    limits: Limits
    keyring: Keyring | None


def manner(
    policy: Policy, limits: Limits | None, keyring: Keyring | None, *, checksum: bool, options: Mapping[str, Any]
) -> Manner:
    """Return what a connection of these options does."""
    codec = Codec(policy=policy, limits=limits, keyring=keyring, checksum=checksum, **options)
    # A signed message holds digests in any case; and who signs it must know its place in the connection.
    checksum = checksum and keyring is None
    outward = partial(encode, copy=codec.copy, compression=codec.compression, checksum=checksum)
    inward = partial(
        decode,
        policy=policy,
        limits=limits,
        keyring=keyring,
        writable=codec.writable,
        align=codec.align,
        open_encoded=codec.open_encoded,
        map_location=codec.map_location,
    )
    return Manner(outward, inward, limited(policy, limits), keyring)
