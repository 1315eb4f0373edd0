"""Time arithmetic on given values, in UTC: nanoseconds since 1970 in, dates and clocks out. There is no clock here.

Source: OPA v1/topdown/time.go; Go `time.Parse`, `Time.AddDate`, `Time.Format`. Zones other than UTC are refused:
their rules are data that two hosts may have in two versions.
"""

import re
from datetime import date, timedelta
from typing import Final

from gateway.policy.supplied.operands import INTEGER_MAX, OperandError, Value, string, whole

_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,9})?(?:Z|([+-])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = date(1970, 1, 1)
_SECOND: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
_UNITS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3_600 * _SECOND}
_LONG_UNITS: Final = {"d": 24, "w": 7 * 24, "y": 365 * 24}  # hours
_PART: Final = re.compile(r"([0-9]{1,18})(ns|us|ms|s|m|h|d|w|y)", re.ASCII)
_DURATION: Final = re.compile(rf"([+-]?)((?:{_PART.pattern})+)", re.ASCII)


class _Moment:
    """A moment in UTC."""

    def __init__(self, nanoseconds: int) -> None:
        seconds, self.fraction = divmod(nanoseconds, _SECOND)
        days, second = divmod(seconds, _DAY_SECONDS)
        self.nanoseconds = nanoseconds
        self.day = _EPOCH + timedelta(days=days)
        self.clock = (second // 3_600, second % 3_600 // 60, second % 60)
        self.second = second


def parse_rfc3339(value: Value) -> int:
    """`time.parse_rfc3339_ns(x)`."""
    found = _RFC3339.fullmatch(string(value))
    if found is None:
        raise OperandError("is no RFC 3339 time with at most nine places")
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    of_offset = (int(found[9]), int(found[10]), 0) if found[8] else (0, 0, 0)
    if year < 1 or not all(_is_clock(*clock) for clock in ((hour, minute, second), of_offset)):
        raise OperandError("is no RFC 3339 time")
    try:
        days = (date(year, month, day) - _EPOCH).days
    except ValueError as error:
        raise OperandError("is no RFC 3339 time") from error
    seconds = days * _DAY_SECONDS + hour * 3_600 + minute * 60 + second
    if found[8]:
        offset = int(found[9]) * 3_600 + int(found[10]) * 60
        seconds += -offset if found[8] == "+" else offset
    return _nanoseconds(seconds * _SECOND + int((found[7] or ".0")[1:].ljust(9, "0")))


def _is_clock(hour: int, minute: int, second: int) -> bool:
    return hour < 24 and minute < 60 and second < 60  # noqa: PLR2004 - of a day, an hour, a minute


def add_date(value: Value, years: Value, months: Value, days: Value) -> int:
    """`time.add_date(ns, years, months, days)`; the 31st of a month of 30 days is the 1st of the next."""
    moment, by_years, by_months, by_days = _moment(value), whole(years), whole(months), whole(days)
    if max(abs(by_years), abs(by_months), abs(by_days)) > 1_000_000:  # noqa: PLR2004
        raise OperandError("outside of the range of times")
    month = (moment.day.year + by_years) * 12 + moment.day.month - 1 + by_months
    try:
        first = date(month // 12, month % 12 + 1, 1)
        day = first + timedelta(days=moment.day.day - 1 + by_days)
    except (ValueError, OverflowError) as error:
        raise OperandError("outside of the range of times") from error
    return _nanoseconds(((day - _EPOCH).days * _DAY_SECONDS + moment.second) * _SECOND + moment.fraction)


def date_of(value: Value) -> list[int]:
    """`time.date(ns)`: year, month, day."""
    day = _moment(value).day
    return [day.year, day.month, day.day]


def clock_of(value: Value) -> list[int]:
    """`time.clock(ns)`: hour, minute, second."""
    return list(_moment(value).clock)


def weekday(value: Value) -> str:
    """`time.weekday(ns)`: "Monday"…."""
    return _DAYS[_moment(value).day.weekday()]


def difference(left: Value, right: Value) -> list[int]:
    """`time.diff(ns, ns)`: years, months, days, hours, minutes, seconds."""
    a, b = sorted((_moment(left), _moment(right)), key=lambda moment: moment.nanoseconds)
    hour, minute, second = (y - x for x, y in zip(a.clock, b.clock, strict=True))
    year, month, day = b.day.year - a.day.year, b.day.month - a.day.month, b.day.day - a.day.day
    minute, second = (minute - 1, second + 60) if second < 0 else (minute, second)
    hour, minute = (hour - 1, minute + 60) if minute < 0 else (hour, minute)
    day, hour = (day - 1, hour + 24) if hour < 0 else (day, hour)
    if day < 0:
        following = date(a.day.year + a.day.month // 12, a.day.month % 12 + 1, 1)
        day, month = day + (following - a.day.replace(day=1)).days, month - 1
    year, month = (year - 1, month + 12) if month < 0 else (year, month)
    return [year, month, day, hour, minute, second]


def show(value: Value) -> str:
    """`time.format(ns)`, or with one of Go's named layouts, `time.format([ns, "UTC", "RFC1123"])`."""
    moment, layout = _moment(value), "RFC3339Nano"
    if type(value) is list and len(value) > 2:  # noqa: PLR2004 - ns, zone, layout
        layout = string(value[2]) or layout
    hour, minute, second = moment.clock
    clock = f"{hour:02}:{minute:02}:{second:02}"
    day, weekday_name = moment.day, _DAYS[moment.day.weekday()]
    month = _MONTHS[day.month - 1]
    fraction = f".{moment.fraction:09}".rstrip("0").rstrip(".")
    layouts = {
        "RFC3339Nano": f"{day.isoformat()}T{clock}{fraction}Z",
        "RFC3339": f"{day.isoformat()}T{clock}Z",
        "RFC1123": f"{weekday_name[:3]}, {day.day:02} {month} {day.year:04} {clock} UTC",
        "RFC1123Z": f"{weekday_name[:3]}, {day.day:02} {month} {day.year:04} {clock} +0000",
        "RFC850": f"{weekday_name}, {day.day:02}-{month}-{day.year % 100:02} {clock} UTC",
        "RFC822": f"{day.day:02} {month} {day.year % 100:02} {clock[:5]} UTC",
        "RFC822Z": f"{day.day:02} {month} {day.year % 100:02} {clock[:5]} +0000",
        "ANSIC": f"{weekday_name[:3]} {month} {day.day:2} {clock} {day.year:04}",
        "UnixDate": f"{weekday_name[:3]} {month} {day.day:2} {clock} UTC {day.year:04}",
        "RubyDate": f"{weekday_name[:3]} {month} {day.day:02} {clock} +0000 {day.year:04}",
    }
    if layout not in layouts:
        raise OperandError("a layout is one of Go's names here, such as RFC3339")
    return layouts[layout]


def parse_duration(value: Value) -> int:
    """`time.parse_duration_ns(x)`, of whole amounts: "1h30m", "2d"."""
    found = _DURATION.fullmatch(string(value))
    if found is None:
        raise OperandError("is no duration of whole amounts")
    total = 0
    for amount, unit in _PART.findall(found[2]):
        hours = _LONG_UNITS.get(unit)
        if hours is not None and int(amount) > 1_000_000:  # noqa: PLR2004 - OPA counts those in floats
            raise OperandError("outside of the range of durations")
        total += int(amount) * (_UNITS["h"] * hours if hours is not None else _UNITS[unit])
    return _nanoseconds(-total if found[1] == "-" else total)


def _moment(value: Value) -> _Moment:
    if type(value) is list:
        if not value:
            raise OperandError("must be a number (ns) or [number (ns), string (tz)]")
        if len(value) > 1 and string(value[1]) not in {"", "UTC"}:
            raise OperandError("times are in UTC here: a zone's rules depend on the host's data")
        value = value[0]
    return _Moment(whole(value))


def _nanoseconds(value: int) -> int:
    if abs(value) > INTEGER_MAX:
        raise OperandError("time outside of valid range")
    return value
