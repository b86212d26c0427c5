"""Ways to serialize an object, oobcodec among them, with one face."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.peers import frameworks, general, shapes, specialists
from benchmarks.peers.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ALL", "NAMES", "SHAPES", "Peer", "find"]

_GENERAL: dict[str, tuple[str, Callable[[], Peer]]] = {
    "oobcodec": ("oobcodec", general.oobcodec),
    "pickle5": ("pickle", general.pickle5),
    "cloudpickle": ("cloudpickle", general.cloudpickle),
    "distributed": ("distributed", frameworks.distributed),
    "proxystore": ("proxystore", frameworks.proxystore),
    "xoscar": ("xoscar", frameworks.xoscar),
    "pyfory": ("pyfory", frameworks.pyfory),
}
_MORE: dict[str, tuple[str, Callable[[], Peer]]] = {
    "pickle5 in-band": ("pickle", general.pickle5_in_band),
    "distributed dumps": ("distributed", frameworks.distributed_dumps),
    "ray": ("ray", frameworks.ray),
    "joblib": ("joblib", general.joblib),
    "numpy.save": ("numpy", specialists.numpy_save),
    "torch.save": ("torch", specialists.torch_save),
    "safetensors": ("safetensors", specialists.safetensors),
    "Arrow IPC": ("pyarrow", specialists.arrow_ipc),
    "msgspec": ("msgspec", specialists.msgspec),
}
_SHAPES: dict[str, tuple[str, Callable[[], Peer]]] = {
    "tag + payload": ("numpy", shapes.tag_and_payload),
    "BytesIO": ("numpy", shapes.bytes_io),
    "frames": ("numpy", shapes.frames),
}
_MAKERS = _GENERAL | _MORE | _SHAPES

NAMES = tuple(_GENERAL)
"""Those that are for objects of any type, and for other processes: the conformance table asks them."""

ALL = tuple(_GENERAL | _MORE)
"""Those that are measured beside each other."""

SHAPES = tuple(_SHAPES)
"""Three forms of a message with an array, which one workload compares."""


def find(name: str) -> Peer | None:
    """Return a peer, or None if it is not installed."""
    module, make = _MAKERS[name]
    try:
        import_module(module)
    except ModuleNotFoundError:
        return None
    return make()
