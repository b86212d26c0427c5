"""Indexes of xarray whose dtype is not numpy's; test_xarray.py has the rest of xarray."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import roundtrip
from xarray.core.indexing import PandasIndexingAdapter

from oobcodec.reducers.xarray import rebuild_adapter, rebuild_index, reduce_adapter, reduce_index, register

register()
INDEXES = {
    "zone": lambda: pd.date_range("2024-01-01", periods=3, tz="Europe/Paris"),
    "intervals": lambda: pd.interval_range(0, 3),
    "periods": lambda: pd.period_range("2020", periods=3, freq="D"),
    "categories": lambda: pd.CategoricalIndex(list("abc")),
    "objects": lambda: pd.Index(["a", 1, None], dtype=object),
}


def along(index):
    return xr.DataArray(np.arange(3.0), coords={"x": index}, dims="x", name="n")


@pytest.mark.parametrize("make", INDEXES.values(), ids=INDEXES)
def test_the_receiver_has_its_own_notion_of_the_dtype(make):
    one = along(make())
    got = roundtrip(one)
    xr.testing.assert_identical(got, one)
    pd.testing.assert_index_equal(got.indexes["x"], one.indexes["x"])
    assert got["x"].dtype == one["x"].dtype
    adapter = one["x"].variable._data
    assert reduce_adapter(adapter) == (rebuild_adapter, (adapter.array,))
    index = one.xindexes["x"]
    assert reduce_index(index) == (rebuild_index, (index.index, "x"))
    assert got.xindexes["x"].coord_dtype == index.coord_dtype


def test_index_and_coordinate_have_one_index_of_pandas():
    one = along(INDEXES["zone"]())
    got = roundtrip(one)
    assert (got.xindexes["x"].index is got["x"].variable._data.array) == (
        one.xindexes["x"].index is one["x"].variable._data.array
    )


def test_what_numpy_has_goes_the_way_of_xarray():
    one = along(pd.Index([1, 2, 3]))
    assert rebuild_adapter not in reduce_adapter(one["x"].variable._data)
    assert rebuild_index not in reduce_index(one.xindexes["x"])
    xr.testing.assert_identical(roundtrip(one), one)


def test_adapter_of_another_dtype_keeps_it():
    adapter = PandasIndexingAdapter(pd.Index([1, 2, 3]), np.dtype("f4"))
    assert roundtrip(adapter).dtype == "f4"
