"""The table between environments that differ: each case arrives as it was, as documented, or is refused by name."""

import re
from typing import NamedTuple

import pytest
from conformance.table import table
from environments import OLDEST, SKEWED
from skew import peer
from skew.connection import HERE, connection

from oobcodec.sockets import recv, send

pytestmark = pytest.mark.skew

LIBRARIES = ("stdlib", "numpy", "torch", "pandas", "pyarrow", "polars", "jax", "scipy", "xarray")
TABLE = [key for key in table() if key[0] in LIBRARIES]
OLD = dict(each.split("==") for each in OLDEST if "==" in each)
# Between the oldest and the newest libraries, and between the Pythons that are furthest apart.
OTHERS = [name for name in SKEWED if name != "py312"]


class Exemption(NamedTuple):
    """An outcome other than the same object."""

    library: str
    names: str
    """Of the cases, as a regular expression."""
    between: str
    """``"old->new"``, ``"new->old"``, ``"old<->new"`` or ``"differ"``, of versions; ``"missing"`` from the receiver."""
    outcome: str
    """As a regular expression: it has to come true."""
    of: str = ""
    """The library whose versions count, if it is another one."""


TEXT = (
    r".*(String|Binary|Categor|Enum).*|.*text|DataFrame(, (sliced|ten rows.*|empty|a hundred.*)| in chunks"
    r"| of (everything|wide.*))?|sliced to nothing|chunks of categories|column of a frame|attributes"
)
VIEWS = "refused: pyarrow {here} has no arrays of type (string|binary)_view: install pyarrow 19 or later"
NEW = "new->old"
SHORT = "float8_(e3m4|e4m3|e8m0fnu)|float4_e2m1fn|u?int2"
LABELLED = (
    r"dataset( that was asked| of no rows| in a dataclass|, (rows|ten rows|every) .*)?|array of a dataset.*|strings"
    r"|array, dimensions .*|variable of an index|a coordinate with .*|coordinates alone"
)
LACKS = "the message needs the module "
OTHER = r"another: \{{"
EXEMPTIONS = [
    # What numpy pickles itself, of which numpy 1.26 does not know where numpy 2 has it.
    Exemption("numpy", "a subclass with a state of its own", NEW, r"refused: .*needs the module 'numpy\._core'"),
    Exemption("numpy", "random generator", NEW, "refused: .*'numpy.random._pcg64.PCG64'> is not a known BitGen"),
    Exemption("numpy", "strings (of any length|with missing ones)", NEW, r"refused: numpy 1\S+ has no StringDT"),
    # What Python's strings become is decided by pandas: `str`, or objects, with one kind of missing values or any.
    Exemption("pandas", "(.*strings|categorical) by default|by default, labels and strings", "old->new", "mapped"),
    Exemption("pandas", "by default, times|strings by default, missing", "old<->new", "mapped"),
    Exemption("pandas", "(strings of (Python|Arrow)|dtypes of strings) with NaN", NEW, "mapped"),
    Exemption("pandas", "times in a zone of pytz", "old->new", "mapped"),
    # What consists of the insides of a version.
    Exemption("pandas", "groupby.*|grouper|rolling", "differ", r"refused: a \w+ of pandas {sent} .* pandas {here} "),
    Exemption(
        "polars", "expressions|selectors|LazyFrame", "differ", r"refused: a polars \w+ of polars {sent} .*{here}:"
    ),
    # What Arrow and polars have had since lately.
    Exemption("pyarrow", "decimal(32|64)", NEW, "refused: pyarrow {here} does not read .*decimal.*install"),
    Exemption("pyarrow", ".*list_view.*", NEW, r"refused: pyarrow {here} has no .*list_view<.*install pyarrow 16 "),
    Exemption("pyarrow", "(string|binary)_view.*|.* views|views .*|types younger", NEW, VIEWS),
    Exemption("pyarrow", "uuid|json|bool8|opaque", NEW, r"refused: pyarrow {here} has no extension type "),
    Exemption(
        "polars", r"List\(Int128\)", NEW, r"refused: polars {here} takes no .*128-bit integers: install polars {sent}"
    ),
    Exemption("polars", "Float16|UInt128", NEW, r"refused: polars {here} has no \w+: install polars {sent}"),
    Exemption("polars", "DataFrame of rows only", NEW, "refused: polars {here} has no rows .*polars {sent}"),
    Exemption("polars", TEXT, NEW, VIEWS, of="pyarrow"),
    # There were categories in lexical order and in physical order, before all of them were in lexical order.
    Exemption("polars", "Categorical, in lexical order", "old->new", "mapped"),
    # What JAX and scipy pickle themselves names where they, numpy and jaxlib have things inside, or what they gained.
    Exemption("jax", rf"dtype ({SHORT})\b.*", NEW, r"refused: .*Can't get attribute '\w+' on <module 'ml_dtypes'"),
    Exemption("jax", "strings", NEW, r"refused: numpy 1\S+ has no StringDType: install numpy 2"),
    Exemption(
        "jax", "leaves and structure", "old<->new", rf"refused: {LACKS}'jaxlib\.\w+', which jaxlib {{here}} does"
    ),
    Exemption("jax", "places", NEW, "refused: .*Can't get attribute 'P' on <module 'jax'"),
    Exemption(
        "jax", "functions and types", NEW, rf"refused: {LACKS}'jax\._src\.\S+', which jax {{here}} does not have"
    ),
    Exemption("scipy", "frozen distributions", NEW, "refused: .*_mt19937.MT19937'> is not a known BitGen", of="numpy"),
    Exemption("scipy", "splines|interpolator.*", "differ", r"refused: a \w+ of scipy {sent} .* scipy {here} does not"),
    # Without JAX, an array of numpy's is still one, which this table does not know there; functions travel by value.
    Exemption("jax", "zero tangents", "missing", "another: a <class 'numpy.ndarray'>, unknown here$"),
    Exemption("jax", "functions and types", "missing", "refused: the message holds code of Python"),
    # Labels that pandas made an index of.
    Exemption("xarray", LABELLED, "old->new", "mapped"),
    # Of what xarray 2024.1 takes from a dataset, more indexes and coordinates are objects of their own.
    Exemption(
        "xarray", "datasets with one coordinate", "old->new", rf"{OTHER}'identity': .obj\[1\]\['t'\].data: another"
    ),
    Exemption(
        "xarray", "a dataset and its parts", "old->new", rf"{OTHER}'dtype': .*station.*ObjectDType.* not .*StringDtype"
    ),
    Exemption("xarray", "categories", "old->new", "mapped"),
    Exemption(
        "xarray", "tree.*", NEW, rf"refused: {LACKS}'xarray\.core\.datatree', which xarray {{here}} does not have"
    ),
    Exemption(
        "xarray", "functions", "old<->new", rf"refused: {LACKS}'xarray\.\S+', which xarray {{here}} does not have"
    ),
]


def expected(key, sender, receiver):
    """Return what a case has to come to between sides with these versions, as a regular expression."""
    library, name = key
    for it in EXEMPTIONS:
        if it.library == library and re.fullmatch(it.names, name):
            of = it.of or library
            sent, here = sender.get(of), receiver.get(of)
            if it.between in _between(of, sent, here):
                return it.outcome.format(sent=re.escape(str(sent)), here=re.escape(str(here)))
    missing = library != "stdlib" and library not in receiver
    return rf"refused: .*needs the module '{library}" if missing else "same$"


def _between(library, sent, here):
    """Return what an exemption may say to hold between two versions."""
    if here is None:
        return ["missing"]
    kinds = ["differ"] if sent != here else []
    if (sent == OLD[library]) != (here == OLD[library]):
        kinds += ["old<->new", "old->new" if sent == OLD[library] else "new->old"]
    return kinds


@pytest.fixture(scope="module", params=OTHERS)
def environment(request):
    it = connection(request.param)
    yield it
    it.stop()


@pytest.fixture
def other(environment):
    environment.connect()
    return environment


@pytest.mark.parametrize("key", TABLE, ids=": ".join)
def test_takes_what_is_sent(other, key):
    send(other.sock, ["take", key, HERE["versions"]])
    send(other.sock, peer.make(key))
    outcome = recv(other.sock)
    assert re.match(expected(key, HERE["versions"], other.facts["versions"]), outcome), outcome


def received(other, key):
    send(other.sock, ["send", key, HERE["versions"]])
    outcome = peer.verdict(key, other.sock, other.facts["versions"])
    assert re.match(expected(key, other.facts["versions"], HERE["versions"]), outcome), outcome


@pytest.mark.parametrize("key", TABLE, ids=": ".join)
def test_sends_what_is_taken(other, key):
    if key not in other.facts["known"]:
        pytest.skip(f"{key[0]} {other.facts['versions'].get(key[0], 'is missing')} there: not all of the table")
    received(other, key)


def test_sends_what_is_not_known_here(other):
    for key in sorted(other.facts["known"] - HERE["known"], key=str):
        if isinstance(key, tuple) and key[0] in LIBRARIES and key[0] in HERE["versions"]:
            received(other, key)


def test_exemptions_are_of_cases(other):
    known = [key for key in HERE["known"] | other.facts["known"] if isinstance(key, tuple)]
    for it in EXEMPTIONS:
        if OLD[it.library] in (HERE["versions"].get(it.library), other.facts["versions"].get(it.library)):
            assert any(library == it.library and re.fullmatch(it.names, name) for library, name in known), it
