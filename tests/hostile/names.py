"""Messages that name what they must not have, and messages with other tags than a receiver allows."""
# ruff: noqa: FBT003  # truth values are arguments in messages, by position

import pickle

import msgpack
from helpers import pickled

from hostile.assembler import MARK, call, code, forwarded, get, message, name, nested, octets, put, string, whole
from hostile.headers import Separate
from hostile.streams import DATE, GADGET, raw

FILE = "oobcodec-was-here"
MAKE_IT = f"open({FILE!r}, 'w')"

GADGETS = {
    "os_system": GADGET,
    "posix_system": ("posix:system", f"touch {FILE}"),
    "os_popen": ("os:popen", f"touch {FILE}"),
    "os_execv": ("os:execv", "/bin/touch", ["touch", FILE]),
    "os_unlink": ("os:unlink", FILE),
    "subprocess_popen": ("subprocess:Popen", ["touch", FILE]),
    "subprocess_check_output": ("subprocess:check_output", ["touch", FILE]),
    "builtins_eval": ("builtins:eval", MAKE_IT),
    "builtins_exec": ("builtins:exec", MAKE_IT),
    "builtins_compile": ("builtins:compile", MAKE_IT, "a", "exec"),
    "builtins_open": ("builtins:open", FILE, "w"),
    "builtins_getattr": ("builtins:getattr", name("os:path"), "os"),
    "builtins_import": ("builtins:__import__", "antigravity"),
    "builtins_breakpoint": ("builtins:breakpoint",),
    "builtins_bytearray": ("builtins:bytearray", 6 << 30),
    "builtins_bytes": ("builtins:bytes", 6 << 30),
    "builtins_type": ("builtins:type", "X", (), {}),
    "functools_partial": ("functools:partial", name("os:system"), FILE),
    "functools_reduce": ("_functools:reduce", name("os:system"), [FILE]),
    "operator_attrgetter": ("operator:attrgetter", "__class__"),
    "operator_methodcaller": ("operator:methodcaller", "write", "x"),
    "importlib_import_module": ("importlib:import_module", "antigravity"),
    "importlib_loader": ("importlib.machinery:SourceFileLoader", "a", FILE),
    "runpy_run_path": ("runpy:run_path", FILE),
    "pickle_loads": ("pickle:loads", b"cos\nsystem\n(S'id'\ntR."),
    "pickle_c_loads": ("_pickle:loads", b"."),
    "marshal_loads": ("marshal:loads", b"N"),
    "types_function": ("types:FunctionType",),
    "types_code": ("types:CodeType",),
    "ctypes_string_at": ("ctypes:string_at", 0),
    "shutil_rmtree": ("shutil:rmtree", FILE),
    "timeit_timeit": ("timeit:timeit", MAKE_IT),
    "pty_spawn": ("pty:spawn", ["touch", FILE]),
    "webbrowser_open": ("webbrowser:open", "https://example.org"),
    "cloudpickle_function": ("cloudpickle.cloudpickle:_make_function",),
    "cloudpickle_subimport": ("cloudpickle.cloudpickle:subimport", "antigravity"),
    "numpy_ndarray": ("numpy:ndarray", (1,), "O", b"\x41" * 8),
    "numpy_dtype": ("numpy:dtype", "V8"),
    "numpy_reconstruct": ("numpy._core.multiarray:_reconstruct",),
    "numpy_load": ("numpy:load", FILE),
    "numpy_runstring": ("numpy.testing._private.utils:runstring", MAKE_IT, {}),
    "torch_load_from_bytes": ("torch.storage:_load_from_bytes", b"."),
    "torch_rebuild_tensor": ("torch._utils:_rebuild_tensor_v2",),
    "torch_rebuild_sparse": ("torch._utils:_rebuild_sparse_tensor",),
    "torch_rebuild_subclass": ("torch._tensor:_rebuild_from_type_v2",),
    "arrow_restore_array": ("pyarrow.lib:_restore_array", ("int8", 1 << 40, 0, 0, [], [], None)),
    "polars_frame": ("polars.dataframe.frame:DataFrame",),
    "polars_lazy_frame": ("polars.lazyframe.frame:LazyFrame",),
    "polars_series": ("polars.series.series:Series",),
    "pandas_block": ("pandas._libs.internals:_unpickle_block",),
    "pandas_manager": ("pandas.core.internals.managers:BlockManager",),
    "pandas_frame": ("pandas.core.frame:DataFrame",),
    "pandas_eval": ("pandas:eval", "1"),
    "pandas_read_pickle": ("pandas:read_pickle", FILE),
    "scipy_csr": ("scipy.sparse._csr:csr_matrix",),
    "scipy_rebuild_coo": ("oobcodec.reducers.scipy:rebuild_coo",),
    "ours_deferred": ("oobcodec.reducers.pandas:rebuild_deferred", "os", "system", "3"),
    "ours_plan": ("oobcodec.reducers.polars:rebuild_plan", "LazyFrame", "2.1.0", b""),
    "ours_pickled": ("oobcodec.reducers.polars:rebuild_pickled",),
    "ours_attributes": ("oobcodec.reducers.attributes:set_attributes", put([]), {}),
    "ours_loads": ("oobcodec:loads", []),
    "ours_codec_loads": ("oobcodec.codec:loads", []),
    "ours_load": ("oobcodec.engine:load", []),
    "ours_registry": ("oobcodec.registry:DEFAULT",),
}
"""Calls, by what is called, of which none may be made: what starts processes, imports, reads and writes, or crashes."""

NAMES = {
    "dotted_os_path": "os:path.join",
    "dotted_method": "builtins:list.append",
    "dotted_of_allowed_class": "datetime:date.today",
    "dotted_of_allowed_function": "numpy:frombuffer.__call__",
    "dotted_of_our_module": "oobcodec.reducers.numpy:np.load",
    "dotted_globals": "oobcodec.reducers.numpy:rebuild_ndarray.__globals__",
    "dotted_subclasses": "builtins:object.__subclasses__",
    "dotted_leading": "builtins:.list",
    "dotted_trailing": "datetime:date.",
    "attribute_of_our_reducers": "oobcodec.reducers.stdlib:sys",
    "attribute_of_our_guards": "oobcodec.guards.checks:expect",
    "attribute_private": "oobcodec.reducers.numpy:_frombuffer",
    "attribute_of_module": "datetime:sys",
    "attribute_dunder": "datetime:__builtins__",
    "module_attribute": "os:path",
    "module_main": "__main__:anything",
    "module_empty": ":list",
    "name_empty": "builtins:",
    "nothing": ":",
    "space_behind": "builtins:list ",
    "space_before": " builtins:list",
    "newline": "builtins\n:list",
    "nul": "datetime\0:date",
    "nul_in_name": "datetime:date\0",
    "capitals": "DateTime:Date",
    "other_unicode": "datetime:d\u0430te",
    "not_normal": "datetime:\uff44ate",
    "surrogate": "datetime\udc80:date",
    "relative": ".datetime:date",
    "slashes": "datetime/date:date",
    "colon_in_name": "datetime:date:date",
    "unknown_module": "no_such_module:thing",
    "unknown_of_known": "datetime:dates",
    "unknown_of_ours": "oobcodec.reducers.numpy:rebuild_anything",
    "long": "a" * 300 + ":" + "b" * 300,
}
"""Names that are not those in the table, some of which look like it."""


def gadgets():
    for key, (function, *arguments) in GADGETS.items():
        yield f"name_{key}", message(call(function, *arguments))


def refused_names():
    for key, which in NAMES.items():
        yield f"name_{key}", message(call(which))


def hidden():
    """Yield names that hide: unused, as data, or made at run time."""
    system, date = name("os:system"), name(DATE[0])
    made = code(string("os"), pickle.MEMOIZE, string("system"), pickle.MEMOIZE)
    yield from {
        "name_popped": raw(system, pickle.POP, put(1)),
        "name_in_list": message([1, system]),
        "name_as_key": message({system: 1}),
        "name_as_result": message(system),
        "name_memoized": raw(made, pickle.STACK_GLOBAL),
        "name_from_memo": raw(
            made, pickle.POP, pickle.POP, get(0), get(1), pickle.STACK_GLOBAL, put((GADGET[1],)), pickle.REDUCE
        ),
        "name_of_integers": raw(put(1), put(2), pickle.STACK_GLOBAL),
        "name_of_bytes": raw(octets(b"os"), octets(b"system"), pickle.STACK_GLOBAL),
        "name_of_result": raw(call("builtins:str", b"os"), string("system"), pickle.STACK_GLOBAL),
        "name_of_tuple": raw(put(("os",)), string("system"), pickle.STACK_GLOBAL),
        "name_changed_in_memo": raw(
            string("datetime"), string("date"), pickle.MEMOIZE, pickle.STACK_GLOBAL, put((DATE[1],)), pickle.REDUCE
        ),
        "allowed_name_as_result": message(date),
        "allowed_name_in_list": message([date]),
        "allowed_name_as_key": message({date: 1}),
        "allowed_name_as_member": raw(MARK, date, pickle.FROZENSET),
        "allowed_name_as_argument": message(call("datetime:date", date)),
        "allowed_name_in_argument": message(call("oobcodec.reducers.numpy:rebuild_empty", [date], (0,), True)),
        "allowed_name_as_state": raw(call(*DATE), date, pickle.BUILD),
        "factory_as_result": message(name("builtins:list")),
        "factory_called": message(call("builtins:list", (1, 2))),
        "factory_of_defaultdict_is_system": message(call("collections:defaultdict", system)),
        "factory_of_defaultdict_is_rebuild": message(
            call("collections:defaultdict", name("oobcodec.reducers.numpy:rebuild_blank"))
        ),
        "factory_of_defaultdict_is_data": message(call("collections:defaultdict", 5)),
        "factory_of_defaultdict_is_text": message(call("collections:defaultdict", "builtins:list")),
    }.items()


def tags():
    """Yield messages of serializers and types that are unknown, or not allowed, also inside of another message."""
    by_value = pickled(b"\x80\x05K\x01.", tag="cloudpickle")
    stream, frames = nested(call(*GADGET))
    code_stream, code_frames = nested(1, tag="cloudpickle")
    other_stream, other_frames = forwarded(whole(["tests.unknown", None, [], 0, None, None, []]))
    inner, inner_frames = nested(stream, buffers=frames)
    yield from {
        "tag_cloudpickle": by_value,
        "tag_cloudpickle_here": whole(["cloudpickle", "3.11", [4], 1, None, None, []], b"\x80\x05N."),
        "tag_unknown": whole(["tests.unknown", None, [], 0, None, None, []]),
        "tag_unknown_with_pickle": pickled(b"\x80\x05N.", tag="tests.unknown"),
        "tag_not_allowed": whole(["tests.whole", {"a": 1}, [3], 0, None, None, [[1, 0, 3, True]]], b"abc"),
        "tag_bytes_with_pickle": pickled(b"\x80\x05N.", tag="bytes"),
        "tag_bytes_of_two": whole(
            ["bytes", None, [1, 1], 0, None, None, [[1, 0, 1, True], [2, 0, 1, True]]], b"a", b"b"
        ),
        "tag_str_invalid": whole(["str", None, [2], 0, None, None, [[1, 0, 2, True]]], b"\xff\xfe"),
        "tagged_unknown": message(call("oobcodec.registry:rebuild_tagged", "tests.unknown", 1)),
        "tagged_not_allowed": message(call("oobcodec.registry:rebuild_tagged", "tests.celsius", 21.5)),
        "tagged_integer": message(call("oobcodec.registry:rebuild_tagged", 1, 1)),
        "tagged_list": message(call("oobcodec.registry:rebuild_tagged", [], 1)),
        "nested_name": message(stream, buffers=frames),
        "nested_cloudpickle": message(code_stream, buffers=code_frames),
        "nested_tag": message(other_stream, buffers=other_frames),
        "nested_twice": message(inner, buffers=inner_frames),
        "nested_nothing": message(call("oobcodec.encoded:rebuild_encoded")),
        "nested_list": message(call("oobcodec.encoded:rebuild_encoded", [1])),
        "nested_short": message(stream, buffers=[frames[0], frames[1][:-1]]),
        "meta_keys_twice": Separate(whole(duplicate_keys(), b"abc")),
    }.items()


def duplicate_keys():
    """Return the fields of a header, as msgpack, whose meta has a key twice."""
    meta = b"\x82" + msgpack.packb("a") + msgpack.packb(1) + msgpack.packb("a") + msgpack.packb(2)
    rest = [[3], 0, None, None, [[1, 0, 3, True]]]
    return b"\x97" + msgpack.packb("tests.whole") + meta + b"".join(map(msgpack.packb, rest))


def messages():
    for group in (gadgets, refused_names, hidden, tags):
        yield from group()
