"""Locks that go with what was opened, and that forked children do not have."""

import os
from fcntl import LOCK_SH

import pytest
from stores import FORKING

from oobcodec.store.locks import is_named, opened, try_lock

pytestmark = FORKING


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_lock_excludes_others_until_its_block_ends(directory):
    with opened("file", os.O_RDONLY, directory) as one, opened("file", os.O_RDONLY, directory) as other:
        assert try_lock(one)
        assert not try_lock(other)
        assert not try_lock(other, LOCK_SH)
    with opened("file", os.O_RDONLY, directory) as one:
        assert try_lock(one)


def test_shared_locks_go_together(directory):
    with opened("file", os.O_RDONLY, directory) as one, opened("file", os.O_RDONLY, directory) as other:
        assert try_lock(one, LOCK_SH)
        assert try_lock(other, LOCK_SH)
        assert not try_lock(other)


def test_forked_child_does_not_keep_the_lock(directory):
    ready, child_ends = os.pipe(), os.pipe()
    with opened("file", os.O_RDONLY, directory) as descriptor:
        assert try_lock(descriptor)
        child = os.fork()
        if not child:
            os.write(ready[1], b"x")
            os.read(child_ends[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
    with opened("file", os.O_RDONLY, directory) as descriptor:
        free = try_lock(descriptor)
    os.write(child_ends[1], b"x")
    os.waitpid(child, 0)
    for end in (*ready, *child_ends):
        os.close(end)
    assert free


def test_name_may_be_that_of_another_file(directory, tmp_path):
    with opened("file", os.O_RDONLY, directory) as file:
        descriptor = file.fileno()
        assert is_named("file", descriptor, directory)
        (tmp_path / "file").rename(tmp_path / "moved")
        assert not is_named("file", descriptor, directory)
        (tmp_path / "file").touch()
        assert not is_named("file", descriptor, directory)
        assert is_named("moved", descriptor, directory)
