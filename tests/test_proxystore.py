"""`oobcodec.integrations.proxystore`: objects in real stores, by real connectors, and through proxies."""

import pickle
import shutil
import socket
import subprocess
import threading
import time
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from conformance.comparison import Comparison
from conformance.table import table
from helpers import run_python
from proxystore.connectors.file import FileConnector
from proxystore.connectors.local import LocalConnector
from proxystore.connectors.multi import MultiConnector, Policy
from proxystore.connectors.redis import RedisConnector
from proxystore.proxy import Proxy, is_resolved
from proxystore.store import Store

import oobcodec
from oobcodec.integrations.proxystore import deserializer, serializer

TABLE = table()
N = 1 << 17
LONG = 60  # seconds: nothing here takes that long


def opened(connector, deserialize=deserializer):
    # Registered, for proxies to find it.
    return Store("test", connector, serializer=serializer, deserializer=deserialize, cache_size=0, register=True)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory):
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not on the PATH: apt-get install redis-server")
    port = free_port()
    command = [
        server,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        tmp_path_factory.mktemp("redis"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + LONG
        while time.monotonic() < end and process.poll() is None:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(LONG)


@pytest.fixture
def file_connector(tmp_path):
    return FileConnector(str(tmp_path / "store"))


@pytest.fixture
def local_connector():
    return LocalConnector()


@pytest.fixture
def redis_connector(redis_port):
    return RedisConnector("127.0.0.1", redis_port)


@pytest.fixture
def multi_connector(file_connector, local_connector):
    small = Policy(max_size_bytes=4096, priority=1)
    return MultiConnector({"small": (local_connector, small), "large": (file_connector, Policy())})


@pytest.fixture(params=["file", "local", "multi", "redis"])
def store(request):
    connector = request.getfixturevalue(f"{request.param}_connector")
    with opened(connector) as store:
        yield store


@pytest.fixture
def file_store(file_connector):
    with opened(file_connector) as store:
        yield store


PLAIN = [
    *(
        b"",
        b"b",
        bytes(N),
        b"OOB",
        "",
        "s",
        "\udc80",
        "é" * N,
        "x" * N,
        None,
        5,
        {"a": [1, 2, (3,)]},
        [bytes(N), "s" * N],
    ),
    *(bytearray(b"array"), {"data": bytes(1 << 20)}, bytes(64), bytes(1)),
]


@pytest.mark.parametrize("obj", PLAIN, ids=range(len(PLAIN)))
def test_plain_data(store, obj):
    got = store.get(store.put(obj))
    assert type(got) is type(obj)
    assert got == obj


def test_arrays_frames_and_tensors(store):
    sent = {
        "numpy": np.arange(N),
        "polars": pl.DataFrame({"x": range(N)}),
        "torch": torch.arange(N),
        "small": [np.ones(3)],
    }
    got = store.get(store.put(sent))
    assert np.array_equal(got["numpy"], sent["numpy"])
    assert got["polars"].equals(sent["polars"])
    assert torch.equal(got["torch"], sent["torch"])
    assert np.array_equal(got["small"][0], np.ones(3))


def test_large_objects(store):
    sent = np.ones(5 << 20)
    assert np.array_equal(store.get(store.put(sent)), sent)


def test_batches(store):
    sent = [np.arange(N), b"bytes", {"x": 1}]
    keys = store.put_batch(sent)
    assert np.array_equal(store.get(keys[0]), sent[0])
    assert [store.get(key) for key in keys[1:]] == sent[1:]


def test_absent_object(store):
    key = store.put(b"bytes")
    store.evict(key)
    assert store.get(key) is None


def test_proxies(store):
    proxy = pickle.loads(pickle.dumps(store.proxy(np.arange(N), populate_target=False)))
    assert isinstance(proxy, Proxy)
    assert not is_resolved(proxy)
    assert proxy.sum() == N * (N - 1) // 2


@pytest.mark.parametrize(("library", "name"), TABLE)
def test_arrives_as_it_left(library, name):
    case = TABLE[library, name]
    sent = case.make()
    got = deserializer(bytearray(serializer(sent)))
    assert not Comparison(got, case.arrives() if case.arrives else sent).lost


def test_what_is_stored_is_a_message_in_its_packed_form():
    for obj in (b"bytes", "text", {"a": 1}, np.arange(N)):
        assert serializer(obj) == oobcodec.pack(oobcodec.dumps(obj))
        assert (
            deserializer(oobcodec.pack(oobcodec.dumps(obj)))[0] in {98, "t", 0} if not isinstance(obj, dict) else True
        )


@pytest.mark.parametrize("obj", [b"x" * 100_000, "x" * 100_000, np.arange(100_000), [*range(1000)] * 100], ids=type)
def test_options_of_dumps(obj):
    pytest.importorskip("blosc2", reason="blosc2 is not installed")
    data = serializer(obj, compression="zstd")
    assert len(data) < len(serializer(obj)) / 2
    assert np.array_equal(deserializer(data), obj)


def test_arrays_are_views_of_what_the_connector_returns():
    data = serializer(np.arange(N))
    got = deserializer(data)
    assert np.shares_memory(got, np.frombuffer(data, "u1"))
    assert not got.flags.writeable


@pytest.mark.parametrize("count", [N, 5 << 20])
def test_what_is_in_memory_cannot_be_changed_from_outside(local_connector, count):
    with opened(local_connector) as store:
        array = np.arange(count)
        key = store.put(array)
        array[0] = 7
        first, second = store.get(key), store.get(key)
    assert first[0] == 0
    assert np.shares_memory(first, second)
    assert not first.flags.writeable


def test_writable_arrays_by_another_deserializer(file_connector):
    deserialize = partial(oobcodec.loads, writable=True)
    with opened(file_connector, deserialize) as store:
        proxy = pickle.loads(pickle.dumps(store.proxy(np.arange(N), populate_target=False)))
        proxy[0] = 5
        assert proxy[0] == 5


@pytest.mark.parametrize("data", [b"", b"short", b"PK\n\x80\x05N.", bytes(100)])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(oobcodec.DecodeError):
        deserializer(data)


@pytest.mark.parametrize("obj", [bytes(1000), "x" * 1000, {"a": 1, "b": "x" * 100}, np.arange(1000)])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
def test_truncated_and_surplus_bytes_are_refused(obj, change):
    with pytest.raises(oobcodec.DecodeError):
        deserializer(change(serializer(obj)))


@pytest.mark.parametrize("memory", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("obj", [bytes(1000), "x" * 1000, {"a": 1}])
def test_any_memory_will_do(obj, memory):
    got = deserializer(memory(serializer(obj)))
    assert type(got) is type(obj)
    assert got == obj


def test_refusals_name_the_culprit(file_store):
    with pytest.raises(oobcodec.EncodeError, match=r"at \['lock'\]"):
        file_store.put({"lock": threading.Lock()})


CONSUMER = """
    import pickle, sys
    proxy = pickle.load(sys.stdin.buffer)
    print("oobcodec" in sys.modules, int(proxy.sum()), proxy.flags.writeable)
"""


def test_proxies_are_resolved_in_another_process(file_store):
    proxy = file_store.proxy(np.arange(N), populate_target=False)
    printed = run_python(CONSUMER, stdin=pickle.dumps(proxy))
    assert printed.split() == [b"True", str(N * (N - 1) // 2).encode(), b"False"]
