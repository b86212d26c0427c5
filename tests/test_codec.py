import array
import copyreg
import gc
import itertools
import mmap
import os
import signal
import sys
import threading
import weakref
from importlib.metadata import version
from pickle import PickleBuffer

import cloudpickle
import numpy as np
import pytest
import zmq
from helpers import first_frame, forgotten_modules, head, pickled, roundtrip, run_python, write_module
from hypothesis import given
from hypothesis import strategies as st

import oobcodec
from oobcodec import Codec
from oobcodec.buffers import address
from oobcodec.context import LOADING
from oobcodec.errors import DecodeError, EncodeError, HeaderError, TruncatedError

OTHER_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor + 1}"


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Raises:
    """Raises what it is given, on the way out or on the way in."""

    def __init__(self, error, when):
        self.error, self.when = error, when

    def __getstate__(self):
        if self.when == "dumps":
            raise self.error
        return self.__dict__

    def __setstate__(self, state):
        raise state["error"]


def memory(array_or_view):
    view = PickleBuffer(array_or_view).raw()
    return address(view), view.nbytes


# Frames

BASE = np.arange(1000)
OBJECTS = {
    "plain": {"a": [1, 2.5, None, ("x",)]},
    "nothing": None,
    "bytes": b"x" * 5000,
    "no bytes": b"",
    "text": "é" * 5000,
    "no text": "",
    "bytearray": bytearray(300_000),
    "object": Plain(a=1),
    "arrays": [np.arange(1000), np.ones((10, 20), order="F"), np.arange(4000)[::4]],
    "shared": [BASE[:600], BASE[400:], BASE[::2]],
    "empty arrays": [np.zeros(0), np.zeros((3, 0))],
    "casts": [PickleBuffer(memoryview(bytes(8000)).cast("d", [10, 100]))],
    "mixture": [np.arange(1000), b"x" * 300_000, "y" * 300_000, bytearray(2000), Plain(a=np.arange(5000))],
    "code": [lambda: 1, np.arange(1000)],
}


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("obj", OBJECTS.values(), ids=OBJECTS)
def test_frames_are_what_they_promise(obj, copy):
    frames = oobcodec.dumps(obj, copy=copy)
    assert type(frames) is list
    for frame in frames:
        assert type(frame) is memoryview
        assert (frame.format, frame.ndim, frame.itemsize, frame.contiguous) == ("B", 1, 1, True)
    header = head(frames)
    assert header.lengths == tuple(frame.nbytes for frame in frames[1:])
    if copy:
        for frame in frames:
            assert frame.nbytes < 64 or address(frame) % 64 == 0
    again = oobcodec.loads([bytes(frame) for frame in frames])
    assert type(again) is type(obj)


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 5000, bytes(2 << 20)])
def test_bytes_are_the_frame(data):
    frames = oobcodec.dumps(data)
    assert head(frames).tag == "bytes"
    assert frames[1].obj is data
    assert oobcodec.loads(frames) is data
    copies = [bytearray(frame) for frame in frames]
    assert oobcodec.loads(copies) == data
    assert type(oobcodec.loads(copies)) is bytes


@pytest.mark.parametrize("text", ["", "x", "é\0\ud800" * 1000])
def test_text_is_the_frame(text):
    frames = oobcodec.dumps(text)
    assert head(frames).tag == "str"
    assert bytes(frames[1]) == text.encode("utf-8", "surrogatepass")
    assert oobcodec.loads(frames) == text


def test_subclasses_of_bytes_and_text_are_objects():
    class Name(str):
        __slots__ = ()

    assert type(roundtrip(Name("x"))).__name__ == "Name"


def test_first_frame_of_a_plain_message_can_be_released():
    for _ in range(2):
        first, second = oobcodec.dumps([1, 2])
        assert oobcodec.loads([first, second]) == [1, 2]
        first.release()


def test_live_memory_and_snapshot():
    values, data = np.zeros(1000), bytearray(300_000)
    live, snapshot = oobcodec.dumps([values, data]), oobcodec.dumps([values, data], copy=True)
    values[0] = data[0] = 7
    assert [item[0] for item in oobcodec.loads(live)] == [7, 7]
    assert [item[0] for item in oobcodec.loads(snapshot)] == [0, 0]
    del live
    gc.collect()
    data.append(1)
    assert not np.shares_memory(oobcodec.loads(snapshot)[0], values)


@pytest.mark.parametrize("obj", [b"x" * 1000, "x" * 1000, [1, 2], [np.arange(1000)], [lambda: 1]])
def test_snapshot_keeps_mutability(obj):
    assert [frame.readonly for frame in oobcodec.dumps(obj, copy=True)] == [
        frame.readonly for frame in oobcodec.dumps(obj)
    ]


# Zero copies


def test_arrays_lie_in_the_frames():
    values = np.arange(1000)
    frames = oobcodec.dumps({"v": values})
    assert memory(frames[2]) == memory(values)
    received = oobcodec.loads(frames)["v"]
    assert memory(received) == memory(values)


def test_received_array_keeps_its_frame_alive_and_no_other():
    arrays = [np.arange(20_000), np.arange(30_000)]
    frames = [np.frombuffer(bytes(frame), np.uint8) for frame in oobcodec.dumps(arrays)]
    gone = [weakref.ref(frame) for frame in frames]
    one, _ = oobcodec.loads(frames)
    del frames, _
    gc.collect()
    assert [ref() is None for ref in gone] == [True, True, False, True]
    assert one.tolist() == arrays[0].tolist()
    del one
    gc.collect()
    assert gone[2]() is None


def test_windows_of_one_array_travel_as_one():
    base = np.arange(1_000_000)
    windows = [base[i * 500 : i * 500 + 500_500] for i in range(1000)]
    frames = oobcodec.dumps(windows)
    assert [frame.nbytes for frame in frames[2:]] == [8_000_000]
    received = oobcodec.loads(frames)
    assert memory(received[0])[0] == memory(base)[0]
    assert all(np.shares_memory(one, other) for one, other in itertools.pairwise(received))
    received[0][600] = -1
    assert received[1][100] == -1


@given(st.data())
def test_relations_between_arrays_survive(data):
    bases = [np.arange(size) for size in data.draw(st.lists(st.integers(100, 2000), min_size=1, max_size=3))]
    arrays = []
    for _ in range(data.draw(st.integers(1, 6))):
        base = data.draw(st.sampled_from(bases))
        start = data.draw(st.integers(0, len(base) - 1))
        stop = data.draw(st.integers(start, len(base)))
        arrays.append(base[start : stop : data.draw(st.sampled_from([1, 1, 1, 3]))])
    frames = oobcodec.dumps(arrays)
    received = oobcodec.loads([bytes(frame) for frame in frames])
    whole = [i for i, part in enumerate(arrays) if part.nbytes >= 1024 and part.flags.c_contiguous]
    for i, (part, again) in enumerate(zip(arrays, received, strict=True)):
        assert again.tolist() == part.tolist()
        for j in whole:
            if i in whole:
                assert np.shares_memory(part, arrays[j]) == np.shares_memory(again, received[j])
    spans = sorted(memory(frame) for frame in frames[2:])
    assert all(start + nbytes <= after for (start, nbytes), (after, _) in itertools.pairwise(spans))
    assert sum(nbytes for _, nbytes in spans) <= sum(base.nbytes for base in bases) + sum(
        part.nbytes for part in arrays if not part.flags.c_contiguous
    )


# Mutability


@pytest.mark.parametrize(
    ("writable", "frozen", "immutable", "expected"),
    [
        (None, False, False, True),
        (None, False, True, False),
        (None, True, False, False),
        (None, True, True, False),
        (True, False, False, True),
        (True, False, True, True),
        (True, True, False, False),
        (True, True, True, False),
        *((False, frozen, immutable, False) for frozen in (False, True) for immutable in (False, True)),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_writable(writable, frozen, immutable, expected, packed):
    values = np.arange(1000)
    values.flags.writeable = not frozen
    frames = oobcodec.dumps([values, PickleBuffer(values)], copy=True)
    kind = bytes if immutable else bytearray
    message = kind(oobcodec.pack(frames)) if packed else [kind(frame) for frame in frames]
    received, buffer = oobcodec.loads(message, writable=writable)
    assert received.flags.writeable == (not buffer.readonly) == expected
    copied = bool(writable) and immutable and not frozen
    whole = np.frombuffer(message, np.uint8) if packed else np.frombuffer(message[2], np.uint8)
    assert np.shares_memory(received, whole) != copied
    assert np.shares_memory(received, np.asarray(buffer))


def test_sharing_survives_writable_and_readonly_neighbours():
    base = np.arange(2000)
    frozen = base[:1500]
    frozen.flags.writeable = False
    frames = [bytes(frame) for frame in oobcodec.dumps([base[500:], frozen])]
    one, other = oobcodec.loads(frames, writable=True)
    assert one.flags.writeable
    assert not other.flags.writeable
    one[0] = -1
    assert other[500] == -1


# What loads takes

SAMPLE = {"v": np.arange(1000), "o": Plain(a=1), "s": "text"}


def mapped(frame):
    memory = mmap.mmap(-1, max(1, len(frame)))
    memory[: len(frame)] = bytes(frame)
    return memoryview(memory)[: len(frame)]


FRAMES = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": lambda frame: memoryview(bytes(frame)),
    "signed": lambda frame: memoryview(bytes(frame)).cast("b"),
    "table": lambda frame: memoryview(bytes(frame)).cast("B", [1, len(frame)]),
    "array": lambda frame: array.array("B", bytes(frame)),
    "numpy": lambda frame: np.frombuffer(bytearray(frame), np.uint8),
    "mmap": mapped,
    "PickleBuffer": lambda frame: PickleBuffer(bytes(frame)),
}


@pytest.mark.parametrize("container", [list, tuple, iter, lambda frames: (frame for frame in frames)])
@pytest.mark.parametrize("kind", FRAMES.values(), ids=FRAMES)
def test_frames_of_any_kind(kind, container):
    for obj in (SAMPLE, {"plain": [1, 2]}, b"bytes", "text"):
        frames = [kind(frame) for frame in oobcodec.dumps(obj)]
        received = oobcodec.loads(container(frames))
        if obj is SAMPLE:
            assert received["v"].tolist() == obj["v"].tolist()
            assert received["o"].a == 1
        else:
            assert received == obj


@pytest.mark.parametrize("kind", FRAMES.values(), ids=FRAMES)
def test_one_packed_buffer_of_any_kind(kind):
    received = oobcodec.loads(kind(oobcodec.pack(oobcodec.dumps(SAMPLE))))
    assert received["v"].tolist() == SAMPLE["v"].tolist()


@pytest.mark.parametrize("copy", [True, False])
def test_frames_of_zeromq(copy):
    values = np.arange(100_000)
    with zmq.Context() as context, context.socket(zmq.PAIR) as sender, context.socket(zmq.PAIR) as receiver:
        receiver.bind("inproc://frames")
        sender.connect("inproc://frames")
        for message in (oobcodec.dumps(values), [oobcodec.pack(oobcodec.dumps(values))]):
            sender.send_multipart(message, copy=copy)
            frames = receiver.recv_multipart(copy=copy)
            received = oobcodec.loads(frames if len(frames) > 1 else frames[0])
            assert received.tolist() == values.tolist()
        del received, frames
        gc.collect()


# What loads refuses

REFUSED = {
    "no frames": (lambda frames: [], TruncatedError, r"no frames: a message has one at least"),
    "no frames of a tuple": (lambda frames: (), TruncatedError, r"no frames: a message has one at least"),
    "missing frame": (lambda frames: frames[:-1], TruncatedError, r"the message has 3 frames, here are 2"),
    "header alone": (lambda frames: frames[:1], TruncatedError, r"the message has 3 frames, here are 1"),
    "surplus frame": (lambda frames: [*frames, b""], HeaderError, r"the message has 3 frames, here are 4"),
    "short frame": (
        lambda frames: [*frames[:2], frames[2][:-1]],
        TruncatedError,
        r"frame 2 has 7999 bytes, the header says 8000",
    ),
    "long frame": (
        lambda frames: [*frames[:2], bytes(8001)],
        HeaderError,
        r"frame 2 has 8001 bytes, the header says 8000",
    ),
    "short pickle": (
        lambda frames: [frames[0], b"", frames[2]],
        TruncatedError,
        r"frame 1 has 0 bytes, the header says",
    ),
    "text frame": (lambda frames: [*frames[:2], "x" * 8000], DecodeError, r"frame 2 is no contiguous buffer but str"),
    "no frame": (lambda frames: [*frames[:2], None], DecodeError, r"frame 2 is no contiguous buffer but NoneType"),
    "gaps": (
        lambda frames: [*frames[:2], memoryview(bytes(16000))[::2]],
        DecodeError,
        r"frame 2 is no contiguous buffer but memoryview: .*contiguous",
    ),
    "text first": (lambda frames: ["OOB", *frames[1:]], DecodeError, r"frame 0 is no contiguous buffer but str"),
    "other first": (lambda frames: frames[1:], HeaderError, r"not an oobcodec message"),
    "nothing": (lambda frames: None, DecodeError, r"frames are a list of buffers or one packed buffer, not NoneType"),
    "number": (lambda frames: 5, DecodeError, r"frames are a list of buffers or one packed buffer, not int"),
    "text": (lambda frames: "OOB", DecodeError, r"frame 0 is no contiguous buffer but str"),
    "packed with gaps": (lambda frames: memoryview(bytes(200))[::2], DecodeError, r"no contiguous buffer"),
    "packed and cut": (lambda frames: oobcodec.pack(frames)[:-1], TruncatedError, r"the buffer ends after"),
    "packed and more": (lambda frames: bytes(oobcodec.pack(frames)) + b"x", HeaderError, r"1 bytes follow a message"),
}


@pytest.mark.parametrize(("change", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_refused_frames(change, error, text):
    frames = oobcodec.dumps([np.arange(1000)])
    with pytest.raises(error, match=text):
        oobcodec.loads(change(frames))


def test_refused_frames_of_plain_data():
    first, stream = oobcodec.dumps([1, 2])
    with pytest.raises(TruncatedError, match=r"frame 1 has \d+ bytes, the header says"):
        oobcodec.loads([first, stream[:-1]])
    with pytest.raises(HeaderError, match=r"frame 1 has \d+ bytes, the header says"):
        oobcodec.loads([first, bytes(stream) + b"."])


def test_error_names_what_was_being_rebuilt():
    first, stream, buffer = oobcodec.dumps(np.zeros((10, 100)))
    assert b"K\x0aKd" in bytes(stream)
    with pytest.raises(
        DecodeError, match="the object cannot be rebuilt by rebuild_ndarray: ValueError: cannot reshape"
    ):
        oobcodec.loads([first, bytes(stream).replace(b"K\x0aKd", b"K\x0bKd"), buffer])


def test_error_of_a_generator_passes():
    message = "mine"

    def frames():
        yield b"OOB"
        raise TypeError(message)

    with pytest.raises(TypeError, match="mine"):
        oobcodec.loads(frames())


MESSAGES = {
    "surplus buffer": (pickled(b"\x80\x05\x97.", [bytes(9), bytes(8)]), r"the pickle stream does not use all"),
    "missing buffer": (pickled(b"\x80\x05\x97\x97\x86."), r"the object cannot be rebuilt: .*buffers"),
    "another missing buffer": (pickled(b"\x80\x05\x97\x97\x86.", [bytes(9)]), r"not enough out-of-band buffers"),
    "truncated pickle": (pickled(b"\x80\x05K"), r"cannot be rebuilt: "),
    "no pickle": (pickled(b"\0"), r"cannot be rebuilt: UnpicklingError: invalid load key"),
    "empty pickle": (pickled(b""), r"cannot be rebuilt: EOFError"),
    "missing module": (
        pickled(b"\x80\x05\x8c\x08no_pkg.x\x8c\x01C\x93."),
        r"the message needs the module 'no_pkg': install it on this side",
    ),
    "missing attribute": (pickled(b"\x80\x05\x8c\x07decimal\x8c\x04None\x93."), r"decimal'.*"),
    "rebuild that refuses": (pickled(b"\x80\x05\x8c\x08builtins\x8c\x03int\x93\x8c\x01x\x85R."), r"ValueError: .*'x'"),
    "unknown tag": (
        [first_frame(["acme.table", None, [], 0, None, None, []])],
        r"the serializer tag 'acme.table' is unknown here: install and import 'acme', which registers it",
    ),
    "serializer with a pickle": (
        pickled(b"N.", tag="acme.table"),
        r"1 pickle frames and 0 buffers are no message of 'acme.table'",
    ),
    "another Python": (
        [first_frame(["cloudpickle", OTHER_PYTHON, [2], 1, None, None, []]), b"N."],
        rf"the message holds code of Python {OTHER_PYTHON}, which Python {OTHER_PYTHON[:2]}\d+ cannot run",
    ),
    "no Python": ([first_frame(["cloudpickle", None, [2], 1, None, None, []]), b"N."], r"code of Python None"),
    "bytes without a buffer": (
        [first_frame(["bytes", None, [], 0, None, None, []])],
        r"0 pickle frames and 0 buffers are no message of 'bytes'",
    ),
    "text that is none": (
        [first_frame(["str", None, [1], 0, None, None, [[1, 0, 1, True]]]), b"\xff"],
        r"UnicodeDecodeError",
    ),
    "pickle that is a buffer": (
        [
            first_frame(["pickle", None, [15], 0, None, None, [[1, 0, 15, True]]]),
            memoryview(b"\x80\x05\x95\4" + bytes(7) + b"K\1N."),
        ],
        r"cannot be rebuilt: EOFError",
    ),
}


@pytest.mark.parametrize(("message", "text"), MESSAGES.values(), ids=MESSAGES)
def test_refused_message(message, text):
    with pytest.raises(DecodeError, match=text):
        oobcodec.loads(message)


def test_refusal_keeps_its_cause():
    with pytest.raises(DecodeError) as caught:
        oobcodec.loads(pickled(b"\x80\x05\x8c\x08builtins\x8c\x03int\x93\x8c\x01x\x85R."))
    assert type(caught.value.__cause__) is ValueError
    with pytest.raises(EncodeError) as caught:
        oobcodec.dumps([threading.Lock()])
    assert type(caught.value.__cause__) is TypeError


def test_missing_module_of_a_plain_message(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "shelf", "class Book: pass")
    with forgotten_modules("shelf"):
        import shelf

        frames = oobcodec.dumps([shelf.Book()])
        del shelf.Book
        with pytest.raises(DecodeError, match=r"AttributeError: Can't get attribute 'Book' on <module 'shelf'"):
            oobcodec.loads(frames)
    (tmp_path / "shelf.py").unlink()
    with pytest.raises(DecodeError, match=r"the message needs the module 'shelf': install it on this side"):
        oobcodec.loads(frames)
    write_module(tmp_path, "shelf", "import joinery")
    with pytest.raises(DecodeError, match=r"the message needs the module 'joinery': install it on this side"):
        oobcodec.loads(frames)


@pytest.mark.parametrize("module", ["msgpack._core", "msgpack._core.inner"])
def test_module_that_the_version_here_does_not_have(module):
    name = bytes([len(module)]) + module.encode()
    text = rf"the message needs the module 'msgpack\._core.*', which msgpack {version('msgpack')} does not have: "
    with pytest.raises(DecodeError, match=text + "install the sender's version of it"):
        oobcodec.loads(pickled(b"\x80\x05\x8c" + name + b"\x8c\x01C\x93."))


def test_module_that_a_package_of_no_version_does_not_have(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "shelf.book", "")
    with forgotten_modules("shelf"), pytest.raises(DecodeError, match=r"'shelf\.box', which shelf does not have here"):
        oobcodec.loads(pickled(b"\x80\x05\x8c\x09shelf.box\x8c\x01C\x93."))


# Exceptions of the user


@pytest.mark.parametrize("error", [LookupError("mine"), TypeError("mine"), ModuleNotFoundError("mine", name="x")])
@pytest.mark.parametrize("size", [1, 1000])
def test_exception_of_the_user_passes_unchanged(error, size):
    with pytest.raises(type(error)) as caught:
        oobcodec.dumps({"a": [Raises(error, "dumps")]})
    assert caught.value is error
    assert error.__notes__[-1].startswith("raised while oobcodec.dumps was pickling ")
    assert error.__notes__[-1].endswith("Raises' object at ['a'][0]")
    assert error.__cause__ is None
    error.__notes__.clear()
    with pytest.raises(type(error), match="mine") as caught:
        roundtrip([Raises(error, "loads"), np.arange(size)])
    assert caught.value.__notes__ == ["raised in Raises.__setstate__ while oobcodec.loads was rebuilding an object"]


def test_error_of_ours_inside_a_method_of_the_user():
    with pytest.raises(HeaderError, match="inner") as caught:
        roundtrip([Raises(HeaderError("inner"), "loads")])
    assert not hasattr(caught.value, "__notes__")


def test_too_deep_for_dumps():
    deep = []
    for _ in range(1_000_000):
        deep = [deep]
    with pytest.raises(EncodeError, match=r"maximum recursion depth exceeded"):
        oobcodec.dumps(deep)
    assert roundtrip([1]) == [1]
    while deep:
        deep = deep.pop()


def test_memory_error_is_no_refusal():
    with pytest.raises(MemoryError):
        oobcodec.dumps([Raises(MemoryError(), "dumps")])
    with pytest.raises(MemoryError):
        roundtrip([Raises(MemoryError(), "loads")])


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits memory on Linux only")
def test_out_of_memory():
    run_python(
        """
        import resource
        import oobcodec

        text = "é" * 50_000_000
        limit = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20), limit[1]))
        for _ in range(3):
            try:
                oobcodec.dumps([text, 1])
            except MemoryError:
                pass
            else:
                raise AssertionError("there was memory")
            assert oobcodec.loads(oobcodec.dumps({"a": [1]})) == {"a": [1]}
        resource.setrlimit(resource.RLIMIT_AS, limit)
        assert oobcodec.loads(oobcodec.dumps([text, 1])) == [text, 1]
        """
    )


# In a process of its own, for a timer that belongs to nobody else, and because an interpreter might not survive this.
INTERRUPTED = """
import gc
import random
import signal
import sys
import weakref
import numpy as np
import oobcodec
from test_codec import Plain


class Interrupt(BaseException):
    pass


def interrupt(*_):
    global fired
    fired = True
    raise Interrupt


obj = [[Plain(a=i, b=[str(i)], c=np.arange(200)) for i in range(300)], lambda: 1]
gone = weakref.ref(obj[0][0])
frames = [bytes(frame) for frame in oobcodec.dumps(obj[0])]
work = {
    "dumps": lambda: oobcodec.dumps(obj[0]),
    "code": lambda: oobcodec.dumps(obj),
    "loads": lambda: oobcodec.loads(frames, writable=True),
}[sys.argv[1]]


def work_until_interrupted():
    # A function of its own: from Python 3.12 on, the jump back of a loop is not inside the ``try`` around it.
    while not fired:
        work()


chance = random.Random(1)
signal.signal(signal.SIGALRM, interrupt)
for _ in range(150):
    fired = False
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 4e-3))
        work_until_interrupted()
    except Interrupt:
        pass
    received = oobcodec.loads(oobcodec.dumps([Plain(a=1), np.arange(1000)]))
    assert received[0].a == 1
    assert received[1].flags.writeable
    assert oobcodec.loads(oobcodec.dumps({"plain": [1]})) == {"plain": [1]}
del obj, work
gc.collect()
assert gone() is None
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timers that send signals")
@pytest.mark.parametrize("what", ["dumps", "code", "loads"])
def test_interrupted_anywhere(what):
    # A tracer has locks of its own, which an exception at any point leaves locked.
    run_python(INTERRUPTED, what, measured=False)


# Other ways to the same message


class Table:
    tag = "tests.table"

    def supports(self, obj):
        return type(obj) is Plain

    def dumps(self, obj):
        return [1, {"k": "v"}], [obj.data, b""]

    def loads(self, meta, buffers):
        return meta, [bytes(buffer) for buffer in buffers]


@pytest.mark.parametrize("copy", [False, True])
def test_serializer_is_asked_first(copy):
    oobcodec.register_serializer(Table())
    try:
        frames = oobcodec.dumps(Plain(data=bytearray(2000)), copy=copy)
        assert head(frames).tag == "tests.table"
        assert oobcodec.loads(frames) == ((1, {"k": "v"}), [bytes(2000), b""])
        for obj in ([1, 2], "text", b"bytes", {"v": 1}):
            assert roundtrip(obj) == obj
    finally:
        oobcodec.unregister_serializer("tests.table")


def test_copyreg_entry_that_comes_later():
    assert type(roundtrip([Plain(a=1)])[0]) is Plain
    copyreg.pickle(Plain, lambda plain: (str, (f"copyreg {plain.a}",)))
    try:
        assert roundtrip([Plain(a=1), np.arange(1000)])[0] == "copyreg 1"
    finally:
        del copyreg.dispatch_table[Plain]
    assert type(roundtrip([Plain(a=1)])[0]) is Plain


def test_module_registered_for_pickling_by_value():
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        frames = oobcodec.dumps([Plain])
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert head(frames).tag == "cloudpickle"
    assert head(oobcodec.dumps([Plain])).tag == "pickle"


@pytest.mark.parametrize("length", [1, 100, 5000, 200_000])
def test_plain_data_of_any_size(length):
    obj = [str(i) for i in range(length)]
    for _ in range(2):
        assert roundtrip(obj) == obj


def test_messages_of_many_shapes():
    for count in range(1, 4300):
        frames = [
            first_frame(["pickle", None, [2, count], 1, None, None, [[2, 0, count, True]]]),
            b"\x97.",
            bytes(count),
        ]
        assert oobcodec.loads([memoryview(frame) for frame in frames]).nbytes == count
    assert roundtrip([np.arange(1000)])[0].nbytes == 8000


# Codec


def test_codec_holds_options():
    values = np.arange(1000)
    codec = Codec(copy=True, writable=False)
    frames = codec.dumps([values])
    values[0] = 5
    received = codec.loads(frames)
    assert received[0][0] == 0
    assert not received[0].flags.writeable
    assert Codec().loads(Codec().dumps([values]))[0].flags.writeable
    assert Codec() == Codec(copy=False, writable=None, open_encoded=True, map_location=None)
    with pytest.raises(AttributeError):
        codec.copy = False


def options_in_force():
    return LOADING.get()


class AsksForOptions:
    def __reduce__(self):
        return options_in_force, ()


def test_rebuild_functions_see_the_options():
    frames, where = oobcodec.dumps([AsksForOptions()]), {"cuda:0": "cpu"}
    assert oobcodec.loads(frames)[0].map_location is None
    for received in (oobcodec.loads(frames, map_location=where), Codec(map_location=where).loads(frames)):
        assert received[0].map_location is where
        assert received[0].writable is None
    nested = oobcodec.dumps([oobcodec.Encoded(frames)])
    assert oobcodec.loads(nested, map_location=where)[0][0].map_location is where
    assert oobcodec.loads(nested)[0][0].map_location is None


def test_a_location_is_nothing_to_other_objects():
    values = np.arange(1000)
    for obj in ({"a": 1}, "text", b"bytes", [values]):
        frames = oobcodec.dumps(obj)
        assert repr(oobcodec.loads(frames, map_location=object())) == repr(obj)


def test_process_that_forks():
    if not hasattr(os, "fork"):
        pytest.skip("the system has no fork")
    code = """
        import os
        import oobcodec

        oobcodec.dumps([print])
        pid = os.fork()
        assert oobcodec.loads(oobcodec.dumps([print, {"a": 1}])) == [print, {"a": 1}]
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """
    run_python(code)
