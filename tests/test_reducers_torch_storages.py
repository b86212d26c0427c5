import gc
import mmap
import warnings
from multiprocessing.shared_memory import SharedMemory

import pytest
from helpers import received, shipped, transferred
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from test_reducers_torch import (  # noqa: E402
    DTYPES,
    address,
    assert_same,
    assert_zero_copy,
    filled,
)

from oobcodec.codec import dumps, loads  # noqa: E402
from oobcodec.encoded import Encoded  # noqa: E402
from oobcodec.errors import DecodeError, EncodeError  # noqa: E402
from oobcodec.reducers import torch as tensors  # noqa: E402
from oobcodec.reducers import torch_storages as reducers  # noqa: E402

tensors.register()


# Memory without gaps


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24000.0).reshape(2, 30, 20, 20).to(memory_format=torch.channels_last),
        torch.arange(24000.0).reshape(2, 30, 20, 20),
        torch.arange(8000.0).reshape(8, 1, 10, 100).to(memory_format=torch.channels_last),
        torch.arange(8000.0).reshape(80, 100).T,
        torch.arange(8000.0).reshape(80, 1, 100)[:, :, None],
        torch.arange(8000.0).as_strided((8000, 1), (1, 7)),
        torch.arange(6000.0).as_strided((5999, 2), (1, 1)),
    ],
    ids=lambda tensor: f"{tuple(tensor.shape)}-{tensor.stride()}",
)
def test_every_order_of_axes_travels_uncopied(tensor):
    assert shipped(assert_zero_copy(tensor)) == tensor.untyped_storage().nbytes()


def test_channels_last_stays_so():
    image = torch.zeros(2, 3, 16, 16).to(memory_format=torch.channels_last)
    assert transferred(image).is_contiguous(memory_format=torch.channels_last)
    grey = torch.zeros(2, 1, 16, 16).to(memory_format=torch.channels_last)
    assert transferred(grey).stride() == grey.stride()


def test_a_slice_ships_the_slice():
    base = torch.arange(1_000_000.0)
    frames = assert_zero_copy(base[5000:6000])
    assert shipped(frames) == 4000
    assert loads(received(frames)).untyped_storage().nbytes() == 4000
    assert sum(map(len, dumps(base[5:8]))) < 400
    assert sum(map(len, dumps(base[:0]))) < 400


def test_a_broadcast_axis_ships_one_element():
    row = torch.arange(1000.0)
    tensor = row.expand(500, 1000)
    frames = assert_zero_copy(tensor)
    assert shipped(frames) == row.nbytes
    huge = torch.tensor(3.0).expand(1 << 40, 2)
    back = transferred(huge)
    assert back.stride() == (0, 0)
    assert back[123456, 1] == 3
    assert sum(map(len, dumps(huge))) < 400


def test_large_data_ships_little_else():
    tensors = {f"layer.{i}.weight": torch.zeros(50, 100) for i in range(100)}
    frames = dumps(tensors)
    assert shipped(frames) == 2_000_000
    assert frames[1].nbytes <= 8192 + 20_000


# Memory with gaps


@pytest.mark.parametrize(
    "view",
    [
        lambda base: base[:, 3],
        lambda base: base[:, ::3],
        lambda base: base[:, :5].T,
        lambda base: base[::2, None, 10:20].expand(-1, 6, -1),
    ],
)
@pytest.mark.parametrize("rows", [10, 2000])
def test_a_column_leaves_the_others_at_home(view, rows):
    base = torch.full((rows, 100), 66, dtype=torch.uint8)
    column = view(base)
    column.untyped_storage()
    base.view(-1)[:] = 66
    core = column[:, 0] if 0 in column.stride() else column
    core.fill_(1)
    frames = dumps(column)
    assert all(b"\x42" * 2 not in bytes(frame) for frame in frames[1:])
    assert sum(map(len, frames)) <= core.nbytes + 400
    for memory in (bytearray, bytes):
        back = loads(received(frames, memory))
        assert_same(back, column, strides=False)
        assert (0 in back.stride()) == (0 in column.stride())


def test_the_order_of_axes_survives_compaction():
    base = torch.arange(60000.0).reshape(20, 30, 100)[:, :, :40]
    for tensor in (base, base.permute(2, 0, 1), base.permute(1, 0, 2)):
        back = transferred(tensor)
        assert torch.equal(back, tensor)
        order = sorted(range(3), key=back.stride().__getitem__)
        assert order == sorted(range(3), key=tensor.stride().__getitem__)
        assert back.untyped_storage().nbytes() == tensor.nbytes


def test_gaps_of_windows_that_overlap_are_zeros():
    base = torch.arange(1, 6001)
    windows = base.as_strided((2900, 40), (2, 2))
    frames = dumps(windows)
    assert shipped(frames) == (2899 * 2 + 39 * 2 + 1) * 8
    back = loads(received(frames))
    assert_same(back, windows)
    memory = torch.frombuffer(bytearray(frames[2]), dtype=torch.int64)
    assert not memory[1::2].any()
    small = torch.arange(1, 61).as_strided((20, 8), (2, 2))
    assert_same(transferred(small), small)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_strides_over_any_memory_arrive_and_gaps_stay_at_home(data):
    dtype = data.draw(st.sampled_from([torch.uint8, torch.bfloat16, torch.float32, torch.complex128]))
    shape = data.draw(st.lists(st.integers(0, 7), max_size=4))
    strides = [data.draw(st.integers(0, 40)) for _ in shape]
    repeat = data.draw(st.sampled_from([1, 50]))
    strides = [stride * repeat for stride in strides]
    offset = data.draw(st.integers(0, 5))
    memory = torch.full((60000 * dtype.itemsize,), 0xEE, dtype=torch.uint8).view(dtype)
    tensor = memory.as_strided(shape, strides, offset)
    if tensor.numel():
        where = torch.arange(60000).as_strided(shape, strides, offset).reshape(-1)
        memory.view(torch.uint8).view(60000, -1)[where] = 1
    frames = dumps(tensor)
    assert all(b"\xee\xee" not in bytes(frame) for frame in frames[1:])
    for kind in (bytearray, bytes):
        assert_same(loads(received(frames, kind)), tensor, strides=False)


# Sharing


def test_views_of_one_storage_share_a_storage_again():
    for base in (torch.arange(5000.0), torch.arange(50.0)):
        left, right = transferred([base, base.reshape(10, -1)])
        assert left.untyped_storage() is right.untyped_storage()
        left[0] = -1
        assert right[0, 0] == -1
        frames = dumps([base, base.reshape(10, -1), base.reshape(-1, 10).T])
        assert shipped(frames) == (base.nbytes if base.nbytes >= 1024 else 0)


def test_the_same_tensor_twice_is_one_tensor():
    tensor = torch.arange(3.0)
    left, right = transferred([tensor, tensor])
    assert left is right


def test_a_part_shares_memory_with_the_whole():
    base = torch.arange(200_000.0).reshape(400, 500)
    for order in ([base, base[10:20], base[:, 3]], [base[:, 3], base[10:20], base]):
        frames = dumps(order)
        assert len(frames) == 3
        assert shipped(frames) == base.nbytes
        arrived = loads(received(frames))
        for back, tensor in zip(arrived, order, strict=True):
            assert_same(back, tensor)
        whole = next(tensor for tensor in arrived if tensor.shape == base.shape)
        whole.fill_(5)
        assert all(bool((tensor == 5).all()) for tensor in arrived)


def test_parts_that_overlap_ship_their_union():
    base = torch.arange(50_000.0)
    frames = dumps([base[1000:3000], base[2000:4000]])
    assert shipped(frames) == 12_000
    left, right = loads(received(frames))
    left[1500] = -1
    assert right[500] == -1


def test_a_tensor_shares_memory_with_the_array_under_it():
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    array = numpy.arange(5000.0)
    frames = dumps([array, torch.from_numpy(array)])
    assert shipped(frames) == array.nbytes
    back, tensor = loads(received(frames))
    back[7] = -1
    assert tensor[7] == -1


def test_elements_keep_their_alignment_inside_a_shared_frame():
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    base = torch.zeros(5000, dtype=torch.uint8)
    odd = base.numpy()[3:4003]
    inner = base[16:2064].view(torch.float64)
    left, right = transferred([odd, inner])
    assert right.data_ptr() % 8 == 0
    left[13:21] = numpy.frombuffer(numpy.float64(3), numpy.uint8)
    assert right[0] == 3


# Lifetime


@pytest.mark.parametrize("release", [False, True])
def test_a_tensor_holds_the_memory_that_it_lies_in(release):
    tensor = torch.arange(5000.0)
    frames = dumps(tensor)
    mapping = mmap.mmap(-1, frames[2].nbytes)
    mapping[:] = frames[2]
    view = memoryview(mapping)
    back = loads([*frames[:2], view])
    if release:
        view.release()
    del view
    gc.collect()
    part = back[10:20]
    for holder in ([back, part], [part]):
        back = None
        with pytest.raises(BufferError):
            mapping.close()
        assert torch.equal(part, tensor[10:20])
        holder.clear()
    del part
    mapping.close()


def test_shared_memory_is_not_closed_under_a_tensor():
    frames = dumps(torch.ones(5000))
    memory = SharedMemory(create=True, size=frames[2].nbytes)
    try:
        memory.buf[:20000] = frames[2]
        back = loads([*frames[:2], memory.buf[:20000]])
        with pytest.raises(BufferError):
            memory.close()
        assert back.sum() == 5000
        del back
    finally:
        memory.close()
        memory.unlink()


def test_frames_hold_the_tensor():
    base = torch.arange(50_000.0)
    frames = [dumps(base.clone())[2], dumps(base.clone()[:40_000])[2], dumps(base.clone()[::2])[2]]
    churn = [torch.full((50_000,), -1.0) for _ in range(20)]
    gc.collect()
    whole, part, compacted = (torch.frombuffer(bytearray(frame), dtype=torch.float32) for frame in frames)
    assert torch.equal(whole, base)
    assert torch.equal(part, base[:40_000])
    assert torch.equal(compacted, base[::2])
    assert len(churn) == 20


def test_read_only_memory_is_copied_and_nobody_warned():
    tensor = torch.arange(5000.0)
    frames = received(dumps(tensor), bytes)
    back = loads(frames)
    back.fill_(-1)
    assert torch.equal(loads(frames), tensor)
    assert back.data_ptr() % 64 == 0
    for writable in (True, False):
        assert torch.equal(loads(frames, writable=writable), tensor)


def test_a_freed_storage_is_refused():
    tensor = torch.ones(3000)
    view = tensor[10:20]
    tensor.untyped_storage().resize_(0)
    for freed in (tensor, view):
        with pytest.raises(EncodeError, match="storage of 0"):
            dumps(freed)


def test_memory_without_an_address_is_refused():
    functional = torch._to_functional_tensor(torch.ones(3000))
    for tensor in (functional, torch._to_functional_tensor(torch.ones(3000)[:2000])):
        with pytest.raises(EncodeError, match="transformation"):
            dumps(tensor)


def test_storages_keep_their_identity():
    storage = torch.arange(3000.0).untyped_storage()
    back, again = transferred([storage, storage])
    assert back is again
    assert type(back) is torch.UntypedStorage
    assert bytes(back) == bytes(storage)
    assert transferred(torch.UntypedStorage(0)).nbytes() == 0


# Other devices


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")


def from_cuda(storage):
    """Return the message of a machine with CUDA that sends a storage."""

    class Sent:
        def __reduce__(self):
            function, arguments = reducers.reduce_storage(storage)
            return function, (*arguments, "cuda:0")

    return received(dumps(Sent()))


def test_memory_of_another_device_goes_through_the_host(monkeypatch):
    # The host stands in for the device: only its name is another one to the reducers.
    tensor = torch.arange(6000.0).reshape(60, 100)
    host = reducers._on_host(tensor.untyped_storage())
    assert host.data_ptr() != tensor.data_ptr()
    assert bytes(host) == bytes(tensor.untyped_storage())
    calls = []
    monkeypatch.setattr(reducers, "_on_host", lambda storage: calls.append(storage) or storage)
    with monkeypatch.context() as patch:
        patch.setattr(reducers, "CPU", torch.device("meta"))
        function, arguments = reducers.reduce_storage(tensor.untyped_storage())
        memory, strides = reducers.memory_of(tensor[:, ::2], tensor.untyped_storage())
    assert calls == [tensor.untyped_storage()]
    assert function is reducers.rebuild_storage
    assert memoryview(arguments[0]).nbytes == tensor.nbytes
    assert arguments[1] == "cpu"
    assert memory.nbytes() == 12_000
    assert strides == (50, 1)


@NO_CUDA
@pytest.mark.parametrize("map_location", [None, {"cuda:1": "cpu"}, lambda _storage, _location: None])
def test_a_device_that_is_not_here_is_named(map_location):
    frames = from_cuda(torch.arange(3.0).untyped_storage())
    with pytest.raises(DecodeError, match=r"'cuda:0' cannot be rebuilt here.*map_location=\"cpu\""):
        loads(frames, map_location=map_location)
    with pytest.raises(DecodeError, match=r"'cuda' cannot be rebuilt here.*map_location=\"cpu\""):
        loads(dumps(torch.ones(3)), map_location="cuda")


# map_location


@pytest.mark.parametrize(
    "map_location", ["cpu", torch.device("cpu"), {"cuda:0": "cpu"}, {"cuda:0": torch.device("cpu")}, lambda s, _: s]
)
def test_what_came_from_another_device_goes_where_it_is_wanted(map_location):
    storage = torch.arange(3000.0).untyped_storage()
    frames = from_cuda(storage)
    back = loads(frames, map_location=map_location)
    assert back.device.type == "cpu"
    assert bytes(back) == bytes(storage)
    assert back.data_ptr() == address(frames[2])


@pytest.mark.parametrize("map_location", ["meta", torch.device("meta"), {"cpu": "meta"}])
def test_all_tensors_go_where_they_are_wanted(map_location):
    base = torch.arange(6000.0).reshape(60, 100)
    complex_one = torch.ones(3000, dtype=torch.complex64).conj()
    small = torch.ones(3)
    parts = [base[10:20], base[:, 3], base[::2, :5], torch.ones(0), torch.tensor(1.0).expand(5)]
    originals = [base, base.T, *parts, complex_one, complex_one.imag, small, torch.nn.Parameter(base)]
    for memory in (bytearray, bytes):
        arrived = loads(received(dumps(originals), memory), map_location=map_location)
        for back, tensor in zip(arrived, originals, strict=True):
            assert back.device.type == "meta"
            assert type(back) is type(tensor)
            assert (back.dtype, back.shape, back.requires_grad) == (tensor.dtype, tensor.shape, tensor.requires_grad)
            assert (back.is_conj(), back.is_neg()) == (tensor.is_conj(), tensor.is_neg())
        assert arrived[1].stride() == base.T.stride()
        assert arrived[0].untyped_storage() is arrived[1].untyped_storage()
        assert arrived[0].untyped_storage().nbytes() == base.nbytes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_goes_where_it_is_wanted(dtype):
    back, part = loads(dumps([filled(dtype, 4096), filled(dtype, 4096)[:4000]]), map_location="meta")
    assert (back.device.type, back.dtype, back.shape) == ("meta", dtype, (4096,))
    assert (part.device.type, part.dtype, part.shape) == ("meta", dtype, (4000,))


def test_sparse_tensors_go_where_they_are_wanted():
    sparse = torch.sparse_coo_tensor(torch.zeros(1, 3, dtype=torch.int64), torch.ones(3), (5,), check_invariants=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are in beta
        rows = torch.eye(5).to_sparse(layout=torch.sparse_csr)
        jagged = torch.nested.nested_tensor([torch.ones(3), torch.ones(2)], layout=torch.jagged)
    for tensor in (sparse, rows, jagged):
        back = loads(dumps(tensor), map_location="meta")
        assert back.device.type == "meta"
        assert back.layout is tensor.layout
        assert back.shape[0] == tensor.shape[0]


def test_kinds_that_a_device_cannot_have_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are a prototype, and deprecated
        nested = torch.nested.nested_tensor([torch.ones(3), torch.ones(2)])
        quantized = torch.quantize_per_tensor(torch.ones(3000), 64.0, 3, torch.qint8)
    for tensor in (nested, quantized):
        with pytest.raises(DecodeError, match=r"cannot be rebuilt.*[Mm]eta"):
            loads(dumps(tensor), map_location="meta")
        assert loads(dumps(tensor), map_location="cpu").device.type == "cpu"


def test_storages_are_mapped_once():
    base, other = torch.arange(6000.0), torch.arange(3.0)
    asked = []

    def remember(storage, location):
        asked.append((storage, location))
        return storage.clone() if location == "cpu" else None

    frames = received(dumps([base, base.view(60, 100), other, base.untyped_storage(), base[:4000]]))
    one, two, small, storage, part = loads(frames, map_location=remember)
    assert [(storage.nbytes(), location) for storage, location in asked] == [
        (24_000, "cpu"),
        (12, "cpu"),
        (16_000, "cpu"),
    ]
    assert asked[0][0].data_ptr() == address(frames[2])
    assert one.data_ptr() != address(frames[2])
    assert one.untyped_storage() is two.untyped_storage() is storage
    assert torch.equal(one, base)
    assert torch.equal(small, other)
    assert torch.equal(part, base[:4000])


def test_a_meta_tensor_stays_one():
    meta = torch.empty(30, 20, device="meta")
    for map_location in ("cpu", {"meta": "cpu"}, lambda storage, _: storage, "meta"):
        back = loads(dumps(meta), map_location=map_location)
        assert (back.device.type, back.shape) == ("meta", meta.shape)


def test_a_message_inside_is_mapped_too():
    inner = Encoded(dumps(torch.ones(3000)))
    assert loads(dumps([inner]), map_location="meta")[0].device.type == "meta"
    assert loads(loads(dumps([inner]), map_location="meta", open_encoded=False)[0].frames).device.type == "cpu"


def test_wrong_locations_are_refused():
    frames = dumps(torch.ones(3000))
    with pytest.raises(DecodeError, match="map_location is a device, its name, a dict or a function, not int"):
        loads(frames, map_location=5)
    with pytest.raises(DecodeError, match=r"map_location returned str: it returns a torch\.UntypedStorage or None"):
        loads(frames, map_location=lambda _storage, location: location)
    with pytest.raises(DecodeError, match="tensors on 'flux' cannot be rebuilt here"):
        loads(frames, map_location="flux")

    def fail(_storage, _location):
        raise KeyError("mine")  # noqa: EM101  # no message

    with pytest.raises(KeyError, match="mine"):
        loads(frames, map_location=fail)
    assert loads(frames).sum() == 3000


@CUDA
@pytest.mark.parametrize("map_location", ["cpu", {"cuda:0": "cpu"}, lambda storage, _: storage])
def test_tensors_of_a_device_go_to_the_host(map_location):
    base = torch.arange(6000.0, device="cuda:0").reshape(60, 100)
    originals = [base, base.T, base[:, ::3], torch.nn.Parameter(base)]
    arrived = loads(received(dumps(originals)), map_location=map_location)
    for back, original in zip(arrived, originals, strict=True):
        assert type(back) is type(original)
        assert back.device.type == "cpu"
        assert torch.equal(back, original.cpu())
    assert arrived[0].untyped_storage() is arrived[1].untyped_storage()


@CUDA
@pytest.mark.parametrize("map_location", ["cuda", "cuda:0", torch.device("cuda", 0), {"cpu": "cuda:0"}])
def test_tensors_of_the_host_go_to_a_device(map_location):
    base = torch.arange(6000.0).reshape(60, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are a prototype, and deprecated
        nested = torch.nested.nested_tensor([torch.ones(3), torch.ones(2)])
        quantized = torch.quantize_per_tensor(torch.ones(3000), 64.0, 3, torch.qint8)
    originals = [base, base.T, base[:, ::3], base[10:20], torch.nn.Parameter(base), torch.ones(0)]
    for memory in (bytearray, bytes):
        arrived = loads(received(dumps(originals), memory), map_location=map_location)
        for back, original in zip(arrived, originals, strict=True):
            assert type(back) is type(original)
            assert back.device == torch.device("cuda", 0)
            assert torch.equal(back.cpu(), original)
        assert arrived[0].untyped_storage() is arrived[1].untyped_storage()
        back = loads(received(dumps([nested, quantized]), memory), map_location=map_location)
        assert all(map(torch.equal, back[0].cpu().unbind(), nested.unbind()))
        assert torch.equal(back[1].cpu().int_repr(), quantized.int_repr())


@CUDA
def test_tensors_of_a_device_return_to_it():
    base = torch.arange(60_000.0, device="cuda").reshape(200, 300)
    originals = [base, base.T, base[:, ::3], base[10:20], torch.nn.Parameter(base)]
    frames = dumps(originals[:2])
    assert shipped(frames) == base.nbytes
    for memory in (bytearray, bytes):
        arrived = loads(received(dumps(originals), memory))
        for back, original in zip(arrived, originals, strict=True):
            assert type(back) is type(original)
            assert back.device == original.device
            assert torch.equal(back, original)
        assert arrived[0].untyped_storage().data_ptr() == arrived[1].untyped_storage().data_ptr()
