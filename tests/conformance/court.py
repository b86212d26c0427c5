"""Peers judged in another process, which some of them crash."""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from benchmarks import peers

from .judgement import CONTEXTS, judge
from .table import cases

PATIENCE = 60
"""Seconds after which a peer is taken to hang."""


def lost_by(name, library, case):
    """Return what a peer loses of a case, by context."""
    warnings.simplefilter("ignore")  # the peers' own
    logging.disable()
    peer, lost = peers.find(name), {}
    for context in CONTEXTS:
        try:
            lost[context] = judge(peer, cases(library)[case], context).lost
        except Exception as error:  # noqa: BLE001  # whatever a peer raises is its result
            lost[context] = {"error": f"{type(error).__name__}: {error}".partition("\n")[0]}
    return lost


class Court:
    """Judges peers in another process, which some of them crash."""

    def __init__(self):
        self._pool = None

    def lost_by(self, *what):
        """Return what a peer loses of a case."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            return self._pool.submit(lost_by, *what).result(PATIENCE)
        except BrokenProcessPool:
            self._pool = None
            return {context: {"error": "the process crashed"} for context in CONTEXTS}
        except TimeoutError:
            self.close()
            return {context: {"error": f"nothing after {PATIENCE} seconds"} for context in CONTEXTS}

    def close(self):
        """Stop the process, even if it hangs."""
        if self._pool is not None:
            for process in self._pool._processes.values():
                process.kill()
            self._pool.shutdown()
            self._pool = None
