"""What is made in place lies in the memory that was given, as a message."""

import numpy as np
import pytest

import oobcodec
from oobcodec.buffers import allocate
from oobcodec.store.in_place import made_in


def test_an_array_is_a_message_in_that_memory():
    frames = oobcodec.dumps(np.empty((300, 50)))
    memory = allocate(oobcodec.packed_size(frames))
    memory[:] = b"\xff" * memory.nbytes
    with made_in(memory, frames) as array:
        assert np.shares_memory(array, np.frombuffer(memory, np.uint8))
        array[:] = 1
    assert not array.flags.writeable
    got = oobcodec.loads(memory)
    assert got.shape == (300, 50)
    assert (got == 1).all()


def test_memory_is_released():
    frames = oobcodec.dumps(allocate(100_000))
    memory = allocate(oobcodec.packed_size(frames))
    with made_in(memory, frames) as made:
        made[:] = b"a" * 100_000
    with pytest.raises(ValueError, match="released"):
        made[0]
    assert oobcodec.loads(memory) == b"a" * 100_000


def test_objects_have_no_place_there():
    frames = oobcodec.dumps(np.empty(100_000, object))
    memory = allocate(oobcodec.packed_size(frames))
    with pytest.raises(TypeError, match="an array of Python objects has no place"), made_in(memory, frames):
        pytest.fail("there is none")
