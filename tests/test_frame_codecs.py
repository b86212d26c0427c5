import pytest

from oobcodec.errors import DecodeError, RegistryError
from oobcodec.frame_codecs import FrameCodecs


class Backwards:
    tag = "tests.backwards"

    def compress(self, frame, itemsize):
        return frame[::-1].tobytes()

    def decompress(self, frame, memory):
        memory[:] = frame[::-1]


def test_codecs():
    codecs, codec = FrameCodecs({}), Backwards()
    codecs.register_codec(codec)
    codecs.register_codec(codec)
    assert codecs.codec(codec.tag) is codec
    assert codecs.registered_codecs() == ("tests.backwards",)
    with pytest.raises(RegistryError, match="has a codec already: replace=True takes its place"):
        codecs.register_codec(Backwards())
    codecs.register_codec(Backwards(), replace=True)
    assert codecs.codec(codec.tag) is not codec
    codecs.unregister_codec(codec.tag)
    with pytest.raises(RegistryError, match=r"no codec is registered under the tag 'tests\.backwards'"):
        codecs.unregister_codec(codec.tag)
    with pytest.raises(DecodeError, match=r"the codec tag 'tests\.backwards' is unknown here: install and import"):
        codecs.codec(codec.tag)
    codec.tag = "backwards"
    with pytest.raises(RegistryError, match=r"the tag 'backwards' is not 'package\.name'"):
        codecs.register_codec(codec)


def test_what_is_no_codec():
    codecs = FrameCodecs({})
    with pytest.raises(RegistryError, match=r"<object .*> is no codec: it lacks tag, compress, decompress"):
        codecs.register_codec(object())
    assert codecs.registered_codecs() == ()
