import json
from dataclasses import dataclass

from oobcodec.reports import Report, Row


@dataclass(frozen=True, slots=True)
class Item(Row):
    path: str
    bytes: int
    shared: bool
    frame: int | None


REPORT = Report(
    {"serializer": "pickle", "meta": None, "bytes": 1234567, "fits": True, "names": ["a.B", ("c", 1000)], "ratio": 2.5},
    {
        "items": [Item("['x']", 1048576, shared=False, frame=3), Item(".longer.path", 8, shared=True, frame=None)],
        "others": [],
    },
)


def test_data_is_fit_for_json():
    data = REPORT.to_dict()
    assert data == {
        "serializer": "pickle",
        "meta": None,
        "bytes": 1234567,
        "fits": True,
        "names": ["a.B", ("c", 1000)],
        "ratio": 2.5,
        "items": [
            {"path": "['x']", "bytes": 1048576, "shared": False, "frame": 3},
            {"path": ".longer.path", "bytes": 8, "shared": True, "frame": None},
        ],
        "others": [],
    }
    assert json.loads(json.dumps(data))["items"] == data["items"]


def test_text_is_aligned():
    head, table = str(REPORT).split("\n\n")
    assert head.splitlines() == [
        "serializer: pickle",
        "meta: -",
        "bytes: 1,234,567",
        "fits: yes",
        "names: a.B, c, 1,000",
        "ratio: 2.5",
    ]
    name, *lines = table.splitlines()
    assert name == "items"
    assert [line.split() for line in lines] == [
        ["path", "bytes", "shared", "frame"],
        ["['x']", "1,048,576", "no", "3"],
        [".longer.path", "8", "yes", "-"],
    ]
    assert len({line.index(end) + len(end) for line, end in zip(lines, ["bytes", "1,048,576", " 8"], strict=True)}) == 1
    assert not any(line != line.rstrip() for line in lines)


def test_table_without_rows_is_left_out_of_the_text():
    assert str(Report({"a": 1}, {"items": []})) == "a: 1"
