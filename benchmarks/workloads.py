"""The workloads: objects by name, from 100 bytes to a gigabyte."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import objects
from benchmarks.peers import ALL, SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZES = {"1 kB": 1000, "100 kB": 100_000, "10 MB": 10_000_000, "100 MB": 100_000_000, "1 GB": 1_000_000_000}
QUICK_NBYTES = 20_000_000
"""Above which a workload takes longer than who is in a hurry wants to wait."""

SHARE_OF_MEMORY = 8
"""A workload is measured if it takes at most this share of the memory: peers copy it, some of them twice."""


class Workload(NamedTuple):
    """An object to send.

    Attributes
    ----------
    family : str
        What it has in common with those of other sizes.
    nbytes : int
        How much data it holds, about.
    make : callable
        Returns the object, the same each time.
    needs : str
        The libraries that it takes, with spaces between.
    peers : tuple of str
        Who is to be measured with it.
    """

    family: str
    nbytes: int
    make: Callable[[], object]
    needs: str = ""
    peers: tuple[str, ...] = ALL

    @property
    def missing(self) -> list[str]:
        return [library for library in self.needs.split() if find_spec(library) is None]


def _ladder(
    family: str, make: Callable[[int], object], needs: str = "", peers: tuple[str, ...] = ALL
) -> dict[str, Workload]:
    return {
        f"{family}, {label}": Workload(family, size, partial(make, size), needs, peers) for label, size in SIZES.items()
    }


LADDERS = {
    **_ladder("bytes", objects.octets),
    **_ladder("numpy", objects.floats),
    **_ladder("pandas", objects.pandas_frame, "pandas pyarrow"),
    **_ladder("polars", objects.polars_frame, "polars pyarrow"),
    **_ladder("Arrow", objects.arrow_table, "pyarrow"),
    **_ladder("torch", objects.tensor, "torch"),
}
SHAPE = "shape of a message"

WORKLOADS: dict[str, Workload] = {
    "small dict": Workload("messages", 100, objects.small_dict),
    "plain request": Workload("messages", 100, objects.plain_request),
    "task with keys and times": Workload("messages", 1000, objects.task),
    "10,000 dicts": Workload("messages", 1_000_000, objects.small_dicts),
    **LADDERS,
    "Fortran order": Workload("layouts", 8_000_000, lambda: objects.square(8_000_000).T),
    "every other element": Workload("layouts", 8_000_000, partial(objects.strided, 8_000_000)),
    "reversed": Workload("layouts", 8_000_000, lambda: objects.floats(8_000_000)[::-1]),
    "broadcast": Workload("layouts", 8_000_000, partial(objects.broadcast, 8_000_000)),
    "read-only": Workload("layouts", 8_000_000, partial(objects.read_only, 8_000_000)),
    "big-endian": Workload("layouts", 8_000_000, lambda: objects.floats(8_000_000).astype(">f8")),
    "datetimes": Workload("layouts", 8_000_000, partial(objects.datetimes, 8_000_000)),
    "records": Workload("layouts", 8_000_000, partial(objects.records, 8_000_000)),
    "masked": Workload("layouts", 9_000_000, partial(objects.masked, 8_000_000)),
    "windows of a signal": Workload("layouts", 8_000_000, partial(objects.overlapping, 8_000_000)),
    "ten rows of an array": Workload("slices", 80_000, lambda: objects.square(80_000_000)[5000:5010]),
    "ten rows of a pandas frame": Workload(
        "slices", 400, lambda: objects.ten_rows(objects.pandas_frame(8_000_000)), "pandas pyarrow"
    ),
    "ten rows of a polars frame": Workload(
        "slices", 400, lambda: objects.ten_rows(objects.polars_frame(8_000_000)), "polars pyarrow"
    ),
    "ten rows of an Arrow table": Workload(
        "slices", 400, lambda: objects.ten_rows(objects.arrow_table(8_000_000)), "pyarrow"
    ),
    "ten rows of a tensor": Workload(
        "slices", 4000, lambda: objects.ten_rows(objects.tensor(8_000_000).view(-1, 100)), "torch"
    ),
    "categories": Workload("frames", 2_000_000, partial(objects.pandas_categories, 2_000_000), "pandas"),
    "ten columns of floats": Workload("frames", 8_000_000, partial(objects.pandas_floats, 100_000), "pandas"),
    "bfloat16 tensor": Workload("tensors", 8_000_000, partial(objects.bfloat16, 8_000_000), "torch"),
    "transposed tensor": Workload("tensors", 8_000_000, lambda: objects.tensor(8_000_000).view(-1, 1000).T, "torch"),
    "jax array": Workload("tensors", 8_000_000, partial(objects.jax_array, 8_000_000), "jax"),
    "state dict": Workload("models", 18_000_000, objects.state_dict, "torch"),
    "tied state dict": Workload("models", 9_000_000, objects.tied_state_dict, "torch"),
    "tied model": Workload("models", 4_000_000, objects.tied_model, "torch"),
    "1,000 arrays of 80 B": Workload("many small", 80_000, partial(objects.small_arrays, 1000, 10)),
    "1,000 arrays of 4 kB": Workload("many small", 4_000_000, partial(objects.small_arrays, 1000, 500)),
    "100 data frames": Workload("many small", 800_000, partial(objects.many_frames, 100), "pandas"),
    "20 measurements": Workload("batches", 16_000_000, partial(objects.measurements, 20)),
    "training batch": Workload("batches", 20_000_000, partial(objects.batch, 20_000_000), "pandas pyarrow torch"),
    "three tables": Workload("batches", 9_000_000, partial(objects.analytics, 9_000_000), "pandas polars pyarrow"),
    **_ladder(SHAPE, objects.floats, peers=("oobcodec", *SHAPES)),
}


def chosen(patterns: Sequence[str], *, quick: bool, memory: int) -> list[str]:
    """Return the names of the workloads to measure: those that match a pattern, and that time and memory allow."""
    return [
        name
        for name, workload in WORKLOADS.items()
        if (not patterns or any(fnmatchcase(name, pattern) for pattern in patterns))
        and workload.nbytes <= (QUICK_NBYTES if quick else memory // SHARE_OF_MEMORY)
    ]
