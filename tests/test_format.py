"""The statement of the message format in FORMAT.rst is enough to read messages, and to refuse what is none."""

import pickle
import struct
import sys
from pathlib import Path

import independent_decoder
import msgpack
import numpy as np
import pytest
from independent_decoder import RefusedError, decode
from specimens import SPECIMENS, Celsius, assert_same, registered

import oobcodec
from oobcodec.header import packed_offsets

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setitem(independent_decoder.TAGS, Celsius.tag, Celsius)
    with registered():
        yield


def message(fields, *frames):
    """Return a message with a header of these fields, whatever they are."""
    body = msgpack.packb(fields)
    packed = packed_offsets((24 + len(body), *map(len, frames)))[-1]
    return [struct.pack("<3sBHHQQ", b"OOB", 1, 0, 0, len(body), packed) + body, *frames]


def pack(frames):
    memory = bytearray()
    for frame in frames:
        memory += bytes(-len(memory) % 64) + frame
    return memory


ONE = pickle.dumps(1, 5)
ARRAY = list(map(bytes, oobcodec.dumps(np.arange(200.0))))
PLAIN = ("pickle", None, [len(ONE)], 1, None, None, [])


class TestIndependentDecoder:
    @pytest.mark.parametrize("name", SPECIMENS)
    def test_reads_frames(self, name):
        make, arrives = SPECIMENS[name]
        frames = oobcodec.dumps(make())
        got = decode(frames)
        assert_same(got, arrives())
        assert_same(got, oobcodec.loads(frames))

    @pytest.mark.parametrize("name", SPECIMENS)
    def test_reads_packed_messages(self, name):
        make, arrives = SPECIMENS[name]
        assert_same(decode(oobcodec.pack(oobcodec.dumps(make()))), arrives())

    def test_reads_code_of_this_python(self):
        assert decode(oobcodec.dumps(lambda x: x + 1))(41) == 42

    def test_writes_nothing_that_differs(self):
        assert_same(oobcodec.loads(message(PLAIN, ONE)), 1)
        assert_same(decode(message(PLAIN, ONE)), 1)
        assert_same(oobcodec.loads(pack(map(bytes, ARRAY))), np.arange(200.0))

    def test_needs_nothing_of_the_library(self):
        for name in ("independent_decoder.py", "independent_rebuilders.py"):
            source = (HERE / name).read_text(encoding="utf-8")
            assert "import oobcodec" not in source
            assert "from oobcodec" not in source
        assert len((HERE / "independent_decoder.py").read_text(encoding="utf-8").splitlines()) < 100


class TestPackedForm:
    def test_is_as_stated(self):
        frames = oobcodec.dumps([np.arange(130, dtype="<f8"), np.zeros(200)])
        assert bytes(oobcodec.pack(frames)) == bytes(pack(frames))

    def test_padding_is_not_looked_at(self):
        packed = pack(ARRAY)
        end = len(ARRAY[0])
        packed[end : end + 1] = b"\xff"
        assert end % 64
        assert_same(oobcodec.loads(packed), np.arange(200.0))
        assert_same(decode(packed), np.arange(200.0))


class Lines:
    tag = "specimens.lines"

    def supports(self, obj):
        return type(obj) is list

    def dumps(self, obj):
        return {"count": len(obj)}, obj

    def loads(self, meta, buffers):
        return [meta, *map(bytes, buffers)]


def test_registered_serializers_are_as_stated():
    oobcodec.register_serializer(Lines())
    try:
        frames = list(map(bytes, oobcodec.dumps([b"one", b""])))
        assert frames[1:] == [b"one", b""]
        buffers = [[1, 0, 3, True], [2, 0, 0, True]]
        assert msgpack.unpackb(frames[0][24:]) == ["specimens.lines", {"count": 2}, [3, 0], 0, None, None, buffers]
        assert oobcodec.loads(frames) == [{"count": 2}, b"one", b""]
    finally:
        oobcodec.unregister_serializer(Lines.tag)
    with pytest.raises(RefusedError):
        decode(frames)
    with pytest.raises(oobcodec.DecodeError, match=r"'specimens\.lines' is unknown"):
        oobcodec.loads(frames)


def patched(offset, data):
    frames = list(ARRAY)
    first = bytearray(frames[0])
    first[offset : offset + len(data)] = data
    return [bytes(first), *frames[1:]]


OTHER_PYTHON = f"3.{sys.version_info.minor + 1}"
TWO = (b"ab", b"cd")
LENGTH = len(ONE)
MALFORMED = {
    "no frames": [],
    "short": [b"OOB\1"],
    "magic": patched(0, b"XOB"),
    "version": patched(3, b"\2"),
    "flags": patched(4, b"\1"),
    "authentication": patched(6, b"\1"),
    "header length": patched(8, struct.pack("<Q", 5)),
    "packed length": patched(16, struct.pack("<Q", 1 << 40)),
    "packed length below the first": patched(16, struct.pack("<Q", 8)),
    "no msgpack": [struct.pack("<3sBHHQQ", b"OOB", 1, 0, 0, 1, 25) + b"\xc1"],
    "bytes behind msgpack": [struct.pack("<3sBHHQQ", b"OOB", 1, 0, 0, 2, 26) + b"\x90\x90"],
    "no array": message({"tag": "pickle"}),
    "six fields": message(PLAIN[:-1], ONE),
    "eight fields": message((*PLAIN, None), ONE),
    "tag is empty": message(("", None, [LENGTH], 1, None, None, []), ONE),
    "tag is a number": message((1, None, [LENGTH], 1, None, None, []), ONE),
    "tag is unknown": message(("nobody.knows", None, [], 0, None, None, [])),
    "codecs": message(("pickle", None, [LENGTH], 1, ["lz4"], None, []), ONE),
    "digests": message(("pickle", None, [LENGTH], 1, None, [b"x"], []), ONE),
    "lengths are no array": message(("pickle", None, LENGTH, 1, None, None, []), ONE),
    "length is a boolean": message(("pickle", None, [True], 1, None, None, []), b"."),
    "length is negative": message(("pickle", None, [-1], 1, None, None, []), ONE),
    "length is a float": message(("pickle", None, [float(LENGTH)], 1, None, None, []), ONE),
    "pickle frames are too many": message(("pickle", None, [LENGTH], 2, None, None, []), ONE),
    "pickle frames are negative": message(("pickle", None, [LENGTH], -1, None, None, []), ONE),
    "no pickle": message(("pickle", None, [], 0, None, None, [])),
    "buffers are no array": message(("pickle", None, [LENGTH], 1, None, None, None), ONE),
    "buffer has three fields": message(("bytes", None, [2], 0, None, None, [[1, 0, 2]]), b"ab"),
    "buffer is read-only in numbers": message(("bytes", None, [2], 0, None, None, [[1, 0, 2, 1]]), b"ab"),
    "buffer in the header": message(("bytes", None, [2, 2], 1, None, None, [[0, 0, 2, True]]), *TWO),
    "buffer in the pickle": message(("pickle", None, [LENGTH], 1, None, None, [[1, 0, 2, True]]), ONE),
    "buffer behind the last frame": message(("bytes", None, [2], 0, None, None, [[2, 0, 2, True]]), b"ab"),
    "buffer beyond its frame": message(("bytes", None, [2], 0, None, None, [[1, 1, 2, True]]), b"ab"),
    "buffer before its frame": message(("bytes", None, [2], 0, None, None, [[1, -1, 2, True]]), b"ab"),
    "buffer of negative length": message(("bytes", None, [2], 0, None, None, [[1, 1, -1, True]]), b"ab"),
    "frame without a buffer": message(("bytes", None, [2, 2], 0, None, None, [[1, 0, 2, True]]), *TWO),
    "bytes without a buffer": message(("bytes", None, [], 0, None, None, [])),
    "bytes in two": message(("bytes", None, [2, 2], 0, None, None, [[1, 0, 2, True], [2, 0, 2, True]]), *TWO),
    "bytes with a pickle": message(("bytes", None, [2, 2], 1, None, None, [[2, 0, 2, True]]), *TWO),
    "str in two": message(("str", None, [2, 2], 0, None, None, [[1, 0, 2, True], [2, 0, 2, True]]), *TWO),
    "str that is no UTF-8": message(("str", None, [1], 0, None, None, [[1, 0, 1, True]]), b"\xff"),
    "frame is missing": ARRAY[:-1],
    "frame too many": [*ARRAY, b""],
    "frame is short": [*ARRAY[:-1], ARRAY[-1][:-1]],
    "frame is long": [*ARRAY[:-1], ARRAY[-1] + b"x"],
    "pickle ends early": message(("pickle", None, [LENGTH - 1], 1, None, None, []), ONE[:-1]),
    "pickle goes on": message(("pickle", None, [LENGTH + 1], 1, None, None, []), ONE + b"."),
    "pickle leaves a buffer": message(("pickle", None, [LENGTH, 2], 1, None, None, [[2, 0, 2, True]]), ONE, b"ab"),
    "pickle wants a buffer": message(("pickle", None, [4], 1, None, None, []), b"\x80\5\x97."),
    "code of another Python": message(("cloudpickle", OTHER_PYTHON, [LENGTH], 1, None, None, []), ONE),
    "code of no Python": message(("cloudpickle", None, [LENGTH], 1, None, None, []), ONE),
    "unknown function": message(
        ("pickle", None, [42], 1, None, None, []), b"\x80\5coobcodec.reducers.numpy\nrebuild_more\n)R."
    ),
}
# An independent decoder may leave these to pickle.
REFUSALS = (RefusedError, pickle.UnpicklingError, EOFError, UnicodeDecodeError)


@pytest.mark.parametrize("name", MALFORMED)
class TestMalformed:
    def test_is_refused(self, name):
        with pytest.raises(oobcodec.DecodeError):
            oobcodec.loads(list(MALFORMED[name]))

    def test_is_refused_by_the_independent_decoder(self, name):
        with pytest.raises(REFUSALS):
            decode(list(MALFORMED[name]))


@pytest.mark.parametrize("cut", [0, 10, 24, 60, 127, -1])
def test_packed_message_that_is_cut_off_is_refused(cut):
    with pytest.raises(oobcodec.TruncatedError):
        oobcodec.loads(pack(ARRAY)[:cut])
    with pytest.raises(RefusedError):
        decode(pack(ARRAY)[:cut])


def test_byte_behind_a_packed_message_is_refused():
    with pytest.raises(oobcodec.HeaderError):
        oobcodec.loads(pack(ARRAY) + b"\0")
    with pytest.raises(RefusedError):
        decode(pack(ARRAY) + b"\0")


class TestComparison:
    """What tells whether an object arrived can tell that it did not."""

    @pytest.mark.parametrize(
        ("got", "want"),
        [
            (1, True),
            (0.0, -0.0),
            ([1], (1,)),
            ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
            (np.arange(3), np.arange(3.0)),
            (np.arange(3), np.arange(3)[::-1]),
            (np.zeros((2, 3)), np.zeros((3, 2)).T),
            (np.arange(3, dtype=">i4"), np.arange(3, dtype="<i4")),
            (np.broadcast_to(np.zeros(1), 3), np.zeros(3)),
            (np.zeros(2), np.zeros(2).view(np.matrix)[0]),
            (np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [1, 0])),
            (memoryview(b"ab"), memoryview(bytearray(b"ab"))),
            (np.array([[1], 2], dtype=object), np.array([[1], 3], dtype=object)),
        ],
    )
    def test_notices_a_difference(self, got, want):
        with pytest.raises(AssertionError):
            assert_same(got, want)

    def test_notices_identity_and_sharing(self):
        one, two = [1], [1]
        whole, copy = np.arange(200.0), np.arange(200.0)
        shared = [whole, whole[:]]
        for got, want in [([one, two], [one, one]), ([whole, copy], shared), (shared, [whole, copy])]:
            with pytest.raises(AssertionError):
                assert_same(got, want)
