"""What importing oobcodec costs, and what it offers."""

import inspect
import json
import os
import subprocess
import sys

import pytest

import oobcodec

REQUIRED = {"cloudpickle", "msgpack"}

# Without the site module: files of other packages in site-packages may import anything at start-up.
PREAMBLE = f"import sys; sys.path[:] = {sys.path!r}\n"

ONLY_WHAT_IS_REQUIRED = f"""
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {REQUIRED | {"oobcodec"} | sys.stdlib_module_names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def fresh(code):
    """Run `code` in a Python that has imported nothing yet, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-S", "-W", "error", "-c", PREAMBLE + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def imported():
    code = """
before = set(sys.modules)
import oobcodec, json
# What has no spec was imported by nobody: Cython leaves such names behind.
new = [name for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)]
print(json.dumps(new))
"""
    return set(json.loads(fresh(code)))


def test_import_takes_only_what_is_required(imported):
    packages = {name.partition(".")[0] for name in imported}
    assert packages - sys.stdlib_module_names == REQUIRED | {"oobcodec"}


def test_import_leaves_out_what_is_slow(imported):
    # Tens of milliseconds each.
    assert not imported & {"asyncio", "importlib.metadata", "multiprocessing", "socket", "ssl"}


def test_import_leaves_out_the_upper_floors(imported):
    rooms = set(oobcodec._LAZY.values()) | {"oobcodec.cli", "oobcodec.reducers.numpy"}
    assert not imported & rooms


def test_works_where_nothing_but_what_is_required_can_be_imported():
    code = """
import oobcodec

try:
    import numpy
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("numpy can be imported here")

data = {"text": "é", "large": bytes(range(256)) * 4096, "array": bytearray(1 << 20), "nested": [(1, 2.5, None, {3})]}
data["itself"] = data
result = oobcodec.loads(oobcodec.pack(oobcodec.dumps(data)))
assert result.pop("itself") is result
del data["itself"]
assert result == data
assert oobcodec.loads(oobcodec.dumps(lambda x: x + 1))(2) == 3
for name in oobcodec.__all__:
    getattr(oobcodec, name)
"""
    fresh(ONLY_WHAT_IS_REQUIRED + code)


@pytest.mark.parametrize("name", oobcodec.__all__)
def test_public_name_is_there_and_documented(name):
    thing = getattr(oobcodec, name)
    documentation = thing.__doc__
    assert documentation
    if inspect.isclass(thing):
        # The signature that dataclass and NamedTuple put there documents nothing.
        assert not documentation.startswith(f"{thing.__name__}(")
    else:
        # An object without a docstring of its own shows that of its class, which may tell of it.
        assert documentation != type(thing).__doc__ or f"`{name}`" in documentation


def test_public_names_are_unique_and_listed():
    assert len(set(oobcodec.__all__)) == len(oobcodec.__all__)
    assert set(oobcodec.__all__) <= set(dir(oobcodec))


@pytest.mark.parametrize("name", sorted(oobcodec._LAZY))
def test_lazy_name_is_imported_when_asked_for(name):
    code = f"import oobcodec; assert {name!r} not in vars(oobcodec); oobcodec.{name}; print({name!r} in vars(oobcodec))"
    assert fresh(code) == "True\n"


def test_star_import_has_all_public_names():
    names = {}
    exec("from oobcodec import *", names)
    assert set(oobcodec.__all__) <= set(names)


def test_unknown_name():
    with pytest.raises(AttributeError, match=r"module 'oobcodec' has no attribute 'dump_s'"):
        oobcodec.dump_s  # noqa: B018  # the look-up is the test
