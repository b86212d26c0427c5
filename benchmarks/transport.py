"""An array from one process to another, beside the bare loop that any such transport consists of."""

from __future__ import annotations

import socket
from multiprocessing import get_context
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import Result, ratio
from benchmarks.timing import Effort, take_turns
from oobcodec import sockets

if TYPE_CHECKING:
    from collections.abc import Callable

NBYTES = 256 << 20
BAR = 1.25
RECEIVED = b"\x06"


def measure(effort: Effort) -> list[Result]:
    array = np.ones(NBYTES // effort.scale // 8)
    near, far = _loopback()
    receiver = get_context("spawn").Process(target=_receive, args=(far, array.nbytes, effort.rounds), daemon=True)
    with near:
        with far:
            receiver.start()
        near.settimeout(60)
        contenders = {
            "oobcodec": lambda: _timed(near, sockets.send, array),
            "bare sendmsg, recv_into": lambda: _timed(near, _send_bare, array),
        }
        seconds = take_turns(contenders, effort.rounds)
    receiver.join()
    return [ratio("socket", f"{array.nbytes >> 20} MiB end to end", seconds, BAR)]


def _timed(sock: socket.socket, send: Callable[[socket.socket, Any], object], array: Any) -> float:
    start = perf_counter()
    send(sock, array)
    if sock.recv(1) != RECEIVED:
        message = "the receiver did not get what was sent"
        raise RuntimeError(message)
    return perf_counter() - start


def _receive(sock: socket.socket, nbytes: int, rounds: int) -> None:
    for _ in range(rounds):
        for received in (sockets.recv, lambda sock: _recv_bare(sock, nbytes)):
            array = received(sock)
            sock.sendall(RECEIVED if array.nbytes == nbytes and array[-1] == 1 else b"?")
            del array  # so that the next one, too, comes into memory of which no page has been touched


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
