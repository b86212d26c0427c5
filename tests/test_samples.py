"""The samples of the demo, and that their comparison finds every kind of difference."""

from array import array
from dataclasses import replace

import numpy as np
import pytest

import oobcodec
from oobcodec import samples
from oobcodec.samples import Sample, difference

BASE = np.arange(24.0).reshape(4, 6)
READ_ONLY = BASE.copy()
READ_ONLY.flags.writeable = False
MEASUREMENT = samples.Measurement("a", BASE, BASE > 1)
TIED = samples.TiedModel(BASE, BASE.T, BASE[:2])
MEMORY = memoryview(bytearray(range(10)))
RECORDS = [{"a": (1, "x"), "b": {2}}]


def scaled(factor):
    return lambda: BASE * factor


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=lambda sample: sample.name)
def test_sample_arrives(sample):
    sent = sample.make(1)
    received = oobcodec.loads(oobcodec.pack(oobcodec.dumps(sent)))
    assert difference(sent, received, compacted=sample.compacted) == ""


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=lambda sample: sample.name)
def test_sample_is_made_from_the_seed(sample):
    assert difference(sample.make(1), sample.make(1)) == ""
    assert difference(sample.make(1), sample.make(2))


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
    assert samples.kind(obj) == text
    assert samples.nbytes(obj) == nbytes


def test_sample_needs_its_library():
    assert Sample("without", list).available
    assert Sample("with", list, "numpy").available
    assert not Sample("missing", list, "no_such_library").available
