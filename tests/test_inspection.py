import decimal
import json
import os
import pickle
from array import array
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import first_frame, head, pickled, run_python

import oobcodec
from oobcodec import Limits, inspect
from oobcodec.errors import DecodeError, HeaderError, LimitError, TruncatedError


def names(message):
    return inspect(message).to_dict()["globals"]


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


class Whole:
    tag = "tests.whole"

    def supports(self, obj):
        return type(obj) is complex

    def dumps(self, obj):
        return {"real": obj.real, 1: b"\xff"}, [bytes(100)]

    def loads(self, meta, buffers):
        raise NotImplementedError


def test_facts():
    base = np.arange(2000)
    frames = oobcodec.dumps({"all": base, "part": base[:500], "large": b"x" * 300_000})
    header = head(frames)
    report = inspect(frames)
    facts = report.to_dict()
    assert json.loads(json.dumps(facts)) == facts
    rows, buffers = facts.pop("frames"), facts.pop("buffers")
    assert [name.partition(".")[0] for name in facts.pop("globals")]
    assert facts == {
        "format version": 1,
        "serializer": "pickle",
        "meta": None,
        "packed bytes": oobcodec.packed_size(frames),
        "frame bytes": sum(frame.nbytes for frame in frames),
        "in-band bytes": sum(frame.nbytes for frame in frames[1:-1]),
        "out-of-band bytes": base.nbytes,
        "digests": None,
        "refused under DATA": [],
    }
    assert [row["role"] for row in rows] == ["header", *["pickle"] * header.pickle_frames, "buffer"]
    assert [row["bytes"] for row in rows] == [frame.nbytes for frame in frames]
    assert [row["buffers"] for row in rows] == [*[0] * (len(frames) - 1), 2]
    last = len(frames) - 1
    assert buffers == [
        {"buffer": 0, "frame": last, "offset": 0, "bytes": 16000, "readonly": False},
        {"buffer": 1, "frame": last, "offset": 0, "bytes": 4000, "readonly": False},
    ]


def test_suspects_are_named():
    for obj, suspects in ((Harm("x"), {"io:open", "_io:open"}), (lambda: 7, {"cloudpickle"}), ([1, "a"], set())):
        refused = inspect(oobcodec.dumps(obj)).summary["refused under DATA"]
        assert bool(suspects) == bool(refused)
        assert not suspects or suspects & set(refused)


def test_digests_are_told():
    assert inspect(oobcodec.dumps([1], checksum=True)).summary["digests"] == "xxh3_64"
    signed = oobcodec.dumps([1], keyring=oobcodec.Keyring({"k": bytes(32)}, sign_with="k"))
    assert inspect(signed).summary["digests"] == "sha256"


def test_limits_hold(tmp_path):
    many = oobcodec.dumps([[] for _ in range(1000)])
    with pytest.raises(LimitError, match="max_operations=1,000"):
        inspect(many, limits=Limits(max_operations=1000))
    with pytest.raises(LimitError, match="max_total_bytes"):
        inspect(many, limits=Limits(max_total_bytes=1000))
    path = tmp_path / "large"
    with path.open("wb") as file:  # sparse: reading it all would take its size in memory
        file.write(bytes(many[0]))
        file.truncate(1 << 40)
    with pytest.raises(HeaderError, match="bytes follow a message"):
        inspect(path)
    (tmp_path / "empty").touch()
    with pytest.raises(TruncatedError):
        inspect(tmp_path / "empty")


def test_text():
    text = str(inspect(oobcodec.dumps([decimal.Decimal(1), np.arange(1000)])))
    assert "serializer: pickle" in text
    assert "decimal.Decimal" in text
    assert "8,000" in text


@pytest.mark.parametrize(
    "form",
    [
        oobcodec.pack,
        lambda frames: bytes(oobcodec.pack(frames)),
        tuple,
        iter,
        lambda frames: [bytes(frame) for frame in frames],
        lambda frames: [np.frombuffer(frame, np.uint8) for frame in frames],
    ],
)
def test_forms_of_a_message(form):
    frames = oobcodec.dumps([np.arange(1000), {"a": 1}])
    assert inspect(form(frames)) == inspect(frames)


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_file(tmp_path, kind):
    frames = oobcodec.dumps([np.arange(1000), {"a": 1}])
    path = tmp_path / "message"
    path.write_bytes(oobcodec.pack(frames))
    assert inspect(kind(path)) == inspect(frames)


def test_nothing_is_executed(tmp_path):
    frames = oobcodec.dumps([Harm(str(tmp_path / "small")), Harm(str(tmp_path / "other"))])
    assert names(frames) in (["io.open"], ["_io.open"])  # the latter from Python 3.13 on
    assert list(tmp_path.iterdir()) == []
    for file in oobcodec.loads(frames):
        file.close()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("data", ["text", b"bytes"])
def test_message_without_a_pickle(data):
    facts = inspect(oobcodec.dumps(data)).to_dict()
    assert facts["serializer"] == type(data).__name__
    assert facts["globals"] == []
    assert facts["in-band bytes"] == 0
    assert facts["out-of-band bytes"] == len(data)


def test_meta_of_a_serializer_is_fit_for_json():
    oobcodec.register_serializer(Whole())
    try:
        frames = oobcodec.dumps(5j)
    finally:
        oobcodec.unregister_serializer("tests.whole")
    facts = inspect(frames).to_dict()
    json.dumps(facts)
    assert "real" in facts["meta"]
    assert facts["serializer"] == "tests.whole"


# Names


@pytest.mark.parametrize("protocol", range(6))
def test_names_in_every_protocol(protocol):
    stream = pickle.dumps([decimal.Decimal(1), partial(len), {1: decimal.Decimal}], protocol)
    assert {"decimal.Decimal", "functools.partial"} <= set(names(pickled(stream)))


def test_names_in_streams_of_the_other_pickler():
    # In Python, with protocol 4: names are remembered and fetched in their own way.
    for protocol in (2, 4):
        stream = pickle._dumps([decimal.Decimal(1), decimal.ROUND_UP, decimal.Decimal, [decimal.Context()]], protocol)
        found = names(pickled(stream))
        assert "decimal.Decimal" in found
        assert any(name.endswith("decimal.Context") for name in found)
        assert not any("None" in name for name in found)


def test_names_through_the_memo():
    module = ["decimal", "Decimal"]
    stream = pickle.dumps([module[0], module[1], decimal.Decimal, decimal.Context], 5)
    assert stream.count(b"decimal") < 3
    assert names(pickled(stream)) == ["decimal.Context", "decimal.Decimal"]


def test_names_behind_a_large_memo():
    many = [str(number) for number in range(300)]
    assert names(oobcodec.dumps([*many, decimal.Decimal, *many, decimal.Context])) == [
        "decimal.Context",
        "decimal.Decimal",
    ]


@pytest.mark.parametrize("size", range(65_490, 65_530))
def test_names_beside_the_end_of_a_pickle_frame(size):
    assert names(oobcodec.dumps([b"x" * 60_000, b"y" * (size - 60_000), decimal.Decimal])) == ["decimal.Decimal"]


def test_name_of_an_old_instance():
    assert names(pickled(b"(idecimal\nDecimal\n.")) == ["decimal.Decimal"]


@pytest.mark.parametrize("text", ["U{0:c}{1}", "T{0:c}\0\0\0{1}"])
def test_names_by_strings_of_python_2(text):
    module, name = (text.format(len(each), each) for each in ("decimal", "Decimal"))
    message = pickled(f"\x80\x05{module}{name}\x93.".encode("latin-1"))
    assert oobcodec.loads(message) is decimal.Decimal
    assert names(message) == ["decimal.Decimal"]


@pytest.mark.parametrize("extension", [b"\x82\x07", b"\x83\x07\0", b"\x84\x07\0\0\0"])
def test_names_by_number(extension):
    facts = inspect(pickled(b"\x80\x05" + extension + b".")).to_dict()
    assert facts["globals"] == ["copyreg.extension 7"]
    assert facts["refused under DATA"] == ["copyreg:extension 7"]


def test_names_in_a_message_with_code():
    lock = decimal.Decimal(1)
    facts = inspect(oobcodec.dumps(lambda: lock)).to_dict()
    assert facts["serializer"] == "cloudpickle"
    assert facts["meta"].count(".") == 1
    assert "decimal.Decimal" in facts["globals"]
    assert any(name.startswith("cloudpickle.") for name in facts["globals"])


def test_names_in_a_stream_in_pieces():
    frames = oobcodec.dumps([decimal.Decimal(1), bytes(300_000), decimal.Context])
    assert head(frames).pickle_frames == 3
    assert names(frames) == ["decimal.Context", "decimal.Decimal"]


# What is refused


@pytest.mark.parametrize("stream", [b"", b"\x80\x05", b"abc", b"\x80\x05\x8c\x05ab.", b"\x80\x05\x8c\x01\xff."])
def test_damaged_stream(stream):
    with pytest.raises(DecodeError, match=r"the pickle stream is damaged: ."):
        inspect(pickled(stream))


@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        ([], TruncatedError, r"no frames: a message has one at least"),
        (b"", TruncatedError, r"a message starts with 24 bytes, here are 0"),
        (b"PK\3\4" * 10, HeaderError, r"not an oobcodec message: it starts with b'PK\\x03'"),
        (oobcodec.dumps([1])[:1], HeaderError, r"the frames have \(\) bytes, the header says \(\d+,\)"),
        ([*oobcodec.dumps([1]), b""], HeaderError, r"the frames have \(\d+, 0\) bytes, the header says"),
        (bytes(oobcodec.pack(oobcodec.dumps([1])))[:-1], TruncatedError, r"the buffer ends after"),
        ([first_frame([1, 2])], HeaderError, r"the header is not an array of 7 fields"),
        (memoryview(bytes(100))[::2], DecodeError, r"frame 0 is no contiguous buffer but memoryview"),
        ([*oobcodec.dumps([1])[:1], 5], DecodeError, r"frame 1 is no contiguous buffer but int"),
    ],
)
def test_no_whole_message(message, error, text):
    with pytest.raises(error, match=text):
        inspect(message)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "none")


INSPECT_ALL = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
from hostile.judge import frames_of
import oobcodec
from oobcodec import inspect
inspect(oobcodec.dumps(["word " * 9000], compression="lz4"))  # which imports what decompresses
before = set(sys.modules)
told = {}
for path in sorted(Path(sys.argv[1]).glob("*/*")):
    try:
        report = inspect(frames_of(path))
    except oobcodec.OobError as error:
        told["/".join(path.parts[-2:])] = type(error).__name__
    else:
        told["/".join(path.parts[-2:])] = report.to_dict()["refused under DATA"]
        str(report)
print(json.dumps([told, sorted(set(sys.modules) - before)]))
"""


def test_hostile_messages_are_told_of_or_refused():
    folder = Path(__file__).parent
    told, imported = json.loads(run_python(INSPECT_ALL, folder / "hostile" / "messages"))
    assert not [module for module in imported if not module.startswith("encodings.")]
    assert not list(Path.cwd().glob("oobcodec-was-here"))
    expected = json.loads((folder / "hostile" / "expected.json").read_text())["DATA"]
    refused = {path for path, outcome in expected.items() if "refused global" in str(outcome.get("message"))}
    refused &= told.keys()
    assert len(refused) > 100
    # Whatever a message names that DATA refuses is told of; a message inside of it is to be inspected by itself.
    assert {path for path in refused if not told[path]} == {"names/nested_name.oob", "names/nested_twice.oob"}


def test_how_frames_are_compressed_is_told():
    steps, zeros = array("q", range(10_000)), array("d", bytes(80_000))
    report = inspect(oobcodec.dumps(["word " * 2000, steps, zeros, array("B", os.urandom(5000))], compression="lz4"))
    header, stream, *buffers = report.tables["frames"]
    assert (header.codec, header.ratio) == (None, None)
    assert stream.codec == "lz4"
    assert [buffer.codec for buffer in buffers] == ["lz4", "fill", None]
    assert [buffer.ratio and buffer.ratio > 2 for buffer in buffers] == [True, True, None]
    assert buffers[1].filter == "1 byte"
    assert report.to_dict()["in-band bytes"] > 10_000
    assert report.to_dict()["out-of-band bytes"] == 165_000
    assert "array" in str(report.to_dict()["globals"])
