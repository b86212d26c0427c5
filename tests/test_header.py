import re
import struct
import tracemalloc
import zlib
from reprlib import repr as short

import msgpack
import pytest
from helpers import first_frame, packed_length
from hypothesis import given
from hypothesis import strategies as st

from oobcodec.errors import DecodeError, EncodeError, HeaderError, IntegrityError, LimitError, TruncatedError
from oobcodec.header import (
    PRELUDE_SIZE,
    SMALL,
    Digests,
    Header,
    Prelude,
    check_sizes,
    checksummed,
    decode,
    decode_prelude,
    decode_small,
    encode,
    encode_small,
    packed_offsets,
    read,
    split_first,
)
from oobcodec.limits import UNLIMITED, Limits

# Two pickle frames, two buffer frames, three buffers.
FIELDS = ("pickle", None, (100, 7, 5000, 64), 2, None, None, ((3, 0, 5000, False), (4, 8, 56, True), (3, 16, 0, True)))
TAG, META, LENGTHS, PICKLE_FRAMES, CODECS, DIGESTS, BUFFERS = range(7)
U64 = 2**64 - 1


def changed(field, value):
    return [value if index == field else old for index, old in enumerate(FIELDS)]


def made(fields=FIELDS):
    return encode(*fields[:4], fields[BUFFERS])


# What is written


def test_every_byte_is_where_the_format_says():
    first = made()
    body = msgpack.packb(FIELDS)
    assert first[:3] == b"OOB"
    assert first[3] == 1
    assert first[4:6] == b"\0\0"  # flags
    assert first[6:8] == b"\0\0"  # length of the authentication block
    assert first[8:16] == struct.pack("<Q", len(body))
    assert first[16:24] == struct.pack("<Q", packed_length([len(first), *FIELDS[LENGTHS]]))
    assert first[24:] == body
    assert PRELUDE_SIZE == 24


def test_smallest_header_byte_by_byte():
    prelude = "4f 4f 42 01 00 00 00 00 09 00 00 00 00 00 00 00 21 00 00 00 00 00 00 00"
    assert encode("p", None, (), 0, ()).hex(" ") == f"{prelude} 97 a1 70 c0 90 00 c0 c0 90"


def test_header_is_what_was_written():
    assert decode(made()) == Header("pickle", None, *FIELDS[2:4], FIELDS[BUFFERS])


def test_prelude():
    first = made()
    prelude = decode_prelude(first)
    assert prelude == Prelude(0, 0, len(first) - 24, packed_length([len(first), *FIELDS[LENGTHS]]))
    assert prelude.first_length == len(first)
    assert decode_prelude(memoryview(first)[:24]) == prelude
    assert Prelude(0, 5, 10, 100).first_length == 39


def test_remembered_forms_do_the_same():
    arguments = (*FIELDS[:4], FIELDS[BUFFERS])
    assert encode_small(*arguments) is encode_small(*arguments)
    assert encode_small(*arguments) == made()
    assert decode_small(made()) is decode_small(made())
    assert decode_small(made()) == decode(made())


@pytest.mark.parametrize(
    "meta",
    [None, 1, -5, 2.5, "é", b"\xff", True, (1, ("a", b"b")), {"a": (1, None)}, {1: 2}, U64, msgpack.Timestamp(3)],
)
def test_meta_is_what_msgpack_can_carry(meta):
    assert decode(encode("a.b", meta, (), 0, ())).meta == meta


@st.composite
def headers(draw):
    lengths = draw(st.lists(st.integers(0, 2**40), max_size=8))
    pickle_frames = draw(st.integers(0, len(lengths)))
    buffers = []
    for frame in range(1 + pickle_frames, 1 + len(lengths)):
        for _ in range(draw(st.integers(1, 3))):
            offset = draw(st.integers(0, lengths[frame - 1]))
            length = draw(st.integers(0, lengths[frame - 1] - offset))
            buffers.append((frame, offset, length, draw(st.booleans())))
    meta = draw(st.none() | st.text() | st.binary() | st.integers(-(2**63), U64))
    return draw(st.text(min_size=1)), meta, tuple(lengths), pickle_frames, tuple(draw(st.permutations(buffers)))


@given(headers())
def test_any_header_comes_back(fields):
    first = encode(*fields)
    assert tuple(decode(first)) == (*fields, None, None)
    assert decode_prelude(first).packed_length == packed_length([len(first), *fields[2]])


def test_buffers_lie_in_frames_as_they_are_when_decompressed():
    codecs = (None, ("blosc2", 70), ("blosc2", 9000), None)
    buffers = ((3, 0, 9000, False), (4, 8, 56, True))
    first = encode("pickle", None, (100, 7, 50, 64), 2, buffers, codecs=codecs)
    header = decode(first)
    assert header.codecs == codecs
    assert header.sizes == (100, 70, 9000, 64)
    assert decode_prelude(first).packed_length == packed_length([len(first), 100, 7, 50, 64])


def test_codecs_stay_where_digests_are_added():
    codecs = (("blosc2", 70),)
    header = decode(encode("pickle", None, (7,), 1, (), codecs=codecs))
    first = checksummed(header, Digests("xxh3_64", (bytes(8),)))
    assert decode(first).codecs == codecs


@given(st.lists(st.integers(0, 2**50), min_size=1))
def test_packed_offsets(lengths):
    *offsets, size = packed_offsets(lengths)
    assert offsets[0] == 0
    assert all(offset % 64 == 0 for offset in offsets)
    ends = [offset + length for offset, length in zip(offsets, lengths, strict=True)]
    assert all(0 <= start - end < 64 for start, end in zip(offsets[1:], ends, strict=False))
    assert size == ends[-1] == packed_length(lengths)


def test_packed_offsets_of_nothing():
    assert packed_offsets([]) == [0]
    assert packed_offsets(iter([0, 0])) == [0, 0, 0]


# What is refused

PRELUDES = [
    ({"magic": b"OOC"}, r"not an oobcodec message: it starts with b'OOC' instead of b'OOB'"),
    ({"magic": b"\x80\x05\x95"}, r"not an oobcodec message: it starts with b'\\x80\\x05\\x95'"),
    ({"version": 0}, r"message format version 0; this oobcodec reads version 1: upgrade the older side"),
    ({"version": 2}, r"message format version 2; this oobcodec reads version 1"),
    ({"version": 255}, r"message format version 255"),
    ({"flags": 1}, r"unknown flags 0x0001: the message needs a newer oobcodec"),
    ({"flags": 0x8000}, r"unknown flags 0x8000"),
    ({"packed": 0}, r"the message claims 0 bytes, its first frame alone \d+"),
    ({"header": U64, "packed": U64}, rf"the message claims {U64} bytes, its first frame alone {U64 + 24}"),
]


@pytest.mark.parametrize(("prelude", "text"), PRELUDES)
def test_refused_prelude(prelude, text):
    first = first_frame(FIELDS, **prelude)
    for data in (first, memoryview(first), first[:24]):
        with pytest.raises(HeaderError, match=text):
            decode_prelude(data)
    with pytest.raises(HeaderError, match=text):
        decode(first)


BODIES = [
    (b"", r"the header is not msgpack: "),
    (b"\xc1", r"the header is not msgpack: "),
    (b"\x97\xa1p", r"the header is not msgpack: "),
    (b"\x91" * 5000, r"the header is not msgpack: "),
    (b"\x97\xa1\xff" + b"\xc0" * 6, r"the header is not msgpack: .*utf-8"),
    (b"\x81\x80\x01", r"the header is not msgpack: a key of type dict in a map"),
    (b"\x81\x91\xc0\x01", r"the header is not msgpack: a key of type tuple in a map"),
    (b"\x81\xd4\x05\x00\x01", r"the header is not msgpack: a key of type ExtType in a map"),
    (b"\xd6\xff\x00", r"the header is not msgpack: Unpack failed"),
    (b"\xc7\x03\xff\x00\x00\x00", r"the header is not msgpack: "),
    (msgpack.packb(FIELDS) + b"\0", r"the header is not msgpack: unpack\(b\) received extra data"),
    (None, r"the header is not an array of 7 fields"),
    ({"tag": "pickle"}, r"the header is not an array of 7 fields"),
    ("pickle", r"the header is not an array of 7 fields"),
    ([], r"the header is not an array of 7 fields"),
    (FIELDS[:6], r"the header is not an array of 7 fields"),
    ((*FIELDS, None), r"the header is not an array of 7 fields"),
]


@pytest.mark.parametrize(("body", "text"), BODIES)
def test_refused_body(body, text):
    with pytest.raises(HeaderError, match=text):
        decode(first_frame(body))


PLACE = r"not at \[frame, offset, length, read-only\]"
REFUSED = [
    (TAG, None, r"the serializer tag is None, not a name"),
    (TAG, b"pickle", r"the serializer tag is b'pickle', not a name"),
    (TAG, "", r"the serializer tag is '', not a name"),
    (TAG, 1, r"the serializer tag is 1, not a name"),
    *[
        (CODECS, value, rf"the codecs are {re.escape(short(value))}, not nil or one for each of 4 frames")
        for value in (False, 0, "lz4", (), (None,) * 4, (("fill", 9),) * 3, (("fill", 9),) * 5)
    ],
    (CODECS, {1: 2}, r"the codecs are \{1: 2\}"),
    *[
        (CODECS, (None, None, value, None), rf"the codec of frame 3 is {re.escape(short(value))}, not \[tag, bytes")
        for value in (
            *("fill", 5000, (), ("fill",), ("fill", 5000, 1), ("", 5000), (b"fill", 5000), ("fill", 0), ("fill", -1)),
            *(("fill", True), ("fill", 5000.0), ("fill", "5000"), (5000, "fill"), {"fill": 5000}),
        )
    ],
    (CODECS, (None, None, ("fill", 4999), None), r"buffer 0 ends at 5000 in frame 3 of 4999 bytes"),
    (DIGESTS, [b"digest"], r"the digests are \(b'digest',\), not \[algorithm, \[digest of each frame\]\]"),
    (DIGESTS, 0, r"the digests are 0, not"),
    (DIGESTS, [], r"the digests are \(\), not"),
    (DIGESTS, [b"sha256", []], r"the digests are \(b'sha256', \(\)\), not"),
    (DIGESTS, ["sha256", b""], r"the digests are \('sha256', b''\), not"),
    (DIGESTS, ["md5", [bytes(16)] * 4], r"frames carry digests of 'md5': the message needs a newer oobcodec"),
    (DIGESTS, ["sha256", [bytes(32)] * 3], r"the digests are not 32 bytes for each of 4 frames"),
    (DIGESTS, ["sha256", [bytes(32)] * 5], r"the digests are not 32 bytes for each of 4 frames"),
    (DIGESTS, ["sha256", [bytes(32)] * 3 + [bytes(31)]], r"the digests are not 32 bytes for each of 4 frames"),
    (DIGESTS, ["xxh3_64", [bytes(8)] * 3 + ["12345678"]], r"the digests are not 8 bytes for each of 4 frames"),
    (DIGESTS, ["xxh3_64", [bytes(8)] * 4], r"a block of 0 bytes behind the header does not go with digests of xxh3_64"),
    (LENGTHS, None, r"the frame lengths are not an array of non-negative integers"),
    (LENGTHS, [100, 7, -5000, 64], r"the frame lengths are not"),
    (LENGTHS, [100, True, 5000, 64], r"the frame lengths are not"),
    (LENGTHS, [100, 7.0, 5000, 64], r"the frame lengths are not"),
    (LENGTHS, [100, "7", 5000, 64], r"the frame lengths are not"),
    (LENGTHS, {1: 2}, r"the frame lengths are not"),
    (PICKLE_FRAMES, -1, r"-1 pickle frames among 4"),
    (PICKLE_FRAMES, 5, r"5 pickle frames among 4"),
    (PICKLE_FRAMES, True, r"True pickle frames among 4"),
    (PICKLE_FRAMES, None, r"None pickle frames among 4"),
    (PICKLE_FRAMES, U64, rf"{U64} pickle frames among 4"),
    (BUFFERS, None, r"the buffers are not an array"),
    (BUFFERS, "33", r"the buffers are not an array"),
    (BUFFERS, [None], rf"buffer 0 is placed at None, {PLACE}"),
    (BUFFERS, [FIELDS[BUFFERS][0], "abcd"], rf"buffer 1 is placed at 'abcd', {PLACE}"),
    (BUFFERS, [[3, 0, 5000]], rf"buffer 0 is placed at \(3, 0, 5000\), {PLACE}"),
    (BUFFERS, [[3, 0, 5000, True, 1]], rf"buffer 0 is placed at \(3, 0, 5000, True, 1\), {PLACE}"),
    (BUFFERS, [[3, 0, 5000, 1]], PLACE),
    (BUFFERS, [[3, 0, 5000, None]], PLACE),
    (BUFFERS, [[True, 0, 5000, True]], PLACE),
    (BUFFERS, [[3, False, 5000, True]], PLACE),
    (BUFFERS, [[3, 0, True, True]], PLACE),
    (BUFFERS, [[3, 0.0, 5000, True]], PLACE),
    (BUFFERS, [[0, 0, 1, True]], r"buffer 0 lies in frame 0; buffers lie in 3 to 4"),
    (BUFFERS, [[2, 0, 7, True]], r"buffer 0 lies in frame 2; buffers lie in 3 to 4"),
    (BUFFERS, [[5, 0, 1, True]], r"buffer 0 lies in frame 5; buffers lie in 3 to 4"),
    (BUFFERS, [[-1, 0, 1, True]], r"buffer 0 lies in frame -1"),
    (BUFFERS, [[3, 0, 5001, True]], r"buffer 0 ends at 5001 in frame 3 of 5000 bytes"),
    (BUFFERS, [[3, 5000, 1, True]], r"buffer 0 ends at 5001 in frame 3 of 5000 bytes"),
    (BUFFERS, [[3, -1, 5, True]], r"buffer 0 ends at 4 in frame 3"),
    (BUFFERS, [[3, 10, -5, True]], r"buffer 0 ends at 5 in frame 3"),
    (BUFFERS, [[3, U64, U64, True]], rf"buffer 0 ends at {2 * U64} in frame 3"),
    (BUFFERS, [], r"frame 3 belongs to no buffer"),
    (BUFFERS, [[3, 0, 5000, True]], r"frame 4 belongs to no buffer"),
    (BUFFERS, [[4, 0, 1, True]], r"frame 3 belongs to no buffer"),
    (PICKLE_FRAMES, 0, r"frame 1 belongs to no buffer"),
]


@pytest.mark.parametrize(("field", "value", "text"), REFUSED)
def test_refused_field(field, value, text):
    with pytest.raises(HeaderError, match=text):
        decode(first_frame(changed(field, value)))


@pytest.mark.parametrize("packed", [packed_length([24 + len(msgpack.packb(FIELDS)), *FIELDS[LENGTHS]]) + 1, U64])
def test_prelude_that_contradicts_the_lengths(packed):
    with pytest.raises(HeaderError, match=rf"the frames pack into \d+ bytes, the prelude says {packed}"):
        decode(first_frame(FIELDS, packed=packed))


def test_lengths_whose_sum_no_prelude_can_hold():
    fields = ["pickle", None, [U64, U64], 2, None, None, []]
    with pytest.raises(HeaderError, match=r"the frames pack into 3\d{19} bytes, the prelude says 18446744073709551615"):
        decode(first_frame(fields, packed=U64))


def test_truncated_at_every_byte():
    first = made()
    for size in range(len(first)):
        with pytest.raises(TruncatedError) as caught:
            decode(first[:size])
        if size < 24:
            assert str(caught.value) == f"a message starts with 24 bytes, here are {size}"
        else:
            assert str(caught.value) == f"frame 0 has {size} bytes, its prelude says {len(first)}"


@pytest.mark.parametrize("data", [b"\0", b"OX", b"OOX", b"GET / HTTP/1.1"])
def test_short_and_no_message(data):
    with pytest.raises(HeaderError, match=r"not an oobcodec message"):
        decode_prelude(data)


def test_surplus_byte():
    first = made()
    with pytest.raises(HeaderError, match=rf"frame 0 has {len(first) + 1} bytes, its prelude says {len(first)}"):
        decode(first + b"\0")


# Each means the same as FIELDS, or as FIELDS with another meta.
NOT_CANONICAL = {
    "wider integers": (msgpack.packb(FIELDS[LENGTHS]), b"\x94\xcc\x64\x07\xcd\x13\x88\x40"),
    "signed integers": (b"\x94\x64\x07", b"\x94\x64\xd0\x07"),
    "wider string": (b"\xa6pickle", b"\xd9\x06pickle"),
    "wider array": (b"\x94\x64", b"\xdc\x00\x04\x64"),
    "a key twice": (b"pickle\xc0", b"pickle\x82\xa1a\x01\xa1a\x02"),
    "a key twice, in two types": (b"pickle\xc0", b"pickle\x82\x01\x02\xc3\x02"),
    "short float": (b"pickle\xc0", b"pickle\xca\x3f\x80\x00\x00"),
    "wider extension": (b"pickle\xc0", b"pickle\xc7\x01\x05\x00"),
}


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_there_is_one_way_to_write_a_header(name):
    one, other = NOT_CANONICAL[name]
    body = msgpack.packb(FIELDS)
    assert body.count(one) == 1
    body = body.replace(one, other)
    with pytest.raises(HeaderError, match="not in the shortest form of msgpack, or a map in it has a key twice"):
        decode(first_frame(body, packed=packed_length([24 + len(body), *FIELDS[LENGTHS]])))


def test_what_a_message_holds_is_not_in_the_error():
    for field, value in ((TAG, b"x" * 10**6), (CODECS, ["x" * 10**6] * 10), (BUFFERS, [["x" * 10**6]])):
        with pytest.raises(HeaderError) as caught:
            decode(first_frame(changed(field, value)))
        assert len(str(caught.value)) < 400


def test_arrays_that_hold_less_than_they_declare_set_no_memory_aside():
    count = 20_000
    body = b"\xdd" + count.to_bytes(4, "big")
    body = body * 1000 + b"\xc0" * (count - 5)
    first = first_frame(body)
    tracemalloc.start()
    try:
        with pytest.raises(HeaderError, match="not msgpack"):
            decode(first)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(first)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "meta",
    [{(1, 2): 3}, [{"a": {(1,): 2}}], {"a": {msgpack.Timestamp(1): 2}}, {1, 2}, [1 << 64], 1 << 64, "\ud800", 1j],
    ids=ascii,
)
def test_a_serializer_is_told_what_no_header_can_carry(meta):
    with pytest.raises(EncodeError, match=r"the serializer 'a\.b' describes its buffers by what no header can carry"):
        encode("a.b", meta, (), 0, ())


# Limits


@pytest.mark.parametrize("function", [decode, read])
@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(max_header_bytes=10), r"the header declares \d+ bytes; limit max_header_bytes=10 bytes"),
        (Limits(max_frames=4), r"the message declares 5 frames; limit max_frames=4"),
        (Limits(max_total_bytes=5000), r"the message declares .*; limit max_total_bytes=4.9 KiB"),
    ],
)
def test_limits(function, limits, text):
    assert function(made()) == decode(made())
    with pytest.raises(LimitError, match=text):
        function(made(), limits)
    exact = Limits(
        max_header_bytes=len(made()) - 24, max_frames=5, max_total_bytes=decode_prelude(made()).packed_length
    )
    assert function(made(), exact) == decode(made())


def test_limits_come_before_what_they_limit():
    # Neither is msgpack, or a message: nobody looks.
    with pytest.raises(LimitError, match="the header declares"):
        decode(first_frame(b"\xc1" * 1000), Limits(max_header_bytes=999))
    with pytest.raises(LimitError, match="the message declares 58 bytes"):
        decode(first_frame(["pickle", None, [9], 1, None, None, []], packed=58), Limits(max_total_bytes=57))
    with pytest.raises(LimitError, match=r"^frame 2 declares 1\.1 KiB; limit max_total_bytes=1 KiB\. Raise it"):
        decode(first_frame(["pickle", None, [9, 1025], 2, None, None, []]), Limits(max_total_bytes=1024))
    with pytest.raises(LimitError, match="the message declares 5 frames"):
        decode(first_frame(["pickle", None, ["x"] * 4, 0, None, None, None]), Limits(max_frames=4))


def test_digests_are_bytes():
    for values in ([1], [None], [[]], ["12345678"], [b"1234567"]):
        with pytest.raises(HeaderError, match="digests are not 8 bytes"):
            decode(first_frame(["pickle", None, [9], 1, None, ["xxh3_64", values], []]))


def test_sizes_are_limited_by_the_prelude_alone():
    prelude = decode_prelude(first_frame(b"\xc1" * 1000, packed=2**60))
    check_sizes(prelude, UNLIMITED)
    with pytest.raises(LimitError, match="the header declares 1,000 bytes"):
        check_sizes(prelude, Limits(max_header_bytes=999))
    with pytest.raises(LimitError, match="the message declares 1 EiB"):
        check_sizes(prelude, Limits(max_total_bytes=2**59))


def test_small_headers_are_remembered_and_of_others_the_last_one():
    small, large, other = made(), encode("pickle", "m" * SMALL, (), 0, ()), encode("pickle", "n" * SMALL, (), 0, ())
    assert read(small) is read(small)
    assert read(small, Limits(max_frames=9)) is read(small, Limits(max_frames=9)) is not read(small)
    first = read(large)
    assert read(large) is first
    assert read(other) != first
    assert read(large) == first is not read(large)


def test_very_large_headers_are_not_remembered():
    large = encode("pickle", "m" * (256 * 1024), (), 0, ())
    assert read(large) == read(large) is not read(large)


@pytest.mark.parametrize("damage", [(1, 0, 2000, False), (2, 0, 2000, False), (1, 0, 2000, 0), (True, 0, 2000, False)])
def test_one_buffer_that_is_wrong_among_many_is_refused(damage):
    placed = [(frame, 0, 2000, False) for frame in range(1, 1001)]
    header = ["t", None, (2000,) * 1000, 0, None, None, placed]
    assert decode(first_frame(header)).buffers == tuple(placed)
    placed[1] = damage
    if damage == (2, 0, 2000, False):
        assert decode(first_frame(header)).buffers == tuple(placed)
    else:
        with pytest.raises(HeaderError, match=r"frame 2 belongs to no buffer|buffer 1 is placed at"):
            decode(first_frame(header))


# Digests, and what goes with them

SUMS = Digests("xxh3_64", (b"12345678", bytes(8), b"\xff" * 8, b"abcdefgh"))


def summed():
    return checksummed(decode(made()), SUMS)


def test_checksummed_header_byte_by_byte():
    first = summed()
    body = msgpack.packb((*FIELDS[:5], SUMS, FIELDS[6]))
    packed = packed_length([24 + len(body) + 6, *FIELDS[LENGTHS]])
    assert first[:24] == b"OOB\1\0\0\6\0" + struct.pack("<QQ", len(body), packed)
    assert first[24:-6] == body
    assert first[-6:] == b"\1\0" + struct.pack("<I", zlib.crc32(first[:-6]))


def test_checksummed_header_is_what_was_written():
    assert decode(summed()) == Header(*decode(made())[:5], SUMS)
    assert decode(made()).digests is None


def test_every_bit_of_a_checksummed_header_counts():
    first = summed()
    for bit in range(8 * len(first)):
        changed_first = bytearray(first)
        changed_first[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode(bytes(changed_first))
    changed_first = bytearray(first)
    changed_first[30] ^= 1
    with pytest.raises(IntegrityError, match="frame 0 is damaged: it is not what its checksum says"):
        decode(bytes(changed_first))


def signature(number, key_id=b"k"):
    return bytes([1, number, len(key_id)]) + key_id + bytes(16 + 8 + 32)


SIGNED = Digests("sha256", (bytes(32),) * 4)
BLOCKS = [
    (None, b"\1\0\0\0\0\0", "a block of 6 bytes behind the header does not go with digests of None"),
    (None, signature(1), "a block of 60 bytes behind the header does not go with digests of None"),
    (SIGNED, b"", "a block of 0 bytes behind the header does not go with digests of sha256"),
    (SIGNED, b"\1", "a block of 1 bytes"),
    (SIGNED, b"\1\1", "a block of 2 bytes"),
    (SIGNED, b"\1\0\0\0\0", "a block of 5 bytes"),
    (SIGNED, b"\2" + signature(1)[1:], "a block of 60 bytes"),
    (SIGNED, signature(2), "a block of 60 bytes behind the header does not go with digests of sha256"),
    (SIGNED, signature(3), "a block of 60 bytes"),
    (SIGNED, signature(1) + b"\0", "a block of 61 bytes"),
    (SIGNED, signature(1)[:-1], "a block of 59 bytes"),
    (SUMS, signature(1), "a block of 60 bytes behind the header does not go with digests of xxh3_64"),
    (SUMS, b"\1\0\0\0\0\0\0", "a block of 7 bytes"),
    (Digests("blake3", (bytes(32),) * 4), signature(1), "does not go with digests of blake3"),
]


@pytest.mark.parametrize(("digests", "block", "text"), BLOCKS)
def test_refused_block(digests, block, text):
    first = encode(*FIELDS[:4], FIELDS[BUFFERS], digests=digests, auth_length=len(block))
    if block == b"\1\0\0\0\0\0":
        block = block[:2] + struct.pack("<I", zlib.crc32(first))
    with pytest.raises(HeaderError, match=text):
        decode(first + block)


def test_a_signature_is_left_to_who_has_the_keys():
    first = encode(*FIELDS[:4], FIELDS[BUFFERS], digests=SIGNED, auth_length=60)
    assert decode(first + signature(1)).digests == SIGNED
    assert split_first(first + signature(1)) == (decode_prelude(first), first, signature(1))


@given(st.data())
def test_damage_is_an_error_of_ours_or_another_valid_header(data):
    first = bytearray(made())
    for _ in range(data.draw(st.integers(1, 4))):
        first[data.draw(st.integers(0, len(first) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = decode(bytes(first))
    except DecodeError:
        return
    assert decode(encode(*header[:5])) == header
