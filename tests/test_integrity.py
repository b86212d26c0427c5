import sys

import numpy as np
import pytest

import oobcodec
from oobcodec import header
from oobcodec.auth import Keyring
from oobcodec.errors import AuthenticationError, DecodeError, EncodeError, IntegrityError
from oobcodec.header import Digests, decode
from oobcodec.integrity import check, seal
from oobcodec.packed import pack, unpack

pytest.importorskip("xxhash", reason="xxhash computes the checksums")

KEYS = Keyring({"k": bytes(32)}, sign_with="k")


def message(*contents):
    """Return a message whose frames hold these bytes."""
    placements = tuple((index, 0, len(content), False) for index, content in enumerate(contents, 1))
    first = header.encode("test", None, tuple(map(len, contents)), 0, placements)
    return [memoryview(first), *map(memoryview, contents)]


def summed(*contents):
    return seal(message(*contents), checksum=True)


def opened(frames, keyring=None):
    decoded = decode(bytes(frames[0]))
    check(decoded, [memoryview(frame) for frame in frames[1:]], keyring)
    return decoded


# What is written


def test_without_options_a_message_is_as_it_was():
    plain = message(b"abc", b"")
    assert [bytes(frame) for frame in seal(plain)] == [bytes(frame) for frame in plain]
    assert opened(seal([plain[0].tobytes(), bytearray(b"abc"), b""])).digests is None


@pytest.mark.parametrize("contents", [[], [b""], [b"abc", b"", bytes(1000)]], ids=len)
def test_a_message_with_checksums(contents):
    frames = summed(*contents)
    assert frames[1:] == list(map(memoryview, contents))
    decoded = opened(frames)
    assert decoded[:5] == decode(bytes(message(*contents)[0]))[:5]
    assert decoded.digests.algorithm == "xxh3_64"
    assert [len(value) for value in decoded.digests.values] == [8] * len(contents)
    assert opened(unpack(pack(frames))) == decoded


def test_the_frames_are_the_same_memory():
    values = np.arange(1000.0)
    frames = seal(oobcodec.dumps(values), checksum=True)
    assert np.shares_memory(np.frombuffer(frames[2]), values)
    assert frames[0].readonly
    assert not frames[2].readonly


def test_a_keyring_signs_and_then_no_checksum_is_needed():
    frames = seal(message(b"abc"), checksum=True, keyring=KEYS)
    assert frames == KEYS.seal(message(b"abc"))
    assert opened(frames, KEYS).digests.algorithm == "sha256"


def test_without_the_package_nothing_is_sent(monkeypatch):
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(EncodeError, match=r"no checksums: .*: pip install oobcodec\[checksum\]"):
        summed(b"abc")


# What is refused


def test_a_damaged_frame_is_named():
    frames = summed(b"abc", bytes(100), b"")
    for index in (1, 2):
        damaged = bytearray(frames[index])
        damaged[-1] ^= 1
        with pytest.raises(IntegrityError, match=f"frame {index} is not what was sent: its xxh3_64 digest is another"):
            opened([*frames[:index], damaged, *frames[index + 1 :]])


@pytest.mark.parametrize("contents", [[], [b"abc"], [b"", bytes(70), b"x"]], ids=len)
def test_every_bit_of_a_message_with_checksums_counts(contents):
    packed = bytes(pack(summed(*contents)))
    for bit in range(8 * len(packed)):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            opened(unpack(changed))
    for size in range(len(packed)):
        with pytest.raises(DecodeError):
            opened(unpack(packed[:size]))


def test_every_bit_of_frames_with_checksums_counts():
    frames = [bytearray(frame) for frame in summed(b"abc", b"de")]
    for frame in frames:
        for bit in range(8 * len(frame)):
            frame[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DecodeError):
                opened(frames)
            frame[bit // 8] ^= 1 << bit % 8
    opened(frames)


def test_a_signed_message_is_checked_without_a_keyring_too():
    first, content = seal(message(b"abc"), keyring=KEYS)
    assert opened([first, content])
    with pytest.raises(IntegrityError, match="frame 1 is not what was sent: its sha256 digest is another"):
        opened([first, b"abd"])


@pytest.mark.parametrize("frames", [message(b"abc"), summed(b"abc")], ids=["plain", "checksums"])
def test_a_keyring_takes_signed_messages_only(frames):
    with pytest.raises(AuthenticationError, match=r"^frames are unsigned but keyring= was given\.$"):
        opened(frames, KEYS)


def test_a_keyring_takes_its_own_digests_only():
    decoded = decode(bytes(message(b"abc")[0]))._replace(digests=Digests("blake3", (bytes(32),)))
    with pytest.raises(AuthenticationError, match="frames have blake3 digests, the keyring takes sha256 only"):
        check(decoded, [memoryview(b"abc")], KEYS)


@pytest.mark.parametrize(("algorithm", "package"), [("xxh3_64", "xxhash"), ("blake3", "blake3")])
def test_what_cannot_be_checked_is_not_read(monkeypatch, algorithm, package):
    monkeypatch.setitem(sys.modules, package, None)
    decoded = decode(bytes(message(b"abc")[0]))._replace(digests=Digests(algorithm, (bytes(32),)))
    with pytest.raises(DecodeError, match=rf"cannot be checked: .* the package {package}, .*: pip install oobcodec\["):
        check(decoded, [memoryview(b"abc")])
