import concurrent.futures
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from helpers import run_python
from processes import CONTEXTS, LONG, METHODS, MIB, Refuses, finished

from oobcodec import DecodeError, EncodeError
from oobcodec.integrations.multiprocessing import ProcessPoolExecutor

DEFAULT = multiprocessing.get_context("fork")

# Python from 3.12 on, and JAX if another test has imported it, warn of threads: the children here need none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]


@pytest.fixture(params=CONTEXTS)
def context(request):
    return request.param


@pytest.fixture(scope="module", params=METHODS)
def pool(request):
    with ProcessPoolExecutor(2, multiprocessing.get_context(request.param)) as pool:
        yield pool


def raising(error):
    raise error


class StubbornError(Exception):
    """One that pickle cannot rebuild."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class UnsendableError(Exception):
    def __init__(self, *_):
        super().__init__("with a lock")
        self.lock = threading.Lock()


def pause(seconds):
    time.sleep(seconds)
    return os.getpid()


def test_arguments_and_results_are_those_of_a_call(pool):
    array = np.arange(MIB)
    assert pool.submit(np.sum, array).result(LONG) == array.sum()
    doubled = pool.submit(np.multiply, array, 2, dtype="f8").result(LONG)
    assert doubled.dtype == "f8"
    np.testing.assert_array_equal(doubled, 2.0 * array)
    doubled += 1
    factor = 3
    assert pool.submit(lambda x: x * factor, 5).result(LONG) == 15
    assert pool.submit(os.getpid).result(LONG) != os.getpid()


def test_calls_run_beside_each_other(pool):
    assert len({future.result(LONG) for future in [pool.submit(pause, 0.5) for _ in range(2)]}) == 2


def test_an_exception_comes_back_with_the_traceback_of_the_other_side(pool):
    with pytest.raises(LookupError, match="gone") as caught:
        pool.submit(raising, LookupError("gone")).result(LONG)
    assert "in raising" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("cls", "expected", "text"),
    [
        (SystemExit, SystemExit, "first"),
        (KeyboardInterrupt, KeyboardInterrupt, "first"),
        (StubbornError, DecodeError, "second"),
        (UnsendableError, EncodeError, "UnsendableError: with a lock, which cannot be sent"),
    ],
)
def test_an_exception_of_any_kind_is_that_of_its_call(pool, cls, expected, text):
    with pytest.raises(expected, match=text):
        pool.submit(make_and_raise, cls, "first", "second").result(LONG)
    assert pool.submit(abs, -1).result(LONG) == 1


def make_and_raise(cls, *args):
    raise cls(*args)


def test_what_cannot_be_sent_or_rebuilt_is_the_error_of_its_call(pool):
    with pytest.raises(EncodeError, match="lock"):
        pool.submit(abs, threading.Lock()).result(LONG)
    with pytest.raises(EncodeError, match="lock"):
        pool.submit(threading.Lock).result(LONG)
    with pytest.raises(LookupError, match="not here"):
        pool.submit(Refuses).result(LONG)
    with pytest.raises(LookupError, match="not here"):
        pool.submit(id, Refuses()).result(LONG)
    assert pool.submit(abs, -1).result(LONG) == 1


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map_keeps_the_order(pool, chunksize):
    assert list(pool.map(pow, range(10), [2] * 10, timeout=LONG, chunksize=chunksize)) == [n**2 for n in range(10)]


def test_map_refuses_chunks_without_calls(pool):
    with pytest.raises(ValueError, match="chunksize=0"):
        pool.map(abs, [1], chunksize=0)


def test_map_raises_what_a_call_raises(pool):
    results = pool.map(raising, [LookupError("gone")])
    with pytest.raises(LookupError, match="gone"):
        next(results)


SETTINGS = {}


def change_settings_to(value):
    SETTINGS["value"] = value


def read_settings():
    return SETTINGS


def test_each_process_is_initialized_first(context):
    with ProcessPoolExecutor(2, context, change_settings_to, ("set",)) as pool:
        assert pool.submit(read_settings).result(LONG) == {"value": "set"}
    assert SETTINGS == {}


def leave():
    os._exit(3)


@pytest.mark.parametrize("initializer", [Refuses._rebuild, leave])
def test_a_process_that_does_not_come_up_breaks_the_pool(initializer, capfd):
    with ProcessPoolExecutor(1, DEFAULT, initializer) as pool:
        with pytest.raises(BrokenProcessPool, match="exit code"):
            pool.submit(abs, 1).result(LONG)
        with pytest.raises(BrokenProcessPool, match="exit code"):
            pool.submit(abs, 1)


def test_a_killed_process_breaks_the_pool(context):
    with ProcessPoolExecutor(2, context) as pool:
        assert pool.submit(abs, -1).result(LONG) == 1
        futures = [pool.submit(time.sleep, LONG) for _ in range(2)]
        waiting = pool.submit(abs, -1)
        while not all(future.running() for future in futures):
            time.sleep(0.01)
        os.kill(pool._workers[0].process.pid, signal.SIGKILL)
        for future in (*futures, waiting):
            with pytest.raises(BrokenProcessPool, match="exit code -9"):
                future.result(LONG)
        with pytest.raises(BrokenProcessPool, match="exit code -9"):
            pool.submit(abs, -1)


def test_after_shutdown_nothing_is_taken_and_no_process_is_left(context):
    pool = ProcessPoolExecutor(2, context)
    future = pool.submit(abs, -1)
    processes = [worker.process for worker in pool._workers]
    pool.shutdown()
    assert future.result(0) == 1
    assert [process.exitcode for process in processes] == [0, 0]
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(abs, -1)
    pool.shutdown()


def test_a_pool_that_was_never_used_starts_nothing():
    with ProcessPoolExecutor(2) as pool:
        pass
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(abs, -1)
    assert pool._workers == []


def test_shutdown_need_not_wait():
    pool = ProcessPoolExecutor(1, DEFAULT)
    running, waiting = pool.submit(pause, 0.3), pool.submit(abs, -1)
    while not running.running():
        time.sleep(0.01)
    (worker,) = pool._workers
    pool.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    assert running.result(LONG) == worker.process.pid
    assert finished(worker.process) == 0


def test_a_pool_that_is_forgotten_ends_its_processes():
    pool = ProcessPoolExecutor(1, DEFAULT)
    assert pool.submit(abs, -1).result(LONG) == 1
    (worker,) = pool._workers
    process = worker.process
    del pool, worker
    gc.collect()
    assert finished(process) == 0


@pytest.mark.parametrize("count", [0, -1])
def test_a_pool_has_processes(count):
    with pytest.raises(ValueError, match="max_workers"):
        ProcessPoolExecutor(count)


def test_a_process_that_cannot_be_started_is_an_error_of_submit():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, lambda: None) as pool:
        with pytest.raises(Exception, match="lambda"):  # of pickle, in other words with each Python
            pool.submit(abs, -1)
        assert pool._workers == []


def test_it_is_an_executor_for_those_who_ask():
    assert issubclass(ProcessPoolExecutor, concurrent.futures.Executor)
    assert ProcessPoolExecutor()._count == os.cpu_count()


USE = """
import multiprocessing, os, sys
from oobcodec.integrations.multiprocessing import ProcessPoolExecutor
pool = ProcessPoolExecutor(2, multiprocessing.get_context(sys.argv[1]))
future = pool.submit(abs, -1)
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_program_ends_without_a_shutdown(method):
    assert run_python(f"{USE}print(future.result())", method) == b"1\n"


@pytest.mark.parametrize("method", METHODS)
def test_the_processes_of_a_killed_program_end(method):
    code = f"{USE}print(future.result(), flush=True)\nos.kill(os.getpid(), 9)"
    # Which returns when nobody has its output open any more: its children have.
    done = subprocess.run([sys.executable, "-c", code, method], stdout=subprocess.PIPE, timeout=LONG, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"1\n")
