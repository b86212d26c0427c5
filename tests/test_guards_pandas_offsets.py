import datetime as dt
import sys
from types import ModuleType
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from dateutil.relativedelta import relativedelta
from guarding import arrived

from oobcodec.context import LOADING, LoadOptions
from oobcodec.errors import DecodeError, LimitError
from oobcodec.guards import pandas_offsets as guards
from oobcodec.guards.pandas_offsets import conforming, guard_offset
from oobcodec.limits import FOR_DATA, Budget, Limits
from oobcodec.reducers import pandas

pandas.register()

BERLIN = ZoneInfo("Europe/Berlin")
HUGE = (2**63, -(2**63) - 1, 10**30)
NO_DURATION = dt.timedelta(0)


@pytest.fixture
def limited():
    def limit(limits=FOR_DATA):
        LOADING.set(LoadOptions(budget=Budget(limits)))

    token = LOADING.set(LoadOptions(budget=Budget(FOR_DATA)))
    yield limit
    LOADING.reset(token)


OFFSETS = [
    *(getattr(pd.offsets, name)(n) for name in ("Day", "Hour", "Minute", "Second", "Nano") for n in (-3, 0, 10_000)),
    pd.offsets.Nano(10**15),
    *(
        getattr(pd.offsets, name)(3)
        for name in ("MonthBegin", "BusinessMonthEnd", "QuarterEnd", "BYearBegin", "Easter")
    ),
    pd.offsets.YearEnd(month=6),
    pd.offsets.QuarterBegin(startingMonth=2),
    pd.offsets.Week(),
    pd.offsets.Week(-2, weekday=6),
    pd.offsets.WeekOfMonth(week=3, weekday=0),
    pd.offsets.LastWeekOfMonth(weekday=4),
    pd.offsets.SemiMonthEnd(day_of_month=20),
    pd.offsets.MonthBegin(normalize=True),
    pd.offsets.BusinessDay(offset=dt.timedelta(hours=1)),
    pd.offsets.BusinessHour(start=["09:30", "14:00"], end=["12:00", "17:15"]),
    pd.offsets.CustomBusinessDay(2, holidays=["2024-02-29"], weekmask="Mon Tue Wed"),
    pd.offsets.CustomBusinessHour(start="08:00", holidays=["2024-02-29"]),
    pd.offsets.CustomBusinessMonthEnd(weekmask="1111100"),
    pd.offsets.FY5253(weekday=4, startingMonth=12, variation="last"),
    pd.offsets.FY5253Quarter(weekday=4, startingMonth=1, qtr_with_extra_week=4, variation="nearest"),
    pd.DateOffset(),
    pd.DateOffset(4),
    pd.DateOffset(months=2, days=-1, hour=3),
    pd.DateOffset(nanoseconds=7),
    pd.DateOffset(years=1, normalize=True),
]


@pytest.mark.parametrize("offset", OFFSETS, ids=repr)
def test_offsets_arrive_as_they_left(offset):
    got = arrived(offset)
    assert type(got) is type(offset)
    assert got == offset
    assert repr(got) == repr(offset)
    assert pd.Timestamp("2024-01-31") + got == pd.Timestamp("2024-01-31") + offset


@pytest.mark.parametrize(
    "arguments",
    [
        ("BaseOffset", 1, False),
        ("Tick", 1, False),
        ("__name__",),
        ("to_offset", 1, False),
        (1,),
        (["Day"],),
        ("Day", True),
        ("Day", 1.0),
        ("Day", None),
        ("Day", "1"),
        *[("Day", n) for n in HUGE],
        ("MonthEnd", 10**7),
        ("MonthEnd", -(10**7)),
        ("Day", 1, 0),
        ("Day", 1, None),
        ("Day", 1, False, 1),
        ("QuarterEnd", 1, False, 0),
        ("QuarterEnd", 1, False, 13),
        ("BQuarterBegin", 1, False, 2**31 - 1),
        ("QuarterEnd", 1, False, 3.0),
        ("QuarterEnd", 1, False, True),
        ("YearEnd", 1, False, -1),
        ("FY5253", 1, False, 0, 0, "nearest"),
        ("FY5253", 1, False, 7, 1, "nearest"),
        ("FY5253", 1, False, 1, 1, "other"),
        ("FY5253", 1, False, 1, 1, 3),
        ("FY5253", 1, False, 1, 1, "last", 1),
        ("FY5253Quarter", 1, False, 1, 1, 5, "last"),
        ("Week", 1, False, 7),
        ("Week", 1, False, "MON"),
        ("WeekOfMonth", 1, False, 4, 0),
        ("SemiMonthEnd", 1, False, 28),
        ("Easter", 1, False, 4),
        ("BusinessDay", 1, False, 5),
        ("BusinessHour", 1, False, (dt.time(9),) * 721, (dt.time(17),), NO_DURATION),
        ("BusinessHour", 1, False, ("09:00",), (dt.time(17),), NO_DURATION),
        ("BusinessHour", 1, False, [dt.time(9)], (dt.time(17),), NO_DURATION),
        ("CustomBusinessDay", 1, False, "Mon", ("2024-01-01",), None, NO_DURATION),
        ("CustomBusinessDay", 1, False, "Mon", [], None, NO_DURATION),
        ("CustomBusinessDay", 1, False, "Mon " * 100, (), None, NO_DURATION),
        ("CustomBusinessDay", 1, False, [1] * 7, (), None, NO_DURATION),
        ("CustomBusinessDay", 1, False, "Mon", (), np.busdaycalendar(), NO_DURATION),
    ],
    ids=lambda arguments: repr(arguments)[:60],
)
def test_offsets_with_other_arguments_are_refused(arguments):
    with pytest.raises(DecodeError):
        guard_offset(*arguments)


def test_what_the_class_itself_refuses_is_refused():
    with pytest.raises(ValueError, match="all zeros"):
        guard_offset("CustomBusinessDay", 1, *(False, "0000000", (), None, NO_DURATION))
    with pytest.raises(ValueError, match="overlap"):
        guard_offset("BusinessHour", 1, *(False, (dt.time(9), dt.time(10)), (dt.time(12), dt.time(13)), NO_DURATION))


# The state of an offset


def test_state_of_an_offset_is_made_anew_from_its_parts():
    offset = pd.DateOffset()
    state = {"_offset": "hostile", "_use_relativedelta": 5, "months": 2, "n": 3, "normalize": True}
    guards.set_offset_state(offset, state)
    assert offset == pd.DateOffset(3, normalize=True, months=2)
    assert pd.Timestamp("2024-01-01 12:00") + offset == pd.Timestamp("2024-07-01")


@pytest.mark.parametrize(
    "parts",
    [
        {"_cache": {}},
        {"__class__": 1},
        {"months": 1.5},
        {"months": True},
        {"months": "1"},
        {"months": 10**13},
        {"weekday": None},
        {"n": 10**7},
        {"n": True},
        {"normalize": 1},
    ],
    ids=repr,
)
def test_state_of_an_offset_with_other_parts_is_refused(parts):
    offset = pd.DateOffset()
    with pytest.raises(DecodeError):
        guards.set_offset_state(offset, {"n": 1, "normalize": False, **parts})
    assert offset == pd.DateOffset()


def test_relativedeltas_arrive_as_they_left():
    delta = relativedelta(years=-1, months=2, weeks=1, hour=3, leapdays=1)
    got = guards.guard_relativedelta()
    guards.set_relativedelta_state(got, dict(vars(delta)))
    assert got == delta
    assert arrived(delta) == delta


@pytest.mark.parametrize(
    "parts",
    [{"more": 1}, {"months": "1"}, {"months": 10**13}, {"months": None}, {"weekday": [1]}, {"days": True}],
    ids=repr,
)
def test_relativedeltas_with_other_parts_are_refused(parts):
    with pytest.raises(DecodeError):
        guards.set_relativedelta_state(relativedelta(), {**vars(relativedelta()), **parts})
    with pytest.raises(DecodeError):
        guards.set_relativedelta_state(relativedelta(), list(parts))


# Steps of times


def array(*arguments, **options):
    index = pd.date_range(*arguments, **options)
    return index.array, index.freq


STEPS = {
    "hours": array("2024", periods=50, freq="3h"),
    "hours back": array("2024", periods=50, freq="-3h"),
    "nanoseconds": array("2024", periods=50, freq="7ns", unit="ns"),
    "days": array("2024", periods=50, freq="D"),
    "days, clocks changed": array("2024-03-20", periods=50, freq="2D", tz=BERLIN),
    "hours, clocks changed": array("2024-03-20", periods=500, freq="h", tz=BERLIN),
    "business days": array("2024", periods=50, freq="B"),
    "month ends": array("2024", periods=50, freq="2MS", tz=BERLIN, unit="s"),
    "quarters": array("2024", periods=50, freq="QS-FEB"),
    "weeks": array("2024", periods=50, freq="W-WED"),
    "custom": array("2024", periods=50, freq=pd.offsets.CustomBusinessDay(holidays=["2024-03-05"])),
    "business hours": array("2024-01-01 10:00", periods=50, freq="bh"),
    "months and days": array("2024", periods=50, freq=pd.DateOffset(months=1, days=2)),
    "durations": ((one := pd.timedelta_range(0, periods=9, freq="3s")).array, one.freq),
    "one": array("2024", periods=1, freq="D"),
    "none": array("2024", periods=0, freq="ME"),
    "seconds": array("2024", periods=9, freq="h", unit="s"),
}


@pytest.mark.parametrize(("times", "freq"), STEPS.values(), ids=STEPS)
def test_step_that_leads_from_each_time_to_the_next_is_kept(times, freq):
    assert conforming(times, freq) == freq


@pytest.mark.parametrize(("times", "freq"), STEPS.values(), ids=STEPS)
def test_step_that_does_not_is_left_out(times, freq):
    if len(times) > 2:
        values = times._ndarray.copy()
        values[-1] += 1
        assert conforming(type(times)._simple_new(values, dtype=times.dtype), freq) is None
        values[0] = "NaT"
        assert conforming(type(times)._simple_new(values, dtype=times.dtype), freq) is None


ONE_DAY = pd.array(np.array([0], "M8[s]"))


@pytest.mark.parametrize(
    ("times", "freq"),
    [
        (pd.array(np.array([1, 1], "M8[s]")), pd.offsets.Day(0)),
        (pd.array(np.array([1, 2], "M8[s]")), pd.offsets.Nano(1)),
        (pd.array(np.array([1, 2], "m8[s]")), pd.offsets.MonthEnd()),
        (pd.array(np.array([-(2**63) + 1, 2**63 - 1], "i8").view("M8[s]")), pd.offsets.Second(-2)),
        (pd.array(np.array([2**62, 0], "i8").view("M8[s]")), pd.offsets.Nano(2**62)),
        (pd.array(np.array([0, 2**62], "i8").view("M8[s]")), pd.offsets.MonthEnd()),
        (pd.array(np.array([2**62, 0], "i8").view("M8[s]")), pd.offsets.Easter()),
        (ONE_DAY, pd.offsets.YearEnd()),
        array("2024-01-01 03:00", periods=5, freq=pd.offsets.BDay(offset=dt.timedelta(hours=3))),
        (ONE_DAY, pd.offsets.WeekOfMonth(week=3, weekday=3)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_step_of_other_times_is_left_out(times, freq):
    assert conforming(times, freq) is None


def test_step_of_times_that_have_no_local_time_is_left_out():
    values = np.array([2**63 - 1, 5], "i8").view("M8[s]")
    times = pd.arrays.DatetimeArray._simple_new(values, dtype=pd.DatetimeTZDtype("s", BERLIN))
    assert conforming(times, pd.offsets.Hour()) is None


def test_step_is_an_offset():
    for freq in ("D", 1, dt.timedelta(1), pd.Timedelta(1)):
        with pytest.raises(DecodeError, match="a step of times is an offset"):
            conforming(ONE_DAY, freq)


def test_step_does_not_change_with_the_offset_that_a_message_holds():
    times, _ = STEPS["months and days"]
    freq = pd.DateOffset(months=1, days=2)
    kept = conforming(times, freq)
    guards.set_offset_state(freq, {"months": 5, "n": 1, "normalize": False})
    assert kept == pd.DateOffset(months=1, days=2)


def test_work_of_looking_at_steps_is_limited(limited):
    times, freq = array("2024-01-01 10:00", periods=2000, freq="bh")
    limited(Limits(max_operations=100_000))
    with pytest.raises(LimitError, match="max_operations"):
        conforming(times, freq)
    limited(Limits(max_decompressed_bytes=20_000))
    with pytest.raises(LimitError, match="max_decompressed_bytes"):
        conforming(times, freq)


# Scalars

SCALARS = [
    pd.Timestamp("2024-02-29 23:59:59.123456789"),
    pd.Timestamp(year=2024, month=10, day=27, hour=2, tz=BERLIN, fold=1),
    pd.Timestamp("0001-01-01").as_unit("s"),
    pd.Timedelta("3 days 00:00:00.000000005"),
    pd.Timedelta(5).as_unit("s"),
    pd.Period("2024Q1", "Q-OCT"),
    pd.Period("2024", "Y"),
    pd.Interval(1, 2.5, "both"),
    pd.Interval(pd.Timestamp(0), pd.Timestamp(1), "neither"),
    pd.Interval(pd.Timedelta(0), pd.Timedelta(1), "left"),
]


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
def test_scalars_arrive_as_they_left(scalar):
    got = arrived(scalar)
    assert type(got) is type(scalar)
    assert got == scalar
    assert repr(got) == repr(scalar)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63) + 1, -(2**63), 2**62, 0])
@pytest.mark.parametrize("resolution", [7, 8, 9, 10])
def test_scalars_of_any_integer_have_a_text_or_raise(value, resolution):
    for make in (
        lambda: guards.guard_timestamp(value, None, None, resolution),
        lambda: guards.guard_timestamp(value, None, BERLIN, resolution),
        lambda: guards.guard_timedelta(value, resolution),
        lambda: guards.guard_period(None, (pd.offsets.YearEnd(), pd.offsets.Nano())[resolution % 2], value),
    ):
        try:
            text = repr(make())
        except (DecodeError, ValueError, OverflowError, NotImplementedError):
            continue
        assert text


@pytest.mark.parametrize(
    ("guard", "arguments"),
    [
        (guards.guard_timestamp, (2**63, None, None, 10)),
        (guards.guard_timestamp, (True, None, None, 10)),
        (guards.guard_timestamp, (1.0, None, None, 10)),
        (guards.guard_timestamp, (1, "D", None, 10)),
        (guards.guard_timestamp, (1, None, "UTC", 10)),
        (guards.guard_timestamp, (1, None, None, 6)),
        (guards.guard_timestamp, (1, None, None, 11)),
        (guards.guard_timestamp, (1, None, None, True)),
        (guards.guard_timestamp, (1, None, None, 2**40)),
        (guards.guard_timedelta, (-(2**64), 10)),
        (guards.guard_timedelta, ("1", 10)),
        (guards.guard_timedelta, (1, -1)),
        (guards.guard_timedelta, (1, 7.0)),
        (guards.guard_period, ("2024", pd.offsets.Day(), None)),
        (guards.guard_period, (None, "D", 5)),
        (guards.guard_period, (None, pd.offsets.Day(), 2**63)),
        (guards.guard_period, (None, pd.offsets.Day(), None)),
        (guards.guard_interval, ("a", "b", "left")),
        (guards.guard_interval, ([1], [2], "left")),
        (guards.guard_interval, (1, np.zeros(5), "left")),
        (guards.guard_interval, (1, 2, None)),
    ],
    ids=lambda value: getattr(value, "__name__", None) or repr(value)[:40],
)
def test_scalars_of_other_arguments_are_refused(guard, arguments):
    with pytest.raises(DecodeError):
        guard(*arguments)


def test_what_the_classes_of_scalars_refuse_is_refused():
    with pytest.raises(ValueError, match="closed"):
        guards.guard_interval(1, 2, "other")
    with pytest.raises(ValueError, match="left side"):
        guards.guard_interval(2, 1, "left")
    with pytest.raises(ValueError, match="must be positive"):
        guards.guard_period(None, pd.offsets.Day(0), 1)


# Time zones of pytz


class _Zone(dt.tzinfo):
    """As those of pytz, which pandas 3 does not need any more."""

    _tzinfos = {(dt.timedelta(hours=1), dt.timedelta(0), "CET"): None}  # noqa: RUF012


@pytest.fixture(params=["a model of it", "the real one"])
def _pytz(request, monkeypatch):
    if request.param == "the real one":
        pytest.importorskip("pytz", reason="pandas 3 does without it")
        return
    pytz = ModuleType("pytz")
    pytz.all_timezones_set = {"Europe/Berlin"}
    pytz.timezone = lambda name: _Zone()
    pytz._p = lambda *arguments: _Zone()
    pytz.UTC = dt.UTC
    pytz.FixedOffset = lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))
    monkeypatch.setitem(sys.modules, "pytz", pytz)


@pytest.mark.usefixtures("_pytz")
class TestZonesOfPytz:
    def test_are_those_that_there_are(self):
        when = dt.datetime(2024, 1, 1)  # noqa: DTZ001  # in each of these zones
        assert guards.guard_pytz_utc().utcoffset(when) == dt.timedelta(0)
        assert guards.guard_pytz_offset(-90).utcoffset(when) == -dt.timedelta(minutes=90)
        assert isinstance(guards.guard_pytz_zone("Europe/Berlin"), dt.tzinfo)
        assert isinstance(guards.guard_pytz_zone("Europe/Berlin", 3600, 0, "CET"), dt.tzinfo)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("../../etc/passwd",),
            ("Mars/Olympus",),
            (5,),
            ("Europe/Berlin", 3601, 0, "CET"),
            ("Europe/Berlin", 3600, 1, "CET"),
            ("Europe/Berlin", 3600.0, 0, "CET"),
            ("Europe/Berlin", 3600, None, "CET"),
        ],
        ids=repr,
    )
    def test_are_no_others(self, arguments):
        with pytest.raises(DecodeError):
            guards.guard_pytz_zone(*arguments)

    @pytest.mark.parametrize("minutes", [1440, -(10**9), 2**70, 1.5, "1", True])
    def test_are_less_than_a_day_apart(self, minutes):
        with pytest.raises(DecodeError):
            guards.guard_pytz_offset(minutes)


def test_times_in_zones_of_the_real_pytz_arrive():
    pytz = pytest.importorskip("pytz", reason="pandas 3 does without it")
    for zone in (pytz.timezone("Europe/Berlin"), pytz.timezone("Asia/Tokyo"), pytz.UTC, pytz.FixedOffset(90)):
        sent = pd.Timestamp("2024-07-01", tz=zone)
        got = arrived(sent)
        assert got == sent
        assert got.tz is sent.tz
