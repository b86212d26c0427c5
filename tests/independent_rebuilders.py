"""The functions that a message of format 1 may name, written from the statement in FORMAT.rst alone."""

import array
import pathlib
import struct
import sys
from operator import attrgetter

import numpy as np

CLASSES = {"MaskedArray": "ma.MaskedArray", "chararray": "char.chararray", "matrix": "matrix"}
CLASSES |= {"mvoid": "ma.core.mvoid", "recarray": "recarray"}


def with_metadata(dtype, metadata):
    return np.dtype(dtype) if metadata is None else np.dtype(dtype, metadata=metadata)


def structured_dtype(parts, itemsize, aligned, base, metadata):
    names, formats, offsets, titles = parts
    fields = {"names": list(names), "formats": list(formats), "offsets": list(offsets), "itemsize": itemsize}
    dtype = np.dtype(fields | ({} if titles is None else {"titles": list(titles)}), align=aligned)
    return with_metadata(dtype if base is None else (base, dtype), metadata)


def ndarray(buffer, dtype, shape, strides=None, offset=0):
    memory, dtype = np.frombuffer(buffer, "u1"), np.dtype(dtype)
    if strides is None:
        return np.ndarray(shape, dtype, memory)
    span = dtype.itemsize + sum((n - 1) * abs(step) for n, step in zip(shape, strides, strict=True))
    if memory.size != span:
        nbytes, offset, sparse, strides = dtype.itemsize, 0, strides, [0] * len(shape)
        for axis in sorted(range(len(shape)), key=lambda axis: (abs(sparse[axis]), -axis)):
            if sparse[axis]:
                strides[axis] = nbytes
                nbytes *= shape[axis]
    return np.ndarray(shape, dtype, memory, offset, strides)


def spaced(buffer, dtype, nbytes, step):
    dtype = np.dtype(dtype)
    return np.ndarray(nbytes // dtype.itemsize, dtype, buffer, 0, step if len(buffer) > nbytes else dtype.itemsize)


def empty(dtype, shape, writeable):
    one = np.ndarray(shape, dtype)
    one.flags.writeable = writeable
    return one


def blank(dtype, shape, order):
    return np.zeros([shape[axis] for axis in order], dtype).transpose(np.argsort(order) if order else None)


def in_memory_order(one):
    order = sorted(range(one.ndim), key=lambda axis: (-abs(one.strides[axis]), axis))
    return one.transpose(order).reshape(-1)


def set_objects(one, state):
    flat = in_memory_order(one)
    for index, obj in enumerate(state[0]):
        flat[index] = obj
    one.flags.writeable = state[1]


def set_fields(one, state):
    for name, part in zip(one.dtype.names, state[0], strict=True):
        one[name][...] = part
    one.flags.writeable = state[1]


def strings(text, lengths, missing, dtype, layout):
    text, stops, one = str(text, "utf-8"), np.cumsum(lengths, dtype="i8"), blank(dtype, *layout[:2])
    parts = [text[stop - n : stop] for n, stop in zip(lengths.tolist(), stops.tolist(), strict=True)]
    if missing is not None:
        parts = [dtype.na_object if absent else part for part, absent in zip(parts, missing, strict=True)]
    in_memory_order(one)[:] = np.array(parts, dtype)
    one.flags.writeable = layout[2]
    return one


def set_attributes(obj, state):
    for attributes in state if type(state) is tuple else (state,):
        for name, value in (attributes or {}).items():
            object.__setattr__(obj, name, value)


def set_masked(one, state):
    mask, fill, hard, shared, is_field, info, attributes = state
    vars(one).update(_mask=np.ma.nomask if mask is None else mask, _fill_value=fill, _hardmask=hard)
    vars(one).update(_sharedmask=shared, _isfield=is_field, _optinfo=info, _basedict=info)
    set_attributes(one, attributes)


def memory_view(buffer, code, shape, itemsize, byteorder):
    assert (byteorder, struct.calcsize(code)) == (sys.byteorder, itemsize)
    view = memoryview(buffer).cast("B")
    return view.cast(code, shape) if view else memoryview(np.ndarray(shape, code))


def typed_array(buffer, typecode, itemsize, byteorder):
    assert (byteorder, array.array(typecode).itemsize) == (sys.byteorder, itemsize)
    return array.array(typecode, bytes(buffer))


NUMPY = {
    "rebuild_ndarray": ndarray,
    "rebuild_spaced": spaced,
    "rebuild_empty": empty,
    "rebuild_broadcast": np.broadcast_to,
    "rebuild_blank": blank,
    "set_objects": set_objects,
    "set_fields": set_fields,
    "rebuild_strings": strings,
    "rebuild_view": lambda cls, one: one.view(attrgetter(CLASSES[cls])(np) if isinstance(cls, str) else cls),
}
SCALARS = {
    "rebuild_bool": np.bool_,
    "rebuild_scalar": lambda dtype, data: np.frombuffer(data, dtype)[0],
    "rebuild_void": lambda dtype, data: np.frombuffer(bytearray(data), dtype)[0],
    "rebuild_element": lambda one: one[()],
    "rebuild_derived": lambda cls, value: type(value).__new__(cls, value),
}
DTYPES = {
    "rebuild_dtype": lambda name, metadata=None: with_metadata(name, metadata),
    "rebuild_extended_dtype": lambda name, _mantissa, metadata=None: with_metadata(name, metadata),
    "rebuild_structured_dtype": structured_dtype,
    "rebuild_subarray_dtype": lambda base, shape, metadata: with_metadata((base, shape), metadata),
    "rebuild_custom_dtype": lambda base, metadata, order="=": with_metadata(
        np.dtype(base).newbyteorder(order), metadata
    ),
    "rebuild_string_dtype": lambda coerce, *na: np.dtypes.StringDType(
        coerce=coerce, **({"na_object": np.nan if na[0] != na[0] else na[0]} if na else {})
    ),
}
LIBRARIES = {
    "attributes": {"set_attributes": set_attributes},
    "numpy": NUMPY,
    "numpy_scalars": SCALARS,
    "numpy_dtypes": DTYPES,
    "numpy_masked": {"set_masked": set_masked, "rebuild_masked_constant": lambda: np.ma.masked},
    "stdlib": {
        "rebuild_memoryview": memory_view,
        "rebuild_array": typed_array,
        "rebuild_path": lambda name, path: getattr(pathlib, name)(path),
    },
}
REBUILD_LIBRARIES = {
    f"oobcodec.reducers.{module}.{name}": function
    for module, functions in LIBRARIES.items()
    for name, function in functions.items()
}
