"""Streams that are one call: what is not unpickled again is the same as what is."""

import pickle

import numpy as np
import pytest
from helpers import pickled

import oobcodec
from oobcodec import calls as module
from oobcodec.calls import LENGTH, calls, notice
from oobcodec.codec import dumps, loads


@pytest.fixture(autouse=True)
def forgotten():
    """Begin with nothing seen."""
    calls.clear()
    module._seen.clear()


def received(frames):
    return [memoryview(bytearray(frame)) for frame in frames]


def stream_of(frames):
    return bytes(frames[1])


ARRAYS = {
    "vector": lambda: np.arange(1000.0),
    "matrix": lambda: np.arange(1000.0).reshape(20, 50),
    "by columns": lambda: np.arange(1000.0).reshape(20, 50).T,
    "times": lambda: np.arange(1000).view("M8[s]"),
    "spaced": lambda: np.arange(4000)[::4],
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
def test_third_array_is_as_the_first(make):
    one = make()
    frames = dumps(one)
    arrived = []
    for _ in range(4):
        memory = received(frames)
        got = loads(memory)
        assert np.shares_memory(got, np.frombuffer(memory[2], "u1"))
        arrived.append(got)
    assert calls[stream_of(frames)]
    for got in arrived:
        np.testing.assert_array_equal(got, one)
        assert (type(got), got.dtype, got.strides, got.flags.writeable) == (
            type(arrived[0]),
            arrived[0].dtype,
            arrived[0].strides,
            arrived[0].flags.writeable,
        )


def test_array_over_another_frame_is_another():
    first, second = np.zeros(1000), np.ones(1000)
    for _ in range(3):
        assert loads(received(dumps(first))).sum() == 0
        assert loads(received(dumps(second))).sum() == 1000
    assert len(calls) == 1


OTHERS = {
    "several": lambda: [np.arange(1000.0)],
    "read-only": lambda: np.frombuffer(bytes(8000)),
    "with a dtype that is a call": lambda: np.zeros(1000, np.dtype("f8", metadata={"unit": "m"})),
    "of another class": lambda: np.ma.MaskedArray(np.arange(1000.0)),
    "of a class that may change": lambda: Holder(np.arange(1000.0)),
}


class Holder:
    def __init__(self, buffer):
        self.array = np.frombuffer(buffer)

    def __reduce__(self):
        return Holder, (pickle.PickleBuffer(self.array),)


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_others_are_unpickled(make):
    frames = dumps(make())
    got = [loads(received(frames)) for _ in range(3)]
    assert {type(each) for each in got} == {type(got[0])}
    assert calls == {stream_of(frames): ()}


@pytest.mark.parametrize("more", [np.ones(1000), "x" * LENGTH], ids=["several buffers", "long"])
def test_is_not_looked_at(more):
    for _ in range(3):
        loads(received(dumps([np.zeros(1000), more])))
    assert not module._seen


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 3)
    for length in range(1000, 1010):
        for _ in range(2):
            loads(received(dumps(np.zeros((2, length)))))
    assert len(module._seen) <= 3
    assert len(calls) <= 3


def test_damage_is_told_as_before():
    frames = dumps(np.zeros(1000))
    texts = []
    for _ in range(3):
        with pytest.raises(oobcodec.DecodeError, match="cannot be rebuilt: ValueError") as caught:
            loads(received(pickled(stream_of(frames), [bytes(7)])))
        texts.append(str(caught.value))
        loads(received(frames))
        loads(received(frames))
    assert calls[stream_of(frames)]
    assert len(set(texts)) == 1


def test_stream_that_cannot_be_read_is_no_call():
    for _ in range(2):
        notice(b"\x80\x05garbage.")
    assert calls == {b"\x80\x05garbage.": ()}
