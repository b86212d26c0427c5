"""Twelve messages, and every byte that may be missing, every bit that may flip, every frame that may go astray."""

import collections
import datetime as dt
import decimal
import uuid

import msgpack
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from fuzz import batches
from fuzz.changes import changes, flips, shuffles, truncations

import oobcodec
import oobcodec.reducers.numpy
from oobcodec import Limits, Receiver, engine
from oobcodec.auth import Keyring

pytestmark = pytest.mark.timeout(900)

KEYRING = Keyring({"first": bytes(range(32)), "second": bytes(range(1, 33))}, sign_with="second")
LONGEST = 500
"""Bytes of a message, which is loaded more often than it has bits."""


def _views():
    one = np.arange(12.0)
    return [one, one[3:]]


OBJECTS = {
    "plain": lambda: {"id": 7, "tags": ["a", "b"], "pi": 3.14, "none": None, "big": 1 << 70},
    "text": lambda: "grüße, \N{SNOWMAN}",
    "octets": lambda: bytes(range(40)),
    "containers": lambda: [{1, 2}, frozenset("ab"), {(1, "x"): b"y"}, bytearray(b"z"), collections.deque([1], 3)],
    "moments": lambda: [dt.datetime(2024, 2, 29, tzinfo=dt.UTC), decimal.Decimal("1.10"), uuid.UUID(int=5)],
    "an array": lambda: np.arange(10.0),
    "arrays that share memory": _views,
    "records": lambda: np.zeros(6, [("a", "<i4"), ("b", "S8")]),
    "a column of pandas": lambda: pd.Series([1, 2, 3], dtype="Int8", name="x"),
    "a column of Arrow": lambda: pa.array([1, None, 3], pa.int16()),
    "a column of polars": lambda: pl.Series("x", [1, 2, 3], pl.Int8),
    "an array in a message": lambda: oobcodec.Encoded(oobcodec.dumps([1.5, None])),
}

LIBRARIES = {"a column of pandas": "pandas", "a column of Arrow": "pyarrow", "a column of polars": "polars"}


@pytest.fixture(autouse=True, scope="module")
def _small_buffers():
    """Have frames for buffers of few bytes, so that there are few bits to flip."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (engine, oobcodec.reducers.numpy):
            patch.setattr(module, "IN_BAND", 48)
        yield


def sent(name, **options):
    frames = [bytes(frame) for frame in oobcodec.dumps(OBJECTS[name](), **options)]
    assert sum(map(len, frames)) < LONGEST + 400 * bool(options)
    return frames


def as_frames(frames, **options):
    return oobcodec.loads(frames, policy=oobcodec.DATA, **options)


def packed(frames):
    """Return the packed form of what may be no message."""
    memory = b""
    for frame in frames:
        memory += bytes(-len(memory) % 64) + frame
    return memory


def as_packed(memory, **options):
    return oobcodec.loads(memory, policy=oobcodec.DATA, **options)


def as_unpacked(memory, **options):
    return oobcodec.loads(oobcodec.unpack(memory), policy=oobcodec.DATA, **options)


def as_received(memory, **options):
    """Load the message that a stream begins with; what is behind it begins another one, and must end where it ends."""
    receiver, stream, messages = Receiver(limits=Limits(max_total_bytes=1 << 20)), memoryview(memory), []
    while stream:
        lent = receiver.get_buffer()
        size = min(len(lent), len(stream))
        lent[:size] = stream[:size]
        stream = stream[size:]
        message = receiver.advance(size)
        if message is not None:
            messages.append(oobcodec.loads(message, policy=oobcodec.DATA, **options))
    if receiver.started or not messages:
        receiver.end()
    return messages


def refuses(way, frames, **options):
    try:
        way(frames, **options)
    except (oobcodec.OobError, EOFError):
        return True
    return False


@pytest.mark.parametrize("name", OBJECTS)
def test_signed_message_is_refused_if_anything_is_changed(name):
    frames = sent(name, keyring=KEYRING)
    assert not refuses(as_frames, frames, keyring=KEYRING)
    taken = [what for what, changed in changes(frames) if not refuses(as_frames, changed, keyring=KEYRING)]
    assert not taken


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("way", [as_packed, as_unpacked, as_received])
def test_signed_message_is_refused_if_anything_of_its_packed_form_is_changed(name, way):
    """The padding between frames too."""
    frames = sent(name, keyring=KEYRING)
    whole = packed(frames)
    assert not refuses(way, whole, keyring=KEYRING)
    of_frames = [(what, packed(changed)) for what, changed in [*truncations(frames), *shuffles(frames)]]
    of_whole = [(what, changed) for what, (changed,) in [*truncations([whole]), *flips([whole])]]
    taken = [
        what
        for what, changed in [*of_frames, *of_whole]
        if changed != whole and not refuses(way, changed, keyring=KEYRING)
    ]
    assert not taken


@pytest.mark.parametrize("name", OBJECTS)
def test_checksums_find_every_flipped_bit(name):
    frames = sent(name, checksum=True)
    assert not refuses(as_frames, frames)
    taken = [what for what, changed in flips(frames) if not refuses(as_frames, changed)]
    assert not taken


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("way", [as_packed, as_unpacked, as_received])
def test_checksums_find_every_flipped_bit_of_the_packed_form(name, way):
    whole = packed(sent(name, checksum=True))
    assert not refuses(way, whole)
    taken = [what for what, (changed,) in flips([whole]) if not refuses(way, changed)]
    assert not taken


def test_message_without_either_is_refused_or_is_data(tmp_path):
    """In another process, for nothing but the policy is between these messages and it."""
    messages = [sent(name) for name in OBJECTS]
    (tmp_path / "messages").write_bytes(msgpack.packb(messages))
    specimens = [(LIBRARIES.get(name, "numpy"), name, frames) for name, frames in zip(OBJECTS, messages, strict=True)]
    (tmp_path / "corpus").write_bytes(msgpack.packb(specimens))
    count = sum(1 for frames in messages for _ in changes(frames))
    source = f"changes:{tmp_path / 'messages'}"
    outcome = batches.run_all(tmp_path / "corpus", source, count, -(-count // 2))
    assert not outcome.findings
    loaded = {name: n for name, n in outcome.counts.items() if name.startswith("specimens")}
    assert sum(loaded.values()) == 2 * len(OBJECTS)
    assert sum(outcome.counts.values()) - sum(loaded.values()) == count
