"""Whatever fails on the way: the object arrives whole, or an error says so and nothing wrong comes after it."""

import fcntl
import select
import signal
import socket
import struct
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event, main_thread

import numpy as np
import pytest
from faults.channels import KINDS, NEXT, TIMES, all_of, attempt, equal, opened, over, over_tls, side
from faults.double import ERROR_OF, FAULTS, SHORT, Double, Interrupt

from oobcodec import transfer
from oobcodec.codec import dumps
from oobcodec.errors import PoisonedError, TruncatedError
from oobcodec.packed import pack

MIB = 1 << 20
OBJECTS = {
    "small": {"id": 1, "tags": ["a", None], "at": 0.5},
    "medium": [np.arange(1000.0) + number for number in range(150)],
    "large": {"w": np.random.default_rng(1).random(3 * MIB // 8), "b": np.arange(200_000), "text": "x" * 1000},
}


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


# A fault at each system call, of as many as there are


@pytest.mark.parametrize("size", OBJECTS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_call_of_a_receiver(pool, kind, fault, size):
    obj, happens = OBJECTS[size], FAULTS[fault]
    for number in count(1):
        here, there = socket.socketpair()
        double = Double(there)
        with opened(kind, (here, double), pool) as (near, far):
            pool.submit(lambda near=near: (near.send(obj), near.send(NEXT)))
            double.fail(number, happens)
            got, error = attempt(far.recv)
            happened, begun = double.calls >= number, double.moved > 0
            double.mend()
            if fault in SHORT or not happened:
                assert error is None
            elif fault == "end":
                assert type(error) is (TruncatedError if begun else EOFError)
            else:
                assert type(error) is ERROR_OF.get(fault, Interrupt)
            if error is not None and begun:
                for _ in range(2):
                    with pytest.raises(PoisonedError, match=f"{type(error).__name__}; close it and connect again"):
                        far.recv()
            else:
                assert equal(got if error is None else far.recv(), obj)
                assert far.recv() == NEXT
            if not happened:
                break
    assert number > (1 if kind != "bare" and size == "small" else 2)


# What is written in C does not lose the count of bytes.
@pytest.mark.parametrize("size", OBJECTS)
@pytest.mark.parametrize(
    ("exact", "fault"),
    [*((True, fault) for fault in [*SHORT, *ERROR_OF]), *((False, fault) for fault in [*SHORT, *ERROR_OF, "untold"])],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_call_of_a_sender(pool, monkeypatch, exact, kind, fault, size):  # noqa: PLR0913, PLR0917  # as many parameters as ways
    if exact:
        monkeypatch.setattr(transfer, "_sendmsg", Double.sendmsg)
    obj, total = OBJECTS[size], None
    for number in count():  # at no call, and then at one after the other
        here, there = socket.socketpair()
        double = Double(here)
        with opened(kind, (double, there), pool) as (near, far):
            arriving = pool.submit(all_of, far)
            double.fail(number, FAULTS[fault])
            nbytes, error = attempt(near.send, obj)
            happened, moved = double.calls >= number, double.moved
            double.mend()
            _, refused = attempt(near.send, NEXT)
            near.close()
            objects, end = arriving.result()
        if fault in SHORT or not (number and happened):
            assert error is None
            assert nbytes == moved
            total = moved
        else:
            assert type(error) is ERROR_OF.get(fault, Interrupt)
        usable = error is None or (exact and kind != "keyring" and not moved)
        assert (refused is None) if usable else type(refused) is PoisonedError
        assert equal(objects, [obj] * (moved == total) + [NEXT] * usable)
        assert type(end) is (EOFError if moved in {0, total} else TruncatedError)
        if not happened:
            break
    assert number > (1 if size == "small" else 2)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "untold"])
@pytest.mark.parametrize("kind", ["connection", "keyring"])
def test_a_fault_at_any_call_of_a_hello(pool, kind, fault):
    for number in count(1):
        here, there = socket.socketpair()
        double = Double(here)
        double.fail(number, FAULTS[fault])
        peer = pool.submit(attempt, side, kind, there, "server")
        near, error = attempt(side, kind, double, "client")
        happened = double.calls >= number
        double.mend()
        far, refused = peer.result()
        if error is None:
            assert refused is None
            near.send(NEXT)
            assert far.recv() == NEXT
            near.close()
        else:
            assert type(error) is {**ERROR_OF, "end": TruncatedError}[fault]
            assert double.fileno() < 0
            # It may have heard all of the hello already.
            assert isinstance(refused or attempt(far.recv)[1], EOFError | TruncatedError | ConnectionError)
        if far is not None:
            far.close()
        assert (error is None) == (fault in {*SHORT, "EAGAIN"} or not happened)
        if not happened:
            break
    assert number > 2


def test_a_socket_that_waits_no_longer_says_so_in_the_words_of_the_system(pool):
    ends = socket.socketpair()
    ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
    with opened("bare", ends, pool) as (near, far):
        with pytest.raises(BlockingIOError):  # EAGAIN, of a socket that blocks
            far.recv()
        near.send(NEXT)
        assert far.recv() == NEXT
        ends[0].sendall(pack(dumps(NEXT))[:-1])
        with pytest.raises(BlockingIOError):
            far.recv()
        with pytest.raises(PoisonedError):
            far.recv()


# Real signals, under real calls of the system


@contextmanager
def handled(*, raising, by=signal.SIGUSR1):
    """Give what interrupts the main thread, and waits until it has been."""
    happened = Event()

    def handle(number, frame):
        happened.set()
        if by == signal.SIGPROF and is_traced(frame):
            signal.setitimer(signal.ITIMER_PROF, 1e-6)
        elif raising:
            raise Interrupt

    def interrupt():
        happened.clear()
        time.sleep(0.002)  # in which the call begins to wait
        signal.pthread_kill(main_thread().ident, by)
        assert happened.wait(60)

    previous = signal.signal(by, handle)
    try:
        yield interrupt
    finally:
        signal.signal(by, previous)


def is_traced(frame):
    """Tell whether this is inside of a tracer, which has locks of its own, and would leave them locked."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("coverage"):
            return True
        frame = frame.f_back
    return False


def unread(sock):
    """Return the number of bytes that have arrived on a socket, and were not received."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


@pytest.mark.parametrize("raising", [False, True])
@pytest.mark.parametrize("point", [0, 1, 23, 24, 25, 5000, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_under_a_receiver(pool, kind, point, raising):
    obj, begun = OBJECTS["medium"], Event()
    here, there = socket.socketpair()
    double = Double(here)

    def with_a_pause(call, memory):
        begun.wait()
        nbytes = call(memory[:point]) if point else 0
        while unread(there):
            time.sleep(0.001)
        interrupt()
        return nbytes or call(memory)

    with handled(raising=raising) as interrupt, opened(kind, (double, there), pool) as (near, far):
        double.fail(1, with_a_pause)
        pool.submit(lambda: (near.send(obj), near.send(NEXT)))
        got, error = attempt(lambda: (begun.set(), far.recv())[1])
        assert type(error) is (Interrupt if raising else type(None))
        if raising and point:
            with pytest.raises(PoisonedError):
                far.recv()
        else:
            assert equal(far.recv() if raising else got, obj)
            assert far.recv() == NEXT


@pytest.mark.parametrize("raising", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_under_a_sender(pool, kind, number, raising):
    obj = OBJECTS["large"]
    here, there = socket.socketpair()
    double = Double(there)

    def with_a_pause(call, memory):
        while select.select([], [here], [], 0)[1]:
            time.sleep(0.001)
        interrupt()
        return call(memory)

    with handled(raising=raising) as interrupt, opened(kind, (here, double), pool) as (near, far):
        double.fail(number, with_a_pause)
        arriving = pool.submit(all_of, far)
        _, error = attempt(near.send, obj)
        assert type(error) is (Interrupt if raising else type(None))
        _, refused = attempt(near.send, NEXT)
        assert type(refused) is (PoisonedError if raising else type(None))
        near.close()
        objects, end = arriving.result()
        assert equal(objects, [] if raising else [obj, NEXT])
        assert type(end) is (TruncatedError if raising else EOFError)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_interrupts_at_any_moment_neither_repeat_nor_reorder_messages(pool, secure):
    lost = interrupts = 0
    for _ in range(20 * TIMES):
        with (
            handled(raising=True, by=signal.SIGPROF),
            opened("connection", over_tls() if secure else over("unix"), pool) as (near, far),
        ):
            pool.submit(lambda near=near: [near.send(number) for number in count()])
            got = []
            for _ in range(10):
                number, error = attempt(far.recv)
                if error is not None:
                    assert type(error) is PoisonedError
                    break
                got.append(number)
                try:
                    # By the system's clock of this process, which is for no thread to keep from doing anything.
                    signal.setitimer(signal.ITIMER_PROF, 1e-6)
                    while True:
                        got.append(far.recv())
                except Interrupt:
                    interrupts += 1
            assert got == sorted(set(got))
            lost += got[-1] + 1 - len(got)
    # Each is in the hands of the one whom the interrupt stopped.
    assert lost <= interrupts
