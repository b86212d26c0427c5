"""The notebooks run, and are committed as readers are to see them."""

import getpass
import socket
from importlib.util import find_spec

import nbformat
import pytest

import notebooks

# Not of the kernel itself, which warns of itself when it ends.
STRICT = "import warnings; warnings.simplefilter('error'); warnings.filterwarnings('ignore', module='ipykernel')"
LARGEST = 300_000  # bytes: what a code host shows without complaint
OF_A_MACHINE = ["/home/", "/tmp/", " at 0x", "site-packages", socket.gethostname(), f"/{getpass.getuser()}/"]


def needing(name):
    """Return a notebook as a parameter, to be skipped where it has not what it is about."""
    missing = [library for library in notebooks.NEEDED.get(name, []) if not find_spec(library)]
    return pytest.param(name, marks=pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}"))


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(output):
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")


@pytest.mark.timeout(600)  # for machines that have other things to do
@pytest.mark.parametrize("name", [*map(needing, notebooks.names())])
def test_notebook_runs_without_a_warning_or_a_complaint(name):
    notebook = notebooks.read(name)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    notebooks.execute(notebook, OOBCODEC_NOTEBOOK_SIZE="1")
    assert len(outputs(notebook)) >= len(code(notebook)) / 3
    assert [text(output) for output in outputs(notebook) if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("name", notebooks.names())
def test_committed_notebook_was_executed_from_top_to_bottom(name):
    cells = code(notebooks.read(name))
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]


@pytest.mark.parametrize("name", notebooks.names())
def test_committed_notebook_has_what_is_read_and_nothing_else(name):
    notebook = notebooks.read(name)
    assert notebook.metadata == notebooks.METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert {output.output_type for output in outputs(notebook)} <= {"stream", "execute_result", "display_data"}
    assert {output.get("name", "stdout") for output in outputs(notebook)} == {"stdout"}
    assert (notebooks.FOLDER / f"{name}.ipynb").stat().st_size < LARGEST


@pytest.mark.parametrize("name", notebooks.names())
def test_committed_notebook_says_nothing_of_the_machine(name):
    shown = "\n".join(map(text, outputs(notebooks.read(name))))
    assert [word for word in OF_A_MACHINE if word in shown] == []
