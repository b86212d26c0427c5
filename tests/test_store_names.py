"""Any text is the name of a file, that of one in its directory, and comes back."""

import doctest
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oobcodec.store import names
from oobcodec.store.names import decoded, encoded, fresh

TEXT = st.text(st.characters(), max_size=20)


@given(TEXT)
def test_every_text_comes_back(text):
    file = encoded(text, "key")
    assert decoded(file) == text
    assert file.isascii()
    assert os.path.normpath(f"here/{file}") == f"here/{file}"
    assert file[0] != "."


@given(TEXT, TEXT)
def test_two_texts_are_two_files(one, other):
    assert (encoded(one, "key") == encoded(other, "key")) == (one == other)


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "/etc/passwd", "a\0b", ".hidden", "%", "%.", "%2E", "\ud800"])
def test_what_could_lead_elsewhere_does_not(text):
    file = encoded(text, "key")
    assert decoded(file) == text
    assert "/" not in file
    assert "\0" not in file
    assert file[0] != "."


def test_plain_names_stay_as_they_are():
    assert encoded("weights-3.final_x~", "key") == "weights-3.final_x~"


def test_what_is_too_long_is_refused():
    assert encoded("k" * 255, "key")
    with pytest.raises(ValueError, match=r"the key 'k{40}'… takes 256 bytes as the name of a file.* 255: shorten it"):
        encoded("k" * 256, "key")


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="a key is a str, not bytes"):
        encoded(b"key", "key")


def test_a_fresh_name_is_a_new_one():
    assert len({fresh() for _ in range(100)}) == 100


def test_examples():
    assert doctest.testmod(names).failed == 0
