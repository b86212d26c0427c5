import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oobcodec.guards import arrow_texts

PARTS = ["", "a", "\0", "0123456789ab", "0123456789abc", "é", "日本語", "日本語日本語", "\U0001f600" * 4, "x" * 40]
VIEWS = [pa.string_view(), pa.binary_view()] if arrow_texts._VIEWS else []
OFFSETS = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()]
WIDTHS = {pa.string(): "i", pa.binary(): "i", pa.large_string(): "q", pa.large_binary(): "q"}


@pytest.fixture
def eager(monkeypatch):
    """Let no array be too short, and let there be several parts."""
    monkeypatch.setattr(arrow_texts, "_FEW", 0)
    monkeypatch.setattr(arrow_texts, "_PART", 4)


def made(data_type, length, *memory):
    return pa.Array.from_buffers(data_type, length, [None, *map(pa.py_buffer, memory)])


def verdict(validate, *arguments, **keywords):
    try:
        validate(*arguments, **keywords)
    except (pa.ArrowInvalid, pa.ArrowIndexError):
        return False
    return True


def is_judged(array):
    """Tell whether an array is valid, of which both must say the same."""
    ours = verdict(arrow_texts.validate_text, array)
    assert ours is verdict(array.validate, full=True)
    return ours


def offsets(data_type, *ends):
    return struct.pack(f"={len(ends)}{WIDTHS[data_type]}", *ends)


def without_arrow(monkeypatch, array):
    """Validate an array that Arrow would not be asked about."""

    def refuse(*_, **__):
        message = "Arrow looks at each element"
        raise AssertionError(message)

    class Proven:
        type, buffers, validate, slice = array.type, array.buffers, refuse, refuse
        __len__ = array.__len__

    monkeypatch.setattr(arrow_texts, "_from_buffers", refuse)
    arrow_texts.validate_text(Proven())


# What is fine


@pytest.mark.parametrize("data_type", OFFSETS + VIEWS, ids=str)
@pytest.mark.parametrize("values", [PARTS, PARTS[:4], PARTS[5:], ["", ""], ["é"], ["a"] * 9], ids=ascii)
@pytest.mark.usefixtures("eager")
def test_text_is_taken(data_type, values):
    assert is_judged(pa.array([text.encode() for text in values], pa.binary()).cast(data_type))


@pytest.mark.parametrize("data_type", OFFSETS + VIEWS, ids=str)
def test_most_text_is_proven_without_a_look_at_each_element(monkeypatch, data_type):
    many = pa.array([f"word {i}" for i in range(70_000)]).cast(data_type)
    without_arrow(monkeypatch, many)


@pytest.mark.usefixtures("eager")
def test_bytes_are_proven_whatever_they_are(monkeypatch):
    for data_type in (pa.binary(), pa.large_binary(), *VIEWS[1:]):
        without_arrow(monkeypatch, pa.array([b"\xff\xfe", b"", b"\x80"] * 9, data_type))


@pytest.mark.parametrize("data_type", OFFSETS[:2], ids=str)
@pytest.mark.usefixtures("eager")
def test_what_lies_around_the_text_may_be_anything(data_type):
    assert is_judged(made(data_type, 2, offsets(data_type, 1, 3, 5), b"\xffabcd\xff"))
    assert is_judged(made(data_type, 2, offsets(data_type, 1, 2, 5), b"\xff" + "aéb".encode() + b"\xff"))


@pytest.mark.usefixtures("eager")
def test_text_of_nothing_needs_no_data():
    for data_type in OFFSETS:
        assert is_judged(made(data_type, 3, offsets(data_type, *[0] * 4), b""))


@pytest.mark.parametrize("data_type", OFFSETS + VIEWS, ids=str)
@pytest.mark.usefixtures("eager")
def test_memory_may_begin_anywhere(data_type):
    _, *memory = pa.array([text.encode() for text in PARTS], pa.binary()).cast(data_type).buffers()
    shifted = [memoryview(b"\1" + memoryview(part).tobytes())[1:] for part in memory]
    assert is_judged(made(data_type, len(PARTS), *shifted))


@pytest.mark.parametrize("data_type", OFFSETS + VIEWS, ids=str)
def test_arrow_alone_is_enough(monkeypatch, data_type):
    monkeypatch.setattr(arrow_texts, "_numpy", None)
    assert is_judged(pa.array([b"a"] * 5000, pa.binary()).cast(data_type))


# What is not


@pytest.mark.parametrize("data_type", OFFSETS, ids=str)
@pytest.mark.usefixtures("eager")
def test_wild_offsets_are_refused(data_type):
    assert is_judged(made(data_type, 6, offsets(data_type, 0, 1, 2, 3, 4, 5, 6), b"abcdef"))
    for ends in (
        (0, 1, 2, 3, 4, 3, 6),
        (0, 1, 2, 3, 4, 99, 6),
        (0, 1, 2, 3, -4, 5, 6),
        (0, 2**31 - 1, 2, 3, 4, 5, 6),
        (0, -(2**31), 2, 3, 4, 5, 6),
    ):
        assert not is_judged(made(data_type, 6, offsets(data_type, *ends), b"abcdef"))


@pytest.mark.parametrize("ends", [(-1, 0, 2), (0, 1, 9), (2, 1, 0)])
def test_offsets_that_arrow_would_not_make_an_array_of_are_refused(ends):
    class Wild:
        type = pa.string()

        def __len__(self):
            return 2

        def buffers(self):
            return [None, pa.py_buffer(offsets(pa.string(), *ends)), pa.py_buffer(b"ab")]

    assert not arrow_texts._is_fine(Wild())


@pytest.mark.parametrize("data_type", OFFSETS, ids=str)
@pytest.mark.parametrize("ends", [(0, 1, 2), (0, 1, 4), (0, 3, 4), (1, 2, 4)])
@pytest.mark.usefixtures("eager")
def test_no_character_is_parted(data_type, ends):
    array = made(data_type, 2, offsets(data_type, *ends), "éé".encode())
    assert is_judged(array) is (data_type not in OFFSETS[:2])


def test_long_text_is_refused_where_one_character_is_parted():
    ends = np.arange(0, 20_001, 2)
    data = "é".encode() * 10_000
    assert is_judged(made(pa.large_string(), 10_000, ends.tobytes(), data))
    ends[7777] += 1
    assert not is_judged(made(pa.large_string(), 10_000, ends.tobytes(), data))


def test_arrow_says_which_element_is_no_text():
    data = bytearray(b"\xc3\xa9" * 10_000)
    data[2 * 7777] = 0xFF
    array = made(pa.large_string(), 10_000, np.arange(0, 20_001, 2).tobytes(), data)
    with pytest.raises(pa.ArrowInvalid, match="7777"):
        arrow_texts.validate_text(array)


if VIEWS:
    LONG = "0123456789abcdé".encode()

    def view(text, *, length=None, buffer=0, offset=0):
        length = len(text) if length is None else length
        if len(text) <= 12:
            return struct.pack("=i12s", length, text)
        return struct.pack("=i4sii", length, text[:4], buffer, offset)

    ROWS = [view(b""), view(b"a"), view(b"abcd"), view(b"0123456789ab"), view(b"abcde"), view(b"x\0")]
    WRONG = {
        "more than its length": view(b"abc", length=2),
        "more than its length, far behind": view(b"abcdefgh", length=5),
        "below zero": view(b"abc", length=-3),
        "below all": view(b"abc", length=-(2**31)),
        "beyond the data": view(LONG, offset=1),
        "elsewhere": view(LONG, buffer=1),
        "before": view(LONG, buffer=-1),
        "begins otherwise": view(b"1" + LONG[1:]),
        "very long": view(LONG, length=2**31 - 1),
    }
    ONLY_BYTES = {
        "no utf-8": view(b"\xff"),
        "half a character": view("é".encode()[:1]),
        "no utf-8 at the end": view(b"0123456789a\xff"),
        "half a character elsewhere": view(LONG, length=len(LONG) - 1),
    }

    @pytest.mark.parametrize("data_type", VIEWS, ids=str)
    @pytest.mark.parametrize("name", WRONG | ONLY_BYTES)
    @pytest.mark.parametrize("place", [0, 5, 14])
    @pytest.mark.usefixtures("eager")
    def test_wrong_views_are_refused(data_type, name, place):
        rows = [*ROWS, view(LONG), view("é".encode()), *ROWS]
        assert is_judged(made(data_type, len(rows), b"".join(rows), LONG))
        rows.insert(place, (WRONG | ONLY_BYTES)[name])
        fine = name in ONLY_BYTES and data_type == pa.binary_view()
        assert is_judged(made(data_type, len(rows), b"".join(rows), LONG)) is fine

    def test_one_wrong_view_among_many_is_refused():
        rows = np.frombuffer(b"".join([*ROWS, view(LONG)] * 10_000), "S16").copy()
        assert is_judged(made(VIEWS[0], len(rows), rows, LONG))
        rows[69_999] = WRONG["beyond the data"]
        assert not is_judged(made(VIEWS[0], len(rows), rows, LONG))

    @given(
        st.lists(st.sampled_from(ROWS + list(WRONG.values()) + list(ONLY_BYTES.values())), min_size=1, max_size=20),
        st.binary(max_size=20),
        st.data(),
    )
    def test_of_any_views_the_verdict_is_that_of_arrow(rows, data, draw):
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(arrow_texts, "_FEW", 0)
            monkeypatch.setattr(arrow_texts, "_PART", 3)
            memory = bytearray(b"".join(rows))
            for _ in range(draw.draw(st.integers(0, 2))):
                memory[draw.draw(st.integers(0, len(memory) - 1))] ^= draw.draw(st.integers(0, 255))
            for data_type in VIEWS:
                is_judged(made(data_type, len(rows), memory, LONG, data))


PIECES = st.sampled_from([*[part.encode() for part in PARTS], b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5"])


@given(
    st.lists(PIECES, min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.integers(-3, 3)), max_size=2),
    st.sampled_from(OFFSETS),
)
def test_of_any_offsets_the_verdict_is_that_of_arrow(pieces, shifts, data_type):
    ends = np.cumsum([0, *map(len, pieces)])
    for i, by in shifts:
        ends[i % len(ends)] += by
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(arrow_texts, "_FEW", 0)
        monkeypatch.setattr(arrow_texts, "_PART", 3)
        try:
            array = made(data_type, len(pieces), offsets(data_type, *ends.tolist()), b"".join(pieces))
        except pa.ArrowInvalid:
            return  # the first offset and the last are looked at when it is made
        is_judged(array)
