"""The same array in the three shapes that a message can have, so that nothing but the shape differs.

A tag says what follows; what follows is the data type, the shape and the data, as ``numpy.save`` writes them.
"""

from __future__ import annotations

from ast import literal_eval
from io import BytesIO
from typing import Any

import numpy as np

from benchmarks.peers.peer import Peer, nbytes, one_buffer

TAG = b"NP\n"


def tag_and_payload() -> Peer:
    """Return what makes one byte string: the payload is written, and then copied to stand behind the tag."""

    def dumps(array: Any) -> bytes:
        file = BytesIO()
        np.save(file, array, allow_pickle=False)
        return TAG + file.getvalue()

    return one_buffer("tag + payload", np.__version__, dumps, lambda data: _load(bytes(data)))


def bytes_io() -> Peer:
    """Return what writes tag and payload into one ``BytesIO``, and hands out its memory."""

    def dumps(array: Any) -> memoryview:
        file = BytesIO(TAG)
        file.seek(len(TAG))
        np.save(file, array, allow_pickle=False)
        return file.getbuffer()

    return one_buffer("BytesIO", np.__version__, dumps, _load)


def frames() -> Peer:
    """Return what lists the tag, a description and the memory of the array itself."""

    def dumps(array: Any) -> tuple[bytes, list[Any]]:
        return TAG, [repr((array.dtype.str, array.shape)).encode(), array.data.cast("B")]

    def loads(_: Any, buffers: list[Any]) -> Any:
        dtype, shape = literal_eval(bytes(buffers[0]).decode())
        return np.frombuffer(buffers[1], dtype).reshape(shape)

    return Peer("frames", np.__version__, dumps, loads, lambda _, buffers: len(TAG) + sum(map(nbytes, buffers[:1])))


def _load(data: Any) -> Any:
    file = BytesIO(data)
    file.seek(len(TAG))
    return np.load(file)
