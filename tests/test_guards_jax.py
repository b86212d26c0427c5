import numpy as np
import pytest
from guarding import NESTED, arrived, limited
from helpers import run_python

jax = pytest.importorskip("jax", reason="jax is not installed")

from jax import numpy as jnp  # noqa: E402

from oobcodec.buffers import allocate  # noqa: E402
from oobcodec.errors import DecodeError, LimitError, PolicyError  # noqa: E402
from oobcodec.guards import jax as guards  # noqa: E402
from oobcodec.reducers import jax as reducers  # noqa: E402

reducers.register()

HOST = jax.local_devices(backend="cpu")[0]


def aligned(count):
    """Return an array over which JAX lays one of its own."""
    return np.frombuffer(allocate(4 * count), np.float32)


def rebuilt(values, place=None, *, weak=False):
    return guards.rebuild_array(values, weak, place)


def bits(array):
    return np.asarray(array).tobytes()


@pytest.mark.parametrize(
    "array",
    [
        jnp.arange(5),
        jnp.arange(4096.0).reshape(64, 64).T,
        jnp.asarray(1.5),
        jnp.arange(5) % 2 == 0,
        jnp.zeros((0, 3)),
        jnp.arange(7).astype(jnp.bfloat16),
        jax.device_put(jnp.arange(5), HOST),
    ],
)
def test_array_arrives_as_it_left(array):
    got = arrived([array])[0]
    assert (got.dtype, got.shape, got.weak_type) == (array.dtype, array.shape, array.weak_type)
    assert (got.committed, got.devices()) == (array.committed, array.devices())
    assert bits(got) == bits(array)


def test_pytree_arrives():
    tree = {"dense": [jnp.arange(5), (jnp.ones(3), None)], "step": 3}
    got = arrived(tree)
    assert jax.tree_util.tree_structure(got) == jax.tree_util.tree_structure(tree)
    assert jax.tree_util.tree_all(
        jax.tree_util.tree_map(lambda a, b: bool((a == b).all()), got["dense"], tree["dense"])
    )


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="this numpy has no strings of any length")
class TestStrings:
    """Strings of any length are as long as they say."""

    def test_arrive(self):
        values = np.array(["a", "", "long" * 9], np.dtypes.StringDType())
        assert np.asarray(arrived([jax.device_put(values, HOST)])[0]).tolist() == values.tolist()

    def test_copies_of_their_text_are_accounted_for(self):
        values = np.broadcast_to(np.array(["x" * 2000], np.dtypes.StringDType()), 1000)
        with limited(max_decompressed_bytes=1 << 20, max_ratio=None), pytest.raises(LimitError):
            rebuilt(values)


class Odd(np.ndarray):
    """An array of a class of its own."""


@pytest.mark.parametrize(
    "values",
    [
        *(None, 3, 2.5, "text", [1, 2], (1, 2), b"bytes", np.float32(3), jnp.ones(2), NESTED),
        np.ones(2).view(Odd),
        np.ma.masked_array([1, 2], [0, 1]),
        np.array([object()]),
        np.array(["a"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, "i4, f8"),
        np.zeros(2, "V3"),
        np.zeros(2, "S3"),
    ],
    ids=lambda values: type(values).__name__,
)
@pytest.mark.parametrize("weak_type", [True, False])
def test_array_is_one_of_numbers(values, weak_type):
    with pytest.raises(DecodeError):
        guards.rebuild_array(values, weak_type)


@pytest.mark.parametrize("weak_type", [None, 1, "yes", NESTED])
def test_weak_type_is_a_bool(weak_type):
    with pytest.raises(DecodeError, match="weak"):
        guards.rebuild_array(np.ones(2), weak_type)


def test_only_dtypes_of_numbers_are_weak():
    with pytest.raises(DecodeError, match="weak"):
        rebuilt(np.zeros(2, jnp.bfloat16), weak=True)


@pytest.mark.parametrize(
    "place",
    [
        *((), ("cpu",), ("cpu", -1), ("cpu", True), ("cpu", 0.0), ("cpu", 0, 0), ["cpu", 0], "cpu"),
        *((b"cpu", 0), ("", 0), ("c p", 0), (NESTED, 0), NESTED),
    ],
)
def test_place_is_a_kind_of_device_and_a_number(place):
    with pytest.raises(DecodeError, match="place"):
        rebuilt(np.ones(2), place=place)


@pytest.mark.parametrize("place", [("cpu", 2**60), ("abacus", 0)])
def test_array_of_a_device_that_is_not_there_is_on_the_default(place):
    array = rebuilt(np.ones(2, np.float32), place=place)
    assert array.devices() == jnp.ones(2).devices()


@pytest.mark.parametrize("byte", [2, 255])
def test_bools_are_zero_or_one(byte):
    values = np.array([0, 1, byte], np.uint8).view(np.bool_)
    with pytest.raises(DecodeError, match="bools"):
        rebuilt(values)


def test_empty_array_has_lengths_that_can_be_counted():
    with pytest.raises(DecodeError, match="elements"):
        rebuilt(np.empty((0, 2**62), np.uint8))


def test_broadcast_array_is_accounted_for():
    with (
        limited(max_decompressed_bytes=1 << 30, max_ratio=None),
        pytest.raises(LimitError, match="max_decompressed_bytes"),
    ):
        rebuilt(np.broadcast_to(np.float32(1), 1 << 40))


@pytest.mark.parametrize("place", [None, ("cpu", 0)])
def test_only_copies_are_accounted_for(place):
    values = aligned(1000)
    with limited(max_decompressed_bytes=3000, max_ratio=None):
        for _ in range(9):
            rebuilt(values[:640], place=place)
        rebuilt(values[1:641], place=place)
        with pytest.raises(LimitError):
            rebuilt(values[:640:2], place=place)


def test_copies_to_another_device_are_accounted_for():
    with limited(max_decompressed_bytes=3000, max_ratio=None), pytest.raises(LimitError):
        rebuilt(aligned(1000), place=("tpu", 0))


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_arrive(kind):
    keys = jax.random.split(jax.random.key(5, impl=kind), 3)
    got = arrived([keys])[0]
    assert got.dtype == keys.dtype
    assert bits(jax.random.key_data(got)) == bits(jax.random.key_data(keys))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (jnp.zeros(2, jnp.uint32), "fry"),
        (jnp.zeros(2, jnp.uint32), "f" * 1000),
        (jnp.zeros(2, jnp.uint32), None),
        (jnp.zeros(2, jnp.uint32), NESTED),
        (jnp.zeros(3, jnp.uint32), "threefry2x32"),
        (jnp.zeros((), jnp.uint32), "threefry2x32"),
        (jnp.zeros(2, jnp.int32), "threefry2x32"),
        (jax.random.key(5), "threefry2x32"),
        (np.zeros(2, np.uint32), "threefry2x32"),
        ([0, 0], "threefry2x32"),
    ],
)
def test_keys_consist_of_integers_as_their_kind_says(data, kind):
    with pytest.raises((DecodeError, TypeError, ValueError)):
        guards.rebuild_keys(data, kind)


def test_descriptions_arrive():
    sent = [jax.ShapeDtypeStruct((3, 4), jnp.bfloat16), jax.sharding.PartitionSpec("rows", None, ("a", "b"))]
    assert arrived(sent) == sent


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(([3], np.dtype("f4")), ((-1,), np.dtype("f4")), ((True,), np.dtype("f4")), (NESTED, np.dtype("f4"))),
        *(
            ((3,), "f4"),
            ((3,), None),
            ((3, 2**62), np.dtype("u1")),
            ((2**61,), np.dtype("f4")),
            ((0, 2**63), np.dtype("u1")),
        ),
    ],
)
def test_shape_has_lengths_and_a_dtype(shape, dtype):
    with pytest.raises(DecodeError, match=r"shape|elements"):
        guards.rebuild_shape(shape, dtype)


@pytest.mark.parametrize(
    ("axes", "reduced"),
    [
        *(((1,), {}), (([],), {}), ((("a", 1),), {}), ((NESTED,), {})),
        *(((), {"reduced": ["a"]}), ((), {"reduced": frozenset([1])})),
    ],
)
def test_places_on_a_mesh_have_names(axes, reduced):
    with pytest.raises(DecodeError, match="mesh"):
        guards.rebuild_partition(*axes, **reduced)


@pytest.mark.parametrize(
    "obj",
    [
        jnp.sum,
        jax.tree_util.Partial(jnp.sum, jnp.ones(2)),
        jax.tree_util.tree_structure([1, 2]),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_functions_are_refused(obj):
    with pytest.raises((PolicyError, DecodeError), match=r"refused|stands for a function"):
        arrived([obj])


ATTACK = """
    import random, sys, warnings
    warnings.simplefilter("ignore")
    import jax, numpy as np
    from jax import numpy as jnp
    from oobcodec.context import LOADING, LoadOptions
    from oobcodec.guards import jax as guards
    from oobcodec.limits import FOR_DATA, Budget

    pick = random.Random(int(sys.argv[1]))
    BASES = [np.arange(12, dtype=name) for name in ("u1", "i2", "u4", "i8", "f2", "f4", "f8", "c8", ">i4")]
    BASES += [np.arange(12).astype(name) for name in ("M8[s]", jnp.bfloat16, jnp.int4, jnp.float8_e5m2)]
    BASES += [np.frombuffer(bytes(range(250, 256)) * 2, np.bool_), np.array(["a", "bc"] * 6), np.zeros(12, "i4, f8")]
    BASES += [np.array([None] * 12), np.zeros((0, 3)), np.zeros((), "f4"), np.frombuffer(bytes(49)[1:], "f4")]
    LAYOUTS = [lambda a: a, lambda a: a[::-1], lambda a: a[::3], lambda a: a.reshape(3, 4).T, lambda a: a[:1],
        lambda a: np.broadcast_to(a[:1], 1 << 40), lambda a: np.broadcast_to(a[:1], (2, 3))]
    STRANGE = [None, True, False, 1, -1, 2**63, float("nan"), "", "cpu", "tpu", "rbg", b"cpu", (), ("cpu", 0),
        ("cpu", 9), ("gpu", 2**64), ("cpu", -1), [1], {}, (3, 2**62), (-1,), np.dtype("f4"), np.dtype("i4, f8")]
    USES = [repr, list, lambda v: v + 1, lambda v: v.sum(), lambda v: v == v, lambda v: v[0], lambda v: v[v],
        np.asarray, lambda v: jax.jit(lambda x: x * 2)(v), lambda v: jax.random.uniform(v), jnp.nonzero]

    def strange():
        if pick.random() < 0.5:
            return pick.choice(STRANGE)
        try:
            array = pick.choice(LAYOUTS)(pick.choice(BASES))
            return array if pick.random() < 0.6 or array.size > 99 else jnp.asarray(array)
        except Exception:
            return None

    values = 0
    for _ in range(int(sys.argv[2])):
        LOADING.set(LoadOptions(budget=Budget(FOR_DATA)))
        guard, arguments = pick.choice([
            (guards.rebuild_array, [strange(), pick.random() < 0.3, pick.choice([None, ("cpu", 0)])]),
            (guards.rebuild_keys, [jnp.zeros((2, pick.choice([2, 4])), jnp.uint32), "threefry2x32"]),
            (guards.rebuild_shape, [(3, 4), np.dtype("f4")]),
            (guards.rebuild_partition, ["rows", None, ("a", "b")]),
        ])
        for _ in range(pick.randrange(2)):
            arguments[pick.randrange(len(arguments))] = strange()
        try:
            value = guard(*arguments)
        except Exception:
            continue
        values += 1
        for use in USES:
            try:
                use(value)
            except Exception:
                pass
    print(values)
"""


def test_hundreds_of_strange_arguments_crash_nothing():
    assert int(run_python(ATTACK, 5, 600, measured=False)) > 150
