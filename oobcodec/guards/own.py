"""oobcodec's own: messages inside of messages, and types under a tag."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from oobcodec.context import LOADING
from oobcodec.guards.checks import expect
from oobcodec.registry import rebuild_tagged

if TYPE_CHECKING:
    from collections.abc import Callable


def rebuild_type(tag: Any, data: Any) -> Any:
    """Decode data of a registered type whose tag is allowed."""
    expect(type(tag) is str, "the tag of a type is a string")
    LOADING.get().policy.check_tag("type", tag)
    return rebuild_tagged(tag, data)


def open_encoded(*frames: Any) -> Any:
    """Open the message that an `oobcodec.Encoded` holds, under the same policy."""
    expect(all(type(frame) in {bytes, bytearray, memoryview} for frame in frames), "a message consists of frames")
    # By its name: it lies on a higher floor, and calls `loads` again.
    return import_module("oobcodec.encoded").rebuild_encoded(*frames)


GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "oobcodec.encoded:rebuild_encoded": open_encoded,
    "oobcodec.registry:rebuild_tagged": rebuild_type,
}
