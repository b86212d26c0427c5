"""The options of `dumps` and `loads`, held once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oobcodec.decoder import loads
from oobcodec.encoder import dumps
from oobcodec.policy import TRUSTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oobcodec.auth import Keyring
    from oobcodec.buffers import Buffer
    from oobcodec.compression import Compression
    from oobcodec.limits import Limits
    from oobcodec.policy import Policy

__all__ = ["Codec", "dumps", "loads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """The options of `dumps` and `loads`, held once.

    Parameters
    ----------
    copy, compression, checksum
        As in `dumps`.
    keyring
        As in both.
    policy, limits, writable, align, open_encoded, map_location
        As in `loads`.
    """

    copy: bool = False
    compression: Compression | str | None = None
    checksum: bool = False
    keyring: Keyring | None = None
    policy: Policy = TRUSTED
    limits: Limits | None = None
    writable: bool | None = None
    align: bool = False
    open_encoded: bool = True
    map_location: Any = None

    def __post_init__(self) -> None:
        if self.compression is not None:
            from oobcodec.compression import resolved  # noqa: PLC0415  # most codecs have none

            resolved(self.compression)  # which raises what is wrong with it here, and not at the first message

    def dumps(self, obj: object) -> list[memoryview]:
        """Turn an object into frames: `oobcodec.dumps` with these options."""
        return dumps(obj, copy=self.copy, compression=self.compression, checksum=self.checksum, keyring=self.keyring)

    def loads(self, frames: Iterable[Buffer] | Buffer) -> Any:
        """Rebuild an object from frames: `oobcodec.loads` with these options."""
        return loads(
            frames,
            policy=self.policy,
            limits=self.limits,
            keyring=self.keyring,
            writable=self.writable,
            align=self.align,
            open_encoded=self.open_encoded,
            map_location=self.map_location,
        )
