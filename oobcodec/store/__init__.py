"""Objects in shared memory: put once, and got by any process of the machine without a copy. Linux only."""

from importlib.util import find_spec

if find_spec("fcntl") is None:
    message = "oobcodec.Store needs Linux: elsewhere, exchange files with oobcodec.dump and oobcodec.load"
    raise ImportError(message)

from oobcodec.store.info import Info
from oobcodec.store.objects import Stored
from oobcodec.store.ref import Ref
from oobcodec.store.store import Store

__all__ = ["Info", "Ref", "Store", "Stored"]
