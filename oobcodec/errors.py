"""Every error that oobcodec raises by itself.

::

    OobError
    ├── EncodeError           dumps: an object refuses to be sent      (also pickle.PicklingError)
    ├── DecodeError           loads: a message cannot be rebuilt       (also pickle.UnpicklingError)
    │   ├── HeaderError       the header is not what format 1 says
    │   ├── TruncatedError    the bytes end before the message does
    │   ├── LimitError        a declared size is over a limit          (the message names the knob)
    │   ├── PolicyError       a name or tag that the policy refuses    (the message names what allows it)
    │   ├── IntegrityError    a frame is not what its digest says
    │   └── AuthenticationError   unsigned, or not by a key of ours, or not now
    ├── RegistryError         a registration contradicts another one   (also ValueError)
    ├── InsecureError         a listener that would trust everybody    (also ValueError)
    └── PoisonedError         this socket stopped inside a message     (also ConnectionError)

An exception that a user's own ``__reduce__`` or ``__setstate__`` raises is not wrapped: it passes unchanged,
with a note that says where in the object it happened. A clean end of stream is the built-in `EOFError`.
"""

from pickle import PicklingError, UnpicklingError

__all__ = [
    "AuthenticationError",
    "DecodeError",
    "EncodeError",
    "HeaderError",
    "InsecureError",
    "IntegrityError",
    "LimitError",
    "OobError",
    "PoisonedError",
    "PolicyError",
    "RegistryError",
    "TruncatedError",
]


class OobError(Exception):
    """Base of all errors of this library."""


class EncodeError(OobError, PicklingError):
    """An object cannot be turned into frames; the text names the path to the culprit."""


class DecodeError(OobError, UnpicklingError):
    """Frames cannot be turned into an object."""


class HeaderError(DecodeError):
    """The header, or the frames beside it, are not what the message format says."""


class TruncatedError(DecodeError):
    """The bytes end in the middle of a message."""


class LimitError(DecodeError):
    """A message declares more than a limit allows; the text names the limit to raise."""


class PolicyError(DecodeError):
    """A message names what the policy does not allow; the text says what would allow it."""


class IntegrityError(DecodeError):
    """A frame is not what its sender computed a digest of; the text names the frame."""


class AuthenticationError(DecodeError):
    """A message is not signed by a key of the keyring, or not for this place in this connection."""


class InsecureError(OobError, ValueError):
    """A listener would run whatever anybody in the network sends; the text says what to choose."""


class RegistryError(OobError, ValueError):
    """A registration is malformed, or contradicts an earlier one."""


class PoisonedError(OobError, ConnectionError):
    """An earlier failure left this connection in the middle of a message; it cannot be used again."""
