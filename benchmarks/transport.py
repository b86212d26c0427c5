"""An array from one process to another: beside the bare loop that any transport consists of, and with checksums."""

from __future__ import annotations

import socket
from functools import partial
from multiprocessing import get_context
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import ratio
from benchmarks.timing import take_turns
from oobcodec import sockets

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from benchmarks.results import Result
    from benchmarks.timing import Effort

    Send: TypeAlias = Callable[[socket.socket, Any], object]
    Receive: TypeAlias = Callable[[socket.socket, int], Any]

NBYTES = 256 << 20
BAR = 1.25
CHECKSUM_BAR = 1.6
RECEIVED = b"\x06"


def measure(effort: Effort) -> list[Result]:
    array = np.ones(NBYTES // effort.scale // 8)
    what = f"{array.nbytes >> 20} MiB end to end"
    bare = race(effort, array, {"oobcodec": (sockets.send, _recv), "bare sendmsg, recv_into": (_send_bare, _recv_bare)})
    summed = race(effort, array, {"with checksums": (_send_summed, _recv), "without": (sockets.send, _recv)})
    return [ratio("socket", what, bare, BAR), ratio("socket", f"{what}, with checksums", summed, CHECKSUM_BAR)]


def race(effort: Effort, array: Any, ways: dict[str, tuple[Send, Receive]]) -> dict[str, float]:
    """Return the seconds that an array takes to another process and into fresh memory there, each way."""
    near, far = _loopback()
    receives = [receive for _, receive in ways.values()]
    arguments = (far, array.nbytes, effort.rounds, receives)
    receiver = get_context("spawn").Process(target=_receive, args=arguments, daemon=True)
    with near:
        with far:
            receiver.start()
        near.settimeout(60)
        contenders = {name: partial(_timed, near, send, array) for name, (send, _) in ways.items()}
        seconds = take_turns(contenders, effort.rounds)
    receiver.join()
    return seconds


def _timed(sock: socket.socket, send: Callable[[socket.socket, Any], object], array: Any) -> float:
    start = perf_counter()
    send(sock, array)
    if sock.recv(1) != RECEIVED:
        message = "the receiver did not get what was sent"
        raise RuntimeError(message)
    return perf_counter() - start


def _receive(sock: socket.socket, nbytes: int, rounds: int, receives: list[Receive]) -> None:
    for _ in range(rounds):
        for receive in receives:
            array = receive(sock, nbytes)
            sock.sendall(RECEIVED if array.nbytes == nbytes and array[-1] == 1 else b"?")
            del array  # so that the next one, too, comes into memory of which no page has been touched


def _recv(sock: socket.socket, _: int) -> Any:
    return sockets.recv(sock)


def _send_summed(sock: socket.socket, array: Any) -> None:
    sockets.send(sock, array, checksum=True)


def _send_bare(sock: socket.socket, array: Any) -> None:
    rest = memoryview(array).cast("B")
    while rest:
        rest = rest[sock.sendmsg([rest]) :]


def _recv_bare(sock: socket.socket, nbytes: int) -> Any:
    array: Any = np.empty(nbytes // 8)
    rest = memoryview(array).cast("B")
    while rest:
        received = sock.recv_into(rest)
        if not received:
            raise EOFError
        rest = rest[received:]
    return array


def _loopback() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far
