"""A rollback: exact, without losing a row, and refused whole when it would not be."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pymilk.cli.render import rolled_back_text
from pymilk.database.catalog import read_catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import Kind, latest, read_entries, whole
from pymilk.deploy.change.rollback import RolledBack, roll_back
from pymilk.deploy.change.transaction import standing
from pymilk.deploy.foreseen import foresee
from pymilk.problem import Problem, Refused, TryAgainLater
from support.databases import Database
from support.gate import WAIT, closed_gate, wait_until_at_the_gate
from support.projects import (
    BASELINE,
    DOWN_SQL,
    GAP,
    Toy,
    deploy_toy,
    schema_and_rows,
)
from support.sessions import wait_until_blocked

VERSION = GAP.partition("_")[0]


def undo(
    toy: Toy,
    database: Database,
    *,
    archive: bool = False,
    overrides: Mapping[str, str] | None = None,
    **policy: float,
) -> RolledBack:
    """Roll back with the toy's script as it is on disk."""
    plan = toy.plan(database, overrides=overrides, policy=policy)
    return roll_back(plan, archive=archive, mended=True)


def refused(toy: Toy, database: Database, *, archive: bool = False) -> Problem:
    """The refusal of a rollback, which must have changed nothing at all."""
    before = schema_and_rows(database)
    with pytest.raises(Problem) as problem:
        undo(toy, database, archive=archive)
    assert schema_and_rows(database) == before
    assert latest(read_entries(database.connect()), Kind.ROLLBACK) is None
    assert "Nothing was changed" in problem.value.state
    assert problem.value.todo
    return problem.value


def pay(database: Database) -> None:
    database.connect(autocommit=True).execute("select public.pay_bill(1, 30)")


def test_it_leaves_exactly_what_was_there_before(
    shop: Database, shop_001: Database, toy: Toy
) -> None:
    before, deployed = schema_and_rows(shop), schema_and_rows(shop_001)
    assert before != deployed
    result = undo(toy, shop_001)
    assert schema_and_rows(shop_001) == before
    assert (result.kept, result.drift, result.attempts) == ((), (), 1)
    assert result.functions_gone == ("public.pay_bill", "public.refuse_overpayment")
    assert result.reshaped == ("public.bills",)


def test_it_records_itself_and_holds_the_migration(shop_001: Database, toy: Toy) -> None:
    undo(toy, shop_001)
    session = shop_001.connect(autocommit=True)
    entry = latest(read_entries(session), Kind.ROLLBACK)
    assert entry is not None
    assert (entry.version, entry.name) == (VERSION, "gap_001_pay_bill")
    assert entry.after == read_catalog(session).fingerprint
    assert standing(toy.plan(shop_001).target, VERSION).startswith(f"{VERSION} is not applied")
    # The Supabase CLI knows nothing of it any more.
    history = session.execute("select version from supabase_migrations.schema_migrations")
    assert history.fetchall() == [(BASELINE.partition("_")[0],)]


def test_the_script_that_was_rehearsed_is_used_whatever_the_file_says_now(
    shop: Database, shop_001: Database, toy: Toy
) -> None:
    toy.down("drop table public.bills cascade;")
    roll_back(toy.plan(shop_001), archive=False)
    assert schema_and_rows(shop_001) == schema_and_rows(shop)


def test_a_second_time_there_is_nothing_to_undo(shop_001: Database, toy: Toy) -> None:
    undo(toy, shop_001)
    with pytest.raises(Refused, match="GAP-001 is not applied"):
        undo(toy, shop_001)


@pytest.mark.parametrize("archive", [True, False])
def test_customers_who_order_in_between_are_no_obstacle(
    shop_001: Database, toy: Toy, *, archive: bool
) -> None:
    session = shop_001.connect(autocommit=True)
    session.execute(
        "insert into public.customers values (4, 'Devi', 5);"
        " insert into public.bills (customer_id, amount) values (4, 80), (1, 20);"
        " update public.customers set opening = 11 where id = 2; delete from public.notes"
    )
    undo(toy, shop_001, archive=archive)
    rows = session.execute("select customer_id, amount from public.bills order by id").fetchall()
    assert rows[-2:] == [(4, 80), (1, 20)]
    assert session.execute("select opening from public.customers order by id").fetchall() == [
        (0,),
        (11,),
        (99,),
        (5,),
    ]


def test_an_order_in_the_middle_of_it_waits_and_is_kept(shop_001: Database, toy: Toy) -> None:
    """The script holds its locks; the order comes after them, and none is mistaken for damage."""
    toy.down(DOWN_SQL + WAIT)
    customer, watcher = shop_001.connect(autocommit=True), shop_001.connect(autocommit=True)
    with ThreadPoolExecutor(2) as pool:
        with closed_gate(shop_001.url):
            undoing = pool.submit(undo, toy, shop_001)
            wait_until_at_the_gate(shop_001.url)
            # Not concerned, so not held up.
            customer.execute("insert into public.customers values (4, 'Devi', 5)")
            ordering = pool.submit(
                customer.execute, "insert into public.bills (customer_id, amount) values (4, 80)"
            )
            wait_until_blocked(watcher, customer.info.backend_pid)
        assert undoing.result(timeout=30).attempts == 1
        ordering.result(timeout=30)
    row = customer.execute("select amount from public.bills where customer_id = 4").fetchone()
    assert row == (80,)


def test_nobody_writes_into_a_table_that_is_about_to_go(shop_001: Database, toy: Toy) -> None:
    """A row that came after the look at the losses would be gone with the table, and paid for."""
    toy.down(WAIT + DOWN_SQL)
    customer, watcher = shop_001.connect(autocommit=True), shop_001.connect(autocommit=True)
    with ThreadPoolExecutor(2) as pool:
        with closed_gate(shop_001.url):
            undoing = pool.submit(undo, toy, shop_001)
            wait_until_at_the_gate(shop_001.url)
            paying = pool.submit(customer.execute, "select public.pay_bill(1, 30)")
            wait_until_blocked(watcher, customer.info.backend_pid)
        undoing.result(timeout=30)
        with pytest.raises(psycopg.errors.UndefinedTable):
            paying.result(timeout=30)


# What a rollback script can get wrong → the script, and what the refusal must say.
WRONG_SCRIPTS = {
    "a function is forgotten": (
        DOWN_SQL.replace("drop function public.pay_bill(integer, numeric);", ""),
        ["doesn't restore the schema", "function public.pay_bill(p_bill integer"],
    ),
    "a trigger is forgotten, with its function": (
        DOWN_SQL.replace("drop trigger refuse_overpayment on public.bills;", "").replace(
            "drop function public.refuse_overpayment();", ""
        ),
        ["trigger public.bills refuse_overpayment"],
    ),
    "a column is forgotten": (
        DOWN_SQL.replace("alter table public.bills drop column settled_by;", ""),
        ["column public.bills.settled_by"],
    ),
    "a wrong body is restored": (
        DOWN_SQL.replace("sum(b.amount - b.paid)", "sum(b.amount - b.paid) + 0"),
        ["function public.owed(p_customer integer)", "+ 0"],
    ),
    "a comment is lost": (
        DOWN_SQL + "comment on function public.owed is null;",
        ["function public.owed", "-comment What a customer owes"],
    ),
    "grants are lost": (
        DOWN_SQL + "revoke execute on function public.owed from public;",
        ["function public.owed"],
    ),
    "a policy goes": (DOWN_SQL + "drop policy staff on public.bills;", ["policy public.bills"]),
    "a right too many is given": (
        DOWN_SQL + "grant truncate on public.notes to public;",
        ["table public.notes"],
    ),
    "a default privilege is left": (
        DOWN_SQL + "alter default privileges revoke execute on functions from public;",
        ["default privileges postgres everywhere f"],
    ),
    "a figure is changed by a function": (
        DOWN_SQL.replace("p_customer;\n$$;", "p_customer;\n$$;", 1)
        + "insert into public.bills (customer_id, amount) values (2, 7);",
        ["changes 1 figure(s): owed 2: 75.25, 10.50 → 82.25, 10.50"],
    ),
    "it is no SQL": ("drop tabel public.receipts;", ["line 1", "syntax error"]),
    "it drops what others need": ("select 1;\n\ndrop table public.customers;", ["line 3", "other"]),
}


@pytest.mark.parametrize("what", WRONG_SCRIPTS)
def test_a_wrong_script_is_refused_inside_its_transaction(
    shop_001: Database, toy: Toy, what: str
) -> None:
    script, said = WRONG_SCRIPTS[what]
    toy.down(script)
    problem = refused(toy, shop_001)
    for words in said:
        assert words in problem.happened
    assert f"{VERSION} is applied" in problem.state


# What a script can do to rows that stay → the script, and how many rows of what are not as before.
DAMAGE = {
    "a changed value": ("update public.notes set body = 'x' where id = 1;", "public.notes: 1"),
    "an empty text for none": (
        "update public.notes set body = '' where id = 3;",
        "public.notes: 1",
    ),
    "a deleted row": ("delete from public.notes where id = 2;", "public.notes: 1"),
    "a truncated table": ("truncate public.notes;", "public.notes: 3"),
    "a table made anew without its rows": (
        (
            "drop table public.notes;"
            " create table public.notes (id integer primary key, body text);"
            " alter table public.notes owner to postgres;"
        ),
        "public.notes: 3",
    ),
    "a table rewritten by a change of type and back": (
        (
            "alter table public.notes alter column body type char(9);"
            " alter table public.notes alter column body type text using rtrim(body) || '.';"
        ),
        "public.notes: 2",
    ),
    "truncated and filled with others": (
        (
            "truncate public.notes; insert into public.notes select i, 'other' from"
            " generate_series(1, 3) as i;"
        ),
        "public.notes: 3",
    ),
    "a column dropped and added again": (
        "alter table public.notes drop body; alter table public.notes add body text;",
        "public.notes: 2",
    ),
    "rows with a column of type json": (
        """update public.bills set note = '{"a":1}' where id = 1;""",
        "public.bills: 1",
    ),
    "one of two alike": ("delete from public.marks where ctid = '(0,1)';", "public.marks: 1"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_to_rows_that_stay_is_refused(shop_001: Database, toy: Toy, what: str) -> None:
    script, said = DAMAGE[what]
    toy.down(DOWN_SQL + script)
    problem = refused(toy, shop_001)
    assert "Rows would be lost" in problem.happened
    assert f"changed in {said} row(s)" in problem.happened
    assert "--archive" in problem.todo


@pytest.mark.parametrize(
    "script",
    [
        "select setval('public.bills_id_seq', 2);",
        "alter sequence public.bills_id_seq restart;",
        "alter table public.bills alter column id restart with 3;",
        "truncate public.bills restart identity cascade;",
    ],
)
def test_a_sequence_that_is_set_back_is_refused(shop_001: Database, toy: Toy, script: str) -> None:
    toy.down(DOWN_SQL + script)
    problem = refused(toy, shop_001)
    assert "sequences back" in problem.happened
    assert "public.bills_id_seq" in problem.happened
    session = shop_001.connect(autocommit=True)
    session.execute("insert into public.bills (customer_id, amount) values (1, 1)")
    assert session.execute("select max(id) from public.bills").fetchone() == (5,)


def test_rows_that_only_move_are_no_damage(shop: Database, shop_001: Database, toy: Toy) -> None:
    """Touched and put back as they were: compared, and found the same."""
    toy.down(
        DOWN_SQL
        + "update public.notes set body = body; delete from public.bills where id = 4;"
        + " insert into public.bills overriding system value values (4, 3, 10, 0, '[]');"
        + " alter table public.notes alter column id type bigint;"
        + " alter table public.notes alter column id type integer;"
    )
    undo(toy, shop_001)
    assert schema_and_rows(shop_001) == schema_and_rows(shop)


def test_what_was_used_is_listed_and_nothing_is_lost(shop_001: Database, toy: Toy) -> None:
    pay(shop_001)
    problem = refused(toy, shop_001)
    assert "table public.receipts: 1 row(s), like (" in problem.happened
    assert "column public.bills.settled_by: 1 row(s)" in problem.happened
    assert "pymilk rollback 001 --archive" in problem.todo


def test_used_kept_and_given_back(shop_001: Database, toy: Toy) -> None:
    session = shop_001.connect(autocommit=True)
    pay(shop_001)
    session.execute("select public.pay_bill(3, 5.25)")
    session.execute("delete from public.receipts where bill_id = 1")
    session.execute("select public.pay_bill(1, 1)")
    receipts = session.execute("select * from public.receipts order by id").fetchall()
    settled = session.execute(
        "select id, paid, settled_by from public.bills order by id"
    ).fetchall()
    result = undo(toy, shop_001, archive=True)
    assert [(loss.kind, loss.rows) for loss in result.kept] == [("table", 2), ("column", 2)]
    assert session.execute("select to_regclass('public.receipts')").fetchone() == (None,)
    # What was paid stays paid, whatever becomes of the gap.
    assert session.execute("select sum(paid) from public.bills").fetchone() == (56.25,)

    evidence = deploy_toy(toy.plan(shop_001))
    assert evidence.applied is not None
    assert evidence.applied.given_back == {"public.receipts": 2, "public.bills": 2}
    assert session.execute("select * from public.receipts order by id").fetchall() == receipts
    assert (
        session.execute("select id, paid, settled_by from public.bills order by id").fetchall()
        == settled
    )
    # The identity goes on after the highest number given back.
    session.execute("select public.pay_bill(4, 1)")
    numbers = [row[0] for row in session.execute("select id from public.receipts order by id")]
    assert numbers[:2] == [row[0] for row in receipts]
    assert len(set(numbers)) == 3
    # And the same again: what was given back once is not given back twice.
    undo(toy, shop_001, archive=True)
    again = deploy_toy(toy.plan(shop_001))
    assert again.applied is not None
    assert again.applied.given_back == {"public.receipts": 3, "public.bills": 3}
    assert session.execute("select count(*) from public.receipts").fetchone() == (3,)


def test_a_number_that_was_given_is_not_given_again(shop_001: Database, toy: Toy) -> None:
    session = shop_001.connect(autocommit=True)
    for bill in (1, 2):
        session.execute("select public.pay_bill(%s, 1)", (bill,))
    deleted = session.execute("delete from public.receipts where bill_id = 2 returning id")
    (last,) = deleted.fetchone() or (0,)
    undo(toy, shop_001, archive=True)
    toy.verify("select 1;")  # one that pays a bill takes numbers, too
    deploy_toy(toy.plan(shop_001))
    session.execute("select public.pay_bill(4, 1)")
    assert session.execute("select max(id) from public.receipts").fetchone() == (last + 1,)


def test_the_archive_is_closed_to_the_api(shop_001: Database, toy: Toy) -> None:
    pay(shop_001)
    undo(toy, shop_001, archive=True)
    session = shop_001.connect(autocommit=True)
    row = session.execute("select archive_name from pymilk.archives limit 1").fetchone()
    assert row is not None
    for role in ("anon", "authenticated", "service_role"):
        api = shop_001.connect(role=role, autocommit=True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute(f'select from pymilk_archive."{row[0]}"')


def test_changed_rows_are_kept_as_they_were(shop_001: Database, toy: Toy) -> None:
    toy.down(DOWN_SQL + "update public.notes set body = 'x' where id = 1;")
    result = undo(toy, shop_001, archive=True)
    assert [(loss.kind, loss.rows) for loss in result.kept] == [("changed", 1)]
    session = shop_001.connect(autocommit=True)
    row = session.execute("select archive_name from pymilk.archives").fetchone()
    assert row is not None
    kept = session.execute(f'select id::text, body from pymilk_archive."{row[0]}"').fetchall()
    assert kept == [("1", "first")]


def test_what_the_gap_made_and_somebody_changed_is_not_undone_blindly(
    shop_001: Database, toy: Toy
) -> None:
    session = shop_001.connect(autocommit=True)
    session.execute("alter table public.receipts add column tip numeric")
    session.execute(
        "create or replace function public.pay_bill(p_bill integer, p_amount numeric)"
        " returns numeric language sql as 'select 1::numeric'"
    )
    problem = refused(toy, shop_001)
    assert "was changed by hand since" in problem.happened
    assert "~ function public.pay_bill" in problem.happened


def test_drift_elsewhere_is_named_and_may_stay_with_a_reason(shop_001: Database, toy: Toy) -> None:
    session = shop_001.connect(autocommit=True)
    session.execute(
        "create table public.by_hand (a int); comment on table public.notes is 'Notes.'"
    )
    problem = refused(toy, shop_001)
    assert "+ table public.by_hand" in problem.happened
    assert "~ table public.notes" in problem.happened
    assert "--override drift=" in problem.todo
    result = undo(toy, shop_001, overrides={"drift": "it is needed"})
    assert "table public.by_hand" in result.drift
    assert session.execute("select to_regclass('public.by_hand') is not null").fetchone() == (True,)
    entry = latest(read_entries(session), Kind.ROLLBACK)
    assert entry is not None
    entry = whole(session, entry)
    assert entry.evidence["overrides"] == {"drift": "it is needed"}


def test_a_database_that_is_read_only_is_no_fault_of_the_script(
    shop: Database, shop_001: Database, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop_001.connect(autocommit=True).execute(
        f"alter database {shop_001.name} set default_transaction_read_only = on"
    )
    plan = toy.plan(shop_001)
    for refusing in (
        lambda: roll_back(plan, archive=False),
        lambda: foresee(plan.target, plan.project, plan.migration),
    ):
        with pytest.raises(Refused) as refused:
            refusing()
        assert "GAP-001 can't be rolled back now: the database is read-only" in (
            refused.value.happened
        )
        assert "Make room" in refused.value.todo
        assert "mended" not in refused.value.todo
    # The way that it names for whoever can't wait.
    options = "-c default_transaction_read_only=off"
    assert f"PGOPTIONS='{options}' pymilk rollback 001" in refused.value.todo
    monkeypatch.setenv("PGOPTIONS", options)
    roll_back(plan, archive=False)
    monkeypatch.delenv("PGOPTIONS")
    assert schema_and_rows(shop_001) == schema_and_rows(shop)


class TestFiguresAddedSince:
    """A query of sql/state that came after the deploy, as one adds them."""

    @staticmethod
    def paid_in(toy: Toy, query: str) -> None:
        toy.write("sql/state", "paid", query)

    @pytest.mark.parametrize("mended", [True, False])
    def test_what_reads_a_table_of_the_migration_is_not_in_the_way(
        self, shop: Database, shop_001: Database, toy: Toy, *, mended: bool
    ) -> None:
        self.paid_in(toy, "select r.id, r.amount from public.receipts as r")
        result = roll_back(toy.plan(shop_001), archive=False, mended=mended)
        (why,) = result.uncompared
        assert why == 'state/paid.sql, line 1: relation "public.receipts" does not exist'
        assert schema_and_rows(shop_001) == schema_and_rows(shop)
        assert set(result.state) == {"owed"}
        session = shop_001.connect(autocommit=True)
        entry = latest(read_entries(session), Kind.ROLLBACK)
        assert entry is not None
        assert whole(session, entry).evidence["uncompared"] == [why]
        (line,) = (line for line in rolled_back_text(toy.plan(shop_001), result) if why in line)
        assert "Not compared" in line

    def test_the_others_are_still_compared(self, shop_001: Database, toy: Toy) -> None:
        self.paid_in(toy, "select r.id, r.amount from public.receipts as r")
        toy.down(DOWN_SQL + "insert into public.bills (customer_id, amount) values (2, 7);")
        problem = refused(toy, shop_001)
        assert "changes 1 figure(s): owed 2" in problem.happened

    def test_what_can_be_read_only_without_the_migration(
        self, shop: Database, shop_001: Database, toy: Toy
    ) -> None:
        self.paid_in(toy, "select 1, 1 / (1 - count(*)) from pg_class where relname = 'receipts'")
        (why,) = undo(toy, shop_001).uncompared
        assert why == "state/paid.sql, line 1: division by zero"
        assert schema_and_rows(shop_001) == schema_and_rows(shop)

    def test_what_fails_afterwards_for_another_reason_is_told_apart_from_the_script(
        self, shop_001: Database, toy: Toy
    ) -> None:
        self.paid_in(toy, "select 1, 1 / count(*) from pg_class where relname = 'receipts'")
        problem = refused(toy, shop_001)
        assert problem.happened == "state/paid.sql, line 1: division by zero"
        assert "Mend state/paid.sql, or put it aside" in problem.todo
        assert "--mended" not in problem.todo

    def test_the_script_itself_is_still_the_one_to_mend(self, shop_001: Database, toy: Toy) -> None:
        toy.down("drop table public.nowhere;")
        assert "pymilk rollback 001 --mended" in refused(toy, shop_001).todo


def test_only_the_newest_goes(shop_001: Database, toy: Toy) -> None:
    toy.up("create table public.later ();", stem="20250918000000_gap_002_later")
    shop_001.connect(autocommit=True).execute(
        "insert into supabase_migrations.schema_migrations (version) values ('20250918000000')"
    )
    problem = refused(toy, shop_001)
    assert "is not the newest: 20250918000000" in problem.happened
    assert "pymilk rollback 20250918000000" in problem.todo


def test_what_others_deployed_has_no_record_to_go_by(shop: Database, toy: Toy) -> None:
    with pytest.raises(Refused, match="not deployed by pymilk"):
        roll_back(toy.plan(shop, BASELINE), archive=False)


def test_without_any_rollback_script_it_says_what_is_missing(shop_001: Database, toy: Toy) -> None:
    toy.down(None)
    problem = refused(toy, shop_001)
    assert f"supabase/rollbacks/{GAP}.sql is missing" in problem.happened


def test_a_lock_that_is_not_to_be_had_is_left_to_others(shop_001: Database, toy: Toy) -> None:
    before = schema_and_rows(shop_001)
    customer = shop_001.connect()
    customer.execute("update public.bills set paid = 1 where id = 1")
    with pytest.raises(TryAgainLater, match="locks could not be acquired") as later:
        undo(toy, shop_001, lock_timeout_ms=150, lock_attempts=2)
    assert f"process {customer.info.backend_pid}" in later.value.happened
    assert "idle in transaction" in later.value.happened
    customer.rollback()
    assert schema_and_rows(shop_001) == before


def test_no_stronger_lock_is_asked_for_later(shop: Database, toy: Toy) -> None:
    """Held before the script's first statement: whoever read and wants to write never meets it."""
    toy.down(WAIT + DOWN_SQL)
    deploy_toy(toy.plan(shop))
    watcher = shop.connect(autocommit=True)
    held = """
      select distinct c.relname, l.mode from pg_locks as l join pg_class as c on c.oid = l.relation
      where l.pid = %s and l.granted and c.relkind = 'r'
      and c.relnamespace = 'public'::regnamespace and l.mode ~ '^(Access)?Exclusive|^ShareRow'
    """
    with ThreadPoolExecutor(1) as pool:
        with closed_gate(shop.url):
            undoing = pool.submit(roll_back, toy.plan(shop), archive=True)
            at_the_gate = watcher.execute(held, (wait_until_at_the_gate(shop.url),)).fetchall()
        undoing.result(timeout=30)
    recorded = latest(read_entries(watcher), Kind.DEPLOY)
    assert recorded is not None
    needed = whole(watcher, recorded).evidence["rehearsal"]["down_locks"]["modes"]
    assert "AccessExclusiveLock" in needed.values()
    found = {f"public.{table}" for table, mode in at_the_gate if mode == "AccessExclusiveLock"}
    assert found >= set(needed)


def test_a_reader_that_lets_go_is_waited_for(shop: Database, shop_001: Database, toy: Toy) -> None:
    reader = shop_001.connect()
    reader.execute("select from public.receipts")
    watcher = shop_001.connect(autocommit=True)
    with ThreadPoolExecutor(1) as pool:
        undoing = pool.submit(undo, toy, shop_001, lock_timeout_ms=100)
        pid = wait_for_purpose(watcher, "pymilk rollback 001")
        wait_until_blocked(watcher, pid)
        reader.rollback()
        assert undoing.result(timeout=30).attempts >= 1
    assert schema_and_rows(shop_001) == schema_and_rows(shop)


def wait_for_purpose(watcher: Connection, purpose: str) -> int:
    """Wait until a session with that application_name is there; gives its process id."""
    for _ in range(4000):
        row = watcher.execute(
            "select pid from pg_stat_activity where datname = current_database()"
            " and application_name = %s",
            (purpose,),
        ).fetchone()
        if row is not None:
            return int(row[0])
        watcher.execute("select pg_sleep(0.005)")
    raise AssertionError(f"{purpose} was not seen")


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("-- one\nselect 1; /* two */ select 2;\n-- three\n\nselect 1\n  from public.nowhere;", 6),
        ("\n/* one\n two */ select\n  nothing;", 4),
        ("select 1; select 2; -- two\nselect 3; select nothing;", 2),
        ("select 1;\n\ndo $$\nbegin\n  raise exception 'no';\nend;\n$$;", 3),
        ("select 1;\r\nselect\r\nnothing;", 3),
    ],
)
def test_a_script_that_fails_names_its_line(
    shop_001: Database, toy: Toy, script: str, line: int
) -> None:
    toy.down(script)
    problem = refused(toy, shop_001)
    assert f"rollbacks/{GAP}.sql, line {line}: " in problem.happened
    assert f"{VERSION} is applied" in problem.state
