import numpy as np
import pytest

from oobcodec.errors import DecodeError
from oobcodec.guards.attributes import ACCEPTS, check_plain, set_attributes


class Thing:
    size = 3


class Derived(Thing):
    """A class that nobody entered."""


@pytest.fixture
def thing(monkeypatch):
    monkeypatch.setitem(ACCEPTS, Thing, check_plain)
    return Thing()


def test_attributes_of_users_are_set(thing):
    set_attributes(thing, {"unit": "m", "größe": [1]})
    assert vars(thing) == {"unit": "m", "größe": [1]}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (None, "dict"),
        ([("unit", "m")], "dict"),
        (({"unit": "m"}, {"unit": "m"}), "dict"),
        ({1: "m"}, "identifier"),
        ({"not one": "m"}, "identifier"),
        ({"": "m"}, "identifier"),
        ({"_mask": "m"}, "private attribute '_mask'"),
        ({"__class__": object}, "private attribute '__class__'"),
        ({"size": 4}, "'size' takes the place of one of Thing"),
    ],
)
def test_others_are_refused(thing, state, reason):
    with pytest.raises(DecodeError, match=reason):
        set_attributes(thing, state)
    assert vars(thing) == {}


@pytest.mark.parametrize("obj", [np.zeros(3), np.ma.masked, {}, [], 3, Derived()])
@pytest.mark.usefixtures("thing")
def test_objects_of_other_classes_get_none(obj):
    with pytest.raises(DecodeError, match=f"objects of {type(obj).__name__}"):
        set_attributes(obj, {"unit": "m"})
