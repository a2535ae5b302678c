"""Every reason not to deploy now is found, named, and met with what to do; nothing is touched."""

import re
import subprocess
import uuid
from dataclasses import replace
from datetime import UTC, datetime, time

import psycopg
import pytest
from psycopg import conninfo

from pymilk.database.connection import connect
from pymilk.database.ledger import Kind, latest, read_entries
from pymilk.database.programs import find_programs
from pymilk.deploy.basis.evidence import Check, Evidence, Preflight, Verdict
from pymilk.deploy.basis.notes import add_note
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.basis.sample import Broken, Sample
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.health.samples import record_sample
from pymilk.deploy.survey import preflight
from pymilk.deploy.survey.allowed import window_check
from pymilk.problem import Problem, TryAgainLater, UsageProblem
from pymilk.project.policy import Policy, Preset
from support.databases import Database
from support.projects import (
    BASELINE,
    BASELINE_SQL,
    DOWN_SQL,
    GAP,
    UP_SQL,
    Toy,
    closed_window,
    schema_and_rows,
)

LATER = "20250918000000_gap_002_later"


@pytest.fixture
def look(bench: Bench) -> "Look":
    return Look(bench)


class Look:
    """Runs the checks."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def found(self, plan: Plan, *, rehearsal: bool = False) -> dict[str, Check]:
        result = (
            preflight.run_for_rehearsal([plan], self._bench, Evidence())
            if rehearsal
            else self._run(plan)
        ).preflight
        assert isinstance(result, Preflight)
        return {check.name: check for check in result.checks}

    def refused(self, plan: Plan) -> Problem:
        with pytest.raises(Problem) as refused:
            self._run(plan)
        assert refused.value.state.startswith("Nothing was changed")
        assert refused.value.todo
        return refused.value

    def _run(self, plan: Plan) -> Evidence:
        with connect(plan.target.url, purpose="test") as guard:
            return preflight.run(plan, guard, self._bench, Evidence())


def test_when_nothing_is_wrong_every_check_passes(shop: Database, toy: Toy, look: Look) -> None:
    before = schema_and_rows(shop)
    checks = look.found(toy.plan(shop))
    verdicts = {name: check.verdict for name, check in checks.items()}
    noted = {"tree"} if shop.server.major == find_programs().major else {"tree", "server"}
    assert {name for name, verdict in verdicts.items() if verdict is Verdict.NOTED} == noted
    assert {verdict for name, verdict in verdicts.items() if name not in noted} == {Verdict.PASSED}
    assert schema_and_rows(shop) == before
    assert list(checks) == [
        *("server", "role", "session", "writable", "history", "files"),
        *("rollback", "verification", "edited", "others", "transactions"),
        *("extensions", "drift", "tree", "window", "soak"),
    ]


def test_a_rehearsal_needs_no_moment(shop: Database, toy: Toy, look: Look) -> None:
    closed = closed_window()
    assert "window" not in look.found(toy.plan(shop, policy=closed), rehearsal=True)


def test_a_superuser_is_refused(shop: Database, toy: Toy, look: Look) -> None:
    problem = look.refused(toy.plan(shop.superuser_url))
    assert "[role] supabase_admin is a superuser" in problem.happened
    assert "Connect as postgres" in problem.todo


def test_somebody_who_does_not_own_the_database_is_refused(
    shop: Database, toy: Toy, look: Look
) -> None:
    name = f"visitor_{shop.name}"
    superuser = shop.connect(user="supabase_admin", autocommit=True)
    superuser.execute(f"create role {name} in role pg_read_all_data")
    superuser.execute(f"grant usage on schema pymilk, supabase_migrations to {name}")
    try:
        url = conninfo.make_conninfo(shop.superuser_url, options=f"-c role={name}")
        assert f"[role] {name} doesn't own the database" in look.refused(toy.plan(url)).happened
    finally:
        superuser.execute(f"drop owned by {name}; drop role {name}")


def test_a_database_that_is_read_only(shop: Database, toy: Toy, look: Look) -> None:
    shop.connect(autocommit=True).execute(
        f"alter database {shop.name} set default_transaction_read_only = on"
    )
    problem = look.refused(toy.plan(shop, overrides={"writable": "I am in a hurry"}))
    assert "[writable] the database is read-only" in problem.happened
    assert "Supabase switches it on when the disk is nearly full" in problem.happened
    assert "Make room" in problem.todo
    assert "--override writable" not in problem.todo


def test_without_a_history_it_says_how_to_begin(
    empty_database: Database, toy: Toy, look: Look
) -> None:
    empty_database.connect(autocommit=True).execute(BASELINE_SQL)
    problem = look.refused(toy.plan(empty_database))
    assert "[history] the database has no migration history" in problem.happened
    assert "pymilk adopt" in problem.todo
    assert "--override history" not in problem.todo


def test_what_is_applied_already(shop_001: Database, toy: Toy, look: Look) -> None:
    problem = look.refused(toy.plan(shop_001))
    assert "[history] GAP-001 is applied already" in problem.happened
    assert "pymilk rollback 001" in problem.todo


def test_what_comes_first(shop: Database, toy: Toy, look: Look) -> None:
    toy.gap_at(LATER)
    problem = look.refused(toy.plan(shop, "002"))
    assert "[history] GAP-001 comes first" in problem.happened
    assert "pymilk deploy 001" in problem.todo


def test_what_is_older_than_the_newest(shop_001: Database, toy: Toy, look: Look) -> None:
    stem = "20250910000000_too_late"
    toy.gap_at(stem)
    problem = look.refused(toy.plan(shop_001, "too_late"))
    assert "20250910000000 is older than the newest applied one, 20250917000000" in problem.happened


def test_a_version_without_a_file(shop: Database, toy: Toy, look: Look) -> None:
    shop.connect(autocommit=True).execute(
        "insert into supabase_migrations.schema_migrations (version) values ('20250915000000')"
    )
    problem = look.refused(toy.plan(shop))
    assert "has applied 20250915000000, which is no file here" in problem.happened
    assert "git pull" in problem.todo


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("a transaction of its own", f"migrations/{GAP}.sql, line 2: 'commit' controls the"),
        ("one in the rollback", f"rollbacks/{GAP}.sql, line 1: 'concurrently' can't run in a"),
        ("one in the verification", f"verify/{GAP}.sql, line 1: 'vacuum' can't run in a"),
    ],
)
def test_files_that_are_not_fit(shop: Database, toy: Toy, look: Look, what: str, said: str) -> None:
    {
        "a transaction of its own": lambda: toy.up("select 1;\ncommit;"),
        "one in the rollback": lambda: toy.down("drop index concurrently a;"),
        "one in the verification": lambda: toy.verify("vacuum;"),
    }[what]()
    plan = toy.plan(shop, overrides={"files": "I am in a hurry"})
    problem = look.refused(plan)
    assert f"[files] {said}" in problem.happened
    assert "--override files" not in problem.todo


def test_what_says_why_it_has_no_rollback_needs_none(shop: Database, toy: Toy, look: Look) -> None:
    toy.up(f"-- irreversible: two rows become one\n{UP_SQL}")
    toy.down(None)
    assert "two rows become one" in look.found(toy.plan(shop))["rollback"].found


LOST = {
    "rollback": "only the backup would bring back what was",
    "verification": "shows that it is in effect",
}


@pytest.mark.parametrize("name", LOST)
def test_a_migration_without_its_pair_goes_on_with_a_reason_and_is_told_what_is_lost(
    shop: Database, toy: Toy, look: Look, name: str
) -> None:
    toy.gap(UP_SQL, None, None)
    both = dict.fromkeys(LOST, "not ours")
    problem = look.refused(toy.plan(shop, overrides={**both, name: ""}))
    assert f"[{name}]" in problem.happened
    assert LOST[name] in problem.happened
    assert f"--override {name}='your reason'" in problem.todo
    check = look.found(toy.plan(shop, overrides=both))[name]
    assert (check.verdict, check.reason) == (Verdict.OVERRIDDEN, "not ours")
    # or, once and for all, in the project's policy: told all the same
    plan = toy.plan(shop, overrides=both, policy={f"require_{name}": False})
    noted = look.found(plan)[name]
    assert (noted.verdict, noted.found) == (Verdict.NOTED, check.found)


def test_an_applied_file_that_was_edited(shop_001: Database, toy: Toy, look: Look) -> None:
    toy.gap_at(LATER)
    assert look.found(toy.plan(shop_001, "002"))["edited"].verdict is Verdict.PASSED
    toy.up(UP_SQL + "-- a word more\n")
    toy.up(BASELINE_SQL + "-- a word more\n", stem=BASELINE)
    problem = look.refused(toy.plan(shop_001, "002"))
    assert f"[edited] applied files were edited afterwards: {BASELINE}, {GAP}" in problem.happened
    reason = {"edited": "only a comment"}
    check = look.found(toy.plan(shop_001, "002", overrides=reason))["edited"]
    assert (check.verdict, check.reason) == (Verdict.OVERRIDDEN, "only a comment")


def test_drift_is_named(shop: Database, toy: Toy, look: Look) -> None:
    shop.connect(autocommit=True).execute(
        "create index by_hand on public.notes (body); drop policy staff on public.bills;"
        " alter table public.customers alter column opening drop not null"
    )
    problem = look.refused(toy.plan(shop))
    assert "+ index public.by_hand" in problem.happened
    assert "- policy public.bills staff" in problem.happened
    assert "~ column public.customers.opening" in problem.happened
    assert "--override drift='your reason'" in problem.todo
    reason = {"drift": "the index was urgent"}
    assert look.found(toy.plan(shop, overrides=reason))["drift"].reason == "the index was urgent"


def test_a_running_pg_dump(shop: Database, toy: Toy, look: Look) -> None:
    with psycopg.connect(shop.url, application_name="pg_dump") as dumping:
        problem = look.refused(toy.plan(shop))
        assert f"[others] pg_dump is running (process {dumping.info.backend_pid}" in (
            problem.happened
        )
    assert problem.exit_code == TryAgainLater.exit_code


def test_a_long_transaction_is_named_with_who_holds_it(
    shop: Database, toy: Toy, look: Look
) -> None:
    report = shop.connect()
    report.execute("set application_name = 'month end report'")
    report.execute("select count(*) from public.bills")
    patient = {"long_transaction_seconds": 3600}
    assert look.found(toy.plan(shop, policy=patient))["transactions"].verdict is Verdict.PASSED
    problem = look.refused(toy.plan(shop, policy={"long_transaction_seconds": 1e-6}))
    pid = report.info.backend_pid
    assert f"process {pid} (month end report, postgres, idle in transaction)" in problem.happened
    assert f"pg_terminate_backend({pid})" in problem.todo
    assert problem.exit_code == TryAgainLater.exit_code


def test_a_transaction_on_nothing_of_ours_is_not_in_the_way(
    shop: Database, toy: Toy, look: Look
) -> None:
    idle = shop.connect()
    idle.execute("select 1 from pg_class")
    plan = toy.plan(shop, policy={"long_transaction_seconds": 1e-6})
    assert look.found(plan)["transactions"].verdict is Verdict.PASSED


def test_extensions_that_the_copy_has_to_have_are_named(
    shop: Database, toy: Toy, look: Look
) -> None:
    superuser = shop.connect(user="supabase_admin", autocommit=True)
    known = superuser.execute(
        "select name from pg_available_extensions where name in ('vector', 'citext') limit 1"
    ).fetchone()
    assert known is not None
    superuser.execute(f'create extension "{known[0]}" schema extensions')
    check = look.found(toy.plan(shop))["extensions"]
    assert check.verdict is Verdict.PASSED
    assert known[0] in check.found


def test_live_wants_its_sql_committed(shop: Database, toy: Toy, look: Look) -> None:
    live = toy.plan(shop, preset=Preset.LIVE)
    assert "[tree] the project isn't in git" in look.refused(live).happened
    git = ["git", "-C", str(toy.root), "-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert "[tree] the project isn't in git" in look.refused(live).happened
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "first"], check=True)
    assert look.found(toy.plan(shop, preset=Preset.LIVE))["tree"].verdict is Verdict.PASSED
    toy.down(DOWN_SQL + "-- more")
    problem = look.refused(toy.plan(shop, preset=Preset.LIVE))
    assert f"[tree] not committed: supabase/rollbacks/{GAP}.sql" in problem.happened
    assert look.found(toy.plan(shop))["tree"].verdict is Verdict.NOTED


def test_what_git_ignores_is_not_committed(shop: Database, toy: Toy, look: Look) -> None:
    (toy.root / ".gitignore").write_text(f"{GAP}.sql\n")
    git = ["git", "-C", str(toy.root), "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for step in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *step], check=True)
    problem = look.refused(toy.plan(shop, preset=Preset.LIVE))
    assert f"[tree] not committed, for git ignores it: supabase/migrations/{GAP}.sql" in (
        problem.happened
    )
    assert "git add --force" in problem.todo
    assert look.found(toy.plan(shop))["tree"].verdict is Verdict.NOTED


def test_what_git_refuses_to_say_is_not_taken_for_no_git(
    shop: Database, toy: Toy, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(toy.root)]
    subprocess.run([*git, "init", "-q"], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    problem = look.refused(toy.plan(shop, preset=Preset.LIVE))
    assert "detected dubious ownership" in problem.happened
    assert "isn't in git" not in problem.happened
    assert "Commit first" not in problem.todo


def test_outside_the_window_the_next_one_is_named(shop: Database, toy: Toy, look: Look) -> None:
    closed = closed_window()
    problem = look.refused(toy.plan(shop, policy=closed))
    assert "[window] outside the deployment window" in problem.happened
    start = closed["window_start"]
    assert "Next: " in problem.todo
    assert f"{start:%H:%M} UTC" in problem.todo
    assert problem.exit_code == TryAgainLater.exit_code
    reason = {"window": "the app is down anyway"}
    check = look.found(toy.plan(shop, policy=closed, overrides=reason))["window"]
    assert check.verdict is Verdict.OVERRIDDEN


NIGHT = Policy(window_start=time(23), window_end=time(2), time_zone="Asia/Kolkata")


@pytest.mark.parametrize(
    ("utc", "needed", "said"),
    [
        ("18:00", 60, "open until 02:00 Asia/Kolkata"),  # 23:30 in Kolkata
        ("20:29", 60, "open until 02:00 Asia/Kolkata"),
        ("20:29:30", 60, "the window closes in 30 s and 60 s are needed, as rehearsed."),
        ("20:30", 0, "outside the deployment window."),
        ("12:00", 0, "outside the deployment window."),
    ],
)
def test_the_rehearsed_time_must_fit_into_what_is_left(utc: str, needed: float, said: str) -> None:
    now = datetime.fromisoformat(f"2025-09-15T{utc}+00:00")
    found = window_check(NIGHT, now, seconds_needed=needed)
    if isinstance(found, Check):
        assert (found.verdict, found.found) == (Verdict.FAILED, said)
        day = "Mon 2025-09-15" if utc == "12:00" else "Tue 2025-09-16"
        assert found.todo == f"Next: {day} 23:00 Asia/Kolkata."
    else:
        assert found == said


def test_where_it_is_always_open_it_does_not_close_at_midnight() -> None:
    now = datetime(2025, 9, 15, 23, 59, 59, tzinfo=UTC)
    assert window_check(Policy(), now, seconds_needed=3600) == "always open here"


def test_the_last_gap_must_soak(shop_001: Database, toy: Toy, look: Look) -> None:
    toy.gap_at(LATER)
    plan = toy.plan(shop_001, "002", policy={"soak_hours": 24})
    problem = look.refused(plan)
    assert "[soak] gap_001_pay_bill has been watched for 0.0 of 24 hours" in problem.happened
    assert "pymilk watch --for 24h" in problem.todo
    assert problem.exit_code == TryAgainLater.exit_code
    # How long ago the template was deployed is the test run's affair.
    live = {"soak_hours": 24, "soak_counts": "live"}
    problem = look.refused(toy.plan(shop_001, "002", policy=live))
    assert re.search(
        r"\[soak\] gap_001_pay_bill has been live for \d\.\d of 24 hours", problem.happened
    )
    short = toy.plan(shop_001, "002", policy={**live, "soak_hours": 1e-9})
    assert look.found(short)["soak"].verdict is Verdict.PASSED


def test_a_look_that_found_nothing_broken_lets_the_next_gap_come(
    shop_001: Database, toy: Toy, look: Look
) -> None:
    toy.gap_at(LATER)
    plan = toy.plan(shop_001, "002", policy={"soak_hours": 1e-9, "watch_gap_minutes": 999})
    assert "[soak]" in look.refused(plan).happened
    session, watch = shop_001.connect(autocommit=True), uuid.uuid4()
    deploy = latest(read_entries(session), Kind.DEPLOY)
    assert deploy is not None
    seen = Sample(datetime.now(UTC), 0.1, {"overpaid": 0.1})
    record_sample(session, seen, deploy.id, watch)
    assert look.found(plan)["soak"].verdict is Verdict.PASSED
    record_sample(session, replace(seen, broken=(Broken("overpaid", 1, 1),)), deploy.id, watch)
    assert "is broken that held before" in look.refused(plan).happened


def test_a_complaint_stops_the_clock_until_it_is_answered(
    shop_001: Database, toy: Toy, look: Look
) -> None:
    toy.gap_at(LATER)
    plan = toy.plan(shop_001, "002", policy={"soak_hours": 1e-9, "soak_counts": "live"})
    number = add_note(plan.target, "customer 47 says the bill is wrong")
    problem = look.refused(plan)
    assert "customer 47 says the bill is wrong" in problem.happened
    assert f"pymilk note --answer {number}" in problem.todo
    add_note(plan.target, "it is right", answers=number)
    assert look.found(plan)["soak"].verdict is Verdict.PASSED


def test_what_was_rolled_back_does_not_soak(shop_001: Database, toy: Toy, look: Look) -> None:
    """It isn't live any more; the next try need not wait a day for it."""
    roll_back(toy.plan(shop_001), archive=False)
    strict = toy.plan(shop_001, policy={"soak_hours": 24})
    assert look.found(strict)["soak"].verdict is Verdict.PASSED


def test_all_that_fails_is_told_at_once(shop: Database, toy: Toy, look: Look) -> None:
    shop.connect(autocommit=True).execute("create table public.by_hand (a int)")
    toy.verify(None)
    problem = look.refused(toy.plan(shop, preset=Preset.LIVE, policy=closed_window()))
    for name in ("verification", "drift", "tree", "window"):
        assert f"[{name}] " in problem.happened
        assert f"[{name}] " in problem.todo
    # Some of it won't pass by itself.
    assert problem.exit_code == 1


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"nonsense": "because"}, "'nonsense' can't be overridden"),
        ({"history": "because"}, "'history' can't be overridden"),
        ({"files": "because"}, "'files' can't be overridden"),
        ({"server": "because"}, "'server' can't be overridden"),
        ({"session": "because"}, "'session' can't be overridden"),
        ({"drift": ""}, "The override of 'drift' has no reason"),
        ({"drift": "  "}, "The override of 'drift' has no reason"),
    ],
)
def test_an_override_needs_a_known_check_and_a_reason(overrides: dict[str, str], said: str) -> None:
    with pytest.raises(UsageProblem, match=said) as refused:
        preflight.refuse_unknown_overrides(overrides)
    assert refused.value.todo


def test_an_override_of_what_passes_changes_nothing(shop: Database, toy: Toy, look: Look) -> None:
    assert look.found(toy.plan(shop, overrides={"drift": "x"}))["drift"].verdict is Verdict.PASSED
