"""The days of the demo: the dairy's first twelve with its app, seen from the last one's morning."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Final

# India keeps one offset all year, so no time zone database is needed.
INDIA: Final = timezone(timedelta(hours=5, minutes=30))

# Everybody and everything was entered on the opening day.
OPENING_DAY: Final = date(2025, 9, 1)
FIRST_DAY: Final = date(2025, 9, 5)
TODAY: Final = date(2025, 9, 16)
DAYS: Final = tuple(
    FIRST_DAY + timedelta(days=number) for number in range((TODAY - FIRST_DAY).days + 1)
)

MORNING: Final = "Morning"
EVENING: Final = "Evening"
ROUND_STARTS: Final = {MORNING: (5, 30), EVENING: (17, 0)}


def moment(day: date, hour: int, minute: int = 0) -> datetime:
    """A moment by the dairy's clock."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=INDIA)


def planned_at(day: date) -> datetime:
    """When the orders of a day are made: the evening before, once the van is back."""
    return moment(day - timedelta(days=1), 20, 30)


def delivered_at(day: date, delivery_time: str, stop: int) -> datetime:
    """When the van is at its stop number `stop` (from 0): ninety seconds from door to door."""
    return moment(day, *ROUND_STARTS[delivery_time]) + timedelta(seconds=90 * stop)
