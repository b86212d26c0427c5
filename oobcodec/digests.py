"""What is computed of the bytes of a frame, by the algorithm's name in the header."""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LARGE: Final = 4 << 20
"""Bytes from which a frame is worth a thread: hashing lets others run, and two threads take 60 % of the time of one."""


def compute(algorithm: str, frames: Sequence[memoryview]) -> list[bytes]:
    """Return the digest of each frame.

    Raises
    ------
    ImportError
        The package that computes it is not installed; the text says how to install it.
    """
    digest = _FUNCTIONS[algorithm]()
    large = [index for index, frame in enumerate(frames) if frame.nbytes >= LARGE]
    threads = min(len(large), os.cpu_count() or 1)
    # XXH3 is as fast as the memory by itself.
    if threads <= 1 or algorithm == "xxh3_64":
        return [digest(frame) for frame in frames]
    # Not at import: few processes need it, and it takes milliseconds.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(threads) as pool:
        done = {index: pool.submit(digest, frames[index]) for index in large}
        return [done[index].result() if index in done else digest(frame) for index, frame in enumerate(frames)]


def blake3() -> Any:
    """Return the class of BLAKE3 hashes.

    Raises
    ------
    ImportError
        The package of that name is not installed.
    """
    return of_package("blake3", "blake3", "blake3")


def of_package(name: str, attribute: str, extra: str) -> Any:
    """Return a function of a package, or say with which extra that is installed."""
    try:
        return getattr(import_module(name), attribute)
    except ImportError as error:
        message = f"{attribute} needs the package {name}, which is not installed: pip install oobcodec[{extra}]"
        raise ImportError(message) from error


def _xxh3() -> Callable[[Any], bytes]:
    function: Callable[[Any], bytes] = of_package("xxhash", "xxh3_64_digest", "checksum")
    return function


def _sha256() -> Callable[[Any], bytes]:
    return lambda frame: hashlib.sha256(frame).digest()


def _blake3() -> Callable[[Any], bytes]:
    new = blake3()
    return lambda frame: bytes(new(frame).digest())


_FUNCTIONS: Final = {"xxh3_64": _xxh3, "sha256": _sha256, "blake3": _blake3}
