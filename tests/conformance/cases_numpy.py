"""numpy."""

import numpy as np

from .comparison import compares
from .table import N, case

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None

MIXED = np.dtype([("id", "<i4"), ("when", "<M8[s]"), ("place", "<f8", (3,)), ("name", "S12")])
PADDED = np.dtype([("flag", "?"), ("x", "<f8"), ("y", "<f4")], align=True)


def _numbers(dtype="<f8", shape=(N,), order="C"):
    count = int(np.prod(shape))
    return (np.arange(count) % 100).astype(dtype).reshape(shape, order=order)


def _records(dtype):
    records = np.zeros(N // 8, dtype)
    for name in records.dtype.names:
        records[name] = np.arange(records[name].size).reshape(records[name].shape).astype(records[name].dtype)
    return records


def _frozen(array):
    array.flags.writeable = False
    return array


def _shifted():
    """Return an array whose elements do not start at multiples of their size."""
    return np.frombuffer(bytearray(8 * N + 1), "<f8", offset=1)


def _views():
    one = _numbers()
    return [one[::2], one, one[2 : N // 2], one.reshape(-1, 2), np.broadcast_to(one[:1], (N,)), one[::-1]]


def _boxed(items):
    box = np.empty(len(items), object)
    box[:] = items
    return box


def _windows():
    one = _numbers()
    return [one[i : i + N - 1000] for i in range(0, 1000, 10)]


def _masked(**options):
    return np.ma.MaskedArray(_numbers(), mask=np.arange(N) % 3 == 0, **options)


def _hard():
    one = _masked(fill_value=-1)
    one.harden_mask()
    return one


class Quantity(np.ndarray):
    """An array with a unit."""

    unit = None

    def __array_finalize__(self, other):
        self.unit = getattr(other, "unit", None)

    def __reduce__(self):
        function, arguments, state = super().__reduce__()
        return function, arguments, (state, self.unit)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self.unit = state[1]


class Labelled(np.ndarray):
    """An array with an attribute that its pickling knows nothing of."""

    label = None


def _quantity():
    one = _numbers().view(Quantity)
    one.unit = "m/s"
    return one


def _labelled():
    one = _numbers().view(Labelled)
    one.label = {"station": "north"}
    return one


CASES = [
    *[case(f"dtype {d}", lambda d=d: _numbers(d), N * np.dtype(d).itemsize) for d in "?bBhHiIlLqQefdgFDG"],
    *[case(f"big-endian {d}", lambda d=d: _numbers(d), N * np.dtype(d).itemsize) for d in (">i2", ">i8", ">f4", ">c16")],
    case("datetime64[ns]", lambda: _numbers("<i8").view("<M8[ns]"), 8 * N),
    case("datetime64[D]", lambda: _numbers("<i8").view("<M8[D]"), 8 * N),
    case("datetime64[25s]", lambda: _numbers("<i8").view("<M8[25s]"), 8 * N),
    case("timedelta64[ms]", lambda: _numbers("<i8").view("<m8[ms]"), 8 * N),
    case("big-endian datetime64", lambda: _numbers(">i8").view(">M8[us]"), 8 * N),
    case("not-a-time", lambda: np.array(["NaT", "2020-01-01"] * (N // 2), "M8[s]"), 8 * N),
    case("byte strings", lambda: _numbers("<i4").astype("S6"), 6 * N),
    case("unicode strings", lambda: _numbers("<i4").astype("U4"), 16 * N),
    case("void", lambda: _numbers("<i8").view("V8"), 8 * N),
    case("Fortran order", lambda: _numbers(shape=(256, N // 256), order="F"), 8 * N),
    case("three axes, permuted", lambda: _numbers(shape=(16, 32, N // 512)).transpose(1, 2, 0), 8 * N),
    case("twenty axes", lambda: _numbers(shape=(2,) * 17 + (1,) * 3), 8 * N),
    case("reversed", lambda: _numbers()[::-1], 8 * N),
    case("reversed along one axis", lambda: _numbers(shape=(256, N // 256))[:, ::-1], 8 * N),
    case("every second element", lambda: _numbers(shape=(2 * N,))[::2], 8 * N),
    case("every third element, reversed", lambda: _numbers(shape=(3 * N,))[::-3], 8 * N),
    case("two columns of three", lambda: _numbers(shape=(N, 3))[:, :2], 16 * N),
    case("a column", lambda: _numbers(shape=(N, 3))[:, 1], 8 * N),
    case("a block", lambda: _numbers(shape=(1024, 512))[100:600, 100:400], 500 * 300 * 8),
    case("a field", lambda: _records(MIXED)["place"], N // 8 * 24),
    case("two fields, and what is between them", lambda: _records(MIXED)[["id", "when"]], N // 8 * MIXED.itemsize),
    case("ten elements of many", lambda: _numbers()[50:60], 80),
    case("ten rows of many", lambda: _numbers(shape=(N // 8, 8))[50:60], 640),
    case("a scalar broadcast", lambda: np.broadcast_to(np.float64(3), (1024, 128)), 8),
    case("a row broadcast", lambda: np.broadcast_to(_numbers(shape=(128,)), (1024, 128)), 1024),
    case("a column broadcast", lambda: np.broadcast_to(_numbers(shape=(N, 1)), (N, 4)), 8 * N),
    case("sliding windows", lambda: np.lib.stride_tricks.sliding_window_view(_numbers(), 100), 8 * N),
    case("unaligned", _shifted, 8 * N),
    case("read-only", lambda: _frozen(_numbers()), 8 * N),
    case("read-only, every second", lambda: _frozen(_numbers(shape=(2 * N,)))[::2], 8 * N),
    case("structured", lambda: _records(MIXED), N // 8 * MIXED.itemsize),
    case("structured with padding", lambda: _records(PADDED), N // 8 * PADDED.itemsize),
    case("nested structures", lambda: _records(np.dtype([("in", MIXED), ("out", ">f4")])), N // 8 * (MIXED.itemsize + 4)),
    case("titles and offsets", lambda: np.zeros(N, {"names": ["a"], "formats": ["<f4"], "offsets": [4], "titles": ["A"]})),
    case("dtype metadata", lambda: _numbers(np.dtype("<f8", metadata={"unit": "m"})), 8 * N),
    case("structured with objects", lambda: np.array([(1, "one"), (2, None)], [("n", "<i4"), ("o", "O")])),
    case("zero dimensions", lambda: np.array(3.5)),
    case("zero dimensions, time", lambda: np.array("2024-02-29", "M8[D]")),
    case("empty", lambda: np.empty(0)),
    case("empty of two axes", lambda: np.empty((0, 3), "<i4", order="F")),
    case("empty of four axes", lambda: np.empty((2, 0, 3, 1), "M8[s]")),
    case("no bytes an element", lambda: np.zeros(5, "V0")),
    case("objects", lambda: np.array([1, "two", None, [3]], object)),
    case("objects holding arrays", lambda: _boxed([_numbers(), _numbers("<f4"), None]), 12 * N),
    case("objects of two axes", lambda: np.array([[1, "a"], [None, 2.5]], object, order="F")),
    case("matrix", lambda: _numbers(shape=(256, N // 256)).view(np.matrix), 8 * N),
    case("recarray", lambda: _records(MIXED).view(np.recarray), N // 8 * MIXED.itemsize),
    case("record", lambda: _records(MIXED).view(np.recarray)[7]),
    case("masked", _masked, 9 * N),
    case("masked, hard, with a fill value", _hard, 9 * N),
    case("masked, nothing", lambda: np.ma.MaskedArray(_numbers()), 8 * N),
    case("masked times", lambda: np.ma.MaskedArray(_numbers("<i8").view("M8[s]"), mask=np.arange(N) % 2), 9 * N),
    case("masked records", lambda: np.ma.MaskedArray(_records(PADDED), mask=[(1, 0, 1)] * (N // 8))),
    case("the masked constant", lambda: [np.ma.masked, np.ma.nomask]),
    case("a subclass with a state of its own", _quantity, 8 * N),
    case("a subclass with an attribute", _labelled, 8 * N),
    case("views of one array", _views, 8 * N),
    case("overlapping halves", lambda: [(one := _numbers())[: N // 2 + 9], one[N // 2 - 9 :]], 8 * N),
    case("an array and its bytes", lambda: [one := _numbers(), one.view("u1")], 8 * N),
    case("a column and its table", lambda: [(one := _numbers(shape=(N, 3)))[:, 1], one], 24 * N),
    case("a thousand arrays of ten", lambda: [_numbers(shape=(10,)) + i for i in range(1000)]),
    case("scalars", lambda: [np.float32(1), np.int8(-1), np.bool_(1), np.datetime64("NaT", "s"), np.int64(-1 << 63).view("M8"), np.str_("x"), np.bytes_(b"y")]),
    case("long double scalar", lambda: np.longdouble(1) / 3),
    case("void scalar", lambda: _records(MIXED)[3]),
    case("dtypes", lambda: [np.dtype("<f8"), np.dtype(">M8[7ms]"), MIXED, PADDED, np.dtype("S0"), np.dtype(("<i4", (2, 3)))]),
    case("functions", lambda: [np.add, np.linalg.norm, np.mean, np.float64]),
    case("random generator", lambda: np.random.default_rng(5)),
    case("poly1d", lambda: np.poly1d([1.0, 2.0, 3.0])),
    case("strings of any length", lambda: _numbers("<i4").astype("U6").astype(np.dtypes.StringDType()), 3 * N, given=hasattr(np.dtypes, "StringDType")),
    case("strings with missing ones", lambda: np.array(["a", None] * 500, np.dtypes.StringDType(na_object=None)), given=hasattr(np.dtypes, "StringDType")),
    *[
        case(f"ml_dtypes {d}", lambda d=d: _numbers("<f4", (N * 8,)).astype(getattr(ml_dtypes, d)), 8 * N * bits // 8, given=bool(ml_dtypes))
        for d, bits in (("bfloat16", 16), ("float8_e4m3fn", 8), ("float8_e5m2", 8), ("float8_e4m3fnuz", 8), ("int4", 8))
    ],
]  # fmt: skip


@compares(np.dtype)
def compare_dtypes(comparison, got, want, where):
    facts = [(one, one.str, repr(one), one.isalignedstruct, one.metadata) for one in (got, want)]
    comparison.equal("dtype", *facts, where)


@compares(np.generic)
def _compare_scalars(comparison, got, want, where):
    compare_dtypes(comparison, got.dtype, want.dtype, f"{where}.dtype")
    comparison.equal("value", _fields(np.asarray(got)), _fields(np.asarray(want)), where)


def _fields(array):
    """Return the bytes of each field, without those between fields, which are what was there before."""
    names = array.dtype.names
    return [_fields(array[name]) for name in names] if names else _octets(array)


@compares(np.random.Generator)
def _compare_generators(comparison, got, want, where):
    comparison.parts({".state": got.bit_generator.state}, {".state": want.bit_generator.state}, where)


@compares(np.ndarray)
def compare_arrays(comparison, got, want, where):
    compare_dtypes(comparison, got.dtype, want.dtype, f"{where}.dtype")
    comparison.equal("value", got.shape, want.shape, f"{where}.shape")
    comparison.equal("mutability", got.flags.writeable, want.flags.writeable, f"{where}.flags.writeable")
    if comparison.lost.keys() & {"dtype", "value"}:
        return
    if want.size:
        exact = _gap_free(want)
        comparison.equal("layout", _layout(got, exact=exact), _layout(want, exact=exact), f"{where}.strides")
    if want.flags.aligned and not got.flags.aligned:
        comparison.miss("alignment", f"{where}: at {_address(got):#x}")
    _compare_elements(comparison, got, want, where)
    state = {name: value for name, value in getattr(want, "__dict__", {}).items() if not name.startswith("_")}
    if state and not isinstance(want, np.ma.MaskedArray):
        comparison.parts({f".{n}": getattr(got, n, None) for n in state}, {f".{n}": v for n, v in state.items()}, where)


def _compare_elements(comparison, got, want, where):
    if isinstance(want, np.ma.MaskedArray):
        names = ("data", "mask", "fill_value", "hardmask")
        comparison.parts(*({f".{name}": getattr(one, name) for name in names} for one in (got, want)), where)
        return
    got, want = np.asarray(got), np.asarray(want)
    if want.dtype.names:
        for name in want.dtype.names:
            _compare_elements(comparison, got[name], want[name], f"{where}[{name!r}]")
    elif want.dtype.kind in "OT":
        comparison.compare(got.ravel().tolist(), want.ravel().tolist(), f"{where}.tolist()")
    else:
        comparison.equal("value", _octets(got), _octets(want), f"{where}.tobytes()")
        if want.flags.forc and not want.dtype.hasobject:
            comparison.memory(where, _address(got), _address(want), want.nbytes)


def _octets(array):
    """Return the bytes of the elements, without those that a long double does not use."""
    if array.dtype.kind not in "fc" or array.dtype.char not in "gG":
        return array.tobytes()
    used = -(-(np.finfo("g").nmant + np.finfo("g").iexp + 1) // 8)
    return np.frombuffer(array.tobytes(), "u1").reshape(-1, np.dtype("g").itemsize)[:, :used].tobytes()


def _gap_free(array):
    covered = array.dtype.itemsize
    for stride, length in sorted(
        (abs(stride), n) for stride, n in zip(array.strides, array.shape, strict=True) if n > 1
    ):
        if stride > covered:
            return False
        covered += stride * (length - 1)
    return True


def _layout(array, *, exact):
    """Return the strides, or only in which order in memory the axes are: those with gaps between are compacted."""
    strides = [stride for stride, length in zip(array.strides, array.shape, strict=True) if length > 1]
    return strides if exact else sorted(range(len(strides)), key=lambda axis: (-abs(strides[axis]), axis))


def _address(array):
    return array.__array_interface__["data"][0]
