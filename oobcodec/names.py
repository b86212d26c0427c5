"""What a message may name under the policy DATA, and which guards know it.

It stands here, and not with the guards, so that a message is refused before anything is imported for it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Name(NamedTuple):
    """What a stream imports."""

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}"


# By the module of the guards, and the module that is named.
_CALLED: Final = {
    "arrow": {
        "oobcodec.reducers.arrow": """
            rebuild_array rebuild_batch rebuild_buffer rebuild_canonical rebuild_chunked rebuild_field
            rebuild_map rebuild_scalar rebuild_schema rebuild_short_batch rebuild_short_table rebuild_sparse
            rebuild_table rebuild_tensor rebuild_type
        """,
        "pyarrow.lib": """
            dictionary field large_list large_list_view list_ list_view run_end_encoded schema struct union
        """,
    },
    "attributes": {
        "oobcodec.reducers.attributes": "set_attributes",
    },
    "jax": {
        "jax": "P",
        "oobcodec.reducers.jax": "rebuild_array rebuild_keys rebuild_shape",
    },
    "numpy": {
        "numpy": "frombuffer",
        "oobcodec.reducers.numpy": """
            rebuild_blank rebuild_broadcast rebuild_empty rebuild_ndarray rebuild_spaced rebuild_strings
            rebuild_view set_fields set_objects
        """,
    },
    "numpy_dtypes": {
        "ml_dtypes": """
            bcomplex32 bfloat16 complex32 float4_e2m1fn float6_e2m3fn float6_e3m2fn float8_e3m4 float8_e4m3
            float8_e4m3b11 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz
            float8_e8m0fnu int1 int2 int4 uint1 uint2 uint4
        """,
        "numpy": "record",
        "oobcodec.reducers.numpy_dtypes": """
            rebuild_custom_dtype rebuild_dtype rebuild_extended_dtype rebuild_string_dtype
            rebuild_structured_dtype rebuild_subarray_dtype
        """,
    },
    "numpy_masked": {
        "oobcodec.reducers.numpy_masked": "rebuild_masked_constant set_masked",
    },
    "numpy_scalars": {
        "numpy": """
            bytes_ complex128 complex64 float16 float32 float64 int16 int32 int64 int8 intc longlong str_
            uint16 uint32 uint64 uint8 uintc ulonglong void
        """,
        "oobcodec.reducers.numpy_scalars": "rebuild_bool rebuild_element rebuild_scalar rebuild_void",
    },
    "own": {
        "oobcodec.encoded": "rebuild_encoded",
        "oobcodec.registry": "rebuild_tagged",
    },
    "pandas": {
        "oobcodec.reducers.pandas": """
            rebuild_frame rebuild_index rebuild_multi_index rebuild_range rebuild_references rebuild_series
            set_state
        """,
    },
    "pandas_arrays": {
        "oobcodec.reducers.pandas_arrays": """
            rebuild_arrow rebuild_arrow_strings rebuild_categorical rebuild_categories rebuild_dtype
            rebuild_intervals rebuild_masked rebuild_missing rebuild_periods rebuild_pytz_dtype
            rebuild_sparse rebuild_string_dtype rebuild_string_objects rebuild_strings rebuild_times
            rebuild_wrapped
        """,
    },
    "pandas_offsets": {
        "dateutil.relativedelta": "relativedelta",
        "oobcodec.reducers.pandas_arrays": "rebuild_offset",
        "pandas": "Interval Period",
        "pandas._libs.interval": "Interval",
        "pandas._libs.tslibs.period": "Period",
        "pandas._libs.tslibs.timedeltas": "_timedelta_unpickle",
        "pandas._libs.tslibs.timestamps": "_unpickle_timestamp",
        "pytz": "FixedOffset _UTC _p",
    },
    "polars": {
        "oobcodec.reducers.polars": """
            rebuild_columns rebuild_elements rebuild_frame rebuild_pickled rebuild_plan rebuild_renamed
            rebuild_rows rebuild_series rebuild_wide set_attributes
        """,
        "oobcodec.reducers.polars_types": "rebuild_class rebuild_dtype rebuild_schema",
        "polars.dataframe.frame": "DataFrame",
        "polars.datatypes.classes": """
            Array Binary Boolean Categorical Categories Date Datetime Decimal Duration Enum Field Float16
            Float32 Float64 Int128 Int16 Int32 Int64 Int8 List Null Object String Struct Time UInt128
            UInt16 UInt32 UInt64 UInt8 Unknown
        """,
        "polars.series.series": "Series",
    },
    "stdlib": {
        "builtins": """
            bool bytes complex dict float frozenset getattr int list memoryview range set slice str tuple
        """,
        "collections": "Counter OrderedDict defaultdict deque",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "oobcodec.reducers.stdlib": "rebuild_array rebuild_memoryview rebuild_path",
        "uuid": "UUID",
        "zoneinfo": "ZoneInfo",
    },
    "tensorflow": {
        "oobcodec.reducers.tensorflow": """
            rebuild_dtype rebuild_ragged rebuild_shape rebuild_slices rebuild_sparse rebuild_strings
            rebuild_tensor rebuild_uniform rebuild_variable
        """,
    },
    "torch": {
        "oobcodec.reducers.torch": """
            rebuild_compressed rebuild_constant rebuild_meta rebuild_nested rebuild_quantized rebuild_sparse
            rebuild_tensor rebuild_typed_storage rebuild_view
        """,
        "oobcodec.reducers.torch_storages": "rebuild_storage",
        "torch": "Size device",
        "torch.nn.utils.rnn": "PackedSequence",
        "torch.return_types": """
            aminmax aminmax_out cummax cummax_out cummin cummin_out frexp frexp_out geqrf geqrf_out
            histogram histogram_out histogramdd kthvalue kthvalue_out linalg_cholesky_ex
            linalg_cholesky_ex_out linalg_eig linalg_eig_out linalg_eigh linalg_eigh_out linalg_inv_ex
            linalg_inv_ex_out linalg_ldl_factor linalg_ldl_factor_ex linalg_ldl_factor_ex_out
            linalg_ldl_factor_out linalg_lstsq linalg_lstsq_out linalg_lu linalg_lu_factor
            linalg_lu_factor_ex linalg_lu_factor_ex_out linalg_lu_factor_out linalg_lu_out linalg_qr
            linalg_qr_out linalg_slogdet linalg_slogdet_out linalg_solve_ex linalg_solve_ex_out linalg_svd
            linalg_svd_out lu_unpack lu_unpack_out max max_out median median_out min min_out mode mode_out
            nanmedian nanmedian_out qr qr_out slogdet slogdet_out sort sort_out svd svd_out topk topk_out
            triangular_solve triangular_solve_out
        """,
    },
    "torch_storages": {
        "oobcodec.reducers.torch_storages": "rebuild_storage",
    },
}
_VALUES: Final = {
    "stdlib": {
        "builtins": "Ellipsis NotImplemented",
    },
    "torch": {
        "torch": """
            bfloat16 bits16 bits1x8 bits2x4 bits4x2 bits8 bool complex128 complex32 complex64 float16
            float32 float4_e2m1fn_x2 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz
            float8_e8m0fnu int1 int16 int2 int3 int32 int4 int5 int6 int64 int7 int8 qint32 qint8 quint2x4
            quint4x2 quint8 uint1 uint16 uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 uint8
        """,
    },
}
_TAKERS: Final = {
    "numpy_dtypes": {
        "oobcodec.reducers.numpy_dtypes": "rebuild_custom_dtype rebuild_structured_dtype",
    },
    "polars": {
        "oobcodec.reducers.polars": "rebuild_elements rebuild_pickled",
    },
    "stdlib": {
        "builtins": "getattr",
        "collections": "defaultdict",
    },
}


def _flat(table: dict[str, dict[str, str]]) -> dict[str, str]:
    return {
        f"{module}:{name}": f"oobcodec.guards.{guards}"
        for guards, modules in table.items()
        for module, names in modules.items()
        for name in names.split()
    }


VALUES: Final = _flat(_VALUES)
"""The module of the guards by the name of a value, ``"module:qualname"``, which is data by itself."""

WHERE: Final = _flat(_CALLED) | VALUES
"""The module of the guards by any name."""

TAKERS: Final = frozenset(_flat(_TAKERS))
"""What may be called with names among its arguments."""
