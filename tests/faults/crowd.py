"""Many clients of one listener at a time: ``python -m faults.crowd ADDRESS CLIENTS``."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from oobcodec import sockets

THREADS = 50
"""Each of them has as many connections as the others."""


def allow(descriptors: int) -> bool:
    """Let this process have so many file descriptors, and tell whether it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        return False
    if soft < descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    return True


def talk(address: str, numbers: range, all_there: Barrier) -> None:
    """Connect for each number, and when everybody has, send it and receive the same."""
    connections = [sockets.connect(address, timeout=60) for _ in numbers]
    all_there.wait()
    for number, connection in zip(numbers, connections, strict=True):
        connection.send((number, np.full(1000, number)))
    for number, connection in zip(numbers, connections, strict=True):
        got, values = connection.recv()
        assert got == number
        assert (values == number).all()
        connection.close()


def main(address: str, clients: int) -> None:
    allow(2 * clients)
    all_there = Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        talks = [pool.submit(talk, address, range(first, clients, THREADS), all_there) for first in range(THREADS)]
    for each in talks:
        each.result()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
