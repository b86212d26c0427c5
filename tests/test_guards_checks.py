import pytest

from oobcodec.context import DEFAULTS, LOADING
from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards.checks import MOST_AXES, claim, expect, is_count, is_ints, is_shape
from oobcodec.limits import Budget, Limits


class Integer(int):
    """An integer that may answer whatever it wants."""


def test_what_holds_is_expected():
    expect(condition=True, text="it holds")


def test_what_does_not_hold_is_refused_in_words():
    with pytest.raises(DecodeError, match="damaged or hostile data: a shape is a tuple"):
        expect(condition=[], text="a shape is a tuple")


@pytest.mark.parametrize("number", [0, 1, 1 << 62])
def test_counts(number):
    assert is_count(number)


@pytest.mark.parametrize("number", [-1, True, False, 1.0, None, "1", Integer(1), [1]])
def test_no_counts(number):
    assert not is_count(number)


@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (1,) * MOST_AXES])
def test_shapes(shape):
    assert is_shape(shape)


@pytest.mark.parametrize(
    "shape", [[3], 3, None, (3, -1), (True,), (2.0,), ((1,),), (1,) * (MOST_AXES + 1), (Integer(1),), (1 << 63,)]
)
def test_no_shapes(shape):
    assert not is_shape(shape)


@pytest.mark.parametrize("numbers", [(), (0, -8), ((1 << 63) - 1,)])
def test_integers(numbers):
    assert is_ints(numbers)


@pytest.mark.parametrize("numbers", [[8], 8, None, (8.0,), (True,), ("8",), (Integer(8),), (1 << 63,), (-(1 << 63),)])
def test_no_integers(numbers):
    assert not is_ints(numbers)


def test_claims_of_one_message_add_up():
    token = LOADING.set(DEFAULTS._replace(budget=Budget(Limits(max_decompressed_bytes=100))))
    try:
        claim(60)
        claim(40)
        with pytest.raises(LimitError, match="max_decompressed_bytes"):
            claim(1)
    finally:
        LOADING.reset(token)
