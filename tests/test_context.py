from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from oobcodec.context import DEFAULTS, LOADING, LoadOptions
from oobcodec.limits import UNLIMITED
from oobcodec.policy import TRUSTED


def test_defaults_are_those_of_loads():
    assert LOADING.get() is DEFAULTS
    options = DEFAULTS._asdict()
    del options["budget"]
    assert options == {
        "writable": None,
        "align": False,
        "open_encoded": True,
        "map_location": None,
        "policy": TRUSTED,
        "limits": UNLIMITED,
    }
    DEFAULTS.budget.claim(1 << 60)


def test_options_are_known_in_their_context_alone():
    options = LoadOptions(writable=True)

    def inside():
        LOADING.set(options)
        return LOADING.get()

    assert copy_context().run(inside) is options
    assert LOADING.get() is DEFAULTS
    token = LOADING.set(options)
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(LOADING.get).result() is DEFAULTS
    finally:
        LOADING.reset(token)
