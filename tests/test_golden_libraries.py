"""What was written of the libraries' objects in format 1 is read forever."""

import ast
from pathlib import Path

import pytest
from conformance.comparison import Comparison
from conformance.table import cases
from golden import objects
from golden.make import HERE, SUFFIX

import oobcodec
from oobcodec import reducers

FILES = sorted(HERE.glob(f"*/*{SUFFIX}"))
PREFIX = f"{reducers.__name__}."
# What has no golden message.
EXCEPTIONS = {
    "tensorflow": "is tested in an environment of its own",
    "numpy_dtypes.rebuild_extended_dtype": "long doubles are not the same on all platforms",
    "pandas.rebuild_deferred": "the state is pandas' own, and refused by other versions",
    "polars.rebuild_columns": "some of the columns are pickled by polars itself",
    "polars.rebuild_elements": "the type is pickled by polars itself",
    "polars.rebuild_pickled": "the state is polars' own",
    "polars.rebuild_plan": "the state is polars' own, and refused by other versions",
    "scipy_interpolate.rebuild_interpolator": "the state is scipy's own, and refused by other versions",
}


def functions(path):
    """Return the names of the functions of a module of reducers that a stream may hold."""
    names = {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}
    return {f"{path.stem}.{name}" for name in names if name.startswith(("rebuild_", "set_"))}


def named(path):
    """Return the names of such functions in a message."""
    names = oobcodec.inspect(path).to_dict()["globals"]
    return {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}


def known():
    return {name for path in Path(reducers.__file__).parent.glob("*.py") for name in functions(path)}


def is_exempt(name):
    return name in EXCEPTIONS or name.partition(".")[0] in EXCEPTIONS


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("memory", [bytearray, bytes])
def test_is_read(path, memory):
    library = path.parent.name
    for name in {library, *(PREFIX + name.partition(".")[0] for name in named(path))}:
        pytest.importorskip(name, reason=f"what {name} is for is not installed")
    cases(library)  # which know how to compare
    got = oobcodec.loads(memory(path.read_bytes()), writable=True)
    assert not Comparison(got, objects.make(library, path.stem), sent=False).lost


def test_there_is_one_of_each_object():
    names = {(library, name) for library, made in objects.OBJECTS.items() for name in made}
    assert names == {(path.parent.name, path.stem) for path in FILES}, "python tests/golden/make.py writes the missing"
    assert {*objects.installed()} <= names


def test_every_function_that_a_stream_may_name_is_in_one_of_them():
    found = set().union(*map(named, HERE.rglob(f"*{SUFFIX}")))
    missing = {name for name in known() - found if not is_exempt(name)}
    assert not missing, "tests/golden/objects.py wants an object more"
    assert not {name for name in found if is_exempt(name)}
    assert found <= known()


def test_exceptions_are_of_what_there_is():
    names = known()
    assert {*EXCEPTIONS} <= names | {name.partition(".")[0] for name in names}


def test_they_are_small():
    sizes = [path.stat().st_size for path in FILES]
    assert max(sizes) < 8 * 1024
    assert sum(sizes) < 128 * 1024
