import array
import collections
import datetime as dt
import gc
import importlib.util
import math
import mmap
import resource
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from helpers import first_frame

from oobcodec.auth import Keyring
from oobcodec.codec import dumps, loads
from oobcodec.errors import AuthenticationError, DecodeError, IntegrityError, LimitError, PoisonedError, TruncatedError
from oobcodec.header import read
from oobcodec.into import target
from oobcodec.packed import pack
from oobcodec.policy import DATA
from oobcodec.transfer import recv, send, send_frames

MIB = 1 << 20
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")

needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
needs_pandas = pytest.mark.skipif(not importlib.util.find_spec("pandas"), reason="pandas is not installed")
needs_arrow = pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is not installed")


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def pair(pool):
    sender, receiver = socket.socketpair()
    with sender, receiver:
        yield sender, receiver


@pytest.fixture
def receive(pair, pool):
    """Send an object, or frames, and receive it into another one."""

    def receive(obj, into, *, sending=None, **options):
        frames = obj if isinstance(obj, list) and obj and isinstance(obj[0], memoryview) else None
        sent = pool.submit(send_frames, pair[0], frames) if frames else pool.submit(send, pair[0], obj, **sending or {})
        try:
            return recv(pair[1], into=into, **options)
        finally:
            sent.result()

    return receive


@pytest.fixture
def refused(pair, pool, receive):
    """Say that what arrives does not fit, that nothing has changed, and that the next message arrives."""

    def refused(obj, into, words, error=DecodeError, **options):
        before = bytes(pack(dumps(into)))
        with pytest.raises(error, match=words) as caught:
            receive(obj, into, **options)
        assert bytes(pack(dumps(into))) == before
        send(pair[0], "next")
        assert recv(pair[1]) == "next"
        return caught.value

    return refused


@pytest.fixture
def impossible(pair):
    """Say that something cannot be received into, before anything is received."""

    def impossible(into, words, error=ValueError):
        send(pair[0], "next")
        with pytest.raises(error, match=words):
            recv(pair[1], into=into)
        assert recv(pair[1]) == "next"

    return impossible


class Lent:
    """What a target lends for a message, received without a socket."""

    def __init__(self, obj, into, **options):
        frames = dumps(obj, **options)
        self.place = target(into, loads)
        header = read(bytes(frames[0]))
        arrived = [memoryview(bytearray(frame)) for frame in frames[: 1 + header.pickle_frames]]
        self.memory = []
        for index, frame in enumerate(frames[1 + header.pickle_frames :], 1 + header.pickle_frames):
            own = self.place.allocate(index, frame.nbytes, header, arrived)
            self.memory.append(own)
            own = memoryview(bytearray(frame.nbytes)) if own is None else own
            own[:] = frame
            arrived.append(own)
        self.object = self.place.finish(arrived)


def start(array):
    return array.__array_interface__["data"][0]


def lent_addresses(obj, into):
    """Return where frames are received, None for those in memory of their own."""
    lent = Lent(obj, into)
    return [None if memory is None else start(np.frombuffer(memory, "u1")) for memory in lent.memory]


def ramp(*shape, dtype="f8"):
    return np.arange(math.prod(shape)).reshape(shape).astype(dtype)


# Arrays


def test_arrays_are_received_into(receive):
    into = {"a": np.zeros(1000), "b": [np.zeros((30, 40), "f4"), (np.zeros(5, "i2"),)], "name": "x", "n": 1}
    arrays = into["a"], into["b"][0], into["b"][1][0]
    sent = {"a": ramp(1000), "b": [ramp(30, 40, dtype="f4"), (ramp(5, dtype="i2"),)], "name": "x", "n": 1}
    got = receive(sent, into)
    assert got is into
    np.testing.assert_equal(into, sent)
    assert arrays[0] is into["a"]
    assert arrays[1] is into["b"][0]
    assert arrays[2] is into["b"][1][0]


def test_an_array_alone_is_received_into(receive):
    for size in (0, 5, 1000, 300_000):
        into = np.zeros(size)
        assert receive(ramp(size), into) is into
        np.testing.assert_array_equal(into, ramp(size))


def test_frames_land_where_the_arrays_are():
    into = {"a": np.zeros(1000), "small": np.zeros(10), "b": np.zeros((300, 400), order="F"), "c": np.zeros(1, "c16")}
    sent = {"a": ramp(1000), "small": ramp(10), "b": np.asfortranarray(ramp(300, 400)), "c": np.ones(1, "c16")}
    assert lent_addresses(sent, into) == [start(into["a"]), start(into["b"])]
    np.testing.assert_equal(into, sent)


def test_no_second_copy_is_in_memory():
    code = f"""
import resource, socket, sys, threading
sys.path[:] = {sys.path!r}
import numpy as np
from oobcodec.transfer import recv, send
here, there = socket.socketpair()
for size in (1000, 1 << 28):
    into = {{"a": np.ones(size // 2, "u1"), "b": np.ones(size // 2, "u1")}}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    zeros = {{"a": np.zeros(size // 2, "u1"), "b": np.zeros(size // 2, "u1")}}
    sent = threading.Thread(target=send, args=(here, zeros))
    sent.start()
    assert recv(there, into=into) is into
    sent.join()
    assert not into["a"].any() and not into["b"].any()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    # What is sent are zeros, which nobody has ever touched: they are one page.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8 * 1024 * resource.getpagesize() // 4096


@pytest.mark.parametrize("size", [40, 4000])
@pytest.mark.parametrize("here", ["C", "F", "strided", "reversed", "transposed"])
@pytest.mark.parametrize("there", ["C", "F", "strided", "reversed", "broadcast", "read-only"])
def test_how_elements_lie_does_not_matter(receive, size, here, there):
    def laid(values, how):
        match how:
            case "F":
                return np.asfortranarray(values)
            case "strided":
                whole = np.full((values.shape[0] * 2, values.shape[1] * 3), -1.0)
                part = whole[::2, ::3]
                part[...] = values
                return part
            case "reversed":
                return values[::-1, ::-1].copy()[::-1, ::-1]
            case "transposed":
                return values.T.copy().T
            case "broadcast":
                return np.broadcast_to(values[0], values.shape)
        copy = values.copy()
        copy.flags.writeable = how != "read-only"
        return copy

    into = laid(np.zeros((size // 10, 10)), here)
    sent = laid(ramp(size // 10, 10), there)
    for _ in range(2):
        assert receive([sent], [into])[0] is into
        np.testing.assert_array_equal(into, sent)
        assert into.flags.writeable
    if here == "strided":
        assert (into.base == -1).sum() == into.base.size - into.size


@pytest.mark.parametrize(
    "dtype",
    ["?", "i1", ">f8", "M8[ns]", "m8[s]", "U7", "S5", "c8", "f2", [("a", "i4"), ("b", "f8", 3)], np.longdouble],
    ids=str,
)
def test_any_dtype(receive, dtype):
    sent = np.zeros(2000, dtype)
    sent[::2] = np.ones(1000).astype(dtype) if sent.dtype.names is None else np.ones(1, sent.dtype)
    into = {"x": np.zeros(2000, dtype), "y": np.zeros(3, dtype)}
    receive({"x": sent, "y": sent[:3].copy()}, into)
    np.testing.assert_array_equal(into["x"], sent)
    np.testing.assert_array_equal(into["y"], sent[:3])


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (), (1,), (1, 1, 500)])
def test_any_shape(receive, shape):
    into = [np.zeros(shape), np.zeros(1000)]
    receive([np.ones(shape), ramp(1000)], into)
    np.testing.assert_array_equal(into[0], np.ones(shape))
    np.testing.assert_array_equal(into[1], ramp(1000))


def test_an_axis_of_one_has_any_stride():
    whole = np.zeros((1000, 7))
    into = {"x": np.zeros((2000, 1, 3))[:, :1], "y": np.zeros((7, 1000)).T[:1].T.T}
    assert into["y"].strides != np.zeros((1, 7)).strides
    sent = {"x": np.ones((2000, 1, 3)), "y": np.ones((1, 7))}
    assert lent_addresses(sent, into) == [start(into["x"])]
    assert whole.sum() == 0


def test_memory_that_is_shared_on_both_sides_is_received_once():
    def shared():
        whole = np.zeros(2000)
        return {"whole": whole, "tail": whole[500:], "column": whole.reshape(1000, 2)[:, 1], "again": whole}

    into, sent = shared(), shared()
    sent["whole"][:] = ramp(2000)
    assert lent_addresses(sent, into) == [start(into["whole"])]
    np.testing.assert_equal(into, sent)


@pytest.mark.parametrize("reverse", [False, True])
def test_views_in_other_directions(receive, reverse):
    base, values = np.zeros(1000), ramp(1000)
    into = [base[::-1], base[::-1][:]]
    sent = [values[::-1], values[::-1][:]] if reverse else [values, values[:]]
    expected = sent[0].copy()
    receive(sent, into)
    np.testing.assert_array_equal(into[0], expected)
    np.testing.assert_array_equal(into[1], expected)


@pytest.mark.parametrize("size", [10, 1000])
def test_memory_that_the_sender_alone_shares_arrives_in_both(receive, size):
    values = ramp(size)
    into = [np.zeros(size), np.zeros(size), np.zeros(size // 2)]
    receive([values, values, values[size // 2 :]], into)
    np.testing.assert_equal(into, [values, values, values[size // 2 :]])


@pytest.mark.parametrize("size", [10, 1000])
def test_memory_that_is_shared_here_alone_cannot_hold_two_values(refused, size):
    base = np.zeros(size)
    words = r"into=\[1\]: it shares memory with \[0\], which does not there"
    refused([ramp(size), ramp(size) + 1], [base, base], words)
    refused([ramp(size), ramp(size) + 1], [base, base[:]], words)
    refused([ramp(size), ramp(size - 2)], [base, base[2:]], words)
    refused([ramp(size), ramp(size // 2)], [base, base[::2]], words)


def test_small_memory_that_is_shared_arrives_apart_and_equal(receive):
    base, values = np.zeros(20), ramp(20)
    receive([values, values[:], values[5:]], [base, base[:], base[5:]])
    np.testing.assert_array_equal(base, values)


def test_columns_between_each_other_are_no_shared_memory(receive):
    table = np.zeros((1000, 3))
    into = {"a": table[:, 0], "b": table[:, 1], "c": table[:, 2]}
    receive({"a": ramp(1000), "b": ramp(1000) + 1, "c": ramp(1000) + 2}, into)
    np.testing.assert_array_equal(table, np.stack([ramp(1000), ramp(1000) + 1, ramp(1000) + 2], 1))


def test_a_memmap_is_received_into(receive, tmp_path):
    mapped = np.memmap(tmp_path / "file", "f8", "w+", shape=(100_000,))
    into = {"x": mapped}
    assert lent_addresses({"x": ramp(100_000)}, into) == [start(mapped)]
    receive({"x": ramp(100_000) + 1}, into)
    mapped.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "file"), ramp(100_000) + 1)


def test_bytearrays_and_arrays_of_the_library(receive):
    for size in (0, 10, 5000, 300_000):
        into = {
            "b": bytearray(size),
            "a": array.array("d", bytes(8 * size)),
            "m": memoryview(bytearray(size)),
            "e": bytearray(),
        }
        sent = {
            "b": bytearray(b"x" * size),
            "a": array.array("d", [1.5] * size),
            "m": memoryview(bytearray(b"y" * size)),
            "e": bytearray(),
        }
        receive(sent, into)
        assert into == sent
        # Nothing holds them any more.
        into["b"].append(1)
        into["a"].append(1)


def test_masked_arrays_and_arrays_of_objects(receive):
    mask = np.zeros(1000, bool)
    into = {
        "masked": np.ma.masked_array(np.zeros(1000), mask.copy()),
        "objects": np.array(["x", np.zeros(1000), None], object),
        "matrix": np.zeros((30, 40)).view(np.matrix),
    }
    inner = into["objects"][1]
    mask[::3] = True
    sent = {
        "masked": np.ma.masked_array(ramp(1000), mask),
        "objects": np.array(["x", ramp(1000), None], object),
        "matrix": ramp(30, 40).view(np.matrix),
    }
    assert set(lent_addresses(sent, into)) == {None}
    np.testing.assert_array_equal(into["masked"].mask, mask)
    np.testing.assert_array_equal(into["masked"].data, ramp(1000))
    assert into["objects"][1] is inner
    np.testing.assert_array_equal(inner, ramp(1000))
    np.testing.assert_array_equal(into["matrix"], sent["matrix"])


class Thing:
    """Something with arrays, which may have its own idea of them."""

    def __init__(self, values):
        self.values = values
        self.name = "thing"


class Point(NamedTuple):
    x: object
    y: object


def test_objects_of_classes_are_checked_first_and_copied():
    into = {"thing": Thing(np.zeros(1000)), "other": np.zeros(1000)}
    assert lent_addresses({"thing": Thing(ramp(1000)), "other": ramp(1000)}, into) == [None, None]
    np.testing.assert_array_equal(into["thing"].values, ramp(1000))
    np.testing.assert_array_equal(into["other"], ramp(1000))


def test_containers_are_those_of_python_and_what_inherits_from_them():
    into = collections.OrderedDict(a=Point(np.zeros(1000), [np.zeros(500)]))
    sent = collections.OrderedDict(a=Point(ramp(1000), [ramp(500)]))
    assert lent_addresses(sent, into) == [start(into["a"].x), start(into["a"].y[0])]
    np.testing.assert_equal(into, sent)


def test_cycles(receive):
    into, sent = [np.zeros(1000)], [ramp(1000)]
    into.append(into)
    sent.append(sent)
    assert receive(sent, into) is into
    np.testing.assert_array_equal(into[0], ramp(1000))


def test_values_outside_of_arrays_are_compared(receive):
    when = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    values = [
        None,
        True,
        1,
        1.5,
        math.nan,
        "x",
        b"y" * 300_000,
        {1, 2},
        frozenset("ab"),
        range(3),
        when,
        len,
        Thing,
        1j,
    ]
    into = [[*values], {}, [], (), np.zeros(1000), np.float64("nan"), np.int8(3)]
    sent = [[*values], {}, [], (), ramp(1000), np.float64("nan"), np.int8(3)]
    assert receive(sent, into) is into
    np.testing.assert_array_equal(into[4], ramp(1000))


# What does not fit


BOTH = np.arange(500.0), np.arange(500.0) + 1


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        (
            ramp(1000),
            np.zeros(1001),
            r"into=\['x'\]: there is numpy.ndarray float64 \(1000,\) for numpy.ndarray float64",
        ),
        (ramp(1000), np.zeros((10, 100)), r"for numpy.ndarray float64 \(10, 100\)$"),
        (ramp(1000), np.zeros(1000, "f4"), r"float64 \(1000,\) for numpy.ndarray float32 \(1000,\)$"),
        (ramp(1000), np.zeros(1000, ">f8"), r"for numpy.ndarray >f8 \(1000,\)$"),
        (ramp(10), np.zeros(11), r"\(10,\) for numpy.ndarray float64 \(11,\)$"),
        (bytearray(5), bytearray(6), "there is bytearray 5 for bytearray 6$"),
        (ramp(3), [0.0, 0.0, 0.0], r"there is numpy.ndarray float64 \(3,\) for \[0.0, 0.0, 0.0\]$"),
        (list("abc"), np.zeros(3), r"there is \['a', 'b', 'c'\] for numpy.ndarray float64 \(3,\)$"),
        (ramp(3), bytearray(24), "for bytearray 24$"),
        (1, 2, r"into=\['x'\]: there is 1 for 2$"),
        (1.0, 1, "there is 1.0 for 1$"),
        (True, 1, "there is True for 1$"),
        (math.nan, 1.0, "there is nan for 1.0$"),
        ("a" * 100, "b", r"there is 'aaaaaaaaa.*\.\.\. for 'b'$"),
        (b"a" * 300_000, b"b" * 300_000, "there is b'aaa"),
        ({1}, {2}, r"there is \{1\} for \{2\}$"),
        ({"a": 1}, {"b": 1}, r"into=\['x'\]\{key 'b'\}: there is 'a' for 'b'$"),
        ({"a": 1, "b": 2}, {"a": 1}, r"into=\['x'\]: \['b'\] on one side only$"),
        ({"a": 1}, {"a": 1, "b": 2, "c": 3}, r"into=\['x'\]: \['b'\], \['c'\] on one side only$"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, r"\{key 'b'\}: there is 'a' for 'b'$"),
        ([1, 2, 3], [1, 2], r"into=\['x'\]: \[2\] on one side only$"),
        ([1], (1,), r"there is \[1\] for \(1,\)$"),
        (collections.OrderedDict(a=1), {"a": 1}, "there is OrderedDict.* for {'a': 1}$"),
        (Thing(1), Thing(2), r"into=\['x'\]\.values: there is 1 for 2$"),
        (len, max, "there is <built-in function len> for <built-in function max>$"),
        (Thing, dict, "there is <class .*Thing.*for <class 'dict'>$"),
        (lambda: 1, lambda: 2, "there is <function"),
        (Thing(1).__init__, Thing(1).__init__, "there is <bound method"),
        (BOTH, (*BOTH[::-1], 1), r"into=\['x'\]: \[2\] on one side only$"),
    ],
)
@pytest.mark.parametrize("size", [5, 1000])
def test_what_does_not_fit_changes_nothing(refused, there, here, words, size):
    into = {"before": np.zeros(size), "x": here, "behind": np.zeros(size)}
    refused({"before": ramp(size), "x": there, "behind": ramp(size)}, into, words)


def test_the_root_has_no_path(refused):
    refused(ramp(5), [np.zeros(5)], r"fit into=: there is numpy.ndarray float64 \(5,\) for \[array")
    refused({"a": 1}, {}, r"fit into=: \['a'\] on one side only$")


class Several(list):
    """Something with parts that have no names of their own."""

    def __reduce__(self):
        return Several, tuple(self)

    def __init__(self, *parts):
        super().__init__(parts)


def test_parts_without_names(refused):
    refused([Several(1, 2)], [Several(1)], r"into=\[0\]: there is more or less$")


@pytest.mark.parametrize("policy", [None, DATA])
def test_a_peer_with_the_right_layout_and_other_contents(refused, policy):
    # As many bytes in as many frames, but another object.
    into = {"a": np.zeros(1000), "b": np.zeros(1000)}
    options = {} if policy is None else {"policy": policy}
    refused({"a": ramp(1000), "c": ramp(1000)}, into, r"\{key 'b'\}", **options)
    refused([ramp(1000), ramp(1000)], into, "fit into=: there is", **options)
    refused({"a": ramp(1000), "b": ramp(1000, dtype="i8")}, into, "there is numpy.ndarray int64", **options)
    refused({"a": ramp(1000), "b": ramp(10, 100)}, into, r"\(10, 100\) for", **options)


def test_a_peer_that_takes_its_buffers_in_another_order(receive):
    # Like a pickler of its own might.
    into = {"a": np.zeros(1000), "b": np.zeros(1000)}
    frames = dumps({"a": ramp(1000), "b": ramp(1000) + 1})
    fields = ["pickle", None, [frame.nbytes for frame in frames[1:]], 1, None, None]
    places = [[3, 0, 8000, False], [2, 0, 8000, False]]
    crossed = [memoryview(first_frame([*fields, places])), *frames[1:]]
    receive(crossed, into)
    np.testing.assert_array_equal(into["a"], ramp(1000) + 1)
    np.testing.assert_array_equal(into["b"], ramp(1000))


@pytest.mark.parametrize(
    ("values", "here", "words"),
    [
        (np.full(2000, 7, "u1").view("?"), np.zeros(2000, "?"), "a truth value is a byte of 0 or 1"),
        (np.full(2000, 0x110000, "u4").view("U1"), np.zeros(2000, "U1"), "code points of Unicode"),
    ],
    ids=["truth values", "text"],
)
def test_what_data_looks_at_is_looked_at_first(refused, values, here, words):
    into = {"numbers": np.zeros(1000), "x": here}
    refused({"numbers": ramp(1000), "x": values}, into, words, policy=DATA)


@needs_torch
def test_truth_values_of_tensors_are_looked_at_first(refused):
    import torch

    values = torch.full((2000,), 7, dtype=torch.uint8).view(torch.bool)
    refused(
        [torch.ones(1000), values],
        [torch.zeros(1000), torch.zeros(2000, dtype=torch.bool)],
        "refused|truth|0 or 1",
        policy=DATA,
    )


def test_what_a_policy_refuses_changes_nothing(refused):
    refused([ramp(1000), Thing(1)], [np.zeros(1000), Thing(1)], "refused global", policy=DATA)


def test_data_is_received_in_place_too(receive):
    into = {"x": np.zeros(1000), "n": 3}
    assert receive({"x": ramp(1000), "n": 3}, into, policy=DATA) is into
    np.testing.assert_array_equal(into["x"], ramp(1000))


# What cannot be received into


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("into", "words"),
    [
        (b"bytes" * 1000, r"^into= cannot be received into: there is no memory in a bytes$"),
        ("text", "there is no memory in a str$"),
        (5, "there is no memory in a int$"),
        (memoryview(b"bytes"), "^into= is read-only: a memoryview$"),
        (read_only(np.zeros(5)), r"^into= cannot be received into: the memory of a numpy.ndarray there cannot be writ"),
        ([np.zeros(5), read_only(np.zeros(5000))], r"^into=\[1\] cannot be received into"),
        ({"m": memoryview(b"bytes")}, r"^into=\['m'\] cannot be received into: the memory of a memoryview there can"),
        (np.lib.stride_tricks.as_strided(np.zeros(5), (5, 5), (0, 8)), "repeats its elements$"),
    ],
)
def test_what_cannot_be_received_into_is_said_before(impossible, into, words):
    impossible(into, words)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="this numpy has no StringDType")
def test_strings_of_any_length_cannot_be_received_into(impossible):
    impossible({"s": np.array(["a", "bc"], np.dtypes.StringDType())}, r"into=\['s'\]")


class Fresh:
    """Something that makes what it sends each time."""

    def __init__(self, size):
        self.size = size

    def __reduce__(self):
        return Fresh, (self.size,), {"values": np.zeros(self.size)}


def test_memory_that_is_made_for_the_message_cannot_be_received_into(impossible):
    impossible([Fresh(1000)], r"into=\[0\]\.values .* a numpy.ndarray there is made anew each time that it is sent$")


@needs_arrow
def test_arrow_tables_cannot_be_received_into(impossible):
    import pyarrow as pa

    impossible(pa.table({"a": range(3)}), "there is no memory in a pyarrow.lib.Table$")
    impossible(pa.table({"a": np.arange(1000)}), "the memory of a pyarrow.lib.Table there cannot be written to")
    impossible({"t": pa.table({"a": np.arange(1000)})}, r"^into=\['t'\] cannot be received into")


def test_what_cannot_be_pickled_is_told_at_once(pair):
    from oobcodec.errors import EncodeError

    with pytest.raises(EncodeError, match="generator"):
        recv(pair[1], into=[(n for n in range(3))])


# Options


@pytest.mark.parametrize("options", [{"align": True}, {"writable": True}, {"writable": False}], ids=str)
def test_options_of_loads(receive, options):
    # Not at a multiple of 64, so that there is something to be copied.
    memory = np.zeros(8 * 2000 + 128, "u1")
    into = {
        "x": memory[8 - start(memory) % 64 + 64 :][:8000].view("f8"),
        "a": array.array("d", bytes(800)),
        "s": np.zeros(3),
    }
    sent = {"x": ramp(1000), "a": array.array("d", range(100)), "s": ramp(3)}
    for _ in range(2):
        receive(sent, into, **options)
        np.testing.assert_equal(into, sent)
        assert into["x"].flags.writeable


@pytest.mark.parametrize("sending", [{"checksum": True}, {"keyring": KEYS}], ids=["checksum", "signed"])
@pytest.mark.parametrize("size", [10, 1000, 300_000])
def test_messages_with_digests(receive, sending, size):
    into = {"x": np.zeros(size), "y": [np.zeros((10, size // 10), order="F")]}
    sent = {"x": ramp(size), "y": [ramp(10, size // 10)]}
    receive(sent, into, sending=sending, keyring=sending.get("keyring"))
    np.testing.assert_equal(into, sent)


@pytest.mark.parametrize("options", [{"checksum": True}, {"keyring": KEYS}], ids=["checksum", "signed"])
@pytest.mark.parametrize("size", [10, 1000, 300_000])
def test_damage_changes_nothing(pair, pool, options, size):
    into = {"x": np.zeros(size), "y": np.zeros(size)}
    data = bytearray(pack(dumps({"x": ramp(size), "y": ramp(size)}, **options)))
    data[-1] ^= 1
    sent = pool.submit(pair[0].sendall, data)
    with pytest.raises(IntegrityError, match="is not what was sent"):
        recv(pair[1], into=into, keyring=options.get("keyring"))
    sent.result()
    assert not into["x"].any()
    assert not into["y"].any()


def test_what_is_not_signed_changes_nothing(pair):
    into = np.zeros(1000)
    send(pair[0], ramp(1000))
    with pytest.raises(AuthenticationError):
        recv(pair[1], into=into, keyring=KEYS)
    assert not into.any()


# A peer that dies


PEER = f"""
import os, signal, socket, sys
sys.path[:] = {sys.path!r}
import numpy as np
from oobcodec.codec import dumps
from oobcodec.wire import parts
with socket.socket(fileno=int(sys.argv[1])) as sock:
    sock.sendall(b"".join(parts(dumps({{"x": np.ones(1 << 20), "y": np.ones(1 << 20)}})))[: int(sys.argv[2])])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("nbytes", [10, 100, 1_000_000, 12_000_000])
def test_a_peer_that_dies_inside_of_a_message(nbytes):
    here, there = socket.socketpair()
    into = {"x": np.zeros(MIB), "y": np.zeros(MIB)}
    with here:
        descriptor = there.fileno()
        command = [sys.executable, "-c", PEER, str(descriptor), str(nbytes)]
        with subprocess.Popen(command, pass_fds=[descriptor]) as process:
            there.close()
            with pytest.raises(TruncatedError):
                recv(here, into=into)
        assert process.returncode == -signal.SIGKILL
        with pytest.raises(PoisonedError):
            recv(here, into=into)
    # In each array the beginning of what was sent, at most.
    for values in into.values():
        arrived = np.flatnonzero(values)
        np.testing.assert_array_equal(arrived, np.arange(arrived.size))
        assert values[arrived.size :].sum() == 0


# Buffers


def buffers():
    yield bytearray(MIB)
    yield memoryview(bytearray(MIB))
    yield memoryview(bytearray(MIB))[7:]
    yield memoryview(np.zeros((128, 1024)))
    with mmap.mmap(-1, MIB) as mapping:
        yield mapping
        gc.collect()


def test_arrays_lie_in_the_buffer(receive):
    for size in (1000, 20_000, 60_000):
        for into in buffers():
            got = receive({"x": ramp(size), "y": ramp(1000), "n": 1}, into)
            np.testing.assert_equal(got, {"x": ramp(size), "y": ramp(1000), "n": 1})
            memory = np.frombuffer(into, "u1")
            for values in (got["x"], got["y"]):
                assert start(values) % 64 == 0
                assert np.shares_memory(values, memory)
            assert got["x"].flags.writeable
            del got, memory, values


def test_a_buffer_need_not_be_larger_than_needed(receive, pair):
    sent = {"x": ramp(1000), "y": np.ones(1100, "u1"), "z": ramp(200)}
    needed = 8000 + 1152 + 1600
    memory = np.zeros(needed + 64, "u1")
    begin = -start(memory) % 64
    exact = memory[begin : begin + needed]
    got = receive(sent, exact.data)
    assert start(got["z"]) + 1600 == start(exact) + needed
    for missing in (1, 1000, needed):
        with pytest.raises(LimitError, match=rf"into= is {missing:,} bytes too small for the message"):
            receive(sent, exact[: needed - missing].data)
    send(pair[0], "next")
    assert recv(pair[1]) == "next"


def test_a_buffer_that_starts_elsewhere_loses_a_few_bytes(receive):
    memory = np.zeros(8000 + 128, "u1")
    begin = -start(memory) % 64
    with pytest.raises(LimitError, match="into= is 63 bytes too small"):
        receive(ramp(1000), memory[begin + 1 : begin + 8001].data)
    got = receive(ramp(1000), memory[begin + 1 : begin + 8064].data)
    assert start(got) == start(memory) + begin + 64


def test_an_empty_buffer_is_enough_for_what_has_no_buffers(receive):
    assert receive({"a": 1}, bytearray()) == {"a": 1}
    with pytest.raises(LimitError, match="8,000 bytes too small"):
        receive(ramp(1000), bytearray())


def test_a_read_only_buffer_is_refused(pair, tmp_path):
    (tmp_path / "file").write_bytes(bytes(1000))
    with (tmp_path / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        for into in (mapping, memoryview(bytearray(5)).toreadonly()):
            with pytest.raises(ValueError, match="into= is read-only"):
                recv(pair[1], into=into)


def test_a_buffer_with_gaps_is_refused(pair):
    with pytest.raises(ValueError, match="into= is not contiguous: a memoryview; give memory in one piece"):
        recv(pair[1], into=memoryview(bytearray(1000))[::2])


@pytest.mark.parametrize("obj", [b"some bytes" * 100, "text" * 100, "ä" * 70_000])
def test_bytes_and_strings_are_in_the_buffer_and_copied(receive, obj):
    into = bytearray(MIB)
    assert receive(obj, into) == obj
    assert (obj if isinstance(obj, bytes) else obj.encode()) in into


def test_bytes_and_strings_do_not_fit_into_objects(refused):
    refused(b"bytes" * 1000, [np.zeros(625)], "there is b'bytes")
    refused("text", {}, "there is 'text' for {}")


@pytest.mark.parametrize("options", [{"checksum": True}, {"keyring": KEYS}], ids=["checksum", "signed"])
def test_messages_with_digests_lie_in_the_buffer_as_well(receive, options):
    into = bytearray(10_000)
    got = receive(ramp(1000), into, sending=options, keyring=options.get("keyring"))
    assert np.shares_memory(got, np.frombuffer(into, "u1"))


# torch


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


def model_of(torch, seed):
    torch.manual_seed(seed)
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), nn.Linear(64, 300), nn.Linear(300, 4, bias=False))
    model.append(nn.Embedding(2000, 32))
    model.append(nn.Linear(32, 2000, bias=False))
    model[5].weight = model[4].weight  # tied
    with torch.no_grad():
        model[1].num_batches_tracked.fill_(seed)
        model[1].running_mean.fill_(seed)
    return model


def same(torch, one, other):
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name
    return True


def test_a_state_dict_is_received_into(torch, receive):
    here, there = model_of(torch, 1), model_of(torch, 2)
    into = here.state_dict()
    places = {name: tensor.data_ptr() for name, tensor in into.items()}
    metadata = into._metadata
    assert receive(there.state_dict(), into) is into
    assert same(torch, here.state_dict(), there.state_dict())
    assert {name: tensor.data_ptr() for name, tensor in into.items()} == places
    assert into._metadata is metadata
    assert here[1].num_batches_tracked.item() == 2
    assert here[5].weight.data_ptr() == here[4].weight.data_ptr()


def test_all_frames_of_a_state_dict_land_in_its_tensors(torch):
    here, there = model_of(torch, 1), model_of(torch, 2)
    into = here.state_dict()
    lent = Lent(there.state_dict(), into)
    assert len(lent.memory) >= 4
    owned = {tensor.data_ptr() for tensor in into.values()}
    assert all(start(np.frombuffer(memory, "u1")) in owned for memory in lent.memory)
    assert same(torch, here.state_dict(), there.state_dict())


def test_parameters_that_want_gradients(torch, receive):
    here, there = model_of(torch, 1), model_of(torch, 2)
    into = dict(here.named_parameters())
    weight = here[2].weight
    receive(dict(there.named_parameters()), into)
    assert here[2].weight is weight
    assert weight.requires_grad
    assert weight.grad is None
    assert same(torch, dict(here.named_parameters()), dict(there.named_parameters()))
    weight.sum().backward()
    assert weight.grad is not None


def test_models_and_optimizers_are_copied_into(torch, receive):
    here, there = model_of(torch, 1), model_of(torch, 2)
    assert receive(there, here) is here
    assert same(torch, here.state_dict(), there.state_dict())


def test_tensors_of_any_kind(torch, receive):
    def tensors(value):
        whole = torch.full((40, 50), float(value))
        return {
            "scalar": torch.tensor(value),
            "bool": torch.full((3000,), bool(value)),
            "bfloat16": torch.full((3000,), value, dtype=torch.bfloat16),
            "columns": whole.clone().T,
            "strided": whole.clone()[::2, ::3],
            "channels": torch.full((2, 3, 8, 8), float(value)).to(memory_format=torch.channels_last),
            "empty": torch.zeros(0, 5),
            "conjugate": torch.full((1000,), complex(value, value)).conj(),
            "sparse": torch.full((20, 20), float(value)).to_sparse(),
        }

    into, sent = tensors(1), tensors(2)
    receive(sent, into)
    assert same(torch, {**into, "sparse": into["sparse"].to_dense()}, {**sent, "sparse": sent["sparse"].to_dense()})


def test_other_strides_are_copied_and_the_other_frames_land(torch):
    into = {"x": torch.zeros(30, 40).T.contiguous().T, "y": torch.zeros(1000)}
    sent = {"x": torch.arange(1200.0).reshape(30, 40), "y": torch.arange(1000.0)}
    lent = Lent(sent, into)
    assert [memory is not None for memory in lent.memory] == [False, True]
    assert same(torch, into, sent)


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        ("torch.zeros(1000)", "torch.zeros(1001)", r"torch.Tensor torch.float32 \(1000,\) cpu for torch.Tensor"),
        ("torch.zeros(1000)", "torch.zeros(1000).half()", r"for torch.Tensor torch.float16 \(1000,\) cpu$"),
        (
            "torch.zeros(1000)",
            "torch.nn.Parameter(torch.zeros(1000))",
            r"for torch.nn.parameter.Parameter .*requires_grad$",
        ),
        ("torch.zeros(1000)", "torch.zeros(1000).requires_grad_()", r"\(1000,\) cpu requires_grad$"),
        ("torch.zeros(1000)", "torch.zeros(1000, device='meta')", r"\(1000,\) meta$"),
    ],
)
def test_tensors_that_do_not_fit(torch, receive, there, here, words):
    into = [torch.ones(1000), eval(here, {"torch": torch})]
    with pytest.raises(DecodeError, match=rf"into=\[1\]: there is .*{words}"):
        receive([torch.zeros(1000), eval(there, {"torch": torch})], into)
    assert into[0].eq(1).all()


def test_tensors_that_cannot_be_received_into(torch, impossible):
    impossible([torch.zeros(1000), torch.zeros(3, 1).expand(3, 1000)], r"into=\[1\] .* torch.Tensor there repeats")


def test_tied_weights_that_are_not_tied_there(torch, refused, receive):
    weight = torch.zeros(1000)
    into = {"a": weight, "b": weight[:]}
    with pytest.raises(DecodeError, match=r"into=\['b'\]: it shares memory with \['a'\], which does not there"):
        receive({"a": torch.ones(1000), "b": torch.ones(1000)}, into)
    assert not weight.any()


def test_tensors_over_arrays(torch, receive):
    values = np.zeros(1000, "f4")
    into = {"array": values, "tensor": torch.from_numpy(values)}
    sent = ramp(1000, dtype="f4")
    receive({"array": sent, "tensor": torch.from_numpy(sent)}, into)
    np.testing.assert_array_equal(values, sent)


def test_tensors_moved_by_map_location(torch, receive):
    into = {"x": torch.zeros(1000), "y": np.zeros(1000)}
    receive({"x": torch.arange(1000.0), "y": ramp(1000)}, into, map_location=lambda storage, where: storage.clone())
    assert torch.equal(into["x"], torch.arange(1000.0))
    np.testing.assert_array_equal(into["y"], ramp(1000))


# pandas


@needs_pandas
def test_a_frame_is_received_into(receive):
    import pandas as pd

    def frame(value):
        return pd.DataFrame(
            {"f": np.full(1000, float(value)), "i": np.full(1000, value), "g": np.full(1000, value / 2)}
        )

    into, sent = frame(1), frame(2)
    assert receive(sent, into) is into
    pd.testing.assert_frame_equal(into, sent)
    values = pd.Series(np.zeros(1000), name="s", index=pd.date_range("2024", periods=1000))
    receive(values + 1, values)
    assert values.eq(1).all()


@needs_pandas
def test_labels_of_frames_are_compared_and_stay(refused, receive):
    import pandas as pd

    def frame(value, labels):
        return pd.DataFrame({"x": np.full(len(labels), float(value))}, index=labels)

    labels = pd.Index(np.arange(1000) * 2)
    into = frame(1, labels)
    assert into.loc[400, "x"] == 1  # so that it knows where its labels are
    receive(frame(2, pd.Index(np.arange(1000) * 2)), into)
    assert into.index is labels
    assert into.loc[400, "x"] == 2
    refused(frame(3, pd.Index(np.arange(1000) * 2 + 1)), into, "there is Index")
    refused({"w": ramp(500), "i": labels + 1}, {"w": np.zeros(500), "i": labels}, r"into=\['i'\]: there is Index")
    assert into.loc[400, "x"] == 2


@needs_pandas
def test_frames_of_another_shape_do_not_fit(refused):
    import pandas as pd

    into = pd.DataFrame({"x": np.zeros(1000)})
    refused(pd.DataFrame({"x": np.zeros(999)}), into, "there is")
    refused(pd.DataFrame({"y": np.zeros(1000)}), into, "there is")
    refused(pd.DataFrame({"x": np.zeros(1000, "i8")}), into, "there is")
