import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oobcodec import header
from oobcodec.auth import Keyring
from oobcodec.buffers import address
from oobcodec.errors import AuthenticationError, DecodeError, HeaderError, IntegrityError, LimitError, TruncatedError
from oobcodec.limits import Limits
from oobcodec.packed import pack, pack_into, packed_size, split, unpack, viewed

KEYS = Keyring({"k": bytes(32)}, sign_with="k")
LENGTHS = st.lists(st.integers(0, 200), max_size=20)


def message(*lengths):
    """Return a message with buffers of these lengths, every byte of which is nonzero."""
    placements = tuple((index, 0, length, False) for index, length in enumerate(lengths, 1))
    first = header.encode("test", None, tuple(lengths), 0, placements)
    return [memoryview(first), *(memoryview(bytes([index % 255 + 1]) * n) for index, n in enumerate(lengths))]


@given(LENGTHS)
def test_packing_and_unpacking_gives_the_same_frames(lengths):
    frames = message(*lengths)
    packed = pack(frames)
    assert packed.nbytes == packed_size(frames)
    assert address(packed) % 64 == 0
    assert unpack(packed) == frames


@given(LENGTHS)
def test_each_frame_starts_at_a_multiple_of_64_and_zeros_lie_between(lengths):
    frames = message(*lengths)
    packed = pack_into(frames, memory := bytearray(b"\xff" * (packed_size(frames) + 10)))
    end = 0
    for frame in frames:
        start = -(-end // 64) * 64
        assert memory[end:start] == bytes(start - end)
        end = start + frame.nbytes
        assert memory[start:end] == frame
    assert end == packed
    # Nothing is written behind the message.
    assert memory[end:] == b"\xff" * 10


def test_unpacked_frames_are_views():
    memory = np.frombuffer(pack(message(100, 200)), "u1")
    _, one, two = unpack(memory)
    assert np.shares_memory(np.frombuffer(one, "u1"), memory)
    two[5] = 99
    assert unpack(memory)[2][5] == 99
    assert all(frame.readonly for frame in unpack(memory.tobytes()))


def test_frames_may_be_any_contiguous_buffers():
    values = np.arange(12.0).reshape(3, 4)
    first = message(values.nbytes, 3, 0)[0]
    frames = [first.tobytes(), np.asfortranarray(values), bytearray(b"abc"), np.empty((0, 5))]
    packed = pack(frames)
    assert unpack(packed)[1:] == [values.tobytes(order="F"), b"abc", b""]


def test_a_buffer_that_cannot_take_the_message_stays_as_it_is():
    frames = message(100)
    size = packed_size(frames)
    memory = bytearray(b"\xff" * (size - 1))
    with pytest.raises(ValueError, match=f"packs into {size} bytes, the buffer has {size - 1}"):
        pack_into(frames, memory)
    assert memory == b"\xff" * (size - 1)
    with pytest.raises(ValueError, match="read-only"):
        pack_into(frames, bytes(size))


@pytest.mark.parametrize(
    ("frames", "error", "text"),
    [
        ([], TruncatedError, "a message starts with 24 bytes, here are 0"),
        ([b"some text of 24 bytes..."], HeaderError, "not an oobcodec message: it starts with b'som'"),
        (message(100)[:1], HeaderError, r"pack into \d+ bytes, the prelude says \d+: they are not one whole message"),
        ([*message(100), b"x"], HeaderError, r"pack into \d+ bytes, the prelude says \d+"),
    ],
)
def test_only_a_whole_message_is_packed(frames, error, text):
    memory = bytearray(b"\xff" * 1000)
    for call in (lambda: pack(frames), lambda: pack_into(frames, memory)):
        with pytest.raises(error, match=text):
            call()
    assert memory == b"\xff" * 1000


def test_a_buffer_with_gaps_is_refused():
    with pytest.raises(ValueError, match="the buffer is not contiguous: give memory in one piece"):
        pack_into(message(100), memoryview(bytearray(1000))[::2])


def test_a_frame_is_viewed_if_it_is_contiguous():
    assert viewed(1, np.arange(2, dtype="<u2")) == bytes([0, 0, 1, 0])
    for wrong in (np.arange(4)[::2], "text"):
        with pytest.raises(DecodeError, match=f"frame 1 is no contiguous buffer but {type(wrong).__name__}: ."):
            viewed(1, wrong)


@pytest.mark.parametrize("kept", [0, 2, 23])
def test_less_than_a_prelude_is_truncated(kept):
    with pytest.raises(TruncatedError):
        unpack(pack(message(100))[:kept])


def test_missing_and_surplus_bytes_are_told_apart():
    packed = pack(message(100)).tobytes()
    with pytest.raises(TruncatedError, match=f"has {len(packed)} bytes, the buffer ends after {len(packed) - 1}"):
        unpack(packed[:-1])
    with pytest.raises(HeaderError, match="2 bytes follow a message"):
        unpack(packed + b"!!")
    with pytest.raises(HeaderError, match="not an oobcodec message"):
        unpack(b"PK\x03\x04" + packed)


def test_splits_memory_that_starts_at_a_frame():
    memory = memoryview(bytes(range(200)))
    assert split(memory, [3, 0, 64, 1]) == [memory[:3], b"", memory[64:128], memory[128:129]]
    assert split(memory, []) == []


# Limits, and messages of which each bit counts


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(max_header_bytes=5), "the header declares .*; limit max_header_bytes=5 bytes"),
        (Limits(max_total_bytes=100), "the message declares .*; limit max_total_bytes=100 bytes"),
        (Limits(max_frames=2), "the message declares 3 frames; limit max_frames=2"),
    ],
)
def test_limits(limits, text):
    packed = pack(message(100, 200))
    with pytest.raises(LimitError, match=text):
        unpack(packed, limits=limits)
    exact = Limits(max_header_bytes=100, max_total_bytes=packed.nbytes, max_frames=3)
    assert unpack(packed, limits=exact) == message(100, 200)


def test_limits_come_before_the_header_is_parsed():
    packed = pack(message(100, 200))
    packed[24:28] = b"\xc1" * 4
    with pytest.raises(LimitError):
        unpack(packed, limits=Limits(max_total_bytes=100))
    with pytest.raises(HeaderError):
        unpack(packed)


def test_a_signature_comes_before_the_header_is_parsed():
    packed = pack(KEYS.seal(message(100)))
    assert len(unpack(packed, keyring=KEYS)) == 2
    assert len(unpack(packed)) == 2
    packed[24:28] = b"\xc1" * 4
    with pytest.raises(AuthenticationError, match="not what the key 'k' has signed"):
        unpack(packed, keyring=KEYS)
    with pytest.raises(AuthenticationError, match="unsigned"):
        unpack(pack(message(100)), keyring=KEYS)


def test_the_padding_of_a_signed_message_is_zero():
    frames = KEYS.seal(message(100, 0, 5, 64, 1))
    packed = pack(frames)
    *starts, _ = header.packed_offsets(map(len, frames))
    used = {start + i for start, frame in zip(starts, frames, strict=True) for i in range(len(frame))}
    gaps = sorted(set(range(packed.nbytes)) - used)
    assert len(gaps) > 100
    for position in gaps:
        packed[position] = 1
        number = max(i for i, start in enumerate(starts) if start < position and len(frames[i]))
        with pytest.raises(IntegrityError, match=f"the padding behind frame {number} is not zero"):
            unpack(packed)
        packed[position] = 0
    unpack(packed)


def test_the_padding_of_any_other_message_is_not_looked_at():
    packed = pack(message(100, 5))
    packed[packed.nbytes - 6] = 1
    assert unpack(packed) == message(100, 5)
