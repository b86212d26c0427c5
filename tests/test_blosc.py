import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from fuzz import batches

from oobcodec import blosc
from oobcodec.errors import DecodeError, EncodeError

MUTANTS = int(os.environ.get("OOBCODEC_FUZZ", "300000")) // 10
STEPS = np.random.default_rng(0).integers(0, 9, 700_000).cumsum()
WAYS = [
    blosc.Way(codec, name, itemsize, level)
    for codec, (_, level) in blosc.CODECS.items()
    for name in blosc.FILTERS
    for itemsize in (1, 8)
]


def view(data):
    return memoryview(np.ascontiguousarray(data)).cast("B")


def compressed(data, way=WAYS[0], most=1 << 30):
    return blosc.compress(view(data), way, 2, most)


def decompressed(frame, size):
    memory = memoryview(bytearray(size))
    blosc.decompress(memoryview(frame), memory)
    return memory


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("count", [600, 700_000])
def test_what_is_compressed_comes_back(way, count):
    data = STEPS[:count]
    frame = compressed(data, way)
    assert decompressed(frame, data.nbytes) == view(data)
    codec, name = blosc.describe(memoryview(frame))
    assert codec == way.codec
    assert name in {"none", f"{way.filter} of {way.itemsize}", f"shuffle of {way.itemsize}"}


@pytest.mark.parametrize("data", [np.zeros(300_000), np.frombuffer(np.random.default_rng(0).bytes(3_000_001), "u1")])
def test_what_the_library_stores_in_another_form_comes_back(data):
    assert decompressed(compressed(data), data.nbytes) == view(data)


def test_it_gives_up_when_it_does_not_pay():
    assert len(compressed(STEPS, most=len(compressed(STEPS)))) < STEPS.nbytes
    assert compressed(STEPS, most=len(compressed(STEPS)) - 1) is None


FRAME = compressed(STEPS[:2000])
REFUSED = "a chunk is damaged, or of a form of Blosc2 that oobcodec does not write"
FIELDS = {
    "version": (0, "B", 6),
    "version of the codec": (1, "B", 2),
    "flags of an old header": (2, "B", 0x10),
    "codec": (2, "B", FRAME[2] & 0x1F | 0x60),
    "stored, of another length": (2, "B", FRAME[2] | 2),
    "no element": (3, "B", 0),
    "more bytes": (4, "<I", 16_001),
    "no blocks": (8, "<I", 0),
    "blocks of more than there is": (8, "<I", 16_001),
    "more blocks than fit": (8, "<I", 1),
    "more than there is": (12, "<I", len(FRAME) + 1),
    "less than a header": (12, "<I", 31),
    "a filter that is a plug-in": (16, "B", 160),
    "two filters": (17, "B", 2),
    "a parameter of the codec": (23, "B", 1),
    "a parameter of the filter": (24, "B", 1),
    "blocks of various lengths": (30, "B", 1),
    "a dictionary": (31, "B", 1),
    "a chunk that lies in a file": (31, "B", 8),
    "zeros, with something behind": (31, "B", 0x10),
    "not a number": (31, "B", 0x20),
    "a value": (31, "B", 0x30),
    "not initialized": (31, "B", 0x40),
}


@pytest.mark.parametrize("name", FIELDS)
def test_headers_that_the_library_must_not_see(name, monkeypatch):
    monkeypatch.setattr(blosc.library(), "decompress2", None)
    offset, kind, value = FIELDS[name]
    frame = bytearray(FRAME)
    struct.pack_into(kind, frame, offset, value)
    with pytest.raises(DecodeError, match=REFUSED):
        decompressed(frame, 16_000)


def test_bytedelta_knows_the_size_of_its_elements():
    frame = bytearray(compressed(STEPS[:2000], blosc.Way("lz4", "bytedelta", 8, 5)))
    assert frame[25] == 8
    frame[25] = 4
    with pytest.raises(DecodeError, match=REFUSED):
        decompressed(frame, 16_000)


def test_other_lengths():
    with pytest.raises(DecodeError, match="a chunk holds 16,000 bytes instead of 16,008"):
        decompressed(FRAME, 16_008)
    with pytest.raises(DecodeError, match=REFUSED):
        decompressed(FRAME, 15_992)
    with pytest.raises(DecodeError, match="3 bytes follow its chunks"):
        decompressed(FRAME + b"abc", 16_000)
    for size in (0, 31):
        with pytest.raises(DecodeError, match=f"{size} bytes are no chunk"):
            decompressed(FRAME[:size], 16_000)


def test_damage_inside():
    with pytest.raises(DecodeError, match="a chunk cannot be decompressed"):
        decompressed(FRAME[:32] + b"\xff" * (len(FRAME) - 32), 16_000)


def test_variables_that_change_what_the_library_does(monkeypatch):
    monkeypatch.setenv("BLOSC_COMPRESSOR", "zlib")
    with pytest.raises(EncodeError, match="blosc2 has not compressed with lz4 and none: unset its variables BLOSC_"):
        compressed(STEPS)


def test_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "blosc2", None)
    with pytest.raises(ImportError, match=r'pip install "oobcodec\[compression\]"'):
        blosc.library()


def test_threads(monkeypatch):
    assert 1 <= blosc.threads() <= 8
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert blosc.threads() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert blosc.threads() == 8


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_mutants_are_refused_or_stay_within_their_memory(seed):
    """In another process, which they may not crash."""
    command = [sys.executable, "-m", "fuzz.chunks", str(seed), str(MUTANTS)]
    run = subprocess.run(command, env=batches.environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert 0 < int(run.stdout) < MUTANTS
