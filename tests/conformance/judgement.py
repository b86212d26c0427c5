"""What a case, sent by a peer, comes to."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .comparison import Comparison

if TYPE_CHECKING:
    from benchmarks.peers import Peer

    from .table import Case

MEGABYTE = 1 << 20
SLACK = 8 * 1024
"""Bytes that may travel inside the pickle stream, besides a hundredth of the data."""


@dataclass
class Holder:
    """Something that holds another object."""

    name: str
    content: Any


CONTEXTS = {
    "alone": lambda obj: obj,
    "nested": lambda obj: Holder("holder", {"deep": [{"down": obj}], "beside": 1}),
    "twice": lambda obj: [obj, {"again": obj}],
}


class Judgement(NamedTuple):
    """What was lost by aspect, and how many bytes travelled."""

    lost: dict[str, str]
    in_band: int = 0
    shipped: int = 0

    @property
    def right(self) -> bool:
        """Whether what arrived is what was sent."""
        return not self.lost.keys() - {"in-band", "shipped"}


def judge(peer: Peer, case: Case, context: str, memory=bytearray) -> Judgement:
    """Send a case, and compare what arrives in memory of its own with what was sent."""
    sent = case.make()
    head, buffers = peer.dumps(CONTEXTS[context](sent))
    in_band, shipped = peer.sizes(head, buffers)
    got = peer.loads(head, [memory(buffer) for buffer in buffers])
    # What has been dumped must not be needed, so that it is what arrives that is compared.
    del buffers
    gc.collect(0)
    want = CONTEXTS[context](case.arrives() if case.arrives else sent)
    lost = Comparison(got, want).lost
    if case.holds is not None:
        if in_band > SLACK + case.holds / 100:
            lost["in-band"] = f"{in_band:,} bytes of {case.holds:,} inside the pickle stream"
        if shipped > 1.05 * case.holds + (SLACK if case.holds < MEGABYTE else 0):
            lost["shipped"] = f"{shipped:,} bytes for {case.holds:,}"
    return Judgement(lost, in_band, shipped)
