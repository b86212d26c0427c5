"""A store and the machine that it is on: small file systems, other users, and the memory of many readers."""

import json
import os
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import numpy as np
import pytest
from stores import FORKING, MIB, mounted, parts_of, place, store  # noqa: F401  # fixtures

from oobcodec.errors import StoreError, StoreFullError
from oobcodec.store import Store

pytestmark = FORKING

NOBODY = 65534
READERS = 16
LARGE = 256 * MIB


@pytest.fixture
def small(tmp_path):
    with mounted(tmp_path / "small", "size=64m") as path:
        yield path


def free(path):
    system = os.statvfs(path)
    return system.f_bfree * system.f_frsize


def fill(store, key, nbytes):  # noqa: F811
    with store.empty(key, nbytes, np.uint8) as array:
        array[:] = 1


def put(store, key, nbytes):  # noqa: F811
    store.put(np.ones(nbytes, np.uint8), key)


WAYS = pytest.mark.parametrize("write", [put, fill])


# Small file systems


@WAYS
def test_what_is_larger_than_the_file_system_is_refused(small, write):
    with Store("tests", directory=small) as store:  # noqa: F811
        put(store, "x", 40 * MIB)
        before = free(small)
        with pytest.raises(StoreFullError, match=r"key 'y': no room for 80\.\d MiB: of 64 MiB are 40"):
            write(store, "y", 80 * MIB)
        assert (store.keys(), free(small)) == (["x"], before)


@WAYS
@pytest.mark.parametrize("nbytes", [1000, 40 * MIB])
def test_what_others_have_filled_is_refused(small, place, write, nbytes):  # noqa: F811
    with Store("tests", directory=small) as store:  # noqa: F811
        with (Path(small) / "of somebody else").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free(small) - (0 if nbytes == 1000 else 20 * MIB))
        before = free(small)
        with pytest.raises(StoreFullError, match=r"no space for .* or choose another directory="):
            write(store, "x", nbytes)
        assert parts_of(store) == {"objects": [], "drafts": [], "free": []}
        assert free(small) == before
        assert store.info().used == 0
    with Store("tests", directory=place) as elsewhere:
        write(elsewhere, "x", nbytes)
        assert elsewhere.get("x").sum() == nbytes


@WAYS
def test_what_was_used_longest_ago_goes_where_others_have_filled_it(small, write):
    with Store("tests", directory=small) as store:  # noqa: F811
        for key in "abc":
            put(store, key, 10 * MIB)
        (Path(small) / "of somebody else").write_bytes(bytes(free(small) - MIB))
        write(store, "x", 15 * MIB)
        assert sorted(store) == ["c", "x"]


# Other users


def test_another_user_gets_nothing(place, store):  # noqa: F811
    if os.geteuid():
        pytest.skip("only root can become another user")
    ref = store.put(np.ones(MIB, np.uint8), "x")
    own = Path(place) / f"oobcodec-{os.geteuid()}"
    descriptor = f"/proc/{os.getpid()}/fd/{store._lease.descriptor}"
    file = own / "tests" / "objects" / "x"
    assert file.exists()
    Path(place).chmod(0o1777)  # like /dev/shm
    tries = {
        "a reference": (ref.get, StoreError),
        "the name": (lambda: Store("tests", directory=place, create=False), StoreError),
        "the file": (file.read_bytes, PermissionError),
        "the list": (lambda: list(own.iterdir()), PermissionError),
        "the descriptor of a process": (lambda: os.open(descriptor, os.O_RDONLY), PermissionError),
    }
    child = os.fork()
    if not child:
        store.close()  # or references would lead to what is open already
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        got = [name for name, (attempt, error) in tries.items() if not refuses(attempt, error)]
        os._exit(len(got + Store.list(place)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("x").sum() == MIB


def refuses(attempt, error):
    try:
        attempt()
    except error:
        return True
    except BaseException:  # noqa: BLE001  # the child must not go on with the tests
        traceback.print_exc()
    return False


# Readers


def test_readers_share_one_copy(place):  # noqa: F811
    code = """
        import json, sys
        from pathlib import Path
        from oobcodec.store import Store

        def memory():
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
            return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}

        store = Store("tests", directory=sys.argv[1], create=False)
        store.get("small").sum()  # imports what it needs
        before = memory()
        array = store.get("large")
        assert array[:: 4096].sum() == array.size // 4096, "all pages"
        for _ in range(2):  # when the others have it too, and before they let go of it
            print(json.dumps([before, memory()]), flush=True)
            input()
    """
    with Store("tests", directory=place) as store:  # noqa: F811
        put(store, "small", MIB)
        put(store, "large", LARGE)
        command = [sys.executable, "-c", textwrap.dedent(code), place]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        readers = [subprocess.Popen(command, **pipes) for _ in range(READERS)]
        for reader in readers:
            reader.stdout.readline()
        more = dict.fromkeys(("Rss", "Pss", "Private_Dirty"), 0)
        for reader in readers:
            reader.stdin.write("\n")
            reader.stdin.flush()
            before, after = json.loads(reader.stdout.readline())
            for kind in more:
                more[kind] += after[kind] - before[kind]
        for reader in readers:
            reader.communicate("\n")
            assert reader.returncode == 0
    assert more["Rss"] >= READERS * LARGE, "each of them sees all of it"
    assert more["Pss"] - LARGE < 16 * MIB
    assert more["Private_Dirty"] < 16 * MIB
