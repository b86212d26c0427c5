"""Small objects of the libraries that golden messages hold: others are added, none of them is ever changed.

Together with the specimens they are taken apart in all the ways that oobcodec has for these libraries. What a library
pickles itself, and what means something to one of its versions only, is not among them.
"""

import warnings
from importlib import import_module
from importlib.util import find_spec

import numpy as np


def make(library, name):
    """Return the object of a library and a name, without what the library has to say about its age."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OBJECTS[library][name](import_module(library))


def installed():
    """Return the names of the objects of the libraries that are here, each as a library and a name."""
    return [(library, name) for library, objects in OBJECTS.items() if find_spec(library) for name in objects]


# Some of what takes more than an expression


class Length(np.float64):
    """Has a unit."""


def _length():
    one = Length(2.5)
    one.unit = "m"
    return one


def _frame_with_attributes(pd):
    one = pd.DataFrame(np.arange(4).reshape(2, 2))
    one.attrs = {"unit": "m"}
    one.flags.allows_duplicate_labels = False
    return one


def _tokyo():
    # The message is from where there was pytz. Without it, pandas has another zone of this name.
    return import_module("pytz").timezone("Asia/Tokyo") if find_spec("pytz") else "Asia/Tokyo"


def _arrow_table(length):
    import pyarrow as pa

    texts = [None if i % 7 == 0 else f"text {i}" for i in range(length)]
    fields = [pa.field("n", pa.int32(), nullable=False), pa.field("text", pa.string(), metadata={"unit": "m"})]
    columns = [pa.array(range(length), pa.int32()), pa.array(texts)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata={"from": "here"}))


def _arrow_map(pa):
    return pa.map_(pa.string(), pa.field("n", pa.int32(), nullable=False), keys_sorted=True)


def _polars_columns(pl):
    texts = [None if i % 7 == 0 else f"text {i}" for i in range(99)]
    return [
        pl.Series("n", range(99), pl.Int32).set_sorted(),
        pl.Series("text", texts, pl.String),
        pl.Series("enum", ["a", "b", None] * 33, pl.Enum(["b", "a"])),
        pl.Series("list", [[1, None], None, []] * 33, pl.List(pl.Int8)),
        pl.Series("time", [1, None, 3] * 33, pl.Datetime("ms", "UTC")),
    ]


def _polars_types(pl):
    return [pl.Int8, pl.List(pl.Int8), pl.Datetime("ms", "UTC"), pl.Schema({"n": pl.Int8(), "e": pl.Enum(["b", "a"])})]


def _polars_attributes(pl):
    one = pl.DataFrame({"n": pl.Series([1, None], dtype=pl.Int8)})
    one.label = "x"
    return one


def _torch_parameter(torch):
    one = torch.nn.Parameter(torch.arange(4.0))
    one.label = {"unit": "m"}
    return one


def _torch_nested(torch):
    return torch.nested.nested_tensor([torch.arange(6.0).reshape(2, 3), torch.arange(4.0).reshape(4, 1)])


def _torch_quantized(torch):
    values, scales, zero_points = torch.tensor([[0.5, 1.0], [-1.0, 2.0]]), torch.tensor([0.5, 0.25]), torch.zeros(2)
    return [
        torch.quantize_per_tensor(values, 0.5, 3, torch.quint8),
        torch.quantize_per_channel(values, scales, zero_points, 0, torch.qint8),
    ]


def _along_a_zone():
    import pandas as pd
    import xarray as xr

    hours = pd.date_range("2024-03-31", periods=3, freq="h", tz="UTC")
    return xr.DataArray(np.arange(3.0), coords={"x": hours}, dims="x", name="along")


def _scipy_matrices(kind):
    from scipy import sparse

    made = []
    for cls in (getattr(sparse, f"{kind}_array"), getattr(sparse, f"{kind}_matrix")):
        one = cls(sparse.coo_matrix((np.array([1.5, 2.5]), (np.array([0, 3]), np.array([2, 0]))), shape=(4, 5)))
        one.label = "x"
        made.append(one)
    return made


OBJECTS = {
    "numpy": {
        "spaced": lambda np: np.arange(600)[::3],
        "objects_expanded": lambda np: np.broadcast_to(np.array(["a", None], object), (3, 2)),
        "record_with_padding": lambda np: np.array([(1, 2)], np.dtype("i1, i4", align=True))[0],
        "number_of_a_subclass": lambda _: _length(),
    },
    "pandas": {
        "frame": lambda pd: pd.DataFrame(
            {"n": np.arange(200), "x": np.arange(200) / 4, "y": np.arange(200) / 2, "ok": np.arange(200) % 2 == 0}
        ).set_axis(pd.Index(["n", "x", "y", "ok"], dtype=object), axis=1),
        "frame_with_attributes": _frame_with_attributes,
        "series": lambda pd: pd.Series(np.arange(200) / 4, pd.Index(np.arange(200)[::-1]), name="x"),
        "shared_until_written": lambda pd: [one := pd.Series(np.arange(200)), one[:150], one.to_frame()],
        "objects": lambda pd: pd.Series([1, "a", None, (1, 2)], dtype=object),
        "levels": lambda pd: pd.MultiIndex.from_arrays([np.arange(6) // 3, np.arange(6) % 3 / 2], names=["a", 1]),
        "times": lambda pd: pd.date_range("2024", periods=20, freq="3h", tz="UTC", unit="ns", name="t"),
        "times_without_zone": lambda pd: pd.Series(np.arange(20).astype("M8[ms]")),
        "time_differences": lambda pd: pd.timedelta_range(0, periods=20, freq="s", unit="ns").array,
        "zone_of_pytz": lambda pd: pd.DatetimeTZDtype("ns", _tokyo()),
        "periods": lambda pd: pd.period_range("2024", periods=5, freq="D"),
        "intervals": lambda pd: pd.IntervalIndex.from_breaks(np.arange(5.0), closed="left"),
        "masked": lambda pd: [
            pd.arrays.IntegerArray(np.array([1, 0, 3], "i2"), np.array([False, True, False])),
            pd.arrays.BooleanArray(np.array([True, False]), np.array([False, True])),
            pd.Float32Dtype(),
        ],
        "categories": lambda pd: pd.Categorical.from_codes(
            np.array([0, 1, -1], "i1"), categories=pd.Index([20, 10]), ordered=True
        ),
        "sparse": lambda pd: [
            pd.arrays.SparseArray([0.0, 0.0, 1.5], fill_value=0.0, kind=kind) for kind in ("integer", "block")
        ],
        "numpy": lambda pd: pd.arrays.NumpyExtensionArray(np.arange(5)),
        "strings": lambda pd: pd.array(["a", None, "", "ü"], dtype="string[python]"),
        "strings_with_nan": lambda pd: pd.Series(["a", None], dtype=pd.StringDtype("python", na_value=np.nan)),
        "strings_with_nul": lambda pd: pd.array(["a\0b", None], dtype="string[python]"),
        "strings_of_arrow": lambda pd: pd.array(["a", None, "ü"], dtype="string[pyarrow]"),
        "arrow": lambda pd: pd.arrays.ArrowExtensionArray(_arrow_table(5).column("n")),
        "offsets": lambda pd: [pd.offsets.Hour(3), pd.offsets.MonthEnd(2), pd.offsets.Week(weekday=2)],
        "missing": lambda pd: [pd.NA, pd.NaT],
    },
    "pyarrow": {
        "types": lambda pa: [pa.int8(), pa.timestamp("ms", "UTC"), pa.list_(pa.string()), _arrow_map(pa)],
        "extension_type": lambda pa: pa.fixed_shape_tensor(pa.int8(), (2, 2)),
        "schema": lambda pa: [_arrow_table(0).schema, _arrow_table(0).schema.field(1)],
        "array": lambda pa: [_arrow_table(200).column("n").chunk(0), pa.array([[1, None], None, []]), pa.nulls(3)],
        "texts": lambda pa: pa.array(["a", None, "ü" * 20] * 99).slice(1, 200),
        "dictionary": lambda pa: pa.array(["a", None, "b", "a"]).dictionary_encode(),
        "struct": lambda pa: pa.array([{"a": 1, "b": True}, None, {"a": None, "b": False}]),
        "union": lambda pa: pa.UnionArray.from_dense(
            pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1, 2]), pa.array(["a"])]
        ),
        "chunks": lambda pa: pa.chunked_array([[1, 2], [], [None]], pa.int64()),
        "batch": lambda pa: _arrow_table(300).to_batches()[0],
        "short_batch": lambda pa: _arrow_table(9).to_batches()[0],
        "table": lambda pa: pa.concat_tables([_arrow_table(300), _arrow_table(5)]),
        "table_without_columns": lambda pa: _arrow_table(9).select([]),
        "short_table": lambda pa: _arrow_table(9),
        "scalars": lambda pa: [pa.scalar(5, pa.int16()), pa.scalar("a"), pa.scalar(None, pa.float32())],
        "buffer": lambda pa: pa.py_buffer(bytes(range(200)) * 10),
        "tensor": lambda pa: pa.Tensor.from_numpy(np.arange(200.0).reshape(10, 20), dim_names=["a", "b"]),
        "sparse": lambda pa: [
            cls.from_dense_numpy(np.eye(4)) for cls in (pa.SparseCOOTensor, pa.SparseCSRMatrix, pa.SparseCSFTensor)
        ],
    },
    "polars": {
        "series": _polars_columns,
        "frame": lambda pl: pl.DataFrame(_polars_columns(pl)),
        "short_frame": lambda pl: pl.DataFrame({"n": pl.Series([1, None], dtype=pl.Int8)}),
        "rows_without_columns": lambda pl: pl.DataFrame(height=3),
        "attributes": _polars_attributes,
        "wide_integers": lambda pl: pl.Series("n", [2**100, None, -1] * 33, pl.Int128),
        "a_name_with_a_nul": lambda pl: pl.Series("a\0b", [1, None], pl.Int8),
        "types": _polars_types,
    },
    "torch": {
        "tensor": lambda torch: torch.arange(300.0).reshape(15, 20).T,
        "dtypes": lambda torch: [torch.arange(3).to(getattr(torch, name)) for name in ("bfloat16", "bool", "uint8")],
        "no_elements": lambda torch: torch.empty(0, 3),
        "constants": lambda torch: [torch.strided, torch.channels_last, torch.per_channel_affine],
        "shared_storage": lambda torch: [one := torch.arange(300), one[50:], one.untyped_storage()],
        "with_gaps": lambda torch: torch.arange(600).reshape(200, 3)[:, 1],
        "expanded": lambda torch: torch.arange(3.0).expand(4, 3),
        "conjugate": lambda torch: [(one := torch.tensor([1 + 2j, 3j])).conj(), one.conj().imag],
        "requires_gradient": lambda torch: torch.arange(4.0).requires_grad_(),
        "parameter": _torch_parameter,
        "nested": _torch_nested,
        "sparse": lambda torch: torch.sparse_coo_tensor([[0, 2], [1, 0]], [1.5, 2.5], (3, 2)).coalesce(),
        "compressed": lambda torch: [torch.eye(4).to_sparse_csr(), torch.eye(4).to_sparse_bsc((2, 2))],
        "without_data": lambda torch: torch.empty(10**6, 10**6, dtype=torch.int8, device="meta").T,
        "quantized": _torch_quantized,
        "typed_storage": lambda torch: torch.arange(4.0).storage(),
    },
    "jax": {
        "array": lambda jax: jax.numpy.arange(300.0, dtype="float32").reshape(15, 20),
        "small_array": lambda jax: jax.numpy.array([1, 2, 3], "int8"),
        "weak_type": lambda jax: jax.numpy.asarray(5),
        "on_a_device": lambda jax: jax.device_put(np.arange(3, dtype="i4"), jax.devices("cpu")[0]),
        "keys": lambda jax: jax.random.split(jax.random.key(5), 3),
        "shape": lambda jax: jax.ShapeDtypeStruct((2, 3), "float32"),
    },
    "xarray": {
        "zoned": lambda _: _along_a_zone(),
    },
    "scipy": {
        "coordinates": lambda _: _scipy_matrices("coo"),
        "dictionary_of_keys": lambda _: _scipy_matrices("dok"),
    },
}
