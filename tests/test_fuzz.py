"""Mutants of real messages are refused, or are data: nothing crashes, hangs, or does anything else."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgpack
import pytest
from fuzz import batches, corpus, mutate, programs
from fuzz.worker import SHIFTS, source_of, write_case

import oobcodec

MUTANTS = int(os.environ.get("OOBCODEC_FUZZ", "150000"))
SEED = int(os.environ.get("OOBCODEC_FUZZ_SEED", "4"))
FINDINGS = os.environ.get("OOBCODEC_FUZZ_FINDINGS")
SECONDS = int(os.environ.get("OOBCODEC_ATHERIS_SECONDS", "60"))

HERE = Path(__file__).parent
CASES = HERE / "fuzz" / "cases"
BATCH = 50_000
"""Mutants of one process, for most of whose start libraries are imported."""
INSTALLED = ["stdlib", *filter(find_spec, ("numpy", "pandas", "polars", "pyarrow", "torch", "jax"))]

pytestmark = pytest.mark.timeout(max(1800, MUTANTS / 50))


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """Where the messages are that mutants are made of."""
    path = tmp_path_factory.mktemp("fuzz") / "corpus"
    batches.write_corpus(path)
    return path


@pytest.fixture(scope="module")
def real(messages):
    return corpus.read(messages)


def kept(findings, source, real, folder):
    """Write what was found to files, and say which."""
    get, lines = source_of(source, real), []
    for finding in findings:
        path = folder / f"{source.replace(':', '-')}-{finding.number}.msgpack"
        if finding.number >= 0:
            frames, options, _ = get(finding.number)
            write_case(path, frames, options)
        lines.append(f"{path}: {finding.kind}: {finding.text}")
    return "\n".join(lines)


def folder_of_findings(tmp_path):
    folder = Path(FINDINGS or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_mutants_are_refused_or_are_data(messages, real, tmp_path):
    source = f"mutants:{SEED}"
    outcome = batches.run_all(messages, source, MUTANTS, min(BATCH, -(-MUTANTS // 2)))
    assert not outcome.findings, kept(outcome.findings, source, real, folder_of_findings(tmp_path))
    became = {name: n for name, n in outcome.counts.items() if not name.startswith("specimens")}
    assert sum(became.values()) == MUTANTS, became
    # They get deep enough: of each library many are still messages, and many are not.
    loaded = {name: n for name, n in became.items() if name.startswith("loaded")}
    assert sum(loaded.values()) > MUTANTS / 20, became
    assert not [library for library in INSTALLED if not loaded.get(f"loaded of {library}")], became


def test_messages_may_lie_anywhere_in_memory(messages, real):
    """Everything is done with what is loaded: compiled code may want its operands at round addresses."""
    count = len(real.specimens) * len(SHIFTS)
    outcome = batches.run_all(messages, "shifted:", count, -(-count // 2))
    assert not outcome.findings, "\n".join(f"{each.kind}: {each.text}" for each in outcome.findings)
    assert outcome.counts["loaded of numpy"] >= len(real.libraries["numpy"])


def test_what_was_once_found_is_refused_or_is_data(messages):
    paths = sorted(CASES.glob("*.msgpack"))
    assert paths
    outcome = batches.run(messages, f"cases:{CASES}", 0, len(paths))
    found = [f"{paths[each.number]}: {each.kind}: {each.text}" for each in outcome.findings]
    assert not found, "\n".join(found)


# The machinery finds what there is to find.


def test_programs_are_written_as_they_were_read(real):
    assert len(real.programs) > 500
    for specimen in real.programs:
        stream, buffers = programs.write(specimen.program)
        assert stream == b"".join(specimen.frames[1 : 1 + specimen.fields[3]])
        assert len(buffers) == len(specimen.fields[-1])


def test_mutants_are_the_same_again(real, messages):
    again = corpus.read(messages)
    for number in range(1000):
        one, other = (mutate.mutant(each, SEED, number) for each in (real, again))
        assert (one.frames, one.options) == (other.frames, other.options)
    assert one.frames != mutate.mutant(real, SEED + 1, number).frames


def test_trouble_is_found_and_attributed(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "HANGS", 5.0)
    messages = tmp_path / "corpus"
    messages.write_bytes(msgpack.packb([("stdlib", "nothing", [bytes(frame) for frame in oobcodec.dumps(None)])]))
    outcome = batches.run(messages, "trouble:", 0, 7)
    kinds = {finding.number: finding.kind for finding in outcome.findings}
    assert kinds.pop(4).endswith("s loading")
    assert kinds == {
        0: "signal 11 loading",
        1: "hangs loading",
        2: "ValueError from loads",
        3: "SystemExit from loads",
        5: "side effect",
    }
    assert outcome.counts["loaded of trouble"] == 3


# atheris, where it is installed


def start_atheris(target, folder):
    seeds, found = folder / target / "seeds", Path(FINDINGS or folder) / target
    for each in (seeds, found):
        each.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={SECONDS}", "-timeout=5", "-rss_limit_mb=4096", "-max_len=4096"]
    return subprocess.Popen(
        [sys.executable, "-m", "fuzz.harness", target, *options, f"-artifact_prefix={found}/", str(seeds)],
        env=batches.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("targets", [("header", "scan"), ("receiver", "loads")], ids=" and ".join)
def test_atheris_finds_nothing(targets, tmp_path):
    pytest.importorskip("atheris", reason="atheris is not installed: there are wheels for Linux on x86-64 only")
    running = {target: start_atheris(target, tmp_path) for target in targets}
    outputs = {target: process.communicate()[0] for target, process in running.items()}
    for target, process in running.items():
        assert process.returncode == 0, outputs[target][-5000:]
        assert "Done " in outputs[target], outputs[target][-5000:]
