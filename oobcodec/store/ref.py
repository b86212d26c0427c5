"""A reference to an object in a store, which any process of the machine can follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
        from oobcodec.store.store import store_of  # noqa: PLC0415  # which makes these

        return store_of(self).get(self, **options)


Ref.__module__ = "oobcodec.store"  # as messages name it
