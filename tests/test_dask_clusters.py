"""Dask at work over ``oob://``, with real processes: results are those without it."""

import os
import signal
import urllib.request

import dask
import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="distributed, which is at work here, is not installed")
pandas = pytest.importorskip("pandas")

import dask.array  # noqa: E402
import dask.dataframe  # noqa: E402
from distributed import Client, LocalCluster, wait  # noqa: E402

from oobcodec.integrations.dask import OobSchedulerPlugin, OobWorkerPlugin  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Port 8787"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MIB = 1 << 20
LONG = 60  # seconds
"""Nothing here takes that long."""


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, protocol="oob://", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_all_speak_it(client):
    workers = client.scheduler_info()["workers"]
    assert len(workers) == 2
    assert all(address.startswith("oob://") for address in workers)
    assert client.submit(lambda: distributed.get_worker().scheduler.address).result(LONG).startswith("oob://")


def test_scatter_and_gather(client):
    torch, polars = pytest.importorskip("torch"), pytest.importorskip("polars")
    layer = torch.nn.Linear(100, 100)
    objects = {
        "array": np.arange(MIB).reshape(1024, 1024).T,
        "list": [np.arange(10.0)] * 100,
        "torch": torch.nn.Sequential(layer, layer).to(torch.bfloat16),
        "polars": polars.DataFrame({"x": ["a", None, "b"] * 1000}),
        "pandas": pandas.DataFrame({"x": range(1000)}, index=pandas.date_range("2020", periods=1000)),
    }
    for direct in (True, False):
        got = client.gather(client.scatter(objects, direct=direct), direct=direct)
        np.testing.assert_array_equal(got["array"], objects["array"])
        np.testing.assert_array_equal(got["list"], objects["list"])
        assert got["torch"][0].weight is got["torch"][1].weight
        assert torch.equal(got["torch"][0].weight, objects["torch"][0].weight)
        assert got["polars"].equals(objects["polars"])
        pandas.testing.assert_frame_equal(got["pandas"], objects["pandas"])


def test_objects_from_worker_to_worker_arrive_aligned(client):
    first, second = sorted(client.scheduler_info()["workers"])
    array = client.submit(np.arange, 1e6, workers=[first])

    def facts(x):
        return x.sum(), x.ctypes.data % 64, x.flags.writeable

    assert client.submit(facts, array, workers=[second]).result(LONG) == (np.arange(1e6).sum(), 0, True)


def test_errors_come_back(client):
    with pytest.raises(ZeroDivisionError):
        client.submit(lambda: 1 / 0).result(LONG)


def test_a_shuffle(client):
    frame = pandas.DataFrame({"key": np.arange(20_000) % 97, "x": np.arange(20_000) / 7})
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        parts = dask.dataframe.from_pandas(frame, npartitions=8).shuffle("key", npartitions=5)
        got = parts.compute().sort_index()
    pandas.testing.assert_frame_equal(got.astype(frame.dtypes), frame)


def test_a_rechunk(client):
    whole = np.random.default_rng(0).random((1000, 1000))
    with dask.config.set({"array.rechunk.method": "p2p"}):
        got = dask.array.from_array(whole, chunks=(100, 1000)).rechunk((1000, 100)).compute()
    np.testing.assert_array_equal(got, whole)


def test_with_a_dashboard_four_workers_that_spill_and_die():
    with (
        dask.config.set({"distributed.worker.memory.target": 0.2, "distributed.worker.memory.spill": False}),
        LocalCluster(
            n_workers=4,
            threads_per_worker=1,
            protocol="oob://",
            dashboard_address="127.0.0.1:0",
            memory_limit=400 * MIB,
        ) as cluster,
        Client(cluster) as client,
    ):
        with urllib.request.urlopen(cluster.dashboard_link) as page:
            assert page.status == 200
        first = next(iter(client.scheduler_info()["workers"]))
        arrays = client.map(lambda i: [np.full(MIB, float(i))], range(16), workers=[first])
        wait(arrays, LONG)
        assert client.run(lambda dask_worker: len(dask_worker.data.disk), workers=[first])[first] > 0
        assert [array[0][0] for array in client.gather(arrays)] == list(range(16))

        slow = client.map(lambda i: np.full(1000, i).sum(), range(50))
        doomed = client.run(os.getpid, workers=[first])[first]
        os.kill(doomed, signal.SIGKILL)
        assert client.gather(slow) == [1000 * i for i in range(50)]
        client.wait_for_workers(4, LONG)
        del arrays, slow


def test_plugins_and_preloads_bring_it_to_clusters_that_speak_tcp():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"x": ["a", None, "b"] * 1000})

    def active():
        from distributed.protocol.serialize import families

        return families["pickle"][0].__module__

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        assert client.submit(active, pure=False).result(LONG) == "distributed.protocol.serialize"
        client.register_plugin(OobWorkerPlugin())
        client.register_plugin(OobSchedulerPlugin())
        assert client.submit(active, pure=False).result(LONG) == "oobcodec.integrations.dask.family"
        assert client.submit(lambda x: x, frame).result(LONG).equals(frame)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, preload=["oobcodec.integrations.dask"]
        ) as cluster,
        Client(cluster) as client,
    ):
        assert client.submit(active).result(LONG) == "oobcodec.integrations.dask.family"
