"""Child processes, for tests of what they exchange."""

import multiprocessing
import os
import signal
import time

import pytest

MIB = 1 << 20
LONG = 60  # seconds: nothing here takes that long
METHODS = multiprocessing.get_all_start_methods()
CONTEXTS = [pytest.param(multiprocessing.get_context(method), id=method) for method in METHODS]


def started(context, function, *arguments, without=()):
    """Start a process, in which connections that only the parent should have are closed."""
    inherited = without if context.get_start_method() == "fork" else ()
    process = context.Process(target=call_without, args=(inherited, function, *arguments))
    process.start()
    return process


def call_without(connections, function, *arguments):
    for connection in connections:
        connection.close()
    function(*arguments)


def finished(process):
    deadline = time.monotonic() + LONG
    process.join(LONG)
    while process.exitcode is None and time.monotonic() < deadline:
        time.sleep(0.01)  # another thread, which joined it too, was told of its end, and has yet to note that
    return process.exitcode


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join(LONG)


class Refuses:
    def __reduce__(self):
        return Refuses._rebuild, ()

    @staticmethod
    def _rebuild():
        message = "not here"
        raise LookupError(message)
