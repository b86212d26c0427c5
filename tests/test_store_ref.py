"""References lead to an object, from any process."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from helpers import run_python
from processes import CONTEXTS
from stores import FORKING, place, store  # noqa: F401  # fixtures

import oobcodec
from oobcodec.errors import NoSuchKeyError, PolicyError, StoreError
from oobcodec.store import Ref, Store
from oobcodec.store.ref import _followed

pytestmark = FORKING


def total(ref):
    return ref.get()["nested"][0].get().sum()


@pytest.mark.parametrize("context", CONTEXTS)
def test_lead_there_from_another_process(store, context):  # noqa: F811
    inner = store.put(np.arange(100_000))
    outer = store.put({"nested": [inner]})
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(total, [outer] * 3)) == [4999950000] * 3


def test_lead_there_where_the_store_was_not_opened_before(store):  # noqa: F811
    ref = store.put(np.arange(100_000))
    code = "import pickle, sys; sys.stdout.write(str(pickle.loads(sys.stdin.buffer.read()).get().sum()))"
    assert run_python(code, stdin=pickle.dumps(ref)) == b"4999950000"
    assert len(pickle.dumps(ref)) < 200


def test_are_values(store):  # noqa: F811
    ref = store.put(1, "a")
    assert ref == store.ref("a") == pickle.loads(pickle.dumps(ref)) == oobcodec.loads(oobcodec.dumps(ref))
    assert len({ref, store.ref("a"), store.ref("b")}) == 2
    with pytest.raises(FrozenInstanceError):
        ref.key = "b"
    assert b"cstore" not in pickle.dumps(ref)
    assert Ref.__module__ == "oobcodec.store"


def test_take_the_options_of_get(store):  # noqa: F811
    ref = store.put(np.zeros(100_000))
    assert ref.get(writable="private").flags.writeable
    store.delete(ref)
    with pytest.raises(NoSuchKeyError):
        ref.get(timeout=0.01)


def test_use_the_store_that_is_open_here(store):  # noqa: F811
    ref = store.put(Policed())
    assert isinstance(ref.get(), Policed)
    with Store("tests", directory=store.directory, policy=oobcodec.DATA), pytest.raises(PolicyError):
        ref.get()


class Policed:
    pass


def test_open_the_store_if_it_is_not_open_here(store):  # noqa: F811
    ref = store.put(1)
    again = Store("tests", directory=store.directory)
    store.close()
    again.close()  # the last one opened, which is looked for first
    with pytest.raises(StoreError, match="there is no store 'tests'"):
        ref.get()
    with Store("tests", directory=store.directory), pytest.raises(StoreError, match="is to another store"):
        ref.get()
    _followed.clear()


def test_open_it_once(store):  # noqa: F811
    ref = store.put(1)
    child = """
        import pickle, sys
        from oobcodec.store.ref import _followed
        ref = pickle.loads(sys.stdin.buffer.read())
        print([ref.get(), ref.get(), len(_followed)])
    """
    assert run_python(child, stdin=pickle.dumps(ref)) == b"[1, 1, 1]\n"
