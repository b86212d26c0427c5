"""Huge pages, where they can be mounted."""

import subprocess
import warnings

import numpy as np
import pytest
from stores import MIB, huge_bytes_at, mounted, place  # noqa: F401  # fixtures

import oobcodec
from oobcodec.store import Store, huge
from oobcodec.store.directories import DIRECTORY

SIZE = 64 * MIB


@pytest.fixture(params=["always", "within_size"])
def mount(request, tmp_path):
    with mounted(tmp_path / "huge pages", f"size=256m,huge={request.param}") as path:
        yield path


def test_are_found_and_used(mount):
    with Store.temporary(huge_pages=True) as store:
        assert store.directory == mount
        store.put(np.ones(SIZE // 8), "x")
        with store.empty("y", SIZE // 8) as array:
            array[:] = 1
        for key in "xy":
            array = store.get(key)
            np.testing.assert_array_equal(array, np.ones(SIZE // 8))
            assert huge_bytes_at(array.ctypes.data) >= SIZE


def test_of_two_mounts_the_one_that_is_best_for_small_objects(tmp_path):
    with (
        mounted(tmp_path / "always", "size=16m,huge=always"),
        mounted(tmp_path / "within", "size=16m,huge=within_size") as within,
        Store.temporary(huge_pages=True) as store,
    ):
        assert store.directory == within


def test_of_a_directory_that_was_chosen_are_used(mount):
    other = f"{mount}/other"
    subprocess.run(["mkdir", other], check=True)
    with Store.temporary(huge_pages=True, directory=other) as store:
        assert store.directory == other


def test_of_another_directory_are_missed(mount, place):  # noqa: F811
    with (
        pytest.warns(RuntimeWarning, match=rf"{place} is mounted with no huge pages: .* mount -t tmpfs"),
        Store.temporary(huge_pages=True, directory=place) as store,
    ):
        assert store.directory == place


def test_that_are_not_there_are_missed_once(monkeypatch, tmp_path):
    monkeypatch.setattr(huge, "_MOUNTS", tmp_path / "none")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            with Store(tmp_path.name, huge_pages=True) as store:
                assert store.directory == DIRECTORY
                assert store.get(store.put(1)) == 1
    assert [each.filename for each in caught] == [__file__]


def test_mounts_of_other_kinds_are_no_place_for_a_store(monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    place = tmp_path / "a b"  # noqa: F811
    place.mkdir()
    escaped = str(place).replace(" ", r"\040")
    monkeypatch.setattr(huge, "_MOUNTS", mounts)
    for line in (
        f"nodev {escaped} hugetlbfs rw,pagesize=2M 0 0",
        f"tmpfs {escaped} tmpfs rw,huge=never 0 0",
        f"tmpfs {tmp_path}/gone tmpfs rw,huge=always 0 0",
    ):
        mounts.write_text(f"{line}\n")
        with pytest.warns(RuntimeWarning, match="no huge pages"):
            assert huge.directory_for(DIRECTORY) == DIRECTORY
    mounts.write_text(f"tmpfs {escaped} tmpfs rw,nosuid,huge=always,mode=700 0 0\n")
    assert huge.directory_for(DIRECTORY) == str(place)


def test_are_not_looked_for_unasked(monkeypatch):
    monkeypatch.setattr(huge, "_MOUNTS", None)
    with oobcodec.Store.temporary() as store:
        assert store.directory == DIRECTORY
