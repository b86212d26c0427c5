import gc
import itertools
import threading
import weakref
from pickle import PickleBuffer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oobcodec.buffers import Extent, address, flat
from oobcodec.sharing import COPIED, place


def view(array):
    return PickleBuffer(array).raw()


def received(frames, placements, first=1):
    """Return each buffer as it is cut from the frames."""
    return [frames[frame - first][offset : offset + length] for frame, offset, length, _ in placements]


def memory_of(views):
    return [(address(view), view.nbytes) for view in views]


def extent(array, *, step):
    """Return the extent of ``array[::step]`` as a view, and what is left of it if it is compacted."""
    elements = array[::step]
    last = (len(elements) - 1) * step + 1
    gappy = array[:last].view(np.uint8).view(_Extent)
    gappy.elements = elements
    return view(gappy), elements


class _Extent(np.ndarray, Extent):
    def compact(self):
        return np.ascontiguousarray(self.elements)


# One frame a memory


@pytest.mark.parametrize("writeable", [True, False])
def test_single_buffer_is_its_own_frame(writeable):
    array = np.arange(1000)
    array.flags.writeable = writeable
    only = view(array)
    frames, placements = place([only], 5)
    assert frames == [only]
    assert frames[0] is only
    assert placements == ((5, 0, 8000, not writeable),)


def test_buffers_apart_are_frames_in_their_order():
    arrays = [np.full(200, i) for i in range(5)]
    views = [view(array) for array in arrays]
    frames, placements = place(views, 2)
    assert [frame is view for frame, view in zip(frames, views, strict=True)] == [True] * 5
    assert placements == tuple((2 + i, 0, 1600, False) for i in range(5))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_overlap_in_any_order(order):
    base = np.arange(4000, dtype=np.uint8)
    slices = [(0, 2000), (500, 1500), (1000, 3000), (2999, 4000)]
    arrays = [base[slice(*slices[i])] for i in order]
    frames, placements = place([view(array) for array in arrays], 1)
    assert memory_of(frames) == [(base.ctypes.data, 4000)]
    assert placements == tuple((1, slices[i][0], slices[i][1] - slices[i][0], False) for i in order)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_overlap_of_memoryviews(order):
    base = bytearray(range(250)) * 20
    slices = [(0, 3000), (100, 200), (2500, 5000)]
    views = [view(memoryview(base)[slice(*slices[i])]) for i in order]
    frames, placements = place(views, 1)
    assert memory_of(frames) == memory_of([memoryview(base)])
    assert received(frames, placements) == [base[slice(*slices[i])] for i in order]


def test_same_memory_twice_is_one_frame():
    array = np.arange(500)
    frames, placements = place([view(array), view(array.view("i4")), view(array)], 1)
    assert memory_of(frames) == [(array.ctypes.data, 4000)]
    assert placements == ((1, 0, 4000, False),) * 3


def test_adjacent_buffers_stay_apart():
    base = np.arange(1000, dtype=np.uint8)
    frames, placements = place([view(base[500:]), view(base[:500])], 1)
    assert memory_of(frames) == [(base.ctypes.data + 500, 500), (base.ctypes.data, 500)]
    assert placements == ((1, 0, 500, False), (2, 0, 500, False))


def test_a_bridge_joins_what_is_adjacent():
    base = np.arange(1000, dtype=np.uint8)
    frames, placements = place([view(base[500:]), view(base[:500]), view(base[499:501])], 1)
    assert memory_of(frames) == [(base.ctypes.data, 1000)]
    assert [place[1:3] for place in placements] == [(500, 500), (0, 500), (499, 2)]


def test_thousand_windows_of_one_array_are_one_frame():
    base = np.arange(1_000_000)
    width = 500_000
    windows = [base[start : start + width] for start in range(0, 500_500, 500)][:1001]
    frames, placements = place([view(window) for window in windows], 1)
    assert memory_of(frames) == [(base.ctypes.data, 8_000_000)]
    assert [place[1] for place in placements] == [i * 4000 for i in range(1001)]


# Mutability


@pytest.mark.parametrize("flags", list(itertools.product([True, False], repeat=3)))
def test_frame_is_writable_if_a_member_is(flags):
    base = np.arange(3000, dtype=np.uint8)
    arrays = [base[:2000], base[1000:], base[500:600]]
    for array, writeable in zip(arrays, flags, strict=True):
        array.flags.writeable = writeable
    frames, placements = place([view(array) for array in arrays], 1)
    assert memory_of(frames) == [(base.ctypes.data, 3000)]
    assert frames[0].readonly == (not any(flags))
    assert [place[3] for place in placements] == [not writeable for writeable in flags]


def test_readonly_whole_with_a_writable_part_is_a_writable_frame():
    base = np.arange(3000, dtype=np.uint8)
    whole = base[:]
    whole.flags.writeable = False
    frames, placements = place([view(whole), view(base[10:2000])], 1)
    assert memory_of(frames) == [(base.ctypes.data, 3000)]
    assert not frames[0].readonly
    assert [place[3] for place in placements] == [True, False]


def test_view_that_covers_the_union_is_the_frame():
    base = np.arange(3000, dtype=np.uint8)
    views = [view(base[10:20]), view(base), view(base[5:])]
    frames, _ = place(views, 1)
    assert frames[0] is views[1]


# Frames


def test_union_is_a_frame_like_any_other():
    base = np.arange(1000)
    (frame,), _ = place([view(base[:600]), view(base[400:])], 1)
    assert (frame.format, frame.ndim, frame.contiguous, frame.itemsize) == ("B", 1, True, 1)
    assert bytes(frame) == base.tobytes()
    frame[:8] = b"\xff" * 8
    assert base[0] == -1


def test_union_keeps_its_owners_alive():
    base = np.arange(100_000)
    expected = base.tobytes()
    gone = weakref.ref(base)
    (frame,), _ = place([view(base[:60_000]), view(base[40_000:])], 1)
    del base
    gc.collect()
    assert gone() is not None
    assert bytes(frame) == expected
    del frame
    gc.collect()
    assert gone() is None


def test_union_over_several_owners():
    # Exporters without a common base: two mappings of one bytearray.
    memory = bytearray(range(256)) * 40
    lower = np.frombuffer(memory, np.uint8, 6000)
    upper = np.frombuffer(memory, np.uint8, offset=4000)
    (frame,), _ = place([view(lower), view(upper)], 1)
    expected = bytes(memory)
    del lower, upper
    gc.collect()
    with pytest.raises(BufferError):
        memory.append(1)
    assert bytes(frame) == expected
    del frame
    gc.collect()
    memory.append(1)


# Alignment


def aligned(nbytes, offset):
    """Return `nbytes` bytes that start `offset` bytes behind a multiple of 64."""
    memory = np.zeros(nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    return memory[start : start + nbytes]


@pytest.mark.parametrize(("start", "copied"), [(0, False), (8, False), (16, False), (1, True), (3, True), (61, True)])
def test_odd_start_is_moved_so_that_elements_stay_aligned(start, copied):
    memory = aligned(64 + 4096, 0)
    memory[:] = np.arange(len(memory)) % 251
    union = memory[start:]
    doubles = memory[64:].view(np.float64)
    frames, placements = place([view(union), view(doubles)], 1)
    (frame,) = frames
    assert (address(frame) != union.ctypes.data) == copied
    for part, array in zip(received(frames, placements), [union, doubles], strict=True):
        assert part == view(array)
    assert placements[1][1] % 8 == 0
    assert not frame.readonly
    assert all(byte == 0 for byte in frame[: placements[0][1]])


def test_moved_union_is_readonly_if_it_was():
    memory = aligned(64 + 4096, 0)
    memory.flags.writeable = False
    (frame,), _ = place([view(memory[1:]), view(memory[64:].view(np.float64))], 1)
    assert frame.readonly


def test_elements_that_are_unaligned_here_are_not_moved():
    memory = aligned(4096, 1)
    doubles = memory[5:4005].view(np.float64)
    (frame,), _ = place([view(memory), view(doubles)], 1)
    assert address(frame) == memory.ctypes.data


# Extents


def test_extent_alone_is_compacted():
    array = np.arange(4000)
    whole, elements = extent(array, step=4)
    frames, placements = place([whole], 1)
    assert placements == ((1, 0, 8000, False),)
    assert bytes(frames[0]) == elements.tobytes()


def test_extents_do_not_carry_each_other():
    array = np.arange(4000)
    (first, _), (second, _) = extent(array, step=4), extent(array[1:], step=2)
    frames, placements = place([first, second], 1)
    assert [frame.nbytes for frame in frames] == [8000, 16000]
    assert [place[0] for place in placements] == [1, 2]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_extent_rides_inside_what_travels_anyway(order):
    array = np.arange(4000)
    views = [view(array), extent(array[100:], step=4)[0]]
    frames, placements = place([views[i] for i in order], 1)
    assert memory_of(frames) == [(array.ctypes.data, 32000)]
    assert {place[1:3] for place in placements} == {(0, 32000), (800, views[1].nbytes)}


@pytest.mark.parametrize("start", [0, 1])
def test_extent_that_sticks_out_is_compacted(start):
    array = np.arange(4000)
    inside = array[1000:3000]
    gappy, elements = extent(array if start == 0 else array[1500:], step=4)
    frames, placements = place([view(inside), gappy], 1)
    assert memory_of(frames)[0] == (inside.ctypes.data, 16000)
    assert bytes(frames[1]) == elements.tobytes()
    assert placements[1] == (2, 0, elements.nbytes, False)


def test_extent_as_large_as_its_home():
    array = np.arange(4001)
    gappy, _ = extent(array, step=4)
    frames, placements = place([gappy, view(array)], 1)
    assert memory_of(frames) == [(array.ctypes.data, 32008)]
    assert placements == ((1, 0, 32008, False),) * 2


# What that costs


def copied_by(views):
    """Return how many bytes `place` has copied."""
    before = COPIED.nbytes
    place(views, 1)
    return COPIED.nbytes - before


def test_bytes_that_are_copied_are_counted():
    array = np.arange(4000)
    assert copied_by([view(array)]) == 0
    assert copied_by([view(array[:3000]), view(array[1000:])]) == 0
    assert copied_by([extent(array, step=4)[0]]) == 8000
    assert copied_by([extent(array, step=4)[0], extent(array[1:], step=2)[0]]) == 24_000
    assert copied_by([view(array), extent(array[100:], step=4)[0]]) == 0
    memory = aligned(64 + 4096, 0)
    assert copied_by([view(memory[1:]), view(memory[64:].view(np.float64))]) == 64 + 4095


def test_each_thread_counts_its_own():
    before = COPIED.nbytes
    counted = []
    thread = threading.Thread(target=lambda: counted.append(copied_by([extent(np.arange(4000), step=4)[0]])))
    thread.start()
    thread.join()
    assert counted == [8000]
    assert COPIED.nbytes == before


# Anything


@given(st.data())
def test_relations_are_kept_and_no_byte_travels_twice(data):
    bases = [
        np.arange(size, dtype=np.uint8) for size in data.draw(st.lists(st.integers(10, 300), min_size=1, max_size=3))
    ]
    arrays = []
    for _ in range(data.draw(st.integers(1, 12))):
        base = data.draw(st.sampled_from(bases))
        start = data.draw(st.integers(0, len(base) - 1))
        array = base[start : data.draw(st.integers(start + 1, len(base)))]
        step = data.draw(st.sampled_from([1, 1, 2, 3]))
        arrays.append((array, step) if len(array) > step else (array, 1))
    views = [view(array) if step == 1 else extent(array, step=step)[0] for array, step in arrays]
    frames, placements = place(views, 7)

    rebuilt = []
    for (array, step), part in zip(arrays, received(frames, placements, 7), strict=True):
        rode = step > 1 and len(part) == (len(array[::step]) - 1) * step + 1
        again = np.frombuffer(part, np.uint8)
        rebuilt.append(again[::step] if rode else again)
        assert rebuilt[-1].tolist() == array[::step].tolist()
    for (one, mine), (other, yours) in itertools.combinations(zip(arrays, rebuilt, strict=True), 2):
        if one[1] == other[1] == 1:
            assert np.shares_memory(one[0], other[0]) == np.shares_memory(mine, yours)

    covered = set()
    for array, step in arrays:
        if step == 1:
            covered |= set(range(array.ctypes.data, array.ctypes.data + len(array)))
    original = {byte for frame in frames for byte in range(address(frame), address(frame) + frame.nbytes)}
    assert covered <= original
    assert len(original) == sum(frame.nbytes for frame in frames)
    assert all(flat(frame) is frame for frame in frames)
