"""``python -m benchmarks``: measure, compare, and say where a bar is missed."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    asynchronous,
    compression,
    files,
    imports,
    libraries,
    memory,
    plots,
    processes,
    report,
    transport,
    trust,
    workloads,
)
from benchmarks.timing import FULL, QUICK, settle_allocator

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Result
    from benchmarks.timing import Effort

BENCHMARKS: dict[str, Callable[[Effort], list[Result]]] = {
    **{name: partial(workloads.measure, name) for name in workloads.WORKLOADS},
    **{name: partial(libraries.measure, name) for name in libraries.WORKLOADS},
    "memory": memory.measure,
    "socket": transport.measure,
    "asyncio": asynchronous.measure,
    "compression": compression.measure,
    "files": files.measure,
    "trust": trust.measure,
    "processes": processes.measure,
    "import": imports.measure,
}


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks", description="Measure oobcodec beside what it replaces.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and less memory")
    parser.add_argument("--only", choices=BENCHMARKS, metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the figures of compression into a folder")
    arguments = parser.parse_args()
    if arguments.plots and not find_spec("matplotlib"):
        parser.error("--plots needs the package matplotlib, which is not installed: pip install matplotlib")
    environment = report.environment() | {"compression": compression.versions()}
    for name, value in environment.items():
        print(f"{name}: {value}")
    settle_allocator()
    results = []
    for name in [arguments.only] if arguments.only else BENCHMARKS:
        print(f"measuring {name}", file=sys.stderr)
        results += BENCHMARKS[name](QUICK if arguments.quick else FULL)
    report.show(results)
    print(report.NOTES)
    if arguments.plots:
        plots.draw(results, arguments.plots)
    if arguments.json:
        figures = {"environment": environment, "results": [result.to_dict() for result in results]}
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
