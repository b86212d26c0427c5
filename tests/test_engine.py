import array
import collections
import copyreg
import datetime as dt
import decimal
import enum
import fractions
import functools
import gc
import io
import operator
import pathlib
import pickle
import re
import sys
import threading
import types
import uuid
import weakref
from dataclasses import dataclass
from pickle import PickleBuffer
from typing import NamedTuple

import cloudpickle
import numpy as np
import pytest
from helpers import forgotten_modules, head, pickled, roundtrip, run_python, write_module
from hypothesis import given
from hypothesis import strategies as st

import oobcodec
from oobcodec import engine
from oobcodec.engine import IN_BAND, SEGMENT, engines
from oobcodec.errors import DecodeError, EncodeError

KIB = 1024


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def __eq__(self, other):
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None


class Fields(NamedTuple):
    x: int
    y: object


@dataclass
class Data:
    x: int
    y: object = None


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int


class Color(enum.Enum):
    RED = 1


class Flags(enum.IntFlag):
    A = 1
    B = 2


class ProblemError(Exception):
    def __init__(self, text, code):
        super().__init__(text, code)
        self.code = code


class MyList(list):
    pass


class Words(str):
    __slots__ = ()


# What pickle can take

VALUES = [
    *(None, True, False, 0, -1, 255, 256, 65535, 65536, 2**31, -(2**31) - 1, 2**63, 1 << 999, -(1 << 999)),
    *(0.0, -0.0, 1e308, float("inf"), 1 + 2j, ..., NotImplemented),
    *("", "x", "é", "\ud800", "a\0b", "\U0001f600" * 300, b"", b"\0", bytearray(), bytearray(b"x")),
    *((), [], {}, set(), frozenset(), (1,), [[]], {1: {}}, {(1, 2): [3]}, {1, 2}, frozenset("a")),
    *(range(3), range(10, 0, -2), slice(1, None, 2), type(None), type(...), int, list, type, object),
    *(len, operator.itemgetter(1), str.upper, [3].append, "abc".upper, math_floor := decimal.getcontext, dict.fromkeys),
    *(collections.Counter("abca"), collections.OrderedDict(b=1, a=2), collections.deque([1, 2], maxlen=3)),
    *(collections.defaultdict(list, a=[1]), collections.ChainMap({1: 2}, {3: 4}), types.SimpleNamespace(a=1)),
    *(Fields(1, "y"), Data(1, [2]), Frozen(3), Color.RED, Flags.A | Flags.B, Color, Words("w"), MyList([1])),
    *(dt.date(2024, 2, 29), dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.timedelta(1, 2, 3)),
    *(dt.time(1, 2, 3, 4), dt.timezone(dt.timedelta(hours=2)), decimal.Decimal("1.10")),
    *(fractions.Fraction(1, 3), uuid.UUID(int=5), pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/x")),
    *(
        re.compile("a+", re.IGNORECASE),
        array.array("d", [1, 2]),
        functools.partial(int, base=2),
        print,
        Plain,
        Plain(a=1),
    ),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value!r}"[:30])
def test_value(value):
    for obj, get in [(value, lambda got: got), ([value, {"k": value}], operator.itemgetter(0))]:
        received = get(roundtrip(obj))
        assert type(received) is type(value)
        if isinstance(value, types.BuiltinMethodType) and not isinstance(value.__self__, types.ModuleType | type):
            assert received() == value() if value.__name__ == "upper" else received.__self__ == value.__self__
        elif isinstance(value, functools.partial | operator.itemgetter):
            assert received.__reduce__()[1:] == value.__reduce__()[1:]
        else:
            assert received == value
        assert repr(received) == repr(value) or type(value).__repr__ is object.__repr__ or "0x" in repr(value)


def test_negative_zero_and_nan():
    zero, nan = roundtrip([-0.0, float("nan")])
    assert str(zero) == "-0.0"
    assert nan != nan  # noqa: PLR0124


def test_exception():
    error = ProblemError("text", 5)
    error.add_note("note")
    received = roundtrip(error)
    assert (type(received), received.args, received.code) == (ProblemError, ("text", 5), 5)
    assert received.__notes__ == ["note"]


def test_defaultdict_with_a_lambda():
    received = roundtrip(collections.defaultdict(lambda: [7], a=1))
    assert received["new"] == [7]


def test_text_file():
    received = roundtrip([io.StringIO("abc"), io.BytesIO(b"x" * 10)])
    assert [file.read() for file in received] == ["abc", b"x" * 10]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary() | st.text() | st.dates(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text(), inner)
            | st.tuples(inner, inner)
            | st.builds(Data, st.integers(), inner)
        ),
        max_leaves=30,
    )
)
def test_any_data(obj):
    assert roundtrip(obj) == obj


def test_surrogates_everywhere():
    text = "\udcff\ud800"
    assert roundtrip([text, {text: text}, text * 50_000]) == [text, {text: text}, text * 50_000]
    assert roundtrip(text) == text


# Identity


def test_identity_and_cycles():
    shared = [1]
    obj = {"many": [shared] * 99, "plain": Plain(a=shared)}
    obj["plain"].me = obj["plain"]
    obj["me"] = obj
    obj["many"].append(obj["many"])
    received = roundtrip(obj)
    assert received["me"] is received
    assert received["plain"].me is received["plain"]
    assert received["many"][-1] is received["many"]
    assert {id(item) for item in received["many"][:-1]} == {id(received["plain"].a)}


def test_object_array_that_holds_itself():
    obj = Plain()
    obj.pair = (obj, [obj])
    received = roundtrip(obj)
    assert received.pair[0] is received
    assert received.pair[1][0] is received


def test_same_array_is_one_object():
    values = np.arange(1000)
    one, (other,) = roundtrip([values, (values,)])
    assert one is other


# Methods of the user


class Hooked:
    def __init__(self, value):
        self.value = value


HOOKS = {
    "__reduce__": lambda self: (Hooked, (("reduced", self.value),)),
    "__reduce_ex__": lambda self, protocol: (Hooked, (("reduced", protocol),)),
    "__getstate__": lambda self: {"value": ("reduced", self.value)},
    "__setstate__": lambda self, state: vars(self).update(value=("reduced", state["value"])),
    "__getnewargs__": lambda self: (),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_honoured_at_the_time_of_the_call(hook):
    assert roundtrip([Hooked(1)])[0].value == 1
    setattr(Hooked, hook, HOOKS[hook])
    try:
        received = roundtrip([Hooked(1)])[0].value
    finally:
        delattr(Hooked, hook)
    expected = {"__reduce_ex__": ("reduced", 5), "__getnewargs__": 1}
    assert received == expected.get(hook, ("reduced", 1))
    assert roundtrip([Hooked(1)])[0].value == 1


class Registers:
    """Changes copyreg while it is pickled."""

    def __reduce__(self):
        copyreg.pickle(Hooked, lambda _: (str, ("during",)))
        return str, ("me",)


def test_copyreg_entry_that_comes_while_pickling():
    try:
        assert roundtrip([Hooked(1), Registers(), Hooked(2)]) == ["during", "me", "during"]
    finally:
        del copyreg.dispatch_table[Hooked]
    assert type(roundtrip([Hooked(1)])[0]) is Hooked


class Reenters:
    def __init__(self, held):
        self.held = held

    def __reduce__(self):
        return oobcodec.loads, ([bytes(frame) for frame in oobcodec.dumps({"held": self.held})],)


class ReentersLoading:
    def __init__(self, held):
        self.held = held

    def __getstate__(self):
        return [bytes(frame) for frame in oobcodec.dumps(self.held)]

    def __setstate__(self, frames):
        self.held = oobcodec.loads(frames, writable=False)


def test_dumps_inside_dumps():
    values = np.arange(1000)
    received = roundtrip([Reenters(Reenters([values])), values])
    assert received[0]["held"]["held"][0].tolist() == received[1].tolist() == values.tolist()


def test_loads_inside_loads_with_other_options():
    one, held, other = roundtrip([np.arange(1000), ReentersLoading(np.arange(1000)), np.arange(1000)], writable=True)
    assert one.flags.writeable
    assert not held.held.flags.writeable
    assert other.flags.writeable


def test_several_classes_of_one_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "one.mod", "class Same: pass")
    write_module(tmp_path, "two.mod", "class Same: pass")
    with forgotten_modules("one", "two"):
        from one.mod import Same as First
        from two.mod import Same as Second

        assert [type(obj) for obj in roundtrip([First(), Second(), First()])] == [First, Second, First]


# By value


def test_what_pickle_refuses_goes_by_value():
    values = np.arange(1000)

    class Local:
        held = values

        def method(self):
            return self.own

    local = Local()
    local.own = 7
    obj = [lambda x: x + values[1], functools.partial(lambda x, y: x * y, 3), local, values]
    frames = oobcodec.dumps(obj)
    assert head(frames).tag == "cloudpickle"
    assert head(frames).meta == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert sum(np.shares_memory(np.frombuffer(frame, np.uint8), values) for frame in frames) == 1
    add, times, received, again = oobcodec.loads(frames)
    assert add(1) == 2
    assert times(4) == 12
    assert received.method() == 7
    assert np.shares_memory(again, values)


def test_large_bytes_beside_a_lambda_go_by_reference():
    data = bytes(300_000)
    frames = oobcodec.dumps([lambda: 1, data])
    assert any(frame.obj is data for frame in frames)
    assert oobcodec.loads(frames)[1] == data


@pytest.mark.parametrize("text", ["__main__", "cloudpickle.cloudpickle", "__main__ cloudpickle.cloudpickle"])
@pytest.mark.parametrize("extra", [None, Plain(a=1)])
def test_text_that_looks_like_a_name_does_not_make_it_code(text, extra):
    frames = oobcodec.dumps([text, extra])
    assert head(frames).tag == "pickle"
    assert oobcodec.loads(frames) == [text, extra]


def test_module_sent_by_value(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "shelf.books", "class Book:\n    title = 'by value'\ndef read(): return 'read'")
    with forgotten_modules("shelf"):
        import shelf.books

        obj = [shelf.books.Book(), shelf.books.read]
        assert head(oobcodec.dumps(obj)).tag == "pickle"
        cloudpickle.register_pickle_by_value(shelf)
        try:
            frames = oobcodec.dumps(obj)
            # A long integer makes a frame of the pickler's so long that it looks like data.
            beside = oobcodec.dumps([*obj, 1 << (9 * SEGMENT)])
        finally:
            cloudpickle.unregister_pickle_by_value(shelf)
    for message in (frames, beside):
        assert head(message).tag == "cloudpickle"
        packed = bytes(oobcodec.pack(message))
        code = (
            "import oobcodec, sys; book, read, *_ = oobcodec.loads(sys.stdin.buffer.read()); print(book.title, read())"
        )
        assert run_python(code, stdin=packed) == b"by value read\n"


def test_code_beside_a_long_integer_is_known_as_code():
    number = 1 << (9 * SEGMENT)
    assert head(oobcodec.dumps(lambda: number)).tag == "cloudpickle"


SENDER = """
    import sys
    import numpy as np
    import oobcodec

    class Point:
        def __init__(self, x):
            self.x = x

        def double(self):
            return factor() * self.x

    def factor():
        return FACTOR

    FACTOR = 2

    assert oobcodec.loads(oobcodec.dumps([Point(1)]))[0].double() == 2
    message = {"point": Point(np.arange(1000)), "class": Point, "function": factor}
    sys.stdout.buffer.write(oobcodec.pack(oobcodec.dumps(message)))
"""


def test_what_main_defines_reaches_another_process():
    packed = run_python(SENDER)
    receiver = """
        import sys
        import oobcodec

        FACTOR = 5
        message = oobcodec.loads(sys.stdin.buffer.read())
        print(message["point"].double().sum(), message["class"](4).double(), message["function"]())
    """
    assert run_python(receiver, stdin=packed) == b"999000 8 2\n"
    assert oobcodec.loads(packed)["class"](4).double() == 8


# Streams in pieces


@pytest.mark.parametrize("make", [bytes, bytearray])
@pytest.mark.parametrize("size", [SEGMENT, SEGMENT + 1, 10 * SEGMENT])
def test_large_bytes_are_frames_by_themselves(make, size):
    data = make(size)
    frames = oobcodec.dumps(["before", data, "after"])
    assert [frame.obj is data for frame in frames] == [False, False, True, False]
    assert frames[2].readonly == (make is bytes)
    assert pickle.loads(b"".join(frames[1:])) == ["before", data, "after"]
    assert oobcodec.loads(frames) == ["before", data, "after"]


@pytest.mark.parametrize("make", [bytes, bytearray, lambda size: "x" * size, lambda size: "é" * (size // 2)])
@pytest.mark.parametrize("size", [64 * KIB - 1, 64 * KIB, 64 * KIB + 1, SEGMENT - 1, SEGMENT])
def test_boundaries(make, size):
    data = make(size)
    obj = [data, {"k": data}, make(10), make(size)]
    frames = oobcodec.dumps(obj)
    header = head(frames)
    assert header.pickle_frames == len(frames) - 1 == (5 if size == SEGMENT else 1)
    assert pickle.loads(b"".join(frames[1:])) == obj
    received = oobcodec.loads(frames)
    assert received == obj
    assert received[0] is received[1]["k"]


def test_bytearray_cannot_be_resized_while_frames_live():
    data = bytearray(SEGMENT)
    frames = oobcodec.dumps([data])
    with pytest.raises(BufferError):
        data.append(1)
    data[0] = 7
    assert oobcodec.loads(frames)[0][0] == 7
    del frames
    data.append(1)


def test_mixture_of_many_large_and_small():
    values = np.arange(1000)
    obj = [[bytes([i]) * SEGMENT, bytearray(i), str(i) * 30_000, values] for i in range(10)]
    frames = oobcodec.dumps(obj)
    header = head(frames)
    assert sum(frame.obj is item for frame in frames for item in [row[0] for row in obj]) == 10
    k = header.pickle_frames
    (first,) = {np.shares_memory(np.frombuffer(frame, np.uint8), values) for frame in frames[1 + k :]}
    assert first
    stream = b"".join(frames[1 : 1 + k])
    assert len(pickle.loads(stream, buffers=frames[1 + k :])) == 10
    for row, received in zip(obj, oobcodec.loads(frames), strict=True):
        assert received[:3] == row[:3]


@given(st.lists(st.integers(0, 3), max_size=8), st.data())
def test_pieces_are_the_pickle(kinds, data):
    sizes = [10, 1000, 70_000, SEGMENT + 5]
    obj = [(bytes, bytearray)[data.draw(st.integers(0, 1))](sizes[kind]) for kind in kinds]
    frames = oobcodec.dumps(obj)
    assert pickle.loads(b"".join(frames[1:])) == oobcodec.loads(frames) == obj
    assert len(frames) <= 2 + 2 * kinds.count(3)


# In band


def test_small_buffers_stay_in_the_stream_with_their_mutability():
    sizes = [0, 1, IN_BAND - 1]
    obj = [PickleBuffer(make(size)) for size in sizes for make in (bytes, bytearray)]
    frames = oobcodec.dumps(obj)
    assert len(frames) == 2
    assert oobcodec.loads(frames) == [make(size) for size in sizes for make in (bytes, bytearray)]
    assert [type(data) for data in oobcodec.loads(frames)] == [bytes, bytearray] * 3
    # One byte more.
    frames = oobcodec.dumps([PickleBuffer(make(IN_BAND)) for make in (bytes, bytearray)])
    assert len(frames) == 4
    assert [(data.readonly, data.nbytes) for data in oobcodec.loads(frames)] == [(True, IN_BAND), (False, IN_BAND)]


def test_thousands_of_tiny_buffers_make_few_frames():
    arrays = [np.full(10, i) for i in range(5000)]
    frames = oobcodec.dumps(arrays)
    assert len(frames) == 2
    assert [received[0] for received in oobcodec.loads(frames)] == list(range(5000))


def test_buffer_of_any_shape_is_memory_of_its_owner():
    data = bytearray(8000)
    frames = oobcodec.dumps([PickleBuffer(memoryview(data).cast("d", [10, 100]))])
    assert frames[2].obj is data
    assert oobcodec.loads(frames)[0].nbytes == 8000


def test_buffer_that_is_not_contiguous():
    with pytest.raises(EncodeError, match=r"non-contiguous"):
        oobcodec.dumps([PickleBuffer(memoryview(bytes(10_000))[::2])])


# Engines


def test_engine_is_used_again():
    roundtrip([Plain(a=1)])
    before = list(engines)
    for obj in ([1], [Plain(a=1)], [np.arange(1000)], {"a": "b"}):
        oobcodec.dumps(obj)
    assert [one is other for one, other in zip(before, engines, strict=True)] == [True] * len(before)
    for _, chunks, buffers, *_ in engines:
        assert chunks == buffers == []


@pytest.mark.parametrize("count", [100, 1000, 10_000, 100_000])
@pytest.mark.parametrize("make", [lambda n: list(map(str, range(n))), lambda n: [Plain(a=i) for i in range(n // 2)]])
def test_engine_keeps_no_object(make, count):
    obj = make(count)
    before = sys.getrefcount(obj[-1])
    oobcodec.dumps(obj)
    after = sys.getrefcount(obj[-1])
    assert after == before


@pytest.mark.parametrize("make", [lambda n: list(map(str, range(n))), lambda n: [Plain(a=i) for i in range(n // 2)]])
def test_engine_keeps_room_for_pickles_of_a_size(make):
    def room(count):
        oobcodec.dumps(make(count))
        ((dump, *_),) = engines
        return sys.getsizeof(dump.__self__)

    engines.clear()
    few = 1000
    large = room(10_000)
    assert room(10) < few < large
    assert room(10_000) == room(5000) == room(10_000) == large
    assert room(100_000) < few  # it would be a lot, and the next ones are seldom that long


def test_engine_of_a_failure_is_dropped():
    engines.clear()
    with pytest.raises(EncodeError):
        oobcodec.dumps([threading.Lock()])
    assert engines == []


def test_nothing_is_kept_after_a_call():
    obj = [Plain(a=np.arange(1000)), np.arange(2000), bytearray(SEGMENT)]
    count = sys.getrefcount(obj[2])
    gone = [weakref.ref(obj[0]), weakref.ref(obj[0].a), weakref.ref(obj[1])]
    gc.collect()
    gc.disable()
    try:
        frames = oobcodec.dumps(obj)
        del frames
        now = sys.getrefcount(obj[2])  # not in the assertion, which holds what it shows
        assert now == count
        del obj
        assert [ref() for ref in gone] == [None] * 3
    finally:
        gc.enable()


class Raises(Plain):
    def __reduce__(self):
        raise LookupError


@pytest.mark.parametrize("culprit", [Raises(), threading.Lock()])
def test_nothing_is_kept_after_an_exception(culprit):
    obj = [Plain(a=np.arange(1000)), culprit]
    gone = [weakref.ref(obj[0]), weakref.ref(obj[0].a)]
    gc.collect()
    gc.disable()
    try:
        with pytest.raises((LookupError, EncodeError)):
            oobcodec.dumps(obj)
        del obj
        assert [ref() for ref in gone] == [None] * 2
    finally:
        gc.enable()


def test_threads():
    def work(number):
        values = np.full(1000, number)
        for i in range(50):
            received = roundtrip({"n": [number, i], "values": values, "obj": Plain(a=number), "s": str(number)})
            assert received["n"] == [number, i]
            assert received["values"].tolist() == values.tolist()
            assert received["obj"].a == number
        done.append(number)

    done = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(16))


# Parts that are used by others


def test_reduce_is_what_cloudpickle_would_do():
    assert engine.reduce(Data(1, 2))[0] is copyreg.__newobj__
    assert engine.reduce(np.arange(1000))[1]
    assert engine.reduce(len) == "len"
    assert engine.reduce(property(len))[0] is property
    assert engine.reduce(collections.OrderedDict(a=1))


def test_reducers_hold_beside_a_lambda():
    oobcodec.register_reducer(Hooked, lambda obj: (str, (f"reduced {obj.value}",)))
    try:
        assert roundtrip([lambda: 1, Hooked(1)])[1:] == ["reduced 1"]
    finally:
        oobcodec.unregister_reducer(Hooked)
    copyreg.pickle(Hooked, lambda obj: (str, (f"copyreg {obj.value}",)))
    try:
        assert roundtrip([lambda: 1, Hooked(1)])[1:] == ["copyreg 1"]
    finally:
        del copyreg.dispatch_table[Hooked]


def test_reducer_for_subclasses_holds_beside_a_lambda():
    oobcodec.register_reducer(Plain, lambda obj: (str, (f"reduced {obj.a}",)), subclasses=True)
    try:
        sub = type("Sub", (Plain,), {})
        assert roundtrip([lambda: 1, sub(a=1), sub(a=2)])[1:] == ["reduced 1", "reduced 2"]
    finally:
        oobcodec.unregister_reducer(Plain)


def test_origin_of_an_error():
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")
    assert not engine.refused(caught.value)
    assert engine.raised_in(caught.value) == "test_origin_of_an_error"


@pytest.mark.parametrize("names", [{}, {"__name__": None}, {"__name__": 5}])
def test_error_of_code_in_no_module(names):
    namespace = {"__builtins__": __builtins__, **names}
    exec("class Refusing:\n  __module__ = 'nowhere'\n  def __reduce__(self):\n    raise KeyError('mine')", namespace)
    with pytest.raises(KeyError, match="mine") as caught:
        oobcodec.dumps([namespace["Refusing"]()])
    assert "raised while oobcodec.dumps was pickling 'nowhere.Refusing' object at [0]" in caught.value.__notes__


@pytest.mark.parametrize("cut", [1, 2, 5, 9])
@pytest.mark.parametrize("size", [10, 5000, 100_000])
def test_pieces_of_any_size_are_read(size, cut):
    stream = pickle.dumps([bytes(size), "x" * size, list(range(100))], 5)
    step = -(-len(stream) // cut)
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    assert oobcodec.loads(pickled([b"", *pieces, b""])) == [bytes(size), "x" * size, list(range(100))]


@pytest.mark.parametrize(
    "stream", [b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7f", b"\x80\x05B\xff\xff\xff\x7fabc", b"cdecimal"]
)
def test_length_that_lies(stream):
    with pytest.raises(DecodeError, match=r"the object cannot be rebuilt: "):
        oobcodec.loads(pickled(stream))


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
@pytest.mark.parametrize("behind", [b"abc", b".", pickle.dumps([2], 5)])
@pytest.mark.parametrize("pieces", [1, 2])
def test_trailing_bytes(size, behind, pieces):
    stream = pickle.dumps(bytes(size), 5)
    message = pickled([stream, behind] if pieces == 2 else stream + behind)
    with pytest.raises(DecodeError, match=rf"{len(behind)} bytes follow the end of the pickle stream"):
        oobcodec.loads(message)


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("options", [{}, {"writable": False}])
def test_trailing_bytes_within_the_last_pickle_frame(size, pieces, options):
    body = pickle.dumps(["x"] * size, 5)[11:] + b"abc"
    stream = b"\x80\x05\x95" + len(body).to_bytes(8, "little") + body
    message = pickled([stream[:5], stream[5:], b""] if pieces == 2 else stream)
    with pytest.raises(DecodeError, match=r"the pickle stream ends with 0x63, not with STOP \(0x2e\)"):
        oobcodec.loads(message, **options)


def test_streams_of_older_protocols():
    obj = {"a": [1, 2.5, "x"], "b": (b"bytes", True)}
    assert oobcodec.loads(pickled(pickle.dumps({"a": [1, 2.5]}, 2))) == {"a": [1, 2.5]}
    assert oobcodec.loads(pickled(pickle.dumps(obj, 4))) == obj


def test_truncated_at_every_byte():
    stream = pickle.dumps([1, "two", b"three", decimal.Decimal(4), {5: (6,)}], 5)
    for size in range(len(stream)):
        with pytest.raises(DecodeError, match=r"the object cannot be rebuilt: "):
            oobcodec.loads(pickled(stream[:size]))
