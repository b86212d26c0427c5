"""The store as its users know it."""

import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers import run_python
from processes import CONTEXTS, finished, started
from stores import FORKING, MIB, place, store  # noqa: F401  # fixtures

import oobcodec
from oobcodec.errors import (
    KeyExistsError,
    LimitError,
    NoSuchKeyError,
    PolicyError,
    StoreClosedError,
    StoreError,
)
from oobcodec.limits import Limits
from oobcodec.store import Ref, Store
from oobcodec.store.ref import _followed

pytestmark = FORKING


class TestLife:
    def test_goes_with_its_last_user(self, place):  # noqa: F811
        with Store("a", directory=place) as one:
            with Store("a", directory=place) as other:
                one.put(1, "x")
                assert other.get("x") == 1
                assert Store.list(place) == ["a"]
            assert one.get("x") == 1
        assert Store.list(place) == []

    def test_goes_when_it_is_forgotten(self, place):  # noqa: F811
        forgotten = Store("a", directory=place)
        del forgotten
        gc.collect()
        assert Store.list(place) == []

    def test_goes_with_its_process(self, place):  # noqa: F811
        run_python("import sys; from oobcodec.store import Store; s = Store('a', directory=sys.argv[1])", place)
        assert Store.list(place) == []

    def test_of_a_killed_process_goes_at_the_next_opportunity(self, place):  # noqa: F811
        code = """
            import os, signal, sys
            from oobcodec.store import Store
            stores = [Store(name, directory=sys.argv[1]) for name in "ab"]
            stores[0].put(bytes(1 << 20))
            os.kill(os.getpid(), signal.SIGKILL)
        """
        for clean in (lambda: Store.gc(place), lambda: Store("a", directory=place).close()):
            done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), place], check=False)
            assert done.returncode == -signal.SIGKILL
            assert Store.list(place) == ["a", "b"]
            clean()
            assert Store.list(place) == []

    def test_persistent_one_remains(self, place):  # noqa: F811
        with Store("a", directory=place, persistent=True) as one:
            one.put(1, "x")
        assert Store.gc(place) == []
        with Store("a", directory=place) as again:
            assert again.info().persistent
            assert again.get("x") == 1
        Store.destroy("a", place)
        assert Store.list(place) == []

    def test_temporary_one_is_destroyed_by_its_maker_only(self, place):  # noqa: F811
        with Store.temporary(directory=place) as made:
            other = pickle.loads(pickle.dumps(made))
            child = os.fork()
            if not child:
                made.close()
                os._exit(0)
            os.waitpid(child, 0)
            assert Store.list(place) == [made.name]
        assert Store.list(place) == []
        with pytest.raises(StoreError, match=r"store 'temporary-.*', key 'a': the store has been destroyed"):
            other.put(1, "a")
        with pytest.raises(StoreError, match="has been destroyed"):
            other.get("a", timeout=None)
        made.close()
        other.close()

    def test_temporary_one_may_be_gone_already(self, place):  # noqa: F811
        with Store.temporary(directory=place) as made:
            Store.destroy(made.name, place)

    def test_is_not_made_unasked(self, place):  # noqa: F811
        for use in (lambda: Store("a", directory=place, create=False), lambda: Store.destroy("a", place)):
            with pytest.raises(StoreError, match="there is no store 'a' in"):
                use()

    def test_other_errors_are_the_systems(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError):
            Store("a", directory=tmp_path / "file")

    def test_keeps_its_capacity(self, store):  # noqa: F811
        with (
            Store("tests", directory=store.directory) as other,
            Store("tests", directory=store.directory, capacity=64 * MIB) as third,
        ):
            assert other.capacity == third.capacity == 64 * MIB
        with pytest.raises(StoreError, match="has a capacity of 67,108,864 bytes, not 1,024: leave"):
            Store("tests", directory=store.directory, capacity="1 KiB")

    def test_closed_one_says_so(self, store):  # noqa: F811
        assert repr(store) == "<Store 'tests'>"
        store.close()
        store.close()
        assert repr(store) == "<Store 'tests', closed>"
        for use in (lambda: store.put(1), lambda: store.get("a"), store.keys, store.info):
            with pytest.raises(StoreClosedError, match="the store 'tests' is closed in this process: open it again"):
                use()

    def test_is_closed_when_the_last_thread_has_left_it(self, store):  # noqa: F811
        def use():
            with suppress(StoreClosedError):
                for number in itertools.count():
                    assert store.get(store.put(np.full(20_000, number)))[-1] == number
                    assert store.ref("kept").get() == 1  # opened again, if it has been closed

        with Store("tests", directory=store.directory) as keeping:
            keeping.put(1, "kept", pinned=True)
            for _ in range(10):
                store = Store("tests", directory=keeping.directory)
                with ThreadPoolExecutor(3) as pool:
                    done = [pool.submit(use) for _ in range(3)]
                    while store.info().objects < 10:
                        pass
                    store.close()
                    assert [each.result() for each in done] == [None] * 3
                assert not store._lease._leave.alive
                keeping.evict(keeping.capacity)
            _followed.clear()

    def test_stays_until_what_is_made_in_place_is_done(self, place):  # noqa: F811
        with Store("a", directory=place) as other:
            with Store("a", directory=place) as store, store.create("x", MIB) as memory:
                store.close()
                memory[:] = b"x" * MIB
            assert other.get("x") == b"x" * MIB

    def test_arrays_outlive_everything(self, store):  # noqa: F811
        store.put(np.ones(MIB), "a")
        array = store.get("a")
        store.delete("a")
        Store.destroy("tests", store.directory)
        store.close()
        assert array.all()

    def test_stores_do_not_see_each_other(self, place):  # noqa: F811
        with Store("a", directory=place) as a, Store("b", directory=place) as b:
            ref = a.put(1, "x")
            assert "x" not in b
            with pytest.raises(StoreError, match="is to another store than 'b'"):
                b.get(ref)


class TestPut:
    def test_makes_keys(self, store):  # noqa: F811
        refs = [store.put(number) for number in range(10)]
        assert [store.get(ref) for ref in refs] == list(range(10))
        assert sorted(store.keys()) == sorted(store) == sorted(ref.key for ref in refs)
        assert len(store) == 10

    @pytest.mark.parametrize("key", ["", "..", "a/b", "\0", "é", "x" * 255])
    def test_takes_any_key(self, store, key):  # noqa: F811
        store.put(key, key)
        assert store.keys() == [key]
        assert store.get(key) == key

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_refuses_a_key_that_is_there(self, store, size):  # noqa: F811
        store.put(b"a" * size, "a")
        before = store.info().used
        for other in (b"b" * size, b"a" * size):
            with pytest.raises(KeyExistsError, match="store 'tests', key 'a': there is an object of that key already"):
                store.put(other, "a")
        assert store.put(b"a" * size, "a", exist_ok=True) == store.ref("a")
        for other in (b"b" * size, b"a" * size + b"b", b"a" * (size - 1)):
            with pytest.raises(KeyExistsError):
                store.put(other, "a", exist_ok=True)
        assert store.get("a") == b"a" * size
        assert store.info().used == before

    def test_of_what_cannot_be_sent_leaves_nothing(self, store):  # noqa: F811
        with pytest.raises(oobcodec.EncodeError):
            store.put([threading.Lock()])
        assert len(store) == 0


class TestGet:
    def test_of_what_is_not_there(self, store):  # noqa: F811
        for name in ("a", store.ref("a")):
            with pytest.raises(KeyError) as caught:
                store.get(name)
            assert str(caught.value).startswith("store 'tests', key 'a': there is no such object: it has not been put")

    @pytest.mark.parametrize("timeout", [60, None])
    def test_waits(self, store, timeout):  # noqa: F811
        timer = threading.Timer(0.2, store.put, (1, "a"))
        timer.start()
        assert store.get("a", timeout=timeout) == 1
        timer.join()

    def test_waits_in_vain(self, store):  # noqa: F811
        began = time.monotonic()
        with pytest.raises(NoSuchKeyError):
            store.get("a", timeout=0.1)
        assert time.monotonic() - began >= 0.1

    def test_private_arrays_are_writable(self, store):  # noqa: F811
        store.put({"a": np.zeros(MIB)}, "a")
        mine = store.get("a", writable="private")["a"]
        mine += 1
        assert not store.get("a")["a"].any()
        assert not store.get("a")["a"].flags.writeable

    def test_refuses_other_ways_to_write(self, store):  # noqa: F811
        with pytest.raises(ValueError, match="writable is None or 'private', not True"):
            store.get("a", writable=True)

    def test_policy_and_limits_hold(self, store):  # noqa: F811
        store.put({"a": np.zeros(MIB)}, "data")
        store.put(Path("x"), "data too")
        store.put(Arbitrary(), "code")
        with Store("tests", directory=store.directory, policy=oobcodec.DATA) as careful:
            assert careful.get("data").keys() == {"a"}
            for again in (careful, pickle.loads(pickle.dumps(careful))):
                with pytest.raises(PolicyError, match=r"^store 'tests', key 'code': refused global"):
                    again.get("code")
        with Store("tests", directory=store.directory, limits=Limits(max_total_bytes=1000)) as small:
            assert small.get("data too") == Path("x")
            with pytest.raises(LimitError, match="max_total_bytes"):
                small.get("data")


class Arbitrary:
    pass


class TestInPlace:
    @pytest.mark.parametrize("nbytes", [0, 10, 5000, 100_000, 3 * MIB])
    def test_memory(self, store, nbytes):  # noqa: F811
        data = os.urandom(nbytes)
        with store.create("a", nbytes) as memory:
            assert "a" not in store
            memory[:] = data
            sub = memory[1:]
        got = store.get("a")
        assert got == data
        assert got.readonly or nbytes < 1024
        assert nbytes < 1024 or np.frombuffer(got, "u1").ctypes.data % 64 == 0
        assert len(sub) == max(nbytes - 1, 0)

    @pytest.mark.parametrize("shape", [(), 3, (3, 5), (300, 500), 100_000])
    @pytest.mark.parametrize("dtype", ["f8", "datetime64[ns]", [("a", "i4"), ("b", "S9")]])
    def test_array(self, store, shape, dtype):  # noqa: F811
        store.put(b"\xff" * 2 * MIB, "old")
        store.delete("old")
        with store.empty("a", shape, dtype, pinned=True) as array:
            array[...] = np.zeros((), dtype)
        got = store.get("a")
        assert got.shape == array.shape == np.empty(shape).shape
        assert got.dtype == np.dtype(dtype)
        assert (got == np.zeros(shape, dtype)).all()
        assert not array.flags.writeable or array.nbytes <= 65536
        assert store.objects()[0].pinned

    def test_is_the_same_memory(self, store):  # noqa: F811
        with store.empty("a", MIB, "u1") as array:
            array[:] = 1
        assert store.objects()[0].pids
        store.delete("a")
        store.put(np.zeros(MIB, "u1"), "b")
        assert array.all()

    def test_is_discarded_after_an_exception(self, store):  # noqa: F811
        for nbytes in (10, MIB):
            with pytest.raises(FileExistsError), store.create("a", nbytes):
                raise FileExistsError
        assert len(store) == store.info().used == 0

    def test_refuses_a_key_that_is_there(self, store):  # noqa: F811
        store.put(1, "a")
        with pytest.raises(KeyExistsError), store.create("a", MIB):
            pytest.fail("nothing is to be written in vain")

    def test_refuses_objects(self, store):  # noqa: F811
        with pytest.raises(TypeError, match="an array of Python objects has no place"), store.empty("a", MIB, object):
            pytest.fail("there is no memory for them")


class TestRest:
    def test_delete(self, store):  # noqa: F811
        ref = store.put(1)
        assert ref in store
        store.delete(ref)
        assert ref not in store
        with pytest.raises(NoSuchKeyError, match=r"key '.*': there is no such object"):
            store.delete(ref)

    def test_pin(self, store):  # noqa: F811
        store.put(bytes(MIB), "a")
        store.pin("a")
        assert store.info().pinned == store.objects()[0].nbytes > MIB
        assert store.evict("1 GiB") == 0
        store.pin("a", pinned=False)
        assert store.evict("1 GiB") > MIB
        with pytest.raises(NoSuchKeyError):
            store.pin("a")

    def test_info(self, store):  # noqa: F811
        store.put(np.zeros(MIB, "u1"), "a")
        store.put(bytes(MIB), "b")
        store.delete("b")
        held = store.get("a")
        info = store.info()
        assert (info.name, info.directory, info.capacity, info.objects) == ("tests", store.directory, 64 * MIB, 1)
        assert info.used > 2 * MIB > info.recyclable > MIB
        assert info.mapped == store.objects()[0].nbytes > held.nbytes
        assert not info.persistent

    def test_pickle_leads_to_the_same_store(self, store):  # noqa: F811
        store.put(1, "a")
        with pickle.loads(pickle.dumps(store)) as other:
            assert other.id == store.id
            assert other.get("a") == 1

    @pytest.mark.parametrize("context", CONTEXTS)
    def test_processes_share_it(self, store, context):  # noqa: F811
        child = started(context, answer, store)
        store.put(np.arange(MIB), "question")
        assert store.get("answer", timeout=60) == MIB * (MIB - 1) // 2
        assert finished(child) == 0

    def test_file_names_cannot_lead_elsewhere(self, place):  # noqa: F811
        with Store("../../up", directory=place) as made:
            made.put(1, "../../../key")
            assert Store.list(place) == ["../../up"]
        assert [path.name for path in Path(place).iterdir()] == [f"oobcodec-{os.geteuid()}"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
    def test_works_for_those_who_are_not_root(self, place):  # noqa: F811
        os.chmod(place, 0o777)  # noqa: PTH101
        child = os.fork()
        if not child:
            code = 1
            try:
                os.setuid(1234)
                with Store("a", directory=place, capacity=4 * MIB) as made:
                    for number in range(10):
                        made.put(bytes([number]) * MIB, "x")
                        assert made.get("x") == bytes([number]) * MIB
                        made.delete("x")
                    for number in range(10):
                        made.put(bytes([number]) * MIB, pinned=number == 0)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    @pytest.mark.parametrize("use", ["import oobcodec.store", "from oobcodec import Store", "oobcodec.Store"])
    def test_other_systems_are_told(self, use):
        code = f"""
            import sys
            import oobcodec
            assert "oobcodec.store" not in sys.modules
            sys.modules.pop("fcntl", None)
            sys.path_importer_cache.clear()
            finder = type("Finder", (), {{"find_spec": lambda name, *_: None}})
            find = sys.meta_path[:]
            hide = lambda one: lambda name, *rest: None if name == "fcntl" else one.find_spec(name, *rest)
            sys.meta_path[:] = [type("Other", (), {{"find_spec": staticmethod(hide(one))}}) for one in find]
            try:
                {use}
            except ImportError as error:
                print(error)
        """
        assert run_python(code).startswith(b"oobcodec.Store needs Linux: elsewhere, exchange files with oobcodec.dump")

    def test_names(self):
        assert {oobcodec.store.Ref, oobcodec.store.Store} == {Ref, Store}


def answer(store):  # noqa: F811
    store.put(int(store.get("question", timeout=60).sum()), "answer")
