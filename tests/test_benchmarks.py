"""The benchmarks run, and say what they have found."""

import json

import pytest
from helpers import run_module


def run(*arguments, paths=()):
    return run_module("benchmarks", *arguments, paths=paths)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    done = run("--quick", "--only", "small_dict", "--json", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def test_environment_is_told(measured):
    text, figures = measured
    assert [*figures["environment"]] == ["Python", "numpy", "oobcodec", "CPU", "system", "peers"]
    for name, value in figures["environment"].items():
        assert f"{name}: {value}\n" in text


def test_figures_follow_from_what_was_measured(measured):
    _, figures = measured
    assert [result["operation"] for result in figures["results"]] == ["dumps", "loads"]
    for result in figures["results"]:
        assert (result["name"], result["unit"]) == ("small_dict", "x")
        assert [*result["measured"]] == ["oobcodec", "pickle 5"]
        ours, theirs = result["measured"].values()
        assert 1e-8 < ours < 1e-3
        assert 1e-8 < theirs < 1e-3
        assert result["figure"] == ours / theirs
        assert result["bar"] == 2.2
        assert result["met"] == (result["figure"] <= result["bar"])


def test_table_shows_ratio_and_bar_and_marks_what_is_missed(measured):
    text, figures = measured
    lines = [line for line in text.splitlines() if "small_dict" in line]
    for line, result in zip(lines, figures["results"], strict=True):
        assert f"{result['figure']:.3g} x" in line
        assert "<= 2.2 x" in line
        assert ("missed" in line) != result["met"]


def test_table_without_rich(tmp_path):
    without = "import sys; sys.modules['rich'] = sys.modules['rich.console'] = None"
    (tmp_path / "sitecustomize.py").write_text(without)
    done = run("--quick", "--only", "memory", paths=[tmp_path])
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("memory "))
    assert "dumps of 64 MiB" in line
    assert "<= 1 MiB" in line
    assert "┃" not in done.stdout


def test_peers_that_lose_nothing_are_measured(tmp_path):
    path = tmp_path / "figures.json"
    done = run("--quick", "--only", "ten rows of it", "--json", path)
    assert done.returncode == 0, done.stderr
    dumping, loading, shipped = json.loads(path.read_text())["results"]
    for result in (dumping, loading):
        assert {"oobcodec", "pickle5", "cloudpickle"} <= result["measured"].keys()
        others = [seconds for name, seconds in result["measured"].items() if name != "oobcodec"]
        assert result["figure"] == result["measured"]["oobcodec"] / min(others)
    assert shipped["measured"]["oobcodec"] < 4096
    assert shipped["measured"]["pickle5"] > 1_000_000


def test_unknown_benchmark_is_refused():
    done = run("--only", "nothing")
    assert done.returncode == 2
    assert "small_dict" in done.stderr
