import json
import os
from array import array
from dataclasses import dataclass
from importlib.util import find_spec
from pickle import PickleBuffer
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import roundtrip

import oobcodec
from oobcodec import Encoded, explain
from oobcodec.errors import EncodeError


def items(obj):
    return explain(obj).to_dict()["items"]


def ways(obj):
    return [(item["path"], item["way"]) for item in items(obj)]


class Holder:
    def __init__(self, held):
        self.held = held


@dataclass
class Study:
    name: str
    data: Any


class Fresh:
    def __reduce__(self):
        return bytes, (PickleBuffer(bytearray(5000)),)


class Counting:
    """Is taken apart in another way each time."""

    calls = 0

    def __reduce__(self):
        Counting.calls += 1
        return list, ([np.arange(1000 * Counting.calls + i) for i in range(Counting.calls)],)


class Whole:
    tag = "tests.whole"

    def supports(self, obj):
        return type(obj) is Holder

    def dumps(self, obj):
        return None, [obj.held]

    def loads(self, meta, buffers):
        return bytes(buffers[0])


def test_array_out_of_band():
    array = np.arange(1000)
    assert items({"x": [1, array]}) == [
        {
            "path": "['x'][1]",
            "type": "numpy.ndarray",
            "bytes": 8000,
            "copied": 0,
            "way": "out-of-band",
            "frame": 2,
            "why": "memory of 1 KiB or more",
        }
    ]


def test_array_by_itself():
    (item,) = items(np.arange(1000))
    assert (item["path"], item["type"], item["way"]) == ("", "numpy.ndarray", "out-of-band")


def test_shared_memory():
    base = np.arange(1000)
    whole, part = items([base, base[100:600]])
    assert (whole["path"], whole["way"], whole["bytes"]) == ("[0]", "out-of-band", 8000)
    assert (part["path"], part["way"], part["bytes"], part["copied"]) == ("[1]", "shared", 0, 0)
    assert part["frame"] == whole["frame"]
    assert part["why"] == "lies in the memory of [0]"


def test_order_of_sharing_is_that_of_the_pickler():
    base = np.arange(1000)
    part, whole = items({"part": base[100:600], "whole": base})
    assert (part["way"], part["bytes"], whole["way"], whole["bytes"]) == ("out-of-band", 8000, "shared", 0)
    assert whole["why"] == "lies in the memory of ['part']"


def test_memory_that_is_made_anew_each_time():
    (item,) = items([Fresh()])
    assert (item["path"], item["type"], item["way"], item["copied"]) == (
        "[0]",
        f"{__name__}.Fresh",
        "out-of-band",
        5000,
    )
    assert item["why"] == "its library keeps it in another form"


def test_elements_that_lie_apart():
    array = np.arange(8000)
    (item,) = items(Holder(array[::4]))
    assert (item["path"], item["way"], item["bytes"], item["copied"]) == (".held", "compacted", 16000, 16000)
    assert item["type"] == "numpy.ndarray"
    assert item["why"] == "its elements lie apart: only they travel"


def test_elements_that_lie_apart_inside_what_travels():
    array = np.arange(8000)
    assert ways([array, array[::4]]) == [("[0]", "out-of-band"), ("[1]", "shared")]


def test_large_bytes_by_reference():
    data = bytearray(300_000)
    (item,) = items({"d": data})
    assert item == {
        "path": "['d']",
        "type": "bytearray",
        "bytes": 300_000,
        "copied": 0,
        "way": "by reference",
        "frame": 2,
        "why": "a frame of its own",
    }


class Text(bytes):
    pass


def test_bytes_of_a_subclass_are_listed_once():
    found = items([Text(300_000), bytes(300_000), Text(2000)])
    assert [(item["type"].rpartition(".")[-1], item["way"], item["copied"]) for item in found] == [
        ("Text", "by reference", 0),
        ("bytes", "by reference", 0),
        ("Text", "in-band", 2000),
    ]
    assert found[1]["frame"] == 4


@pytest.mark.parametrize(("data", "kind"), [(b"x" * 2000, "bytes"), (bytearray(2000), "bytearray")])
def test_short_bytes_in_band(data, kind):
    (item,) = items([data])
    assert (item["type"], item["way"], item["bytes"], item["copied"], item["frame"]) == (
        kind,
        "in-band",
        2000,
        2000,
        None,
    )
    assert item["why"] == "shorter than 256 KiB: cheaper inside the stream"


def test_text():
    (item,) = items(["é" * 2000])
    assert (item["type"], item["way"], item["bytes"], item["frame"]) == ("str", "in-band", 4000, None)
    assert item["why"] == "text is encoded"


@pytest.mark.parametrize(
    ("data", "way", "copied"), [("x" * 2000, "out-of-band", 2000), (b"x" * 2000, "by reference", 0)]
)
def test_bytes_and_text_by_themselves(data, way, copied):
    (item,) = items(data)
    assert (item["path"], item["way"], item["bytes"], item["copied"]) == ("", way, 2000, copied)


def test_small_things_are_not_listed():
    assert items({"a": np.arange(10), "b": b"x" * 1023, "c": 1}) == []


def test_same_object_twice_is_listed_once():
    data, array = b"x" * 2000, np.arange(1000)
    assert ways([data, array, data, array]) == [("[0]", "in-band"), ("[1]", "out-of-band")]


def test_attributes_and_closures():
    array = np.arange(1000)
    obj = {"model": Holder([Holder(array)]), "f": lambda: array[::-1] is obj}
    assert ("['model'].held[0].held", "out-of-band") in ways({"model": obj["model"]})
    captured = np.arange(2000)
    report = explain([lambda: captured]).to_dict()
    assert report["serializer"] == "cloudpickle"
    assert [(item["path"], item["type"]) for item in report["items"]] == [("[0].<closure captured>", "numpy.ndarray")]


def test_memory_inside_an_encoded_message():
    found = items([Encoded(oobcodec.dumps(np.arange(1000)))])
    assert [(item["path"], item["type"], item["way"]) for item in found] == [
        ("[0]", "oobcodec.encoded.Encoded", "out-of-band")
    ]


def frame():
    numbers = np.arange(2000.0)
    words = pd.Categorical(["red", "green"] * 1000)
    times = pd.date_range("2026", periods=2000, freq="min", tz="UTC")
    return pd.DataFrame({"numbers": numbers, "words": words, "times": times, "text": list(map(str, range(2000)))})


def table():
    return pa.table({"numbers": pa.array(np.arange(2000.0)), "text": pa.array(map(str, range(2000)))})


@pytest.mark.parametrize(
    ("data", "kind", "buffers"),
    [
        (frame(), "pandas.DataFrame", 5),
        (frame().set_index(["words", "numbers"]), "pandas.DataFrame", 6),
        (frame()["times"], "pandas.Series", 1),
        (pd.MultiIndex.from_product([range(100), range(50)]), "pandas.MultiIndex", 2),
        (pl.DataFrame({"numbers": np.arange(2000.0), "n": range(2000)}), f"{pl.DataFrame.__module__}.DataFrame", 2),
        (pl.Series(np.arange(2000.0)), f"{pl.Series.__module__}.Series", 1),
        (table(), "pyarrow.lib.Table", 3),
        (table()["text"], "pyarrow.lib.ChunkedArray", 2),
    ],
)
def test_path_ends_at_the_object_that_a_library_made(data, kind, buffers):
    for obj, path in [
        (data, ""),
        ({"x": data}, "['x']"),
        ([1, Study("first", data)], "[1].data"),
        (Study("second", {"parts": (data, data)}), ".data['parts'][0]"),
    ]:
        found = items(obj)
        assert {(item["path"], item["type"]) for item in found} == {(path, kind)}
        assert len(found) == len({item["frame"] for item in found}) == buffers


def test_memory_that_frames_share():
    whole = pd.DataFrame(np.arange(6000.0).reshape(2, 3000).T, columns=["a", "b"])
    first, second = items({"whole": whole, "column": Study("a", whole["a"])})
    assert (first["path"], first["way"], first["type"]) == ("['whole']", "out-of-band", "pandas.DataFrame")
    assert (second["path"], second["way"], second["type"]) == ("['column'].data", "shared", "pandas.Series")
    assert second["why"] == "lies in the memory of ['whole']"


def test_index_that_frames_share():
    index = pd.Index(np.arange(1000))
    study = Study("a", pd.Series(np.ones(1000), index))
    found = items({"first": pd.Series(np.ones(1000), index), "second": study, "small": Study("b", index[:10])})
    assert [(item["path"], item["way"], item["bytes"]) for item in found] == [
        ("['first']", "out-of-band", 8000),
        ("['first']", "out-of-band", 8000),
        ("['second'].data", "out-of-band", 8000),
        ("['second'].data", "shared", 0),
    ]
    assert found[3]["frame"] == found[1]["frame"]
    assert found[3]["why"] == "lies in the memory of ['first']"


def test_path_goes_on_to_what_the_user_put_into_a_frame():
    data = pd.DataFrame({"cell": [1, {"samples": [np.arange(2000)]}]})
    data.attrs["unit"] = b"u" * 2000
    assert [(item["path"], item["type"]) for item in items([data])] == [
        ("[0]…['samples'][0]", "numpy.ndarray"),
        ("[0]…['unit']", "bytes"),
    ]


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_parameters_of_a_module():
    import torch

    layer = torch.nn.Linear(100, 20)
    layer.weight.scale = np.ones(1000)
    kind = "torch.nn.parameter.Parameter"
    model = Study("tied", {"model": layer, "state": layer.state_dict()})
    assert [(item["path"], item["type"], item["way"]) for item in items(model)] == [
        (".data['model']._parameters['weight']", kind, "out-of-band"),
        (".data['model']._parameters['weight'].scale", "numpy.ndarray", "out-of-band"),
        (".data['state']['weight']", "torch.Tensor", "shared"),
    ]
    sparse = torch.eye(500).to_sparse()
    assert [(item["path"], item["type"]) for item in items([sparse])] == [("[0]", "torch.Tensor")] * 2


def test_buffers_that_cannot_be_told_apart():
    Counting.calls = 0
    report = explain([Counting(), b"x" * 2000]).to_dict()
    assert [item["way"] for item in report["items"]] == ["in-band"]


def test_object_that_a_serializer_takes():
    oobcodec.register_serializer(Whole())
    try:
        report = explain(Holder(bytearray(5000))).to_dict()
        assert roundtrip(Holder(bytearray(5000))) == bytes(5000)
    finally:
        oobcodec.unregister_serializer("tests.whole")
    assert report["serializer"] == "tests.whole"
    assert report["out-of-band bytes"] == 5000


def test_summary():
    base = np.arange(8000)
    obj = [base[:1000], base[1000::4], b"x" * 2000, "y" * 3000]
    frames = oobcodec.dumps(obj)
    report = explain(obj)
    facts = report.to_dict()
    assert json.loads(json.dumps(facts)) == facts
    del facts["items"]
    assert facts == {
        "serializer": "pickle",
        "frames": 4,
        "in-band bytes": frames[1].nbytes,
        "out-of-band bytes": 8000 + 14_000,
        "copied bytes": 14_000 + 2000 + 3000,
    }
    text = str(report)
    assert "copied bytes: 19,000" in text
    assert "compacted" in text


def test_what_cannot_be_sent():
    with pytest.raises(EncodeError, match=r"cannot pickle 'generator' object at \['x'\]"):
        explain({"x": (i for i in ())})


def test_compression_has_columns_of_its_own():
    obj = {"steps": array("q", range(10_000)), "noise": array("B", os.urandom(5000)), "text": "word " * 2000}
    report = explain(obj, compression="lz4")
    steps, noise, text = report.tables["items"]
    assert (steps.codec, steps.ratio > 2, steps.filter.endswith(" of 8")) == ("lz4", True, True)
    assert noise.to_dict()["codec"] is text.to_dict()["ratio"] is None
    assert 5000 < report.summary["compressed bytes"] < 25_000
    assert "codec" not in str(explain(obj))
    assert explain(array("B", os.urandom(5000)), compression="lz4").tables["items"][0].codec is None
