import asyncio
import contextlib
import logging
import resource
import socket
import ssl

import numpy as np
import pytest
import trustme

from oobcodec.aio.connecting import connect
from oobcodec.aio.server import _end, start_server
from oobcodec.auth import Keyring
from oobcodec.errors import InsecureError, LimitError
from oobcodec.hello import new_hello
from oobcodec.policy import DATA

HERE = ("127.0.0.1", 0)
MIB = 1 << 20
KEYS = Keyring({"first": bytes(range(32))}, sign_with="first")


@pytest.fixture
def run():
    with asyncio.Runner() as runner:
        yield lambda main: runner.run(asyncio.wait_for(main, 100))


async def echo(connection):
    async for obj in connection:
        await connection.send(obj)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "oobcodec"]


def test_an_exposed_address_is_refused_unless_somebody_vouches_for_it(run):
    async def main():
        with pytest.raises(InsecureError):
            await start_server(echo, ("0.0.0.0", 0))
        for options in ({"insecure": True}, {"policy": DATA}, {"keyring": KEYS}):
            server = await start_server(echo, ("0.0.0.0", 0), **options)
            server.close()
            await server.wait_closed()

    run(main())


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_timeout_leaves_some_time(run, seconds):
    for begin in (connect, lambda address, **options: start_server(echo, address, **options)):
        with pytest.raises(ValueError, match="leaves no time"):
            run(begin("127.0.0.1:0", timeout=seconds))


def test_what_a_handler_raises_is_logged_and_ends_its_connection_only(run, caplog):
    async def handler(connection):
        if await connection.recv() == "bad":
            message = "no good"
            raise ValueError(message)
        await connection.send("good")

    async def main():
        async with (
            await start_server(handler, HERE) as server,
            await connect(server.address) as bad,
            await connect(server.address) as good,
        ):
            await bad.send("bad")
            with pytest.raises(EOFError):
                await bad.recv()
            await good.send("good")
            assert await good.recv() == "good"

    run(main())
    (record,) = [record for record in caplog.records if record.name == "oobcodec"]
    assert record.levelno == logging.ERROR
    assert "from 127.0.0.1:" in record.getMessage()
    assert "no good" in record.exc_text


def test_peers_that_are_silent_or_none_of_ours_delay_nobody_and_are_told_of(run, caplog):
    async def main():
        async with await start_server(echo, HERE, hello_timeout=0.5) as server:
            host, port = server.address.split(":")
            strangers = [socket.create_connection((host, port)) for _ in range(3)]
            strangers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
            async with await connect(server.address) as connection:
                await connection.send(1)
                assert await connection.recv() == 1
            await asyncio.sleep(1)
            for stranger in strangers:
                stranger.close()

    run(main())
    texts = warnings(caplog)
    assert len(texts) == 3
    assert sum("HTTP" in text for text in texts) == 1
    assert sum("no hello within 0.5 s" in text for text in texts) == 2


def test_of_too_many_that_say_nothing_the_oldest_goes(run, caplog):
    async def main():
        async with await start_server(echo, HERE, hello_timeout=None, backlog=2) as server:
            host, port = server.address.split(":")
            strangers = [socket.create_connection((host, port)) for _ in range(3)]
            await asyncio.sleep(0.2)
            strangers[0].settimeout(10)
            while len(await asyncio.to_thread(strangers[0].recv, 100)):
                pass
            async with await connect(server.address) as connection:
                await connection.send(1)
                assert await connection.recv() == 1
            for stranger in strangers:
                stranger.close()

    run(main())
    assert "no hello while 2 others connected" in warnings(caplog)[0]


def test_those_that_say_nothing_are_never_more_than_the_backlog(run):
    async def main():
        async with await start_server(echo, HERE, hello_timeout=None, backlog=4) as server:
            host, port = server.address.split(":")
            strangers = []
            for _ in range(5):
                # Without a turn for the server in between, which then accepts them all in one of its own.
                strangers += [socket.create_connection((host, port)) for _ in range(4)]
                await asyncio.sleep(0.1)
                assert len(server._callers) == 4
            for stranger in strangers:
                stranger.close()

    run(main())


@pytest.mark.parametrize("hello", [b"", new_hello(listening=False, signing=False).encode()], ids=["silent", "polite"])
def test_who_was_accepted_as_it_closes_gets_no_handler(run, caplog, hello):
    called = []

    async def handler(connection):
        called.append(connection)
        await echo(connection)

    async def main():
        server = await start_server(handler, HERE, hello_timeout=None)
        host, port = server.address.split(":")
        with socket.create_connection((host, port)) as stranger:
            stranger.sendall(hello)
            while not server._tasks:  # noqa: ASYNC110  # not a turn later
                await asyncio.sleep(0)
            assert not server._callers
            server.close()
            await server.wait_closed()

    run(main())
    assert not called
    assert [text for text in warnings(caplog) if "no hello until the server was closed" in text] or hello


def test_a_failed_handshake_of_tls_is_told_of(run, caplog):
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)

    async def main():
        async with await start_server(echo, HERE, ssl=serving) as server:
            with pytest.raises(ssl.SSLError):
                await connect(server.address, ssl=ssl.create_default_context())
            await asyncio.sleep(0.2)

    run(main())
    assert "no connection came of it" in warnings(caplog)[0]


def test_closing_ends_connections_and_waits_for_their_handlers(run):
    ended = []

    async def handler(connection):
        async for _ in connection:
            pass
        await asyncio.sleep(0.05)
        ended.append(connection.closed)

    async def main():
        server = await start_server(handler, HERE)
        forever = asyncio.create_task(server.serve_forever())
        async with await connect(server.address) as connection:
            await asyncio.sleep(0.05)
            assert "1 connections" in repr(server)
            server.close()
            server.close()
            await server.wait_closed()
            assert ended == [True]
            assert "closed" in repr(server)
            await forever
            with pytest.raises((EOFError, ConnectionError)):
                await connection.recv()
            with pytest.raises(ConnectionRefusedError):
                await connect(server.address)

    run(main())


def test_serving_for_ever_ends_with_its_task_and_drops_who_says_nothing(run):
    async def main():
        server = await start_server(echo, HERE)
        host, port = server.address.split(":")
        with socket.create_connection((host, port)):
            await asyncio.sleep(0.05)
            forever = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0.05)
            forever.cancel()
            await asyncio.wait([forever])
            assert forever.cancelled()

    run(main())


def test_a_process_without_file_descriptors_goes_on_when_it_has_some(run, caplog, monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        accept = loop.sock_accept
        failures = [OSError(24, "Too many open files")]

        async def sock_accept(sock):
            if failures:
                raise failures.pop()
            return await accept(sock)

        loop.sock_accept = sock_accept
        async with await start_server(echo, HERE) as server, await connect(server.address) as connection:
            await connection.send(1)
            assert await connection.recv() == 1

    run(main())
    assert "Too many open files" in warnings(caplog)[0]


def test_the_memory_of_all_connections_is_one_budget(run):
    async def main():
        sizes, inside, most = [3 * MIB, MIB, 2 * MIB, 5 * MIB, MIB], 0, 0

        async def handler(connection):
            nonlocal inside, most
            async for array in connection:
                inside = server._welcome.budget._all - server._welcome.budget._free
                most = max(most, inside)
                await connection.send(array.nbytes)

        async def client(nbytes):
            async with await connect(server.address) as connection:
                for _ in range(5):
                    await connection.send(np.ones(nbytes, "B"))
                    assert await connection.recv() == nbytes

        async with await start_server(handler, HERE, max_bytes=6 * MIB) as server:
            await asyncio.gather(*map(client, sizes * 2))
            assert most <= 6 * MIB
            budget = server._welcome.budget
        assert budget._free == budget._all

    run(main())


def test_a_peer_that_stops_inside_a_message_makes_others_wait_until_it_goes(run):
    async def main():
        async with await start_server(echo, HERE, max_bytes=6 * MIB, timeout=0.5) as server:
            slow = await connect(server.address)
            sending = asyncio.create_task(slow.send(np.ones(5 * MIB, "B")))
            await asyncio.sleep(0)
            async with slow, await connect(server.address) as other:
                await other.send(np.ones(2 * MIB, "B"))
                assert (await other.recv()).nbytes == 2 * MIB
                await asyncio.wait([sending])
        assert server._welcome.budget._free == 6 * MIB

    run(main())


def test_a_message_larger_than_the_whole_budget_is_refused(run):
    refused = []

    async def handler(connection):
        try:
            await connection.recv()
        except LimitError as error:
            refused.append(str(error))

    async def main():
        async with await start_server(handler, HERE, max_bytes=MIB) as server, await connect(server.address) as near:
            with contextlib.suppress(OSError):
                await near.send(np.ones(8 * MIB, "B"))

    run(main())
    assert "max_bytes" in refused[0]


def test_a_thousand_connections_exchange_messages(run):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2200
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"this process may have {hard} file descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))

    async def client(address, number):
        async with await connect(address, hello_timeout=60) as connection:
            for turn in range(3):
                await connection.send([number, turn, bytes(1000)])
                assert await connection.recv() == [number, turn, bytes(1000)]
            await everybody.wait()

    async def main():
        async with await start_server(echo, HERE, backlog=1024, hello_timeout=60) as server:
            await asyncio.gather(*(client(server.address, number) for number in range(1000)))

    everybody = asyncio.Barrier(1000)
    try:
        run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_is_dropped_already_is_not_dropped_again(run):
    async def main():
        async with asyncio.timeout(None) as patience:
            _end(patience)
            try:
                await asyncio.sleep(10)
            finally:
                _end(patience)

    with pytest.raises(TimeoutError):
        run(main())
