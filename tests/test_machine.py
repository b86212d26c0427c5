"""Programs of streams, run with guards."""

import gc
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from fractions import Fraction

import numpy as np
import pytest
from test_scan import KINDS, OPEN, PLAIN, named, nested, stream_of

import oobcodec
from oobcodec.context import LoadOptions
from oobcodec.errors import DecodeError, LimitError, PolicyError
from oobcodec.limits import Budget, Limits
from oobcodec.machine import DATA, rebuild, run
from oobcodec.names import Name
from oobcodec.scan import scan


class Guards:
    """A policy for functions of these tests: the name of each is its name here."""

    def __init__(self, functions=(), classes=(), states=None):
        self.functions = {Name("test", function.__name__): function for function in (*functions, *classes)}
        self.classes = frozenset(classes)
        self.states = states or {}

    def guards(self, names, takers):
        assert set(takers) <= set(names) <= self.functions.keys()
        return self.functions


def executed(stream, *functions, buffers=(), limits=Limits(), max_depth=100, frozen=None, **options):  # noqa: B008
    program = scan(stream)
    return run(program, Guards(functions, **options), buffers, Budget(limits), max_depth=max_depth, frozen=frozen)


def opcodes(*parts):
    return OPEN + b"".join(parts) + b"."


def test(name):
    return named("test", name)


test.__test__ = False


@pytest.mark.parametrize("obj", PLAIN, ids=lambda obj: repr(obj)[:20])
def test_plain_data_is_what_it_was(obj):
    got = executed(stream_of(obj))
    assert got == obj
    assert type(got) is type(obj)


def test_identity_and_cycles_are_kept():
    inner = {"x": bytearray(b"abc")}
    circle = [inner, inner]
    circle.append(circle)
    got = executed(stream_of(circle))
    assert got[0] is got[1]
    assert got[2] is got
    loop = ([],)
    loop[0].append(loop)
    got = executed(stream_of(loop))
    assert got[0][0] is got


def test_what_is_remembered_of_a_stream_is_made_anew():
    stream = stream_of([[], {}, set(), bytearray(b"x")])
    first, second = executed(stream), executed(stream)
    assert first == second
    assert not {id(item) for item in first} & {id(item) for item in second}


def test_guards_are_called_with_what_the_stream_says():
    def record(*arguments, **keywords):
        return arguments, keywords

    assert executed(opcodes(test("record"), b"K\x01K\x02\x86R"), record) == ((1, 2), {})
    assert executed(opcodes(test("record"), b"K\x01\x85\x81"), record) == ((1,), {})
    assert executed(opcodes(test("record"), b")}\x8c\x01aK\x01s\x92"), record) == ((), {"a": 1})


def test_guards_get_names_and_return_functions():
    def getattr(name, attribute):  # noqa: A001  # what the stream calls it
        return lambda value: (str(name), attribute, value)

    guards = Guards([getattr])
    guards.functions = {Name("builtins", "getattr"): getattr, Name("a", "B"): None}
    stream = opcodes(named("builtins", "getattr"), named("a", "B"), b"\x8c\x01c\x86R", b"K\x07\x85R")
    assert run(scan(stream), guards, (), Budget(Limits())) == ("a:B", "c", 7)


def test_values_stand_for_themselves(monkeypatch):
    monkeypatch.setattr("oobcodec.scan.VALUES", {"test:seven"})
    guards = Guards()
    guards.functions = {Name("test", "seven"): 7}
    assert run(scan(opcodes(b"]", test("seven"), b"a")), guards, (), Budget(Limits())) == [7]


def test_frozen_guards_take_the_place_of_others():
    def make():
        return [1]

    assert executed(opcodes(test("make"), b")R"), make, frozen={make: lambda: (1,)}) == (1,)
    assert executed(opcodes(test("make"), b")R"), make, frozen={len: max}) == [1]


def test_buffers_are_given_as_they_are_marked():
    memory = memoryview(bytearray(8))
    first, second = executed(opcodes(b"\x97\x98\x97\x86"), buffers=[memory, memory])
    assert (first.readonly, second.readonly) == (True, False)
    for buffers in ((), [memory] * 3):
        with pytest.raises(DecodeError, match=f"takes 2 buffers, the message has {len(buffers)}"):
            executed(opcodes(b"\x97\x97\x86"), buffers=buffers)


def test_names_are_no_values():
    with pytest.raises(PolicyError, match="holds test:list itself"):
        executed(opcodes(b"]", test("list"), b"a"), list)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (opcodes(test("int"), b")RK\x01a"), "of int has no items"),
        (opcodes(test("list"), b")RK\x01K\x02s"), "of list has no keys"),
        (opcodes(test("list"), b")R(K\x01\x90"), "of list has no members"),
        (opcodes(test("list"), b")R}b"), "of list takes no state"),
        (opcodes(test("list"), b"K\x01R"), "no tuple"),
        (opcodes(test("list"), b"K\x01\x81"), "no tuple"),
        (opcodes(test("list"), b")K\x01\x92"), "no tuple"),
        (opcodes(b"}", test("slice"), b"K\x01\x85RK\x01s"), "is a key"),
    ],
)
def test_is_refused(stream, words):
    with pytest.raises(DecodeError) as caught:
        executed(stream, int, list, slice)
    assert words in str(caught.value)


def test_containers_of_guards_are_filled():
    def make_deque(limit):
        return deque(maxlen=limit)

    def make_default():
        return defaultdict(list)

    assert executed(opcodes(test("make_deque"), b"K\x02\x85R(K\x01K\x02K\x03e"), make_deque) == deque([2, 3], 2)
    pairs = b"(K\x01K\x02K\x03K\x04u"
    for make, cls in ((make_default, defaultdict), (OrderedDict, OrderedDict), (Counter, Counter)):
        got = executed(opcodes(test(make.__name__), b")R", pairs), make)
        assert type(got) is cls
        assert got == {1: 2, 3: 4}


def test_chains_are_not_built_from_the_outside():
    make = test("deque") + b")R\x94"
    top_down = opcodes(make, b"(", make, b"eh\x01K\x01a0")
    with pytest.raises(DecodeError, match="of deque is filled after it was put into another"):
        executed(top_down, deque)
    bottom_up = opcodes(make, make, b"K\x01a", b"a")
    assert executed(bottom_up, deque) == deque([deque([1])])

    def make_default():
        return defaultdict(list)

    inner = test("make_default") + b")R\x94"
    with pytest.raises(DecodeError, match="of defaultdict is filled"):
        executed(opcodes(inner, b"K\x01", inner, b"sh\x01K\x01K\x02s0"), make_default)


class Point:
    """A class that a policy allows."""

    def __init__(self, *arguments):
        self.arguments = arguments


class Slotted:
    __slots__ = ("__dict__", "x")


class Stateful(Point):
    def __setstate__(self, state):
        self.state = state


class Bag:
    def __init__(self):
        self.items = []

    def append(self, item):
        self.items.append(item)

    def __setitem__(self, key, value):
        self.items.append((key, value))


class Row(list):
    """A list of its own."""


def test_allowed_classes_do_what_they_please():
    made = executed(opcodes(test("Point"), b"K\x01\x85R"), classes=[Point])
    assert made.arguments == (1,)
    new = executed(opcodes(test("Point"), b")\x81}\x8c\x01aK\x01sb"), classes=[Point])
    assert vars(new) == {"a": 1}
    slotted = executed(opcodes(test("Slotted"), b")\x81N}\x8c\x01xK\x01s\x86b"), classes=[Slotted])
    assert (slotted.x, vars(slotted)) == (1, {})
    stateful = executed(opcodes(test("Stateful"), b")\x81K\x07b"), classes=[Stateful])
    assert stateful.state == 7
    bag = executed(opcodes(test("Bag"), b")RK\x01aK\x02K\x03s"), classes=[Bag])
    assert bag.items == [1, (2, 3)]
    row = executed(opcodes(test("Row"), b")\x81(K\x01K\x02e"), classes=[Row])
    assert (type(row), row) == (Row, [1, 2])


def test_a_function_is_called_where_an_object_is_to_be_made():
    def make(*arguments):
        return arguments

    assert executed(opcodes(test("make"), b"K\x01\x85\x81"), make) == (1,)


OCTETS = b"\x96" + (3).to_bytes(8, "little") + b"abc\x94"


def test_memory_that_is_something_else_too_is_not_given_to_functions():
    def view(*arguments):
        return memoryview(arguments[-1] if type(arguments[-1]) is bytearray else arguments[-1][0])

    assert bytes(executed(opcodes(test("view"), OCTETS, b"\x85R"), view)) == b"abc"
    assert executed(opcodes(b"]", OCTETS, b"ah\x00a")) == [b"abc"] * 2
    assert executed(opcodes(b"]", OCTETS, b"ah\x00a", test("list"), b"]K\x01a\x85Ra"), list) == [b"abc", b"abc", [1]]
    for use in (b"h\x00\x85R", b"h\x00\x85\x85R", b"h\x00\x85\x81", b")}\x8c\x01ah\x00s\x92"):
        with pytest.raises(DecodeError, match="is given to a function, and something else too"):
            executed(opcodes(b"]", OCTETS, b"a", test("view"), use, b"a"), view)
    with pytest.raises(DecodeError, match="is the memory of an array, and something else too"):
        executed(opcodes(b"]", test("view"), OCTETS, b"\x85Rah\x00a"), view)


def test_states_go_to_those_who_know_what_to_do():
    seen = []
    stream = opcodes(test("list"), b")R}b")
    assert executed(stream, list, states={list: lambda obj, state: seen.append((obj, state))}) == []
    assert seen == [([], {})]


# Keys


def test_keys_that_collide_are_refused():
    modulus = (1 << 61) - 1
    keys = [n * modulus for n in range(1, 140)]
    for obj in (dict.fromkeys(keys), set(keys), frozenset(keys)):
        with pytest.raises(DecodeError, match="have one hash"):
            executed(stream_of(obj))
    fine = [dict.fromkeys(keys[:120]), dict.fromkeys(keys[:120]), *[frozenset(keys[:120])] * 3]
    assert executed(stream_of(fine)) == fine
    assert executed(stream_of([frozenset(keys[:120]), frozenset([*keys[:120], 1])]))


def test_many_plain_keys_are_no_matter():
    keys = {n: str(n) for n in range(2000)} | {str(n): n for n in range(2000)} | {(n, str(n)): 1 for n in range(2000)}
    assert executed(stream_of(keys)) == keys
    assert executed(stream_of({n << 200: n for n in range(1, 200)}))
    floats = {n / 7 for n in range(2000)}
    assert executed(stream_of(floats)) == floats


def test_keys_of_guards_count_by_their_hashes():
    modulus = (1 << 61) - 1
    rows = b"".join(test("Fraction") + pickle.dumps(n * modulus, 5)[2:-1] + b"\x85RN" for n in range(1, 140))
    with pytest.raises(DecodeError, match="have one hash"):
        executed(opcodes(b"}(", rows, b"u"), Fraction)


def test_a_key_that_doubles_at_each_level_is_refused():
    key = (0,)
    for _ in range(60):
        key = (key, key)
    with pytest.raises(LimitError, match="max_operations"):
        executed(opcodes(b"}", stream_of_key(60), b"Ns"), limits=Limits(max_operations=1_000_000))


def stream_of_key(levels):
    """Return the opcodes of a tuple of twice the same tuple, and so on."""
    twice = [b"h" + bytes([place]) + b"h" + bytes([place]) + b"\x86\x94" for place in range(levels)]
    return b"0".join([b"K\x00\x85\x94", *twice])


@pytest.mark.parametrize("kind", ["tuples", "frozensets"])
def test_a_deep_key_is_refused_before_it_is_hashed(kind):
    deep = OPEN + b"}" + b")" + b"\x85" * 200_000 + b"Ns."
    with pytest.raises(DecodeError, match="more than 100 levels deep"):
        executed(deep)
    shallow = nested(KINDS[kind], 50)
    assert executed(stream_of({shallow: 1})) == {shallow: 1}
    assert run(scan(stream_of({shallow: 1})), Guards(), (), Budget(Limits())) == {shallow: 1}


def test_keys_that_cannot_be_hashed_are_an_error():
    with pytest.raises(TypeError, match="unhashable"):
        executed(opcodes(b"}]Ns"))


def test_operations_are_accounted_for():
    stream = stream_of([1, 2, 3])
    operations = scan(stream).operations
    executed(stream, limits=Limits(max_operations=operations))
    with pytest.raises(LimitError, match="the message declares"):
        executed(stream, limits=Limits(max_operations=operations - 1))


def test_options_are_those_of_loads():
    options = LoadOptions(policy=DATA, limits=Limits(max_depth=2))
    assert rebuild(stream_of([[1]]), (), options) == [[1]]
    with pytest.raises(LimitError, match="max_depth"):
        rebuild(stream_of([[[1]]]), (), options)
    empty = oobcodec.dumps(np.zeros((0, 3)))[1].tobytes()
    for writable in (None, False):
        assert rebuild(empty, (), options._replace(writable=writable)).flags.writeable is (writable is None)


def test_nothing_is_kept():
    class Kept:
        alive = 0

        def __init__(self):
            Kept.alive += 1

        def __del__(self):
            Kept.alive -= 1

    executed(opcodes(b"]", test("Kept"), b")R\x94ah\x00a"), classes=[Kept])
    gc.collect()
    assert Kept.alive == 0
