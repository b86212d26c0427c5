from dataclasses import replace

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import oobcodec
from oobcodec.context import DEFAULTS, LOADING
from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards.numpy import rebuild_ndarray
from oobcodec.guards.numpy_contents import check_contents
from oobcodec.limits import FOR_DATA, Budget

NOT_TEXT = b"\xff\xff\xff\x7f" * 16


@pytest.mark.parametrize(
    "array",
    [
        np.array(["", "\ud800", "\U0010ffff"]),
        np.array(["a", "b"], ">U1"),
        np.zeros(3, "U0"),
        np.zeros(0, "U3"),
        np.zeros(0, bool),
        np.array([True, False]),
        np.array("NaT", "M8"),
        np.array([5], "m8"),
        np.array([-(1 << 63), (1 << 63) - 1]).view("M8[999999999Y]"),
        np.full(9, 255, "u1").view("V3"),
        np.full(9, 255, "u1"),
        np.zeros((3, 2), [("t", "U2", (2,)), ("in", [("b", "?"), ("m", "M8[s]")])]),
    ],
    ids=repr,
)
def test_values_are_taken(array):
    check_contents(array)


@pytest.mark.parametrize(
    "arguments",
    [
        (b"\0\2", "|b1", (2, 1)),
        (b"\0\2", "|b1", (5, 2), (0, 1), 0),
        (b"\0\1\2", "|b1", (2, 2), (1, 1), 0),
        (NOT_TEXT, "<U4", (4,)),
        (NOT_TEXT, ">U2", (8,), (-8,), 56),
        (b"\0\0\x11\0" * 16, "<U1", (16,)),
        (bytes(32) + NOT_TEXT[:32], "<U4", (3, 2), (16, 16), 0),
        (bytes(62), "<U4", (31, 2), (1, 16), 0),
        (NOT_TEXT[:4], "<U1", (), (), 0),
        (b"\1" * 64, "<M8", (8,)),
        (b"\1" * 9, np.dtype([("a", "<M8"), ("b", "?")]), (1,)),
        (NOT_TEXT, np.dtype([("a", [("b", "<U2", (2,))])]), (4,)),
        (b"\2" * 64, np.dtype(("<i8", [("b", "?", (8,))])), (8,)),
    ],
)
def test_others_are_refused(arguments):
    with pytest.raises(DecodeError):
        rebuild_ndarray(*arguments)


def test_a_gap_may_hold_anything():
    got = rebuild_ndarray(b"a\0\0\0\xff\xff\xff\xffb\0\0\0", "<U1", (2,), (8,), 0)
    assert got.tolist() == ["a", "b"]


def again_and_again(*arguments):
    for _ in range(1000):
        rebuild_ndarray(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (bytes(1 << 20), "|b1", (1 << 20,)),
        (bytes(1 << 20), "<U8", (1 << 15,)),
        (bytes(1 << 20), ">U1", (1 << 18,)),
        (bytes(4), np.dtype({"names": ["a", "b"], "formats": ["?", "?"], "offsets": [0, 0], "itemsize": 4}), (1,)),
    ],
)
def test_looking_at_the_same_bytes_is_limited(arguments):
    token = LOADING.set(DEFAULTS._replace(budget=Budget(replace(FOR_DATA, max_operations=1000))))
    try:
        with pytest.raises(LimitError, match="max_operations"):
            again_and_again(*arguments)
    finally:
        LOADING.reset(token)


def test_windows_that_overlap_partly_are_not_guessed():
    text = as_strided(np.array(["ab", "cd"]), (3, 2), (4, 4))
    with pytest.raises(DecodeError, match="overlap"):
        oobcodec.loads(oobcodec.dumps(text), policy=oobcodec.DATA)
