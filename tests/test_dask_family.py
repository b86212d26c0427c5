"""What Dask serializes by oobcodec, beside its own families and for processes that have installed nothing."""

import gc
import subprocess
import sys
import textwrap
import weakref
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
from conformance.comparison import Comparison
from conformance.table import table

pytest.importorskip("distributed", reason="distributed, whose families these are, is not installed")

from distributed import protocol
from distributed.protocol import (
    Serialized,
    deserialize,
    deserialize_bytes,
    register_serialization,
    serialize,
    serialize_bytes,
    to_serialize,
)

from oobcodec.integrations.dask import family, messages

SERIALIZING = sys.modules["distributed.protocol.serialize"]
TABLE = table()
KIB, MIB = 1 << 10, 1 << 20
MESSAGES = 16
"""That the table is dealt out to; half of them is enough, of what `test_conformance` tests in full."""


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(SERIALIZING, "families", dict(SERIALIZING.families))
    family.install()


def received(frames):
    return [bytearray(frame) for frame in frames]


def by_message(obj, **options):
    frames = messages.dumps({"x": to_serialize(obj)}, on_error="raise", context={}, **options)
    return protocol.loads(received(frames))["x"]


def by_family(obj):
    header, frames = serialize(to_serialize(obj), on_error="raise")
    return deserialize(header, received(frames))


def by_disk(obj):
    return deserialize_bytes(serialize_bytes(obj, on_error="raise"))


def lost(way, number):
    cases = list(TABLE.values())[number::MESSAGES]
    sent = [case.make() for case in cases]
    want = [case.arrives() if case.arrives else obj for case, obj in zip(cases, sent, strict=True)]
    return Comparison(way(sent), want).lost


@pytest.mark.parametrize("number", range(0, MESSAGES, 2))
def test_all_types_arrive_in_a_message_as_they_left(number):
    assert not lost(by_message, number)


@pytest.mark.parametrize("number", range(1, MESSAGES, 8))
def test_all_types_arrive_by_the_family_as_they_left_one_by_one(number):
    # Dask takes lists apart: what their elements share is not shared afterwards.
    assert not lost(by_family, number).keys() - {"sharing", "identity"}


class Point:
    """Registered with Dask."""

    def __init__(self, x):
        self.x = x


class Unpicklable(Point):
    def __reduce__(self):
        message = "cannot pickle this"
        raise TypeError(message)


def write_point(point):
    return {"cls": type(point).__name__}, [b"%d" % point.x]


def read_point(header, frames):
    return globals()[header["cls"]](int(bytes(frames[0])) + 1)


@pytest.fixture(params=[Point, Unpicklable])
def registered(request, monkeypatch):
    for dispatch in (SERIALIZING.dask_serialize, SERIALIZING.dask_deserialize):
        monkeypatch.setattr(dispatch, "_lookup", dict(dispatch._lookup))
    cls = request.param
    register_serialization(cls, write_point, read_point)
    return cls


@pytest.mark.parametrize("way", [by_message, by_family])
def test_what_users_register_with_dask_stays_in_force(registered, way):
    assert way(registered(1)).x == 2
    assert [point.x for point in way([registered(1), registered(2)])] == [2, 3]
    assert way({"a": {"b": registered(1)}})["a"]["b"].x == 2


def test_what_only_dask_can_pickle_goes_its_way(registered):
    got = by_message({"number": 1, "holder": (None, registered(1))})["holder"][1]
    assert got.x == (2 if registered is Unpicklable else 1)


class Refuses:
    def __reduce__(self):
        message = "not today"
        raise ValueError(message)


def test_what_nobody_can_pickle_is_refused_as_by_dask():
    with pytest.raises(TypeError, match="Could not serialize object of type Refuses"):
        serialize(Refuses(), on_error="raise")
    header, _ = serialize(Refuses(), on_error="message")
    assert header["serializer"] == "error"


def test_memory_that_is_shared_is_shared_again_also_inside_of_holders():
    whole = np.arange(100_000.0)
    first, second = by_message([whole, whole[::-1]])
    assert np.shares_memory(first, second)
    got = by_family(OrderedDict(whole=whole, part=whole[10:]))
    assert np.shares_memory(got["whole"], got["part"])


def test_large_bytes_are_not_copied():
    data = bytes(MIB)
    _, frames = serialize({"data": (data,)}, iterate_collection=False)
    assert any(memoryview(frame).obj is data for frame in frames)
    assert by_disk({"data": (data,)}) == {"data": (data,)}


def test_arrays_are_as_writable_as_they_were():
    array, constant = np.arange(1000.0), np.arange(1000.0)
    constant.flags.writeable = False
    got = by_message([array, constant])
    assert [each.flags.writeable for each in got] == [True, False]
    header, frames = serialize(array)
    assert deserialize(header, [bytes(frame) for frame in frames]).flags.writeable


def test_nothing_is_kept_of_what_was_sent():
    class Local:
        pass

    obj = Local()
    gone = weakref.ref(obj)
    function = by_message(partial(lambda of: type(of).__name__, obj))
    assert function() == "Local"
    del obj, function
    gc.collect()
    assert gone() is None


def test_what_is_asked_for_in_another_family_is_left_to_it():
    assert by_message([1, [2, "x"]], serializers=["msgpack"]) == [1, [2, "x"]]
    frames = messages.dumps({"x": to_serialize([np.ones(3)])}, serializers=["msgpack"], context={})
    with pytest.raises(TypeError, match="Could not serialize object of type"):
        protocol.loads(frames)


def test_frames_are_compressed_as_the_connection_says():
    frames = messages.dumps({"x": to_serialize(np.zeros(MIB))}, context={"compression": "zlib"})
    assert sum(map(len, frames)) < MIB / 10
    np.testing.assert_array_equal(protocol.loads(received(frames))["x"], np.zeros(MIB))
    plain = protocol.loads(messages.dumps({"x": to_serialize(np.zeros(MIB))}, context={}), deserialize=False)["x"]
    assert isinstance(plain, Serialized)
    assert "compression" not in plain.header


# Processes that have installed nothing


STOCK = """
    import sys, logging
    {before}
    from distributed.protocol import deserialize_bytes
    logging.disable()
    try:
        print(deserialize_bytes(sys.stdin.buffer.read()))
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
    print("active" if "oobcodec.integrations.dask" in sys.modules else "not active")
"""
WITHOUT = "sys.modules['oobcodec'] = None  # as if it were not installed"


def read_by_dask_alone(obj, before=""):
    code = textwrap.dedent(STOCK).format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], input=serialize_bytes(obj, on_error="raise"), capture_output=True, check=True
    )
    return done.stdout.decode().splitlines()


def test_where_it_is_not_active_all_is_read():
    array = np.arange(1000.0)
    text, active = read_by_dask_alone((1, [array, array[::2]][0].sum(), {"whole": (None, array[:3])}))
    assert (text, active) == ("(1, np.float64(499500.0), {'whole': (None, array([0., 1., 2.]))})", "not active")


def test_where_it_is_not_installed_plain_objects_are_read():
    assert read_by_dask_alone({"a": [1, "x", b"y", None, {2}]}, WITHOUT)[0] == "{'a': [1, 'x', b'y', None, {2}]}"
    assert read_by_dask_alone("x" * 10, WITHOUT)[0] == "x" * 10
    assert read_by_dask_alone(b"x" * 10, WITHOUT)[0] == str(b"x" * 10)


def test_where_it_is_not_installed_the_error_names_it():
    text = read_by_dask_alone(np.asfortranarray(np.ones((100, 100))), WITHOUT)[0]
    assert text.startswith("ModuleNotFoundError:")
    assert "oobcodec" in text
