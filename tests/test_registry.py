import copyreg
import sys
import threading

import numpy as np
import pytest
from helpers import forgotten_modules, roundtrip, write_module

import oobcodec
from oobcodec import registry
from oobcodec.errors import DecodeError, RegistryError
from oobcodec.registry import DEFAULT, Registry


class Point:
    def __init__(self, x=0):
        self.x = x


class Point3(Point):
    pass


class Stubborn(Point):
    def __reduce__(self):
        return Stubborn, (self.x + 1,)


class Outer:
    class Inner:
        pass


def reduce_point(point):
    return rebuild_point, (type(point), point.x)


def rebuild_point(cls, x):
    point = cls(x)
    point.registered = True
    return point


def reduce_otherwise(point):
    return str, (f"{type(point).__name__}({point.x})",)


@pytest.fixture(autouse=True)
def _undo():
    """Leave the registry and copyreg as they were."""
    kept = ("_pending", "_registered", "_provided", "_types", "_plugins")
    before = {name: dict(getattr(DEFAULT, name)) for name in kept}
    dispatch_table = dict(copyreg.dispatch_table)
    yield
    for name, old in before.items():
        current = getattr(DEFAULT, name)
        current.clear()
        current.update(old)
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(dispatch_table)
    DEFAULT._forget()


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    with forgotten_modules("shelf"):
        yield tmp_path


# Reducers


def test_registered_reducer_is_used_at_any_depth():
    before = roundtrip([Point(1)])
    oobcodec.register_reducer(Point, reduce_point)
    assert oobcodec.registered_reducers() == {"test_registry:Point": reduce_point}
    assert not hasattr(before[0], "registered")
    (nested,) = roundtrip({"a": [(Point(2),)]})["a"][0]
    assert nested.registered
    assert nested.x == 2


def test_unregistering_gives_back_what_was():
    oobcodec.register_reducer(Point, reduce_otherwise)
    assert roundtrip([Point(1)]) == ["Point(1)"]
    oobcodec.unregister_reducer(Point)
    assert type(roundtrip([Point(1)])[0]) is Point
    assert oobcodec.registered_reducers() == {}


def test_registering_twice_the_same_is_fine():
    for cls in (Point, "test_registry:Point", "shelf.none:Such"):
        oobcodec.register_reducer(cls, reduce_point)
        oobcodec.register_reducer(cls, reduce_point)
    assert set(oobcodec.registered_reducers()) == {"test_registry:Point", "shelf.none:Such"}


@pytest.mark.parametrize("cls", [Point, "shelf.none:Such"])
def test_another_reducer_needs_replace(cls):
    oobcodec.register_reducer(cls, reduce_point)
    with pytest.raises(RegistryError, match=r"has a registered reducer already: replace=True takes its place"):
        oobcodec.register_reducer(cls, reduce_otherwise)
    with pytest.raises(RegistryError, match=r"has a registered reducer already"):
        oobcodec.register_reducer(cls, reduce_point, subclasses=True)
    oobcodec.register_reducer(cls, reduce_otherwise, replace=True)
    assert set(oobcodec.registered_reducers().values()) == {reduce_otherwise}


@pytest.mark.parametrize("name", ["Point", "test_registry.Point", "a:", ":b", "a b:c", "a:b:c", "1a:b", "", 5, None])
def test_malformed_name(name):
    with pytest.raises(RegistryError, match=r"does not name a class: write 'package.module:Class'") as caught:
        oobcodec.register_reducer(name, reduce_point)
    assert repr(name) in str(caught.value)


def test_reducer_that_cannot_be_called():
    with pytest.raises(RegistryError, match=r"reduce='reduce_point' cannot be called"):
        oobcodec.register_reducer(Point, "reduce_point")
    assert oobcodec.registered_reducers() == {}


@pytest.mark.parametrize(("cls", "name"), [(Point, "test_registry:Point"), ("shelf:Book", "shelf:Book")])
def test_unregistering_what_is_not_registered(cls, name):
    with pytest.raises(RegistryError, match=f"{name} has no registered reducer"):
        oobcodec.unregister_reducer(cls)


def test_name_of_a_nested_class():
    oobcodec.register_reducer("test_registry:Outer.Inner", lambda _: (str, ("inner",)))
    assert roundtrip([Outer.Inner()]) == ["inner"]


# Precedence


def test_registered_before_own_before_copyreg():
    copyreg.pickle(Point, lambda _: (str, ("copyreg",)))
    assert roundtrip([Point()]) == ["copyreg"]
    DEFAULT.provide(Point, lambda _: (str, ("own",)))
    assert roundtrip([Point()]) == ["own"]
    oobcodec.register_reducer(Point, lambda _: (str, ("registered",)))
    assert roundtrip([Point()]) == ["registered"]


def test_subclasses_only_if_asked_for():
    oobcodec.register_reducer(Point, reduce_point)
    assert type(roundtrip([Point3(1)])[0]) is Point3
    assert not hasattr(roundtrip([Point3(1)])[0], "registered")
    oobcodec.register_reducer(Point, reduce_point, subclasses=True, replace=True)
    (received,) = roundtrip([Point3(1)])
    assert type(received) is Point3
    assert received.registered


def test_subclass_with_a_method_of_its_own_is_asked_itself():
    oobcodec.register_reducer(Point, reduce_otherwise, subclasses=True)
    (received,) = roundtrip([Stubborn(1)])
    assert (type(received), received.x) == (Stubborn, 2)


@pytest.mark.parametrize("hook", ["__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs__"])
def test_every_hook_counts_as_a_method_of_its_own(hook):
    cls = type("Own", (Point,), {hook: lambda *_: None})
    local = Registry({})
    local.provide(Point, reduce_point, subclasses=True)
    assert local.inherited(cls) is None
    assert local.inherited(Point3) is reduce_point
    assert local.inherited(Outer) is None


def test_nearest_base_wins_and_copyreg_goes_before_it():
    class Far(Point3):
        pass

    local = Registry({})
    local.provide(Point, reduce_point, subclasses=True)
    local.provide(Point3, reduce_otherwise, subclasses=True)
    assert local.table[Far] is reduce_otherwise
    copyreg.pickle(Far, lambda _: (str, ("copyreg",)))
    assert local.outdated()
    assert local.table[Far](Far()) == (str, ("copyreg",))


def test_copyreg_is_followed_as_it_changes():
    one, other = Point(1), Point3(2)
    assert [type(thing) for thing in roundtrip([one, other])] == [Point, Point3]
    copyreg.pickle(Point, lambda _: (str, ("added",)))
    assert roundtrip([one]) == ["added"]
    copyreg.pickle(Point, lambda _: (str, ("replaced",)))
    assert roundtrip([one]) == ["replaced"]
    # One goes, another comes: as many entries as before.
    del copyreg.dispatch_table[Point]
    copyreg.pickle(Point3, lambda _: (str, ("swapped",)))
    received, swapped = roundtrip([one, other])
    assert type(received) is Point
    assert swapped == "swapped"
    del copyreg.dispatch_table[Point3]
    assert type(roundtrip([other])[0]) is Point3


def test_copyreg_entry_for_a_metaclass():
    class Meta(type):
        pass

    made = Meta("made", (), {})
    copyreg.pickle(Meta, lambda cls: (str, (cls.__name__,)))
    assert roundtrip([made]) == ["made"]


class Meta(type):
    pass


class Made(metaclass=Meta):
    pass


def test_class_with_a_metaclass_travels_by_name():
    assert roundtrip([Made, Made, Point]) == [Made, Made, Point]
    assert Meta not in DEFAULT.table


def test_class_whose_module_has_no_name(on_path):
    write_module(on_path, "shelf", "class Book: __module__ = None")
    import shelf

    shelf.Book.__qualname__ = "Book"
    assert type(roundtrip([shelf.Book()])[0]) is shelf.Book


# By name, before the class is there


def test_registering_by_name_imports_nothing_and_waits(on_path):
    write_module(on_path, "shelf.books", "class Book: pass")
    oobcodec.register_reducer("shelf.books:Book", lambda _: (str, ("book",)))
    oobcodec.dumps([Point()])
    assert "shelf" not in sys.modules
    assert "shelf.books:Book" in oobcodec.registered_reducers()
    from shelf.books import Book

    assert roundtrip([Book()]) == ["book"]
    assert "shelf.books:Book" in oobcodec.registered_reducers()


def test_name_of_a_base_class(on_path):
    write_module(on_path, "shelf", "class Book: pass\nclass Novel(Book): pass")
    oobcodec.register_reducer("shelf:Book", lambda _: (str, ("book",)), subclasses=True)
    import shelf

    assert roundtrip([shelf.Novel()]) == ["book"]


def test_name_that_appears_after_the_class_was_seen(on_path):
    write_module(on_path, "shelf", "class Book: pass")
    oobcodec.register_reducer("shelf:Alias", lambda _: (str, ("book",)))
    import shelf

    assert type(roundtrip([shelf.Book()])[0]) is shelf.Book
    shelf.Alias = shelf.Book
    assert roundtrip([shelf.Book()]) == ["book"]


@pytest.mark.parametrize("by_name", [True, False])
def test_name_and_class_are_the_same_once_it_is_imported(on_path, by_name):
    write_module(on_path, "shelf", "class Book: pass")
    oobcodec.register_reducer("shelf:Book", reduce_point)
    import shelf

    cls = "shelf:Book" if by_name else shelf.Book
    with pytest.raises(RegistryError, match=r"shelf:Book has a registered reducer already"):
        oobcodec.register_reducer(cls, reduce_otherwise)
    oobcodec.unregister_reducer(cls)
    assert oobcodec.registered_reducers() == {}
    assert type(roundtrip([shelf.Book()])[0]) is shelf.Book


def test_pending_name_can_be_withdrawn():
    oobcodec.register_reducer("shelf:Book", reduce_point)
    oobcodec.unregister_reducer("shelf:Book")
    assert oobcodec.registered_reducers() == {}


# Types under a tag


class Color:
    def __init__(self, pixels):
        self.pixels = pixels


def encode_color(color):
    return color.pixels


def test_tagged_type_travels_as_plain_data_and_out_of_band():
    oobcodec.register_type(Color, "tests.color", encode_color, Color)
    assert oobcodec.registered_types() == {"tests.color": Color}
    pixels = np.arange(1000)
    frames = oobcodec.dumps({"c": [Color(pixels)]})
    assert np.shares_memory(np.frombuffer(frames[2], np.int64), pixels)
    assert b"Color" not in b"".join(frames)
    (color,) = oobcodec.loads(frames)["c"]
    assert type(color) is Color
    assert color.pixels.tolist() == pixels.tolist()


def test_tagged_type_concerns_no_subclass():
    class Shade(Color):
        def __reduce__(self):
            return str, ("shade",)

    oobcodec.register_type(Color, "tests.color", encode_color, Color)
    assert roundtrip([Shade(1)]) == ["shade"]


@pytest.mark.parametrize(
    "tag", ["color", "", ".color", "tests.", "tests color.x", "tésts.color", b"tests.color", None, 1]
)
def test_malformed_tag(tag):
    with pytest.raises(RegistryError, match=r"is not 'package.name', after the package that registers it"):
        oobcodec.register_type(Color, tag, encode_color, Color)
    assert oobcodec.registered_types() == {}


@pytest.mark.parametrize(
    ("cls", "encode", "decode", "text"),
    [
        ("shelf:Book", str, str, r"'shelf:Book' is not a class"),
        (Color(1), str, str, r"is not a class"),
        (Color, None, str, r"encode=None cannot be called"),
        (Color, str, "Color", r"decode='Color' cannot be called"),
    ],
)
def test_type_of_wrong_arguments(cls, encode, decode, text):
    with pytest.raises(RegistryError, match=text):
        oobcodec.register_type(cls, "tests.color", encode, decode)
    assert oobcodec.registered_types() == {}
    assert oobcodec.registered_reducers() == {}


def test_type_registered_twice():
    oobcodec.register_type(Color, "tests.color", encode_color, Color)
    oobcodec.register_type(Color, "tests.color", encode_color, Color)
    for cls, tag in [(Color, "tests.other"), (Point, "tests.color"), (Color, "tests.color")]:
        with pytest.raises(RegistryError, match=r"Color has the tag 'tests.color' already: replace=True"):
            oobcodec.register_type(cls, tag, str, str)
    assert oobcodec.registered_types() == {"tests.color": Color}


def test_replacing_takes_the_place_of_class_and_tag():
    oobcodec.register_type(Color, "tests.color", encode_color, Color)
    oobcodec.register_type(Point, "tests.point", reduce_point, Point)
    oobcodec.register_type(Color, "tests.point", encode_color, lambda pixels: ("decoded", pixels), replace=True)
    assert oobcodec.registered_types() == {"tests.point": Color}
    assert roundtrip([Color(5)]) == [("decoded", 5)]
    assert type(roundtrip([Point(5)])[0]) is Point


def test_type_over_a_reducer_of_the_class():
    oobcodec.register_reducer(Color, reduce_otherwise)
    with pytest.raises(RegistryError, match=r"Color has a registered reducer already"):
        oobcodec.register_type(Color, "tests.color", encode_color, Color)
    assert oobcodec.registered_types() == {}
    oobcodec.register_type(Color, "tests.color", encode_color, Color, replace=True)
    assert type(roundtrip([Color(5)])[0]) is Color


def test_unregistered_type_travels_as_before_and_its_tag_is_unknown():
    oobcodec.register_type(Color, "tests.color", encode_color, Color)
    frames = oobcodec.dumps([Color(5)])
    oobcodec.unregister_type("tests.color")
    assert b"Color" in b"".join(oobcodec.dumps([Color(5)]))
    with pytest.raises(
        DecodeError, match=r"the type tag 'tests.color' is unknown here: install and import 'tests', which registers it"
    ):
        oobcodec.loads(frames)
    with pytest.raises(RegistryError, match=r"no type is registered under the tag 'tests.color'"):
        oobcodec.unregister_type("tests.color")


def test_type_whose_reducer_is_gone_is_unregistered_all_the_same():
    cls = type("Gone", (), {})
    oobcodec.register_type(cls, "tests.gone", vars, dict)
    oobcodec.unregister_reducer(cls)
    oobcodec.unregister_type("tests.gone")
    assert "tests.gone" not in oobcodec.registered_types()


# Threads


def test_registering_while_others_dump():
    stop = threading.Event()
    wrong = []

    def work():
        while not stop.is_set():
            (received,) = roundtrip([Point(7)])
            if received != "Point(7)" and type(received) is not Point:
                wrong.append(received)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            oobcodec.register_reducer(Point, reduce_otherwise)
            if roundtrip([Point(8)]) != ["Point(8)"]:
                wrong.append("too late")
            oobcodec.unregister_reducer(Point)
            if type(roundtrip([Point(8)])[0]) is not Point:
                wrong.append("too early")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_what_was_found_before_a_change_is_not_remembered():
    local = Registry({})

    class Meta(type):
        def __getattribute__(cls, name):
            if name == "__getnewargs__" and not local._registered:
                local.register_reducer(cls, reduce_otherwise)  # another thread, at the worst moment
            return super().__getattribute__(name)

    changing = Meta("changing", (Point,), {})
    local.provide(Point, reduce_point, subclasses=True)
    assert local.table[changing] is reduce_point
    assert local.table[changing] is reduce_otherwise


def test_module_functions_belong_to_the_default():
    for kind in ("reducer", "type", "serializer", "codec"):
        for name in (f"register_{kind}", f"unregister_{kind}", f"registered_{kind}s"):
            assert getattr(registry, name) == getattr(DEFAULT, name)
