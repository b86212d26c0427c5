"""A file becomes an object when it is complete, or nothing."""

import errno
import os

import numpy as np
import pytest
from interrupts import At, Interrupt
from stores import MIB, parts_of, place, store  # noqa: F401  # fixtures

from oobcodec.errors import KeyExistsError, StoreError, StoreFullError
from oobcodec.store import Store, drafts
from oobcodec.store.accounts import read
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


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_full_file_system_is_a_clear_error_and_nothing_is_left(store, size, monkeypatch):  # noqa: F811
    full_disk(monkeypatch, "writev", 1000, before=size // (2 * MIB))
    with pytest.raises(StoreFullError, match=r"no space for .*: the file system of the store has .* left.*directory="):
        store.put(bytes(size), "a")
    assert parts_of(store) == NOTHING
    assert store.info().used == 0


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_full_file_system_has_what_can_be_evicted_evicted(store, size, monkeypatch):  # noqa: F811
    store.put(bytes(5 * MIB), "old")
    full_disk(monkeypatch, "writev", 1, before=size // (2 * MIB))
    data = os.urandom(size)
    store.put(data, "new")
    assert store.keys() == ["new"]
    assert store.get("new") == data


def test_full_file_system_refuses_memory_before_it_is_filled(store, monkeypatch):  # noqa: F811
    full_disk(monkeypatch, "posix_fallocate", 1, before=0)
    with pytest.raises(StoreFullError), store.create("a", 3 * MIB):
        pytest.fail("there is no such memory")
    assert parts_of(store) == NOTHING


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


def test_mapped_memory_is_nobody_elses_after_it_was_published(store):  # noqa: F811
    with draft(store._store, store._room, MIB) as new:
        memory = new.map()
        memory[:] = b"\1" * MIB
        new.publish("a")
    store.delete("a")
    store.put(bytes(MIB), "b")
    assert bytes(memory) == b"\1" * MIB


def test_destroyed_meanwhile(store):  # noqa: F811
    with pytest.raises(StoreError, match="the store has been destroyed"), store.create("a", MIB):
        Store.destroy("tests", store.directory)


def test_destroyed_just_after(store):  # noqa: F811
    with draft(store._store, store._room, MIB) as new:
        new.publish("a")
        Store.destroy("tests", store.directory)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # but not to be closed
@pytest.mark.parametrize("size", [100, 200_000])
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
        assert read(store._store).used == 0
    assert number > 50


def test_key_error_has_a_remedy():
    assert "delete it first" in str(drafts.key_exists())
