"""How much a message may declare before anything is set aside for it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

from oobcodec.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import EllipsisType

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP = 1024
_PAGE = 4096
_HARMLESS = 64 * 1024
"""Bytes of a message that may be compressed as far as anything can be."""
_MESSAGE = 100
"""Operations that opening a message takes, however little is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a receiver accepts. ``None`` is any amount, and ``...``, the default, what the policy says.

    Under the policy ``TRUSTED`` that is any amount: `oobcodec.loads` takes whatever `oobcodec.dumps` makes. Limits are
    then for receivers that want to refuse a message as soon as its first bytes say how large it is.

    Parameters
    ----------
    max_header_bytes
        Bytes of the header, which is held and parsed as a whole. 8 MiB under ``DATA``, and where a keyring is given.
    max_frames
        Frames of the message, ``frames[0]`` included. 65,536 under ``DATA``.
    max_total_bytes
        Bytes of the whole message in its packed form. 4 GiB under ``DATA``.
    max_decompressed_bytes
        Bytes of all memory that the message takes beyond its frames, and of all its buffers. 4 GiB under ``DATA``.
    max_ratio
        How many times as much as the frames that memory may be. 1,000 under ``DATA``.
    max_depth
        Containers in each other, arguments of functions included. 100 under ``DATA``; not looked at under ``TRUSTED``.
    max_operations
        Opcodes of the pickle stream, and members of the keys of dicts and sets. 1,000,000 under ``DATA``; not looked at
        under ``TRUSTED``.

    Raises
    ------
    TypeError
        A limit is neither an integer nor ``None``.
    ValueError
        A limit is not positive.
    """

    max_header_bytes: int | EllipsisType | None = ...
    max_frames: int | EllipsisType | None = ...
    max_total_bytes: int | EllipsisType | None = ...
    max_decompressed_bytes: int | EllipsisType | None = ...
    max_ratio: int | EllipsisType | None = ...
    max_depth: int | EllipsisType | None = ...
    max_operations: int | EllipsisType | None = ...

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is None or limit is ...:
                continue
            if type(limit) is not int:
                message = f"{field.name}={limit!r} is neither an int nor None"
                raise TypeError(message)
            if limit <= 0:
                message = f"{field.name}={limit} admits no message; None admits every one"
                raise ValueError(message)

    def over(self, defaults: Limits) -> Limits:
        """Return these limits, with `defaults` where nothing is said."""
        said = {field.name: limit for field in fields(self) if (limit := getattr(self, field.name)) is not ...}
        return replace(defaults, **said) if said else defaults

    def get(self, name: str) -> int | None:
        """Return a limit, ``None`` if there is none."""
        limit = getattr(self, name)
        return None if limit is ... else limit

    def check(self, subject: str, **declared: int) -> None:
        """Refuse what is over a limit.

        Parameters
        ----------
        subject
            What declares it, for the text of the error.
        **declared
            The number for each limit that is to be checked, by the name of the limit.

        Raises
        ------
        LimitError
            A number is over its limit.
        """
        for name, amount in declared.items():
            limit = getattr(self, name)
            if limit is not None and limit is not ... and amount > limit:
                quantity = in_units if name.endswith("_bytes") else _counted
                message = (
                    f"{subject} declares {quantity(amount, name)}; limit {name}={quantity(limit, name)}. "
                    f"Raise it with Limits({name}=...)."
                )
                raise LimitError(message)


UNLIMITED: Final = Limits()

SIGNED: Final = Limits(max_header_bytes=8 << 20)
"""What goes for a header until its signature is verified."""

FOR_DATA: Final = Limits(
    max_header_bytes=8 << 20,
    max_frames=65_536,
    max_total_bytes=4 << 30,
    max_decompressed_bytes=4 << 30,
    max_ratio=1000,
    max_depth=100,
    max_operations=1_000_000,
)


class Budget:
    """What is left of the limits while the object of a message is rebuilt, the messages inside of it included.

    Parameters
    ----------
    limits
        The limits.
    """

    __slots__ = ("_claimed", "_held", "_inside", "_limits", "_operations")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0
        self._claimed = 0
        self._operations = 0
        self._inside = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Account for a message inside of the message, while that is rebuilt.

        Raises
        ------
        LimitError
            They lie too deep in each other.
        """
        self._inside += 1
        try:
            self._limits.check("the message", max_depth=self._inside)
            self.operate(_MESSAGE)
            yield
        finally:
            self._inside -= 1

    def hold(self, nbytes: int) -> None:
        """Account for the bytes of all buffers, of which several may lie in the same memory.

        Raises
        ------
        LimitError
            Together with those of other messages, they are too many.
        """
        self._held += nbytes
        self._limits.check("the message", max_decompressed_bytes=self._held)

    def expand(self, arrived: int, nbytes: int) -> None:
        """Check how many bytes a message has when it is decompressed, before it is; `hold` accounts for them.

        Raises
        ------
        LimitError
            Together with those of other messages, they are too many; or they are for what has arrived.
        """
        ratio = nbytes // max(arrived, _HARMLESS)
        self._limits.check("the message", max_decompressed_bytes=self._held + nbytes, max_ratio=ratio)

    def claim(self, nbytes: int) -> None:
        """Account for memory that did not arrive as such.

        Raises
        ------
        LimitError
            Together with what was claimed before, it is too much.
        """
        self._claimed += nbytes
        # Little memory is no threat, whatever it comes of.
        ratio = self._claimed // max(self._held, _PAGE)
        self._limits.check("the object", max_decompressed_bytes=self._held + self._claimed, max_ratio=ratio)

    def operate(self, count: int) -> None:
        """Account for operations.

        Raises
        ------
        LimitError
            Together with the earlier ones, they are too many.
        """
        self._operations += count
        self._limits.check("the message", max_operations=self._operations)


def in_units(nbytes: int, _name: str = "") -> str:
    """Return a number of bytes as people write it: exactly if that is short, else to a tenth, rounded up.

    >>> in_units(4 << 30), in_units(9_878_424_781), in_units(1_000)
    ('4 GiB', '9.3 GiB', '1,000 bytes')
    """
    power = min(max(nbytes.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    scale = _STEP**power
    if nbytes % scale == 0:
        return f"{nbytes // scale:,} {_UNITS[power]}"
    # Rounded up, so that what is over a limit of whole units also reads so.
    return f"{-(-nbytes * 10 // scale) / 10:,.1f} {_UNITS[power]}"


def _counted(count: int, name: str) -> str:
    words = {
        "max_frames": " frames",
        "max_operations": " operations",
        "max_depth": " levels",
        "max_ratio": " times as much",
    }
    return f"{count:,}{words[name]}"
