import pytest

from oobcodec.reducers.attributes import set_attributes, with_attributes


class Slotted:
    __slots__ = ("unit",)


class Guarded(Slotted):
    """Has attributes and slots, which its class does not let anyone set."""

    def __setattr__(self, name, value):
        raise TypeError(name)


def made(cls, attributes=(), **slots):
    one = cls()
    for name, value in [*attributes, *slots.items()]:
        object.__setattr__(one, name, value)
    return one


def rebuilt(obj):
    rebuild, arguments, *more = with_attributes(type(obj), (), object.__getstate__(obj))
    another = rebuild(*arguments)
    if more:
        state, items, pairs, setter = more
        assert items is pairs is None
        setter(another, state)
    return another


@pytest.mark.parametrize("cls", [Slotted, Guarded])
def test_without_attributes_there_is_no_setter(cls):
    assert with_attributes(cls, (), object.__getstate__(cls())) == (cls, ())
    assert not hasattr(rebuilt(cls()), "unit")


def test_attributes_and_slots_are_set_without_asking_the_class():
    back = rebuilt(made(Guarded, [("label", [1]), ("place", "x")], unit="m"))
    assert (vars(back), back.unit) == ({"label": [1], "place": "x"}, "m")
    back = rebuilt(made(Guarded, [("label", [1])]))
    assert vars(back) == {"label": [1]}
    assert not hasattr(back, "unit")
    back = rebuilt(made(Guarded, unit="m"))
    assert (vars(back), back.unit) == ({}, "m")
    assert rebuilt(made(Slotted, unit="m")).unit == "m"


def test_other_attributes_stay():
    one = made(Guarded, [("label", 1), ("place", 2)])
    set_attributes(one, {"label": 3})
    assert vars(one) == {"label": 3, "place": 2}
