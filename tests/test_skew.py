"""Messages between environments that differ: data arrives as it was, or is refused with what is missing."""

import re

import numpy as np
import pytest
from environments import SKEWED
from skew import peer
from skew.connection import HERE, connection
from specimens import registered

from oobcodec.sockets import recv, send

pytestmark = pytest.mark.skew

NAMES = sorted({*peer.KNOWN, "strings", "strings_with_missing", "small_floats"})


@pytest.fixture(scope="module", params=SKEWED)
def environment(request):
    it = connection(request.param)
    yield it
    it.stop()


@pytest.fixture
def other(environment):
    environment.connect()
    with registered():
        yield environment


def refusal(name, sender, receiver):
    """Return what a receiver has to say of an object that it cannot have, or None if it can."""
    versions = [side["versions"] for side in (sender, receiver)]
    pythons = [version["python"] for version in versions]
    if name == "code" and pythons[0] != pythons[1]:
        return rf"refused: .*code of Python {pythons[0]}, which Python {pythons[1]} cannot run"
    if name == "random_generators" and versions[0]["numpy"] >= "2" > versions[1]["numpy"]:
        return "refused: .* is not a known BitGenerator"
    if name not in receiver["known"]:
        return "refused: .*'ml_dtypes'" if name == "small_floats" else "refused: .*StringDType"
    return None


@pytest.mark.parametrize("name", NAMES)
def test_takes_what_is_sent(other, name):
    if name not in HERE["known"]:
        pytest.skip(f"numpy {np.__version__} here, or the lack of ml_dtypes, has no {name}: nothing to send")
    send(other.sock, ["take", name, HERE["versions"]])
    send(other.sock, peer.make(name))
    outcome = recv(other.sock)
    assert re.match(refusal(name, HERE, other.facts) or "same$", outcome), outcome


@pytest.mark.parametrize("name", NAMES)
def test_sends_what_is_taken(other, name):
    if name not in other.facts["known"]:
        pytest.skip(f"numpy {other.facts['versions']['numpy']} there, or the lack of ml_dtypes, has no {name} to send")
    send(other.sock, ["send", name, HERE["versions"]])
    outcome = peer.verdict(name, other.sock, other.facts["versions"])
    assert re.match(refusal(name, other.facts, HERE) or "same$", outcome), outcome


def test_environments_differ(other):
    assert other.facts["versions"] != HERE["versions"]
