"""scipy."""

import numpy as np
from scipy import interpolate, optimize, signal, sparse, spatial, stats
from scipy.spatial.transform import Rotation

from . import cases_numpy  # noqa: F401  # compares the arrays that matrices consist of
from .comparison import compares
from .table import N, case

FORMATS = [f"{form}_{kind}" for form in ("bsr", "coo", "csc", "csr", "dia") for kind in ("array", "matrix")]
OF_OBJECTS = [f"{form}_{kind}" for form in ("dok", "lil") for kind in ("array", "matrix")]
"""Made of Python's objects: their memory is no one's to lend."""
ARRAYS = {
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
    "csc": ("data", "indices", "indptr"),
    "csr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "lil": ("rows", "data"),
}
INTERNAL = {"maxprint", "coords", *(name for names in ARRAYS.values() for name in names)}
COUNT = N // 2
"""Of elements that are not zero."""
COORDINATES = 16 * COUNT
"""Bytes of them, and of two indices for each."""


def _coo(dtype="f8", index="i4", count=COUNT):
    at = np.arange(count, dtype=index)
    values = (np.arange(count) % 100 + 1).astype(dtype)
    return sparse.coo_array((values, (at % 1021, at * 7 % 4999)), shape=(1021, 5000))


def _matrix(name, dtype="f8", count=COUNT):
    if name.startswith("dia"):
        diagonals = (np.arange(count).reshape(16, -1) % 100 + 1).astype(dtype)
        return getattr(sparse, name)((diagonals, np.arange(-8, 8)), shape=(count // 16, count // 16))
    return getattr(sparse, name)(_coo(dtype, count=count))


def _held(name, dtype="f8"):
    """Return the bytes of the arrays of a matrix."""
    matrix = _matrix(name, dtype)
    return sum(getattr(matrix, part).nbytes for part in ARRAYS[matrix.format])


def _wide():
    one = _coo().tocsr()
    one.indices, one.indptr = one.indices.astype("i8"), one.indptr.astype("i8")
    return one


def _jumbled(**known):
    """Return a matrix with indices in no order and twice, and what scipy is told of that."""
    columns, starts = np.tile(np.array([3, 1, 1, 0], "i4"), N // 16), np.arange(0, N // 4 + 1, 4, dtype="i4")
    one = sparse.csr_array((np.arange(N // 4) / 4, columns, starts), shape=(N // 16, 4))
    for name, value in known.items():
        setattr(one, name, value)
    return one


def _tidy():
    one = _jumbled()
    one.sum_duplicates()
    return one


def _summed():
    one = _coo()
    one.sum_duplicates()
    return one


def _with(one, **attributes):
    for name, value in attributes.items():
        setattr(one, name, value)
    return one


def _frozen(one):
    one.data.flags.writeable = False
    return one


def _and_turned(name):
    one = _matrix(name)
    return [one, one.T, one.T.T, one.data[100:]]


def _reals_of_complex():
    one = _matrix("csr_array", "c16")
    return [one, one.data.real, one.indices]


def _splines():
    """Return some of given coefficients: those of a fit are not the same in all versions."""
    knots = np.arange(N // 4 + 1) / 2
    cubic = interpolate.CubicSpline.construct_fast((np.arange(N) % 100 / 4).reshape(4, -1), knots, extrapolate=False)
    return [cubic, interpolate.BSpline(np.arange(12.0), np.arange(8) / 4, 3, extrapolate=False)]


def _interpolator():
    axes = (np.arange(256.0), np.arange(N // 256) / 2)
    values = (np.arange(N) % 100.0).reshape(256, -1)
    return interpolate.RegularGridInterpolator(axes, values, method="nearest", bounds_error=False, fill_value=-1.0)


def _distributions():
    return [
        stats.norm(1.5, scale=2),
        stats.gamma([1.0, 2.5]),
        stats.poisson(3, loc=1),
        stats.gaussian_kde(np.arange(9.0) ** 2),
    ]


def _result():
    return optimize.OptimizeResult(
        x=np.arange(N) / 4, success=True, message="done", hess_inv=sparse.eye(3, format="csr")
    )


CASES = [
    *[case(name, lambda name=name: _matrix(name), _held(name)) for name in FORMATS],
    *[case(name, lambda name=name: _matrix(name, count=1600)) for name in OF_OBJECTS],
    *[case(f"csr_array of {d}", lambda d=d: _matrix("csr_array", d), _held("csr_array", d)) for d in ("?", "i1", "u2", "i8", "f4", "c8", "c16")],
    *[case(f"{name} of {d}", lambda name=name, d=d: _matrix(name, d, 1600)) for name in ("coo_array", "dok_array", "lil_array") for d in ("?", "i2", "c8")],
    *[case(f"{name}, no elements", lambda name=name: getattr(sparse, name)((3, 4), dtype="f4")) for name in FORMATS + OF_OBJECTS],
    case("no rows, no columns", lambda: [sparse.csr_array((0, 3)), sparse.csc_matrix((3, 0)), sparse.coo_array((0, 0))]),
    case("wide indices, csr", _wide, 16 * COUNT + 8 * 1022),
    case("wide indices, coo", lambda: _coo(index="i8"), 24 * COUNT),
    case("blocks", lambda: sparse.bsr_array(sparse.eye_array(4096), blocksize=(4, 8)) if hasattr(sparse, "eye_array") else sparse.bsr_array(sparse.eye(4096), blocksize=(4, 8))),
    case("jumbled", _jumbled, 13 * N // 4),
    case("jumbled, known to be so", lambda: _jumbled(has_sorted_indices=False, has_canonical_format=False), 13 * N // 4),
    case("jumbled, and told otherwise", lambda: _jumbled(has_sorted_indices=True), 13 * N // 4),
    case("tidy", _tidy, 3 * 12 * N // 16 + N // 4),
    case("coordinates, summed", _summed, COORDINATES),
    case("explicit zeros", lambda: sparse.csr_array((np.zeros(5), np.arange(5), [0, 5]), shape=(1, 9))),
    case("read-only", lambda: _frozen(_matrix("csr_array")), _held("csr_array")),
    case("attributes", lambda: _with(_matrix("csc_matrix"), unit={"mass": "kg"}, mask=np.arange(N) % 2 == 0), _held("csc_matrix") + N),
    *[case(f"{name} and its transpose", lambda name=name: _and_turned(name), _held(name)) for name in ("csr_array", "csc_matrix", "coo_array")],
    case("a matrix and its arrays", lambda: [one := _matrix("csr_matrix"), one.data, one.indices[5:], one.indptr], _held("csr_matrix")),
    case("complex, and its parts", _reals_of_complex, _held("csr_array", "c16")),
    case("matrices of one pattern", lambda: [one := _matrix("csr_array"), one._with_data(one.data * 2, copy=False)], _held("csr_array") + 8 * COUNT),
    case("dict of matrices", lambda: {"a": _matrix("csr_array", "f4"), "b": [_matrix("dia_array")]}, _held("csr_array", "f4") + _held("dia_array")),
    case("one axis", lambda: sparse.coo_array(np.arange(300) % 3), given=hasattr(sparse.coo_array, "coords")),
    case("splines", _splines, 10 * N),
    case("interpolator on a grid", _interpolator, 8 * N),
    case("rotations", lambda: [Rotation.from_quat(np.tile(np.eye(4), (N // 16, 1))), Rotation.from_quat(np.eye(4)[2])], 8 * N),
    case("frozen distributions", _distributions),
    case("result of an optimization", _result, 8 * N),
    case("linear systems", lambda: [signal.dlti([1.0, 0.5], [1.0, -0.25], dt=0.1), signal.lti([1.0], [2.0, 3.0], 4.0)]),
    case("tree of neighbours", lambda: spatial.KDTree((np.arange(2000) * 7 % 1009).reshape(-1, 2) / 4, leafsize=5)),
]  # fmt: skip


@compares(sparse.sparray, sparse.spmatrix)
def _compare_matrices(comparison, got, want, where):
    comparison.equal("layout", got.format, want.format, f"{where}.format")
    comparison.equal("dtype", got.dtype, want.dtype, f"{where}.dtype")
    if not comparison.equal("value", got.shape, want.shape, f"{where}.shape"):
        return
    # Flags that were never asked for are found out now, the same for both.
    for name in ("has_sorted_indices", "has_canonical_format"):
        flags = [getattr(one, name, None) for one in (got, want)]
        comparison.equal("flags", *flags, f"{where}.{name}")
    if want.format == "dok":
        items = [{f"[{key}]": value for key, value in one.items()} for one in (got, want)]
        comparison.parts(*items, where, ordered=True)
    else:
        names = ("data", "coords") if want.format == "coo" and hasattr(want, "coords") else ARRAYS[want.format]
        comparison.parts(*({f".{name}": getattr(one, name) for name in names} for one in (got, want)), where)
    attributes = [_attributes(one) for one in (got, want)]
    if comparison.equal("metadata", *map(sorted, attributes), where):
        comparison.parts(*attributes, where)


def _attributes(matrix):
    return {
        f".{name}": value for name, value in vars(matrix).items() if not name.startswith("_") and name not in INTERNAL
    }


# What is not sparse


@compares(interpolate.PPoly, interpolate.BSpline)
def _compare_splines(comparison, got, want, where):
    names = [name for name in ("c", "x", "t", "k", "axis", "extrapolate") if hasattr(want, name)]
    comparison.parts(*({f".{name}": getattr(one, name) for name in names} for one in (got, want)), where)
    comparison.equal("value", *(one([0.25, 3.5, 4.0]).tobytes() for one in (got, want)), f"{where}: what it gives")


@compares(interpolate.RegularGridInterpolator)
def _compare_interpolators(comparison, got, want, where):
    names = ("grid", "values", "method", "bounds_error", "fill_value")
    comparison.parts(*({f".{name}": getattr(one, name) for name in names} for one in (got, want)), where)
    comparison.equal("value", *(one([[3.2, 5.1], [-1, 0]]).tolist() for one in (got, want)), f"{where}: what it gives")


@compares(Rotation)
def _compare_rotations(comparison, got, want, where):
    comparison.equal("value", got.single, want.single, f"{where}.single")
    comparison.equal("value", got.as_quat().tobytes(), want.as_quat().tobytes(), where)


@compares(type(stats.norm(0)), type(stats.poisson(1)))
def _compare_distributions(comparison, got, want, where):
    comparison.equal("value", *((type(one.dist), one.dist.name) for one in (got, want)), f"{where}.dist")
    comparison.compare([got.args, got.kwds], [want.args, want.kwds], where)
    comparison.equal("value", *(np.asarray(one.cdf(1.75)).tolist() for one in (got, want)), f"{where}.cdf")


@compares(stats.gaussian_kde)
def _compare_densities(comparison, got, want, where):
    for name in ("dataset", "factor", "weights"):
        comparison.compare(getattr(got, name), getattr(want, name), f"{where}.{name}")
    comparison.equal("value", *(one(2.5).tolist() for one in (got, want)), where)


@compares(signal.lti, signal.dlti)
def _compare_systems(comparison, got, want, where):
    names = [name for name in ("num", "den", "zeros", "poles", "gain") if hasattr(want, name)]
    comparison.parts(*({f".{name}": getattr(one, name) for name in names} for one in (got, want)), where)
    comparison.equal("value", got.dt, want.dt, f"{where}.dt")


@compares(spatial.KDTree)
def _compare_trees(comparison, got, want, where):
    names = ("data", "indices", "maxes", "mins")
    comparison.equal("metadata", got.leafsize, want.leafsize, f"{where}.leafsize")
    # Copies: some versions of scipy set them read-only, which their own pickling forgets.
    comparison.parts(*({f".{name}": np.array(getattr(one, name)) for name in names} for one in (got, want)), where)
    if not comparison.lost:
        found = [[each.tolist() for each in one.query(want.data[5:9] + 0.25, 3)] for one in (got, want)]
        comparison.equal("value", *found, f"{where}.query")
