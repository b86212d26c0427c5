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
    ├── StoreError            a store cannot be had, or is gone
    │   ├── StoreClosedError  this process has closed it               (also ValueError)
    │   ├── StoreFullError    an object does not fit into it           (the message names who holds what)
    │   ├── NoSuchKeyError    it has no object of that key             (also KeyError)
    │   └── KeyExistsError    it has one already
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
    "KeyExistsError",
    "LimitError",
    "NoSuchKeyError",
    "OobError",
    "PoisonedError",
    "PolicyError",
    "RegistryError",
    "StoreClosedError",
    "StoreError",
    "StoreFullError",
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


class StoreError(OobError):
    """A store cannot be made or found, is not to be trusted, or has been destroyed; the text says what to do."""


class StoreClosedError(StoreError, ValueError):
    """The store has been closed by this process."""


class StoreFullError(StoreError):
    """There is no room for an object, nor can any be made; the text says what is held, and by whom."""


class NoSuchKeyError(StoreError, KeyError):
    """The store has no object of that key: there was none, or it has been deleted or evicted."""

    __str__ = Exception.__str__  # that of KeyError quotes the text as if it were the key


class KeyExistsError(StoreError):
    """The store has an object of that key already, and objects do not change."""
