"""Have atheris look for messages that make more of the library run.

``python -m fuzz.harness TARGET`` takes the options of libFuzzer, and wants ``tests`` among the paths. It goes on until
it finds something, or until ``-max_total_time`` has passed. What it finds is written to a file, which the same command
runs again if it is given its name.

Targets are ``header``, ``scan``, ``receiver`` and ``loads``. The input of the last two is a stream and some buffers,
around which a header is put that says what is true; ``receiver`` also takes the sizes of the pieces from it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["oobcodec", "msgpack"]):
    import msgpack
    import numpy as np

    import oobcodec
    import oobcodec.wire
    from oobcodec.header import decode, decode_prelude, packed_offsets
    from oobcodec.limits import FOR_DATA
    from oobcodec.scan import scan

    OBJECTS = [
        None,
        {"a": [1, 2.5, None, True, "text", b"octets"]},
        [{1, 2}, frozenset("ab"), (1, (2, 3)), 1 << 100, bytearray(b"x")],
        np.arange(200.0),
        [np.arange(300, dtype=">i4").reshape(3, 100).T, np.float32(1), np.zeros(3, "M8[s]"), np.array(["a", "b"])],
        np.zeros(3, [("a", "<i4"), ("b", "S3")]),
        np.ma.MaskedArray([1.0, 2.0], mask=[True, False]),
    ]
    for each in OBJECTS:
        oobcodec.loads(oobcodec.dumps(each), policy=oobcodec.DATA)  # which imports what it needs

_LENGTH = 2


def header(data: bytes) -> None:
    for read in (decode_prelude, decode):
        with suppress(oobcodec.OobError):
            read(data)


def scanned(data: bytes) -> None:
    with suppress(oobcodec.OobError):
        scan(data, max_depth=FOR_DATA.max_depth, max_operations=FOR_DATA.max_operations)


def message(data: bytes) -> list[bytes]:
    """Return a message with the stream and the buffers that some bytes are taken for."""
    count = data[0] % 4 if data else 0
    ends = 1 + _LENGTH * count
    lengths = [int.from_bytes(data[at : at + _LENGTH], "little") for at in range(1, ends, _LENGTH)]
    buffers = [data[max(len(data) - length, ends) :] for length in lengths]
    return framed(data[ends:], buffers)


def framed(stream: bytes, buffers: list[bytes]) -> list[bytes]:
    frames = [stream, *buffers]
    places = [[number, 0, len(buffer), False] for number, buffer in enumerate(buffers, 2)]
    body = msgpack.packb(["pickle", None, [*map(len, frames)], 1, None, None, places])
    packed = packed_offsets((24 + len(body), *map(len, frames)))[-1]
    return [b"OOB\1" + bytes(4) + len(body).to_bytes(8, "little") + packed.to_bytes(8, "little") + body, *frames]


def loaded(data: bytes) -> None:
    frames = message(data)
    with suppress(oobcodec.OobError):
        repr(oobcodec.loads([bytearray(frame) for frame in frames], policy=oobcodec.DATA))


def received(data: bytes) -> None:
    """Receive the bytes in pieces: as they are, or behind a header that fits."""
    if not data:
        return
    rng = Random(data[0])
    stream = data[1:] if data[0] % 2 else oobcodec.pack(message(data[1:])).tobytes()
    receiver, at = oobcodec.Receiver(limits=oobcodec.Limits(max_total_bytes=1 << 20)), 0
    with suppress(oobcodec.OobError, EOFError):
        while at < len(stream):
            lent = receiver.get_buffer()
            size = min(rng.choice((1, 7, 24, 64, 1000, 1 << 20)), len(lent), len(stream) - at)
            lent[:size] = stream[at : at + size]
            at += size
            receiver.advance(size)
        receiver.end()


TARGETS = {"header": header, "scan": scanned, "receiver": received, "loads": loaded}


def write_seeds(target: str, folder: Path) -> None:
    """Write inputs to begin with."""
    for number, obj in enumerate(OBJECTS):
        first, *frames = [bytes(frame) for frame in oobcodec.dumps(obj)]
        lengths = b"".join(len(frame).to_bytes(_LENGTH, "little") for frame in frames[1:])
        both = bytes([len(frames) - 1]) + lengths + b"".join(frames)
        seed = {"header": first, "scan": frames[0], "receiver": b"\0" + both, "loads": both}[target]
        (folder / str(number)).write_bytes(seed)


def main(target: str, *options: str) -> None:
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    for option in options:
        if Path(option).is_dir():
            write_seeds(target, Path(option))
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
