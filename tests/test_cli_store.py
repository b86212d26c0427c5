"""``oobcodec store``, beside processes that have stores open."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner
from stores import MIB, parts_of, place, store  # noqa: F401  # fixtures

import oobcodec
from oobcodec import cli
from oobcodec.store import Store


def run(*arguments, directory):
    return CliRunner().invoke(cli.commands, ["store", *arguments, "--directory", directory])


def rows_of(result):
    """Return the cells of a table, by lines."""
    lines = [line for line in result.output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def killed(code, directory):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), directory], check=False)
    assert done.returncode == -signal.SIGKILL


def test_lists_stores(store):  # noqa: F811
    store.put(bytes(MIB), "x")
    store.put(1, "y", pinned=True)
    with Store("b", directory=store.directory, capacity="1 MiB", persistent=True):
        result = run("ls", directory=store.directory)
    info = store.info()
    assert result.exit_code == 0
    assert rows_of(result) == [
        ["b", "0", "0", "1,048,576", "0", "0", "yes"],
        ["tests", "2", f"{info.used:,}", "67,108,864", f"{info.pinned:,}", "0", "no"],
    ]


def test_lists_objects_and_who_has_them(store):  # noqa: F811
    store.put(memoryview(bytes(MIB)), "x")
    store.put(1, "y", pinned=True)
    held = store.get("x")
    before = store.objects()
    result = run("ls", "tests", directory=store.directory)
    assert result.exit_code == 0
    (x, y) = rows_of(result)
    assert x[:3] + x[4:] == ["x", f"{max(each.nbytes for each in before):,}", "no", str(os.getpid())]
    assert y[:3] + y[4:] == ["y", f"{min(each.nbytes for each in before):,}", "yes", "-"]
    assert store.objects() == before, "looking is no use"
    assert len(held) == MIB


def test_says_that_there_is_nothing(place):  # noqa: F811
    assert run("ls", directory=place).output == f"there are no stores in {place}\n"
    with Store("a", directory=place):
        assert run("ls", "a", directory=place).output == "there are no objects in a\n"


def test_shows_how_full_one_is(store):  # noqa: F811
    store.put(bytes(MIB), "x")
    result = run("info", "tests", directory=store.directory)
    assert result.exit_code == 0
    shown = dict(rows_of(result))
    info = store.info()
    assert list(shown) == list(info.__slots__)
    assert (shown["name"], shown["used"], shown["persistent"]) == ("tests", f"{info.used:,}", "no")


def test_removes_objects(store):  # noqa: F811
    for key in "xyz":
        store.put(key, key)
    assert run("rm", "tests", "x", "z", directory=store.directory).exit_code == 0
    assert store.keys() == ["y"]


def test_removes_a_store_that_is_in_use(store):  # noqa: F811
    assert run("rm", "tests", directory=store.directory).exit_code == 0
    assert Store.list(store.directory) == []


def test_gc_removes_what_a_killed_process_has_left(place):  # noqa: F811
    code = """
        import os, signal, sys
        from oobcodec.store import Store
        store = Store("left", directory=sys.argv[1])
        store.put(bytes(1 << 20))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with Store("in use", directory=place):
        killed(code, place)
        result = run("gc", directory=place)
        assert (result.exit_code, result.output) == (0, "removed left\n")
        assert Store.list(place) == ["in use"]


def test_gc_removes_what_a_killed_process_was_writing(store):  # noqa: F811
    code = """
        import os, signal, sys
        from oobcodec.store import Store
        with Store("tests", directory=sys.argv[1], create=False).create("x", 1 << 20):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed(code, store.directory)
    assert len(parts_of(store)["drafts"]) == 1
    assert run("gc", directory=store.directory).output == ""
    assert parts_of(store) == {"objects": [], "drafts": [], "free": []}


@pytest.mark.parametrize("command", ["info", "ls", "rm"])
def test_a_store_that_is_not_there_is_an_error(place, command):  # noqa: F811
    result = run(command, "a", directory=place)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: there is no store 'a' in {place}")


def test_an_object_that_is_not_there_is_an_error(store):  # noqa: F811
    result = run("rm", "tests", "x", directory=store.directory)
    assert (result.exit_code, result.output[:42]) == (1, "Error: store 'tests', key 'x': there is no")


def test_elsewhere_than_on_linux_it_says_so(place, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sys, "platform", "darwin")
    result = run("ls", directory=place)
    assert (result.exit_code, result.output[:25]) == (1, "Error: Store needs Linux:")


@pytest.mark.parametrize("command", [["ls"], ["ls", "a"], ["info", "a"], ["rm", "a"], ["rm", "a", "x"], ["gc"]])
def test_where_there_are_no_file_locks_it_says_so(place, monkeypatch, command):  # noqa: F811
    monkeypatch.delattr(oobcodec, "Store", raising=False)
    monkeypatch.delitem(sys.modules, "oobcodec.store")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    result = run(*command, directory=place)
    assert (result.exit_code, result.output[:34]) == (1, "Error: oobcodec.Store needs Linux:")


def test_prints_names_as_they_are(place):  # noqa: F811
    with Store("[red]\x1b[31m", directory=place) as store:  # noqa: F811
        store.put(1, "[bold]\x1b[0m\n")
        assert rows_of(run("ls", directory=place))[0][0] == r"[red]\x1b[31m"
        assert rows_of(run("ls", store.name, directory=place))[0][0] == r"[bold]\x1b[0m\n"
        run("rm", store.name, directory=place)


def test_is_a_command(store):  # noqa: F811
    command = [sys.executable, "-m", "oobcodec", "store", "ls", "--directory", store.directory]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert "│ tests │" in done.stdout
