"""Messages between environments that differ: data arrives as it was, or is refused with what is missing."""

import re
import select
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from skew import peer
from skew.environments import ENVIRONMENTS, available
from specimens import registered

from oobcodec.sockets import recv, send

pytestmark = pytest.mark.skew

PEER = Path(peer.__file__)
HERE = {"python": peer.PYTHON, "numpy": np.__version__, "known": list(peer.KNOWN)}
NAMES = sorted({*peer.KNOWN, "strings", "strings_with_missing", "small_floats"})


class Environment:
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


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request):
    interpreter = available().get(request.param)
    if interpreter is None:
        pytest.skip(f".venvs/{request.param} is not there: make skew-envs builds it, or says what it lacks")
    it = Environment(interpreter)
    yield it
    it.stop()


@pytest.fixture
def other(environment):
    environment.connect()
    with registered():
        yield environment


def refusal(name, sender, receiver):
    """Return what a receiver has to say of an object that it cannot have, or None if it can."""
    versions = [tuple(map(int, side["python"].split("."))) for side in (sender, receiver)]
    if name == "code" and versions[0] != versions[1]:
        return rf"refused: .*code of Python {sender['python']}, which Python {receiver['python']} cannot run"
    if name == "random_generators" and sender["numpy"] >= "2" > receiver["numpy"]:
        return "refused: .* is not a known BitGenerator"
    if name not in receiver["known"]:
        return "refused: .*'ml_dtypes'" if name == "small_floats" else "refused: .*StringDType"
    return None


@pytest.mark.parametrize("name", NAMES)
def test_takes_what_is_sent(other, name):
    if name not in HERE["known"]:
        pytest.skip(f"numpy {HERE['numpy']} here, or the lack of ml_dtypes, has no {name}: nothing to send")
    send(other.sock, ["take", name])
    send(other.sock, peer.KNOWN[name].make())
    outcome = recv(other.sock)
    assert re.match(refusal(name, HERE, other.facts) or "same$", outcome), outcome


@pytest.mark.parametrize("name", NAMES)
def test_sends_what_is_taken(other, name):
    if name not in other.facts["known"]:
        pytest.skip(f"numpy {other.facts['numpy']} there, or the lack of ml_dtypes, has no {name}: nothing to receive")
    send(other.sock, ["send", name])
    outcome = peer.verdict(name, other.sock)
    assert re.match(refusal(name, other.facts, HERE) or "same$", outcome), outcome


def test_environments_differ(other):
    assert (other.facts["python"], other.facts["numpy"]) != (HERE["python"], HERE["numpy"])
