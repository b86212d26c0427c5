"""What a message may name."""

import copy
import pickle
import subprocess
import sys
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from helpers import pickled, received
from test_scan import named

import oobcodec.guards
from oobcodec import DATA, TRUSTED, Limits, dumps, loads
from oobcodec.errors import DecodeError, LimitError, PolicyError
from oobcodec.names import TAKERS, VALUES, WHERE
from oobcodec.policy import Name, Policy


@dataclass
class Point:
    x: int
    y: object = None


class Colour(Enum):
    RED = 1


class Secretive:
    def __init__(self, what):
        self.what = what

    def __setstate__(self, state):
        self.what = state["what"], "restored"


def stream(*parts):
    return pickled(b"\x80\x05" + b"".join(parts) + b".", [])


def test_data_is_data():
    sent = {"when": datetime(2020, 1, 1, tzinfo=UTC), "array": np.arange(1000.0), "order": OrderedDict(a=1)}
    got = loads([bytearray(frame) for frame in dumps(sent)], policy=DATA)
    np.testing.assert_array_equal(got.pop("array"), sent.pop("array"))
    assert got == sent
    for plain in (b"bytes", "text", None):
        assert loads(dumps(plain), policy=DATA) == plain


REFUSED = {
    "os:system": "refused global 'os.system' (policy DATA). To accept any class from this peer: policy=TRUSTED.",
    "mine:Class": "refused global 'mine.Class' (policy DATA). If you trust it: "
    'policy=DATA.allowing("mine:Class"); to accept any class from this peer: policy=TRUSTED.',
    "builtins:getattr.x": "refused global 'builtins.getattr.x' (policy DATA). If you trust it:",
    "x:" + "y" * 200: f"refused global 'x.{'y' * 98}…' (policy DATA). To accept any",
    "_functools:reduce": "refused global '_functools.reduce' (policy DATA). To accept any",
    "oobcodec.engine:load": "refused global 'oobcodec.engine.load' (policy DATA). To accept any",
    "a:__init__": "refused global 'a.__init__' (policy DATA). To accept any",
    'a:b")': "refused global 'a.b\")' (policy DATA). To accept any",
}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name[:20])
def test_refusals_say_what_and_what_to_do(name):
    with pytest.raises(PolicyError) as caught:
        loads(stream(named(*name.split(":")), b")R"), policy=DATA)
    assert str(caught.value).startswith(REFUSED[name])
    assert isinstance(caught.value, pickle.UnpicklingError)


def test_refused_message_imports_nothing():
    code = (
        "import sys, oobcodec; from oobcodec import DATA, loads, PolicyError; before = set(sys.modules)\n"
        f"frames = {list(map(bytes, stream(named('numpy', 'frombuffer'), b')R0', named('this', 's'), b')R')))!r}\n"
        "try: loads(frames, policy=DATA)\n"
        "except PolicyError as error: print(error)\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refusal, imported = done.stdout.splitlines()
    assert "'this.s'" in refusal
    assert imported == "[]"


class TestAllowing:
    def test_classes_travel_then(self):
        policy = DATA.allowing(Point, f"{__name__}:Colour")
        for sent in (Point(1, [2]), [Colour.RED, Point(1, Colour.RED)]):
            assert loads(dumps(sent), policy=policy) == sent
            with pytest.raises(PolicyError, match=rf"{__name__}\.(Point|Colour)"):
                loads(dumps(sent), policy=DATA)

    def test_states_go_to_the_class(self):
        got = loads(dumps(Secretive(1)), policy=DATA.allowing(Secretive))
        assert got.what == (1, "restored")

    def test_functions_are_called(self):
        assert loads(stream(named("math", "sqrt"), b"K\x09\x85R"), policy=DATA.allowing("math:sqrt")) == 3

    def test_adds_up(self):
        policy = DATA.allowing("a:B").allowing("c.d")
        assert policy == DATA.allowing("c.d", "a:B") != DATA
        assert hash(policy) == hash(DATA.allowing("c.d", "a:B"))
        assert repr(policy) == "DATA.allowing('a:B', 'c.d')"
        assert policy != "policy"
        assert DATA.allowed == frozenset()

    @pytest.mark.parametrize(
        "name", ["os:system", "builtins:eval", "functools:partial", "pickle:loads", "torch:load", "subprocess:Popen"]
    )
    def test_gadgets_are_refused(self, name):
        with pytest.raises(PolicyError, match="whatever it says"):
            DATA.allowing(name)

    @pytest.mark.parametrize("what", ["Point", "a:", ":b", "a b", 7, None, "", "a:b:c"])
    def test_what_is_no_name_is_refused(self, what):
        with pytest.raises(ValueError, match="is no class"):
            DATA.allowing(what)

    def test_trusted_allows_all_already(self):
        with pytest.raises(ValueError, match="everything already"):
            TRUSTED.allowing(Point)

    def test_exceptions_may_be_allowed(self):
        got = loads(dumps(KeyError("a")), policy=DATA.allowing(KeyError))
        assert type(got) is KeyError
        assert got.args == ("a",)


class Tagged:
    def __init__(self, value):
        self.value = value


class Reversing:
    """A serializer of the text `rotated`, to be tried first."""

    tag = "tests.reversing"

    def supports(self, obj):
        return type(obj) is Tagged

    def dumps(self, obj):
        return None, [obj.value[::-1]]

    def loads(self, _, buffers):
        return Tagged(bytes(buffers[0])[::-1])


class TestTags:
    def test_types_need_their_tag(self):
        oobcodec.register_type(Tagged, "tests.tagged", lambda obj: [obj.value], lambda data: Tagged(data[0]))
        try:
            frames = dumps({"a": Tagged(7)})
            assert loads(frames, policy=DATA.allowing("tests.tagged"))["a"].value == 7
            with pytest.raises(PolicyError) as caught:
                loads(frames, policy=DATA)
            assert str(caught.value) == (
                "refused type tag 'tests.tagged' (policy DATA). If you trust it: "
                'policy=DATA.allowing("tests.tagged"); to accept anything from this peer: policy=TRUSTED.'
            )
        finally:
            oobcodec.unregister_type("tests.tagged")

    def test_serializers_need_their_tag_also_inside(self):
        oobcodec.register_serializer(Reversing())
        try:
            frames = dumps(Tagged(b"abc"))
            for sent in (frames, dumps([oobcodec.Encoded(frames)])):
                with pytest.raises(PolicyError, match=r"refused serializer tag 'tests\.reversing'"):
                    loads(sent, policy=DATA)
                assert loads(sent, policy=DATA.allowing("tests.reversing"))
        finally:
            oobcodec.unregister_serializer("tests.reversing")

    def test_code_is_refused(self):
        with pytest.raises(PolicyError) as caught:
            loads(dumps(lambda: 7), policy=DATA)
        assert str(caught.value) == (
            "refused serializer tag 'cloudpickle' (policy DATA). To accept anything from this peer: policy=TRUSTED."
        )

    def test_a_tag_is_text(self):
        with pytest.raises(DecodeError, match="tag of a type"):
            loads(stream(named("oobcodec.registry", "rebuild_tagged"), b"K\x01K\x02\x86R"), policy=DATA)


class TestMessagesInside:
    def test_go_by_the_same_policy(self):
        inner = oobcodec.Encoded(dumps({"a": np.arange(1000)}))
        got = loads(dumps([inner]), policy=DATA)
        assert got[0]["a"].sum() == 499_500
        with pytest.raises(PolicyError, match="Point"):
            loads(dumps([oobcodec.Encoded(dumps(Point(1)))]), policy=DATA)
        kept = loads(dumps([inner]), policy=DATA, open_encoded=False)
        assert isinstance(kept[0], oobcodec.Encoded)

    def test_share_one_budget(self):
        inner = [oobcodec.Encoded(dumps([1] * 500)) for _ in range(3)]
        limits = Limits(max_operations=1400)
        assert loads(dumps(inner[:2]), policy=DATA, limits=limits)
        with pytest.raises(LimitError, match=r"max_operations=1,400"):
            loads(dumps(inner), policy=DATA, limits=limits)

    def test_lie_in_each_other_to_a_limit(self):
        message = dumps([1])
        for _ in range(6):
            message = dumps([oobcodec.Encoded(message)])
        assert loads(message, policy=DATA, limits=Limits(max_depth=6))
        with pytest.raises(LimitError, match=r"max_depth=5 levels"):
            loads(message, policy=DATA, limits=Limits(max_depth=5))

    def test_lie_in_each_other_as_deep_as_python_allows(self):
        message = dumps([1])
        for _ in range(500):
            message = dumps([oobcodec.Encoded(message)])
        with pytest.raises(LimitError, match="getrecursionlimit"):
            loads(message, policy=DATA, limits=Limits(max_depth=None))

    def test_hold_frames(self):
        with pytest.raises(DecodeError, match="consists of frames"):
            loads(stream(named("oobcodec.encoded", "rebuild_encoded"), b"K\x01\x85R"), policy=DATA)


def test_policies_are_values():
    policy = DATA.allowing("a:B")
    for each in (TRUSTED, DATA, policy):
        assert pickle.loads(pickle.dumps(each)) == copy.deepcopy(each) == each
    assert pickle.loads(pickle.dumps(TRUSTED)) is TRUSTED
    assert copy.deepcopy(DATA) is DATA
    assert (repr(TRUSTED), repr(DATA)) == ("TRUSTED", "DATA")
    assert DATA != TRUSTED
    assert isinstance(DATA, Policy)


def test_a_class_without_a_name_to_import_it_by_cannot_be_allowed():
    class Local:
        pass

    text = r"<class '.*<locals>\.Local'> has no name that a message could import it by: define it outside of functions"
    with pytest.raises(ValueError, match=text):
        DATA.allowing(Local)


def test_names_are_given_to_those_who_take_them_alone():
    with pytest.raises(PolicyError, match=r"gives a class or a function to builtins:complex"):
        loads(stream(named("builtins", "complex"), named("builtins", "list"), b"\x85R"), policy=DATA)

    counted = loads(dumps(defaultdict(list, a=[1])), policy=DATA)
    assert counted["b"] == []


def test_dotted_names_are_refused():
    for name in ("numpy:frombuffer.__self__", "numpy:ndarray.__reduce__", "builtins:list.__class__"):
        with pytest.raises(PolicyError):
            DATA.check(Name(*name.split(":")))


def test_every_failure_is_an_error_of_ours():
    with pytest.raises(DecodeError, match=r"cannot be rebuilt: TypeError: unhashable"):
        loads(stream(b"}]Ns"), policy=DATA)
    with pytest.raises(DecodeError, match=r"cannot be rebuilt: ZeroDivisionError"):
        loads(stream(named("operator", "floordiv"), b"K\x01K\x00\x86R"), policy=Policy(allowed=["operator:floordiv"]))


class PanicException(BaseException):
    """As of a library written in Rust."""


def panic():
    raise PanicException


def leave():
    raise KeyboardInterrupt


def test_panics_are_errors_and_interrupts_are_not():
    with pytest.raises(DecodeError, match="PanicException"):
        loads(stream(named(__name__, "panic"), b")R"), policy=DATA.allowing(f"{__name__}:panic"))
    with pytest.raises(KeyboardInterrupt):
        loads(stream(named(__name__, "leave"), b")R"), policy=DATA.allowing(f"{__name__}:leave"))


def test_limits_of_data_can_be_raised_and_lowered():
    deep = "x"
    for _ in range(101):
        deep = [deep]
    with pytest.raises(LimitError, match=r"max_depth=100 levels\. Raise it with Limits\(max_depth=\.\.\.\)"):
        loads(dumps(deep), policy=DATA)
    assert loads(dumps(deep), policy=DATA, limits=Limits(max_depth=101)) == deep
    assert loads(dumps(deep), policy=DATA, limits=Limits(max_depth=None)) == deep
    assert loads(dumps(deep), limits=Limits(max_depth=1)) == deep
    with pytest.raises(LimitError, match="max_decompressed_bytes"):
        loads(dumps(np.zeros(1000)), policy=DATA, limits=Limits(max_decompressed_bytes=7999))
    for policy in (TRUSTED, DATA):
        with pytest.raises(LimitError, match="max_total_bytes"):
            loads(dumps(np.zeros(1000)), policy=policy, limits=Limits(max_total_bytes=1000))


def test_memory_that_checked_objects_share_is_read_only():
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    base = np.arange(4000)
    alone = loads(received(dumps([base, base[:1000], base[2000:], np.ones(1000)])), policy=DATA)
    assert [array.flags.writeable for array in alone] == [True] * 4
    assert np.shares_memory(alone[0], alone[1])
    sent = [base, arrow.array(base[:1000]), base[3000:], np.ones(1000)]
    got = loads(received(dumps(sent)), policy=DATA)
    assert [array.flags.writeable for array in (got[0], got[2], got[3])] == [False, False, True]
    got[1].validate(full=True)
    apart = loads(received(dumps([base[:1000], base[1000:2000], arrow.array(base[2000:])])), policy=DATA)
    assert [array.flags.writeable for array in apart[:2]] == [True, True]
    trusted = loads(received(dumps(sent)))
    assert trusted[0].flags.writeable


def test_read_only_is_read_only():
    frames = [bytearray(frame) for frame in dumps([np.zeros(1000), np.zeros((0, 3))])]
    assert [array.flags.writeable for array in loads(frames, policy=DATA)] == [True, True]
    assert [array.flags.writeable for array in loads(frames, policy=DATA, writable=False)] == [False, False]


def test_names_that_are_arguments_are_not_called():
    with pytest.raises(PolicyError, match="DATA allows to be given to other functions only"):
        loads(stream(named("builtins", "list"), b")R"), policy=DATA)


def test_names_that_only_other_versions_have_are_an_error(monkeypatch):
    monkeypatch.setitem(oobcodec.names.WHERE, "numpy:frombutter", "oobcodec.guards.numpy")
    with pytest.raises(DecodeError, match="numpy:frombutter is not in the version"):
        loads(stream(named("numpy", "frombutter"), b")R"), policy=DATA)


GUARDS = [
    path.stem for path in Path(oobcodec.guards.__file__).parent.glob("*.py") if path.stem not in {"__init__", "checks"}
]


@pytest.mark.parametrize("name", GUARDS)
def test_every_guard_is_in_the_table(name):
    library = name.partition("_")[0].replace("arrow", "pyarrow")
    if library in {"jax", "numpy", "pandas", "polars", "pyarrow", "tensorflow", "torch"}:
        pytest.importorskip(library, reason=f"{library} is not installed here")
    module = import_module(f"oobcodec.guards.{name}")
    known = {*getattr(module, "GUARDS", ()), *getattr(module, "VALUES", ())}
    # Names that the installed version of the library does not have may be in the table too.
    assert known <= WHERE.keys()
    assert getattr(module, "TAKES_NAMES", frozenset()) <= TAKERS
    assert getattr(module, "VALUES", {}).keys() <= VALUES.keys()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"policy": "DATA"}, r"policy='DATA' is no policy: those are oobcodec.TRUSTED, oobcodec.DATA"),
        ({"limits": 10**6}, r"limits=1000000 are none: write oobcodec.Limits\(max_total_bytes=...\)"),
    ],
)
def test_what_is_none_is_told_with_a_remedy(options, remedy):
    frames = oobcodec.dumps([1])
    for message in (frames, tuple(frames), oobcodec.pack(frames)):
        with pytest.raises(TypeError, match=remedy):
            oobcodec.loads(message, **options)
    with pytest.raises(TypeError, match=remedy):
        oobcodec.sockets.listen("127.0.0.1:0", **options)
