import numpy as np
import pytest
from helpers import received, transferred

from oobcodec.codec import dumps, loads


def assert_equal(actual, expected):
    assert type(actual) is type(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.data.tobytes() == np.ascontiguousarray(expected.data).tobytes()
    assert (actual.mask is np.ma.nomask) == (expected.mask is np.ma.nomask)
    assert np.array_equal(actual.mask, expected.mask)
    assert type(actual.data) is type(expected.data)
    assert (actual._fill_value is None) == (expected._fill_value is None)
    assert np.array_equal(actual.fill_value, expected.fill_value, equal_nan=expected.dtype.kind in "fM")
    assert actual.hardmask == expected.hardmask
    assert actual.sharedmask == expected.sharedmask
    assert actual._isfield == expected._isfield
    assert actual._optinfo == expected._optinfo


class Tagged(np.ma.MaskedArray):
    def __new__(cls, data, tag=None, **options):
        new = np.ma.MaskedArray.__new__(cls, data, **options)
        new.tag = tag
        return new

    def __array_finalize__(self, obj):
        super().__array_finalize__(obj)
        self.tag = getattr(obj, "tag", None)


class Slotted(np.ma.MaskedArray):
    __slots__ = ("label",)


@pytest.mark.parametrize("dtype", ["i4", "f4", "f8", "?", "M8[s]", "S3", "i4,f8", "c16"])
@pytest.mark.parametrize("mask", ["some", "all", "none", "nomask"])
@pytest.mark.parametrize("count", [5, 3000])
def test_data_and_mask_arrive(dtype, mask, count):
    masks = {"some": np.arange(count) % 3 == 0, "all": True, "none": False, "nomask": np.ma.nomask}
    array = np.ma.MaskedArray(np.zeros(count, dtype), masks[mask])
    assert_equal(transferred(array), array)
    assert_equal(transferred(array[::2]), array[::2])
    assert_equal(transferred(array[:0]), array[:0])


def test_data_and_mask_travel_uncopied():
    array = np.ma.MaskedArray(np.arange(6000.0).reshape(60, 100), np.zeros((60, 100), bool), fill_value=np.nan)
    frames = dumps(array)
    assert len(frames) == 4
    assert np.shares_memory(array.data, np.frombuffer(frames[2]))
    assert np.shares_memory(array.mask, np.frombuffer(frames[3], bool))
    arrived = received(frames)
    back = loads(arrived)
    assert_equal(back, array)
    assert np.shares_memory(back.data, np.frombuffer(arrived[2]))
    assert np.shares_memory(back.mask, np.frombuffer(arrived[3], bool))
    back[3, 4] = np.ma.masked
    assert back.mask[3, 4]
    assert not array.mask[3, 4]


@pytest.mark.parametrize("fill_value", [None, 7, np.nan])
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_fill_value_hardness_and_sharing(fill_value, hard, shared):
    array = np.ma.MaskedArray([1.0, 2.0], [False, True], fill_value=fill_value, hard_mask=hard)
    if not shared:
        array.unshare_mask()
    back = transferred(array)
    assert_equal(back, array)
    back[1] = 5
    assert (back[1] is np.ma.masked) == hard


def test_structures_objects_and_their_elements():
    array = np.ma.MaskedArray([(1, 2.5), (3, 4.5)], mask=[(0, 1), (1, 0)], dtype="i4,f8", fill_value=(9, 9))
    assert_equal(transferred(array), array)
    assert_equal(transferred(array["f0"]), array["f0"])
    element = array[0]
    back = transferred(element)
    assert type(back) is type(element)
    assert back[0] == 1
    assert back[1] is np.ma.masked
    inner = np.arange(1000.0)
    objects = np.ma.MaskedArray(np.array([None, None, "a"], object), [0, 1, 0])
    objects.data[0] = inner
    back = transferred(objects)
    assert np.array_equal(back[0], inner)
    assert back[1] is np.ma.masked
    assert len(dumps(objects)) == 3


def test_the_class_of_the_data_arrives():
    array = np.ma.MaskedArray(np.arange(4.0).reshape(2, 2).view(np.matrix), [[0, 1], [0, 0]])
    assert_equal(transferred(array), array)
    assert type(transferred(array).data) is np.matrix


def test_the_masked_constant_is_the_one_of_the_process():
    assert transferred(np.ma.masked) is np.ma.masked
    assert transferred([np.ma.masked, {"k": np.ma.masked}])[1]["k"] is np.ma.masked


def test_subclasses_keep_class_and_attributes():
    array = Tagged([1, 2, 3], tag=["t"], mask=[0, 1, 0])
    array._optinfo["note"] = "kept"
    array.later = 5
    back = transferred(array)
    assert_equal(back, array)
    assert back.tag == ["t"]
    assert back.later == 5
    assert back._basedict is back._optinfo
    slotted = np.ma.MaskedArray([1, 2], [0, 1]).view(Slotted)
    slotted.label = "name"
    assert_equal(transferred(slotted), slotted)
    assert transferred(slotted).label == "name"


def test_a_mask_that_two_arrays_share_is_one_mask_again():
    mask = np.zeros(3000, bool)
    left, right = np.ma.MaskedArray(np.zeros(3000), mask), np.ma.MaskedArray(np.ones(3000), mask)
    left._mask = right._mask = mask
    left, right = transferred([left, right])
    left.mask[5] = True
    assert right.mask[5]


@pytest.mark.parametrize("count", [5, 3000])
def test_writable_false_makes_data_and_mask_read_only(count):
    back = loads(received(dumps(np.ma.MaskedArray(np.zeros(count), np.zeros(count, bool)))), writable=False)
    assert not back.data.flags.writeable
    assert not back.mask.flags.writeable


def test_none_of_numpys_own_names_enters_the_message():
    stream = b"".join(dumps([np.ma.MaskedArray([1], [1]), np.ma.masked])[1:])
    for name in (b"numpy.ma", b"\x05_mask", b"_fill_value", b"_core"):
        assert name not in stream
