import array
import ctypes
import mmap
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oobcodec.buffers import ALIGNMENT, EMPTY, Extent, address, allocate, flat, padding, span

MAPPED = 2 << 20


def is_frame(view):
    return type(view) is memoryview and (view.format, view.ndim, view.itemsize, view.contiguous) == ("B", 1, 1, True)


@pytest.mark.parametrize(
    "buffer",
    [
        b"bytes",
        bytearray(b"bytearray"),
        array.array("d", [1, 2]),
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(7.0),
        memoryview(np.arange(6)),
        memoryview(b"chars").cast("c"),
        memoryview(b"strided")[2:5],
        (ctypes.c_int * 3)(1, 2, 3),
    ],
    ids=lambda buffer: type(buffer).__name__,
)
def test_flat_is_the_same_memory_as_bytes(buffer):
    view = flat(buffer)
    assert is_frame(view)
    assert view.nbytes == memoryview(buffer).nbytes
    assert view.readonly == memoryview(buffer).readonly
    assert view.tobytes() == memoryview(buffer).tobytes(order="A")
    if memoryview(buffer).ndim:
        assert address(view) == np.asarray(memoryview(buffer)).ctypes.data


def test_flat_gives_back_what_is_a_frame_already():
    view = memoryview(bytearray(10))[3:7]
    assert flat(view) is view


@pytest.mark.parametrize(
    ("buffer", "readonly"),
    [
        (b"", True),
        (bytearray(), False),
        (np.empty((0, 3)), False),
        (np.empty((3, 0, 2), "M8[s]").view("i8"), False),
        (memoryview(np.empty((2, 0))).toreadonly(), True),
    ],
)
def test_flat_of_nothing_is_an_empty_frame(buffer, readonly):
    view = flat(buffer)
    assert is_frame(view)
    assert view.nbytes == 0
    assert view.readonly is readonly


def test_flat_refuses_gaps_and_what_is_no_buffer():
    with pytest.raises(BufferError):
        flat(np.arange(10)[::2])
    with pytest.raises(BufferError):
        flat(memoryview(b"0123456789")[::2])
    with pytest.raises(TypeError):
        flat([1, 2, 3])


@given(st.integers(0, 1 << 70))
def test_padding_reaches_the_next_multiple_of_64(nbytes):
    assert 0 <= padding(nbytes) < ALIGNMENT
    assert (nbytes + padding(nbytes)) % ALIGNMENT == 0


def test_address_is_where_the_first_byte_lies():
    values = np.arange(10, dtype="u1")
    start = values.ctypes.data
    view = memoryview(values)
    assert address(view) == start
    assert address(view[3:]) == start + 3
    assert address(view.toreadonly()) == start
    assert address(view.toreadonly()[3:]) == start + 3


def test_address_leaves_no_export_behind():
    memory = bytearray(10)
    address(memoryview(memory).toreadonly())
    address(memoryview(memory))
    memory.clear()  # a BufferError if anything still looked at it


class Owner(bytearray):
    """A bytearray that a weak reference can watch."""


@pytest.mark.parametrize("readonly", [False, True])
def test_span_is_a_view_that_keeps_its_owners_alive(readonly):
    values = np.arange(100, dtype="u1")
    owners = [Owner(), Owner()]
    watched = [weakref.ref(owner) for owner in owners]
    view = span(values.ctypes.data + 10, 50, owners, readonly=readonly)
    del owners
    assert is_frame(view)
    assert view.readonly is readonly
    assert view.tobytes() == bytes(range(10, 60))
    values[10] = 200
    assert view[0] == 200
    part = np.frombuffer(view, "u1")[20:]
    del view
    assert all(watch() is not None for watch in watched)
    del part
    assert all(watch() is None for watch in watched)


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 4096, MAPPED - 1, MAPPED, MAPPED + 1])
def test_allocated_memory_is_aligned_writable_and_of_the_size(nbytes):
    views = [allocate(nbytes) for _ in range(4)]
    for number, view in enumerate(views):
        assert is_frame(view)
        assert view.nbytes == nbytes
        assert not view.readonly
        assert nbytes == 0 or address(view) % ALIGNMENT == 0
        assert not any(view[:100])
        view[:] = bytes([number]) * nbytes
    assert all(view.tobytes() == bytes([number]) * nbytes for number, view in enumerate(views))


def test_large_memory_goes_back_with_its_last_view():
    view = allocate(MAPPED)
    mapping = weakref.ref(view.obj)
    part = view[100:200]
    del view
    assert mapping() is not None
    del part
    assert mapping() is None


@pytest.mark.parametrize("nbytes", [1 << 62, 1 << 70])
def test_more_than_there_is_is_a_memory_error(nbytes):
    with pytest.raises(MemoryError, match=f"{nbytes:,} bytes"):
        allocate(nbytes)


@pytest.mark.parametrize("missing", [["MADV_HUGEPAGE"], ["MAP_PRIVATE", "MAP_ANONYMOUS"]])
def test_allocates_without_what_not_every_system_has(monkeypatch, missing):
    for name in missing:
        monkeypatch.delattr(mmap, name, raising=False)
    view = allocate(3 << 20)
    assert address(view) % ALIGNMENT == 0
    view[-1] = 7
    assert (view.nbytes, view[0], view[-1]) == (3 << 20, 0, 7)


def test_allocates_where_the_kernel_refuses_the_advice(monkeypatch):
    # No kernel knows this number: it answers EINVAL, as one without transparent huge pages does.
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 9999, raising=False)
    with pytest.raises(OSError, match="Invalid argument"):
        mmap.mmap(-1, 4096).madvise(mmap.MADV_HUGEPAGE)
    assert allocate(3 << 20).nbytes == 3 << 20


def test_an_extent_has_to_say_how_it_is_compacted():
    with pytest.raises(NotImplementedError):
        Extent().compact()


def test_the_empty_frame():
    assert is_frame(EMPTY)
    assert EMPTY.nbytes == 0
