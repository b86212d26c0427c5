"""The comparison of the demo: that it finds every kind of difference."""

from array import array
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from oobcodec import samples
from oobcodec.comparison import difference
from oobcodec.comparison import kind as kind_of
from oobcodec.comparison import nbytes as nbytes_of

BASE = np.arange(24.0).reshape(4, 6)
READ_ONLY = BASE.copy()
READ_ONLY.flags.writeable = False
MEASUREMENT = samples.Measurement("a", BASE, BASE > 1)
TIED = samples.TiedModel(BASE, BASE.T, BASE[:2])
MEMORY = memoryview(bytearray(range(10)))
RECORDS = [{"a": (1, "x"), "b": {2}}]
PANDAS = pd.DataFrame({"n": [1.0, 2.0], "c": pd.Categorical(["x", "y"])})
POLARS = pl.DataFrame({"n": [1.0, 2.0, 3.0], "s": ["x", "y", "z"]})
ARROW = pa.table({"n": [1.0, 2.0, 3.0], "s": ["x", None, "z"]})


def with_attrs(frame, **attrs):
    frame = frame.copy()
    frame.attrs.update(attrs)
    return frame


def scaled(factor):
    return lambda: BASE * factor


@pytest.mark.parametrize(
    ("expected", "received", "text"),
    [
        (RECORDS, [{"a": (1, "y"), "b": {2}}], "it[0]['a'][1] is 'y' instead of 'x'"),
        (RECORDS, [{"a": [1, "x"], "b": {2}}], "type of it[0]['a'] is <class 'list'> instead of <class 'tuple'>"),
        (RECORDS, [{"b": {2}, "a": (1, "x")}], "type of it[0]['b'] where type of it[0]['a'] should be"),
        (RECORDS, [{"a": (1, "x")}], "pairs that share memory where type of it[0]['b'] should be"),
        ([1], [1, 2], "type of it[1] where pairs that share memory should be"),
        ([1], [True], "type of it[0] is <class 'bool'> instead of <class 'int'>"),
        (b"ab", bytearray(b"ab"), "type of it is <class 'bytearray'> instead of <class 'bytes'>"),
        (b"ab", b"ac", "it is b'ac' instead of b'ab'"),
        (array("i", [1]), array("l", [1]), "format of it is 'l' instead of 'i'"),
        (array("i", [1]), array("i", [2]), "it is "),
        (MEMORY, MEMORY.toreadonly(), "writability of it is False instead of True"),
        ([MEMORY, MEMORY[5:]], [MEMORY, memoryview(bytearray(MEMORY[5:]))], "pairs that share memory is []"),
        ([MEMORY[:5], MEMORY[5:]], [MEMORY[:5], memoryview(bytearray(MEMORY[5:]))], ""),
        (BASE, BASE + 1, "it is "),
        (BASE, -0.0 * BASE, "it is "),
        (BASE, BASE.astype("f4"), "dtype of it is dtype('float32') instead of dtype('float64')"),
        (BASE, BASE.reshape(6, 4), "shape of it is (6, 4) instead of (4, 6)"),
        (BASE, BASE.copy("F"), "strides of it is (8, 32) instead of (48, 8)"),
        (BASE, READ_ONLY, "writability of it is False instead of True"),
        (BASE, BASE.view(np.matrix), "type of it is <class 'numpy.matrix'> instead of <class 'numpy.ndarray'>"),
        (MEASUREMENT, replace(MEASUREMENT, station="b"), "it.station is 'b' instead of 'a'"),
        (TIED, replace(TIED, first_rows=BASE[:2].copy()), "pairs that share memory is [('it.embedding', 'it.output')]"),
        ([BASE, BASE.copy()], [BASE, BASE], "pairs that share memory is [('it[0]', 'it[1]')] instead of []"),
        (scaled(2), scaled(2), ""),
        (scaled(2), scaled(3), "it() is "),
    ],
)
def test_difference_is_found(expected, received, text):
    found = difference(expected, received)
    assert found.startswith(text)
    assert bool(found) == bool(text)


def test_strides_may_differ_where_gaps_are_left_out():
    assert difference(BASE[:, ::2], BASE[:, ::2].copy(), compacted=True) == ""
    assert difference(BASE[:, ::2], BASE[:, 1::2].copy(), compacted=True).startswith("it is ")


@pytest.mark.parametrize(
    ("obj", "text", "nbytes"),
    [
        (BASE, "float64 4x6", 192),
        (RECORDS, "list of 1 dict", 0),
        (TIED, "TiedModel", 192 + 192 + 96),
        ({"a": b"abc", "b": [array("d", [1.0]), bytearray(2)]}, "dict", 13),
        (MEMORY, "memoryview", 10),
        (scaled(2), "function", 192),
    ],
)
def test_kind_and_size(obj, text, nbytes):
    assert kind_of(obj) == text
    assert nbytes_of(obj) == nbytes


@pytest.mark.parametrize(
    ("expected", "received", "text"),
    [
        (PANDAS, PANDAS.copy(), ""),
        (PANDAS, PANDAS["n"], "type of it is <class"),
        (PANDAS, with_attrs(PANDAS, a=1), "attrs of it is {'a': 1} instead of {}"),
        (PANDAS, PANDAS.set_axis(pd.Index([0, 1])), "type of the index of it is <class"),
        (PANDAS, PANDAS.set_axis(pd.RangeIndex(1, 3)), "index of it is [1, 2] instead of [0, 1]"),
        (PANDAS, PANDAS.set_axis(["n", "d"], axis=1), "columns of it is ['n', 'd'] instead of ['n', 'c']"),
        (PANDAS, PANDAS.astype({"n": "f4"}), "dtype of column 'n' of it is dtype('float32') instead of dtype('f"),
        (PANDAS, PANDAS.astype({"c": "object"}), "dtype of column 'c' of it is dtype('O') instead of Categor"),
        (PANDAS, PANDAS.assign(n=[1.0, 3.0]), "column 'n' of it is [1.0, 3.0] instead of [1.0, 2.0]"),
        (POLARS, POLARS.clone(), ""),
        (POLARS, POLARS.cast({"n": pl.Float32}), "schema of it is "),
        (POLARS, POLARS.reverse(), "column 'n' of it is [3.0, 2.0, 1.0] instead of [1.0, 2.0, 3.0]"),
        (POLARS, POLARS[:2], "column 'n' of it is "),
        ([POLARS, POLARS[1:]], [POLARS, POLARS[1:]], ""),
        ([POLARS, POLARS[1:]], [POLARS, pl.DataFrame(POLARS[1:].to_dict(as_series=False))], "pairs that share memory"),
        (ARROW, pa.table(ARROW.to_pydict()), ""),
        (ARROW, ARROW.replace_schema_metadata({"a": "b"}), "schema of it is "),
        (ARROW, pa.table({"n": [1.0, 2.0, 3.0], "s": ["x", "y", "z"]}), "column 's' of it is "),
        (ARROW, ARROW[:2], "column 'n' of it is "),
        ([ARROW, ARROW[1:]], [ARROW, ARROW[1:]], ""),
        ([ARROW, ARROW[1:]], [ARROW, pa.table(ARROW[1:].to_pydict())], "pairs that share memory"),
    ],
)
def test_difference_of_tables_is_found(expected, received, text):
    found = difference(expected, received)
    assert found.startswith(text)
    assert bool(found) == bool(text)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_difference_of_tensors_is_found():
    import torch

    tensor = torch.arange(24.0).reshape(1, 4, 2, 3)
    other = tensor.clone(memory_format=torch.channels_last)
    assert difference({"a": tensor}, {"a": tensor.clone()}) == ""
    assert difference(tensor, tensor.numpy()).startswith("type of it is ")
    assert difference(tensor, tensor.double()).startswith("dtype of it.numpy() is dtype('float64')")
    assert difference(tensor, other).startswith("strides of it.numpy() is ")
    assert difference(tensor, -tensor).startswith("it.numpy() is ")
    tied = "pairs that share memory is [] instead of [('it[0].numpy()', 'it[1].numpy()')]"
    assert difference([tensor, tensor[0]], [tensor, tensor[0].clone()]) == tied
    assert (kind_of(tensor), nbytes_of([tensor, tensor[0]])) == ("Tensor", 192)


@pytest.mark.parametrize(
    ("obj", "text", "nbytes"),
    [
        (PANDAS[["n"]], "DataFrame 2x1", 16),
        (ARROW, "Table 3x2", 24 + 3 * 4 + 2 + 1),
        (POLARS, "DataFrame 3x2", 24 + 3 * 8 + 3),
    ],
)
def test_kind_and_size_of_tables(obj, text, nbytes):
    assert kind_of(obj) == text
    assert type(nbytes_of(obj)) is int
    assert nbytes_of(obj) == nbytes
