"""Environments that differ from the one that runs the tests: another Python, older libraries, TensorFlow.

``python tests/environments.py`` builds those that are missing or out of date, and says which it cannot build; with
names it builds these.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venvs"
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


class Environment(NamedTuple):
    python: str
    requirements: tuple[str, ...] = ()
    extra: str = "numpy"


NEWEST = ("ml_dtypes", "numpy", "pandas", "polars", "pyarrow", "scipy", "xarray")
# The oldest that are supported. Python 3.11 has wheels of them all, but for torch, of which a test has but one.
OLDEST = (
    "hypothesis>=6.100",
    "jax==0.4.30",
    "jaxlib==0.4.30",
    "ml_dtypes==0.4.0",
    "numpy==1.26.0",
    "pandas==2.2.0",
    "polars==1.20.0",
    "pyarrow==15.0.0",
    "pytest>=8.3",
    "pytest-timeout>=2.3",
    "scipy==1.12.0",
    "torch==2.13.0",
    "xarray==2024.1.0",
)
SKEWED = {
    f"py{version.replace('.', '')}": Environment(version, NEWEST)
    for version in ("3.11", "3.12", "3.13")
    if version != THIS
}
SKEWED["oldest"] = Environment("3.11", OLDEST)
ENVIRONMENTS = {**SKEWED, "tensorflow": Environment(THIS, extra="test-tensorflow")}
# The release before its serialization was made faster. The libraries that data comes from are as they are now.
PROXYSTORE_OLD = Environment(THIS, ("jax", "pandas", "polars", "proxystore==0.6.5", "pyarrow", "torch==2.13.0"))
ON_REQUEST = {"peers": Environment(THIS, extra="test,peers"), "proxystore-old": PROXYSTORE_OLD}


def available() -> dict[str, Path]:
    """Return the interpreters of the environments that are built, by name."""
    return {name: python(name) for name, it in ENVIRONMENTS.items() if is_ready(name, it)}


def python(name: str) -> Path:
    return HOME / name / "bin" / "python"


def recipe(it: Environment) -> str:
    """Return what an environment is built from: it is out of date when this changes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"{ROOT}\n{it}\n{project}"


def is_ready(name: str, it: Environment) -> bool:
    stamp = HOME / name / "recipe"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == recipe(it) and runs(python(name), it.python)


def runs(interpreter: Path | str, version: str) -> bool:
    """Tell whether it does: a pyenv shim may be on the PATH and run nothing."""
    probe = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    return output(interpreter, "-c", probe) == version


def output(*command: Path | str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def find(version: str) -> Path | str | None:
    """Return an interpreter of a minor version: this one, one on the PATH, or the newest that pyenv has."""
    candidates: list[Path | str] = [sys.executable] if version == THIS else []
    candidates += [path] if (path := shutil.which(f"python{version}")) else []
    releases = [line for line in output("pyenv", "versions", "--bare").split() if line.startswith(f"{version}.")]
    candidates += [Path(output("pyenv", "prefix", release)) / "bin" / "python" for release in reversed(releases)]
    return next((candidate for candidate in candidates if runs(candidate, version)), None)


def build(name: str, it: Environment, interpreter: Path | str) -> None:
    subprocess.run([interpreter, "-m", "venv", "--clear", HOME / name], check=True)
    pip = [python(name), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--only-binary=:all:"]
    subprocess.run([*pip, "--editable", f"{ROOT}[{it.extra}]", *it.requirements], check=True)
    (HOME / name / "recipe").write_text(recipe(it), encoding="utf-8")


def prepare(name: str, it: Environment) -> None:
    """Build an environment if it is missing or out of date, and there is the Python for it."""
    what = f".venvs/{name} (Python {it.python}, {', '.join(it.requirements) or it.extra})"
    if is_ready(name, it):
        print(f"{what}: up to date", flush=True)
    elif interpreter := find(it.python):
        print(f"{what}: building", flush=True)
        build(name, it, interpreter)
    else:
        print(f"{what}: not built, for there is no Python {it.python}", flush=True)


def main(*names: str) -> None:
    known = ENVIRONMENTS | ON_REQUEST
    # Two at a time: one waits for the network or the disk while the other unpacks.
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(prepare, name, known[name]) for name in known if name in (names or ENVIRONMENTS)]:
            each.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
