"""Receive what there is no memory for: ``python -m faults.starved KIND PORT``."""

import json
import resource
import socket
import sys
from pathlib import Path

from oobcodec import LimitError, PoisonedError

from .channels import side

SPARE = 256 << 20
"""Bytes of address space that this process may still have."""


def main(kind: str, port: int) -> None:
    first, second = (side(kind, socket.create_connection(("127.0.0.1", port)), "client") for _ in range(2))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE,) * 2)
    try:
        first.recv()
    except LimitError as error:
        text = str(error)
    try:
        first.recv()
    except PoisonedError:
        json.dump({"text": text, "next": second.recv()}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
