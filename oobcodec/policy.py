"""Whom to believe: what a message may name.

Under ``TRUSTED`` it may name anything, as for `pickle.loads`. Under ``DATA`` it may name what stands in one table, and
each of these names stands for a function of ours that checks its arguments: an allow-list of names alone is not enough,
because the libraries' own functions crash on hostile arguments.
"""

from __future__ import annotations

import re
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn

from oobcodec.errors import DecodeError, PolicyError
from oobcodec.limits import FOR_DATA, SIGNED, UNLIMITED, Limits
from oobcodec.names import TAKERS, VALUES, WHERE, Name
from oobcodec.plugins import TAG
from oobcodec.serializers import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


__all__ = ["DATA", "TRUSTED", "Name", "Policy"]

_GLOBAL: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
# What runs code, reads files or reaches anything else, by module, and of some modules by name.
_GADGET_MODULES: Final = frozenset(
    """
    asyncio bdb cloudpickle code codeop concurrent copyreg ctypes dill distutils doctest faulthandler ftplib
    functools gc glob http imp importlib inspect io joblib logging marshal multiprocessing nt ntpath oobcodec
    operator os pdb pickle pickletools pip pkgutil platform posix posixpath profile pstats pty pydoc runpy
    setuptools shelve shutil signal site smtplib socket socketserver sqlite3 ssl subprocess sys sysconfig
    tempfile test threading timeit trace unittest urllib venv webbrowser xmlrpc zipimport
    """.split()  # noqa: SIM905  # a line for each would be a page
)
_GADGETS: Final = frozenset(
    """
    builtins:__import__ builtins:breakpoint builtins:compile builtins:delattr builtins:eval builtins:exec
    builtins:filter builtins:getattr builtins:globals builtins:input builtins:locals builtins:map builtins:open
    builtins:setattr builtins:vars
    numpy:dtype numpy:fromfile numpy:load numpy:memmap numpy:ndarray numpy._core.multiarray:_reconstruct
    numpy.core.multiarray:_reconstruct numpy.testing._private.utils:runstring
    pandas:eval pandas:read_pickle pandas._libs.internals:_unpickle_block
    pandas.core.internals.managers:BlockManager pyarrow.lib:_restore_array
    pyarrow.lib:foreign_buffer torch._tensor:_rebuild_from_type_v2
    torch:load torch.hub:load torch.jit:load torch.serialization:load torch.storage:_load_from_bytes
    torch._utils:_rebuild_sparse_tensor torch._utils:_rebuild_tensor torch._utils:_rebuild_tensor_v2
    types:CodeType types:FunctionType types:LambdaType types:MethodType
    """.split()  # noqa: SIM905
)
_SHOWN: Final = 100
"""Characters of a name that an error shows."""


class Policy:
    """What a message may name: `TRUSTED`, `DATA`, or what `DATA.allowing` returns.

    Attributes
    ----------
    trusted : bool
        Whether it may name anything.
    allowed : frozenset of str
        What it may name beside data.
    limits : Limits
        What is not to be exceeded unless the caller says otherwise.
    """

    __slots__ = ("_guards", "allowed", "classes", "limits", "states", "trusted")

    def __init__(self, *, trusted: bool = False, allowed: Iterable[str] = ()) -> None:
        self.trusted = trusted
        self.allowed = frozenset(allowed)
        self.limits: Limits = UNLIMITED if trusted else FOR_DATA
        self.classes: frozenset[type] = frozenset()
        """Allowed by name, as far as they were met."""
        self.states: dict[type, Callable[[Any, Any], None]] = {}
        """Who takes the state of an object, by the class of that."""
        self._guards: dict[Name, Any] = {}

    def __repr__(self) -> str:
        if not self.allowed:
            return "TRUSTED" if self.trusted else "DATA"
        return f"DATA.allowing({', '.join(map(repr, sorted(self.allowed)))})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Policy):
            return NotImplemented
        return (self.trusted, self.allowed) == (other.trusted, other.allowed)

    def __hash__(self) -> int:
        return hash((self.trusted, self.allowed))

    def __reduce__(self) -> Any:
        return _policy, (self.trusted, tuple(sorted(self.allowed)))

    def allowing(self, *what: str | type) -> Policy:
        """Return a policy that also allows some classes, functions and tags.

        An allowed class exposes all that it does in ``__new__``, ``__init__``, ``__reduce__`` and ``__setstate__``, or
        when it is filled or compared, to whatever the message says. An allowed function may be called with anything.

        Parameters
        ----------
        *what
            Classes; names of classes or functions as ``"package.module:name"``; tags of `oobcodec.register_type` and
            `oobcodec.register_serializer`, ``"package.name"``.

        Returns
        -------
        Policy
            A new one.

        Raises
        ------
        PolicyError
            One of them would let a message do anything at all.
        ValueError
            One of them is no such name, or a class without one; or everything is allowed already.
        """
        if self.trusted:
            message = "TRUSTED allows everything already: begin with DATA"
            raise ValueError(message)
        names = []
        for each in what:
            name = f"{each.__module__}:{each.__qualname__}" if isinstance(each, type) else each
            if isinstance(each, type) and not _GLOBAL.fullmatch(name):
                message = f"{each!r} has no name that a message could import it by: define it outside of functions"
                raise ValueError(message)
            if not isinstance(name, str) or not (_GLOBAL.fullmatch(name) or TAG.fullmatch(name)):
                message = f"{name!r} is no class, and neither 'package.module:name' nor a tag 'package.name'"
                raise ValueError(message)
            if ":" in name and _is_gadget(Name(*name.split(":"))):
                message = f"{name!r} would let a message run whatever it says; only policy=TRUSTED allows that"
                raise PolicyError(message)
            names.append(name)
        return Policy(allowed=self.allowed.union(names))

    def allows(self, name: Name) -> bool:
        """Tell whether a message may name a class or a function."""
        return self.trusted or name in self._guards or str(name) in WHERE or str(name) in self.allowed

    def allows_tag(self, tag: str) -> bool:
        """Tell whether a message may name a serializer, or a type, by a tag."""
        return self.trusted or tag in self.allowed or (tag in BUILT_IN and tag != "cloudpickle")

    def check_tag(self, kind: str, tag: str) -> None:
        """Refuse the tag of a serializer, or of a type, that is not allowed.

        Raises
        ------
        PolicyError
            It is not.
        """
        if not self.allows_tag(tag):
            hint = "" if tag in BUILT_IN else f'If you trust it: policy=DATA.allowing("{_shown(tag)}"); to '
            message = (
                f"refused {kind} tag {_shown(tag)!r} (policy DATA). {hint or 'To '}accept anything from this peer: "
            )
            message += "policy=TRUSTED."
            raise PolicyError(message)

    def check(self, name: Name) -> None:
        """Refuse a name that is not allowed, without importing anything.

        Raises
        ------
        PolicyError
            It is not allowed.
        """
        if self.allows(name):
            return
        hint = "To " if _is_gadget(name) else _hint(str(name), _GLOBAL)
        dotted = _shown(f"{name.module}.{name.qualname}")
        message = f"refused global {dotted!r} (policy DATA). {hint}accept any class from this peer: policy=TRUSTED."
        raise PolicyError(message)

    def guards(self, names: Iterable[Name], takers: Iterable[Name] = ()) -> Mapping[Name, Any]:
        """Return what stands for names, importing it if need be.

        Parameters
        ----------
        names
            All that a message names.
        takers
            Those of them that it calls with names among the arguments.

        Raises
        ------
        PolicyError
            One of them is not allowed. Then nothing has been imported.
        """
        guards = self._guards
        unknown = [name for name in names if name not in guards]
        for name in unknown:
            self.check(name)
        for name in takers:
            if str(name) not in TAKERS:
                message = f"the message gives a class or a function to {name}, which takes none under {self!r}"
                raise PolicyError(message)
        for name in unknown:
            guards[name] = self._guard(name)
        return guards

    def _guard(self, name: Name) -> Any:
        wire = str(name)
        if wire in self.allowed:
            found = attrgetter(name.qualname)(import_module(name.module))
            if isinstance(found, type):
                self.classes |= {found}
            return found
        module = import_module(WHERE[wire])
        self.states.update(getattr(module, "STATES", {}))
        known = module.VALUES if wire in VALUES else module.GUARDS
        if wire not in known:
            message = f"{wire} is not in the version of its library that is installed: install the sender's"
            raise DecodeError(message)
        return known[wire] if wire in VALUES else known[wire] or partial(_refuse_call, name)


def _policy(trusted: bool, allowed: tuple[str, ...]) -> Policy:  # noqa: FBT001  # pickle passes by position
    return TRUSTED if trusted else Policy(allowed=allowed) if allowed else DATA


def _refuse_call(name: Name, *_: Any, **__: Any) -> NoReturn:
    message = f"the message calls {name}, which DATA allows to be given to other functions only"
    raise PolicyError(message)


def _is_gadget(name: Name) -> bool:
    package = name.module.partition(".")[0]
    return package.lstrip("_") in _GADGET_MODULES or str(name) in _GADGETS or name.qualname.startswith("__")


def _hint(what: str, form: re.Pattern[str]) -> str:
    """Return what would allow something, if its name is one that anybody would write."""
    return f'If you trust it: policy=DATA.allowing("{what}"); to ' if form.fullmatch(_shown(what)) else "To "


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


TRUSTED: Final = Policy(trusted=True)
"""Anything: as `pickle.loads`."""

DATA: Final = Policy()
"""Plain data of Python, and of the libraries that oobcodec knows."""


def limited(policy: Policy, limits: Limits | None, *, signed: bool = False) -> Limits:
    """Return what is not to be exceeded: what the caller says, and then what the policy says.

    Raises
    ------
    TypeError
        One of them is something else.
    """
    if not isinstance(policy, Policy):
        message = f"policy={policy!r} is no policy: those are oobcodec.TRUSTED, oobcodec.DATA, and DATA.allowing(...)"
        raise TypeError(message)
    if limits is not None and not isinstance(limits, Limits):
        message = f"limits={limits!r} are none: write oobcodec.Limits(max_total_bytes=...), and more of its names"
        raise TypeError(message)
    defaults = SIGNED.over(policy.limits) if signed else policy.limits
    return defaults if limits is None else limits.over(defaults)
