"""Messages of any peer over a TCP connection to a process that loads them, sent and received in the one quick way.

A message is a line of lengths, and then its parts: the form of the head, the peer's name, the head, and the buffers
beside it.
"""

from __future__ import annotations

import pickle
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.peers.peer import aligned
from benchmarks.transport import tcp
from oobcodec.gathering import batches, behind
from oobcodec.transfer import send_pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers import Peer

HERE, FAILED = b"\x06", b"\x15"
PATIENCE = 120.0


def parts(peer: Peer, head: Any, buffers: Sequence[Any]) -> list[memoryview]:
    """Return what travels of a message: heads that are no bytes as pickle writes them."""
    plain = isinstance(head, bytes | bytearray)
    pieces = [b"plain" if plain else b"pickled", peer.name.encode(), head if plain else pickle.dumps(head, 5), *buffers]
    return [pickle.PickleBuffer(piece).raw() for piece in pieces]


class Lane:
    """A connection to a process that answers each message when it has loaded the object."""

    def __init__(self) -> None:
        self._sock, far = tcp()
        self._sock.settimeout(PATIENCE)
        with far:
            command = [sys.executable, "-m", "benchmarks.lane", str(far.fileno())]
            self._receiver = subprocess.Popen(command, pass_fds=[far.fileno()])

    def send(self, peer: Peer, obj: object) -> None:
        """Return when the object is there."""
        pieces = parts(peer, *peer.dumps(obj))
        line = struct.pack(f"<I{len(pieces)}Q", len(pieces), *map(len, pieces))
        send_pieces(self._sock, [memoryview(line), *pieces])
        answer = self._sock.recv(1)
        if answer != HERE:
            message = "what the receiver cannot load" if answer else "what ends the receiver"
            raise RuntimeError(message)

    def close(self) -> None:
        self._sock.close()
        self._receiver.wait(PATIENCE)


def receive(sock: socket.socket) -> None:
    """Load one message after the other."""
    known: dict[str, Any] = {}
    while start := sock.recv(4, socket.MSG_WAITALL):
        (count,) = struct.unpack("<I", start)
        line = memoryview(bytearray(8 * count))
        fill(sock, [line])
        memory = [aligned(length) for length in struct.unpack(f"<{count}Q", line)]
        fill(sock, memory)
        form, name, head, *buffers = memory
        label = bytes(name).decode()
        if label not in known:
            known[label] = peers.find(label)
        try:
            obj = known[label].loads(head if bytes(form) == b"plain" else pickle.loads(head), buffers)
            sock.sendall(HERE)
        except Exception:  # noqa: BLE001  # whatever a peer raises
            sock.sendall(FAILED)
            obj = None
        # So that the next one comes into memory of which no page has been touched.
        del obj, memory, head, buffers


def fill(sock: socket.socket, memory: Sequence[memoryview]) -> None:
    """Fill all of it, in calls that ask for at most a megabyte: the kernel is quicker then."""
    for batch in batches(memory):
        rest = batch
        while rest:
            received, *_ = sock.recvmsg_into(rest)
            if not received:
                raise EOFError
            rest = behind(rest, received)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        receive(sock)
