import pytest

from oobcodec import fill
from oobcodec.errors import DecodeError


@pytest.mark.parametrize(
    ("data", "itemsize", "element"),
    [
        (bytes(100_000), 8, b"\0"),
        (b"abcdefgh" * 20_000, 8, b"abcdefgh"),
        (b"abcdefgh" * 20_000, 4, None),
        (b"aaaabbbb" * 20_000, 16, b"aaaabbbbaaaabbbb"),
        (bytes(100_001), 8, None),
        (b"abc" * 50_000, 3, b"abc"),
        (b"ab" * 40_000 + b"ac" + b"ab", 2, None),
        (b"ab" + b"ac" + b"ab" * 40_000, 2, None),
        (b"x" * 200, 100, b"x"),
    ],
)
def test_one_element_stands_for_all(data, itemsize, element):
    assert fill.compress(memoryview(data), itemsize) == element
    if element is not None:
        memory = memoryview(bytearray(len(data)))
        fill.decompress(memoryview(element), memory)
        assert memory == data


@pytest.mark.parametrize("element", [b"", b"abc", bytes(101)])
def test_element_that_does_not_fill(element):
    with pytest.raises(DecodeError, match=f"an element of {len(element)} bytes does not fill 100"):
        fill.decompress(memoryview(element), memoryview(bytearray(100)))


def test_zeros_are_not_written():
    """Memory that a codec is given is zero, and its pages cost nothing until they are written."""
    memory = memoryview(bytearray(b"untouched"))
    fill.decompress(memoryview(b"\0"), memory)
    assert memory == b"untouched"


def test_description():
    assert fill.describe(memoryview(b"a")) == ("fill", "1 byte")
    assert fill.describe(memoryview(b"abc")) == ("fill", "3 bytes")
