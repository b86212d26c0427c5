import collections
import functools
import gc
import threading
import weakref
from dataclasses import dataclass
from pickle import PickleBuffer
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from helpers import forgotten_modules, write_module

import oobcodec
from oobcodec.paths import find_culprit, short, walk

LOCK = threading.Lock()
NAME = "'_thread.lock' object"


class Holder:
    """Has attributes."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def method(self):
        return self


class Slots:
    __slots__ = ("__dict__", "held", "other")


class PureSlots:
    __slots__ = ("held",)


class Fields(NamedTuple):
    x: int
    held: Any


@dataclass
class Data:
    held: Any


class MyList(list):
    pass


class MyDict(dict):
    pass


class Arguments:
    def __init__(self, held):
        self.held = held

    def __reduce__(self):
        return Arguments, (self.held,)


class State:
    def __getstate__(self):
        return [1, self.held]

    def __setstate__(self, state):
        self.held = state[1]


def holding(cls, **attributes):
    obj = cls()
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj


def closure(held):
    def inner():
        return held

    return inner


def local_class():
    class Local:
        held = LOCK

    return Local


def function_with(**attributes):
    def inner():
        pass

    inner.__dict__.update(attributes)
    return inner


def frame_with(**attrs):
    frame = pd.DataFrame({"a": [1]})
    frame.attrs.update(attrs)
    return frame


def uses_global(expression):
    namespace = {"__name__": "made", "LOCK": LOCK}
    exec(f"def inner():\n    return lambda: {expression}", namespace)
    return namespace["inner"]


CULPRITS = {
    "itself": (LOCK, ""),
    "dict": ({"cfg": {"lock": LOCK}}, "['cfg']['lock']"),
    "dict with other keys": ({1: 2, (3, None): LOCK}, "[(3, None)]"),
    "key": ({"a": {LOCK: 1}}, f"['a']{{key {short(LOCK)}}}"),
    "list": ([0, [1, LOCK]], "[1][1]"),
    "tuple": ((0, (LOCK,)), "[1][0]"),
    "set": ({"s": {LOCK}}, f"['s']{{{short(LOCK)}}}"),
    "frozenset": (frozenset([LOCK]), f"{{{short(LOCK)}}}"),
    "attribute": (Holder(a=Holder(lock=LOCK)), ".a.lock"),
    "attribute in a list": ([Holder(lock=LOCK)], "[0].lock"),
    "dataclass": (Data(Data(LOCK)), ".held.held"),
    "slot": (holding(Slots, held=LOCK), ".held"),
    "slot and dict": (holding(Slots, held=1, more=LOCK), ".more"),
    "slot without dict": (holding(PureSlots, held=LOCK), ".held"),
    "namedtuple": ([Fields(1, LOCK)], "[0][1]"),
    "list subclass": (MyList([1, LOCK]), "[1]"),
    "dict subclass": (MyDict(a=LOCK), "['a']"),
    "ordered dict": (collections.OrderedDict(a=1, b=LOCK), "['b']"),
    "deque": (collections.deque([1, LOCK]), "[1]"),
    "defaultdict": (collections.defaultdict(list, a=LOCK), "['a']"),
    "argument of __reduce__": ({"a": Arguments(LOCK)}, "['a']"),
    "state of __getstate__": ({"a": holding(State, held=LOCK)}, "['a'][1]"),
    "closure": ({"f": closure(LOCK)}, "['f'].<closure held>"),
    "closure of a closure": (closure(closure(LOCK)), ".<closure held>.<closure held>"),
    "global": ([uses_global("LOCK.locked() or LOCK")], "[0].<global LOCK>"),
    "default": (eval("lambda a, b=(1, LOCK): a", {"LOCK": LOCK}), ".__defaults__[0][1]"),
    "keyword default": (eval("lambda *, b=LOCK: b", {"LOCK": LOCK}), ".__kwdefaults__['b']"),
    "function attribute": (function_with(held=LOCK), ".held"),
    "partial": ([functools.partial(closure(LOCK), 1)], "[0].<closure held>"),
    "bound method": ({"m": Holder(lock=LOCK).method}, "['m'].__self__.lock"),
    "bound builtin method": ({"m": LOCK.acquire}, "['m']"),
    "class": ([local_class()], "[0].held"),
    "object of a local class": ([local_class()()], "[0].held"),
    "base class": (type("Local", (local_class(),), {}), ".held"),
    "class with a metaclass": ([type("Meta", (type,), {})("Local", (), {"held": LOCK})], "[0].held"),
    "object array": ({"a": np.array([1, LOCK], object)}, "['a']"),
    "object in an object array": ([np.array([1, Holder(lock=LOCK)], object)], "[0]….lock"),
    "array in an object array": ([np.array([1, np.array([LOCK])], object)], "[0]"),
    "field of an array": (Data(np.array([(1, LOCK)], "i4, O")), ".held"),
    "object column": ({"frame": pd.DataFrame({"a": [1], "o": [LOCK]})}, "['frame']"),
    "in a cell of an object column": (
        Data({"frame": pd.DataFrame({"a": [1], "o": [{"cfg": [0, Holder(lock=LOCK)]}]})}),
        ".held['frame']…['cfg'][1].lock",
    ),
    "in a frame by itself": (pd.DataFrame({"o": [{"cfg": LOCK}]}), "…['cfg']"),
    "frame in a cell of a frame": (
        [pd.DataFrame({"o": [{"inner": pd.DataFrame({"o": [Holder(lock=LOCK)]})}]})],
        "[0]…['inner']….lock",
    ),
    "series": (pd.Series([LOCK]), ""),
    "label of a frame": ([pd.DataFrame({"a": [1]}, index=[LOCK])], "[0]"),
    "attrs of a frame": ([frame_with(lock=LOCK)], "[0]…['lock']"),
}


@pytest.mark.parametrize(("obj", "path"), CULPRITS.values(), ids=CULPRITS)
def test_culprit(obj, path):
    found = find_culprit(obj)
    assert found == (f"{NAME} at {path}" if path else NAME)
    with pytest.raises(oobcodec.EncodeError) as caught:
        oobcodec.dumps(obj)
    assert str(caught.value).startswith(f"cannot pickle {found}: ")


@pytest.mark.parametrize(
    ("culprit", "name"),
    [
        ((i for i in ()), "'generator' object at ['x']"),
        (memoryview(b"")[:0].cast("b"), None),  # cloudpickle sends it as bytes
        (weakref.ref(Holder), "'weakref.ReferenceType' object at ['x']"),
    ],
)
def test_culprit_by_type(culprit, name):
    if name is None:
        oobcodec.dumps({"x": culprit})
        assert find_culprit({"x": culprit}) == "'dict' object"
    else:
        with pytest.raises(oobcodec.EncodeError, match=r"cannot pickle") as caught:
            oobcodec.dumps({"x": culprit})
        assert name in str(caught.value)


def test_buffer_with_gaps_is_the_culprit():
    gappy = PickleBuffer(np.zeros((50, 50))[:, ::2])
    with pytest.raises(oobcodec.EncodeError, match=r"cannot pickle 'pickle.PickleBuffer' object at \['a'\]\[1\]: "):
        oobcodec.dumps({"a": [PickleBuffer(bytes(3000)), gappy], "b": 1})


def test_first_culprit_in_the_order_of_the_pickler():
    assert find_culprit([[Holder(b=LOCK)], LOCK]).endswith(" at [0][0].b")
    assert find_culprit({"a": 1, "b": [LOCK], "c": LOCK}).endswith(" at ['b'][0]")


def test_root_if_no_one_is_guilty():
    assert find_culprit([1, {"a": "b"}, len, [].append, int, type(None), collections, None]) == "'list' object"
    assert find_culprit(5) == "'int' object"
    assert find_culprit(Holder()) == "'test_paths.Holder' object"


def test_what_goes_by_reference_is_not_searched():
    Holder.held = LOCK
    test_culprit.held = LOCK
    try:
        assert find_culprit([Holder, Holder(), test_culprit, [LOCK]]).endswith(" at [3][0]")
    finally:
        del Holder.held, test_culprit.held


def test_module_that_is_sent_by_value_is_searched(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "shelf.books", "import threading\nHELD = threading.Lock()\ndef use(): return HELD")
    with forgotten_modules("shelf"):
        import shelf.books

        obj = {"f": shelf.books.use}
        assert find_culprit(obj) == "'dict' object"
        cloudpickle.register_pickle_by_value(shelf)
        try:
            with pytest.raises(oobcodec.EncodeError, match=r"lock' object at \['f'\].<global HELD>: "):
                oobcodec.dumps(obj)
        finally:
            cloudpickle.unregister_pickle_by_value(shelf)


def test_variable_that_has_no_value_yet():
    def early():
        return late, lock

    lock = LOCK
    assert find_culprit([early]).endswith(" at [0].<closure lock>")
    late = lock = 1
    assert early() == (1, 1)


def test_what_two_objects_are_made_of_is_visited_again():
    index = pd.Index(np.arange(9))
    obj = {"a": pd.Series(np.ones(9), index), "b": pd.Series(np.ones(9), index), "c": index}
    steps = list(walk(obj))
    assert [step.path for step in steps if step.again and step.obj is index] == ["['b']"]
    first = next(step for step in steps if step.obj is index)
    buffer = next(step for step in steps if first in step.parts and type(step.obj) is PickleBuffer)
    assert (buffer.path, buffer.parts[0], buffer.parts[-1].obj) == ("['a']", buffer, obj["a"])
    assert [step.path for step in walk([obj, obj]) if step.again and step.obj is obj] == []


def test_cycles_end():
    cycle = [{}]
    cycle[0]["self"] = cycle
    holder = Holder(cycle=cycle)
    holder.me = holder
    assert find_culprit(holder) == "'test_paths.Holder' object"
    assert len(list(walk(holder))) < 20


def test_too_deep():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(
        oobcodec.EncodeError, match=r"cannot pickle 'list' object at (\[0\]){8}…\(\d+ more\)…(\[0\]){8}: "
    ):
        oobcodec.dumps({"x": deep}["x"])
    while deep:
        deep = deep.pop()


def test_long_path_loses_its_middle():
    deep = LOCK
    for i in reversed(range(17)):
        deep = {i: deep}
    assert find_culprit(deep[0]).endswith(" at " + "".join(f"[{i}]" for i in range(1, 17)))
    shortened = [*(f"[{i}]" for i in range(8)), "…(1 more)…", *(f"[{i}]" for i in range(9, 17))]
    assert find_culprit(deep).endswith(" at " + "".join(shortened))


class Raises:
    def __reduce__(self):
        self.call()

    def call(self):
        message = "mine"
        raise LookupError(message)


def test_note_on_an_exception_of_the_user():
    with pytest.raises(LookupError) as caught:
        oobcodec.dumps({"a": [Raises()]})
    assert caught.value.args == ("mine",)
    assert caught.value.__notes__ == ["raised while oobcodec.dumps was pickling 'test_paths.Raises' object at ['a'][0]"]


def test_key_that_cannot_be_shown():
    class Key:
        def __repr__(self):
            raise RuntimeError

    assert find_culprit([{Key(): LOCK}]) == "'dict' object at [0]"


def test_walk_goes_on_behind_an_error():
    steps = list(walk([LOCK, "x"]))
    assert [(step.path, step.failed) for step in steps if step.path] == [("[0]", True), ("[1]", False)]


def test_walk_visits_in_the_order_of_the_pickler_and_each_object_once():
    big = b"x" * 2000
    array, view = np.arange(1000), PickleBuffer(bytearray(2000))
    obj = {"a": [array, big], "b": (big, view, view), "c": array}
    leaves = [step for step in walk(obj) if type(step.obj) is PickleBuffer or step.obj is big]
    assert [step.path for step in leaves] == ["['a'][0]", "['a'][1]", "['b'][1]", "['b'][2]"]
    assert len(oobcodec.dumps(obj)) == 4  # header, pickle, array, view


def test_walk_keeps_nothing_alive():
    root = [Holder(), Raises()]
    gone = weakref.ref(root[0])
    gc.collect()
    gc.disable()
    try:
        assert find_culprit(root).endswith(" at [1]")
        del root
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("obj", "text"), [("x" * 38, repr("x" * 38)), ("x" * 39, f"'{'x' * 36}..."), (range(3), "range(0, 3)")]
)
def test_short(obj, text):
    assert short(obj) == text
    assert len(text) <= 40
