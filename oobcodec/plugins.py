"""What registers itself for a library, when that library is first met."""

from __future__ import annotations

import re
import threading
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from oobcodec.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ENTRY_POINTS: Final = "oobcodec.reducers"
"""Entry-point group: the name is a library's top-level module, the value a function that registers what it needs."""

OWN: Final = {
    "builtins": ["oobcodec.reducers.stdlib"],
    "jax": ["oobcodec.reducers.jax"],
    "jaxlib": ["oobcodec.reducers.jax"],
    "keras": ["oobcodec.reducers.keras"],
    "numpy": ["oobcodec.reducers.numpy", "oobcodec.reducers.numpy_masked", "oobcodec.reducers.numpy_scalars"],
    "pandas": ["oobcodec.reducers.pandas"],
    "polars": ["oobcodec.reducers.polars"],
    "pyarrow": ["oobcodec.reducers.arrow"],
    "scipy": ["oobcodec.reducers.scipy"],
    "scipy.interpolate": ["oobcodec.reducers.scipy_interpolate"],
    "tensorflow": ["oobcodec.reducers.tensorflow"],
    "torch": ["oobcodec.reducers.torch"],
    "xarray": ["oobcodec.reducers.xarray"],
}
"""The modules of oobcodec with a function ``register``, by the library that they are for."""

TAG: Final = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)+", re.ASCII)
"""What tags look like: ``"package.name"``, after the package that registers what they stand for."""


class Plugins:
    """The functions that register what a library needs: each is called once, when its library is first met.

    Parameters
    ----------
    own
        As `OWN`.
    """

    def __init__(self, own: Mapping[str, Sequence[str]]) -> None:
        self._lock = threading.RLock()
        self._plugins: dict[str, list[Callable[[], Callable[[], object]]]] = {
            library: [partial(_register_of, module) for module in modules] for library, modules in own.items()
        }
        self._scanned = False

    def _plug_in(self, library: str) -> None:
        """Call what the entry points, and oobcodec itself, have for a library; never again once that succeeded."""
        if not self._scanned:
            # Not at import: importlib.metadata alone takes 30 ms.
            from importlib.metadata import entry_points  # noqa: PLC0415

            with self._lock:
                for entry_point in () if self._scanned else entry_points(group=ENTRY_POINTS):
                    self._plugins.setdefault(entry_point.name, []).append(entry_point.load)
                self._scanned = True
        # Without the lock, for this imports: two threads may both do it, to the same effect.
        for load in self._plugins.get(library, ()):
            load()()
        self._plugins.pop(library, None)


def _register_of(module: str) -> Callable[[], object]:
    register: Callable[[], object] = import_module(module).register
    return register


def check_members(kind: str, plugin: object, names: Sequence[str]) -> None:
    """Raise `RegistryError` if what is to be registered lacks a member that its kind has."""
    missing = [name for name in names if not hasattr(plugin, name)]
    if missing:
        message = f"{plugin!r} is no {kind}: it lacks {', '.join(missing)}"
        raise RegistryError(message)


def check_tag(tag: object) -> None:
    """Raise `RegistryError` if something cannot be registered under this tag."""
    if not isinstance(tag, str) or not TAG.fullmatch(tag):
        message = f"the tag {tag!r} is not 'package.name', after the package that registers it"
        raise RegistryError(message)


def unknown(kind: str, tag: str) -> str:
    """Return what to say of a tag that nobody has registered."""
    package = tag.partition(".")[0]
    return f"the {kind} tag {tag!r} is unknown here: install and import {package!r}, which registers it"
