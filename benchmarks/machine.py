"""What a measurement ran on: the machine, and the versions of what took part. No name of a host, no path."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy as np

import oobcodec

ROOT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "oobcodec": oobcodec.__version__,
        "commit": _commit(),
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "memory": f"{memory() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}, {' '.join(platform.libc_ver())}",
    }


def memory() -> int:
    """Return the bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str:
    """Return the commit, with a plus if files differ from it; "unknown" outside of a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
