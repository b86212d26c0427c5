import pickle
from dataclasses import fields

import pytest

from oobcodec.errors import DecodeError, LimitError
from oobcodec.limits import FOR_DATA, SIGNED, UNLIMITED, Budget, Limits, in_units


def test_nothing_is_limited_by_default():
    UNLIMITED.check("the message", **dict.fromkeys(NAMES, 1 << 64))
    Limits(**dict.fromkeys(NAMES)).check("the message", **dict.fromkeys(NAMES, 1 << 64))


NAMES = [field.name for field in fields(Limits)]


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", NAMES)
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


def test_limits_of_data():
    assert (
        Limits(
            max_header_bytes=8 << 20,
            max_frames=65_536,
            max_total_bytes=4 << 30,
            max_decompressed_bytes=4 << 30,
            max_ratio=1000,
            max_depth=100,
            max_operations=1_000_000,
        )
        == FOR_DATA
    )


def test_what_is_said_goes_before_what_the_policy_says():
    limits = Limits(max_frames=3, max_depth=None).over(FOR_DATA)
    assert (limits.max_frames, limits.max_depth, limits.max_total_bytes) == (3, None, 4 << 30)
    assert Limits().over(FOR_DATA) is FOR_DATA
    assert SIGNED.over(UNLIMITED) == SIGNED
    assert (limits.get("max_depth"), UNLIMITED.get("max_depth"), limits.get("max_frames")) == (None, None, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("max_operations", "declares 101 operations; limit max_operations=100 operations."),
        ("max_depth", "declares 101 levels; limit max_depth=100 levels."),
        ("max_ratio", "declares 101 times as much; limit max_ratio=100 times as much."),
    ],
)
def test_the_error_names_what_is_counted(name, words):
    with pytest.raises(LimitError) as caught:
        Limits(**{name: 100}).check("the message", **{name: 101})
    assert words in str(caught.value)


class TestBudget:
    def test_memory_is_limited_as_a_sum(self):
        budget = Budget(Limits(max_decompressed_bytes=100))
        budget.hold(50)
        budget.claim(25)
        budget.claim(25)
        with pytest.raises(LimitError, match=r"the object declares 101 bytes; limit max_decompressed_bytes=100 bytes"):
            budget.claim(1)
        with pytest.raises(LimitError, match="max_decompressed_bytes"):
            Budget(Limits(max_decompressed_bytes=100)).hold(101)

    def test_memory_is_limited_by_what_arrived(self):
        budget = Budget(Limits(max_ratio=10))
        budget.hold(10_000)
        budget.claim(109_999)
        with pytest.raises(LimitError, match=r"max_ratio=10 times as much"):
            budget.claim(1)

    def test_little_memory_needs_nothing_that_arrived(self):
        budget = Budget(Limits(max_ratio=10))
        budget.claim(40_000)
        with pytest.raises(LimitError, match="max_ratio"):
            budget.claim(10_000)

    def test_operations_are_limited_as_a_sum(self):
        budget = Budget(Limits(max_operations=10))
        budget.operate(5)
        budget.operate(5)
        with pytest.raises(LimitError, match="11 operations"):
            budget.operate(1)

    def test_messages_inside_are_limited(self):
        budget = Budget(Limits(max_depth=2, max_operations=1000))
        with budget.inside(), budget.inside(), pytest.raises(LimitError, match="3 levels"), budget.inside():
            pass
        with budget.inside(), budget.inside():
            pass
        for _ in range(6):
            with budget.inside():
                pass
        with pytest.raises(LimitError, match="max_operations"), budget.inside():  # each takes its time
            pass


def test_what_a_message_becomes_is_limited_beside_what_others_are():
    budget = Budget(Limits(max_decompressed_bytes=1 << 20, max_ratio=16))
    budget.hold(1000)
    budget.expand(64 * 1024, (1 << 20) - 1000)
    budget.expand(1, 15 * 64 * 1024)  # little is no threat, whatever it comes of
    with pytest.raises(LimitError, match="limit max_decompressed_bytes=1 MiB"):
        budget.expand(64 * 1024, (1 << 20) - 999)
    with pytest.raises(LimitError, match="limit max_ratio=16 times as much"):
        Budget(Limits(max_ratio=16)).expand(1, 17 * 64 * 1024)
