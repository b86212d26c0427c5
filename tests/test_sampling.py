from math import inf

import numpy as np
import pytest

from oobcodec import sampling
from oobcodec.buffers import flat, span
from oobcodec.sampling import choose, element_size

RNG = np.random.default_rng(0)
LEVELS = {"lz4": 5, "zstd": 1}
STEPS = RNG.integers(0, 9, 1_000_000).cumsum()
NOISE = np.frombuffer(RNG.bytes(8_000_000), "f8")


def chosen(data, itemsize=None, levels=LEVELS, cost=lambda trial: trial.part, *, thorough=False):
    frame = flat(data)
    return choose(frame, itemsize or element_size(frame), levels, cost, thorough=thorough)


def test_element_size_is_what_the_exporter_says():
    array = np.zeros(10, "i4")
    assert element_size(flat(array)) == 4
    assert element_size(flat(b"abc")) == 1
    assert element_size(flat(np.zeros(3, "S200"))) == 200
    assert element_size(flat(np.zeros(3, "U100"))) == 1  # more than the library knows


def test_element_size_of_a_union_is_that_of_its_first_owner():
    array = np.zeros(10, "i4")
    whole = span(array.ctypes.data, array.nbytes, [flat(array[:5]), flat(array[5:])], readonly=False)
    assert element_size(whole) == 4


def test_element_size_of_what_exports_nothing():
    class Odd:
        obj = object()

    assert element_size(Odd()) == 1


def test_steps_are_shuffled_by_their_size():
    way = chosen(STEPS)
    assert (way.filter, way.itemsize) == ("bytedelta", 8)
    assert way.level == LEVELS[way.codec]


def test_size_of_elements_that_nobody_knows_is_found():
    assert chosen(STEPS.tobytes()).itemsize == 8
    assert chosen(STEPS.astype("i4").tobytes()).itemsize in {4, 8}


def test_text_is_not_shuffled():
    words = [f"word{number}" for number in range(300)]
    text = " ".join(words[i] for i in RNG.integers(0, 300, 200_000)).encode()
    assert chosen(text, levels={"zstd": 1}) == ("zstd", "none", 1, 1)


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("itemsize", [1, 8])
def test_noise_is_left_alone(thorough, itemsize):
    assert chosen(NOISE, itemsize, thorough=thorough) is None


def test_what_repeats_at_a_distance_is_seen_by_a_second_look():
    data = RNG.bytes(1024) * 5000
    assert chosen(data, 8) is None
    assert chosen(data, 8, thorough=True).filter == "none"


def test_cost_decides():
    assert chosen(STEPS, cost=lambda trial: trial.way.codec == "lz4").codec == "zstd"
    assert chosen(STEPS, cost=lambda trial: trial.way.codec == "zstd").codec == "lz4"
    assert chosen(STEPS, cost=lambda _: inf) is None


def test_what_costs_least_may_not_pay():
    data = NOISE.copy()
    data[: len(data) // 7] = 1
    assert chosen(data) is not None
    assert chosen(data, levels={"lz4": 0}) is None  # which stores it


@pytest.mark.parametrize("size", [1, 4096, 8192, 8200, 100_000])
@pytest.mark.parametrize("itemsize", [1, 3, 8, 200, 2000])
def test_sample_is_of_whole_elements_from_all_over(size, itemsize):
    elements = [bytes([i % 251]) * itemsize for i in range(size // itemsize)]
    data = b"".join(elements)
    taken = sampling._sample(memoryview(data), itemsize, 8192)
    assert len(taken) % itemsize == 0
    assert len(taken) <= max(8192, 8 * itemsize)
    if len(data) > 16_000:
        assert taken[:itemsize] == elements[0]
        assert data.rindex(taken[-itemsize:]) > len(data) // 2
