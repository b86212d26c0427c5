"""Python objects as lists of memoryviews, without copying their data, and back without copying either."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oobcodec.codec import Codec, dumps, loads
from oobcodec.errors import (
    AuthenticationError,
    DecodeError,
    EncodeError,
    HeaderError,
    InsecureError,
    IntegrityError,
    KeyExistsError,
    LimitError,
    NoSuchKeyError,
    OobError,
    PoisonedError,
    PolicyError,
    RegistryError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    TruncatedError,
)
from oobcodec.frame_codecs import FrameCodec
from oobcodec.limits import Limits
from oobcodec.packed import pack, pack_into, packed_size, unpack
from oobcodec.policy import TRUSTED, Policy
from oobcodec.registry import (
    register_codec,
    register_reducer,
    register_serializer,
    register_type,
    registered_codecs,
    registered_reducers,
    registered_serializers,
    registered_types,
    unregister_codec,
    unregister_reducer,
    unregister_serializer,
    unregister_type,
)
from oobcodec.serializers import Serializer

if TYPE_CHECKING:
    from oobcodec import aio, sockets
    from oobcodec.auth import Keyring
    from oobcodec.compression import Compression
    from oobcodec.encoded import Encoded
    from oobcodec.explanation import explain
    from oobcodec.files import dump, load
    from oobcodec.inspection import inspect
    from oobcodec.installation import install, uninstall
    from oobcodec.machine import DATA
    from oobcodec.store import Ref, Store
    from oobcodec.wire import Receiver

__version__ = "0.1.0"

__all__ = [
    "DATA",
    "TRUSTED",
    "AuthenticationError",
    "Codec",
    "Compression",
    "DecodeError",
    "EncodeError",
    "Encoded",
    "FrameCodec",
    "HeaderError",
    "InsecureError",
    "IntegrityError",
    "KeyExistsError",
    "Keyring",
    "LimitError",
    "Limits",
    "NoSuchKeyError",
    "OobError",
    "PoisonedError",
    "Policy",
    "PolicyError",
    "Receiver",
    "Ref",
    "RegistryError",
    "Serializer",
    "Store",
    "StoreClosedError",
    "StoreError",
    "StoreFullError",
    "TruncatedError",
    "aio",
    "dump",
    "dumps",
    "explain",
    "inspect",
    "install",
    "load",
    "loads",
    "pack",
    "pack_into",
    "packed_size",
    "register_codec",
    "register_reducer",
    "register_serializer",
    "register_type",
    "registered_codecs",
    "registered_reducers",
    "registered_serializers",
    "registered_types",
    "sockets",
    "uninstall",
    "unpack",
    "unregister_codec",
    "unregister_reducer",
    "unregister_serializer",
    "unregister_type",
]

# What not every process needs is imported when it is first asked for.
_LAZY = {
    "Compression": "oobcodec.compression",
    "DATA": "oobcodec.machine",  # with all that it takes to refuse a message
    "Encoded": "oobcodec.encoded",
    "Keyring": "oobcodec.auth",
    "Receiver": "oobcodec.wire",
    "Ref": "oobcodec.store",
    "Store": "oobcodec.store",
    "aio": "oobcodec.aio",
    "dump": "oobcodec.files",
    "explain": "oobcodec.explanation",
    "inspect": "oobcodec.inspection",
    "install": "oobcodec.installation",
    "load": "oobcodec.files",
    "sockets": "oobcodec.sockets",
    "uninstall": "oobcodec.installation",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module = import_module(_LAZY[name])
    found = getattr(module, name, module)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
