"""A store lives as long as somebody has it open."""

import os
import threading

import pytest
from stores import place  # noqa: F401  # a fixture

from oobcodec.errors import StoreClosedError, StoreError
from oobcodec.store import accounts, directories, leases
from oobcodec.store.leases import Lease, base, destroy, enter, leave


def stores(place):  # noqa: F811
    with base(place) as descriptor:
        return directories.stores(descriptor)


def entered(place, name="a", capacity=100, **options):  # noqa: F811
    return enter(place, name, capacity, **{"create": True, "persistent": False, **options})


def test_the_last_one_to_leave_ends_it(place):  # noqa: F811
    one, other = entered(place), entered(place)
    assert one.id == other.id
    leave(one.store, place)
    assert stores(place) == ["a"]
    leave(other.store, place)
    assert stores(place) == []


def test_a_persistent_one_remains(place):  # noqa: F811
    one = entered(place, persistent=True)
    leave(one.store, place)
    other = entered(place, create=False)
    assert other.id == one.id
    leave(other.store, place)
    destroy(place, "a")
    assert stores(place) == []


def test_the_capacity_is_that_of_the_first(place):  # noqa: F811
    one = entered(place, capacity=100)
    assert (one.capacity, entered(place, capacity=200).capacity) == (100, 100)
    system = os.statvfs(place)
    assert entered(place, "b", None).capacity == system.f_blocks * system.f_frsize


def test_one_that_nobody_has_open_is_not_found_again(place):  # noqa: F811
    one = entered(place)
    os.close(one.store)
    assert entered(place).id != one.id


@pytest.mark.parametrize("name", ["none", "unfinished"])
def test_what_is_not_there_is_not_made_unasked(place, name):  # noqa: F811
    with base(place) as descriptor:
        held = directories.open_store(descriptor, "unfinished", create=True)
    with pytest.raises(FileNotFoundError):
        entered(place, name, create=False)
    os.close(held)


def test_a_failure_lets_it_go(place, monkeypatch):  # noqa: F811
    def failing(store):
        raise KeyboardInterrupt

    monkeypatch.setattr(accounts, "read", failing)
    with pytest.raises(KeyboardInterrupt):
        entered(place)
    with base(place) as descriptor:
        assert directories.sweep(descriptor) == ["a"]


def test_leaving_needs_nothing_but_the_descriptor(place, monkeypatch):  # noqa: F811
    def failing(directory):
        raise StoreError

    one = entered(place)
    monkeypatch.setattr(leases.directories, "open_base", failing)
    leave(one.store, place)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(one.store)


@pytest.fixture
def lease(place):  # noqa: F811
    return Lease("a", entered(place).store, place)


def test_a_lease_ends_when_it_is_closed(place, lease):  # noqa: F811
    with lease as store:
        assert store == lease.descriptor
        assert not lease.closed
    assert stores(place) == ["a"]
    lease.close()
    assert lease.closed
    lease.close()
    assert stores(place) == []
    with pytest.raises(StoreClosedError, match=r"the store 'a' is closed .*: open it again with Store\('a'\)"), lease:
        pytest.fail("it is closed")


def test_a_lease_ends_when_it_is_forgotten(place):  # noqa: F811
    Lease("a", entered(place).store, place)
    assert stores(place) == []


def test_a_lease_lasts_as_long_as_anybody_uses_it(place, lease):  # noqa: F811
    with lease as store:
        with lease:
            thread = threading.Thread(target=lease.close)
            thread.start()
            thread.join()
            with pytest.raises(StoreClosedError), lease:
                pytest.fail("it is closed")
        os.fstat(store)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(store)
    assert stores(place) == []
