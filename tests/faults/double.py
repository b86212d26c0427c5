"""A socket whose system calls go wrong where one says so."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[memoryview], int]
    Fault = Callable[[Call, memoryview], int]

CAPACITY = 256 * 1024
"""Bytes that a call of `sendall` hands to the system at a time."""


class Interrupt(BaseException):
    """What a signal handler raises."""


class Double(socket.socket):
    """The socket of another one, which it detaches: all calls that move data are in Python, and counted.

    Attributes
    ----------
    calls, moved
        System calls since the last `fail`, and the bytes that these have moved.
    """

    def __init__(self, sock: socket.socket) -> None:
        timeout = sock.gettimeout()
        super().__init__(fileno=sock.detach())
        self.settimeout(timeout)
        self.mend()

    def fail(self, number: int, fault: Fault) -> None:
        """Let a fault happen at the system call of this number, of those from now on."""
        self.calls = self.moved = 0
        self._number, self._fault = number, fault

    def mend(self) -> None:
        """Let nothing fail from now on."""
        self.fail(0, ended)

    def send(self, data, *flags):
        return self._next(super().send, memoryview(data))

    def sendmsg(self, pieces, *more):
        return self._next(super().send, memoryview(b"".join(pieces)))

    def sendall(self, data, *flags):
        rest = memoryview(data)
        while rest:
            rest = rest[self._next(super().send, rest[:CAPACITY]) :]

    def recv_into(self, buffer, *more):
        return self._next(super().recv_into, memoryview(buffer))

    def recv(self, nbytes, *flags):
        memory = bytearray(nbytes)
        return bytes(memory[: self.recv_into(memory)])

    def _next(self, call: Call, memory: memoryview) -> int:
        self.calls += 1

        def counted(part: memoryview) -> int:
            nbytes = call(part)
            self.moved += nbytes
            return nbytes

        now = self.calls == self._number or (self._fault is ended and 0 < self._number < self.calls)
        return self._fault(counted, memory) if now else counted(memory)


# What may happen at a call.


def one_byte(call: Call, memory: memoryview) -> int:
    return call(memory[:1])


def half(call: Call, memory: memoryview) -> int:
    return call(memory[: (len(memory) + 1) // 2])


def all_but_one(call: Call, memory: memoryview) -> int:
    return call(memory[: max(len(memory) - 1, 1)])


def ended(call: Call, memory: memoryview) -> int:
    """Receive the end of the stream, from now on."""
    return call(memory) if memory.readonly else 0


def untold(call: Call, memory: memoryview) -> int:
    """Be interrupted when data has moved already, so that nobody learns how much."""
    call(memory)
    raise Interrupt


def failing(error: type[BaseException]) -> Fault:
    """Return the fault of a call that moves nothing and raises."""

    def fail(call: Call, memory: memoryview) -> int:
        raise error

    return fail


SHORT: Final = {"one byte": one_byte, "half": half, "all but one byte": all_but_one}
"""What is no error: what is sent or received has to be the same."""

ERROR_OF: Final = {
    "reset": ConnectionResetError,
    "broken pipe": BrokenPipeError,
    "EAGAIN": BlockingIOError,
    "timeout": TimeoutError,
    "interrupt": Interrupt,
}
FAULTS: Final = {
    **SHORT,
    **{name: failing(error) for name, error in ERROR_OF.items()},
    "end": ended,
    "untold": untold,
}
