import gc
import itertools
import struct
import subprocess
import sys
import weakref

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oobcodec import buffers, header
from oobcodec.auth import Keyring, Session
from oobcodec.buffers import OWN_ALLOCATION, address
from oobcodec.errors import (
    AuthenticationError,
    HeaderError,
    IntegrityError,
    LimitError,
    PoisonedError,
    TruncatedError,
)
from oobcodec.limits import Limits
from oobcodec.packed import pack
from oobcodec.wire import ARENA, SMALL_MESSAGE, Receiver, parts

PRELUDE = struct.Struct("<3sBHHQQ")
KIB = 1024
KEYS = Keyring({"k": bytes(32)}, sign_with="k")


def message(*lengths, pickle_frames=0, meta=None):
    """Return a message with frames of these lengths, filled with bytes that tell the frames and their parts apart."""
    placements = tuple((i, 0, length, False) for i, length in enumerate(lengths, 1) if i > pickle_frames)
    first = header.encode("test", meta, tuple(lengths), pickle_frames, placements)
    pattern = bytes(range(1, 252)) * (max(lengths, default=0) // 251 + 2)
    return [memoryview(first), *(memoryview(pattern)[i % 251 :][:length] for i, length in enumerate(lengths))]


class Stream:
    """Bytes that come in chunks, to receivers that must never lend memory for more than the current message."""

    def __init__(self, *messages):
        packed = [bytes(pack(frames)) for frames in messages]
        self.data = b"".join(packed)
        self.ends = list(itertools.accumulate(map(len, packed)))
        self.position = 0
        self.fills = 0

    def feed(self, receiver, chunk=sys.maxsize):
        """Give the receiver at most `chunk` bytes, of which it may take fewer."""
        memory = receiver.get_buffer()
        end = next(end for end in self.ends if end > self.position)
        assert 1 <= memory.nbytes <= end - self.position
        assert not memory.readonly
        taken = min(chunk, memory.nbytes)
        memory[:taken] = self.data[self.position : self.position + taken]
        self.position += taken
        self.fills += 1
        frames = receiver.advance(taken)
        assert (frames is not None) == (self.position == end)
        assert receiver.started == (frames is None)
        return frames

    def message(self, receiver):
        """Return the frames of the next message."""
        while (frames := self.feed(receiver)) is None:
            pass
        return frames


def stopped_after(nbytes, sent):
    """Return a receiver that has got so many bytes of a message."""
    receiver = Receiver()
    stream = Stream(sent)
    while stream.position < nbytes:
        stream.feed(receiver, nbytes - stream.position)
    return receiver


# Whatever a length decides about, on both sides of the line.
LENGTH = st.sampled_from([0, 0, 1, 63, 64, 65, 1000, 40_000, OWN_ALLOCATION - 1, OWN_ALLOCATION, OWN_ALLOCATION + 1])
MESSAGES = st.lists(st.lists(LENGTH, max_size=6), min_size=1, max_size=4)
CHUNKS = st.lists(st.one_of(st.integers(1, 100), st.integers(1, 200_000)), max_size=30)


@given(MESSAGES, CHUNKS)
@settings(max_examples=100)
def test_every_split_of_the_stream_gives_the_same_frames(lengths, chunks):
    sent = [message(*each) for each in lengths]
    stream, receiver, received = Stream(*sent), Receiver(), []
    for chunk in itertools.cycle([*chunks, 60_001]):
        left = chunk
        # A chunk is what one read could give: the rest of it is there when the receiver has taken a part.
        while left and stream.position < len(stream.data):
            before = stream.position
            frames = stream.feed(receiver, left)
            left -= stream.position - before
            if frames is not None:
                received.append(frames)
        if stream.position == len(stream.data):
            break
    assert received == sent
    with pytest.raises(EOFError):
        receiver.end()


def test_every_single_split_of_a_message():
    sent = message(10, 0, 100, 0)
    for split in range(1, len(pack(sent))):
        stream, receiver = Stream(sent), Receiver()
        while stream.position < split:
            assert stream.feed(receiver, split - stream.position) is None
        assert stream.message(receiver) == sent


@pytest.mark.parametrize(
    "lengths",
    [
        [],
        [0],
        [0] * 50,
        [0, 100_000],
        [100_000, 0],
        [0, 100_000, 0, 0, 100_000, 0],
        [5, 0, 0, 70_000],
        [100_001] * 3,
        [OWN_ALLOCATION],
        [ARENA],
        [ARENA + 1],
        [3 * ARENA + 5, 7],
        [60_000] * 40,
    ],
    ids=str,
)
def test_frames_arrive_as_they_left(lengths):
    sent = message(*lengths)
    frames = Stream(sent).message(Receiver())
    assert frames == sent
    for frame in frames:
        assert (frame.format, frame.ndim, frame.contiguous, frame.readonly and frame is not frames[0]) == (
            "B",
            1,
            True,
            False,
        )
    assert all(address(frame) % 64 == 0 for frame in frames[1:] if frame)


@pytest.mark.parametrize("meta", ["m" * 70_000, "m" * (5 * ARENA)])
def test_a_large_header(meta):
    sent = message(10, 70_000, meta=meta)
    stream, receiver = Stream(sent), Receiver()
    stream.feed(receiver)
    assert receiver.get_buffer().nbytes <= ARENA
    assert stream.message(receiver) == sent


def test_a_small_message_takes_two_fills():
    sent = message(*[100] * 300)
    assert 40_000 < pack(sent).nbytes <= SMALL_MESSAGE
    stream = Stream(sent)
    assert stream.message(Receiver()) == sent
    assert stream.fills == 2


def test_padding_takes_no_fill_of_its_own():
    stream = Stream(message(100_001, 100_002, 100_003))
    stream.message(Receiver())
    assert stream.fills == 2 + 3


def test_small_frames_share_arenas_of_a_mebibyte():
    sent = message(*[1000] * 3000)
    stream = Stream(sent)
    frames = stream.message(Receiver())
    assert frames == sent
    assert stream.fills == 2 + 3
    arenas = {id(frame.obj): frame.obj for frame in frames[1:]}
    assert len(arenas) == 3
    assert all(len(arena) <= ARENA + 64 for arena in arenas.values())


def test_a_frame_keeps_nothing_alive_but_its_own_memory():
    frames = Stream(message(2 * ARENA, 100, 70_000, 200, 3 * ARENA)).message(Receiver())
    assert [len(frame.obj) // KIB for frame in frames[1:]] == [2048, 0, 68, 0, 3072]
    first, last = weakref.ref(frames[1].obj), weakref.ref(frames[5].obj)
    part = frames[5][-10:]
    frames.clear()
    assert first() is None
    assert last() is not None
    del part
    assert last() is None


def test_an_unfinished_message_goes_with_its_receiver():
    receiver = stopped_after(3 * ARENA, message(2 * ARENA, 2 * ARENA))
    memory = weakref.ref(receiver.get_buffer().obj)
    gc.disable()
    try:
        del receiver
        assert memory() is None
    finally:
        gc.enable()


def test_a_receiver_keeps_no_message_that_it_has_handed_over():
    receiver = Receiver()
    frames = Stream(message(2 * ARENA)).message(receiver)
    memory = weakref.ref(frames[1].obj)
    frames.clear()
    assert memory() is None


def test_counts_the_bytes_of_the_current_message():
    sent = message(100_000)
    total = pack(sent).nbytes
    stream, receiver = Stream(sent, sent), Receiver()
    assert (receiver.received, receiver.expected, receiver.started) == (0, None, False)
    stream.feed(receiver, 10)
    assert (receiver.received, receiver.expected, receiver.started) == (10, None, True)
    assert receiver.describe() == "10 bytes received"
    stream.feed(receiver)
    assert (receiver.received, receiver.expected, receiver.started) == (24, total, True)
    assert receiver.describe() == f"24 of {total:,} bytes received"
    stream.message(receiver)
    assert (receiver.received, receiver.expected, receiver.started) == (0, None, False)
    stream.message(receiver)


def test_the_memory_lent_for_a_new_message_is_zero():
    stream, receiver = Stream(message(10), message(10)), Receiver()
    for _ in range(2):
        start = receiver.get_buffer()
        assert not any(start)
        stream.feed(receiver, 1)
        assert any(start)
        stream.message(receiver)


def test_takes_nothing_that_was_not_lent():
    receiver = Receiver()
    for nbytes in (-1, 25):
        with pytest.raises(ValueError, match=f"advanced by {nbytes} bytes, 24 were lent"):
            receiver.advance(nbytes)
    assert receiver.advance(0) is None
    assert not receiver.started
    sent = message(7)
    assert Stream(sent).message(receiver) == sent


# The end of the stream


def test_a_stream_that_ends_between_messages_is_a_clean_end():
    with pytest.raises(EOFError, match="after the last message"):
        Receiver().end()


@pytest.mark.parametrize(
    ("start", "distance", "frame"),
    [
        (0, 1, 0),
        (0, 23, 0),
        (0, 24, 0),
        (1, -1, 0),
        (1, 0, 1),
        (1, 100_000, 1),  # all but the padding behind it
        (3, -1, 1),
        (3, 0, 3),  # frame 2 is empty
        (5, 0, 5),
        (6, -1, 5),
    ],
)
def test_a_stream_that_ends_inside_a_message_says_where(start, distance, frame):
    sent = message(100_000, 0, 1000, 0, 200_000)
    offsets = header.packed_offsets(map(len, sent))
    receiver = stopped_after(offsets[start] + distance, sent)
    with pytest.raises(TruncatedError) as caught:
        receiver.end()
    assert str(caught.value) == f"the stream ended inside a message: {receiver.describe()}, in frame {frame}"


def test_a_small_message_arrives_as_a_whole_so_it_ends_in_no_frame():
    sent = message(1000)
    receiver = stopped_after(100, sent)
    with pytest.raises(TruncatedError) as caught:
        receiver.end()
    assert str(caught.value) == f"the stream ended inside a message: 100 of {pack(sent).nbytes:,} bytes received"


# What is refused


def poisoned(receiver):
    with pytest.raises(PoisonedError, match="an earlier error left this stream inside a message"):
        receiver.get_buffer()
    with pytest.raises(PoisonedError):
        receiver.advance(0)
    return True


def give(receiver, data):
    while data:
        memory = receiver.get_buffer()
        taken = min(len(data), memory.nbytes)
        memory[:taken] = data[:taken]
        receiver.advance(taken)
        data = data[taken:]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1\r\nHost: example", "not an oobcodec message"),
        (PRELUDE.pack(b"OOB", 2, 0, 0, 10, 100), "version 2"),
        (PRELUDE.pack(b"OOB", 1, 0, 0, 10, 10), "its first frame alone 34"),
        (PRELUDE.pack(b"OOB", 1, 0, 0, 0, 24), "not msgpack"),
        (PRELUDE.pack(b"OOB", 1, 0, 0, 1, 25) + b"\xc0", "not an array of 7 fields"),
        (PRELUDE.pack(b"OOB", 1, 0, 0, 1, 100_000) + b"\xc0" + bytes(39), "not an array of 7 fields"),
    ],
)
def test_what_is_no_message_is_refused_and_poisons(data, text):
    receiver = Receiver()
    with pytest.raises(HeaderError, match=text):
        give(receiver, data)
    assert poisoned(receiver)


def test_a_prelude_that_contradicts_the_header_is_refused():
    for frames in (message(100), message(100_000)):
        data = bytearray(pack(frames))
        size = len(data) + 64
        data[16:24] = size.to_bytes(8, "little")
        receiver = Receiver()
        with pytest.raises(HeaderError, match=f"the prelude says {size}"):
            give(receiver, data + bytes(64))
        assert poisoned(receiver)


@pytest.mark.parametrize(
    ("limits", "nbytes", "text"),
    [
        (Limits(max_header_bytes=20), 24, "the header declares"),
        (Limits(max_total_bytes=100_000), 24, r"the message declares .* KiB; limit max_total_bytes=97\.7 KiB"),
        (Limits(max_frames=3), 128, "the message declares 4 frames; limit max_frames=3"),
    ],
)
def test_limits_are_checked_as_soon_as_the_number_is_known(limits, nbytes, text):
    stream, receiver = Stream(message(100_000, 1, 2)), Receiver(limits=limits)
    with pytest.raises(LimitError, match=text):
        stream.message(receiver)
    assert stream.position <= nbytes
    assert poisoned(receiver)


def test_limits_admit_a_message_of_exactly_that_size():
    sent = message(100_000, 1, 2)
    first = sent[0].nbytes
    limits = Limits(max_header_bytes=first - 24, max_frames=4, max_total_bytes=pack(sent).nbytes)
    assert Stream(sent).message(Receiver(limits=limits)) == sent
    small = message(1, 2)
    with pytest.raises(LimitError, match="3 frames"):
        Stream(small).message(Receiver(limits=Limits(max_frames=2)))


HOSTILE = f"""
import resource, sys
sys.path[:] = {sys.path!r}
from oobcodec import header
from oobcodec.errors import LimitError
from oobcodec.wire import Receiver

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)

def after(data):
    receiver = Receiver()
    while data:
        memory = receiver.get_buffer()
        taken = min(len(data), len(memory))
        memory[:taken] = data[:taken]
        receiver.advance(taken)
        data = data[taken:]
    return receiver.get_buffer()

assert len(after(header._PRELUDE.pack(b"OOB", 1, 0, 0, 1 << 60, 1 << 61))) <= 1 << 20
assert len(after(header._PRELUDE.pack(b"OOB", 1, 0, 0, (1 << 64) - 30, (1 << 64) - 1))) <= 1 << 20

def declares(*lengths):
    first = header.encode("test", None, lengths, 0, tuple((i, 0, n, False) for i, n in enumerate(lengths, 1)))
    return first + bytes(-len(first) % 64)

for length in (1 << 60, 1 << 63, 1 << 30):
    try:
        after(declares(length))
    except LimitError as error:
        print(error)
# No more than the next frame is set aside, however many follow it: here 1,000 of 32 MiB each.
assert len(after(declares(*[32 << 20] * 1000))) == 32 << 20
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux's")
def test_lengths_that_lie_set_no_memory_aside():
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"frame 1 declares {size}" for size in ("1 EiB", "8 EiB", "1 GiB")
    ]
    assert all("Limits(max_total_bytes=...)" in line for line in lines)


# Memory of the caller's


@pytest.mark.parametrize("lengths", [[100, 200], [300, 100_001, 300, 70_000, 0, 5], [100_000]], ids=str)
def test_frames_land_in_the_memory_that_the_caller_wants_them_in(lengths):
    sent = message(*lengths)
    # Between any two targets lie bytes that nobody may touch.
    memory = np.full(sum(lengths) + 10 * len(lengths), 255, "u1")
    targets, start = {}, 0
    for index, length in enumerate(lengths, 1):
        targets[index] = memory[start : start + length]
        start += length + 10

    asked = []

    def allocate(index, nbytes, decoded, frames):
        assert decoded.lengths == tuple(lengths)
        assert frames == sent[:index]
        asked.append((index, nbytes))
        return targets[index]

    stream = Stream(sent, sent)
    receiver = Receiver(allocate=allocate)
    frames = stream.message(receiver)
    assert frames == sent
    assert asked == list(enumerate(lengths, 1))
    assert all(address(frames[i]) == target.ctypes.data for i, target in targets.items() if target.size)
    gaps = memory.copy()
    for index, target in targets.items():
        assert target.tobytes() == sent[index]
        start = target.ctypes.data - memory.ctypes.data
        gaps[start : start + target.size] = 255
    assert (gaps == 255).all()
    assert stream.message(receiver) == sent


def test_the_caller_may_want_some_frames_and_is_not_asked_about_the_pickle():
    sent = message(100_000, 10, 100_000, 20, 100_000, 30, pickle_frames=2)
    mine = {3: bytearray(100_000), 4: bytearray(20)}
    asked = []

    def allocate(index, nbytes, decoded, frames):
        asked.append(index)
        return mine.get(index)

    frames = Stream(sent).message(Receiver(allocate=allocate))
    assert frames == sent
    assert asked == [3, 4, 5, 6]
    assert all(address(frames[index]) == address(memoryview(memory)) for index, memory in mine.items())


def test_the_callers_memory_may_have_any_shape_and_type():
    values = np.zeros((100, 25), "f8", order="F")
    sent = message(values.nbytes, 100_000)
    Stream(sent).message(Receiver(allocate=lambda index, nbytes, decoded, frames: values if index == 1 else None))
    assert values.tobytes(order="F") == sent[1]


@pytest.mark.parametrize("length", [1000, 100_000])
@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda n: [0] * n, TypeError, "returned 'list' for frame 1"),
        (bytes, ValueError, "read-only memory for frame 1"),
        (lambda n: bytearray(n + 1), ValueError, r"returned 1.*,001 bytes for frame 1 of 1.*,000"),
        (lambda n: bytearray(n - 1), ValueError, r"returned .*999 bytes for frame 1 of 1.*,000"),
        (lambda n: np.zeros(2 * n, "u1")[::2], ValueError, "frame 1 that is not contiguous"),
    ],
)
def test_memory_that_does_not_fit_is_refused(length, make, error, text):
    receiver = Receiver(allocate=lambda index, nbytes, decoded, frames: make(nbytes))
    with pytest.raises(error, match=text):
        Stream(message(length)).message(receiver)
    assert poisoned(receiver)


def test_what_the_caller_raises_passes_and_poisons():
    def allocate(index, nbytes, decoded, frames):
        message = f"no pinned memory for {nbytes}"
        raise MemoryError(message)

    receiver = Receiver(allocate=allocate)
    with pytest.raises(MemoryError, match="no pinned memory for 100000"):
        Stream(message(100_000)).message(receiver)
    assert poisoned(receiver)


# Sending


@given(st.lists(LENGTH, max_size=10))
def test_the_parts_are_the_packed_form(lengths):
    frames = message(*lengths)
    pieces = parts(frames)
    assert all(pieces)
    assert b"".join(pieces) == pack(frames)


def test_the_parts_are_the_frames_themselves():
    frames = message(100_000, 0, 64, 5)
    pieces = parts(frames)
    assert all(any(piece is frame for piece in pieces) for frame in frames if frame)
    values = np.arange(10.0)
    assert address(parts([message(80)[0].tobytes(), values])[-1]) == values.ctypes.data


@pytest.mark.parametrize("change", [lambda frames: frames[:-1], lambda frames: [*frames, b"more"]])
def test_frames_that_are_not_one_whole_message_are_refused(change):
    with pytest.raises(HeaderError, match="not one whole message"):
        parts(change(message(100, 200)))


def test_no_frames_are_no_message():
    with pytest.raises(TruncatedError):
        parts([])
    with pytest.raises(HeaderError, match="not an oobcodec message"):
        parts([b"x" * 30])


# Signatures and checksums

# Frames of all kinds: alone, with neighbours, empty; as a small message and as a large one.
SHAPES = [[], [0], [10, 100], [100_001], [100, 70_001, 0, 300, 200_003, 5]]


@pytest.mark.parametrize("lengths", SHAPES, ids=str)
def test_a_signed_message_arrives(lengths):
    sent = KEYS.seal(message(*lengths))
    stream, receiver = Stream(sent, sent), Receiver(keyring=KEYS)
    assert stream.message(receiver) == sent
    assert stream.message(receiver) == sent
    assert Stream(sent).message(Receiver()) == sent


def test_the_messages_of_a_session_arrive_in_their_order():
    here, there = Session(KEYS, b"a" * 16, b"b" * 16), Session(KEYS, b"b" * 16, b"a" * 16)
    one, two = (here.seal(message(100)) for _ in range(2))
    stream, receiver = Stream(one, two, one), Receiver(session=there)
    assert stream.message(receiver) == one
    assert stream.message(receiver) == two
    with pytest.raises(AuthenticationError, match="message 0 of the connection arrived where number 2 is the next"):
        stream.message(receiver)
    assert poisoned(receiver)


@pytest.mark.parametrize("lengths", [[100], [100_000]], ids=str)
def test_what_is_not_signed_is_refused_with_its_first_frame(lengths):
    for sent in (message(*lengths), Keyring({"k": b"x" * 32}, sign_with="k").seal(message(*lengths))):
        stream, receiver = Stream(sent), Receiver(keyring=KEYS)
        with pytest.raises(AuthenticationError):
            stream.message(receiver)
        assert stream.position <= -(-len(sent[0]) // 64) * 64
        assert poisoned(receiver)


@pytest.mark.parametrize("length", [1 << 62, 1000])
def test_nothing_is_parsed_or_set_aside_before_the_signature_is_verified(length, monkeypatch):
    first = header.encode("test", None, (length,), 0, ((1, 0, length, False),))
    forged = first + bytes(-len(first) % 64)
    monkeypatch.setattr(buffers, "allocate", None)
    monkeypatch.setattr(msgpack, "unpackb", None)
    receiver = Receiver(keyring=KEYS)
    with pytest.raises(AuthenticationError, match="unsigned"):
        give(receiver, forged)


def test_with_a_keyring_a_header_has_at_most_8_mib():
    prelude = PRELUDE.pack(b"OOB", 1, 0, 60, (8 << 20) + 1, 1 << 40)
    with pytest.raises(LimitError, match=r"the header declares 8\.1 MiB; limit max_header_bytes=8 MiB"):
        give(Receiver(keyring=KEYS), prelude)
    for limits in (Limits(max_header_bytes=9 << 20), Limits(max_header_bytes=None)):
        give(Receiver(keyring=KEYS, limits=limits), prelude)
    with pytest.raises(LimitError, match="max_total_bytes"):
        give(Receiver(keyring=KEYS, limits=Limits(max_header_bytes=None, max_total_bytes=1000)), prelude)
    give(Receiver(), prelude)


def gaps(frames):
    """Return where padding begins, and behind which frame."""
    found, end = [], 0
    for index, frame in enumerate(frames):
        start = -(-end // 64) * 64
        if start > end:
            found.append((end, max(i for i in range(index) if len(frames[i]))))
        end = start + len(frame)
    return found


@pytest.mark.parametrize("keys", [None, KEYS], ids=["anyone", "keyring"])
@pytest.mark.parametrize("own", [False, True], ids=["default", "own"])
@pytest.mark.parametrize("lengths", [shape for shape in SHAPES if len(shape) > 1], ids=str)
def test_the_padding_of_a_signed_message_is_zero(lengths, own, keys):
    sent = KEYS.seal(message(*lengths))
    places = gaps(sent)
    assert places

    def allocate(index, nbytes, decoded, frames):
        return bytearray(nbytes) if own else None

    for position, index in places:
        data = bytearray(pack(sent))
        data[position] = 1
        receiver = Receiver(keyring=keys, allocate=allocate)
        with pytest.raises(IntegrityError, match=f"the padding behind frame {index} is not zero"):
            give(receiver, data)
        assert poisoned(receiver)
        give(Receiver(keyring=keys, allocate=allocate), bytes(pack(sent)))


def test_the_padding_of_any_other_message_is_not_looked_at():
    for lengths in (shape for shape in SHAPES if len(shape) > 1):
        data = bytearray(pack(message(*lengths)))
        for position, _ in gaps(message(*lengths)):
            data[position] = 1
        give(receiver := Receiver(), data)
        assert not receiver.started
