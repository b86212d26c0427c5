"""Peers that die, drip, talk rubbish or are many, and messages that there is no memory for."""

import json
import pickle
import random
import signal
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from threading import Event, Thread, Timer

import numpy as np
import pytest
from faults.channels import KINDS, NEXT, TIMES, attempt, equal, opened, over, side
from faults.crowd import allow
from helpers import run_module

from oobcodec import sockets
from oobcodec.addresses import parse
from oobcodec.codec import dumps
from oobcodec.errors import AuthenticationError, HeaderError, LimitError, OobError, PoisonedError, TruncatedError
from oobcodec.header import encode
from oobcodec.hello import HELLO_SIZE, new_hello
from oobcodec.packed import pack

NOISE = 8 << 20
"""Bytes that a process may have more after many faults: allocators keep some, and a leak would be of 256 MiB."""


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def measured(name, *arguments):
    """Return what a script of the folder says."""
    done = run_module(f"faults.{name}", *arguments, paths=[Path(__file__).parent])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(120 + 120 * TIMES)
@pytest.mark.parametrize("way", ["recv", "send"])
def test_peers_that_are_killed_at_any_byte(way, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = measured("killed", way, 50 * TIMES)
    opposite = {"recv": "BrokenPipeError", "send": "EOFError"}[way]
    assert len(told["lost"]) >= 50 * TIMES
    for lost in told["lost"]:
        assert lost["signal"] == signal.SIGKILL
        name, text = lost["error"]
        if way == "recv":
            assert name == "TruncatedError"
            assert f"{lost['bytes']:,} of 268,435," in text
        else:
            assert name in {"BrokenPipeError", "ConnectionResetError"}
        assert lost["again"][0] == "PoisonedError"
        assert lost["other way"][0] == ("PoisonedError" if lost["kind"] == "keyring" else opposite)
    assert max(lost["seconds"] for lost in told["lost"]) < 30  # it does not hang
    assert told["grown"]["descriptors"] == 0
    assert told["grown"]["mapped"] < NOISE
    assert told["grown"]["resident"] < NOISE
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts address space")
@pytest.mark.parametrize("kind", KINDS)
def test_what_there_is_no_memory_for_is_refused_and_the_process_lives(pool, kind):
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = pool.submit(measured, "starved", kind, server.getsockname()[1])
        first, second = (side(kind, server.accept()[0], "server") for _ in range(2))
    with closing(first), closing(second):
        second.send(NEXT)
        with pytest.raises(ConnectionError):
            first.send(np.zeros(1 << 30, "u1"))
        assert told.result()["next"] == NEXT
    assert "frame 2 declares 1 GiB, more memory than this process can get" in told.result()["text"]
    assert "Limits(max_total_bytes=...)" in told.result()["text"]


def raw(side):
    """Return the socket of one side, for what it would never send by itself."""
    return side._sock


def refused(side, *errors):
    """Let one side refuse what has arrived, and return whether it still sends."""
    with pytest.raises(errors) as caught:
        side.recv()
    with pytest.raises(PoisonedError, match=f"{caught.typename}; close it and connect again"):
        side.recv()
    return type(attempt(side.send, NEXT)[1]) is not PoisonedError


def hello_of_tls():
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="peer.example").do_handshake()
    return outgoing.read()


RUBBISH = {
    "http": b"GET / HTTP/1.1\r\nHost: peer.example\r\n\r\n",
    "tls": hello_of_tls(),
    "random bytes": random.Random(1).randbytes(100_000),
    "zeros": bytes(100),
    "another version": b"OOB\x02" + bytes(20),
    "a second hello": new_hello(listening=False, signing=True).encode(),
    "a pickle": pickle.dumps(list(range(1000))),
}


@pytest.mark.parametrize("rubbish", RUBBISH)
@pytest.mark.parametrize("kind", KINDS)
def test_rubbish_is_refused(pool, kind, rubbish):
    with opened(kind, over("unix"), pool) as (near, far):
        near.send(NEXT)
        raw(near).sendall(RUBBISH[rubbish])
        assert far.recv() == NEXT
        assert refused(far, HeaderError, AuthenticationError) is (kind != "keyring")


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_declares_more_than_there_can_be_is_refused(pool, kind):
    nbytes = 1 << 60
    first = encode("pickle", None, (8, nbytes), 1, ((2, 0, nbytes, False),))
    with opened(kind, over("unix"), pool) as (near, far):
        raw(near).sendall(first + bytes(-len(first) % 64 + 64))
        error = AuthenticationError if kind == "keyring" else LimitError
        assert refused(far, error) is (kind != "keyring")


@contextmanager
def dripping(sock, data, every):
    """Send a byte after the other."""
    done = Event()

    def drip():
        with suppress(OSError):
            for byte in data:
                sock.sendall(bytes([byte]))
                if done.wait(every):
                    break

    thread = Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


MESSAGE = bytes(pack(dumps(np.arange(20.0))))


@pytest.mark.parametrize("kind", ["bare", "connection"])
def test_a_peer_that_drips_has_the_timeout_for_each_byte(pool, kind):
    ends = over("unix")
    with opened(kind, ends, pool) as (_, far):
        ends[1].settimeout(1)
        begin = time.monotonic()
        with dripping(ends[0], MESSAGE, 1.2 / len(MESSAGE)):
            assert equal(far.recv(), np.arange(20.0))
        assert time.monotonic() - begin > 1  # or nothing was shown


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_that_drips_too_slowly_is_a_timeout(pool, kind):
    ends = over("unix")
    with opened(kind, ends, pool) as (_, far):
        ends[1].settimeout(0.1)
        with dripping(ends[0], MESSAGE, 1):
            refused(far, TimeoutError)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_ends_what_drips(pool, kind):
    with opened(kind, over("unix"), pool) as (near, far), dripping(raw(near), MESSAGE, 0.2):
        timer = Timer(0.1, far.close)
        timer.start()
        with pytest.raises((TruncatedError, OSError)):
            far.recv()
        timer.join()


@pytest.mark.parametrize("part", [0, 1, HELLO_SIZE // 2, HELLO_SIZE - 1])
def test_half_a_hello_is_a_timeout_and_keeps_nobody_waiting(pool, part):
    hello = new_hello(listening=False, signing=False).encode()
    with (
        sockets.listen("127.0.0.1:0", hello_timeout=0.5) as listener,
        socket.create_connection(parse(listener.address)) as slow,
    ):
        slow.sendall(hello[:part])
        connecting = pool.submit(sockets.connect, listener.address)
        with listener.accept(60) as far, connecting.result() as near:
            near.send(NEXT)
            assert far.recv() == NEXT
        with pytest.raises(OobError, match=r"no hello within 0.5 s"):
            listener.accept(60)


CLIENTS = 1000 * TIMES


@pytest.mark.skipif(not allow(CLIENTS + 100), reason=f"no process may have {CLIENTS:,} file descriptors here")
def test_a_thousand_connections_at_a_time():
    with sockets.listen("127.0.0.1:0", backlog=1000) as listener, ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(run_module, "faults.crowd", listener.address, CLIENTS, paths=[Path(__file__).parent])
        selector = stack.enter_context(DefaultSelector())
        for _ in range(CLIENTS):
            selector.register(stack.enter_context(listener.accept(60)), EVENT_READ)
        answered = 0
        while answered < CLIENTS:
            ready = selector.select(60)
            assert ready
            for key, _ in ready:
                key.fileobj.send(key.fileobj.recv())
                selector.unregister(key.fileobj)
                answered += 1
        assert crowd.result().returncode == 0, crowd.result().stderr


@pytest.mark.timeout(120 * TIMES)
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_small_messages_one_by_one_arrive_in_order(pool, family):
    numbers = range(100_000 * TIMES)
    with opened("connection", over(family), pool) as (near, far):
        sending = pool.submit(lambda: [near.send(number) for number in numbers])
        assert all(far.recv() == number for number in numbers)
        sending.result()
        near.close()
        with pytest.raises(EOFError):
            far.recv()
