"""``align=True``: frames that start anywhere are copied to where they start at a multiple of 64, and no others."""

import numpy as np
import pytest
from helpers import KIB

import oobcodec
from oobcodec import decoder
from oobcodec.buffers import aligned, allocate

OBJECT = {"large": np.arange(1000.0), "small": np.arange(500.0), "text": "x"}


def starting(frames, offset, *, readonly=False):
    """Return frames in memory that starts so many bytes behind a multiple of 64."""
    moved = []
    for frame in frames:
        memory = allocate(frame.nbytes + 64)[offset : offset + frame.nbytes]
        memory[:] = frame
        moved.append(memory.toreadonly() if readonly else memory)
    return moved


def start(array):
    return array.__array_interface__["data"][0] % 64


def lies_in(array, frame):
    return np.shares_memory(array, np.frombuffer(frame, "u1"))


@pytest.mark.parametrize("offset", [1, 4, 8, 42, 63])
def test_arrays_in_misaligned_frames_are_moved(offset):
    frames = starting(oobcodec.dumps(OBJECT), offset)
    assert start(oobcodec.loads(frames)["large"]) == offset
    moved = oobcodec.loads(frames, align=True)
    for name in ("large", "small"):
        assert start(moved[name]) == 0
        np.testing.assert_array_equal(moved[name], OBJECT[name])
        assert moved[name].flags.writeable
    assert moved["text"] == "x"


def test_only_frames_that_are_misaligned_are_copied():
    frames = oobcodec.dumps(OBJECT, copy=True)
    lengths = [frame.nbytes for frame in frames]
    large, small = lengths.index(8000), lengths.index(4000)
    frames[large] = starting(frames[large : large + 1], 0)[0]
    frames[small] = starting(frames[small : small + 1], 8)[0]
    obj = oobcodec.loads(frames, align=True)
    assert lies_in(obj["large"], frames[large])
    assert not lies_in(obj["small"], frames[small])


def test_read_only_frames_stay_read_only_wherever_they_start():
    for offset in (0, 8):
        frames = starting(oobcodec.dumps(OBJECT), offset, readonly=True)
        assert not oobcodec.loads(frames, align=True)["large"].flags.writeable
        obj = oobcodec.loads(frames, align=True, writable=True)
        assert obj["large"].flags.writeable
        assert start(obj["large"]) == 0


def test_memory_that_was_shared_stays_shared():
    base = np.arange(1000.0)
    frames = starting(oobcodec.dumps({"all": base, "last": base[500:]}), 8)
    obj = oobcodec.loads(frames, align=True)
    assert np.shares_memory(obj["all"], obj["last"])
    assert start(obj["all"]) == 0


def test_the_pickle_stream_is_left_where_it_is(monkeypatch):
    looked_at = []
    monkeypatch.setattr(decoder, "aligned", lambda frame: looked_at.append(frame.nbytes) or frame)
    frames = starting(oobcodec.dumps([bytes(512 * KIB), np.arange(1000.0)]), 8)
    oobcodec.loads(frames, align=True)
    assert looked_at == [8000]


@pytest.mark.parametrize("whole", [bytes(1000), "text" * 100])
def test_messages_without_arrays_are_as_ever(whole):
    frames = [bytes(frame) for frame in oobcodec.dumps(whole)]
    assert oobcodec.loads(frames, align=True) == whole
    if type(whole) is bytes:
        assert oobcodec.loads(frames, align=True) is frames[1]


def test_packed_messages_messages_within_and_messages_that_are_only_data_are_aligned():
    inner = oobcodec.Encoded(oobcodec.dumps(np.arange(1000.0)))
    packed = oobcodec.pack(oobcodec.dumps([np.arange(500.0), inner]))
    memory = allocate(packed.nbytes + 64)[8 : 8 + packed.nbytes]
    memory[:] = packed
    for policy in (oobcodec.TRUSTED, oobcodec.DATA):
        outer, within = oobcodec.loads(memory, align=True, policy=policy)
        assert start(outer) == start(within) == 0
        np.testing.assert_array_equal(within, np.arange(1000.0))


def test_a_codec_holds_the_option():
    codec = oobcodec.Codec(align=True)
    assert start(codec.loads(starting(codec.dumps(OBJECT), 24))["large"]) == 0


def test_checksums_are_those_of_what_arrived():
    frames = starting(oobcodec.dumps(OBJECT, checksum=True), 8)
    assert start(oobcodec.loads(frames, align=True)["large"]) == 0
    frames[-1][5] ^= 1
    with pytest.raises(oobcodec.IntegrityError):
        oobcodec.loads(frames, align=True)


@pytest.mark.parametrize("nbytes", [0, 1, 63])
def test_frames_of_less_than_64_bytes_stay_where_they_are(nbytes):
    frame = allocate(128)[8 : 8 + nbytes]
    assert aligned(frame) is frame
