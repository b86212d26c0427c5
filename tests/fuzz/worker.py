"""Load messages that nobody would send, in a process that may crash of it.

``python -m fuzz.worker CORPUS SOURCE START STOP PROGRESS`` loads the messages from START to STOP of a source, and
prints a line of JSON for each finding, and one with what became of them all at the end. PROGRESS is a file that tells
where it is, should it not come to that.
"""

from __future__ import annotations

import collections
import faulthandler
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
import warnings
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgpack

import oobcodec

from . import corpus as corpora
from .changes import changes
from .mutate import mutant
from .use import code_in, imports, use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .mutate import Corpus, Specimen

SLOW = 1.0
"""Seconds, of the processors, that nothing may take."""
ROOM = 2 << 30
"""Bytes of address space beyond what the libraries took."""
SHIFTS = (1, 8)
"""Bytes by which memory does not begin where it should."""
USES = 3
"""What is done with each object of a mutant."""
MUCH = 256 << 20
"""Bytes of memory that no mutant, which are short, may take."""

PROGRESS = struct.Struct("<qq")
LOADING, USING = range(2)

EVENTS = frozenset(
    [
        *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn"),
        *("exec", "compile", "pickle.find_class", "marshal.loads", "code.__new__", "ctypes.dlopen", "socket.connect"),
        *("os.remove", "os.rename", "os.mkdir", "os.chmod", "shutil.rmtree", "open", "import", "webbrowser.open"),
    ]
)
"""What no message under DATA has to do with; files are read by `zoneinfo` alone."""


class Ear:
    """What Python says that it does, while somebody listens."""

    def __init__(self) -> None:
        self.listening = False
        self.heard: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.listening and event in EVENTS and not _is_harmless(event, arguments):
            self.heard.append(f"{event}{arguments!r:.200}")


def _is_harmless(event: str, arguments: tuple[Any, ...]) -> bool:
    """Tell whether something is the reading of a time zone, or the import of what is there already, or a traceback."""
    known = event == "import" and arguments[0] in sys.modules
    if event in {"compile", "code.__new__", "exec"} and "blosc2_ext.pyx" in str(arguments):
        return True  # Cython makes code objects for its lines in a traceback
    return known or (event in {"import", "open"} and ("zoneinfo" in str(arguments[0]) or "tzdata" in str(arguments[0])))


def source_of(name: str, corpus: Corpus) -> Callable[[int], tuple[Any, dict[str, Any], str]]:
    """Return the messages of a source by number: with the options to load them with, and what they are."""
    kind, _, rest = name.partition(":")
    if kind == "mutants":

        def of_mutants(number: int) -> tuple[Any, dict[str, Any], str]:
            it = mutant(corpus, int(rest), number)
            return it.frames, it.options, f"{it.specimen.library}: {it.specimen.name}: {', '.join(it.changes)}"

        return of_mutants
    if kind == "cases":
        paths = sorted(Path(rest).glob("*.msgpack"))
        return lambda number: (*read_case(paths[number]), paths[number].name)
    if kind == "shifted":
        specimens = corpus.specimens
        return lambda number: _shifted(specimens[number // len(SHIFTS)], SHIFTS[number % len(SHIFTS)])
    if kind == "trouble":
        return lambda number: (Trouble(number), {}, f"trouble: {number}")
    messages = [message for one in msgpack.unpackb(Path(rest).read_bytes()) for message in changes(one)]
    return lambda number: (messages[number][1], {}, messages[number][0])


def _shifted(specimen: Specimen, shift: int) -> tuple[Any, dict[str, Any], str]:
    """Return a message as it was sent, whose buffers lie where no allocator puts them."""
    frames = [memoryview(bytearray(shift) + frame)[shift:] for frame in specimen.frames]
    return frames, {}, f"{specimen.library}: {specimen.name}: shifted by {shift}"


def read_case(path: Path) -> tuple[Any, dict[str, Any]]:
    frames, options = msgpack.unpackb(path.read_bytes())
    return bytearray(frames) if isinstance(frames, bytes) else [bytearray(frame) for frame in frames], options


def write_case(path: Path, frames: Any, options: dict[str, Any]) -> None:
    whole = isinstance(frames, bytes | bytearray)
    path.write_bytes(msgpack.packb((bytes(frames) if whole else [bytes(frame) for frame in frames], options)))


class Trouble:
    """A message that does what none may do, while it is loaded."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __iter__(self) -> Iterator[bytes]:
        begin = time.process_time()
        match self._number:
            case 0:
                os.kill(os.getpid(), signal.SIGSEGV)
            case 1:
                time.sleep(600)
            case 2:
                raise ValueError
            case 3:
                raise SystemExit
            case 4:
                while time.process_time() < begin + SLOW + 0.1:
                    pass
            case 5:
                exec("")
        return iter([bytes(frame) for frame in oobcodec.dumps(5)][: self._number])


class Worker:
    """Loads messages, and says what became of them."""

    def __init__(self, progress: mmap.mmap, most: int | None) -> None:
        self._progress = progress
        self._most = most
        self._ear = Ear()
        self.counts: collections.Counter[str] = collections.Counter()

    def warm_up(self, corpus: Corpus) -> None:
        """Load and use every message as it was sent, after which nothing is done for the first time."""
        for specimens in corpus.libraries.values():
            for number, specimen in enumerate(specimens):
                try:
                    value = oobcodec.loads([bytearray(frame) for frame in specimen.frames], policy=oobcodec.DATA)
                except oobcodec.OobError:
                    continue
                self.counts[f"specimens of {specimen.library}"] += 1
                use(value, Random(number), USES)

    def load(self, number: int, get: Callable[[int], tuple[Any, dict[str, Any], str]]) -> None:
        self._progress[:] = PROGRESS.pack(number, LOADING)
        frames, options, what = get(number)
        value, failure = None, None
        begin, memory = time.process_time(), _most_memory()
        self._ear.heard.clear()
        self._ear.listening = True
        try:
            value = oobcodec.loads(frames, policy=oobcodec.DATA, **options)
        except BaseException as error:  # noqa: BLE001  # PanicException is none of Exception's
            failure = error
        self._ear.listening = False
        _check_time(number, begin, "loading", what)
        grown = _most_memory() - memory
        if grown > MUCH:
            report(number, f"{grown >> 20} MiB", what)
        if self._ear.heard:
            report(number, "side effect", f"{what}: {self._ear.heard}")
        if failure is None:
            self.counts[f"loaded of {what.partition(':')[0]}"] += 1
            self._use(number, value, what)
        elif isinstance(failure, oobcodec.OobError):
            self.counts[type(failure).__name__] += 1
            str(failure)
        else:
            report(number, f"{type(failure).__name__} from loads", f"{what}: {failure}")

    def _use(self, number: int, value: Any, what: str) -> None:
        if code := code_in(value):
            report(number, "no data", f"{what}: {code}")
        self._progress[:] = PROGRESS.pack(number, USING)
        begin = time.process_time()
        try:
            use(value, Random(number), self._most)
        except BaseException as error:  # noqa: BLE001  # as above
            report(number, f"{type(error).__name__} in use", f"{what}: {type(value)}: {error}")
        _check_time(number, begin, "using", f"{what}: {type(value)}")


def _check_time(number: int, begin: float, doing: str, what: str) -> None:
    took = time.process_time() - begin
    if took > SLOW:
        report(number, f"{took:.1f} s {doing}", what)


def _most_memory() -> int:
    """Return how many bytes of memory this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def report(number: int, kind: str, text: str) -> None:
    _say({"number": number, "kind": kind, "text": text[:1000]})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(path: str, source: str, start: str, stop: str, progress: str) -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    corpus = corpora.read(Path(path))
    imports(corpus.libraries)
    get = source_of(source, corpus)
    with Path(progress).open("r+b") as file:
        worker = Worker(mmap.mmap(file.fileno(), PROGRESS.size), USES if source.startswith("mutants") else None)
    worker.warm_up(corpus)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(int(start), int(stop)):
        worker.load(number, get)
    _say(worker.counts)


if __name__ == "__main__":
    main(*sys.argv[1:])
