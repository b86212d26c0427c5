import threading

import pytest
from helpers import forgotten_modules, run_python, write_module

from oobcodec.errors import RegistryError
from oobcodec.plugins import Plugins, check_members, check_tag, unknown

PLUGIN = """
    import oobcodec

    CALLS = []

    class Whole:
        tag = "shelf.whole"

        def supports(self, obj):
            return type(obj).__name__ == "Novel"

        def dumps(self, obj):
            return 7, []

        def loads(self, meta, buffers):
            return "whole", meta

    def register():
        CALLS.append(1)
        oobcodec.register_reducer("shelf:Book", lambda _: (str, ("plugged in",)), replace=True)
        oobcodec.register_type(Whole, "shelf.type", str, lambda data: ("type", data))
        oobcodec.register_serializer(Whole(), replace=True)
"""

CHECK = """
    import sys
    import oobcodec
    from oobcodec.header import encode

    class Other: pass

    def plugged_in():
        return len(sys.modules["shelf_plugin"].CALLS) if "shelf_plugin" in sys.modules else 0

    assert "importlib.metadata" not in sys.modules
    oobcodec.loads(oobcodec.dumps(Other()))
    assert plugged_in() == 0
"""


@pytest.fixture
def plugin(tmp_path):
    """Return a folder with an installed distribution that has an entry point."""
    write_module(tmp_path, "shelf", "class Book: pass\nclass Novel(Book): pass")
    write_module(tmp_path, "shelf_plugin", PLUGIN)
    info = tmp_path / "shelf_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[oobcodec.reducers]\nshelf = shelf_plugin:register\n")
    return tmp_path


@pytest.mark.parametrize(
    "use",
    [
        'import shelf; assert oobcodec.loads(oobcodec.dumps([shelf.Book()])) == ["plugged in"]',
        'import shelf; assert oobcodec.loads(oobcodec.dumps(shelf.Novel())) == ("whole", 7)',
        'assert oobcodec.loads([encode("shelf.whole", 5, (), 0, ())]) == ("whole", 5)',
        'from oobcodec.registry import DEFAULT; assert DEFAULT.decoder("shelf.type")(5) == ("type", 5)',
    ],
)
def test_entry_point_is_loaded_when_its_library_is_needed(plugin, use):
    again = "import shelf; oobcodec.dumps([shelf.Book(), shelf.Novel()])\n    assert plugged_in() == 1"
    run_python(f"import sys; sys.path.insert(0, {str(plugin)!r})\n" + _dedented(f"{CHECK}\n    {use}\n    {again}"))


def _dedented(code):
    return "\n".join(line[4:] for line in code.splitlines())


def test_plugin_that_fails_is_tried_again_and_one_that_succeeds_is_not(tmp_path, monkeypatch):
    write_module(
        tmp_path,
        "shelf",
        """
        ready, calls = False, 0

        def register():
            global calls
            calls += 1
            if not ready:
                raise RuntimeError("not yet")
        """,
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins({"books": ["shelf"]})
    with forgotten_modules("shelf"):
        plugins._plug_in("none")
        import shelf

        assert shelf.calls == 0
        with pytest.raises(RuntimeError, match="not yet"):
            plugins._plug_in("books")
        shelf.ready = True
        for _ in range(2):
            plugins._plug_in("books")
            assert shelf.calls == 2


def test_threads_that_look_for_entry_points_at_once():
    plugins = Plugins({})
    barrier = threading.Barrier(8)
    done = []

    def look():
        barrier.wait()
        plugins._plug_in("none")
        done.append(plugins._scanned)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 8


def test_entry_points_that_another_thread_has_found_meanwhile():
    plugins, called = Plugins({}), []

    class Lock:
        def __enter__(self):
            plugins._scanned = True

        def __exit__(self, *_):
            pass

    plugins._plugins["shelf"] = [lambda: lambda: called.append(1)]
    plugins._lock = Lock()
    plugins._plug_in("none")
    assert set(plugins._plugins) == {"shelf"}
    plugins._plug_in("shelf")
    assert called == [1]


def test_tags():
    check_tag("shelf.book")
    with pytest.raises(RegistryError, match=r"the tag 'book' is not 'package.name', after the package that registers"):
        check_tag("book")
    text = "the serializer tag 'shelf.book' is unknown here: install and import 'shelf', which registers it"
    assert unknown("serializer", "shelf.book") == text


def test_members():
    check_members("text", "a", ("upper", "lower"))
    with pytest.raises(RegistryError, match=r"'a' is no list: it lacks append, pop"):
        check_members("list", "a", ("append", "index", "pop"))
