import struct
import sys

import pyarrow as pa
import pytest

from oobcodec.errors import DecodeError
from oobcodec.guards import arrow as guards
from oobcodec.reducers import arrow as reducers

reducers.register()

GUARDS = {name.partition(":")[2]: guard for name, guard in guards.GUARDS.items()}
REFUSED = (DecodeError, pa.ArrowInvalid, pa.ArrowNotImplementedError, struct.error, OSError, TypeError, ValueError)
ORDER = sys.byteorder


# Messages, made here as https://flatbuffers.dev/internals says


class Scalar(bytes):
    """An entry that stands in a table itself."""


def scalar(form, number):
    return Scalar(struct.pack(f"<{form}", number))


class Flat:
    """A buffer of tables, vectors and texts, each of them once, however many point at it."""

    def __init__(self, root):
        self.data = bytearray(4)
        self.places = {}
        self.pending = [(0, root)]
        for at, obj in self.pending:
            if self.places.get(id(obj), -1) < at:  # distances are not negative
                self.data += bytes(-len(self.data) % 8)
                make = self.table if type(obj) is dict else self.text if type(obj) is bytes else self.vector
                make(obj)
            struct.pack_into("<I", self.data, at, self.places[id(obj)] - at)

    def begin(self, obj):
        self.places[id(obj)] = len(self.data)
        return len(self.data)

    def text(self, obj):
        self.begin(obj)
        self.data += struct.pack("<I", len(obj)) + obj + b"\0"

    def vector(self, obj):
        start = self.begin(obj)
        self.data += struct.pack("<I", len(obj)) + bytes(4 * len(obj))
        for i, each in enumerate(obj):
            at = start + 4 + 4 * i
            if type(each) is Scalar:
                self.data[at : at + 4] = each
            else:
                self.pending.append((at, each))

    def table(self, obj):
        count = max(obj, default=-1) + 1
        # Every entry has eight bytes, behind those of the distance to the list of entries.
        entries = [8 + 8 * i if i in obj else 0 for i in range(count)]
        self.data += struct.pack(f"<HH{count}H", 4 + 2 * count, 8 + 8 * count, *entries)
        length = 4 + 2 * count
        padding = -len(self.data) % 8
        self.data += bytes(padding)
        start = self.begin(obj)
        self.data += struct.pack("<ii", length + padding, 0) + bytes(8 * count)
        for i, each in obj.items():
            at = start + 8 + 8 * i
            if type(each) is Scalar:
                self.data[at : at + len(each)] = each
            else:
                self.pending.append((at, each))


def message(header, kind=1, entries=None):
    data = Flat({0: scalar("h", 4), 1: scalar("B", kind), 2: header, **(entries or {})}).data
    data += bytes(-len(data) % 8)
    return struct.pack("<iI", -1, len(data)) + bytes(data)


def field(name=b"x", kind=1, data_type=None, children=(), **entries):
    made = {0: name, 2: scalar("B", kind), 3: {} if data_type is None else data_type, 5: list(children)}
    return made | {int(key[1:]): value for key, value in entries.items()}


def schema(*fields, **entries):
    return {1: list(fields)} | {int(key[1:]): value for key, value in entries.items()}


LITTLE, BIG = scalar("h", 0), scalar("h", 1)
INT8 = {"kind": 2, "data_type": {0: scalar("i", 8), 1: scalar("B", 1)}}
PAIR = {0: b"k", 1: b"v"}
FINE = {
    "nothing": schema(),
    "a number": schema(field(**INT8)),
    "metadata": schema(field(_6=[dict(PAIR)]), _2=[dict(PAIR)]),
    "big-endian": schema(field(**INT8), _0=BIG),
    "text": schema(field(kind=5)),
    "a time zone": schema(field(kind=10, data_type={0: scalar("h", 1), 1: b"UTC"})),
    "no time zone": schema(field(kind=10, data_type={0: scalar("h", 1)})),
    "bytes of one length": schema(field(kind=15, data_type={0: scalar("i", 5)})),
    "a union": schema(field(kind=14, data_type={1: [scalar("i", 5)]}, children=[field()])),
    "a union without codes": schema(field(kind=14, children=[field()])),
    "a dictionary": schema(field(kind=5, _4={0: scalar("q", 1), 1: {0: scalar("i", 8), 1: scalar("B", 1)}})),
}


@pytest.mark.parametrize("name", FINE)
def test_schemas_of_other_writers_arrive(name):
    data = message(FINE[name])
    assert GUARDS["rebuild_schema"](data).equals(pa.ipc.read_schema(pa.py_buffer(data)), check_metadata=True)


def deep(levels):
    inner = field()
    for _ in range(levels):
        inner = field(kind=13, children=[inner])
    return inner


ONE = field(b"x" * 1000)
REPEATED = field(kind=13, children=[field()] * 1)
for _ in range(20):
    REPEATED = field(kind=13, children=[REPEATED] * 2)
SHARED = {
    "one field, many times": schema(*[ONE] * 1000),
    "one name, many times": schema(*[{0: ONE[0], 2: scalar("B", 1), 3: {}, 5: []} for _ in range(100)]),
    "one pair of metadata, many times": schema(_2=[{0: b"k", 1: b"v" * 1000}] * 1000),
    "one field's metadata, many times": schema(field(_6=[{0: b"k", 1: b"v" * 1000}] * 1000)),
    "a million fields in each other": schema(REPEATED),
}


@pytest.mark.parametrize("name", SHARED)
def test_schemas_whose_parts_lie_in_the_same_bytes_are_refused(name):
    with pytest.raises(DecodeError, match="bytes of their own"):
        GUARDS["rebuild_schema"](message(SHARED[name]))


def test_arrow_makes_a_large_schema_of_a_small_one():
    """Which is why they are refused."""
    data = message(SHARED["one field, many times"])
    read = pa.ipc.read_schema(pa.py_buffer(data))
    assert sum(map(len, read.names)) == 1_000_000
    assert len(data) < 10_000


NO_SCHEMAS = {
    "no bytes": None,
    "text": "schema",
    "memory": memoryview(message(schema())),
    "nothing": b"",
    "little": message(schema())[:20],
    "another mark": b"\0" * 4 + message(schema())[4:],
    "a batch": message({}, kind=3),
    "no header": message(schema())[:8] + bytes(64),
    "metadata of its own": message(schema(), entries={4: [dict(PAIR)]}),
    "an extension type": message(schema(field(_6=[{0: b"ARROW:extension:name", 1: b"tests.x"}]))),
    "a field of no type": message(schema({0: b"x", 2: scalar("B", 1), 5: []})),
    "a name that is no text": message(schema(field(b"\xff"))),
    "a time zone that is no text": message(schema(field(kind=10, data_type={0: scalar("h", 1), 1: b"\xff"}))),
    "bytes of a negative length": message(schema(field(kind=15, data_type={0: scalar("i", -5)}))),
    "lists of a negative length": message(schema(field(kind=16, data_type={0: scalar("i", -5)}, children=[field()]))),
    "a dictionary without indices": message(schema(field(kind=5, _4={0: scalar("q", 1)}))),
    "types too deep": message(schema(deep(70))),
    "a type that nobody has": message(schema(field(kind=99))),
}


@pytest.mark.parametrize("name", NO_SCHEMAS)
def test_what_is_no_schema_is_refused(name):
    for guard in ("rebuild_schema", "rebuild_field", *(["rebuild_type"] if name != "text" else [])):
        with pytest.raises(REFUSED):
            GUARDS[guard](NO_SCHEMAS[name])


@pytest.mark.parametrize("guard", ["rebuild_field", "rebuild_type"])
@pytest.mark.parametrize("count", [0, 2])
def test_a_field_is_the_only_one_of_a_schema(guard, count):
    data = pa.schema([(str(i), pa.int8()) for i in range(count)]).serialize().to_pybytes()
    with pytest.raises(DecodeError, match="has one"):
        GUARDS[guard](data)


@pytest.mark.parametrize("name", ["int9", "", "list", "x" * 1000])
def test_types_that_there_are_not_are_refused(name):
    with pytest.raises(KeyError):
        GUARDS["rebuild_type"](name)


def test_batches_of_another_byte_order_are_refused():
    """Arrow turns them before anybody can validate them."""
    known, foreign = (LITTLE, BIG) if ORDER == "little" else (BIG, LITTLE)
    column = pa.RecordBatch.from_pydict({"x": pa.array([1], pa.int8())}).serialize().to_pybytes()
    same = message(schema(field(**INT8), _0=known))
    assert GUARDS["rebuild_short_batch"](same, column, ORDER).to_pydict() == {"x": [1]}
    other = message(schema(field(**INT8), _0=foreign))
    with pytest.raises(DecodeError, match="byte order"):
        GUARDS["rebuild_short_batch"](other, column, ORDER)
