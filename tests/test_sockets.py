"""The facade: the modules behind it have tests of their own."""

import socket

import numpy as np
import pytest

import oobcodec
from oobcodec import connecting, connections, listening, sockets, transfer


def test_each_name_is_that_of_the_module_behind():
    behind = {
        connections: {"Connection"},
        connecting: {"connect"},
        listening: {"Listener", "listen"},
        transfer: {"recv", "recv_frames", "send", "send_frames"},
    }
    for module, names in behind.items():
        for name in names:
            assert getattr(sockets, name) is getattr(module, name)
    assert set(sockets.__all__) == set().union(*behind.values())


def test_it_is_imported_when_it_is_first_asked_for():
    assert oobcodec.sockets is sockets


def test_bare_sockets_and_connections_do_not_mix():
    here, there = socket.socketpair()
    with here, there:
        sockets.send(there, {"x": np.arange(3)})
        with pytest.raises(oobcodec.HeaderError, match=r"use oobcodec\.sockets\.connect and listen on both sides"):
            sockets.Connection(here, role="client")
