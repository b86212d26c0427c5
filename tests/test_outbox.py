import contextlib
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import weight
from interrupts import At, Interrupt

from oobcodec import statistics
from oobcodec.auth import Keyring, Session
from oobcodec.codec import dumps, loads
from oobcodec.errors import EncodeError, HeaderError, OobError, PoisonedError, TruncatedError
from oobcodec.inbox import Inbox
from oobcodec.limits import UNLIMITED
from oobcodec.outbox import Outbox
from oobcodec.packed import pack, packed_size
from oobcodec.statistics import Stats, Traffic
from oobcodec.transfer import JOINED, recv

SHORT = 0.05  # seconds: for timeouts that are meant to happen
LARGE = 16 << 20  # no socket here holds that much without a reader
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")
NONCES = bytes(16), bytes(range(16))


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def ends(pool):
    """Return a socket that an outbox writes to, and the one that a peer reads."""
    sock, peer = socket.socketpair()
    with sock, peer:
        yield sock, peer
        for end in (sock, peer):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def outbox_of(sock, *, encode=dumps, session=None):
    return Outbox(sock, "the peer", encode, session, Stats())


@pytest.fixture
def outbox(ends):
    return outbox_of(ends[0])


@pytest.fixture
def peer(ends):
    return ends[1]


@pytest.fixture(params=[False, True], ids=["plain", "signed"])
def both(request, ends):
    """Return an outbox and an inbox for what it sends."""
    sessions = (Session(KEYS, *NONCES), Session(KEYS, *reversed(NONCES))) if request.param else (None, None)
    return outbox_of(ends[0], session=sessions[0]), Inbox(ends[1], "the sender", UNLIMITED, sessions[1], Traffic())


def sent(outbox):
    """Return what an outbox has counted but the times."""
    traffic = outbox._stats.sent
    assert traffic.coding_seconds >= 0
    return traffic.messages, traffic.out_of_band_bytes, traffic.in_band_bytes, traffic.copied_bytes


# One object


@pytest.mark.parametrize("obj", [{"a": 1}, "text", b"bytes", np.arange(100), np.arange(300_000)], ids=type)
def test_objects_arrive_again_and_again(both, pool, obj):
    outbox, inbox = both
    for _ in range(3):
        sending = pool.submit(outbox.send, obj)
        np.testing.assert_equal(inbox.receive(loads), obj)
        assert sending.result() >= packed_size(dumps(obj))


def test_what_is_sent_is_the_packed_form(outbox, peer):
    for obj in ([1, 2], [1, 2], [1, 2], "text", np.arange(200)):
        data = pack(dumps(obj))
        assert outbox.send(obj) == data.nbytes
        assert peer.recv(10_000) == data


@pytest.mark.parametrize(
    ("obj", "counted"),
    [
        ({"a": 1}, lambda frames: (0, frames[1].nbytes, 0)),
        (np.arange(1000), lambda frames: (8000, frames[1].nbytes, 0)),
        ([np.arange(10)], lambda frames: (0, frames[1].nbytes, 0)),
        ("text", lambda frames: (4, 0, 0)),
        (bytes(100), lambda frames: (100, 0, 0)),
        ([bytes(5_000_000), 1], lambda frames: (5_000_000, weight(frames) - 5_000_000, 0)),
        (np.arange(3000)[::3], lambda frames: (8000, frames[1].nbytes, 8000)),
        ([np.arange(3000)[::3], np.arange(1000)], lambda frames: (16_000, frames[1].nbytes, 8000)),
    ],
    ids=["dict", "array", "small array", "str", "bytes", "bytes in a list", "strided", "strided beside another"],
)
@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
def test_what_is_counted(ends, pool, obj, counted, signed):
    outbox = outbox_of(ends[0], session=Session(KEYS, *NONCES) if signed else None)
    expected = counted(dumps(obj))
    for number in range(1, 4):
        sending = pool.submit(outbox.send, obj)
        recv(ends[1])
        sending.result()
        assert sent(outbox) == (number, *(number * count for count in expected))
    assert outbox._stats.sent.wire_seconds > 0
    assert outbox._stats.sent.coding_seconds > 0


def test_frames_are_counted_too(outbox, peer):
    frames = dumps([1, np.arange(1000)])
    for number in (1, 2):
        assert outbox.send_frames([bytes(frame) for frame in frames]) == packed_size(frames)
        np.testing.assert_array_equal(recv(peer)[1], np.arange(1000))
        assert sent(outbox) == (number, number * 8000, number * frames[1].nbytes, 0)


def test_classes_that_send_much_in_band_are_counted_and_told(outbox, peer, pool, caplog, monkeypatch):
    monkeypatch.setattr(statistics, "_told", set())
    caplog.set_level(logging.INFO, "oobcodec")
    numbers = list(range(500_000))
    for send in (outbox.send, outbox.send, lambda obj: outbox.send_many([obj])):
        sending = pool.submit(send, numbers)
        assert recv(peer) == numbers
        sending.result()
    pool.submit(outbox.send, [bytes(2 << 20)])
    recv(peer)
    assert outbox._stats.fallbacks == {"list": 3}
    (record,) = caplog.records
    assert record.getMessage().startswith("an object of class list sends ")


def test_what_is_not_sent_is_not_counted(ends, outbox):
    with pytest.raises(EncodeError):
        outbox.send(n for n in range(3))
    with pytest.raises(HeaderError):
        outbox.send_frames(dumps([1, np.arange(1000)])[:2])
    ends[1].close()
    for obj in ([1], np.arange(1000), np.zeros(LARGE, "u1")):
        with pytest.raises((BrokenPipeError, PoisonedError)):
            outbox.send(obj)
        with pytest.raises((BrokenPipeError, PoisonedError)):
            outbox.send_many([obj])
    assert sent(outbox) == (0, 0, 0, 0)


def test_errors_name_the_peer_and_the_message(ends, outbox):
    outbox.send(1)
    outbox.send(1)
    ends[1].close()
    for obj in ([1], np.arange(1000)):
        with pytest.raises(BrokenPipeError) as caught:
            outbox.send(obj)
        assert caught.value.__notes__ == ["to the peer, message 3"]


@pytest.mark.parametrize("obj", [b"x" * 1000, [1, 2]], ids=["first", "known"])
def test_errors_say_how_much_was_sent(ends, obj):
    sock = ends[0]
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    outbox = outbox_of(sock)
    sock.settimeout(SHORT)
    with pytest.raises(TimeoutError) as caught:
        outbox.send(np.zeros(LARGE, "u1"))
    assert "of 16,777," in caught.value.__notes__[0]
    assert caught.value.__notes__[1] == "to the peer, message 1"
    with pytest.raises(PoisonedError, match=r"^to the peer, message 1: this socket stopped inside a message"):
        outbox.send(obj)


def test_frames_that_are_no_message_take_no_number(both):
    outbox, inbox = both
    outbox.send(1)
    for frames in (dumps([1, np.arange(1000)])[:2], dumps([1])[:1], [b"no message"], []):
        with pytest.raises(OobError):
            outbox.send_frames(frames)
    outbox.send(2)
    assert [inbox.receive(loads), inbox.receive(loads)] == [1, 2]


def test_a_keyring_that_only_verifies_sends_nothing(ends):
    outbox = outbox_of(ends[0], session=Session(Keyring({"first": bytes(32)}), *NONCES))
    for send in (outbox.send, lambda obj: outbox.send_many([obj]), lambda obj: outbox.send_frames(dumps(obj))):
        with pytest.raises(EncodeError, match="only verifies"):
            send(1)
    ends[0].close()
    assert ends[1].recv(1) == b""


@pytest.mark.parametrize("size", [10, 100, 300_000])
def test_progress(both, pool, size):
    outbox, inbox = both
    obj = [np.zeros(size, "u1")]
    for send in (outbox.send, outbox.send, lambda obj, progress: outbox.send_frames(dumps(obj), progress)):
        told = []
        sending = pool.submit(send, obj, lambda *numbers, told=told: told.append(numbers))
        inbox.receive(loads)
        total = sending.result()
        assert told == sorted(told)
        assert told[-1] == (total, total)
        assert {of for _, of in told} == {total}


def test_a_signed_message_that_fails_is_the_last(ends):
    sock = ends[0]
    outbox = outbox_of(sock, session=Session(KEYS, *NONCES))
    sock.settimeout(SHORT)
    with contextlib.suppress(TimeoutError):
        while True:
            outbox.send([bytes(1000)])
    with pytest.raises(PoisonedError, match=r"could not send a message: TimeoutError|stopped inside a message"):
        outbox.send(1)


def test_a_closed_socket_is_an_os_error(both, ends):
    outbox, _ = both
    ends[0].close()
    for send in (outbox.send, lambda obj: outbox.send_many([obj]), lambda obj: outbox.send_frames(dumps(obj))):
        with pytest.raises(OSError, match="Bad file descriptor"):
            send(1)


def test_one_thread_at_a_time(outbox, ends, pool):
    sending = pool.submit(outbox.send, np.zeros(LARGE, "u1"))
    while not outbox._busy:
        time.sleep(0.001)
    for send in (outbox.send, outbox.send_frames, outbox.send_many):
        with pytest.raises(RuntimeError, match="another thread is sending to the peer: one at a time"):
            send([1])
    recv(ends[1])
    sending.result()


# Many objects


def test_many_objects_of_any_size_arrive_in_order(both, pool):
    outbox, inbox = both
    sizes = [0, 10, 3000, 20_000, JOINED - 300, JOINED - 200, JOINED, 300_000, 5, 5, 5, 70_000, 70_000, 1]
    objects = [(number, np.full(size, number % 100, "u1")) for number, size in enumerate(sizes * 3)]
    sending = pool.submit(outbox.send_many, iter(objects))
    for obj in objects:
        np.testing.assert_equal(inbox.receive(loads), obj)
    assert sending.result() > sum(sizes) * 3
    assert sent(outbox)[0] == len(objects)


def test_a_hundred_thousand_small_messages_arrive_in_order(outbox, ends, pool):
    inbox = Inbox(ends[1], "the sender", UNLIMITED, None, Traffic())
    sending = pool.submit(outbox.send_many, range(100_000))
    assert all(inbox.receive(loads) == number for number in range(100_000))
    size = packed_size(dumps(1))
    assert size * 100_000 <= sending.result() < (size + 15) * 100_000
    assert sent(outbox)[0] == 100_000


def test_small_objects_leave_together(ends, outbox):
    peer = ends[1]
    outbox.send_many([number] for number in range(100))
    data = peer.recv(1 << 20)
    assert data == b"".join(pack(dumps([number])) for number in range(100))


def test_many_objects_are_counted_like_single_ones(ends, pool):
    objects = [{"a": 1}, np.arange(1000), "text", [bytes(5_000_000)], np.arange(3000)[::3], {"a": 2}]
    one, other = outbox_of(ends[0]), outbox_of(ends[0])
    sending = pool.submit(lambda: [one.send(obj) for obj in objects])
    for _ in objects:
        recv(ends[1])
    single = sending.result()
    sending = pool.submit(other.send_many, objects)
    for _ in objects:
        recv(ends[1])
    assert sending.result() == sum(single)
    assert sent(one) == sent(other)


def test_no_objects_are_no_bytes(both):
    outbox, inbox = both
    assert outbox.send_many([]) == 0
    outbox.send("next")
    assert inbox.receive(loads) == "next"
    assert sent(outbox)[0] == 1


def test_objects_may_come_in_the_same_memory(both, pool):
    outbox, inbox = both

    def objects():
        memory = np.zeros(20_000, "u1")
        for number in range(50):
            memory[:] = number
            yield memory[: 500 * (number % 40 + 1)]

    sending = pool.submit(outbox.send_many, objects())
    for number in range(50):
        values = inbox.receive(loads)
        assert values.size == 500 * (number % 40 + 1)
        assert (values == number).all()
    sending.result()


def failing():
    yield from range(30)
    message = "no more"
    raise ZeroDivisionError(message)


@pytest.mark.parametrize(
    ("objects", "error"),
    [(failing, ZeroDivisionError), (lambda: [*range(30), (n for n in ()), 31], EncodeError)],
    ids=["objects", "encoding"],
)
def test_what_was_before_an_error_is_sent(both, objects, error):
    outbox, inbox = both
    with pytest.raises(error):
        outbox.send_many(objects())
    outbox.send("next")
    assert [inbox.receive(loads) for _ in range(31)] == [*range(30), "next"]
    assert sent(outbox)[0] == 31


def test_a_peer_that_closes_in_the_middle(both, ends):
    outbox, _ = both

    def objects():
        yield from range(10)
        yield bytes(JOINED)
        ends[1].close()
        yield from range(100_000)

    with pytest.raises((BrokenPipeError, ConnectionResetError)) as caught:
        outbox.send_many(objects())
    assert caught.value.__notes__[-1] == "to the peer, message 12"
    assert sent(outbox)[0] == 11


def test_nothing_is_sent_twice_after_an_error(ends):
    sock, peer = ends
    outbox = outbox_of(sock)
    sock.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        outbox.send_many(bytes(3000) for _ in range(10_000))
    received = bytearray()
    peer.settimeout(SHORT)
    with contextlib.suppress(TimeoutError):
        while data := peer.recv(1 << 20):
            received += data
    size = packed_size(dumps(bytes(3000)))
    assert sent(outbox)[0] <= len(received) // size
    one = bytes(pack(dumps(bytes(3000))))
    assert received == (one * (len(received) // size + 1))[: len(received)]


# Interrupts


OBJECTS = [(0,), (1,), (2, np.arange(200)), (3, np.arange(20_000)), (4, "x")]


@pytest.mark.parametrize("many", [False, True], ids=["each", "many"])
@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
def test_an_interrupt_anywhere_tears_and_repeats_no_message(signed, many):
    states, interrupted = [], True
    while interrupted:
        here, there = socket.socketpair()
        with here, there:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sessions = (Session(KEYS, *NONCES), Session(KEYS, *reversed(NONCES))) if signed else (None, None)
            outbox = outbox_of(here, session=sessions[0])
            inbox = Inbox(there, "the sender", UNLIMITED, sessions[1], Traffic())
            done, interrupted, state = 0, False, "next"
            with At(len(states) + 1):
                try:
                    if many:
                        outbox.send_many(OBJECTS)
                    else:
                        for obj in OBJECTS:
                            outbox.send(obj)
                            done += 1
                except Interrupt:
                    interrupted = True
            try:
                outbox.send("next")
            except PoisonedError:
                state = "poisoned"
            here.close()
            got = []
            with contextlib.suppress(EOFError, TruncatedError):
                while True:
                    got.append(inbox.receive(loads))
            states.append(state)
            assert (got[-1:] == ["next"]) == (state == "next")
            numbers = [first for first, *_ in got if first != "n"]
            assert numbers == list(range(len(numbers)))
            assert done <= len(numbers)
    assert states.count("next") > 10
    assert signed == (states.count("poisoned") > 10)
