"""The deployment window and the rest of the policy, read from pyproject.toml."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymilk.problem import UsageProblem
from pymilk.project.policy import WEEKDAYS, Policy, Preset, hours_since
from pymilk.project.project import Project, load_project

KOLKATA = ZoneInfo("Asia/Kolkata")
NIGHT = Policy(
    window_days=("mon", "tue", "fri"),
    window_start=time(23),
    window_end=time(2),
    time_zone="Asia/Kolkata",
)
NOON = Policy(window_start=time(12), window_end=time(13, 30))
ALWAYS = Policy()


def kolkata(text: str) -> datetime:
    """A moment by the dairy's clock; the server's is UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=KOLKATA).astimezone(UTC)


# 2025-09-15 is a Monday.
@pytest.mark.parametrize(
    ("moment", "closes"),
    [
        ("2025-09-15 23:00:00", "2025-09-16 02:00"),
        ("2025-09-15 23:59:59", "2025-09-16 02:00"),
        ("2025-09-16 00:00:00", "2025-09-16 02:00"),
        ("2025-09-16 01:59:59", "2025-09-16 02:00"),
        ("2025-09-16 23:30:00", "2025-09-17 02:00"),
        ("2025-09-17 01:00:00", "2025-09-17 02:00"),
        ("2025-09-20 01:00:00", "2025-09-20 02:00"),
    ],
)
def test_the_window_is_open_over_midnight(moment: str, closes: str) -> None:
    window = NIGHT.window_at(kolkata(moment))
    assert window is not None
    assert window[1] == kolkata(closes)


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2025-09-15 01:00:00", "2025-09-15 23:00"),  # Sunday's night would have been its own
        ("2025-09-15 22:59:59", "2025-09-15 23:00"),
        ("2025-09-16 02:00:00", "2025-09-16 23:00"),
        ("2025-09-17 02:00:00", "2025-09-19 23:00"),  # Wednesday and Thursday don't open
        ("2025-09-17 23:30:00", "2025-09-19 23:00"),
        ("2025-09-18 00:30:00", "2025-09-19 23:00"),
        ("2025-09-20 02:00:00", "2025-09-22 23:00"),  # over the weekend
    ],
)
def test_outside_the_window_the_next_one_is_known(moment: str, opens: str) -> None:
    assert NIGHT.window_at(kolkata(moment)) is None
    assert NIGHT.next_window(kolkata(moment)) == kolkata(opens)


def test_inside_the_window_the_next_one_is_tomorrows() -> None:
    assert NIGHT.next_window(kolkata("2025-09-15 23:30")) == kolkata("2025-09-16 23:00")


def test_a_window_of_one_day_comes_again_in_a_week() -> None:
    policy = replace(NIGHT, window_days=("mon",))
    assert policy.next_window(kolkata("2025-09-15 23:00")) == kolkata("2025-09-22 23:00")


def test_a_window_in_the_middle_of_the_day() -> None:
    at = datetime(2025, 9, 15, 12, 0, tzinfo=UTC)
    assert NOON.window_at(at) == (at, at + timedelta(minutes=90))
    assert NOON.window_at(at - timedelta(seconds=1)) is None
    assert NOON.window_at(at + timedelta(minutes=90)) is None


@pytest.mark.parametrize("clock", ["00:00", "12:00", "23:59:59"])
def test_without_a_window_it_is_always_open(clock: str) -> None:
    now = datetime.fromisoformat(f"2025-09-15T{clock}+00:00")
    window = ALWAYS.window_at(now)
    assert window is not None
    assert window[1] - now > timedelta(days=6)


def test_windows_that_meet_are_one() -> None:
    policy = Policy(window_days=("sat", "sun"))
    window = policy.window_at(datetime(2025, 9, 20, 10, 0, tzinfo=UTC))
    assert window == (
        datetime(2025, 9, 20, tzinfo=UTC),
        datetime(2025, 9, 22, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("zone", "moment", "hours_left"),
    [
        # Clocks go forward at 01:00 UTC on 2025-03-30 and back at 01:00 UTC on 2025-10-26.
        ("Europe/Berlin", "2025-03-29T22:00:00+00:00", 4.0),  # 23:00 to 04:00, one hour missing
        ("Europe/Berlin", "2025-03-30T00:59:00+00:00", 1 + 1 / 60),
        ("Europe/Berlin", "2025-10-25T21:00:00+00:00", 6.0),  # 23:00 to 04:00, one hour twice
        ("Europe/Berlin", "2025-10-26T00:30:00+00:00", 2.5),
        ("Europe/Berlin", "2025-10-26T01:30:00+00:00", 1.5),
    ],
)
def test_what_is_left_of_the_window_counts_real_hours(
    zone: str, moment: str, hours_left: float
) -> None:
    policy = Policy(window_start=time(23), window_end=time(4), time_zone=zone)
    now = datetime.fromisoformat(moment)
    window = policy.window_at(now)
    assert window is not None
    assert hours_since(now, window[1]) == pytest.approx(hours_left)


MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
POLICIES = st.builds(
    Policy,
    window_days=st.sets(st.sampled_from(WEEKDAYS), min_size=1).map(tuple),
    window_start=st.times(),
    window_end=st.times(),
    time_zone=st.sampled_from(["UTC", "Asia/Kolkata", "Europe/Berlin", "America/St_Johns"]),
)


@given(POLICIES, MOMENTS)
def test_the_next_window_is_ahead_and_open(policy: Policy, moment: datetime) -> None:
    opens = policy.next_window(moment)
    assert opens.astimezone(UTC) > moment
    assert opens.astimezone(UTC) - moment <= timedelta(days=7, hours=26)
    assert policy.window_at(opens.astimezone(UTC)) is not None


@given(POLICIES, MOMENTS)
def test_a_window_holds_its_own_moment(policy: Policy, moment: datetime) -> None:
    window = policy.window_at(moment)
    if window is not None:
        opens, closes = (edge.astimezone(UTC) for edge in window)
        assert opens <= moment < closes
        assert closes - opens <= timedelta(days=8, hours=1)


def project(tmp_path: Path, text: str) -> Project:
    (tmp_path / "supabase").mkdir()
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    return load_project(tmp_path)


def test_the_presets_differ_where_they_should(tmp_path: Path) -> None:
    found = project(tmp_path, "")
    live, local = found.policy(Preset.LIVE), found.policy(Preset.LOCAL)
    assert (live.ask, live.clean_tree, live.soak_hours) == (True, True, 24)
    assert (local.ask, local.clean_tree, local.soak_hours) == (False, False, 0)


def test_the_project_says_its_own(tmp_path: Path) -> None:
    found = project(
        tmp_path, '[tool.pymilk.policy.live]\nwindow_start = "23:00"\nsoak_hours = 48\nask = false'
    )
    policy = found.policy(Preset.LIVE)
    assert (policy.window_start.hour, policy.soak_hours, policy.ask) == (23, 48, False)
    assert policy.clean_tree
    assert found.policy(Preset.LOCAL).soak_hours == 0


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('window_days = ["monday"]', "window_days"),
        ("window_days = []", "window_days"),
        ('window_start = "25:00"', "window_start"),
        ('time_zone = "Asia/Bangalore"', "Asia/Bangalore"),
        ('time_zone = "../etc/passwd"', "passwd"),
        ("soak_hours = -1", "soak_hours: it is at least 0, not -1"),
        ("soak_hours = nan", "soak_hours: it is at least 0, not nan"),
        ('soak_hours = "long"', "soak_hours"),
        ("watch_gap_minutes = 0", "watch_gap_minutes: it is more than 0, not 0"),
        ("lock_timeout_ms = 60000", "lock_timeout_ms: it is at most 2000, not 60000"),
        ("lock_timeout_ms = 9", "lock_timeout_ms: it is at least 10, not 9"),
        ("lock_attempts = 1.5", "lock_attempts"),
        ('ask = "perhaps"', "ask"),
        ("windows_start = 5", "windows_start: there is no such setting"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, line: str, named: str) -> None:
    found = project(tmp_path, f"[tool.pymilk.policy.live]\n{line}\n")
    with pytest.raises(UsageProblem) as refused:
        found.policy(Preset.LIVE)
    assert named in refused.value.happened
    assert "[tool.pymilk.policy.live]" in refused.value.happened
    assert refused.value.todo


@pytest.mark.parametrize("text", ["[tool.pymilk]\npolicy = 3", "[tool.pymilk.policy]\nlive = 3"])
def test_a_policy_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageProblem, match="not a table"):
        project(tmp_path, text).policy(Preset.LIVE)


@pytest.mark.parametrize("setting", ["[tool.pymilk.policy.liv]", "[tool.pymilk.policy.production]"])
def test_a_policy_for_no_preset_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(UsageProblem, match=r"liv|production"):
        project(tmp_path, f"{setting}\nsoak_hours = 48").policy(Preset.LIVE)
