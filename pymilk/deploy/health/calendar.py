"""When what is pending can be deployed: one migration a window, each after its soak."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pymilk.database.connection import Target, connect
from pymilk.database.history import read_versions
from pymilk.database.ledger import read_entries
from pymilk.deploy.health.soak import Soak, read_soak
from pymilk.project.migrations import Migration
from pymilk.project.policy import Policy


@dataclass(frozen=True)
class Slot:
    """One migration's place in the calendar.

    Attributes:
        migration: Its label.
        begins: The first moment when its deploy may begin, in the window's time zone.
        ends: When that window closes.
    """

    migration: str
    begins: datetime
    ends: datetime


def read_calendar(target: Target, policy: Policy, pending: Iterable[Migration]) -> tuple[Slot, ...]:
    """The calendar of a database's pending migrations, after the soak of what is live.

    Raises:
        Problem: The database can't be reached.
    """
    now = datetime.now(UTC)
    with connect(target.url, purpose="calendar") as connection:
        live = set(read_versions(connection))
        soak = read_soak(connection, read_entries(connection), live, policy, now)
    return lay_out(pending, policy, soak, now)


def lay_out(
    pending: Iterable[Migration], policy: Policy, soak: Soak | None, now: datetime
) -> tuple[Slot, ...]:
    """Lay migrations into the coming windows, oldest first.

    Args:
        pending: What is to be deployed.
        policy: Windows and hours of soaking.
        soak: Of what was deployed last; open complaints count as answered this moment.
        now: This moment, in UTC.
    """
    return tuple(_slots(pending, policy, max(soak.until, now) if soak else now))


def _slots(pending: Iterable[Migration], policy: Policy, earliest: datetime) -> Iterator[Slot]:
    for migration in pending:
        begins = earliest.astimezone(ZoneInfo(policy.time_zone))
        window = policy.window_at(begins)
        if window is None:
            begins = policy.next_window(begins)
            window = policy.window_at(begins)
        if window is None:
            raise AssertionError("a window is open when it opens")
        yield Slot(migration.label, begins, window[1])
        earliest = begins + timedelta(hours=policy.soak_hours)
