"""The README keeps to what it promises of itself: one screen first, and tables that commands have made."""

import json
import re
from pathlib import Path

import pytest
from conformance.counts import RECORD, counted, record, tables, versions
from conformance.table import LIBRARIES, cases
from helpers import run_module

from benchmarks.__main__ import BENCHMARKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))
OURS = RECORDED["counts"]["oobcodec"]
SCREEN = 25  # lines


def test_what_it_is_and_how_to_use_it_are_on_one_screen():
    first, _, _ = README.partition(".. contents::")
    assert len(first.rstrip().splitlines()) <= SCREEN


def test_files_that_are_linked_to_are_there():
    linked = set(re.findall(r"<(\w+\.rst)>`__|image:: (\S+)|figure:: (\S+)", README))
    assert linked
    for path in linked:
        assert (ROOT / "".join(path)).is_file()


def test_each_row_of_numbers_names_the_benchmark_that_makes_it():
    numbers = README.partition("\nNumbers\n=======\n")[2].partition("\nMessage format\n")[0]
    rows = [line for line in numbers.splitlines() if re.search(r"  \d[\d.]*  ", line)]
    named = {name for row in rows for name in re.findall(r"^``\"(.+?)\"``|``(\w+)``$", row)}
    assert len(rows) > len(named) > 0
    assert all(re.search(r"^``\"|``$", row) for row in rows)
    assert {"".join(name) for name in named} <= BENCHMARKS.keys()


class TestTables:
    """Those of what arrives, with other serializers too."""

    def test_are_what_the_command_prints(self):
        done = run_module("tests.conformance", "--rst")
        assert done.returncode == 0, done.stderr
        for part in done.stdout.rstrip().split("\n\n"):
            assert f"\n{part}\n" in README

    def test_are_of_the_same_cases_for_all(self):
        assert OURS.keys() == {*LIBRARIES}
        sizes = {library: count["cases"] for library, count in OURS.items()}
        for of in RECORDED["counts"].values():
            assert {library: count["cases"] for library, count in of.items()} == sizes

    def test_say_that_all_of_ours_arrive(self):
        for count in OURS.values():
            assert (count["right"], count["broken"]) == (count["cases"], {})

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_are_of_the_cases_that_there_are(self, library):
        if not cases(library):
            pytest.skip(f"{library} is not installed")
        (name, version), *_ = reversed(versions([library], []).items())
        if RECORDED["versions"][name] != version:
            pytest.skip(f"counted with {name} {RECORDED['versions'][name]}, here is {version}")
        assert OURS[library]["cases"] == len(cases(library))

    def test_are_recorded_by_the_command(self, tmp_path):
        path = tmp_path / "counts.json"
        done = run_module("tests.conformance", "--peer", "oobcodec", "--library", "stdlib", "--record", path)
        assert done.returncode == 0, done.stderr
        recorded = json.loads(path.read_text())
        assert recorded["versions"] == versions(["stdlib"], [])
        assert recorded["counts"] == {"oobcodec": {"stdlib": OURS["stdlib"]}}


LOST = {
    "right": {"alone": {}, "nested": {}},
    "copied": {"alone": {"in-band": "..."}, "nested": {"in-band": "..."}},
    "other": {"alone": {}, "nested": {"value": "...", "names": "...", "sharing": "..."}},
}
VALUE, SHARING, STREAM = (
    "Its value, names and metadata",
    "What shared memory shares it",
    "Its data stays out of the stream",
)


def test_a_case_counts_once_for_each_guarantee_that_it_breaks():
    assert counted({"ours": {"numpy": LOST}}) == {
        "ours": {"numpy": {"cases": 3, "right": 2, "broken": {STREAM: 1, VALUE: 1, SHARING: 1}}}
    }


def test_an_aspect_without_a_guarantee_is_noticed():
    with pytest.raises(KeyError, match="colour"):
        counted({"ours": {"numpy": {"one": {"alone": {"colour": "red, not blue"}}}}})


def test_a_record_keeps_what_was_counted_elsewhere(tmp_path):
    path = tmp_path / "counts.json"
    count = {"cases": 1, "right": 1, "broken": {STREAM: 1}}
    one, other = {"oobcodec": {"numpy": count}}, {"oobcodec": {"stdlib": count}}
    record(one, {"numpy": "2"}, path)
    record(other, {"CPython": "3"}, path)
    recorded = json.loads(path.read_text())
    assert recorded == {
        "versions": {"numpy": "2", "CPython": "3"},
        "counts": {"oobcodec": one["oobcodec"] | other["oobcodec"]},
    }
    broken, arrived, footnote = tables(recorded).split("\n\n")
    assert re.split(r"\s{2,}", broken.splitlines()[3]) == [STREAM, "2"]
    assert VALUE not in broken
    assert [line.split() for line in arrived.splitlines()[3:-1]] == [
        ["Python", "1", "1"],
        ["numpy", "1", "1"],
        ["**all**", "2", "2"],
    ]
    assert footnote == "numpy 2, CPython 3."
