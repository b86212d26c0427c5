"""What goes for the next object, what stays, and what is used again."""

import os
import stat
import time

import numpy as np
import pytest
from stores import MIB, parts_of, place, store  # noqa: F401  # fixtures

from oobcodec.errors import StoreFullError
from oobcodec.store import Store, room
from oobcodec.store.accounts import read


def fill(store, *keys, size=10 * MIB, **options):  # noqa: F811
    for key in keys:
        store.put(bytes(size), key, **options)


def test_the_least_recently_used_go_first(store):  # noqa: F811
    fill(store, *"abcdef")
    store.get("a")
    fill(store, "g", "h")
    assert sorted(store) == list("adefgh")
    store.get("d")
    fill(store, "i")
    assert sorted(store) == list("adfghi")


def test_small_ones_go_too(place):  # noqa: F811
    with Store("tests", capacity=20 * 4096, directory=place) as store:  # noqa: F811
        for number in range(50):
            store.put(number, str(number))
        assert sorted(map(int, store)) == list(range(30, 50))


def test_what_is_mapped_or_pinned_stays(store):  # noqa: F811
    fill(store, "pinned", pinned=True)
    fill(store, "mapped", "a", "b", "c")
    held = store.get("mapped", writable="private")
    store.put(np.zeros(MIB), "array")
    array = store.get("array")
    fill(store, *"defghi")
    assert {"pinned", "array"} < set(store)
    assert held == bytes(10 * MIB)
    assert not array.any()


def test_what_was_mapped_goes_later(store):  # noqa: F811
    for key in "abcdef":
        store.put(np.zeros(10 * MIB, "u1"), key)
    held = store.get("a")
    fill(store, "g", "h", "i", "j", "k")
    assert "a" in store
    del held
    fill(store, *"lmnopq")
    assert "a" not in store


def test_full_says_who_holds_what(store):  # noqa: F811
    fill(store, "p", pinned=True)
    for key in "abcde":
        store.put(np.zeros(10 * MIB, "u1"), key)
    held = [store.get(key) for key in "abcde"]
    with pytest.raises(StoreFullError) as caught:
        fill(store, "z")
    text = str(caught.value)
    assert "of 64 MiB are 60.1 MiB used, 10.1 MiB of it pinned" in text
    assert f"(10.1 MiB) by process {os.getpid()}" in text
    assert "and 2 more. Let go of objects" in text
    assert len(held) == len(store) - 1 == 5


def test_what_can_never_fit_evicts_nothing(store):  # noqa: F811
    fill(store, "a", "b")
    with pytest.raises(StoreFullError, match=r"no room for 70\.1 MiB: of 64 MiB .* mapped are none\. "):
        fill(store, "c", size=70 * MIB)
    assert sorted(store) == ["a", "b"]
    assert parts_of(store)["drafts"] == []


def test_one_that_was_mapped_just_now_stays(store, monkeypatch):  # noqa: F811
    for key in "abcdef":
        store.put(np.zeros(10 * MIB, "u1"), key)
    held = []

    def late(accounts, name, **options):
        if not held:
            held.append(store.get("a"))
        remove(accounts, name, **options)

    remove = room.remove
    monkeypatch.setattr(room, "remove", late)
    fill(store, "g")
    assert "a" in store
    assert "b" not in store


def test_the_pages_of_what_is_deleted_are_used_again(store):  # noqa: F811
    fill(store, "a", "b")
    inode = os.stat("objects/a", dir_fd=store._lease.descriptor).st_ino
    store.delete("a")
    assert len(parts_of(store)["free"]) == 1
    assert store.info().recyclable > 10 * MIB
    for size in (9 * MIB, 11 * MIB, 6 * MIB):
        store.put(b"\1" * size, "c")
        status = os.stat("objects/c", dir_fd=store._lease.descriptor)
        assert status.st_ino == inode
        assert stat.S_IMODE(status.st_mode) == 0o400
        assert store.get("c") == b"\1" * size
        store.delete("c")


def test_the_pages_of_what_is_evicted_are_used_again(store):  # noqa: F811
    fill(store, *"abcdef")
    inode = os.stat("objects/a", dir_fd=store._lease.descriptor).st_ino
    fill(store, "g")
    assert os.stat("objects/g", dir_fd=store._lease.descriptor).st_ino == inode


def test_a_much_larger_file_is_not_spoilt(store):  # noqa: F811
    fill(store, "a")
    store.delete("a")
    fill(store, "b", size=2 * MIB)
    assert len(parts_of(store)["free"]) == 1


def test_what_is_free_goes_before_anything_is_evicted(store):  # noqa: F811
    fill(store, *"abcdef")
    for key in "abc":
        store.delete(key)
    fill(store, "g", size=25 * MIB)
    assert sorted(store) == list("defg")
    assert store.info().used <= 64 * MIB


def test_not_more_is_kept_than_is_worth_it(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr(room, "_MOST_FREE", 15 * MIB)
    fill(store, *"abc")
    for key in "abc":
        store.delete(key)
    assert len(parts_of(store)["free"]) == 1
    monkeypatch.setattr(room, "_MOST_FILES", 1)
    fill(store, "d", size=MIB)
    store.delete("d")
    assert len(parts_of(store)["free"]) == 1


def test_what_is_mapped_is_not_used_again_when_it_is_deleted(store):  # noqa: F811
    store.put(np.ones(2 * MIB, "u1"), "a")
    held = store.get("a")
    store.delete("a")
    fill(store, "b", size=2 * MIB)
    assert held.all()


def test_memory_is_given_back(store):  # noqa: F811
    fill(store, *"abcd")
    store.delete("a")
    assert store.evict("1 MiB") > 10 * MIB  # what is free
    assert parts_of(store) == {"objects": ["b", "c", "d"], "drafts": [], "free": []}
    assert store.evict(15 * MIB) > 20 * MIB
    assert store.keys() == ["d"]
    assert store.evict("1 GiB") > 10 * MIB
    assert read(store._lease.descriptor).used == store.evict(1) == 0


def test_a_look_at_all_objects_is_rare(place, monkeypatch):  # noqa: F811
    def counting(descriptor):
        looks.append(time.monotonic())
        return statuses(descriptor)

    looks = []
    statuses = room.statuses
    monkeypatch.setattr(room, "statuses", counting)
    with Store("tests", capacity=100 * 4096, directory=place) as store:  # noqa: F811
        for number in range(400):
            store.put(number)
    assert len(looks) <= 5
