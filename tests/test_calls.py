"""Streams that are one call: what is not unpickled again is the same as what is."""

import pickle

import numpy as np
import pytest
from helpers import pickled

import oobcodec
from oobcodec import calls as module
from oobcodec.calls import LENGTH, calls, notice, streams
from oobcodec.codec import dumps, loads


@pytest.fixture(autouse=True)
def forgotten():
    """Begin with nothing seen."""
    streams.clear()
    calls.clear()
    module._seen.clear()
    dumps(np.zeros(1))  # with which the registry learns of numpy


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


ALONE = {
    "vector": lambda: np.arange(1000.0),
    "matrix": lambda: np.arange(1000.0).reshape(20, 50),
    "read-only": lambda: np.frombuffer(bytes(8000)),
    "of the other byte order": lambda: np.arange(1000.0).astype(">f8"),
}


@pytest.mark.parametrize("make", ALONE.values(), ids=ALONE)
def test_second_message_is_as_the_first(make):
    first, second, third = make(), make(), [make()]
    messages = [dumps(first), dumps(second), dumps(first)]
    assert len(streams) == 1
    assert len({tuple(map(bytes, message)) for message in messages}) == 1
    for array, frames in zip([first, second, first], messages, strict=True):
        assert np.shares_memory(array, frames[2])
        assert frames[2].readonly is not array.flags.writeable
        np.testing.assert_array_equal(loads(frames), array)
    dumps(third)
    assert len(streams) == 1


def test_second_message_of_a_tensor_is_as_the_first():
    torch = pytest.importorskip("torch", reason="torch is not installed for this Python")
    tensor = torch.arange(4000.0).reshape(40, 100)
    for _ in range(2):  # with which the registry learns of torch, if it had not before
        dumps(tensor)
    streams.clear()
    first, second = dumps(tensor), dumps(tensor.clone())
    assert len(streams) == 1
    assert first[1] == second[1]
    for frames in (first, second):
        assert torch.equal(loads(frames), tensor)
    assert np.shares_memory(np.asarray(first[2]), tensor.numpy())


@pytest.mark.parametrize("first", [False, True])
def test_array_that_is_read_only_is_another(first):
    for writeable in (first, not first, first, not first):
        array = np.arange(1000.0)
        array.flags.writeable = writeable
        got = loads([bytearray(frame) for frame in dumps(array)])
        assert got.flags.writeable == writeable
    assert len(streams) == 2


def test_long_streams_are_not_remembered():
    torch = pytest.importorskip("torch", reason="torch is not installed for this Python")
    tensor = torch.arange(1000.0).reshape((1,) * 60 + (1000,))
    for _ in range(3):
        assert torch.equal(loads(dumps(tensor)), tensor)
    assert not streams


OWN_WAY = {
    "small": lambda: np.arange(10.0),
    "empty": lambda: np.zeros((0, 1000)),
    "with gaps": lambda: np.arange(4000.0)[::2],
    "by columns": lambda: np.arange(4000.0).reshape(40, 100).T,
    "of objects": lambda: np.array([None] * 1000),
    "with metadata": lambda: np.zeros(1000, np.dtype("f8", metadata={"unit": "m"})),
    "of times": lambda: np.arange(1000).view("M8[s]"),
}


@pytest.mark.parametrize("make", OWN_WAY.values(), ids=OWN_WAY)
def test_other_arrays_are_pickled(make):
    for _ in range(2):
        array = make()
        got = loads(dumps(array))
        assert got.dtype.metadata == array.dtype.metadata
        np.testing.assert_array_equal(got, array)
    assert not streams


@pytest.mark.parametrize("name", ["requires_grad", "attribute", "part", "small", "gaps", "sparse", "conjugate"])
def test_other_tensors_are_pickled(name):
    torch = pytest.importorskip("torch", reason="torch is not installed for this Python")
    tensor = torch.arange(4000.0).reshape(40, 100)
    if name == "requires_grad":
        tensor.requires_grad_()
    elif name == "attribute":
        tensor.unit = "m"
    else:
        tensor = {
            "part": tensor[:20],
            "small": torch.arange(10.0),
            "gaps": tensor[:, ::2],
            "sparse": tensor.to_sparse(),
            "conjugate": torch.arange(1000).to(torch.complex64).conj(),
        }[name]
    for _ in range(2):
        got = loads(dumps(tensor))
        assert torch.equal(got.to_dense(), tensor.to_dense())
        assert (got.requires_grad, got.__dict__, got.is_conj()) == (
            tensor.requires_grad,
            tensor.__dict__,
            tensor.is_conj(),
        )
    assert not streams


def test_reducer_registered_since_then_is_asked():
    array = np.arange(1000.0)
    dumps(array)
    oobcodec.register_reducer(np.ndarray, lambda array: (len, (array.tolist(),)))
    try:
        assert loads(dumps(array)) == 1000
    finally:
        oobcodec.unregister_reducer(np.ndarray)
    np.testing.assert_array_equal(loads(dumps(array)), array)


def test_snapshot_of_a_known_array_is_a_copy():
    array = np.arange(1000.0)
    frames = [dumps(array, copy=True) for _ in range(2)][1]
    assert streams
    assert not np.shares_memory(np.asarray(frames[2]), array)


def test_frames_can_be_released():
    array = np.arange(1000.0)
    for _ in range(3):
        frames = dumps(array)
        assert frames[0].readonly
        for frame in frames:
            frame.release()


def test_streams_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 3)
    for length in range(1000, 1010):
        dumps(np.zeros((2, length)))
    assert 0 < len(streams) <= 3
