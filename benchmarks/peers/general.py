"""What pickles objects of any type: oobcodec, pickle itself, cloudpickle and joblib."""

from __future__ import annotations

import pickle
import platform
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from benchmarks.peers.peer import Peer, length_of_head, nbytes, one_buffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.peer import Message


def oobcodec() -> Peer:
    import oobcodec  # noqa: PLC0415
    from oobcodec.header import decode  # noqa: PLC0415

    def in_band(_: Any, frames: Sequence[Any]) -> int:
        # Of the pickle stream, bytes and bytearrays by reference are frames too, which nobody has written.
        stream = frames[1 : 1 + decode(bytes(frames[0])).pickle_frames] if frames else ()
        return sum(map(nbytes, frames[:1])) + sum(n for n in map(nbytes, stream) if n < 256 * 1024)

    return Peer(
        "oobcodec",
        oobcodec.__version__,
        lambda obj: (None, oobcodec.dumps(obj)),
        lambda _, frames: oobcodec.loads(frames),
        in_band,
    )


def pickle5() -> Peer:
    def dumps(obj: Any) -> Message:
        buffers: list[pickle.PickleBuffer] = []
        return pickle.dumps(obj, 5, buffer_callback=buffers.append), buffers

    return Peer("pickle5", platform.python_version(), dumps, _unpickle, length_of_head)


def pickle5_in_band() -> Peer:
    return one_buffer("pickle5 in-band", platform.python_version(), lambda obj: pickle.dumps(obj, 5), pickle.loads)


def cloudpickle() -> Peer:
    import cloudpickle  # noqa: PLC0415

    def dumps(obj: Any) -> Message:
        buffers: list[pickle.PickleBuffer] = []
        return cloudpickle.dumps(obj, 5, buffer_callback=buffers.append), buffers

    return Peer("cloudpickle", cloudpickle.__version__, dumps, _unpickle, length_of_head)


def joblib() -> Peer:
    joblib = import_module("joblib")

    def dumps(obj: Any) -> Any:
        file = BytesIO()
        joblib.dump(obj, file, protocol=5)
        return file.getbuffer()

    return one_buffer("joblib", joblib.__version__, dumps, lambda data: joblib.load(BytesIO(data)))


def _unpickle(head: Any, buffers: list[Any]) -> Any:
    return pickle.loads(head, buffers=buffers)
