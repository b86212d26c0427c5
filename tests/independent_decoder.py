"""Reads messages of format 1: written from the statement in FORMAT.rst, without what it describes."""

import hashlib
import io
import pickle
import struct
import sys
import zlib

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
    tag, meta, lengths, pickles, placements, packed, (algorithm, digests) = read_first(bytes(frames[0]))
    require([memoryview(frame).nbytes for frame in frames[1:]] == lengths, "the frames are not those of the header")
    require(packed == offsets([len(frames[0]), *lengths])[-1], "the packed length is another")
    require(algorithm != "sha256" or digests == [hashlib.sha256(frame).digest() for frame in frames[1:]], "damaged")
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
    require((magic, version, flags) == (b"OOB", 1, 0), "not a message of format 1")
    body, block = first[PRELUDE.size :][:length], first[PRELUDE.size + length :]
    require((len(body), len(block)) == (length, authentication), "the header or what follows it has another length")
    own = struct.pack("<BBI", 1, 0, zlib.crc32(first[: PRELUDE.size] + body))
    require(block[1:2] != b"\0" or block == own, "the header is not what its checksum says")
    try:
        tag, meta, lengths, pickles, codecs, digests, placements = fields = msgpack.unpackb(body, strict_map_key=False)
        require(type(fields) is type(lengths) is type(placements) is list, "not arrays")
        require(type(tag) is str and tag and codecs is None, "no tag, or something of a newer format")
        algorithm, values = digests or (None, [])
        require((algorithm is not None) == bool(block), "digests without a block behind the header, or the other way")
        require(all(type(n) is int and n >= 0 for n in (pickles, *lengths)) and pickles <= len(lengths), "the lengths")
        for frame, offset, size, readonly in placements:
            require({type(frame), type(offset), type(size)} == {int} and type(readonly) is bool, "a placement")
            require(pickles < frame <= len(lengths) and 0 <= offset <= offset + size <= lengths[frame - 1], "its place")
    except (ValueError, TypeError) as error:
        raise RefusedError(str(error)) from error
    require({p[0] for p in placements} == set(range(1 + pickles, 1 + len(lengths))), "a frame without a buffer")
    return tag, meta, lengths, pickles, placements, packed, (algorithm, values)


def offsets(lengths):
    starts, end = [], 0  # where each frame begins in the packed form, and where the last one ends
    for length in lengths:
        starts.append(-(-end // 64) * 64)
        end = starts[-1] + length
    return [*starts, end]


def split(memory):
    *_, authentication, length, packed = PRELUDE.unpack(bytes(memory[: PRELUDE.size]).ljust(PRELUDE.size))
    first = PRELUDE.size + length + authentication
    lengths = [first, *read_first(bytes(memory[:first]))[2]]
    require(len(memory) == packed, "the buffer has another length than the message")
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


REBUILD = {"oobcodec.encoded.rebuild_encoded": lambda *frames: decode(frames), **REBUILD_LIBRARIES}
REBUILD["oobcodec.registry.rebuild_tagged"] = lambda tag, data: TAGS[tag](data)
