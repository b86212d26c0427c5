"""What ``oobcodec demo`` does: it sends a batch to a second process, which checks it, and then takes the time."""

from __future__ import annotations

import itertools
import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from tempfile import TemporaryFile
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any, Final

from oobcodec import comparison, samples, sockets
from oobcodec.errors import EncodeError, TruncatedError
from oobcodec.explanation import CompressedItemRow, ItemRow, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oobcodec.samples import Sample

ROUNDS: Final = 3
PATIENCE: Final = 60.0
"""Seconds without a sign of life from the receiver, which may have to read large libraries from a slow disk."""

_ACKNOWLEDGED: Final = b"\x06"


@dataclass(frozen=True, slots=True)
class Item:
    """How one thing of the batch travelled.

    Attributes
    ----------
    name, kind : str
        Of the thing.
    nbytes : int
        Bytes of its buffers, each counted as a whole.
    out_of_band : int
        Bytes that travelled for it beside the pickle stream.
    copied : int
        Bytes that `oobcodec.dumps` had to copy.
    pickled : int or None
        Bytes of what pickle by itself makes of it; None if it refuses.
    shared_with : str
        Paths of what its buffers share memory with.
    how : str
        In words.
    difference : str
        What is wrong with what was received; empty if it is equal.
    compression : str
        What its largest compressed frame would be with ``compression="lz4"``, and how far; empty if nothing would be.
    """

    name: str
    kind: str
    nbytes: int
    out_of_band: int
    copied: int
    pickled: int | None
    shared_with: str
    how: str
    difference: str
    compression: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demo has found.

    Attributes
    ----------
    items : list of Item
        One for each sample.
    missing : list of str
        The libraries with which there would be more.
    raced_nbytes : int
        Bytes that were sent against the clock, counted as in `Item`: of all that pickle by itself does not refuse.
    seconds : dict
        From the object on this side to the object on that side: the best round, of ``"oobcodec"`` and ``"pickle"``.
    """

    items: list[Item]
    missing: list[str]
    raced_nbytes: int
    seconds: dict[str, float]


def run() -> Outcome:
    """Send a batch of everything to a second process and have it checked there.

    Raises
    ------
    ChildProcessError
        There is no second process, or it ended or fell silent before it had answered.
    """
    seed = secrets.randbelow(1 << 16)
    with _receiver(seed) as sock:
        batch = {sample.name: sample.make(seed) for sample in _available()}
        sockets.send(sock, batch)
        items = _items(batch, sockets.recv(sock))
        # Without what pickle refuses, so that both have the same work.
        raced = {sample.name: batch[sample.name] for sample in _available() if sample.picklable}
        seconds = _race(sock, raced)
    missing = dict.fromkeys(library for sample in samples.SAMPLES for library in sample.missing)
    return Outcome(items, [*missing], comparison.nbytes(raced), seconds)


def _available() -> list[Sample]:
    return [sample for sample in samples.SAMPLES if not sample.missing]


def _items(batch: dict[str, object], differences: dict[str, str]) -> list[Item]:
    rows = _rows(batch)
    owners: dict[int | None, str] = {}
    for row in rows:
        owners.setdefault(row.frame, row.path)
    items = []
    refused = {sample.name for sample in samples.SAMPLES if not sample.picklable}
    for name, obj in batch.items():
        prefix = f"[{name!r}]"
        own = [row for row in rows if row.path.startswith(prefix)]
        shared = {owners[row.frame].removeprefix(prefix) for row in own if row.way == "shared"}
        pickled = None if name in refused else len(pickle.dumps(obj, protocol=5))
        items.append(_item(name, obj, own, pickled, ", ".join(sorted(shared)), differences[name]))
    return items


def _rows(batch: dict[str, object]) -> list[ItemRow]:
    try:
        report = explain(batch, compression="lz4")
    except EncodeError:  # blosc2 is not installed
        report = explain(batch)
    return [row for row in report.tables["items"] if isinstance(row, ItemRow)]


def _compression(rows: list[ItemRow]) -> str:
    found = [row for row in rows if isinstance(row, CompressedItemRow) and row.ratio is not None]
    best = max(found, key=lambda row: row.bytes, default=None)
    return "" if best is None else f"{best.codec}, {best.filter}: {best.ratio:.1f} times"


def _item(name: str, obj: object, rows: list[ItemRow], pickled: int | None, shared_with: str, difference: str) -> Item:  # noqa: PLR0913, PLR0917  # its parts
    nbytes = comparison.nbytes(obj)
    ways = Counter(row.way for row in rows)
    return Item(
        name=name,
        kind=comparison.kind(obj),
        nbytes=nbytes,
        out_of_band=sum(row.bytes for row in rows if row.way != "in-band"),
        # What is too small for a row of its own is copied into the pickle stream.
        copied=sum(row.copied for row in rows) if rows else nbytes,
        pickled=pickled,
        shared_with=shared_with,
        how=", ".join(f"{count} {way}" if count > 1 else way for way, count in ways.items()) or "in-band",
        difference=difference,
        compression=_compression(rows),
    )


def _race(sock: socket.socket, obj: object) -> dict[str, float]:
    senders: dict[str, Callable[[socket.socket, object], object]] = {"oobcodec": sockets.send, "pickle": _send_stock}
    seconds = dict.fromkeys(senders, float("inf"))
    for _, (name, send) in itertools.product(range(ROUNDS), senders.items()):
        start = perf_counter()
        send(sock, obj)
        _fill(sock, memoryview(bytearray(len(_ACKNOWLEDGED))))
        seconds[name] = min(seconds[name], perf_counter() - start)
    return seconds


def receive(descriptor: int, seed: int) -> None:
    """Be the second process: check a batch against what `seed` makes here, then take part in the race."""
    with socket.socket(fileno=descriptor) as sock:
        for library in {library for sample in _available() for library in sample.libraries.split()}:
            import_module(library)  # which takes seconds, so at the same time as on the other side
        sockets.send(sock, _differences(sockets.recv(sock), seed))
        for _, recv in itertools.product(range(ROUNDS), (sockets.recv, _recv_stock)):
            recv(sock)
            sock.sendall(_ACKNOWLEDGED)


def _differences(batch: dict[str, object], seed: int) -> dict[str, str]:
    def check(sample: Sample) -> str:
        return comparison.difference(sample.make(seed), batch.get(sample.name), compacted=sample.compacted)

    return {sample.name: check(sample) for sample in _available()}


def _send_stock(sock: socket.socket, obj: object) -> None:
    """Send an object as one does without oobcodec."""
    data = pickle.dumps(obj, protocol=5)
    sock.sendall(len(data).to_bytes(8, "little"))
    sock.sendall(data)


def _recv_stock(sock: socket.socket) -> Any:
    length = bytearray(8)
    _fill(sock, memoryview(length))
    data = bytearray(int.from_bytes(length, "little"))
    _fill(sock, memoryview(data))
    return pickle.loads(data)


def _fill(sock: socket.socket, view: memoryview) -> None:
    while view:
        nbytes = sock.recv_into(view)
        if not nbytes:
            raise EOFError
        view = view[nbytes:]


@contextmanager
def _receiver(seed: int) -> Iterator[socket.socket]:
    """Run `receive` in a second process, connected to the socket that this yields."""
    near, far = _loopback()
    with near, TemporaryFile() as log:
        with far:
            child = _start(far, seed, log)
        try:
            near.settimeout(PATIENCE)
            yield near
        except (OSError, EOFError, TruncatedError) as error:
            raise ChildProcessError(_obituary(child, log)) from error
        except BaseException:
            child.kill()
            raise
        finally:
            near.close()
            child.wait()


def _start(sock: socket.socket, seed: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    descriptor = sock.fileno()
    # With the same modules as here, wherever this process found them.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = f"from oobcodec.demo import receive; receive({descriptor}, {seed})"
    try:
        return subprocess.Popen(  # noqa: S603  # nothing in it comes from outside
            [sys.executable, "-P", "-c", code],
            env=environment,
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    except OSError as error:
        message = f"cannot start a second process with {sys.executable!r}: {error}"
        raise ChildProcessError(message) from error


def _obituary(child: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    try:
        # It may have closed the socket, but not have ended yet.
        status = child.wait(timeout=1)
    except subprocess.TimeoutExpired:
        child.kill()
        return f"the receiving process has not answered for {PATIENCE:g} s"
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    log.seek(0)
    last_words = log.read().decode(errors="replace").strip().rpartition("\n")[-1]
    return f"the receiving process ended too early ({how}){last_words and ': '}{last_words}"


def _loopback() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection over the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, peer = listener.accept()
    # What comes in is unpickled, so it matters that nobody else was quicker to connect.
    if peer != near.getsockname():
        near.close()
        far.close()
        message = f"a stranger has connected from {peer}"
        raise ConnectionRefusedError(message)
    for end in (near, far):
        # For pickle's sake: else its length waits for an acknowledgement, and that for 40 ms.
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far
