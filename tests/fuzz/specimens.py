"""What the cases of the conformance table hold too much of, with less of it."""

import collections
import datetime as dt
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import oobcodec

MIXED = np.dtype([("id", "<i4"), ("when", "<M8[s]"), ("place", "<f8", (3,)), ("name", "S12")])

POLARS = (
    (pl.List(pl.String), [["a", None], [], ["schön" * 5]]),
    (pl.List(pl.List(pl.Int8)), [[[1], None, []], []]),
    (pl.List(pl.Null), [[None], []]),
    (pl.List(pl.Boolean), [[True, None], [False]]),
    (pl.List(pl.Binary), [[b"\xff", b""], []]),
    (pl.List(pl.Decimal(20, 3)), [[decimal.Decimal("1.5")], []]),
    (pl.List(pl.Datetime("ns", "UTC")), [[dt.datetime(2024, 2, 29, tzinfo=dt.UTC)], []]),
    (pl.List(pl.Categorical), [["a", "b"], []]),
    (pl.List(pl.Enum(["a", "b"])), [["a", "b"], []]),
    (pl.List(pl.Array(pl.Int16, 2)), [[[1, 2], None], []]),
    (pl.List(pl.Struct({"x": pl.Float64, "s": pl.List(pl.String)})), [[{"x": 1.5, "s": ["a"]}, None], []]),
    (pl.Array(pl.Int64, (2, 3)), [[[1, 2, 3], [4, None, 6]]]),
    (pl.Array(pl.String, 2), [["a", None]]),
    (pl.Array(pl.Categorical, 2), [["a", "b"]]),
    (pl.Struct({"c": pl.Categorical, "d": pl.Date}), [{"c": "b", "d": dt.date(2024, 2, 29)}]),
    (pl.Int128, [2**100, None, -1]),
    (pl.List(pl.Int128), [[2**100, None], []]),
    (pl.Struct({"i": pl.Int128, "x": pl.List(pl.Decimal(38, 0))}), [{"i": 2**100, "x": [decimal.Decimal(1)]}]),
    (pl.String, ["short", "longer than twelve bytes", None]),
)
ARROW = (
    ([[["a", None], None, []], None, [["schön" * 5]]], None),
    ([[float("nan"), -0.0], [], None], None),
    ([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    ([{"x": 1, "y": "a"}, None], pa.struct([("x", pa.int8()), ("y", pa.string())])),
    (["a", "b", None], pa.dictionary(pa.int8(), pa.string())),
    (["a text that is long", "b", None], pa.string_view()),
    ([[1, 2], None], pa.list_view(pa.int16())),
    ([[1, 2], None], pa.list_(pa.int16(), 2)),
    ([dt.date(2024, 2, 29), None], pa.date32()),
    ([decimal.Decimal("1.10"), None], pa.decimal128(9, 2)),
)


def _many(value, count=20):
    return [*value, None] * count


def _wide():
    return {f"column {i}": np.arange(16.0) + i for i in range(8)}


SPECIMENS = [
    ("stdlib", "dict of some", lambda: {f"key {i}": (i, str(i)) for i in range(20)}),
    ("stdlib", "list of some floats", lambda: [i / 7 for i in range(20)]),
    ("stdlib", "plain", lambda: {"id": 7, "tags": ["a", "b"], "nested": {"none": None, "pi": 3.14, "big": -(1 << 90)}}),
    ("stdlib", "nested collections", lambda: collections.OrderedDict(a=collections.deque([{"a": 1}], 2))),
    ("stdlib", "encoded", lambda: [oobcodec.Encoded(oobcodec.dumps([1, np.arange(200.0)])), "beside"]),
    ("numpy", "a small block", lambda: np.arange(256.0).reshape(16, 16)[2:9, 3:12]),
    ("numpy", "some arrays of ten", lambda: [np.arange(10.0) + i for i in range(10)]),
    ("numpy", "many axes", lambda: np.arange(64.0).reshape((2,) * 6 + (1,) * 10)),
    ("numpy", "broadcast", lambda: np.broadcast_to(np.arange(16.0), (4, 16))),
    ("numpy", "records", lambda: np.zeros(6, MIXED)),
    ("numpy", "text", lambda: np.array(["ab", "schön"] * 8)),
    *[("polars", f"small {dtype}", lambda d=dtype, v=value: pl.Series("n", _many(v), d)) for dtype, value in POLARS],
    ("polars", "small frame", lambda: pl.DataFrame({"x": [1.5, None] * 8, "s": ["a", "b" * 20] * 8})),
    ("polars", "dtypes", lambda: [pl.List, pl.List(pl.Int8), pl.Categorical(), pl.Schema({"a": pl.Enum(["a"])})]),
    ("polars", "wide", lambda: pl.DataFrame(_wide())),
    *[("pyarrow", f"small {kind}: {value}", lambda v=value, k=kind: pa.array(_many(v), k)) for value, kind in ARROW],
    ("pyarrow", "tensor", lambda: pa.Tensor.from_numpy(np.arange(16.0).reshape(4, 4))),
    ("pyarrow", "sparse", lambda: pa.SparseCSRMatrix.from_dense_numpy(np.eye(8))),
    ("pyarrow", "small table", lambda: pa.table({"x": [1.5, None] * 8, "s": ["a", "b" * 20] * 8})),
    *[
        ("pandas", f"small Arrow {kind}: {value}", lambda v=value, k=kind: _column(v, k))
        for value, kind in ARROW
        if "list_view" not in str(kind)  # whose repr is an abort if all are missing, however they were made
    ],
    ("pandas", "some small frames", lambda: [pd.DataFrame({"a": [i], "b": [-0.0]}) for i in range(3)]),
    ("pandas", "wide", lambda: pd.DataFrame(_wide())),
    ("pandas", "mixed", lambda: pd.DataFrame({"x": [1.5, 2.5], "s": ["a", None], "c": pd.Categorical(["a", "b"])})),
]  # fmt: skip


def _column(value, kind):
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(_many(value, 5), kind)])))
