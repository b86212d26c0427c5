"""A pool of processes, each with a pipe and a thread of the parent that serves it."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context, util
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]  # typeshed leaves it out
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from oobcodec.codec import dumps, loads
from oobcodec.errors import EncodeError, TruncatedError
from oobcodec.integrations.multiprocessing.pipes import Connection, Pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection


class ProcessPoolExecutor(Executor):
    """Call functions in other processes. Arguments and results are not copied on their way through a Unix socket.

    Other than `concurrent.futures.ProcessPoolExecutor`:

    - All processes start with the first call, and there is no ``max_tasks_per_child``.
    - Functions need not be importable: lambdas and closures travel as cloudpickle has it.
    - A result or an exception that cannot be rebuilt here is the error of its own call, and of no other.
    - A process that dies is noticed when it is given a call. As there, that breaks the pool: the calls that run or wait
      fail with `concurrent.futures.process.BrokenProcessPool`, and the other processes are terminated.
    - The processes end when this one does, even if it is killed.

    Parameters
    ----------
    max_workers
        How many processes; by default one a processor.
    mp_context
        Of `multiprocessing.get_context`, for another start method than the default. As with the standard library's
        pool, forking is for programs without other threads.
    initializer, initargs
        What each process calls first. If that raises, the pool is broken.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self._count = (os.cpu_count() or 1) if max_workers is None else max_workers
        self._threads = ThreadPoolExecutor(self._count)  # which also refuses what is no number of workers
        self._context: Any = mp_context or get_context()
        self._initial = partial(initializer, *initargs) if initializer is not None else None
        self._lock = Lock()
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._shut = False
        self._broken = ""
        # With this object, and at the end of this process: before it waits for its children.
        self._hang_up = util.Finalize(self, _hang_up, [self._workers], exitpriority=10)
        # The processes would not see the end of this one while others hold its ends of their pipes.
        util.register_after_fork(self, ProcessPoolExecutor._forget)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn(*args, **kwargs)`` in one of the processes, as soon as one is free.

        The arguments are encoded when that is the case: change nothing of them before the call is done.

        Raises
        ------
        BrokenProcessPool
            A process has died.
        RuntimeError
            `shutdown` has been called.
        """
        with self._lock:
            if self._broken:
                raise BrokenProcessPool(self._broken)
            # Before the threads, for those who fork.
            while len(self._workers) < self._count and not self._shut:
                self._start()
        return self._threads.submit(self._call, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[Any]:
        """Return an iterator over what `fn` returns for the elements of the iterables.

        Parameters
        ----------
        fn, *iterables, timeout, **more
            As for `concurrent.futures.Executor.map`.
        chunksize
            How many calls a process is given at a time.
        """
        if chunksize < 1:
            message = f"chunksize={chunksize} is no number of calls"
            raise ValueError(message)
        calls = zip(*iterables, strict=False)
        chunks = iter(lambda: tuple(islice(calls, chunksize)), ())
        return chain.from_iterable(super().map(partial(_each, fn), chunks, timeout=timeout, **more))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more calls, and end the processes once the last one is done.

        Parameters
        ----------
        wait
            Whether to return after that only.
        cancel_futures
            Whether to drop the calls that wait for a process.
        """
        with self._lock:
            self._shut = True
        self._threads.shutdown(wait=False, cancel_futures=cancel_futures)
        if wait:
            self._end()
        else:
            Thread(target=self._end).start()

    def _start(self) -> None:
        here, there = Pipe()
        with there:
            worker = _Worker(self._context.Process(target=_work, args=(there, self._initial)), here)
            self._workers.append(worker)
            try:
                worker.process.start()
            except BaseException:
                self._workers.remove(worker)
                raise
        self._idle.put(worker)

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if self._broken:
            raise BrokenProcessPool(self._broken)
        frames = dumps((fn, args, kwargs))
        worker = self._idle.get()
        try:
            worker.connection.send_frames(frames)
            frames = worker.connection.recv_frames()
        except (EOFError, TruncatedError, OSError) as error:
            self._break(worker.process)
            raise BrokenProcessPool(self._broken) from error
        finally:
            self._idle.put(worker)
        done, value = loads(frames)
        if not done:
            raise value
        return value

    def _break(self, process: BaseProcess) -> None:
        with self._lock:
            if not self._broken:
                process.join(1)
                self._broken = f"process {process.pid} of the pool has died, with exit code {process.exitcode}"
                for worker in self._workers:
                    worker.process.terminate()

    def _end(self) -> None:
        self._threads.shutdown()
        self._hang_up()
        for worker in self._workers:
            worker.process.join()

    def _forget(self) -> None:
        _hang_up(self._workers)


def _hang_up(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()


def _each(fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [fn(*args) for args in calls]


def _work(connection: Connection, initial: Callable[[], object] | None) -> None:
    """Answer calls until the other side hangs up."""
    if initial is not None:
        initial()
    with suppress(EOFError, TruncatedError, OSError):
        while True:
            connection.send_frames(_answer(connection.recv_frames()))


def _answer(frames: list[memoryview]) -> list[memoryview]:
    try:
        fn, args, kwargs = loads(frames)
        return dumps((True, fn(*args, **kwargs)))
    except BaseException as error:  # noqa: BLE001  # for the other side to raise
        try:
            return dumps((False, ExceptionWithTraceback(error, error.__traceback__)))
        except Exception as refusal:  # noqa: BLE001  # whatever its class does
            return dumps((False, EncodeError(f"{type(error).__name__}: {error}, which cannot be sent: {refusal}")))
