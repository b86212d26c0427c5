"""What was written in format 1 is read forever."""

import sys

import independent_decoder
import pytest
from golden.make import HERE, SUFFIX
from specimens import SPECIMENS, Celsius, assert_same, registered

import oobcodec
from oobcodec.header import decode
from oobcodec.packed import unpack

NAMES = sorted(path.name.removesuffix(SUFFIX) for path in HERE.glob(f"*{SUFFIX}"))
BY_VALUE = "code_by_value"
WRITTEN_BY = "3.11"


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setitem(independent_decoder.TAGS, Celsius.tag, Celsius)
    with registered():
        yield


def golden(name):
    return bytearray((HERE / f"{name}{SUFFIX}").read_bytes())


def expected(name):
    if name not in SPECIMENS:
        pytest.skip(
            "this numpy has no StringDType, or ml_dtypes is not installed: what happens then is for test_skew to tell"
        )
    return SPECIMENS[name].arrives()


def test_there_is_one_of_each_specimen():
    assert set(SPECIMENS) | {BY_VALUE} <= set(NAMES), "python tests/golden/make.py writes what is missing"
    assert len(NAMES) >= 40


@pytest.mark.parametrize("name", [name for name in NAMES if name != BY_VALUE])
class TestGolden:
    def test_is_read(self, name):
        assert_same(oobcodec.loads(golden(name)), expected(name))

    def test_is_read_from_read_only_memory(self, name):
        assert_same(oobcodec.loads(bytes(golden(name)), writable=True), expected(name))

    def test_is_read_by_the_independent_decoder(self, name):
        assert_same(independent_decoder.decode(golden(name)), expected(name))

    def test_is_what_the_writer_means_today(self, name):
        want = expected(name)
        assert_same(oobcodec.loads(oobcodec.pack(oobcodec.dumps(SPECIMENS[name].make()))), want)


def test_code_is_read_by_the_python_that_wrote_it():
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here == WRITTEN_BY:
        assert oobcodec.loads(golden(BY_VALUE))(41) == 42
        return
    with pytest.raises(oobcodec.DecodeError, match=rf"code of Python {WRITTEN_BY}, which Python {here} cannot run"):
        oobcodec.loads(golden(BY_VALUE))
    with pytest.raises(independent_decoder.RefusedError, match=f"code of Python {WRITTEN_BY}"):
        independent_decoder.decode(golden(BY_VALUE))


def header(name):
    frames = unpack(golden(name))
    return decode(frames[0].tobytes())


def test_they_hold_what_the_format_has():
    assert header("octets").tag == "bytes"
    assert header("text").tag == "str"
    assert header("plain")[:2] == ("pickle", None)
    assert header(BY_VALUE)[:2] == ("cloudpickle", WRITTEN_BY)
    assert header("segments").pickle_frames == 3
    places = [place[:3] for place in header("overlapping").buffers]
    assert places == [(2, 0, 4096), (2, 1600, 2496), (2, 0, 4096), (3, 0, 2048)]
    assert header("overlapping_in_part").buffers == ((2, 0, 2400, False), (2, 1600, 2496, False))
    assert header("gaps_within").buffers == ((2, 0, 8192, False), (2, 0, 8192, False))
    assert header("with_gaps").buffers == ((2, 0, 1600, False), (3, 0, 1600, False))
    assert header("broadcast").lengths[1:] == (1600,)
    assert [place[3] for place in header("read_only").buffers] == [True]


def test_they_are_small():
    sizes = {name: len(golden(name)) for name in NAMES}
    assert sizes.pop("segments") > 256 * 1024
    assert max(sizes.values()) < 16 * 1024
