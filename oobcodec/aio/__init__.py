"""Messages in asyncio, over its own event loop or uvloop's.

`connect` and `start_server` make a `Connection`, whose two sides have agreed on the format of messages and, with a
keyring, on their order; the other side may as well be one of `oobcodec.sockets`. `send` and `recv` take any connected
non-blocking socket, or a `asyncio.StreamWriter` and `asyncio.StreamReader`, as it is, and agree on nothing.
"""

from oobcodec.aio.connecting import connect
from oobcodec.aio.connections import Connection
from oobcodec.aio.server import Server, start_server
from oobcodec.aio.transfer import recv, recv_frames, send, send_frames

__all__ = ["Connection", "Server", "connect", "recv", "recv_frames", "send", "send_frames", "start_server"]
