"""oobcodec's reducers for the other picklers of a process.

Classes that are written in Python have their ``__reduce_ex__`` wrapped, which is told the protocol. Arrow's classes
cannot be changed, so they are entered in `copyreg`, whose functions are not: what they return holds the object in a
`_Later`, which the pickler asks with the protocol.
"""

from __future__ import annotations

import copy
import copyreg
import operator
import pickle
import sys
import threading
from contextlib import ExitStack
from functools import wraps
from importlib import import_module
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from oobcodec.buffers import Extent
from oobcodec.engine import IN_BAND, REDUCERS
from oobcodec.errors import EncodeError
from oobcodec.registry import DEFAULT as REGISTRY
from oobcodec.registry import reduce_by_copyreg, reduce_by_itself

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Self, TypeAlias

    Reduced: TypeAlias = str | tuple[Any, ...]
    ReduceEx: TypeAlias = Callable[[Any, int], Reduced]

_PROTOCOL: Final = 5
"""The first one with buffers out of band."""

_CLASSES: Final = {
    "polars": ("DataFrame", "Series"),
    "pyarrow": (
        *("Array", "Buffer", "ChunkedArray", "DataType", "Field", "RecordBatch", "Scalar", "Schema", "Table"),
        *("Tensor", "SparseCOOTensor", "SparseCSCMatrix", "SparseCSFTensor", "SparseCSRMatrix"),
    ),
    "torch": ("Tensor", "nn.Parameter", "TypedStorage", "UntypedStorage"),
}
"""What is covered of each library; all subclasses too."""

_WITH_BUFFERS: Final = {f"{REDUCERS}{module}" for module in ("arrow", "torch", "torch_storages")}
"""Modules of rebuild functions with buffers in their arguments; those of others may be a user's lists."""

_OWN_WAYS: Final = (reduce_by_copyreg, reduce_by_itself)
_SAVE_IN_PYTHON: Final = pickle._Pickler.save.__code__  # type: ignore[attr-defined]  # noqa: SLF001  # has no other name


class Installation:
    """What `install` returns: a context manager that undoes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            _installations.discard(self)
            if not _installations:
                _undoing.close()


def install() -> Installation:
    """Let every pickler of the process send torch, polars and Arrow out of band; readers of that need oobcodec.

    What is pickled with protocol 5 from now on is unpickled where oobcodec can be imported, and nowhere else. It need
    not be installed by this function there.

    Ray, Dask, joblib, cloudpickle and `pickle` itself take objects apart by methods of their classes. With protocol 5
    those of tensors, storages, frames, series, and of all that Arrow holds become oobcodec's, which copy nothing, and
    take of a slice no more than the slice. Arrays of numpy, which know how to do that, are left as they are.

    Returns
    -------
    Installation
        A context manager: when it is left, this call is undone, and no other one.

    Notes
    -----
    As before are protocols below 5, `copy.copy` and `copy.deepcopy`, `joblib.hash`, `torch.save` with any protocol, and
    what `multiprocessing` does with tensors.

    A library that is imported later is covered from then on; none is imported here. A subclass with a pickling method
    of its own keeps it. So does any subclass of Arrow's classes that is written in Python, and what a reducer refuses
    goes the way that it went before.

    Without a ``buffer_callback`` the memory is in the pickle, as usual; buffers of less than 1 KiB always are. Of
    memory that objects share, only a whole storage of torch's travels once: `oobcodec.dumps`, which sees all buffers of
    a message together, does more.
    """
    installation = Installation()
    with _lock:
        if not _installations:
            sys.meta_path.insert(0, _finder)
            _undoing.callback(sys.meta_path.remove, _finder)
        _installations.add(installation)
    for name in _CLASSES:
        if sys.modules.get(name):
            import_module(name)  # another thread may be about it
            _cover(name)
    return installation


def uninstall() -> None:
    """Undo every `install`; without one, do nothing. What has been pickled still needs oobcodec to be read."""
    with _lock:
        _installations.clear()
        _undoing.close()


_lock: Final = threading.RLock()
_installations: Final[set[Installation]] = set()
_covered: Final[set[str]] = set()
_undoing: Final = ExitStack()


class _Finder:
    """Comes first in `sys.meta_path`, to cover a library once it is imported."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _CLASSES:
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _cover(module.__name__)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one alone
        return spec


_finder: Final = _Finder()


def _cover(name: str) -> None:
    """Cover the classes of an imported library, without importing anything: that may be going on."""
    with _lock:
        if not _installations or name in _covered:
            return
        _covered.add(name)
        _undoing.callback(_covered.remove, name)
        library = sys.modules[name]
        classes = tuple([operator.attrgetter(path)(library) for path in _CLASSES[name]])
        if name == "pyarrow":
            for cls in vars(library.lib).values():
                if isinstance(cls, type) and issubclass(cls, classes) and cls not in copyreg.dispatch_table:
                    copyreg.dispatch_table[cls] = _reduce_unchangeable
                    _undoing.callback(_forget, cls)
        else:
            for cls in classes:
                _wrap(cls)


def _forget(cls: type) -> None:
    if copyreg.dispatch_table.get(cls) is _reduce_unchangeable:  # nobody else's by now
        del copyreg.dispatch_table[cls]


def _wrap(cls: Any) -> None:
    own, native = vars(cls).get("__reduce_ex__"), cls.__reduce_ex__
    reduce = _reduce_storage if cls.__name__ == "UntypedStorage" else _reduce

    @wraps(native)
    def reduce_ex(self: Any, protocol: int) -> Reduced:
        by_torch_save = sys._getframe(1).f_globals.get("__name__") == "torch.serialization"  # noqa: SLF001
        if by_torch_save or not _installations:
            return native(self, protocol)  # type: ignore[no-any-return]
        return reduce(self, protocol, native)

    def unwrap() -> None:
        if vars(cls).get("__reduce_ex__") is not reduce_ex:
            return  # somebody has wrapped it once more, and calls this one
        if own is None:
            del cls.__reduce_ex__
        else:
            cls.__reduce_ex__ = own

    cls.__reduce_ex__ = reduce_ex
    _undoing.callback(unwrap)


def _reduce_unchangeable(obj: Any) -> Reduced:
    caller = sys._getframe(1)  # noqa: SLF001
    if caller.f_code is _SAVE_IN_PYTHON:
        return _reduce(obj, caller.f_locals["self"].proto, _natively)
    if caller.f_globals is vars(copy):
        return obj.__reduce_ex__(4)  # type: ignore[no-any-return]  # as it does itself
    # By a builtin, so that only what was pickled with protocol 5 needs oobcodec.
    return operator.getitem, ((_Later(obj, _natively),), 0)


class _Later:
    """Is pickled as another object, when the protocol is known."""

    def __init__(self, obj: Any, native: ReduceEx) -> None:
        self._obj, self._native = obj, native

    def __reduce_ex__(self, protocol: Any) -> Reduced:
        return _reduce(self._obj, protocol, self._native)


_laters: Final[WeakValueDictionary[int, _Later]] = WeakValueDictionary()
"""Of storages, by their identity: a pickler, which keeps what it has seen, meets the same one again."""


def _later(storage: Any) -> _Later:
    """Return what is pickled as a storage even if `uninstall` comes first: torch cannot read what it makes of one."""
    with _lock:
        return _laters.setdefault(id(storage), _Later(storage, object.__reduce_ex__))


def _natively(obj: Any, protocol: int) -> Reduced:
    return obj.__reduce_ex__(protocol)  # type: ignore[no-any-return]


def _reduce_storage(storage: Any, protocol: int, native: ReduceEx) -> Reduced:
    return native(storage, protocol) if protocol < _PROTOCOL else (operator.getitem, ((_later(storage),), 0))


class _Taking(threading.local):
    """Whether a reducer is at work, which may ask for the native way."""

    now = False


_taking: Final = _Taking()


def _reduce(obj: Any, protocol: int, native: ReduceEx) -> Reduced:
    """Take an object apart as the registry says, or natively."""
    if protocol < _PROTOCOL or _taking.now:
        return native(obj, protocol)
    reduce = REGISTRY.table[type(obj)]
    if reduce in _OWN_WAYS:
        return native(obj, protocol)
    _taking.now = True
    try:
        reduced: Any = reduce(obj)
    except EncodeError:
        return native(obj, protocol)
    finally:
        _taking.now = False
    if getattr(reduced[0], "__module__", None) in _WITH_BUFFERS:
        return reduced[0], _settled(reduced[1]), *reduced[2:]
    return reduced  # type: ignore[no-any-return]


def _settled(part: Any) -> Any:
    """Return arguments with what the encoder would decide after the pass, which others do not have, decided now."""
    if type(part) is PickleBuffer:
        exporter = part.raw().obj
        if isinstance(exporter, Extent):  # which would travel with its gaps
            part = PickleBuffer(memoryview(exporter.compact()).obj)
        memory = part.raw()
        return part if memory.nbytes >= IN_BAND else (bytes if memory.readonly else bytearray)(memory)
    if type(part) is tuple or type(part) is list:
        return type(part)(map(_settled, part))
    return _later(part) if type(part).__name__ == "UntypedStorage" else part
