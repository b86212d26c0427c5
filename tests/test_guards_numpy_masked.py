import numpy as np
import pytest

from oobcodec.errors import DecodeError
from oobcodec.guards import numpy_masked as masked

RECORDS = np.dtype([("a", "i4"), ("b", [("c", "f8", (2,))])])
PLAIN = (None, None, False, True, False, {}, {})


def of_five():
    return np.zeros(5).view(np.ma.MaskedArray)


def of_records():
    return np.zeros(5, RECORDS).view(np.ma.MaskedArray)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (of_five, {0: True}),
        (of_five, {0: [True] * 5}),
        (of_five, {0: np.zeros(4, bool)}),
        (of_five, {0: np.zeros((5, 1), bool)}),
        (of_five, {0: np.zeros(5, "u1")}),
        (of_five, {0: np.zeros(5, bool).view(np.ma.MaskedArray)}),
        (of_records, {0: np.zeros(5, bool)}),
        (of_records, {0: np.zeros(5, [("a", "?"), ("b", "?")])}),
        (of_five, {1: 3.0}),
        (of_five, {1: np.zeros(1)}),
        (of_five, {1: np.zeros((), "i4")}),
        (of_five, {1: np.array(None)}),
        (of_five, {2: None}),
        (of_five, {3: "yes"}),
        (of_five, {4: []}),
        (of_five, {5: None}),
        (of_five, {5: {"_mask": np.zeros(3)}}),
        (of_five, {5: {"shape": (1 << 40,)}}),
        (of_five, {5: {"_getitem": []}}),
        (of_five, {6: {"_data": None}}),
        (of_five, {6: {"__class__": None}}),
        (of_five, {6: ({"unit": "m"}, {"slot": 1})}),
    ],
)  # fmt: skip
def test_a_mask_fits_its_data(make, changes):
    state = [*PLAIN]
    masked.set_masked(make(), tuple(state))
    for place, value in changes.items():
        state[place] = value
    with pytest.raises(DecodeError):
        masked.set_masked(make(), tuple(state))


@pytest.mark.parametrize(
    ("array", "state"),
    [
        (np.ma.masked, PLAIN),
        (np.zeros(5), PLAIN),
        (None, PLAIN),
        (of_five(), list(PLAIN)),
        (of_five(), PLAIN[:6]),
        (type("Derived", (np.ma.MaskedArray,), {})(np.zeros(3)), PLAIN),
    ],
)
def test_it_is_a_masked_array_that_gets_a_mask(array, state):
    with pytest.raises(DecodeError):
        masked.set_masked(array, state)
    assert np.ma.masked.mask
    assert np.ma.masked.shape == ()


def test_masks_and_attributes_are_set():
    one = np.zeros((2, 3)).view(np.ma.MaskedArray)
    mask = np.eye(2, 3, dtype=bool)
    masked.set_masked(one, (mask, np.array(7.0), True, False, False, {}, {"unit": "m"}))
    assert one.mask is not np.ma.nomask
    assert one.filled().tolist() == [[7, 0, 0], [0, 7, 0]]
    assert (one.hardmask, one.unit) == (True, "m")


def test_an_element_has_a_mask_of_its_fields():
    element = np.ma.MaskedArray(np.zeros(2, [("a", "i4"), ("b", "i4")]), [(1, 0), (0, 1)])[1]
    one = np.array(element.data).view(np.ma.core.mvoid)
    masked.set_masked(one, (element._mask, None, False, False, False, {}, {}))
    assert str(one) == str(element) == "(0, --)"


def test_text_may_be_filled_with_longer_text():
    one = np.array(["a", "b"]).view(np.ma.MaskedArray)
    masked.set_masked(one, (np.array([True, False]), np.array("none"), False, True, False, {}, {}))
    assert one.mask.tolist() == [True, False]


def test_the_masked_constant_is_the_one():
    assert masked.rebuild_masked_constant() is np.ma.masked
