import pickle

import pytest

from oobcodec.errors import DecodeError, LimitError
from oobcodec.limits import UNLIMITED, Limits, in_units


def test_nothing_is_limited_by_default():
    UNLIMITED.check("the message", max_header_bytes=1 << 64, max_frames=1 << 64, max_total_bytes=1 << 64)


@pytest.mark.parametrize("name", ["max_header_bytes", "max_frames", "max_total_bytes"])
def test_each_limit_admits_itself_and_nothing_above(name):
    limits = Limits(**{name: 100})
    limits.check("the message", **{name: 100})
    with pytest.raises(LimitError, match=rf"Limits\({name}=\.\.\.\)") as caught:
        limits.check("the message", **{name: 101})
    assert isinstance(caught.value, DecodeError)


def test_the_error_says_who_declares_how_much_and_what_to_raise():
    with pytest.raises(LimitError) as caught:
        Limits(max_total_bytes=4 << 30).check("frame 3", max_total_bytes=9_878_424_780)
    assert str(caught.value) == (
        "frame 3 declares 9.2 GiB; limit max_total_bytes=4 GiB. Raise it with Limits(max_total_bytes=...)."
    )
    with pytest.raises(LimitError, match=r"the message declares 65,537 frames; limit max_frames=65,536 frames\."):
        Limits(max_frames=65_536).check("the message", max_frames=65_537)


@pytest.mark.parametrize("name", ["max_header_bytes", "max_frames", "max_total_bytes"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_limit_is_a_positive_integer_or_none(name, value, error):
    with pytest.raises(error, match=f"{name}={value}"):
        Limits(**{name: value})


def test_limits_are_values():
    limits = Limits(max_frames=3)
    assert limits == Limits(max_frames=3) != UNLIMITED
    assert pickle.loads(pickle.dumps(limits)) == limits
    with pytest.raises(AttributeError):
        limits.max_frames = 4
    with pytest.raises(TypeError):
        Limits(3)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1 KiB"),
        (1025, "1.1 KiB"),
        (4 << 30, "4 GiB"),
        ((4 << 30) + 1, "4.1 GiB"),
        (1 << 60, "1 EiB"),
        (1 << 74, "16,384 EiB"),
    ],
)
def test_sizes_are_written_as_people_write_them(nbytes, text):
    assert in_units(nbytes) == text
