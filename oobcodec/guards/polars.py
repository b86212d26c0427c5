"""Guards of polars' data: frames and series, of validated Arrow tables only.

What polars pickles in its own way ends the process where it is damaged, and a plan may run anything: neither is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
from polars.datatypes import DataTypeClass

from oobcodec.context import LOADING
from oobcodec.errors import PolicyError
from oobcodec.guards.attributes import check_plain
from oobcodec.guards.checks import claim, expect, is_count
from oobcodec.guards.polars_types import GUARDS_OF_TYPES, STATES_OF_TYPES
from oobcodec.names import Name
from oobcodec.reducers import polars as reducers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LISTS: Final = frozenset({list, tuple})
_OBJECT: Final = Name("polars.datatypes.classes", "Object")
_TEXTS: Final = frozenset(
    getattr(pa.lib, f"Type_{name}")
    for name in ("LARGE_STRING", "LARGE_BINARY", "STRING_VIEW", "BINARY_VIEW")
    if hasattr(pa.lib, f"Type_{name}")
)
_NESTED: Final = frozenset({pa.lib.Type_LARGE_LIST, pa.lib.Type_FIXED_SIZE_LIST})
_FLAT: Final = _TEXTS | {
    getattr(pa.lib, f"Type_{name}")
    for name in (
        *("NA", "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
        *("HALF_FLOAT", "FLOAT", "DOUBLE", "DECIMAL128", "DATE32", "TIME64", "TIMESTAMP", "DURATION"),
    )
}
"""Types that polars has, as it makes Arrow of them. Others it takes for something else, or panics."""
_WIDE: Final = pa.binary(16)
"""What 128-bit integers travel as."""
_MOST_ROWS: Final = (1 << 32) - 1 if pl.get_index_type() == pl.UInt32 else (1 << 64) - 1
_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes})
_NOTHING: Final[bytes] = pl.DataFrame().__getstate__()
"""The state of a frame without columns, the only one that is known to be harmless."""


def rebuild_frame(table: Any, orders: Any, needs: Any = None) -> pl.DataFrame:
    """Rebuild a frame over the memory of an Arrow table, which was validated in full."""
    expect(isinstance(table, pa.Table) and table.num_columns > 0, "a frame comes as a table with columns")
    expect(table.num_rows <= _MOST_ROWS, "a frame has as many rows as this polars can count")
    expect(type(orders) in _LISTS and len(orders) == table.num_columns, "each column has an order")
    expect(all(type(order) is str and order in {"", "a", "d"} for order in orders), "an order is one that there is")
    _check_needs(needs)
    for data_type in table.schema.types:
        expect(not _count_wide(data_type), "a column has a type of polars")
    frame = reducers.rebuild_frame(table, (), needs)
    for i, order in enumerate(orders):
        if order and _is_sorted(frame.to_series(i), descending=order == "d"):
            frame.replace_column(i, frame.to_series(i).set_sorted(descending=order == "d"))
    return frame


def _check_needs(needs: Any) -> None:
    if needs is None:
        return
    expect(type(needs) in _LISTS and len(needs) == 2, "what a frame needs is a version and names")  # noqa: PLR2004
    version, names = needs
    expect(type(version) is str and type(names) in _LISTS, "what a frame needs is a version and names")
    expect(all(type(name) is str for name in names), "what a frame needs is a version and names")


def _count_wide(data_type: Any) -> int:
    """Return how many 128-bit integers are in a type, and refuse one that polars does not have."""
    number = data_type.id
    if number in _NESTED:
        # Polars panics over arrays without elements.
        expect(getattr(data_type, "list_size", 1), "an array has elements")
        return _count_wide(data_type.value_type)
    if number == pa.lib.Type_STRUCT:
        return sum([_count_wide(data_type.field(i).type) for i in range(data_type.num_fields)])
    if number == pa.lib.Type_DICTIONARY:
        expect(data_type.value_type.id in _TEXTS, "categories are text")
    else:
        expect(number in _FLAT or data_type == _WIDE, "a column has a type of polars")
    return int(data_type == _WIDE)


def _is_sorted(series: pl.Series, *, descending: bool) -> bool:
    """Tell whether polars may rely on an order: with a wrong one, it gives wrong answers."""
    try:
        return any(series.is_sorted(descending=descending, nulls_last=last) for last in (False, True))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False  # such elements have no order


def rebuild_series(table: Any, order: Any, needs: Any = None) -> pl.Series:
    """Rebuild a series as the one column of a frame."""
    frame = rebuild_frame(table, [order], needs)
    return frame.to_series()


def rebuild_wide(table: Any, signs: Any, order: Any, needs: Any) -> pl.Series:
    """Rebuild a series with 128-bit integers in it, whose table was validated in full."""
    expect(isinstance(table, pa.Table) and table.num_columns == 1, "a series comes as a table with a column")
    expect(table.num_rows <= _MOST_ROWS, "a series has as many rows as this polars can count")
    expect(type(signs) is str and set(signs) <= {"i", "u"}, "an integer has a sign or not")
    expect(0 < _count_wide(table.schema.types[0]) == len(signs), "all integers of 128 bits have a sign or not")
    expect(type(order) is str and order in {"", "a", "d"}, "an order is one that there is")
    _check_needs(needs)
    expect(needs is not None, "what a series needs is a version and names")
    series = reducers.rebuild_wide(table, signs, "", needs)
    descending = order == "d"
    return series.set_sorted(descending=descending) if order and _is_sorted(series, descending=descending) else series


def rebuild_renamed(series: Any, name: Any) -> pl.Series:
    """Rebuild a series with a name that Arrow would not carry."""
    expect(type(series) is pl.Series and type(name) is str, "a series has a name")
    return reducers.rebuild_renamed(series, name)


def rebuild_rows(height: Any, version: Any) -> pl.DataFrame:
    """Rebuild a frame of so many rows without columns."""
    expect(is_count(height) and height <= _MOST_ROWS, "a frame has some rows")
    expect(type(version) is str, "a version is text")
    claim(height)
    return reducers.rebuild_rows(height, version)


def rebuild_columns(columns: Any) -> pl.DataFrame:
    """Rebuild a frame from its columns."""
    expect(type(columns) is list and all(type(each) is pl.Series for each in columns), "columns are series")
    expect(len({len(column) for column in columns}) <= 1, "the columns of a frame have one length")
    return reducers.rebuild_columns(columns)


def rebuild_elements(name: Any, elements: Any, dtype: Any) -> pl.Series:
    """Rebuild a series from Python's objects: as what they are, or as lists that have no elements in the end."""
    expect(type(name) is str and type(elements) is list, "a series has a name and elements")
    if dtype == _OBJECT:
        dtype = pl.Object()
    expect(isinstance(dtype, pl.DataType | DataTypeClass), "a series has a dtype")
    if dtype != pl.Object:
        _check_elements(elements, dtype, len(elements))
    return reducers.rebuild_elements(name, elements, dtype)


def _check_elements(elements: Sequence[Any], dtype: Any, count: int) -> None:
    """Refuse what is no such elements, and account for them: an array has all of its elements where it is null, too.

    Parameters
    ----------
    elements
        All on one level.
    dtype
        Their dtype.
    count
        How many they are with those that only nulls stand for.
    """
    claim(count)
    LOADING.get().budget.operate(len(elements))
    given = [element for element in elements if element is not None]
    if isinstance(dtype, pl.List | pl.Array):
        expect(all(type(element) is list for element in given), "the elements of a list are in one")
        LOADING.get().budget.operate(sum(map(len, given)))
        inner = [each for element in given for each in element]
        if isinstance(dtype, pl.Array):
            expect(all(len(element) == dtype.size for element in given), "an array has as many elements as it says")
        _check_elements(inner, dtype.inner, count * dtype.size if isinstance(dtype, pl.Array) else len(inner))
    elif isinstance(dtype, pl.Struct):
        names = [field.name for field in dtype.fields]
        expect(all(type(one) is dict and list(one) == names for one in given), "the elements of a struct have names")
        for field in dtype.fields:
            _check_elements([element[field.name] for element in given], field.dtype, count)
    else:
        expect(dtype != pl.Object and not dtype.is_nested(), "objects are in nothing, and elements of a type")
        expect(all(type(element) in _LEAVES for element in given), "elements are plain")


def set_attributes(obj: Any, state: Any) -> None:
    """Give a frame, a series or a schema the attributes that somebody has set."""
    expect(type(obj) in {pl.DataFrame, pl.Series, pl.Schema}, "what has attributes is a frame, a series or a schema")
    expect(type(state) is tuple and len(state) == 2, "attributes come behind a state")  # noqa: PLR2004
    own, attributes = state
    if own is not None:
        _refuse_pickled()
    check_plain(obj, attributes)
    reducers.set_attributes(obj, (None, attributes))


# What is pickled as polars does it


def make_frame() -> pl.DataFrame:
    """Make a frame without columns, whose state follows."""
    return pl.DataFrame()


def set_nothing(_: pl.DataFrame, state: Any) -> None:
    """Take the state of a frame without columns, and no other."""
    if type(state) is not bytes or state != _NOTHING:
        _refuse_pickled()


def _refuse_pickled(*_: Any) -> NoReturn:
    message = (
        "refused a state of polars' own (policy DATA), which ends the process where it is damaged. Let the sender cast "
        "what Arrow does not carry; to accept it from this peer: policy=TRUSTED."
    )
    raise PolicyError(message)


def _refuse_plan(*_: Any) -> NoReturn:
    message = (
        "refused an expression or a lazy frame of polars (policy DATA), which may read files or call functions. "
        "Let the sender collect it; to accept it from this peer: policy=TRUSTED."
    )
    raise PolicyError(message)


GUARDS: Final[dict[str, Callable[..., Any] | None]] = GUARDS_OF_TYPES | {
    "oobcodec.reducers.polars:rebuild_columns": rebuild_columns,
    "oobcodec.reducers.polars:rebuild_elements": rebuild_elements,
    "oobcodec.reducers.polars:rebuild_frame": rebuild_frame,
    "oobcodec.reducers.polars:rebuild_pickled": _refuse_pickled,
    "oobcodec.reducers.polars:rebuild_plan": _refuse_plan,
    "oobcodec.reducers.polars:rebuild_renamed": rebuild_renamed,
    "oobcodec.reducers.polars:rebuild_rows": rebuild_rows,
    "oobcodec.reducers.polars:rebuild_series": rebuild_series,
    "oobcodec.reducers.polars:rebuild_wide": rebuild_wide,
    "oobcodec.reducers.polars:set_attributes": set_attributes,
    "polars.dataframe.frame:DataFrame": make_frame,
    "polars.series.series:Series": _refuse_pickled,
}
TAKES_NAMES: Final = frozenset(
    {"oobcodec.reducers.polars:rebuild_elements", "oobcodec.reducers.polars:rebuild_pickled"}
)
STATES: Final[dict[type, Callable[[Any, Any], None]]] = STATES_OF_TYPES | {pl.DataFrame: set_nothing}
