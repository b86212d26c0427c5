"""Data of the table arrives under the policy DATA as under TRUSTED; what is none is refused, and nothing else is."""

import pytest
from conformance.comparison import Comparison
from conformance.table import table

import oobcodec
from oobcodec import DATA
from oobcodec.errors import DecodeError

# Functions, classes, models, and objects of classes that are not those of data, by library.
NOT_DATA = {
    "stdlib": """
        ChainMap · UserDict · namedtuple · dataclass holding bytes · dict with attributes · list
        with attributes · slots · state of its own · enum · exception · exception of its own ·
        exception group · addresses · pattern · namespace · functions · classes · partial
    """,
    "numpy": """
        a subclass with a state of its own · a subclass with an attribute · functions · random
        generator · poly1d
    """,
    "torch": """
        Parameter, a class of its own · a subclass with attributes · a subclass with a slot · a
        subclass with a pickling method · a subclass that is a part · a subclass around a tensor ·
        masked tensor · nested, jagged · TensorDataset · Subset and ConcatDataset · ResNet · ResNet,
        evaluating · ResNet, partly frozen · ResNet, channels last · ResNet in bfloat16 · ResNet
        with hooks · ResNet with gradients · transformer · transformer, evaluating · recurrent
        network · parameters without a shape · loss with weights · module on meta · modules that
        share a module · tied weights · weights that are views · ParameterDict · module and its
        state_dict · Adam after a step · Adam with its model · AdamW with groups, and its model ·
        SGD with momentum · Normal · Normal, scalar · Categorical · MultivariateNormal · mixture of
        distributions · transformed distribution · Generator · functions · classes
    """,
    "pandas": """
        subclass · subclass, its column · subclass, its slice · groupby · groupby of a series ·
        rolling · grouper · functions
    """,
    "pyarrow": """
        extension type that nobody registered · extension type, sliced · table of extension types ·
        scalars of arrays · type extension<conformance.celsius<Celsius>> · type list<item:
        extension<conformance.celsius<Celsius>>> · fields · schema · schema of everything
    """,
    "polars": """
        subclass with an attribute · expressions · selectors · LazyFrame
    """,
    "jax": """
        tree of dataclass, namedtuple and lists · tree with a node of its own · leaves and structure
        · partial of a tree · functions and types
    """,
    "tensorflow": """
        dataclass of tensors · Variable, with all · extension type · specs · random generator ·
        functions · model, as what it is made of · weights of a model, as variables · layer, as what
        it is made of · optimizer and model, as variables · model, as Keras pickles it
    """,
}
# What Arrow's arrays share with something else arrives read-only.
SHARED = {
    ("pyarrow", "array, slice, table, and buffer"),
    ("pyarrow", "text, slice, table, and buffer"),
    ("pyarrow", "over numpy's memory"),
}
NO_DATA_AT_ALL = {"scipy", "xarray"}
CASES = table()


def is_data(library, name):
    return library not in NO_DATA_AT_ALL and name not in " ".join(NOT_DATA[library].split()).split(" · ")


@pytest.mark.parametrize(("library", "name"), CASES)
def test_data_arrives_and_nothing_else(library, name):
    case = CASES[library, name]
    sent = case.make()
    frames = [bytearray(frame) for frame in oobcodec.dumps(sent)]
    if not is_data(library, name):
        with pytest.raises(DecodeError):
            oobcodec.loads(frames, policy=DATA)
        return
    got = oobcodec.loads(frames, policy=DATA)
    lost = Comparison(got, case.arrives() if case.arrives else sent).lost
    assert lost.keys() == ({"mutability"} if (library, name) in SHARED else set())


def test_all_that_is_not_data_is_in_the_table():
    missing = {
        (library, name)
        for library, text in NOT_DATA.items()
        if any(each == library for each, _ in CASES)
        for name in " ".join(text.split()).split(" · ")
    } - CASES.keys()
    assert not missing
