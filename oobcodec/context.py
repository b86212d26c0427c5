"""What the `loads` that is running in this context was asked for, for rebuild functions that need to know."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from oobcodec.limits import UNLIMITED, Budget, Limits
from oobcodec.policy import TRUSTED, Policy


class LoadOptions(NamedTuple):
    """The options of `oobcodec.loads`, and what it has used of its limits."""

    writable: bool | None = None
    open_encoded: bool = True
    map_location: Any = None
    policy: Policy = TRUSTED
    limits: Limits = UNLIMITED
    budget: Budget = Budget(UNLIMITED)
    align: bool = False


DEFAULTS: Final = LoadOptions()

RUNNING: Final[list[LoadOptions]] = []
"""Other options than the defaults that are in force anywhere: while it is empty, nobody need look into `LOADING`."""

LOADING: Final[ContextVar[LoadOptions]] = ContextVar("oobcodec.LOADING", default=DEFAULTS)
