"""Has messages judged in processes of their own, and writes down what becomes of them.

``python tests/hostile/court.py`` rewrites ``expected.json``: read what has changed in it before you believe it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPECTED = HERE / "expected.json"


def judged(policy, paths, folder, *flags):
    """Return what becomes of each message, and ``{"crash": signal}`` of one that kills the process.

    When one does, the next process goes on behind it.
    """
    verdicts, environment = {}, os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    paths = [str(path) for path in paths]
    while paths:
        command = [sys.executable, *flags, str(HERE / "judge.py"), policy, *paths]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
        lines = done.stdout.decode().splitlines()
        if not lines:
            raise RuntimeError(done.stderr.decode())
        verdicts |= dict(zip(lines[::2], map(json.loads, lines[1::2]), strict=False))
        if len(lines) % 2:
            verdicts[lines[-1]] = {"crash": done.returncode}
        paths = paths[(len(lines) + 1) // 2 :]
    return verdicts


def located(folder):
    """Return the path of each message, those that are not kept made in a folder."""
    from hostile import make

    make.write(make.large(), folder)
    return {str(path.relative_to(home)): path for home in (make.FOLDER, folder) for path in sorted(home.glob("*/*"))}


def main():
    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
    expected = json.loads(EXPECTED.read_text())
    with tempfile.TemporaryDirectory() as folder:
        paths = located(Path(folder) / "messages")
        expected["DATA"] = judged("DATA", paths.values(), folder)
        expected["TRUSTED"] = judged("TRUSTED", [paths[path] for path in expected["TRUSTED"]], folder)
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
