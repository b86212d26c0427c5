"""The store itself."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oobcodec.buffers import allocate
from oobcodec.codec import dumps, loads
from oobcodec.errors import KeyExistsError, StoreError, StoreFullError
from oobcodec.packed import packed_size
from oobcodec.policy import TRUSTED
from oobcodec.store import directories, leases
from oobcodec.store.accounts import changing
from oobcodec.store.drafts import put_small, sealing
from oobcodec.store.huge import directory_for
from oobcodec.store.in_place import made_in
from oobcodec.store.info import Info
from oobcodec.store.names import decoded, encoded, fresh
from oobcodec.store.naming import Naming
from oobcodec.store.objects import SMALL, awaited, exists, finding, holds, memory_of, path_of, stored
from oobcodec.store.ref import Ref, stores
from oobcodec.store.room import Room, remove, trim
from oobcodec.store.sizes import parsed
from oobcodec.wire import parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Self, TypeAlias

    from oobcodec.limits import Limits
    from oobcodec.policy import Policy
    from oobcodec.store.objects import Stored

    Key: TypeAlias = Ref | str
    Names: TypeAlias = list[str]  # in the class that is a method
    Objects: TypeAlias = list[Stored]


class Store:
    """Objects in shared memory: put once, and got by any process of this user on this machine without a copy.

    Objects do not change, and are there when they are complete. There is no server: a store is files in memory, and
    goes when the last process that has it open closes it or ends. If that is killed, whoever opens any store next
    removes what is left. Threads share a `Store`, and so do processes that are forked or that get it in a pickle.

    Parameters
    ----------
    name
        Any text. The store of that name is opened, or made if there is none.
    capacity
        Bytes of memory, as an `int` or like ``"4 GiB"``. Where there is no room for an object, those that nobody has
        used for longest are evicted, but none that is pinned or that a process has mapped. By default what the file
        system has in all. A store that is there keeps the one that it was made with.
    directory
        Where stores are, those of each user in a directory of their own.
    persistent
        A store that is made remains until it is destroyed, or the machine stops.
    create
        Whether to make one.
    huge_pages
        Take another directory by default: one with huge pages, in which large objects are put in less time. Where there
        is none, a `RuntimeWarning` says what to mount.
    policy, limits
        For all that is got from it here, as for `oobcodec.loads`.

    Attributes
    ----------
    name, directory : str
        As above.
    id : str
        No other store has it, not even a later one of the same name.
    capacity : int
        In bytes.

    Raises
    ------
    StoreError
        There is none, and none is to be made; it has another capacity; others may write to its directory; or the
        system is not Linux.
    StoreFullError
        The file system has no memory or no inode for one.
    ValueError
        The name is too long, or the capacity is no number of bytes.
    """

    def __init__(  # noqa: PLR0913  # all but the name by keyword
        self,
        name: str,
        *,
        capacity: int | str | None = None,
        directory: str | os.PathLike[str] = directories.DIRECTORY,
        persistent: bool = False,
        create: bool = True,
        huge_pages: bool = False,
        policy: Policy = TRUSTED,
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        place = str(Path(directory).resolve())
        self.directory = directory_for(place) if huge_pages else place
        self._policy = policy
        self._limits = limits
        size = None if capacity is None else parsed(capacity)
        file = encoded(name, "store name")
        try:
            accounts = leases.enter(self.directory, file, size, create=create, persistent=persistent)
        except FileNotFoundError as error:
            raise _no_store(name, self.directory) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            message = f"no memory or no inode for a store in {self.directory}: choose another directory="
            raise StoreFullError(message) from error
        self._lease = leases.Lease(name, accounts.store, self.directory)
        self._owner: int | None = None  # the process that destroys it
        self.id = accounts.id
        self.capacity = accounts.capacity
        if size not in {None, self.capacity}:
            self.close()
            message = f"the store {name!r} has a capacity of {self.capacity:,} bytes, not {size:,}: leave capacity= out"
            raise StoreError(message)
        self._room = Room()
        stores[self.id] = self

    @classmethod
    def temporary(cls, **options: Any) -> Self:
        """Make a store with a name of its own, which is destroyed when this process closes it, whoever else has it.

        Parameters
        ----------
        **options
            As for the class.
        """
        store = cls(f"temporary-{fresh()}", **options)
        store._owner = os.getpid()
        return store

    @classmethod
    def list(cls, directory: str | os.PathLike[str] = directories.DIRECTORY) -> Names:
        """Return the names of this user's stores."""
        with leases.base(str(Path(directory).resolve())) as base:
            return sorted(map(decoded, directories.stores(base)))

    @classmethod
    def gc(cls, directory: str | os.PathLike[str] = directories.DIRECTORY) -> Names:
        """Remove the stores that nobody has open, unless they are persistent, and return their names."""
        with leases.base(str(Path(directory).resolve())) as base:
            return sorted(map(decoded, directories.sweep(base)))

    @classmethod
    def destroy(cls, name: str, directory: str | os.PathLike[str] = directories.DIRECTORY) -> None:
        """Remove a store, whoever has it open. What they have got from it remains to them.

        Raises
        ------
        StoreError
            There is none.
        """
        place = str(Path(directory).resolve())
        try:
            leases.destroy(place, encoded(name, "store name"))
        except FileNotFoundError as error:
            raise _no_store(name, place) from error

    def close(self) -> None:
        """Let go of the store. What was got from it remains; the store goes if nobody else has it open.

        Calls that other threads are in, and blocks of `create` and `empty`, go on to their ends before it goes.
        """
        if not self._lease.closed and self._owner == os.getpid():
            with suppress(StoreError):
                self.destroy(self.name, self.directory)
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.name!r}{', closed' if self._lease.closed else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self.name, self.directory, self._policy, self._limits)

    def put(self, obj: object, key: str | None = None, *, exist_ok: bool = False, pinned: bool = False) -> Ref:
        """Put an object into the store, which takes one copy of its data.

        Parameters
        ----------
        obj
            Whatever `oobcodec.dumps` takes.
        key
            Any text; by default one that nothing else has.
        exist_ok
            Whether there may be an object of that key with the same bytes.
        pinned
            Never evict it.

        Returns
        -------
        Ref
            A reference to it, which processes can send each other.

        Raises
        ------
        KeyExistsError
            There is an object of that key.
        StoreFullError
            There is no room for it, nor would there be after evicting all that can be.
        EncodeError
            Of `oobcodec.dumps`.
        """
        pieces = parts(dumps(obj))
        key = fresh() if key is None else key
        name = encoded(key, "key")
        nbytes = sum(map(len, pieces))
        with self._lease as store, Naming(self.name, key):
            try:
                if nbytes > SMALL:
                    with sealing(store, self._room, name, nbytes, pinned=pinned) as new:
                        new.write(pieces)
                else:
                    put_small(store, self._room, name, pieces, pinned=pinned)
            except KeyExistsError:
                if not (exist_ok and holds(memory_of(store, name), pieces)):
                    raise
        return self.ref(key)

    def get(self, key: Key, *, timeout: float | None = 0, writable: Literal["private"] | None = None) -> Any:
        """Return an object, whose arrays are read-only views of the shared memory.

        Parameters
        ----------
        key
            Of the object, or a reference to it.
        timeout
            Seconds to wait for it if it is not there yet; `None` for as long as it takes.
        writable
            ``"private"``: arrays and tensors are writable where those that were put are, and what is written to them
            nobody else sees. A page of memory is copied when it is first written to.

        Returns
        -------
        object
            What is mapped remains while any array of it lives, also when it is deleted, or the store closed or
            destroyed. One that is less than 64 KiB in all is read into memory of its own.

        Raises
        ------
        NoSuchKeyError
            It is not there, or not in time.
        StoreError
            The reference is to another store; or there are too many objects mapped.
        DecodeError
            Of `oobcodec.loads`, and all below it.
        """
        if writable not in {None, "private"}:
            message = f"writable is None or 'private', not {writable!r}"
            raise ValueError(message)
        key = self._key(key)
        name = encoded(key, "key")
        with self._lease as store, Naming(self.name, key):
            memory = awaited(store, name, timeout, private=writable is not None)
            return loads(memory, policy=self._policy, limits=self._limits)

    def create(self, key: str, nbytes: int, *, pinned: bool = False) -> AbstractContextManager[memoryview]:
        """Give a block memory in the store, which becomes an object when the block ends without an exception.

        Parameters
        ----------
        key
            Any text.
        nbytes
            How much. What is in it at first may be anything.
        pinned
            As for `put`.

        Returns
        -------
        context manager of memoryview
            Shape ``(nbytes,)``, writable, aligned to 64 bytes; released at the end. `get` returns a read-only one.

        Raises
        ------
        KeyExistsError, StoreFullError
            As for `put`.
        """
        return self._in_place(key, allocate(nbytes), pinned=pinned)

    def empty(
        self, key: str, shape: int | tuple[int, ...], dtype: Any = float, *, pinned: bool = False
    ) -> AbstractContextManager[Any]:
        """Give a block an array in the store, which becomes an object when the block ends without an exception.

        Parameters
        ----------
        key, pinned
            As for `create`.
        shape, dtype
            As for `numpy.empty`.

        Returns
        -------
        context manager of numpy.ndarray
            Read-only when the block has ended. Arrays that the block has made from it are not: let go of them.

        Raises
        ------
        TypeError
            The dtype is one of objects, which have no place in shared memory.
        KeyExistsError, StoreFullError
            As for `put`.
        """
        # Who asks for an array has numpy, and nobody else needs it.
        return self._in_place(key, import_module("numpy").empty(shape, dtype), pinned=pinned)

    def delete(self, key: Key) -> None:
        """Delete an object. Who has got it keeps it.

        Raises
        ------
        NoSuchKeyError
            It is not there.
        """
        key = self._key(key)
        name = encoded(key, "key")
        with self._lease as store, Naming(self.name, key), changing(store) as accounts, finding():
            remove(accounts, name)
            trim(accounts, accounts.free)

    def evict(self, nbytes: int | str) -> int:
        """Give memory back to the system, of deleted objects first and then of those not used for longest.

        Parameters
        ----------
        nbytes
            How much. Neither what is pinned nor what a process has mapped goes for it.

        Returns
        -------
        int
            Bytes given back.
        """
        with self._lease as store, changing(store) as accounts:
            return self._room.evict(accounts, parsed(nbytes))

    def pin(self, key: Key, *, pinned: bool = True) -> None:
        """Never evict an object, or do so again.

        Raises
        ------
        NoSuchKeyError
            It is not there.
        """
        key = self._key(key)
        name = encoded(key, "key")
        with self._lease as store, Naming(self.name, key), changing(store), finding():
            os.chmod(path_of(name), 0o1400 if pinned else 0o400, dir_fd=store)

    def ref(self, key: str) -> Ref:
        """Return a reference to the object of a key, whether or not there is one yet."""
        return Ref(self.directory, self.name, self.id, key)

    def keys(self) -> Names:
        """Return the keys of all objects, in no order."""
        with self._lease as store:
            return [decoded(name) for name in directories.listed(store, "objects")]

    def objects(self) -> Objects:
        """Return what there is to know about each object."""
        with self._lease as store:
            return stored(store)

    def info(self) -> Info:
        """Return how full the store is."""
        with self._lease as store:
            with changing(store) as accounts:
                accounts.reap()
            objects = stored(store)
            persistent = directories.is_persistent(store)
        return Info(
            name=self.name,
            directory=self.directory,
            persistent=persistent,
            capacity=accounts.capacity,
            used=accounts.used,
            recyclable=accounts.free,
            pinned=sum(each.nbytes for each in objects if each.pinned),
            mapped=sum(each.nbytes for each in objects if each.pids),
            objects=len(objects),
        )

    def __contains__(self, key: Key) -> bool:
        name = encoded(self._key(key), "key")
        with self._lease as store:
            return exists(store, name)

    def __len__(self) -> int:
        with self._lease as store:
            return len(directories.listed(store, "objects"))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def _key(self, key: Key) -> str:
        if not isinstance(key, Ref):
            return key
        if key.id != self.id:
            message = f"{key} is to another store than {self.name!r}, of id {self.id}: use its own get()"
            raise StoreError(message)
        return key.key

    @contextmanager
    def _in_place(self, key: str, template: Any, *, pinned: bool) -> Iterator[Any]:
        """Give a block an object like a template, with its memory in the store."""
        frames = dumps(template)
        nbytes = packed_size(frames)
        if nbytes <= SMALL:
            yield template
            self.put(template, key, pinned=pinned)
            return
        name = encoded(key, "key")
        with (
            self._lease as store,
            Naming(self.name, key),
            sealing(store, self._room, name, nbytes, pinned=pinned) as new,
            made_in(new.map(), frames) as made,
        ):
            yield made


def _opened_again(name: str, directory: str, policy: Policy, limits: Limits | None) -> Store:
    return Store(name, directory=directory, create=False, policy=policy, limits=limits)


def _no_store(name: str, directory: str) -> StoreError:
    return StoreError(f"there is no store {name!r} in {directory}: it goes with the last process that has it open")
