import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oobcodec import header
from oobcodec.buffers import address
from oobcodec.errors import HeaderError, TruncatedError
from oobcodec.packed import pack, pack_into, packed_size, split, unpack

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
