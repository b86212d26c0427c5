"""Every case of the table arrives as it left, and its data out of band: alone, nested, twice, and among others."""

import pytest
from conformance.comparison import Comparison
from conformance.judgement import CONTEXTS, judge
from conformance.table import table

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
