import gc
import mmap
import pickle
import subprocess
import sys
import tempfile
import textwrap
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import shipped
from hypothesis import given, settings
from hypothesis import strategies as st

tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed")
keras = pytest.importorskip("keras", reason="keras is not installed")

from oobcodec.codec import dumps, loads  # noqa: E402
from oobcodec.errors import DecodeError, EncodeError  # noqa: E402
from oobcodec.packed import pack, unpack  # noqa: E402
from oobcodec.reducers import keras as keras_reducers  # noqa: E402
from oobcodec.reducers import tensorflow as reducers  # noqa: E402

reducers.register()
keras_reducers.register()

pytestmark = pytest.mark.tensorflow

OVERLAID = sorted(reducers._OVERLAID)
COPIED = sorted(
    dtype.name
    for dtype in {**vars(tf.dtypes), **vars(tf.dtypes.experimental)}.values()
    if isinstance(dtype, tf.DType) and dtype.name not in {*OVERLAID, "string", "resource", "variant"}
)


def received(frames, memory=None):
    """Return the frames as a receiver has them: other memory, aligned and writable or of another kind."""
    return unpack(pack(frames)) if memory is None else [memory(frame) for frame in frames]


def read_only(frame):
    """Return a frame in pages that nobody can write to: who tries kills the process."""
    with tempfile.TemporaryFile() as file:
        file.write(frame)
        file.flush()
        return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def transferred(obj, memory=None):
    return loads(received(dumps(obj), memory))


def array_over(tensor):
    """Return the memory of a tensor, uncopied."""
    return np.asarray(tensor) if tensor.shape.rank else np.asarray(tensor.numpy())


def address(tensor):
    return array_over(tensor).ctypes.data


def address_of_frame(frame):
    return np.frombuffer(frame, np.uint8).ctypes.data


def filled(name, *shape):
    """Return a tensor of any dtype with different elements."""
    dtype = tf.as_dtype(name)
    count = int(np.prod(shape))
    if name == "bool":
        return tf.constant((np.arange(count) % 3 == 0).reshape(shape))
    if dtype.is_quantized:
        return tf.bitcast(filled(name[1:], *shape), dtype)
    return tf.constant((np.arange(count) % 13).astype(dtype.as_numpy_dtype).reshape(shape))


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.device == expected.device
    assert array_over(actual).tobytes() == array_over(expected).tobytes()


def assert_ragged(actual, expected):
    assert type(actual) is tf.RaggedTensor
    assert (actual.dtype, actual.shape.as_list()) == (expected.dtype, expected.shape.as_list())
    assert actual.row_splits.dtype == expected.row_splits.dtype
    assert actual.ragged_rank == expected.ragged_rank
    assert actual.to_list() == expected.to_list()


class Pair(tf.experimental.ExtensionType):
    first: tf.Tensor
    second: tf.RaggedTensor


@dataclass
class Batch:
    inputs: object
    labels: list


# Every dtype


@pytest.mark.parametrize("name", OVERLAID)
def test_every_dtype_travels_uncopied(name):
    tensor = filled(name, 40, 50, 3)
    frames = dumps(tensor)
    assert [frame.nbytes for frame in frames[2:]] == [array_over(tensor).nbytes]
    assert frames[2].readonly
    assert address_of_frame(frames[2]) == address(tensor)
    for memory in (None, read_only):
        arrived = received(frames, memory)
        back = loads(arrived)
        assert_same(back, tensor)
        assert address(back) == address_of_frame(arrived[2])
    for memory in (bytes, bytearray, lambda frame: memoryview(b"\0" + frame)[1:]):
        back = loads(received(frames, memory))
        assert_same(back, tensor)
        assert address(back) % 64 == 0


@pytest.mark.parametrize("name", COPIED)
def test_dtypes_that_cannot_be_laid_over_memory_are_copied_on_loads_alone(name):
    tensor = filled(name, 40, 50, 3)
    frames = dumps(tensor)
    assert shipped(frames) == array_over(tensor).nbytes
    assert address_of_frame(frames[2]) == address(tensor)
    for memory in (None, read_only, bytes):
        assert_same(loads(received(frames, memory)), tensor)


@pytest.mark.parametrize("name", OVERLAID + COPIED)
def test_every_dtype_travels_inside_the_stream_when_small(name):
    for shape in ((), (3,), (2, 3), (0,), (0, 3), (3, 0, 2)):
        tensor = filled(name, *shape)
        frames = dumps(tensor)
        assert len(frames) == 2
        for memory in (None, bytes, bytearray):
            assert_same(loads(received(frames, memory)), tensor)


def test_there_are_dtypes_of_both_kinds():
    assert {"bool", "float32", "complex128", "bfloat16", "float16", "qint8", "uint64"} <= set(OVERLAID)
    assert {"float8_e5m2", "float8_e4m3fn", "int4", "uint4"} <= set(COPIED)


@pytest.mark.parametrize("shape", [(), (0,), (0, 4), (1,), (300,), (4, 5, 6)])
@pytest.mark.parametrize("words", [[b"a\0", b"", "\u00e9".encode()], [b"x" * 300, b"\0\0"], [b""]])
def test_strings(words, shape):
    count = int(np.prod(shape))
    texts = np.empty(count, object)
    texts[:] = [words[i % len(words)] for i in range(count)]
    tensor = tf.constant(texts.reshape(shape), tf.string)
    frames = dumps(tensor)
    assert len(frames) <= 4
    for memory in (None, bytes):
        back = loads(received(frames, memory))
        assert (back.dtype, back.shape) == (tf.string, tensor.shape)
        assert np.array_equal(back.numpy(), tensor.numpy())


def test_many_strings_ship_their_bytes():
    tensor = tf.strings.as_string(tf.range(200_000))
    frames = dumps(tensor)
    text = int(tf.reduce_sum(tf.strings.length(tensor)))
    assert [frame.nbytes for frame in frames[2:]] == [text, 200_000]
    assert frames[1].nbytes < 200
    assert bool(tf.reduce_all(loads(received(frames)) == tensor))


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=70_000), max_size=20))
def test_any_strings(texts):
    tensor = tf.constant(texts, tf.string, shape=(len(texts),))
    assert transferred(tensor).numpy().tolist() == texts


def test_large_data_ships_little_else():
    tensors = {f"layer.{i}": tf.zeros((50, 100)) for i in range(100)}
    frames = dumps(tensors)
    assert shipped(frames) == 2_000_000
    assert frames[1].nbytes <= 8192 + 20_000


# Memory, and who writes to it


def test_a_tensor_keeps_its_frame_alive():
    for frozen in (False, True):
        arrived = received(dumps(tf.range(100_000)))
        memory = np.zeros(arrived[2].nbytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        place = memory[start : start + arrived[2].nbytes]
        place[:] = arrived[2]
        owner = weakref.ref(memory)
        place.flags.writeable = not frozen
        back = loads([*arrived[:2], memoryview(place)])
        assert address(back) == place.ctypes.data
        del memory, place
        gc.collect()
        assert owner() is not None
        assert int(back[99_999]) == 99_999
        del back, arrived
        gc.collect()
        assert owner() is None


def test_who_writes_to_a_frame_changes_the_tensor():
    arrived = received(dumps(tf.zeros(1000)))
    back = loads(arrived)
    arrived[2][:4] = np.float32(7).tobytes()
    assert float(back[0]) == 7


@pytest.mark.parametrize("memory", [None, read_only])
def test_tensorflow_never_writes_to_a_frame(memory):
    arrived = received(dumps([tf.ones((40, 40)), tf.Variable(tf.ones((40, 40)))]), memory)
    before = [bytes(frame) for frame in arrived]
    tensor, variable = loads(arrived)
    assert {address(tensor), address(variable.value())} == {address_of_frame(frame) for frame in arrived[2:]}

    @tf.function
    def step(x):
        return tf.nn.relu(tf.sqrt(x + 1) * x) @ x

    step(tensor)
    del tensor
    variable.assign_add(variable)
    variable[:3].assign(tf.zeros((3, 40)))
    other = loads(arrived)[1]
    other.scatter_nd_update([[0, 0]], [5.0])
    third = keras.Variable(loads(arrived)[0])
    keras.optimizers.Adam().apply([tf.ones((40, 40))], [third])
    assert float(variable[9, 9]) == 2
    assert float(other[0, 0]) == 5
    assert float(third[0, 0]) < 1
    assert [bytes(frame) for frame in arrived] == before


def test_a_message_does_not_change_with_a_variable():
    variable = tf.Variable(tf.ones(1000))
    frames = dumps(variable)
    assert shipped(frames) == 4000
    variable.assign_add(tf.ones(1000))
    variable.scatter_nd_update([[3]], [9.0])
    assert loads(received(frames)).numpy().tolist() == [1.0] * 1000


def test_shared_memory_travels_once():
    tensor = tf.range(3000)
    array = np.asarray(memoryview(tensor))
    arrays = {"array": array, "part": array[16:2000]}
    frames = dumps({"tensor": tensor, "again": tensor, **arrays, "shape": tf.reshape(tensor, (30, 100))})
    assert shipped(frames) == 12_000
    arrived = received(frames)
    back = loads(arrived)
    assert back["again"] is back["tensor"]
    assert_same(back["tensor"], tensor)
    assert_same(back["shape"], tf.reshape(tensor, (30, 100)))
    assert np.shares_memory(back["array"], array_over(back["tensor"]))
    assert np.shares_memory(back["part"], array_over(back["shape"]))
    assert not back["array"].flags.writeable


def test_attributes_survive():
    for size in (3, 3000):
        tensor = tf.range(size)
        tensor.unit, tensor.itself = ["m"], tensor
        text = tf.constant("text")
        text.note = tensor
        back = transferred(text)
        assert back.numpy() == b"text"
        assert back.note.unit == ["m"]
        assert back.note.itself is back.note
        assert_same(back.note, tensor)


def test_nested_in_other_objects():
    def scaled(x):
        return x * 2

    obj = Batch(tf.range(3000), [{"t": (tf.constant(1), scaled)}, lambda: obj.labels])
    back = transferred(Batch(obj.inputs, [obj.labels[0], lambda: 3]))
    assert_same(back.inputs, obj.inputs)
    tensor, function = back.labels[0]["t"]
    assert int(function(tensor)) == 2
    assert back.labels[1]() == 3


# Devices


def test_devices(tmp_path):
    script = """
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        count = {count}
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
        from oobcodec.codec import dumps, loads
        from oobcodec.packed import pack, unpack
        from oobcodec.reducers.tensorflow import register
        from pathlib import Path
        register()
        path = Path({path!r})
        if count == 2:
            with tf.device("CPU:1"):
                tensors = [tf.range(size) + 1 for size in (3, 3000)] + [tf.cast(tf.range(9), tf.bfloat16) + 1]
            assert all(tensor.device.endswith("CPU:1") for tensor in tensors)
            path.write_bytes(pack(dumps(tensors)))
        back = loads(unpack(path.read_bytes()))
        assert [tensor.numpy().tolist()[-1] for tensor in back] == [3, 3000, 9]
        assert all(tensor.device.endswith("CPU:%d" % (count - 1)) for tensor in back), [t.device for t in back]
    """
    for count in (2, 1):
        code = textwrap.dedent(script).format(count=count, path=str(tmp_path / "message"))
        subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_a_copy_on_another_device_or_none():
    tensor = reducers.rebuild_tensor(bytearray(8), "int32", (2,), "GPU:77")
    assert tensor.device.endswith("CPU:0")


# Variables


def test_variables():
    kinds = {"trainable": False, "name": "layer/kernel", "synchronization": tf.VariableSynchronization.ON_READ}
    for size in (3, 3000):
        variable = tf.Variable(tf.range(size), aggregation=tf.VariableAggregation.SUM, constraint=tf.nn.relu, **kinds)
        frames = dumps({"a": variable, "b": [variable]})
        assert shipped(frames) == (12_000 if size == 3000 else 0)
        arrived = received(frames)
        back = loads(arrived)
        assert back["b"][0] is back["a"]
        back = back["a"]
        assert type(back) is type(variable)
        for attribute in ("name", "trainable", "synchronization", "aggregation", "shape", "dtype", "constraint"):
            assert getattr(back, attribute) == getattr(variable, attribute), attribute
        assert_same(back.value(), variable.value())
        back.assign_add(back)
        assert int(back[2]) == 4


@pytest.mark.parametrize("shape", [tf.TensorShape(None), tf.TensorShape([None, 2])])
def test_variables_keep_their_range_of_shapes(shape):
    back = transferred(tf.Variable([[1.0, 2.0]], shape=shape))
    assert back.shape.rank == shape.rank
    back.assign([[1.0, 2.0], [3.0, 4.0]])
    assert back.numpy().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("name", ["bfloat16", "float16", "bool", "complex64", "int64"])
def test_variables_of_many_dtypes(name):
    variable = tf.Variable(filled(name, 3000))
    assert_same(transferred(variable).value(), variable.value())
    text = tf.Variable(["a", "bc"])
    assert transferred(text).numpy().tolist() == [b"a", b"bc"]


# What consists of tensors


@pytest.mark.parametrize("splits", ["int32", "int64"])
@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2], [], [3]],
        [[], []],
        [],
        [list(range(2000)), [5] * 3000],
        [[[1], [2, 3]], [], [[]]],
        [["a"], ["bc", ""]],
    ],
    ids=str,
)
def test_ragged_tensors(rows, splits):
    tensor = tf.ragged.constant(rows, ragged_rank=None if rows else 1, row_splits_dtype=splits)
    frames = dumps(tensor)
    for memory in (None, bytes):
        assert_ragged(loads(received(frames, memory)), tensor)
    assert shipped(frames) == (tensor.flat_values.shape[0] * 4 if len(rows) == 2 and len(rows[0]) > 1000 else 0)


def test_ragged_tensors_with_uniform_dimensions():
    inner = tf.ragged.constant([[1], [], [2, 3], [4]])
    for tensor in (
        tf.RaggedTensor.from_uniform_row_length(inner, 2),
        tf.RaggedTensor.from_uniform_row_length(inner[:0], 0, nrows=3),
        tf.RaggedTensor.from_row_splits(tf.ones((5, 2)), [0, 2, 5]),
        tf.ragged.constant([[[1, 2]], [[3, 4], [5, 6]]], inner_shape=(2,)),
    ):
        back = transferred(tensor)
        assert_ragged(back, tensor)
        assert (back.uniform_row_length is None) == (tensor.uniform_row_length is None)


def test_sparse_tensors():
    for size in (3, 3000):
        tensor = tf.SparseTensor([[i, i % 7] for i in range(size)], tf.range(size), (size, 7))
        frames = dumps(tensor)
        assert shipped(frames) == (size * 20 if size > 3 else 0)
        back = loads(received(frames))
        assert type(back) is tf.SparseTensor
        assert back.shape == tensor.shape
        assert np.array_equal(tf.sparse.to_dense(back), tf.sparse.to_dense(tensor))


@pytest.mark.parametrize("shape", [None, tf.constant([9000, 2])])
def test_indexed_slices(shape):
    slices = tf.IndexedSlices(tf.ones((3000, 2)), tf.range(3000), shape)
    frames = dumps(slices)
    assert shipped(frames) == 36_000
    back = loads(received(frames))
    assert type(back) is tf.IndexedSlices
    assert_same(back.values, slices.values)
    assert_same(back.indices, slices.indices)
    if shape is None:
        assert back.dense_shape is None
    else:
        assert_same(back.dense_shape, shape)


def test_extension_types_and_specs():
    pair = Pair(tf.range(3000), tf.ragged.constant([[1], []]))
    frames = dumps(pair)
    assert shipped(frames) == 12_000
    back = loads(received(frames))
    assert type(back) is Pair
    assert_same(back.first, pair.first)
    assert_ragged(back.second, pair.second)
    specs = [tf.TensorSpec([None, 3], tf.bfloat16, "x"), tf.RaggedTensorSpec([2, None]), tf.type_spec_from_value(pair)]
    assert transferred(specs) == specs


def test_generators_go_on_where_they_were():
    generator = tf.random.Generator.from_seed(7)
    generator.normal([3])
    back = transferred(generator)
    assert np.array_equal(back.normal([3]), generator.normal([3]))


@pytest.mark.parametrize("lengths", [None, (), (1, None), (3, 2)])
def test_shapes(lengths):
    back = transferred(tf.TensorShape(lengths))
    assert type(back) is tf.TensorShape
    assert back.rank == (None if lengths is None else len(lengths))
    assert lengths is None or tuple(back.as_list()) == lengths


def test_dtypes():
    dtypes = [tf.as_dtype(name) for name in (*OVERLAID, *COPIED, "string", "variant", "resource")]
    assert all(back is dtype for back, dtype in zip(transferred(dtypes), dtypes, strict=True))


def test_another_tensorflow_may_lack_a_dtype():
    with pytest.raises(DecodeError, match="no dtype 'float1'"):
        reducers.rebuild_tensor(bytearray(8), "float1", (2,))
    with pytest.raises(DecodeError, match="no dtype 'float1'"):
        reducers.rebuild_dtype("float1")


def test_a_damaged_shape_does_not_reach_beyond_the_memory():
    with pytest.raises(ValueError, match="reshape"):
        reducers.rebuild_tensor(bytearray(2048), "float32", (1 << 20,))


# Inside of functions that TensorFlow traces, and without values


def test_what_arrives_while_a_function_is_traced_has_a_value():
    frames = received(dumps([tf.range(3000), tf.cast(tf.range(3), tf.bfloat16), tf.constant(["a"])]))
    arrived = []

    @tf.function(autograph=False)
    def trace():
        arrived.extend(loads(frames))
        return tf.constant(0)

    trace()
    assert [tensor.numpy().tolist()[-1] for tensor in arrived] == [2999, 2, b"a"]


def test_symbolic_tensors_are_refused():
    @tf.function(autograph=False)
    def trace(x):
        with pytest.raises(EncodeError, match=r"x:0.*symbolic"):
            dumps({"x": x})
        return x

    trace(tf.constant(1.0))
    with tf.Graph().as_default(), pytest.raises(EncodeError, match="symbolic"):
        dumps(tf.Variable(1.0))
    with pytest.raises(EncodeError, match=r"KerasTensor.*symbolic.*keras\.Model"):
        dumps({"x": keras.Input((3,))})


def test_handles_are_refused():
    with pytest.raises(EncodeError, match="'resource' is a handle"):
        dumps(tf.Variable(1.0).handle)
    with pytest.raises(EncodeError, match="'variant' is a handle"):
        dumps(tf.data.Dataset.range(3))


# Keras


@pytest.fixture
def model():
    inputs = keras.Input((400,))
    outputs = keras.layers.BatchNormalization()(keras.layers.Dense(500, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(7)(outputs))
    model.compile("adam", "mse")
    model.fit(np.ones((4, 400)), np.ones((4, 7)), verbose=0)
    return model


# Keras stores variables in a way that numpy 2 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_models_travel_whole(model):
    back, again = transferred([model, model])
    assert back is again
    inputs = np.random.default_rng(1).random((9, 400))
    assert np.array_equal(back(inputs), model(inputs))
    for actual, expected in zip(back.optimizer.variables, model.optimizer.variables, strict=True):
        assert np.array_equal(actual, expected)
    back.fit(np.ones((4, 400)), np.ones((4, 7)), verbose=0)
    frames = dumps(model)
    assert shipped(frames) <= 1.05 * sum(v.value.numpy().nbytes for v in model.variables + model.optimizer.variables)
    assert frames[1].nbytes < 8192


def test_variables_and_weights_of_models_travel_uncopied(model):
    nbytes = sum(weight.nbytes for weight in model.get_weights())
    frames = dumps(model.variables)
    places = {address(variable.value.value()) for variable in model.variables}
    assert {address_of_frame(frame) for frame in frames[2:]} <= places
    assert 0.9 * nbytes < shipped(frames) <= nbytes
    back = loads(received(frames))
    for actual, expected in zip(back, model.variables, strict=True):
        assert type(actual) is type(expected)
        assert (actual.path, actual.trainable, actual.dtype) == (expected.path, expected.trainable, expected.dtype)
        assert np.array_equal(actual, expected)
    frames = dumps(model.get_weights())
    assert 0.9 * nbytes < shipped(frames) <= nbytes
    clone = keras.models.clone_model(model)
    clone.set_weights(loads(received(frames)))
    inputs = np.ones((2, 400))
    assert np.array_equal(clone(inputs), model(inputs))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_layers_metrics_and_optimizers(model):
    for obj in (keras.optimizers.Adam(0.5), model.layers[1], keras.metrics.Mean(), keras.random.SeedGenerator(3)):
        back = transferred(obj)
        assert type(back) is type(obj)
        assert back.get_config() == obj.get_config()


def test_streams_name_no_module_of_tensorflow():
    objects = [tf.range(3), tf.Variable(1), tf.ragged.constant([[1]]), tf.sparse.eye(2), tf.TensorShape([1]), tf.int8]
    stream = bytes(dumps(objects)[1])
    assert b"tensorflow.python" not in stream
    assert pickle.loads(stream)[2].to_list() == [[1]]
