"""Objects from one process to another: beside the bare loop that any transport consists of, and beside pickle."""

from __future__ import annotations

import pickle
import socket
from functools import partial
from multiprocessing import Pipe, get_context
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.memory import peak_rss
from benchmarks.results import Result, ratio
from benchmarks.timing import take_turns
from oobcodec import sockets

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from benchmarks.timing import Effort

    Ends: TypeAlias = tuple[socket.socket, socket.socket]

NBYTES = 256 << 20
CHECKSUM_BAR = 1.6
NO_SLOWER = 1.0
"""For what is measured to be known."""
PIECE = 1 << 20
"""Bytes that fit into the caches."""
MESSAGES = 2000
RECEIVED = b"\x06"


class Way(NamedTuple):
    """A way to move objects over a socket.

    Attributes
    ----------
    open : callable
        Makes of a socket and a role ("client" or "server") what the others take.
    send, recv : callable
        Send an object on it; and receive it, given the one that was received before.
    """

    open: Callable[[socket.socket, str], Any]
    send: Callable[[Any, Any], object]
    recv: Callable[[Any, Any], Any]


def measure(effort: Effort) -> list[Result]:
    array = np.ones(NBYTES // effort.scale // 8)
    size = f"{array.nbytes >> 20} MiB"
    results = []
    for kind, connect, bar in (("TCP", tcp, 0.8), ("AF_UNIX", unix, 1.0)):
        for what, way, limit in (("", OURS, bar), (", into= what is there", INTO, 0.6)):
            seconds = race(effort, array, connect, {"oobcodec": way, "bare sendmsg, recv_into": BARE})
            results.append(ratio(f"socket {kind}", f"{size} end to end{what}", seconds, limit))
        floor = race(
            effort, array, connect, {"the same in pieces, into what is there": FLOOR, "bare sendmsg, recv_into": BARE}
        )
        results.append(ratio(f"socket {kind}", f"{size} end to end, without oobcodec", floor, NO_SLOWER))
    summed = race(effort, array, tcp, {"with checksums": SUMMED, "without": PLAIN})
    results.append(ratio("socket TCP", f"{size} end to end, with checksums", summed, CHECKSUM_BAR))
    for name, make in OBJECTS.items():
        seconds = race(effort, make(effort.scale), tcp, {"oobcodec": OURS, "pickle, sendall": PICKLE})
        results.append(ratio("socket TCP", name, seconds, 1 / 3))
    results.append(ratio("socket AF_UNIX", "there and back, a small dict", _there_and_back(effort), 0.9))
    results.append(_memory(effort))
    return results


def race(effort: Effort, obj: Any, connect: Callable[[], Ends], ways: dict[str, Way]) -> dict[str, float]:
    """Return the seconds that an object takes to another process, and to be an object there, each way."""
    ends = [connect() for _ in ways]
    arguments = ([far for _, far in ends], effort.rounds, [*ways.values()])
    receiver = get_context("spawn").Process(target=_receive, args=arguments, daemon=True)
    receiver.start()
    contenders = {}
    for (near, far), (name, way) in zip(ends, ways.items(), strict=True):
        near.settimeout(60)
        contenders[name] = partial(_timed, near, way.send, way.open(near, "client"), obj)
        far.close()
    seconds = take_turns(contenders, effort.rounds)
    for near, _ in ends:
        near.close()
    receiver.join()
    return seconds


def _timed(sock: socket.socket, send: Callable[[Any, Any], object], line: Any, obj: Any) -> float:
    start = perf_counter()
    send(line, obj)
    if sock.recv(1) != RECEIVED:
        message = "the receiver did not get what was sent"
        raise RuntimeError(message)
    return perf_counter() - start


def _receive(socks: list[socket.socket], rounds: int, ways: list[Way]) -> None:
    lines = [way.open(sock, "server") for sock, way in zip(socks, ways, strict=True)]
    before: list[Any] = [None] * len(ways)
    for _ in range(rounds):
        for number, way in enumerate(ways):
            obj = way.recv(lines[number], before[number])
            socks[number].sendall(RECEIVED if obj is not None else b"?")
            # So that the next one, too, comes into memory of which no page has been touched, unless it is to go there.
            before[number] = obj if way in {INTO, FLOOR} else None
            del obj


def _plain(sock: socket.socket, _: str) -> socket.socket:
    return sock


def _connection(sock: socket.socket, role: str) -> sockets.Connection:
    return sockets.Connection(sock, role=role)


def _send(connection: sockets.Connection, obj: Any) -> None:
    connection.send(obj)


def _recv(connection: sockets.Connection, _: Any) -> Any:
    return connection.recv()


def _recv_into(connection: sockets.Connection, before: Any) -> Any:
    return connection.recv(into=before)


def _recv_plain(sock: socket.socket, _: Any) -> Any:
    return sockets.recv(sock)


def _send_summed(sock: socket.socket, obj: Any) -> None:
    sockets.send(sock, obj, checksum=True)


def _send_bare(sock: socket.socket, array: Any) -> None:
    sock.sendall(array.nbytes.to_bytes(8, "little"))
    rest = memoryview(array).cast("B")
    while rest:
        rest = rest[sock.sendmsg([rest]) :]


def _recv_bare(sock: socket.socket, _: Any) -> Any:
    array: Any = np.empty(_length(sock) // 8)
    _fill(sock, memoryview(array).cast("B"))
    return array


def _send_pieces(sock: socket.socket, array: Any) -> None:
    sock.sendall(array.nbytes.to_bytes(8, "little"))
    memory = memoryview(array).cast("B")
    for begin in range(0, len(memory), PIECE):
        sock.sendall(memory[begin : begin + PIECE])


def _recv_pieces_into(sock: socket.socket, before: Any) -> Any:
    nbytes = _length(sock)
    array: Any = np.empty(nbytes // 8) if before is None else before
    memory = memoryview(array).cast("B")
    for begin in range(0, nbytes, PIECE):
        _fill(sock, memory[begin : begin + PIECE])
    return array


def _send_pickle(sock: socket.socket, obj: Any) -> None:
    data = pickle.dumps(obj, 5)
    sock.sendall(len(data).to_bytes(8, "little"))
    sock.sendall(data)


def _recv_pickle(sock: socket.socket, _: Any) -> Any:
    data = bytearray(_length(sock))
    _fill(sock, memoryview(data))
    return pickle.loads(data)


def _length(sock: socket.socket) -> int:
    return int.from_bytes(sock.recv(8, socket.MSG_WAITALL), "little")


def _fill(sock: socket.socket, rest: memoryview) -> None:
    while rest:
        received = sock.recv_into(rest)
        if not received:
            raise EOFError
        rest = rest[received:]


OURS = Way(_connection, _send, _recv)
INTO = Way(_connection, _send, _recv_into)
PLAIN = Way(_plain, sockets.send, _recv_plain)
SUMMED = Way(_plain, _send_summed, _recv_plain)
FLOOR = Way(_plain, _send_pieces, _recv_pieces_into)
BARE = Way(_plain, _send_bare, _recv_bare)
PICKLE = Way(_plain, _send_pickle, _recv_pickle)


def tcp() -> Ends:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


def unix() -> Ends:
    return socket.socketpair()


def _frame(scale: int) -> Any:
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415

    generator = np.random.default_rng(0)
    return pd.DataFrame({f"column {i}": generator.random(1_000_000 // scale) for i in range(10)})


def _state_dict(scale: int) -> Any:
    import torch  # noqa: PLC0415

    return {f"layer.{i}.weight": torch.ones(1024 // scale, 1024) for i in range(20)}


def _small_arrays(_: int) -> Any:
    return {f"array {i}": np.arange(500.0) + i for i in range(1000)}


OBJECTS: dict[str, Callable[[int], Any]] = {
    "a DataFrame of 10 columns, 80 MB": _frame,
    "a state_dict of 20 tensors, 80 MB": _state_dict,
    "a dict of 1,000 arrays of 4 KB": _small_arrays,
}

SMALL = {"op": "update", "key": ("x", 1), "v": [1, 2, 3], "s": "hello"}


def _there_and_back(effort: Effort) -> dict[str, float]:
    """Return the seconds that a small dict takes to another process and back."""
    near, far = unix()
    end, other = Pipe()
    context = get_context("spawn")
    processes = [
        context.Process(target=_echo_on, args=(far,), daemon=True),
        context.Process(target=_echo, args=(other,), daemon=True),
    ]
    for process in processes:
        process.start()
    with _connection(near, "client") as connection, end:
        lines: dict[str, Any] = {"oobcodec": connection, "multiprocessing.Connection": end}
        seconds = take_turns({name: partial(_round_trip, line) for name, line in lines.items()}, effort.rounds)
        for line in lines.values():
            line.send(None)
        for process in processes:
            process.join()
    far.close()
    other.close()
    return seconds


def _round_trip(line: Any) -> float:
    start = perf_counter()
    for _ in range(MESSAGES):
        line.send(SMALL)
        line.recv()
    return (perf_counter() - start) / MESSAGES


def _echo_on(sock: socket.socket) -> None:
    _echo(_connection(sock, "server"))


def _echo(line: Any) -> None:
    while (obj := line.recv()) is not None:
        line.send(obj)


def _memory(effort: Effort) -> Result:
    """Return what it takes to receive into what is there, beyond that."""
    near, far = tcp()
    nbytes = (1 << 30) // effort.scale
    with near, get_context("spawn").Pool(1) as pool:
        extra = pool.apply_async(_extra_bytes, (far, nbytes))
        with _connection(near, "client") as connection:
            connection.send(_arrays(nbytes))
            peaks = {"RSS": float(extra.get(60))}
    far.close()
    return Result("socket TCP", f"recv(into=) of {nbytes >> 20} MiB", peaks["RSS"] / 2**20, 4.0, "MiB", peaks)


def _extra_bytes(sock: socket.socket, nbytes: int) -> int:
    arrays = _arrays(nbytes)
    connection = _connection(sock, "server")
    before = peak_rss()
    connection.recv(into=arrays)
    after = peak_rss()
    return 0 if before is None or after is None else after - before


def _arrays(nbytes: int) -> dict[str, Any]:
    return {f"layer.{i}.weight": np.ones(nbytes // 16 // 8) for i in range(16)}
