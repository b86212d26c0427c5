"""A peer in another environment, at the other end of a socket."""

import select
import socket
import subprocess
from pathlib import Path

import pytest
from environments import available

from oobcodec.sockets import recv

from . import peer

PEER = Path(peer.__file__)
HERE = {"versions": peer.VERSIONS, "known": {*peer.MAKERS}}


class Connection:
    """Another interpreter, and a connection to it that is made anew when it has died."""

    def __init__(self, interpreter):
        self.interpreter = interpreter
        self.process = None

    def connect(self):
        if self.process is not None:
            if not select.select([self.sock], [], [], 0)[0]:
                return
            self.sock.close()
            self.process.wait(60)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(60)
            command = [self.interpreter, "-W", "error", PEER, str(server.getsockname()[1])]
            self.process = subprocess.Popen(command)
            self.sock, _ = server.accept()
        self.sock.settimeout(60)
        self.facts = recv(self.sock)

    def stop(self):
        if self.process is not None:
            self.sock.close()
            assert self.process.wait(60) == 0


def connection(name):
    """Return a connection to an environment, or skip the test that needs it."""
    interpreter = available().get(name)
    if interpreter is None:
        pytest.skip(f".venvs/{name} is not there: make environments builds it, or says what it lacks")
    return Connection(interpreter)
