"""torch."""

import functools
import warnings

import numpy as np
import torch
from torch import distributions, nn
from torch.masked import masked_tensor
from torch.nn.utils import rnn
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from . import cases_numpy  # noqa: F401  # compares arrays, which tensors share memory with
from .comparison import compares
from .table import N, case

DTYPES = [
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "bfloat16",
    "float32", "float64", "complex32", "complex64", "complex128",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2",
    "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2", "uint1", "uint2", "uint3", "uint4", "uint7", "int1", "int4",
]  # fmt: skip
COMPRESSED = {
    "csr": ("crow_indices", "col_indices", "values"),
    "csc": ("ccol_indices", "row_indices", "values"),
    "bsr": ("crow_indices", "col_indices", "values"),
    "bsc": ("ccol_indices", "row_indices", "values"),
}
SINCE_THE_FLOOR = {"decoupled_weight_decay"}
"""Options of optimizers that the oldest supported torch does not know."""


def quietly(function):
    """Keep torch's remarks, of what is experimental and what is deprecated, away from the results."""

    @functools.wraps(function)
    def wrapper(*args, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **options)

    return wrapper


def _case(name, make, holds=None, *, arrives=None, given=True):
    return case(name, quietly(make), holds, arrives=arrives and quietly(arrives), given=given)


def _numbers(*shape, dtype=torch.float64):
    return (torch.arange(torch.Size(shape or (N,)).numel()) % 100).to(dtype).reshape(shape or (N,))


def _of_any(dtype, *shape):
    """Return a tensor of a dtype that may have no operations at all."""
    data = (torch.arange(torch.Size(shape).numel() * dtype.itemsize) % 251).to(torch.uint8)
    data = data % 2 if dtype is torch.bool else data
    return torch.empty(0, dtype=dtype).set_(data.untyped_storage(), 0, shape)


def _complex(*shape):
    return torch.complex(_numbers(*shape), _numbers(*shape) + 1)


def _with(obj, **attributes):
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj


def _inferred():
    with torch.inference_mode():
        return _numbers()


# Sparse, nested and quantized


def _coo(**options):
    return torch.sparse_coo_tensor(_numbers(2, N, dtype=torch.int64), _numbers(), (100, 100), **options)


def _compressed(name):
    dense = _numbers(512, N // 512)
    return getattr(dense, f"to_sparse_{name}")(*([(2, 4)] if name.startswith("b") else []))


def _nested(layout=torch.strided, **options):
    return torch.nested.nested_tensor([_numbers(N // 4), _numbers(N // 2), _numbers(N // 4)], layout=layout, **options)


def _per_tensor(dtype=torch.qint8, *shape):
    return torch.quantize_per_tensor(_numbers(*shape, dtype=torch.float32), 0.5, 3, dtype)


def _per_channel():
    scales, zero_points = 0.5 ** (torch.arange(256) % 4), torch.arange(256) % 5
    return torch.quantize_per_channel(_numbers(N // 256, 256, dtype=torch.float32), scales, zero_points, 1, torch.qint8)


# Subclasses


class Tagged(torch.Tensor):
    """A tensor with attributes that no pickling method knows of."""


class Slotted(torch.Tensor):
    """A tensor with a slot."""

    __slots__ = ("label",)


class Quantity(torch.Tensor):
    """A tensor with a pickling method of its own."""

    def __reduce_ex__(self, protocol):
        return _quantity, (self.as_subclass(torch.Tensor), self.unit)


def _quantity(data, unit):
    return _with(data.as_subclass(Quantity), unit=unit)


class Scale(nn.Parameter):
    """A parameter of a class of its own."""


class Wrapper(torch.Tensor):
    """A tensor without memory, around one with some."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return func(*(arg.inner if isinstance(arg, cls) else arg for arg in args), **(kwargs or {}))


# Views


def _views():
    one = _numbers(256, N // 256)
    flat = one.view(-1)
    return [one, one.t(), flat[2 : N // 2], one.view(torch.uint8), one.detach(), flat[:1].expand(N), flat.data]


def _windows():
    one = _numbers()
    return [one[i : i + N - 1000] for i in range(0, 1000, 10)]


def _over_an_array(part=slice(None)):
    array = np.arange(N) % 100
    return [array, torch.from_numpy(array[part]), torch.from_numpy(array).view(torch.float64)]


def _beneath_an_array():
    tensor = _numbers()
    return {"tensor": tensor, "array": tensor.numpy(), "rows": tensor.view(-1, 2).numpy()[5:]}


# Modules


def _settle(*tensors):
    """Set elements to numbers that are the same in all versions, and exact."""
    with torch.no_grad():
        for tensor in tensors:
            if tensor.is_floating_point() and tensor.ndim:
                tensor.copy_(((torch.arange(tensor.numel()) * 7 % 13 + 1) / 64).reshape(tensor.shape))


def _settled(model):
    _settle(*model.parameters(), *model.buffers())
    return model


class Residual(nn.Module):
    """A block of a ResNet."""

    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding="same", padding_mode="reflect"),
            nn.GroupNorm(4, width),
        )

    def forward(self, x):
        return torch.relu(x + self.body(x))


class ResNet(nn.Module):
    """Convolutions with a way around them."""

    def __init__(self, width=96):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2)
        self.blocks = nn.ModuleList([Residual(width), Residual(width)])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.25), nn.Linear(width, 10))
        self.register_buffer("mean", torch.tensor([0.5, 0.25, 0.125]).view(3, 1, 1))
        self.register_buffer("cache", _numbers(2000, dtype=torch.float32), persistent=False)
        self.register_parameter("nothing", None)

    def example(self):
        return _numbers(2, 3, 16, 16, dtype=self.stem.weight.dtype) / 128

    def forward(self, x):
        x = self.stem(x - self.mean)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Translator(nn.Module):
    """Attention, with the weights of the embedding at the end again."""

    def __init__(self, words=1000, width=128):
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.125, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.decoder = nn.Linear(width, words, bias=False)
        self.decoder.weight = self.embedding.weight

    def example(self):
        return _numbers(3, 20, dtype=torch.int64)

    def forward(self, x):
        return self.decoder(self.encoder(self.embedding(x)))


class Listener(nn.Module):
    """A recurrent network, which keeps its weights in two places."""

    def __init__(self, width=128):
        super().__init__()
        self.recurrent = nn.LSTM(width, width, 2, batch_first=True, bidirectional=True)

    def example(self):
        return _numbers(2, 5, 128, dtype=torch.float32) / 128

    def forward(self, x):
        return self.recurrent(x)[0]


def _doubled(module, args, output):
    return 2 * output


def _halved(module, args):
    return tuple(arg / 2 for arg in args)


def _hooked():
    model = _settled(ResNet())
    model.stem.register_forward_hook(_doubled)
    model.head.register_forward_pre_hook(_halved)
    return model


def _trained(model):
    model(model.example()).sum().backward()
    return _settled(model)


def _after_a_step(model, make, **options):
    optimizer = make(model.parameters(), **options)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    _settled(model)
    for state in optimizer.state.values():
        _settle(*(value for value in state.values() if torch.is_tensor(value)))
    return optimizer


def _layer():
    return nn.Linear(256, 512)


def _groups():
    model = nn.Sequential(_layer(), _layer())
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[1].parameters(), "weight_decay": 0.25}]
    return {"optimizer": _after_a_step(model, lambda _: torch.optim.AdamW(groups, amsgrad=True)), "model": model}


def _checkpoint():
    model = _layer()
    optimizer = _after_a_step(model, torch.optim.Adam).state_dict()
    for group in optimizer["param_groups"]:
        for name in SINCE_THE_FLOOR:
            group.pop(name, None)
    return {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer, "random": torch.Generator().get_state()}


def _model_and_optimizer():
    model = _layer()
    return [_after_a_step(model, torch.optim.Adam), model, model.weight]


def _nbytes(model):
    return sum(each.nbytes for each in [*model.parameters(), *model.buffers()])


RESNET, TRANSLATOR, LISTENER, LAYER = map(_nbytes, (ResNet(), Translator(), Listener(), _layer()))


def _mixture():
    means = distributions.Independent(distributions.Normal(_numbers(8, N // 8), torch.ones(8, N // 8)), 1)
    return distributions.MixtureSameFamily(distributions.Categorical(torch.full((8,), 0.125)), means)


def _warped():
    transforms = [distributions.AffineTransform(1.0, 2.0), distributions.ExpTransform()]
    return distributions.TransformedDistribution(distributions.Uniform(_numbers(), _numbers() + 1), transforms)


def _generator():
    generator = torch.Generator().manual_seed(5)
    torch.rand(100, generator=generator)
    return generator


CASES = [
    *[_case(f"dtype {d}", lambda d=d: _of_any(getattr(torch, d), N), N * getattr(torch, d).itemsize) for d in DTYPES if hasattr(torch, d)],
    *[_case(f"dtype {d}, three elements", lambda d=d: _of_any(getattr(torch, d), 3)) for d in DTYPES if hasattr(torch, d)],
    _case("transposed", lambda: _numbers(256, N // 256).t(), 8 * N),
    _case("three axes, permuted", lambda: _numbers(16, 32, N // 512).permute(1, 2, 0), 8 * N),
    _case("twenty axes", lambda: _numbers(*(2,) * 17, 1, 1, 1), 8 * N),
    _case("channels last", lambda: _numbers(8, 16, 32, 32).to(memory_format=torch.channels_last), 8 * N),
    _case("channels last, one channel", lambda: _numbers(N // 1024, 1, 32, 32).to(memory_format=torch.channels_last), 8 * N),
    _case("channels last, three dimensions", lambda: _numbers(8, 16, 16, 8, 8).to(memory_format=torch.channels_last_3d), 8 * N),
    _case("every second element", lambda: _numbers(2 * N)[::2], 8 * N),
    _case("a column", lambda: _numbers(N, 3)[:, 1], 8 * N),
    _case("two columns of three", lambda: _numbers(N, 3)[:, :2], 16 * N),
    _case("two columns of three, transposed", lambda: _numbers(N, 3)[:, 1:].mT, 16 * N),
    _case("a block", lambda: _numbers(1024, 512)[100:600, 100:400], 500 * 300 * 8),
    _case("a block, channels last", lambda: _numbers(8, 16, 64, 64).to(memory_format=torch.channels_last)[:, :, ::2, 3:35], 8 * N),
    _case("a diagonal", lambda: _numbers(4096, 256).view(-1, 512).diagonal(), 4096),
    _case("half of a storage", lambda: _numbers(2 * N)[N // 2 : N + N // 2], 8 * N),
    _case("ten elements of many", lambda: _numbers()[50:60], 80),
    _case("ten rows of many", lambda: _numbers(N // 8, 8)[50:60], 640),
    _case("an offset of one byte", lambda: _of_any(torch.int8, 8 * N + 1)[1:], 8 * N),
    _case("a scalar expanded", lambda: torch.tensor(3.5).expand(1024, 128), 4),
    _case("a row expanded", lambda: _numbers(128).expand(1024, 128), 1024),
    _case("a column expanded", lambda: _numbers(N, 1).expand(N, 4), 8 * N),
    _case("a column of gaps, expanded", lambda: _numbers(N, 3)[:, 1:2].expand(N, 4), 8 * N),
    _case("sliding windows", lambda: _numbers().unfold(0, 100, 1), 8 * N),
    _case("conjugate", lambda: _complex().conj(), 16 * N),
    _case("conjugate, small", lambda: _complex(3).conj()),
    _case("conjugate, transposed", lambda: _complex(256, N // 256).mH, 16 * N),
    _case("negative", lambda: torch._neg_view(_numbers()), 8 * N),
    _case("negative, every second", lambda: _complex().conj().imag, 8 * N),
    _case("the parts of a complex", lambda: [(one := _complex()), one.real, one.imag, torch.view_as_real(one), one.conj()], 16 * N),
    _case("zero dimensions", lambda: torch.tensor(3.5)),
    _case("zero dimensions, of many", lambda: _numbers()[77], 8),
    _case("empty", lambda: torch.empty(0)),
    _case("empty of four axes", lambda: torch.empty(2, 0, 3, 1, dtype=torch.int32)),
    _case("empty, with strides", lambda: torch.empty_strided((0, 3), (1, 7), dtype=torch.bfloat16)),
    _case("empty part of many", lambda: _numbers(N // 8, 8)[5:5], 0),
    _case("not a number", lambda: torch.tensor([float("nan"), -0.0, float("inf"), 5e-324] * (N // 4), dtype=torch.float64), 8 * N),
    _case("requires a gradient", lambda: _numbers().requires_grad_(), 8 * N),
    _case("requires a gradient, a part", lambda: _with(_numbers(2 * N)[::2], requires_grad=True), 8 * N),
    _case("a result that requires a gradient", lambda: _numbers().requires_grad_() * 2, 8 * N, arrives=lambda: _with(_numbers() * 2, requires_grad=True)),
    _case("with a gradient", lambda: _with(_numbers().requires_grad_(), grad=_numbers()), 8 * N, arrives=lambda: _numbers().requires_grad_()),
    _case("with a hook", lambda: (one := _numbers().requires_grad_(), one.register_hook(torch.neg))[0], 8 * N, arrives=lambda: _numbers().requires_grad_()),
    _case("inference mode", _inferred, 8 * N, arrives=_numbers),
    _case("in shared memory", lambda: _numbers().share_memory_(), 8 * N, arrives=_numbers),
    _case("attributes", lambda: _with(_numbers(), unit="m", mask=torch.arange(N) % 2 == 0), 9 * N),
    _case("attributes, conjugate", lambda: _with(_complex().conj().requires_grad_(), unit="m"), 16 * N),
    _case("axes with names", lambda: _numbers(N // 8, 8).rename("row", "column"), 8 * N, given=hasattr(torch.Tensor, "rename")),
    _case("Parameter", lambda: nn.Parameter(_numbers()), 8 * N),
    _case("Parameter, frozen", lambda: nn.Parameter(_numbers(), requires_grad=False), 8 * N),
    _case("Parameter with attributes", lambda: _with(nn.Parameter(_numbers()), partition=(0, 1), main=_numbers()[:500]), 8 * N + 4000),
    _case("Parameter of whole numbers", lambda: nn.Parameter(_numbers(dtype=torch.int8), requires_grad=False), N),
    _case("Parameter, a class of its own", lambda: Scale(_numbers()), 8 * N),
    _case("Buffer", lambda: [nn.Buffer(_numbers()), nn.Buffer(_numbers(), persistent=False)], 16 * N, given=hasattr(nn, "Buffer")),
    _case("a subclass with attributes", lambda: _with(_numbers().as_subclass(Tagged), unit="m", spare=_numbers()), 16 * N),
    _case("a subclass with a slot", lambda: _with(_numbers().as_subclass(Slotted), label="north", unit="m"), 8 * N),
    _case("a subclass with a pickling method", lambda: _quantity(_numbers(), "m/s"), 8 * N),
    _case("a subclass that is a part", lambda: _numbers(2 * N).as_subclass(Tagged)[::2], 8 * N),
    _case("a subclass around a tensor", lambda: Wrapper(_numbers()), 8 * N),
    _case("masked tensor", lambda: masked_tensor(_numbers(), torch.arange(N) % 3 == 0), 9 * N),
    _case("sparse COO", _coo, 24 * N),
    _case("sparse COO, coalesced", lambda: _numbers(256, N // 256).to_sparse(), 24 * (N - -(-N // 100))),
    _case("sparse COO, said to be coalesced", lambda: torch.sparse_coo_tensor(_numbers(1, 100, dtype=torch.int64), _numbers(100), (100,), is_coalesced=True)),
    _case("sparse COO with dense axes", lambda: torch.sparse_coo_tensor(torch.tensor([[0, 5, 9]]), _numbers(3, N // 3), (10, N // 3)), 8 * N),
    _case("sparse COO, requires a gradient", lambda: _coo().requires_grad_(), 24 * N),
    _case("sparse COO, empty", lambda: torch.sparse_coo_tensor(size=(3, 4), dtype=torch.float16)),
    *[_case(f"sparse {name.upper()}", lambda name=name: _compressed(name), int(sum(getattr(quietly(_compressed)(name), part)().nbytes for part in parts))) for name, parts in COMPRESSED.items()],
    _case("sparse CSR with narrow indices", lambda: torch.sparse_csr_tensor(torch.tensor([0, 1, 2], dtype=torch.int32), torch.tensor([1, 0], dtype=torch.int32), torch.tensor([1.0, 2.0]), (2, 2))),
    _case("sparse CSR, a batch, requires a gradient", lambda: torch.stack([torch.eye(3), 2 * torch.eye(3)]).to_sparse_csr().requires_grad_()),
    *[_case(f"quantized {d}", lambda d=d: _per_tensor(getattr(torch, d)), N * getattr(torch, d).itemsize) for d in ("qint8", "quint8", "qint32")],
    _case("quantized, permuted", lambda: _per_tensor(torch.quint8, 32, 64, N // 2048).permute(2, 0, 1), N),
    _case("quantized, a part", lambda: _per_tensor(torch.qint8, 2, N)[1], N),
    _case("quantized per channel", _per_channel, N + 256 * 16),
    _case("quantized, of few elements", lambda: _per_tensor(torch.qint8, 3)),
    _case("nested", _nested, 8 * N),
    _case("nested, jagged", lambda: _nested(torch.jagged), 8 * N),
    _case("nested, requires a gradient", lambda: _nested(requires_grad=True), 8 * N),
    _case("nested, of two axes", lambda: torch.nested.nested_tensor([_numbers(2, 3), _numbers(4, 5)])),
    _case("meta", lambda: torch.empty(10**6, 10**6, dtype=torch.bfloat16, device="meta").t(), 0),
    _case("meta, Parameter", lambda: nn.Parameter(torch.empty(3, device="meta"))),
    _case("views of one storage", _views, 8 * N),
    _case("a part and the whole", lambda: [(one := _numbers())[5 : N // 2], one], 8 * N),
    _case("overlapping halves", lambda: [(one := _numbers())[: N // 2 + 9], one[N // 2 - 9 :]], 8 * N),
    _case("overlapping windows", _windows, 8 * N - 80),
    _case("a column and its table", lambda: [(one := _numbers(N, 3))[:, 1], one], 24 * N),
    _case("elements of two dtypes", lambda: [(one := _numbers())[1:], one.view(torch.bfloat16)[3:], one.view(torch.uint8)], 8 * N),
    _case("a tensor over an array", _over_an_array, 8 * N),
    _case("a tensor over a part of an array", lambda: _over_an_array(slice(10, N // 2)), 8 * N),
    _case("a tensor over a row of an array", lambda: torch.from_numpy(np.arange(2 * N).reshape(2, N))[1], 8 * N),
    _case("an array over a tensor", _beneath_an_array, 8 * N),
    _case("untyped storage", lambda: _numbers().untyped_storage(), 8 * N),
    _case("untyped storage, empty", lambda: torch.UntypedStorage(0)),
    _case("untyped storage and tensors on it", lambda: [(one := _numbers()).untyped_storage(), one, one[5:]], 8 * N),
    _case("typed storage", lambda: _numbers(dtype=torch.bfloat16).storage(), 2 * N),
    _case("typed storage and its tensor", lambda: {"tensor": (one := _numbers()), "storage": one.storage()}, 8 * N),
    _case("a dict of tensors", lambda: {f"layer {i}": _numbers(N // 16) + i for i in range(16)}, 8 * N),
    _case("tensors, arrays and bytes", lambda: (_numbers(), np.arange(N), bytes(8 * N), [_numbers(3), None]), 24 * N),
    _case("a thousand tensors of ten", lambda: [_numbers(10) + i for i in range(1000)]),
    _case("what operations return", lambda: [torch.sort(_numbers()), _numbers(2, N // 2).max(0)], 8 * (2 * N + N)),
    _case("PackedSequence", lambda: rnn.pack_sequence([_numbers(N // 2), _numbers(N // 4), _numbers(N // 8)]), 7 * N + 4 * N),
    _case("PackedSequence, sorted", lambda: rnn.pack_sequence([_numbers(2), _numbers(5), _numbers(3)], enforce_sorted=False)),
    _case("TensorDataset", lambda: TensorDataset(_numbers(N // 8, 8), _numbers(N // 8)), 9 * N),
    _case("Subset and ConcatDataset", lambda: ConcatDataset([Subset(one := TensorDataset(_numbers(100)), [3, 1]), one])),
    _case("ResNet", lambda: _settled(ResNet()), RESNET),
    _case("ResNet, evaluating", lambda: _settled(ResNet()).eval(), RESNET),
    _case("ResNet, partly frozen", lambda: (one := _settled(ResNet()), one.stem.requires_grad_(requires_grad=False), one.head.eval())[0], RESNET),
    _case("ResNet, channels last", lambda: _settled(ResNet()).to(memory_format=torch.channels_last), RESNET),
    _case("ResNet in bfloat16", lambda: _settled(ResNet(128)).to(torch.bfloat16), _nbytes(ResNet(128)) // 2),
    _case("ResNet with hooks", _hooked, RESNET),
    _case("ResNet with gradients", lambda: _trained(ResNet()), RESNET, arrives=lambda: (one := _trained(ResNet()), one.zero_grad())[0]),
    _case("transformer", lambda: _settled(Translator()), TRANSLATOR),
    _case("transformer, evaluating", lambda: _settled(Translator()).eval(), TRANSLATOR),
    _case("recurrent network", lambda: _settled(Listener()), LISTENER),
    _case("parameters without a shape", lambda: [nn.UninitializedParameter(), nn.UninitializedParameter(requires_grad=False)]),
    _case("loss with weights", lambda: nn.CrossEntropyLoss(weight=_numbers(10), ignore_index=3, reduction="sum")),
    _case("module on meta", lambda: nn.Linear(3, 4, device="meta")),
    _case("modules that share a module", lambda: nn.ModuleDict({"one": (one := _settled(_layer())), "two": nn.Sequential(one, nn.ReLU())}), LAYER),
    _case("tied weights", lambda: nn.ModuleList([one := _settled(_layer()), _with(_layer(), weight=one.weight, bias=one.bias)]), LAYER),
    _case("weights that are views", lambda: nn.ParameterList([nn.Parameter((one := _numbers())[: N // 2]), nn.Parameter(one[N // 2 :])]), 8 * N),
    _case("ParameterDict", lambda: nn.ParameterDict({"scale": nn.Parameter(_numbers()), "shift": _numbers(3)}), 8 * N),
    _case("state_dict", lambda: _settled(ResNet()).state_dict(), RESNET - 8000),
    _case("state_dict with tied weights", lambda: _settled(Translator()).state_dict(), TRANSLATOR),
    _case("module and its state_dict", lambda: [(one := _settled(_layer())), one.state_dict(), one.state_dict(keep_vars=True)], LAYER),
    _case("Adam after a step", lambda: _after_a_step(_layer(), torch.optim.Adam), 3 * LAYER),
    _case("Adam with its model", _model_and_optimizer, 3 * LAYER),
    _case("AdamW with groups, and its model", _groups, 2 * 4 * LAYER),
    _case("SGD with momentum", lambda: _after_a_step(_layer(), torch.optim.SGD, lr=0.5, momentum=0.25), 2 * LAYER),
    _case("checkpoint", _checkpoint, 3 * LAYER + 5056),
    _case("Normal", lambda: distributions.Normal(_numbers(), _numbers() + 1), 16 * N),
    _case("Normal, scalar", lambda: distributions.Normal(0.0, 1.0)),
    _case("Categorical", lambda: distributions.Categorical(logits=torch.tensor([0.0, 0.0, 0.0]))),
    _case("MultivariateNormal", lambda: distributions.MultivariateNormal(torch.zeros(3), scale_tril=torch.eye(3) * 2)),
    _case("mixture of distributions", _mixture, 12 * N),
    _case("transformed distribution", _warped, 16 * N),
    _case("Size", lambda: [torch.Size([]), torch.Size([2, 3]), torch.empty(0, 5).shape]),
    _case("dtypes", lambda: {"plain": [torch.float32, torch.bfloat16, torch.complex32, torch.uint64, torch.qint8], "keys": {torch.float16: 1}}),
    _case("devices", lambda: [torch.device("cpu"), torch.device("cuda", 1), torch.device("meta")]),
    _case("layouts and memory formats", lambda: [torch.strided, torch.sparse_csr, torch.preserve_format, torch.channels_last, torch.per_tensor_affine]),
    _case("Generator", _generator, 5056, given="__reduce__" in vars(torch.Generator)),
    _case("state of a generator", lambda: _generator().get_state(), 5056),
    _case("functions", lambda: [torch.add, torch.matmul, nn.functional.relu, nn.functional.conv2d, torch.linalg.norm]),
    _case("classes", lambda: [torch.Tensor, nn.Parameter, nn.Linear, torch.optim.Adam, torch.Size, torch.dtype]),
]  # fmt: skip


# Tensors


@compares(torch.Tensor)
@quietly
def compare_tensors(comparison, got, want, where):
    if isinstance(want, nn.parameter.UninitializedTensorMixin):
        comparison.equal("flags", got.requires_grad, want.requires_grad, f"{where}.requires_grad")
        return
    comparison.equal("dtype", got.dtype, want.dtype, f"{where}.dtype")
    comparison.equal("layout", got.layout, want.layout, f"{where}.layout")
    comparison.equal("flags", _flags(got), _flags(want), where)
    if want.is_leaf and got.is_leaf:
        comparison.compare(got.grad, want.grad, f"{where}.grad")
    if comparison.lost.keys() & {"dtype", "layout", "flags"}:
        return
    got_parts, parts = _parts(got), _parts(want)
    if not want.is_nested:
        comparison.equal("value", got.shape, want.shape, f"{where}.shape")
        comparison.compare(object.__getstate__(got), object.__getstate__(want), f"{where}.__getstate__()")
    if parts is not None:
        comparison.parts(got_parts, parts, where)
    elif type(want).__torch_dispatch__ is torch.Tensor.__torch_dispatch__ and got.shape == want.shape:
        _compare_elements(comparison, got.detach(), want.detach(), where)


def _flags(tensor):
    names = ("device", "requires_grad", "is_leaf", "is_nested", "is_quantized")
    methods = ("is_conj", "is_neg", "is_inference", *(("is_shared",) if tensor.layout is torch.strided else ()))
    return {name: getattr(tensor, name) for name in names} | {
        "hooks": bool(tensor._backward_hooks),
        "names": getattr(tensor, "names", None),
        **{name: getattr(tensor, name)() for name in methods},
    }


def _parts(tensor):
    """Return the tensors that a tensor consists of, and what else there is to them."""
    tensor = tensor.detach()
    if tensor.is_nested and tensor.layout is torch.strided:
        names = ("values", "_nested_tensor_size", "_nested_tensor_strides", "_nested_tensor_storage_offsets")
    elif tensor.is_nested:
        names = ("values", "offsets", "lengths", "dim")
    elif tensor.layout is torch.sparse_coo:
        names = ("_indices", "_values", "is_coalesced", "sparse_dim", "dense_dim")
    elif tensor.layout is not torch.strided:
        names = COMPRESSED[str(tensor.layout).removeprefix("torch.sparse_")]
    else:
        return None
    return {f".{name}()": getattr(tensor, name)() for name in names}


def _compare_elements(comparison, got, want, where):
    exact = _gap_free(want)
    if not comparison.equal("layout", _strides(got, exact=exact), _strides(want, exact=exact), f"{where}.stride()"):
        exact = False
    if want.is_quantized:
        comparison.parts(_scale(got), _scale(want), where)
    if want.is_meta:
        return
    if want.data_ptr() % want.itemsize == 0 != got.data_ptr() % got.itemsize:
        comparison.miss("alignment", f"{where}: at {got.data_ptr():#x}")
    if not torch.equal(_words(got), _words(want)):
        comparison.miss("value", f"{where}: other elements")
    if exact and want.numel():
        nbytes = _extent(want) * want.itemsize
        comparison.memory(where, got.data_ptr(), want.data_ptr(), nbytes)
        if nbytes == want.untyped_storage().nbytes():
            comparison.compare(got.untyped_storage(), want.untyped_storage(), f"{where}.untyped_storage()")


def _scale(tensor):
    names = ("q_scale", "q_zero_point")
    if tensor.qscheme() not in {torch.per_tensor_affine, torch.per_tensor_symmetric}:
        names = ("q_per_channel_scales", "q_per_channel_zero_points", "q_per_channel_axis")
    return {f".{name}()": getattr(tensor, name)() for name in ("qscheme", *names)}


def _words(tensor):
    """Return the elements as whole numbers, whatever they mean."""
    size = min(tensor.itemsize, 8)
    per_element = tensor.itemsize // size
    words = torch.empty(0, dtype={1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size])
    strides = *(stride * per_element for stride in tensor.stride()), 1
    storage, offset = tensor.untyped_storage(), tensor.storage_offset() * per_element
    return words.set_(storage, offset, (*tensor.shape, per_element), strides)


def _axes(tensor):
    return [(stride, length) for stride, length in zip(tensor.stride(), tensor.shape, strict=True) if length > 1]


def _extent(tensor):
    """Return how many elements there are from the first to the last."""
    return 1 + sum(stride * (length - 1) for stride, length in _axes(tensor))


def _gap_free(tensor):
    covered = 1
    for stride, length in sorted(_axes(tensor)):
        if stride > covered:
            return False
        covered += stride * (length - 1)
    return True


def _strides(tensor, *, exact):
    """Return the strides, or only in which order the axes are and which repeat: gaps are compacted."""
    if exact:
        return tensor.stride()
    strides = [stride for stride, _ in _axes(tensor)]
    return sorted(range(len(strides)), key=lambda axis: (-strides[axis], axis)), [stride == 0 for stride in strides]


@compares(torch.UntypedStorage)
def _compare_storages(comparison, got, want, where):
    comparison.equal("flags", got.device, want.device, f"{where}.device")
    if want.device.type != "meta" and comparison.equal("value", got.nbytes(), want.nbytes(), f"{where}.nbytes()"):
        octets = [torch.empty(0, dtype=torch.uint8).set_(storage) for storage in (got, want)]
        if not torch.equal(*octets):
            comparison.miss("value", f"{where}: other bytes")
        comparison.memory(where, got.data_ptr(), want.data_ptr(), want.nbytes())


@compares(torch.storage.TypedStorage)
@quietly
def _compare_typed_storages(comparison, got, want, where):
    comparison.parts(*({".dtype": one.dtype, ".untyped()": one.untyped()} for one in (got, want)), where)


@compares(torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
def _compare_by_identity(comparison, got, want, where):
    if got is not want:
        comparison.miss("dtype", f"{where}: {got}, not {want} itself")


@compares(torch.Generator)
def _compare_generators(comparison, got, want, where):
    comparison.equal("flags", got.device, want.device, f"{where}.device")
    comparison.parts(*({".get_state()": one.get_state(), ".seed": one.initial_seed()} for one in (got, want)), where)


# Modules and optimizers


@compares(nn.Module)
def _compare_modules(comparison, got, want, where):
    comparison.parts(_state_of(got), _state_of(want), where)
    comparison.compare(got.state_dict(), want.state_dict(), f"{where}.state_dict()")
    if hasattr(want, "example") and not comparison.lost:
        comparison.compare(_outcome(got), _outcome(want), f"{where}(example)")


def _state_of(module):
    """Return what a module consists of, its parts in their order, and its hooks without the numbers of the process."""
    state = {f".{name}": value for name, value in module.__getstate__().items()}
    parts = {name: list(state[name].items()) for name in ("._parameters", "._buffers", "._modules")}
    hooks = {name: list(value.values()) for name, value in state.items() if "_hooks" in name}
    return state | parts | hooks


def _outcome(module):
    """Return what a module makes of a seeded input, and the gradients and buffers after that."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        output = module(module.example())
    output.sum().backward()
    gradients = [each.grad for each in module.parameters()]
    module.zero_grad()
    return output.detach(), gradients, [each.clone() for each in module.buffers()]


@compares(torch.optim.Optimizer)
def _compare_optimizers(comparison, got, want, where):
    comparison.parts(*({".defaults": _options(one.defaults)} for one in (got, want)), where)
    comparison.compare(
        *([_options(group) for group in one.param_groups] for one in (got, want)), f"{where}.param_groups"
    )
    # By the identity of the parameters, in their order.
    comparison.compare(list(got.state.items()), list(want.state.items()), f"{where}.state")


def _options(group):
    return {name: group[name] for name in sorted(group.keys() - SINCE_THE_FLOOR)}
