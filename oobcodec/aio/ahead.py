"""What arrives on a line of ours, ahead of who asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oobcodec.inbox import AHEAD
from oobcodec.small import taken

if TYPE_CHECKING:
    from oobcodec.aio.lines import Inward


class Ahead:
    """Bytes from a line that nobody else reads: a small message takes one call of the system.

    Parameters
    ----------
    line
        Where from.
    """

    def __init__(self, line: Inward) -> None:
        self._line = line
        self._memory = memoryview(bytearray(AHEAD))
        self._begin = 0
        self._end = 0

    async def recv_into(self, memory: memoryview) -> int:
        """Receive some bytes, and return how many: none at the end. Nothing is lost if this is cancelled."""
        if self._begin == self._end:
            if len(memory) >= AHEAD:
                return await self._line.recv_into(memory)
            await self._fill()
        nbytes = min(len(memory), self._end - self._begin)
        memory[:nbytes] = self._memory[self._begin : self._begin + nbytes]
        self._begin += nbytes
        return nbytes

    async def take(self) -> list[bytes] | None:
        """Return the next message if it is a small one of a known form, and arrives as a whole."""
        if self._begin == self._end:
            await self._fill()
        found = taken(self._memory, self._begin, self._end)
        if found is None:
            return None
        frames, self._begin = found
        return frames

    async def _fill(self) -> None:
        self._end = await self._line.recv_into(self._memory)
        self._begin = 0
