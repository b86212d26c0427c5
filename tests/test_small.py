import pickle
import socket
import struct

import numpy as np
import pytest
from helpers import first_frame

from oobcodec import small
from oobcodec.auth import Keyring
from oobcodec.codec import dumps, loads
from oobcodec.engine import SMALL
from oobcodec.header import PRELUDE_SIZE
from oobcodec.packed import pack
from oobcodec.small import HEADS, LEAD, LENGTHS, remember, taken

KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")


@pytest.fixture(autouse=True)
def _no_memory():
    for memory in (HEADS, LENGTHS, small._forms):
        memory.clear()


def known(obj):
    """Return the frames of an object, and the packed form, of which the beginning is known now."""
    frames = dumps(obj)
    remember(frames)
    return frames, memoryview(bytes(pack(frames)))


@pytest.mark.parametrize(
    "obj", [None, {"a": 1}, ["x" * 1000], [bytes(3000)], np.arange(100)], ids=lambda obj: str(obj)[:9]
)
def test_what_is_known_is_in_front_of_the_pickle(obj):
    frames = dumps(obj)
    assert bytes(frames[0]) not in HEADS
    remember(frames)
    assert HEADS[frames[0].obj] + frames[1] == pack(frames)


@pytest.mark.parametrize("obj", [None, 46, {"a": 1}, ["x" * 1000]], ids=lambda obj: str(obj)[:9])
def test_a_length_is_known_by_the_beginning_of_a_message_of_one_pickle_frame(obj):
    frames, memory = known(obj)
    framed = frames[1][2:3] == pickle.FRAME
    assert LENGTHS.get(bytes(memory[:LEAD])) == (len(memory) if framed else None)
    for position in range(8 * LEAD):
        damaged = bytearray(memory[:LEAD].tobytes().ljust(LEAD, b"?"))
        damaged[position // 8] ^= 1 << position % 8
        assert bytes(damaged) not in LENGTHS


def test_what_is_known_of_one_message_goes_for_all_of_its_length():
    known([1, 2, 3])
    frames = dumps([4, 5, 6])
    assert HEADS[frames[0].obj] + frames[1] == pack(frames)
    assert dumps([4, 5, 1000])[0].obj not in HEADS


def test_a_message_is_taken_where_it_lies():
    frames, memory = known({"a": 1})
    two = memoryview(b"before" + bytes(memory) * 2)
    got, end = taken(two, 6, len(two))
    assert [type(frame) for frame in got] == [bytes, bytes]
    assert got == frames
    assert loads(got) == {"a": 1}
    assert end == 6 + len(memory)
    again, end = taken(two, end, len(two))
    assert again == got
    assert end == len(two)
    assert taken(two, end, len(two)) is None


def test_what_is_not_all_here_is_not_taken():
    _, memory = known({"a": 1})
    behind = memoryview(bytes(memory) * 2)
    for end in range(len(memory)):
        assert taken(behind, 0, end) is None
        assert taken(behind[:end], 0, end) is None
    assert taken(behind, 0, len(memory)) is not None


def test_what_differs_in_a_bit_in_front_of_the_pickle_is_not_taken():
    frames, memory = known({"a": 1})
    start = len(memory) - len(frames[1])
    for position in range(8 * start):
        damaged = bytearray(memory)
        damaged[position // 8] ^= 1 << position % 8
        assert taken(memoryview(damaged), 0, len(damaged)) is None
    changed = bytearray(memory)
    changed[start + 20] ^= 1
    assert taken(memoryview(changed), 0, len(changed))[0][1] == changed[start:]


def claims(stream, tag="pickle", meta=None, places=()):
    """Return a message with any header in front of a pickle, made without oobcodec."""
    return [first_frame([tag, meta, [len(stream)], 1, None, None, [*places]]), stream]


STREAM = bytes(dumps([1, 2, 3])[1])


def not_minimal(stream):
    """Return a message whose header says the same in other bytes."""
    (first, _), size = claims(stream), bytes([len(stream)])
    body = first[PRELUDE_SIZE:].replace(b"\x91" + size, b"\x91\xcd" + struct.pack(">H", len(stream)))
    assert len(body) > len(first) - PRELUDE_SIZE
    return [first_frame(body, packed=64 + len(stream)), stream]


@pytest.mark.parametrize(
    "frames",
    [
        dumps("a string"),
        dumps(b"bytes"),
        dumps(np.arange(1000)),
        dumps(lambda: 1),
        dumps([bytes(SMALL)]),
        dumps([1, 2, 3], checksum=True),
        dumps([1, 2, 3], keyring=KEYS),
        claims(STREAM, tag="another"),
        claims(STREAM, meta=1),
        claims(STREAM, meta="x" * 5000),
        not_minimal(STREAM),
        [b"nonsense", b""],
        [b"one frame"],
    ],
    ids=[
        *("str", "bytes", "buffer", "code", "long", "checksum", "signed"),
        *("tag", "meta", "long meta", "not minimal", "nonsense", "one"),
    ],
)
def test_other_messages_are_not_remembered(frames):
    # Of these, a peer can make any number.
    remember(frames)
    assert not HEADS
    assert not LENGTHS
    assert not small._forms


def test_a_form_that_is_made_without_oobcodec_is_the_same():
    remember(claims(STREAM))
    assert dumps([1, 2, 3])[0].obj in HEADS


def test_there_is_one_form_a_length():
    for length in range(SMALL + 100):
        remember(dumps([bytes(length)]))
        remember(dumps([b"x" * length]))
    assert len(HEADS) == len(LENGTHS) == len(small._forms)
    assert SMALL - 100 < len(small._forms) < SMALL


def test_it_is_remembered_over_a_socket_as_well():
    here, there = socket.socketpair()
    with here, there:
        frames, memory = known({"a": 1})
        here.sendall(HEADS[frames[0].obj] + frames[1])
        got = there.recv(1000)
        assert got == memory
        assert loads(taken(memoryview(got), 0, len(got))[0]) == {"a": 1}
