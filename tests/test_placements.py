import pytest

from oobcodec.errors import HeaderError
from oobcodec.placements import check, overlapping

WHOLE = ((2, 0, 10, True), (3, 0, 20, False))
LENGTHS = (5, 10, 20)


def test_buffers_lie_in_their_frames():
    check(WHOLE, LENGTHS, 1)
    check(((3, 4, 16, True), (2, 0, 10, True), (3, 0, 8, False)), LENGTHS, 1)
    check((), (5,), 1)


@pytest.mark.parametrize(
    ("buffers", "text"),
    [
        (None, "the buffers are not an array"),
        (((2, 0, 10, True), None), "buffer 1 is placed at None"),
        (((2, 0, 10, 1), (3, 0, 20, True)), "buffer 0 is placed at"),
        (((1, 0, 5, True), *WHOLE), "buffer 0 lies in frame 1; buffers lie in 2 to 3"),
        (((2, 1, 10, True), (3, 0, 20, True)), "buffer 0 ends at 11 in frame 2 of 10 bytes"),
        (((3, 0, 20, True),), "frame 2 belongs to no buffer"),
    ],
)
def test_buffers_that_do_not(buffers, text):
    with pytest.raises(HeaderError, match=text):
        check(buffers, LENGTHS, 1)


def test_overlapping_buffers_are_found():
    assert overlapping(WHOLE) == set()
    assert overlapping(((2, 0, 6, True), (2, 6, 4, True))) == set()
    assert overlapping(((2, 5, 5, True), (3, 0, 20, True), (2, 0, 6, True), (2, 9, 1, True))) == {0, 2, 3}
