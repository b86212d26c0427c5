"""Files that are what was written, and others."""

import os
import sys

import numpy as np
import pytest

import oobcodec
from oobcodec import digests, files, verification
from oobcodec.errors import DecodeError, HeaderError, IntegrityError, LimitError, TruncatedError
from oobcodec.header import encode
from oobcodec.verification import verify


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.oob"


class Executed:
    def __reduce__(self):
        return pytest.fail, ("it was executed",)


OBJ = {"x": np.arange(1_000_000.0), "small": np.arange(500), "code": Executed()}


def test_without_digests(path):
    files.dump(OBJ, path)
    assert verify(path) is None


def test_checksums(path):
    files.dump(OBJ, path, checksum=True)
    assert verify(path) == verify(str(path)) == "xxh3_64"


@pytest.mark.parametrize(("algorithm", "digest"), [("hmac-sha256", "sha256"), ("blake3", "blake3")])
def test_signatures(path, algorithm, digest):
    files.dump(OBJ, path, keyring=oobcodec.Keyring({"a": bytes(32)}, sign_with="a", algorithm=algorithm))
    assert verify(path) == digest


@pytest.mark.parametrize("keyring", [None, oobcodec.Keyring({"a": bytes(32)}, sign_with="a")])
def test_every_frame_and_what_lies_between_is_checked(path, keyring):
    frames = oobcodec.dumps([np.arange(200.0), bytes(3), np.arange(300.0)], checksum=True, keyring=keyring)
    data = bytearray(oobcodec.pack(frames))
    for index in range(len(frames[0]), len(data), 50):
        data[index] ^= 4
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=rf"^{path}: (frame \d is not what was written|the padding behind)"):
            verify(path)
        data[index] ^= 4
    path.write_bytes(data)
    assert verify(path) in {"xxh3_64", "sha256"}


def test_the_digests_are_those_that_loads_checks(path):
    assert verification._HASHES.keys() == digests._FUNCTIONS.keys()
    for name, new in verification._HASHES.items():
        digest = new()()
        digest.update(b"data")
        assert [digest.digest()] == digests.compute(name, [memoryview(b"data")])


def test_progress(path):
    size = files.dump(OBJ, path, checksum=True)
    seen = []
    verify(path, progress=lambda *numbers: seen.append(numbers))
    assert len(seen) > 3
    assert seen == sorted(set(seen))
    assert seen[-1][0] == seen[0][1] < size
    seen.clear()
    files.dump(OBJ, path)
    verify(path, progress=lambda *numbers: seen.append(numbers))
    assert not seen


def test_another_file(path):
    files.dump(OBJ, path)
    data = path.read_bytes()
    for content, error in (
        (b"", HeaderError),
        (b"\x80\x05N.", HeaderError),
        (data[:-1], TruncatedError),
        (data + b"!", HeaderError),
    ):
        path.write_bytes(content)
        with pytest.raises(error, match=rf"^{path}: "):
            verify(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        verify(path)


def test_limits(path):
    files.dump(OBJ, path)
    with pytest.raises(LimitError, match="max_frames"):
        verify(path, limits=oobcodec.Limits(max_frames=2))
    with path.open("ab") as file:
        os.truncate(file.fileno(), 5 << 30)
    with pytest.raises(HeaderError, match="bytes follow a message"):
        verify(path)
    # As many frames as nobody dumps.
    first = encode("pickle", None, (0,) * 70_000, 70_000, ())
    path.write_bytes(first + bytes(-len(first) % 64))
    with pytest.raises(LimitError, match="max_frames=65,536 frames"):
        verify(path)


def test_digests_that_nothing_here_computes(path, monkeypatch):
    files.dump(OBJ, path, checksum=True)
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(DecodeError, match=rf"^{path}: .*pip install oobcodec\[checksum\]"):
        verify(path)
