"""What Dask takes objects to weigh."""

import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed", reason="distributed, whose sizes these are, is not installed")

from dask.sizeof import sizeof

from oobcodec.integrations.dask import sizes

MIB = 1 << 20
SLACK = 8 * 1024


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(sizeof, "_lookup", dict(sizeof._lookup))
    monkeypatch.setattr(sizeof, "_lazy", dict(sizeof._lazy))
    sizes.install()


@dataclass
class Holder:
    content: Any
    other: Any = None


class Slots:
    __slots__ = ("content",)


def weighs(obj, nbytes):
    return nbytes <= sizeof(obj) <= nbytes * 1.01 + SLACK


def test_tensors():
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(MIB)
    assert weighs(tensor, 4 * MIB)
    assert weighs(tensor[: MIB // 2], 2 * MIB)
    assert weighs(torch.zeros(1).expand(MIB), 4)
    assert weighs(torch.nn.Parameter(tensor), 4 * MIB)
    assert weighs({"a": [tensor]}, 4 * MIB)
    assert weighs(tensor.to_mkldnn(), 4 * MIB)


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_sparse_tensors():
    torch = pytest.importorskip("torch")
    dense = torch.eye(1000)
    assert weighs(dense.to_sparse(), 1000 * (8 + 8 + 4))
    assert weighs(dense.to_sparse_csr(), 1000 * (8 + 8 + 4))
    assert weighs(dense.to_sparse_csc(), 1000 * (8 + 8 + 4))


def test_modules_weigh_each_tensor_once():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(512, 512)
    assert weighs(torch.nn.Sequential(layer, layer), 4 * 512 * 513)
    assert weighs(layer.state_dict(), 4 * 512 * 513)


def test_frames_of_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"x": np.arange(MIB)})
    assert weighs(frame, 8 * MIB)
    assert weighs(frame["x"], 8 * MIB)


def test_attributes():
    array = np.zeros(MIB)
    assert weighs(Holder(array), 8 * MIB)
    assert weighs([Holder({"deep": Holder([array])})], 8 * MIB)
    assert weighs(Holder(Holder(array), array[:0]), 8 * MIB)


def test_what_is_reached_twice_weighs_once():
    inner = Holder(np.zeros(MIB))
    assert weighs(Holder(inner, inner), 8 * MIB)
    inner.other = inner
    assert weighs(Holder(inner, inner), 8 * MIB)


def test_what_has_no_attributes_of_its_own():
    assert sizeof(Slots()) == sizeof(object()) + 8 + 16
    assert sizeof(types) < SLACK
    assert sizeof(Holder) < SLACK


def test_much_is_estimated_in_short():
    chain = None
    for _ in range(10_000):
        chain = Holder(chain)
    assert sizeof(chain) < SLACK


def test_nothing_of_the_object_is_called():
    class Proxy:
        def __getattribute__(self, name):
            raise AssertionError(name)

    assert sizeof(Proxy()) > 0


def test_libraries_that_are_imported_later(monkeypatch):
    polars = pytest.importorskip("polars")
    monkeypatch.setattr(sizeof, "_lookup", {object: sizeof._lookup[object]})
    monkeypatch.delitem(sizes.sys.modules, "polars")
    sizes.install()
    monkeypatch.setitem(sizes.sys.modules, "polars", polars)
    assert weighs(polars.DataFrame({"x": np.arange(MIB)}), 8 * MIB)
