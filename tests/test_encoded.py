import numpy as np
import pytest
from helpers import head, roundtrip

import oobcodec
from oobcodec import Encoded
from oobcodec.errors import HeaderError, TruncatedError

DATA = np.arange(10_000)


def inner(**extra):
    return Encoded(oobcodec.dumps({"data": DATA, **extra}))


def test_object_takes_the_place_of_its_message():
    received = roundtrip({"to": "anna", "what": inner(n=1), "again": [inner(n=2)]})
    assert received["to"] == "anna"
    assert received["what"]["n"] == 1
    assert received["again"][0]["data"].tolist() == DATA.tolist()
    assert roundtrip(Encoded(oobcodec.dumps("é" * 2000))) == "é" * 2000


def test_nothing_is_copied():
    outer = oobcodec.dumps([inner()])
    assert any(frame.nbytes == DATA.nbytes and np.shares_memory(np.frombuffer(frame, "i8"), DATA) for frame in outer)
    assert np.shares_memory(oobcodec.loads(outer)[0]["data"], DATA)


def test_same_message_twice_travels_once():
    message = inner()
    outer = oobcodec.dumps([message, inner(), message])
    assert sum(frame.nbytes for frame in outer) < 2 * DATA.nbytes
    one, other, same = oobcodec.loads(outer)
    assert np.shares_memory(one["data"], other["data"])
    assert one is same


def test_message_can_be_handed_on_unopened():
    sent = inner(hook=lambda: 5)
    received = oobcodec.loads(oobcodec.dumps({"what": sent}), open_encoded=False)["what"]
    assert type(received) is Encoded
    assert [bytes(frame) for frame in received.frames] == [bytes(frame) for frame in sent.frames]
    assert head(received.frames).tag == "cloudpickle"
    onward = oobcodec.dumps(["via", received])
    assert head(onward).tag == "pickle"
    assert oobcodec.loads(onward)[1]["hook"]() == 5
    assert oobcodec.Codec(open_encoded=False).loads(onward)[1].loads()["hook"]() == 5


def test_message_in_a_message_in_a_message():
    nested = Encoded(oobcodec.dumps([Encoded(oobcodec.dumps([inner()]))]))
    assert roundtrip([nested])[0][0][0]["data"].tolist() == DATA.tolist()
    kept = roundtrip([nested], open_encoded=False)[0]
    assert type(kept.loads()[0][0]["data"]) is np.ndarray


@pytest.mark.parametrize("writable", [None, True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_options_hold_inside(writable, frozen):
    array = np.arange(1000)
    array.flags.writeable = not frozen
    frames = oobcodec.dumps([Encoded(oobcodec.dumps([array]))])
    if writable:
        frames = [bytes(frame) for frame in frames]
    received = oobcodec.loads(frames, writable=writable)[0][0]
    assert received.flags.writeable == (not frozen and writable is not False)
    assert received.tolist() == array.tolist()


def test_options_of_the_method():
    frames = [bytes(frame) for frame in oobcodec.dumps([np.arange(1000)])]
    message = Encoded(frames)
    assert not message.loads()[0].flags.writeable
    assert message.loads(writable=True)[0].flags.writeable


def test_received_frames_may_be_of_any_kind():
    frames = [bytearray(frame) for frame in oobcodec.dumps({"data": DATA})]
    message = Encoded(iter(frames))
    assert [type(frame) for frame in message.frames] == [memoryview] * 3
    assert message.loads()["data"].tolist() == DATA.tolist()


def test_repr():
    frames = oobcodec.dumps({"data": DATA})
    assert repr(Encoded(frames)) == f"<Encoded: 3 frames, {sum(frame.nbytes for frame in frames):,} bytes>"


@pytest.mark.parametrize(
    ("frames", "error", "text"),
    [
        ([], TruncatedError, r"a message starts with 24 bytes, here are 0"),
        ([b"OOB"], TruncatedError, r"a message starts with 24 bytes, here are 3"),
        ([b"something else"], HeaderError, r"not an oobcodec message"),
        ([oobcodec.dumps(1)[0].tobytes() + b"x"], HeaderError, r"frame 0 has \d+ bytes, its prelude says"),
    ],
)
def test_what_is_no_message(frames, error, text):
    with pytest.raises(error, match=text):
        Encoded(frames)


@pytest.mark.parametrize(
    "change", [lambda frames: frames[:-1], lambda frames: [*frames, b""], lambda frames: [*frames[:2], b"x"]]
)
def test_message_without_its_frames(change):
    with pytest.raises(HeaderError, match=r"the frames have \[.*\] bytes, the header says \[\d+, 4000\]"):
        Encoded(change(oobcodec.dumps({"data": np.arange(500.0)})))
