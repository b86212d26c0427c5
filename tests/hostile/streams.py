"""Hostile pickle streams: opcodes that no pickler of ours writes, and programs that make no sense."""
# ruff: noqa: FBT003  # truth values are arguments in messages, by position

import pickle
import struct

from helpers import pickled

from hostile.assembler import (
    BUFFER,
    MARK,
    Code,
    call,
    code,
    doubled,
    get,
    message,
    name,
    octets,
    program,
    put,
    string,
    unframed,
)

GADGET = ("os:system", "touch oobcodec-was-here")
DATE = ("datetime:date", b"\x07\xea\x01\x01")


def u32(number):
    return struct.pack("<I", number)


def u64(number):
    return struct.pack("<Q", number)


def raw(*pieces, buffers=()):
    """Return a message whose stream is just these pieces, in a frame of pickle's."""
    return pickled(program(Code(b"".join(pieces))), list(buffers))


def bare(*pieces):
    """Return a message whose stream is these pieces and nothing else."""
    return pickled(b"".join(pieces))


def opcodes():
    """Yield the opcodes that are not of protocol 5, or that only a subclass of a pickler writes."""
    text = b"1\n"
    yield from {
        "ext1": raw(pickle.EXT1, b"\xf0"),
        "ext2": raw(pickle.EXT2, b"\xf0\x00"),
        "ext4": raw(pickle.EXT4, u32(240)),
        "ext1_cached": raw(pickle.EXT1, b"\xf1"),
        "ext1_call": raw(pickle.EXT1, b"\xf0", put((GADGET[1],)), pickle.REDUCE),
        "persid": raw(pickle.PERSID, b"0\n"),
        "binpersid": raw(string("0"), pickle.BINPERSID),
        "inst": raw(MARK, string(GADGET[1]), pickle.INST, b"os\nsystem\n"),
        "obj": raw(MARK, name("os:system"), string(GADGET[1]), pickle.OBJ),
        "obj_allowed": raw(MARK, name(DATE[0]), octets(DATE[1]), pickle.OBJ),
        "global": raw(pickle.GLOBAL, b"os\nsystem\n", put((GADGET[1],)), pickle.REDUCE),
        "global_allowed": raw(pickle.GLOBAL, b"datetime\ndate\n", put((DATE[1],)), pickle.REDUCE),
        "text_int": raw(pickle.INT, text),
        "text_bool": raw(pickle.INT, b"01\n"),
        "text_long": raw(pickle.LONG, b"1L\n"),
        "text_float": raw(pickle.FLOAT, text),
        "text_string": raw(pickle.STRING, b"'a'\n"),
        "text_unicode": raw(pickle.UNICODE, b"a\n"),
        "text_get": raw(put([]), pickle.MEMOIZE, pickle.GET, b"0\n"),
        "text_put": raw(put([]), pickle.PUT, b"0\n"),
        "binput": raw(put([]), pickle.BINPUT, b"\x00"),
        "long_binput": raw(put([]), pickle.LONG_BINPUT, u32(0)),
        "long_binput_huge": raw(put([]), pickle.LONG_BINPUT, u32(0x3FFFFFFF)),
        "long_binput_last": raw(put([]), pickle.LONG_BINPUT, u32(0xFFFFFFFF)),
        "binstring": raw(pickle.BINSTRING, u32(1), b"a"),
        "short_binstring": raw(pickle.SHORT_BINSTRING, b"\x01a"),
        "list_of_mark": raw(MARK, pickle.LIST),
        "dict_of_mark": raw(MARK, pickle.DICT),
        "dup": raw(put([]), pickle.DUP, pickle.TUPLE2),
        "pop_mark": raw(put(1), MARK, put(2), pickle.POP_MARK),
        "opcode_zero": raw(b"\x00"),
        "opcode_unknown": raw(b"\xff"),
    }.items()


def frames_of_pickle():
    """Yield streams whose protocol, frames or end are not as a pickler leaves them."""
    one = put(1)
    whole = program(1)
    yield from {
        "proto_missing": bare(one, pickle.STOP),
        "proto_0": pickled(b"I1\n."),
        "proto_2": pickled(unframed(1, proto=2)),
        "proto_4": pickled(program(1, proto=4)),
        "proto_6": pickled(program(1, proto=6)),
        "proto_255": pickled(program(1, proto=255)),
        "proto_twice": raw(pickle.PROTO, b"\x05", one),
        "stream_empty": bare(),
        "stream_proto_only": bare(pickle.PROTO, b"\x05"),
        "stop_alone": bare(pickle.PROTO, b"\x05", pickle.STOP),
        "stop_missing": pickled(program(1, stop=b"")),
        "stop_over_two": raw(one, one),
        "stop_over_mark": raw(one, MARK),
        "stop_over_mark_alone": raw(MARK),
        "trailing_in_frame": pickled(program(1, stop=pickle.STOP + b"more")),
        "trailing_behind_frame": pickled(whole + b"more"),
        "trailing_stop": pickled(whole + pickle.STOP),
        "trailing_program": pickled(whole + program(call(*GADGET))),
        "frame_beyond_end": bare(b"\x80\x05", pickle.FRAME, u64(1000), one, pickle.STOP),
        "frame_of_2_63": bare(b"\x80\x05", pickle.FRAME, u64(2**63), one, pickle.STOP),
        "frame_of_2_64": bare(b"\x80\x05", pickle.FRAME, u64(2**64 - 1), one, pickle.STOP),
        "frame_short": bare(b"\x80\x05", pickle.FRAME, u64(1), one, pickle.STOP),
        "frame_in_frame": raw(pickle.FRAME, u64(2), one),
        "frame_cut": bare(b"\x80\x05", pickle.FRAME, b"\x00\x00"),
    }.items()


def arguments_of_opcodes():
    """Yield opcodes whose arguments lie about what follows."""
    yield from {
        "short_bytes_beyond_end": raw(pickle.SHORT_BINBYTES, b"\xffabc"),
        "bytes_beyond_end": raw(pickle.BINBYTES, u32(2**32 - 1), b"abc"),
        "bytes8_of_2_62": raw(pickle.BINBYTES8, u64(2**62), b"abc"),
        "bytes8_of_2_64": raw(pickle.BINBYTES8, u64(2**64 - 1), b"abc"),
        "bytearray8_of_2_40": raw(pickle.BYTEARRAY8, u64(2**40), b"abc"),
        "bytearray8_of_2_63": raw(pickle.BYTEARRAY8, u64(2**63), b"abc"),
        "text_beyond_end": raw(pickle.BINUNICODE, u32(2**31), b"abc"),
        "text8_of_2_63": raw(pickle.BINUNICODE8, u64(2**63), b"abc"),
        "text_invalid": raw(string(b"\xff\xfe")),
        "text_invalid_cut": raw(string(b"a\xe2\x82")),
        "text_overlong": raw(string(b"\xc0\xaf")),
        "text_beyond_unicode": raw(string(b"\xf5\x80\x80\x80")),
        "text_surrogate": message("a\udc80b"),
        "long1_beyond_end": raw(pickle.LONG1, b"\xff\x01"),
        "long4_negative": raw(pickle.LONG4, struct.pack("<i", -1)),
        "long4_of_2_31": raw(pickle.LONG4, struct.pack("<i", 2**31 - 1), b"abc"),
        "float_cut": bare(b"\x80\x05", pickle.BINFLOAT, b"\x00\x00"),
        "get_absent": raw(get(0)),
        "get_ahead": raw(put([]), pickle.MEMOIZE, get(1), pickle.POP),
        "long_get_absent": raw(pickle.LONG_BINGET, u32(2**31)),
        "long_get_last": raw(pickle.LONG_BINGET, u32(2**32 - 1)),
        "memoize_nothing": raw(pickle.MEMOIZE, put(1)),
        "memoize_mark": raw(MARK, pickle.MEMOIZE, pickle.TUPLE),
    }.items()


def stack():
    """Yield programs that take what is not there, or what is not theirs."""
    yield from {
        "underflow_append": raw(put([]), pickle.APPEND),
        "underflow_pop": raw(pickle.POP),
        "underflow_tuple1": raw(pickle.TUPLE1),
        "underflow_tuple2": raw(put(1), pickle.TUPLE2),
        "underflow_tuple3": raw(put(1), put(1), pickle.TUPLE3),
        "underflow_reduce": raw(put(()), pickle.REDUCE),
        "underflow_build": raw(put({}), pickle.BUILD),
        "underflow_global": raw(string("os"), pickle.STACK_GLOBAL),
        "underflow_setitem": raw(put({}), put(1), pickle.SETITEM),
        "underflow_newobj": raw(put(()), pickle.NEWOBJ),
        "mark_absent_tuple": raw(put(1), pickle.TUPLE),
        "mark_absent_appends": raw(put([]), put(1), pickle.APPENDS),
        "mark_absent_setitems": raw(put({}), pickle.SETITEMS),
        "mark_absent_additems": raw(put(set()), pickle.ADDITEMS),
        "mark_absent_frozenset": raw(pickle.FROZENSET),
        "mark_taken_by_tuple2": raw(put(1), MARK, put(2), pickle.TUPLE2),
        "mark_taken_by_append": raw(put([]), MARK, put(1), pickle.APPEND),
        "mark_taken_by_reduce": raw(name(DATE[0]), MARK, put(()), pickle.REDUCE),
        "mark_under_appends": raw(MARK, put(1), pickle.APPENDS),
        "mark_popped": raw(put(1), MARK, pickle.POP),
        "mark_within_global": raw(string("os"), MARK, string("system"), pickle.STACK_GLOBAL),
        "append_to_tuple": raw(put(()), put(1), pickle.APPEND),
        "append_to_dict": raw(put({}), put(1), pickle.APPEND),
        "append_to_bytearray": raw(put(bytearray(b"a")), put(1), pickle.APPEND),
        "append_to_date": raw(call(*DATE), put(1), pickle.APPEND),
        "appends_to_set": raw(put(set()), MARK, put(1), pickle.APPENDS),
        "additems_to_list": raw(put([]), MARK, put(1), pickle.ADDITEMS),
        "setitem_of_list": raw(put([1]), put(0), put(2), pickle.SETITEM),
        "setitem_of_date": raw(call(*DATE), put(0), put(2), pickle.SETITEM),
        "setitems_odd": raw(put({}), MARK, put(1), pickle.SETITEMS),
        "key_unhashable": raw(put({}), put([]), put(1), pickle.SETITEM),
        "member_unhashable": raw(put(set()), MARK, put([]), pickle.ADDITEMS),
        "member_unhashable_frozen": raw(MARK, put({}), pickle.FROZENSET),
    }.items()


def calls():
    """Yield calls of what is not to be called, or not in that way."""
    newobj = pickle.NEWOBJ
    array = call("numpy:frombuffer", BUFFER, "|u1")
    yield from {
        "reduce_list": raw(call(put([]), 1)),
        "reduce_text": raw(call(string("os.system"), GADGET[1])),
        "reduce_int": raw(call(put(1))),
        "reduce_result": raw(call(call(*DATE))),
        "reduce_result_of_data": raw(call(put((name(DATE[0]),)), DATE[1])),
        "reduce_arguments_list": raw(name(DATE[0]), put([DATE[1]]), pickle.REDUCE),
        "reduce_arguments_text": raw(name(DATE[0]), string("ab"), pickle.REDUCE),
        "reduce_arguments_dict": raw(name(DATE[0]), put({}), pickle.REDUCE),
        "reduce_arguments_missing": raw(call(DATE[0])),
        "reduce_arguments_surplus": raw(call("oobcodec.reducers.numpy:rebuild_empty", *range(12))),
        "newobj_of_function": raw(name("oobcodec.reducers.numpy:rebuild_empty"), put(("|u1", (0,), True)), newobj),
        "newobj_of_list": raw(name("builtins:list"), put(()), newobj),
        "newobj_of_data": raw(put([]), put(()), newobj),
        "newobj_of_unknown": raw(name("subprocess:Popen"), put((["touch", "oobcodec-was-here"],)), newobj),
        "newobj_ex": raw(name("uuid:UUID"), put(()), put({"int": 1}), pickle.NEWOBJ_EX),
        "newobj_ex_of_unknown": raw(name("subprocess:Popen"), put(()), put({"args": ["id"]}), pickle.NEWOBJ_EX),
        "build_on_function": raw(name("numpy:frombuffer"), put({"__doc__": "x"}), pickle.BUILD),
        "build_on_class": raw(name("uuid:UUID"), put({"int": 1}), pickle.BUILD),
        "build_on_list": raw(put([]), put({"a": 1}), pickle.BUILD),
        "build_on_dict": raw(put({}), put({"a": 1}), pickle.BUILD),
        "build_on_none": raw(put(None), put({"a": 1}), pickle.BUILD),
        "build_on_date": raw(call(*DATE), put({"a": 1}), pickle.BUILD),
        "build_on_array": raw(array, put((1, (2**40,), "|u1", False, b"")), pickle.BUILD, buffers=[b"abc"]),
        "build_slots": raw(call(*DATE), put((None, {"__class__": 1})), pickle.BUILD),
        "append_to_array": raw(array, put(1), pickle.APPEND, buffers=[b"abc"]),
        "setitem_of_array": raw(array, put(0), put(1), pickle.SETITEM, buffers=[b"abc"]),
    }.items()


def buffers():
    """Yield streams that take other buffers than the message has."""
    yield from {
        "buffer_missing": message(BUFFER),
        "buffer_missing_second": message([BUFFER, BUFFER], buffers=[b"abc"]),
        "buffer_surplus": message(1, buffers=[b"abc"]),
        "buffer_surplus_second": message(BUFFER, buffers=[b"abc", b"def"]),
        "buffer_alone": message(BUFFER, buffers=[b"abc"]),
        "readonly_on_nothing": raw(pickle.READONLY_BUFFER),
        "readonly_on_list": raw(put([]), pickle.READONLY_BUFFER),
        "readonly_on_text": raw(put("abc"), pickle.READONLY_BUFFER),
        "readonly_on_mark": raw(MARK, pickle.READONLY_BUFFER),
        "readonly_on_array": raw(call("numpy:frombuffer", BUFFER, "|u1"), pickle.READONLY_BUFFER, buffers=[b"abc"]),
        "buffer_as_key": message({BUFFER: 1}, buffers=[b"abc"]),
    }.items()


def complexity():
    """Yield short streams that take long, or a deep stack."""
    levels = 64
    yield from {
        "key_of_doubled_tuples": raw(put({}), doubled(levels), put(1), pickle.SETITEM),
        "member_of_doubled_tuples": raw(put(set()), MARK, doubled(levels), pickle.ADDITEMS),
        "frozen_member_of_doubled_tuples": raw(MARK, doubled(levels), pickle.FROZENSET),
        "argument_of_doubled_tuples": raw(call("oobcodec.reducers.numpy:rebuild_empty", doubled(levels), (0,), True)),
        "shape_of_doubled_tuples": raw(
            call("oobcodec.reducers.numpy:rebuild_ndarray", BUFFER, "|u1", doubled(levels)), buffers=[b"abc"]
        ),
        "date_of_doubled_tuples": raw(call(DATE[0], doubled(levels))),
        "key_in_itself": raw(
            *(put([]), pickle.MEMOIZE, get(0), pickle.TUPLE1, pickle.MEMOIZE, pickle.POP),
            *(get(0), get(1), pickle.APPEND, pickle.POP, put({}), get(1), put(1), pickle.SETITEM),
        ),
        "lists_200_deep": raw(*[pickle.EMPTY_LIST] * 200, *[pickle.APPEND] * 199),
        "tuples_1000_deep": raw(put(()), *[pickle.TUPLE1] * 1000),
        "marks_2000_deep": raw(*[MARK] * 2000, *[pickle.TUPLE] * 2000),
        "dicts_200_deep": raw(*[code(pickle.EMPTY_DICT, put(1))] * 200, put(1), *[pickle.SETITEM] * 200),
        "frozen_sets_200_deep": raw(*[MARK] * 200, *[pickle.FROZENSET] * 200),
        "calls_200_deep": raw(*[code(name("fractions:Fraction"), MARK)] * 200, *[pickle.TUPLE + pickle.REDUCE] * 200),
    }.items()


def legitimate():
    """Yield what looks strange, and is data."""
    yield from {
        "list_in_itself": raw(put([]), pickle.MEMOIZE, get(0), pickle.APPEND),
        "dict_in_itself": raw(put({}), pickle.MEMOIZE, put("me"), get(0), pickle.SETITEM),
        "keys_twice": raw(put({}), MARK, put(1), put("a"), put(1), put("b"), pickle.SETITEMS),
        "nan_as_key": message({float("nan"): 1}),
        "integer_of_a_thousand_bytes": message(1 << 7999),
        "truth_and_one": message([True, 1, 1.0]),
    }.items()


def messages():
    for group in (
        *(opcodes, frames_of_pickle, arguments_of_opcodes, stack),
        *(calls, buffers, complexity, legitimate),
    ):
        yield from group()
