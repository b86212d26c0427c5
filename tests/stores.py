"""Stores of their own, for tests of what is in them."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from oobcodec.store import Store

# Python from 3.12 on, and JAX if another test has imported it, warn of threads: the children here need none.
FORKING = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]
MIB = 1 << 20


@pytest.fixture
def place():
    """Return a directory in memory where nobody else has stores."""
    path = tempfile.mkdtemp(dir="/dev/shm", prefix="oobcodec-tests-")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def store(place):
    with Store("tests", capacity="64 MiB", directory=place) as made:
        yield made


def parts_of(store):
    """Return what lies in the directory of a store, by its parts."""
    own = Path(store.directory) / f"oobcodec-{os.geteuid()}" / store.name
    return {part: sorted(path.name for path in (own / part).iterdir()) for part in ("objects", "drafts", "free")}


def descriptors():
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def huge_bytes_at(address):
    """Return how much of the mapping around an address of this process is in huge pages, of what was touched."""
    for mapping in Path("/proc/self/smaps").read_text().split("VmFlags:")[:-1]:
        where = next(line for line in mapping.splitlines() if line and line[0] != " " and "-" in line.split()[0])
        begin, end = (int(each, 16) for each in where.split()[0].split("-"))
        if begin <= address < end:
            return int(mapping.partition("ShmemPmdMapped:")[2].split()[0]) << 10
    return 0


@contextmanager
def mounted(path, options):
    """Mount a file system in memory for a block, and give it its path."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount a file system: {done.stderr.strip()}")
    try:
        yield str(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
