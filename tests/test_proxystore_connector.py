"""`StoreConnector`: ProxyStore's objects in shared memory, by real stores and through real proxies."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from helpers import run_python
from processes import LONG, MIB
from proxystore.connectors.multi import MultiConnector, Policy
from proxystore.connectors.protocols import Connector, DeferrableConnector
from proxystore.proxy import Proxy, ProxyResolveError, is_resolved
from proxystore.store import Store, get_store
from proxystore.store.config import StoreConfig
from proxystore.store.exceptions import ProxyResolveMissingKeyError
from stores import place  # noqa: F401  # a fixture

import oobcodec
from oobcodec.errors import StoreError, StoreFullError
from oobcodec.integrations.proxystore import StoreConnector, StoreKey, deserializer, serializer

SETTINGS = {"serializer": serializer, "deserializer": deserializer, "cache_size": 0}


@pytest.fixture
def connector(place):  # noqa: F811
    with StoreConnector("tests", capacity="64 MiB", directory=place) as made:
        yield made


@pytest.fixture
def store(connector):

    with Store("shared memory", connector, register=True, **SETTINGS) as made:
        yield made


def path_of_memory(array):
    """Return the file that an array's memory is of."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, *_, path = line.split(maxsplit=5)
        begin, end = (int(part, 16) for part in where.split("-"))
        if begin <= address < end:
            return path
    raise LookupError(address)


def total_and_path(proxy):
    return float(proxy.sum()), path_of_memory(np.asarray(proxy)), np.asarray(proxy).flags.writeable


def test_is_a_connector(connector):
    assert isinstance(connector, Connector)
    assert isinstance(connector, DeferrableConnector)
    assert repr(connector) == "StoreConnector('tests')"


@pytest.mark.parametrize("make", [bytes, bytearray, lambda nbytes: memoryview(bytes(nbytes))])
@pytest.mark.parametrize("nbytes", [0, 1, 1000, MIB])
def test_bytes_come_back(connector, make, nbytes):
    key = connector.put(make(nbytes))
    assert isinstance(key, StoreKey)
    got = connector.get(key)
    assert (got, got.readonly) == (bytes(nbytes), True)


def test_evicted_ones_are_gone(connector):
    key = connector.put(b"x")
    assert connector.exists(key)
    for _ in range(2):
        connector.evict(key)
        assert not connector.exists(key)
        assert connector.get(key) is None


def test_batches_keep_their_order(connector):
    keys = connector.put_batch([b"a", b"", b"c"])
    connector.evict(keys[1])
    assert connector.get_batch(keys) == [b"a", None, b"c"]


def test_nothing_goes_to_make_room(connector):
    keys = [connector.put(bytes(16 * MIB)) for _ in range(3)]
    with pytest.raises(StoreFullError, match="MiB of it pinned"):
        connector.put(bytes(32 * MIB))
    assert all(map(connector.exists, keys))


def test_config_leads_to_the_same_store(connector, tmp_path):
    key = connector.put(b"x")
    with StoreConnector.from_config(connector.config()) as other:
        assert other.get(key) == b"x"
    file = tmp_path / "store.toml"
    Store("by file", connector, register=False).config().write_toml(file)
    with Store.from_config(StoreConfig.from_toml(file)) as store:
        assert store.connector.get(key) == b"x"


def test_config_makes_no_empty_store_where_the_one_is_gone(place):  # noqa: F811
    with StoreConnector("tests", directory=place) as connector:
        config = connector.config()
    connector.close()
    with pytest.raises(StoreError, match="there is no store 'tests'"):
        StoreConnector.from_config(config)


def test_objects_are_read_where_they_lie(store):
    array = np.arange(MIB).reshape(-1, 4)
    got = store.get(store.put({"x": array}))["x"]
    np.testing.assert_array_equal(got, array)
    assert path_of_memory(got).startswith(store.connector.config()["directory"])
    assert not got.flags.writeable


def test_arrays_outlive_the_store(store):
    key = store.put(np.arange(MIB))
    got = store.get(key)
    store.evict(key)
    store.close()
    assert got[-1] == MIB - 1


def test_proxies_resolve(store):
    proxy = pickle.loads(pickle.dumps(store.proxy(np.ones(MIB))))
    assert isinstance(proxy, Proxy)
    assert not is_resolved(proxy)
    assert proxy.sum() == MIB


def test_proxies_of_a_batch_resolve(store):
    proxies = store.proxy_batch([np.full(MIB, i) for i in range(3)])
    assert [proxy[-1] for proxy in proxies] == [0, 1, 2]


def test_proxies_may_evict_what_they_resolve(store):
    packed = pickle.dumps(store.proxy(np.ones(MIB), evict=True))
    assert pickle.loads(packed).sum() == MIB
    with pytest.raises(ProxyResolveError) as caught:
        pickle.loads(packed).sum()
    assert isinstance(caught.value.__cause__, ProxyResolveMissingKeyError)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_proxies_resolve_in_another_process(store, method):
    proxy = store.proxy(np.ones(MIB))
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        total, path, writable = pool.submit(total_and_path, proxy).result(LONG)
    assert (total, writable) == (MIB, False)
    assert path.startswith(store.connector.config()["directory"])


def test_proxies_resolve_where_nothing_was_imported(store, tmp_path):
    file = tmp_path / "proxy"
    file.write_bytes(pickle.dumps(store.proxy({"x": np.ones(MIB), "y": ["z"]})))
    code = """
        import pickle, sys
        from pathlib import Path
        proxy = pickle.loads(Path(sys.argv[1]).read_bytes())
        print(proxy["x"].sum(), proxy["y"])
    """
    assert run_python(code, file).split() == [b"1048576.0", b"['z']"]


def test_futures_resolve(store):
    future = store.future()
    proxy = future.proxy()
    future.set_result(np.ones(MIB))
    assert proxy.sum() == MIB


def test_goes_together_with_other_connectors(place, connector):  # noqa: F811
    with StoreConnector("other", directory=place) as other:
        small = Policy(max_size_bytes=4096, priority=1)
        both = MultiConnector({"small": (connector, small), "large": (other, Policy())})
        with Store(
            "both", both, serializer=serializer, deserializer=deserializer, cache_size=0, register=True
        ) as store:
            proxies = [store.proxy(np.ones(size)) for size in (10, MIB)]
            assert [proxy.sum() for proxy in pickle.loads(pickle.dumps(proxies))] == [10, MIB]
            assert len(oobcodec.Store("other", directory=place, create=False)) == 1
            assert get_store(proxies[0]) is store
