import logging

import numpy as np
import pytest
from helpers import weight

from oobcodec import statistics
from oobcodec.codec import dumps
from oobcodec.engine import SEGMENT
from oobcodec.statistics import MUCH, Stats, Traffic


@pytest.fixture(autouse=True)
def _told_nobody(monkeypatch):
    monkeypatch.setattr(statistics, "_told", set())


def counted(frames):
    """Return the bytes of a message that are in-band, and out of band."""
    traffic = Traffic()
    traffic.count(frames)
    assert traffic.messages == 1
    assert traffic.in_band_bytes + traffic.out_of_band_bytes == weight(frames)
    return traffic.in_band_bytes, traffic.out_of_band_bytes


def test_a_small_object_is_in_band():
    frames = dumps({"a": [1, 2, 3], "b": np.arange(10)})
    assert counted(frames) == (frames[1].nbytes, 0)


def test_an_array_is_out_of_band():
    frames = dumps({"a": np.arange(1000), "b": np.arange(100_000)})
    assert counted(frames) == (frames[1].nbytes, 808_000)


@pytest.mark.parametrize(("obj", "nbytes"), [("text", 4), (b"data", 4), (bytes(1 << 20), 1 << 20), ("", 0)])
def test_what_is_a_message_as_a_whole_is_out_of_band(obj, nbytes):
    assert counted(dumps(obj)) == (0, nbytes)


def test_bytes_by_reference_are_out_of_band():
    frames = dumps(["before", bytes(5_000_000), "between", bytearray(300_000), "behind"])
    inside, outside = counted(frames)
    assert outside == 5_300_000
    assert inside < 200


def test_large_pickles_are_in_band():
    frames = dumps(list(range(1_000_000)))
    assert counted(frames) == (weight(frames), 0)
    assert weight(frames) > MUCH


def test_a_compressed_pickle_is_in_band_as_it_travels():
    pytest.importorskip("blosc2", reason="blosc2 is not installed")
    generator = np.random.default_rng(0)
    obj = {"a": generator.integers(0, 1000, 1_000_000).tolist(), "b": generator.random(1000)}
    frames = dumps(obj, compression="zstd")
    assert SEGMENT < frames[1].nbytes < dumps(obj)[1].nbytes
    assert counted(frames) == (frames[1].nbytes, frames[2].nbytes)


def test_frames_may_be_any_buffers():
    frames = dumps([1, bytes(1 << 20), np.arange(1000)])
    for convert in (bytes, bytearray, lambda frame: np.frombuffer(frame, "u1")):
        traffic = Traffic()
        traffic.count(list(map(convert, frames)))
        assert traffic.out_of_band_bytes == (1 << 20) + 8000


def test_traffic_adds_up():
    one, other = Traffic(1, 2, 3, 4, 0.5, 0.25), Traffic(10, 20, 30, 40, 5.0, 2.5)
    one.add(other)
    assert one == Traffic(11, 22, 33, 44, 5.5, 2.75)
    assert other == Traffic(10, 20, 30, 40, 5.0, 2.5)


class Mine:
    pass


def test_objects_with_much_in_band_are_counted_by_class():
    stats = Stats()
    for _ in range(3):
        stats.note([], MUCH)
    stats.note(Mine(), 10 * MUCH)
    stats.note({}, MUCH - 1)
    assert stats.fallbacks == {"list": 3, f"{__name__}.Mine": 1}


def test_that_is_logged_once_a_class(caplog):
    caplog.set_level(logging.INFO, "oobcodec")
    for stats in (Stats(), Stats()):
        stats.note([], 2_500_000)
        stats.note(Mine(), MUCH)
        stats.note({}, MUCH - 1)
    first, second = caplog.records
    assert (first.name, first.levelname) == ("oobcodec", "INFO")
    assert first.getMessage() == (
        "an object of class list sends 2.5 MB in-band, where they are copied: oobcodec.explain says which (this is "
        "told once a class)"
    )
    assert f"class {__name__}.Mine sends 1.0 MB" in second.getMessage()


def test_each_connection_has_numbers_of_its_own():
    one, other = Stats(), Stats()
    one.sent.messages = 1
    one.fallbacks["list"] = 1
    assert other == Stats(Traffic(), Traffic(), {})
