import gc
import pickle
import socket
import subprocess
import sys
import textwrap
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import run_python

jax = pytest.importorskip("jax", reason="jax is not installed")

from jax import numpy as jnp  # noqa: E402

from oobcodec.buffers import allocate  # noqa: E402
from oobcodec.codec import dumps, loads  # noqa: E402
from oobcodec.errors import DecodeError, EncodeError  # noqa: E402
from oobcodec.reducers import jax as reducers  # noqa: E402

reducers.register()

# Shorter than a byte: JAX packs them, and unpacks them for numpy.
PACKED = ["int2", "int4", "uint2", "uint4", "float4_e2m1fn"]
WHOLE = ["bool", "bfloat16", "float16", "float32", "float64", "complex64", "complex128"]
WHOLE += [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
WHOLE += [name for name in dir(jnp) if name.startswith("float8_")]
DTYPES = [name for name in WHOLE + PACKED if hasattr(jnp, name)]


def x64():
    return reducers._x64()


def received(frames, *, readonly=False):
    """Return the frames as a receiver has them: other memory, aligned, writable or not."""
    copies = []
    for frame in frames:
        memory = allocate(frame.nbytes)
        memory[:] = frame
        copies.append(memory.toreadonly() if readonly else memory)
    return copies


def round_trip(obj):
    return loads(received(dumps(obj)))


def shipped(frames):
    return sum(frame.nbytes for frame in frames[2:])


def address(frame):
    return np.frombuffer(frame, np.uint8).ctypes.data


def filled(dtype, *shape):
    """Return an array of any dtype with different elements."""
    with x64():
        return jax.device_put(np.arange(np.prod(shape, dtype=int)).astype(jnp.dtype(dtype)).reshape(shape))


def bits(array):
    return np.asarray(array).tobytes()


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.weak_type == expected.weak_type
    assert actual.committed == expected.committed
    assert actual.devices() == expected.devices()
    assert bits(actual) == bits(expected)


@dataclass
class Batch:
    inputs: jax.Array
    labels: list


# Every dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("readonly", [False, True])
def test_every_dtype_travels_out_of_band(dtype, readonly):
    for array in (filled(dtype, 8192), filled(dtype, 40, 50, 3)):
        frames = dumps(array)
        assert len(frames) == 3
        assert shipped(frames) == np.asarray(array).nbytes
        assert frames[0].nbytes + frames[1].nbytes < 400
        arrived = received(frames, readonly=readonly)
        back = loads(arrived)
        assert_same(back, array)
        if dtype in WHOLE:
            assert address(frames[2]) == array.unsafe_buffer_pointer()
            assert back.unsafe_buffer_pointer() == address(arrived[2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_travels_inside_the_stream_when_small(dtype):
    for shape in ((), (3,), (2, 3), (0,), (0, 3), (3, 0, 2)):
        array = filled(dtype, *shape)
        frames = dumps(array)
        assert len(frames) == 2
        assert_same(loads(received(frames)), array)


def test_keys_of_every_kind():
    kinds = ["threefry2x32", "rbg", "unsafe_rbg"]
    for kind in kinds:
        for keys in (jax.random.key(7, impl=kind), jax.random.split(jax.random.key(7, impl=kind), (30, 20))):
            frames = dumps([keys, keys])
            back, again = loads(received(frames))
            assert back is again
            assert type(back) is type(keys)
            assert back.dtype == keys.dtype
            assert back.shape == keys.shape
            assert jnp.array_equal(jax.random.key_data(back), jax.random.key_data(keys))
            assert jnp.array_equal(jax.random.bits(back.ravel()[0]), jax.random.bits(keys.ravel()[0]))
            assert shipped(frames) == (0 if keys.shape == () else jax.random.key_data(keys).nbytes)


def test_keys_keep_their_device():
    free, bound = jax.random.key(7), jax.device_put(jax.random.key(7), jax.devices()[0])
    assert [keys.committed for keys in round_trip([free, bound])] == [free.committed, bound.committed] == [False, True]


def test_keys_that_the_user_defined_go_the_way_of_jax():
    code = """
        import sys
        import jax
        from jax.extend.random import define_prng_impl, threefry_prng_impl as base
        from oobcodec.reducers.jax import register
        import oobcodec
        register()
        kind = define_prng_impl(key_shape=(2,), seed=base.seed, split=base.split, random_bits=base.random_bits,
                                fold_in=base.fold_in, name="mine", tag="mine")
        keys = jax.random.split(jax.random.key(3, impl=kind), 1000)
        frames = [bytes(frame) for frame in oobcodec.dumps(keys)]
        back = oobcodec.loads(frames)
        assert sum(map(len, frames[2:])) == 8000
        assert type(back) is type(keys) and str(back.dtype) == "key<mine>" and back.shape == keys.shape
        assert (jax.random.bits(back[5]) == jax.random.bits(keys[5])).all()
    """
    run_python(code)


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg", "unsafe_rbg", None])
def test_keys_of_early_jax_are_known_by_comparison(monkeypatch, kind):
    class Kind:
        """What JAX 0.4 says of a kind: what it is equal to, and nothing else."""

        def __init__(self, name):
            self.name = name

        def __eq__(self, other):
            return self.name == other.name

        def __hash__(self):
            return hash(self.name)

    key_impl = jax.random.key_impl
    monkeypatch.setattr(jax.random, "key_impl", lambda keys: Kind(str(key_impl(keys))))
    assert reducers._name_of(Kind(kind)) == kind
    if kind is not None:
        _, (data, name) = reducers.reduce_keys(jax.random.key(7, impl=kind))
        assert name == kind
        assert jnp.array_equal(data, jax.random.key_data(jax.random.key(7, impl=kind)))


def test_keys_that_were_used_stay_so():
    keys = jax.random.key(7)
    keys._consumed = True
    assert round_trip(keys)._consumed is True
    assert round_trip(jax.random.key(7))._consumed is False


def test_shape_arrives_without_what_is_private_to_a_version():
    shape = jax.ShapeDtypeStruct((3, 4), jnp.bfloat16)
    assert reducers.reduce_shape(shape) == (reducers.rebuild_shape, ((3, 4), jnp.dtype("bfloat16")))
    keys = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
    assert round_trip([shape, keys]) == [shape, keys]


def test_shape_with_more_than_that_goes_the_way_of_jax():
    shape = jax.eval_shape(lambda: jnp.asarray(1.5))
    shape = shape if shape.weak_type else jax.ShapeDtypeStruct((), "f4", weak_type=True)
    assert reducers.reduce_shape(shape)[0] is not reducers.rebuild_shape
    back = round_trip(shape)
    assert back == shape
    assert back.weak_type


def test_a_kind_of_keys_that_is_unknown_is_named():
    message = [bytes(frame).replace(b"threefry2x32", b"threefry2x33") for frame in dumps(jax.random.key(7))]
    with pytest.raises(DecodeError, match="no keys of kind 'threefry2x33'"):
        loads(message)


def test_arrays_of_strings():
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("this numpy has no StringDType")
    values = np.array(["a", "", "longer than what fits into an element"] * 100, np.dtypes.StringDType())
    array = jax.device_put(values, jax.devices("cpu")[0])
    back = round_trip(array)
    assert type(back) is type(array)
    assert np.asarray(back).tolist() == values.tolist()


def test_zero_tangents():
    zeros = jax.grad(lambda number: 2.0 * number.astype(float), allow_int=True)(jnp.arange(3)[1])
    assert zeros.dtype == jax.dtypes.float0
    back = round_trip(zeros)
    assert type(back) is type(zeros)
    assert back.dtype == jax.dtypes.float0
    assert back.shape == zeros.shape


# What an array has besides its elements


@pytest.mark.parametrize("shape", [(), (3,), (3000,)])
def test_weak_types_survive(shape):
    weak = jnp.broadcast_to(jnp.asarray(1.0), shape)
    strong = jnp.ones(shape)
    assert weak.weak_type
    back, other = round_trip([weak, strong])
    assert_same(back, weak)
    assert_same(other, strong)
    half = jnp.ones((), jnp.bfloat16)
    assert (back + half).dtype == jax.jit(jnp.add)(back, half).dtype == jnp.bfloat16
    assert (other + half).dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64", "complex128"])
@pytest.mark.parametrize("size", [3, 3000])
def test_64_bits_arrive_whether_or_not_they_are_enabled(dtype, size):
    array = filled(dtype, size)
    assert array.dtype == dtype
    frames = dumps(array)
    assert_same(loads(received(frames)), array)
    with x64():
        assert_same(loads(received(frames)), array)
    assert jnp.asarray(np.ones(3)).dtype == jnp.float32


@pytest.mark.parametrize("size", [3, 3000])
def test_64_bits_arrive_without_a_warning_of_what_32_cannot_hold(size):
    with x64():
        array = jax.device_put(np.full(size, 1e300))
    assert_same(round_trip(array), array)


def test_committed_arrays_and_others_stay_so():
    free, bound = jnp.ones(3000), jax.device_put(jnp.ones(3000), jax.devices()[0])
    small = jax.device_put(jnp.ones(3), jax.devices()[0])
    assert [array.committed for array in (free, bound, small)] == [False, True, True]
    for array in (free, bound, small):
        assert_same(round_trip(array), array)
    frames = received(dumps(bound))
    assert loads(frames).unsafe_buffer_pointer() == address(frames[2])


@pytest.mark.parametrize("place", [("cpu", 1_000), ("a device of the future", 0)])
@pytest.mark.parametrize("size", [3, 3000])
def test_without_its_device_an_array_is_where_others_are(place, size):
    back = reducers.rebuild_array(np.ones(size, np.float32), place=place, weak_type=False)
    assert back.devices() == jnp.ones(3).devices()
    assert not back.committed
    assert back.tolist() == [1] * size


def test_arrays_on_several_devices():
    out = run_python(
        """
        import os, sys
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
        import jax, numpy as np
        from jax import numpy as jnp
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        import oobcodec
        from oobcodec.reducers.jax import register
        register()
        first, second = jax.local_devices()
        values = jnp.arange(6000.).reshape(60, 100)
        mesh = Mesh(np.array([first, second]), ("rows",))
        split = jax.device_put(values, NamedSharding(mesh, PartitionSpec("rows")))
        double = jax.device_put(values, NamedSharding(mesh, PartitionSpec()))
        with jax.default_device(second):
            free = jnp.ones(3)
        arrays = [jax.device_put(values, first), jax.device_put(values, second), free, split, double]
        assert len(split.devices()) == len(double.devices()) == 2 and free.devices() == {second}
        packed = oobcodec.pack(oobcodec.dumps(arrays))
        on_first, on_second, free, split, double = loaded = oobcodec.loads(packed)
        assert on_first.devices() == {first} and on_second.devices() == {second}
        assert [array.committed for array in loaded] == [True, True, False, False, False]
        assert free.devices() == split.devices() == double.devices() == {first}
        assert all((array == values).all() for array in (on_first, split, double))
        assert (on_second == jax.device_put(values, second)).all()
        sys.stdout.buffer.write(packed)
        """
    )
    for array, committed in zip(loads(out), [True, False, False, False, False], strict=True):
        assert array.devices() == {jax.devices()[0]}
        assert array.committed is committed
    assert loads(out)[1].tolist() == np.arange(6000.0).reshape(60, 100).tolist()


SHARE = """
    import sys
    import jax, numpy as np, pytest
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    import oobcodec
    from oobcodec.reducers.jax import register
    register()
    port, which = sys.argv[1:]
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(which))
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    values = np.arange(4000, dtype=np.float32)
    def shared(*how):
        return jax.make_array_from_callback(values.shape, NamedSharding(mesh, PartitionSpec(*how)), values.__getitem__)
    with pytest.raises(oobcodec.EncodeError, match="devices of other processes.*process_allgather"):
        oobcodec.dumps([shared("rows")])
    half = values.reshape(2, -1)[int(which)]
    local = shared("rows").addressable_data(0)
    for array, expected in ((local, half), (shared(), values)):
        back = oobcodec.loads(oobcodec.pack(oobcodec.dumps(array)))
        assert back.tolist() == expected.tolist()
    here = jax.device_put(half, jax.local_devices()[0])
    back = oobcodec.loads(oobcodec.pack(oobcodec.dumps(here)))
    assert back.devices() == here.devices() == {jax.local_devices()[0]} and back.committed
"""


def test_arrays_on_devices_of_other_processes():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = textwrap.dedent(SHARE)
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(port), str(which)], stderr=subprocess.PIPE)
        for which in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors.decode()


# Memory


def test_what_is_nested_travels_uncopied():
    tree = {"layers": [(jnp.arange(3000.0), jnp.ones((50, 60), jnp.bfloat16)), None], "step": jnp.asarray(3)}
    batch = Batch(tree["layers"][0][0] * 2, [jax.random.key(1), jnp.ones(2)])
    factor = 3
    frames = dumps([tree, batch, lambda number: number * factor])
    assert shipped(frames) == 12_000 + 6_000 + 12_000
    back, other, function = loads(received(frames))
    assert function(2) == 6
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for actual, expected in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
        assert_same(actual, expected)
    assert type(other) is Batch
    assert_same(other.inputs, batch.inputs)
    assert_same(other.labels[1], batch.labels[1])


@pytest.mark.parametrize("size", [3, 3000])
def test_the_same_array_is_one_object(size):
    array = jnp.arange(size)
    first, second = round_trip([array, array])
    assert first is second


def test_memory_is_shared_with_arrays_of_numpy():
    array = jnp.arange(300_000.0)
    view = np.asarray(array)
    frames = dumps([array, view, view[1000:2000], array])
    assert shipped(frames) == array.nbytes
    back, other, part, again = loads(received(frames))
    assert back is again
    assert_same(back, array)
    assert type(other) is np.ndarray
    assert other.ctypes.data == back.unsafe_buffer_pointer()
    assert part.ctypes.data == other.ctypes.data + 4000
    assert not other.flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_little_is_in_band(dtype):
    array = jnp.ones((2000, 1000), dtype)
    frames = dumps([array] * 3)
    assert frames[0].nbytes + frames[1].nbytes < 8192
    assert shipped(frames) == array.nbytes


def test_frames_that_are_not_aligned_are_copied():
    array = jnp.arange(3000.0)
    frames = dumps(array)
    memory = allocate(frames[2].nbytes + 4)[4:]
    memory[:] = frames[2]
    back = loads([*frames[:2], memory])
    assert_same(back, array)
    assert back.unsafe_buffer_pointer() != address(memory)


def test_an_array_keeps_its_frame_alive_and_nothing_longer():
    class Memory(bytearray):
        pass

    frames = dumps(jnp.arange(3000.0))
    memory = Memory(frames[2].nbytes + 64)
    start = -address(memory) % 64
    frame = memoryview(memory)[start : start + frames[2].nbytes]
    frame[:] = frames[2]
    back = loads([bytes(frames[0]), bytes(frames[1]), frame])
    assert back.unsafe_buffer_pointer() == address(frame)
    alive = weakref.ref(memory)
    del frames, frame, memory
    gc.collect()
    assert alive() is not None
    assert back.tolist() == list(range(3000))
    del back
    gc.collect()
    assert alive() is None


def test_donating_an_array_leaves_its_frame_alone():
    def increment(array):
        return array + 1

    increment = jax.jit(increment, donate_argnums=0)
    array = jnp.arange(3000.0) + 0
    sent = dumps(array)
    frames = received(sent)
    before = [bytes(frame) for frame in frames]
    back = loads(frames)
    assert back.unsafe_buffer_pointer() == address(frames[2])
    assert increment(back).tolist() == increment(array).tolist() == list(range(1, 3001))
    assert back.is_deleted()
    assert [bytes(frame) for frame in frames] == [bytes(frame) for frame in sent] == before


def test_deleting_an_array_leaves_its_frames_alone():
    array = jnp.arange(3000.0) + 0
    frames = dumps(array)
    array.delete()
    assert loads(received(frames)).tolist() == list(range(3000))


# Inside of transformations


@pytest.mark.parametrize("size", [3, 3000])
def test_arrays_and_keys_are_sent_and_received_inside_of_a_transformation(size):
    array, keys = jnp.arange(size), jax.random.split(jax.random.key(1), size)
    arrived = []

    def function(number):
        arrived.append(round_trip([array, keys]))
        return number

    jax.jit(function)(1.0)
    [(back, other)] = arrived
    assert_same(back, array)
    assert jnp.array_equal(jax.random.key_data(other), jax.random.key_data(keys))


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, jax.vmap], ids=["jit", "grad", "vmap"])
def test_tracers_are_refused(transform):
    def function(numbers):
        with pytest.raises(EncodeError, match=r"at \['numbers'\]: a tracer stands"):
            dumps({"numbers": numbers})
        return numbers * 2.0

    argument = 1.0 if transform is jax.grad else jnp.ones(3)
    assert transform(function)(argument) is not None


# What is refused


def test_deleted_arrays_and_keys_are_refused():
    array, keys = jnp.arange(3.0) + 0, jax.random.key(1)
    for gone in (array, keys):
        gone.delete()
        with pytest.raises(EncodeError, match=r"at \[1\]: a deleted or donated array"):
            dumps([0, gone])


def test_an_error_of_a_computation_passes():
    class Failed:
        """Stands for an array whose computation failed on an accelerator; on the host it fails where it is called."""

        is_fully_addressable = True

        def __array__(self):
            message = "out of memory on the device"
            raise RuntimeError(message)

        def is_deleted(self):
            return False

    with pytest.raises(RuntimeError, match="out of memory on the device"):
        reducers.reduce_array(Failed())


def test_stock_pickle_reads_the_stream():
    array = jnp.arange(6000.0)
    frames = dumps(array)
    assert_same(pickle.loads(frames[1], buffers=[bytearray(frames[2])]), array)
