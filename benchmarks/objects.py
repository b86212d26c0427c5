"""What workloads are made of: things that programs send, made from a seed, so that every process has the same."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

SEED = 9
ROW = 33
"""Bytes of a row of `columns`, about."""

VOCABULARY = tuple(f"word {number}" for number in range(1000))


@dataclass
class Measurement:
    """An object of a program's own, with a few plain attributes and the array that matters."""

    station: str
    taken: dt.datetime
    signal: Any


def generator() -> np.random.Generator:
    return np.random.default_rng(SEED)


# Python's own


def octets(size: int) -> bytes:
    return generator().bytes(size)


def small_dict() -> object:
    return {"op": "update", "key": ("x", 1), "v": [1, 2, 3], "s": "hello"}


def task() -> object:
    """Return what a scheduler tells a worker: about a kilobyte, with types that JSON lacks."""
    keys = [("sum", number, uuid.UUID(int=number)) for number in range(12)]
    return {
        "op": "compute-task",
        "key": keys[0],
        "submitted": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        "who_has": {key: [f"tcp://10.0.0.{number}:8786"] for number, key in enumerate(keys)},
        "priority": (0, 1, -3.5),
        "resources": frozenset({"GPU", "memory"}),
        "retries": None,
    }


def plain_request() -> object:
    """Return what JSON has: dicts with text for keys, lists, numbers and text."""
    return {"id": 17, "method": "subscribe", "topics": ["prices", "trades"], "limit": 1e-3, "more": {"live": True}}


def small_dicts(count: int = 10_000) -> object:
    return [{"id": i, "name": f"item {i}", "price": i / 7, "tags": ["a", "b"]} for i in range(count)]


# numpy


def floats(size: int) -> Any:
    return generator().random(max(1, size // 8))


def strided(size: int) -> Any:
    return floats(2 * size)[::2]


def datetimes(size: int) -> Any:
    return np.arange(size // 8).view("datetime64[ns]")


def broadcast(size: int) -> Any:
    return np.broadcast_to(np.ones(1000), (size // 8000, 1000))


def square(size: int) -> Any:
    """Return a matrix with rows of 1,000 elements."""
    return floats(size).reshape(-1, 1000)


def records(size: int) -> Any:
    made = np.zeros(size // 16, [("id", "i8"), ("price", "f4"), ("count", "i4")])
    made["id"] = np.arange(len(made))
    return made


def masked(size: int) -> Any:
    values = floats(size)
    return np.ma.MaskedArray(values, values < 0.1)


def read_only(size: int) -> Any:
    values = floats(size)
    values.flags.writeable = False
    return values


def overlapping(size: int) -> Any:
    """Return a signal and 20 windows of it, each of half its length, as who trains on a series has them."""
    signal = floats(size)
    length = len(signal) // 2
    return [signal, *(signal[start : start + length] for start in range(0, length, length // 20))]


def small_arrays(count: int, length: int) -> object:
    return [np.arange(float(length)) + i for i in range(count)]


def measurements(count: int) -> object:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return [
        Measurement(f"station {i}", moment + dt.timedelta(minutes=i), generator().random(100_000)) for i in range(count)
    ]


# Frames


def arrow_table(size: int) -> Any:
    """Return a table of floats, ids, times and words."""
    pa = import_module("pyarrow")
    rows = max(1, size // ROW)
    words = pa.array(VOCABULARY, pa.large_string())
    ids = np.arange(rows)
    times = pa.array(ids * 1_000_000_000, pa.timestamp("ns"))
    text = words.take(pa.array(generator().integers(0, len(VOCABULARY), rows, np.int16)))
    return pa.table({"price": generator().random(rows), "id": ids, "time": times, "word": text})


def polars_frame(size: int) -> Any:
    return import_module("polars").from_arrow(arrow_table(size))


def pandas_frame(size: int) -> Any:
    return arrow_table(size).to_pandas()


def columns(rows: int) -> dict[str, Any]:
    return {"x": np.arange(rows) / 7, "name": [f"item {i}" for i in range(rows)]}


def pandas_floats(rows: int) -> Any:
    return import_module("pandas").DataFrame({f"c{i}": np.arange(rows) / (i + 1) for i in range(10)})


def pandas_mixed(rows: int) -> Any:
    times = np.arange(rows).astype("M8[s]").astype("M8[ns]")
    return import_module("pandas").DataFrame({**columns(rows), "time": times})


def pandas_categories(size: int) -> Any:
    pd = import_module("pandas")
    codes = generator().integers(0, len(VOCABULARY), size // 2)
    return pd.DataFrame({"word": pd.Categorical.from_codes(codes, VOCABULARY)})


def many_frames(count: int) -> object:
    return {f"k{i}": pandas_floats(100) for i in range(count)}


def ten_rows(frame: Any) -> Any:
    """Return a slice of a frame, which holds on to the memory of all its rows."""
    return frame[1000:1010]


# Tensors and models


def tensor(size: int) -> Any:
    return import_module("torch").from_numpy(floats(2 * size).astype(np.float32))


def bfloat16(size: int) -> Any:
    return tensor(2 * size).to(import_module("torch").bfloat16)


def state_dict() -> object:
    """Return 60 tensors of 18 MB together."""
    torch = import_module("torch")
    torch.manual_seed(SEED)
    return torch.nn.Sequential(*(torch.nn.Linear(384, 384) for _ in range(30))).state_dict()


def tied_state_dict() -> object:
    """Return the weights of a small language model, whose first layer is its last, too."""
    torch = import_module("torch")
    torch.manual_seed(SEED)
    embedding = torch.nn.Embedding(4000, 512)
    head = torch.nn.Linear(512, 4000, bias=False)
    head.weight = embedding.weight
    return torch.nn.ModuleDict({"embedding": embedding, "body": torch.nn.Linear(512, 512), "head": head}).state_dict()


def tied_model() -> object:
    torch = import_module("torch")
    torch.manual_seed(SEED)
    encoder, decoder = torch.nn.Linear(1000, 1000), torch.nn.Linear(1000, 1000)
    decoder.weight = encoder.weight
    return torch.nn.Sequential(encoder, torch.nn.ReLU(), decoder)


def jax_array(size: int) -> Any:
    return import_module("jax.numpy").asarray(floats(2 * size).astype(np.float32))


def batch(size: int) -> object:
    """Return what a step of training takes and tells: a frame, tensors, arrays, text and numbers."""
    quarter = size // 4
    return {
        "step": 17,
        "rows": pandas_frame(quarter),
        "features": tensor(quarter),
        "labels": generator().integers(0, 10, quarter // 8),
        "raw": octets(quarter),
        "notes": ["converging", None, 3.5],
    }


def analytics(size: int) -> object:
    """Return answers to a few queries: tables of three libraries, and who asked."""
    third = size // 3
    return [{"user": "ada"}, arrow_table(third), polars_frame(third), pandas_frame(third)]
