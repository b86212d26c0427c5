import collections
import pickle
import warnings
from dataclasses import dataclass

import pytest
from helpers import names, received, run_python, shipped, transferred

torch = pytest.importorskip("torch", reason="torch is not installed")

from oobcodec.codec import dumps, loads  # noqa: E402
from oobcodec.errors import DecodeError, EncodeError  # noqa: E402
from oobcodec.reducers import torch as reducers  # noqa: E402

reducers.register()

DTYPES = sorted(
    {dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
    - {torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4},
    key=str,
)
WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}


def address(frame):
    return torch.frombuffer(frame, dtype=torch.uint8).data_ptr()


def bits(tensor):
    """Return the memory of the elements, whatever they mean."""
    blank = torch.empty(0, dtype=WORDS[tensor.itemsize])
    view = blank.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    return repr(view.tolist())


def assert_same(actual, expected, *, strides=True):
    assert type(actual) is type(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.device == expected.device
    assert actual.requires_grad == expected.requires_grad
    assert actual.is_leaf
    assert (actual.is_conj(), actual.is_neg()) == (expected.is_conj(), expected.is_neg())
    assert bits(actual) == bits(expected)
    if strides:
        assert actual.stride() == expected.stride()


def assert_zero_copy(tensor):
    frames = dumps(tensor)
    assert len(frames) == 3
    assert address(frames[2]) == tensor.data_ptr()
    arrived = received(frames)
    back = loads(arrived)
    assert_same(back, tensor)
    assert back.data_ptr() == address(arrived[2])
    return frames


def filled(dtype, *shape):
    """Return a tensor of any dtype with different elements."""
    count = torch.Size(shape).numel()
    data = (torch.arange(count * dtype.itemsize) % 251).to(torch.uint8)
    if dtype is torch.bool:
        data %= 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch thinks of complex32
        blank = torch.empty(0, dtype=dtype)
    return blank.set_(data.untyped_storage(), 0, shape)


class Tagged(torch.Tensor):
    """Has attributes, and no pickling method."""


class Slotted(torch.Tensor):
    __slots__ = ("label",)


class Counting(torch.Tensor):
    calls = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls += 1
        return super().__torch_function__(func, types, args, kwargs or {})


class OwnWay(torch.Tensor):
    def __reduce_ex__(self, protocol):
        return torch.tensor, ([7.0],)


class OwnState(torch.Tensor):
    def __getstate__(self):
        return {"unit": self.unit}


class Scale(torch.nn.Parameter):
    pass


class Wrapper(torch.Tensor):
    """Has no memory, but a tensor with some, as quantized weights and distributed tensors do."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        unwrapped = [arg.inner if isinstance(arg, cls) else arg for arg in args]
        return func(*unwrapped, **(kwargs or {}))


@dataclass
class Batch:
    inputs: torch.Tensor
    labels: list


# Every dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_travels_uncopied(dtype):
    for tensor in (filled(dtype, 4096), filled(dtype, 40, 50, 3), filled(dtype, 40, 50, 3).permute(2, 0, 1)):
        frames = assert_zero_copy(tensor)
        assert shipped(frames) == tensor.nbytes
        assert_same(loads(received(frames, bytes)), tensor)
        part = tensor[1:-1]
        assert_same(transferred(part), part, strides=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_travels_inside_the_stream_when_small(dtype):
    for shape in ((), (3,), (2, 3), (0,), (0, 3), (3, 0, 2)):
        tensor = filled(dtype, *shape)
        frames = dumps(tensor)
        assert len(frames) == 2
        for memory in (bytearray, bytes):
            assert_same(loads(received(frames, memory)), tensor)
        back = loads(frames)
        assert not tensor.numel() or back.data_ptr() != tensor.data_ptr()


# What a tensor may have besides its elements


@pytest.mark.parametrize("size", [3, 3000])
def test_requires_grad_survives(size):
    leaf = torch.ones(size, requires_grad=True)
    for tensor in (leaf, leaf * 2, leaf.view(1, -1)):
        back = transferred(tensor)
        assert_same(back, tensor)
        back.sum().backward()
        assert back.grad.sum() == size


def test_gradients_and_hooks_stay_at_home():
    leaf = torch.ones(3, requires_grad=True)
    leaf.sum().backward()
    leaf.register_hook(lambda grad: grad)
    back = transferred(leaf)
    assert back.grad is None
    assert back._backward_hooks is None
    assert leaf.grad is not None


@pytest.mark.parametrize("size", [3, 3000])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_parameters_and_buffers_keep_their_class(size, requires_grad):
    kinds = [torch.nn.Parameter, Scale, *filter(None, [getattr(torch.nn, "Buffer", None)])]
    for kind in kinds:
        tensor = kind(torch.ones(size, 2))
        tensor.requires_grad_(requires_grad)
        tensor.note = ["kept"]
        back = transferred(tensor)
        assert_same(back, tensor)
        assert isinstance(back, kind)
        assert vars(back) == vars(tensor)


@pytest.mark.parametrize("cls", [torch.Tensor, Tagged])
def test_attributes_survive_with_cycles(cls):
    tensor = torch.arange(6.0).as_subclass(cls)
    tensor.unit = "m"
    tensor.itself = tensor
    back = transferred(tensor)
    assert type(back) is cls
    assert back.unit == "m"
    assert back.itself is back
    assert back.tolist() == tensor.tolist()


def test_slots_survive():
    tensor = torch.arange(6.0).as_subclass(Slotted)
    tensor.label = "slot"
    back = transferred(tensor)
    assert type(back) is Slotted
    assert back.label == "slot"
    assert vars(back) == {}
    tensor.more = 1
    assert transferred(tensor).more == 1


def test_a_subclass_does_not_notice():
    tensor = torch.arange(3000.0).as_subclass(Counting)
    Counting.calls = 0
    frames = dumps(tensor)
    back = loads(received(frames))
    assert Counting.calls == 0
    assert type(back) is Counting
    assert shipped(frames) == 12_000


def test_pickling_methods_of_subclasses_are_asked():
    assert transferred(torch.ones(3).as_subclass(OwnWay)).tolist() == [7]
    tensor = torch.arange(3000.0).as_subclass(OwnState)
    tensor.unit, tensor.other = "m", "not in the state"
    frames = dumps(tensor)
    assert shipped(frames) == tensor.nbytes
    back = loads(received(frames))
    assert type(back) is OwnState
    assert vars(back) == {"unit": "m"}
    assert torch.equal(back.as_subclass(torch.Tensor), torch.arange(3000.0))


def test_a_wrapper_travels_with_what_it_wraps():
    wrapper = Wrapper(torch.arange(3000.0))
    frames = dumps(wrapper)
    assert shipped(frames) == 12_000
    back = loads(received(frames))
    assert type(back) is Wrapper
    assert torch.equal(back.inner, wrapper.inner)


def test_a_parameter_that_was_not_materialized_stays_so():
    lazy = torch.nn.LazyLinear(5)
    back = transferred(lazy)
    assert type(back.weight) is torch.nn.UninitializedParameter
    assert back(torch.ones(2, 3)).shape == (2, 5)


def test_inference_tensors_arrive_as_ordinary_ones():
    with torch.inference_mode():
        tensor = torch.arange(3000.0)
        parameter = torch.nn.Parameter(torch.arange(3.0), requires_grad=False)
    for original in (tensor, tensor[:2000:2], parameter):
        back = transferred(original)
        assert not back.is_inference()
        assert back.tolist() == original.tolist()


def test_a_tensor_is_rebuilt_on_its_own_device_whatever_the_default():
    frames = received(dumps([torch.ones(3), torch.ones(3000)[::2], torch.ones(0)]))
    with torch.device("meta"):
        assert all(tensor.device.type == "cpu" for tensor in loads(frames))
        assert all(tensor.device.type == "cpu" for tensor in transferred([torch.ones(9, device="cpu")[::2]]))


# Other kinds of tensors


def test_conjugates_and_negatives_keep_their_bits_and_memory():
    base = torch.complex(torch.arange(4000.0), torch.ones(4000)).reshape(40, 100)
    for tensor in (base.conj(), base.conj()[:, ::2], base.conj().imag, base.conj()[:3, ::40], base.conj().imag[0]):
        back = transferred(tensor)
        assert_same(back, tensor, strides=False)
        assert torch.equal(back, tensor)


@pytest.mark.parametrize("size", [4, 4000])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_sparse_tensors(size, requires_grad):
    indices = torch.stack([torch.arange(size) % 7, torch.arange(size)])
    tensor = torch.sparse_coo_tensor(indices, torch.arange(size) + 1.0, (9, size), check_invariants=True)
    hybrid = torch.sparse_coo_tensor(indices, torch.ones(size, 2), (9, size, 2), check_invariants=True)
    for original in (tensor, tensor.coalesce(), hybrid):
        original.requires_grad_(requires_grad)
        frames = dumps(original)
        assert (shipped(frames) > 0) == (size > 4)
        for memory in (bytearray, bytes):
            back = loads(received(frames, memory))
            assert back.layout is torch.sparse_coo
            assert back.shape == original.shape
            assert back.requires_grad == requires_grad
            assert back.is_coalesced() == original.is_coalesced()
            assert torch.equal(back._indices(), original._indices())
            assert torch.equal(back._values(), original._values())


@pytest.mark.parametrize("layout", ["csr", "csc", "bsr", "bsc"])
@pytest.mark.parametrize("size", [4, 400])
def test_compressed_sparse_tensors(layout, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are in beta
        dense = torch.eye(size) * torch.arange(1.0, size + 1)
        block = {"blocksize": (2, 2)} if layout.startswith("b") else {}
        tensor = dense.to_sparse(layout=getattr(torch, f"sparse_{layout}"), **block)
    back = transferred(tensor)
    assert back.layout is tensor.layout
    assert torch.equal(back.values(), tensor.values())
    assert torch.equal(back.to_dense(), dense)
    parameter = transferred(torch.nn.Parameter(tensor))
    assert type(parameter) is torch.nn.Parameter
    assert parameter.requires_grad
    assert torch.equal(parameter.detach().to_dense(), dense)


@pytest.mark.parametrize("size", [4, 4000])
def test_quantized_tensors(size):
    values = torch.arange(size * 2.0).reshape(size, 2)
    scales, zeros = torch.full((size,), 50.0, dtype=torch.float64), torch.ones(size, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are deprecated
        tensors = [
            torch.quantize_per_tensor(values, 64.0, 3, torch.qint8),
            torch.quantize_per_tensor(values, 64.0, 3, torch.quint8).T,
            torch.quantize_per_tensor(values, 64.0, 3, torch.qint32)[:, :1],
            torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8),
            torch.quantize_per_channel(values, scales.float(), zeros.float(), 0, torch.quint8),
            torch.quantize_per_tensor(values[:0], 64.0, 3, torch.qint8),
            torch.quantize_per_channel(values, scales.float(), zeros.float(), 0, torch.quint4x2),
        ]
    for tensor in tensors:
        frames = dumps(tensor)
        with warnings.catch_warnings():
            if tensor.dtype is torch.quint4x2:
                warnings.simplefilter("ignore")  # torch's own way
            back = loads(received(frames))
        assert back.dtype is tensor.dtype
        assert back.qscheme() == tensor.qscheme()
        assert torch.equal(back.dequantize(), tensor.dequantize())
        if tensor.dtype is not torch.quint4x2:
            assert torch.equal(back.int_repr(), tensor.int_repr())
    assert shipped(dumps(tensors[0])) == (size * 2 if size > 4 else 0)


@pytest.mark.parametrize("size", [4, 4000])
def test_nested_tensors(size):
    parts = [torch.arange(float(size)), torch.ones(3, 2).T.reshape(-1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are a prototype
        nested = torch.nested.nested_tensor(parts)
        jagged = torch.nested.nested_tensor(parts, layout=torch.jagged)
    for tensor in (nested, jagged):
        frames = dumps(tensor)
        assert (shipped(frames) >= size * 4) == (size > 4)
        back = loads(received(frames))
        assert back.is_nested
        assert back.layout is tensor.layout
        assert all(map(torch.equal, back.unbind(), tensor.unbind()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128, torch.int16])
def test_elements_at_odd_addresses_are_copied(dtype):
    sent = torch.arange(2000).to(dtype)
    frames = dumps(sent)
    memory = bytearray(bytes(8) + bytes(frames[2]))
    for shift in (0, 1, 8):
        memory[shift : shift + frames[2].nbytes] = frames[2]
        got = loads([*frames[:2], memoryview(memory)[shift : shift + frames[2].nbytes]])
        assert torch.equal(got.clone(), sent)
        assert got.data_ptr() % got.itemsize == 0


def test_bits_of_meta_tensors():
    tensor = torch.empty(30, device="meta", dtype=torch.complex64)
    for sent in (tensor.conj(), tensor.conj().imag, tensor):
        got = transferred(sent)
        assert (got.is_conj(), got.is_neg(), got.dtype) == (sent.is_conj(), sent.is_neg(), sent.dtype)


def test_meta_tensors():
    for tensor in (
        torch.empty(1 << 40, device="meta", dtype=torch.bfloat16),
        torch.empty(30, 20, device="meta").T,
        torch.nn.Parameter(torch.empty(3, device="meta")),
    ):
        back = transferred(tensor)
        assert type(back) is type(tensor)
        assert (back.device, back.dtype, back.shape) == (tensor.device, tensor.dtype, tensor.shape)
        assert back.stride() == tensor.stride()
        assert back.requires_grad == tensor.requires_grad


def test_tensors_without_data_of_their_own_are_refused():
    def refuse(tensor):
        with pytest.raises(EncodeError, match=r"at \['x'\].*transformation"):
            dumps({"x": tensor})
        return tensor.sum()

    torch.func.vmap(refuse)(torch.ones(3, 4))
    torch.func.grad(refuse)(torch.ones(3))
    with torch._subclasses.FakeTensorMode():
        fake = torch.ones(3)
    with pytest.raises(EncodeError, match="transformation"):
        dumps(fake)
    functional = torch._to_functional_tensor(torch.ones(3))
    with pytest.raises(EncodeError, match="transformation"):
        dumps(functional)


def test_unknown_layouts_are_refused():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no MKL-DNN layout")
    with pytest.raises(EncodeError, match=r"_mkldnn.*to_dense"):
        dumps(torch.ones(3).to_mkldnn())


def test_another_torch_may_lack_a_dtype_or_a_class():
    with pytest.raises(DecodeError, match="no dtype 'float1'"):
        reducers.rebuild_tensor(bytearray(8), (1,), "float1", (2,))
    with pytest.raises(DecodeError, match=r"no torch\.nn\.Cushion"):
        reducers.rebuild_view("Cushion", torch.ones(1), requires_grad=False)


def test_a_damaged_shape_does_not_reach_beyond_the_memory():
    with pytest.raises(RuntimeError):
        reducers.rebuild_tensor(bytearray(2048), (1,), "float32", (1 << 20,))


def test_storages():
    storage = torch.arange(3000.0).untyped_storage()
    frames = dumps([storage, torch.empty(0).set_(storage)])
    assert shipped(frames) == 12_000
    back, tensor = loads(received(frames))
    assert type(back) is torch.UntypedStorage
    assert tensor.untyped_storage() is back
    assert transferred(torch.UntypedStorage(0)).nbytes() == 0
    typed = torch.arange(3000.0)._typed_storage()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are deprecated
        assert transferred(typed).tolist() == typed.tolist()


# Among other objects


def test_what_describes_tensors():
    things = [torch.float32, torch.float8_e4m3fn, torch.strided, torch.channels_last, torch.per_tensor_affine]
    things += [torch.device("cuda:1"), torch.Size([1, 2])]
    back = transferred(things)
    assert back == things
    assert [type(thing) for thing in back] == [type(thing) for thing in things]


def test_a_generator_goes_on_where_it_was():
    generator = torch.Generator().manual_seed(5)
    torch.rand(3, generator=generator)
    back = transferred(generator)
    assert torch.equal(torch.rand(9, generator=back), torch.rand(9, generator=generator))


def test_tensors_inside_of_other_objects():
    tensor = torch.arange(3000.0)
    factor = 3
    batch = Batch(tensor, [tensor, tensor[:2000], {"x": tensor.int()}, lambda x: x * factor])
    frames = dumps(batch)
    assert shipped(frames) == 24_000
    back = loads(received(frames))
    assert back.labels[0] is back.inputs
    assert torch.equal(back.labels[3](back.inputs), tensor * 3)
    back.inputs[0] = 9
    assert back.labels[1][0] == 9
    assert torch.equal(back.labels[2]["x"], tensor.int())


class Residual(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = torch.nn.Conv2d(width, width, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(x + self.norm(self.conv(x)))


class Language(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 32)
        layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.memory = torch.nn.LSTM(32, 32)
        self.head = torch.nn.Linear(32, 100, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.memory(self.encoder(self.embedding(x)))[0])


def models():
    torch.manual_seed(0)
    convolution = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), Residual(16), Residual(16))
    yield convolution.to(memory_format=torch.channels_last), torch.rand(2, 3, 16, 16)
    yield Language(), torch.arange(40).reshape(2, 20)


@pytest.mark.parametrize("memory", [bytearray, bytes])
@pytest.mark.parametrize("which", [0, 1])
def test_a_model_gives_the_same_outputs_and_goes_on_training(which, memory):
    model, inputs = list(models())[which]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)

    def step(model, optimizer):
        model.train()
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    step(model, optimizer)
    schedule.step()
    frames = dumps(
        {"model": model, "optimizer": optimizer, "state": model.state_dict(), "adam": optimizer.state_dict()}
    )
    parts = received(frames, memory)
    unique = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors_of(model, optimizer)
    }
    assert shipped(frames) <= 1.05 * sum(unique.values())
    back = loads(parts)
    model.eval()
    back["model"].eval()
    assert torch.equal(back["model"](inputs), model(inputs))
    assert list(back["state"]) == list(model.state_dict())
    for name, tensor in back["model"].state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
        assert tensor.data_ptr() == back["state"][name].data_ptr()
    assert back["optimizer"].param_groups[0]["params"][0] is next(back["model"].parameters())
    for actual, expected in zip(step(back["model"], back["optimizer"]), step(model, optimizer), strict=True):
        assert torch.equal(actual, expected)
    fresh = list(models())[which][0]
    fresh.load_state_dict(transferred(model.state_dict()))
    assert all(map(torch.equal, fresh.state_dict().values(), model.state_dict().values()))


def tensors_of(model, optimizer):
    yield from model.state_dict().values()
    for state in optimizer.state.values():
        yield from state.values()


def test_tied_weights_stay_tied():
    model = Language()
    back = transferred(model)
    assert back.head.weight is back.embedding.weight
    one = torch.nn.Parameter(torch.ones(40, 50))
    other = torch.nn.Parameter(one.data)
    frames = dumps([one, other])
    assert shipped(frames) == 8000
    left, right = loads(received(frames))
    assert left is not right
    assert left.untyped_storage() is right.untyped_storage()
    state = transferred(model.state_dict())
    assert isinstance(state, collections.OrderedDict)
    assert state["head.weight"].untyped_storage() is state["embedding.weight"].untyped_storage()


def test_another_process_reads_what_this_one_wrote():
    out = run_python(
        """
        import sys, torch
        from oobcodec.reducers.torch import register
        register()
        import oobcodec
        tensor = torch.arange(6000.).reshape(60, 100)
        packed = oobcodec.pack(oobcodec.dumps([tensor, tensor.T, tensor[:, 3], torch.nn.Parameter(tensor.bfloat16())]))
        sys.stdout.buffer.write(packed)
        """
    )
    whole, turned, column, parameter = loads(out)
    expected = torch.arange(6000.0).reshape(60, 100)
    assert torch.equal(whole, expected)
    assert turned.untyped_storage() is whole.untyped_storage()
    assert torch.equal(column, expected[:, 3])
    assert torch.equal(parameter, expected.bfloat16())


def test_torch_works_without_numpy():
    run_python(
        """
        import sys
        sys.modules["numpy"] = None
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch
        from oobcodec.reducers.torch import register
        register()
        import oobcodec
        tensor = torch.arange(6000.).reshape(60, 100).bfloat16()
        frames = [bytearray(frame) for frame in oobcodec.dumps([tensor, tensor[:, 3]])]
        whole, column = oobcodec.loads(frames)
        assert torch.equal(whole, tensor) and torch.equal(column, tensor[:, 3])
        """
    )


def test_stock_pickle_reads_the_stream():
    tensor = torch.arange(6000.0)
    frames = dumps(tensor)
    assert torch.equal(pickle.loads(frames[1], buffers=[bytearray(frames[2])]), tensor)


class TestNames:
    @pytest.fixture
    def named(self, monkeypatch):
        """Give tensors names, as torch had them before 2.13."""
        if not hasattr(torch.Tensor, "has_names"):
            monkeypatch.setattr(torch.Tensor, "has_names", lambda tensor: tensor.shape == (2, 3), raising=False)
            monkeypatch.setattr(torch.Tensor, "names", ("N", "C"), raising=False)
        reducers.register()
        yield
        monkeypatch.undo()
        reducers.register()

    def test_are_refused(self, named):
        one = torch.zeros(2, 3, names=("N", "C")) if hasattr(torch.Tensor, "rename") else torch.zeros(2, 3)
        with pytest.raises(EncodeError, match=r"\('N', 'C'\).*send tensor.rename\(None\)"):
            dumps([one])

    def test_are_no_matter_where_there_are_none(self, named):
        assert_same(transferred(torch.arange(5)), torch.arange(5))


class TestConstants:
    @pytest.mark.parametrize("name", ["strided", "sparse_csr", "channels_last", "preserve_format", "per_tensor_affine"])
    def test_travel_by_name(self, name):
        constant = getattr(torch, name)
        frames = dumps([constant])
        assert loads(frames)[0] is constant
        assert names(frames) == ["oobcodec.reducers.torch", "rebuild_constant", name]

    @pytest.mark.parametrize("name", ["strided_too", "Tensor", "__name__"])
    def test_unknown_one_is_refused(self, name):
        with pytest.raises(DecodeError, match=rf"torch \d.* has no torch.{name}: install the sender's version"):
            reducers.rebuild_constant(name)
