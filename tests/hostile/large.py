"""Hostile messages that are too large for a file of the repository, made when they are needed."""
# ruff: noqa: FBT003  # truth values are arguments in messages, by position

import pickle
import struct

from hostile.assembler import BUFFER, MARK, call, code, forwarded, get, message, name, put, whole
from hostile.data import NUMPY, ORDER, SCALARS, STDLIB, objects
from hostile.headers import STREAM, Separate
from hostile.libraries import ARRAYS, PANDAS, array, string_dtype
from hostile.streams import raw
from hostile.tensors import STORAGES

MODULUS = 2**61 - 1
COLLIDING = [MODULUS * i for i in range(1, 50_001)]
"""Integers with one hash: a set of n of them takes n**2 comparisons."""
DEEP = 1_000_000


def keys(items):
    return raw(put({}), MARK, *[put(item) + pickle.NONE for item in items], pickle.SETITEMS)


def members(items):
    return raw(put(set()), MARK, *map(put, items), pickle.ADDITEMS)


def collisions():
    few = COLLIDING[:20_000]
    imaginary = [call("builtins:complex", float(-1_000_003 * i), float(i)) for i in range(1, 5000)]
    spans = [call("datetime:timedelta", 0, 0, 0)] * 1000
    yield from {
        "keys_colliding": keys(COLLIDING),
        "members_colliding": members(COLLIDING),
        "frozen_members_colliding": raw(MARK, *map(put, COLLIDING), pickle.FROZENSET),
        "keys_colliding_one_by_one": raw(put({}), *[put(i) + pickle.NONE + pickle.SETITEM for i in few]),
        "keys_colliding_in_tuples": keys([(i,) for i in few]),
        "keys_colliding_in_nested_tuples": keys([((i, 1), 2) for i in few]),
        "keys_colliding_in_frozensets": keys([frozenset([i]) for i in few]),
        "keys_colliding_negative": keys([-i for i in few]),
        "keys_colliding_floats": keys([2.0 ** (61 * i) for i in range(-17, 17)] * 500),
        "keys_colliding_complex": keys(imaginary),
        "keys_colliding_decimals": keys([call("decimal:Decimal", str(i)) for i in few[:5000]]),
        "keys_colliding_fractions": keys([call("fractions:Fraction", f"{i}/1") for i in few[:5000]]),
        "keys_colliding_uuids": keys([code(call_new("uuid:UUID"), put({"int": i}), pickle.BUILD) for i in few[:5000]]),
        "keys_colliding_ranges": keys([call("builtins:range", i, i + 1, 1) for i in range(5000)]),
        "numpy_keys_colliding_scalars": keys(
            [call(SCALARS + "rebuild_scalar", "<u8", struct.pack("<Q", MODULUS * i % 2**64)) for i in range(8)] * 600
        ),
        "keys_of_equal_spans": keys(spans),
        "keys_colliding_in_counter": raw(
            call("collections:Counter", {}), MARK, *[put(i) + put(1) for i in few], pickle.SETITEMS
        ),
        "keys_colliding_in_ordered_dict": raw(
            call("collections:OrderedDict"), MARK, *[put(i) + pickle.NONE for i in few], pickle.SETITEMS
        ),
        "keys_colliding_in_defaultdict": raw(
            call("collections:defaultdict"), MARK, *[put(i) + pickle.NONE for i in few], pickle.SETITEMS
        ),
        "keys_colliding_within_counter_argument": raw(
            call("collections:Counter", code(put({}), MARK, *[put(i) + put(1) for i in few], pickle.SETITEMS))
        ),
        "pandas_categories_colliding": message(categorical(few)),
        "pandas_level_colliding": message(level(few)),
    }.items()


def call_new(cls):
    return code(name(cls), put(()), pickle.NEWOBJ)


def labels(items):
    made = objects(len(items), [0], (items, True))
    return call(PANDAS + "rebuild_index", "Index", made, None)


def categorical(items):
    codes = call("numpy:frombuffer", bytearray(b"\0"), "|i1")
    return call(ARRAYS + "rebuild_categorical", codes, call(ARRAYS + "rebuild_categories", labels(items), False))


def level(items):
    codes = call("numpy:frombuffer", bytearray(b"\0"), "|i1")
    return call(PANDAS + "rebuild_multi_index", (labels(items),), (codes,), None, (None,))


def depth():
    deep = code(put(()), pickle.TUPLE1 * DEEP)
    frames = message(1)
    for _ in range(200):
        piece, inner = forwarded(frames)
        frames = message(piece, buffers=inner)
    yield from {
        "tuple_of_a_million": raw(deep),
        "tuple_of_a_million_as_key": raw(put({}), deep, put(1), pickle.SETITEM),
        "tuple_of_a_million_as_member": raw(put(set()), MARK, deep, pickle.ADDITEMS),
        "numpy_tuple_of_a_million_as_argument": raw(call(NUMPY + "rebuild_empty", deep, (0,), True)),
        "list_of_a_million": raw(pickle.EMPTY_LIST * DEEP, pickle.APPEND * (DEEP - 1)),
        "list_of_a_million_by_memo": raw(
            *(pickle.EMPTY_LIST, pickle.MEMOIZE),
            *[code(pickle.EMPTY_LIST, pickle.MEMOIZE, long_get(i), pickle.APPEND) for i in range(100_000)],
        ),
        "frozensets_of_a_million": raw(MARK * DEEP, pickle.FROZENSET * DEEP),
        "marks_of_a_million": raw(MARK * DEEP, pickle.TUPLE * DEEP),
        "messages_200_deep": frames,
    }.items()


def long_get(index):
    return pickle.LONG_BINGET + struct.pack("<I", index)


def amounts():
    frames = 65_536
    yield from {
        "frames_65537": whole(["pickle", None, [len(STREAM)] * frames, frames, None, None, []], *[STREAM] * frames),
        "operations_of_2_million": raw(put([]), MARK, pickle.NONE * 2_000_000, pickle.APPENDS),
        "pops_of_2_million": raw(*[pickle.NONE + pickle.POP] * 1_000_000, put(1)),
        "memo_of_2_million": raw(put([]), pickle.MEMOIZE * 2_000_000),
        "buffers_of_a_hundred_thousand": message([BUFFER] * 100_000),
        "decimal_of_a_million_digits": message(call("decimal:Decimal", "7" * 1_000_000)),
        "fraction_of_a_million_digits": message(call("fractions:Fraction", "7" * 1_000_000)),
        "integer_of_a_megabyte": message(1 << (8 << 20)),
        "name_of_a_megabyte": message(call("a" * 1_000_000 + ":" + "b" * 1_000_000)),
        "tag_of_a_megabyte": whole(["a" * 1_000_000, None, [], 0, None, None, []]),
        "header_nested_a_million_deep": whole(b"\x91" * 1_000_000, STREAM),
        "places_of_a_hundred_thousand": places(100_000),
        "meta_of_a_million": whole(["tests.whole", [0] * 1_000_000, [], 0, None, None, []]),
        "numpy_zeros_of_a_hundred_megabytes": code_zeros(),
        "places_share_a_frame": shared(60_000),
    }.items()


def places(count):
    lengths = [len(STREAM), 1]
    return whole(["pickle", None, lengths, 1, None, None, [[2, 0, 1, True]] * count], STREAM, b"a")


def shared(count):
    """Return a message with many buffers in one frame, each of which becomes an array of its own."""
    made = [call("oobcodec.reducers.stdlib:rebuild_array", BUFFER, "b", 1, "little")] * count
    stream = b"".join([b"\x80\x05", put(made), pickle.STOP])
    lengths, frame = [len(stream), 1 << 20], bytes(1 << 20)
    return whole(["pickle", None, lengths, 1, None, None, [[2, 0, len(frame), True]] * count], stream, frame)


def code_zeros():
    return message([call(NUMPY + "rebuild_blank", "<f8", (1 << 27,), [0])] * 8)


def again(piece, function, *arguments, count=20_000, buffers=()):
    """Return a message that gives one large thing to a function, again and again."""
    one = code(put([]), put(piece), pickle.MEMOIZE, pickle.APPEND)
    calls = [call(function, get(0), *arguments)] * count
    return raw(one, MARK, *calls, pickle.APPENDS, buffers=buffers)


def laughs(levels, times):
    """Return a message that holds another one many times, which holds another one many times..."""
    frames = message(1)
    for _ in range(levels):
        taken = code(put([]), *[code(BUFFER, pickle.MEMOIZE, pickle.APPEND) for _ in frames])
        opened = call("oobcodec.encoded:rebuild_encoded", *map(get, range(len(frames))))
        frames = message(code(taken, MARK, *[opened] * times, pickle.APPENDS), buffers=frames)
    return frames


def repetitions():
    """Yield messages in which little is said often: each call is cheap, and all of them are not."""
    size = 1 << 18
    text = b"a\0" * (size // 2)
    many = code(put([]), MARK, *[pickle.NONE] * 100_000, pickle.APPENDS)
    pairs = code(put({}), MARK, *[put(i) + put(1) for i in range(50_000)], pickle.SETITEMS)
    missing = call(STDLIB + "rebuild_array", b"", "Q", 8, ORDER)
    offsets = struct.pack("=2i", 0, size)
    yield from {
        "message_of_laughs": laughs(10, 10),
        "buffer_as_array_again": again(BUFFER, STDLIB + "rebuild_array", "b", 1, ORDER, buffers=[bytes(size)]),
        "buffer_as_text_array_again": again(BUFFER, STDLIB + "rebuild_array", "u", 2, ORDER, buffers=[bytes(size)]),
        "torch_buffer_as_storage_again": again(BUFFER, STORAGES + "rebuild_storage", buffers=[bytes(size)]),
        "pandas_buffer_as_strings_again": again(
            BUFFER, ARRAYS + "rebuild_strings", missing, string_dtype("python"), count=2000, buffers=[text]
        ),
        "arrow_buffer_as_arrow_again": raw(
            *(put([]), BUFFER, pickle.MEMOIZE, pickle.APPEND, MARK),
            *[array("string", 1, (None, offsets, get(0)))] * 5000,
            *(pickle.APPENDS,),
            buffers=["é".encode() * (size // 2)],
        ),
        "numpy_buffer_as_unicode_again": again(
            BUFFER, NUMPY + "rebuild_ndarray", "<U1", (size // 4,), buffers=[bytes(size)]
        ),
        "text_as_decimal_again": again("7" * size, "decimal:Decimal", count=5000),
        "text_as_fraction_again": again("7" * 4000, "fractions:Fraction"),
        "list_as_deque_again": again(many, "collections:deque", None),
        "dict_as_counter_again": again(pairs, "collections:Counter"),
        "dict_as_ordered_again": again(pairs, "collections:OrderedDict"),
    }.items()


def messages():
    for group in (collisions, depth, amounts, repetitions):
        for key, frames in group():
            yield key, Separate(frames)
