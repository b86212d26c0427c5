import copyreg
import signal

import pytest
from hypothesis import settings

# No deadlines: how long an example takes says more about the machine than about the code.
settings.register_profile("oobcodec", deadline=None)
settings.load_profile("oobcodec")

# A shell has what it starts in the background ignore interrupts, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def exceptions_are_pickled_as_usual():
    """Let exceptions be pickled as usual: Dask, which some tests import, has tblib do that by `copyreg`."""
    for cls, reduce in [*copyreg.dispatch_table.items()]:
        if issubclass(cls, BaseException) and reduce.__module__.startswith("tblib"):
            del copyreg.dispatch_table[cls]
