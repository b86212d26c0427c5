"""Huge pages for a file in memory, and what is copied into them."""

import os

import numpy as np
import pytest
from stores import FORKING, MIB, huge_bytes_at, place, store  # noqa: F401  # fixtures

from oobcodec.buffers import address
from oobcodec.store import drafts, pages
from oobcodec.store.pages import HUGE_PAGE, fill, huge_memory, mapped

pytestmark = FORKING

SIZES = [2 * MIB, 2 * MIB + 1, 5 * MIB + 123, 8 * MIB]


@pytest.fixture
def file(place):  # noqa: F811
    """Return a file in memory."""
    descriptor = os.open(place, os.O_RDWR | os.O_TMPFILE)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def memory(file):
    os.truncate(file, 5 * MIB + 123)
    found = huge_memory(file, 5 * MIB + 123)
    if found is None:
        pytest.skip("the kernel makes no huge pages: that needs Linux 6.1 with transparent ones")
    return found


def test_whole_ones_are_made_and_the_rest_is_there(memory, file):
    assert memory.nbytes == 5 * MIB + 123
    assert address(memory) % HUGE_PAGE == 0
    assert huge_bytes_at(address(memory)) == 4 * MIB
    assert os.fstat(file).st_blocks * 512 == 5 * MIB + 4096


def test_memory_is_that_of_the_file(memory, file):
    pieces = [memoryview(os.urandom(size)) for size in (MIB, 1, 3 * MIB + 7)]
    fill(memory[100:], pieces)
    assert os.pread(file, 4 * MIB + 8, 100) == b"".join(pieces)


@pytest.mark.parametrize("private", [False, True])
def test_who_maps_them_has_huge_ones_too(memory, file, private):
    memory[:] = os.urandom(memory.nbytes)
    there = mapped(file, memory.nbytes, private=private)
    assert there == memory
    assert there.readonly is not private
    assert address(there) % HUGE_PAGE == 0
    assert huge_bytes_at(address(there)) == 4 * MIB


def test_what_is_written_to_private_memory_nobody_else_sees(memory, file):
    first, second = mapped(file, memory.nbytes, private=True), mapped(file, memory.nbytes)
    first[:3] = b"abc"
    assert second[:3] == memory[:3] == bytes(3)


def test_what_cannot_be_mapped_is_an_error_of_the_system(file):
    with pytest.raises(OSError, match="Bad file descriptor"):
        mapped(999_999, 10)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        mapped(file, 1 << 62)


def test_of_what_is_smaller_there_are_none(file):
    os.truncate(file, HUGE_PAGE - 1)
    assert huge_memory(file, HUGE_PAGE - 1) is None
    assert os.fstat(file).st_blocks == 0


def refuse(*_, **__):
    raise OSError


@pytest.mark.parametrize(
    ("where", "what", "instead"),
    [
        (pages, "_advise", lambda *_: -1),  # an older kernel, or no pages left
        (pages, "_map", lambda *_: -1),
        (pages.mmap, "mmap", refuse),  # a limit of addresses
        (pages.os, "pwrite", refuse),  # no space
        (pages.os, "posix_fallocate", refuse),
    ],
)
def test_where_there_are_none_nothing_fails(file, monkeypatch, where, what, instead):
    os.truncate(file, 5 * MIB)
    monkeypatch.setattr(where, what, instead)
    assert huge_memory(file, 5 * MIB) is None


def test_objects_are_written_without_them(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pages, "_advise", lambda *_: -1)
    monkeypatch.setattr(drafts, "fill", None)
    data = os.urandom(5 * MIB)
    assert store.get(store.put(data)) == data
    with store.create("a", 5 * MIB) as memory:
        memory[:] = data
    assert store.get("a") == data


@pytest.mark.parametrize("size", SIZES)
def test_objects_are_whole_in_new_pages_and_in_used_ones(store, size):  # noqa: F811
    for _ in range(3):
        data = np.frombuffer(os.urandom(size), np.uint8)
        np.testing.assert_array_equal(store.get(store.put(data, "a")), data)
        with store.empty("b", size, np.uint8) as array:
            array[:] = data
        np.testing.assert_array_equal(store.get("b"), data)
        for key in "ab":
            store.delete(key)


@pytest.mark.usefixtures("memory")
def test_children_that_are_forked_meanwhile_do_not_keep_the_object(store, monkeypatch):  # noqa: F811
    def fill_and_fork(memory, pieces):
        fill(memory, pieces)
        children.append(os.fork())
        if not children[0]:
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)  # it has closed what it is not to have

    children = []
    ready, done = os.pipe(), os.pipe()
    monkeypatch.setattr(drafts, "fill", fill_and_fork)
    store.put(bytes(4 * MIB))
    try:
        assert store.evict(1) > 4 * MIB
    finally:
        os.write(done[1], b"x")
        for child in children:
            os.waitpid(child, 0)
        for end in (*ready, *done):
            os.close(end)
    assert children
