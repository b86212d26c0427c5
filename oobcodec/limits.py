"""How much a message may declare before anything is set aside for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from oobcodec.errors import LimitError

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a receiver accepts; ``None`` is any amount.

    By default nothing is limited: `oobcodec.loads` takes whatever `oobcodec.dumps` makes. Limits are for receivers that
    want to refuse a message as soon as its first bytes say how large it is.

    Parameters
    ----------
    max_header_bytes
        Bytes of the header, which is held and parsed as a whole.
    max_frames
        Frames of the message, ``frames[0]`` included.
    max_total_bytes
        Bytes of the whole message in its packed form.

    Raises
    ------
    TypeError
        A limit is neither an integer nor ``None``.
    ValueError
        A limit is not positive.
    """

    max_header_bytes: int | None = None
    max_frames: int | None = None
    max_total_bytes: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is None:
                continue
            if type(limit) is not int:
                message = f"{field.name}={limit!r} is neither an int nor None"
                raise TypeError(message)
            if limit <= 0:
                message = f"{field.name}={limit} admits no message; None admits every one"
                raise ValueError(message)

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
            limit: int | None = getattr(self, name)
            if limit is not None and amount > limit:
                quantity = in_units if name.endswith("_bytes") else _frames
                message = (
                    f"{subject} declares {quantity(amount)}; limit {name}={quantity(limit)}. "
                    f"Raise it with Limits({name}=...)."
                )
                raise LimitError(message)


UNLIMITED: Final = Limits()


def in_units(nbytes: int) -> str:
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


def _frames(count: int) -> str:
    return f"{count:,} frames"
