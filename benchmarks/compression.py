"""Compression beside that of others, on data of the shapes that travel, and of noise.

oobcodec and joblib turn an object into what they send and back. The others are given its bytes, and asked for them.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from math import inf
from statistics import geometric_mean
from timeit import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

import oobcodec
from benchmarks import datasets, transport
from benchmarks.results import Result, ratio
from benchmarks.timing import Contender, best_times
from oobcodec import sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from benchmarks.timing import Effort

AUTO, ALWAYS, LZ4, ZSTD = "oobcodec auto", "oobcodec zstd", "lz4.block", "zstandard 1"
UNCOMPRESSED = "uncompressed"
PACKAGES = ("blosc2", "distributed", "joblib", "lz4", "zstandard")
ROUNDS = 5
"""At most: a round of one data set takes a second."""

NOISE_NBYTES = 256 << 20
NOISE_BYTES_A_SECOND = 20e9
NOISE_BAR = 1.05
"""Over a socket, where compression is asked for and does not pay."""

COMPRESSES = 1.1
"""Ratio from which LZ4 has compressed something."""


class Way(NamedTuple):
    """A way to compress.

    Attributes
    ----------
    compress, decompress : callable
        Make a message of what is given; and that of the message.
    nbytes : callable
        Returns the bytes of a message.
    whole : bool
        Whether it is given an object, and not its bytes.
    """

    compress: Callable[[Any], Any]
    decompress: Callable[[Any], Any]
    nbytes: Callable[[Any], int] = len
    whole: bool = False


class Turn(NamedTuple):
    """What a call took, and what it returned."""

    seconds: float
    result: Any


class Measured(NamedTuple):
    """What has become of a data set, by way: bytes, with the `UNCOMPRESSED` ones; and seconds."""

    size: dict[str, float]
    dumps: dict[str, float]
    loads: dict[str, float]


def measure(effort: Effort) -> list[Result]:
    ways = {name: way for name in WAYS if (way := _find(name))}
    if AUTO not in ways:
        return []
    rounds = min(effort.rounds, ROUNDS)
    sets = {name: _measured(obj, ways, rounds) for name, obj in datasets.make(effort.scale)}
    results = [result for name, found in sets.items() for result in _of_one(name, found)]
    eight = [found for name, found in sets.items() if name != datasets.BFLOAT16]
    return [*results, *_of_all(eight), *_of_noise(effort)]


def versions() -> str:
    """Return the names and versions of the packages that are compared, and of the one that oobcodec calls."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _measured(obj: Any, ways: Mapping[str, Way], rounds: int) -> Measured:
    data = bytes_of(obj)
    dumping = {name: partial(way.compress, obj if way.whole else data) for name, way in ways.items()}
    dumped = _best(dumping, rounds)
    # What was quickest, for a way that looks at the clock may choose anew each time.
    loading = {name: partial(way.decompress, dumped[name].result) for name, way in ways.items()}
    loaded = _best(loading, rounds)
    for name, turn in loaded.items():
        if bytes_of(turn.result) != data:
            message = f"{name} does not return what it was given"
            raise RuntimeError(message)
    size: dict[str, float] = {UNCOMPRESSED: data.nbytes}
    size |= {name: way.nbytes(dumped[name].result) for name, way in ways.items()}
    dumps, loads = ({name: turn.seconds for name, turn in turns.items()} for turns in (dumped, loaded))
    return Measured(size, dumps, loads)


def _best(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Turn]:
    """Return the quickest turn of each, with what the call returned.

    In another order each round: who follows one that has given much memory back pays for getting it.
    """
    best: dict[str, Turn] = {}
    order = random.Random(rounds)
    for _ in range(rounds):
        for name, call in order.sample([*calls.items()], len(calls)):
            results: list[Any] = []
            seconds = Timer("results.append(call())", globals={"results": results, "call": call}).timeit(1)
            if name not in best or seconds < best[name].seconds:
                best[name] = Turn(seconds, results.pop())
    return best


def bytes_of(obj: Any) -> memoryview:
    """Return the memory of an array, of a tensor of any type, or of bytes."""
    if hasattr(obj, "untyped_storage"):
        obj = obj.view(import_module("torch").uint8).numpy()
    return memoryview(obj).cast("B")


def is_compressible(size: Mapping[str, float]) -> bool:
    """Tell whether LZ4 compresses a data set: its speed where it gives up is not to be compared with."""
    return size.get(LZ4, inf) * COMPRESSES <= size[UNCOMPRESSED]


def _of_one(name: str, found: Measured) -> list[Result]:
    """Return what is held against LZ4 where the size, and against Zstandard where the time is concerned."""
    label = f"compression, {name}"
    return [
        *_against(label, "size", found.size, (AUTO, LZ4), 1.0),
        *_against(label, "dumps", found.dumps, (AUTO, ZSTD), 1.0),
        *_against(label, "loads", found.loads, (AUTO, ZSTD), 1.0),
    ]


def _of_all(sets: list[Measured]) -> list[Result]:
    """Return the geometric means: of the size over all data sets, of the time over those that LZ4 compresses."""
    size = _means([found.size for found in sets])
    pay = [found for found in sets if is_compressible(found.size)]
    dumps, loads = _means([found.dumps for found in pay]), _means([found.loads for found in pay])
    label = "compression, geometric mean"
    return [
        *_against(label, "size, to LZ4", size, (AUTO, LZ4), 0.588),  # a ratio of 1.7
        *_against(label, "size, to Zstandard", size, (AUTO, ZSTD), 1.11),  # 0.9
        *_against(label, "size, zstd to Zstandard", size, (ALWAYS, ZSTD), 0.833),  # 1.2
        *_against(label, "dumps, to LZ4", dumps, (AUTO, LZ4), 0.5),
        *_against(label, "loads, to LZ4", loads, (AUTO, LZ4), 0.5),
    ]


def _against(name: str, operation: str, measured: dict[str, float], pair: tuple[str, str], bar: float) -> list[Result]:
    """Return the quotient of two ways, or nothing if one of them is not measured."""
    ours, theirs = map(measured.get, pair)
    if ours is None or theirs is None:
        return []
    return [Result(name, operation, ours / theirs, bar, "x size" if UNCOMPRESSED in measured else "x", measured)]


def _means(figures: list[dict[str, float]]) -> dict[str, float]:
    return {way: geometric_mean(values[way] for values in figures) for way in (figures[0] if figures else ())}


def _of_noise(effort: Effort) -> list[Result]:
    """Return what it costs to ask for compression where it does not pay."""
    noise = datasets.noise(NOISE_NBYTES // effort.scale)
    size = f"{noise.nbytes >> 20} MiB"
    way = _oobcodec("auto")
    seconds = best_times({AUTO: Contender("compress(noise)", {"compress": way.compress, "noise": noise})}, effort)
    seconds["at 20 GB/s"] = noise.nbytes / NOISE_BYTES_A_SECOND
    moved = transport.race(effort, noise, transport.tcp, {AUTO: SENT_AUTO, UNCOMPRESSED: transport.PLAIN})
    return [
        ratio("compression, noise", f"dumps {size}", seconds, 1.0),
        ratio("compression, noise", f"{size} over a socket", moved, NOISE_BAR),
    ]


def _send_auto(sock: socket.socket, obj: Any) -> None:
    sockets.send(sock, obj, compression="auto")


SENT_AUTO = transport.PLAIN._replace(send=_send_auto)


def _oobcodec(compression: str) -> Way:
    import_module("blosc2")
    return Way(partial(oobcodec.dumps, compression=compression), oobcodec.loads, _nbytes, whole=True)


def _nbytes(frames: list[memoryview]) -> int:
    return sum(frame.nbytes for frame in frames)


def _distributed(codec: str) -> Way:
    import_module({"lz4": "lz4.block", "zstd": "zstandard"}[codec])
    module = import_module("distributed.protocol.compression")
    return Way(
        partial(module.maybe_compress, compression=codec),
        lambda message: module.compressions[message[0]].decompress(message[1]),
        lambda message: memoryview(message[1]).nbytes,
    )


def _lz4(module: str) -> Way:
    codec = import_module(module)
    return Way(codec.compress, codec.decompress)


def _zstandard() -> Way:
    zstandard = import_module("zstandard")
    return Way(zstandard.ZstdCompressor(level=1).compress, zstandard.ZstdDecompressor().decompress)


def _joblib() -> Way:
    import_module("lz4.frame")
    joblib = import_module("joblib")

    def dump(obj: Any) -> BytesIO:
        file = BytesIO()
        joblib.dump(obj, file, compress="lz4")
        return file

    def load(file: BytesIO) -> Any:
        file.seek(0)
        return joblib.load(file)

    return Way(dump, load, lambda file: file.getbuffer().nbytes, whole=True)


WAYS: dict[str, Callable[[], Way]] = {
    AUTO: partial(_oobcodec, "auto"),
    "oobcodec lz4": partial(_oobcodec, "lz4"),
    ALWAYS: partial(_oobcodec, "zstd"),
    "distributed lz4": partial(_distributed, "lz4"),
    "distributed zstd": partial(_distributed, "zstd"),
    LZ4: partial(_lz4, "lz4.block"),
    "lz4.frame": partial(_lz4, "lz4.frame"),
    ZSTD: _zstandard,
    "joblib lz4": _joblib,
}


def _find(name: str) -> Way | None:
    """Return a way, or None if a package that it takes is not installed."""
    try:
        return WAYS[name]()
    except ModuleNotFoundError as error:
        print(f"compression: {name} is not measured: {error}", file=sys.stderr)
        return None
