import pytest
from helpers import head, roundtrip

import oobcodec
from oobcodec.errors import DecodeError, RegistryError
from oobcodec.registry import DEFAULT


@pytest.fixture(autouse=True)
def _undo():
    """Leave the serializers as they were."""
    before = DEFAULT.serializers
    yield
    DEFAULT.serializers = before


class Pair(tuple):
    __slots__ = ()


class Pairs:
    def __init__(self, tag="tests.pairs"):
        self.tag = tag

    def supports(self, obj):
        return type(obj) is Pair

    def dumps(self, obj):
        return {"by": self.tag, "n": [1, "é", b"\xff"]}, [obj[0], memoryview(obj[1])[::1], b""]

    def loads(self, meta, buffers):
        by = meta.pop("by")
        return by, meta["n"], [bytes(buffer) for buffer in buffers], [buffer.readonly for buffer in buffers]


def test_serializer_takes_the_top_level_object_with_meta_and_buffers():
    oobcodec.register_serializer(Pairs())
    assert oobcodec.registered_serializers() == ("tests.pairs", "bytes", "str", "pickle", "cloudpickle")
    data = bytearray(b"abc")
    frames = oobcodec.dumps(Pair([data, b"x" * 2000]))
    assert head(frames).tag == "tests.pairs"
    assert len(frames) == 4
    frames[1][0] = ord("A")
    assert data == b"Abc"
    data[0] = ord("a")
    # Twice: what it does to its meta is its own.
    for _ in range(2):
        result = oobcodec.loads(frames)
        assert result == ("tests.pairs", (1, "é", b"\xff"), [b"abc", b"x" * 2000, b""], [False, True, True])
    assert head(oobcodec.dumps([Pair([b"", b""])])).tag == "pickle"


def test_serializer_may_take_bytes_and_text():
    class Texts(Pairs):
        def supports(self, obj):
            return type(obj) in (bytes, str)

        def dumps(self, obj):
            return obj[:1], []

        def loads(self, meta, buffers):
            return meta, buffers

    oobcodec.register_serializer(Texts())
    assert roundtrip("xyz") == ("x", [])
    assert roundtrip(b"xyz") == (b"x", [])
    oobcodec.unregister_serializer("tests.pairs")
    assert roundtrip("xyz") == "xyz"


def test_order_of_serializers():
    for tag in ("tests.a", "tests.b", "tests.c"):
        oobcodec.register_serializer(Pairs(tag))
    assert oobcodec.registered_serializers()[:3] == ("tests.c", "tests.b", "tests.a")
    oobcodec.register_serializer(Pairs("tests.d"), before="tests.a")
    assert oobcodec.registered_serializers()[:4] == ("tests.c", "tests.b", "tests.d", "tests.a")
    assert roundtrip(Pair([b"", b""]))[0] == "tests.c"
    oobcodec.unregister_serializer("tests.c")
    assert roundtrip(Pair([b"", b""]))[0] == "tests.b"


def test_serializer_registered_twice():
    first = Pairs()
    oobcodec.register_serializer(first)
    oobcodec.register_serializer(Pairs("tests.b"))
    oobcodec.register_serializer(first)
    assert oobcodec.registered_serializers()[:2] == ("tests.b", "tests.pairs")
    oobcodec.register_serializer(first, before="tests.b")
    assert oobcodec.registered_serializers()[:2] == ("tests.pairs", "tests.b")
    with pytest.raises(RegistryError, match=r"the tag 'tests.pairs' has a serializer already: replace=True"):
        oobcodec.register_serializer(Pairs())
    second = Pairs()
    oobcodec.register_serializer(second, replace=True)
    assert DEFAULT.serializer("tests.pairs") is second
    assert len(DEFAULT.serializers) == 2


def test_replaced_serializer_keeps_its_place():
    for tag in ("tests.a", "tests.b", "tests.c"):
        oobcodec.register_serializer(Pairs(tag))
    oobcodec.register_serializer(Pairs("tests.b"), replace=True)
    assert oobcodec.registered_serializers()[:3] == ("tests.c", "tests.b", "tests.a")


def test_serializer_before_a_built_in_one_is_tried_last():
    for tag in ("tests.a", "tests.b"):
        oobcodec.register_serializer(Pairs(tag))
    oobcodec.register_serializer(Pairs("tests.last"), before="pickle")
    assert oobcodec.registered_serializers()[:4] == ("tests.b", "tests.a", "tests.last", "bytes")
    assert DEFAULT.serializer("tests.last").tag == "tests.last"


@pytest.mark.parametrize("before", ["tests.none", "tests.pairs", ""])
def test_before_what_is_not_registered(before):
    with pytest.raises(RegistryError, match=rf"before='{before}' is not the tag of a serializer: \['bytes', .*\]"):
        oobcodec.register_serializer(Pairs(), before=before)
    assert DEFAULT.serializers == ()


@pytest.mark.parametrize("tag", ["pickle", "bytes", "x", None])
def test_malformed_serializer_tag(tag):
    with pytest.raises(RegistryError, match=rf"the tag {tag!r} is not 'package.name'"):
        oobcodec.register_serializer(Pairs(tag))


def test_what_is_no_serializer():
    with pytest.raises(RegistryError, match=r"<object .*> is no serializer: it lacks tag, supports, dumps, loads"):
        oobcodec.register_serializer(object())
    assert DEFAULT.serializers == ()


def test_unknown_serializer():
    oobcodec.register_serializer(Pairs())
    frames = oobcodec.dumps(Pair([b"", b""]))
    oobcodec.unregister_serializer("tests.pairs")
    with pytest.raises(RegistryError, match=r"no serializer is registered under the tag 'tests.pairs'"):
        oobcodec.unregister_serializer("tests.pairs")
    with pytest.raises(
        DecodeError, match=r"the serializer tag 'tests.pairs' is unknown here: install and import 'tests'"
    ):
        oobcodec.loads(frames)
