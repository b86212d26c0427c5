"""Hostile arguments of what the policy allows: Python's own classes, and numpy."""
# ruff: noqa: FBT003  # truth values are arguments in messages, by position

import pickle
import struct
import sys

from hostile.assembler import BUFFER, call, code, get, name, put, set_state, with_buffers

NUMPY = "oobcodec.reducers.numpy:"
DTYPES = "oobcodec.reducers.numpy_dtypes:"
SCALARS = "oobcodec.reducers.numpy_scalars:"
STDLIB = "oobcodec.reducers.stdlib:"
MASKED = "oobcodec.reducers.numpy_masked:"
ORDER = sys.byteorder
POINTER = b"\x41" * 8


def built(cls, state):
    """Return the code of an object that gets its state, as of a class with `__setstate__`."""
    return code(name(cls), put(()), pickle.NEWOBJ, put(state), pickle.BUILD)


def zone(*key, method="_unpickle", cls="zoneinfo:ZoneInfo"):
    return call(call("builtins:getattr", name(cls), method), *key)


def calendar():
    yield from {
        "datetime_zeros": call("datetime:datetime", bytes(10)),
        "datetime_short": call("datetime:datetime", b"\x07\xea\x01"),
        "datetime_month_13": call("datetime:datetime", b"\x07\xea\x0d\x01\0\0\0\0\0\0"),
        "datetime_day_31_of_february": call("datetime:datetime", b"\x07\xea\x02\x1f\0\0\0\0\0\0"),
        "datetime_hour_255": call("datetime:datetime", b"\x07\xea\x01\x01\xff\0\0\0\0\0"),
        "datetime_microsecond_of_2_24": call("datetime:datetime", b"\x07\xea\x01\x01\0\0\0\xff\xff\xff"),
        "datetime_text": call("datetime:datetime", "\x07\xea\x01\x01\0\0\0\0\0\0"),
        "datetime_zone_list": call("datetime:datetime", b"\x07\xea\x01\x01\0\0\0\0\0\0", []),
        "datetime_zone_text": call("datetime:datetime", b"\x07\xea\x01\x01\0\0\0\0\0\0", "UTC"),
        "datetime_year_of_2_70": call("datetime:datetime", 2**70, 1, 1),
        "date_zeros": call("datetime:date", bytes(4)),
        "date_month_of_200": call("datetime:date", b"\x07\xea\xc8\x01"),
        "date_buffer": call("datetime:date", bytearray(b"\x07\xea\x01\x01")),
        "time_hour_25": call("datetime:time", b"\x19\0\0\0\0\0"),
        "timedelta_of_2_70_days": call("datetime:timedelta", 2**70, 0, 0),
        "timedelta_nan": call("datetime:timedelta", float("nan"), 0, 0),
        "timedelta_bool": call("datetime:timedelta", True, False, True),
        "timezone_of_days": call("datetime:timezone", call("datetime:timedelta", 2, 0, 0)),
        "timezone_number": call("datetime:timezone", 3600),
        "timezone_name_list": call("datetime:timezone", call("datetime:timedelta", 0, 0, 0), []),
        "zone_of_passwd": zone("../../etc/passwd", 1),
        "zone_absolute": zone("/etc/passwd", 1),
        "zone_nul": zone("Europe\0/Berlin", 1),
        "zone_empty": zone("", 1),
        "zone_unknown": zone("No/Where", 1),
        "zone_long": zone("A" * 5000, 1),
        "zone_number": zone(5, 1),
        "zone_without_cache": zone("../../etc/passwd", 0),
        "zone_from_file": zone("/etc/passwd", method="from_file"),
        "zone_no_cache": zone("Europe/Berlin", method="no_cache"),
        "zone_dunder": zone(method="__subclasses__"),
        "getattr_of_other": zone("2020-01-01", method="fromisoformat", cls="datetime:date"),
        "getattr_of_module": zone("touch oobcodec-was-here", cls="os:system", method="__call__"),
        "getattr_of_object": call(call("builtins:getattr", [], "append"), 1),
        "getattr_as_result": call("builtins:getattr", name("zoneinfo:ZoneInfo"), "_unpickle"),
        "getattr_in_list": [call("builtins:getattr", name("zoneinfo:ZoneInfo"), "_unpickle")],
        "getattr_of_three": call("builtins:getattr", name("zoneinfo:ZoneInfo"), "nothing", 1),
    }.items()


def containers():
    yield from {
        "deque_maxlen_negative": call("collections:deque", [], -1),
        "deque_maxlen_of_2_70": call("collections:deque", [], 2**70),
        "deque_maxlen_text": call("collections:deque", [], "1"),
        "deque_of_text": call("collections:deque", "abc"),
        "deque_of_range": call("collections:deque", call("builtins:range", 0, 10**18, 1)),
        "deque_built": built("collections:deque", {"a": 1}),
        "ordered_dict_of_list": call("collections:OrderedDict", [[1, 2]]),
        "ordered_dict_of_range": call("collections:OrderedDict", call("builtins:range", 0, 10**18, 1)),
        "counter_of_range": call("collections:Counter", call("builtins:range", 0, 10**18, 1)),
        "counter_of_text": call("collections:Counter", "abc"),
        "defaultdict_two": call("collections:defaultdict", name("builtins:list"), {1: 2}),
        "list_of_range": call("builtins:list", call("builtins:range", 0, 10**18, 1)),
        "set_of_range": call("builtins:set", call("builtins:range", 0, 10**18, 1)),
        "frozenset_of_range": call("builtins:frozenset", call("builtins:range", 0, 10**18, 1)),
        "sum_of_range": call("builtins:sum", call("builtins:range", 0, 10**18, 1)),
        "range_step_0": call("builtins:range", 0, 1, 0),
        "range_of_float": call("builtins:range", 0, 1.5, 1),
        "range_of_2_70": call("builtins:range", 0, 2**70, 1),
        "slice_of_lists": call("builtins:slice", [], [1], [2]),
        "slice_of_slice": call("builtins:slice", call("builtins:slice", None, None, None), None, None),
        "slice_of_one": call("builtins:slice"),
        "slice_of_four": call("builtins:slice", 1, 2, 3, 4),
    }.items()


def values():
    digits = "1" * 200
    path = STDLIB + "rebuild_path"
    yield from {
        "complex_text": call("builtins:complex", "1+j"),
        "complex_of_lists": call("builtins:complex", [], []),
        "int_of_text": call("builtins:int", digits),
        "int_power": call("builtins:pow", 10, 10**9),
        "decimal_huge_exponent": call("decimal:Decimal", "1E+999999999999999999"),
        "decimal_exponent_over": call("decimal:Decimal", "1E+" + digits),
        "decimal_not_a_number": call("decimal:Decimal", "one"),
        "decimal_of_tuple": call("decimal:Decimal", (0, (1,) * 10, 10**17)),
        "decimal_list": call("decimal:Decimal", []),
        "decimal_signalling_as_key": {call("decimal:Decimal", "sNaN"): 1},
        "decimal_huge_as_key": {call("decimal:Decimal", "1E+999999999999"): 1, 5: 2},
        "fraction_of_0": call("fractions:Fraction", "1/0"),
        "fraction_huge_exponent": call("fractions:Fraction", "1e999999999"),
        "fraction_of_numbers": call("fractions:Fraction", 1, 0),
        "fraction_of_decimal": call("fractions:Fraction", call("decimal:Decimal", "1E+999999999")),
        "fraction_list": call("fractions:Fraction", []),
        "uuid_of_2_128": built("uuid:UUID", {"int": 2**128}),
        "uuid_negative": built("uuid:UUID", {"int": -1}),
        "uuid_text": built("uuid:UUID", {"int": "1"}),
        "uuid_other_state": built("uuid:UUID", {"int": 1, "__class__": 2}),
        "uuid_without_state": code(name("uuid:UUID"), put(()), pickle.NEWOBJ),
        "uuid_state_list": built("uuid:UUID", [1]),
        "uuid_called": call("uuid:UUID", "hex"),
        "path_nul": call(path, "PosixPath", "/tmp/\0x"),
        "path_number": call(path, "PosixPath", 5),
        "path_other_class": call(path, "Popen", "x"),
        "path_dunder": call(path, "__class__", "x"),
        "array_code_unknown": call(STDLIB + "rebuild_array", b"abc", "z", 1, ORDER),
        "array_code_long": call(STDLIB + "rebuild_array", b"abc", "bb", 1, ORDER),
        "array_code_empty": call(STDLIB + "rebuild_array", b"abc", "", 1, ORDER),
        "array_odd_length": call(STDLIB + "rebuild_array", b"abc", "i", 4, ORDER),
        "array_size_of_0": call(STDLIB + "rebuild_array", b"abcd", "i", 0, ORDER),
        "array_beyond_unicode": call(STDLIB + "rebuild_array", b"\xff" * 4, "u", 4, ORDER),
        "array_of_list": call(STDLIB + "rebuild_array", [1, 2], "b", 1, ORDER),
        "array_of_text": call(STDLIB + "rebuild_array", "ab", "b", 1, ORDER),
        "array_order": call(STDLIB + "rebuild_array", b"abcd", "i", 4, "middle"),
        "memoryview_shape": call(STDLIB + "rebuild_memoryview", BUFFER, "b", (2**40,), 1, ORDER),
        "memoryview_negative": call(STDLIB + "rebuild_memoryview", BUFFER, "b", (-3,), 1, ORDER),
        "memoryview_product": call(STDLIB + "rebuild_memoryview", BUFFER, "b", (2**32, 2**32, 3), 1, ORDER),
        "memoryview_code": call(STDLIB + "rebuild_memoryview", BUFFER, "O", (1,), 3, ORDER),
        "memoryview_axes": call(STDLIB + "rebuild_memoryview", BUFFER, "b", (1,) * 65, 1, ORDER),
        "memoryview_of_address": call("builtins:memoryview", 12345),
    }.items()


def array(*arguments, function=NUMPY + "rebuild_ndarray"):
    return call(function, BUFFER, *arguments)


def structured(formats, offsets, itemsize, base=None):
    names = [f"f{i}" for i in range(len(formats))]
    return call(DTYPES + "rebuild_structured_dtype", (names, formats, offsets, None), itemsize, False, base, None)


def arrays():
    """Yield arrays over other memory than the buffer is."""
    frombuffer = "numpy:frombuffer"
    yield from {
        "objects_over_bytes": array("|O", (1,)),
        "objects_over_bytes_frombuffer": array("|O", function=frombuffer),
        "objects_over_bytes_sized": array("O8", (1,)),
        "objects_over_bytes_in_fields": array(structured(["|O"], [0], 8), (1,)),
        "objects_over_bytes_in_nested_fields": array(structured([structured(["|O"], [0], 8)], [0], 8), (1,)),
        "objects_over_bytes_in_subarray": array(call(DTYPES + "rebuild_subarray_dtype", "|O", (1,), None), (1,)),
        "objects_over_bytes_by_text": array("i4,O", (1,)),
        "objects_over_bytes_strided": array("|O", (1,), (8,), 0),
        "objects_over_bytes_spaced": array("|O", 8, 8, function=NUMPY + "rebuild_spaced"),
        "objects_as_scalar": call(SCALARS + "rebuild_scalar", "|O", POINTER),
        "objects_as_void": call(SCALARS + "rebuild_void", structured(["|O"], [0], 8), POINTER),
        "strings_over_bytes": array(call(DTYPES + "rebuild_string_dtype", True), (1,)),
        "field_offset_of_2_40": array(structured(["<i8"], [2**40], 8), (1,)),
        "field_offset_negative": array(structured(["<i8"], [-(2**40)], 8), (1,)),
        "field_beyond_itemsize": array(structured(["<i8"], [4], 8), (1,)),
        "field_itemsize_of_2_31": array(structured(["<i8"], [0], 2**31), (1,)),
        "field_itemsize_negative": array(structured(["<i8"], [0], -8), (1,)),
        "field_itemsize_zero": array(structured([], [], 0), (2**40,)),
        "field_names_twice": array(
            call(DTYPES + "rebuild_structured_dtype", (["a", "a"], ["<i4"] * 2, [0, 4], None), 8, False, None, None),
            (1,),
        ),
        "field_base_is_object": array(structured(["<i8"], [0], 8, "|O"), (1,)),
        "field_base_is_name": array(structured(["<i8"], [0], 8, name("os:system")), (1,)),
        "subarray_of_2_31": array(call(DTYPES + "rebuild_subarray_dtype", "<i8", (2**31 - 1,), None), (1,)),
        "subarray_by_text": array("(2147483647,)i8", (1,)),
        "dtype_by_commas": array("i4,i4", (1,)),
        "dtype_of_letters": array("M8[1000000000000000000000s]", (1,)),
        "dtype_of_2_31": array("|S2147483647", (1,)),
        "dtype_of_zero_bytes": array("|V0", (2**62,)),
        "dtype_unknown": array("<x9", (1,)),
        "dtype_number": array(5, (1,)),
        "dtype_none": array(None, (1,)),
        "dtype_tuple": array(("<i4", [("a", "<i4")]), (1,)),
        "dtype_name": array(name("builtins:object"), (1,)),
        "shape_too_large": array("<i8", (1000,)),
        "shape_too_small": array("|u1", (1,)),
        "shape_of_2_62": array("|u1", (2**62,)),
        "shape_wraps_to_0": array("|u1", (2**32, 2**32)),
        "shape_wraps_to_8": array("|u1", (2**61 + 1, 8)),
        "shape_negative": array("|u1", (-8,)),
        "shape_guessed": array("|u1", (-1,)),
        "shape_twice_negative": array("|u1", (-2, -4)),
        "shape_bool": array("<i8", (True,)),
        "shape_float": array("<i8", (1.0,)),
        "shape_list": array("<i8", [1]),
        "shape_none": array("<i8", None),
        "shape_of_65_axes": array("<i8", (1,) * 65),
        "shape_of_2_70": array("|u1", (2**70,)),
        "strides_beyond": array("|u1", (2,), (1000,), 0),
        "strides_negative": array("|u1", (2,), (-1,), 0),
        "strides_of_2_62": array("|u1", (2, 2), (2**62, -(2**62) + 6), 0),
        "strides_wrap": array("|u1", (3,), (2**63 - 1,), 0),
        "strides_short": array("|u1", (2, 4), (1,), 0),
        "strides_float": array("|u1", (2,), (1.0,), 0),
        "offset_of_2_40": array("|u1", (8,), (1,), 2**40),
        "offset_negative": array("|u1", (8,), (1,), -1),
        "offset_end": array("|u1", (8,), (1,), 1),
        "spaced_step_0": array("|u1", 4, 0, function=NUMPY + "rebuild_spaced"),
        "spaced_step_of_2_62": array("|u1", 2, 2**62, function=NUMPY + "rebuild_spaced"),
        "spaced_step_negative": array("|u1", 4, -2, function=NUMPY + "rebuild_spaced"),
        "spaced_beyond": array("<u2", 4, 1000, function=NUMPY + "rebuild_spaced"),
        "spaced_nbytes_negative": array("|u1", -4, 2, function=NUMPY + "rebuild_spaced"),
        "frombuffer_odd": array("<i4", 1, 7, function=frombuffer),
        "frombuffer_count": array("<i4", -1, function=frombuffer),
        "array_of_text": call(NUMPY + "rebuild_ndarray", "abcdefgh", "<i8", (1,)),
        "array_of_array": call(NUMPY + "rebuild_ndarray", array("<i8", (1,)), "<i8", (1,)),
        "text_beyond_unicode": call(NUMPY + "rebuild_ndarray", b"\xff\xff\xff\x7f" * 2, "<U2", (1,)),
        "text_beyond_unicode_in_field": call(
            NUMPY + "rebuild_ndarray", b"\xff\xff\xff\x7f" * 2, structured(["<U2"], [0], 8), (1,)
        ),
        "text_beyond_unicode_swapped": call(NUMPY + "rebuild_ndarray", b"\x7f\xff\xff\xff" * 2, ">U2", (1,)),
        "truth_of_7": call(NUMPY + "rebuild_ndarray", b"\x07\xff", "|b1", (2,)),
        "expanded_by_strides_0": call(NUMPY + "rebuild_ndarray", b"abcdefgh", "<i8", (2**40,), (0,), 0),
        "expanded_by_broadcast": call(
            NUMPY + "rebuild_broadcast", call(NUMPY + "rebuild_ndarray", b"abcdefgh", "<i8", (1,)), (2**40,)
        ),
        "broadcast_to_other": call(
            NUMPY + "rebuild_broadcast", call(NUMPY + "rebuild_ndarray", bytes(16), "<i8", (2,)), (3,)
        ),
        "broadcast_negative": call(
            NUMPY + "rebuild_broadcast", call(NUMPY + "rebuild_ndarray", bytes(8), "<i8", (1,)), (-1,)
        ),
        "broadcast_of_list": call(NUMPY + "rebuild_broadcast", [1], (2**40,)),
    }.items()


def objects(count, order, state):
    return set_state(call(NUMPY + "rebuild_blank", "|O", (count,), order), NUMPY + "set_objects", state)


def makers():
    """Yield arrays and scalars that are made from nothing, from objects, or from a state."""
    blank, empty = NUMPY + "rebuild_blank", NUMPY + "rebuild_empty"
    one = call(NUMPY + "rebuild_ndarray", bytes(8), "<i8", (1,))
    masked = call(NUMPY + "rebuild_view", "MaskedArray", one)
    strings = call(DTYPES + "rebuild_string_dtype", True)
    lengths = call("numpy:frombuffer", struct.pack("<Q", 2**62), "<u8")
    below = call("numpy:frombuffer", struct.pack("<q", -1), "<i8")
    yield from {
        "blank_of_2_40": call(blank, "<f8", (2**40,), [0]),
        "blank_of_2_40_objects": call(blank, "|O", (2**40,), [0]),
        "blank_wraps": call(blank, "|O", (2**32, 2**32), [0, 1]),
        "blank_long_elements": call(blank, "|S2000000000", (100,), [0]),
        "blank_negative": call(blank, "|O", (-1,), [0]),
        "blank_order_beyond": call(blank, "|O", (1,), [5]),
        "blank_order_twice": call(blank, "|O", (1, 2), [0, 0]),
        "blank_order_text": call(blank, "|O", (1,), "0"),
        "blank_order_short": call(blank, "|O", (1, 2), [0]),
        "empty_of_2_62": call(empty, "<f8", (0, 2**62, 2**62), True),
        "empty_not_empty": call(empty, "<f8", (2**40,), True),
        "empty_of_pointers": call(empty, "|O", (10,), True),
        "empty_of_text": call(empty, "<f8", (0,), "yes"),
        "objects_missing": objects(3, [0], ([1], True)),
        "objects_surplus": objects(1, [0], ([1, 2, 3], True)),
        "objects_text": objects(3, [0], ("abc", True)),
        "objects_into_numbers": set_state(one, NUMPY + "set_objects", (["x"], True)),
        "objects_into_list": set_state([], NUMPY + "set_objects", ([], True)),
        "objects_state_none": objects(1, [0], None),
        "objects_made_writable": set_state(
            call("numpy:frombuffer", b"abcdefgh", "|u1"), NUMPY + "set_objects", ([1] * 8, True)
        ),
        "fields_of_others": set_state(one, NUMPY + "set_fields", ([one], True)),
        "view_class_private": call(NUMPY + "rebuild_view", "__class__", one),
        "view_class_other": call(NUMPY + "rebuild_view", "memmap.__init__.__globals__", one),
        "view_class_name": call(NUMPY + "rebuild_view", name("os:system"), one),
        "view_of_list": call(NUMPY + "rebuild_view", "matrix", [1]),
        "masked_by_other_shape": set_state(
            masked,
            MASKED + "set_masked",
            (call("numpy:frombuffer", bytes(5), "|b1"), None, False, False, False, {}, {}),
        ),
        "masked_by_list": set_state(masked, MASKED + "set_masked", ([1], None, False, False, False, {}, {})),
        "masked_attributes": set_state(
            masked, MASKED + "set_masked", (None, None, False, False, False, {}, {"__class__": 1})
        ),
        "masked_array_is_list": set_state([], MASKED + "set_masked", (None, None, False, False, False, {}, {})),
        "masked_attributes_hide_methods": set_state(
            masked, "oobcodec.reducers.attributes:set_attributes", {"_mask": 5, "filled": 6}
        ),
        "strings_lengths_of_2_62": call(NUMPY + "rebuild_strings", b"abc", lengths, None, strings, ((1,), [0], True)),
        "strings_lengths_negative": call(NUMPY + "rebuild_strings", b"abc", below, None, strings, ((1,), [0], True)),
        "strings_shape": call(NUMPY + "rebuild_strings", b"", lengths, None, strings, ((2**40,), [0], True)),
        "strings_invalid": call(
            *(NUMPY + "rebuild_strings", b"\xff\xfe\xff"),
            *(call("numpy:frombuffer", b"\x03", "|u1"), None, strings, ((1,), [0], True)),
        ),
        "scalar_short": call(SCALARS + "rebuild_scalar", "<f8", b"abc"),
        "scalar_long": call(SCALARS + "rebuild_scalar", "<f8", bytes(800)),
        "scalar_nothing": call(SCALARS + "rebuild_scalar", "<f8", b""),
        "scalar_beyond_unicode": call(SCALARS + "rebuild_scalar", "<U1", b"\xff\xff\xff\x7f"),
        "dtype_metadata_list": call(DTYPES + "rebuild_dtype", "<f8", [1]),
        "dtype_custom_of_name": call(DTYPES + "rebuild_custom_dtype", name("os:system"), None),
        "dtype_custom_of_text": call(DTYPES + "rebuild_custom_dtype", "|O", None),
        "dtype_mantissa": call(DTYPES + "rebuild_extended_dtype", "<f16", -1),
        "dtype_built": code(
            put(call(DTYPES + "rebuild_dtype", "<f8")), put((3, "<", None, None, None, -1, -1, 0)), pickle.BUILD
        ),
        "dtype_built_objects": code(
            *(put(structured(["<i8"], [0], 8)), pickle.MEMOIZE, pickle.POP, get(0)),
            *(put((3, "|", None, ("a",), {"a": ("|O", 0)}, 8, 1, 0)), pickle.BUILD),
        ),
    }.items()


def python():
    for group in (calendar, containers, values):
        for key, program in group():
            yield key, with_buffers(put(program), POINTER)


def numpy():
    for group in (arrays, makers):
        for key, program in group():
            yield key, with_buffers(put(program), POINTER)
