import asyncio
import contextlib
import random
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import trustme
from helpers import run_python

import oobcodec
from oobcodec import sockets
from oobcodec.aio.connecting import connect
from oobcodec.aio.server import start_server
from oobcodec.auth import Keyring
from oobcodec.errors import (
    AuthenticationError,
    DecodeError,
    EncodeError,
    HeaderError,
    IntegrityError,
    LimitError,
    PoisonedError,
    PolicyError,
    TruncatedError,
)
from oobcodec.limits import Limits
from oobcodec.policy import DATA

LARGE = np.arange(4_000_000)
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")
HERE = ("127.0.0.1", 0)
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


@pytest.fixture(scope="module")
def tls():
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting, serving


@pytest.fixture(params=["plain", "keyring", "checksum", "tls", "tls and keyring"])
def manners(request, tls):
    """Options of the client and of the server."""
    both = {"keyring": KEYS} if "keyring" in request.param else {}
    if request.param == "checksum":
        both = {"checksum": True}
    if "tls" not in request.param:
        return both, both
    return {**both, "ssl": tls[0]}, {**both, "ssl": tls[1]}


@contextlib.asynccontextmanager
async def pair(client=None, server=None, address=HERE):
    accepted, done = asyncio.Queue(), asyncio.Event()

    async def handler(connection):
        accepted.put_nowait(connection)
        await done.wait()

    async with (
        await start_server(handler, address, **(server or {})) as listening,
        await connect(listening.address, **(client or {})) as near,
    ):
        try:
            yield near, await accepted.get()
        finally:
            done.set()


async def exchange(near, far, obj):
    _, got = await asyncio.gather(near.send(obj), far.recv())
    return got


def test_objects_arrive_both_ways(run, manners):
    async def main():
        async with pair(*manners) as (near, far):
            for obj in ({"a": 1}, LARGE, [bytes(300_000)], "", list(range(500_000))):
                for ends in ((near, far), (far, near)):
                    got = await exchange(*ends, obj)
                    assert np.array_equal(got, obj) if obj is LARGE else got == obj
            frames = oobcodec.dumps(LARGE)
            _, got = await asyncio.gather(near.send_frames(frames), far.recv_frames())
            np.testing.assert_array_equal(oobcodec.loads(got), LARGE)
            near.close()
            with pytest.raises(EOFError):
                await far.recv()

    run(main())


def test_a_unix_socket_and_a_name_work_too(run, tmp_path):
    async def main():
        for address in (str(tmp_path / "socket"), "localhost:0"):
            async with pair(address=address) as (near, far):
                assert await exchange(near, far, "hello") == "hello"
                assert near.peer
                assert far.peer
        assert not (tmp_path / "socket").exists()

    run(main())


def test_a_blocking_client_talks_to_this_server(run, manners):
    def talk(address):
        with sockets.connect(address, timeout=30, **manners[0]) as connection:
            for obj in ({"a": 1}, LARGE):
                connection.send(obj)
                np.testing.assert_equal(connection.recv(), obj)

    async def main():
        async def handler(connection):
            async for obj in connection:
                await connection.send(obj)

        async with await start_server(handler, HERE, **manners[1]) as server:
            await asyncio.to_thread(talk, server.address)

    run(main())


def test_this_client_talks_to_a_blocking_server(run, manners):
    def serve(listener):
        with listener.accept(30) as connection, contextlib.suppress(EOFError):
            while True:
                connection.send(connection.recv())

    async def main():
        with sockets.listen(HERE, **manners[1]) as listener:
            serving = asyncio.create_task(asyncio.to_thread(serve, listener))
            async with await connect(listener.address, timeout=30, **manners[0]) as connection:
                for obj in ({"a": 1}, LARGE):
                    _, got = await asyncio.gather(connection.send(obj), connection.recv())
                    np.testing.assert_equal(got, obj)
            await serving

    run(main())


def test_many_small_messages_arrive_in_order(run):
    async def main():
        async with pair() as (near, far):

            async def talk():
                for number in range(100_000):
                    await near.send(number)
                near.close()

            task = asyncio.create_task(talk())
            assert [number async for number in far] == list(range(100_000))
            await task

    run(main())


def test_a_slow_reader_stops_the_writer(run):
    async def main():
        async with pair() as (near, far):
            task = asyncio.create_task(near.send(LARGE))
            await asyncio.sleep(0.1)
            assert not task.done()
            np.testing.assert_array_equal(await far.recv(), LARGE)
            assert await task > LARGE.nbytes

    run(main())


def test_sends_wait_for_their_turn_and_one_that_is_cancelled_meanwhile_does_no_harm(run):
    async def main():
        async with pair() as (near, far):
            tasks = [asyncio.create_task(near.send(obj)) for obj in (LARGE, "cancelled", "third")]
            await asyncio.sleep(0.02)
            tasks[1].cancel()
            np.testing.assert_array_equal(await far.recv(), LARGE)
            assert await far.recv() == "third"
            await asyncio.wait(tasks)

    run(main())


def test_a_send_that_is_cancelled_inside_a_message_poisons_that_direction(run):
    async def main():
        async with pair() as (near, far):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await near.send(LARGE)
            with pytest.raises(PoisonedError, match=r"^to .*, message 1: this connection stopped inside a message: "):
                await near.send(1)
            with pytest.raises(TruncatedError, match=r"^from "):
                await far.recv()
            with pytest.raises(PoisonedError, match="TruncatedError"):
                await far.recv()
            assert await exchange(far, near, "back") == "back"

    run(main())


@pytest.mark.parametrize("secure", [False, True], ids=["keyring", "tls"])
def test_a_send_that_is_cancelled_inside_a_signed_or_encrypted_message_poisons(run, tls, secure):
    options = ({"ssl": tls[0]}, {"ssl": tls[1]}) if secure else ({"keyring": KEYS}, {"keyring": KEYS})

    async def main():
        async with pair(*options) as (near, far):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await near.send(LARGE)
            with pytest.raises(PoisonedError):
                await near.send(1)
            if not secure:
                with pytest.raises(PoisonedError):
                    await near.recv()
            with pytest.raises((TruncatedError, OSError)):
                await far.recv()

    run(main())


def test_a_recv_that_is_cancelled_anywhere_loses_nothing(run):
    async def main():
        many = [{"id": number} for number in range(100_000)]
        async with pair() as (near, far):
            for obj in (LARGE, many, "small"):
                task = asyncio.create_task(near.send(obj))
                while True:
                    try:
                        async with asyncio.timeout(random.random() / 30):
                            got = await (far.recv() if random.random() < 0.9 else asyncio.sleep(1))
                        break
                    except TimeoutError:
                        if obj is many and random.random() < 0.3:
                            got = await far.recv()
                            break
                assert np.array_equal(got, obj) if obj is LARGE else got == obj
                await task

    run(main())


def test_a_timeout_of_the_connection_ends_waits_and_loses_nothing(run):
    async def main():
        async with pair() as (near, far):
            for side in (near, far):
                side.timeout = 0.05
                assert side.timeout == 0.05
            with pytest.raises(TimeoutError, match=r"0\.05 s"):
                await far.recv()
            with pytest.raises(TimeoutError):
                await near.send(LARGE)
            for seconds in (0, -1):
                with pytest.raises(ValueError, match="leaves no time"):
                    near.timeout = seconds

    run(main())


def test_random_cancellations_leave_a_usable_or_a_poisoned_connection(run):
    async def main():
        chance = random.Random(7)
        done = 0
        while done < 250:
            async with pair() as (near, far):
                sent, got = [], []

                async def talk(near=near, sent=sent):
                    for number in range(chance.randrange(1, 6)):
                        sent.append([number, bytes(chance.choice([10, 70_000, 2_000_000]))])
                        await near.send(sent[-1])

                async def listen(far=far, got=got):
                    async for obj in far:
                        got.append(obj)

                for _ in range(5):
                    tasks = [asyncio.create_task(talk()), asyncio.create_task(listen())]
                    for _ in range(chance.randrange(40)):
                        await asyncio.sleep(0)
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    done += 1
                near.close()
                with contextlib.suppress(TruncatedError, PoisonedError):
                    await listen()
                # What was cancelled before anything of it was sent is missing; the rest is in order.
                rest = iter(sent)
                assert all(any(obj == other for other in rest) for obj in got)

    run(main())


def test_closing_wakes_who_waits(run):
    async def main():
        async with pair() as (near, far):
            sending = asyncio.create_task(far.send(LARGE))  # which the system does not take without a reader
            await asyncio.sleep(0.02)
            assert repr(far).startswith("<Connection, server of 127.0.0.1:")
            far.close()
            far.close()
            with pytest.raises(OSError, match="closed"):
                await sending
            with pytest.raises((TruncatedError, EOFError)):
                await near.recv()
            near.close()
            for call in (near.recv(), near.send(1), far.recv()):
                with pytest.raises(OSError, match="is closed"):
                    await call
            assert near.closed
            assert "closed" in repr(near)

    run(main())


def test_a_recv_under_which_the_connection_is_closed_sees_an_end(run):
    async def main():
        async with pair() as (near, _):
            receiving = asyncio.create_task(near.recv())
            await asyncio.sleep(0.02)
            await near.aclose()
            with pytest.raises(EOFError):
                await receiving

    run(main())


def test_what_is_refused_leaves_the_connection_where_it_can(run):
    async def main():
        async with pair(server={"policy": DATA, "limits": Limits(max_total_bytes=10_000)}) as (near, far):
            with pytest.raises(EncodeError):
                await near.send(threading.Lock())
            await near.send(print)
            with pytest.raises(PolicyError, match=r"^from .*, message 1: "):
                await far.recv()
            assert await exchange(near, far, "next") == "next"
            task = asyncio.create_task(near.send(bytes(20_000)))
            with pytest.raises(LimitError):
                await far.recv()
            with pytest.raises(PoisonedError):
                await far.recv()
            await asyncio.wait([task])
            task.exception()
            assert await exchange(far, near, "back") == "back"

    run(main())


def test_a_damaged_or_replayed_message_poisons_both_directions(run):
    async def main():
        async with pair({"keyring": KEYS}, {"keyring": KEYS}) as (near, far):
            near._session._sent += 1
            await near.send("out of order")
            with pytest.raises(AuthenticationError):
                await far.recv()
            for call in (far.recv(), far.send(1)):
                with pytest.raises(PoisonedError, match="AuthenticationError"):
                    await call
        async with pair() as (near, far):
            frames = oobcodec.dumps(np.arange(1000), checksum=True)
            frames[-1] = memoryview(bytes(frames[-1].nbytes))
            await near.send_frames(frames)
            with pytest.raises(IntegrityError):
                await far.recv_frames()

    run(main())


def test_a_keyring_that_only_verifies_sends_nothing(run):
    async def main():
        async with pair({"keyring": Keyring({"first": bytes(range(32))})}, {"keyring": KEYS}) as (near, far):
            with pytest.raises(EncodeError):
                await near.send(1)
            assert await exchange(far, near, 2) == 2

    run(main())


def test_one_byte_at_a_time_is_a_message_in_the_end(run):
    async def main():
        async with pair() as (near, far):
            obj = {"x": np.arange(20)}
            data = bytes(oobcodec.pack(oobcodec.dumps(obj)))
            task = asyncio.create_task(far.recv())
            for byte in data:
                near._line._sock.send(bytes([byte]))
                await asyncio.sleep(0)
            np.testing.assert_equal(await task, obj)

    run(main())


def test_a_peer_that_is_killed_inside_a_message_is_noticed(run):
    code = """
        import asyncio, os, signal, sys, numpy
        from oobcodec import aio
        async def main():
            connection = await aio.connect(sys.argv[1])
            asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGKILL)
            await connection.send(numpy.ones(10_000_000))
        asyncio.run(main())
    """

    async def main():
        found = asyncio.get_running_loop().create_future()

        async def handler(connection):
            await asyncio.sleep(1)
            try:
                await connection.recv()
            except (DecodeError, OSError) as error:
                found.set_result(error)

        async with await start_server(handler, HERE) as server:
            with contextlib.suppress(AssertionError):
                await asyncio.to_thread(run_python, code, server.address, measured=False)
            assert isinstance(await found, TruncatedError | ConnectionResetError)

    run(main())


@pytest.mark.parametrize("options", [{"server_hostname": "x"}, {"writable": 1, "nonsense": 2}])
def test_options_that_make_no_sense_are_refused(run, options):
    with pytest.raises((ValueError, TypeError)):
        run(connect("127.0.0.1:1", **options))


def test_nobody_there_is_an_os_error(run, tmp_path):
    with socket.create_server(HERE) as gone:
        port = gone.getsockname()[1]
    for address in (("127.0.0.1", port), ("localhost", port), str(tmp_path / "nothing")):
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)) as caught:
            run(connect(address))
        assert caught.value.__notes__ == [f"to connect to {address}"]


def test_nobody_there_in_time_is_an_error_that_says_so(run, tmp_path):
    path = str(tmp_path / "oob")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        with pytest.raises(TimeoutError, match=r"^not connected within 0\.05 s") as caught:
            run(connect(path, timeout=0.05))
    assert caught.value.__notes__ == [f"to connect to {path}"]


def test_a_server_that_is_none_is_no_connection(run):
    def answer(server, data):
        sock = server.accept()[0]
        with sock:
            sock.sendall(data)
            with contextlib.suppress(OSError):  # the other side may be gone by now
                if len(data) != 1:
                    sock.shutdown(socket.SHUT_WR)
                while data and sock.recv(1000):
                    pass

    async def main(data, error):
        with socket.create_server(HERE) as server:
            task = asyncio.create_task(asyncio.to_thread(answer, server, data))
            with pytest.raises(error, match=r"from |no hello"):
                await connect(server.getsockname(), hello_timeout=0.3)
            await task

    run(main(b"HTTP/1.1 400 no\r\n\r\n" * 9, HeaderError))
    run(main(b"", TruncatedError))
    run(main(b"\xd0", TimeoutError))


def test_keyboard_interrupt_leaves_nothing_behind():
    code = """
        import asyncio, sys
        from oobcodec import aio
        async def handler(connection):
            async for obj in connection:
                await connection.send(obj)
        async def main():
            server = await aio.start_server(handler, ("127.0.0.1", 0))
            async with server, await aio.connect(server.address) as connection:
                await connection.send(1)
                assert await connection.recv() == 1
                print("ready", flush=True)
                await connection.recv()
        asyncio.run(main(), debug=True)
    """
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    for word in ("ResourceWarning", "was destroyed", "never retrieved", "never awaited", "Exception ignored"):
        assert word not in errors
