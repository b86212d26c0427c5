"""Numbers of bytes as people write them."""

import doctest

import pytest

from oobcodec.store import sizes
from oobcodec.store.sizes import parsed


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1, 1),
        ("4096", 4096),
        ("4096 bytes", 4096),
        ("10B", 10),
        (" 4 GiB ", 4 << 30),
        ("1.5 KiB", 1536),
        ("2TB", 2 * 10**12),
        ("3 MB", 3_000_000),
    ],
)
def test_is_read(text, size):
    assert parsed(text) == size


@pytest.mark.parametrize("text", ["", "much", "4 gigs", "-1", "4 XiB", 0, -1, "0.1 B", "1 2"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is no number of bytes: write it as 4096, '512 MiB' or '4 GiB'"):
        parsed(text)


@pytest.mark.parametrize("other", [1.5, True, None, b"4 GiB"])
def test_what_is_neither_int_nor_str_is_refused(other):
    with pytest.raises(TypeError, match="a size is an int or a str such as '4 GiB', not"):
        parsed(other)


def test_examples():
    assert doctest.testmod(sizes).failed == 0
