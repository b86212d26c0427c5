"""Every case of the table arrives as it left, and its data out of band: alone, nested, twice, and among others."""

import json
import re

import pytest
from conformance.comparison import Comparison
from conformance.court import Court
from conformance.judgement import CONTEXTS, judge
from conformance.table import table
from helpers import run_module

import oobcodec
from benchmarks import peers

TABLE = table()
OURS = peers.find("oobcodec")
MESSAGES = 16


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(("library", "name"), TABLE)
def test_arrives_as_it_left(library, name, context):
    assert not judge(OURS, TABLE[library, name], context).lost


@pytest.mark.parametrize("number", range(MESSAGES))
def test_cases_of_all_libraries_in_one_message(number):
    cases = list(TABLE.values())[number::MESSAGES]
    sent = [case.make() for case in cases]
    got = oobcodec.loads([bytearray(frame) for frame in oobcodec.dumps(sent)])
    want = [case.arrives() if case.arrives else obj for case, obj in zip(cases, sent, strict=True)]
    assert not Comparison(got, want).lost


def test_is_a_large_table():
    assert len(TABLE) >= 250


def score(*arguments):
    return run_module("tests.conformance", *arguments)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    path = tmp_path_factory.mktemp("score") / "verdicts.json"
    done = score("--peer", "oobcodec", "--peer", "pickle5", "--library", "stdlib", "--lost", "--json", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


class TestScore:
    """``python -m tests.conformance``, which sends the table by several peers."""

    def test_tells_what_each_peer_loses(self, scored):
        text, verdicts = scored
        assert not any(any(lost.values()) for lost in verdicts["oobcodec"]["stdlib"].values())
        assert verdicts["pickle5"]["stdlib"]["memoryview"]["alone"].keys() == {"error"}
        assert verdicts["pickle5"]["stdlib"]["bytes"]["alone"].keys() == {"in-band"}
        assert "pickle5: stdlib, memoryview: error: TypeError: cannot pickle memoryview objects\n" in text

    def test_counts(self, scored):
        text, verdicts = scored
        (line,) = (line for line in text.splitlines() if line.startswith("stdlib"))
        cases = len(verdicts["oobcodec"]["stdlib"])
        errors = sum("error" in lost["alone"] for lost in verdicts["pickle5"]["stdlib"].values())
        _, count, ours, theirs = re.split(r"\s{2,}", line)
        assert (count, ours) == (str(cases), f"{cases} / {cases} / {cases}")
        alone, everywhere, out_of_band = map(int, theirs.split(" / "))
        assert cases > cases - errors >= alone == everywhere > out_of_band

    def test_missing_peer_is_named(self):
        if peers.find("xoscar"):
            pytest.skip("xoscar is installed")
        done = score("--peer", "xoscar")
        assert done.returncode == 2
        assert "not installed: xoscar" in done.stderr

    def test_crash_of_a_peer_is_a_result(self):
        court = Court()
        try:
            court.start()
            court.kill()
            lost = court.lost_by("oobcodec", "stdlib", "nothing")
            assert {contexts["error"] for contexts in lost.values()} == {"the process crashed"}
            assert not any(court.lost_by("oobcodec", "stdlib", "nothing").values())
        finally:
            court.close()
