import pytest

from oobcodec.aio.pieces import SMALL, pieces


@pytest.mark.parametrize(
    "lengths", [[1], [64, 64, 9], [SMALL], [SMALL, 1], [5, SMALL + 1, 7, 8, 3 * SMALL, SMALL, SMALL]]
)
def test_the_pieces_are_the_message_none_empty_none_too_large(lengths):
    parts = [memoryview(bytes([number]) * length) for number, length in enumerate(lengths)]
    made = list(pieces(parts, 2 * SMALL))
    assert b"".join(made) == b"".join(parts)
    assert all(0 < len(piece) <= 2 * SMALL for piece in made)


def test_large_parts_are_not_copied_and_small_ones_are_joined():
    large = memoryview(bytearray(SMALL + 1))
    first, middle, last = pieces([memoryview(b"a"), memoryview(b"b"), large, memoryview(b"c")], 2 * SMALL)
    assert (first, last) == (b"ab", b"c")
    assert middle.obj is large.obj


def test_nothing_makes_no_piece():
    assert list(pieces([], SMALL)) == []
