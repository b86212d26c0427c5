"""Hostile arguments for polars, torch and JAX."""
# ruff: noqa: FBT003  # truth values are arguments in messages, by position

import struct

from hostile.assembler import BUFFER, call, put, set_state, with_buffers
from hostile.data import DTYPES, NUMPY
from hostile.libraries import ARROW, ORDER, VIEW_OUTSIDE, i64, numpy_array, wild_batch
from hostile.schemas import TYPES

POLARS = "oobcodec.reducers.polars:"
TORCH = "oobcodec.reducers.torch:"
STORAGES = "oobcodec.reducers.torch_storages:"
JAX = "oobcodec.reducers.jax:"


def table(*node):
    return call(ARROW + "rebuild_table", call(ARROW + "rebuild_schema", TYPES["table_of_views"]), [[node]], ORDER)


def views(*texts):
    return b"".join([struct.pack("=i12s", len(text), text) for text in texts])


def polars_frames():
    plain = table(3, (None, views(b"a", b"b", b"c")))
    wild = table(1, (None, VIEW_OUTSIDE, bytes(32)))
    series, frame = POLARS + "rebuild_series", POLARS + "rebuild_frame"
    yield from {
        "series_wild": call(series, wild, ""),
        "series_inflated": call(series, table(2**40, (None, views(b"a"))), ""),
        "series_short_wild": call(
            series, call(ARROW + "rebuild_short_table", TYPES["table_of_text"], wild_batch(), ORDER), ""
        ),
        "series_of_list": call(series, [1, 2], ""),
        "series_of_two_columns": call(series, call(frame, plain, ["", ""]), ""),
        "series_order_other": call(series, plain, "x"),
        "series_order_number": call(series, plain, 5),
        "series_sorted_wrongly": call(series, table(3, (None, views(b"c", b"b", b"a"))), "a"),
        "series_needs_list": call(series, plain, "", [1]),
        "series_needs_other": call(series, plain, "", ("99.0", ["os"])),
        "frame_wild": call(frame, wild, [""]),
        "frame_orders_missing": call(frame, plain, []),
        "frame_orders_surplus": call(frame, plain, ["", "a"]),
        "frame_state": set_state(call(frame, plain, [""]), POLARS + "set_attributes", (b"\xff" * 16, {})),
        "frame_attributes": set_state(call(frame, plain, [""]), POLARS + "set_attributes", (None, {"_df": 5})),
        "rows_of_2_62": call(POLARS + "rebuild_rows", 2**62, "2.1.0"),
        "rows_negative": call(POLARS + "rebuild_rows", -1, "2.1.0"),
        "rows_of_2_70": call(POLARS + "rebuild_rows", 2**70, "2.1.0"),
        "rows_text": call(POLARS + "rebuild_rows", "5", "2.1.0"),
        "columns_of_numbers": call(POLARS + "rebuild_columns", [1, 2]),
        "columns_of_one_name": call(POLARS + "rebuild_columns", [call(series, plain, "")] * 2),
        "elements_of_objects": call(POLARS + "rebuild_elements", "a", [1, "b", []], None),
        "elements_dtype_text": call(POLARS + "rebuild_elements", "a", [1], "Int8"),
    }.items()


def storage(data):
    return call(STORAGES + "rebuild_storage", bytearray(data))


def tensor(data, strides, dtype, shape, *flags):
    return call(TORCH + "rebuild_tensor", storage(data), strides, dtype, shape, *flags)


def integers(*numbers, shape=None):
    shape = (len(numbers),) if shape is None else shape
    strides = (1,) if len(shape) == 1 else (shape[1], 1)
    return tensor(i64(*numbers), strides, "int64", shape)


def tensors():
    one = tensor(struct.pack("=f", 1), (1,), "float32", (1,))
    sparse, compressed = TORCH + "rebuild_sparse", TORCH + "rebuild_compressed"
    quantized = TORCH + "rebuild_quantized"
    yield from {
        "shape_too_large": tensor(bytes(8), (1,), "float32", (1000,)),
        "shape_too_large_over_buffer": call(TORCH + "rebuild_tensor", BUFFER, (1,), "float32", (1000,)),
        "shape_of_2_62": tensor(bytes(8), (1,), "uint8", (2**62,)),
        "shape_wraps": tensor(bytes(8), (2**32, 1), "uint8", (2**32, 2**32)),
        "shape_negative": tensor(bytes(8), (1,), "uint8", (-8,)),
        "shape_bool": tensor(bytes(8), (1,), "uint8", (True,)),
        "shape_list": tensor(bytes(8), [1], "uint8", [8]),
        "shape_of_2_70": tensor(bytes(8), (1,), "uint8", (2**70,)),
        "shape_of_65_axes": tensor(bytes(8), (1,) * 65, "uint8", (1,) * 65),
        "strides_beyond": tensor(bytes(8), (1000,), "uint8", (2,)),
        "strides_negative": tensor(bytes(8), (-1,), "uint8", (8,)),
        "strides_of_2_62": tensor(bytes(8), (2**62,), "int64", (3,)),
        "strides_short": tensor(bytes(8), (1,), "uint8", (2, 4)),
        "expanded_by_strides_0": tensor(bytes(8), (0,), "int64", (2**40,)),
        "dtype_unknown": tensor(bytes(8), (1,), "load", (1,)),
        "dtype_dunder": tensor(bytes(8), (1,), "__class__", (1,)),
        "dtype_quantized": tensor(bytes(8), (1,), "qint8", (8,)),
        "memory_list": call(TORCH + "rebuild_tensor", [1], (1,), "uint8", (1,)),
        "memory_text": call(TORCH + "rebuild_tensor", "abc", (1,), "uint8", (3,)),
        "flags_of_integers": tensor(bytes(8), (1,), "uint8", (8,), True, True),
        "flags_text": tensor(bytes(8), (1,), "complex64", (1,), "yes", "no"),
        "storage_of_list": call(STORAGES + "rebuild_storage", [1]),
        "storage_location": call(STORAGES + "rebuild_storage", bytearray(8), "nowhere"),
        "storage_on_meta": call(STORAGES + "rebuild_storage", bytearray(8), "meta"),
        "view_class_other": call(TORCH + "rebuild_view", "Module", one, False),
        "view_class_dunder": call(TORCH + "rebuild_view", "__loader__", one, False),
        "view_of_list": call(TORCH + "rebuild_view", "Parameter", [1], False),
        "view_gradient_of_integers": call(TORCH + "rebuild_view", "Parameter", integers(1), True),
        "constant_other": call(TORCH + "rebuild_constant", "load"),
        "constant_dunder": call(TORCH + "rebuild_constant", "__loader__"),
        "coo_beyond": call(sparse, integers(1000, 0, shape=(2, 1)), one, (3, 3), True),
        "coo_negative": call(sparse, integers(-1, 0, shape=(2, 1)), one, (3, 3), True),
        "coo_far_beyond": call(sparse, integers(2**40, 2**40, shape=(2, 1)), one, (3, 3), True),
        "coo_values_missing": call(sparse, integers(0, 1, 0, 1, shape=(2, 2)), one, (3, 3), True),
        "coo_axes": call(sparse, integers(0, 0, 0, shape=(3, 1)), one, (3, 3), True),
        "coo_of_2_40": call(sparse, integers(0, 0, shape=(2, 1)), one, (2**40, 2**40), True),
        "coo_of_floats": call(sparse, one, one, (3,), True),
        "coo_not_coalesced": call(
            sparse, integers(1, 1, 1, 1, shape=(2, 2)), tensor(bytes(8), (1,), "float32", (2,)), (3, 3), True
        ),
        "csr_beyond": call(compressed, "sparse_csr", integers(0, 1), integers(1000), one, (1, 3)),
        "csr_negative": call(compressed, "sparse_csr", integers(0, 1), integers(-1), one, (1, 3)),
        "csr_starts_beyond": call(compressed, "sparse_csr", integers(0, 1000), integers(0), one, (1, 3)),
        "csr_starts_descend": call(compressed, "sparse_csr", integers(0, 5, 1), integers(0), one, (2, 3)),
        "csr_layout_other": call(compressed, "strided", integers(0, 1), integers(0), one, (1, 3)),
        "csr_layout_function": call(compressed, "load", integers(0, 1), integers(0), one, (1, 3)),
        "csr_list": call(compressed, "sparse_csr", [0, 1], [0], one, (1, 3)),
        "bsr_beyond": call(
            *(compressed, "sparse_bsr", integers(0, 1), integers(1000)),
            *(tensor(bytes(16), (4, 2, 1), "float32", (1, 2, 2)), (2, 4)),
        ),
        "nested_beyond": call(TORCH + "rebuild_nested", one, [[1000]], [[1]], [0]),
        "nested_offset_beyond": call(TORCH + "rebuild_nested", one, [[1]], [[1]], [2**40]),
        "nested_negative": call(TORCH + "rebuild_nested", one, [[-1]], [[1]], [-5]),
        "nested_rows": call(TORCH + "rebuild_nested", one, [[1], [1, 2]], [[1]], [0]),
        "meta_of_2_62": call(TORCH + "rebuild_meta", "float32", (2**62,), (1,)),
        "quantized_scale": call(quantized, bytearray(8), (1,), "qint8", (8,), float("nan"), 0),
        "quantized_zero_point": call(quantized, bytearray(8), (1,), "qint8", (8,), 1.0, 2**70),
        "quantized_shape": call(quantized, bytearray(8), (1,), "qint8", (1000,), 1.0, 0),
        "quantized_axis": call(quantized, bytearray(8), (1,), "qint8", (8,), one, integers(0), 5),
        "quantized_scales": call(
            quantized, bytearray(8), (1,), "qint8", (8,), tensor(bytes(8), (1,), "float64", (1,)), integers(0), 0
        ),
        "quantized_plain": call(quantized, bytearray(8), (1,), "float32", (2,), 1.0, 0),
        "typed_storage_of_list": call(TORCH + "rebuild_typed_storage", [1], "float32"),
        "typed_storage_odd": call(TORCH + "rebuild_typed_storage", storage(b"abc"), "float32"),
    }.items()


def jax_arrays():
    one = numpy_array(i64(1), "<i8", (1,))
    yield from {
        "array_of_list": call(JAX + "rebuild_array", [1], False),
        "array_of_objects": call(JAX + "rebuild_array", call(NUMPY + "rebuild_empty", "|O", (0,), True), False),
        "array_of_text": call(JAX + "rebuild_array", numpy_array(b"abcd", "<U1", (1,)), False),
        "array_place_unknown": call(JAX + "rebuild_array", one, False, ("nowhere", 0)),
        "array_place_beyond": call(JAX + "rebuild_array", one, False, ("cpu", 1000)),
        "array_place_list": call(JAX + "rebuild_array", one, False, ["cpu"]),
        "array_expanded": call(
            JAX + "rebuild_array", call(NUMPY + "rebuild_ndarray", bytearray(8), "<i8", (2**40,), (0,), 0), False
        ),
        "keys_kind": call(JAX + "rebuild_keys", numpy_array(bytes(8), "<u4", (2,)), "os"),
        "keys_shape": call(JAX + "rebuild_keys", numpy_array(bytes(20), "<u4", (5,)), "threefry2x32"),
        "keys_of_list": call(JAX + "rebuild_keys", [1, 2], "threefry2x32"),
        "shape_negative": call(JAX + "rebuild_shape", (-5,), call(DTYPES + "rebuild_dtype", "<i8")),
        "shape_dtype": call(JAX + "rebuild_shape", (5,), "load"),
    }.items()


def polars():
    for key, piece in polars_frames():
        yield key, with_buffers(put(piece), bytes(8))


def torch():
    for key, piece in tensors():
        yield key, with_buffers(put(piece), bytes(8))


def jax():
    for key, piece in jax_arrays():
        yield key, with_buffers(put(piece), bytes(8))
