"""Gaps 002 and 003 come to rows that are there, go without losing one, and come again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused, table_rows
from dairy.legacy import Legacy
from dairy.scripts import dump, psql, run_file
from dairy.undoing import KEY, roll_back, unallocate, update, void
from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.ledger import prepare_ledger
from pymilk.deploy.change.archive import find_losses, find_vanishing, keep
from pymilk.deploy.change.figures import differing_figures, read_state
from pymilk.deploy.change.give_back import give_back_to
from pymilk.project.migrations import Migration, load_migrations
from pymilk.project.project import load_project
from support.databases import ROOT, Database

MIGRATIONS = load_migrations(ROOT / "supabase")
UNDO, CHANGE = (next(each for each in MIGRATIONS if each.gap == gap) for gap in ("002", "003"))
BOTH = (UNDO, CHANGE)
STATE = load_project(ROOT).state
ROWS = [
    "public.customers",
    "public.invoice_metadata",
    "public.invoice_payments",
    "public.opening_balance_payments",
    "public.unapplied_payments",
    "private.request_keys",
]


def up(database: Database, migration: Migration) -> None:
    run_file(database.url, ROOT / "supabase" / "migrations" / f"{migration.stem}.sql")


def down(database: Database, migration: Migration) -> None:
    run_file(database.url, ROOT / "supabase" / "rollbacks" / f"{migration.stem}.sql")


def verify(connection: psycopg.Connection[tuple[object, ...]], migration: Migration) -> None:
    path = ROOT / "supabase" / "verify" / f"{migration.stem}.sql"
    connection.execute(path.read_bytes())
    connection.rollback()


@contextmanager
def nobody_owes_more_or_less(database: Database) -> Iterator[None]:
    """What the toolkit asks of a deploy and of a rollback."""
    with connect(database.url, purpose="test") as session:
        before = read_state(session, STATE)
        yield
        assert differing_figures(before, read_state(session, STATE)) == ()


def roll_back_and_keep(database: Database, migration: Migration) -> Mapping[str, int]:
    """What the toolkit's rollback with --archive does to the rows: table → rows kept."""
    script = (ROOT / "supabase" / "rollbacks" / f"{migration.stem}.sql").read_bytes()
    with nobody_owes_more_or_less(database), connect(database.url, purpose="test") as session:
        after = read_catalog(session)
        prepare_ledger(session)
        with session.transaction(force_rollback=True):
            session.execute(script)
            before = read_catalog(session)
        with session.transaction():
            losses = find_losses(session, find_vanishing(session, before, after))
            keep(session, migration.version, losses)
            session.execute(script)
        assert not before.difference(read_catalog(session))
    return {loss.table.qualified: loss.rows for loss in losses}


def deploy_and_give_back(database: Database, migration: Migration) -> Mapping[str, int]:
    """What the toolkit's next deploy does with them."""
    script = (ROOT / "supabase" / "migrations" / f"{migration.stem}.sql").read_bytes()
    with (
        nobody_owes_more_or_less(database),
        connect(database.url, purpose="test") as session,
        session.transaction(),
    ):
        session.execute(script)
        return give_back_to(session, migration)


def void_columns(books: Books, payment: UUID) -> tuple[object, ...]:
    return books.rows(
        "select voided_at, voided_by, void_reason from public.payments where id = %s", payment
    )[0]


class TestOffenders:
    """Rows that break a rule already stay as they are, and can get better."""

    @pytest.fixture
    def legacy(self, dairy: Database) -> Legacy:
        legacy = Legacy(Books(dairy.connect(autocommit=True)))
        up(dairy, MIGRATIONS[1])
        return legacy

    def test_they_are_listed_as_before_and_untouched(self, dairy: Database, legacy: Legacy) -> None:
        books = Books(dairy.connect(autocommit=True))
        found, rows = sorted(map(str, books.broken())), table_rows(books.connection, ROWS)
        for migration in BOTH:
            up(dairy, migration)
            assert sorted(map(str, books.broken())) == found
            assert table_rows(books.connection, ROWS) == rows
            verify(dairy.connect(), migration)
        books.run("update public.payments set notes = 'looked at', payment_method = 'Cash'")
        assert legacy.nan is not None

    def test_they_can_be_mended_with_the_new_functions(
        self, dairy: Database, legacy: Legacy
    ) -> None:
        books = Books(dairy.connect(autocommit=True))
        for migration in BOTH:
            up(dairy, migration)

        assert roll_back(books, legacy.over).removed_amount == 0  # nobody knows when it was made
        with refused("amount_below_allocated"):
            update(books, legacy.over, 500)
        update(books, legacy.over, 501)
        unallocate(books, legacy.strange)
        void(books, legacy.nan)
        with refused("allocation_exceeds_payment") as facts:
            update(books, legacy.fraction, None, {legacy.open: "10.01"})
        assert facts["available"] == 10
        update(books, legacy.fraction, 10, {legacy.open: 10})

        assert {row[0] for row in books.broken()} == {"payment_amounts_valid"}  # the voided NaN


class TestGoing:
    """A rollback drops what the gap made and leaves what was done meanwhile."""

    def test_what_was_done_meanwhile_stays(self, dairy_003: Database) -> None:
        books = Books(dairy_003.connect(autocommit=True))
        customer = books.customer(opening_balance=500)
        payment, other = books.payment(customer, 800), books.payment(customer, 300)
        one, two = books.invoice(customer, 500), books.invoice(customer, 500)
        books.setting(KEY, "one")
        books.allocate(payment, {one: 300, two: 200})
        books.setting(KEY, "two")
        unallocate(books, payment, [one])
        update(books, payment, 700, {one: 50})
        books.setting(KEY, "one")
        roll_back(books, payment)
        books.setting(KEY, "")
        books.allocate(other, {two: 100})
        kept = table_rows(books.connection, ROWS)
        totals = books.rows("select id, amount, amount_applied from public.payments order by id")

        for migration in reversed(BOTH):
            down(dairy_003, migration)

        assert table_rows(books.connection, ROWS) == kept
        assert books.rows("select id, amount, amount_applied from public.payments order by id") == (
            totals
        )
        assert books.broken() == []
        books.allocate(other, {two: 100})  # gap 001 goes on
        assert books.broken() == []

    def test_who_may_call_the_apps_functions_is_as_it_was(self, dairy_001: Database) -> None:
        """Whatever the project had granted, grant options included."""
        books = Books(dairy_001.connect(autocommit=True))
        books.run("revoke all on function public.update_invoice_status(uuid) from public, anon")
        books.run(
            "grant execute on function public.update_invoice_status(uuid) to service_role"
            " with grant option"
        )
        granted = (
            "select proname, proacl::text from pg_proc where proname ~ '^update_invoice_status'"
            " order by 1"
        )
        before, schema = books.rows(granted), dump(dairy_001.url, "--schema-only")
        up(dairy_001, UNDO)
        assert books.rows(granted) != before
        down(dairy_001, UNDO)
        assert books.rows(granted) == before
        assert dump(dairy_001.url, "--schema-only") == schema

    def test_the_apps_functions_do_again_what_they_did(self, dairy_002: Database) -> None:
        down(dairy_002, UNDO)
        app = Books(dairy_002.connect(role="authenticated", autocommit=True))
        invoice = app.invoice(app.customer(), 100)
        app.run("select public.update_invoice_status_with_sales_completion(%s)", invoice)
        assert app.invoice_totals(invoice) == (0, 100, "sent")


class TestComingAgain:
    """Void, roll back with the archive, deploy: nothing is lost and no credit appears."""

    def test_voided_payments_stay_out_of_the_books_and_are_voided_again(
        self, dairy_003: Database
    ) -> None:
        books = Books(dairy_003.connect(autocommit=True))
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
        books.allocate(payment, {invoice: 500})
        void(books, payment, "bounced")
        unallocate(books, books.payment(customer, 5), None, "nothing")
        voided = void_columns(books, payment)
        edits = books.rows("select * from private.payment_edits order by id")
        journal = books.rows("select * from private.allocation_journal order by id")

        assert roll_back_and_keep(dairy_003, CHANGE) == {"private.payment_edits": 1}
        assert roll_back_and_keep(dairy_003, UNDO) == {
            "public.payments": 1,
            "private.allocation_journal": 1,
            "private.privileges_before": 2,  # which the next deploy makes anew
        }
        assert books.payment_totals(payment) == (0, 0, "unapplied")
        assert books.unapplied(payment) == []
        books.run("update public.payments set notes = 'looked at' where id = %s", payment)

        assert deploy_and_give_back(dairy_003, UNDO)["public.payments"] == 1
        assert void_columns(books, payment) == voided
        assert deploy_and_give_back(dairy_003, CHANGE) == {"private.payment_edits": 1}
        assert books.rows("select * from private.payment_edits order by id") == edits
        assert books.rows("select * from private.allocation_journal order by id") == journal
        assert books.payment_totals(payment) == (0, 0, "unapplied")
        assert books.broken() == []
        assert books.violations() == set()
        with refused("payment_voided"):
            books.allocate(payment, {invoice: 1})
        update(books, books.payment(customer, 5), 6)
        assert books.value("select max(id) from private.payment_edits") > edits[-1][0]
        for migration in BOTH:
            verify(dairy_003.connect(), migration)

    @pytest.mark.parametrize("how", ["edited", "allocated"])
    def test_one_that_was_used_again_meanwhile_is_not_voided_behind_anybodys_back(
        self, dairy_002: Database, how: str
    ) -> None:
        books = Books(dairy_002.connect(autocommit=True))
        customer = books.customer()
        payment, other = books.payment(customer, 800), books.payment(customer, 50)
        invoice = books.invoice(customer, 800)
        void(books, payment)
        void(books, other)
        roll_back_and_keep(dairy_002, UNDO)
        if how == "edited":
            books.run("update public.payments set amount = 700 where id = %s", payment)
        else:
            books.allocate(payment, {invoice: 800})
        totals = books.payment_totals(payment)

        deploy_and_give_back(dairy_002, UNDO)

        assert books.payment_totals(payment) == totals
        assert void_columns(books, payment) == (None, None, None)
        assert void_columns(books, other) != (None, None, None)
        assert books.broken() == []
        void(books, payment)
        assert books.broken() == []

    def test_a_restore_of_the_rows_alone_ends_right(
        self, dairy_003: Database, baseline: Database
    ) -> None:
        books = Books(dairy_003.connect(autocommit=True))
        customer = books.customer(opening_balance=500)
        payment, voided = books.payment(customer, 800), books.payment(customer, 300)
        invoice = books.invoice(customer, 500)
        books.setting(KEY, "one")
        books.allocate(payment, {invoice: 500})
        update(books, payment, 750, {invoice: 400}, "less")
        books.setting(KEY, "")
        void(books, voided)
        books.setting(KEY, "late")
        roll_back(books, payment)
        tables = [
            *ROWS,
            "public.payments",
            "private.allocation_journal",
            "private.payment_edits",
        ]
        for migration in MIGRATIONS[1 : MIGRATIONS.index(CHANGE) + 1]:
            up(baseline, migration)

        psql(
            baseline.url,
            script=dump(
                dairy_003.url,
                "--data-only",
                "--schema=public",
                "--schema=private",
                # what was granted here before says nothing of there
                "--exclude-table=private.privileges_before",
            ),
        )

        restored = Books(baseline.connect(autocommit=True))
        assert table_rows(restored.connection, tables) == table_rows(books.connection, tables)
        assert restored.broken() == []
        restored.setting(KEY, "late")
        with refused("request_undone"):
            restored.allocate(payment, {invoice: 1})


HASTY_ROLLBACK = """
  create or replace function private.undo_call(
    p_payment_id uuid, p_call_id uuid, out affected_invoices integer, out removed_amount numeric
  ) language sql as $$
    with gone as (
      delete from public.invoice_payments where payment_id = p_payment_id
      returning amount_allocated
    )
    select count(*)::integer, coalesce(sum(amount_allocated), 0) from gone
  $$
"""

SABOTAGE_OF_002 = [
    "drop trigger refuse_change_of_voided on public.payments",
    "drop trigger refuse_allocation_of_voided on public.payments",
    "drop trigger refuse_voiding_without_reason on public.payments",
    "drop trigger refuse_voided_on_insert on public.payments",
    "drop trigger derive_payment_on_update on public.payments",
    "drop function private.undo_call(uuid, uuid)",
    "grant execute on function public.void_payment to anon",
    "grant execute on function public.update_invoice_status to public",
    "revoke execute on function public.unallocate_payment from service_role",
    "revoke execute on function public.rollback_partial_allocation from authenticated",
    "alter function public.update_invoice_status(uuid) security invoker",
    "grant select on private.privileges_before to authenticated",
    "create function public.void_payment(uuid) returns int language sql as 'select 1'",
    HASTY_ROLLBACK,
]

SABOTAGE_OF_003 = [
    "drop trigger record_edit on public.payments",
    "drop trigger refuse_change on private.payment_edits",
    "drop trigger refuse_overallocation on public.payments",
    "drop function private.change_payment(uuid, numeric, uuid[], numeric[])",
    "grant execute on function public.update_payment_atomic to anon",
    "revoke execute on function public.update_payment_atomic from service_role",
    "grant select on private.payment_edits to service_role",
    "create function public.update_payment_atomic(uuid) returns int language sql as 'select 1'",
]


@pytest.mark.parametrize(
    ("stage", "migration", "sabotages"),
    [("dairy_002", UNDO, SABOTAGE_OF_002), ("dairy_003", CHANGE, SABOTAGE_OF_003)],
    ids=["002", "003"],
)
def test_the_verification_fails_when_something_is_not_in_effect(
    request: pytest.FixtureRequest, stage: str, migration: Migration, sabotages: list[str]
) -> None:
    database = request.getfixturevalue(stage)
    assert isinstance(database, Database)
    connection = database.connect()
    verify(connection, migration)
    for sabotage in sabotages:
        connection.execute(sabotage.encode())
        try:
            verify(connection, migration)
        except psycopg.Error:
            connection.rollback()
        else:
            pytest.fail(f"verified all the same: {sabotage}")
