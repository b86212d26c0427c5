"""A store in the workers of pools, of Dask and of Ray: what is put once is read there where it lies."""

import os
import secrets
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from processes import CONTEXTS, LONG
from stores import FORKING, MIB, place, store  # noqa: F401  # fixtures

import oobcodec

N = MIB // 16

pytestmark = [
    *FORKING,
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Port 8787"),
]


def work(ref):
    """Return what a worker sees of an array, and a reference to another that it makes."""
    array = ref.get()
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, *_, path = line.split(maxsplit=5)
        begin, end = (int(part, 16) for part in where.split("-"))
        if begin <= address < end:
            break
    store = oobcodec.Store(ref.store, directory=ref.directory, create=False)  # noqa: F811
    return float(array.sum()), path.startswith(ref.directory), store.put(array * 2)


def check(store, results):  # noqa: F811
    for total, is_shared, ref in results:
        assert (total, is_shared) == (N, True)
        assert store.get(ref).sum() == 2 * N


@pytest.mark.parametrize("context", CONTEXTS)
def test_executors(store, context):  # noqa: F811
    ref = store.put(np.ones(N))
    with ProcessPoolExecutor(2, context) as pool:
        check(store, pool.map(work, [ref] * 4, timeout=LONG))


def test_threads(store):  # noqa: F811
    ref = store.put(np.ones(N))
    with ThreadPoolExecutor(8) as pool:
        check(store, pool.map(work, [ref] * 64, timeout=LONG))
    assert len(store) == 65


def test_dask(store):  # noqa: F811
    distributed = pytest.importorskip("distributed", reason="distributed, whose workers these are, is not installed")
    ref = store.put(np.ones(N))
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        check(store, client.gather(client.map(work, [ref] * 4, pure=False)))


def test_ray(store, monkeypatch):  # noqa: F811
    ray = pytest.importorskip("ray", reason="ray, whose workers these are, is not installed")
    # Else Ray leaves one in the home directory; a process keeps the first that it has used.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)  # what its workers would be measured by does not go with Ray
    ref = store.put(np.ones(N))
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    options = {"include_dashboard": False, "object_store_memory": 80 * MIB, "log_to_driver": False}
    ray.init(num_cpus=2, runtime_env=environment, **options)
    try:
        check(store, ray.get([ray.remote(work).remote(ref) for _ in range(4)], timeout=LONG))
    finally:
        ray.shutdown()
