"""Writes pickle streams and messages by hand, made without oobcodec and without a pickler."""

import pickle
import pickletools
import struct

from helpers import first_frame, pickled

FLOAT = ">d"


class Code(bytes):
    """Opcodes that leave one object on the stack, or whatever a case wants them to leave."""

    __slots__ = ()


BUFFER = Code(pickle.NEXT_BUFFER)
MARK = pickle.MARK


def code(*pieces):
    return Code(b"".join(pieces))


def string(text):
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(data) < 256:
        return code(pickle.SHORT_BINUNICODE, bytes([len(data)]), data)
    return code(pickle.BINUNICODE, struct.pack("<I", len(data)), data)


def octets(data):
    if len(data) < 256:
        return code(pickle.SHORT_BINBYTES, bytes([len(data)]), data)
    return code(pickle.BINBYTES, struct.pack("<I", len(data)), data)


def integer(number):
    if 0 <= number < 256:
        return code(pickle.BININT1, bytes([number]))
    if -(2**31) <= number < 2**31:
        return code(pickle.BININT, struct.pack("<i", number))
    data = pickle.encode_long(number)
    if len(data) < 256:
        return code(pickle.LONG1, bytes([len(data)]), data)
    return code(pickle.LONG4, struct.pack("<i", len(data)), data)


def _sequence(items):
    return code(MARK, *map(put, items), pickle.TUPLE)


def _mapping(items):
    pairs = [put(thing) for item in items.items() for thing in item]
    return code(pickle.EMPTY_DICT, MARK, *pairs, pickle.SETITEMS)


WRITERS = {
    type(None): lambda _: Code(pickle.NONE),
    bool: lambda truth: Code(pickle.NEWTRUE if truth else pickle.NEWFALSE),
    int: integer,
    float: lambda number: code(pickle.BINFLOAT, struct.pack(FLOAT, number)),
    str: string,
    bytes: octets,
    bytearray: lambda data: code(pickle.BYTEARRAY8, struct.pack("<Q", len(data)), data),
    tuple: _sequence,
    list: lambda items: code(pickle.EMPTY_LIST, MARK, *map(put, items), pickle.APPENDS),
    set: lambda items: code(pickle.EMPTY_SET, MARK, *map(put, items), pickle.ADDITEMS),
    frozenset: lambda items: code(MARK, *map(put, items), pickle.FROZENSET),
    dict: _mapping,
    Code: lambda pushed: pushed,
}


def put(obj):
    """Return the code that pushes an object, in which pieces of code stand for what they push."""
    return WRITERS[type(obj)](obj)


def name(which):
    """Return the code that pushes what is known as ``"module:qualname"``."""
    module, _, qualname = which.partition(":")
    return code(string(module), string(qualname), pickle.STACK_GLOBAL)


def call(which, *arguments):
    """Return the code that calls a function that is given by its name, or by code."""
    function = which if isinstance(which, Code) else name(which)
    return code(function, put(arguments), pickle.REDUCE)


def set_state(obj, setter, state):
    """Return the code that makes an object and has a function set its state, as pickle does it."""
    return code(
        *(put(obj), pickle.MEMOIZE, name(setter), get(0), put(state), pickle.TUPLE2, pickle.REDUCE, pickle.POP),
    )


def get(index):
    return code(pickle.BINGET, bytes([index]))


def doubled(levels, pair=pickle.TUPLE2):
    """Return the code of a pair of the same pair of the same pair...: twice as many members a level."""
    return code(put(()), *[code(pickle.MEMOIZE, get(level), pair) for level in range(levels)])


def program(*pieces, proto=5, framed=True, stop=pickle.STOP):
    """Return a whole stream."""
    body = code(*map(put, pieces), stop)
    frame = pickle.FRAME + struct.pack("<Q", len(body)) if framed else b""
    return pickle.PROTO + bytes([proto]) + frame + body


def unframed(*pieces, proto=5):
    return program(*pieces, proto=proto, framed=False)


def message(*pieces, buffers=()):
    """Return the frames of a message with this program."""
    return pickled(program(*pieces), list(buffers))


def with_buffers(piece, data):
    """Return the frames of a message with this program, and this data for each buffer that it takes."""
    opcodes = [opcode.code for opcode, _, _ in pickletools.genops(piece + pickle.STOP)]
    return message(piece, buffers=[data] * opcodes.count(pickle.NEXT_BUFFER.decode("latin-1")))


def whole(fields, *frames, **prelude):
    """Return the frames of a message with these fields in its header."""
    return [first_frame(fields, **prelude), *frames]


def packed(frames):
    """Return the packed form, made without oobcodec."""
    memory = bytearray()
    for frame in frames:
        memory += bytes(-len(memory) % 64)
        memory += frame
    return bytes(memory)


def nested(*pieces, tag="pickle", buffers=()):
    """Return the code of a message inside a message, and its frames as the buffers that it takes."""
    return forwarded(pickled(program(*pieces), list(buffers), tag))


def forwarded(frames):
    """Return the code of a message with these frames inside a message, and the frames."""
    return call("oobcodec.encoded:rebuild_encoded", *[BUFFER] * len(frames)), frames
