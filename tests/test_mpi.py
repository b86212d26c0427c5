"""The recipe of the README for mpi4py, between real ranks."""

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from readme import code_block

USE = """
    import sys
    import numpy as np, oobcodec
    from mpi4py import MPI
    from recipe import isend, recv

    comm, other = MPI.COMM_WORLD, 1 - MPI.COMM_WORLD.Get_rank()
    objects = [{"a": 1}, np.arange(1000.0), {"x": np.ones(4_000_000), "empty": np.empty(0), "y": [np.arange(500)] * 2}]
    if comm.Get_rank() == 0:
        pending = [isend(comm, obj, other, tag=5) for obj in objects]
        for requests, frames in pending:
            MPI.Request.Waitall(requests)
        assert recv(comm, other, tag=7) == "thanks"
    else:
        for obj in objects:
            received = recv(comm)
            np.testing.assert_equal(received, obj)
        assert received["x"].flags.writeable
        requests, frames = isend(comm, "thanks", other, tag=7)
        MPI.Request.Waitall(requests)
        print("received")
"""


def launcher():
    """Return the command that starts ranks, which its package puts beside the interpreter."""
    return shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


@pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or launcher() is None,
    reason="no MPI here: pip install mpi4py mpich",
)
def test_objects_between_two_ranks(tmp_path):
    (tmp_path / "recipe.py").write_text(code_block("from mpi4py import MPI"))
    (tmp_path / "use.py").write_text(textwrap.dedent(USE))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [launcher(), "-n", "2", sys.executable, str(tmp_path / "use.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "received\n"), done.stderr
