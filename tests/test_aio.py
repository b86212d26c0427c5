"""The facade: the modules behind it have tests of their own."""

from helpers import run_python

from oobcodec import aio
from oobcodec.aio import connecting, connections, server, transfer


def test_each_name_is_that_of_the_module_behind():
    behind = {
        connections: {"Connection"},
        connecting: {"connect"},
        server: {"Server", "start_server"},
        transfer: {"recv", "recv_frames", "send", "send_frames"},
    }
    for module, names in behind.items():
        for name in names:
            assert getattr(aio, name) is getattr(module, name)
    assert set(aio.__all__) == set().union(*behind.values())


def test_oobcodec_alone_does_not_import_asyncio():
    assert run_python("import sys, oobcodec; print('asyncio' in sys.modules)").strip() == b"False"
