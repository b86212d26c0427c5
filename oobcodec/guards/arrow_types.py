"""Guards of Arrow's types, fields and schemas.

An extension type is what whoever registered it makes of it, so that there are only those that Arrow has itself.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from oobcodec.context import LOADING
from oobcodec.guards.arrow_messages import DEEPEST, check_schema
from oobcodec.guards.checks import expect, is_count
from oobcodec.reducers import arrow as reducers
from oobcodec.reducers.arrow_nodes import _children

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oobcodec.reducers.arrow_nodes import DataType

_EXTENSION: Final = b"ARROW:extension:"
_REMEMBERED: Final = 1 << 15
"""Bytes of a schema's message up to which the schema is remembered: most messages of one kind have one schema."""
_LONGEST: Final = (1 << 31) - 1
"""Elements of a list of fixed size."""
_CODES: Final = range(128)
_RUN_ENDS: Final = ("int16", "int32", "int64")


# As a message tells them


def rebuild_schema(data: Any) -> Any:
    """Rebuild a schema from its message."""
    return _remembered(data) if type(data) is bytes and len(data) <= _REMEMBERED else _read(data)


def _read(data: bytes) -> Any:
    check_schema(data)
    return reducers.rebuild_schema.__wrapped__(data)


_remembered = lru_cache(maxsize=64)(_read)


def rebuild_field(data: Any) -> Any:
    """Rebuild a field from the message of a schema that has no other."""
    schema = rebuild_schema(data)
    expect(len(schema) == 1, "the schema of a field has one")
    return schema.field(0)


def rebuild_type(name: Any) -> DataType:
    """Rebuild a type from its name, or from the message of a schema."""
    return reducers.rebuild_type(name) if type(name) is str else rebuild_field(name).type


# As Arrow tells them, or its functions make them


def rebuild_map(key: Any, item: Any, keys_sorted: Any) -> DataType:
    """Rebuild the type of a map from its fields."""
    expect(isinstance(key, pa.Field) and isinstance(item, pa.Field), "a map has a field of keys and one of items")
    expect(type(keys_sorted) is bool, "the keys of a map are sorted or not")
    _weigh([key.type, item.type])
    return reducers.rebuild_map(key, item, keys_sorted)


def rebuild_canonical(name: Any, *arguments: Any) -> DataType:
    """Rebuild an extension type that Arrow has itself."""
    check = _CANONICAL.get(name) if type(name) is str else None
    expect(check is not None and check(*arguments), "an extension type is one of Arrow's own, with what that takes")
    return reducers.rebuild_canonical(name, *arguments)


def _is_plain(*arguments: Any) -> bool:
    return not arguments


def _is_json(storage: Any) -> bool:
    return isinstance(storage, pa.DataType) and str(storage) in {"string", "large_string", "string_view"}


def _is_opaque(storage: Any, name: Any, vendor: Any) -> bool:
    _weigh([storage])
    return type(name) is str and type(vendor) is str


def _is_tensor(value: Any, shape: Any, names: Any, permutation: Any) -> bool:
    return (
        isinstance(value, pa.DataType)
        and pa.types.is_primitive(value)
        and _is_sequence(shape, int)
        and all(map(is_count, shape))
        # An axis without elements does not make the strides of the others small.
        and prod(map(max, shape, [1] * len(shape))) <= _LONGEST
        and (names is None or (_is_sequence(names, str) and len(names) == len(shape)))
        and (permutation is None or (_is_sequence(permutation, int) and sorted(permutation) == [*range(len(shape))]))
    )


_CANONICAL: Final[dict[str, Callable[..., bool]]] = {
    "bool8": _is_plain,
    "fixed_shape_tensor": _is_tensor,
    "json_": _is_json,
    "opaque": _is_opaque,
    "uuid": _is_plain,
}


def make_field(name: Any, data_type: Any, nullable: Any, metadata: Any) -> Any:
    """Make a field."""
    expect(type(name) is str and type(nullable) is bool, "a field has a name, and is nullable or not")
    expect(isinstance(data_type, pa.DataType), "a field has a type")
    _check_metadata(metadata)
    return pa.field(name, data_type, nullable, metadata)


def make_schema(fields: Any, metadata: Any) -> Any:
    """Make a schema."""
    _check_fields(fields)
    _check_metadata(metadata)
    return pa.schema(fields, metadata)


def make_list(value: Any, size: Any = -1) -> DataType:
    """Make the type of lists, of one size if it is given."""
    _check_value(value)
    expect(type(size) is int and -1 <= size <= _LONGEST, "lists have a size")
    return pa.list_(value, size)


def make_struct(fields: Any) -> DataType:
    """Make the type of records."""
    _check_fields(fields)
    return pa.struct(fields)


def make_dictionary(indices: Any, values: Any, ordered: Any) -> DataType:
    """Make the type of values that are numbered."""
    expect(isinstance(indices, pa.DataType) and pa.types.is_integer(indices), "values are numbered by integers")
    expect(type(ordered) is bool, "values are ordered or not")
    _weigh([values])
    return pa.dictionary(indices, values, ordered)


def make_union(fields: Any, mode: Any, codes: Any) -> DataType:
    """Make the type of what has one of several types."""
    _check_fields(fields)
    expect(type(mode) is str and mode in {"sparse", "dense"}, "a union is a sparse or a dense one")
    expect(_is_sequence(codes, int) and len(set(codes)) == len(codes) == len(fields), "a union has a code a type")
    expect(all(code in _CODES for code in codes), "the codes of a union are small")
    return pa.union(fields, mode, codes)


def make_runs(ends: Any, values: Any) -> DataType:
    """Make the type of runs of equal values."""
    expect(isinstance(ends, pa.DataType) and str(ends) in _RUN_ENDS, "runs end at integers")
    _weigh([values])
    return pa.run_end_encoded(ends, values)


def _lists(name: str) -> Callable[[Any], DataType]:
    def make(value: Any) -> DataType:
        _check_value(value)
        return getattr(pa, name)(value)

    return make


def _is_sequence(items: Any, kind: type) -> bool:
    return type(items) in {list, tuple} and all(type(item) is kind for item in items)


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    expect(type(metadata) is dict, "metadata are a dict")
    for key, value in metadata.items():
        expect(type(key) is bytes and type(value) is bytes, "metadata are bytes")
        expect(not key.startswith(_EXTENSION), "metadata do not make an extension type")


def _check_fields(fields: Any) -> None:
    expect(type(fields) is list and all(isinstance(field, pa.Field) for field in fields), "fields are a list of them")
    _weigh([field.type for field in fields])


def _check_value(value: Any) -> None:
    _weigh([value.type if isinstance(value, pa.Field) else value])


def _weigh(level: Sequence[Any]) -> None:
    """Refuse what is no types, or types too deep in each other, and account for all that they consist of.

    The same type may be in another one many times over, and that one too.
    """
    expect(all(isinstance(each, pa.DataType) for each in level), "types consist of types")
    budget = LOADING.get().budget
    for _ in range(DEEPEST):
        budget.operate(len(level) + sum([each.num_fields for each in level]))
        level = [part for each in level for part in _parts(each)]
        if not level:
            return
    expect(condition=False, text=f"types lie in each other {DEEPEST} levels deep at most")


def _parts(data_type: DataType) -> Sequence[DataType]:
    if isinstance(data_type, pa.BaseExtensionType):
        return [data_type.storage_type]
    if isinstance(data_type, pa.DictionaryType):
        return [data_type.index_type, data_type.value_type]
    return _children(data_type)


GUARDS_OF_TYPES: Final[dict[str, Callable[..., Any] | None]] = {
    "oobcodec.reducers.arrow:rebuild_canonical": rebuild_canonical,
    "oobcodec.reducers.arrow:rebuild_field": rebuild_field,
    "oobcodec.reducers.arrow:rebuild_map": rebuild_map,
    "oobcodec.reducers.arrow:rebuild_schema": rebuild_schema,
    "oobcodec.reducers.arrow:rebuild_type": rebuild_type,
    "pyarrow.lib:dictionary": make_dictionary,
    "pyarrow.lib:field": make_field,
    "pyarrow.lib:large_list": _lists("large_list"),
    "pyarrow.lib:large_list_view": _lists("large_list_view"),
    "pyarrow.lib:list_": make_list,
    "pyarrow.lib:list_view": _lists("list_view"),
    "pyarrow.lib:run_end_encoded": make_runs,
    "pyarrow.lib:schema": make_schema,
    "pyarrow.lib:struct": make_struct,
    "pyarrow.lib:union": make_union,
}
