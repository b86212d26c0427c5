"""A file becomes an object when it is complete, or nothing."""

import errno
import os
from functools import partial

import numpy as np
import pytest
from interrupts import At, Interrupt
from stores import MIB, mounted, parts_of, place, store  # noqa: F401  # fixtures

from oobcodec.errors import KeyExistsError, StoreError, StoreFullError
from oobcodec.store import Store, drafts
from oobcodec.store.accounts import charged, read
from oobcodec.store.drafts import draft

NOTHING = {"objects": [], "drafts": [], "free": []}


def full_disk(monkeypatch, name, times, before=1):
    """Let the file system be full the next few times."""

    def failing(*arguments):
        calls.append(1)
        if before < len(calls) <= before + times:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    calls = []
    real = getattr(os, name)
    monkeypatch.setattr(os, name, failing)


@pytest.fixture
def small_pages(monkeypatch):
    """Let there be no huge ones."""
    monkeypatch.setattr(drafts, "huge_memory", lambda *_, **__: None)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(("size", "write"), [(100, "write"), (3 * MIB, "writev")])
def test_full_file_system_is_a_clear_error_and_nothing_is_left(store, size, write, monkeypatch):  # noqa: F811
    full_disk(monkeypatch, write, 1000, before=size // (2 * MIB))
    with pytest.raises(StoreFullError, match=r"no space for .*: the file system of the store has .* left.*directory="):
        store.put(bytes(size), "a")
    assert parts_of(store) == NOTHING
    assert store.info().used == 0


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(("size", "write"), [(100, "write"), (3 * MIB, "writev")])
def test_full_file_system_has_what_can_be_evicted_evicted(store, size, write, monkeypatch):  # noqa: F811
    store.put(bytes(5 * MIB), "old")
    full_disk(monkeypatch, write, 1, before=size // (2 * MIB))
    data = os.urandom(size)
    store.put(data, "new")
    assert store.keys() == ["new"]
    assert store.get("new") == data


@pytest.mark.usefixtures("small_pages")
def test_full_file_system_refuses_memory_before_it_is_filled(store, monkeypatch):  # noqa: F811
    full_disk(monkeypatch, "posix_fallocate", 1, before=0)
    with pytest.raises(StoreFullError), store.create("a", 3 * MIB):
        pytest.fail("there is no such memory")
    assert parts_of(store) == NOTHING


@pytest.mark.parametrize("size", [100, 5 * MIB, 12 * MIB])
def test_file_system_that_is_smaller_than_the_store_ends_no_process(tmp_path, size):
    with mounted(tmp_path / "memory", "size=8m") as path, Store("tests", capacity=64 * MIB, directory=path) as store:  # noqa: F811
        for number in range(5):
            store.put(np.full(3 * MIB, number, np.uint8), str(number))
        assert set(store) == {"3", "4"}
        put = partial(store.put, np.ones(size, np.uint8), "new")
        if size > 8 * MIB:
            with pytest.raises(StoreFullError, match=r"no space for 12\.1 MiB"):
                put()
            with pytest.raises(StoreFullError), store.create("new", size):
                pytest.fail("there is no such memory")
        else:
            put()
            assert store.get("new").sum() == size
        assert parts_of(store)["drafts"] == []


def fill_up(store, size):  # noqa: F811
    for _ in range(16):
        store.put(bytes(size), pinned=True)


@pytest.mark.parametrize("size", [100, 200_000])
def test_file_system_without_inodes_says_so(tmp_path, size):
    with mounted(tmp_path / "memory", "size=8m,nr_inodes=16") as path, Store("tests", directory=path) as store:  # noqa: F811
        with pytest.raises(
            StoreFullError, match=r"no inode for another object: .* has 16, all in use.*nr_inodes="
        ) as caught:
            fill_up(store, size)
        with pytest.raises(StoreFullError, match="no inode"):
            fill_up(store, 100)
        with pytest.raises(StoreFullError, match="no inode"):
            fill_up(store, 200_000)
        assert str(caught.value).startswith("store 'tests', key '")
        assert parts_of(store)["drafts"] == []
        assert store.info().used == sum(charged(each.nbytes) for each in store.objects())
        with pytest.raises(StoreFullError, match=r"no memory or no inode for a store in .*: choose another"):
            Store("another", directory=path)
        for key in store.keys()[:2]:  # a large one has two names for a moment
            store.pin(key, pinned=False)
        assert store.get(store.put(bytes(size))) == bytes(size)


def test_other_errors_are_the_systems(store, monkeypatch):  # noqa: F811
    def failing(*arguments):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "writev", failing)
    with pytest.raises(OSError, match="broken"):
        store.put(bytes(MIB), "a")
    assert parts_of(store) == NOTHING
    assert store.info().used == 0


def test_of_two_at_a_time_the_first_to_be_complete_stays(store):  # noqa: F811
    with pytest.raises(KeyExistsError), store.create("a", MIB):
        store.put(np.ones(MIB), "a")
    assert store.get("a").all()
    assert parts_of(store) == {"objects": ["a"], "drafts": [], "free": []}


@pytest.mark.parametrize("size", [MIB, 5 * MIB])
def test_mapped_memory_is_nobody_elses_after_it_was_published(store, size):  # noqa: F811
    with draft(store._lease.descriptor, store._room, size) as new:
        memory = new.map()
        memory[:] = b"\1" * size
        new.publish("a")
    assert store.objects()[0].pids == (os.getpid(),)
    store.delete("a")
    store.put(bytes(size), "b")
    assert bytes(memory) == b"\1" * size
    assert parts_of(store)["free"] == []


def test_what_was_put_is_in_nobodys_memory(store):  # noqa: F811
    for size in (MIB, 5 * MIB):
        store.put(bytes(size))
    assert [each.pids for each in store.objects()] == [(), ()]


def test_destroyed_meanwhile(store):  # noqa: F811
    with pytest.raises(StoreError, match="the store has been destroyed"), store.create("a", MIB):
        Store.destroy("tests", store.directory)


def test_destroyed_just_after(store):  # noqa: F811
    with draft(store._lease.descriptor, store._room, MIB) as new:
        new.publish("a")
        Store.destroy("tests", store.directory)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # but not to be closed
@pytest.mark.parametrize("size", [100, 200_000, 3 * MIB])
def test_an_interrupt_anywhere_leaves_all_or_nothing(store, size):  # noqa: F811
    data = bytes(size)
    number = 0
    interrupted = True
    while interrupted:
        number += 1
        interrupted = False
        try:
            with At(number):
                store.put(data, "a")
        except Interrupt:
            interrupted = True
        used = store.info().used
        assert parts_of(store)["drafts"] == []
        if "a" in store:
            assert store.get("a") == data
            store.delete("a")
        else:
            assert used == 0
        store.evict(4 * MIB)  # what is kept for the next one
        assert read(store._lease.descriptor).used == 0
    assert number > 50


def test_key_error_has_a_remedy():
    assert "delete it first" in str(drafts._key_exists())
