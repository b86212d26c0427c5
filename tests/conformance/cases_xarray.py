"""xarray."""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import xarray as xr

from . import cases_pandas  # noqa: F401  # compares the arrays and indexes that all consist of
from .comparison import compares
from .table import N, case

ROWS = N // 16
TIMES = 8 * ROWS
"""Bytes of a coordinate of times."""


def _numbers(*shape, dtype="f8"):
    return (np.arange(np.prod(shape or (N,), dtype=int)) % 100).astype(dtype).reshape(shape or (N,))


def _hours(count=ROWS, **options):
    return pd.date_range("2020", periods=count, freq="h", unit="ns", **options)


def _stations():
    return np.array([f"station {number}" for number in range(16)])


def _weather():
    """Return a dataset with coordinates of all kinds."""
    times = _hours()
    one = xr.Dataset(
        {
            "rain": (("time", "station"), _numbers(ROWS, 16), {"unit": "mm", "range": np.array([0.0, 99.0])}),
            "wet": ("time", np.arange(ROWS) % 3 == 0),
            "version": 3,
        },
        coords={
            "time": ("time", times, {"axis": "T"}),
            "station": _stations(),
            "height": ("station", np.arange(16, dtype="f4"), {"datum": "sea"}),
            "received": ("time", times.to_numpy() + np.timedelta64(90, "s")),
            "run": 7,
        },
        attrs={"source": "invented", "levels": np.arange(3), "nested": {"a": [1, None]}},
    )
    one["rain"].encoding = {"zlib": True, "_FillValue": -1, "chunksizes": (100, 16)}
    one["time"].encoding = {"units": "hours since 2020-01-01", "calendar": "standard"}
    one.encoding = {"unlimited_dims": {"time"}, "source": "weather.nc"}
    return one


def _held(one):
    return sum(variable.nbytes for variable in one.variables.values())


WEATHER = _held(_weather())
RAIN = WEATHER - ROWS
"""Bytes of an array of the dataset, and of its coordinates."""


def _array(values=None, *dims, **options):
    return xr.DataArray(_numbers(ROWS, 16) if values is None else values, dims=dims or ("x", "y"), **options)


def _asked():
    """Return a dataset that has been looked things up in, and remembers."""
    one = _weather()
    one.sel(time="2020-03", station="station 7")
    one.indexes["time"].get_loc(one.indexes["time"][5])
    return (one["time"].to_numpy(), one["station"].to_numpy(), one.indexes["time"].is_unique, one)[-1]


def _levels(**options):
    index = pd.MultiIndex.from_product([np.arange(N // 256), _hours(256)], names=["run", "hour"])
    coordinates = xr.Coordinates.from_pandas_multiindex(index, "point")
    return xr.Dataset({"result": ("point", _numbers())}, coords=coordinates, **options)


LEVELS = 8 * N + (2 + 2) * N + 8 * (N // 256 + 256)
"""Bytes of its numbers, of the codes of two levels, and of the labels of each."""


def _asked_levels():
    one = _levels()
    return (one["run"].to_numpy(), one["point"].to_numpy(), one.sel(run=3), one)[-1]


def _along(index, **options):
    """Return an array along a coordinate, with one memory for the coordinate and its index."""
    return xr.Dataset({"values": ("x", _numbers(len(index)))}, coords={"x": index}, **options)


def _and_parts():
    one = _weather()
    rain = one["rain"]
    return {"all": one, "array": rain, "turned": rain.T, "part": rain[5:500], "raw": rain.to_numpy()[5:], "again": one}


def _two_of_one_coordinate():
    times = _hours()
    one = xr.Dataset({"a": ("t", _numbers(ROWS))}, coords={"t": times})
    return [one, one.assign(b=("t", _numbers(ROWS, dtype="f4"))), one["t"], one.xindexes["t"], one.indexes["t"]]


def _named(one, name):
    one.name = name
    return one


def _objects():
    box = np.empty(3, object)
    box[:] = [1, "two", None]
    return _array(box, "x")


def _tree():
    one = _weather()
    daily = one.isel(time=slice(None, None, 24)).drop_vars("wet")
    nodes = {"/": xr.Dataset(attrs={"root": 1}), "/hourly": one, "/other/daily": daily, "/other/none": xr.Dataset()}
    return xr.DataTree.from_dict(nodes, name="tree")


@dataclass
class Run:
    """Something that holds a dataset."""

    name: str
    result: Any


TREE = hasattr(xr, "DataTree")
DAILY = -(-ROWS // 24) * (16 * 8 + 16) + 16 * (4 + 4 * len("station 15"))

CASES = [
    case("dataset", _weather, WEATHER),
    case("dataset that was asked", _asked, WEATHER),
    case("dataset, rows of it", lambda: _weather().isel(time=slice(100, 4196)), 4096 * (16 * 8 + 1 + 16)),
    case("dataset, ten rows of it", lambda: _weather().isel(time=slice(100, 110)), 10 * (16 * 8 + 1 + 16)),
    case("dataset, every third row", lambda: _weather().isel(time=slice(None, None, 3)), -(-ROWS // 3) * (16 * 8 + 1 + 16)),
    case("dataset, rows by number", lambda: _weather().isel(time=np.arange(0, ROWS, 5)), -(-ROWS // 5) * (16 * 8 + 1 + 16)),
    case("dataset, a station", lambda: _weather().sel(station="station 3"), ROWS * (8 + 1 + 16)),
    case("dataset of no rows", lambda: _weather().isel(time=slice(0, 0))),
    case("dataset, empty", lambda: [xr.Dataset(), xr.Dataset(attrs={"a": 1}), xr.Dataset(coords={"x": [1, 2]})]),
    case("dataset of many variables", lambda: xr.Dataset({f"v{i}": ("x", _numbers(ROWS) + i) for i in range(16)}), 8 * N),
    case("dataset, keys of other types", lambda: xr.Dataset({("a", 1): ("x", _numbers()), 2: ("y", _numbers(3))}), 8 * N),
    case("dataset in a dataclass", lambda: Run("first", _weather()), WEATHER),
    case("array", _array, 8 * N),
    case("array of a dataset", lambda: _weather()["rain"], RAIN),
    case("array of a dataset, a slice", lambda: _weather()["rain"][100:4196, :4], 4096 * (4 * 8 + 16)),
    case("array, with all", lambda: _array(name="rain", attrs={"unit": "mm", "of": {"a": np.arange(3)}}, coords={"y": np.arange(16) / 2, "k": 5, "z": (("x", "y"), _numbers(ROWS, 16, dtype="f4"))}), 12 * N),
    case("array, dimensions in another order", lambda: _weather()["rain"].transpose("station", "time"), RAIN),
    case("array, a block", lambda: _array(_numbers(1024, 512))[100:600, 100:400], 500 * 300 * 8),
    case("array, reversed", lambda: _array()[::-1, ::-1], 8 * N),
    case("array, broadcast", lambda: _array(_numbers(128), "x").expand_dims(y=1024), 8 * 128),
    case("array, read-only", lambda: _array(np.frombuffer(_numbers().tobytes(), "f8"), "x"), 8 * N),
    *[case(f"array of {d}", lambda d=d: _array(_numbers(dtype=d), "x"), N * np.dtype(d).itemsize) for d in ("?", "i1", ">i4", "f2", "c16", "M8[ns]", "m8[ns]", "S4", "U4")],
    case("array of objects", _objects),
    case("array of zero dimensions", lambda: [xr.DataArray(3.5, name="a"), xr.DataArray(np.datetime64("2024-02-29", "ns")), _weather()["run"]]),
    case("array without elements", lambda: _array(np.zeros((0, 3)), coords={"y": [1, 2, 3]})),
    case("names of other types", lambda: [_named(_array(), name) for name in (None, 7, ("a", 1))], 24 * N),
    case("variable", lambda: [_weather()["rain"].variable, xr.Variable(("a", "b"), np.eye(3), {"u": 1}, {"e": 2})], 8 * N),
    case("variable of an index", lambda: [_weather()["time"].variable, _weather().coords["station"].to_index()], TIMES),
    case("coordinates of levels", _levels, LEVELS),
    case("coordinates of levels that were asked", _asked_levels, LEVELS),
    case("coordinates of levels, a slice", lambda: _levels().isel(point=slice(N // 2, None)), 6 * N + 8 * (N // 256 + 256)),
    case("coordinates of levels, stacked", lambda: _array().stack(z=("x", "y")), 8 * N + (2 + 1) * N + 8 * (ROWS + 16)),  # noqa: PD013  # this is xarray
    case("times with a step", lambda: _along(_hours(N)), 16 * N),
    case("times without a step", lambda: _along(_hours(N)[np.arange(N) != 5]), 16 * N - 16),
    case("times in a zone", lambda: _along(_hours(3000, tz=ZoneInfo("Europe/Paris")))),
    case("timedeltas", lambda: _along(pd.timedelta_range("1s", periods=N, freq="s", unit="ns")), 16 * N),
    case("numbers", lambda: _along(_numbers() * 0.5), 16 * N),
    case("small integers", lambda: _along(np.arange(-100, 100, dtype="i1"))),
    case("range", lambda: _along(np.arange(N)), 16 * N),
    case("range, of pandas", lambda: _along(pd.RangeIndex(0, 300, 3))),
    case("strings", lambda: _along(np.array([f"name {number}" for number in range(3000)]))),
    case("strings of pandas", lambda: _along(pd.Index([f"name {number}" for number in range(3000)], dtype=object))),
    case("intervals", lambda: _along(pd.interval_range(0, 3000))),
    case("periods", lambda: _along(pd.period_range("2020", periods=3000, freq="D"))),
    case("categories", lambda: _along(pd.CategoricalIndex(["a", "b", "c"] * 1000))),
    case("a coordinate without an index", lambda: _along(np.arange(N) / 4).drop_indexes("x"), 16 * N),
    case("a coordinate with an index, of no dimension", lambda: _weather().set_xindex("received"), WEATHER),
    case("coordinates alone", lambda: _weather().coords.to_dataset().coords, WEATHER - 8 * N),
    case("a dataset and its parts", _and_parts, WEATHER),
    case("datasets with one coordinate", _two_of_one_coordinate, 20 * ROWS),
    case("tree", _tree, WEATHER + DAILY, given=TREE),
    case("tree, a node", lambda: _tree()["other"].copy(deep=True), given=TREE),
    case("functions", lambda: [xr.concat, xr.DataArray.sel, xr.testing.assert_identical]),
]  # fmt: skip


def _labelled(got, want, where, comparison):
    for name in ("attrs", "encoding"):
        comparison.compare(getattr(got, name), getattr(want, name), f"{where}.{name}")


@compares(xr.Variable)
def _compare_variables(comparison, got, want, where):
    comparison.equal("names", got.dims, want.dims, f"{where}.dims")
    comparison.equal("dtype", got.dtype, want.dtype, f"{where}.dtype")
    _labelled(got, want, where, comparison)
    # What an index holds is no array before it is asked for.
    data = [getattr(one._data, "array", one._data) for one in (got, want)]
    comparison.equal("type", *(type(one._data) for one in (got, want)), f"{where}: data")
    comparison.compare(*data, f"{where}.data")


@compares(xr.core.indexes.PandasIndex)
def _compare_indexes(comparison, got, want, where):
    comparison.equal("names", got.dim, want.dim, f"{where}.dim")
    comparison.equal("dtype", *(getattr(one, "coord_dtype", None) for one in (got, want)), f"{where}.coord_dtype")
    comparison.equal("dtype", *(getattr(one, "level_coords_dtype", None) for one in (got, want)), f"{where}: of levels")
    comparison.compare(got.index, want.index, f"{where}.index")


def _compare_coordinates_and_indexes(comparison, got, want, where):
    comparison.equal("names", list(got.coords), list(want.coords), f"{where}.coords")
    comparison.equal("names", list(got.xindexes), list(want.xindexes), f"{where}.xindexes")
    if comparison.lost.keys() & {"names", "value"}:
        return
    for name, index in want.xindexes.items():
        comparison.compare(got.xindexes[name], index, f"{where}.xindexes[{name!r}]")


@compares(xr.DataArray)
def _compare_data_arrays(comparison, got, want, where):
    comparison.equal("names", (type(got.name), got.name), (type(want.name), want.name), f"{where}.name")
    comparison.compare(got.variable, want.variable, where)
    coords = [{f".coords[{name!r}]": each.variable for name, each in one.coords.items()} for one in (got, want)]
    comparison.parts(*coords, where, ordered=True)
    _compare_coordinates_and_indexes(comparison, got, want, where)


@compares(xr.Dataset)
def _compare_datasets(comparison, got, want, where):
    comparison.equal("names", dict(got.sizes), dict(want.sizes), f"{where}.sizes")
    variables = [{f"[{name!r}]": each for name, each in one.variables.items()} for one in (got, want)]
    comparison.parts(*variables, where, ordered=True)
    _labelled(got, want, where, comparison)
    _compare_coordinates_and_indexes(comparison, got, want, where)


@compares(xr.Coordinates)
def _compare_coordinates(comparison, got, want, where):
    comparison.compare(got.to_dataset(), want.to_dataset(), where)


if TREE:

    @compares(xr.DataTree)
    def _compare_trees(comparison, got, want, where):
        comparison.equal("names", (got.name, got.path), (want.name, want.path), f"{where}.name")
        comparison.compare(got.to_dataset(), want.to_dataset(), where)
        comparison.parts(
            *({f"/{name}": node for name, node in one.children.items()} for one in (got, want)), where, ordered=True
        )
