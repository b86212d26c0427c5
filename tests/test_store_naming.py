"""Errors name the store and the key."""

import pytest

from oobcodec.errors import StoreError
from oobcodec.store.naming import Naming


def test_errors_of_ours_say_it_at_their_front():
    error = StoreError("it is gone")
    with pytest.raises(StoreError, match=r"^store 'a', key '\\n': it is gone$"), Naming("a", "\n"):
        raise error


def test_other_errors_have_a_note():
    error = ValueError("broken")
    with pytest.raises(ValueError, match="broken"), Naming("a", "b"):
        raise error
    assert error.args == ("broken",)
    assert error.__notes__ == ["store 'a', key 'b'"]


def test_interrupts_and_ends_without_an_error_pass():
    with Naming("a", "b"):
        pass
    with pytest.raises(KeyboardInterrupt) as caught, Naming("a", "b"):
        raise KeyboardInterrupt
    assert not hasattr(caught.value, "__notes__")
