import ctypes
import datetime as dt
import errno

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from helpers import received, run_python, transferred, weight

from oobcodec.codec import dumps, loads
from oobcodec.errors import DecodeError
from oobcodec.reducers import polars as reducers
from oobcodec.reducers import polars_wide

reducers.register()

NUMBERS = [0, 1, -1, None, 2**100, -(2**126), 2**127 - 1, -(2**127), 10**38, -(10**38)] * 7
MIXED = pl.Struct(
    {"i": pl.Int128, "d": pl.Date, "s": pl.String, "x": pl.List(pl.Decimal(38, 0)), "l": pl.List(pl.Int128)}
)
NESTED = [
    pl.Series("lists", [NUMBERS, None, [], [None]], pl.List(pl.Int128)),
    pl.Series("deep", [[[1], None, [2**100]], []], pl.List(pl.List(pl.Int128))),
    pl.Series("arrays", [[2**100, None], None], pl.Array(pl.Int128, 2)),
    pl.Series("mixed", [{"i": 2**100, "d": dt.date(2024, 2, 29), "s": "x" * 20, "x": [5], "l": [-1]}, None], MIXED),
    *[pl.Series("unsigned", [2**128 - 1, None, 0, 2**127] * 5, pl.UInt128) for _ in range(hasattr(pl, "UInt128"))],
    *[
        pl.Series("both", [{"u": [2**128 - 1], "i": -1}], pl.Struct({"u": pl.List(pl.UInt128), "i": pl.Int128}))
        for _ in range(hasattr(pl, "UInt128"))
    ],
]
ALL = [
    pl.Series("flat", NUMBERS, pl.Int128),
    pl.Series("", NUMBERS, pl.Int128),
    *filter(lambda s: reducers._is_wide(s.dtype), NESTED),
]


def assert_same(got, want):
    assert (type(got), got.name, got.dtype) == (type(want), want.name, want.dtype)
    assert got.to_list() == want.to_list()
    assert got.chunk_lengths() == want.chunk_lengths()
    assert got.flags["SORTED_ASC"] == want.flags["SORTED_ASC"]


@pytest.mark.parametrize("series", ALL, ids=lambda series: f"{series.name} {series.dtype}"[:40])
@pytest.mark.parametrize("memory", [bytearray, bytes])
def test_integers_arrive_whole_sliced_and_in_chunks(series, memory):
    assert reducers.reduce_series(series)[0] is reducers.rebuild_wide
    pieces = [series, series[1:], series[1:8], series[:0], series[-1:], series[3:][1:5], series.clear()]
    pieces += [pl.concat([series, series], rechunk=False), pl.concat([series, series[:0], series[1:]], rechunk=False)]
    for piece in pieces:
        assert_same(transferred(piece, memory), piece)
        assert_same(transferred(piece.to_frame(), memory).to_series(), piece)


def test_orders_arrive():
    series = pl.Series([1, 2, 2**100], dtype=pl.Int128).set_sorted()
    assert_same(transferred(series), series)
    down = series.reverse().set_sorted(descending=True)
    assert transferred(down).flags["SORTED_DESC"]


def test_nothing_is_copied():
    series = pl.Series("x", [2**100] * 5000, pl.Int128)
    frames = dumps([series, series[1000:]])
    start = polars_wide.to_arrow(series).column(0).chunk(0).buffers()[1].address
    assert {pa.py_buffer(part).address for part in frames} & {start}
    assert weight(frames) < 81_000
    arrived = received(frames)
    got = loads(arrived)[0]
    assert polars_wide.to_arrow(got).column(0).chunk(0).buffers()[1].address in {
        pa.py_buffer(part).address for part in arrived
    }


@pytest.mark.parametrize("series", ALL, ids=lambda series: f"{series.name} {series.dtype}"[:40])
def test_memory_may_be_anywhere(series):
    """Integers of 128 bits are aligned to 16 bytes, what arrives is not."""
    table, signs = polars_wide.to_arrow(series), polars_wide.signs(series.dtype)
    for chunk in table.column(0).chunks:
        for shift in (1, 8):
            moved = _moved(chunk, shift)
            got = polars_wide.from_arrow(pa.table([moved], schema=table.schema), signs)
            assert got.to_list() == series.to_list()


def _moved(array, shift):
    def move(buffer):
        memory = np.empty(buffer.size + 64, np.uint8)
        at = -memory.ctypes.data % 16 + shift
        memory[at : at + buffer.size] = np.frombuffer(buffer, np.uint8)
        return pa.py_buffer(memory[at : at + buffer.size])

    buffers = [None if buffer is None else move(buffer) for buffer in array.buffers()[: array.type.num_buffers]]
    if pa.types.is_struct(array.type):
        children = [_moved(array.field(i), shift) for i in range(array.type.num_fields)]
    elif pa.types.is_nested(array.type):
        children = [_moved(array.values, shift)]
    elif len(array.buffers()) > 2:  # text
        return array
    else:
        children = None
    return pa.Array.from_buffers(array.type, len(array), buffers, offset=array.offset, children=children)


def test_signs_are_in_the_order_of_the_types():
    if not hasattr(pl, "UInt128"):
        pytest.skip("this polars has no UInt128")
    fields = {"u": pl.UInt128, "x": pl.Int64, "l": pl.List(pl.Array(pl.Int128, 2)), "v": pl.UInt128()}
    assert polars_wide.signs(pl.Struct(fields)) == "uiu"


def test_what_this_polars_does_not_take_is_an_error():
    table = pa.table({"x": pa.array([None], pa.month_day_nano_interval())})
    with pytest.raises(DecodeError, match=rf"polars {pl.__version__} takes no month_.*: install polars 9\.9"):
        reducers.rebuild_wide(table, "i", "", ("9.9", ()))


def test_types_that_polars_does_not_take_from_arrow_go_its_own_way(monkeypatch):
    def fails(*_):
        raise pl.exceptions.ComputeError

    monkeypatch.setattr(polars_wide, "from_arrow", fails)
    assert not reducers._is_wide.__wrapped__(pl.Int128())


def test_without_arrow():
    script = """
        import sys
        sys.modules["pyarrow"] = None
        import polars as pl
        from oobcodec.codec import dumps, loads
        series = pl.Series("x", [2**100, None], pl.Int128)
        for obj in (series, series.to_frame()):
            assert loads(dumps(obj)).equals(obj, null_equal=True)
    """
    run_python(script)


def test_a_stream_that_has_no_schema_has_no_changed_one():
    fails = polars_wide._GetSchema(lambda *_: errno.EINVAL)

    class Failing:
        def __arrow_c_stream__(self):
            capsule = pa.table({"x": [1]}).__arrow_c_stream__()
            stream = polars_wide._Stream.from_address(polars_wide._pointer(capsule, b"arrow_array_stream"))
            stream.get_schema = ctypes.cast(fails, ctypes.c_void_p).value
            return capsule

    with pytest.raises(pa.ArrowInvalid):
        pa.RecordBatchReader.from_stream(polars_wide._Changed(Failing(), pytest.fail))
