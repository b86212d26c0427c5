import hashlib
import os
import sys
import threading

import pytest

from oobcodec import digests
from oobcodec.digests import LARGE, compute

CONTENTS = [b"", b"abc", bytes(1000)]
# Of the first of CONTENTS. For XXH3 and BLAKE3 they are constants, not what the packages say today.
KNOWN = {
    "xxh3_64": ["2d06800538d394c2", "78af5f94892f3950"],
    "sha256": [hashlib.sha256(content).hexdigest() for content in CONTENTS],
    "blake3": ["af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"],
}
PACKAGES = {"xxh3_64": "xxhash", "blake3": "blake3"}


def views(contents):
    return [memoryview(content) for content in contents]


def need(algorithm):
    if algorithm in PACKAGES:
        pytest.importorskip(PACKAGES[algorithm], reason=f"{PACKAGES[algorithm]} is not installed")


@pytest.mark.parametrize("algorithm", KNOWN)
def test_digests_are_those_of_the_algorithm(algorithm):
    need(algorithm)
    known = KNOWN[algorithm]
    assert [digest.hex() for digest in compute(algorithm, views(CONTENTS))][: len(known)] == known


@pytest.mark.parametrize("algorithm", KNOWN)
def test_large_frames_have_the_same_digests(algorithm, monkeypatch):
    need(algorithm)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    contents = [b"a" * LARGE, b"b", b"c" * (LARGE + 1), b"", b"d" * (LARGE - 1)]
    assert compute(algorithm, views(contents)) == [compute(algorithm, views([content]))[0] for content in contents]


@pytest.mark.parametrize(
    ("cpus", "contents", "threads"),
    [
        (4, [bytes(LARGE)] * 2, 2),
        (2, [bytes(LARGE)] * 5, 2),
        (4, [bytes(LARGE), bytes(LARGE - 1)], 0),
        (1, [bytes(LARGE)] * 2, 0),
        (None, [bytes(LARGE)] * 2, 0),
    ],
)
def test_large_frames_have_threads_of_their_own(monkeypatch, cpus, contents, threads):
    used = set()
    barrier = threading.Barrier(threads or 1)

    def digest(frame):
        if threading.current_thread() is not threading.main_thread():
            used.add(threading.current_thread())
            if len(contents) == threads:
                barrier.wait(60)
        return b""

    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    monkeypatch.setitem(digests._FUNCTIONS, "sha256", lambda: digest)
    compute("sha256", views(contents))
    assert len(used) <= threads
    assert bool(used) == bool(threads)


@pytest.mark.parametrize(
    ("algorithm", "package", "extra"), [("xxh3_64", "xxhash", "checksum"), ("blake3", "blake3", "blake3")]
)
def test_a_package_that_is_missing_is_named(monkeypatch, algorithm, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}, which is not installed: pip install oobcodec\[{extra}\]"):
        compute(algorithm, [])
