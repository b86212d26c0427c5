"""The samples of the demo: that they arrive, and are made of nothing but the seed."""

import pytest

import oobcodec
from oobcodec import samples
from oobcodec.comparison import difference
from oobcodec.samples import Sample

AVAILABLE = [sample for sample in samples.SAMPLES if not sample.missing]


@pytest.mark.parametrize("sample", AVAILABLE, ids=lambda sample: sample.name)
def test_sample_arrives(sample):
    sent = sample.make(1)
    received = oobcodec.loads(oobcodec.pack(oobcodec.dumps(sent)))
    assert difference(sent, received, compacted=sample.compacted) == ""


@pytest.mark.parametrize("sample", AVAILABLE, ids=lambda sample: sample.name)
def test_sample_is_made_from_the_seed(sample):
    assert difference(sample.make(1), sample.make(1)) == ""
    assert difference(sample.make(1), sample.make(2))


def test_sample_needs_its_libraries():
    assert Sample("without", list).missing == []
    assert Sample("with", list, "numpy json").missing == []
    assert Sample("missing", list, "no_such numpy nor_this").missing == ["no_such", "nor_this"]
