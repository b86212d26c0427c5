"""The communication layer of the README, between real processes."""

import asyncio
import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from readme import code_block

import oobcodec

MIB = 1 << 20
LONG = 60  # seconds: nothing here takes that long

SERVER = """
    import asyncio, os, sys
    import oobcodec
    import comm

    async def handle(peer):
        while True:
            frames = await peer.read()
            what = oobcodec.loads(frames) if len(frames) < 3 else None
            if what == "nothing more":
                await asyncio.sleep(1000)
            if what == "half":
                whole = b"".join(oobcodec.wire.parts(oobcodec.dumps(bytes(1 << 20))))
                peer._sock.send(whole[:1000])
                os._exit(0)
            await peer.write(frames)  # not decoded if there is an array

    async def main():
        serving = asyncio.create_task(comm.listen("127.0.0.1", int(sys.argv[1]), handle))
        await asyncio.sleep(0)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()
        await asyncio.wait([serving])
        print("done", flush=True)

    asyncio.run(main())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedding")
    (folder / "comm.py").write_text(code_block('"""comm.py'))
    return folder


@pytest.fixture(scope="module")
def comm(folder):
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("comm")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["comm"]


@pytest.fixture
def server(folder):
    """Return the process and the port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(SERVER), str(port)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process, port
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def run(main):
    return asyncio.run(asyncio.wait_for(main, LONG))


def test_messages_come_back(comm, server):
    objects = [{"a": 1}, np.arange(500.0), np.ones(8 * MIB), {str(i): np.full(200, i) for i in range(3000)}, b"", None]

    async def main():
        peer = await comm.connect("127.0.0.1", server[1])
        for obj in objects:
            _, frames = await asyncio.gather(peer.write(oobcodec.dumps(obj)), peer.read())
            received = oobcodec.loads(frames)
            np.testing.assert_equal(received, obj)
        await peer.close()
        return received

    run(main())


def test_arrays_lie_where_they_were_received(comm, server):
    async def main():
        peer = await comm.connect("127.0.0.1", server[1])
        _, frames = await asyncio.gather(peer.write(oobcodec.dumps(np.ones(MIB))), peer.read())
        await peer.close()
        return frames, oobcodec.loads(frames)

    frames, array = run(main())
    assert np.shares_memory(array, np.frombuffer(frames[-1]))
    assert array.__array_interface__["data"][0] % 64 == 0
    assert array.flags.writeable


def test_several_tasks_write_whole_messages(comm, server):
    async def main():
        peer = await comm.connect("127.0.0.1", server[1])
        writing = asyncio.gather(*(peer.write(oobcodec.dumps(np.full(100_000, i))) for i in range(20)))
        arrays = [oobcodec.loads(await peer.read()) for _ in range(20)]
        await writing
        await peer.close()
        return arrays

    arrays = run(main())
    assert [set(array.tolist()) for array in arrays] == [{i} for i in range(20)]


def test_several_peers_do_not_wait_for_each_other(comm, server):
    async def main():
        silent = await comm.connect("127.0.0.1", server[1])
        await silent.write(oobcodec.dumps("nothing more"))
        others = [await comm.connect("127.0.0.1", server[1]) for _ in range(10)]
        for other in others:
            await other.write(oobcodec.dumps("hello"))
        answers = [oobcodec.loads(await other.read()) for other in others]
        for each in (silent, *others):
            await each.close()
        return answers

    assert run(main()) == ["hello"] * 10


def test_a_reader_that_does_not_read_stops_the_writer(comm, server):
    async def main():
        peer = await comm.connect("127.0.0.1", server[1])
        await peer.write(oobcodec.dumps("nothing more"))
        writing = asyncio.create_task(peer.write(oobcodec.dumps(np.ones(32 * MIB))))
        done, _ = await asyncio.wait([writing], timeout=0.3)
        assert not done
        await peer.close()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            await writing

    run(main())


def test_a_peer_that_is_killed_is_an_error(comm, server):
    process, port = server

    async def main():
        peer = await comm.connect("127.0.0.1", port)
        await peer.write(oobcodec.dumps("nothing more"))
        reading = asyncio.create_task(peer.read())
        await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        with pytest.raises((EOFError, ConnectionResetError)):
            await reading
        with pytest.raises(ConnectionAbortedError):
            await peer.write(oobcodec.dumps(1))
        await peer.close()

    run(main())


def test_a_peer_that_dies_inside_a_message_is_another(comm, server):
    async def main():
        peer = await comm.connect("127.0.0.1", server[1])
        await peer.write(oobcodec.dumps("half"))
        with pytest.raises(oobcodec.TruncatedError, match="inside a message"):
            await peer.read()
        await peer.close()

    run(main())


def test_a_read_that_is_cancelled_ends_the_comm_and_loses_no_place(comm, server):
    async def main():
        peer = await comm.connect("127.0.0.1", server[1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.read(), 0.05)
        with pytest.raises(ConnectionAbortedError):
            await peer.read()
        await peer.close()

    run(main())


def test_close_wakes_a_reader(comm, server):
    async def main():
        peer = await comm.connect("127.0.0.1", server[1])
        reading = asyncio.create_task(peer.read())
        await asyncio.sleep(0.05)
        await peer.close()
        with pytest.raises(EOFError):
            await reading
        await peer.close()

    run(main())


def test_limits_refuse_what_is_too_large(comm, server):
    async def main():
        peer = await comm.connect("127.0.0.1", server[1], oobcodec.Limits(max_total_bytes=MIB))
        await peer.write(oobcodec.dumps(np.ones(MIB)))
        with pytest.raises(oobcodec.LimitError):
            await peer.read()
        await peer.close()

    run(main())


def test_nobody_there_is_an_error_without_a_leak(comm, recwarn):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        run(comm.connect("127.0.0.1", port))


def test_listening_ends_when_it_is_cancelled(comm, server):
    process, port = server

    async def main():
        peer = await comm.connect("127.0.0.1", port)
        await peer.write(oobcodec.dumps("hello"))
        assert oobcodec.loads(await peer.read()) == "hello"
        process.stdin.close()
        with pytest.raises((EOFError, ConnectionResetError)):
            await peer.read()
        await peer.close()

    run(main())
    assert process.stdout.read() == b"done\n"
    assert process.wait(LONG) == 0
