"""Guards of pandas' offsets and scalars, of the steps of times, and of time zones of pytz."""

from __future__ import annotations

import datetime as dt
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from dateutil.relativedelta import relativedelta  # type: ignore[import-untyped]

from oobcodec.context import LOADING
from oobcodec.guards.checks import claim, expect
from oobcodec.reducers import pandas_arrays as reducers

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[Any], bool]

LEAST: Final = -(2**63)
GREATEST: Final = 2**63 - 1
"""The least and the greatest integer of 64 bits."""


def is_integer(number: Any) -> bool:
    """Tell whether something is an integer of 64 bits, and no bool."""
    return type(number) is int and LEAST <= number <= GREATEST


# Steps of times


_FIXED: Final = {
    pd.offsets.Day: 86_400 * 10**9,
    pd.offsets.Hour: 3_600 * 10**9,
    pd.offsets.Minute: 60 * 10**9,
    pd.offsets.Second: 10**9,
    pd.offsets.Milli: 10**6,
    pd.offsets.Micro: 10**3,
    pd.offsets.Nano: 1,
}
"""Nanoseconds of offsets that always last as long."""
_NANOSECONDS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_STARTS_AND_ENDS: Final = ("Month", "BusinessMonth", "Quarter", "BQuarter", "HalfYear", "BHalfYear", "Year", "BYear")
_VECTORIZED: Final = frozenset(
    {"Week", "BusinessDay", "SemiMonthBegin", "SemiMonthEnd"}
    | {f"{period}{edge}" for period in _STARTS_AND_ENDS for edge in ("Begin", "End")}
)
"""Offsets that pandas adds to an array as a whole."""
_NO_SUCH_TIME: Final = (ValueError, OverflowError, NotImplementedError)
"""What pandas raises where a calendar does not reach."""
_STEP: Final = 100
"""As how many operations one step with another offset counts: it takes some 50 µs."""


def conforming(times: Any, freq: Any) -> Any:
    """Return an offset if it leads from each of some times to the next, and otherwise None.

    Pandas believes what it is told here. It keeps some offsets itself where they no longer hold, after a change of the
    time zone for example, so that this is no reason to refuse the times.
    """
    expect(isinstance(freq, pd.offsets.BaseOffset), "a step of times is an offset")
    if type(freq) is pd.DateOffset:
        freq = freq.copy()  # a message could give another state to the one that it holds
    claim(2 * times.nbytes)
    if len(times) == 0:
        return freq
    zoned = times._ndarray.dtype.kind == "M" and times.tz is not None  # noqa: SLF001
    steps = _steps_by_time if type(freq) in _FIXED else _steps_by_calendar
    if steps(times, freq):
        return freq
    try:
        return freq if zoned and steps(times.tz_localize(None), freq) else None
    except _NO_SUCH_TIME:
        return None


def _steps_by_time(times: Any, freq: Any) -> bool:
    step, rest = divmod(_FIXED[type(freq)] * freq.n, _NANOSECONDS[times.unit])
    ordinals = times._ndarray.view("i8")  # noqa: SLF001
    first, last = int(ordinals[0]), int(ordinals[-1])
    if rest or first == LEAST or (step == 0 and len(times) > 1):
        return False
    # If the last is where it must be, no sum on the way to it was too large for 64 bits.
    return last == first + step * (len(times) - 1) and bool((np.diff(ordinals) == step).all())


def _steps_by_calendar(times: Any, freq: Any) -> bool:
    if times._ndarray.dtype.kind == "m" or pd.isna(times[0]):  # noqa: SLF001
        return False
    try:
        if type(freq).__name__ in _VECTORIZED and not getattr(freq, "offset", None):
            return bool(freq.is_on_offset(times[0]) and (times[:-1] + freq == times[1:]).all())
        LOADING.get().budget.operate(_STEP * len(times))
        made = pd.date_range(times[0], periods=len(times), freq=freq, unit=times.unit)
    except _NO_SUCH_TIME:
        return False
    return bool(np.array_equal(made._data._ndarray, times._ndarray))  # noqa: SLF001


# Offsets


_MOST_STEPS: Final = 1_000_000
_MOST_TIMES: Final = 720  # of minutes in a day, as beginnings of spans that do not overlap
_MOST_LETTERS: Final = 100


def _among(least: int, greatest: int) -> Check:
    return lambda number: type(number) is int and least <= number <= greatest


def _is_weekday(day: Any) -> bool:
    return day is None or _DAY_OF_WEEK(day)


def _are_times(times: Any) -> bool:
    return type(times) is tuple and len(times) <= _MOST_TIMES and {type(time) for time in times} <= {dt.time}


def _are_days(days: Any) -> bool:
    return type(days) is tuple and {type(day) for day in days} <= {np.datetime64}


def _is_duration(duration: Any) -> bool:
    return isinstance(duration, dt.timedelta)


def _is_mask(mask: Any) -> bool:
    return type(mask) is str and len(mask) <= _MOST_LETTERS


def _is_none(calendar: Any) -> bool:
    return calendar is None  # pandas makes it of the holidays


def _is_variation(variation: Any) -> bool:
    return type(variation) is str and variation in {"nearest", "last"}


_MONTH: Final = _among(1, 12)
_DAY_OF_WEEK: Final = _among(0, 6)
_CALENDAR: Final = (_is_mask, _are_days, _is_none)
_FIXED_NAMES: Final = frozenset(cls.__name__ for cls in _FIXED)
_OFFSETS: Final[dict[str, tuple[Check, ...]]] = {
    **dict.fromkeys((*_FIXED_NAMES, "MonthBegin", "MonthEnd", "BusinessMonthBegin", "BusinessMonthEnd"), ()),
    **dict.fromkeys(("QuarterBegin", "QuarterEnd", "BQuarterBegin", "BQuarterEnd"), (_MONTH,)),
    **dict.fromkeys(("HalfYearBegin", "HalfYearEnd", "BHalfYearBegin", "BHalfYearEnd"), (_MONTH,)),
    **dict.fromkeys(("YearBegin", "YearEnd", "BYearBegin", "BYearEnd"), (_MONTH,)),
    **dict.fromkeys(("SemiMonthBegin", "SemiMonthEnd"), (_among(1, 27),)),
    **dict.fromkeys(("CustomBusinessMonthBegin", "CustomBusinessMonthEnd"), (*_CALENDAR, _is_duration)),
    "BusinessDay": (_is_duration,),
    "BusinessHour": (_are_times, _are_times, _is_duration),
    "CustomBusinessDay": (*_CALENDAR, _is_duration),
    "CustomBusinessHour": (*_CALENDAR, _are_times, _are_times, _is_duration),
    "DateOffset": (),
    "Easter": (_among(1, 3),),
    "FY5253": (_DAY_OF_WEEK, _MONTH, _is_variation),
    "FY5253Quarter": (_DAY_OF_WEEK, _MONTH, _among(1, 4), _is_variation),
    "LastWeekOfMonth": (_DAY_OF_WEEK,),
    "Week": (_is_weekday,),
    "WeekOfMonth": (_among(0, 3), _DAY_OF_WEEK),
}
"""What follows the number of steps and whether midnight is meant; the last ones may be left out."""


def guard_offset(name: Any, n: Any = 1, normalize: Any = False, *arguments: Any) -> Any:  # noqa: FBT002  # as on the wire
    """Check what `rebuild_offset` gets: pandas looks up months and weekdays in tables, wherever they may be."""
    expect(type(name) is str and name in _OFFSETS, "an offset is one of pandas")
    expect(is_integer(n) and type(normalize) is bool, "an offset has a number of steps")
    expect(name in _FIXED_NAMES or abs(n) <= _MOST_STEPS, f"an offset is of at most {_MOST_STEPS:,} steps")
    checks = _OFFSETS[name]
    expect(
        len(arguments) <= len(checks) and all(check(each) for check, each in zip(checks, arguments, strict=False)),
        f"the arguments of a {name} are of the ranges that it has",
    )
    return reducers.rebuild_offset(name, n, normalize, *arguments)


_PLURALS: Final = ("years", "months", "weeks", "days", "hours", "minutes", "seconds", "microseconds")
_SINGULARS: Final = ("year", "month", "day", "weekday", "hour", "minute", "second", "microsecond")
_PARTS: Final = frozenset((*_PLURALS, *_SINGULARS, "milliseconds", "nanoseconds", "nanosecond", "millisecond"))
_STATE: Final = frozenset(("_offset", "_use_relativedelta", "n", "normalize"))
_MOST: Final = 10**12


def set_offset_state(offset: Any, state: Any) -> None:
    """Set the parts of a `pandas.DateOffset`, from which pandas makes all else that is in its state."""
    parts = {name: part for name, part in state.items() if name not in _STATE}
    expect(parts.keys() <= _PARTS, "an offset consists of units of time")
    expect(all(type(part) is int and abs(part) <= _MOST for part in parts.values()), "units of time are counted")
    n, normalize = state["n"], state["normalize"]
    expect(type(n) is int and abs(n) <= _MOST_STEPS and type(normalize) is bool, "an offset has a number of steps")
    offset.__setstate__(pd.DateOffset(n, normalize, **parts).__getstate__())


def guard_relativedelta() -> Any:
    """Return the empty `dateutil.relativedelta`, as its unpickling does."""
    return relativedelta()


_DELTAS: Final = frozenset(vars(relativedelta()))


def set_relativedelta_state(delta: Any, state: Any) -> None:
    """Set the parts of a `dateutil.relativedelta`."""
    expect(type(state) is dict and state.keys() == _DELTAS, "a relativedelta consists of units of time")
    numbers = [part for part in state.values() if part is not None]
    expect(all(type(part) is int and abs(part) <= _MOST for part in numbers), "units of time are counted")
    expect(None not in [state[name] for name in (*_PLURALS[:2], *_PLURALS[3:])], "durations are numbers")
    vars(delta).update(state)


# Scalars


_RESOLUTIONS: Final = range(7, 11)
"""What pandas calls units of times inside: from seconds to nanoseconds."""
_SECONDS: Final = range(-62_135_596_800 + 86_400, 253_402_300_800 - 86_400)
"""Those of 1970 in all years that Python knows, but for a day at either end."""
_TIMESTAMP: Final = pd.Timestamp(0).__reduce__()[0]
_TIMEDELTA: Final = pd.Timedelta(0).__reduce__()[0]
_ENDS: Final = (int, float, np.integer, np.floating, pd.Timestamp, pd.Timedelta)


def guard_timestamp(value: Any, freq: Any, zone: Any, resolution: Any = 10) -> Any:
    """Check what pandas pickles a timestamp as."""
    expect(freq is None and (zone is None or isinstance(zone, dt.tzinfo)), "a timestamp has a time zone or none")
    _check_time(value, resolution)
    if zone is not None and type(zone) is not dt.timezone:
        # Pandas 2 prints what Python says to others, and goes on.
        expect(value // 1000 ** (resolution - 7) in _SECONDS, "a time zone is of years that Python knows")
    return _TIMESTAMP(value, None, zone, resolution)


def guard_timedelta(value: Any, resolution: Any) -> Any:
    """Check what pandas pickles a timedelta as."""
    _check_time(value, resolution)
    return _TIMEDELTA(value, resolution)


def _check_time(value: Any, resolution: Any) -> None:
    # The least one is that of no time, which is no timestamp.
    expect(is_integer(value) and value != LEAST, "a time is an integer of 64 bits")
    expect(type(resolution) is int and resolution in _RESOLUTIONS, "a time has a unit of pandas")


def guard_period(value: Any, freq: Any, ordinal: Any) -> Any:
    """Check what pandas pickles a period as."""
    expect(value is None and isinstance(freq, pd.offsets.BaseOffset), "a period has a frequency")
    expect(is_integer(ordinal), "a period has a number of 64 bits")
    return pd.Period(None, freq, ordinal)


def guard_interval(left: Any, right: Any, closed: Any) -> Any:
    """Check what pandas pickles an interval as; which ends are closed, it checks itself."""
    expect(all(isinstance(end, _ENDS) for end in (left, right)), "an interval is between numbers or times")
    expect(type(closed) is str, "the ends of an interval are closed in a way that has a name")
    return pd.Interval(left, right, closed)


# Time zones of pytz, which pandas 2 makes of their names


def guard_pytz_zone(zone: Any, offset: Any = None, dst: Any = None, name: Any = None) -> Any:
    """Check what pytz pickles a time zone as: it would keep times of such a zone that it does not know for good."""
    found = known_pytz_zone(zone)
    if offset is None:
        return found
    expect(is_integer(offset) and is_integer(dst), "a time zone is so many seconds from another one")
    times = dt.timedelta(seconds=offset), dt.timedelta(seconds=dst)
    expect(times in [key[:2] for key in getattr(found, "_tzinfos", ())], "a time zone has the times that pytz knows")
    return _pytz()._p(zone, offset, dst, name)  # noqa: SLF001


def known_pytz_zone(zone: Any) -> Any:
    """Return a time zone of pytz that has a name, which is no file."""
    pytz = _pytz()
    expect(type(zone) is str and zone in pytz.all_timezones_set, "a time zone is one that pytz knows")
    return pytz.timezone(zone)


def guard_pytz_utc() -> Any:
    """Return the UTC of pytz."""
    return _pytz().UTC


def guard_pytz_offset(minutes: Any) -> Any:
    """Check what pytz pickles a fixed offset as, of which it keeps every one."""
    expect(is_integer(minutes) and abs(minutes) < _DAY, "a time zone is less than a day from another one")
    return _pytz().FixedOffset(minutes)


def _pytz() -> Any:
    return import_module("pytz")  # most never need it


_DAY: Final = 24 * 60

GUARDS: Final[dict[str, Callable[..., Any] | None]] = {
    "dateutil.relativedelta:relativedelta": guard_relativedelta,
    "oobcodec.reducers.pandas_arrays:rebuild_offset": guard_offset,
    # Under these names they come from pandas 3, and from pandas 2.
    "pandas:Interval": guard_interval,
    "pandas:Period": guard_period,
    "pandas._libs.interval:Interval": guard_interval,
    "pandas._libs.tslibs.period:Period": guard_period,
    "pandas._libs.tslibs.timedeltas:_timedelta_unpickle": guard_timedelta,
    "pandas._libs.tslibs.timestamps:_unpickle_timestamp": guard_timestamp,
    "pytz:FixedOffset": guard_pytz_offset,
    "pytz:_UTC": guard_pytz_utc,
    "pytz:_p": guard_pytz_zone,
}

STATES: Final[dict[type, Callable[[Any, Any], None]]] = {
    pd.DateOffset: set_offset_state,
    relativedelta: set_relativedelta_state,
}
