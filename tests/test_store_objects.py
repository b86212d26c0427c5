"""Objects are read or mapped, whatever else is done with their files."""

import errno
import os
import resource
import signal
import threading
from fcntl import LOCK_EX, LOCK_UN, flock, lockf
from pathlib import Path

import numpy as np
import pytest
from stores import FORKING, MIB, descriptors, place, store  # noqa: F401  # fixtures

from oobcodec.errors import StoreError
from oobcodec.store import objects
from oobcodec.store.objects import SMALL, memory_of, statuses, stored

pytestmark = FORKING


def test_small_ones_are_read_and_need_no_descriptor(store):  # noqa: F811
    store.put(np.arange(1000), "a")
    before = descriptors()
    got = store.get("a")
    assert descriptors() == before
    assert not got.flags.writeable
    assert got.ctypes.data % 64 == 0
    assert stored(store._lease.descriptor)[0].pids == ()


def test_large_ones_are_mapped_as_long_as_an_array_lives(store):  # noqa: F811
    store.put({"a": np.arange(SMALL), "b": 1}, "a")
    part = store.get("a")["a"][10:20]
    assert not part.flags.writeable
    assert stored(store._lease.descriptor)[0].pids == (os.getpid(),)
    del part
    assert stored(store._lease.descriptor)[0].pids == ()


def test_private_memory_is_the_callers(store):  # noqa: F811
    for size in (100, SMALL):
        key = str(size)
        store.put(np.zeros(size), key)
        one, other = store.get(key, writable="private"), store.get(key, writable="private")
        one[:] = 1
        assert not other.any()
        assert not store.get(key).any()


def test_use_is_noted(store):  # noqa: F811
    for key in "ab":
        store.put(key, key)
    store.get("a")
    order = sorted(stored(store._lease.descriptor), key=lambda each: each.last_used)
    assert [each.key for each in order] == ["b", "a"]


def test_what_is_being_deleted_is_waited_for(store, monkeypatch):  # noqa: F811
    store.put(bytes(SMALL), "a")
    held = os.open("objects/a", os.O_RDONLY, dir_fd=store._lease.descriptor)
    flock(held, LOCK_EX)

    def done(seconds):
        flock(held, LOCK_UN)
        os.unlink("objects/a", dir_fd=store._lease.descriptor)

    monkeypatch.setattr(objects.time, "sleep", done)
    with pytest.raises(FileNotFoundError):
        memory_of(store._lease.descriptor, "a")
    os.close(held)


def test_file_that_holds_another_object_by_now_is_not_taken_for_this_one(store, monkeypatch):  # noqa: F811
    # What was reproduced: between open and flock the file was deleted and got another content and name.
    store.put(bytes(2 << 20), "a")

    def late(descriptor, operation=LOCK_EX):
        if operation != LOCK_EX and not moved:
            moved.append(
                os.rename(
                    "objects/a", "objects/b", src_dir_fd=store._lease.descriptor, dst_dir_fd=store._lease.descriptor
                )
            )
            store.put(b"1" * (2 << 20), "a")
        return try_lock(descriptor, operation)

    moved = []
    try_lock = objects.try_lock
    monkeypatch.setattr(objects, "try_lock", late)
    assert store.get("a") == b"1" * (2 << 20)
    assert moved


def test_file_whose_name_is_gone_is_looked_for_again(store, monkeypatch):  # noqa: F811
    store.put(bytes(SMALL), "a")

    def late(descriptor, operation=LOCK_EX):
        os.unlink("objects/a", dir_fd=store._lease.descriptor)
        return try_lock(descriptor, operation)

    try_lock = objects.try_lock
    monkeypatch.setattr(objects, "try_lock", late)
    with pytest.raises(FileNotFoundError):
        memory_of(store._lease.descriptor, "a")


def test_too_many_mapped_is_told_with_a_remedy(store):  # noqa: F811
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    store.put(bytes(bytearray(32 * MIB)), "a")
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 1000 * MIB, hard))
    try:
        with pytest.raises(StoreError, match=r"no room for another mapping.*put many small ones as one"):
            [memory_of(store._lease.descriptor, "a") for _ in range(100)]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_mapped_objects_keep_no_descriptor_but_the_lock(store):  # noqa: F811
    store.put(bytes(bytearray(4 * MIB)), "a")
    before = descriptors()
    memory = memory_of(store._lease.descriptor, "a")
    assert descriptors() == before
    assert store.evict(1) == 0
    del memory
    assert store.evict(1) > 4 * MIB


def test_other_errors_are_the_systems(store, monkeypatch):  # noqa: F811
    def failing(*arguments, **options):
        raise OSError(errno.EIO, "broken")

    store.put(bytes(SMALL), "a")
    monkeypatch.setattr(objects, "mapped", failing)
    with pytest.raises(OSError, match="broken"):
        memory_of(store._lease.descriptor, "a")


def test_what_vanishes_while_looked_at_is_left_out(store, monkeypatch):  # noqa: F811
    store.put(1, "a")
    monkeypatch.setattr(objects, "listed", lambda directory, part: ["gone", "a"])
    assert [name for name, _ in statuses(store._lease.descriptor)] == ["a"]


def test_readers_get_whole_objects_while_files_are_used_again(store):  # noqa: F811
    def write():
        for number in range(100):
            store.put(np.full(1 << 18, number), f"{number}")
            if number >= 4:
                store.delete(f"{number - 4}")
        done.set()

    done = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set():
        for key in store:
            try:
                got = store.get(key)
            except KeyError:
                continue
            assert (got == int(key)).all()
            seen += 1
    writer.join()
    assert seen


def test_killed_reader_holds_nothing(store):  # noqa: F811
    store.put(np.zeros(SMALL), "a")
    ready = os.pipe()
    child = os.fork()
    if not child:
        held = store.get("a")
        os.write(ready[1], b"x")
        signal.pause()
        assert held is not None
    os.read(ready[0], 1)
    assert stored(store._lease.descriptor)[0].pids == (child,)
    assert not store.evict("1 GiB")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert stored(store._lease.descriptor)[0].pids == ()
    assert store.evict("1 GiB")
    for end in ready:
        os.close(end)


def test_locks_of_another_kind_map_nothing(store, tmp_path):  # noqa: F811
    store.put(np.zeros(SMALL), "a")
    with (tmp_path / "file").open("w") as file:
        lockf(file, LOCK_EX)
        assert stored(store._lease.descriptor)[0].pids == ()
