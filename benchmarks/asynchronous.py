"""An array from one event loop to another, beside bare loops; and how late a loop gets that moves many objects."""

from __future__ import annotations

import asyncio
import pickle
import socket
from contextlib import asynccontextmanager, suppress
from functools import partial
from multiprocessing import get_context
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import Result, ratio
from benchmarks.timing import take_turns
from oobcodec import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from multiprocessing.connection import Connection
    from typing import TypeAlias

    from benchmarks.timing import Effort

    Send: TypeAlias = Callable[[Any], Awaitable[object]]

NBYTES = 256 << 20
BAR = 1.1
STREAMS_BAR = 0.2
LATENESS_BAR = 150.0
TICK = 0.002
RECEIVED = b"\x06"
CONNECTION, SEND = "Connection", "send"
BARE, STREAMS = "bare sock_sendall, sock_recv_into", "pickle over streams"


def measure(effort: Effort) -> list[Result]:
    array = np.ones(NBYTES // effort.scale // 8)
    what = f"{array.nbytes >> 20} MiB between event loops"
    # Apart from the streams, which free their copies while the next one has its turn.
    seconds = race(array, effort.rounds, (CONNECTION, SEND, BARE))
    copied = race(array, effort.rounds, (CONNECTION, STREAMS))
    late = asyncio.run(lateness(1_000_000 // effort.scale))
    trips = asyncio.run(round_trips(200 * effort.rounds))
    return [
        ratio("asyncio", f"{what}, Connection", {name: seconds[name] for name in (CONNECTION, BARE)}, BAR),
        ratio("asyncio", f"{what}, send", {name: seconds[name] for name in (SEND, BARE)}, BAR),
        ratio("asyncio", f"{what}, Connection", copied, STREAMS_BAR),
        Result("asyncio", "a million dicts: how late", 1000 * late, LATENESS_BAR, "ms", {"oobcodec": late}),
        ratio("asyncio", "small round trip", trips, 10),
    ]


def race(array: Any, rounds: int, names: Sequence[str]) -> dict[str, float]:
    """Return the seconds that an array takes to another process and into fresh memory there, each way."""
    near, far = get_context("spawn").Pipe()
    receiver = get_context("spawn").Process(target=_receive, args=(far, array.nbytes), daemon=True)
    receiver.start()
    far.close()
    with near, asyncio.Runner() as runner:
        sends = runner.run(_connect(near.recv()))
        ways = {name: lambda send=sends[name]: runner.run(_timed(send, array)) for name in names}
        seconds = take_turns(ways, rounds)
    receiver.terminate()
    receiver.join()
    return seconds


async def _timed(send: Send, array: Any) -> float:
    start = perf_counter()
    await send(array)
    return perf_counter() - start


async def _connect(addresses: list[tuple[str, int]]) -> dict[str, Send]:
    loop = asyncio.get_running_loop()
    bare, whole, connected, streamed = addresses
    first, second = socket.socket(), socket.socket()
    for sock, address in ((first, bare), (second, whole)):
        sock.settimeout(0)
        await loop.sock_connect(sock, address)
    connection = await aio.connect(connected)
    reader, writer = await asyncio.open_connection(*streamed)

    async def send_bare(array: Any) -> None:
        await loop.sock_sendall(first, memoryview(array).cast("B"))
        await _acknowledged(loop.sock_recv(first, 1))

    async def send_whole(array: Any) -> None:
        await aio.send(second, array)
        await _acknowledged(loop.sock_recv(second, 1))

    async def send_connected(array: Any) -> None:
        await connection.send(array)
        await _acknowledged(connection.recv())

    async def send_streamed(array: Any) -> None:
        data = pickle.dumps(array, 5)
        writer.write(len(data).to_bytes(8, "little"))
        writer.write(data)
        await writer.drain()
        await _acknowledged(reader.readexactly(1))

    return {
        CONNECTION: send_connected,
        SEND: send_whole,
        BARE: send_bare,
        STREAMS: send_streamed,
    }


async def _acknowledged(answer: Awaitable[bytes]) -> None:
    if await answer != RECEIVED:
        message = "the receiver did not get what was sent"
        raise RuntimeError(message)


def _receive(ready: Connection, nbytes: int) -> None:
    asyncio.run(_serve(ready, nbytes))


async def _serve(ready: Connection, nbytes: int) -> None:
    loop = asyncio.get_running_loop()
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    connected = await aio.start_server(partial(_receive_connected, nbytes), ("127.0.0.1", 0))
    streamed = await asyncio.start_server(partial(_receive_streamed, nbytes), "127.0.0.1", 0)
    names = [each.getsockname() for each in (*listeners, *streamed.sockets)]
    ready.send([*names[:2], connected.address, names[2]])
    tasks = []
    for listener, receive in zip(listeners, (_receive_bare, _receive_whole), strict=True):
        listener.settimeout(0)
        sock, _ = await loop.sock_accept(listener)
        tasks.append(loop.create_task(receive(nbytes, sock)))
    await asyncio.wait(tasks)


def _answer(nbytes: int, array: Any) -> bytes:
    return RECEIVED if array.nbytes == nbytes and array[-1] == 1 else b"?"


async def _receive_bare(nbytes: int, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        array: Any = np.empty(nbytes // 8)
        rest = memoryview(array).cast("B")
        while rest:
            rest = rest[await loop.sock_recv_into(sock, rest) :]
        answer = _answer(nbytes, array)
        del array, rest  # so that the next one, too, comes into memory of which no page has been touched
        await loop.sock_sendall(sock, answer)


async def _receive_whole(nbytes: int, sock: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, _answer(nbytes, await aio.recv(sock)))


async def _receive_connected(nbytes: int, connection: aio.Connection) -> None:
    async for array in connection:
        answer = _answer(nbytes, array)
        del array
        await connection.send(answer)


async def _receive_streamed(nbytes: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while size := int.from_bytes(await reader.read(8), "little"):
        writer.write(_answer(nbytes, pickle.loads(await reader.readexactly(size))))
    writer.close()


async def lateness(count: int) -> float:
    """Return by how many seconds a ticker was late at most, while so many dicts were sent and received in its loop."""
    dicts = [{"id": number, "name": str(number)} for number in range(count)]
    late = [0.0]

    async def tick() -> None:
        while True:
            start = perf_counter()
            await asyncio.sleep(TICK)
            late.append(perf_counter() - start - TICK)

    async with _pair() as (near, far):
        ticker = asyncio.create_task(tick())
        await asyncio.sleep(10 * TICK)
        late.clear()
        _, received = await asyncio.gather(near.send(dicts), far.recv())
        await asyncio.sleep(10 * TICK)
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker
    if received != dicts:
        message = "something else arrived"
        raise RuntimeError(message)
    return max(late)


async def round_trips(count: int) -> dict[str, float]:
    """Return the seconds of a round trip of a small dict, and of as many bytes over asyncio's streams."""
    message = {"id": 1, "name": "a small dict"}
    data = pickle.dumps(message, 5)

    async with _pair() as (near, far):
        answering = asyncio.create_task(_echo(far))
        start = perf_counter()
        for _ in range(count):
            await near.send(message)
            await near.recv()
        ours = (perf_counter() - start) / count
        answering.cancel()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(len(data)):
            writer.write(received)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    start = perf_counter()
    for _ in range(count):
        writer.write(data)
        await reader.readexactly(len(data))
    theirs = (perf_counter() - start) / count
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(TICK)
    return {"Connection": ours, "streams": theirs}


async def _echo(connection: aio.Connection) -> None:
    async for obj in connection:
        await connection.send(obj)


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[aio.Connection, aio.Connection]]:
    accepted: asyncio.Queue[aio.Connection] = asyncio.Queue()
    done = asyncio.Event()

    async def handler(connection: aio.Connection) -> None:
        accepted.put_nowait(connection)
        await done.wait()

    async with (
        await aio.start_server(handler, ("127.0.0.1", 0)) as server,
        await aio.connect(server.address) as near,
    ):
        try:
            yield near, await accepted.get()
        finally:
            done.set()
