"""A reference to an object in a store, which any process of the machine can follow."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from oobcodec.errors import StoreClosedError

if TYPE_CHECKING:
    from oobcodec.store.store import Store

stores: Final[WeakValueDictionary[str, Store]] = WeakValueDictionary()
"""Those that this process has opened last, by their ids."""

_followed: Final[deque[Store]] = deque(maxlen=16)
"""Stores that references have led to; not more, since a store lives as long as somebody has it open."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to an object in a store: small, and the same in every process of this user on this machine.

    It does not keep the object: that may be deleted, or evicted.

    Attributes
    ----------
    directory, store : str
        Where stores are, and the name of this one.
    id : str
        Of this very store: another one may have the name later.
    key : str
        Of the object.
    """

    directory: str
    store: str
    id: str
    key: str

    def get(self, **options: Any) -> Any:
        """Return the object.

        From the store that this process has opened last, with its policy and limits; else the store is opened, with
        the default ones, and remains open with some others that were opened like that.

        Parameters
        ----------
        **options
            Passed on to `Store.get`.

        Raises
        ------
        NoSuchKeyError
            It has been deleted or evicted.
        StoreError
            The store is gone.
        """
        from oobcodec.store.store import Store  # noqa: PLC0415  # which makes these

        store = stores.get(self.id)
        if store is not None:
            with suppress(StoreClosedError):  # be it just now, by another thread
                return store.get(self, **options)
        store = Store(self.store, directory=self.directory, create=False)
        _followed.append(store)
        return store.get(self, **options)


Ref.__module__ = "oobcodec.store"  # as messages name it
