"""Every case of the table passes through a store, and through that to another process."""

import pytest
from conformance.comparison import Comparison
from conformance.table import table
from processes import LONG, MIB
from stores import FORKING

import oobcodec
from oobcodec.integrations.multiprocessing import ProcessPoolExecutor
from oobcodec.store import Store

pytestmark = FORKING
TABLE = table()
AWAY = [key for key in TABLE if key[0] in {"stdlib", "numpy"}][::10]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.temporary(capacity=512 * MIB) as made:
        yield made


def lost(got, case):
    sent = (case.arrives or case.make)()
    return Comparison(got, [sent, {"again": sent}]).lost


@pytest.mark.parametrize(("library", "name"), TABLE)
def test_arrives_as_it_left(store, library, name):
    case = TABLE[library, name]
    sent = case.make()
    sent = [sent, {"again": sent}]
    ref = store.put(sent)
    assert not lost(store.get(ref, writable="private"), case)
    # Shared memory is read-only: what that means for arrays and tensors is the same everywhere.
    elsewhere = oobcodec.loads(bytes(oobcodec.pack(oobcodec.dumps(sent))))
    assert lost(store.get(ref), case).keys() == lost(elsewhere, case).keys()


def lost_away(ref, key):
    return lost(ref.get(writable="private"), TABLE[key])


def test_arrives_in_another_process(store):
    with ProcessPoolExecutor(1) as executor:
        sent = [[obj, {"again": obj}] for obj in (TABLE[key].make() for key in AWAY)]
        tasks = [executor.submit(lost_away, store.put(each), key) for each, key in zip(sent, AWAY, strict=True)]
        assert not any(task.result(LONG) for task in tasks)


def test_a_list_stays_one_list(store):
    one = [1]
    one.append(one)
    first, second = store.get(store.put([one, one]))
    assert first is second is first[1]
