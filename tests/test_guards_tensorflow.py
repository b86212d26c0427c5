import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from guarding import NESTED, arrived, limited

tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed")
keras = pytest.importorskip("keras", reason="keras is not installed")

from oobcodec.buffers import allocate  # noqa: E402
from oobcodec.errors import DecodeError, LimitError, PolicyError  # noqa: E402
from oobcodec.guards import tensorflow as guards  # noqa: E402
from oobcodec.reducers import tensorflow as reducers  # noqa: E402

reducers.register()

pytestmark = pytest.mark.tensorflow

WIDE = 2**62


def ints(*numbers, dtype=tf.int64):
    return tf.constant(numbers, dtype)


def bits(tensor):
    values = np.asarray(tensor.numpy())
    return values.tolist() if tensor.dtype == tf.string else values.tobytes()


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    assert (actual.dtype, actual.shape, actual.device) == (expected.dtype, expected.shape, expected.device)
    assert bits(actual) == bits(expected)


# Tensors


@pytest.mark.parametrize(
    "tensor",
    [
        tf.range(5),
        tf.ones((3, 4), tf.float64),
        tf.constant(3.5),
        tf.zeros((0, 3), tf.bfloat16),
        tf.range(5) > 2,
        tf.zeros((0,), tf.bool),
        tf.cast(tf.range(5), tf.bfloat16),
        tf.bitcast(tf.constant([1, 2], tf.int8), tf.qint8),
        tf.cast(tf.range(5), tf.dtypes.experimental.int4),
        tf.constant([["a", ""], ["bc", "d" * 300]]),
        tf.constant("one"),
        tf.constant([], tf.string),
    ],
    ids=repr,
)
def test_tensor_arrives_as_it_left(tensor):
    assert_same(arrived([tensor])[0], tensor)


@pytest.mark.parametrize(
    "arguments",
    [
        ("float32", (1000,)),
        ("float32", (1,)),
        ("float32", (3,)),
        ("float32", (-1,)),
        ("float32", (True, 2)),
        ("float32", (2.0,)),
        ("float32", [2]),
        ("float32", 2),
        ("float32", NESTED),
        ("float32", (0, WIDE, WIDE)),
        ("float32", (0, 2**49)),
        ("uint8", (1,) * 65 + (8,)),
        ("float31", (2,)),
        ("float32_ref", (2,)),
        ("string", (1,)),
        ("resource", (1,)),
        ("variant", (1,)),
        (tf.float32, (2,)),
        (None, (2,)),
        (NESTED, (2,)),
        ("float32", (2,), None),
        ("float32", (2,), NESTED),
    ],
)
@pytest.mark.parametrize("memory", [bytes(8), bytearray(8), memoryview(bytearray(8))], ids=lambda m: type(m).__name__)
def test_tensor_beyond_its_buffer_is_refused(memory, arguments):
    with pytest.raises(DecodeError):
        guards.rebuild_tensor(memory, *arguments)


@pytest.mark.parametrize(
    "memory",
    [
        *(None, 8, "8 bytes.", [0] * 8, np.zeros(8, np.uint8), tf.zeros(8, tf.uint8)),
        *(memoryview(bytes(8)).cast("i"), memoryview(bytes(8)).cast("B", (2, 4)), memoryview(bytes(16))[::2]),
    ],
    ids=lambda memory: type(memory).__name__,
)
def test_memory_is_a_flat_buffer(memory):
    for guard, arguments in (
        (guards.rebuild_tensor, (memory, "uint8", (8,))),
        (guards.rebuild_strings, (memory, bytes([8]), 1, (1,))),
        (guards.rebuild_strings, (b"", memory, 1, (8,))),
    ):
        with pytest.raises(DecodeError, match="buffer"):
            guard(*arguments)


@pytest.mark.parametrize("byte", [2, 255])
def test_bools_are_zero_or_one(byte):
    with pytest.raises(DecodeError, match="bools"):
        guards.rebuild_tensor(bytes([0, 1, byte]), "bool", (3,))


def test_device_that_is_not_there_is_none():
    tensor = guards.rebuild_tensor(bytearray(8), "float32", (2,), "GPU:77")
    assert tensor.device.endswith("CPU:0")


@pytest.mark.parametrize(
    ("dtype", "start", "device"), [("int8", 1, "CPU:0"), ("int4", 0, "CPU:0"), ("int8", 0, "CPU:9")]
)
def test_only_copies_are_accounted_for(dtype, start, device):
    memory = allocate(1001)
    with limited(max_decompressed_bytes=1500, max_ratio=None):
        for _ in range(9):
            guards.rebuild_tensor(memory[:1000], "int8", (1000,))
        guards.rebuild_tensor(memory[start : start + 1000], dtype, (1000,), device)
        with pytest.raises(LimitError):
            guards.rebuild_tensor(memory[start : start + 1000], dtype, (1000,), device)


class TestStrings:
    """Strings are all of their text."""

    @pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
    def test_are_as_long_as_it_says(self, itemsize):
        lengths = np.array([1, 0, 2], f"u{itemsize}").tobytes()
        assert guards.rebuild_strings(b"abc", lengths, itemsize, (3,)).numpy().tolist() == [b"a", b"", b"bc"]

    @pytest.mark.parametrize(
        ("text", "lengths", "itemsize", "shape"),
        [
            (b"abc", [1, 1], 1, (2,)),
            (b"abc", [2, 2], 1, (2,)),
            (b"abc", [2**64 - 1, 4], 8, (2,)),
            (b"abc", [2**63, 2**63 + 3], 8, (2,)),
            (b"abc", [3], 1, (2,)),
            (b"abc", [3, 0], 1, (1,)),
            (b"abc", [3], 1, (-1,)),
            (b"abc", [3], 1, [1]),
            (b"abc", [3], 3, (1,)),
            (b"abc", [3], 0, (1,)),
            (b"abc", [3], -1, (1,)),
            (b"abc", [3], True, (1,)),
            (b"abc", [3], "1", (1,)),
            (b"abc", [3], NESTED, (1,)),
        ],
    )
    def test_others_are_refused(self, text, lengths, itemsize, shape):
        width = itemsize if itemsize in (1, 2, 4, 8) and type(itemsize) is int else 1
        with pytest.raises(DecodeError):
            guards.rebuild_strings(text, np.array(lengths, f"u{width}").tobytes(), itemsize, shape)

    def test_that_are_empty_are_accounted_for(self):
        with limited(max_decompressed_bytes=1 << 20, max_ratio=None), pytest.raises(LimitError):
            guards.rebuild_strings(b"", bytes(1 << 16), 1, (1 << 16,))


class TestAttributes:
    """Tensors take attributes as users attach them."""

    def test_arrive(self):
        tensor = tf.ones(3)
        tensor.unit, tensor.mask = "m", tf.range(3) > 1
        got = arrived([tensor])[0]
        assert got.unit == "m"
        assert_same(got.mask, tensor.mask)

    def test_of_keras_arrive(self):
        embedded = keras.layers.Embedding(4, 2, mask_zero=True)(tf.constant([[1, 0]]))
        assert_same(arrived([embedded])[0]._keras_mask, embedded._keras_mask)

    @pytest.mark.parametrize(
        "state",
        [
            {"numpy": 1},
            {"__array_interface__": {}},
            {"_id": 3},
            {"_is_zeros_tensor": 1},
            {"_keras_mask": 1},
            {1: 2},
            [("unit", 1)],
            None,
            ({}, {"a": 1}),
        ],
    )
    def test_that_mean_something_to_others_are_refused(self, state):
        with pytest.raises(DecodeError):
            guards.STATES[type(tf.ones(1))](tf.ones(1), state)


# Variables


@pytest.mark.parametrize(
    "variable",
    [
        tf.Variable([1.0, 2.0]),
        tf.Variable([1, 2], name="layer/kernel", trainable=False, aggregation=tf.VariableAggregation.SUM),
        tf.Variable([[1.0], [2.0]], shape=[None, 1]),
        tf.Variable(["a", "bc"]),
    ],
)
def test_variable_arrives_as_it_left(variable):
    got = arrived([variable])[0]
    assert (got.name, got.trainable, got.shape.as_list()) == (
        variable.name,
        variable.trainable,
        variable.shape.as_list(),
    )
    assert (got.synchronization, got.aggregation) == (variable.synchronization, variable.aggregation)
    assert_same(got.value(), variable.value())


@pytest.mark.parametrize(
    "arguments",
    [
        ([1.0, 2.0], "a", True, None, "AUTO", "NONE", None),
        (np.ones(2), "a", True, None, "AUTO", "NONE", None),
        (tf.Variable(1.0), "a", True, None, "AUTO", "NONE", None),
        (tf.ones(2), None, True, None, "AUTO", "NONE", None),
        (tf.ones(2), "a" * 10**6, True, None, "AUTO", "NONE", None),
        (tf.ones(2), "\udc80", True, None, "AUTO", "NONE", None),
        (tf.ones(2), "a", None, None, "AUTO", "NONE", None),
        (tf.ones(2), "a", 1, None, "AUTO", "NONE", None),
        (tf.ones(2), "a", True, (2,), "AUTO", "NONE", None),
        (tf.ones(2), "a", True, tf.TensorShape([3]), "AUTO", "NONE", None),
        (tf.ones(2), "a", True, tf.TensorShape([None, None]), "AUTO", "NONE", None),
        (tf.ones(2), "a", True, None, "mro", "NONE", None),
        (tf.ones(2), "a", True, None, 0, "NONE", None),
        (tf.ones(2), "a", True, None, NESTED, "NONE", None),
        (tf.ones(2), "a", True, None, "AUTO", "ALL", None),
        (tf.ones(2), "a", True, None, "AUTO", None, None),
        (tf.ones(2), "a", True, None, "AUTO", "NONE", "constraint"),
    ],
)
def test_variable_of_anything_else_is_refused(arguments):
    with pytest.raises((DecodeError, KeyError, UnicodeError)):
        guards.rebuild_variable(*arguments)


# What consists of tensors


class TestRagged:
    """The rows of a ragged tensor are its values, each once."""

    @pytest.mark.parametrize(
        "ragged",
        [
            tf.ragged.constant([[1.0], [], [2.0, 3.0]]),
            tf.ragged.constant([[["a"], []], [["bc"]]]),
            tf.ragged.constant([[], []]),
            tf.RaggedTensor.from_row_splits(tf.ones((3, 2)), ints(0, 1, 3, dtype=tf.int32)),
            tf.RaggedTensor.from_uniform_row_length(tf.ones(4), 2),
            tf.RaggedTensor.from_uniform_row_length(tf.ragged.constant([[1.0], [], [2.0], []]), 2),
            tf.RaggedTensor.from_uniform_row_length(tf.zeros(0), 0, nrows=5),
        ],
        ids=repr,
    )
    def test_arrives_as_it_left(self, ragged):
        got = arrived([ragged])[0]
        assert type(got) is type(ragged)
        assert got.to_list() == ragged.to_list()
        assert got.row_splits.dtype == ragged.row_splits.dtype
        assert (got.uniform_row_length is None) == (ragged.uniform_row_length is None)

    @pytest.mark.parametrize(
        ("values", "splits"),
        [
            (tf.ones(3), ints(0, 100, 3)),
            (tf.ones(3), ints(0, -1, 3)),
            (tf.ones(3), ints(0, 2, 1, 3)),
            (tf.ones(3), ints(0, 4)),
            (tf.ones(3), ints(0, 2)),
            (tf.ones(3), ints(1, 3)),
            (tf.ones(3), ints()),
            (tf.ones(3), ints(3)),
            (tf.ones(3), tf.constant(3)),
            (tf.ones(3), ints(0, 3)[None]),
            (tf.ones(3), tf.constant([0.0, 3.0])),
            (tf.ones(3), [0, 3]),
            (tf.constant(1.0), ints(0, 1)),
            ([1.0, 2.0], ints(0, 2)),
            (tf.ragged.constant([[1.0], [2.0]]), ints(0, 3)),
        ],
    )
    def test_is_refused(self, values, splits):
        with pytest.raises(DecodeError):
            guards.rebuild_ragged(values, splits)

    @pytest.mark.parametrize(
        ("values", "length", "count"),
        [
            (tf.ones(4), ints(2)[0], ints(3)[0]),
            (tf.ones(4), ints(0)[0], ints(3)[0]),
            (tf.ones(4), ints(-2)[0], ints(-2)[0]),
            (tf.ones(4), ints(2), ints(2)),
            (tf.ones(4), tf.constant(2.0), tf.constant(2.0)),
            (tf.ones(4), 2, 2),
            (tf.constant(1.0), ints(1)[0], ints(1)[0]),
        ],
    )
    def test_of_rows_of_one_length_is_refused(self, values, length, count):
        with pytest.raises(DecodeError):
            guards.rebuild_uniform(values, length, count)

    def test_of_rows_without_elements_is_accounted_for(self):
        with limited(max_decompressed_bytes=1 << 30, max_ratio=None), pytest.raises(LimitError):
            guards.rebuild_uniform(tf.zeros(0), ints(0)[0], ints(1 << 40)[0])

    def test_has_few_levels(self):
        ragged = tf.ones(1)
        for _ in range(guards._MOST_LEVELS):
            ragged = guards.rebuild_ragged(ragged, ints(0, 1))
        with pytest.raises(DecodeError, match="levels"):
            guards.rebuild_ragged(ragged, ints(0, 1))


class TestSparse:
    """Indices are within the shape."""

    @pytest.mark.parametrize(
        "sparse",
        [
            tf.SparseTensor([[0, 1], [2, 0]], [1.0, 2.0], (3, 2)),
            tf.SparseTensor([[2], [0], [0]], ["a", "b", "c"], (3,)),
            tf.SparseTensor(np.zeros((0, 2), "i8"), np.zeros(0), (0, 4)),
        ],
    )
    def test_arrives_as_it_left(self, sparse):
        got = arrived([sparse])[0]
        for part in ("indices", "values", "dense_shape"):
            assert_same(getattr(got, part), getattr(sparse, part))

    @pytest.mark.parametrize(
        ("indices", "values", "shape"),
        [
            (ints((0, 2)), tf.ones(1), ints(3, 2)),
            (ints((0, -1)), tf.ones(1), ints(3, 2)),
            (ints((WIDE, 0)), tf.ones(1), ints(3, 2)),
            (ints((0, 1)), tf.ones(2), ints(3, 2)),
            (ints((0, 1)), tf.ones(1), ints(3)),
            (ints((0, 1)), tf.ones(1), ints(3, 2, 1)),
            (ints((0, 1)), tf.ones(1), ints(-3, 2)),
            (ints((0, 1)), tf.ones(1), ints(WIDE, WIDE)),
            (ints((0, 1)), tf.ones(1), (3, 2)),
            (ints((0, 1)), tf.ones(1), tf.constant([3.0, 2.0])),
            (ints((0, 1)), tf.ones((1, 1)), ints(3, 2)),
            (ints((0, 1)), [1.0], ints(3, 2)),
            (ints(0, 1), tf.ones(1), ints(3, 2)),
            ([[0, 1]], tf.ones(1), ints(3, 2)),
        ],
    )
    def test_is_refused(self, indices, values, shape):
        with pytest.raises(DecodeError):
            guards.rebuild_sparse(indices, values, shape)

    def test_indices_are_accounted_for(self):
        places = tf.zeros((1000, 1), tf.int64)
        with limited(max_decompressed_bytes=20_000, max_ratio=None):
            guards.rebuild_sparse(places, tf.ones(1000), ints(3))
            guards.rebuild_sparse(places, tf.ones(1000), ints(3))
            with pytest.raises(LimitError):
                guards.rebuild_sparse(places, tf.ones(1000), ints(3))


class TestSlices:
    """Slices are of a tensor that they fit in."""

    @pytest.mark.parametrize("shape", [None, tf.constant([9, 4])])
    def test_arrive(self, shape):
        slices = tf.IndexedSlices(tf.ones((2, 4)), tf.constant([8, 0]), shape)
        got = arrived([slices])[0]
        assert_same(got.values, slices.values)
        assert_same(got.indices, slices.indices)
        assert (got.dense_shape is None) == (shape is None)

    @pytest.mark.parametrize(
        ("values", "indices", "shape"),
        [
            (tf.ones((2, 4)), ints(9, 0), ints(9, 4)),
            (tf.ones((2, 4)), ints(-1, 0), ints(9, 4)),
            (tf.ones((2, 4)), ints(-1, 0), None),
            (tf.ones((2, 4)), ints(0), None),
            (tf.ones((2, 4)), ints(0, 1), ints(9, 5)),
            (tf.ones((2, 4)), ints(0, 1), ints(9)),
            (tf.ones((2, 4)), ints(0, 1), ints()),
            (tf.ones((2, 4)), ints(0, 1), (9, 4)),
            (tf.ones((2, 4)), [0, 1], None),
            (tf.ones((2, 4)), tf.constant([0.0, 1.0]), None),
            (tf.constant(1.0), ints(0), None),
            ([[1.0]], ints(0), None),
        ],
    )
    def test_are_refused(self, values, indices, shape):
        with pytest.raises(DecodeError):
            guards.rebuild_slices(values, indices, shape)


# Descriptions


def test_descriptions_arrive():
    dtypes = [tf.float32, tf.string, tf.variant, tf.resource, tf.qint8, tf.bfloat16]
    assert arrived(dtypes) == dtypes
    shapes = [tf.TensorShape(lengths) for lengths in (None, (), (1, None), (3, 2))]
    assert list(map(repr, arrived(shapes))) == list(map(repr, shapes))


@pytest.mark.parametrize("name", ["float31", "float32_ref", "f" * 2000, None, tf.float32, NESTED])
def test_dtype_is_one_of_a_table(name):
    with pytest.raises(DecodeError, match="dtype"):
        guards.rebuild_dtype(name)


@pytest.mark.parametrize("lengths", [[1], (-1,), (True,), (2**63,), (WIDE, None, WIDE), (1,) * 300, 3, "12", NESTED])
def test_shape_consists_of_lengths(lengths):
    with pytest.raises(DecodeError):
        guards.rebuild_shape(lengths)


def test_weights_of_a_model_arrive():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    tensors = [variable.value.value() for variable in model.variables]
    for got, sent in zip(arrived(tensors), tensors, strict=True):
        assert_same(got, sent)


@pytest.mark.parametrize(
    "obj",
    [
        tf.reduce_sum,
        tf.Variable(1.0, constraint=tf.nn.relu),
        tf.random.Generator.from_seed(7),
        tf.TensorSpec([3]),
        keras.Variable(1.0),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_objects_with_code_are_refused(obj):
    with pytest.raises((PolicyError, DecodeError), match=r"refused|stands for a function"):
        arrived([obj])


ATTACK = """
    import random, sys, warnings
    warnings.simplefilter("ignore")
    import numpy as np, tensorflow as tf
    from oobcodec.context import LOADING, LoadOptions
    from oobcodec.guards import tensorflow as guards
    from oobcodec.limits import FOR_DATA, Budget

    pick, C = random.Random(int(sys.argv[1])), tf.constant
    ints = lambda *numbers: C(numbers, tf.int64)
    pairs = tf.RaggedTensor.from_row_splits(C([1.0, 2.0, 3.0]), ints(0, 1, 3))
    CALLS = [
        (guards.rebuild_tensor, (bytes(64), "float64", (2, 4))),
        (guards.rebuild_tensor, (bytearray(64), "bfloat16", (32,), "CPU:0")),
        (guards.rebuild_tensor, (bytes(64), "bool", (64,))),
        (guards.rebuild_strings, (b"abcdef", bytes([1, 2, 0, 3]), 1, (2, 2))),
        (guards.rebuild_variable, (C([1.0, 2]), "a/b", False, tf.TensorShape([None]), "ON_READ", "SUM", None)),
        (guards.rebuild_ragged, (C([1.0, 2, 3]), ints(0, 1, 1, 3))),
        (guards.rebuild_ragged, (pairs, ints(0, 1, 2))),
        (guards.rebuild_uniform, (C([1.0, 2, 3, 4]), ints(2)[0], ints(2)[0])),
        (guards.rebuild_uniform, (tf.zeros(0), ints(0)[0], ints(5)[0])),
        (guards.rebuild_sparse, (ints((0, 1), (2, 0)), C([1.0, 2]), ints(3, 2))),
        (guards.rebuild_slices, (C([[1.0, 2], [3, 4]]), C([0, 3]), C([5, 2]))),
        (guards.rebuild_shape, ((1, None, 3),)),
    ]
    STRANGE = [None, True, -1, 0, 1, 3, 2**31, 2**40, 2**62, 2**63, 10**30, float("nan"), "", "GPU:0", "bool",
        "int4", "int64", "qint8", "string", "resource", "AUTO", "a b", b"", b"ab", bytearray(8), (), (1, 2), [1], {},
        C([1.0, 2]), ints(0, 1, 2), ints(0, 5, 2), ints(2**40)[0], ints(-1)[0], C("a"), tf.zeros((2, 0)),
        tf.zeros((0, 2), tf.int64), tf.TensorShape(None), tf.TensorShape([2**40] * 3), tf.Variable(1.0), pairs,
        np.ones(3), tf.float32]
    USES = [repr, list, lambda v: v == v, lambda v: v.numpy(), lambda v: v + 1, lambda v: v[0], tf.reduce_sum,
        tf.where, tf.convert_to_tensor, lambda v: v.to_list(), lambda v: v.to_tensor(), lambda v: v.to_sparse(),
        tf.sparse.reorder, lambda v: v.assign_add(v), lambda v: tf.sparse.add(v, v), tf.sparse.transpose,
        lambda v: tf.cast(v, tf.float32)]

    def changed(x):
        if pick.random() < 0.3:
            return pick.choice(STRANGE)
        if isinstance(x, tf.Tensor) and x.dtype in (tf.int32, tf.int64):
            y = np.array(x.numpy()).reshape(-1)
            y[pick.randrange(y.size)] = pick.choice([-1, 0, 1, 2, 3, 4, 2**30])
            return C(y.reshape(x.shape))
        if type(x) is int:
            return pick.choice([x + 1, x - 1, -x, 2 * x, x + 2**32, x + 2**62])
        if type(x) is tuple and x:
            y = list(x)
            i = pick.randrange(len(y))
            y[i : i + 1] = pick.choice([[changed(y[i])]] * 4 + [[], [y[i], y[i]]])
            return tuple(y)
        return pick.choice(STRANGE)

    values = 0
    for _ in range(int(sys.argv[2])):
        LOADING.set(LoadOptions(budget=Budget(FOR_DATA)))
        guard, arguments = pick.choice(CALLS)
        arguments = list(arguments)
        for _ in range(pick.randrange(3)):
            i = pick.randrange(len(arguments))
            arguments[i] = changed(arguments[i])
        try:
            value = guard(*arguments)
        except Exception:
            continue
        values += 1
        for use in USES:
            try:
                use(value)
            except Exception:
                pass
    print(values)
"""


def test_hundreds_of_changed_arguments_crash_nothing():
    command = [sys.executable, "-c", textwrap.dedent(ATTACK), "5", "400"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
