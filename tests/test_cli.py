"""The command, mostly as people run it: as a process of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import msgpack
import numpy as np
import pytest
from click.testing import CliRunner

import oobcodec
from oobcodec import cli, demo, samples
from oobcodec.files import dump
from oobcodec.header import encode, packed_offsets

WITHOUT = "import sys; sys.modules.update(dict.fromkeys({!r}))"


class Opener:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "x")


@pytest.fixture
def run(tmp_path):
    """Return what runs the command, in a Python that may do something of its own at its start."""

    def run(*arguments, at_start="", **environment):
        with start(tmp_path, *arguments, at_start=at_start, **environment) as process:
            process.stdout_text, process.stderr_text = process.communicate()
        return process

    return run


def start(tmp_path, *arguments, at_start="", stderr=subprocess.PIPE, **environment):
    (tmp_path / "sitecustomize.py").write_text(at_start)
    paths = [str(tmp_path), *sys.path] if at_start else sys.path
    return subprocess.Popen(
        [sys.executable, "-m", "oobcodec", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


@pytest.fixture
def message(tmp_path):
    path = tmp_path / "message.oob"
    path.write_bytes(oobcodec.pack(oobcodec.dumps({"a": np.ones(1000), "b": [1, "x"]})))
    return path


def test_version(run):
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout_text == f"oobcodec, version {oobcodec.__version__}\n"


def test_help_names_the_commands(run):
    done = run("-h")
    assert done.returncode == 0
    assert "demo" in done.stdout_text
    assert "inspect" in done.stdout_text


@pytest.mark.parametrize("library", ["click", "rich"])
def test_missing_library_brings_one_sentence_with_the_remedy(run, library):
    done = run("demo", at_start=WITHOUT.format([library]))
    assert done.returncode == 1
    assert done.stdout_text == ""
    assert done.stderr_text == 'The command oobcodec needs click and rich: pip install "oobcodec[cli]"\n'


# demo


def test_demo(run):
    done = run("demo")
    assert (done.returncode, done.stderr_text) == (0, "")
    assert done.stdout_text.count("✓") == sum(not sample.missing for sample in samples.SAMPLES)
    assert "✗" not in done.stdout_text
    assert " times as fast as pickle" in done.stdout_text
    assert "\x1b" not in done.stdout_text
    assert 100 <= max(map(len, done.stdout_text.splitlines())) <= 120


def test_demo_without_numpy(run):
    done = run("demo", at_start=WITHOUT.format(["numpy"]))
    assert (done.returncode, done.stderr_text) == (0, "")
    assert done.stdout_text.count("✓") == sum(not sample.libraries for sample in samples.SAMPLES)
    assert re.search(r"^Install numpy( or torch|) beside it to see more travel\.$", done.stdout_text, re.MULTILINE)


@pytest.mark.parametrize(
    ("libraries", "text"),
    [
        (["polars"], "polars"),
        (["pandas", "torch"], "pandas or torch"),
        (["pandas", "polars", "pyarrow", "torch"], "pandas, polars, pyarrow or torch"),
    ],
)
def test_demo_tells_what_would_add_to_it(monkeypatch, libraries, text):
    item = demo.Item("records", "list", 1, 0, 0, 1, "", "in-band", "")
    outcome = demo.Outcome([item], libraries, 1, {"oobcodec": 0.1, "pickle": 0.2})
    monkeypatch.setattr(demo, "run", lambda: outcome)
    lines = CliRunner().invoke(cli.commands, ["demo"]).output.splitlines()
    assert lines[-1] == f"Install {text} beside it to see more travel."


def test_demo_where_the_output_has_no_such_characters(run):
    done = run("demo", at_start=WITHOUT.format(["numpy"]), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr_text) == (0, "")
    assert done.stdout_text.count(" yes ") == sum(not sample.libraries for sample in samples.SAMPLES)
    assert done.stdout_text.isascii()


def test_demo_tells_what_arrived_wrong(monkeypatch):
    # The receiver makes other records of the same name.
    monkeypatch.setattr(samples, "SAMPLES", [samples.Sample("records", lambda _: [b"x"])])
    result = CliRunner().invoke(cli.commands, ["demo"])
    assert result.exit_code == 1
    assert "records arrived wrong: type of it[0] is <class 'bytes'> instead of <class 'dict'>" in result.output
    assert "✗" in result.output


def test_demo_whose_receiver_dies(run):
    done = run("demo", at_start="import sys\nif '-m' not in sys.orig_argv: sys.exit('no second process today')")
    assert done.returncode == 1
    assert done.stdout_text == ""
    assert done.stderr_text.startswith("Error: the receiving process ended too early (exit status ")
    assert done.stderr_text.count("\n") == 1


def test_demo_is_interrupted(tmp_path):
    # Each process says that it has begun.
    at_start = f"import os; open(os.path.join({str(tmp_path)!r}, f'{{os.getpid()}}.pid'), 'x').close()"
    with start(tmp_path, "demo", at_start=at_start) as process:
        while len([*tmp_path.glob("*.pid")]) < 2:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate()
    assert output == ("", "Error: interrupted\n")
    assert process.returncode == 128 + signal.SIGINT
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


# inspect


def test_inspect(run, message):
    done = run("inspect", message)
    assert (done.returncode, done.stderr_text) == (0, "")
    for text in ("format version", "frames", "buffers", "numpy", "8,000"):
        assert text in done.stdout_text


def test_inspect_of_a_message_without_buffers(run, message):
    message.write_bytes(oobcodec.pack(oobcodec.dumps([1, None])))
    done = run("inspect", message)
    assert done.returncode == 0
    assert "buffers\n" not in done.stdout_text


def test_inspect_of_a_large_file(run, message):
    size = 5 << 30  # of which no page is on the disk
    first = encode("pickle", None, (3, size), 1, ((2, 0, size, False),))
    _, stream, _, end = packed_offsets((len(first), 3, size))
    message.write_bytes(first.ljust(stream, b"\0") + b"\x80\x05.")
    os.truncate(message, end)
    assert "5,368,709,120" in run("inspect", message).stdout_text


def test_inspect_as_json(run, message):
    done = run("inspect", "--json", message)
    assert (done.returncode, done.stderr_text) == (0, "")
    assert json.loads(done.stdout_text) == json.loads(json.dumps(oobcodec.inspect(message).to_dict()))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "a message starts with 24 bytes, here are 0"),
        (b"GIF89a" * 10, "not an oobcodec message: it starts with b'GIF' instead of b'OOB'"),
        (b"OOB\x09" + bytes(60), "message format version 9"),
        (encode("pickle", None, (100,), 1, ()), "the buffer ends after"),
        (encode("pickle", None, (), 0, ()) + b"!", "1 bytes follow a message"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["tables", "json"])
def test_inspect_of_something_else(message, content, text, options):
    message.write_bytes(content)
    result = CliRunner().invoke(cli.commands, ["inspect", *options, str(message)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert text in result.stderr
    assert result.stderr.count("\n") == 1


def test_inspect_of_no_file(run, tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        done = run("inspect", path)
        assert done.returncode == 1
        assert done.stderr_text.startswith("Error: ")
        assert done.stderr_text.count("\n") == 1


@pytest.mark.parametrize("meta", ["\x1b[31mred", "[red]markup[/red]", "\x1b]0;title\x07", "\u202emirrored", "a\nb"])
def test_inspect_does_not_let_the_file_write_to_the_terminal(message, meta):
    message.write_bytes(encode("some.tag", meta, (), 0, ()))
    result = CliRunner().invoke(cli.commands, ["inspect", str(message)])
    assert result.exit_code == 0
    assert not set(result.output) & set("\x1b\x07\u202e")
    assert meta.isprintable() == (meta in result.output)


@pytest.mark.parametrize("meta", [b"bytes", {b"key": 1}, float("inf"), {1: 2}, msgpack.Timestamp(1), [[b"x"]]])
def test_inspect_as_json_of_what_json_does_not_have(message, meta):
    message.write_bytes(encode("some.tag", meta, (), 0, ()))
    result = CliRunner().invoke(cli.commands, ["inspect", "--json", str(message)])
    assert result.exit_code == 0
    json.loads(result.output, parse_constant=pytest.fail)


# verify


def test_verify(run, tmp_path):
    path = tmp_path / "message.oob"
    keyring = oobcodec.Keyring({"a": bytes(32)}, sign_with="a")
    for options, text in (
        ({}, "one whole message, without checksums "),
        ({"checksum": True}, "each frame is what was written, by its checksum"),
        ({"keyring": keyring}, "each frame is what was signed, by its digest; whose signature that is"),
    ):
        dump({"a": np.ones(1000)}, path, **options)
        done = run("verify", path)
        assert (done.returncode, done.stderr_text) == (0, "")
        assert done.stdout_text.startswith(f"{path}: {text}")
        assert done.stdout_text.count("\n") == 1


def test_verify_of_a_damaged_file(run, tmp_path):
    path = tmp_path / "message.oob"
    dump({"a": np.ones(1000)}, path, checksum=True)
    data = bytearray(path.read_bytes())
    for changed, text in (
        (data[:-1] + b"!", "frame 2 is not what was written: its xxh3_64 digest is another"),
        (data[:-1], "the message has "),
        (b"", "the file is empty"),
        (b"\x80\x05N.", "not an oobcodec message: by its first bytes the file is a pickle"),
    ):
        path.write_bytes(changed)
        done = run("verify", path)
        assert (done.returncode, done.stdout_text) == (1, "")
        assert done.stderr_text.startswith(f"Error: {path}: {text}")
        assert done.stderr_text.count("\n") == 1


def test_verify_executes_nothing_and_prints_names_as_they_are(run, tmp_path):
    path = tmp_path / "\x1b[31mred"
    dump(Opener(str(tmp_path / "executed")), path)
    done = run("verify", path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout_text
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("long", [True, False])
def test_verify_shows_on_a_terminal_how_far_it_is_with_a_long_file(tmp_path, long):
    path = tmp_path / "message.oob"
    dump(np.ones(1000), path, checksum=True)
    at_start = "import oobcodec.cli; oobcodec.cli._LONG = 1000" if long else ""
    near, far = os.openpty()
    with start(tmp_path, "verify", path, at_start=at_start, stderr=far, TERM="xterm") as process:
        os.close(far)
        assert "checksum" in process.stdout.read()
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while data := os.read(near, 1000):
                shown += data
    os.close(near)
    assert process.returncode == 0
    assert (b"8.1/8.1 kB" in shown or b"8.0/8.0 kB" in shown) == long


def test_reader_that_has_seen_enough(tmp_path, message):
    with start(tmp_path, "inspect", "--json", message) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
