"""The demo: two real processes, and what happens to them when something goes wrong."""

import os
import pickle
import re
import socket
import sys
import threading
from array import array
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

import oobcodec
from oobcodec import demo, samples
from oobcodec.demo import Item, Outcome

OTHERS: set[str] = set()
RECORDS = next(sample for sample in samples.SAMPLES if sample.name == "records")


LIBRARIES = {
    "pandas": ("DataFrame 100000x6", ""),
    "polars": ("dict", "['frame']"),
    "Arrow": ("Table 300000x3", ""),
    "Arrow slice": ("Table 10x3", ""),
    "state_dict": ("OrderedDict", "['embed.weight']"),
}
if find_spec("torch") is None:
    del LIBRARIES["state_dict"]


@pytest.fixture(scope="module")
def outcome():
    with pytest.MonkeyPatch.context() as context:
        # What is drawn compresses by as much as is worth it, or by a little less.
        context.setattr(demo.secrets, "randbelow", lambda _: 1)
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


@pytest.fixture(scope="module", autouse=True)
def others():
    """Remember the children that tests of other files have left behind, of multiprocessing for example."""
    OTHERS.update(children())


def children():
    """Return the identifiers of this process's children."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread of another test that has just ended
            found.update((task / "children").read_text().split())
    return found


def assert_no_child_left():
    assert not children() - OTHERS


def test_everything_arrives(outcome):
    assert [item.name for item in outcome.items] == [sample.name for sample in samples.SAMPLES if not sample.missing]
    assert {item.name: item.difference for item in outcome.items if item.difference} == {}
    assert outcome.missing == [name for name in ["torch"] if find_spec(name) is None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bytes", Item("bytes", "bytes", 64_000_000, 64_000_000, 0, None, "", "by reference", "")),
        ("records", Item("records", "list of 5 dict", 0, 0, 0, None, "", "in-band", "")),
        (
            "view and base",
            Item("view and base", "dict", 12_000_000, 8_000_000, 0, None, "['base']", "out-of-band, shared", ""),
        ),
        (
            "view alone",
            Item("view alone", "float64 1000x1000", 8_000_000, 8_000_000, 8_000_000, None, "", "compacted", ""),
        ),
        ("broadcast", Item("broadcast", "float64 1000x1000", 8_000_000, 8_000, 0, None, "", "out-of-band", "")),
        ("small arrays", Item("small arrays", "list of 200 ndarray", 16_000, 0, 16_000, None, "", "in-band", "")),
        (
            "tied model",
            Item("tied model", "TiedModel", 8_400_000, 4_000_000, 0, None, ".embedding", "out-of-band, 2 shared", ""),
        ),
        ("closure", Item("closure", "function", 1_000_000, 1_000_000, 0, None, "", "out-of-band", "")),
    ],
)
def test_item_tells_how_it_travelled(outcome, name, expected):
    item = next(item for item in outcome.items if item.name == name)
    assert replace(item, pickled=None) == expected


@pytest.mark.parametrize(("name", "kind", "shared_with"), [(name, *told) for name, told in LIBRARIES.items()])
def test_item_of_a_library(outcome, name, kind, shared_with):
    item = next(item for item in outcome.items if item.name == name)
    assert (item.kind, item.shared_with) == (kind, shared_with)
    assert ("shared" in item.how) == bool(shared_with)
    if name == "Arrow slice":
        assert (item.how, item.out_of_band) == ("in-band", 0)
        assert 0 < item.copied == item.nbytes < 1000
        assert item.pickled > 0
    else:
        assert "out-of-band" in item.how
        assert item.out_of_band > 2_000_000
        assert item.copied < item.out_of_band / 5


def test_race_is_run_with_what_pickle_can_send(outcome):
    assert [item.name for item in outcome.items if item.pickled is None] == ["memoryviews", "closure"]
    assert outcome.raced_nbytes == sum(item.nbytes for item in outcome.items if item.pickled is not None)
    assert [*outcome.seconds] == ["oobcodec", "pickle"]
    assert all(0 < seconds < demo.PATIENCE for seconds in outcome.seconds.values())
    assert all(
        item.pickled >= item.nbytes for item in outcome.items if item.name in {"bytes", "broadcast", "tied model"}
    )


def test_race_with_pickle_is_fair():
    near, far = demo._loopback()
    with near, far:
        assert [end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for end in (near, far)] == [1, 1]


def test_only_what_pickle_refuses_is_not_raced():
    for sample in samples.SAMPLES:
        if not sample.picklable:
            with pytest.raises((TypeError, AttributeError)):
                pickle.dumps(sample.make(1))


def test_no_process_is_left(outcome):
    assert outcome
    assert_no_child_left()


def test_samples_without_their_library_are_left_out(few, monkeypatch):
    libraries = ["no_such_library", "no_such_library json", "json no_other"]
    missing = [RECORDS._replace(name=names, libraries=names) for names in libraries]
    monkeypatch.setattr(samples, "SAMPLES", [RECORDS, *missing])
    outcome = demo.run()
    assert [item.name for item in outcome.items] == ["records"]
    assert outcome.missing == ["no_such_library", "no_other"]


def test_receiver_does_not_believe_what_it_gets(monkeypatch):
    # The second process does not know of the change.
    monkeypatch.setattr(samples, "SAMPLES", [RECORDS._replace(make=lambda _: [{"id": 7}])])
    (item,) = demo.run().items
    assert item.difference


def test_receiver_compares_what_libraries_made(monkeypatch):
    def with_other_data(sample):
        return sample._replace(make=lambda seed: sample.make(seed + 1))

    of_libraries = [with_other_data(sample) for sample in samples.SAMPLES if sample.name in LIBRARIES]
    monkeypatch.setattr(samples, "SAMPLES", of_libraries)
    found = {item.name: "instead of" in item.difference for item in demo.run().items}
    assert found == dict.fromkeys(LIBRARIES, True)


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


def test_how_it_would_be_compressed_is_told():
    zeros, steps = demo._rows({"zeros": array("d", bytes(8_000_000)), "steps": array("q", range(1_000_000))})
    assert demo._compression([zeros]) == "fill, 1 byte: 8000000.0 times"
    assert re.fullmatch(r"lz4, \w+ of 8: [\d.]+ times", demo._compression([steps]))
    assert not demo._compression(demo._rows({"noise": array("B", os.urandom(100_000))}))


def test_nothing_is_told_of_compression_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "blosc2", None)
    assert not demo._compression(demo._rows({"steps": array("q", range(1_000_000))}))
