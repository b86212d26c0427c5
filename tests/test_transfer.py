import contextlib
import gc
import mmap
import os
import random
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oobcodec import header, transfer
from oobcodec.auth import Keyring
from oobcodec.buffers import address
from oobcodec.codec import dumps
from oobcodec.errors import (
    AuthenticationError,
    DecodeError,
    EncodeError,
    HeaderError,
    IntegrityError,
    LimitError,
    PoisonedError,
    PolicyError,
    TruncatedError,
)
from oobcodec.limits import Limits
from oobcodec.packed import pack
from oobcodec.policy import DATA
from oobcodec.transfer import abandon, recv, recv_frames, send, send_frames, tell

MIB = 1 << 20
LARGE = 16 * MIB  # no socket here holds that much without a reader
SHORT = 0.05  # seconds: for timeouts that are meant to happen


class NoScatter(socket.socket):
    """A socket of a system without sendmsg."""

    @property
    def sendmsg(self):
        raise AttributeError


class Lookalike:
    """What libraries for green threads put in the place of a socket: all in Python, and no subclass."""

    def __init__(self, sock):
        self._sock = sock

    def recv_into(self, buffer):
        return self._sock.recv_into(buffer)

    def sendall(self, data):
        self._sock.sendall(data)

    def __getattr__(self, name):
        if name == "sendmsg":
            raise AttributeError
        return getattr(self._sock, name)

    def shutdown(self, how):
        self._sock.shutdown(how)


def over_tcp():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


def over_unix(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        return client, server.accept()[0]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def over_tls(authority):
    client, server = socket.socketpair()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("peer.example").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(serving.wrap_socket, server, server_side=True)
        client = trusting.wrap_socket(client, server_hostname="peer.example")
        return client, shaken.result()


KINDS = ["socketpair", "tcp", "unix", "tls", "no sendmsg", "look-alike", "plain system"]


def connect(kind, request):
    if kind == "tcp":
        return over_tcp()
    if kind == "unix":
        return over_unix(request.getfixturevalue("tmp_path") / "socket")
    if kind == "tls":
        return over_tls(request.getfixturevalue("authority"))
    ends = socket.socketpair()
    if kind == "no sendmsg":
        return tuple(NoScatter(fileno=end.detach()) for end in ends)
    if kind == "look-alike":
        return tuple(Lookalike(end) for end in ends)
    if kind == "plain system":
        monkeypatch = request.getfixturevalue("monkeypatch")
        monkeypatch.setattr(transfer, "_sendmsg", None)
        for name in ("MAP_PRIVATE", "MAP_ANONYMOUS", "MADV_HUGEPAGE"):
            monkeypatch.delattr(mmap, name, raising=False)
    return ends


@contextlib.contextmanager
def hanging_up(ends):
    """Close both ends, and before that end what a thread still does with them: else a failure waits for ever."""
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


# Sockets need the pool only to be closed before it waits for its threads.


@pytest.fixture(params=KINDS)
def pair(request, pool):
    with hanging_up(connect(request.param, request)) as ends:
        yield ends


@pytest.fixture
def plain(pool):
    with hanging_up(socket.socketpair()) as ends:
        yield ends


@pytest.fixture
def tls(authority, pool):
    with hanging_up(over_tls(authority)) as ends:
        yield ends


def message(*lengths):
    """Return a message with buffers of these lengths."""
    placements = tuple((index, 0, length, False) for index, length in enumerate(lengths, 1))
    first = header.encode("test", None, tuple(lengths), 0, placements)
    return [memoryview(first), *(memoryview(bytes([i % 255 + 1]) * length) for i, length in enumerate(lengths))]


def half(frames):
    packed = pack(frames)
    return packed[: packed.nbytes // 2]


# Messages


@pytest.mark.parametrize(
    "frames",
    [
        message(),
        message(0),
        message(1),
        message(0, 0, 100, 0, 100_000, 0),
        message(*[100] * 600),
        message(*[1000] * 3000),
        message(*[0, 7] * 3000),
        message(*[70_000] * 100),
        message(3 * MIB + 1, 5, LARGE),
        message(2 * MIB - 64),  # exactly two calls' worth
    ],
    ids=lambda frames: f"{len(frames)} frames, {pack(frames).nbytes} bytes",
)
def test_messages_arrive_as_they_left(pair, pool, frames):
    sender, receiver = pair
    for _ in range(2):
        sent = pool.submit(send_frames, sender, frames)
        received = recv_frames(receiver)
        assert received == frames
        assert sent.result() == pack(frames).nbytes
        assert all(address(frame) % 64 == 0 for frame in received[1:] if frame)


@pytest.mark.parametrize("size", [10, 10_000, 2 * MIB])
def test_objects_arrive_as_they_left(pair, pool, size):
    sender, receiver = pair
    values = np.random.default_rng(size).random(size // 8)
    sent = pool.submit(send, sender, {"values": values, "name": "x", "again": [values]})
    obj = recv(receiver)
    assert sent.result() > values.nbytes
    np.testing.assert_array_equal(obj["values"], values)
    assert obj["again"][0] is obj["values"]
    assert obj["values"].flags.writeable
    assert obj["values"].nbytes < 4096 or obj["values"].ctypes.data % 64 == 0


def test_options_reach_the_codec(plain):
    sender, receiver = plain
    values = np.arange(1000.0)
    send(sender, values, copy=True)
    assert not recv(receiver, writable=False).flags.writeable
    with pytest.raises(TypeError):
        send(sender, values, no_such_option=1)
    send(sender, values)
    with pytest.raises(TypeError):
        recv(receiver, no_such_option=1)


def test_no_byte_behind_a_message_is_read(pair, pool):
    sender, receiver = pair
    frames = message(1000), message(100_001, 3)
    sender.sendall(b"".join([pack(frames[0]), pack(frames[1]), b"a byte behind"]))
    assert recv_frames(receiver) == frames[0]
    assert recv_frames(receiver) == frames[1]
    assert receiver.recv(100) == b"a byte behind"


def test_a_hundred_messages_in_both_directions_at_once_keep_their_order(pair, pool):
    sizes = random.Random(7).choices([0, 10, 5000, 70_000, 300_000], k=100)

    def write(sock, offset):
        for number, size in enumerate(sizes):
            send(sock, (number, np.full(size, number + offset)))

    def read(sock, offset):
        for number, size in enumerate(sizes):
            got, values = recv(sock)
            assert (got, values.size) == (number, size)
            assert (values == number + offset).all()

    jobs = [
        pool.submit(job, sock, offset)
        for job, sock, offset in [(write, pair[0], 0), (read, pair[1], 0), (write, pair[1], 500), (read, pair[0], 500)]
    ]
    for job in jobs:
        job.result()


@given(st.lists(st.sampled_from([0, 1, 64, 1000, 65_535, 65_536, 300_000]), max_size=8), st.integers(1, 5000))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_short_writes_and_reads(monkeypatch, lengths, at_once):
    # What the system takes and gives in one call is for the system to say: here it is little.
    frames = message(*lengths)
    with ThreadPoolExecutor(1) as pool, hanging_up(socket.socketpair()) as (sender, receiver):
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        # With a timeout, sendmsg returns as soon as it has sent anything.
        sender.settimeout(10)
        receiver.settimeout(10)
        sent = pool.submit(send_frames, sender, frames)
        monkeypatch.setattr(transfer, "RECEIVED_AT_ONCE", max(at_once, pack(frames).nbytes // 500))
        assert recv_frames(receiver) == frames
        assert sent.result() == pack(frames).nbytes


def test_short_writes_of_a_small_message(plain, pool):
    sender, receiver = plain
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    sender.settimeout(60)
    frames = message(60_000)
    sent = pool.submit(send_frames, sender, frames)
    assert recv_frames(receiver) == frames
    assert sent.result() == pack(frames).nbytes


def test_frames_land_in_the_callers_memory(pair, pool):
    values, target = np.random.default_rng(0).random(100_000), np.empty(100_000)
    sent = pool.submit(send, pair[0], {"values": values})
    obj = recv(pair[1], allocate=lambda index, nbytes, decoded, frames: target)
    sent.result()
    np.testing.assert_array_equal(target, values)
    assert obj["values"].ctypes.data == target.ctypes.data


def test_socket_options_are_left_alone(plain):
    names = [socket.SO_SNDBUF, socket.SO_RCVBUF, socket.SO_RCVLOWAT, socket.SO_KEEPALIVE]
    before = [[end.getsockopt(socket.SOL_SOCKET, name) for name in names] for end in plain]
    plain[0].settimeout(30)
    send(plain[0], 1)
    recv(plain[1])
    assert [[end.getsockopt(socket.SOL_SOCKET, name) for name in names] for end in plain] == before
    assert [end.gettimeout() for end in plain] == [30, None]


def test_a_non_blocking_socket_is_refused(plain):
    for end in plain:
        end.settimeout(0)
    with pytest.raises(ValueError, match="the socket is non-blocking: call setblocking"):
        send(plain[0], 1)
    with pytest.raises(ValueError, match="the socket is non-blocking: call setblocking"):
        recv(plain[1])


# Into what is there, and how far it is


def test_objects_are_received_into_others(pair, pool):
    values, target = np.random.default_rng(0).random(100_000), {"values": np.zeros(100_000), "n": 1}
    for _ in range(2):
        sent = pool.submit(send, pair[0], {"values": values, "n": 1})
        assert recv(pair[1], into=target) is target
        sent.result()
        np.testing.assert_array_equal(target["values"], values)
    memory = bytearray(MIB)
    sent = pool.submit(send, pair[0], values)
    assert np.shares_memory(recv(pair[1], into=memory), np.frombuffer(memory, "u1"))
    sent.result()


def test_into_and_allocate_are_one_too_many(plain):
    with pytest.raises(ValueError, match="into= and allocate= both say where frames go"):
        recv(plain[1], into=bytearray(5), allocate=lambda *_: None)


@pytest.mark.parametrize("size", [10, 10_000, 100_000, 3 * MIB + 1])
def test_progress_ends_with_all_of_the_message(pair, pool, size):
    frames = dumps([np.zeros(size, "u1")])
    for send_it, receive in ((send, recv), (send_frames, recv_frames)):
        told_there, told_here = [], []
        obj = frames if send_it is send_frames else [np.zeros(size, "u1")]
        sent = pool.submit(send_it, pair[0], obj, progress=lambda *numbers, to=told_there: to.append(numbers))
        receive(pair[1], progress=lambda *numbers, to=told_here: to.append(numbers))
        total = sent.result()
        assert total == pack(frames).nbytes
        for told in (told_there, told_here):
            assert told == sorted(told)
            assert told[-1] == (total, total)
            assert {of for _, of in told} == {total}
            assert len(told) > 3 or size < 3 * MIB


class EnoughError(Exception):
    pass


def enough(done, total):
    if done > total // 2:
        raise EnoughError


def test_an_error_of_progress_while_sending_poisons(pair, pool):
    sender, receiver = pair
    received = pool.submit(recv, receiver)
    with pytest.raises(EnoughError):
        send(sender, np.zeros(LARGE, "u1"), progress=enough)
    with pytest.raises(PoisonedError, match="bytes sent, then EnoughError; close it"):
        send(sender, 1)
    with pytest.raises(TruncatedError):
        received.result()


@pytest.mark.parametrize("size", [10, LARGE])
def test_an_error_of_progress_while_receiving_poisons(pair, pool, size):
    sender, receiver = pair
    sent = pool.submit(send, sender, np.zeros(size, "u1"))
    with pytest.raises(EnoughError):
        recv(receiver, progress=enough)
    with pytest.raises(PoisonedError, match="then EnoughError; close it"):
        recv(receiver)
    receiver.close()
    with contextlib.suppress(OSError):
        sent.result()


def test_an_error_of_progress_behind_a_small_message_comes_too_late(plain):
    sender, receiver = plain
    with pytest.raises(EnoughError):
        send(sender, "sent", progress=enough)
    send(sender, "next")
    assert [recv(receiver), recv(receiver)] == ["sent", "next"]


def test_an_error_inside_of_a_message_says_how_far_it_got(plain):
    sender, receiver = plain
    part, frames = half(message(100_000)), message(100_000)
    sender.sendall(part)
    receiver.settimeout(SHORT)
    with pytest.raises(TimeoutError) as caught:
        recv(receiver)
    assert caught.value.__notes__ == [f"{part.nbytes:,} of {pack(frames).nbytes:,} bytes received"]
    sender.settimeout(SHORT)
    with pytest.raises((TimeoutError, BrokenPipeError)) as caught:
        send(sender, np.zeros(LARGE, "u1"))
    assert isinstance(caught.value, BrokenPipeError) or "of 16,777," in caught.value.__notes__[0]


# The end of the stream


def test_a_clean_end_is_an_eof_error_as_often_as_one_asks(pair):
    sender, receiver = pair
    send(sender, "last")
    sender.shutdown(socket.SHUT_WR)
    assert recv(receiver) == "last"
    for _ in range(2):
        with pytest.raises(EOFError):
            recv(receiver)


@pytest.mark.parametrize("frames", [message(1000), message(100_000, 100_000)], ids=["small", "large"])
def test_an_end_inside_a_message_is_an_error_and_poisons(pair, frames):
    sender, receiver = pair
    part = half(frames)
    sender.sendall(part)
    # Not closed: what a TLS peer has sent meanwhile, and nobody read, would turn the end into a reset.
    shutdown = socket.socket.shutdown if isinstance(sender, socket.socket) else type(sender).shutdown
    shutdown(sender, socket.SHUT_WR)
    total = pack(frames).nbytes
    with pytest.raises(TruncatedError, match=f"{part.nbytes:,} of {total:,} bytes received"):
        recv(receiver)
    with pytest.raises(
        PoisonedError, match=f"inside a message: {part.nbytes:,} of {total:,} bytes received, then Trunc"
    ):
        recv(receiver)


PEER = f"""
import socket, sys
sys.path[:] = {sys.path!r}
import numpy as np
from oobcodec.codec import dumps
from oobcodec.transfer import recv
from oobcodec.wire import parts
with socket.socket(fileno=int(sys.argv[1])) as sock:
    recv(sock)
    sock.sendall(b"".join(parts(dumps(np.zeros(1 << 20))))[:100_000])
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def peer(pool):
    """Another process that has sent the first 100,000 bytes of a message and does nothing any more."""
    here, there = socket.socketpair()
    command = [sys.executable, "-c", PEER, str(there.fileno())]
    descriptor = there.fileno()
    with (
        hanging_up([here]),
        subprocess.Popen(command, pass_fds=[descriptor], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        there.close()
        send(here, "begin")
        assert process.stdout.readline() == b"ready\n"
        yield here, process
    assert process.returncode == -signal.SIGKILL


def test_a_peer_that_is_killed_while_it_sends(peer, pool):
    sock, process = peer
    received = pool.submit(recv, sock)
    process.kill()
    with pytest.raises(TruncatedError, match=r"100,000 of 8,388,\d+ bytes received, in frame 2"):
        received.result()
    with pytest.raises(PoisonedError):
        recv(sock)


def test_a_peer_that_is_killed_while_it_receives(peer, pool):
    sock, process = peer
    # Its first buffer full is read by nobody: `send` waits inside the message.
    sent = pool.submit(send, sock, np.zeros(LARGE))
    while select.select([], [sock], [], 0)[1]:
        time.sleep(0.001)
    process.kill()
    with pytest.raises(ConnectionError):
        sent.result()
    with pytest.raises(PoisonedError, match=r"bytes sent, then (BrokenPipe|ConnectionReset)Error"):
        send(sock, 1)


# Timeouts


def test_a_timeout_before_a_message_leaves_the_socket_usable(pair):
    sender, receiver = pair
    receiver.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        recv(receiver)
    send(sender, "late")
    assert recv(receiver) == "late"


def test_a_timeout_inside_a_message_poisons_receiving_alone(pair):
    sender, receiver = pair
    frames = message(100_000)
    part = half(frames)
    sender.sendall(part)
    receiver.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        recv(receiver)
    for receive in (recv, recv_frames):
        with pytest.raises(PoisonedError) as caught:
            receive(receiver)
        assert str(caught.value) == (
            f"this socket stopped inside a message: {part.nbytes:,} of {pack(frames).nbytes:,} bytes received, "
            "then TimeoutError; close it and connect again"
        )
    receiver.settimeout(None)
    send(receiver, "the other way")
    assert recv(sender) == "the other way"


def test_a_peer_on_this_machine_sees_that_nobody_receives_any_more(plain):
    sender, receiver = plain
    sender.sendall(half(message(100_000)))
    receiver.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        recv(receiver)
    with pytest.raises(BrokenPipeError):
        send(sender, 1)


def test_a_timeout_inside_a_message_poisons_sending_alone(pair):
    sender, receiver = pair
    sender.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        send(sender, np.zeros(LARGE, "u1"))
    for number in range(2):
        with pytest.raises(PoisonedError, match=r"of 16,777,\d+ bytes sent, then TimeoutError; close it"):
            send(sender, number)
    # The other direction lives, and the peer sees that nothing more will come (after which TLS ends both).
    sender.settimeout(None)
    send(receiver, "the other way")
    assert recv(sender) == "the other way"
    with pytest.raises(TruncatedError):
        recv(receiver)


def test_a_timeout_before_the_first_byte_is_sent_leaves_the_socket_usable(plain, pool):
    sender, receiver = plain
    sender.settimeout(SHORT)
    filling = bytearray()
    with contextlib.suppress(TimeoutError):
        while True:
            filling += bytes(sender.send(bytes(1000)))
    with pytest.raises(TimeoutError):
        send(sender, "late")
    sender.settimeout(None)
    got = bytearray()
    while len(got) < len(filling):
        got += receiver.recv(len(filling) - len(got))
    send(sender, "on time")
    assert recv(receiver) == "on time"


def test_the_other_direction_of_a_poisoned_tls_socket_is_still_encrypted(tls):
    sender, receiver = tls
    receiver.sendall(half(message(1000)))
    sender.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        recv(sender)
    assert sender.version() == "TLSv1.3"
    send(sender, b"secret" * 100)
    # Whoever reads the connection itself finds a record, and no secret.
    with socket.socket(fileno=os.dup(receiver.fileno())) as connection:
        record = connection.recv(10_000, socket.MSG_PEEK)
    assert record.startswith(b"\x17\x03\x03")
    assert b"secret" not in record
    assert recv(receiver) == b"secret" * 100


# Signals


@contextlib.contextmanager
def signals(handler, *, after=SHORT, interval=None):
    """Let real signals arrive in the main thread, once or again and again."""
    # Not by setitimer: SIGALRM is what limits the time of a test.
    previous = signal.signal(signal.SIGUSR1, handler)
    main, done = threading.main_thread().ident, threading.Event()

    def kick():
        wait = after
        while not done.wait(wait):
            signal.pthread_kill(main, signal.SIGUSR1)
            if interval is None:
                return
            wait = interval

    kicker = threading.Thread(target=kick)
    kicker.start()
    try:
        yield
    finally:
        done.set()
        kicker.join()
        signal.signal(signal.SIGUSR1, previous)


class Interrupt(BaseException):
    pass


def interrupt(signum, frame):
    raise Interrupt


@pytest.mark.parametrize("timeout", [None, 60])
def test_signals_that_raise_nothing_change_nothing(pair, pool, timeout):
    caught = []
    values = np.random.default_rng(1).random(LARGE // 8)
    for end in pair:
        end.settimeout(timeout)
    with signals(lambda signum, frame: caught.append(signum), after=0, interval=0.0005):
        for _ in range(4):
            sent = pool.submit(send, pair[0], values)
            np.testing.assert_array_equal(recv(pair[1]), values)
            sent.result()
            received = pool.submit(recv, pair[0])
            send(pair[1], values)
            np.testing.assert_array_equal(received.result(), values)
    assert caught


@pytest.mark.parametrize("handler", [interrupt, signal.default_int_handler])
def test_an_interrupt_while_sending_poisons(pair, handler):
    sender, receiver = pair
    with pytest.raises((Interrupt, KeyboardInterrupt)), signals(handler):
        send(sender, np.zeros(LARGE, "u1"))
    with pytest.raises(PoisonedError, match=r"bytes sent, then (Keyboard)?Interrupt; close it"):
        send(sender, 1)
    with pytest.raises(TruncatedError):
        recv(receiver)


def test_an_interrupt_does_not_lose_the_count_of_what_was_sent(plain):
    sender, receiver = plain
    with pytest.raises(Interrupt), signals(interrupt):
        send(sender, np.zeros(LARGE, "u1"))
    with pytest.raises(PoisonedError) as stopped:
        send(sender, 1)
    received = 0
    while data := receiver.recv(MIB):
        received += len(data)
    assert received > 0
    assert f": {received:,} of 16,777," in str(stopped.value)


def test_an_interrupt_inside_a_message_that_is_being_received_poisons(pair):
    sender, receiver = pair
    frames = message(100_000)
    sender.sendall(half(frames))
    with pytest.raises(Interrupt), signals(interrupt):
        recv(receiver)
    with pytest.raises(PoisonedError, match="bytes received, then Interrupt; close it"):
        recv(receiver)


def test_an_interrupt_between_messages_leaves_the_socket_usable(pair):
    sender, receiver = pair
    with pytest.raises(Interrupt), signals(interrupt):
        recv(receiver)
    send(sender, "late")
    assert recv(receiver) == "late"


class Untold(socket.socket):
    """A socket whose first bytes arrive in the moment in which an interrupt does."""

    def recv_into(self, buffer):
        super().recv_into(buffer)
        raise Interrupt


def test_an_interrupt_that_takes_the_count_of_received_bytes_with_it_poisons(plain):
    with Untold(fileno=os.dup(plain[1].fileno())) as receiver:
        send(plain[0], 1)
        with pytest.raises(Interrupt):
            recv(receiver)
        with pytest.raises(PoisonedError):
            recv(receiver)


def test_interrupts_at_any_moment_leave_no_message_torn(plain, pool):
    sender, receiver = plain

    def drain():
        with contextlib.suppress(EOFError):
            while True:
                got.append(recv(receiver))

    got, known, rng = [], [], random.Random(3)
    drained = pool.submit(drain)
    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for number in range(100):
            timer = threading.Timer(
                rng.random() / 2000, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1)
            )
            try:
                timer.start()
                while True:
                    send(sender, number)
                    known.append(number)
                    while len(known) - len(got) > 100:  # where there is no room, a part of a message may be sent
                        time.sleep(0.0001)
            except Interrupt:
                pass
            finally:
                timer.join()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    sender.shutdown(socket.SHUT_WR)
    drained.result()
    assert got == sorted(got)
    assert len(got) >= len(known) > 0


# Errors that are no fault of the connection's, and errors that are


def test_an_object_that_cannot_be_encoded_leaves_the_socket_usable(pair):
    sender, receiver = pair
    with pytest.raises(EncodeError):
        send(sender, (number for number in range(3)))
    with pytest.raises(HeaderError, match="not one whole message"):
        send_frames(sender, dumps([1, 2])[:1])
    send(sender, "fine")
    assert recv(receiver) == "fine"


def test_a_message_that_cannot_be_decoded_leaves_the_socket_usable(pair):
    sender, receiver = pair
    send_frames(sender, message(10))
    send(sender, "fine")
    with pytest.raises(DecodeError):
        recv(receiver)
    assert recv(receiver) == "fine"


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", {}, HeaderError),
        (bytes(100), {}, HeaderError),
        (bytes(pack(message(1000))), {"limits": Limits(max_total_bytes=100)}, LimitError),
        (bytes(pack(message(100_000))), {"allocate": lambda *_: bytearray(1)}, ValueError),
        (bytes(pack(message(1 << 17))), {"allocate": lambda *_: bytearray(1 << 62)}, MemoryError),
    ],
    ids=["no message", "zeros", "limit", "wrong memory", "no memory"],
)
def test_an_error_inside_a_message_poisons(pair, pool, data, options, error):
    sender, receiver = pair
    sent = pool.submit(sender.sendall, data)
    with pytest.raises(error):
        recv(receiver, **options)
    with contextlib.suppress(OSError):
        sent.result()
    with pytest.raises(PoisonedError, match=f"then {error.__name__}; close it"):
        recv(receiver)
    with pytest.raises(ConnectionError):
        recv_frames(receiver)


# Whom to believe


KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")


def claiming(frames, nbytes):
    """Return the first bytes of a message that says it has so many."""
    packed = bytearray(pack(frames))
    packed[16:24] = nbytes.to_bytes(8, "little")
    return packed


@pytest.mark.parametrize("size", [10, 10_000, 2 * MIB])
def test_signed_messages_are_verified(pair, pool, size):
    sender, receiver = pair
    values = np.random.default_rng(size).random(size // 8)
    sent = pool.submit(send, sender, values, keyring=KEYS)
    np.testing.assert_array_equal(recv(receiver, keyring=KEYS), values)
    assert sent.result() > values.nbytes


def test_what_is_not_signed_is_refused_before_it_is_here(pair):
    sender, receiver = pair
    sender.sendall(claiming(dumps(1), 1 << 60))
    with pytest.raises(AuthenticationError, match="unsigned"):
        recv(receiver, keyring=KEYS)
    with pytest.raises(PoisonedError):
        recv(receiver, keyring=KEYS)


def test_frames_that_are_not_decoded_come_from_a_signer_too(plain):
    sender, receiver = plain
    send(sender, [1], keyring=KEYS)
    assert recv_frames(receiver, keyring=KEYS)
    send(sender, [1])
    with pytest.raises(AuthenticationError, match="unsigned"):
        recv_frames(receiver, keyring=KEYS)


@pytest.mark.parametrize("options", [{"keyring": KEYS}, {"checksum": True}])
def test_a_changed_frame_is_found_when_it_is_decoded(plain, options):
    sender, receiver = plain
    sender.sendall(pack(dumps(np.arange(1000), **options))[:-1].tobytes() + b"\xff")
    with pytest.raises(IntegrityError, match="frame 2 is not what was sent"):
        recv(receiver, keyring=options.get("keyring"))


def test_a_policy_refuses_and_the_next_message_is_received(plain):
    sender, receiver = plain
    send(sender, DecodeError("no data"))
    send(sender, {"data": np.arange(3)})
    with pytest.raises(PolicyError, match="refused global"):
        recv(receiver, policy=DATA)
    np.testing.assert_array_equal(recv(receiver, policy=DATA)["data"], np.arange(3))


def test_a_policy_has_limits_of_its_own_while_a_message_arrives(plain):
    sender, receiver = plain
    sender.sendall(claiming(dumps(1), 5 << 30))
    with pytest.raises(LimitError, match="limit max_total_bytes=4 GiB"):
        recv(receiver, policy=DATA)


def test_limits_that_are_given_hold_beside_those_of_the_policy():
    limits = Limits(max_frames=1)
    for options in ({}, {"policy": DATA}):
        with hanging_up(socket.socketpair()) as (sender, receiver):
            send(sender, 1)
            with pytest.raises(LimitError, match="limit max_frames=1 frames"):
                recv(receiver, limits=limits, **options)
    with hanging_up(socket.socketpair()) as (sender, receiver):
        sender.sendall(claiming(dumps(1), 5 << 30))
        with pytest.raises(LimitError, match="limit max_total_bytes=4 GiB"):
            recv(receiver, limits=limits, policy=DATA)


def test_limits_hold_where_a_message_is_rebuilt_too(plain):
    sender, receiver = plain
    send(sender, [[[[1]]]])
    with pytest.raises(LimitError, match="limit max_depth=3"):
        recv(receiver, policy=DATA, limits=Limits(max_depth=3))
    send(sender, "next")
    assert recv(receiver) == "next"


# What connections need beside


def test_an_abandoned_socket_is_of_no_use_in_either_direction(pair):
    sender, receiver = pair
    abandon(sender, "this socket has had enough")
    for use in (lambda: send(sender, 1), lambda: recv(sender)):
        with pytest.raises(PoisonedError, match=r"^this socket has had enough; close it and connect again$"):
            use()
    with pytest.raises(EOFError):
        recv(receiver)


def test_an_abandoned_socket_goes_on_telling_what_happened_first(plain):
    sender, receiver = plain
    sender.sendall(b"no message at all, and more than enough of it")
    with pytest.raises(HeaderError):
        recv(receiver)
    abandon(receiver, "this socket has had enough")
    with pytest.raises(PoisonedError, match="then HeaderError"):
        recv(receiver)
    with pytest.raises(PoisonedError, match="has had enough"):
        send(receiver, 1)


@pytest.mark.parametrize(
    ("error", "shown", "notes"),
    [
        (DecodeError("why"), "there: why", []),
        (TimeoutError("why"), "why", ["there"]),
        (OSError(1, "why"), "[Errno 1] why", ["there"]),
        (DecodeError("why", 1), "('why', 1)", ["there"]),
        (KeyboardInterrupt(), "", ["there"]),
    ],
)
def test_errors_say_where_they_happened(error, shown, notes):
    tell(error, "there")
    assert str(error) == shown
    assert getattr(error, "__notes__", []) == notes


def test_a_closed_socket_is_an_os_error_and_no_more(plain):
    for end in plain:
        end.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        send(plain[0], 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        recv(plain[1])


def test_a_poisoned_socket_is_kept_alive_by_nothing():
    sender, receiver = socket.socketpair()
    sender.sendall(half(message(100_000)))
    sender.close()
    with pytest.raises(TruncatedError):
        recv(receiver)
    receiver.close()
    watched = weakref.ref(receiver)
    del receiver
    gc.collect()
    assert watched() is None


def test_no_file_descriptor_is_left_behind():
    def talk():
        for frames in (message(10), message(200_000)):
            with hanging_up(socket.socketpair()) as (sender, receiver):
                sender.sendall(half(frames))
                receiver.settimeout(0.001)
                with pytest.raises(TimeoutError):
                    recv(receiver)
                with pytest.raises(TimeoutError):
                    send(receiver, bytes(LARGE))

    talk()
    before = sum(1 for _ in Path("/dev/fd").iterdir())
    for _ in range(10):
        talk()
    assert sum(1 for _ in Path("/dev/fd").iterdir()) == before
