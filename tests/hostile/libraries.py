"""Hostile arguments for Arrow and pandas."""
# ruff: noqa: FBT003  # truth values are arguments in messages, by position

import pickle
import struct
import sys

from hostile.assembler import call, code, name, put, set_state, with_buffers
from hostile.data import DTYPES, NUMPY, objects
from hostile.schemas import BATCH, TYPES

ARROW = "oobcodec.reducers.arrow:"
PANDAS = "oobcodec.reducers.pandas:"
ARRAYS = "oobcodec.reducers.pandas_arrays:"
ORDER = sys.byteorder


def i8(*numbers):
    return struct.pack(f"{len(numbers)}b", *numbers)


def i16(*numbers):
    return struct.pack(f"={len(numbers)}h", *numbers)


def i32(*numbers):
    return struct.pack(f"={len(numbers)}i", *numbers)


def i64(*numbers):
    return struct.pack(f"={len(numbers)}q", *numbers)


def arrow_type(which):
    return call(ARROW + "rebuild_type", TYPES.get(which, which))


def array(which, *node):
    return call(ARROW + "rebuild_array", arrow_type(which), node, ORDER)


LETTERS = (3, (None, i32(0, 1, 2, 3), b"abc"))
BYTES = (3, (None, i8(1, 2, 3)))
VIEW_OUTSIDE = struct.pack("=i4sii", 20, b"abcd", 0, 2**30)
VIEW_OF_BUFFER = struct.pack("=i4sii", 20, b"abcd", 9, 0)
VIEW_NEGATIVE = struct.pack("=i4sii", -20, b"abcd", 0, 0)
VIEW_OTHER_START = struct.pack("=i4sii", 20, b"zzzz", 0, 0)


def arrow_cases():
    yield from {
        "text_offset_beyond": array("string", 1, (None, i32(0, 2**30), b"abc")),
        "text_offset_negative": array("string", 2, (None, i32(0, -(2**30), 3), b"abc")),
        "text_offset_first_beyond": array("string", 1, (None, i32(2**30, 2**30), b"abc")),
        "text_offsets_descend": array("string", 2, (None, i32(0, 3, 1), b"abc")),
        "text_offsets_missing": array("string", 1, (None, None, b"abc")),
        "text_offsets_short": array("string", 1000, (None, i32(0, 1), b"abc")),
        "text_data_missing": array("string", 1, (None, i32(0, 3), None)),
        "text_invalid": array("string", 1, (None, i32(0, 2), b"\xff\xfe")),
        "large_text_offset_beyond": array("large_string", 1, (None, i64(0, 2**60), b"abc")),
        "bytes_offset_beyond": array("binary", 1, (None, i32(0, 2**30), b"abc")),
        "length_inflated": array("int64", 2**40, (None, i64(1))),
        "length_of_2_63": array("int64", 2**63, (None, i64(1))),
        "length_negative": array("int64", -1, (None, i64(1))),
        "length_bool": array("int64", True, (None, i64(1))),
        "length_of_nulls": array("null", 2**62, (None,)),
        "bits_inflated": array("bool", 2**40, (None, b"\x01")),
        "validity_short": array("int8", 100, (b"\xff", bytes(100))),
        "buffers_missing": array("int64", 1, (None,)),
        "buffers_surplus": array("int64", 1, (None, i64(1), i64(1))),
        "buffers_of_numbers": array("int64", 1, (None, 12345)),
        "buffers_text": array("int64", 1, (None, "abcdefgh")),
        "buffers_list": array("int64", 1, [None, i64(1)]),
        "node_empty": array("int64"),
        "node_list": call(ARROW + "rebuild_array", arrow_type("int64"), [1, (None, i64(1))], ORDER),
        "node_of_other": array("int64", 1, (None, i64(1)), BYTES),
        "list_offset_beyond": array("list", 1, (None, i32(0, 2**30)), BYTES),
        "list_offset_negative": array("list", 1, (None, i32(-5, 3)), BYTES),
        "list_child_missing": array("list", 1, (None, i32(0, 3))),
        "list_child_short": array("list", 1, (None, i32(0, 1000)), BYTES),
        "list_view_beyond": array("list_view", 1, (None, i32(2**30), i32(3)), BYTES),
        "list_view_size_negative": array("list_view", 1, (None, i32(0), i32(-3)), BYTES),
        "struct_child_short": array("struct", 1000, (None,), BYTES),
        "struct_child_missing": array("struct", 1000, (None,)),
        "dictionary_index_beyond": array("dictionary", 3, (None, i8(0, 1, 100)), LETTERS),
        "dictionary_index_negative": array("dictionary", 3, (None, i8(0, -100, 1)), LETTERS),
        "dictionary_missing": array("dictionary", 3, (None, i8(0, 1, 2))),
        "dictionary_wild": array("dictionary", 1, (None, i8(0)), (1, (None, i32(0, 2**30), b"abc"))),
        "union_type_unknown": array("dense_union", 1, (None, i8(50), i32(0)), BYTES),
        "union_type_negative": array("dense_union", 1, (None, i8(-5), i32(0)), BYTES),
        "union_offset_beyond": array("dense_union", 1, (None, i8(0), i32(2**30)), BYTES),
        "union_offset_negative": array("dense_union", 1, (None, i8(0), i32(-5)), BYTES),
        "union_sparse_type_unknown": array("sparse_union", 3, (None, i8(0, 99, 0)), BYTES),
        "union_sparse_child_short": array("sparse_union", 1000, (None, bytes(1000)), BYTES),
        "view_outside": array("string_view", 1, (None, VIEW_OUTSIDE, bytes(32))),
        "view_of_absent_buffer": array("string_view", 1, (None, VIEW_OF_BUFFER, bytes(32))),
        "view_negative": array("string_view", 1, (None, VIEW_NEGATIVE, bytes(32))),
        "view_of_other_start": array("string_view", 1, (None, VIEW_OTHER_START, b"abcd" * 8)),
        "run_ends_descend": array("run_ends", 3, (None,), (2, (None, i16(3, 1))), (2, (None, i8(1, 2)))),
        "run_ends_short": array("run_ends", 1000, (None,), (2, (None, i16(1, 2))), (2, (None, i8(1, 2)))),
        "run_ends_negative": array("run_ends", 3, (None,), (2, (None, i16(-1, 3))), (2, (None, i8(1, 2)))),
        "map_offset_beyond": array("map", 1, (None, i32(0, 2**30)), (3, (None,), LETTERS, BYTES)),
        "zone_unknown": array("timestamp", 1, (None, i64(0))),
        "type_unknown": array("int128", 1, (None, bytes(16))),
        "type_damaged": call(ARROW + "rebuild_type", b"\xff\xff\xff\xff\x10\0\0\0" + bytes(16)),
        "type_wild": call(ARROW + "rebuild_type", TYPES["list"][:40] + b"\xff" * 40 + TYPES["list"][80:]),
        "type_empty": call(ARROW + "rebuild_type", b""),
        "type_number": call(ARROW + "rebuild_type", 5),
        "type_list": call(ARROW + "rebuild_type", []),
        "type_of_list": call(ARROW + "rebuild_array", [], (1, (None, i64(1))), ORDER),
        "order_other": call(ARROW + "rebuild_array", arrow_type("int64"), (1, (None, i64(1))), "middle"),
        "canonical_other": call(ARROW + "rebuild_canonical", "run_end_encode", 1),
        "canonical_reader": call(ARROW + "rebuild_canonical", "memory_map", "/etc/passwd"),
        "canonical_output": call(ARROW + "rebuild_canonical", "OSFile", "oobcodec-was-here", "w"),
        "extension_unknown": call("pyarrow.lib:py_extension_type", 1),
        "chunked_of_number": call(ARROW + "rebuild_chunked", arrow_type("int64"), 5, ORDER),
        "chunked_wild": call(
            ARROW + "rebuild_chunked", arrow_type("string"), [LETTERS, (1, (None, i32(0, 2**30), b"abc"))], ORDER
        ),
        "chunks_of_nulls": call(ARROW + "rebuild_chunked", arrow_type("null"), [(2**62, (None,))] * 4, ORDER),
        "table_lengths": call(
            *(ARROW + "rebuild_table", call(ARROW + "rebuild_schema", TYPES["table_of_text"])),
            *([[(1, (None, i32(0, 2**30), b"abc"))]], ORDER),
        ),
        "table_columns_surplus": call(
            ARROW + "rebuild_table", call(ARROW + "rebuild_schema", TYPES["table_of_text"]), [[LETTERS]] * 2, ORDER
        ),
        "table_of_2_62_rows": call(
            ARROW + "rebuild_table", call(ARROW + "rebuild_schema", TYPES["table_of_text"]), 2**62, ORDER
        ),
        "table_of_minus_1_rows": call(
            ARROW + "rebuild_table", call(ARROW + "rebuild_schema", TYPES["table_of_text"]), -1, ORDER
        ),
        "short_table_damaged": call(ARROW + "rebuild_short_table", TYPES["table_of_text"], b"\xff" * 64, ORDER),
        "short_table_wild": call(ARROW + "rebuild_short_table", TYPES["table_of_text"], wild_batch(), ORDER),
        "short_table_of_types": call(ARROW + "rebuild_short_table", TYPES["list"], wild_batch(), ORDER),
        "scalar_of_none": call(ARROW + "rebuild_scalar", array("int64", 0, (None, b""))),
        "scalar_of_list": call(ARROW + "rebuild_scalar", [1]),
        "buffer_of_text": call(ARROW + "rebuild_buffer", "abc"),
        "buffer_of_address": call("pyarrow.lib:foreign_buffer", 12345, 8),
        "tensor_of_list": call(ARROW + "rebuild_tensor", [1], []),
        "sparse_beyond": call(
            *(ARROW + "rebuild_sparse", "SparseCOOTensor", numpy_array(i64(1), "<i8", (1, 1))),
            *([numpy_array(i64(2**40), "<i8", (1, 1))], (3,), []),
        ),
        "sparse_other_class": call(ARROW + "rebuild_sparse", "Table", numpy_array(i64(1), "<i8", (1,)), [], (3,), []),
    }.items()


def wild_batch():
    """Return the message of a batch with one text, which says that it is longer than the message."""
    return BATCH[:-16] + i32(0, 2**30) + BATCH[-8:]


def numpy_array(data, dtype, shape):
    return call(NUMPY + "rebuild_ndarray", bytearray(data), dtype, shape)


def codes(*numbers):
    return numpy_array(i8(*numbers), "|i1", (len(numbers),))


def index(*numbers):
    return call(PANDAS + "rebuild_index", "Index", numpy_array(i64(*numbers), "<i8", (len(numbers),)), None)


def frame(*blocks, rows=2, columns=(0, 1)):
    labels = call(PANDAS + "rebuild_range", *columns, 1, None)
    return call(PANDAS + "rebuild_frame", None, blocks, call(PANDAS + "rebuild_range", 0, rows, 1, None), labels)


def pandas_cases():
    row = numpy_array(i64(1, 2), "<i8", (1, 2))
    rows = numpy_array(i64(1, 2, 3, 4), "<i8", (2, 2))
    sparse_dtype = call(ARRAYS + "rebuild_dtype", "SparseDtype", call(DTYPES + "rebuild_dtype", "<i8"), 0)
    yield from {
        "place_beyond": frame(row, numpy_array(i64(1000), "<i8", (1,))),
        "place_far_beyond": frame(row, numpy_array(i64(2**40), "<i8", (1,))),
        "place_negative": frame(row, numpy_array(i64(-5), "<i8", (1,))),
        "place_twice": frame(rows, numpy_array(i64(0, 0), "<i8", (2,)), columns=(0, 2)),
        "place_slice_beyond": frame(row, (1000, 1001, 1)),
        "place_slice_of_2_62": frame(row, (0, 2**62, 1)),
        "place_slice_step_0": frame(row, (0, 1, 0)),
        "place_slice_negative": frame(row, (-1, 5, 1)),
        "place_slice_short": frame(row, (0, 1)),
        "place_none": frame(row, None),
        "places_overlap": frame(row, (0, 1, 1), row, (0, 1, 1), columns=(0, 2)),
        "places_missing": frame(row, (0, 1, 1), columns=(0, 5)),
        "blocks_odd": frame(row),
        "blocks_of_numbers": frame(5, (0, 1, 1)),
        "blocks_of_one_axis": frame(numpy_array(i64(1, 2), "<i8", (2,)), (0, 1, 1)),
        "blocks_of_three_axes": frame(numpy_array(i64(1, 2), "<i8", (1, 2, 1)), (0, 1, 1)),
        "rows_too_many": frame(row, (0, 1, 1), rows=1000),
        "rows_of_2_62": frame(row, (0, 1, 1), rows=2**62),
        "columns_of_2_62": frame(row, (0, 1, 1), columns=(0, 2**62)),
        "columns_only_of_2_62": frame(rows=0, columns=(0, 2**62)),
        "columns_only_of_2_34": frame(rows=0, columns=(0, 2**34)),
        "class_is_name": call(PANDAS + "rebuild_frame", name("os:system"), [], index(), index()),
        "references_other": call(PANDAS + "rebuild_frame", None, [row, (0, 1, 1)], index(1, 2), index(1), [[5]]),
        "manager_state": set_state(frame(row, (0, 1, 1)), PANDAS + "set_state", ({}, True, {"_mgr": 5})),
        "attributes_hide_methods": set_state(frame(row, (0, 1, 1)), PANDAS + "set_state", ({}, True, {"sum": 5})),
        "attributes_list": set_state(frame(row, (0, 1, 1)), PANDAS + "set_state", ([1], 5, [])),
        "frame_built": code(put(frame(row, (0, 1, 1))), put({"_mgr": 5}), pickle.BUILD),
        "series_short": call(PANDAS + "rebuild_series", None, numpy_array(i64(1), "<i8", (1,)), index(1, 2, 3), None),
        "series_of_two_axes": call(PANDAS + "rebuild_series", None, rows, index(1, 2), None),
        "series_of_list": call(PANDAS + "rebuild_series", None, [1, 2], index(1, 2), None),
        "series_name_list": call(PANDAS + "rebuild_series", None, numpy_array(i64(1), "<i8", (1,)), index(1), []),
        "index_class_other": call(PANDAS + "rebuild_index", "DataFrame", row, None),
        "index_class_io": call(PANDAS + "rebuild_index", "io", row, None),
        "index_of_two_axes": call(PANDAS + "rebuild_index", "Index", rows, None),
        "index_of_list": call(PANDAS + "rebuild_index", "Index", [1], None),
        "index_of_times_over_numbers": call(PANDAS + "rebuild_index", "DatetimeIndex", row, None),
        "index_freq_text": call(PANDAS + "rebuild_index", "Index", numpy_array(i64(1), "<i8", (1,)), None, "D"),
        "range_step_0": call(PANDAS + "rebuild_range", 0, 1, 0, None),
        "range_of_2_70": call(PANDAS + "rebuild_range", 0, 2**70, 1, None),
        "range_text": call(PANDAS + "rebuild_range", "a", "b", 1, None),
        "codes_beyond": call(PANDAS + "rebuild_multi_index", (index(7, 8),), (codes(0, 100),), None, (None,)),
        "codes_negative": call(PANDAS + "rebuild_multi_index", (index(7, 8),), (codes(0, -100),), None, (None,)),
        "codes_of_other_lengths": call(
            PANDAS + "rebuild_multi_index", (index(7), index(8)), (codes(0), codes(0, 0, 0)), None, (None, None)
        ),
        "codes_missing": call(PANDAS + "rebuild_multi_index", (index(7), index(8)), (codes(0),), None, (None, None)),
        "codes_list": call(PANDAS + "rebuild_multi_index", (index(7),), ([100],), None, (None,)),
        "codes_none": call(PANDAS + "rebuild_multi_index", (), (), None, ()),
        "codes_of_floats": call(
            *(PANDAS + "rebuild_multi_index", (index(7),)),
            *((numpy_array(struct.pack("=d", 1e300), "<f8", (1,)),), None, (None,)),
        ),
        "sortorder_wrong": call(PANDAS + "rebuild_multi_index", (index(7, 8),), (codes(1, 0),), 5, (None,)),
        "level_twice": call(PANDAS + "rebuild_multi_index", (index(7, 7),), (codes(0, 1),), None, (None,)),
        "categorical_code_beyond": categorical(codes(0, 100)),
        "categorical_code_negative": categorical(codes(0, -100)),
        "categorical_code_unsigned": categorical(numpy_array(b"\xff\xff", "|u1", (2,))),
        "categorical_code_of_floats": categorical(numpy_array(struct.pack("=d", 1e300), "<f8", (1,))),
        "categorical_code_list": categorical([100]),
        "categorical_two_axes": categorical(numpy_array(i8(0, 1), "|i1", (1, 2))),
        "categories_twice": categorical(codes(0, 1), categories=index(7, 7)),
        "categories_list": categorical(codes(0, 1), categories=[7, 8]),
        "categories_ordered_text": categorical(codes(0, 1), ordered="yes"),
        "categorical_dtype_text": call(ARRAYS + "rebuild_categorical", codes(0), "category"),
        "sparse_beyond": sparse(sparse_dtype, i32(1000)),
        "sparse_negative": sparse(sparse_dtype, i32(-1)),
        "sparse_descend": sparse(sparse_dtype, i32(2, 1)),
        "sparse_blocks_beyond": sparse(sparse_dtype, i32(5), i32(1000)),
        "sparse_blocks_negative": sparse(sparse_dtype, i32(5), i32(-1)),
        "sparse_blocks_overlap": sparse(sparse_dtype, i32(0, 1), i32(5, 5)),
        "sparse_length_of_2_62": sparse(sparse_dtype, i32(0), length=2**62),
        "sparse_length_negative": sparse(sparse_dtype, i32(0), length=-1),
        "sparse_values_missing": sparse(sparse_dtype, i32(0, 1, 2)),
        "masked_other_length": call(ARRAYS + "rebuild_masked", "IntegerArray", codes(1), bools(0, 1, 1)),
        "masked_other_class": call(ARRAYS + "rebuild_masked", "SparseArray", codes(1), bools(0)),
        "masked_by_numbers": call(ARRAYS + "rebuild_masked", "IntegerArray", codes(1), codes(1)),
        "times_of_numbers": call(ARRAYS + "rebuild_times", "DatetimeArray", codes(1), None),
        "times_other_class": call(ARRAYS + "rebuild_times", "Categorical", codes(1), None),
        "times_freq_text": call(
            ARRAYS + "rebuild_times", "DatetimeArray", numpy_array(i64(1), "<M8[ns]", (1,)), None, "D"
        ),
        "times_of_years": call(ARRAYS + "rebuild_times", "DatetimeArray", numpy_array(i64(1), "<M8[Y]", (1,)), None),
        "periods_of_bytes": call(ARRAYS + "rebuild_periods", codes(1), dtype("PeriodDtype", "D")),
        "periods_other_dtype": call(ARRAYS + "rebuild_periods", numpy_array(i64(1), "<i8", (1,)), None),
        "period_frequency": dtype("PeriodDtype", "99999999999999999999D"),
        "period_frequency_text": dtype("PeriodDtype", "\0" * 100),
        "intervals_other_length": call(ARRAYS + "rebuild_intervals", index(1), index(1, 2), "right"),
        "intervals_closed": call(ARRAYS + "rebuild_intervals", index(1), index(2), "ajar"),
        "strings_missing_beyond": call(
            *(ARRAYS + "rebuild_strings", b"a\0b\0"),
            *(call("oobcodec.reducers.stdlib:rebuild_array", i64(1000), "Q", 8, ORDER), string_dtype("python")),
        ),
        "strings_missing_none": call(ARRAYS + "rebuild_strings", b"a\0b\0", None, string_dtype("python")),
        "strings_invalid": call(
            *(ARRAYS + "rebuild_strings", b"\xff\xfe\0"),
            *(call("oobcodec.reducers.stdlib:rebuild_array", b"", "Q", 8, ORDER), string_dtype("python")),
        ),
        "strings_of_numbers": call(ARRAYS + "rebuild_string_objects", codes(1), string_dtype("python")),
        "string_storage": string_dtype("os"),
        "arrow_strings_of_numbers": call(
            ARRAYS + "rebuild_arrow_strings", array("int64", 1, (None, i64(1))), string_dtype("pyarrow")
        ),
        "arrow_strings_wild": call(
            *(ARRAYS + "rebuild_arrow_strings", array("large_string", 1, (None, i64(0, 2**60), b"abc"))),
            string_dtype("pyarrow"),
        ),
        "dtype_class_other": dtype("read_pickle", "oobcodec-was-here"),
        "dtype_class_eval": dtype("eval", "1"),
        "dtype_private": dtype("__loader__"),
        "dtype_zone": dtype("DatetimeTZDtype", "ns", "../../etc/passwd"),
        "offset_other": call(ARRAYS + "rebuild_offset", "to_offset", "1D"),
        "offset_of_2_70": call(ARRAYS + "rebuild_offset", "Day", 2**70),
        "offset_text": call(ARRAYS + "rebuild_offset", "Day", "1"),
        "missing_other": call(ARRAYS + "rebuild_missing", "eval"),
        "wrapped_list": call(ARRAYS + "rebuild_wrapped", [1]),
        "objects_in_frame": frame(objects(3, [0], ([1, [], None], True)), (0, 1, 1), rows=3),
    }.items()


def categorical(which, *, categories=None, ordered=False):
    made = call(ARRAYS + "rebuild_categories", index(7, 8) if categories is None else categories, ordered)
    return call(ARRAYS + "rebuild_categorical", which, made)


def sparse(kind, *where, length=10):
    places = tuple(numpy_array(place, "<i4", (len(place) // 4,)) for place in where)
    return call(ARRAYS + "rebuild_sparse", numpy_array(i64(1), "<i8", (1,)), length, places, kind)


def bools(*truths):
    return numpy_array(bytes(truths), "|b1", (len(truths),))


def dtype(which, *parameters):
    return call(ARRAYS + "rebuild_dtype", which, *parameters)


def string_dtype(storage):
    return call(ARRAYS + "rebuild_string_dtype", storage, False)


def arrow():
    for key, piece in arrow_cases():
        yield key, with_buffers(put(piece), bytes(8))


def pandas():
    for key, piece in pandas_cases():
        yield key, with_buffers(put(piece), bytes(8))
