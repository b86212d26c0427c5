"""`oobcodec.installation`: other picklers send torch, polars and Arrow out of band, and are as before without it."""

import copy
import copyreg
import io
import json
import pickle
import sys
import threading
from multiprocessing.reduction import ForkingPickler

import cloudpickle
import joblib
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from conformance.comparison import Comparison
from conformance.judgement import judge
from conformance.table import table
from helpers import run_python

import oobcodec
from benchmarks.peers import Peer
from oobcodec.installation import install, uninstall

TABLE = table()
COVERED = ("polars", "pyarrow", "torch")
TOGETHER = {"in-band", "sharing", "shipped"}
"""What takes an encoder that sees all buffers of a message."""
N = 100_000
OBJECTS = {
    "tensor": lambda: torch.arange(N),
    "parameter": lambda: torch.nn.Parameter(torch.ones(N)),
    "storage": lambda: torch.ones(N).untyped_storage(),
    "module": lambda: torch.nn.Linear(300, 300),
    "frame": lambda: pl.DataFrame({"x": range(N), "text": ["text"] * N}),
    "series": lambda: pl.Series("x", range(N)),
    "array": lambda: pa.array(range(N)),
    "chunked array": lambda: pa.chunked_array([range(N), range(N)]),
    "table": lambda: pa.table({"x": range(N), "text": ["text"] * N}),
    "batch": lambda: pa.record_batch({"x": range(N)}),
    "buffer": lambda: pa.py_buffer(bytes(N)),
}
HELD = dict.fromkeys(OBJECTS, 8 * N) | {"parameter": 4 * N, "storage": 4 * N, "module": 4 * 90_000, "buffer": N}
objects = pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in OBJECTS.items()])


@pytest.fixture(autouse=True)
def _uninstalled():
    uninstall()
    yield
    uninstall()


def taken_apart(obj, dumps=pickle.dumps):
    buffers = []
    return dumps(obj, protocol=5, buffer_callback=buffers.append), buffers


def attempt(function, *arguments):
    """Return a result, or the class of what was raised instead."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the same with and without
        return type(error)


def arrived(obj, protocol):
    return attempt(lambda: pickle.loads(pickle.dumps(obj, protocol)))


# The table


@pytest.mark.parametrize(("library", "name"), [key for key in TABLE if key[0] in COVERED])
def test_protocols_below_5_are_as_without_it(library, name):
    sent = TABLE[library, name].make()
    want = [arrived(sent, protocol) for protocol in (2, 3, 4)]
    with install():
        got = [arrived(sent, protocol) for protocol in (2, 3, 4)]
    assert not Comparison(got, want, sent=False).lost


PICKLE5 = Peer(
    "pickle5",
    "",
    taken_apart,
    lambda stream, buffers: pickle.loads(stream, buffers=buffers),
    lambda stream, _: len(stream),
)


@pytest.mark.parametrize(("library", "name"), [key for key in TABLE if key[0] in COVERED])
def test_arrives_as_it_left_but_for_what_objects_share(library, name):
    with install():
        lost = judge(PICKLE5, TABLE[library, name], "twice").lost
    assert lost.keys() <= TOGETHER
    if lost:
        native = attempt(judge, PICKLE5, TABLE[library, name], "twice")
        assert isinstance(native, type) or lost.keys() <= native.lost.keys()


@pytest.mark.parametrize(("library", "name"), [key for key in TABLE if key[0] not in COVERED])
def test_what_is_not_covered_is_pickled_no_worse(library, name):
    case = TABLE[library, name]
    native = attempt(judge, PICKLE5, case, "alone")
    with install():
        lost = attempt(judge, PICKLE5, case, "alone")
    if isinstance(native, type):
        assert lost is native or isinstance(lost, tuple)
    else:
        assert lost.lost.keys() <= native.lost.keys()


# Out of band


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
@pytest.mark.parametrize("name", OBJECTS)
def test_data_are_out_of_band(name, dumps):
    with install():
        stream, buffers = taken_apart(OBJECTS[name](), dumps)
    assert len(stream) < 2048
    assert sum(buffer.raw().nbytes for buffer in buffers) >= HELD[name]


def test_nothing_is_copied():
    tensor, array, series = torch.arange(N), pa.array(range(N)), pl.Series(range(N))
    memories = [tensor.numpy(), array.to_numpy(), series.to_numpy()]
    with install():
        for obj, memory in zip((tensor, array, series), memories, strict=True):
            stream, (buffer,) = taken_apart(obj)
            assert np.shares_memory(np.frombuffer(buffer, "u1"), memory)
            frame = bytearray(buffer)
            got = pickle.loads(stream, buffers=[frame])
            assert np.shares_memory(got.to_numpy() if obj is not tensor else got.numpy(), np.frombuffer(frame, "u1"))


def test_buffers_may_be_anything_when_they_are_read():
    whole = torch.arange(1000.0)
    with install():
        stream, buffers = taken_apart([whole[:500], whole[::2]])
    got = pickle.loads(stream, buffers=buffers)  # of pickle, which have no length
    assert torch.equal(got[0], whole[:500])
    assert torch.equal(got[1], whole[::2])
    assert np.shares_memory(got[0].numpy(), whole.numpy())


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_slices_are_what_is_theirs(dumps):
    long = pa.table({"x": range(N), "text": [str(i) for i in range(N)]})
    slices = [
        long.slice(50, 200),
        torch.ones(N)[:200],
        torch.ones(1000, N // 1000)[:200, :2],
        pl.from_arrow(long)[:200],
    ]
    with install():
        for part in slices:
            stream, buffers = taken_apart(part, dumps)
            assert len(stream) + sum(buffer.raw().nbytes for buffer in buffers) < 8192


def test_what_lies_between_the_elements_stays_at_home():
    secret = torch.zeros(2000, 2, dtype=torch.uint8)
    secret[:, 1] = 7
    with install():
        _, (buffer,) = taken_apart(secret[:, 0])
    assert bytes(buffer) == bytes(2000)


def test_small_buffers_stay_in_the_pickle():
    with install():
        _, buffers = taken_apart([pa.array([i]) for i in range(100)] + [torch.ones(1)] * 100)
    assert not buffers


def test_tied_weights_stay_tied():
    weight = torch.nn.Parameter(torch.ones(N))
    with install():
        stream, buffers = taken_apart({"a": weight.data, "b": weight.data.view(2, -1)})
    got = pickle.loads(stream, buffers=buffers)
    assert len(buffers) == 1
    assert got["a"].untyped_storage().data_ptr() == got["b"].untyped_storage().data_ptr()


def test_without_a_callback_the_data_are_in_the_pickle():
    with install():
        got = pickle.loads(pickle.dumps([make() for make in OBJECTS.values() if make is not OBJECTS["module"]], 5))
    got[0][0] = 5  # writable, as it was
    assert got[0][0] == 5


def test_arrays_of_numpy_are_left_alone():
    array = np.arange(N)
    want = pickle.dumps(array, 5)
    with install():
        assert pickle.dumps(array, 5) == want
        assert np.ndarray not in copyreg.dispatch_table


def test_a_reader_needs_oobcodec_and_nothing_installed(tmp_path):
    with install():
        (tmp_path / "pickled").write_bytes(pickle.dumps([torch.arange(3), pl.Series([1]), pa.array([2])], 5))
    code = "import pickle, sys; print(*map(sum, pickle.load(open(sys.argv[1], 'rb'))[:2]))"
    assert run_python(code, tmp_path / "pickled").split() == [b"tensor(3)", b"1"]


# Safe


@objects
def test_copies_are_as_without_it(make):
    obj = make()
    wants = [copy.copy(obj), copy.deepcopy(obj)]
    with install():
        gots = [copy.copy(obj), copy.deepcopy(obj)]
    assert not Comparison([obj, *gots], [obj, *wants], sent=False).lost


@objects
def test_joblib_hashes_the_same(make):
    obj = make()
    want = joblib.hash(obj)
    with install():
        assert joblib.hash(obj) == want
    assert joblib.hash(obj) == want


@objects
@pytest.mark.parametrize("protocol", range(2, 6))
def test_picklers_in_python(make, protocol):
    obj = make()
    native, file = io.BytesIO(), io.BytesIO()
    pickle._Pickler(native, protocol).dump(obj)
    with install():
        pickle._Pickler(file, protocol).dump(obj)
    if protocol < 5:
        assert file.getvalue() == native.getvalue()
    else:
        assert not Comparison(pickle.loads(file.getvalue()), obj).lost


@objects
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_below_protocol_5_a_reader_needs_no_oobcodec(make, protocol):
    with install():
        assert b"oobcodec" not in pickle.dumps(make(), protocol)


def test_joblib_dumps_and_loads(tmp_path):
    with install():
        joblib.dump([torch.arange(N), pa.array([1])], tmp_path / "file")
    got = joblib.load(tmp_path / "file")
    assert torch.equal(got[0], torch.arange(N))
    assert got[1] == pa.array([1])


def test_torch_loads_what_it_saved():
    state = torch.nn.Linear(30, 30).state_dict() | {"part": torch.arange(100)[::2]}
    with install():
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        got = torch.load(file, weights_only=True)
    assert all(torch.equal(got[name], state[name]) for name in state)


def test_torch_saves_in_its_own_way_with_any_protocol():
    with install():
        file = io.BytesIO()
        torch.save([torch.ones(30), torch.nn.Parameter(torch.ones(3))], file, pickle_protocol=5)
    assert b"oobcodec" not in file.getvalue()


def test_multiprocessing_is_left_alone():
    with install():
        assert b"oobcodec" not in bytes(ForkingPickler.dumps([pl.Series(range(N)), pa.array(range(N))]))
        assert b"rebuild_storage_fd" in bytes(ForkingPickler.dumps(torch.ones(5)))


@objects
def test_oobcodec_sends_the_same(make):
    obj = make()
    # The stream of a lone tensor is another one once it has been remembered; and classes that come and go are noticed.
    *_, want = [oobcodec.dumps(obj) for _ in range(5)]
    with install():
        *_, frames = [oobcodec.dumps(obj) for _ in range(5)]
    assert frames == want


class OwnWay(torch.Tensor):
    """A tensor that has something to say on how it is pickled."""

    def __reduce_ex__(self, protocol):
        return make_own_way, super().__reduce_ex__(protocol)


def make_own_way(function, arguments, *_):
    tensor = function(*arguments).as_subclass(OwnWay)
    tensor.own = True
    return tensor


class Reduces(pl.Series):
    """A series that has something to say on how it is pickled."""

    def __reduce__(self):
        return pl.Series, ("reduced", [1])


def test_subclasses_keep_a_way_of_their_own():
    with install():
        got = pickle.loads(pickle.dumps([torch.ones(3).as_subclass(OwnWay), Reduces([5])], 5))
    assert got[0].own
    assert got[1].name == "reduced"


class Labelled(torch.Tensor):
    """A tensor that goes the way of tensors."""


def test_subclasses_without_one_arrive():
    tensor = torch.ones(N).as_subclass(Labelled)
    tensor.label = "label"
    with install():
        stream, buffers = taken_apart(tensor)
    got = pickle.loads(stream, buffers=buffers)
    assert type(got) is Labelled
    assert got.label == "label"
    assert len(buffers) == 1


def test_a_registered_reducer_that_asks_the_class_is_asked_once():
    calls = []

    def reduce(tensor):
        calls.append(tensor)
        return tensor.__reduce_ex__(5)

    oobcodec.register_reducer(torch.Tensor, reduce)
    try:
        with install():
            got = pickle.loads(pickle.dumps(torch.ones(3), 5))
    finally:
        oobcodec.unregister_reducer(torch.Tensor)
    assert torch.equal(got, torch.ones(3))
    assert len(calls) == 1


def test_a_reducer_may_name_a_global():
    oobcodec.register_reducer(pa.Schema, lambda _: "SCHEMA")
    try:
        with install():
            assert pickle.loads(pickle.dumps(Named(), 5)).schema is None
    finally:
        oobcodec.unregister_reducer(pa.Schema)


class Named:
    schema = None


def test_what_a_reducer_refuses_goes_its_native_way():
    def reduce(_):
        raise oobcodec.EncodeError

    oobcodec.register_reducer(torch.Tensor, reduce)
    try:
        with install():
            got = pickle.loads(pickle.dumps(torch.ones(3), 5))
    finally:
        oobcodec.unregister_reducer(torch.Tensor)
    assert torch.equal(got, torch.ones(3))


# Reversible


def state():
    classes = [torch.Tensor, torch.nn.Parameter, torch.UntypedStorage, torch.TypedStorage, pl.DataFrame, pl.Series]
    return dict(copyreg.dispatch_table), list(sys.meta_path), [vars(cls).get("__reduce_ex__") for cls in classes]


def is_installed():
    return b"oobcodec" in pickle.dumps(pa.array([1]), 5) and b"oobcodec" in pickle.dumps(torch.ones(1), 5)


def test_leaves_nothing_behind():
    before = state()
    install()
    assert is_installed()
    assert state() != before
    uninstall()
    assert state() == before
    assert not is_installed()


def test_is_idempotent():
    before = state()
    uninstall()
    install()
    once = state()
    install()
    assert state()[0] == once[0]
    assert state()[2] == once[2]
    uninstall()
    assert state() == before


def test_blocks_may_be_nested():
    with install():
        with install():
            assert is_installed()
        assert is_installed()
    assert not is_installed()


def test_blocks_may_overlap():
    first, second = install(), install()
    with second:
        with first:
            pass
        assert is_installed()
    assert not is_installed()


def test_a_block_leaves_what_was_installed_before():
    install()
    with install():
        pass
    assert is_installed()


def test_uninstall_ends_a_block_early():
    with install():
        uninstall()
        assert not is_installed()
    assert not is_installed()


def test_entries_of_others_are_left_alone():
    copyreg.pickle(pa.Table, lambda _: (str, ("theirs",)))
    try:
        with install():
            assert pickle.loads(pickle.dumps(pa.table({"x": [1]}), 5)) == "theirs"
            copyreg.pickle(pa.RecordBatch, lambda _: (str, ("theirs too",)))
        assert pickle.loads(pickle.dumps(pa.table({"x": [1]}), 5)) == "theirs"
        assert pickle.loads(pickle.dumps(pa.record_batch({"x": [1]}), 5)) == "theirs too"
    finally:
        del copyreg.dispatch_table[pa.Table], copyreg.dispatch_table[pa.RecordBatch]


def test_who_wrapped_it_once_more_keeps_that(monkeypatch):
    install()
    ours = pl.Series.__reduce_ex__

    def theirs(series, protocol):
        return ours(series, protocol)

    monkeypatch.setattr(pl.Series, "__reduce_ex__", theirs)
    uninstall()
    assert pl.Series.__reduce_ex__ is theirs
    assert b"oobcodec" not in pickle.dumps(pl.Series([1]), 5)
    monkeypatch.undo()
    del pl.Series.__reduce_ex__


def test_threads():
    errors, done = [], threading.Event()
    objs = [torch.arange(10), pl.Series([1]), pa.array([2])]

    def pickling():
        try:
            while not done.is_set():
                for protocol in (4, 5):
                    got = pickle.loads(pickle.dumps(objs, protocol))
                    assert got[2] == objs[2]
        except Exception as error:  # noqa: BLE001  # told below
            errors.append(error)

    def installing():
        try:
            for _ in range(50):
                with install():
                    assert is_installed()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    picklers = [threading.Thread(target=pickling) for _ in range(2)]
    installers = [threading.Thread(target=installing) for _ in range(5)]
    for thread in (*picklers, *installers):
        thread.start()
    for thread in installers:
        thread.join()
    done.set()
    for thread in picklers:
        thread.join()
    assert not errors
    assert not is_installed()


def test_uninstall_between_a_tensor_and_its_storage():
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if type(obj) not in (list, torch.Tensor):
                uninstall()

    tensor, file = torch.arange(500.0), io.BytesIO()
    install()
    Pickler(file, 5).dump([tensor])
    assert not is_installed()
    assert torch.equal(pickle.loads(file.getvalue())[0], tensor)


def test_a_storage_beside_its_tensor_travels_once():
    tensor = torch.arange(500.0)
    for objs in ([tensor, tensor.untyped_storage()], [tensor.untyped_storage(), tensor]):
        with install():
            pickled = pickle.dumps(objs, 5)
        assert len(pickled) < 1.5 * tensor.nbytes
        tensors = sorted(pickle.loads(pickled), key=lambda obj: isinstance(obj, torch.Tensor))
        assert tensors[1].untyped_storage() is tensors[0]


# Libraries that come later

LATER = """
    import json, pickle, sys
    from oobcodec.installation import install, uninstall
    install()
    early = {"numpy", "pyarrow", "polars", "torch"} & sys.modules.keys()
    import pyarrow, polars, torch
    objs = [pyarrow.array(range(9)), torch.arange(9), polars.Series(range(9))]
    covered = [b"oobcodec" in pickle.dumps(obj, 5) for obj in objs]
    uninstall()
    left = [b"oobcodec" in pickle.dumps(obj, 5) for obj in objs]
    print(json.dumps([sorted(early), covered, left, type(torch.__spec__.loader).__name__]))
"""


def test_libraries_that_are_imported_later_are_covered():
    early, covered, left, loader = json.loads(run_python(LATER))
    assert not early
    assert covered == [True] * 3
    assert left == [False] * 3
    assert loader == "SourceFileLoader"


NEVER = """
    import pickle, sys
    from oobcodec.installation import install, uninstall
    sys.modules["polars"] = None
    with install():
        import importlib.util
        spec = importlib.util.find_spec("torch")
        assert importlib.util.find_spec("pyarrow.nothing_of_that_name") is None
    import torch
    print(b"oobcodec" in pickle.dumps(torch.ones(1), 5), spec.origin == torch.__file__)
"""


def test_a_library_that_is_imported_after_it_ended_is_not_covered():
    assert run_python(NEVER).split() == [b"False", b"True"]


ABSENT = """
    import importlib.abc, sys
    from oobcodec.installation import install

    class Nothing(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "torch":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Nothing())
    install()
    try:
        import torch
    except ModuleNotFoundError:
        print("absent")
"""


def test_a_library_that_is_not_there_is_not_there():
    assert run_python(ABSENT).split() == [b"absent"]


def test_a_library_may_be_without_a_loader(tmp_path, monkeypatch):
    code = """
        import sys
        from oobcodec.installation import install
        sys.path[:] = sys.argv[1:] + [path for path in sys.path if "site-packages" not in path]
        install()
        try:
            import polars
        except ModuleNotFoundError:
            print("absent")
    """
    assert run_python(code, tmp_path).split() == [b"absent"]
