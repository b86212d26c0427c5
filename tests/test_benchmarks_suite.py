"""The suite measures each peer, and its results become a report and can be compared."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
from helpers import run_module

from benchmarks import markup, page, peers, ratios, records, seed, suite, units, workloads
from benchmarks.records import OPERATIONS, Command, Entry, Results, Subject, Timing

OURS, OLD = records.OURS, suite.OLD


def entry(workload, peer, seconds, **fields):
    return Entry(workload, peer, dict.fromkeys(OPERATIONS, Timing(seconds, 1.5 * seconds)), {"dumps": 9}, 80, **fields)


def results(*entries, names=("numpy, 1 kB", "numpy, 100 kB")):
    sizes = {name: workloads.WORKLOADS[name] for name in names}
    subjects = {name: Subject(each.family, each.nbytes, 1e-6) for name, each in sizes.items()}
    found = Results({"CPU": "one"}, dict.fromkeys((each.peer for each in entries), "1"), subjects)
    for each in entries:
        found.add(each)
    return found


@pytest.fixture
def small():
    return results(
        *(entry(name, OURS, 2e-6) for name in ("numpy, 1 kB", "numpy, 100 kB")),
        *(entry(name, OLD, 8e-6) for name in ("numpy, 1 kB", "numpy, 100 kB")),
        entry("numpy, 1 kB", "pickle5", 1e-6),
        entry("numpy, 100 kB", "pyfory", 1e-6, lost={"mutability": "obj.flags: `x` | *y*_"}),
        Entry("numpy, 100 kB", "pickle5", unsupported="TypeError: not for this"),
    )


# Statistics


def test_best_is_the_quickest_that_loses_nothing(small):
    assert ratios.best(small, "numpy, 1 kB", "dumps").peer == "pickle5"
    assert ratios.best(small, "numpy, 100 kB", "dumps").peer == OURS
    assert ratios.best(small, "numpy, 100 kB", "dumps", without=OURS).peer == OLD
    assert ratios.best(results(), "numpy, 1 kB", "dumps") is None


def test_ratios_are_multiples_of_our_time(small):
    assert ratios.to_ours(small, "numpy, 100 kB", "dumps") == {OURS: 1, OLD: 4, "pyfory": 0.5}


def test_ratios_without_ours_are_multiples_of_the_best():
    found = results(entry("numpy, 1 kB", "pickle5", 1e-6), entry("numpy, 1 kB", OLD, 2e-6))
    assert ratios.to_ours(found, "numpy, 1 kB", "loads") == {"pickle5": 1, OLD: 2}
    assert ratios.to_ours(results(), "numpy, 1 kB", "loads") == {}


def test_rows_that_others_win_are_told_and_those_of_peers_that_lose_something_are_not(small):
    lost = ratios.losses(small)
    assert {(loss.workload, loss.peer, loss.ratio) for loss in lost} == {("numpy, 1 kB", "pickle5", 2)}
    assert [loss.operation for loss in lost] == [*OPERATIONS]


def test_shapes_of_a_message_are_no_rows_to_win():
    found = results(entry("shape of a message, 1 kB", "frames", 1.0), names=["shape of a message, 1 kB"])
    assert ratios.rows(found) == []


def test_gain_is_the_time_of_the_old_by_that_of_the_new(small):
    assert ratios.gain(small, OLD, OURS, "numpy, 1 kB", "dumps") == 4
    assert ratios.gain(small, "pickle5", OURS, "numpy, 100 kB", "dumps") is None
    assert ratios.mean([2.0, None, 8.0]) == pytest.approx(4)
    assert ratios.mean([None]) is None


# Comparison


def scaled(before, factor, **factors):
    """Return results of a machine that is slower by a factor, with those of peers that have another one."""
    after = results()
    for each in before.entries.values():
        by = factors.get(each.peer, factor)
        times = {name: Timing(by * timing.best, by * timing.median) for name, timing in each.times.items()}
        after.add(replace(each, times=times))
    return after


def test_slower_machine_is_no_change(small):
    assert ratios.changes(small, scaled(small, 3.0), 1.25) == []


def test_what_others_did_not_suffer_is_a_change(small):
    found = ratios.changes(small, scaled(small, 2.0, oobcodec=4.0), 1.25)
    assert {(change.peer, change.ratio) for change in found if change.workload == "numpy, 100 kB"} == {(OURS, 2)}
    assert {change.operation for change in found} == {*OPERATIONS}


def test_change_of_the_best_without_the_median_is_noise(small):
    after = scaled(small, 1.0)
    slower = {name: Timing(3 * timing.best, timing.median) for name, timing in entry("", "", 2e-6).times.items()}
    after.add(replace(after.entries["numpy, 1 kB", OURS], times=slower))
    assert ratios.changes(small, after, 1.25) == []


def test_change_for_the_better_comes_last(small):
    found = ratios.changes(small, scaled(small, 1.0, oobcodec=1.5, pyfory=0.1), 1.25)
    assert found[-1].peer == "pyfory"
    assert found[-1].ratio == pytest.approx(0.1)


def test_compare_fails_if_oobcodec_is_slower(small, tmp_path):
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    small.save(before)
    scaled(small, 1.0, oobcodec=3.0).save(after)
    done = run_module("benchmarks", "compare", before, after)
    assert done.returncode == 1
    assert "3x" in done.stdout
    assert run_module("benchmarks", "compare", after, before).returncode == 0
    same = run_module("benchmarks", "compare", before, before)
    assert (same.returncode, same.stdout) == (0, "Nothing has changed by more than is tolerated.\n")


# Files


def test_results_are_read_as_they_were_saved(small, tmp_path):
    small.commands = [Command("what", "python", None)]
    small.save(tmp_path / "results.json")
    assert records.load(tmp_path / "results.json") == small


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"format": 1}', '{"format": 2}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    done = run_module("benchmarks", "report", path, "-o", tmp_path / "report")
    assert done.returncode == 1
    assert "is no file of `python -m benchmarks run`" in done.stderr


# Report


def test_report_has_tables_of_ratios_and_of_what_is_lost(small, tmp_path):
    pytest.importorskip("docutils", reason="docutils, which makes a page of the report, is not installed")
    small.commands = [Command("the array alone", "python -c pass", 2.0), Command("ours", "python -c 1", 2.5)]
    path = page.write(small, tmp_path / "new" / "folder")
    source = path.with_name("report.rst").read_text()
    assert "2x (8 " not in source
    assert '"numpy, 1 kB","2 µs","4x","0.5x",""' in source
    assert '"numpy, 100 kB","2 µs","4x","—","0.5x ✗"' in source
    assert "4x as long as oobcodec" in source
    assert '"ours","2.5 s","500 ms"' in source
    shown = path.read_text()
    assert "✗ mutability: obj.flags: `x` | *y*_" in shown
    assert "TypeError: not for this" in shown
    assert "system-message" not in shown


def test_report_has_plots_in_two_formats(small, tmp_path):
    pytest.importorskip("docutils", reason="docutils, which makes a page of the report, is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib, which draws plots, is not installed")
    page.write(small, tmp_path)
    for name in ("times-numpy", "throughput", "old-and-new"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'src="{name}.svg"' in (tmp_path / "index.html").read_text()
    drawn = (tmp_path / "times-numpy.svg").read_text()
    for text in ("time in seconds", "size in bytes", OURS, "round trip"):
        assert f"<!-- {text}" in drawn


def test_report_answers_what_a_message_should_be(tmp_path):
    pytest.importorskip("docutils", reason="docutils, which makes a page of the report, is not installed")
    name = "shape of a message, 1 kB"
    times = {"oobcodec": 1e-6, "tag + payload": 6e-6, "BytesIO": 4e-6, "frames": 2e-6}
    path = page.write(results(*(entry(name, *each) for each in times.items()), names=[name]), tmp_path)
    assert "for 1 kB a round trip of tag + payload takes 3x as long" in path.read_text()


def test_text_is_no_markup():
    text = r"`a` *b* |c| d_ \e"
    source = markup.heading("T", 0) + markup.table(["x"], [[text]])
    pytest.importorskip("docutils", reason="docutils, which makes a page of the report, is not installed")
    assert text in markup.html(source)


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (units.duration(0), "0 ns"),
        (units.duration(3.2e-7), "320 ns"),
        (units.duration(1.5), "1.5 s"),
        (units.amount(8_000_113), "8 MB"),
        (units.amount(12), "12 B"),
        (units.times(0.123), "0.12x"),
        (units.times(1234.5), "1234x"),
    ],
)
def test_amounts_are_short(shown, wanted):
    assert shown == wanted


# What is measured


def test_workloads_are_many_and_of_all_sizes():
    sizes = [each.nbytes for each in workloads.WORKLOADS.values()]
    assert len(sizes) >= 30
    assert (min(sizes), max(sizes)) == (100, 1_000_000_000)


def test_workloads_are_chosen_by_name_size_and_memory():
    assert workloads.chosen(["numpy*"], quick=True, memory=1 << 40) == ["numpy, 1 kB", "numpy, 100 kB", "numpy, 10 MB"]
    assert "numpy, 1 GB" in workloads.chosen([], quick=False, memory=8 << 30)
    assert "numpy, 1 GB" not in workloads.chosen([], quick=False, memory=4 << 30)
    assert workloads.chosen(["nothing"], quick=False, memory=1 << 40) == []


@pytest.mark.parametrize("name", workloads.chosen([], quick=True, memory=1 << 40))
def test_workload_is_the_same_each_time(name):
    workload = workloads.WORKLOADS[name]
    if workload.missing:
        pytest.skip(f"{', '.join(workload.missing)}, which it takes, is not installed")
    peer = peers.find("oobcodec")
    first, second = (b"".join(map(bytes, peer.dumps(workload.make())[1])) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", peers.SHAPES)
def test_shapes_carry_an_array(name):
    numpy = pytest.importorskip("numpy", reason="numpy, whose arrays they carry, is not installed")
    peer = peers.find(name)
    array = numpy.arange(60.0).reshape(3, 20)
    head, buffers = peer.dumps(array)
    got = peer.loads(head, [bytearray(buffer) for buffer in buffers])
    assert got.dtype == array.dtype
    assert (got == array).all()


@pytest.mark.parametrize("name", peers.ALL)
def test_peer_carries_what_it_is_for(name):
    peer = peers.find(name)
    if peer is None:
        pytest.skip(f"{name} is not installed")
    obj = {"safetensors": _tensors, "Arrow IPC": _table, "numpy.save": _array}.get(name, lambda: {"a": [1, 2.5, "x"]})()
    head, buffers = peer.dumps(obj)
    got = peer.loads(head, [peers.peer.received(buffer) for buffer in buffers])
    assert type(got) is type(obj)
    assert str(got) == str(obj)


def _array():
    return pytest.importorskip("numpy", reason="numpy is not installed").arange(10.0)


def _tensors():
    return {"x": pytest.importorskip("torch", reason="torch is not installed").arange(10)}


def _table():
    return pytest.importorskip("pyarrow", reason="pyarrow is not installed").table({"x": [1, 2, 3]})


@pytest.mark.parametrize("name", ["numpy.save", "safetensors", "Arrow IPC"])
def test_specialist_says_what_it_is_not_for(name):
    peer = peers.find(name)
    if peer is None:
        pytest.skip(f"{name} is not installed")
    with pytest.raises(TypeError, match="not for objects of type list"):
        peer.dumps([1])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10 loops, best of 5: 554 msec per loop", 0.554), ("1 loop, best of 1: 2.5 sec per loop", 2.5)],
)
def test_what_timeit_says_is_read(text, seconds):
    assert seed.seconds(text) == pytest.approx(seconds)


def test_other_text_is_not_taken_for_a_time():
    with pytest.raises(ValueError, match="says nothing of a loop"):
        seed.seconds("Traceback")


# The command


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "results.json"
    wanted = [option for name in ("oobcodec", "pickle5", "numpy.save") for option in ("--peers", name)]
    done = run_module("benchmarks", "run", "--quick", "--only", "small dict", *wanted, "-o", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, path


def test_run_measures_a_workload_by_each_peer(measured):
    text, path = measured
    found = records.load(path)
    assert [*found.subjects] == ["small dict"]
    assert [*found.peers] == ["oobcodec", "pickle5", "numpy.save"]
    for peer in ("oobcodec", "pickle5"):
        of = found.entries["small dict", peer]
        assert of.right
        assert [*of.times] == [*OPERATIONS]
        assert all(0 < timing.best <= timing.median < 1 for timing in of.times.values())
        assert 10 < of.shipped < 1000
    assert found.entries["small dict", "numpy.save"].unsupported == "TypeError: not for objects of type dict"
    assert "small dict" in text


def test_run_tells_of_the_machine_and_of_no_host_or_path(measured):
    fields = json.loads(measured[1].read_text())
    assert [*fields["environment"]] == ["Python", "numpy", "oobcodec", "commit", "CPU", "memory", "system"]
    assert str(suite.ROOT) not in measured[1].read_text()


def test_run_reports(measured, tmp_path):
    pytest.importorskip("docutils", reason="docutils, which makes a page of the report, is not installed")
    done = run_module("benchmarks", "report", measured[1], "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not for objects of type dict" in (tmp_path / "index.html").read_text()


def test_names_of_nothing_are_refused():
    done = run_module("benchmarks", "run", "--only", "nothing")
    assert done.returncode == 2
    assert "small dict" in done.stderr


def test_peer_that_crashes_takes_nobody_with_it():
    with suite.Process(sys.executable, ["pickle5"]) as process:
        process.versions()
        process._process.kill()
        with pytest.raises(suite.WorkerError, match="the process crashed"):
            process.ask("small dict", "turn", "pickle5", 0.001)
        assert process.ask("small dict", "turn", "pickle5", 0.001).keys() == {*OPERATIONS}


def test_peers_that_are_not_installed_are_not_measured():
    with suite.Process(sys.executable, [*peers.ALL]) as process:
        installed = process.versions()
    assert {"oobcodec", "pickle5", "cloudpickle"} <= installed.keys()
    for name, module in {"ray": "ray", "msgspec": "msgspec", "joblib": "joblib"}.items():
        assert (name in installed) == (find_spec(module) is not None)
