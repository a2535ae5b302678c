"""A watch sees what breaks, takes back what it may, and goes on from the ledger."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pymilk.database.ledger import Event, Kind, Outcome, latest, read_entries, record, whole
from pymilk.deploy.health import sampling
from pymilk.deploy.health.samples import read_moments, read_samples
from pymilk.deploy.watch import breach
from pymilk.deploy.watch.breach import Then
from pymilk.deploy.watch.watch import Asked, Began, Ended, Happening, Lost, Seen, watch
from pymilk.deploy.watch.watch_end import verdict_of
from pymilk.problem import Problem, SomethingToDo, UsageProblem
from support.databases import Database
from support.projects import Toy, copy_of, deploy_toy, schema_and_rows, write_toy
from support.sessions import wait_until_gone

BREAK = "update public.bills set paid = amount + 1 where id = {}"
MEND = "update public.bills set paid = 0 where id = {}"


def asked(toy: Toy, database: Database, *, rolls_back: bool = False, **others: object) -> Asked:
    plan = toy.plan(database, policy={"rollback_on_breach": rolls_back})

    def plan_for(version: str) -> object:
        return toy.plan(database, version, policy={"rollback_on_breach": rolls_back})

    given: dict[str, object] = {
        "project": plan.project,
        "target": plan.target,
        "policy": plan.policy,
        "every_seconds": 0.05,
        "for_seconds": None,
        "plan_for": plan_for,
        **others,
    }
    return Asked(**given)  # type: ignore[arg-type]


def seen(happenings: Iterator[Happening]) -> Seen:
    """The next sample."""
    found = next(each for each in happenings if isinstance(each, Seen))
    assert isinstance(found, Seen)
    return found


def weaken(toy: Toy) -> None:
    """A gap that doesn't guard the bills."""
    toy.gap("create table public.extra (id int primary key);", "drop table public.extra;")


@pytest.fixture(scope="module")
def _weak_deployed(
    toy_adopted: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with copy_of(toy_adopted) as database:
        toy = write_toy(tmp_path_factory.mktemp("weak"))
        weaken(toy)
        deploy_toy(toy.plan(database))
        yield database


@pytest.fixture
def weak(_weak_deployed: Database, toy: Toy) -> Iterator[Database]:
    """The toy with that gap, deployed by the real pipeline."""
    weaken(toy)
    with copy_of(_weak_deployed) as database:
        yield database


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes by is looked at again as often, only sooner."""
    monkeypatch.setattr(sampling, "_BETWEEN_LOOKS_SECONDS", 0.01)


class TestASample:
    """What one look finds, and writes down."""

    def test_it_is_in_the_ledger_when_it_is_told(self, weak: Database, toy: Toy) -> None:
        begun, found = watch(asked(toy, weak))
        assert isinstance(begun, Began)
        assert isinstance(found, Seen)
        deploy = latest(read_entries(weak.connect()), Kind.DEPLOY)
        assert deploy is not None
        (taken,) = read_samples(weak.connect(), deploy.id)
        assert taken.sample == found.taken.sample
        assert found.watched_seconds > 0  # the deploy has looked as well, when it ended
        assert list(taken.sample.invariants) == ["overpaid"]
        assert taken.sample.activity is not None
        assert {"what clients report", "daily statements"} <= taken.sample.lacking.keys()
        assert verdict_of(found) is None

    def test_what_was_broken_before_the_deploy_is_no_breach(self, shop: Database, toy: Toy) -> None:
        weaken(toy)
        shop.connect(autocommit=True).execute(BREAK.format(1))
        deploy_toy(toy.plan(shop))
        found = seen(watch(asked(toy, shop)))
        assert (found.taken.sample.broken[0].rows, found.breach) == (1, None)
        shop.connect(autocommit=True).execute("update public.bills set paid = 999 where id = 1")
        assert seen(watch(asked(toy, shop))).breach is None

    def test_what_breaks_after_it_is_one(self, weak: Database, toy: Toy) -> None:
        weak.connect(autocommit=True).execute(BREAK.format(2))
        found = seen(watch(asked(toy, weak)))
        assert found.breach is not None
        assert found.breach.lines == ("overpaid: 1 new row(s): 2, 50, 51",)
        assert found.breach.then is Then.LEFT
        problem = verdict_of(found)
        assert isinstance(problem, SomethingToDo)
        assert "2, 50, 51" in problem.happened

    def test_what_is_broken_in_passing_is_none(self, weak: Database, toy: Toy) -> None:
        toy.write(
            "sql/invariants",
            "passing",
            "select 'bill', 1 where (select paid from public.bills where id = 1) <> 0",
        )
        seen(watch(asked(toy, weak)))  # nobody had looked at that one before
        session = weak.connect(autocommit=True)
        toy.write(
            "sql/invariants",
            "overpaid",
            # Broken at the first look alone: a sequence counts the looks.
            "select 'bill', 1 where pg_sequence_last_value('looks') = 1",
        )
        session.execute("create sequence looks")
        session.execute("select setval('looks', 1)")
        happenings = watch(asked(toy, weak))
        next(happenings)
        mend = weak.connect(autocommit=True)
        original = time.sleep

        def mended(seconds: float) -> None:
            mend.execute("select setval('looks', 2)")
            original(seconds)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "sleep", mended)
            found = seen(happenings)
        assert found.breach is None
        assert found.taken.sample.passing == ("overpaid: bill, 1",)

    def test_an_invariant_that_nobody_had_looked_at_begins_with_what_stands(
        self, weak: Database, toy: Toy
    ) -> None:
        toy.write("sql/invariants", "late", "select 'bill', id from public.bills where paid > 0")
        first = seen(watch(asked(toy, weak)))
        assert (first.breach, first.taken.sample.baseline) == (None, {"late": (("bill", "2"),)})
        weak.connect(autocommit=True).execute("update public.bills set paid = 1 where id = 1")
        second = seen(watch(asked(toy, weak)))
        assert second.breach is not None
        assert second.breach.lines == ("late: 1 new row(s): bill, 1",)
        assert second.taken.sample.baseline is None

    def test_one_that_cannot_be_read_is_told_and_fails(self, weak: Database, toy: Toy) -> None:
        toy.write("sql/invariants", "bad", "select nothing")
        found = seen(watch(asked(toy, weak)))
        problem = verdict_of(found)
        assert problem is not None
        assert problem.exit_code == 1
        assert "invariants/bad.sql, line 1" in problem.happened
        number = found.taken.deploy
        assert [one.whole for one in read_moments(weak.connect(), number)] == [False]

    def test_what_its_deploy_could_not_read_either_is_named_and_counts_as_watched(
        self, shop: Database, toy: Toy
    ) -> None:
        """What a later migration makes: the soak before that one would never end."""
        toy.gap_at("20250918000000_gap_002_later")
        toy.write("sql/invariants", "later", "select 'till', t.id from public.tills as t")
        toy.write("sql/state", "overpaid", "select t.id, 1 from public.tills as t")
        deploy_toy(toy.plan(shop))
        found = seen(watch(asked(toy, shop)))
        assert verdict_of(found) is None
        why = 'invariants/later.sql, line 1: relation "public.tills" does not exist'
        assert found.taken.sample.lacking["invariants/later.sql"] == why
        session = shop.connect(autocommit=True)
        assert [one.whole for one in read_moments(session, found.taken.deploy)] == [True]

        # From when it can be read it is looked at like any other that nobody had looked at before.
        session.execute(
            "create table public.tills (id integer); insert into public.tills values (1)"
        )
        found = seen(watch(asked(toy, shop)))
        assert (found.breach, found.taken.sample.failed) == (None, {})
        assert found.taken.sample.baseline == {"later": (("till", "1"),)}
        session.execute("insert into public.tills values (2)")
        assert seen(watch(asked(toy, shop))).breach is not None

        toy.write("sql/invariants", "overpaid", "select nothing")
        assert set(seen(watch(asked(toy, shop))).taken.sample.failed) == {"overpaid"}

    def test_what_a_second_look_cannot_read_has_not_passed(self, weak: Database, toy: Toy) -> None:
        session = weak.connect(autocommit=True)
        session.execute("create sequence looks; select setval('looks', 1)")
        toy.write(
            "sql/invariants", "overpaid", "select 'bill', 1 / (2 - pg_sequence_last_value('looks'))"
        )
        original = time.sleep

        def from_now_on_it_fails(seconds: float) -> None:
            session.execute("select setval('looks', 2)")
            original(seconds)

        happenings = watch(asked(toy, weak))
        next(happenings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "sleep", from_now_on_it_fails)
            found = seen(happenings)
        assert found.breach is not None
        assert found.taken.sample.passing == ()

    def test_lock_waits_outcomes_and_daily_times_are_seen(self, weak: Database, toy: Toy) -> None:
        toy.write("sql/daily", "bills", "select count(*) from public.bills")
        toy.write("sql/daily", "gone", "select * from public.nowhere")
        toy.write("sql/outcomes", "refused", "select body, id from public.notes")
        toy.write("sql/outcomes", "later", "select * from public.comes_later")
        holder = weak.connect()
        holder.execute("lock table public.marks")
        waiter = weak.connect()
        with waiter.pipeline():
            waiter.execute("select from public.marks")
            waiter.pgconn.flush()
            until_waiting(weak, waiter.info.backend_pid)
            sample = seen(watch(asked(toy, weak))).taken.sample
            holder.rollback()
        assert sample.waits.sessions == 1
        assert sample.times.keys() == {"bills"}
        assert sample.outcomes == {"refused": {"first": 1, "": 2, "None": 3}}
        assert {"daily/gone", "outcomes/later"} <= sample.lacking.keys()

    def test_what_fails_in_it_is_not_counted_as_a_rollback(self, weak: Database, toy: Toy) -> None:
        toy.write("sql/daily", "gone", "select * from public.nowhere")
        toy.write("sql/outcomes", "later", "select * from public.comes_later")
        toy.write("sql/invariants", "bad", "select nothing")
        counts = "select xact_rollback from pg_stat_database where datname = current_database()"
        session = weak.connect(user="supabase_admin", autocommit=True)
        before = session.execute(counts).fetchone()
        happenings = watch(asked(toy, weak))
        seen(happenings)
        found = session.execute(
            "select pid from pg_stat_activity"
            " where application_name = 'pymilk watch' and datname = current_database()"
        ).fetchone()
        assert list(happenings) == []  # its session ends, and with it all is counted
        if found is not None:
            wait_until_gone(session, found[0])
        assert session.execute(counts).fetchone() == before

    def test_it_holds_no_snapshot_afterwards(self, weak: Database, toy: Toy) -> None:
        happenings = watch(asked(toy, weak, for_seconds=60))
        seen(happenings)
        held = weak.connect(autocommit=True).execute(
            "select state, backend_xmin from pg_stat_activity"
            " where application_name = 'pymilk watch' and datname = current_database()"
        )
        assert held.fetchall() == [("idle", None)]


def until_waiting(database: Database, pid: int) -> None:
    watcher = database.connect(autocommit=True)
    for _ in range(1000):
        row = watcher.execute("select cardinality(pg_blocking_pids(%s)) > 0", (pid,)).fetchone()
        if row and row[0]:
            return
        time.sleep(0.01)
    raise AssertionError("nobody was seen waiting")


class TestABreach:
    """Told once, rolled back where the policy says so, never at the cost of a row."""

    def test_the_deploy_is_rolled_back_and_every_row_stays(self, weak: Database, toy: Toy) -> None:
        happenings = watch(asked(toy, weak, rolls_back=True, for_seconds=60))
        assert seen(happenings).breach is None
        weak.connect(autocommit=True).execute(BREAK.format(1))
        before = schema_and_rows(weak)
        found = seen(happenings)
        assert found.breach is not None
        assert found.breach.then is Then.ROLLED_BACK
        assert next(happenings, None) is None
        after = schema_and_rows(weak)
        assert "table public.extra" in before["objects"]  # type: ignore[operator]
        assert "table public.extra" not in after["objects"]  # type: ignore[operator]
        for table in ("customers", "bills", "notes", "marks"):
            assert after[table] == before[table]
        entries = read_entries(weak.connect())
        rollback, breach = latest(entries, Kind.ROLLBACK), latest(entries, Kind.BREACH)
        assert rollback is not None
        assert breach is not None
        rollback = whole(weak.connect(), rollback)
        assert rollback.evidence["because"] == ["overpaid: 1 new row(s): 1, 100, 101"]
        assert breach.evidence["then"] == "rolled back"
        assert breach.evidence["sample"] == found.taken.id
        problem = verdict_of(found)
        assert problem is not None
        assert problem.exit_code == 1
        assert "GAP-001 was rolled back" in problem.happened

    @pytest.mark.long
    def test_one_bad_row_does_not_take_back_one_deploy_after_the_other(
        self, weak: Database, toy: Toy
    ) -> None:
        later = "20250918000000_gap_002_more"
        toy.gap_at(later)
        deploy_toy(toy.plan(weak, "002"))
        session = weak.connect(autocommit=True)
        session.execute(BREAK.format(1))
        first = seen(watch(asked(toy, weak, rolls_back=True)))
        assert first.breach is not None
        assert first.breach.then is Then.ROLLED_BACK
        for _ in range(2):  # as cron runs it: now the deploy before that one is the newest
            stayed = seen(watch(asked(toy, weak, rolls_back=True)))
            assert stayed.breach is not None
            assert stayed.breach.then is Then.ANSWERED
            problem = verdict_of(stayed)
            assert isinstance(problem, SomethingToDo)
            assert "another deploy was rolled back for it" in problem.state
        breaches = [one for one in read_entries(session) if one.kind is Kind.BREACH]
        assert [one.evidence["then"] for one in breaches] == [Then.ROLLED_BACK, Then.ANSWERED]
        # What was mended and breaks anew is this deploy's.
        session.execute(MEND.format(1))
        assert seen(watch(asked(toy, weak, rolls_back=True))).breach is None
        session.execute(BREAK.format(1))
        anew = seen(watch(asked(toy, weak, rolls_back=True)))
        assert anew.breach is not None
        assert anew.breach.then is Then.ROLLED_BACK

    def test_it_stops_and_asks_where_rows_would_be_lost(self, weak: Database, toy: Toy) -> None:
        session = weak.connect(autocommit=True)
        session.execute("insert into public.extra values (7)")
        session.execute(BREAK.format(1))
        before = schema_and_rows(weak)
        happenings = watch(asked(toy, weak, rolls_back=True, for_seconds=60))
        found = seen(happenings)
        assert found.breach is not None
        assert found.breach.then is Then.ROWS_WOULD_BE_LOST
        assert next(happenings, None) is None
        assert schema_and_rows(weak) == before
        problem = verdict_of(found)
        assert isinstance(problem, SomethingToDo)
        assert "extra" in problem.happened
        assert "--archive" in problem.todo
        (attempt,) = [e for e in read_entries(weak.connect()) if e.kind is Kind.ATTEMPT]
        assert (attempt.evidence["of"], attempt.outcome) == ("rollback", Outcome.REFUSED)

    def test_it_is_tried_again_while_the_locks_are_not_to_be_had(
        self, weak: Database, toy: Toy
    ) -> None:
        holder = weak.connect()
        holder.execute("select from public.extra")
        weak.connect(autocommit=True).execute(BREAK.format(1))
        impatient = toy.plan(
            weak, policy={"rollback_on_breach": True, "lock_attempts": 1, "lock_timeout_ms": 10}
        )
        happenings = watch(
            asked(
                toy,
                weak,
                policy=impatient.policy,
                plan_for=lambda _: impatient,
                for_seconds=60,
            )
        )
        first = seen(happenings)
        assert first.breach is not None
        assert first.breach.then is Then.LATER
        again = seen(happenings)
        assert again.breach is not None
        assert again.breach.then is Then.LATER
        # Tried at each sample, written down once.
        (attempt,) = [e for e in read_entries(weak.connect()) if e.kind is Kind.ATTEMPT]
        assert (attempt.evidence["of"], attempt.outcome) == ("rollback", Outcome.NOT_NOW)
        holder.rollback()
        second = seen(happenings)
        assert second.breach is not None
        assert second.breach.then is Then.ROLLED_BACK

    def test_somebody_is_told_once_until_it_breaks_anew(
        self, weak: Database, toy: Toy, tmp_path: Path
    ) -> None:
        told, session = tmp_path / "told", weak.connect(autocommit=True)
        command = f'cat >> "{told}"; echo "$PYMILK_THEN" >> "{told}"'
        ask = asked(toy, weak, on_breach=command)
        session.execute(BREAK.format(1))
        for _ in range(2):  # as cron runs it
            assert seen(watch(ask)).breach is not None
        assert told.read_text().count("overpaid: 1 new row(s)") == 1
        assert told.read_text().endswith("left to people\n")
        session.execute(MEND.format(1))
        assert seen(watch(ask)).breach is None
        session.execute(BREAK.format(1))
        seen(watch(ask))
        assert told.read_text().count("overpaid: 1 new row(s)") == 2
        session.execute(BREAK.format(3))
        seen(watch(ask))
        assert told.read_text().count("overpaid: 2 new row(s)") == 1
        breaches = [one for one in read_entries(session) if one.kind is Kind.BREACH]
        assert len(breaches) == 3

    def test_what_could_not_be_told_is_told_at_the_next_sample(
        self, weak: Database, toy: Toy, tmp_path: Path
    ) -> None:
        weak.connect(autocommit=True).execute(BREAK.format(1))
        failed = seen(watch(asked(toy, weak, on_breach="exit 3")))
        assert failed.breach is not None
        assert failed.breach.command == 3
        told = tmp_path / "told"
        seen(watch(asked(toy, weak, on_breach=f'touch "{told}"')))
        assert told.exists()

    def test_what_was_only_written_down_is_told_when_there_is_a_command(
        self, weak: Database, toy: Toy, tmp_path: Path
    ) -> None:
        weak.connect(autocommit=True).execute(BREAK.format(1))
        for _ in range(2):
            seen(watch(asked(toy, weak)))
        told = tmp_path / "told"
        for _ in range(2):
            seen(watch(asked(toy, weak, on_breach=f'echo told >> "{told}"')))
        assert told.read_text() == "told\n"
        breaches = [one for one in read_entries(weak.connect()) if one.kind is Kind.BREACH]
        assert len(breaches) == 2

    def test_a_command_that_hangs_ends_with_all_that_it_started(
        self, weak: Database, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(breach, "_COMMAND_SECONDS", 0.5)
        weak.connect(autocommit=True).execute(BREAK.format(1))
        number = tmp_path / "number"
        hangs = f'sleep 600 & echo $! > "{number}.new"; mv "{number}.new" "{number}"; wait'
        found = seen(watch(asked(toy, weak, on_breach=hangs)))
        assert found.breach is not None
        assert found.breach.command == -1
        status = Path("/proc") / number.read_text().strip() / "stat"
        deadline = time.monotonic() + 30
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX":
            assert time.monotonic() < deadline, "it still runs"
            time.sleep(0.01)

    def test_the_books_being_many_does_not_tell_it_again(
        self, weak: Database, toy: Toy, tmp_path: Path
    ) -> None:
        """More rows than a sample keeps, in another order each time."""
        told, session = tmp_path / "told", weak.connect(autocommit=True)
        session.execute("create table public.odd (id int); grant select on public.odd to public")
        toy.write("sql/invariants", "odd", "select 'odd', id from public.odd order by random()")
        ask = asked(toy, weak, on_breach=f'echo told >> "{told}"')
        seen(watch(ask))  # nobody had looked at that one before
        session.execute("insert into public.odd select generate_series(1, 50)")
        for _ in range(3):
            seen(watch(ask))
        assert told.read_text() == "told\n"


class TestGoingOn:
    """The ledger says for how long it was watched; a watch ends, and survives, accordingly."""

    def test_it_ends_when_it_was_watched_for_long_enough(self, weak: Database, toy: Toy) -> None:
        *_, last = watch(asked(toy, weak, for_seconds=0.3))
        assert isinstance(last, Seen)
        assert last.watched_seconds >= 0.3
        begun, *_ = watch(asked(toy, weak, for_seconds=0.3))
        assert isinstance(begun, Began)
        assert begun.watched_seconds >= last.watched_seconds

    def test_a_lost_connection_is_made_again(self, weak: Database, toy: Toy) -> None:
        happenings = watch(asked(toy, weak, for_seconds=60))
        first = seen(happenings)
        weak.connect(user="supabase_admin", autocommit=True).execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'pymilk watch' and datname = current_database()"
        )
        assert isinstance(next(happenings), Lost)
        again = seen(happenings)
        assert again.taken.id == first.taken.id + 1
        assert again.previous == first.taken

    def test_it_ends_when_what_it_watches_is_gone(self, weak: Database, toy: Toy) -> None:
        happenings = watch(asked(toy, weak, for_seconds=60))
        seen(happenings)
        session, version = weak.connect(autocommit=True), "20250917000000"
        session.execute(
            "delete from supabase_migrations.schema_migrations where version > '202509020'"
        )
        record(session, Event(Kind.ROLLBACK, {"because": ["x"]}, version=version, name="gap_001_x"))
        ended = next(happenings)
        assert isinstance(ended, Ended)
        problem = verdict_of(ended)
        assert problem is not None
        assert "because of x" in problem.happened

    def test_without_a_deploy_it_watches_what_stands(self, shop: Database, toy: Toy) -> None:
        shop.connect(autocommit=True).execute(BREAK.format(1))
        assert seen(watch(asked(toy, shop))).breach is None
        shop.connect(autocommit=True).execute(BREAK.format(2))
        assert seen(watch(asked(toy, shop, rolls_back=True))).breach is not None
        *_, last = watch(asked(toy, shop, for_seconds=0.1))
        assert isinstance(last, Seen)

    def test_what_cannot_be_watched_is_said(self, empty_database: Database, toy: Toy) -> None:
        with pytest.raises(Problem, match="no ledger yet"):
            list(watch(asked(toy, empty_database)))
        seldom = asked(toy, empty_database, for_seconds=9999, every_seconds=3600)
        with pytest.raises(UsageProblem, match="too seldom"):
            list(watch(seldom))
        nowhere = replace(seldom.target, url="postgresql://nobody@127.0.0.1:1/x")
        with pytest.raises(Problem, match="Can't connect"):
            list(watch(replace(seldom, every_seconds=1, target=nowhere)))


def test_the_samples_of_a_watch_are_the_owners_alone(weak: Database, toy: Toy) -> None:
    seen(watch(asked(toy, weak)))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        weak.connect(role="service_role").execute("select from pymilk.samples")
