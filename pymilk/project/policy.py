"""When a deploy is allowed: window, soak, age of backups, lock budget."""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Preset(StrEnum):
    """Which policy a database gets when nobody says otherwise."""

    LIVE = "live"
    LOCAL = "local"


class SoakCounts(StrEnum):
    """Which time a deploy's soak consists of."""

    WATCHED = "watched"
    LIVE = "live"


class Policy(BaseModel):
    """The rules of one kind of database, `[tool.pymilk.policy.<preset>]` in pyproject.toml.

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

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: tuple[str, ...] = WEEKDAYS
    window_start: time = time(0, 0)
    window_end: time = time(0, 0)
    time_zone: str = "UTC"
    soak_hours: float = Field(default=24, ge=0)
    soak_counts: SoakCounts = SoakCounts.WATCHED
    watch_gap_minutes: float = Field(default=30, gt=0)
    rollback_on_breach: bool = False
    proof_max_age_hours: float = Field(default=1, gt=0)
    plan_max_age_hours: float = Field(default=24, gt=0)
    lock_timeout_ms: int = Field(default=200, ge=10, le=2000)
    lock_attempts: int = Field(default=30, ge=1)
    lock_patience_seconds: float = Field(default=60, gt=0)
    lock_held_ms: int = Field(default=150, ge=1)
    reader_wait_ms: int = Field(default=300, ge=50)
    long_transaction_seconds: float = Field(default=10, gt=0)
    wait_for_other_deploy_seconds: float = Field(default=60, ge=0)
    keep_backups: int = Field(default=10, ge=1)
    keep_backups_days: float = Field(default=30, ge=0)
    ask: bool = True
    clean_tree: bool = True
    require_rollback: bool = True
    require_verification: bool = True

    @field_validator("window_days")
    @classmethod
    def _known_days(cls, days: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [day for day in days if day not in WEEKDAYS]
        if unknown or not days:
            raise ValueError(f"weekdays are {', '.join(WEEKDAYS)}; not {', '.join(unknown)}")
        return days

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"'{self.time_zone}' is no time zone") from error
        return self

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


PRESETS: dict[Preset, dict[str, object]] = {
    Preset.LIVE: {},
    # Our own throw-away or laptop database: every proof runs, nobody has to wait for the night.
    Preset.LOCAL: {
        "soak_hours": 0,
        "rollback_on_breach": True,
        "ask": False,
        "clean_tree": False,
        "lock_held_ms": 60_000,
    },
}


def hours_since(moment: datetime, now: datetime) -> float:
    """Hours from `moment` to `now`."""
    return (now.astimezone(UTC) - moment.astimezone(UTC)).total_seconds() / 3600
