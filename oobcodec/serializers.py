"""Serializers: each turns a whole top-level object into buffers, in a format of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from oobcodec.errors import DecodeError, RegistryError
from oobcodec.plugins import Plugins, check_members, check_tag, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oobcodec.buffers import Buffer

BUILT_IN: Final = ("bytes", "str", "pickle", "cloudpickle")
"""Tags of the serializers that are always there, in the order in which they are tried."""


class Serializer(Protocol):
    """Turns a whole top-level object into buffers, in a format of its own.

    Attributes
    ----------
    tag : str
        Travels in the header and finds the serializer again: ``"package.name"``, after the package that registers it.
    """

    tag: str

    def supports(self, obj: Any, /) -> bool:
        """Tell whether this serializer wants `obj`."""

    def dumps(self, obj: Any, /) -> tuple[Any, Sequence[Buffer]]:
        """Return what msgpack can carry of `obj`, and contiguous buffers with the rest."""

    def loads(self, meta: Any, buffers: list[memoryview], /) -> Any:
        """Rebuild the object from what `dumps` returned; lists in `meta` are tuples now."""


class Serializers(Plugins):
    """The serializers that a process knows."""

    def __init__(self, own: Mapping[str, Sequence[str]]) -> None:
        super().__init__(own)
        self.serializers: tuple[Serializer, ...] = ()
        """Registered ones, in the order in which they are tried, before the built-in ones."""

    def register_serializer(self, serializer: Serializer, *, before: str | None = None, replace: bool = False) -> None:
        """Let a serializer take whole top-level objects, before the built-in ones and those registered earlier.

        Parameters
        ----------
        serializer
            Its `supports` is called for every top-level object, so it should be quick.
        before
            Tag of the registered serializer to precede directly, instead of all of them. The tag of a built-in one
            stands for the end: all other registered ones come first.
        replace
            Take the place of another serializer with the same tag.

        Raises
        ------
        RegistryError
            `serializer` lacks an attribute or a method of `oobcodec.Serializer`; its tag is malformed or taken; or
            `before` is not registered.
        """
        check_members("serializer", serializer, ("tag", "supports", "dumps", "loads"))
        tag = serializer.tag
        check_tag(tag)
        with self._lock:
            known = next((other for other in self.serializers if other.tag == tag), None)
            if known is serializer and before is None:
                return
            if known not in (None, serializer) and not replace:
                message = f"the tag {tag!r} has a serializer already: replace=True takes its place"
                raise RegistryError(message)
            others = [other for other in self.serializers if other.tag != tag]
            tags = [other.tag for other in others]
            place = 0 if known is None else self.serializers.index(known)
            if before is not None and before not in (*tags, *BUILT_IN):
                message = f"before={before!r} is not the tag of a serializer: {[*tags, *BUILT_IN]}"
                raise RegistryError(message)
            others.insert(place if before is None else [*tags, before].index(before), serializer)
            self.serializers = tuple(others)

    def unregister_serializer(self, tag: str) -> None:
        """Undo `register_serializer`.

        Raises
        ------
        RegistryError
            No serializer is registered under the tag.
        """
        with self._lock:
            others = tuple(other for other in self.serializers if other.tag != tag)
            if len(others) == len(self.serializers):
                message = f"no serializer is registered under the tag {tag!r}"
                raise RegistryError(message)
            self.serializers = others

    def registered_serializers(self) -> tuple[str, ...]:
        """Return the tags of all serializers in the order in which they are tried, the built-in ones included."""
        return (*(serializer.tag for serializer in self.serializers), *BUILT_IN)

    def serializer(self, tag: str) -> Serializer:
        """Return the registered serializer of `tag`, asking the entry points if need be.

        Raises
        ------
        DecodeError
            Nobody registered the tag.
        """
        if all(serializer.tag != tag for serializer in self.serializers):
            self._plug_in(tag.partition(".")[0])
        for serializer in self.serializers:
            if serializer.tag == tag:
                return serializer
        raise DecodeError(unknown("serializer", tag))
