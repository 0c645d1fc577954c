"""Times as people write them: RFC 3339, relative to now, Unix seconds; the clock is given."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from pipeline.errors import InvalidInput

ALLOWED: Final = (
    "RFC 3339 (2026-11-23T10:00:00Z), relative (-90s, -15m, -1h, -7d, now) or Unix seconds, "
    "between 1970 and 2262"
)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2262, 1, 1, tzinfo=UTC)
"""Nanoseconds since 1970 fit 64 bits until April 2262."""

MINUTE: Final = timedelta(minutes=1)

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_RELATIVE: Final = re.compile(r"-(\d{1,12})([smhdw])", re.ASCII)
_UNIX: Final = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+ -]\d\d:\d\d)", re.ASCII
)


class Window(NamedTuple):
    """A stretch of time in whole minutes: start inclusive, end exclusive, both UTC."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start).total_seconds()


def parse_time(text: str, *, now: datetime, field: str) -> datetime:
    """Read one time.

    Args:
        text: what was given.
        now: what ``now`` means, with a time zone.
        field: the parameter it was given for, for the error.

    Raises:
        InvalidInput: it is none of the accepted forms, or outside 1970..2262.
    """
    try:
        time = _read(text.strip(), now)
    except (ValueError, OverflowError):
        time = None
    if time is None or not EPOCH <= time <= LATEST:
        raise InvalidInput(field, found=text, allowed=ALLOWED)
    return time


def parse_window(
    start: str | None, end: str | None, *, now: datetime, default: timedelta
) -> Window:
    """Read a window and widen it to whole minutes.

    A missing end is now, a missing start is ``default`` before the end.

    Raises:
        InvalidInput: a time cannot be read, or start is not before end.
    """
    last = parse_time(end, now=now, field="end") if end is not None else now
    if start is not None:
        first = parse_time(start, now=now, field="start")
    else:
        first = max(last - default, EPOCH)
    if first >= last:
        raise InvalidInput("start", found=start or format_time(first), allowed="before end")
    return whole_minutes(first, last)


def whole_minutes(start: datetime, end: datetime) -> Window:
    """The smallest window of whole minutes that holds ``start`` to ``end``."""
    return Window(floor_minute(start), ceil_minute(end))


def floor_minute(time: datetime) -> datetime:
    """The minute in which ``time`` lies."""
    return time.replace(second=0, microsecond=0)


def ceil_minute(time: datetime) -> datetime:
    """The first whole minute at or after ``time``."""
    floor = floor_minute(time)
    return floor if floor == time else floor + MINUTE


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with ``Z``; a fraction only where there is one."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_nanoseconds(unix_ns: int) -> datetime:
    """Unix nanoseconds as a time, cut to microseconds."""
    return EPOCH + timedelta(microseconds=unix_ns // 1000)


def _read(text: str, now: datetime) -> datetime | None:
    if text == "now":
        return now
    if match := _RELATIVE.fullmatch(text):
        return now - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    if _UNIX.fullmatch(text):
        return EPOCH + timedelta(seconds=float(text))
    if match := _RFC3339.fullmatch(text):
        return _from_rfc3339(match)
    return None


def _from_rfc3339(match: re.Match[str]) -> datetime:
    date, clock, fraction, zone = match.groups()
    # In a query string "+02:00" arrives as " 02:00" when the sender did not escape the plus.
    offset = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    micros = (fraction or ".0")[:7]
    return datetime.fromisoformat(f"{date}T{clock}{micros.ljust(7, '0')}{offset}").astimezone(UTC)
