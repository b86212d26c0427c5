"""Sparse matrices in two formats; the other formats need no reducer: see test_scipy.py."""

import numpy as np
import pytest
import scipy.sparse
from helpers import roundtrip

from oobcodec.errors import DecodeError
from oobcodec.reducers.scipy import rebuild_coo, rebuild_dok, reduce_coo, register
from oobcodec.registry import DEFAULT

register()
COO = [scipy.sparse.coo_array, scipy.sparse.coo_matrix]


def made(cls, index="i8"):
    places = np.array([0, 3, 1], index), np.array([2, 0, 4], index)
    one = cls((4, 5))
    one.data = np.array([1.5, 2.5, 3.5])
    if hasattr(one, "coords"):
        one.coords = places
    else:
        one.row, one.col = places
    return one


@pytest.mark.parametrize("index", ["i4", "i8"])
@pytest.mark.parametrize("cls", COO)
def test_arrives_as_it_left(cls, index):
    one = made(cls, index)
    one.note, one.has_canonical_format = ["mine"], True
    got = roundtrip(one)
    assert type(got) is cls
    assert (got.shape, got.has_canonical_format, got.note) == ((4, 5), True, ["mine"])
    assert [part.dtype for part in (got.row, got.col, got.data)] == [index, index, "f8"]
    np.testing.assert_array_equal(got.toarray(), one.toarray())
    np.testing.assert_array_equal((got + got).tocsr().toarray(), 2 * one.toarray())


def test_may_hold_itself():
    one = made(scipy.sparse.coo_array)
    one.self = one
    got = roundtrip(one)
    assert got.self is got


@pytest.mark.parametrize("cls", COO)
def test_does_not_name_what_versions_have_otherwise(cls):
    _, arguments, attributes, *_ = reduce_coo(made(cls))
    assert arguments[0] == cls.__name__
    assert not attributes.keys() & {"coords", "row", "col", "data"}


@pytest.mark.skipif(not hasattr(scipy.sparse.coo_array((1, 1)), "coords"), reason="scipy 1.12 knows two axes only")
def test_has_any_number_of_axes():
    got = roundtrip(scipy.sparse.coo_array(np.array([0.0, 1.5, 0.0])))
    assert got.shape == (3,)
    np.testing.assert_array_equal(got.toarray(), [0.0, 1.5, 0.0])


def test_is_refused_with_more_axes_than_there_can_be():
    index = np.zeros(1, "i4")
    with pytest.raises(DecodeError, match=r"scipy \d.* has no coo_matrix of 3 axes: install the sender's version"):
        rebuild_coo("coo_matrix", np.ones(1), (index, index, index), (2, 2, 2), canonical=True)


DOK = [scipy.sparse.dok_array, scipy.sparse.dok_matrix]


def keyed(cls, dtype="f4"):
    one = cls((4, 5), dtype=dtype)
    one[3, 1], one[0, 2], one[1, 1] = 1, 2, 3
    return one


@pytest.mark.parametrize("dtype", ["?", "i2", "f4", "c16"])
@pytest.mark.parametrize("cls", DOK)
def test_dictionary_arrives_as_it_left(cls, dtype):
    one = keyed(cls, dtype)
    one.note = ["mine"]
    got = roundtrip(one)
    assert type(got) is cls
    assert (got.shape, got.dtype, got.note) == ((4, 5), dtype, ["mine"])
    assert list(got.items()) == list(one.items())
    assert [type(value) for value in got.values()] == [type(value) for value in one.values()]
    got[2, 2] = 1
    assert (got.nnz, one.nnz) == (4, 3)
    np.testing.assert_array_equal(got.tocsr().toarray()[[0, 1, 3]], one.toarray()[[0, 1, 3]])


@pytest.mark.parametrize("cls", DOK)
def test_dictionary_does_not_name_its_class(cls):
    function, arguments, attributes, *_ = DEFAULT.table[cls](keyed(cls))
    assert function is rebuild_dok
    assert arguments[0] == cls.__name__
    assert type(arguments[1]) is dict
    assert not attributes.keys() & {"_dict", "_shape", "dtype"}


def test_dictionary_of_one_axis_more_than_there_can_be_is_refused():
    with pytest.raises(DecodeError, match=r"scipy \d.* has no dok_matrix of 3 axes: install the sender's version"):
        rebuild_dok("dok_matrix", {}, (2, 2, 2), np.dtype("f8"))


class TestEarlierScipy:
    """What scipy 1.12 makes, and what it reads: these have no ``coords``."""

    def test_is_rebuilt_from_rows_and_columns(self, monkeypatch):
        early = type("coo_array", (), {"__init__": lambda self, shape: None})
        monkeypatch.setattr(scipy.sparse, "coo_array", early)
        row, column = np.arange(3), np.arange(3) + 1
        got = rebuild_coo("coo_array", np.ones(3), (row, column), (4, 5), canonical=False)
        assert got.row is row
        assert got.col is column

    def test_is_taken_apart_as_rows_and_columns(self):
        early = type("coo_array", (), {})()
        early.row, early.col, early.data = np.arange(3), np.arange(3) + 1, np.ones(3)
        early.shape, early.has_canonical_format = (4, 5), False
        _, (name, data, places, *_), *_ = reduce_coo(early)
        assert name == "coo_array"
        assert places == (early.row, early.col)
        assert data is early.data
