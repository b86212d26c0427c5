"""Objects through Ray: its store, tasks and actors, in real processes."""

import gc
import os
import secrets
import sys

import numpy as np
import pytest
from conformance.comparison import Comparison
from conformance.judgement import CONTEXTS, Holder
from conformance.table import LIBRARIES, cases, table
from helpers import run_python

ray = pytest.importorskip("ray", reason="ray, through which these tests send, is not installed")

from ray._private.serialization import SerializationContext  # noqa: E402
from ray.util import deregister_serializer, register_serializer  # noqa: E402
from ray_workers import Keeper, address_of, echo, fail, has_installed, lies_in_the_store  # noqa: E402

from oobcodec.integrations import ray as integration  # noqa: E402

pytestmark = [
    # JAX, if another test has imported it, warns of threads: Ray's processes start anew.
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
    # Of `ray.init`, which says what Ray is going to do with accelerators in a later version.
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
]

HOOK = "oobcodec.integrations.ray.install"
KIB, MIB = 1 << 10, 1 << 20
TABLE = table()


@pytest.fixture(scope="module", autouse=True)
def cluster():
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))  # else Ray leaves one in the home directory
    environment = {"worker_process_setup_hook": HOOK, "env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    integration.install()
    address = ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=256 * MIB,
        log_to_driver=False,
        namespace="tests",
        runtime_env=environment,
    ).address_info["gcs_address"]
    yield address
    ray.shutdown()
    integration.uninstall()


@pytest.fixture
def without():
    """Let this process, for a while, be one that has installed nothing."""
    integration.uninstall()
    yield
    integration.install()


def stored(obj):
    return ray.get(ray.put(obj))


def size(obj):
    """Return how many bytes an object takes in the store."""
    return ray._private.worker.global_worker.get_serialization_context().serialize(obj).total_bytes


# The table of all types


def arriving(case, sent):
    return case.arrives() if case.arrives else sent


def assert_arrived(got, want, library, **options):
    lost = Comparison(got, want, **options).lost
    # The memory of the store is read-only. Torch has none such: each tensor over a part of a storage is a copy.
    assert lost.keys() <= {"mutability", *(["sharing"] if library == "torch" else [])}, lost


@pytest.mark.parametrize(("library", "name"), TABLE)
def test_comes_out_of_the_store_as_it_went_in(library, name):
    case = TABLE[library, name]
    sent = case.make()
    got = stored([context(sent) for context in CONTEXTS.values()])
    want = arriving(case, sent)
    assert_arrived(got, [context(want) for context in CONTEXTS.values()], library)


@pytest.mark.parametrize("name", cases("stdlib"))
def test_comes_out_of_the_store_alone(name):
    case = TABLE["stdlib", name]
    sent = case.make()
    assert_arrived(stored(sent), arriving(case, sent), "stdlib")


@pytest.mark.parametrize("library", LIBRARIES)
def test_comes_back_from_a_worker_as_it_went(library):
    some = list(cases(library).values())[::4]
    sent = [case.make() for case in some]
    for case, obj, got in zip(some, sent, ray.get(echo.remote(sent)), strict=True):
        assert_arrived(got, arriving(case, obj), library, sent=False)


# Shared memory


def frames():
    pandas, polars, pyarrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    values = np.arange(100_000.0)
    return {
        "numpy": (values, address_of),
        "numpy, by columns": (np.asfortranarray(values.reshape(-1, 10)), address_of),
        "numpy, times": (values.astype("M8[s]"), address_of),
        "pandas": (pandas.DataFrame({"x": values}), lambda frame: address_of(frame["x"].to_numpy())),
        "polars": (polars.DataFrame({"x": values}), lambda frame: address_of(frame["x"].to_numpy(allow_copy=False))),
        "Arrow": (pyarrow.table({"x": values}), lambda got: got["x"].chunk(0).buffers()[1].address),
    }


@pytest.mark.parametrize("name", frames())
def test_is_a_view_of_shared_memory(name):
    obj, start = frames()[name]
    reference = ray.put({"of": [obj]})
    first, second = (start(ray.get(reference)["of"][0]) for _ in range(2))
    assert first == second
    assert lies_in_the_store(first)
    assert first % 64 == 0


def test_workers_view_the_same_memory():
    array = np.arange(100_000.0)
    keeper = Keeper.remote(array)
    assert ray.get(keeper.views_the_store.remote())
    assert ray.get(keeper.total.remote()) == array.sum()
    assert lies_in_the_store(address_of(ray.get(keeper.get.remote())))


def test_arrays_in_the_store_cannot_be_written_to_and_their_copies_can():
    reference = ray.put(np.zeros(1000))
    array = ray.get(reference)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    array = array.copy()
    array[0] = 1
    assert not ray.get(reference).any()


def test_views_outlive_their_reference():
    array = stored([np.arange(100_000.0)])[0]
    gc.collect()
    others = [stored(np.ones(MIB)) for _ in range(20)]  # more than would fit beside each other
    assert array.sum() == np.arange(100_000.0).sum()
    assert all(other.all() for other in others[-1:])


def test_memory_of_several_objects_is_stored_once():
    whole = np.arange(100_000.0)
    parts = [whole, whole[10:], whole[::2], whole.reshape(100, 1000).T]
    assert size(parts) < 1.01 * whole.nbytes + KIB
    got = stored(parts)
    for part, sent in zip(got, parts, strict=True):
        assert (part == sent).all()
        assert address_of(part) - address_of(got[0]) == address_of(sent) - address_of(whole)


def test_what_lies_between_elements_is_not_stored():
    assert size(np.zeros((1000, 1000))[:, 0]) < 8000 + 2 * KIB


def test_ten_rows_of_arrow_are_stored_as_ten_rows():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"x": np.arange(100_000.0), "name": [f"item {i}" for i in range(100_000)]})
    for whole in (table, table.to_batches()[0], table["name"], table["name"].chunk(0)):
        part = whole.slice(500, 10)
        assert size(part) < 4 * KIB
        assert stored(part) == part


def test_ten_rows_of_polars_are_stored_as_ten_rows():
    polars = pytest.importorskip("polars")
    whole = polars.DataFrame({"x": np.arange(100_000.0), "name": [f"item {i}" for i in range(100_000)]})
    part = whole.slice(500, 10)
    assert size(part) < 4 * KIB
    assert stored(part).equals(part)


# Torch


def test_tensors_are_copies_of_their_own_that_can_be_written_to():
    torch = pytest.importorskip("torch")
    reference = ray.put(torch.zeros(1000))
    tensor = ray.get(reference)
    tensor += 1
    assert not ray.get(reference).any()
    assert not lies_in_the_store(tensor.data_ptr())


def test_tied_weights_stay_tied():
    torch = pytest.importorskip("torch")
    encoder, decoder = torch.nn.Linear(100, 100), torch.nn.Linear(100, 100)
    decoder.weight = encoder.weight
    model = torch.nn.Sequential(encoder, decoder)
    assert size(model) < 1.5 * encoder.weight.nbytes
    for got in (stored(model), ray.get(echo.remote(model))):
        assert got[0].weight is got[1].weight
    state = stored(model.state_dict())
    assert state["0.weight"].data_ptr() == state["1.weight"].data_ptr()


# What Ray does with objects by itself


def test_one_object_stays_one_in_lists_and_dicts():
    shared = [1, 2]
    twice, again = stored([shared, {"again": shared}])
    assert twice is again["again"]
    circle = []
    circle.append(circle)
    got = stored(circle)
    assert got[0] is got


@pytest.mark.parametrize("obj", [bytearray(b"abc"), [bytearray(b"abc")], memoryview(b"abc"), type("B", (bytes,), {})()])
def test_bytes_keep_their_type(obj):
    assert Comparison(stored(obj), obj).lost.keys() <= {"mutability"}


@pytest.mark.parametrize("value", [None, True, 1, 0.5, "text", b"bytes"])
def test_plain_values_can_still_be_read_in_other_languages(value):
    serialized = ray._private.worker.global_worker.get_serialization_context().serialize(value)
    assert serialized.metadata in {b"XLANG", b"RAW"}
    assert stored(value) == value


def test_functions_and_classes_by_value():
    class Local:
        def __init__(self, array):
            self.array = array

    array = np.arange(1000.0)
    function, local = ray.get(echo.remote((lambda: array.sum() + 1, Local(array))))
    assert function() - 1 == local.array.sum() == array.sum()


def test_references_inside_of_objects_keep_alive_what_they_refer_to():
    outer = ray.put(Holder("holder", {"inside": [ray.put(np.ones(100_000))], "array": np.ones(100_000)}))
    gc.collect()
    assert ray.get(ray.get(outer).content["inside"][0]).sum() == 100_000
    (inner,) = ray.get(echo.remote([ray.put(np.ones(100_000))]))
    assert ray.get(inner).sum() == 100_000


def test_actors_are_passed_alone_and_inside_of_objects():
    keeper = Keeper.remote(np.ones(10))
    for actor in (ray.get(echo.remote(keeper)), ray.get(echo.remote({"actor": keeper}))["actor"]):
        assert ray.get(actor.total.remote()) == 10


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


def test_what_is_registered_with_ray_goes_first():
    register_serializer(Celsius, serializer=vars, deserializer=str)
    register_serializer(np.ndarray, serializer=np.ndarray.tolist, deserializer=str)
    try:
        assert stored({"x": Celsius(5), "y": np.ones(2)}) == {"x": "{'degrees': 5}", "y": "[1.0, 1.0]"}
    finally:
        deregister_serializer(Celsius)
        deregister_serializer(np.ndarray)
    assert stored(np.ones(2)).tolist() == [1, 1]


def test_what_cannot_be_pickled_is_refused_with_what_ray_says():
    import threading

    with pytest.raises(TypeError, match="Could not serialize"):
        ray.put({"lock": threading.Lock()})
    assert stored([1]) == [1]


def test_errors_of_tasks_arrive():
    with pytest.raises(LookupError, match="not here"):
        ray.get(fail.remote("not here"))


# Who has installed it, and who has not


def test_the_hook_installs_it_in_workers():
    assert ray.get(has_installed.remote())


def test_again_does_no_harm():
    integration.install()
    integration.install()
    assert (stored(np.ones(1000)) == 1).all()


def test_uninstalled_is_as_before(without):
    assert SerializationContext.serialize is integration._rays_own
    one, other = stored([[1]] * 2)
    assert one is not other


def test_what_is_in_the_store_can_be_got_without_it(without):
    integration.install()
    reference = ray.put([np.arange(1000.0)] * 2)
    integration.uninstall()
    first, second = ray.get(reference)
    assert first is second
    assert first.sum() == np.arange(1000.0).sum()


def test_what_went_in_without_it_can_be_got(without):
    reference = ray.put([np.arange(1000.0)] * 2)
    integration.install()
    assert ray.get(reference)[1].sum() == np.arange(1000.0).sum()


WITHOUT = """
    import sys
    import warnings

    warnings.simplefilter("ignore")
    import ray
    from ray._private.serialization import SerializationContext

    ray.init(sys.argv[1], namespace="tests", log_to_driver=False)

    @ray.remote
    def total(array):
        return float(array.sum()), "oobcodec" in sys.modules

    keeper = ray.get_actor("keeper")
    got = ray.get(keeper.get.remote())
    print(got.sum(), *ray.get(total.remote(keeper.get.remote())))
    print(SerializationContext.serialize.__module__)
    for name in [name for name in sys.modules if name.startswith("oobcodec")]:
        sys.modules[name] = None
    try:
        ray.get(keeper.get.remote())
    except ray.exceptions.RaySystemError as error:
        print(error)
"""


def test_another_job_without_it_understands_or_says_what_is_missing(cluster):
    keeper = Keeper.options(name="keeper").remote(np.arange(1000.0))
    assert ray.get(keeper.total.remote()) == 499500
    understood, serializes, error = run_python(WITHOUT, cluster).decode().split("\n", 2)
    assert understood == "499500.0 499500.0 True"
    assert serializes == "ray._private.serialization"
    assert "oobcodec" in error
