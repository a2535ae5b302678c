"""What goes wrong with migrations on live databases: twelve scenarios that others were tried on.

Each of them ends with what was there before, or with all of what was asked for, and says which.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from pymilk.database.ledger import Kind, read_entries
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.pipeline import deploy, rehearse
from pymilk.deploy.survey.status import Standing, read_status
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.project import load_project
from support.changing import change
from support.commands import run, start
from support.databases import Database
from support.gate import WAIT, closed_gate, wait_until_at_the_gate
from support.pooler import pooler, there_is_one
from support.projects import DOWN_SQL, GAP, UP_SQL, Silent, Toy, deploy_toy, schema_and_rows

VERSION = GAP.partition("_")[0]
with_pooler = pytest.mark.skipif(not there_is_one(), reason="PgBouncer is not installed")


def arguments(command: str, url: str) -> tuple[str, ...]:
    return (command, "001", "--policy", "local", "--db-url", url)


def standing(database: Database, toy: Toy, version: str = VERSION) -> Standing:
    return read_status(database.url, load_project(toy.root)).find(version).standing


READERS = 25
# What counts as held up, by the server's own measure: it ends a statement that waits for longer.
HELD_UP = "300ms"


def read_once(database: Database) -> str | None:
    """A plain SELECT of the app's; what it says when it was held up."""
    with psycopg.connect(database.url, autocommit=True) as session:
        session.execute(f"set lock_timeout = '{HELD_UP}'")
        try:
            session.execute("select sum(b.amount) from public.bills as b").fetchone()
        except psycopg.errors.LockNotAvailable as error:
            return str(error)
    return None


def readers_meanwhile(database: Database, seconds: float) -> list[str]:
    """Plain SELECTs, spread over that time; which of them were held up."""
    with ThreadPoolExecutor(READERS) as pool:
        reading = []
        for _ in range(READERS):
            reading.append(pool.submit(read_once, database))
            time.sleep(seconds / READERS)
        return [told for one in reading if (told := one.result()) is not None]


@contextmanager
def idle_reader(database: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Somebody has read the table, and has left his transaction open."""
    with psycopg.connect(database.url, application_name="a report") as session:
        session.execute("select count(*) from public.bills")
        yield session


class TestAnIdleReaderHoldsTheTable:
    """A deploy that queues behind him makes everybody else queue behind itself."""

    @pytest.mark.parametrize("seconds", [4, pytest.param(20, marks=pytest.mark.long)])
    def test_no_plain_select_waits_and_the_tool_gives_up(
        self, shop: Database, toy: Toy, proof: Evidence, seconds: float
    ) -> None:
        before = schema_and_rows(shop)
        plan = toy.plan(shop, policy={"lock_patience_seconds": seconds - 1})
        with idle_reader(shop) as reader, ThreadPoolExecutor(1) as pool:
            changing = pool.submit(change, plan, proof)
            assert readers_meanwhile(shop, seconds) == []
            with pytest.raises(TryAgainLater, match="The locks could not be acquired") as given_up:
                changing.result(timeout=60)
            pid = reader.info.backend_pid
        assert given_up.value.exit_code == 75
        assert f"process {pid} (a report, postgres, idle in transaction, since" in (
            given_up.value.happened
        )
        assert "select count(*) from public.bills" in given_up.value.happened
        assert given_up.value.state.startswith("Nothing was changed")
        assert schema_and_rows(shop) == before

    def test_a_tool_that_waits_holds_them_up(self, shop: Database) -> None:
        """What the test above would see of any other."""
        with idle_reader(shop) as reader, ThreadPoolExecutor(1) as pool:
            session = shop.connect(autocommit=True)
            altering = pool.submit(session.execute, "alter table public.bills add column a int")
            assert len(readers_meanwhile(shop, 1)) > READERS / 2
            reader.rollback()
            altering.result(timeout=20)


@pytest.mark.long
def test_two_deploys_at_once(shop: Database, toy: Toy) -> None:
    with (
        start(*arguments("deploy", shop.url), cwd=toy.root) as one,
        start(*arguments("deploy", shop.url), cwd=toy.root) as other,
    ):
        told = [process.communicate(timeout=120) for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], told
    kinds = [entry.kind for entry in read_entries(shop.connect())]
    assert kinds.count(Kind.DEPLOY) == 1
    assert standing(shop, toy) is Standing.APPLIED


def locks_left(database: Database) -> int:
    """Advisory locks that anybody holds in this database."""
    row = (
        database.connect(autocommit=True)
        .execute(
            "select count(*) from pg_locks as l where l.locktype = 'advisory' and l.database ="
            " (select d.oid from pg_database as d where d.datname = current_database())"
        )
        .fetchone()
    )
    assert row is not None
    return int(row[0])


@with_pooler
class TestThroughAPooler:
    """As Supabase offers them: one of sessions on port 5432, one of transactions on 6543."""

    def test_of_transactions_it_is_refused_and_leaves_no_lock(
        self, shop: Database, toy: Toy, proof: Evidence
    ) -> None:
        before = schema_and_rows(shop)
        with pooler(shop.url, "transaction") as url:
            done = run(*arguments("deploy", url), cwd=toy.root)
            assert done.returncode == 1, done.stdout
            assert "transaction pooler" in done.stderr
            assert "session pooler (port 5432)" in done.stderr
            with pytest.raises(Problem, match="transaction pooler"):
                roll_back(toy.plan(url), archive=False)
            # The pooler still holds the sessions that it was seen through.
            assert locks_left(shop) == 0
            assert schema_and_rows(shop) == before
            # Then one directly, as if nothing had been.
            assert change(toy.plan(shop), proof).applied is not None

    def test_of_sessions_it_works_there_and_back(self, shop: Database, toy: Toy) -> None:
        before = schema_and_rows(shop)
        with pooler(shop.url, "session") as url:
            deploy_toy(toy.plan(url))
            assert standing(shop, toy) is Standing.APPLIED
            roll_back(toy.plan(url), archive=False)
            assert schema_and_rows(shop) == before
            assert locks_left(shop) == 0


@pytest.mark.long
def test_killed_in_the_middle_and_run_again(shop: Database, toy: Toy) -> None:
    before = schema_and_rows(shop)
    toy.up(UP_SQL + WAIT)
    with closed_gate(shop.url), start(*arguments("deploy", shop.url), cwd=toy.root) as process:
        wait_until_at_the_gate(shop.url)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
    assert schema_and_rows(shop) == before
    done = run(*arguments("deploy", shop.url), cwd=toy.root)
    assert done.returncode == 0, done.stderr
    assert standing(shop, toy) is Standing.APPLIED


WRONG = {
    "a drop is forgotten": (
        DOWN_SQL.replace("drop function public.pay_bill(integer, numeric);\n", ""),
        "+ function public.pay_bill(p_bill integer, p_amount numeric)",
    ),
    "a wrong function body is restored": (
        DOWN_SQL.replace("b.amount - b.paid", "b.amount + b.paid"),
        "~ function public.owed(p_customer integer)",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_rollback_that_does_not_restore(shop_001: Database, toy: Toy, what: str) -> None:
    deployed = schema_and_rows(shop_001)
    script, told = WRONG[what]
    toy.down(script)
    with pytest.raises(Problem, match="doesn't restore the schema recorded") as refused:
        roll_back(toy.plan(shop_001), archive=False, mended=True)
    assert told in refused.value.happened
    assert refused.value.state.startswith("Nothing was changed")
    assert schema_and_rows(shop_001) == deployed


def test_a_rollback_that_drops_a_table_with_a_thousand_new_rows(
    shop_001: Database, toy: Toy
) -> None:
    session = shop_001.connect(autocommit=True)
    fill = (
        "insert into public.receipts (bill_id, amount) select 1, n from generate_series(1, 1000) n"
    )
    session.execute(fill)
    with pytest.raises(Problem, match="Rows would be lost") as stopped:
        roll_back(toy.plan(shop_001), archive=False)
    assert "table public.receipts: 1,000 row(s), like (1" in stopped.value.happened
    assert session.execute("select count(*) from public.receipts").fetchone() == (1000,)
    kept = roll_back(toy.plan(shop_001), archive=True).kept
    assert [(loss.table.qualified, loss.rows) for loss in kept] == [("public.receipts", 1000)]
    applied = deploy_toy(toy.plan(shop_001)).applied
    assert applied is not None
    assert applied.given_back == {"public.receipts": 1000}
    assert session.execute("select count(*), sum(amount) from public.receipts").fetchone() == (
        1000,
        500_500,
    )


def test_an_applied_file_was_edited(shop_001: Database, toy: Toy) -> None:
    toy.up(UP_SQL.replace("'app'", "'somebody'"))
    toy.gap_at("20250918000000_gap_002_next")
    with pytest.raises(Problem, match=f"applied files were edited afterwards: {GAP}"):
        deploy(toy.plan(shop_001, "002"), Silent())


DRIFT = {
    "a function replaced": (
        "create or replace function public.owed(p_customer int) returns numeric return 0",
        "~ function public.owed(p_customer integer)",
    ),
    "a column added": (
        "alter table public.bills add column by_hand int",
        "+ column public.bills.by_hand",
    ),
}


@pytest.mark.parametrize("what", DRIFT)
def test_changed_by_hand(shop_001: Database, toy: Toy, what: str) -> None:
    statement, told = DRIFT[what]
    shop_001.connect(autocommit=True).execute(statement)
    toy.gap_at("20250918000000_gap_002_next")
    with pytest.raises(Problem, match="the schema was changed by hand since") as stopped:
        deploy(toy.plan(shop_001, "002"), Silent())
    assert told in stopped.value.happened


def test_a_dry_run_of_a_broken_migration(shop: Database, toy: Toy) -> None:
    """A function binds late: only running it shows that the column is not there."""
    before = schema_and_rows(shop)
    toy.up(UP_SQL.replace("settled_by = 'app'", "settled_bye = 'app'"))
    with pytest.raises(ScriptFailed, match='column "settled_bye" of relation "bills"'):
        rehearse(toy.plan(shop), Silent())
    assert schema_and_rows(shop) == before


def test_the_third_of_five_fails(shop: Database, toy: Toy) -> None:
    stems = [f"2025091{number}000000_gap_00{number}_step" for number in range(1, 6)]
    for folder in ("migrations", "rollbacks", "verify"):
        toy.write(f"supabase/{folder}", GAP, None)
    for number, stem in enumerate(stems, start=1):
        toy.up(f"create table public.step_{number} ();", stem=stem)
        toy.down(f"drop table public.step_{number};", stem=stem)
        toy.verify(f"select from public.step_{number};", stem=stem)
    toy.up("create table public.step_3 ();\nselect 1 / 0;", stem=stems[2])
    for name in ("001", "002"):
        deploy_toy(toy.plan(shop, name))
    two = schema_and_rows(shop)
    with pytest.raises(ScriptFailed, match="line 2: division by zero"):
        deploy(toy.plan(shop, "003"), Silent())
    assert schema_and_rows(shop) == two
    found = [standing(shop, toy, stem.partition("_")[0]) for stem in stems]
    assert found == [Standing.APPLIED] * 2 + [Standing.PENDING] * 3
