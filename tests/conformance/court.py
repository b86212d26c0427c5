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
        """Return what a peer loses of a case, by context."""
        self.start()
        try:
            return self._pool.submit(lost_by, *what).result(PATIENCE)
        except BrokenProcessPool:
            self._pool = None
            return _failed("the process crashed")
        except TimeoutError:
            self.close()
            return _failed(f"nothing after {PATIENCE} seconds")

    def start(self):
        """Start the process, if it does not run."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            self._pool.submit(int).result(PATIENCE)

    def kill(self):
        """Stop the process, whatever it does."""
        for process in self._pool._processes.values():
            process.kill()

    def close(self):
        """Stop the process, if there is one."""
        if self._pool is not None:
            self.kill()
            self._pool.shutdown()
            self._pool = None


def _failed(text):
    return {context: {"error": text} for context in CONTEXTS}
