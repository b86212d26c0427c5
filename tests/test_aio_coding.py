import asyncio
import threading

import numpy as np
import pytest
from helpers import run_python

import oobcodec
from oobcodec.aio.coding import decode, encode
from oobcodec.auth import Keyring
from oobcodec.errors import EncodeError, IntegrityError
from oobcodec.policy import DATA

KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")
MANY = [{"id": number, "name": str(number)} for number in range(100_000)]


class Witness:
    """Notes the threads that take it apart and put it together."""

    threads: list

    def __init__(self, payload):
        self.payload = payload

    def __reduce__(self):
        return Witness.rebuild, (self.payload, Noting())

    @staticmethod
    def rebuild(payload, _):
        return Witness(payload)


class Noting:
    dumped = None
    loaded = None

    def __reduce__(self):
        Noting.dumped = threading.current_thread()
        return Noting.load, ()

    @staticmethod
    def load():
        Noting.loaded = threading.current_thread()
        return Noting()


@pytest.mark.parametrize("options", [{}, {"checksum": True}, {"keyring": KEYS}, {"copy": True}], ids=str)
@pytest.mark.parametrize(
    "obj",
    [{"a": 1}, MANY, "text", [b"x" * 2_000_000], ["__main__"]],
    ids=["small", "many", "text", "bytes", "like a name that goes by value"],
)
def test_what_comes_out_is_what_dumps_makes(obj, options):
    made = asyncio.run(encode(obj, **options))
    keys = {"keyring": KEYS} if "keyring" in options else {}
    assert oobcodec.loads(made, **keys) == obj
    assert asyncio.run(decode(made, **keys)) == obj
    if "keyring" not in options:
        assert b"".join(made) == b"".join(oobcodec.dumps(obj, **options))


def test_long_streams_are_coded_by_a_thread_and_short_ones_by_the_loop():
    for payload, aside in (("small", False), (MANY, True)):
        frames = asyncio.run(encode(Witness([payload])))
        assert (Noting.dumped is not threading.main_thread()) is aside
        asyncio.run(decode(frames))
        assert (Noting.loaded is not threading.main_thread()) is aside


def test_large_bytes_by_reference_are_no_long_stream():
    asyncio.run(encode(Witness([b"x" * 5_000_000, bytes(300_000)])))
    assert Noting.dumped is threading.main_thread()


def test_a_thread_rebuilds_under_data_too():
    assert asyncio.run(decode(asyncio.run(encode(MANY[:20_000])), policy=DATA)) == MANY[:20_000]


def test_digests_of_large_messages_are_checked():
    frames = asyncio.run(encode(np.ones(1_000_000), checksum=True))
    damaged = [*frames[:-1], memoryview(bytes(frames[-1].nbytes))]
    with pytest.raises(IntegrityError):
        asyncio.run(decode(damaged))


def test_what_refuses_to_be_sent_is_named_also_from_a_thread():
    with pytest.raises(EncodeError, match="lock"):
        asyncio.run(encode([MANY, threading.Lock()]))
    with pytest.raises(EncodeError, match="lock"):
        asyncio.run(encode([threading.Lock()]))


def test_code_travels_by_value_and_lets_the_loop_run():
    obj = (lambda number: number + 1, MANY)
    function, many = asyncio.run(decode(asyncio.run(encode(obj))))
    assert function(1) == 2
    assert many == MANY


def test_what_a_reducer_registers_meanwhile_is_used():
    code = """
        import asyncio, oobcodec
        from oobcodec.aio.coding import encode
        class Late: pass
        class Early:
            def __reduce__(self):
                oobcodec.register_reducer(Late, lambda late: (str, ("late",)))
                return str, ("early",)
        print(oobcodec.loads(asyncio.run(encode([Early(), Late()]))))
    """
    assert run_python(code).strip() == b"['early', 'late']"


def test_the_file_that_a_stream_is_read_from_is_asked_for_each_pickle_frame(monkeypatch):
    from oobcodec import engine

    frames, sizes = oobcodec.dumps(MANY), []
    read = engine._Stream.read
    monkeypatch.setattr(engine._Stream, "read", lambda self, size: sizes.append(size) or read(self, size))
    assert asyncio.run(decode(frames)) == MANY
    assert len(sizes) > frames[1].nbytes // (256 * 1024)
    assert max(sizes) < 256 * 1024
