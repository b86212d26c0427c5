"""Who takes what apart: the one table that every pickler of the codec asks, and the ways to extend it.

Precedence for an object of class ``C``: what was registered for ``C``; oobcodec's own reducer for ``C``; what `copyreg`
says of ``C`` at that moment; the reducer for subclasses of ``C``'s nearest base, unless ``C`` has a pickling method of
its own; ``C.__reduce_ex__(5)``.
"""

from __future__ import annotations

import copyreg
import re
import sys
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from oobcodec.errors import DecodeError, RegistryError
from oobcodec.frame_codecs import FrameCodecs
from oobcodec.plugins import OWN, check_tag, unknown
from oobcodec.serializers import Serializers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pickle import PickleBuffer

    Reduce: TypeAlias = Callable[[Any], str | tuple[Any, ...]]
    BufferCall: TypeAlias = tuple[Callable[..., Any], PickleBuffer, tuple[Any, ...]]

_CLASS_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
# ``object`` reduces through these; a class that replaces one wants to be asked itself.
_HOOKS = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
reduce_by_itself = methodcaller("__reduce_ex__", 5)


def reduce_by_copyreg(obj: Any) -> str | tuple[Any, ...]:
    """Take an object apart as `copyreg` says for its class."""
    # Looked up at every call: an entry may be replaced or withdrawn.
    return copyreg.dispatch_table.get(type(obj), reduce_by_itself)(obj)


class Reducer(NamedTuple):
    """How the objects of a class are taken apart."""

    reduce: Reduce
    subclasses: bool


class TaggedType(NamedTuple):
    """How the objects of a class are turned into plain data and back."""

    cls: type
    tag: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class Table(dict[type, "Reduce"]):
    """``Pickler.dispatch_table``: asks the registry about a class once, at the first object of it."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def __missing__(self, cls: type) -> Reduce:
        version = self._registry.version
        reduce = self._registry.exact(cls)
        if reduce is None:
            if cls in copyreg.dispatch_table:
                reduce = reduce_by_copyreg
            elif issubclass(cls, type):
                raise KeyError(cls)  # pickle then saves the class by its name
            else:
                reduce = self._registry.inherited(cls) or reduce_by_itself
        self._registry.remember(cls, reduce, version)
        return reduce


class Registry(Serializers, FrameCodecs):
    """The reducers and tagged types that a process knows, with its serializers and codecs of frames.

    The functions of this module are the methods of the one registry that the codec uses.
    """

    def __init__(self, own: Mapping[str, Sequence[str]] = OWN) -> None:
        super().__init__(own)
        self.table = Table(self)
        self.version = 0
        self.frozen: dict[Callable[..., Any], Callable[..., Any]] = {}
        """What to call instead of a rebuild function when everything is to be read-only."""
        self.alone: dict[type, Any] = {bytes: None, str: None}
        """Classes whose objects have a shorter way where they are the whole message: see `provide`."""
        # Reducers registered by the name of a class that the process has not imported yet.
        self._pending: dict[str, Reducer] = {}
        self._copyreg = set(copyreg.dispatch_table)
        self._newest = next(reversed(copyreg.dispatch_table), None)
        self._provided: dict[type, Reducer] = {}
        self._registered: dict[type, Reducer] = {}
        self._types: dict[str, TaggedType] = {}

    # Reducers

    def register_reducer(
        self, cls: type | str, reduce: Reduce, *, subclasses: bool = False, replace: bool = False
    ) -> None:
        """Let `reduce` take the objects of a class apart, wherever they lie in a message.

        Parameters
        ----------
        cls
            The class, or its name as ``"package.module:Class"``: then nothing is imported, and the reducer waits until
            the process has imported that module.
        reduce
            Called with an object, returns what ``__reduce_ex__`` may return
            (https://docs.python.org/3/library/pickle.html#object.__reduce__). Wrap memory in `pickle.PickleBuffer` to
            send it out of band. The function that rebuilds must be importable on the other side.
        subclasses
            Also for subclasses that have no pickling method of their own; `reduce` has to keep their class.
        replace
            Take the place of another reducer for the same class.

        Raises
        ------
        RegistryError
            Another reducer is registered for the class, `cls` does not name one, or `reduce` cannot be called.
        """
        if not (isinstance(cls, type) or (isinstance(cls, str) and _CLASS_NAME.fullmatch(cls))):
            message = f"{cls!r} does not name a class: write 'package.module:Class'"
            raise RegistryError(message)
        _check_callable(reduce=reduce)
        reducer = Reducer(reduce, subclasses)
        with self._lock:
            self._resolve_pending()
            target = self._resolved(cls)
            known = self._pending.get(target) if isinstance(target, str) else self._registered.get(target)
            if known not in (None, reducer) and not replace:
                message = f"{_name(target)} has a registered reducer already: replace=True takes its place"
                raise RegistryError(message)
            if isinstance(target, str):
                self._pending[target] = reducer
            else:
                self._registered[target] = reducer
            self._forget()

    def unregister_reducer(self, cls: type | str) -> None:
        """Undo `register_reducer`.

        Raises
        ------
        RegistryError
            No reducer is registered for the class.
        """
        with self._lock:
            self._resolve_pending()
            target = self._resolved(cls)
            known = self._pending.pop(target, None) if isinstance(target, str) else self._registered.pop(target, None)
            if known is None:
                message = f"{_name(target)} has no registered reducer"
                raise RegistryError(message)
            self._forget()

    def registered_reducers(self) -> dict[str, Reduce]:
        """Return the registered reducers by the names of their classes, ``"package.module:Class"``."""
        with self._lock:
            by_name = {name: reducer.reduce for name, reducer in self._pending.items()}
            return by_name | {_name(cls): reducer.reduce for cls, reducer in self._registered.items()}

    def provide(
        self,
        cls: type,
        reduce: Reduce,
        *,
        subclasses: bool = False,
        alone: Callable[[Any], BufferCall | None] | None = None,
    ) -> None:
        """Set a reducer of oobcodec's own, which registered ones precede.

        Parameters
        ----------
        cls, reduce, subclasses
            As of `register_reducer`.
        alone
            Called with an object that is a whole message, returns the function that rebuilds it from one buffer, that
            buffer, outside of the stream, and strings and integers that are the other arguments; or ``None`` if that
            is not how the object is rebuilt.
        """
        with self._lock:
            self._provided[cls] = Reducer(reduce, subclasses)
            if alone is not None:
                self.alone[cls] = reduce, alone
            self._forget()

    # Types under a tag

    def register_type(
        self,
        cls: type,
        tag: str,
        encode: Callable[[Any], Any],
        decode: Callable[[Any], Any],
        *,
        replace: bool = False,
    ) -> None:
        """Let the objects of a class travel as plain data under a tag, wherever they lie in a message.

        Parameters
        ----------
        cls
            The class, exactly: subclasses are not concerned.
        tag
            ``"package.name"``, after the package that registers it; it is what the message holds of the class.
        encode
            Called with an object, returns what to send: anything that can be sent by itself, arrays for example.
        decode
            Called with an equal of what `encode` returned, returns the object.
        replace
            Take the place of what was registered for the class or the tag.

        Raises
        ------
        RegistryError
            The tag is malformed, `cls` is no class, or the class or the tag is registered otherwise; or `encode` or
            `decode` cannot be called.
        """
        check_tag(tag)
        if not isinstance(cls, type):
            message = f"{cls!r} is not a class"
            raise RegistryError(message)
        _check_callable(encode=encode, decode=decode)
        entry = TaggedType(cls, tag, encode, decode)
        with self._lock:
            for known in list(self._types.values()):
                if known != entry and (known.cls is cls or known.tag == tag):
                    if not replace:
                        message = f"{_name(known.cls)} has the tag {known.tag!r} already: replace=True takes its place"
                        raise RegistryError(message)
                    self.unregister_type(known.tag)
            if tag not in self._types:
                self.register_reducer(cls, lambda obj: (rebuild_tagged, (tag, encode(obj))), replace=replace)
                self._types[tag] = entry

    def unregister_type(self, tag: str) -> None:
        """Undo `register_type`.

        Raises
        ------
        RegistryError
            No type is registered under the tag.
        """
        with self._lock:
            if tag not in self._types:
                message = f"no type is registered under the tag {tag!r}"
                raise RegistryError(message)
            cls = self._types.pop(tag).cls
            if cls in self._registered:
                self.unregister_reducer(cls)

    def registered_types(self) -> dict[str, type]:
        """Return the registered classes by their tags."""
        with self._lock:
            return {tag: entry.cls for tag, entry in self._types.items()}

    def decoder(self, tag: str) -> Callable[[Any], Any]:
        """Return what decodes data of `tag`, asking the entry points if need be.

        Raises
        ------
        DecodeError
            Nobody registered the tag.
        """
        if tag not in self._types:
            self._plug_in(tag.partition(".")[0])
        entry = self._types.get(tag)
        if entry is None:
            raise DecodeError(unknown("type", tag))
        return entry.decode

    # Look-up

    def exact(self, cls: type) -> Reduce | None:
        """Return the reducer for just this class."""
        for base in cls.__mro__:
            library, *parts = str(base.__module__).split(".", 2)
            self._plug_in(library)
            if parts:  # a part of a library that is imported by itself
                self._plug_in(f"{library}.{parts[0]}")
        with self._lock:
            self._resolve_pending()
            reducer = self._registered.get(cls) or self._provided.get(cls)
            return reducer and reducer.reduce

    def inherited(self, cls: type) -> Reduce | None:
        """Return the reducer for subclasses of the nearest base, unless `cls` has a pickling method of its own."""
        for base in cls.__mro__[1:]:
            reducer = self._registered.get(base) or self._provided.get(base)
            if reducer is not None and reducer.subclasses:
                own_way = any(getattr(cls, hook, None) is not getattr(base, hook, None) for hook in _HOOKS)
                return None if own_way else reducer.reduce
        return None

    def outdated(self) -> bool:
        """Tell whether the table remembered what is no longer so, and make it forget that."""
        # What is new is the last of the keys. To compare them all would cost more than to pickle an array, where there
        # are hundreds.
        table = copyreg.dispatch_table
        if next(reversed(table), None) is self._newest and len(table) == len(self._copyreg) and not self._pending:
            return False
        with self._lock:
            # An entry that was replaced is no matter: see reduce_by_copyreg.
            outdated = self._resolve_pending() or table.keys() != self._copyreg
            self._copyreg, self._newest = set(table), next(reversed(table), None)
            if outdated:
                self._forget()
            return outdated

    def _resolve_pending(self) -> bool:
        resolved = {name: cls for name in self._pending if not isinstance(cls := self._resolved(name), str)}
        for name, cls in resolved.items():
            self._registered[cls] = self._pending.pop(name)
        return bool(resolved)

    @staticmethod
    def _resolved(target: type | str) -> type | str:
        """Return the class that a name stands for, or the name while its module is not imported."""
        if isinstance(target, type):
            return target
        module, _, qualname = target.partition(":")
        found: Any = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, type) else target

    def remember(self, cls: type, reduce: Reduce, version: int) -> None:
        """Put into the table what was found, unless the registry has changed since."""
        with self._lock:
            if self.version == version:
                self.table[cls] = reduce

    def _forget(self) -> None:
        self.version += 1
        self.table.clear()


def rebuild_tagged(tag: str, data: Any) -> Any:
    """Rebuild an object of a registered type."""
    return DEFAULT.decoder(tag)(data)


def _check_callable(**functions: object) -> None:
    for name, function in functions.items():
        if not callable(function):
            message = f"{name}={function!r} cannot be called"
            raise RegistryError(message)


def _name(cls: type | str) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}:{cls.__qualname__}"


DEFAULT: Final = Registry()

register_reducer = DEFAULT.register_reducer
unregister_reducer = DEFAULT.unregister_reducer
registered_reducers = DEFAULT.registered_reducers
register_type = DEFAULT.register_type
unregister_type = DEFAULT.unregister_type
registered_types = DEFAULT.registered_types
register_serializer = DEFAULT.register_serializer
unregister_serializer = DEFAULT.unregister_serializer
registered_serializers = DEFAULT.registered_serializers
register_codec = DEFAULT.register_codec
unregister_codec = DEFAULT.unregister_codec
registered_codecs = DEFAULT.registered_codecs
