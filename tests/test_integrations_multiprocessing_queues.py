import errno
import os
import queue
import resource
import threading
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from processes import CONTEXTS, LONG, MIB, Refuses, finished, kill, started

from oobcodec import EncodeError
from oobcodec.integrations.multiprocessing import Queue, queues

# Python from 3.12 on, and JAX if another test has imported it, warn of threads: the children here need none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]


@pytest.fixture(params=CONTEXTS)
def context(request):
    return request.param


def put_all(channel, objs):
    for obj in objs:
        channel.put(obj)


def sums(channel, results):
    while (array := channel.get()) is not None:
        results.put((array.shape, float(array.sum())))


@pytest.mark.parametrize("length", [3, 1000, MIB // 8, 20 * MIB // 8])
def test_arrays_reach_another_process_and_come_back(context, length):
    there, back = Queue(mp_context=context), Queue(mp_context=context)
    child = started(context, sums, there, back)
    for value in range(4):
        there.put(np.full(length, float(value)))
    assert [back.get(timeout=LONG) for _ in range(4)] == [((length,), value * length) for value in range(4)]
    there.put(None)
    assert finished(child) == 0


@pytest.mark.parametrize("nbytes", [4000, queues.INLINE, MIB, queues.MAPPED, 2 * queues.MAPPED])
def test_what_arrives_is_writable_aligned_and_not_what_was_put(nbytes):
    channel = Queue()
    array = np.ones(nbytes // 8)
    channel.put(array)
    array[:] = 2  # `put` has taken a snapshot
    received = channel.get(timeout=LONG)
    assert (received == 1).all()
    received += 1
    assert received.__array_interface__["data"][0] % 64 == 0


def test_first_in_first_out_however_large():
    channel = Queue()
    sizes = [1, 10_000, 5 * MIB, 0, 20 * MIB, 100]
    for size in sizes:
        channel.put(bytes(size))
    assert [len(channel.get(timeout=LONG)) for _ in sizes] == sizes


@pytest.mark.parametrize("leaving", [False, True])
def test_what_the_system_does_not_hold_waits_in_the_process(leaving):
    channel = Queue()
    if leaving:
        channel.cancel_join_thread()
    large = np.ones(MIB // 8)
    for number in range(20_000):
        channel.put(number)
    channel.put(large)
    large[:] = 0
    for number in range(20_000):
        assert channel.get(timeout=LONG) == number
    assert channel.get(timeout=LONG).sum() == large.size
    channel.close()
    channel.join_thread()


def consume(channel, results):
    mine = []
    while (number := channel.get()) is not None:
        mine.append(number)
    results.put(mine)


def test_several_producers_and_consumers_lose_and_repeat_nothing(context):
    channel, results = Queue(mp_context=context), Queue(mp_context=context)
    consumers = [started(context, consume, channel, results) for _ in range(3)]
    producers = [started(context, put_all, channel, range(1000 * i, 1000 * i + 1000)) for i in range(3)]
    assert [finished(producer) for producer in producers] == [0, 0, 0]
    put_all(channel, [None] * 3)
    parts = [results.get(timeout=LONG) for _ in consumers]
    assert sorted(chain(*parts)) == list(range(3000))
    for part in parts:
        # What comes from one producer comes in its order.
        assert all(sorted(own) == own for own in ([n for n in part if n // 1000 == i] for i in range(3)))
    assert [finished(consumer) for consumer in consumers] == [0, 0, 0]


def test_a_full_queue_waits_or_says_so():
    channel = Queue(maxsize=2)
    channel.put(1)
    assert (channel.qsize(), channel.full(), channel.empty()) == (1, False, False)
    channel.put_nowait(2)
    assert channel.full()
    with pytest.raises(queue.Full):
        channel.put_nowait(3)
    with pytest.raises(queue.Full):
        channel.put(3, timeout=0.01)
    taker = threading.Timer(0.05, channel.get)
    taker.start()
    channel.put(3)
    taker.join()
    assert [channel.get(), channel.get()] == [2, 3]
    assert (channel.qsize(), channel.full(), channel.empty()) == (0, False, True)


def test_an_empty_queue_waits_or_says_so():
    channel = Queue()
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.01)
    putter = threading.Timer(0.05, channel.put, ["late"])
    putter.start()
    assert channel.get(timeout=LONG) == "late"
    putter.join()


def test_put_raises_what_cannot_be_sent_and_keeps_the_place():
    channel = Queue(maxsize=1)
    with pytest.raises(EncodeError):
        channel.put(threading.Lock())
    channel.put(1, timeout=0)
    assert channel.get() == 1


def test_an_object_that_cannot_be_rebuilt_is_the_error_of_one_get():
    channel = Queue(maxsize=1)
    channel.put(Refuses())
    with pytest.raises(LookupError, match="not here"):
        channel.get(timeout=LONG)
    channel.put(1, timeout=0)
    assert channel.get(timeout=LONG) == 1


def test_a_closed_queue_is_refused_here_and_open_elsewhere(context):
    channel, back = Queue(mp_context=context), Queue(mp_context=context)
    child = started(context, consume, channel, back)
    put_all(channel, [*range(5000), None])
    channel.close()
    for call in (channel.get, lambda: channel.put(1)):
        with pytest.raises(ValueError, match="closed"):
            call()
    channel.join_thread()
    channel.close()
    assert back.get(timeout=LONG) == [*range(5000)]
    assert finished(child) == 0


def test_a_queue_is_given_to_children_only():
    with pytest.raises(RuntimeError, match="inheritance"):
        Queue().put(Queue())


def test_a_process_ends_only_when_what_it_has_put_is_taken(context):
    channel = Queue(mp_context=context)
    child = started(context, put_all, channel, range(5000))
    assert [channel.get(timeout=LONG) for _ in range(5000)] == [*range(5000)]
    assert finished(child) == 0


def put_and_leave(channel, early):
    if early:
        channel.cancel_join_thread()
    put_all(channel, range(5000))
    channel.cancel_join_thread()


@pytest.mark.parametrize("early", [True, False])
def test_a_process_need_not_wait_for_that(context, early):
    channel = Queue(mp_context=context)
    assert finished(started(context, put_and_leave, channel, early)) == 0
    assert channel.get(timeout=LONG) == 0


def put_forever(channel, obj):
    while True:
        channel.put(obj)


def get_forever(channel):
    while True:
        channel.get()


@pytest.mark.parametrize("nbytes", [8000, 4 * MIB])
def test_whoever_is_killed_blocks_nobody_and_damages_nothing(context, nbytes):
    channel = Queue(mp_context=context)
    array = np.ones(nbytes // 8)
    for _ in range(5):
        putter = started(context, put_forever, channel, array)
        getter = started(context, get_forever, channel)
        for _ in range(10):
            assert (channel.get(timeout=LONG) == 1).all()
        kill(getter)
        kill(putter)
    channel.put("last")
    received = None
    while not isinstance(received, str):
        received = channel.get(timeout=LONG)


def descriptors():
    return sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir())


def test_large_objects_leave_nothing_behind():
    channel = Queue()
    before = descriptors()
    for _ in range(5):
        channel.put(np.ones(2 * MIB))
        channel.put(np.ones(20 * MIB // 8))
        assert channel.get().nbytes + channel.get().nbytes == 36 * MIB
    assert descriptors() == before


def test_no_free_file_descriptor_is_an_error_that_says_so():
    channel = Queue(maxsize=1)
    channel.put(np.ones(MIB))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors()[-1] + 1, limits[1]))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        with pytest.raises(OSError, match="which is lost") as caught:
            channel.get()
        assert caught.value.errno == errno.EMFILE
        with pytest.raises(OSError, match="Too many"):
            channel.put(np.ones(MIB))
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    channel.put("next", timeout=0)
    assert channel.get(timeout=LONG) == "next"


def test_what_waits_and_cannot_be_sent_is_told_and_dropped(monkeypatch, capsys):
    channel = Queue()
    sent = channel._sent

    def fail(frames, flags=0):
        if not flags:
            raise OSError(errno.ENOSPC, "no memory for it")
        return False

    monkeypatch.setattr(channel, "_sent", fail)
    channel.put("lost")
    channel.join_thread()
    assert "no memory for it" in capsys.readouterr().err
    assert channel.qsize() == 0
    monkeypatch.setattr(channel, "_sent", sent)
    channel.put("next")
    assert channel.get(timeout=LONG) == "next"
