"""TensorFlow and Keras."""

import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import cases_numpy  # noqa: F401  # compares arrays, which are beside TensorFlow's
from .comparison import compares
from .table import N, case

DTYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bfloat16", "float16", "float32",
    "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "int4", "uint4", "int2", "uint2", "float4_e2m1fn", "qint8", "quint8", "qint16", "quint16", "qint32",
]  # fmt: skip
TINY = {"bool", "int4", "uint4", "int2", "uint2", "float4_e2m1fn"}
"""Of whose bytes few bits say something."""
KNOWN = {**vars(tf.dtypes), **vars(tf.dtypes.experimental)}
TEXTS = [f"{i:08} abcdefghijklmnopqrst" for i in range(N // 8)]
TEXT = 29 * len(TEXTS)


def _of(name, *shape):
    """Return a tensor of any dtype, made of bits: what they stand for need not be the same in all versions."""
    dtype = tf.as_dtype(name)
    if dtype.is_quantized:
        return tf.bitcast(_of(name[1:], *shape), dtype)
    octets = np.arange(int(np.prod(shape)) * dtype.size) % (2 if name in TINY else 251)
    return tf.constant(octets.astype("u1").view(dtype.as_numpy_dtype).reshape(shape))


def _numbers(*shape, dtype="f8"):
    return tf.constant((np.arange(np.prod(shape or (N,), dtype=int)) % 100).astype(dtype).reshape(shape or (N,)))


def _with(one, **attributes):
    for name, value in attributes.items():
        setattr(one, name, value)
    return one


def _one_memory():
    one = _numbers()
    array = np.asarray(memoryview(one))
    return [one, one, tf.reshape(one, (-1, 2)), array, array[N // 2 :], {"again": one}]


# Variables, and what consists of tensors


def _variable(value=None, **options):
    return tf.Variable(_numbers() if value is None else value, **options)


def _described():
    synchronization, aggregation = tf.VariableSynchronization.ON_READ, tf.VariableAggregation.SUM
    kinds = {"trainable": False, "synchronization": synchronization, "aggregation": aggregation}
    return _variable(name="layer/kernel", constraint=tf.nn.relu, **kinds)


def _assigned():
    one = _variable()
    one.assign_add(one)
    one.scatter_nd_update([[3]], [9.0])
    return one


def _ragged(values=None, splits="i8"):
    values = _numbers() if values is None else values
    return tf.RaggedTensor.from_row_splits(values, np.arange(0, N + 1, 64).astype(splits))


def _sparse(dtype="f8"):
    places = np.stack([np.arange(N // 4), np.arange(N // 4) % 7], axis=1)
    return tf.SparseTensor(places, _numbers(N // 4, dtype=dtype), (N // 4, 7))


def _slices(shape=None):
    return tf.IndexedSlices(_numbers(N // 8, 8, dtype="f4"), tf.range(N // 8), shape)


class Pair(tf.experimental.ExtensionType):
    """A tensor and rows of different lengths."""

    first: tf.Tensor
    second: tf.RaggedTensor


@dataclass
class Batch:
    """Something that holds tensors."""

    inputs: Any
    labels: Any


def _generator():
    one = tf.random.Generator.from_seed(7)
    one.normal([3])
    return one


def _specs():
    specs = [tf.TensorSpec([None, 3], tf.bfloat16, "x"), tf.RaggedTensorSpec([2, None], tf.int8)]
    return [*specs, tf.SparseTensorSpec([4, None]), tf.IndexedSlicesSpec([9, 2]), tf.type_spec_from_value(_numbers(3))]


# Keras


def _model():
    """Return a model with names and numbers that are always the same."""
    inputs = keras.Input((64,), name="inputs")
    outputs = keras.layers.Dense(512, activation="relu", name="first")(inputs)
    outputs = keras.layers.BatchNormalization(name="norm")(outputs)
    model = keras.Model(inputs, keras.layers.Dense(256, name="second")(outputs), name="model")
    model.set_weights(
        [((np.arange(w.size) * 7 % 13 + 1) / 64).astype(w.dtype).reshape(w.shape) for w in model.get_weights()]
    )
    return model


WEIGHTS = 4 * (64 * 512 + 512 + 4 * 512 + 512 * 256 + 256)
INPUT = np.arange(128, dtype="f4").reshape(2, 64) / 128


class Network:
    """A model as what it is made of."""

    def __init__(self, model):
        self.architecture, self.weights = model.to_json(), model.get_weights()

    def __call__(self, inputs):
        model = keras.models.model_from_json(self.architecture)
        model.set_weights(self.weights)
        return model(inputs)


class Whole:
    """A model as Keras pickles it, without numpy's remarks on how Keras does that."""

    def __init__(self, model):
        self.model = model

    def __reduce__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return self.model.__reduce__()


def _layered():
    layer = _model().layers[1]
    return {"config": layer.get_config(), "weights": layer.weights, "kernel": layer.kernel}


def _remembered():
    """Return the variables of an optimizer, and those that it trains."""
    model, optimizer = _model(), keras.optimizers.Adam(0.5, name="adam")
    optimizer.build(model.trainable_variables)
    return {"optimizer": optimizer.variables, "model": model.trainable_variables}


CASES = [
    *[case(f"dtype {d}", lambda d=d: _of(d, N), N * tf.as_dtype(d).size) for d in DTYPES if d in KNOWN],
    *[case(f"dtype {d}, three elements", lambda d=d: _of(d, 3)) for d in DTYPES if d in KNOWN],
    case("strings", lambda: tf.constant(TEXTS), TEXT),
    case("strings of all lengths", lambda: tf.constant([[b"a\0", b"", "\N{SNOWMAN}".encode()], [b"x" * 300, b"\0\0", b"\xff"]])),
    case("strings, none and one", lambda: [tf.constant([], tf.string), tf.constant("one"), tf.constant(np.zeros((2, 0), object), tf.string)]),
    case("two axes", lambda: _numbers(256, N // 256), 8 * N),
    case("eight axes", lambda: _numbers(2, 4, 8, 1, 16, 1, 2, N // 2048), 8 * N),
    case("transposed", lambda: tf.transpose(_numbers(256, N // 256)), 8 * N),
    case("every second element", lambda: _numbers(2 * N)[::2], 8 * N),
    case("ten elements of many", lambda: _numbers()[50:60], 80),
    case("rows of many", lambda: _numbers(N // 8, 8)[N // 16 :], 4 * N),
    case("not a number", lambda: tf.constant(np.array([np.nan, -0.0, np.inf, 5e-324] * (N // 4))), 8 * N),
    case("zero dimensions", lambda: [tf.constant(3.5), tf.constant(7, tf.int64), tf.constant(value=True), _of("bfloat16"), _of("qint8")]),
    case("empty", lambda: [tf.zeros((0,)), tf.zeros((2, 0, 3), tf.int16), tf.zeros((0,), tf.bfloat16), tf.zeros((0, 4), tf.string)]),
    case("computed", lambda: _numbers(256, N // 256) * 2 + 1, 8 * N),
    case("attributes", lambda: _with(_numbers(), unit=["m"], mask=_numbers(dtype="?")), 9 * N),
    case("one memory, six times", _one_memory, 8 * N),
    case("a thousand tensors of ten", lambda: [tf.range(10) + i for i in range(1000)]),
    case("dataclass of tensors", lambda: Batch({"x": _numbers(), "y": [_numbers(dtype="i4")]}, (tf.constant("label"), None)), 12 * N),
    case("Variable", _variable, 8 * N),
    case("Variable, with all", _described, 8 * N),
    case("Variable, assigned to", _assigned, 8 * N),
    case("Variable of any shape", lambda: [_variable(shape=tf.TensorShape(None)), _variable(_numbers(3, 2), shape=[None, 2])], 8 * N),
    *[case(f"Variable of {d}", lambda d=d: _variable(_of(d, N)), N * tf.as_dtype(d).size) for d in ("bool", "bfloat16", "float16", "int8", "uint64", "complex64")],
    case("Variable of strings", lambda: _variable(tf.constant(["a", "bc"]), name="words")),
    case("Variable twice, and its value", lambda: [one := _variable(), one.value(), {"again": one}], 8 * N),
    case("ragged", _ragged, 8 * N + 8 * (N // 64 + 1)),
    case("ragged, short splits", lambda: _ragged(splits="i4"), 8 * N + 4 * (N // 64 + 1)),
    case("ragged, of strings", lambda: tf.ragged.constant([["a"], [], ["bc", ""]])),
    case("ragged, of levels", lambda: tf.RaggedTensor.from_row_splits(_ragged(), [0, 5, 5, N // 64]), 8 * N + 8 * (N // 64 + 1)),
    case("ragged, of rows of one length", lambda: tf.RaggedTensor.from_uniform_row_length(_ragged(), 4), 8 * N + 8 * (N // 64 + 1)),
    case("ragged, with a dense axis", lambda: tf.RaggedTensor.from_row_splits(_numbers(N // 8, 8), [0, 7, N // 8]), 8 * N),
    case("ragged, empty", lambda: [tf.ragged.constant([[], []]), tf.ragged.constant([], ragged_rank=1), tf.ragged.constant([[[]], []])]),
    case("sparse", _sparse, 6 * N),
    case("sparse, of strings", lambda: tf.SparseTensor([[0, 1], [2, 0]], ["a", "bc"], (3, 4))),
    case("sparse, none", lambda: tf.SparseTensor(np.zeros((0, 2), "i8"), np.zeros(0, "f4"), (3, 4))),
    case("indexed slices", _slices, 4 * N + N // 2),
    case("indexed slices, with a shape", lambda: _slices(tf.constant([N, 8])), 4 * N + N // 2),
    case("extension type", lambda: Pair(_numbers(), _ragged(_numbers(dtype="i4"))), 12 * N + 8 * (N // 64 + 1)),
    case("dtypes", lambda: [tf.as_dtype(d) for d in (*DTYPES[:16], "float8_e5m2", "int4", "uint4", "qint8", "quint16", "string", "variant", "resource")]),
    case("shapes", lambda: [tf.TensorShape(lengths) for lengths in (None, (), (1, None), (3, 2))]),
    case("specs", _specs),
    case("random generator", _generator),
    case("functions", lambda: [tf.reduce_sum, tf.nn.relu, tf.Variable, tf.constant, keras.layers.Dense]),
    case("model, as what it is made of", lambda: Network(_model()), WEIGHTS),
    case("weights of a model, as arrays", lambda: _model().get_weights(), WEIGHTS),
    case("weights of a model, as variables", lambda: _model().variables, WEIGHTS),
    case("weights of a model, as tensors", lambda: [variable.value.value() for variable in _model().variables], WEIGHTS),
    case("layer, as what it is made of", _layered, 4 * (64 * 512 + 512)),
    case("optimizer and model, as variables", _remembered, 3 * WEIGHTS - 5 * 4 * 512),
    case("model, as Keras pickles it", lambda: Whole(_model()), WEIGHTS, arrives=_model),
]  # fmt: skip


# Tensors


@compares(type(tf.constant(0)))
def _compare_tensors(comparison, got, want, where):
    comparison.equal("dtype", got.dtype, want.dtype, f"{where}.dtype")
    comparison.equal("value", tuple(got.shape), tuple(want.shape), f"{where}.shape")
    comparison.equal("device", got.device, want.device, f"{where}.device")
    if not comparison.lost.keys() & {"dtype", "value"}:
        # Elements that nobody can change: whether two tensors share memory shows in what is shipped, and nowhere else.
        comparison.equal("value", *map(_bits, (got, want)), where)
    attributes = [{f".{name}": value for name, value in vars(one).items() if name[0] != "_"} for one in (got, want)]
    comparison.parts(*attributes, where)


def _bits(tensor):
    values = np.asarray(tensor.numpy())
    return values.tolist() if tensor.dtype == tf.string else values.tobytes()


@compares(type(tf.Variable(0)))
def _compare_variables(comparison, got, want, where):
    comparison.equal("names", got.name, want.name, f"{where}.name")
    for name in ("trainable", "synchronization", "aggregation", "constraint"):
        comparison.equal("flags", getattr(got, name), getattr(want, name), f"{where}.{name}")
    comparison.equal("value", repr(got.shape), repr(want.shape), f"{where}.shape")
    comparison.compare(got.value(), want.value(), f"{where}.value()")


def _compare_names(*names):
    def compare(comparison, got, want, where):
        comparison.parts(*({f".{name}": getattr(one, name) for name in names} for one in (got, want)), where)

    return compare


compares(tf.RaggedTensor)(_compare_names("values", "row_splits", "uniform_row_length"))
compares(tf.SparseTensor)(_compare_names("indices", "values", "dense_shape"))
compares(tf.IndexedSlices)(_compare_names("values", "indices", "dense_shape"))
compares(Pair)(_compare_names("first", "second"))


@compares(tf.DType)
def _compare_dtypes(comparison, got, want, where):
    if got is not want:
        comparison.miss("identity", f"{where}: not {want!r} itself")


@compares(tf.TensorShape, tf.TypeSpec)
def _compare_descriptions(comparison, got, want, where):
    comparison.equal("value", repr(got), repr(want), where)


@compares(tf.random.Generator)
def _compare_generators(comparison, got, want, where):
    comparison.equal("value", got.algorithm, want.algorithm, f"{where}.algorithm")
    comparison.compare(got.state, want.state, f"{where}.state")


# Keras


@compares(keras.Variable)
def _compare_keras_variables(comparison, got, want, where):
    comparison.equal("names", (got.name, got.path), (want.name, want.path), f"{where}.path")
    comparison.equal("dtype", got.dtype, want.dtype, f"{where}.dtype")
    for name in ("trainable", "aggregation", "synchronization", "overwrite_with_gradient"):
        comparison.equal("flags", *(getattr(one, name, None) for one in (got, want)), f"{where}.{name}")
    comparison.compare(got.value, want.value, f"{where}.value")


@compares(Network)
def _compare_networks(comparison, got, want, where):
    comparison.equal("metadata", got.architecture, want.architecture, f"{where}.architecture")
    comparison.compare(got.weights, want.weights, f"{where}.weights")
    comparison.compare(got(INPUT), want(INPUT), f"{where}: what it computes")


@compares(keras.Model)
def _compare_models(comparison, got, want, where):
    comparison.equal("metadata", got.to_json(), want.to_json(), f"{where}.to_json()")
    for index, pair in enumerate(zip(got.variables, want.variables, strict=True)):
        comparison.compare(*pair, f"{where}.variables[{index}]")
    comparison.compare(got(INPUT), want(INPUT), f"{where}: what it computes")
