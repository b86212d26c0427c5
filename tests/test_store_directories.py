"""The directories of stores: they are this user's alone, and go with their users."""

import os
import stat
import sys
from pathlib import Path

import pytest
from stores import place  # noqa: F401  # a fixture

from oobcodec.errors import StoreError
from oobcodec.store import directories
from oobcodec.store.directories import is_persistent, listed, open_base, open_store, remove, stores, sweep


@pytest.fixture
def base(place):  # noqa: F811
    descriptor = open_base(place)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def own(place):  # noqa: F811
    return Path(place) / f"oobcodec-{os.geteuid()}"


def test_are_for_this_user_only(base, own):
    os.close(open_store(base, "a", create=True))
    for path in (own, own / "a", own / "a" / "objects"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o1777, 0o701])
def test_one_that_others_may_use_is_refused(place, own, mode):  # noqa: F811
    own.mkdir()
    own.chmod(mode)
    with pytest.raises(StoreError, match=r"others could put into it what .*choose another directory="):
        open_base(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")
def test_one_of_another_user_is_refused(place, own):  # noqa: F811
    own.mkdir(0o700)
    os.chown(own, 1234, 1234)
    with pytest.raises(StoreError, match="belongs to user 1234"):
        open_base(place)


def test_symbolic_link_is_refused(place, own, tmp_path):  # noqa: F811
    tmp_path.chmod(0o700)
    own.symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is no directory of yours"):
        open_base(place)


def test_a_missing_parent_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_base(str(tmp_path / "nowhere"))


def test_elsewhere_than_on_linux_it_says_so(place, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StoreError, match="Store needs Linux"):
        open_base(place)


def test_opened_again_it_is_the_same(base):
    first = open_store(base, "a", create=True)
    second = open_store(base, "a", create=False)
    assert os.path.samestat(os.fstat(first), os.fstat(second))
    os.close(first)
    os.close(second)


def test_one_that_is_not_there_is_not_made_unasked(base):
    with pytest.raises(FileNotFoundError):
        open_store(base, "a", create=False)
    assert stores(base) == []


def test_what_nobody_has_open_goes(base):
    kept = open_store(base, "kept", create=True)
    os.close(open_store(base, "gone", create=True))
    os.close(open_store(base, "persistent", create=True, persistent=True))
    assert sweep(base) == ["gone"]
    assert sorted(stores(base)) == ["kept", "persistent"]
    assert not is_persistent(kept)
    os.close(kept)
    assert sweep(base) == ["kept"]


def test_removal_takes_all_at_once_and_what_a_killed_one_has_left(base, own):
    descriptor = open_store(base, "a", create=True)
    (own / "a" / "objects" / "x").touch()
    (own / "a" / "accounts").touch()
    (own / ".halfremoved" / "objects").mkdir(parents=True)
    (own / "file").touch()
    remove(base, "a")
    assert listed(descriptor) == []
    assert sorted(listed(base)) == [".halfremoved", "file"]
    assert sweep(base) == []
    assert listed(base) == ["file"]
    with pytest.raises(FileNotFoundError):
        remove(base, "a")
    os.close(descriptor)


def test_one_that_is_removed_while_it_is_being_opened_is_made_anew(base, monkeypatch):
    def removing(descriptor, operation):
        if not removed:
            removed.append(remove(base, "a"))
        lock(descriptor, operation)

    removed = []
    lock = directories.flock
    monkeypatch.setattr(directories, "flock", removing)
    descriptor = open_store(base, "a", create=True)
    assert removed
    assert os.path.samestat(os.stat("a", dir_fd=base), os.fstat(descriptor))
    os.close(descriptor)


def test_failure_closes_it(base, monkeypatch):
    def failing(descriptor, operation):
        opened.append(descriptor)
        raise KeyboardInterrupt

    opened = []
    monkeypatch.setattr(directories, "flock", failing)
    with pytest.raises(KeyboardInterrupt):
        open_store(base, "a", create=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_other_errors_are_the_systems(base, monkeypatch):
    def failing(*arguments, **options):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(OSError, match="Too many open files"):
        open_store(base, "a", create=True)


def test_listing_is_complete_beside_others(base, own):
    for number in range(300):
        (own / str(number)).touch()
    assert len(listed(base)) == len(listed(base)) == 300
