import asyncio
import contextlib
import random
import socket
import ssl
import threading

import numpy as np
import pytest
import trustme

import oobcodec
from oobcodec import sockets
from oobcodec.aio.transfer import recv, recv_frames, send, send_frames
from oobcodec.auth import Keyring
from oobcodec.errors import AuthenticationError, EncodeError, HeaderError, LimitError, PoisonedError, TruncatedError
from oobcodec.limits import Limits
from oobcodec.packed import pack

LARGE = np.arange(4_000_000)  # no socket here holds that much without a reader
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")
try:
    import uvloop
except ImportError:
    uvloop = None


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    if request.param == "uvloop" and uvloop is None:
        pytest.skip("uvloop is not installed")
    factory = uvloop.new_event_loop if request.param == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        yield lambda main: runner.run(asyncio.wait_for(main, 100))


@contextlib.contextmanager
def pair():
    near, far = socket.socketpair()
    with near, far:
        for sock in (near, far):
            sock.settimeout(0)
        yield near, far


@contextlib.asynccontextmanager
async def streams(tls=None):
    """Yield the reader and the writer of two ends."""
    accepted = asyncio.Queue()
    client, serving = tls or (None, None)
    server = await asyncio.start_server(lambda *ends: accepted.put_nowait(ends), "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    near = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=tls and "peer.example")
    far = await accepted.get()
    try:
        yield near, far
    finally:
        for _, writer in (near, far):
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        server.close()
        await server.wait_closed()


@pytest.fixture(scope="module")
def tls():
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("peer.example").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting, serving


async def stopped_inside(sending):
    """Let a task send until nothing more goes."""
    task = asyncio.create_task(sending)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("obj", [{"a": 1}, LARGE, [bytes(100_000)] * 5, ""], ids=["small", "large", "bytes", "empty"])
@pytest.mark.parametrize("options", [{}, {"keyring": KEYS}], ids=["plain", "keyring"])
def test_objects_arrive_over_sockets(run, obj, options):
    async def main():
        with pair() as (near, far):
            for _ in range(3):
                sent, got = await asyncio.gather(send(near, obj, **options), recv(far, **options))
                assert sent >= oobcodec.packed_size(oobcodec.dumps(obj))
                np.testing.assert_equal(got, obj)
            near.close()
            with pytest.raises(EOFError):
                await recv(far)

    run(main())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_objects_arrive_over_streams(run, tls, secure):
    async def main():
        async with streams(tls if secure else None) as ((reader, writer), (other_reader, other_writer)):
            limits = writer.transport.get_write_buffer_limits()
            for obj in ({"a": 1}, LARGE, "", [np.arange(5)] * 30):
                _, got = await asyncio.gather(send(writer, obj), recv(other_reader))
                np.testing.assert_equal(got, obj)
                _, got = await asyncio.gather(send(other_writer, obj), recv(reader))
                np.testing.assert_equal(got, obj)
            assert writer.transport.get_write_buffer_limits() == limits
            assert writer.transport.get_write_buffer_size() <= 1

    run(main())


def test_what_a_blocking_socket_sends_is_received_and_back(run):
    async def main():
        with pair() as (near, far):
            far.settimeout(10)
            for obj in ({"a": [1]}, LARGE):
                task = asyncio.create_task(asyncio.to_thread(sockets.recv, far))
                await send(near, obj)
                np.testing.assert_equal(await task, obj)
                task = asyncio.create_task(asyncio.to_thread(sockets.send, far, obj))
                np.testing.assert_equal(await recv(near), obj)
                await task

    run(main())


def test_a_large_array_lies_where_it_was_received_and_that_can_be_chosen(run):
    async def main():
        memory = bytearray(LARGE.nbytes)
        with pair() as (near, far):
            _, got = await asyncio.gather(send(near, LARGE), recv(far, allocate=lambda *_: memory))
        assert np.shares_memory(got, np.frombuffer(memory, "B"))

    run(main())


def test_frames_are_sent_and_received_as_they_are(run):
    async def main():
        frames = oobcodec.dumps({"x": LARGE})
        with pair() as (near, far):
            _, got = await asyncio.gather(send_frames(near, frames), recv_frames(far))
            assert [bytes(frame) for frame in got] == [bytes(frame) for frame in frames]
            with pytest.raises(HeaderError):
                await send_frames(near, frames[:-1])
            with pytest.raises(EncodeError):
                await send(near, {"lock": threading.Lock()})

    run(main())


def test_a_blocking_socket_is_refused(run):
    async def main():
        near, far = socket.socketpair()
        with near, far:
            for call in (send(near, 1), recv(near)):
                with pytest.raises(ValueError, match=r"setblocking\(False\)"):
                    await call

    run(main())


def test_a_send_that_stops_inside_a_message_poisons_the_socket(run):
    async def main():
        with pair() as (near, far):
            await stopped_inside(send(near, LARGE))
            with pytest.raises(PoisonedError, match="bytes sent, then CancelledError"):
                await send(near, 1)
            with pytest.raises(TruncatedError):
                await recv(far)
            with pytest.raises(PoisonedError, match="TruncatedError"):
                await recv(far)
            await send(far, "the other direction")
            assert await recv(near) == "the other direction"

    run(main())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_send_that_stops_inside_a_message_poisons_the_writer(run, tls, secure):
    async def main():
        async with streams(tls if secure else None) as ((_, writer), (reader, _)):
            await stopped_inside(send(writer, LARGE))
            with pytest.raises(PoisonedError):
                await send(writer, 1)
            with pytest.raises((TruncatedError, ConnectionResetError)):
                await recv(reader)
            with pytest.raises(PoisonedError):
                await recv(reader)

    run(main())


def test_a_writer_that_is_closed_is_lost(run):
    async def main():
        async with streams() as ((_, writer), _):
            writer.close()
            with pytest.raises(ConnectionResetError):
                await send(writer, 1)

    run(main())


def test_a_recv_that_is_cancelled_between_messages_leaves_a_usable_socket(run):
    async def main():
        with pair() as (near, far):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await recv(far)
            await send(near, "next")
            assert await recv(far) == "next"

    run(main())


def test_a_recv_that_stops_inside_a_message_poisons_the_socket(run):
    async def main():
        with pair() as (near, far):
            near.send(bytes(pack(oobcodec.dumps("half")))[:20])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await recv(far)
            with pytest.raises(PoisonedError, match="20 bytes received, then CancelledError"):
                await recv(far)

    run(main())


def test_what_the_limits_and_keys_refuse_is_refused(run):
    async def main():
        for options, error in (
            ({"limits": Limits(max_total_bytes=1000)}, LimitError),
            ({"keyring": KEYS}, AuthenticationError),
        ):
            with pair() as (near, far):
                task = asyncio.create_task(send(near, bytes(50_000)))
                with pytest.raises(error):
                    await recv(far, **options)
                with pytest.raises(PoisonedError):
                    await recv(far)
                task.cancel()
                await asyncio.wait([task])

    run(main())


def test_one_byte_at_a_time_is_a_message_in_the_end(run):
    async def main():
        obj = {"x": np.arange(100)}
        with pair() as (near, far):
            task = asyncio.create_task(recv(far))
            for byte in bytes(pack(oobcodec.dumps(obj))):
                near.send(bytes([byte]))
                await asyncio.sleep(0)
            np.testing.assert_equal(await task, obj)

    run(main())


def test_random_cancellations_leave_a_usable_or_a_poisoned_socket(run):
    async def talk(near, far, chance):
        obj = [chance.random(), bytes(chance.choice([10, 100_000, 3_000_000]))]
        sending, receiving = asyncio.create_task(send(near, obj)), asyncio.create_task(recv(far))
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        victim, other = chance.sample([sending, receiving], 2)
        victim.cancel()
        await asyncio.wait([victim])
        if victim.cancelled() and victim is receiving:
            await asyncio.sleep(0)
            other.cancel()
        await asyncio.wait([sending, receiving], timeout=0.2)
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        if not receiving.cancelled() and receiving.exception() is None:
            assert receiving.result() == obj
        with contextlib.suppress(PoisonedError, OSError, EOFError, TruncatedError):
            async with asyncio.timeout(0.2):
                _, got = await asyncio.gather(send(near, "next"), recv(far))
                assert got in ("next", obj)

    async def main():
        chance = random.Random(5)
        for _ in range(250):
            with pair() as (near, far):
                await talk(near, far, chance)

    run(main())
