"""Huge pages of a file system: large objects have them in any, from Linux 6.1 on; here readers need no page tables.

A file system has them or not, as it was mounted. A tmpfs with ``huge=within_size`` gives them to large objects only.
With ``huge=always`` every object takes whole ones: 2 MiB even for a few bytes. Nothing can be written to a hugetlbfs
with ``write``, and files there are whole huge pages long: it is no place for a store.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Final

from oobcodec.store.directories import DIRECTORY

_MOUNTS: Final = Path("/proc/self/mounts")

_OPTIONS: Final = "huge=within_size", "huge=always"
"""The better one first."""

_FRAMES: Final = 3
"""From the warning to who has called `Store`."""


def directory_for(directory: str) -> str:
    """Return a directory with huge pages in the place of one for stores, or that one, with a warning of what to mount.

    Parameters
    ----------
    directory
        Another one is returned only in the place of the default.
    """
    mounts = _mounts()
    if any(Path(mount).stat().st_dev == Path(directory).stat().st_dev for mount in mounts):
        return directory
    if directory == DIRECTORY and mounts:
        return mounts[0]
    message = (
        f"{directory} is mounted with no huge pages: large objects have them from Linux 6.1 on, and others do without. "
        "For some, mount -t tmpfs -o huge=within_size,mode=1777,size=50% tmpfs /mnt/huge as root; a store finds that "
        "by itself, or by directory="
    )
    warnings.warn(message, RuntimeWarning, stacklevel=_FRAMES)
    return directory


def _mounts() -> list[str]:
    """Return where file systems with huge pages are mounted that this user may write to."""
    found = []
    # Elsewhere than on Linux there is no such file, and what opens the store says so.
    for line in _MOUNTS.read_text().splitlines() if _MOUNTS.exists() else ():
        _, place, kind, options, *_ = line.split()
        path = place.encode().decode("unicode_escape")  # as the kernel writes a space: \040
        huge = [rank for rank, option in enumerate(_OPTIONS) if option in options.split(",")]
        if kind == "tmpfs" and huge and os.access(path, os.W_OK | os.X_OK):
            found.append((huge[0], path))
    return [path for _, path in sorted(found)]
