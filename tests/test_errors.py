import pickle
import re

import pytest

import oobcodec
from oobcodec import errors

TREE = re.compile(r"^    ((?:│   |    )*)(?:[├└]── )?(\w+Error)(?: .*)?$")
ALSO = {
    "EncodeError": pickle.PicklingError,
    "DecodeError": pickle.UnpicklingError,
    "RegistryError": ValueError,
    "PoisonedError": ConnectionError,
}


def drawn():
    """Return each error of the drawing with the error it hangs on."""
    parents = []
    found = {}
    for line in errors.__doc__.splitlines():
        drawing = TREE.match(line)
        if drawing:
            bars, name = drawing.groups()
            depth = len(bars) // 4 + 1 if "──" in line else 0
            parents[depth:] = [name]
            found[name] = parents[depth - 1] if depth else "Exception"
    return found


def test_drawing_shows_every_error_and_nothing_else():
    assert sorted(drawn()) == sorted(errors.__all__)


@pytest.mark.parametrize(("name", "parent"), drawn().items())
def test_error_hangs_where_it_is_drawn(name, parent):
    assert getattr(errors, name).__bases__[0].__name__ == parent


@pytest.mark.parametrize(("name", "other"), ALSO.items())
def test_error_is_also_one_that_others_catch(name, other):
    assert issubclass(getattr(errors, name), other)
    assert f"{name} " in errors.__doc__
    line = next(line for line in errors.__doc__.splitlines() if f"── {name} " in line)
    assert other.__name__ in line


@pytest.mark.parametrize("name", errors.__all__)
def test_error_is_public_and_travels(name):
    cls = getattr(oobcodec, name)
    assert cls is getattr(errors, name)
    error = oobcodec.loads(oobcodec.dumps(cls("evidence")))
    assert type(error) is cls
    assert str(error) == "evidence"
