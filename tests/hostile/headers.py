"""Hostile first frames, and messages whose frames contradict them."""
# ruff: noqa: FBT003  # truth values are arguments in messages, by position

import struct

import msgpack
from helpers import packed_length

from hostile.assembler import packed, program, whole

STREAM = program(1)
BUFFERED = b"\x80\x05\x97."
LENGTH = len(STREAM)
PLACE = [2, 0, 3, True]
PLAIN = ["pickle", None, [LENGTH], 1, None, None, []]


def declared(lengths, **prelude):
    """Return a first frame that declares frames of these lengths, which are not there."""
    places = [[i, 0, length, True] for i, length in enumerate(lengths[1:], 2)]
    return whole(["pickle", None, lengths, 1, None, None, places], **prelude)


def fields(**changes):
    """Return a message whose header has other fields than it should have."""
    names = ("tag", "meta", "lengths", "streams", "codecs", "digests", "places")
    values = dict(zip(names, PLAIN, strict=True)) | changes
    return whole(list(values.values()), STREAM)


def placed(*place):
    """Return a message with a buffer at this place."""
    lengths = [len(BUFFERED), 3]
    packed_bytes = packed_length([len(whole(["pickle", None, lengths, 1, None, None, [list(place)]])[0]), *lengths])
    return whole(["pickle", None, lengths, 1, None, None, [list(place)]], BUFFERED, b"abc", packed=packed_bytes)


def preludes():
    yield from {
        "prelude_empty": b"",
        "prelude_cut": b"OOB\x01\x00\x00",
        "prelude_other": b"PK\x03\x04" + bytes(60),
        "prelude_zeros": bytes(64),
        "prelude_version": packed(whole(PLAIN, STREAM, version=255)),
        "prelude_flags": packed(whole(PLAIN, STREAM, flags=0x8000)),
        "prelude_auth_empty": packed(whole(PLAIN, STREAM, auth=64)),
        "prelude_auth_of_64_kib": packed(whole(PLAIN, STREAM, auth=0xFFFF)),
        "header_of_2_63": packed(whole(PLAIN, STREAM, header=2**63)),
        "header_of_2_64": packed(whole(PLAIN, STREAM, header=2**64 - 1, packed=2**64 - 1)),
        "header_of_9_mib": packed(whole(PLAIN, STREAM, header=9 << 20, packed=10 << 20)),
        "header_short": packed(whole(PLAIN, STREAM, header=3)),
        "packed_of_2_64": packed(whole(PLAIN, STREAM, packed=2**64 - 1)),
        "packed_of_5_gib": packed(whole(PLAIN, STREAM, packed=5 << 30)),
        "packed_short": packed(whole(PLAIN, STREAM, packed=30)),
        "packed_other": packed(whole(PLAIN, STREAM))[:-1],
        "packed_of_9_tib": packed(declared([LENGTH, 9 << 40])),
        "packed_length_bool": packed(fields(lengths=[True])),
        "packed_length_of_2_64": packed(whole(["pickle", None, [2**64 - 1], 1, None, None, []], STREAM)),
        "bytes_behind": packed(whole(PLAIN, STREAM)) + b"more",
    }.items()


def numbers():
    """Yield headers whose integers are not integers, too large, or not as msgpack writes them."""
    body = msgpack.packb(PLAIN)
    place = body.index(bytes([0x91, LENGTH])) + 1
    long_length = body[:place] + b"\xd3" + struct.pack(">q", LENGTH) + body[place + 1 :]
    padded = bytes(-(24 + len(long_length)) % 64)
    size = 24 + len(long_length) + len(padded) + LENGTH
    yield from {
        "length_bool": fields(lengths=[True]),
        "length_negative": fields(lengths=[-1]),
        "length_float": fields(lengths=[float(LENGTH)]),
        "length_text": fields(lengths=[str(LENGTH)]),
        "length_none": fields(lengths=[None]),
        "length_list": fields(lengths=[[LENGTH]]),
        "length_not_canonical": whole(long_length, STREAM, packed=size),
        "length_of_2_64": whole(["pickle", None, [2**64 - 1], 1, None, None, []], STREAM),
        "lengths_over_2_64": whole(["pickle", None, [2**63, 2**63 + 65], 1, None, None, [PLACE]], STREAM, b"abc"),
        "lengths_over_2_64_wrapped": whole(
            ["pickle", None, [LENGTH, 2**64 - 64], 1, None, None, [PLACE]], STREAM, b"abc", packed=200
        ),
        "lengths_text": fields(lengths="ab"),
        "lengths_mapping": fields(lengths={0: LENGTH}),
        "streams_bool": fields(streams=True),
        "streams_negative": fields(streams=-1),
        "streams_float": fields(streams=1.0),
        "streams_of_2_63": fields(streams=2**63),
        "streams_none": fields(streams=0),
        "streams_surplus": fields(streams=2),
        "place_bool": placed(True, 0, 3, True),
        "place_bool_length": placed(2, 0, True, True),
        "place_int_readonly": placed(2, 0, 3, 1),
        "place_negative_frame": placed(-1, 0, 3, True),
        "place_negative_offset": placed(2, -1, 3, True),
        "place_negative_length": placed(2, 3, -1, True),
        "place_in_header": placed(0, 0, 3, True),
        "place_in_stream": placed(1, 0, 3, True),
        "place_beyond_frames": placed(3, 0, 3, True),
        "place_beyond_frame": placed(2, 1, 3, True),
        "place_offset_of_2_64": placed(2, 2**64 - 1, 3, True),
        "place_offset_wraps": placed(2, 2**64 - 1, 2, True),
        "place_short": placed(2, 0, 3),
        "place_long": placed(2, 0, 3, True, 0),
        "places_mapping": fields(places={0: PLACE}),
        "places_none": fields(places=None),
        "places_text": fields(places="ab"),
    }.items()


def compressed(flags=0x35, nbytes=4096, block=4096, special=0):
    """Return a message whose one frame is a chunk of Blosc2 that nobody has compressed."""
    start = struct.pack("<BBBBIII", 5, 1, flags, 8, nbytes, block, 100)
    chunk = start + bytes(14) + bytes([0, special]) + b"\xff" * 68
    return whole(["bytes", None, [len(chunk)], 0, [["blosc2", 4096]], None, [[1, 0, 4096, True]]], chunk)


def headers():
    array_of_2_32 = b"\xdd" + struct.pack(">I", 2**32 - 1)
    yield from {
        "header_empty": whole(b"", STREAM),
        "header_not_msgpack": whole(b"\xc1\xc1\xc1", STREAM),
        "header_cut": whole(msgpack.packb(PLAIN)[:-1], STREAM),
        "header_trailing": whole(msgpack.packb(PLAIN) + b"\xc0", STREAM),
        "header_of_array_of_2_32": whole(array_of_2_32, STREAM),
        "header_of_map_of_2_32": whole(b"\xdf" + struct.pack(">I", 2**32 - 1), STREAM),
        "header_of_text_of_2_32": whole(b"\xdb" + struct.pack(">I", 2**32 - 1) + b"abc", STREAM),
        "header_extension": whole(b"\x97\xd4\x01\x00" + bytes(6), STREAM),
        "header_timestamp": whole(b"\x97\xd6\xff\x00\x00\x00\x00" + bytes(6), STREAM),
        "header_mapping": whole({"tag": "pickle"}, STREAM),
        "header_nested_1000_deep": whole(b"\x91" * 1000, STREAM),
        "header_keys_nested_deep": whole(b"\x97\xa1a\x81" + b"\x91" * 400 + b"\x01\x01", STREAM),
        "fields_6": whole(PLAIN[:-1], STREAM),
        "fields_8": whole([*PLAIN, None], STREAM),
        "tag_none": fields(tag=None),
        "tag_empty": fields(tag=""),
        "tag_bytes": fields(tag=b"pickle"),
        "tag_invalid_text": whole(b"\x97\xa2\xff\xfe" + msgpack.packb(PLAIN)[8:], STREAM),
        "tag_list": fields(tag=["pickle"]),
        "tag_long": fields(tag="a" * 1000),
        "codecs_unknown": fields(codecs=["none", "tests.unknown"]),
        "codecs_integer": fields(codecs=5),
        "codecs_all_none": fields(codecs=[None]),
        "codecs_of_a_new_tag": fields(codecs=[["tests.unknown", LENGTH]]),
        "codecs_length_bool": fields(codecs=[["fill", True]]),
        "codecs_length_negative": fields(codecs=[["fill", -1]]),
        "codecs_length_of_2_64": fields(codecs=[["fill", 2**64 - 1]]),
        "codecs_bomb": fields(codecs=[["fill", LENGTH << 26]]),
        "codecs_fill_unevenly": fields(codecs=[["fill", LENGTH + 1]]),
        "codecs_fill_with_nothing": whole(["bytes", None, [0], 0, [["fill", 3]], None, [[1, 0, 3, True]]], b""),
        "codecs_chunk_short": fields(codecs=[["blosc2", LENGTH]]),
        "codecs_chunk_in_a_file": compressed(special=8),
        "codecs_chunk_of_a_plug_in": compressed(flags=0xD5),
        "codecs_chunk_of_unset_memory": compressed(special=0x40),
        "codecs_chunk_of_more": compressed(nbytes=2**31 - 1),
        "codecs_chunk_of_no_blocks": compressed(block=0),
        "codecs_chunk_of_damage": compressed(),
        "digests_integer": fields(digests=5),
        "digests_empty": fields(digests=[]),
        "meta_of_pickle": fields(meta={"a": 1}),
        "frame_of_9_tib": declared([LENGTH, 9 << 40]),
        "frame_of_9_2_gib": declared([LENGTH, 4, 9_878_424_780]),
        "frame_of_no_buffer": whole(["pickle", None, [LENGTH, 3], 1, None, None, []], STREAM, b"abc"),
        "frames_of_4_gib_in_all": declared([LENGTH, *[1 << 30] * 4]),
    }.items()


class Separate(list):
    """Frames that do not make one packed form."""


def separate():
    """Yield frames that are not those which the first one declares."""
    plain = whole(PLAIN, STREAM)
    buffered = whole(["pickle", None, [len(BUFFERED), 3], 1, None, None, [PLACE]], BUFFERED, b"abc")
    yield from {
        "frames_none": [],
        "frames_first_only": plain[:1],
        "frames_first_empty": [b"", STREAM],
        "frames_first_cut": [plain[0][:-1], STREAM],
        "frames_first_long": [plain[0] + b"\0", STREAM],
        "frames_surplus": [*plain, b""],
        "frames_missing": buffered[:-1],
        "frames_swapped": [buffered[0], buffered[2], buffered[1]],
        "frames_reversed": buffered[::-1],
        "frame_cut": [*buffered[:-1], b"ab"],
        "frame_long": [*buffered[:-1], b"abcd"],
        "frame_empty": [*buffered[:-1], b""],
        "stream_short": [plain[0], STREAM[:-1]],
        "stream_long": [plain[0], STREAM + b"more"],
    }.items()


def messages():
    yield from preludes()
    # As frames, because in the packed form it would be their lengths that are refused.
    for group in (numbers, headers, separate):
        for key, frames in group():
            yield key, Separate(frames)
