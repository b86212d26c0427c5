import contextlib
import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
import trustme
from interrupts import At, Interrupt

from oobcodec.auth import Keyring, Session
from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError, HeaderError, IntegrityError, LimitError, PoisonedError, TruncatedError
from oobcodec.inbox import AHEAD, Inbox
from oobcodec.limits import UNLIMITED, Limits
from oobcodec.packed import pack
from oobcodec.small import remember
from oobcodec.statistics import Traffic
from oobcodec.transfer import RECEIVING, abandon

SHORT = 0.05  # seconds: for timeouts that are meant to happen
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")
NONCES = bytes(16), bytes(range(16))


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def ends(pool):
    """Return a socket that a peer writes to, and the one that an inbox reads."""
    peer, sock = socket.socketpair()
    with peer, sock:
        yield peer, sock


def inbox_of(sock, *, limits=UNLIMITED, session=None):
    return Inbox(sock, "the peer", limits, session, Traffic())


@pytest.fixture
def peer(ends):
    return ends[0]


@pytest.fixture
def inbox(ends):
    return inbox_of(ends[1])


def message(obj, **options):
    frames = dumps(obj, **options)
    remember(frames)
    return bytes(pack(frames))


def received(inbox):
    """Return all objects up to the end of the stream."""
    objects = []
    receive_all(inbox, objects)
    return objects


def receive_all(inbox, got):
    with contextlib.suppress(EOFError):
        while True:
            got.append(inbox.receive(loads))


# What is read ahead


def test_many_small_messages_take_one_read(ends):
    peer, sock = ends
    peer.sendall(b"".join(message((number, "x" * (number % 7))) for number in range(300)))
    inbox = inbox_of(sock)
    assert inbox.receive(loads) == (0, "")
    # Nothing is left in the socket: all others come from memory.
    assert inbox.waiting
    sock.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    assert [inbox.receive(loads)[0] for _ in range(299)] == list(range(1, 300))
    assert not inbox.waiting


def test_nothing_is_waiting_before_the_first_read(peer, inbox):
    assert not inbox.waiting
    peer.sendall(message(1) * 2)
    assert not inbox.waiting
    assert inbox.receive(loads) == 1
    assert inbox.waiting


OBJECTS = [(0,), (1, "x" * 100), (2, np.arange(200)), (3,), (4, "y" * 5000)]


@pytest.mark.parametrize("obj", [{"a": [1, 2.5]}, {"values": np.arange(200)}, "text"], ids=["known", "buffers", "str"])
def test_a_message_may_arrive_in_two_at_every_byte(obj, pool):
    data = message(obj)
    for split in range(1, len(data)):
        here, there = socket.socketpair()
        with here, there:
            inbox = inbox_of(there)
            here.sendall(data + data[:split])
            np.testing.assert_equal(inbox.receive(loads), obj)
            rest = pool.submit(inbox.receive, loads)
            here.sendall(data[split:] + data)
            np.testing.assert_equal(rest.result(), obj)
            np.testing.assert_equal(inbox.receive(loads), obj)


def test_messages_may_arrive_byte_by_byte(peer, inbox, pool):
    data = b"".join(map(message, OBJECTS))
    got = pool.submit(received, inbox)
    for byte in data:
        peer.sendall(bytes([byte]))
    peer.shutdown(socket.SHUT_WR)
    np.testing.assert_equal(got.result(), OBJECTS)


@pytest.mark.parametrize("first", ["small", "large"])
def test_large_messages_between_small_ones(peer, inbox, pool, first):
    small, large = [message((number,)) for number in range(50)], message(np.arange(300_000))
    order = [*small, large] if first == "small" else [large, *small]
    sent = pool.submit(peer.sendall, b"".join(order * 3))
    for _ in range(3):
        for data in order:
            if data is large:
                np.testing.assert_array_equal(inbox.receive(loads), np.arange(300_000))
            else:
                assert inbox.receive(loads) == (small.index(data),)
    sent.result()


def test_messages_around_the_size_of_what_is_read_ahead(peer, inbox, pool):
    sizes = [AHEAD + step for step in range(-400, 401, 25)]
    sent = pool.submit(peer.sendall, b"".join(message([np.zeros(size, "u1"), size]) + message(size) for size in sizes))
    for size in sizes:
        values, declared = inbox.receive(loads)
        assert (values.size, declared) == (size, size)
        assert inbox.receive(loads) == size
    sent.result()


def test_frames_of_a_large_message_are_not_copied_but_for_what_was_read_ahead(ends, pool):
    peer, sock = ends
    traffic = Traffic()
    inbox = Inbox(sock, "the peer", UNLIMITED, None, traffic)
    sent = pool.submit(peer.sendall, message(np.arange(1_000_000)))
    inbox.receive(loads)
    sent.result()
    # And at its end, of what is not worth a call of its own.
    assert 0 < traffic.copied_bytes <= 3 * AHEAD
    assert traffic.out_of_band_bytes == 8_000_000


def test_what_has_arrived_is_counted(peer, ends):
    traffic = Traffic()
    inbox = Inbox(ends[1], "the peer", UNLIMITED, None, traffic)
    small, array = dumps([1, 2, 3]), dumps(np.arange(1000))
    data = bytes(pack(small)) * 2 + bytes(pack(array))
    peer.sendall(data)
    for _ in range(3):
        inbox.receive(loads)
    assert traffic.messages == 3
    assert traffic.in_band_bytes == 2 * small[1].nbytes + array[1].nbytes
    assert traffic.out_of_band_bytes == 8000
    assert traffic.copied_bytes == len(data)
    assert traffic.coding_seconds > 0
    assert traffic.wire_seconds > 0


@pytest.mark.parametrize("options", [{"limits": Limits(max_total_bytes=1000)}, {"limits": Limits(max_depth=3)}])
def test_limits_are_held_against_known_forms_too(ends, options):
    peer, sock = ends
    inbox = inbox_of(sock, **options)
    peer.sendall(message([1]) + message([1]) + message(["x" * 2000]))
    assert inbox.receive(loads) == [1]
    assert inbox.receive(loads) == [1]
    if options["limits"].max_total_bytes == 1000:
        with pytest.raises(LimitError, match=r"message 3: .*max_total_bytes=1,000 bytes"):
            inbox.receive(loads)


@pytest.mark.parametrize("position", range(0, 64 * 8, 5))
def test_a_bit_in_front_of_a_known_form_is_seen(peer, inbox, position):
    # The padding of an unsigned message is nobody's, and a flip in it changes nothing; all else is refused.
    data = message([1, 2, 3])
    damaged = bytearray(data)
    damaged[position // 8] ^= 1 << position % 8
    peer.sendall(data + damaged)
    peer.shutdown(socket.SHUT_WR)
    assert inbox.receive(loads) == [1, 2, 3]
    header = len(data) - dumps([1, 2, 3])[1].nbytes
    assert header == 64
    if position // 8 >= dumps([1, 2, 3])[0].nbytes:
        assert inbox.receive(loads) == [1, 2, 3]
    else:
        with pytest.raises(DecodeError, match=r"^from the peer, message 2: "):
            inbox.receive(loads)


@pytest.mark.parametrize("obj", [None, True, 46, -1, (), "", [], [46], {"a": "."}, ["x" * 5000]], ids=str)
def test_pickles_of_any_length_arrive_again_and_again(peer, inbox, obj):
    peer.sendall(message(obj) * 3)
    assert [inbox.receive(loads) for _ in range(3)] == [obj] * 3


def outcome(load, *arguments):
    try:
        return load(*arguments)
    except DecodeError as error:
        return str(error).partition("message 2: ")[2] or str(error)


def test_pickles_are_held_against_their_frames(ends):
    peer, sock = ends
    obj = [1, 2, 3]
    data = message(obj)
    for position in [*range(64 * 8, 75 * 8), *range(8 * len(data) - 8, 8 * len(data))]:
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        inbox = inbox_of(sock)
        peer.sendall(data + damaged)
        assert inbox.receive(loads) == obj
        assert outcome(inbox.receive, loads) == outcome(loads, bytes(damaged))


class Arriving:
    """Is rebuilt as what arrives on an inbox."""

    inboxes: ClassVar = []

    def __reduce__(self):
        return arrival, ()


def arrival():
    return Arriving.inboxes[0].receive(loads)


def test_options_of_a_running_loads_are_not_those_of_a_message(peer, inbox, monkeypatch):
    monkeypatch.setattr(Arriving, "inboxes", [inbox])
    peer.sendall(message([np.arange(3)]) * 2)
    (array,) = inbox.receive(loads)
    assert array.flags.writeable
    (array,) = loads(dumps(Arriving()), writable=False)
    assert array.flags.writeable


def test_known_forms_do_not_pass_for_signed_messages(ends):
    peer, sock = ends
    inbox = inbox_of(sock, session=Session(KEYS, *NONCES))
    peer.sendall(message([1, 2, 3]) * 2)
    with pytest.raises(DecodeError, match=r"message 1: .*unsigned"):
        inbox.receive(loads)
    with pytest.raises(PoisonedError):
        inbox.receive(loads)


# The end, and errors


def test_an_end_right_behind_a_message(peer, inbox):
    peer.sendall(message(1) + message("last"))
    peer.close()
    assert received(inbox) == [1, "last"]
    for _ in range(2):
        with pytest.raises(EOFError) as caught:
            inbox.receive(loads)
        assert caught.value.__notes__ == ["from the peer, message 3"]


@pytest.mark.parametrize("part", [1, 23, 24, 25, 63, 64, 70])
def test_an_end_inside_a_message(ends, part):
    peer, sock = ends
    inbox = inbox_of(sock)
    data = message([1, 2, 3])
    peer.sendall(data + data[:part])
    peer.close()
    assert inbox.receive(loads) == [1, 2, 3]
    with pytest.raises(TruncatedError, match=f"^from the peer, message 2: .*: {part} .*bytes received"):
        inbox.receive(loads)
    with pytest.raises(PoisonedError, match="message 2: this socket stopped inside a message"):
        inbox.receive(loads)


def test_a_timeout_between_messages_changes_nothing(ends):
    peer, sock = ends
    inbox = inbox_of(sock)
    sock.settimeout(SHORT)
    for number in range(3):
        with pytest.raises(TimeoutError) as caught:
            inbox.receive(loads)
        assert caught.value.__notes__ == [f"from the peer, message {number + 1}"]
        peer.sendall(message(number))
        assert inbox.receive(loads) == number


@pytest.mark.parametrize("part", [1, 30, 1000, 500_000])
def test_a_timeout_inside_a_message_poisons(ends, pool, part):
    peer, sock = ends
    inbox = inbox_of(sock)
    peer.sendall(message(1))
    assert inbox.receive(loads) == 1
    data = message(np.zeros(1 << 20, "u1"))
    sent = pool.submit(peer.sendall, data[:part])
    sock.settimeout(SHORT)
    with pytest.raises(TimeoutError) as caught:
        inbox.receive(loads)
    sent.result()
    of = f" of {len(data):,}" if part >= 24 else ""
    assert caught.value.__notes__ == [f"{part:,}{of} bytes received", "from the peer, message 2"]
    with pytest.raises(PoisonedError, match="then TimeoutError"):
        inbox.receive(loads)


def test_a_poisoned_socket_hands_out_nothing_that_was_read_ahead(ends):
    peer, sock = ends
    inbox = inbox_of(sock)
    peer.sendall(message([1]) * 3)
    assert inbox.receive(loads) == [1]
    assert inbox.waiting
    abandon(sock, "this socket has had enough")
    for _ in range(2):
        with pytest.raises(PoisonedError, match="has had enough"):
            inbox.receive(loads)


def test_what_cannot_be_decoded_is_a_message_like_others(peer, inbox):
    bad = dumps([1, 2, 3])
    bad[1] = memoryview(bytes(bad[1][:-1]) + b"?")
    peer.sendall(message([1, 2, 3]) + bytes(pack(bad)) + message([1, 2, 3]))
    assert inbox.receive(loads) == [1, 2, 3]
    with pytest.raises(DecodeError, match=r"^from the peer, message 2: "):
        inbox.receive(loads)
    assert inbox.receive(loads) == [1, 2, 3]
    peer.sendall(b"no message, but more than 24 bytes")
    with pytest.raises(HeaderError, match=r"^from the peer, message 4: "):
        inbox.receive(loads)


def test_damage_poisons_both_directions(ends):
    peer, sock = ends
    inbox = inbox_of(sock)
    peer.sendall(message(np.arange(1000), checksum=True)[:-1] + b"\xff" + message(1))
    with pytest.raises(IntegrityError, match=r"^from the peer, message 1: frame 2"):
        inbox.receive(loads)
    with pytest.raises(PoisonedError, match="this connection refused a message: IntegrityError"):
        inbox.receive(loads)
    assert peer.recv(1) == b""


def test_one_thread_at_a_time(peer, inbox, pool):
    waiting = pool.submit(inbox.receive, loads)
    while not inbox._busy:
        time.sleep(0.001)
    with pytest.raises(RuntimeError, match="another thread is receiving from the peer: one at a time"):
        inbox.receive(loads)
    peer.sendall(message("late"))
    assert waiting.result() == "late"


def test_memory_of_the_callers(peer, inbox):
    memory = np.zeros(2000)
    peer.sendall(message(np.arange(2000.0)) + message([1, 2]) * 2)
    got = inbox.receive(loads, allocate=lambda index, nbytes, header, frames: memory)
    assert got.ctypes.data == memory.ctypes.data
    np.testing.assert_array_equal(memory, np.arange(2000.0))
    # A small one has no frames to be placed.
    for _ in range(2):
        assert inbox.receive(loads, allocate=lambda *_: 1 / 0) == [1, 2]


@pytest.mark.parametrize("size", [10, 100_000])
def test_progress_is_told_of_known_forms_as_well(peer, inbox, pool, size):
    data = message([np.zeros(size, "u1")])
    sent = pool.submit(peer.sendall, data * 3)
    for _ in range(3):
        told = []
        inbox.receive(loads, lambda *numbers, told=told: told.append(numbers))
        assert told == sorted(told)
        assert told[-1] == (len(data), len(data))
        assert {total for _, total in told} == {len(data)}
    sent.result()


# Interrupts


MESSAGES = [(0,), (1,), (2, np.arange(20_000)), (3,), (4, "x" * 5000)]


def signed(objects):
    session = Session(KEYS, *NONCES)
    return b"".join(bytes(pack(session.seal(dumps(obj)))) for obj in objects)


@pytest.fixture(scope="module")
def tls():
    """Return what makes two ends of a pair of sockets speak TLS."""
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("peer.example").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def wrap(here, there):
        with ThreadPoolExecutor(1) as pool:
            shaken = pool.submit(serving.wrap_socket, here, server_side=True)
            there = trusting.wrap_socket(there, server_hostname="peer.example")
            return shaken.result(), there

    return wrap


@pytest.mark.parametrize("kind", ["plain", "signed", "TLS"])
def test_an_interrupt_anywhere_loses_and_repeats_no_message_unless_it_poisons(kind, request):
    data = signed(MESSAGES) if kind == "signed" else b"".join(map(message, MESSAGES))
    wrap = request.getfixturevalue("tls") if kind == "TLS" else lambda *ends: ends
    poisoned, interrupted = [], True
    while interrupted:
        with contextlib.ExitStack() as stack:
            here, there = map(stack.enter_context, wrap(*socket.socketpair()))
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            here.sendall(data)
            socket.socket.shutdown(here, socket.SHUT_WR)
            inbox = inbox_of(there, session=Session(KEYS, *reversed(NONCES)) if kind == "signed" else None)
            got, interrupted = [], False
            with At(len(poisoned) + 1, ssl.__file__):
                try:
                    receive_all(inbox, got)
                except Interrupt:
                    interrupted = True
            poisoned.append(False)
            try:
                receive_all(inbox, got)
            except PoisonedError:
                poisoned[-1] = True
            assert [first for first, *_ in got] == list(range(len(got)))
            assert poisoned[-1] or len(got) == len(MESSAGES)
    assert 5 < sum(poisoned) < len(poisoned) - 5


class Untold(socket.socket):
    """A socket whose bytes arrive in the moment in which an interrupt does: as that of TLS can be."""

    armed = True

    def recv_into(self, buffer):
        nbytes = super().recv_into(buffer)
        if self.armed:
            raise Interrupt
        return nbytes


def test_an_interrupt_that_takes_the_count_of_bytes_with_it_poisons(ends):
    peer, sock = ends
    with Untold(fileno=os.dup(sock.fileno())) as untold:
        inbox = inbox_of(untold)
        peer.sendall(message(1) * 2)
        with pytest.raises(Interrupt) as caught:
            inbox.receive(loads)
        assert caught.value.__notes__ == ["nobody knows how many bytes received", "from the peer, message 1"]
        Untold.armed = False
        with pytest.raises(PoisonedError, match="then Interrupt; close it"):
            inbox.receive(loads)


def test_an_interrupt_while_an_object_is_rebuilt_poisons(ends):
    peer, sock = ends
    inbox = inbox_of(sock)
    peer.sendall(message(1) * 2)

    def interrupt(frames):
        raise Interrupt

    with pytest.raises(Interrupt):
        inbox.receive(interrupt)
    with pytest.raises(PoisonedError, match="received, but not returned, then Interrupt"):
        inbox.receive(loads)
    assert sock in RECEIVING
