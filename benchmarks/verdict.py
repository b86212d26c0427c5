"""What a peer loses of an object, by the judgement of the conformance table."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

from benchmarks.peers.peer import received

if TYPE_CHECKING:
    from benchmarks.peers import Peer

LABELS = {"in-band", "shipped"}
"""Aspects of the judgement that are no loss."""


def lost(peer: Peer, obj: object) -> dict[str, str]:
    """Return what a peer loses of an object, by aspect, but for the chunks that its memory is divided into.

    Whatever the peer raises is raised.
    """
    from tests.conformance.judgement import judge  # noqa: PLC0415
    from tests.conformance.table import Case, table  # noqa: PLC0415

    table()  # type: ignore[no-untyped-call]  # which brings what compares the objects of each library
    with redirect_stderr(io.StringIO()):
        found = judge(peer, Case("", lambda: obj), "alone", received).lost
    return {aspect: text for aspect, text in found.items() if "chunk_lengths" not in text and aspect not in LABELS}
