"""Pickle streams, read without running them."""

import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oobcodec
from oobcodec import scan as module
from oobcodec.errors import DecodeError, LimitError, OobError, TruncatedError
from oobcodec.names import Name
from oobcodec.scan import scan

OPEN = b"\x80\x05"


def stream_of(obj):
    return pickle.dumps(obj, 5)


def named(module_name, qualname):
    return text(module_name) + text(qualname) + pickle.STACK_GLOBAL


def text(string):
    return pickle.SHORT_BINUNICODE + bytes([len(string)]) + string.encode()


def program(*opcodes):
    return scan(OPEN + b"".join(opcodes) + b".")


PLAIN = [
    None,
    True,
    (),
    (1,),
    (1, 2, 3, 4),
    [],
    [1],
    [1, 2],
    {},
    {"a": 1},
    {"a": [1, (2, {"b": 3})], "c": 2.5},
    set(),
    {1, 2},
    frozenset([1, 2]),
    -1,
    255,
    256,
    70_000,
    1 << 40,
    -(1 << 2100),
    2.5,
    "",
    "text",
    "x" * 300,
    "\ud800",
    b"",
    b"x" * 300,
    bytearray(b"abc"),
    ["again"] * 3,
]


@pytest.mark.parametrize("obj", PLAIN, ids=lambda obj: repr(obj)[:20])
def test_plain_data_imports_nothing(obj):
    found = scan(stream_of(obj))
    assert (found.names, found.takers, found.idle, found.buffers) == ((), frozenset(), (), 0)
    assert found.operations == sum(1 for _ in pickletools.genops(stream_of(obj))) - 2  # without PROTO and STOP


def test_tells_what_is_imported_and_called_with_what():
    found = scan(stream_of([OrderedDict(), datetime(2020, 1, 1, tzinfo=UTC), OrderedDict]))
    assert set(map(str, found.names)) >= {"collections:OrderedDict", "datetime:datetime", "datetime:timezone"}
    assert found.idle == (Name("collections", "OrderedDict"),)
    assert not found.takers
    taking = program(named("a", "f"), named("b", "g"), pickle.TUPLE1, pickle.REDUCE)
    assert taking.takers == {Name("a", "f")}
    assert taking.idle == ()


@pytest.mark.parametrize(
    "stream",
    [
        named("a", "b"),
        b"]" + named("a", "b") + b"a",
        b"]" + named("a", "b") + b"\x85a",
        named("a", "b") + b"\x85\x85",
        named("a", "b") + b"\x85",
        named("c", "d") + named("a", "b") + b"R",
        named("c", "d") + b")R" + named("a", "b") + b"b",
        named("c", "d") + b")" + named("a", "b") + b"\x92",
        named("builtins", "getattr") + b")R" + named("a", "b") + b"\x85R",
    ],
)
def test_names_that_are_not_called_are_idle(stream):
    found = scan(OPEN + stream + b".")
    assert found.idle == (Name("a", "b"),)
    assert not found.takers


@pytest.mark.parametrize("use", [b"", b"\x85", b")\x81"])
def test_what_getattr_returned_is_to_be_called(use):
    assert scan(OPEN + named("builtins", "getattr") + b")R" + use + b".").idle == (Name("builtins", "getattr"),)
    assert scan(OPEN + named("builtins", "getattr") + b")R)R.").idle == ()


def test_counts_buffers():
    frames = oobcodec.dumps([np.zeros(1000), np.ones(1000)])
    assert scan(bytes(frames[1])).buffers == 2


def test_places_of_the_memo_that_hold_constants_become_constants():
    found = scan(stream_of(["some text"] * 3))
    assert [step[:2] for step in found.steps].count((module.CONSTANT, "some text")) == 3
    assert module.GET not in {operation for operation, _, _ in found.steps}


def test_objects_keep_their_places():
    inner = []
    found = scan(stream_of([inner, inner]))
    places = {place for *_, place in found.steps if place is not None}
    assert (module.GET, max(places), None) in found.steps


def test_recursive_tuples():
    for length in (1, 4):
        items = tuple([] for _ in range(length))
        items[0].append(items)
        assert scan(stream_of(items)).steps


REFUSED = {
    "no protocol": (b"N.", "none of protocol 5"),
    "an old protocol": (pickle.dumps([1], 2), "none of protocol 5"),
    "persistent id": (OPEN + b"N" + pickle.BINPERSID + b".", "opcode 0x51"),
    "text persistent id": (OPEN + b"Pid\n.", "opcode 0x50"),
    "extension": (OPEN + pickle.EXT1 + b"\x01.", "opcode 0x82"),
    "text name": (OPEN + b"cos\nsystem\n.", "opcode 0x63"),
    "instance": (OPEN + b"(ios\nsystem\n.", "opcode 0x69"),
    "object": (OPEN + b"(" + named("a", "b") + pickle.OBJ + b".", "opcode 0x6f"),
    "text integer": (OPEN + b"I1\n.", "opcode 0x49"),
    "put": (OPEN + b"N" + pickle.BINPUT + b"\x00.", "opcode 0x71"),
    "long put": (OPEN + b"N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f.", "opcode 0x72"),
    "dup": (OPEN + b"N2" + pickle.TUPLE2 + b".", "opcode 0x32"),
    "protocol again": (OPEN + OPEN + b"N.", "opcode 0x80"),
    "nothing": (OPEN + b".", "leaves something"),
    "two objects": (OPEN + b"NN.", "leaves something"),
    "an open mark": (OPEN + b"N(.", "leaves something"),
    "bytes behind": (OPEN + b"N.N.", "followed by 2 bytes"),
    "memo twice": (OPEN + b"]\x94\x94.", "into its memo, or an object twice"),
    "memo of a memo": (OPEN + b"]\x94h\x00\x94" + pickle.TUPLE2 + b".", "into its memo, or an object twice"),
    "memo of a buffer": (OPEN + b"\x97\x94h\x00" + pickle.TUPLE2 + b".", "puts a buffer into its memo"),
    "memo that is not there": (OPEN + b"h\x05.", "takes place 5 of a memo with 0"),
    "call of data": (OPEN + b"N)R.", "calls what is no function"),
    "new of data": (OPEN + b"N)\x81.", "calls what is no function"),
    "fills a tuple": (OPEN + b")Na.", "fills what cannot be filled"),
    "fills a name": (OPEN + named("a", "b") + b"Na.", "fills what cannot be filled"),
    "a key without a value": (OPEN + b"}(Nu.", "without a value"),
    "state of a constant": (OPEN + b"N}b.", "gives a state"),
    "state of a name": (OPEN + named("a", "b") + b"}b.", "gives a state"),
    "a computed name": (OPEN + text("os") + b"N" + b"0" + text("system") + pickle.STACK_GLOBAL + b".", "computed"),
    "a name that is no text": (OPEN + b"NN" + pickle.STACK_GLOBAL + b".", "computed"),
    "a read-only nothing": (OPEN + b"N\x98.", "read-only that is no buffer"),
    "not UTF-8": (OPEN + pickle.SHORT_BINUNICODE + b"\x01\xff.", "not UTF-8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name):
    stream, words = REFUSED[name]
    with pytest.raises(DecodeError) as caught:
        scan(stream)
    assert words in str(caught.value)


TRUNCATED = {
    "without STOP": b"N",
    "empty": b"",
    "text": pickle.BINUNICODE + b"\xff\xff\xff\xff",
    "bytes": pickle.BINBYTES8 + b"\xff" * 8,
    "bytearray": pickle.BYTEARRAY8 + b"\x00\x00\x00\x00\x01\x00\x00\x00",
    "number": b"J\x00",
    "long": pickle.LONG4 + b"\x00\x00\x00\x70",
    "frame": pickle.FRAME + b"\x40" + b"\x00" * 7 + b"N.",
    "stack": pickle.TUPLE2,
    "no mark": b"Nt.",
    "below the mark": b"N(0.",
    "memo of nothing": b"\x94.",
    "memo behind a mark": b"N(\x94t.",
    "items without a list": b"(Ne.",
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_ends_too_early(name):
    with pytest.raises(TruncatedError, match="ends too early"):
        scan(OPEN + TRUNCATED[name])


def test_every_cut_is_noticed():
    stream = stream_of({"a": [1, 2.5, (3, "text")], "b": b"bytes"})
    for cut in range(len(stream)):
        with pytest.raises(DecodeError):
            scan(stream[:cut])


def nested(make, depth):
    obj = make()
    for _ in range(depth - 1):
        obj = make(obj)
    return obj


KINDS = {
    "lists": lambda *inner: list(inner),
    "tuples": lambda *inner: (*inner, 0),
    "dicts": lambda *inner: dict(enumerate(inner)),
    "frozensets": lambda *inner: frozenset(inner),
}


@pytest.mark.parametrize("kind", KINDS)
def test_depth_is_limited(kind):
    make = KINDS[kind]
    scan(stream_of(nested(make, 100)), max_depth=100)
    with pytest.raises(LimitError, match=r"declares 101 levels; limit max_depth=100 levels\. Raise it with Limits"):
        scan(stream_of(nested(make, 101)), max_depth=100)


def test_depth_counts_arguments_and_states():
    once = named("a", "f") + named("a", "f") + b")R" + b"\x85R"
    assert scan(OPEN + once + b".", max_depth=1)
    with pytest.raises(LimitError, match="2 levels"):
        scan(OPEN + named("a", "f") + once + b"\x85R.", max_depth=1)
    with pytest.raises(LimitError, match="3 levels"):
        scan(OPEN + b"]" + named("a", "f") + b")R" + b")\x85\x85" + b"ba.", max_depth=2)
    assert scan(OPEN + named("a", "f") + b")}\x92.", max_depth=1)


def test_a_list_that_holds_itself_is_not_deep():
    circle = []
    circle.append(circle)
    scan(stream_of([circle] * 1000), max_depth=5)


def test_operations_are_limited():
    stream = stream_of([1] * 100)
    operations = scan(stream).operations
    scan(stream, max_operations=operations)
    with pytest.raises(LimitError, match=rf"limit max_operations={operations - 1}\b"):
        scan(stream, max_operations=operations - 1)


def test_tuples_that_double_at_each_level_are_refused():
    doubled = b")\x94" + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86\x94" for n in range(60))
    stream = OPEN + b"(" + doubled + b"t."
    with pytest.raises(LimitError, match="max_operations=1,000,000"):
        scan(stream, max_operations=1_000_000)
    assert scan(stream)
    shared = [("some", "tuple")] * 3
    assert scan(stream_of(tuple(shared)), max_operations=40)


def test_short_streams_are_remembered_and_the_limits_with_them():
    stream = stream_of([[[]]])
    assert scan(stream) is scan(stream)
    with pytest.raises(LimitError):
        scan(stream, max_depth=2)
    long = stream_of("x" * module.SHORT)
    assert scan(long) is not scan(long)


def test_values_are_data(monkeypatch):
    monkeypatch.setattr(module, "VALUES", {"torch:float32"})
    found = program(b"(", named("torch", "float32"), b"\x94", b"h\x00t")
    assert found.idle == ()
    assert [operation for operation, *_ in found.steps] == [module.VALUE, module.VALUE, module.TUPLE]
    with pytest.raises(DecodeError, match="no function"):
        program(named("torch", "float32"), b")R")


def test_names_in_the_memo_are_names():
    found = program(b"]", named("a", "f"), b"\x94)R", b"ah\x00)Ra")
    assert [step[:2] for step in found.steps].count((module.NAME, Name("a", "f"))) == 2


def test_buffers_may_be_read_only():
    found = program(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.NEXT_BUFFER, pickle.TUPLE2)
    assert [argument for operation, argument, _ in found.steps if operation == module.BUFFER] == [(0, True), (1, False)]


def test_imports_nothing():
    code = (
        "import sys, pickle, oobcodec; from oobcodec.scan import scan; before = set(sys.modules);"
        "scan(b'\\x80\\x05\\x8c\\x04this\\x8c\\x01s\\x93.'); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_program_or_an_error_of_ours(data):
    for stream in (data, OPEN + data, OPEN + data + b"."):
        with suppress(OobError):
            scan(stream, max_depth=10, max_operations=1000)
