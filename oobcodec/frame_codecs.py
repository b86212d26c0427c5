"""Codecs of frames: each compresses single frames, where ``compression=`` asks for its tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from oobcodec.errors import DecodeError, RegistryError
from oobcodec.plugins import Plugins, check_members, check_tag, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oobcodec.buffers import Buffer


class FrameCodec(Protocol):
    """Compresses single frames.

    Attributes
    ----------
    tag : str
        Travels in the header and finds the codec again: ``"package.name"``, after the package that registers it.
    """

    tag: str

    def compress(self, frame: memoryview, itemsize: int, /) -> Buffer | None:
        """Return what is to travel of a frame of elements of `itemsize` bytes; or None if that does not pay."""

    def decompress(self, frame: memoryview, memory: memoryview, /) -> object:
        """Write into all of `memory`, which is as long as the frame was, what `compress` was given."""


class FrameCodecs(Plugins):
    """The codecs of frames that a process knows."""

    def __init__(self, own: Mapping[str, Sequence[str]]) -> None:
        super().__init__(own)
        self._codecs: dict[str, FrameCodec] = {}

    def register_codec(self, codec: FrameCodec, *, replace: bool = False) -> None:
        """Let a codec compress frames, where ``compression=`` asks for its tag.

        Parameters
        ----------
        codec
            It is called for one frame after the other, perhaps from several threads.
        replace
            Take the place of another codec with the same tag.

        Raises
        ------
        RegistryError
            `codec` lacks an attribute or a method of `oobcodec.FrameCodec`; its tag is malformed or taken.
        """
        check_members("codec", codec, ("tag", "compress", "decompress"))
        tag = codec.tag
        check_tag(tag)
        with self._lock:
            if self._codecs.get(tag, codec) is not codec and not replace:
                message = f"the tag {tag!r} has a codec already: replace=True takes its place"
                raise RegistryError(message)
            self._codecs[tag] = codec

    def unregister_codec(self, tag: str) -> None:
        """Undo `register_codec`.

        Raises
        ------
        RegistryError
            No codec is registered under the tag.
        """
        with self._lock:
            if self._codecs.pop(tag, None) is None:
                message = f"no codec is registered under the tag {tag!r}"
                raise RegistryError(message)

    def registered_codecs(self) -> tuple[str, ...]:
        """Return the tags of the registered codecs."""
        with self._lock:
            return tuple(self._codecs)

    def codec(self, tag: str) -> FrameCodec:
        """Return the registered codec of `tag`, asking the entry points if need be.

        Raises
        ------
        DecodeError
            Nobody registered the tag.
        """
        if tag not in self._codecs:
            self._plug_in(tag.partition(".")[0])
        codec = self._codecs.get(tag)
        if codec is None:
            raise DecodeError(unknown("codec", tag))
        return codec
