"""The store itself."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakValueDictionary, finalize

from oobcodec.buffers import allocate
from oobcodec.codec import dumps, loads
from oobcodec.errors import KeyExistsError, NoSuchKeyError, StoreClosedError, StoreError
from oobcodec.packed import pack_into, packed_size
from oobcodec.policy import TRUSTED
from oobcodec.store import directories, leases
from oobcodec.store.accounts import changing, check_exists
from oobcodec.store.drafts import draft, key_exists, put_small
from oobcodec.store.huge import directory_for
from oobcodec.store.info import Info
from oobcodec.store.names import decoded, encoded, fresh
from oobcodec.store.objects import PAUSE, SMALL, memory_of, path_of, stored
from oobcodec.store.ref import Ref
from oobcodec.store.room import Room, remove, trim
from oobcodec.store.sizes import parsed
from oobcodec.transfer import tell
from oobcodec.wire import parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Self, TypeAlias

    from oobcodec.limits import Limits
    from oobcodec.policy import Policy
    from oobcodec.store.drafts import Draft
    from oobcodec.store.objects import Stored

    Key: TypeAlias = Ref | str
    Names: TypeAlias = list[str]  # in the class that is a method
    Objects: TypeAlias = list[Stored]

_MISSING: Final = "there is no such object: it has not been put yet, or has been deleted or evicted"

_LONGEST_PAUSE: Final = 0.01
"""Seconds between two looks for a key that somebody waits for."""

_COMPARED: Final = 1 << 20
"""Bytes at a time."""

_open: Final[WeakValueDictionary[str, Store]] = WeakValueDictionary()
_followed: Final[deque[Store]] = deque(maxlen=16)
"""Stores that references have led to; not more, since a store lives as long as somebody has it open."""


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
        self._opened = accounts.store
        self._leave = finalize(self, leases.leave, accounts.store, self.directory)
        self._owner: int | None = None  # the process that destroys it
        self.id = accounts.id
        self.capacity = accounts.capacity
        if size not in {None, self.capacity}:
            self.close()
            message = f"the store {name!r} has a capacity of {self.capacity:,} bytes, not {size:,}: leave capacity= out"
            raise StoreError(message)
        self._room = Room(accounts.store)
        _open[self.id] = self

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

        Not while another thread is using it, be it by a reference.
        """
        if self._leave.alive and self._owner == os.getpid():
            with suppress(StoreError):
                self.destroy(self.name, self.directory)
        self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.name!r}{'' if self._leave.alive else ', closed'}>"

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
        nbytes = sum(map(len, pieces))
        try:
            if nbytes > SMALL:
                with self._sealing(key, nbytes, pinned=pinned) as new:
                    new.write(pieces)
            else:
                with self._naming(key):
                    put_small(self._store, self._room, encoded(key, "key"), pieces, pinned=pinned)
        except KeyExistsError:
            if not (exist_ok and _equal(memory_of(self._store, encoded(key, "key")), pieces)):
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
        began = time.monotonic()
        with self._naming(key):
            while True:
                with suppress(FileNotFoundError):
                    memory = memory_of(self._store, name, private=writable is not None)
                    break
                check_exists(self._store)
                waited = time.monotonic() - began
                if timeout is not None and waited >= timeout:
                    raise NoSuchKeyError(_MISSING)
                # In proportion, so that a short wait stays short and a long one costs nothing.
                pause = min(max(waited / 8, PAUSE), _LONGEST_PAUSE)
                time.sleep(pause if timeout is None else min(pause, timeout - waited))
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
        with self._naming(key), changing(self._store) as accounts, _finding():
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
        with changing(self._store) as accounts:
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
        with self._naming(key), changing(self._store), _finding():
            os.chmod(path_of(name), 0o1400 if pinned else 0o400, dir_fd=self._store)

    def ref(self, key: str) -> Ref:
        """Return a reference to the object of a key, whether or not there is one yet."""
        return Ref(self.directory, self.name, self.id, key)

    def keys(self) -> Names:
        """Return the keys of all objects, in no order."""
        return [decoded(name) for name in directories.listed(self._store, "objects")]

    def objects(self) -> Objects:
        """Return what there is to know about each object."""
        return stored(self._store)

    def info(self) -> Info:
        """Return how full the store is."""
        with changing(self._store) as accounts:
            accounts.reap()
        objects = self.objects()
        return Info(
            name=self.name,
            directory=self.directory,
            persistent=directories.is_persistent(self._store),
            capacity=accounts.capacity,
            used=accounts.used,
            recyclable=accounts.free,
            pinned=sum(each.nbytes for each in objects if each.pinned),
            mapped=sum(each.nbytes for each in objects if each.pids),
            objects=len(objects),
        )

    def __contains__(self, key: Key) -> bool:
        try:
            os.stat(path_of(encoded(self._key(key), "key")), dir_fd=self._store)
        except FileNotFoundError:
            return False
        return True

    def __len__(self) -> int:
        return len(directories.listed(self._store, "objects"))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    @property
    def _store(self) -> int:
        if not self._leave.alive:
            message = f"the store {self.name!r} is closed in this process: open it again with Store({self.name!r})"
            raise StoreClosedError(message)
        return self._opened

    def _key(self, key: Key) -> str:
        if not isinstance(key, Ref):
            return key
        if key.id != self.id:
            message = f"{key} is to another store than {self.name!r}, of id {self.id}: use its own get()"
            raise StoreError(message)
        return key.key

    @contextmanager
    def _naming(self, key: str) -> Iterator[None]:
        """Let an error name the store and the key."""
        try:
            yield
        except Exception as error:
            tell(error, f"store {self.name!r}, key {key!r}")
            raise

    @contextmanager
    def _sealing(self, key: str, nbytes: int, *, pinned: bool) -> Iterator[Draft]:
        """Give a block a file, which becomes the object of a key when the block ends."""
        with self._naming(key):
            if key in self:  # which is to be known before anything is written
                raise key_exists()
            with draft(self._store, self._room, nbytes) as new:
                yield new
                new.publish(encoded(key, "key"), pinned=pinned)

    @contextmanager
    def _in_place(self, key: str, template: Any, *, pinned: bool) -> Iterator[Any]:
        """Give a block an object like a template, with its memory in the store."""
        head, stream, *data = frames = dumps(template)
        nbytes = packed_size(frames)
        if nbytes <= SMALL:
            yield template
            self.put(template, key, pinned=pinned)
            return
        if not data:
            message = "an array of Python objects has no place in shared memory: fill it, and then put() it"
            raise TypeError(message)
        with self._sealing(key, nbytes, pinned=pinned) as new:
            memory = new.map()
            begin = nbytes - data[0].nbytes
            end = pack_into([head, stream], memory)
            memory[end:begin] = bytes(begin - end)
            made = loads(memory)
            try:
                yield made
            finally:
                _freeze(made)


def store_of(ref: Ref) -> Store:
    """Return the store that a reference leads to, which is opened if this process has not got it open."""
    store = _open.get(ref.id)
    if store is None or not store._leave.alive:  # noqa: SLF001  # of this module
        store = Store(ref.store, directory=ref.directory, create=False)
        _followed.append(store)
    return store


@contextmanager
def _finding() -> Iterator[None]:
    """Say what it means that there is no file."""
    try:
        yield
    except FileNotFoundError:
        raise NoSuchKeyError(_MISSING) from None


def _opened_again(name: str, directory: str, policy: Policy, limits: Limits | None) -> Store:
    return Store(name, directory=directory, create=False, policy=policy, limits=limits)


def _freeze(made: Any) -> None:
    """Let nobody write to what has been made in place any more."""
    if isinstance(made, memoryview):
        made.release()
    else:
        made.setflags(write=False)


def _equal(memory: memoryview, pieces: Sequence[memoryview]) -> bool:
    """Tell whether memory holds certain pieces."""
    begin = 0
    for piece in pieces:
        for start in range(0, piece.nbytes, _COMPARED):
            part = piece[start : start + _COMPARED]
            # As bytes: memoryviews compare element by element.
            if bytes(memory[begin : begin + part.nbytes]) != bytes(part):
                return False
            begin += part.nbytes
    return begin == memory.nbytes


def _no_store(name: str, directory: str) -> StoreError:
    return StoreError(f"there is no store {name!r} in {directory}: it goes with the last process that has it open")
