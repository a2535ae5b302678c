"""When a deploy is allowed: window, soak, age of backups, lock budget."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)

N = TypeVar("N", int, float)


def _number(
    default: N, *, least: N | None = None, above: N | None = None, most: N | None = None
) -> N:
    """A setting with its default and its limits, which `read_policy` holds a project to."""
    number: N = field(default=default, metadata={"least": least, "above": above, "most": most})
    return number


class Preset(StrEnum):
    """Which policy a database gets when nobody says otherwise."""

    LIVE = "live"
    LOCAL = "local"


class SoakCounts(StrEnum):
    """Which time a deploy's soak consists of."""

    WATCHED = "watched"
    LIVE = "live"


class PolicyError(ValueError):
    """A setting that is none, or can't have its value; says which, and how."""


@dataclass(frozen=True)
class Policy:
    """The rules of one kind of database, `[tool.pymilk.policy.<preset>]` in pyproject.toml.

    Types and limits are held where a project's own settings are read (`read_policy`).

    Attributes:
        window_days: Weekdays on which the deployment window opens.
        window_start: When it opens, local time; the whole day when it equals `window_end`.
        window_end: When it closes; before `window_start` means the next morning.
        time_zone: The window's time zone.
        soak_hours: Hours that the previous deploy must have been live, and watched.
        soak_counts: Which hours those are: `watched` ones, or all that it was `live`.
        watch_gap_minutes: Minutes that two samples of a watch may lie apart for the time between
            them to be watched.
        rollback_on_breach: Whether a watch rolls the deploy back by itself when something breaks
            that held before it.
        proof_max_age_hours: How old the backup and its proven restore may be when the change is
            made; data written since then are in neither.
        plan_max_age_hours: How old an approved plan may be when it is applied.
        lock_timeout_ms: Milliseconds to queue for one lock; longer would queue the app behind us.
        lock_attempts: How often to try for the locks before giving up with nothing changed.
        lock_patience_seconds: For how long, in all; no attempt begins after that.
        lock_held_ms: Milliseconds, as rehearsed, for which a change may keep readers or writers
            of a table out; more needs a reason.
        reader_wait_ms: Milliseconds that a reader may have to wait, for our queueing and for the
            change together: the longer the change, the shorter we queue.
        long_transaction_seconds: A transaction open for longer than this is in the way.
        wait_for_other_deploy_seconds: Seconds to wait for another deploy to end.
        keep_backups: How many of the newest backups are kept, however old.
        keep_backups_days: Days for which every backup is kept. The newest one whose restore was
            proven always is.
        ask: Whether a person must agree (a terminal, or `--yes`).
        clean_tree: Whether the project's SQL must be committed.
        require_rollback: Whether a migration needs a rollback, or a reason why it has none.
        require_verification: Whether a migration needs a verification.
    """

    window_days: tuple[Weekday, ...] = WEEKDAYS
    window_start: time = time(0, 0)
    window_end: time = time(0, 0)
    time_zone: str = "UTC"
    soak_hours: float = _number(24.0, least=0.0)
    soak_counts: SoakCounts = SoakCounts.WATCHED
    watch_gap_minutes: float = _number(30.0, above=0.0)
    rollback_on_breach: bool = False
    proof_max_age_hours: float = _number(1.0, above=0.0)
    plan_max_age_hours: float = _number(24.0, above=0.0)
    lock_timeout_ms: int = _number(200, least=10, most=2000)
    lock_attempts: int = _number(30, least=1)
    lock_patience_seconds: float = _number(60.0, above=0.0)
    lock_held_ms: int = _number(150, least=1)
    reader_wait_ms: int = _number(300, least=50)
    long_transaction_seconds: float = _number(10.0, above=0.0)
    wait_for_other_deploy_seconds: float = _number(60.0, least=0.0)
    keep_backups: int = _number(10, least=1)
    keep_backups_days: float = _number(30.0, least=0.0)
    ask: bool = True
    clean_tree: bool = True
    require_rollback: bool = True
    require_verification: bool = True

    def __post_init__(self) -> None:
        """Refuse a time zone that there isn't: no window could be told."""
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"'{self.time_zone}' is no time zone") from error

    def as_json(self) -> dict[str, object]:
        """Its settings, as a plan that is to be approved keeps them."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def window_at(self, moment: datetime) -> tuple[datetime, datetime] | None:
        """The window (opens, closes) that `moment` falls into, or none.

        Where one closes as the next one opens they are one window, of a week at most.
        """
        local = moment.astimezone(ZoneInfo(self.time_zone))
        for days_back in (0, 1):
            opens, closes = self._window_of(local - timedelta(days=days_back))
            if self._opens_on(opens) and opens <= local < closes:
                return opens, self._closes_at_last(closes)
        return None

    def _closes_at_last(self, closes: datetime) -> datetime:
        for _ in WEEKDAYS:
            opens, later = self._window_of(closes)
            if opens != closes or not self._opens_on(opens):
                break
            closes = later
        return closes

    def next_window(self, moment: datetime) -> datetime:
        """When the next window opens after `moment`."""
        local = moment.astimezone(ZoneInfo(self.time_zone))
        for days_ahead in range(9):
            opens, _ = self._window_of(local + timedelta(days=days_ahead))
            if opens > local and self._opens_on(opens):
                return opens
        raise AssertionError("a week has one of its own days")  # window_days is never empty

    def _opens_on(self, opens: datetime) -> bool:
        return WEEKDAYS[opens.weekday()] in self.window_days

    def _window_of(self, day: datetime) -> tuple[datetime, datetime]:
        opens = datetime.combine(day.date(), self.window_start, tzinfo=day.tzinfo)
        closes = datetime.combine(day.date(), self.window_end, tzinfo=day.tzinfo)
        if closes <= opens:
            closes = datetime.combine(
                day.date() + timedelta(days=1), self.window_end, tzinfo=day.tzinfo
            )
        return opens, closes


PRESETS: Mapping[Preset, Policy] = {
    Preset.LIVE: Policy(),
    # Our own throw-away or laptop database: every proof runs, nobody has to wait for the night.
    Preset.LOCAL: Policy(
        soak_hours=0.0,
        rollback_on_breach=True,
        ask=False,
        clean_tree=False,
        lock_held_ms=60_000,
    ),
}


def read_policy(preset: Preset, own: Mapping[str, object]) -> Policy:
    """A preset, and what a project says over it.

    Raises:
        PolicyError: There is no such setting, or it can't have that value.
    """
    if not own:
        return PRESETS[preset]
    unknown = sorted(set(own) - {each.name for each in fields(Policy)})
    if unknown:
        raise PolicyError(f"{unknown[0]}: there is no such setting")
    # Only for who says something of his own: to load it takes as long as to load the driver.
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        policy = _reading().validate_python({**asdict(PRESETS[preset]), **own})
    except ValidationError as error:
        first = error.errors()[0]
        where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise PolicyError(f"{where}: {what}" if where else what) from error
    _refuse_outside_limits(policy)
    return policy


@cache
def _reading() -> "TypeAdapter[Policy]":
    from pydantic import TypeAdapter  # noqa: PLC0415 - likewise

    return TypeAdapter(Policy)


def _refuse_outside_limits(policy: Policy) -> None:
    if not policy.window_days:
        raise PolicyError("window_days: there is none, so it would never open")
    for each in fields(policy):
        value, limits = getattr(policy, each.name), each.metadata
        # Asked this way round, what is no number at all (nan) is outside as well.
        if limits.get("least") is not None and not value >= limits["least"]:
            raise PolicyError(f"{each.name}: it is at least {limits['least']:g}, not {value:g}")
        if limits.get("above") is not None and not value > limits["above"]:
            raise PolicyError(f"{each.name}: it is more than {limits['above']:g}, not {value:g}")
        if limits.get("most") is not None and not value <= limits["most"]:
            raise PolicyError(f"{each.name}: it is at most {limits['most']:g}, not {value:g}")


def _plain(value: object) -> object:
    if isinstance(value, time):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def hours_since(moment: datetime, now: datetime) -> float:
    """Hours from `moment` to `now`."""
    return (now.astimezone(UTC) - moment.astimezone(UTC)).total_seconds() / 3600
