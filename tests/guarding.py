"""What the tests of guards need."""

from contextlib import contextmanager
from dataclasses import replace

import oobcodec
from oobcodec.context import DEFAULTS, LOADING
from oobcodec.limits import FOR_DATA, Budget

NESTED = ()
for _ in range(90):
    NESTED = (NESTED, NESTED)
"""Of which a hash takes longer than the universe is old."""


def arrived(obj, **options):
    """Return what arrives of an object whose sender is not trusted."""
    return oobcodec.loads([bytearray(frame) for frame in oobcodec.dumps(obj)], policy=oobcodec.DATA, **options)


@contextmanager
def limited(**limits):
    """Count what is used, as `oobcodec.loads` does under a policy."""
    token = LOADING.set(DEFAULTS._replace(budget=Budget(replace(FOR_DATA, **limits))))
    try:
        yield
    finally:
        LOADING.reset(token)
