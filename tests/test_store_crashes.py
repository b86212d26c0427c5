"""Processes that are killed at 100 random points of all that they can do with a store."""

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import time

import numpy as np
from processes import finished, kill, started
from stores import FORKING, MIB, mounted, parts_of, place, store  # noqa: F401  # fixtures

from oobcodec.errors import KeyExistsError, NoSuchKeyError, StoreError, StoreFullError
from oobcodec.store import Store
from oobcodec.store.accounts import charged

pytestmark = FORKING

FORK = multiprocessing.get_context("fork")
CAPACITY = 16 * MIB
SIZES = [0, 100, 10_000, 100_000, 2 * MIB, 3 * MIB]
KILLS = 100
LONGEST = 0.05  # seconds from one to the next
WRONG = 3  # an exit status
MAY_HAPPEN = KeyExistsError, NoSuchKeyError, StoreFullError


# What the processes do. A key tells what the object is.


def new_key():
    return f"{random.randrange(256)} {random.choice(SIZES)} {random.getrandbits(16)}"


def is_whole(array, key):
    value, size, _ = map(int, key.split())
    return array.shape == (size,) and bool((array == value).all())


def put(store):  # noqa: F811
    key = new_key()
    value, size, _ = map(int, key.split())
    store.put(np.full(size, value, np.uint8), key, exist_ok=random.random() < 0.5, pinned=random.random() < 0.01)


def create(store):  # noqa: F811
    key = new_key()
    value, size, _ = map(int, key.split())
    with store.empty(key, size, np.uint8) as array:
        for part in np.array_split(array, 10):
            part[:] = value


def read(store):  # noqa: F811
    for key in store:
        with contextlib.suppress(NoSuchKeyError):
            if not is_whole(store.get(key), key):
                os._exit(WRONG)


def remove(store):  # noqa: F811
    for key in store.keys()[::4]:
        store.delete(key)
    store.evict(MIB)


def attach(store):  # noqa: F811
    with Store("of one process", directory=store.directory) as other, contextlib.suppress(StoreError):
        other.put(bytes(MIB))
    Store("tests", directory=store.directory, create=False).close()


def repeat(act, directory, stop=None):
    random.seed(os.urandom(8))
    store = Store("tests", directory=directory, create=False)  # noqa: F811
    for turn in itertools.count():
        if stop is not None and stop.is_set() and turn:
            return
        with contextlib.suppress(*MAY_HAPPEN):
            act(store)


def hold(directory, stop):
    """Keep one object mapped, and look at it all the time."""
    with Store("tests", directory=directory, create=False) as store:  # noqa: F811
        held = store.get("held")
    while not stop.is_set():
        if not (held == 1).all():
            os._exit(WRONG)


ACTS = [put, put, create, create, read, remove, attach]


def kill_at_random(store, times):  # noqa: F811
    """Kill processes and start others in their place, and look at all objects after each."""
    victims = [(act, started(FORK, repeat, act, store.directory)) for act in ACTS]
    try:
        for _ in range(times):
            time.sleep(random.uniform(0, LONGEST))
            chosen = random.randrange(len(victims))
            act, victim = victims[chosen]
            assert victim.is_alive(), "what is to be killed has failed by itself"
            kill(victim)
            for key in store:
                with contextlib.suppress(NoSuchKeyError):
                    assert is_whole(store.get(key), key)
            victims[chosen] = act, started(FORK, repeat, act, store.directory)
    finally:
        for _, victim in victims:
            victim.kill()
            victim.join()


def test_no_object_is_ever_torn_and_nobody_else_is_disturbed(place):  # noqa: F811
    with Store("tests", directory=place, capacity=CAPACITY) as store:  # noqa: F811
        store.put(np.ones(2 * MIB, np.uint8), "held", pinned=True)
        stop = FORK.Event()
        holder = started(FORK, hold, place, stop)
        while not any(each.pids for each in store.objects()):
            time.sleep(0.01)
        store.delete("held")
        bystanders = [started(FORK, repeat, act, place, stop) for act in (read, put)]
        try:
            kill_at_random(store, KILLS)
        finally:
            stop.set()
        assert [finished(each) for each in (holder, *bystanders)] == [0, 0, 0]

        # No lock is stuck, all that is there is accounted for, and what was being written is gone.
        info = store.info()
        names = parts_of(store)
        assert names["drafts"] == []
        assert info.used - info.recyclable == sum(charged(each.nbytes) for each in store.objects())
        assert info.objects == len(names["objects"])
        for key in store:
            store.delete(key)
        store.evict(CAPACITY)
        assert parts_of(store) == {"objects": [], "drafts": [], "free": []}
        assert store.info().used == 0
        store.put(np.ones(CAPACITY - MIB, np.uint8))
    assert Store.gc(place) == []
    assert Store.list(place) == []


def test_memory_of_killed_processes_is_all_given_back(tmp_path):
    with mounted(tmp_path / "memory", "size=64m") as path:
        for clean in (lambda: Store.gc(path), lambda: Store("another", directory=path).close()):
            before = used(path)
            process = started(FORK, repeat_all, path)
            while used(path) < before + 8 * MIB:
                time.sleep(0.001)
            kill(process)
            assert used(path) > before
            assert Store.list(path) == ["tests"]
            clean()
            assert used(path) - before <= 4096, "more than the directory of this user is left"
            assert Store.list(path) == []


def repeat_all(directory):
    with Store("tests", directory=directory, capacity=CAPACITY) as store:  # noqa: F811
        for _ in itertools.count():
            for act in (put, create):
                with contextlib.suppress(*MAY_HAPPEN):
                    act(store)


def used(path):
    system = os.statvfs(path)
    return (system.f_blocks - system.f_bfree) * system.f_frsize


def test_an_object_whose_writer_was_killed_after_it_was_complete_counts_once(store):  # noqa: F811
    with store.create("another", MIB):
        child = os.fork()
        if not child:
            os.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
            store.put(np.ones(MIB, np.uint8), "x")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert len(parts_of(store)["drafts"]) == 2
        store.delete("x")
        assert len(parts_of(store)["drafts"]) == 1
    store.delete("another")
    info = store.info()
    assert (info.used, info.objects) == (info.recyclable, 0)


def test_a_store_that_is_removed_while_it_is_being_made_is_made_again(place, monkeypatch):  # noqa: F811
    make = os.mkdir

    def make_and_remove(path, mode, *, dir_fd=None):
        make(path, mode, dir_fd=dir_fd)
        if path == "a":
            monkeypatch.setattr(os, "mkdir", make)
            assert Store.gc(place) == ["a"]

    with Store("another", directory=place):
        monkeypatch.setattr(os, "mkdir", make_and_remove)
        with Store("a", directory=place) as store:
            assert store.get(store.put(1)) == 1
