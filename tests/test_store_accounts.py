"""How full a store is: the same as its directories say, whatever happens to those who change it."""

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from stores import parts_of, place, store  # noqa: F401  # fixtures

from oobcodec.errors import NoSuchKeyError, StoreError
from oobcodec.store import Store
from oobcodec.store.accounts import changing, charged, check_exists, establish, read

PAGE = os.sysconf("SC_PAGESIZE")


def counted(directory):
    """Return what the directories of a store say."""
    total = 0
    for part in ("objects", "drafts", "free"):
        total += sum(charged(path.stat().st_size) for path in (Path(directory) / part).iterdir())
    return total


@pytest.fixture
def descriptor(store):  # noqa: F811
    return store._lease.descriptor


def used(descriptor):
    return read(descriptor).used


def test_whole_pages_count():
    assert [charged(n) for n in (0, 1, PAGE, PAGE + 1)] == [0, PAGE, PAGE, 2 * PAGE]


def test_are_what_the_directories_say(store, descriptor):  # noqa: F811
    own = f"/proc/self/fd/{descriptor}"
    for size in (10, 100_000, 3 << 20, 2 << 20):
        store.put(bytes(size), str(size))
        assert used(descriptor) == counted(own)
    for key in list(store):
        store.delete(key)
        assert used(descriptor) == counted(own)
    assert used(descriptor) == read(descriptor).free > 0


def killed(code, directory):
    """Run a script that kills its process, with a store."""
    opening = (
        "import os, signal, sys\nfrom oobcodec.store import Store\nstore = Store('tests', directory=sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", opening + textwrap.dedent(code), directory], check=False)
    assert done.returncode == -signal.SIGKILL


def test_are_added_up_after_a_process_was_killed_amidst_a_change(store, descriptor):  # noqa: F811
    store.put(b"x", "x")
    store.put(bytes(2 << 20), "large")
    store.delete("large")
    before = read(descriptor)
    code = """
        from oobcodec.store.accounts import changing
        with changing(store._lease.descriptor):
            os.unlink("objects/x", dir_fd=store._lease.descriptor)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed(code, store.directory)
    assert read(descriptor) == before
    with changing(descriptor) as accounts:
        assert accounts.used == before.used - PAGE
        assert accounts.free == before.free


def spoil(accounts, error):
    accounts.used = 7
    raise error


def test_are_added_up_after_an_exception(descriptor):
    with pytest.raises(KeyboardInterrupt), changing(descriptor) as accounts:
        spoil(accounts, KeyboardInterrupt)
    with changing(descriptor) as accounts:
        assert accounts.used == 0


def test_errors_of_ours_leave_them_in_order(descriptor):
    with pytest.raises(NoSuchKeyError), changing(descriptor) as accounts:
        spoil(accounts, NoSuchKeyError)
    assert used(descriptor) == 7


def test_what_a_killed_writer_has_left_goes_and_what_is_being_written_stays(store, descriptor):  # noqa: F811
    code = """
        with store.create("torn", 1 << 20) as memory:
            memory[:] = bytes(1 << 20)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with store.create("whole", 1 << 20):
        mine = parts_of(store)["drafts"]
        before = used(descriptor)
        killed(code, store.directory)
        assert store.keys() == []
        assert len(parts_of(store)["drafts"]) == 2
        assert store.info().used == before
        assert parts_of(store)["drafts"] == mine
    assert store.keys() == ["whole"]
    assert parts_of(store)["drafts"] == []


def test_killed_amidst_a_put_it_leaves_nothing_that_could_be_seen(store, descriptor):  # noqa: F811
    code = """
        def kill(*arguments, **options):
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(os, {!r}, kill)
        store.put(bytes({}), "torn")
    """
    large = ("fchmod", "utime", "link")
    for size, calls in ((100, ("write", "link")), (1 << 20, ("writev", *large)), (4 << 20, large)):
        for call in calls:
            killed(code.format(call, size), store.directory)
            assert "torn" not in store
            assert store.info().used == 0
            assert parts_of(store) == {"objects": [], "drafts": [], "free": []}


def test_draft_that_is_an_object_already_is_no_loss(store, descriptor):  # noqa: F811
    store.put(bytes(100_000), "a")
    before = used(descriptor)
    os.link("objects/a", "drafts/left", src_dir_fd=descriptor, dst_dir_fd=descriptor)
    with pytest.raises(KeyboardInterrupt), changing(descriptor):
        raise KeyboardInterrupt
    with changing(descriptor) as accounts:
        assert accounts.used == before
    assert parts_of(store)["drafts"] == []
    assert store.get("a") == bytes(100_000)


def test_draft_that_is_being_published_counts_once(store, descriptor):  # noqa: F811
    store.put(bytes(100_000), "a")
    before = used(descriptor)
    os.link("objects/a", "drafts/now", src_dir_fd=descriptor, dst_dir_fd=descriptor)
    held = os.open("drafts/now", os.O_RDONLY, dir_fd=descriptor)
    fcntl.flock(held, fcntl.LOCK_SH)
    with changing(descriptor) as accounts:
        accounts.recount()
        assert accounts.used == before
    os.close(held)


def test_threads_take_turns(store):  # noqa: F811
    def work(number):
        for n in range(30):
            store.put(bytes(n), f"{number} {n}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store) == 240
    assert used(store._lease.descriptor) == 240 * PAGE


def test_a_thread_that_interrupts_itself_is_told(descriptor):
    with changing(descriptor), pytest.raises(StoreError, match="a finalizer or a signal handler"), changing(descriptor):
        pytest.fail("there were two at a time")
    with changing(descriptor):
        pass


def test_of_another_version_are_refused(descriptor):
    with Path(f"/proc/self/fd/{descriptor}/accounts").open("r+b") as file:
        file.write(b"OOBSTOR9")
    with pytest.raises(StoreError, match="another version of oobcodec"):
        read(descriptor)


def test_exist_once(store, descriptor):  # noqa: F811
    before = read(descriptor)
    establish(descriptor, 5)
    assert read(descriptor) == before


def test_of_a_destroyed_store_are_gone(store, descriptor):  # noqa: F811
    check_exists(descriptor)
    Store.destroy("tests", store.directory)
    with pytest.raises(StoreError, match="the store has been destroyed"), changing(descriptor):
        pytest.fail("there is nothing to change")


def test_a_missing_file_of_another_kind_is_no_end_of_the_store(descriptor):
    with pytest.raises(FileNotFoundError), changing(descriptor):
        os.unlink("objects/none", dir_fd=descriptor)


def test_what_vanishes_meanwhile_does_not_count(store, descriptor, monkeypatch):  # noqa: F811
    store.put(b"a", "a")
    monkeypatch.setattr("oobcodec.store.accounts.listed", lambda directory, part: ["gone"])
    with changing(descriptor) as accounts:
        accounts.recount()
        assert accounts.used == 0
