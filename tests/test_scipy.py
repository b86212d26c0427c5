import pickle
from dataclasses import dataclass

import numpy as np
import pytest

sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")

from oobcodec.codec import dumps, loads  # noqa: E402

CLASSES = [
    getattr(sparse, f"{form}_{kind}") for form in ("bsr", "coo", "csc", "csr", "dia") for kind in ("array", "matrix")
]
# A dict and lists of Python's own numbers: the memory of these is no one's to lend.
IN_BAND = [getattr(sparse, f"{form}_{kind}") for form in ("dok", "lil") for kind in ("array", "matrix")]


@dataclass
class Model:
    name: str
    weights: object


def received(frames, memory=bytearray):
    return [memory(frame) for frame in frames]


def shipped(frames):
    return sum(frame.nbytes for frame in frames[2:])


def in_band(frames):
    return frames[0].nbytes + frames[1].nbytes


def made(cls, dtype=np.float64, count=100_000):
    """Return a matrix of a class with some 1.2 MB of data."""
    if cls.__name__.startswith("dia"):
        return cls(
            (np.arange(count).astype(dtype).reshape(20, -1), np.arange(-10, 10)), shape=(count // 20, count // 20)
        )
    at = np.arange(count, dtype=np.int32)  # scipy itself copies wider indices here and there
    return cls(sparse.coo_array((at.astype(dtype), (at % 3001, at * 7 % 4999)), shape=(3002, 5000)))


def arrays(matrix):
    """Return the arrays that a matrix consists of, by name."""
    parts = {}
    for name, value in vars(matrix).items():
        parts |= dict(enumerate(value)) if name == "coords" else {name: value}
    return {name: value for name, value in parts.items() if isinstance(value, np.ndarray)}


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    assert (actual.format, actual.shape, actual.dtype) == (expected.format, expected.shape, expected.dtype)
    assert arrays(actual).keys() == arrays(expected).keys()
    for name, part in arrays(expected).items():
        assert arrays(actual)[name].dtype == part.dtype
        assert arrays(actual)[name].strides == part.strides
        assert np.array_equal(arrays(actual)[name], part)
    for flag in ("has_sorted_indices", "has_canonical_format"):
        assert getattr(actual, flag, None) == getattr(expected, flag, None)
    # Not before these flags, which are remembered when they are asked for.
    assert vars(actual).keys() == vars(expected).keys()


@pytest.mark.parametrize("cls", CLASSES)
def test_matrices_travel_out_of_band_as_their_arrays(cls):
    matrix = made(cls)
    logical = sum(part.nbytes for part in arrays(matrix).values())
    frames = dumps(matrix)
    # The offsets of diagonals are too few for a frame.
    assert logical - 1024 < shipped(frames) <= logical
    assert in_band(frames) < 8192
    largest = max(frames[2:], key=len)
    assert any(np.shares_memory(np.frombuffer(largest, np.uint8), part) for part in arrays(matrix).values())
    arrived = received(frames)
    back = loads(arrived)
    assert_same(back, matrix)
    memory = [np.frombuffer(frame, np.uint8) for frame in arrived[2:]]
    for part in arrays(back).values():
        assert part.flags.writeable
        assert part.nbytes < 1024 or any(np.shares_memory(part, frame) for frame in memory)
    back.data[...] = 0
    assert not back.sum()
    frozen = loads(received(frames, bytes))
    assert_same(frozen, matrix)
    assert not frozen.data.flags.writeable


@pytest.mark.parametrize("cls", CLASSES + IN_BAND)
@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.float32, np.complex128])
def test_every_dtype_and_calculation(cls, dtype):
    matrix = made(cls, dtype, count=1000)
    back = loads(received(dumps(matrix)))
    assert_same(back, matrix)
    assert back.dtype == dtype
    ones = np.ones(matrix.shape[1], dtype)
    assert np.array_equal(back @ ones, matrix @ ones)
    assert np.array_equal(back.tocsr().toarray(), matrix.tocsr().toarray())


@pytest.mark.parametrize("cls", IN_BAND)
def test_objects_of_python_travel_in_band_in_their_order(cls):
    matrix = made(cls, count=5000)
    matrix[1, 2], matrix[0, 0] = 5.5, 6.5
    frames = dumps(matrix)
    back = loads(received(frames))
    assert_same(back, matrix)
    if matrix.format == "dok":
        assert shipped(frames) == 0
        assert list(back.items()) == list(matrix.items())
        assert set(map(type, back.values())) == set(map(type, matrix.values()))
    else:
        assert back.rows.tolist() == matrix.rows.tolist()
        assert back.data.tolist() == matrix.data.tolist()
    # The remedy for large ones.
    assert in_band(dumps(matrix.tocsr())) < 1024 < in_band(frames)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_dtypes_of_indices_survive(index):
    rows, columns = np.arange(5000, dtype=index), np.arange(5000, dtype=index)[::-1].copy()
    coo = sparse.coo_array((np.ones(5000), (rows, columns)), shape=(5000, 5000))
    csr = coo.tocsr()
    csr.indices, csr.indptr = csr.indices.astype(index), csr.indptr.astype(index)
    for matrix in (coo, csr):
        assert_same(loads(received(dumps(matrix))), matrix)
    assert loads(received(dumps(csr))).indptr.dtype == index


def test_what_is_known_of_the_order_survives():
    data, columns, starts = np.arange(4000.0), np.tile([3, 1, 1, 0], 1000), np.arange(0, 4001, 4)
    jumbled = sparse.csr_array((data, columns, starts), shape=(1000, 4))
    tidy = jumbled.copy()
    tidy.sum_duplicates()
    claimed = jumbled.copy()
    claimed.has_sorted_indices = True
    claimed.has_canonical_format = False
    summed = sparse.coo_array(jumbled)
    summed.sum_duplicates()
    for matrix in (jumbled, tidy, claimed, summed):
        assert_same(loads(received(dumps(matrix))), matrix)
    assert not loads(received(dumps(jumbled))).has_sorted_indices
    assert loads(received(dumps(claimed))).has_sorted_indices
    assert loads(received(dumps(tidy))).has_canonical_format
    assert loads(received(dumps(summed))).has_canonical_format


def test_attributes_of_the_user_survive():
    matrix = made(sparse.csr_array)
    matrix.unit = {"mass": "kg"}
    assert loads(received(dumps(matrix))).unit == {"mass": "kg"}


def test_matrices_without_elements():
    for cls in CLASSES + IN_BAND:
        matrix = cls((3, 0)) if not cls.__name__.startswith("bsr") else cls((3, 4))
        assert_same(loads(received(dumps(matrix))), matrix)


def test_arrays_of_one_dimension_and_of_three():
    for cls in (sparse.coo_array, sparse.csr_array, sparse.dok_array):
        vector = cls(np.arange(300) % 3)
        back = loads(received(dumps(vector)))
        assert_same(back, vector)
        assert np.array_equal(back.toarray(), vector.toarray())
    cube = sparse.coo_array(np.arange(24).reshape(2, 3, 4))
    assert np.array_equal(loads(received(dumps(cube))).toarray(), cube.toarray())


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.__name__[:3] in {"coo", "csc", "csr"}])
def test_what_is_shared_travels_once(cls):
    matrix = made(cls)
    logical = sum(part.nbytes for part in arrays(matrix).values())
    frames = dumps({"model": Model("linear", matrix), "again": matrix, "turned": matrix.T, "data": matrix.data[100:]})
    assert shipped(frames) <= 1.05 * logical
    back = loads(received(frames))
    assert back["again"] is back["model"].weights
    assert_same(back["again"], matrix)
    assert_same(back["turned"], matrix.T)
    assert np.shares_memory(back["turned"].data, back["again"].data)
    back["data"][0] = -1
    assert back["again"].data[100] == back["turned"].data[100] == -1


def test_beside_a_lambda():
    matrix, factor = made(sparse.csr_array), 3
    frames = dumps([matrix, lambda number: number * factor])
    assert in_band(frames) < 8192
    back, function = loads(received(frames))
    assert_same(back, matrix)
    assert function(2) == 6


def test_stock_pickle_reads_the_stream():
    matrix = made(sparse.csc_matrix)
    frames = dumps(matrix)
    assert_same(pickle.loads(frames[1], buffers=received(frames[2:])), matrix)
