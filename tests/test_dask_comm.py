"""Connections of Dask with ``oob://``: what its own tests ask of connections, and what is better than theirs."""

import asyncio
import contextlib
import functools
import pickle
import socket
import ssl
import threading

import numpy as np
import pytest
from conformance.judgement import Holder

pytest.importorskip("distributed", reason="distributed, whose connections these are, is not installed")

from distributed.comm import CommClosedError, connect, get_address_host, listen, resolve_address
from distributed.protocol import Serialized, to_serialize
from distributed.protocol.serialize import Pickled, ToPickle

from oobcodec.integrations.dask.comm import SENT_AHEAD

MIB = 1 << 20
HERE = "oob://127.0.0.1"
LONG = 30  # seconds: nothing here takes that long
MUCH = np.zeros(64 * MIB, "u1")  # more than the system takes from who writes before another reads


def running(test):
    """Run a coroutine as a test."""

    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(asyncio.wait_for(test(*arguments, **named), LONG))

    return run


@contextlib.asynccontextmanager
async def pair(address=HERE, *, deserialize=True, **arguments):
    """Give both ends of a connection."""
    arrived = asyncio.Queue()
    async with listen(address, arrived.put, deserialize=deserialize, **arguments) as listener:
        here = await connect(listener.contact_address, deserialize=deserialize, **arguments)
        there = await arrived.get()
        try:
            yield here, there
        finally:
            here.abort()
            there.abort()


async def sent(here, there, msg, **options):
    """Return what arrives of a message, and how long its sender says that it is."""
    return tuple(await asyncio.gather(there.read(), here.write(msg, **options)))


async def passed(msg, **options):
    async with pair(**options) as (here, there):
        first, _ = await sent(here, there, msg)
        second, _ = await sent(there, here, msg)
    np.testing.assert_equal(first, second)
    return first


# Messages


@running
async def test_messages_arrive_as_msgpack_has_them():
    plain = {"op": "update", "x": b"abc", "é": ("a", 1.5, None, True), "n": {}, "set": {1, 2}}
    assert await passed(plain | {"é": ["a", 1.5, None, True]}) == plain
    assert await passed([{"op": "a"}, {"op": "b"}]) == ({"op": "a"}, {"op": "b"})


@running
async def test_what_is_marked_arrives_as_what_it_is():
    x = np.ones(MIB)
    want = {"deep": {"x": {"y": [1, (2, x)]}}, "list": (ToPickle({1}).data, x)}
    got = await passed({"deep": {"x": to_serialize(want["deep"]["x"])}, "list": [ToPickle({1}), ToPickle(x)]})
    np.testing.assert_equal(got, want)
    assert await passed({"x": Pickled({"pickled-obj": pickle.dumps([1])}, [])}) == {"x": [1]}


@running
async def test_what_msgpack_does_not_know_is_pickled():
    np.testing.assert_equal(await passed({"z": 1j, "x": to_serialize(np.ones(3))}), {"z": 1j, "x": np.ones(3)})


@pytest.mark.parametrize("nbytes", [0, 1, 1000, 65_535, 65_536, 3 * MIB, 70 * MIB])
@running
async def test_arrays_of_any_size(nbytes):
    data = np.random.default_rng(nbytes).integers(0, 256, nbytes, "u1")
    async with pair() as (here, there):
        got, count = await sent(here, there, {"x": to_serialize([data, data.copy()])})
        assert 2 * nbytes < count < 2 * nbytes + 4096
        np.testing.assert_equal(got["x"], [data, data])


@running
async def test_large_frames_arrive_aligned_each_in_memory_of_its_own():
    arrays = [np.arange(100_000.0) + i for i in range(4)]
    got = await passed({"x": to_serialize(arrays[:3]), "y": to_serialize(arrays[3])})
    got = [*got["x"], got["y"]]
    assert [array.ctypes.data % 64 for array in got] == [0] * 4
    assert [array.flags.writeable for array in got] == [True] * 4
    exporters = {id(memoryview(array.base).obj) for array in got}
    assert len(exporters) == 4


@running
async def test_messages_of_many_frames():
    got = await passed({str(i): to_serialize(np.full(200, i)) for i in range(3000)})
    assert all((got[str(i)] == np.full(200, i)).all() for i in range(3000))


@running
async def test_many_messages_both_ways_at_once():
    messages = [{"n": i, "x": to_serialize(np.arange(float(i * 1000)))} for i in range(50)]

    async def write(comm):
        for msg in messages:
            await comm.write(msg)

    async def read(comm):
        return [await comm.read() for _ in messages]

    async with pair() as (here, there):
        *_, first, second = await asyncio.gather(write(here), write(there), read(here), read(there))
    for got in (first, second):
        assert [(msg["n"], msg["x"].size) for msg in got] == [(i, i * 1000) for i in range(50)]


@pytest.mark.parametrize(("first", "second"), [("oob", "oob"), ("tcp", "oob"), ("oob", "tcp")])
@running
async def test_a_relay_passes_on_what_it_does_not_open(first, second):
    x = np.arange(10 * MIB)  # more than Dask sends in one piece
    msg = {"x": to_serialize({"a": [x, x[:3]]}), "y": ToPickle((1, 2))}
    async with (
        pair(f"{first}://127.0.0.1", deserialize=False) as (here, relay),
        pair(f"{second}://127.0.0.1") as (onward, there),
    ):
        got, _ = await sent(here, relay, msg)
        assert isinstance(got["x"], Serialized)
        got, _ = await sent(onward, there, got)
    np.testing.assert_equal(got, {"x": {"a": [x, x[:3]]}, "y": (1, 2)})


@running
async def test_serializers_that_are_asked_for():
    async with pair() as (here, there):
        msg = {"x": to_serialize(Holder("x", 1))}
        with pytest.raises(TypeError, match="Could not serialize"):
            await here.write(msg, serializers=["msgpack"], on_error="raise")
        with pytest.raises(TypeError, match="Could not serialize"):  # which the reader is told
            await sent(here, there, msg, serializers=["msgpack"])
        with pytest.raises(TypeError, match="only able to deserialize"):
            await asyncio.gather(here.write(msg), there.read(deserializers=["msgpack"]))
        assert (await sent(here, there, msg))[0] == {"x": Holder("x", 1)}


class Spy:
    """Says in which thread it is pickled."""

    def __init__(self):
        self.data = np.zeros(20 * MIB, "u1")

    def __reduce__(self):
        return str, (threading.current_thread().name,)


@pytest.mark.parametrize("allowed", [True, False])
@running
async def test_what_is_large_is_serialized_in_a_thread_if_that_is_allowed(allowed):
    async with pair() as (here, there):
        here.allow_offload = allowed
        got, _ = await sent(here, there, {"x": to_serialize(Spy())})
    assert (got["x"] == threading.main_thread().name) != allowed


# Ends


@running
async def test_who_writes_waits_for_who_reads():
    async with pair() as (here, there):
        writing = asyncio.ensure_future(here.write({"x": to_serialize(MUCH)}))
        assert not (await asyncio.wait({writing}, timeout=0.2))[0]
        assert (await there.read())["x"].nbytes < await writing


@pytest.mark.parametrize(("address", "near"), [("127.0.0.1", True), ("127.0.0.2", False)])
@running
async def test_the_system_holds_less_for_a_reader_on_the_same_machine(address, near):
    async with pair(f"oob://{address}") as (here, there):
        assert here.same_host == near
        held = here.stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert (held in {SENT_AHEAD, 2 * SENT_AHEAD}) == near  # Linux doubles it
        assert (await sent(here, there, {"x": to_serialize(MUCH)}))[0]["x"].nbytes == MUCH.nbytes


@running
async def test_what_was_written_before_the_end_arrives():
    async with pair() as (here, there):
        await here.write({"x": 1})
        await here.close()
        assert await there.read() == {"x": 1}
        with pytest.raises(CommClosedError):
            await there.read()


@pytest.mark.parametrize("how", ["close", "abort"])
@running
async def test_a_closed_connection(how):
    async with pair() as (here, there):
        reading = asyncio.ensure_future(there.read())
        await asyncio.sleep(0)
        assert not here.closed()
        ending = getattr(here, how)()
        if how == "close":
            await ending
        with pytest.raises(CommClosedError):
            await reading
        for end in (here, there):
            assert end.closed()
            for use in (end.read, functools.partial(end.write, {})):
                with pytest.raises(CommClosedError):
                    await use()
            await end.close()


@running
async def test_an_end_inside_a_message():
    async with pair() as (here, there):
        writing = asyncio.ensure_future(here.write({"x": to_serialize(MUCH)}))
        reading = asyncio.ensure_future(there.read())
        await asyncio.sleep(0)
        there.abort()
        with pytest.raises(CommClosedError):
            await writing
        with pytest.raises(CommClosedError):
            await reading


@running
async def test_cancelled_inside_a_message_it_closes():
    async with pair() as (here, there):
        writing = asyncio.ensure_future(here.write({"x": to_serialize(MUCH)}))
        assert not (await asyncio.wait({writing}, timeout=0.2))[0]
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert here.closed()
        with pytest.raises(CommClosedError):
            await there.read()


@running
async def test_after_what_cannot_be_rebuilt_comes_the_next_message():
    async with pair() as (here, there):
        broken = Serialized({"serializer": "pickle", "writeable": ()}, [pickle.dumps([1])[:-1]])
        with pytest.raises(pickle.UnpicklingError):
            await sent(here, there, {"x": broken})
        assert (await sent(here, there, {"x": 1}))[0] == {"x": 1}


# Addresses


@running
async def test_what_does_not_speak_it_is_told_apart():
    async with listen(HERE, None) as listener:
        address = listener.contact_address.replace("oob://", "tcp://")
        with pytest.raises((CommClosedError, OSError)):
            await connect(address, timeout=1)
    async with listen("tcp://127.0.0.1", None) as listener:
        with pytest.raises(CommClosedError, match="not an oobcodec message"):
            await connect(listener.contact_address.replace("tcp://", "oob://"), timeout=1)


@running
async def test_where_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Timed out"):
            await connect(f"{HERE}:{taken.getsockname()[1]}", timeout=0.2)


@running
async def test_a_listener_that_has_stopped():
    async with listen(HERE, None) as listener:
        address = listener.contact_address
    with pytest.raises(OSError, match="Timed out"):
        await connect(address, timeout=0.2)


@running
async def test_many_connections():
    async def answer(comm):
        await comm.write(await comm.read())

    async with listen(HERE, answer) as listener:
        comms = await asyncio.gather(*(connect(listener.contact_address) for _ in range(50)))
        await asyncio.gather(*(comm.write({"n": n}) for n, comm in enumerate(comms)))
        assert [await comm.read() for comm in comms] == [{"n": n} for n in range(50)]
        await asyncio.gather(*(comm.close() for comm in comms))


@running
async def test_addresses_say_how_to_speak():
    async with pair("oob://0.0.0.0") as (here, there):
        assert here.peer_address.startswith("oob://")
        assert here.local_address == there.peer_address
        assert here.same_host
        assert here.remote_info["address"] == here.peer_address
    assert get_address_host("oob://1.2.3.4:5") == "1.2.3.4"
    assert resolve_address("oob://localhost:5") in {"oob://127.0.0.1:5", "oob://[::1]:5"}


@running
async def test_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with pair("oob://[::1]") as (here, there):
        assert (await sent(here, there, {"x": to_serialize(1)}))[0] == {"x": 1}


@running
async def test_what_has_to_be_encrypted_is_refused():
    for attempt in (functools.partial(connect, timeout=1), lambda *a, **k: asyncio.sleep(0, listen(*a, None, **k))):
        with pytest.raises(RuntimeError, match="encryption required"):
            await attempt(f"{HERE}:1", require_encryption=True)


@pytest.fixture(scope="module")
def contexts():
    trustme = pytest.importorskip("trustme", reason="trustme, which makes certificates, is not installed")
    authority, stranger = trustme.CA(), trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client, other = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(client)
    stranger.configure_trust(other)
    for context in (client, other):
        context.check_hostname = False  # as Dask has it
    return server, client, other


@running
async def test_tls(contexts):
    server, client, stranger = contexts
    arrived = asyncio.Queue()
    async with listen("oobs://127.0.0.1", arrived.put, ssl_context=server, require_encryption=True) as listener:
        here = await connect(listener.contact_address, ssl_context=client, require_encryption=True)
        there = await arrived.get()
        assert here.extra_info["cipher"]
        x = np.arange(MIB)
        got, _ = await sent(here, there, {"x": to_serialize([x])})
        np.testing.assert_array_equal(got["x"], [x])
        assert got["x"][0].ctypes.data % 64 == 0
        await here.close()
        there.abort()
        with pytest.raises(OSError, match="certificate"):
            await connect(listener.contact_address, ssl_context=stranger, timeout=1)
        with pytest.raises(TypeError, match="ssl_context"):
            await connect(listener.contact_address, timeout=1)
