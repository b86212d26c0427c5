"""The demo: two real processes, and what happens to them when something goes wrong."""

import os
import pickle
import socket
import sys
import threading

import pytest

import oobcodec
from oobcodec import demo, samples
from oobcodec.demo import Item, Outcome

RECORDS = next(sample for sample in samples.SAMPLES if sample.name == "records")


@pytest.fixture(scope="module")
def outcome():
    return demo.run()


@pytest.fixture
def few(monkeypatch):
    """Have a batch that is made in no time."""
    monkeypatch.setattr(samples, "SAMPLES", [RECORDS])


@pytest.fixture
def executable(monkeypatch, tmp_path):
    """Have a shell script started instead of Python."""

    def become(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))

    return become


def assert_no_child_left():
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_everything_arrives(outcome):
    assert [item.name for item in outcome.items] == [sample.name for sample in samples.SAMPLES]
    assert {item.name: item.difference for item in outcome.items if item.difference} == {}
    assert outcome.missing == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bytes", Item("bytes", "bytes", 64_000_000, 64_000_000, 0, "", "by reference", "")),
        ("records", Item("records", "list of 5 dict", 0, 0, 0, "", "in-band", "")),
        (
            "view and base",
            Item("view and base", "dict", 12_000_000, 8_000_000, 0, "['base']", "out-of-band, shared", ""),
        ),
        ("view alone", Item("view alone", "float64 1000x1000", 8_000_000, 8_000_000, 8_000_000, "", "compacted", "")),
        ("broadcast", Item("broadcast", "float64 1000x1000", 8_000_000, 8_000, 0, "", "out-of-band", "")),
        ("small arrays", Item("small arrays", "list of 200 ndarray", 16_000, 0, 16_000, "", "in-band", "")),
        (
            "tied model",
            Item("tied model", "TiedModel", 8_400_000, 4_000_000, 0, ".embedding", "out-of-band, 2 shared", ""),
        ),
        ("closure", Item("closure", "function", 1_000_000, 1_000_000, 0, "", "out-of-band", "")),
    ],
)
def test_item_tells_how_it_travelled(outcome, name, expected):
    assert next(item for item in outcome.items if item.name == name) == expected


def test_race_is_run_with_what_pickle_can_send(outcome):
    assert outcome.not_raced == ["memoryviews", "closure"]
    assert outcome.raced_nbytes == sum(item.nbytes for item in outcome.items if item.name not in outcome.not_raced)
    assert [*outcome.seconds] == ["oobcodec", "pickle"]
    assert all(0 < seconds < demo.PATIENCE for seconds in outcome.seconds.values())


def test_only_what_pickle_refuses_is_not_raced():
    for sample in samples.SAMPLES:
        if not sample.picklable:
            with pytest.raises((TypeError, AttributeError)):
                pickle.dumps(sample.make(1))


def test_no_process_is_left(outcome):
    assert outcome
    assert_no_child_left()


def test_samples_without_their_library_are_left_out(few, monkeypatch):
    missing = RECORDS._replace(name="other", library="no_such_library")
    monkeypatch.setattr(samples, "SAMPLES", [RECORDS, missing])
    outcome = demo.run()
    assert [item.name for item in outcome.items] == ["records"]
    assert outcome.missing == {"no_such_library": ["other"]}


def test_receiver_does_not_believe_what_it_gets(monkeypatch):
    # The second process does not know of the change.
    monkeypatch.setattr(samples, "SAMPLES", [RECORDS._replace(make=lambda _: [{"id": 7}])])
    (item,) = demo.run().items
    assert item.difference


def test_receiver_misses_what_does_not_come(few):
    assert demo._differences({}, 1)["records"] == "type of it is <class 'NoneType'> instead of <class 'list'>"


def test_receiver_takes_part_to_the_end(few):
    near, far = demo._loopback()
    thread = threading.Thread(target=demo.receive, args=(far.detach(), 1))
    thread.start()
    with near:
        oobcodec.sockets.send(near, {"records": RECORDS.make(1)})
        assert oobcodec.sockets.recv(near) == {"records": ""}
        seconds = demo._race(near, [b"x" * 100_000])
        assert near.recv(1) == b""
    thread.join()
    assert len(seconds) == 2


def test_stock_receiver_notices_the_end():
    near, far = demo._loopback()
    with near, far:
        near.sendall((10).to_bytes(8, "little") + b"half")
        near.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            demo._recv_stock(far)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", r"the receiving process ended too early \(exit status 3\)$"),
        ("exit 0", r"the receiving process ended too early \(exit status 0\)$"),
        ("printf 'Traceback\nboom\n' >&2; exit 1", r"ended too early \(exit status 1\): boom$"),
        ("kill -9 $$", r"ended too early \(SIGKILL\)$"),
    ],
)
def test_receiver_that_dies(few, executable, script, message):
    executable(script)
    with pytest.raises(ChildProcessError, match=message):
        demo.run()
    assert_no_child_left()


def test_receiver_that_falls_silent(few, executable, monkeypatch):
    executable("exec sleep 60")
    monkeypatch.setattr(demo, "PATIENCE", 0.1)
    with pytest.raises(ChildProcessError, match=r"the receiving process has not answered for 0\.1 s$"):
        demo.run()
    assert_no_child_left()


def test_receiver_that_cannot_start(few, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(ChildProcessError, match=r"cannot start a second process with '.*nothing': .*No such file"):
        demo.run()


def test_interrupt_ends_the_receiver(executable):
    executable("exec sleep 60")
    with pytest.raises(KeyboardInterrupt), demo._receiver(1):
        raise KeyboardInterrupt
    assert_no_child_left()


def test_stranger_on_the_port_is_refused(monkeypatch):
    connect = socket.create_connection
    strangers = []

    def second(address):
        strangers.append(connect(address))
        return connect(address)

    monkeypatch.setattr(socket, "create_connection", second)
    with pytest.raises(ConnectionRefusedError, match="a stranger has connected from"):
        demo._loopback()
    strangers[0].close()


def test_outcome_is_plain_data(outcome):
    assert oobcodec.loads(oobcodec.dumps(outcome)) == outcome
    assert isinstance(outcome, Outcome)
