"""Mutants of headers, pickle streams and what a receiver gets, in this process, for those are read by Python alone."""

import os
from random import Random

import pytest
from fuzz import batches, corpus, mutate

import oobcodec
from oobcodec.header import decode, decode_prelude
from oobcodec.limits import FOR_DATA, Limits
from oobcodec.scan import scan

MUTANTS = int(os.environ.get("OOBCODEC_FUZZ", "150000")) * 2 // 3
SEED = int(os.environ.get("OOBCODEC_FUZZ_SEED", "4"))

pytestmark = [
    pytest.mark.timeout(max(1800, MUTANTS / 50)),
    pytest.mark.no_cover,  # which takes three times as long, and other tests cover all of it
]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Return the messages that mutants are made of."""
    path = tmp_path_factory.mktemp("fuzz") / "corpus"
    batches.write_corpus(path)
    return corpus.read(path)


def is_refused(read, data):
    """Tell whether something is refused; it may be no error but one of ours."""
    try:
        read(data)
    except oobcodec.OobError:
        return True
    return False


def shares(refused):
    """Return how many were refused, and how many were not."""
    return sum(refused), len(refused) - sum(refused)


def test_headers_are_refused_or_are_headers(real):
    specimens = [specimen for each in real.libraries.values() for specimen in each]
    refused = []
    for number in range(MUTANTS):
        rng = Random(f"header {SEED}:{number}")
        specimen = rng.choice(specimens if rng.random() < 0.8 else real.libraries[corpus.SEALED])
        data = mutate.changed_header(specimen, rng)[0][0]
        refused.append(is_refused(decode, data))
        is_refused(decode_prelude, data)
    assert min(shares(refused)) > len(refused) / 100


def test_streams_are_refused_or_are_programs(real):
    refused = []
    for number in range(MUTANTS):
        stream = mutate.stream(real, Random(f"stream {SEED}:{number}"))
        refused.append(is_refused(_scan, stream))
    assert min(shares(refused)) > len(refused) / 100


def _scan(stream):
    return scan(stream, max_depth=FOR_DATA.max_depth, max_operations=FOR_DATA.max_operations)


def test_receiver_refuses_or_takes_what_comes_in_pieces_of_any_size(real):
    specimens = [specimen for each in real.libraries.values() for specimen in each]
    refused = []
    for number in range(MUTANTS):
        rng = Random(f"receiver {SEED}:{number}")
        specimen = rng.choice(specimens)
        chance = rng.random()
        frames = mutate.changed_header(specimen, rng)[0] if chance < 0.7 else specimen.frames
        stream = mutate.packed(frames)
        stream = stream if chance < 0.9 else mutate.damaged(bytes(stream), None, rng)
        refused.append(is_refused(lambda stream, rng=rng: _receive(stream, rng), stream))
    assert min(shares(refused)) > len(refused) / 100


def _receive(stream, rng):
    """Receive a stream that should be one message."""
    receiver = oobcodec.Receiver(limits=Limits(max_total_bytes=1 << 20, max_header_bytes=1 << 16))
    at, frames = 0, None
    while at < len(stream):
        lent = receiver.get_buffer()
        assert len(lent) <= 1 << 20
        size = min(rng.choice((1, 7, 24, 64, 1000, 1 << 20)), len(lent), len(stream) - at)
        lent[:size] = stream[at : at + size]
        at += size
        frames = receiver.advance(size)
        if frames is not None:
            break
    if frames is None:
        with pytest.raises((oobcodec.TruncatedError, EOFError)):
            receiver.end()
        return
    assert b"".join(frames) in bytes(stream) or len(frames) > 1
