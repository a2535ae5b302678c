"""The one step that changes the live database: whole, as rehearsed, and never in the app's way."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event

import psycopg
import pytest

from pymilk.database.ledger import Kind, latest, read_entries, whole
from pymilk.deploy import after
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.problem import Problem, TryAgainLater
from support.changing import change
from support.commands import start
from support.databases import Database
from support.gate import WAIT, closed_gate, wait_until_at_the_gate
from support.projects import BASELINE, GAP, UP_SQL, Toy, schema_and_rows
from support.sessions import wait_until_blocked, wait_until_gone

VERSION = GAP.partition("_")[0]


def refused(plan: Plan, proof: Evidence, database: Database) -> Problem:
    """The refusal, which must have changed nothing at all."""
    before = schema_and_rows(database)
    with pytest.raises(Problem) as refused:
        change(plan, proof)
    assert schema_and_rows(database) == before
    assert latest(read_entries(database.connect()), Kind.DEPLOY) is None
    assert "Nothing was changed" in refused.value.state
    assert refused.value.todo
    return refused.value


def test_the_change_and_its_records_come_together(
    shop: Database, toy: Toy, proof: Evidence
) -> None:
    plan = toy.plan(shop)
    applied = change(plan, proof).applied
    assert applied is not None
    assert applied.attempts == 1
    owed = {"owed": {"1": ("130", "0"), "2": ("75.25", "10.50"), "3": ("10", "99")}}
    assert applied.state_before == owed
    assert not applied.compared_inside
    assert applied.rows_before == {
        "public.bills": 4,
        "public.customers": 3,
        "public.marks": 2,
        "public.notes": 3,
    }
    session = shop.connect(autocommit=True)
    rows = session.execute(
        "select version, name, statements, rollback from supabase_migrations.schema_migrations"
        " order by version"
    ).fetchall()
    assert [row[0] for row in rows] == [BASELINE.partition("_")[0], VERSION]
    up, down = plan.migration.up, plan.migration.down
    assert down is not None
    assert rows[1][1:] == (
        "gap_001_pay_bill",
        [statement.text for statement in up.statements],
        [statement.text for statement in down.statements],
    )
    entry = latest(read_entries(session), Kind.DEPLOY)
    assert entry is not None
    assert (entry.version, entry.checksum) == (VERSION, up.checksum)
    entry = whole(session, entry)
    assert entry.evidence["rollback_script"] == down.text
    assert entry.evidence["backup"]["rows"] > 0
    assert entry.evidence["rehearsal"]["locks"]["public.bills"]["mode"] == "AccessExclusiveLock"


def test_what_was_broken_before_stays_noted(shop: Database, toy: Toy, proof: Evidence) -> None:
    shop.connect(autocommit=True).execute("update public.bills set paid = 60 where id = 2")
    applied = change(toy.plan(shop), proof).applied
    assert applied is not None
    assert applied.standing_violations == {"overpaid": 1}


ON_LIVE_ONLY = {
    "the schema was changed since the backup": (
        "create index by_hand on public.notes (body)",
        "",
        ["The schema has changed since the backup: + index public.by_hand"],
    ),
    "somebody else has deployed meanwhile": (
        "insert into supabase_migrations.schema_migrations (version) values ('20250930000000')",
        "",
        ["Somebody else applied or removed a migration meanwhile: 20250930000000"],
    ),
    "the live rows make it fail": (
        "insert into public.notes values (9, 'nine')",
        "\ncreate table public.ninth ();\ninsert into public.notes values (9, 'mine');",
        [f"migrations/{GAP}.sql, line ", "duplicate key", "(id)=(9)"],
    ),
    "it makes something else than on the copy": (
        "select 1",
        "create index more on public.notes (body);",
        ["The schema isn't what the rehearsal made of it: + index public.more"],
    ),
    "it breaks an invariant": (
        "select 1",
        "update public.bills set amount = 5 where id = 2;",
        ["breaks 1 invariant(s): overpaid: 2, 5, 20"],
    ),
    "it changes a figure": (
        "select 1",
        "update public.bills set paid = 1 where id = 1;",
        ["changes 1 figure(s): owed 1: 130, 0 → 129, 0"],
    ),
    "it empties a table": (
        "select 1",
        "truncate public.receipts, public.bills;",
        ["changes 3 figure(s): owed 1: 130, 0 → 0, 0"],
    ),
}


@pytest.mark.parametrize("what", ON_LIVE_ONLY)
def test_what_shows_on_the_live_database_only(
    shop: Database, toy: Toy, proof: Evidence, what: str
) -> None:
    happening, more, said = ON_LIVE_ONLY[what]
    shop.connect(autocommit=True).execute(happening)
    toy.up(UP_SQL + more)
    toy.verify("select 1;")
    problem = refused(toy.plan(shop), proof, shop)
    for words in said:
        assert words in problem.happened


def test_what_customers_do_meanwhile_is_theirs(shop: Database, toy: Toy, proof: Evidence) -> None:
    toy.up(WAIT + UP_SQL)
    customer = shop.connect(autocommit=True)
    with ThreadPoolExecutor(1) as pool:
        with closed_gate(shop.url):
            changing = pool.submit(change, toy.plan(shop), proof)
            wait_until_at_the_gate(shop.url)
            customer.execute("update public.customers set opening = 5 where id = 3")
            # And nobody else can deploy: `supabase db push` would wait here.
            customer.execute("set lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                customer.execute(
                    "insert into supabase_migrations.schema_migrations (version) values ('3')"
                )
        applied = changing.result(timeout=30).applied
    assert applied is not None
    assert applied.attempts == 1
    assert applied.state_before["owed"]["3"] == ("10", "99")
    assert not applied.compared_inside


# What a migration does to rows, at its leisure: customers come by meanwhile.
SLOWLY = """update public.bills set note = '"seen"' where id = 1; select pg_sleep(0.05);"""


@contextmanager
def over_and_over(
    database: Database, statement: bytes, *, pause: float = 0.0, setting: str = ""
) -> Iterator[list[int]]:
    """Somebody who runs a statement again and again; how often it has come through.

    Args:
        database: Where.
        statement: What he runs.
        pause: Seconds in between.
        setting: What his session begins with.
    """
    stop, done = Event(), [0]

    def run() -> None:
        with psycopg.connect(database.url, autocommit=True) as session:
            if setting:
                session.execute(setting.encode())
            while not stop.wait(pause):
                session.execute(statement)
                done[0] += 1

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield done
        finally:
            stop.set()
        running.result(timeout=30)


@contextmanager
def restless(database: Database) -> Iterator[None]:
    """A customer whose figure never holds still, in a table that no script here locks."""
    move = b"update public.customers set opening = opening + 1 where id = 3"
    with over_and_over(database, move) as moved:
        deadline = time.monotonic() + 10
        while not moved[0]:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        yield


def test_customers_who_never_hold_still_are_kept_out_for_a_moment(
    shop: Database, toy: Toy, proof: Evidence
) -> None:
    toy.up(SLOWLY + UP_SQL)
    with restless(shop):
        applied = change(toy.plan(shop), proof).applied
    assert applied is not None
    assert applied.compared_inside


def test_what_the_migration_moves_is_told_from_what_customers_move(
    shop: Database, toy: Toy, proof: Evidence
) -> None:
    toy.up("update public.bills set paid = 1 where id = 1;" + SLOWLY + UP_SQL)
    with restless(shop), pytest.raises(Problem) as refused:
        change(toy.plan(shop), proof)
    assert "changes 1 figure(s): owed 1: 130, 0 → 129, 0" in refused.value.happened
    assert "owed 3" not in refused.value.happened


# A canary that looks twice, as one does that counts what is broken before and after.
LOOKS_TWICE = """\
do $$
declare
  v_notes bigint;
begin
  select count(*) into v_notes from public.notes;
  perform pg_sleep(0.3);
  if (select count(*) from public.notes) <> v_notes then
    raise exception 'the canary left a note';
  end if;
end;
$$;
"""


# Somebody who writes a note every few milliseconds.
A_NOTE = b"insert into public.notes (id) select max(id) + 1 from public.notes"


def test_what_customers_do_between_two_looks_of_the_canary_is_not_its_failure(
    shop: Database, toy: Toy, proof: Evidence
) -> None:
    toy.verify(LOOKS_TWICE)
    with over_and_over(shop, A_NOTE, pause=0.005) as written:
        applied = change(toy.plan(shop), looking_at_notes(proof)).applied
    assert applied is not None
    assert written[0] > 0


def test_a_canary_that_fails_with_everybody_kept_out_has_failed(
    shop: Database, toy: Toy, proof: Evidence
) -> None:
    toy.verify(LOOKS_TWICE.replace("perform pg_sleep(0.3)", "insert into public.notes values (9)"))
    problem = refused(toy.plan(shop), looking_at_notes(proof), shop)
    assert f"verify/{GAP}.sql, line 1: the canary left a note" in problem.happened


def looking_at_notes(proof: Evidence) -> Evidence:
    """The proof as a rehearsal of that canary gives it (test_rehearsal)."""
    assert proof.rehearsal is not None
    tables = proof.rehearsal.canary_tables | {"public.notes"}
    return replace(proof, rehearsal=replace(proof.rehearsal, canary_tables=tables))


def test_a_window_that_is_closing(shop: Database, toy: Toy, proof: Evidence) -> None:
    now = datetime.now(UTC)
    closing = {
        "window_start": (now - timedelta(hours=1)).time(),
        "window_end": (now + timedelta(seconds=15)).time(),
    }
    problem = refused(toy.plan(shop, policy=closing), proof, shop)
    assert "the window closes in " in problem.happened
    assert "needed, as rehearsed" in problem.happened
    assert problem.exit_code == 75
    reason = {"window": "it takes a second"}
    assert change(toy.plan(shop, policy=closing, overrides=reason), proof).applied is not None


def test_proof_that_is_too_old(shop: Database, toy: Toy, proof: Evidence) -> None:
    problem = refused(toy.plan(shop, policy={"proof_max_age_hours": 1e-9}), proof, shop)
    assert "hours old by now" in problem.happened
    assert problem.exit_code == 75


def readers(database: Database) -> AbstractContextManager[list[int]]:
    """The app: short reads, one after another, each of which must come through."""
    # Ten times what a deploy may queue; whoever waits longer than this was held up.
    patience = "set lock_timeout = '1s'"
    return over_and_over(database, b"select sum(amount) from public.bills", setting=patience)


PATIENCE = {"lock_timeout_ms": 100, "lock_attempts": 3}


@pytest.mark.parametrize(
    "beginning", ["", "set lock_timeout = 0;\n", "select set_config('lock_timeout', '0', false);\n"]
)
def test_whoever_is_in_the_way_is_named_and_nobody_waits_behind_us(
    shop: Database, toy: Toy, proof: Evidence, beginning: str
) -> None:
    toy.up(f"{beginning}lock table public.bills in access exclusive mode;\n{UP_SQL}")
    cashier = shop.connect()
    cashier.execute("set application_name = 'the till'")
    cashier.execute("update public.bills set paid = 1 where id = 1")
    plan = toy.plan(shop, policy=PATIENCE)
    with readers(shop) as reads:
        with pytest.raises(
            TryAgainLater, match="locks could not be acquired in 3 attempts"
        ) as later:
            change(plan, proof)
        assert reads[0] > 0
    assert f"process {cashier.info.backend_pid} (the till, postgres, idle in transaction" in (
        later.value.happened
    )
    assert later.value.exit_code == 75
    assert later.value.state.startswith("Nothing was changed")
    cashier.rollback()
    # With nobody in the way it goes through; and the till goes on.
    assert change(plan, proof).applied is not None
    cashier.execute("update public.bills set paid = 1 where id = 1")
    cashier.commit()


def test_without_a_lock_timeout_the_app_would_wait(shop: Database) -> None:
    """What the test above would see if a deploy queued for its lock like any client."""
    cashier = shop.connect()
    cashier.execute("update public.bills set paid = 1 where id = 1")
    careless = shop.connect(autocommit=True)
    watcher = shop.connect(autocommit=True)
    with ThreadPoolExecutor(1) as pool:
        altering = pool.submit(careless.execute, "alter table public.bills add column a int")
        wait_until_blocked(watcher, careless.info.backend_pid)
        with pytest.raises(psycopg.errors.LockNotAvailable), readers(shop):
            time.sleep(1.5)  # longer than a reader waits
        cashier.rollback()
        altering.result(timeout=20)


def test_it_comes_back_for_a_lock_that_is_let_go(shop: Database, toy: Toy, proof: Evidence) -> None:
    cashier = shop.connect()
    cashier.execute("update public.bills set paid = 1 where id = 1")
    watcher = shop.connect(autocommit=True)
    plan = toy.plan(shop, policy={"lock_timeout_ms": 50})
    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change, plan, proof)
        with only_seen(watcher, "pymilk deploy 001") as pid:
            wait_until_blocked(watcher, pid)
        cashier.rollback()
        applied = changing.result(timeout=30).applied
    assert applied is not None


@contextmanager
def only_seen(watcher: psycopg.Connection[tuple[object, ...]], purpose: str) -> Iterator[int]:
    """The server process of the session with that application_name, once it is there."""
    query = (
        "select pid from pg_stat_activity where datname = current_database()"
        " and application_name = %s"
    )
    deadline = time.monotonic() + 20
    while (row := watcher.execute(query, (purpose,)).fetchone()) is None:
        assert time.monotonic() < deadline, f"{purpose} was not seen"
        time.sleep(0.005)
    yield int(str(row[0]))


@pytest.mark.long
def test_a_killed_deploy_does_not_keep_its_locks(shop: Database, toy: Toy) -> None:
    """Its server process is in the middle of a statement, and would not notice by itself."""
    toy.up(UP_SQL + WAIT)
    watcher = shop.connect(autocommit=True)
    command = ("deploy", "001", "--policy", "local", "--db-url", shop.url)
    with closed_gate(shop.url), start(*command, cwd=toy.root) as process:
        pid = wait_until_at_the_gate(shop.url)
        process.kill()
        process.wait(timeout=20)
        wait_until_gone(watcher, pid)
        watcher.execute("set lock_timeout = '1s'")
        watcher.execute("update public.bills set paid = 1 where id = 1")


class TestTheFirstLookAfterwards:
    """Whatever happens here, the change is there: nobody may be told otherwise."""

    def test_the_canary_runs_and_leaves_nothing(
        self, shop_001: Database, toy: Toy, bench: Bench
    ) -> None:
        before = schema_and_rows(shop_001)
        watched = after.run(toy.plan(shop_001), bench, Evidence()).after
        assert watched is not None
        assert watched.canary_seconds is not None
        assert schema_and_rows(shop_001) == before

    def test_a_canary_that_fails(self, shop_001: Database, toy: Toy, bench: Bench) -> None:
        toy.verify("do $$ begin raise exception 'not in effect'; end; $$;")
        with pytest.raises(Problem, match="is deployed, but its verification fails") as failed:
            after.run(toy.plan(shop_001), bench, Evidence())
        assert "not in effect" in failed.value.happened
        assert f"{VERSION} is applied and committed" in failed.value.state
        assert "pymilk rollback 001" in failed.value.todo

    def test_a_canary_in_a_customers_way_gives_way(
        self, shop_001: Database, toy: Toy, bench: Bench
    ) -> None:
        cashier = shop_001.connect()
        cashier.execute("update public.bills set note = '1' where id = 1")
        with pytest.raises(Problem, match="is deployed, but") as failed:
            after.run(toy.plan(shop_001), bench, Evidence())
        assert "lock timeout" in failed.value.happened
        assert f"{VERSION} is applied and committed" in failed.value.state
        assert "pymilk verify 001" in failed.value.todo

    def test_a_database_that_is_gone(self, toy: Toy, bench: Bench) -> None:
        nowhere = toy.plan("postgresql://postgres@127.0.0.1:1/postgres")
        with pytest.raises(Problem, match="is deployed, but") as failed:
            after.run(nowhere, bench, Evidence())
        assert "Can't connect" in failed.value.happened
        assert f"{VERSION} is applied and committed" in failed.value.state
