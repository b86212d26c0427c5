"""What ``import oobcodec`` costs beside the imports of what it cannot do without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.results import Result
from benchmarks.timing import take_turns

if TYPE_CHECKING:
    from benchmarks.timing import Effort

BAR_MS = 40.0
REQUIRED = {"oobcodec", "msgpack", "cloudpickle"}

CODE = """
import sys, time
before = set(sys.modules)
start = time.perf_counter()
import {modules}
seconds = time.perf_counter() - start
import json
# What has no spec was imported by nobody: Cython leaves such names behind.
new = [name for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)]
print(json.dumps({{"seconds": seconds, "modules": new}}))
"""


def measure(effort: Effort) -> list[Result]:
    contenders = {
        "oobcodec": lambda: float(_imported("oobcodec")["seconds"]),
        "pickle, msgpack, cloudpickle": lambda: float(_imported("pickle, msgpack, cloudpickle")["seconds"]),
    }
    seconds = take_turns(contenders, effort.rounds)
    ours, theirs = seconds.values()
    packages = {name.partition(".")[0] for name in _imported("oobcodec")["modules"]}
    optional = sorted(packages - sys.stdlib_module_names - REQUIRED)
    return [
        Result("import", "added to that of its needs", (ours - theirs) * 1e3, BAR_MS, "ms", seconds),
        Result("import", f"optional libraries: {', '.join(optional) or 'none'}", len(optional), 0, "", {}),
    ]


def _imported(modules: str) -> dict[str, Any]:
    """Import modules in a process that has imported nothing yet."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-c", CODE.format(modules=modules)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: dict[str, Any] = json.loads(done.stdout)
    return result
