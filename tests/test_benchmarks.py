"""The checks run, and say what they have found."""

import json
from importlib.util import find_spec

import pytest
from helpers import run_module

from benchmarks import compression, datasets
from benchmarks.plots import compression as plot
from benchmarks.results import Result

EIGHT = [name for name in datasets.DATA if name != datasets.BFLOAT16]


def run(*arguments, paths=()):
    return run_module("benchmarks", "check", *arguments, paths=paths)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    done = run("--quick", "--only", "small_dict", "--json", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def test_environment_is_told(measured):
    text, figures = measured
    assert [*figures["environment"]] == [
        *("Python", "numpy", "oobcodec", "commit", "CPU", "memory", "system", "compression")
    ]
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


def test_command_needs_click_and_rich(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['rich'] = sys.modules['rich.console'] = None")
    done = run("--quick", "--only", "memory", paths=[tmp_path])
    assert done.returncode == 1
    assert done.stderr == 'The benchmarks need click and rich: pip install "oobcodec[cli]"\n'


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


LZ4, ZSTD = "lz4.block", "zstandard 1"


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    for package in ("blosc2", "lz4", "zstandard"):
        pytest.importorskip(package, reason=f"{package}, which compression is measured with, is not installed")
    folder = tmp_path_factory.mktemp("compression")
    done = run("--quick", "--only", "compression", "--json", folder / "figures.json")
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "figures.json").read_text())["results"]


def test_each_data_set_is_compressed_each_way(compressed):
    _, results = compressed
    measured = {(result["name"], result["operation"]): result["measured"] for result in results}
    for name in EIGHT:
        size, dumps, loads = (measured[f"compression, {name}", what] for what in ("size", "dumps", "loads"))
        assert size["uncompressed"] == datasets.NBYTES // 16
        assert size.keys() - {"uncompressed"} == dumps.keys() == loads.keys()
        assert {"oobcodec auto", "oobcodec lz4", "oobcodec zstd", LZ4, ZSTD} <= dumps.keys()
        for way in dumps:
            # LZ4 makes somewhat more of what it cannot compress.
            assert 0 < size[way] < 1.01 * size["uncompressed"]
            assert min(dumps[way], loads[way]) > 0


def test_figures_of_compression_are_geometric_means(compressed):
    _, results = compressed
    sizes = {result["name"]: result["measured"] for result in results if result["operation"] == "size"}
    means = {result["operation"]: result for result in results if result["name"] == "compression, geometric mean"}
    figure = 1.0
    for name in EIGHT:
        size = sizes[f"compression, {name}"]
        figure *= size["oobcodec auto"] / size[LZ4]
    assert means["size, to LZ4"]["figure"] == pytest.approx(figure ** (1 / 8))
    assert {"size, to Zstandard", "size, zstd to Zstandard", "dumps, to LZ4", "loads, to LZ4"} <= means.keys()


def test_compression_of_noise_is_measured(compressed):
    _, results = compressed
    dumped, moved = (result for result in results if result["name"] == "compression, noise")
    assert dumped["measured"]["at 20 GB/s"] == (256 << 20) / 16 / 20e9
    assert moved["measured"].keys() == {"oobcodec auto", "uncompressed"}


def test_compression_without_peers(tmp_path):
    pytest.importorskip("blosc2", reason="blosc2, which oobcodec compresses with, is not installed")
    absent = ("distributed", "joblib", "lz4", "zstandard")
    without = f"import sys; sys.modules.update(dict.fromkeys({absent}))"
    (tmp_path / "sitecustomize.py").write_text(without)
    done = run("--quick", "--only", "compression", "--json", tmp_path / "figures.json", paths=[tmp_path])
    assert done.returncode == 0, done.stderr
    assert "lz4.block is not measured" in done.stderr
    results = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert {result["name"] for result in results} == {"compression, noise"}


def test_compression_without_its_engine(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['blosc2'] = None")
    done = run("--quick", "--only", "compression", "--json", tmp_path / "figures.json", paths=[tmp_path])
    assert done.returncode == 0, done.stderr
    assert "oobcodec auto is not measured" in done.stderr
    assert json.loads((tmp_path / "figures.json").read_text())["results"] == []


@pytest.mark.parametrize("name", [name for name in datasets.DATA if name != datasets.BFLOAT16 or find_spec("torch")])
def test_data_set_is_the_same_each_time_and_as_long_as_it_should_be(name):
    first, second = (dict(datasets.make(1024))[name] for _ in range(2))
    data = compression.bytes_of(first)
    assert data == compression.bytes_of(second)
    assert data.nbytes == datasets.NBYTES // 1024
    assert len(set(data[::7].tolist())) > 8


def test_what_is_measured_is_plotted(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib, which draws plots, is not installed")
    size = {"uncompressed": 8e9, "oobcodec auto": 1e9, LZ4: 4e9}
    results = [
        Result(f"compression, {name}", operation, 0.25, 1.0, "x", measured)
        for name in EIGHT
        for operation, measured in {"size": size, "dumps": {"oobcodec auto": 2, LZ4: 8}, "loads": {LZ4: 4}}.items()
    ]
    plot.draw(results, tmp_path / "new")
    assert (tmp_path / "new" / "compression.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "new" / "compression.svg").read_text()
    for text in ("speed of compression in GB/s", "ratio of uncompressed to compressed", "oobcodec auto", *EIGHT):
        assert f"<!-- {text}" in drawn
    assert "<!-- joblib lz4" not in drawn


def test_plots_take_matplotlib(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None")
    done = run("--quick", "--only", "memory", "--plots", tmp_path / "plots", paths=[tmp_path])
    assert done.returncode == 2
    assert "pip install matplotlib" in done.stderr


def test_unknown_benchmark_is_refused():
    done = run("--only", "nothing")
    assert done.returncode == 2
    assert "small_dict" in done.stderr
