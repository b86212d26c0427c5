import pytest

from oobcodec.codings import Coding, checked, sizes
from oobcodec.errors import HeaderError


def test_codecs_are_one_for_each_frame():
    assert checked(None, 2) is None
    assert checked((None, ("fill", 9)), 2) == (None, Coding("fill", 9))
    with pytest.raises(HeaderError, match="not nil or one for each of 3 frames"):
        checked((None, ("fill", 9)), 3)


@pytest.mark.parametrize("field", [("fill",), ("", 9), ("fill", 0), ("fill", True), ["fill", 9], "fill"])
def test_codec_is_a_tag_and_a_length(field):
    with pytest.raises(HeaderError, match=r"the codec of frame 2 is .*, not \[tag, bytes when decompressed\]"):
        checked((None, field), 2)


def test_sizes():
    assert sizes((1, 2), None) == (1, 2)
    assert sizes((1, 2), (None, Coding("fill", 9))) == (1, 9)
