"""Reads messages of format 1: written from the statement in README.rst, without what it describes."""

import io
import pickle
import struct
import sys

import msgpack
from independent_rebuilders import REBUILD_LIBRARIES

PRELUDE = struct.Struct("<3sBHHQQ")
TAGS = {}


class RefusedError(Exception):
    """What came is not one whole message that this decoder can read."""


def require(condition, text):
    if not condition:
        raise RefusedError(text)


def decode(message):
    """Rebuild the object of a message: a list of frames, or one buffer with the packed form."""
    frames = list(message) if isinstance(message, list | tuple) else split(memoryview(message))
    require(frames, "no frames")
    tag, meta, lengths, pickles, placements, packed = read_first(bytes(frames[0]))
    require([memoryview(frame).nbytes for frame in frames[1:]] == lengths, "the frames are not those of the header")
    require(packed == offsets([len(frames[0]), *lengths])[-1], "the packed length is another")
    views = [(memoryview(frames[frame])[at : at + n], readonly) for frame, at, n, readonly in placements]
    buffers = [view.toreadonly() if readonly else view for view, readonly in views]
    if tag in ("bytes", "str"):
        require(len(buffers) == 1 and not pickles, "more than one buffer")
        return bytes(buffers[0]) if tag == "bytes" else str(buffers[0], "utf-8", "surrogatepass")
    require(tag in ("pickle", "cloudpickle"), f"unknown tag {tag}")
    require(tag == "pickle" or meta == f"{sys.version_info[0]}.{sys.version_info[1]}", f"code of Python {meta}")
    return unpickle(b"".join(frames[1 : 1 + pickles]), buffers)


def read_first(first):
    require(len(first) >= PRELUDE.size, "shorter than a prelude")
    magic, version, flags, authentication, length, packed = PRELUDE.unpack_from(first)
    require((magic, version, flags, authentication) == (b"OOB", 1, 0, 0), "not a message of format 1")
    require(len(first) == PRELUDE.size + length, "the header has another length")
    try:
        fields = msgpack.unpackb(first[PRELUDE.size :], strict_map_key=False)
        tag, meta, lengths, pickles, codecs, digests, placements = fields
        require(type(fields) is type(lengths) is type(placements) is list, "not arrays")
        require(type(tag) is str and tag and codecs is digests is None, "no tag, or something of a newer format")
        require(all(type(n) is int and n >= 0 for n in lengths), "frame lengths")
        require(type(pickles) is int and 0 <= pickles <= len(lengths), "number of pickle frames")
        for frame, offset, size, readonly in placements:
            require({type(frame), type(offset), type(size)} == {int} and type(readonly) is bool, "a placement")
            require(pickles < frame <= len(lengths), "a buffer outside of the buffer frames")
            require(0 <= offset <= offset + size <= lengths[frame - 1] and size >= 0, "a buffer outside of its frame")
    except (ValueError, TypeError) as error:
        raise RefusedError(str(error)) from error
    require({p[0] for p in placements} == set(range(1 + pickles, 1 + len(lengths))), "a frame without a buffer")
    return tag, meta, lengths, pickles, placements, packed


def offsets(lengths):
    starts, end = [], 0  # where each frame begins in the packed form, and where the last one ends
    for length in lengths:
        starts.append(-(-end // 64) * 64)
        end = starts[-1] + length
    return [*starts, end]


def split(memory):
    require(len(memory) >= PRELUDE.size, "shorter than a prelude")
    *_, header_length, packed = PRELUDE.unpack_from(memory)
    first = PRELUDE.size + header_length
    _, _, lengths, *_ = read_first(bytes(memory[:first]))
    require(len(memory) == packed, "the buffer has another length than the message")
    lengths = [first, *lengths]
    return [memory[start : start + n] for start, n in zip(offsets(lengths), lengths, strict=False)]


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        path = f"{module}.{name}"
        require(path in REBUILD or not path.startswith("oobcodec."), f"unknown function {path}")
        return REBUILD.get(path) or super().find_class(module, name)


def unpickle(stream, buffers):
    file, unused = io.BytesIO(stream), iter(buffers)
    obj = Unpickler(file, buffers=unused).load()
    require(not file.read() and not list(unused), "bytes or buffers are left over")
    return obj


REBUILD = {
    "oobcodec.encoded.rebuild_encoded": lambda *frames: decode(frames),
    "oobcodec.registry.rebuild_tagged": lambda tag, data: TAGS[tag](data),
    **REBUILD_LIBRARIES,
}
