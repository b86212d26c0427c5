"""Memory that several connections share, in the order in which they ask for it."""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop
from collections import deque

from oobcodec.errors import LimitError
from oobcodec.limits import in_units


class Budget:
    """So many bytes, for the messages that are received at a time.

    Raises
    ------
    ValueError
        They are none.
    """

    def __init__(self, nbytes: int) -> None:
        if nbytes <= 0:
            message = f"max_bytes={nbytes} admits no message; None admits every one"
            raise ValueError(message)
        self._free = self._all = nbytes
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    async def claim(self, nbytes: int) -> None:
        """Wait until a message of so many bytes may be received.

        Raises
        ------
        LimitError
            That will never be.
        """
        if nbytes > self._all:
            message = (
                f"the message has {in_units(nbytes)}, all connections of this server together {in_units(self._all)}. "
                "Raise it with start_server(max_bytes=...)."
            )
            raise LimitError(message)
        granted: Future[None] = get_running_loop().create_future()
        self._waiting.append((nbytes, granted))
        self._grant()
        try:
            await granted
        except CancelledError:
            if granted.cancelled():
                self._waiting.remove((nbytes, granted))
                self._grant()
            else:
                self.release(nbytes)
            raise

    def release(self, nbytes: int) -> None:
        """Give back what was claimed."""
        self._free += nbytes
        self._grant()

    def _grant(self) -> None:
        # In order: a large message would starve if small ones passed it.
        while self._waiting and self._waiting[0][0] <= self._free:
            nbytes, granted = self._waiting[0]
            if granted.cancelled():
                break  # its task is about to remove it
            self._waiting.popleft()
            self._free -= nbytes
            granted.set_result(None)
