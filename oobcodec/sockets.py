"""Messages over blocking stream sockets: TCP, Unix, TLS.

`connect` and `listen` make a `Connection`, whose two sides have agreed on the format of messages and, with a keyring,
on their order. `send` and `recv` take any connected socket as it is, and agree on nothing.
"""

from oobcodec.connecting import connect
from oobcodec.connections import Connection
from oobcodec.listening import Listener, listen
from oobcodec.transfer import recv, recv_frames, send, send_frames

__all__ = ["Connection", "Listener", "connect", "listen", "recv", "recv_frames", "send", "send_frames"]
