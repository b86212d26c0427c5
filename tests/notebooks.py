"""The notebooks, executed.

``python tests/notebooks.py`` executes them as readers are to see them, and saves them without what nobody reads; with
names (``01-quickstart``), these.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

NEEDED = {"03-models-and-sharing": ["torch"], "04-dask-and-ray": ["distributed", "ray", "torch"]}
"""What not every environment has that runs the tests."""


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(notebook: Any, **environment: str) -> None:
    """Run all cells in a fresh kernel of this interpreter, in a folder and with settings of its own."""
    with TemporaryDirectory(prefix="nb-") as folder:
        # Without the coverage of who tests: what is timed would be its tracer.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        settings = {"IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder, **environment}
        # Without the specifications of kernels that are installed: theirs may be another interpreter.
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=f"{folder}/kernel.json",
            transport="ipc",
        )
        client = NotebookClient(notebook, km=manager, resources={"metadata": {"path": folder}}, coalesce_streams=True)
        client.execute(cleanup_kc=True, env=inherited | settings)


def save(name: str, notebook: Any) -> None:
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = {}
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")


def main(*chosen: str) -> None:
    for name in chosen or names():
        notebook = read(name)
        execute(notebook)
        save(name, notebook)
        print(f"{name}: {(FOLDER / f'{name}.ipynb').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
