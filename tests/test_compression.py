import asyncio
import re
import socket
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import msgpack
import numpy as np
import pytest
from fuzz import batches
from fuzz.changes import changes, flips

import oobcodec
from oobcodec import Compression, Limits, compression, fill
from oobcodec.compression import described
from oobcodec.header import decode, encode

RNG = np.random.default_rng(0)
STEPS = RNG.integers(0, 9, 300_000).cumsum()
NOISE = np.frombuffer(RNG.bytes(2_000_000), "f8")
TEXT = " ".join(f"word{number}" for number in RNG.integers(0, 300, 40_000))
KEYRING = oobcodec.Keyring({"a": bytes(32)}, sign_with="a")


class Zlib:
    tag = "tests.zlib"

    def compress(self, frame, itemsize):
        self.itemsize = itemsize
        return zlib.compress(frame, 1) if len(frame) > 5000 else None

    def decompress(self, frame, memory):
        memory[:] = zlib.decompress(frame)


@pytest.fixture
def codec():
    codec = Zlib()
    oobcodec.register_codec(codec)
    yield codec
    oobcodec.unregister_codec(codec.tag)


def tags(frames):
    """Return the tag of the codec of each frame behind the first."""
    header = decode(bytes(frames[0]))
    return [coding and coding.tag for coding in header.codecs or [None] * len(header.lengths)]


def size(frames):
    return sum(map(len, frames))


def assert_equal(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    np.testing.assert_array_equal(one, other)


class Words:
    tag = "tests.words"

    def compress(self, frame, itemsize):
        return np.frombuffer(frame[: len(frame) // 2], "u4")

    def decompress(self, frame, memory):
        memory[:] = bytes(frame) * 2


def test_a_codec_may_return_elements_of_any_size():
    codec, data = Words(), RNG.bytes(5000) * 2
    oobcodec.register_codec(codec)
    try:
        frames = oobcodec.dumps(data, compression=codec.tag)
        assert oobcodec.loads(oobcodec.pack(frames)) == oobcodec.loads(frames) == data
        assert len(frames[1]) == 5000
    finally:
        oobcodec.unregister_codec(codec.tag)


# Options


def test_codec_that_is_not_there(codec):
    known = r"there are auto, lz4, zstd, tests\.zlib"
    for call in (
        lambda: oobcodec.dumps(None, compression="gzip"),
        lambda: oobcodec.Codec(compression="gzip"),
        lambda: Compression(codec="gzip"),
        lambda: oobcodec.sockets.listen(("localhost", 0), compression="gzip"),
    ):
        with pytest.raises(ValueError, match=rf"compression='gzip' is not known; {known}"):
            call()


@pytest.mark.parametrize("wrong", [{"level": 10}, {"level": -1}, {"threads": 0}, {"bandwidth": 0}, {"bandwidth": -1.0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        Compression(**wrong)


@pytest.mark.parametrize("name", ["level", "threads", "bandwidth"])
def test_numbers_of_another_type(name):
    with pytest.raises(TypeError, match=f"{name}='9' is neither an int nor "):
        Compression(**{name: "9"})


@pytest.mark.parametrize("wrong", [5, ["lz4"], {"codec": "lz4"}])
def test_what_is_no_compression(wrong):
    text = re.escape(f"compression={wrong} is neither the name of a codec nor an oobcodec.Compression")
    for call in (lambda: oobcodec.dumps(None, compression=wrong), lambda: Compression(codec=wrong)):
        with pytest.raises(TypeError, match=text):
            call()


def test_options_are_heeded():
    small = oobcodec.dumps(STEPS, compression=Compression(codec="zstd", level=9, threads=1))
    assert size(small) < size(oobcodec.dumps(STEPS, compression=Compression(codec="lz4", level=1)))
    nothing = oobcodec.dumps(STEPS, compression=Compression(bandwidth=1e15))
    assert tags(nothing) == [None, None]
    assert decode(bytes(oobcodec.dumps(STEPS, compression="auto")[0])).codecs[1].nbytes == STEPS.nbytes


def test_package_that_is_not_installed(monkeypatch):
    frames = oobcodec.dumps(STEPS, compression="lz4")
    monkeypatch.setitem(sys.modules, "blosc2", None)
    remedy = r'needs the package blosc2, which is not installed: pip install "oobcodec\[compression\]"'
    with pytest.raises(oobcodec.EncodeError, match=f"no compression: it {remedy}"):
        oobcodec.dumps(STEPS, compression="lz4")
    with pytest.raises(oobcodec.DecodeError, match=f"frame 2 is compressed with 'blosc2': it {remedy}"):
        oobcodec.loads(frames)


# What is compressed, and what is not


@pytest.mark.parametrize("how", ["auto", "lz4", "zstd", Compression(codec="zstd", level=3, threads=2)])
@pytest.mark.parametrize(
    "array",
    [STEPS, STEPS.reshape(3, -1).T, STEPS.astype("M8[s]"), STEPS.astype(">i4"), NOISE[:100_000], np.zeros((300, 700))],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back(array, how):
    frames = oobcodec.dumps({"x": array}, compression=how)
    for policy in (oobcodec.TRUSTED, oobcodec.DATA):
        for message in (frames, oobcodec.pack(frames)):
            back = oobcodec.loads(message, policy=policy)["x"]
            assert_equal(back, array)
            assert back.flags.f_contiguous == array.flags.f_contiguous


def test_each_frame_travels_as_it_is_best():
    octets = RNG.bytes(300_000)
    frames = oobcodec.dumps([octets, STEPS, NOISE, np.ones(200_000), np.arange(200)], compression="lz4")
    assert tags(frames) == [None, None, None, "blosc2", None, "fill", None]
    assert frames[5].obj is NOISE
    assert len(frames[6]) == 8
    back = oobcodec.loads(frames)
    assert back[0] == octets
    assert_equal(back[1], STEPS)
    assert_equal(back[3], np.ones(200_000))


@pytest.mark.parametrize(
    "obj", [TEXT, 8 * TEXT.encode(), [TEXT] * 2, {"a": bytearray(TEXT.encode())}, list(range(50_000))]
)
@pytest.mark.parametrize("how", ["auto", "zstd"])
def test_text_and_the_pickle_stream_are_compressed(obj, how):
    frames = oobcodec.dumps(obj, compression=how)
    assert size(frames) < size(oobcodec.dumps(obj)) * 0.7
    assert oobcodec.loads(frames) == oobcodec.loads(frames, policy=oobcodec.DATA) == obj


@pytest.mark.parametrize("how", ["auto", "lz4"])
@pytest.mark.parametrize(
    "obj", [None, "text", np.arange(100), NOISE, NOISE.tobytes()], ids=lambda obj: type(obj).__name__
)
def test_message_in_which_nothing_pays_is_what_it_is_without(obj, how):
    frames = oobcodec.dumps(obj, compression=how)
    assert list(map(bytes, frames)) == list(map(bytes, oobcodec.dumps(obj)))


def test_auto_leaves_small_buffers_alone():
    assert tags(oobcodec.dumps(STEPS[:100_000], compression="auto")) == [None, None]
    assert tags(oobcodec.dumps(STEPS[:100_000], compression="lz4")) == [None, "blosc2"]


def test_frame_of_which_the_sample_lied_travels_as_it_is(monkeypatch):
    monkeypatch.setattr(compression, "choose", lambda *_, **__: compression.blosc.Way("lz4", "none", 1, 5))
    assert tags(oobcodec.dumps(NOISE, compression="lz4")) == [None, None]


def test_constant_costs_nothing_however_large():
    """Not even where blosc2 is not installed."""
    frames = oobcodec.dumps(np.full(10_000_000, -1.5), compression="auto")
    assert size(frames) < 300
    assert (oobcodec.loads(frames) == -1.5).all()


# What is promised of memory holds


def test_decompressed_memory_is_aligned_and_as_writable_as_it_was():
    frozen = STEPS.copy()
    frozen.flags.writeable = False
    back = oobcodec.loads([bytes(frame) for frame in oobcodec.dumps([STEPS, frozen], compression="lz4")])
    assert [array.flags.writeable for array in back] == [True, False]
    assert all(array.ctypes.data % 64 == 0 for array in back)
    assert not oobcodec.loads(oobcodec.dumps(STEPS, compression="lz4"), writable=False).flags.writeable


def test_shared_memory_arrives_shared():
    one, other = oobcodec.loads(oobcodec.dumps([STEPS[:200_000], STEPS[100_000:]], compression="lz4"))
    assert np.shares_memory(one, other)
    assert_equal(other, STEPS[100_000:])


def test_copy_is_a_snapshot():
    noise, steps = NOISE.copy(), STEPS.copy()
    frames = oobcodec.dumps([noise, steps], compression="lz4", copy=True)
    noise[:], steps[:] = 0, 0
    for back, was in zip(oobcodec.loads(frames), (NOISE, STEPS), strict=True):
        assert_equal(back, was)


def test_message_inside_a_message():
    inner = oobcodec.Encoded(oobcodec.dumps(STEPS, compression="zstd"))
    frames = oobcodec.dumps([inner, STEPS], compression="lz4")
    for policy in (oobcodec.TRUSTED, oobcodec.DATA):
        for array in oobcodec.loads(frames, policy=policy):
            assert_equal(array, STEPS)


def test_file(tmp_path):
    path = tmp_path / "steps"
    assert oobcodec.dump(STEPS, path, compression="lz4", checksum=True) < STEPS.nbytes / 4
    assert_equal(oobcodec.load(path), STEPS)


def test_connection():
    into = {"x": np.zeros_like(STEPS)}
    with oobcodec.sockets.listen(("localhost", 0)) as listener, ThreadPoolExecutor() as pool:
        accepting = pool.submit(listener.accept)
        with oobcodec.sockets.connect(listener.address, compression="lz4") as near, accepting.result() as far:
            sending = pool.submit(lambda: [near.send({"x": STEPS}) for _ in range(2)])
            assert_equal(far.recv()["x"], STEPS)
            assert far.recv(into=into) is into
            assert_equal(into["x"], STEPS)
            assert sum(sending.result()) < STEPS.nbytes


def test_buffer_to_receive_into_holds_the_frames_that_are_not_compressed():
    near, far = socket.socketpair()
    memory = bytearray(NOISE.nbytes + 64)
    with near, far, ThreadPoolExecutor() as pool:
        pool.submit(oobcodec.sockets.send, near, [STEPS, NOISE], compression="lz4")
        steps, noise = oobcodec.sockets.recv(far, into=memory)
    assert_equal(steps, STEPS)
    assert_equal(noise, NOISE)
    assert np.shares_memory(noise, np.frombuffer(memory, "u1"))
    assert not np.shares_memory(steps, np.frombuffer(memory, "u1"))


def test_asyncio():
    async def run():
        near, far = socket.socketpair()
        with near, far:
            near.settimeout(0)
            far.settimeout(0)
            sending = asyncio.create_task(oobcodec.aio.send(near, [STEPS, NOISE], compression="lz4", copy=True))
            back = await oobcodec.aio.recv(far)
            assert await sending < STEPS.nbytes + NOISE.nbytes
        return back

    steps, noise = asyncio.run(run())
    assert_equal(steps, STEPS)
    assert_equal(noise, NOISE)


def test_memory_to_receive_into_is_for_frames_that_are_not_compressed():
    asked = []
    receiver = oobcodec.Receiver(allocate=lambda index, *_: asked.append(index))
    stream = memoryview(oobcodec.pack(oobcodec.dumps([STEPS, NOISE], compression="lz4")))
    frames = None
    while frames is None:
        lent = receiver.get_buffer()
        lent[:], stream = stream[: len(lent)], stream[len(lent) :]
        frames = receiver.advance(len(lent))
    assert asked == [3]
    assert_equal(oobcodec.loads(frames)[0], STEPS)


def test_threads_share_one_codec():
    codec = oobcodec.Codec(compression="lz4")

    def come_back(number):
        return all(np.array_equal(codec.loads(codec.dumps(STEPS + number)), STEPS + number) for _ in range(5))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(come_back, range(16)))


# Codecs of others


def test_registered_codec(codec):
    frames = oobcodec.dumps([STEPS, np.arange(600), np.zeros(1000)], compression=codec.tag)
    assert tags(frames) == [None, codec.tag, None, "fill"]
    assert_equal(oobcodec.loads(frames)[0], STEPS)
    with pytest.raises(oobcodec.PolicyError, match=r"refused codec tag 'tests\.zlib'"):
        oobcodec.loads(frames, policy=oobcodec.DATA)
    assert_equal(oobcodec.loads(frames, policy=oobcodec.DATA.allowing(codec.tag))[0], STEPS)
    assert described(frames[2], decode(bytes(frames[0])).codecs[1])[:2] == (codec.tag, "?")


def test_what_it_makes_is_kept_only_if_it_pays(codec):
    assert tags(oobcodec.dumps(NOISE, compression=codec.tag)) == [None, None]


def test_codec_that_is_unknown_here(codec):
    frames = oobcodec.dumps(STEPS, compression=codec.tag)
    oobcodec.unregister_codec(codec.tag)
    try:
        with pytest.raises(
            oobcodec.DecodeError, match=r"frame 2 is compressed: the codec tag 'tests\.zlib' is unknown"
        ):
            oobcodec.loads(frames)
    finally:
        oobcodec.register_codec(codec)


# What is not right is refused


def message(codec, data=b"x", tag="bytes"):
    placement = (1, 0, codec[1], True)
    return [encode(tag, None, (len(data),), 0, (placement,), codecs=(codec,)), data]


def test_message_by_hand():
    assert oobcodec.loads(message(("fill", 5))) == b"xxxxx"


@pytest.mark.parametrize("policy", [oobcodec.TRUSTED, oobcodec.DATA])
@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (message(("fill", 5), b"ab"), "frame 1 is not what the codec 'fill' writes: an element of 2 bytes does not"),
        (message(("blosc2", 5), b"ab"), "frame 1 is not what the codec 'blosc2' writes: 2 bytes are no chunk"),
    ],
)
def test_frame_that_is_not_what_its_codec_writes(frames, text, policy):
    with pytest.raises(oobcodec.DecodeError, match=text):
        oobcodec.loads(frames, policy=policy)


def test_error_of_a_registered_codec(codec):
    with pytest.raises(oobcodec.DecodeError, match=r"frame 1 is not what the codec 'tests\.zlib' writes: error: "):
        oobcodec.loads(message((codec.tag, 5)))


def test_limits_are_checked_before_memory_is_set_aside(monkeypatch):
    monkeypatch.setattr(compression, "allocate", None)
    data = oobcodec.DATA
    for nbytes, text, options in (
        (5 << 30, r"the message declares 5 GiB; limit max_decompressed_bytes=4 GiB", {"policy": data}),
        (70 << 20, r"the message declares 1,120 times as much; limit max_ratio=1,000", {"policy": data}),
        (2000, "limit max_decompressed_bytes=1,000 bytes", {"limits": Limits(max_decompressed_bytes=1000)}),
        (1 << 20, "limit max_ratio=10 times as much", {"limits": Limits(max_ratio=10)}),
    ):
        with pytest.raises(oobcodec.LimitError, match=text):
            oobcodec.loads(message(("fill", nbytes)), **options)


def test_more_than_there_is_memory():
    for nbytes in (1 << 60, (1 << 64) - 1):
        with pytest.raises(oobcodec.LimitError, match=r"frame 1 declares .* when decompressed, more memory than this"):
            oobcodec.loads(message(("fill", nbytes)))


def test_messages_inside_of_messages_count_together():
    frames = oobcodec.dumps([oobcodec.Encoded(message(("fill", 3 << 20))) for _ in range(3)])
    limits = Limits(max_decompressed_bytes=8 << 20, max_total_bytes=1 << 20)
    with pytest.raises(oobcodec.LimitError, match="max_decompressed_bytes=8 MiB"):
        oobcodec.loads(frames, policy=oobcodec.DATA, limits=limits)


def test_description_of_what_is_damaged():
    coding = decode(message(("blosc2", 9))[0]).codecs[0]
    assert described(memoryview(b"x"), coding) == ("blosc2", "?", 9.0)
    assert described(memoryview(b""), None) == (None, None, None)
    assert described(memoryview(b""), decode(message((fill.TAG, 9))[0]).codecs[0])[2] == 9.0


# Every small change


def small(**options):
    """Return short messages that are compressed in several ways."""
    steps = STEPS[:520]
    for obj, how in ((steps, "lz4"), (steps, "zstd"), (TEXT[:4200], "zstd"), (np.full(900, 1.5), "lz4")):
        yield [bytes(frame) for frame in oobcodec.dumps(obj, compression=how, **options)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [{"checksum": True}, {"keyring": KEYRING}], ids=str)
def test_every_flipped_bit_is_found(options):
    verify = {"keyring": KEYRING} if "keyring" in options else {}
    for frames in small(**options):
        oobcodec.loads(frames, policy=oobcodec.DATA, **verify)
        for what, changed in flips(frames[:1] + [frame[:200] for frame in frames[1:]]):
            whole = [c + frame[200:] if i else c for i, (c, frame) in enumerate(zip(changed, frames, strict=True))]
            with pytest.raises(oobcodec.OobError):
                pytest.fail(f"{what}: {oobcodec.loads(whole, policy=oobcodec.DATA, **verify)}")


@pytest.mark.timeout(900)
def test_every_change_is_refused_or_is_data(tmp_path):
    """In another process, for nothing but the policy is between these messages and it."""
    messages = [*small()]
    (tmp_path / "messages").write_bytes(msgpack.packb(messages))
    (tmp_path / "corpus").write_bytes(msgpack.packb([("numpy", str(i), frames) for i, frames in enumerate(messages)]))
    count = sum(1 for frames in messages for _ in changes(frames))
    outcome = batches.run_all(tmp_path / "corpus", f"changes:{tmp_path / 'messages'}", count, -(-count // 2))
    assert not outcome.findings


def test_message_without_compression_is_left_alone():
    header = decode(bytes(oobcodec.dumps([1])[0]))
    assert compression.expanded(header, [memoryview(b"x")], oobcodec.TRUSTED, None) == [b"x"]
