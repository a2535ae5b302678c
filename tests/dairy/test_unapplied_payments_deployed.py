"""Gap 004 comes onto rows that are wrong, is verified, restored and rolled back."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from dairy.books import Books, refused, table_rows
from dairy.scripts import dump, psql, run_file
from support.databases import MIGRATIONS, ROOT, Database

STEM = "20250920000000_gap_004_unapplied_payments"
MIGRATION = MIGRATIONS / f"{STEM}.sql"
ROLLBACK = ROOT / "supabase" / "rollbacks" / f"{STEM}.sql"
VERIFY = ROOT / "supabase" / "verify" / f"{STEM}.sql"
TABLES = ["public.payments", "public.unapplied_payments"]
MIRROR = "select amount_unapplied, customer_id from public.unapplied_payments where payment_id = %s"


def mirror(books: Books, payment: UUID, customer: UUID, *amounts: int) -> None:
    """Write rows of unapplied_payments, as if nobody kept them."""
    for number, amount in enumerate(amounts):
        books.run(
            "insert into public.unapplied_payments"
            " (customer_id, payment_id, amount_unapplied, reason, created_at)"
            " values (%s, %s, %s, %s, '2025-09-10'::timestamptz + %s * interval '1 day')",
            customer,
            payment,
            amount,
            f"row {number}",
            number,
        )


@dataclass(frozen=True)
class Drifted:
    """Books whose mirror drifted before the gap was fixed; one payment for each fault."""

    database: Database
    books: Books
    customer: UUID
    stranger: UUID
    invoice: UUID
    faulty: dict[str, UUID]
    true: UUID

    def reconciled(self) -> dict[UUID, str]:
        """What reconcile_unapplied_payments finds: the fault of each payment."""
        return dict(
            self.books.rows("select payment_id, fault from public.reconcile_unapplied_payments()")
        )

    def fix(self, books: Books | None = None, *, dry_run: bool | None = False) -> dict[str, Any]:
        """Call fix_unapplied_payments_inconsistencies."""
        connection = (books or self.books).connection
        with connection.cursor(row_factory=dict_row) as cursor:
            answer = cursor.execute(
                "select * from public.fix_unapplied_payments_inconsistencies(%s)", [dry_run]
            ).fetchone()
        assert answer is not None
        return answer


@pytest.fixture
def drifted(dairy_003: Database) -> Drifted:
    """A drifted mirror, then gap 004."""
    books = Books(dairy_003.connect(autocommit=True))
    customer, stranger = books.customer(), books.customer()
    invoice = books.invoice(customer, 100_000)
    faulty = {
        fault: books.payment(customer, 800)
        for fault in ("missing", "superfluous", "duplicate", "wrong_amount", "wrong_customer")
    }
    true = books.payment(customer, 800)
    books.allocate_directly(faulty["superfluous"], invoice, 800)
    mirror(books, faulty["superfluous"], customer, 800)
    mirror(books, faulty["duplicate"], customer, 800, 800, 5)
    mirror(books, faulty["wrong_amount"], customer, 799)
    mirror(books, faulty["wrong_customer"], stranger, 800)
    mirror(books, true, customer, 800)
    run_file(dairy_003.url, MIGRATION)
    return Drifted(dairy_003, books, customer, stranger, invoice, faulty, true)


class TestRowsThatAreThere:
    """They are listed, not touched, and become right when their payment moves."""

    def test_the_migration_touches_none(self, dairy_003: Database) -> None:
        books = Books(dairy_003.connect(autocommit=True))
        customer = books.customer()
        for amounts in ((800, 5), (), (7,)):
            mirror(books, books.payment(customer, 800), customer, *amounts)
        before = table_rows(books.connection, TABLES)
        run_file(dairy_003.url, MIGRATION)
        assert table_rows(books.connection, TABLES) == before

    def test_each_is_listed_once_with_its_fault(self, drifted: Drifted) -> None:
        assert drifted.reconciled() == {name: fault for fault, name in drifted.faulty.items()}
        assert drifted.books.rows(
            "select expected, found, mirror_rows from public.reconcile_unapplied_payments()"
            " where payment_id = %s",
            drifted.faulty["duplicate"],
        ) == [(800, 1605, 3)]
        assert {row[:3] for row in drifted.books.broken()} == {
            ("unapplied_payments_true", "payment", str(payment))
            for payment in drifted.faulty.values()
        }
        assert drifted.books.violations() == {"unapplied_payments_true"}

    @pytest.mark.parametrize(
        "fault", ["missing", "superfluous", "duplicate", "wrong_amount", "wrong_customer"]
    )
    def test_it_is_right_after_the_payments_next_movement(
        self, drifted: Drifted, fault: str
    ) -> None:
        payment = drifted.faulty[fault]
        drifted.books.run("update public.payments set amount = 900 where id = %s", payment)
        left = 100 if fault == "superfluous" else 900
        assert drifted.books.rows(MIRROR, payment) == [(left, drifted.customer)]
        assert payment not in drifted.reconciled()

    def test_the_oldest_row_stays_with_its_reason(self, drifted: Drifted) -> None:
        payment = drifted.faulty["duplicate"]
        drifted.books.run("update public.payments set amount = 900 where id = %s", payment)
        assert drifted.books.rows(
            "select reason from public.unapplied_payments where payment_id = %s", payment
        ) == [("row 0",)]

    def test_a_row_that_should_not_be_there_can_be_deleted(self, drifted: Drifted) -> None:
        payment = drifted.faulty["superfluous"]
        deleted = "delete from public.unapplied_payments where payment_id = %s"
        assert drifted.books.run(deleted, payment) == 1
        assert payment not in drifted.reconciled()

    def test_what_the_app_does_to_them_makes_nothing_worse(self, drifted: Drifted) -> None:
        for statement in (
            "update public.unapplied_payments set amount_unapplied = 3, reason = 'x'",
            "delete from public.unapplied_payments where payment_id <> %(superfluous)s",
        ):
            drifted.books.connection.execute(statement.encode(), drifted.faulty)
            found = drifted.reconciled()
            assert set(found) <= set(drifted.faulty.values())
            assert found[drifted.faulty["superfluous"]] == "superfluous"
        assert drifted.books.rows(MIRROR, drifted.true) == [(800, drifted.customer)]


class TestRepair:
    """fix_unapplied_payments_inconsistencies."""

    @pytest.mark.parametrize("dry_run", [True, None])
    def test_a_dry_run_says_it_and_writes_nothing(
        self, drifted: Drifted, *, dry_run: bool | None
    ) -> None:
        before = table_rows(drifted.books.connection, TABLES)
        assert drifted.fix(dry_run=dry_run) == {
            "success": True,
            "dry_run": True,
            "inconsistencies_found": 5,
            "inconsistencies_fixed": 0,
            "missing": 1,
            "superfluous": 1,
            "duplicate": 1,
            "wrong_amount": 1,
            "wrong_customer": 1,
            "amount_found": 800 + 1605 + 799 + 800,
            "amount_expected": 4 * 800,
        }
        assert table_rows(drifted.books.connection, TABLES) == before

    def test_it_repairs_all_and_touches_nothing_else(self, drifted: Drifted) -> None:
        books = drifted.books
        payments = table_rows(books.connection, ["public.payments"])
        true = books.rows(
            "select * from public.unapplied_payments where payment_id = %s", drifted.true
        )

        fixed = drifted.fix()

        assert (fixed["inconsistencies_found"], fixed["inconsistencies_fixed"]) == (5, 5)
        assert drifted.reconciled() == {}
        assert books.violations() == set()
        assert table_rows(books.connection, ["public.payments"]) == payments
        assert true == books.rows(
            "select * from public.unapplied_payments where payment_id = %s", drifted.true
        )
        for fault, payment in drifted.faulty.items():
            kept = [] if fault == "superfluous" else [(800, drifted.customer)]
            assert books.rows(MIRROR, payment) == kept
        assert books.rows(
            "select reason, created_at::date::text from public.unapplied_payments"
            " where payment_id = %s",
            drifted.faulty["duplicate"],
        ) == [("row 0", "2025-09-10")]
        # Where there was no row to keep, it is as old as the repair.
        assert books.rows(
            "select created_at between now() - interval '1 hour' and now()"
            " from public.unapplied_payments where payment_id = %s",
            drifted.faulty["missing"],
        ) == [(True,)]
        assert drifted.fix()["inconsistencies_found"] == 0

    def test_it_makes_no_credit_that_is_not_left_of_a_payment(self, drifted: Drifted) -> None:
        drifted.fix()
        credit = "select sum(amount_unapplied) from "
        assert drifted.books.value(f"{credit} public.unapplied_payments") == drifted.books.value(
            f"{credit} public.payments where customer_id is not null"
        )

    def test_a_key_gives_the_first_answer_again(self, drifted: Drifted) -> None:
        drifted.books.setting("pymilk.idempotency_key", "once")
        first = drifted.fix()
        assert drifted.fix() == first
        assert first["inconsistencies_fixed"] == 5
        assert drifted.fix(dry_run=True)["inconsistencies_found"] == 0
        drifted.books.setting("pymilk.idempotency_key", "x" * 201)
        with refused("idempotency_key_invalid", status=400):
            drifted.fix()

    def test_who_may_repair_and_who_may_look(self, drifted: Drifted) -> None:
        look = "select * from public.reconcile_unapplied_payments()"
        for role, looks, fixes in (
            ("anon", False, False),
            ("authenticated", True, False),
            ("service_role", True, True),
        ):
            books = Books(drifted.database.connect(role=role, autocommit=True))
            if looks:
                books.rows(look)
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    books.rows(look)
            if fixes:
                assert drifted.fix(books)["inconsistencies_fixed"] == 5
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    drifted.fix(books)


def restore_rows(database: Database, into: Database) -> Books:
    """Restore the rows alone into an empty database with the gaps up to this one fixed."""
    for file in sorted(MIGRATIONS.glob("*.sql")):
        if file.stem <= STEM:
            run_file(into.url, file)
    psql(into.url, script=dump(database.url, "--data-only", "--schema=public"))
    return Books(into.connect(autocommit=True))


class TestRestoring:
    """A restore of the rows alone ends right."""

    def test_rows_come_back_as_they_were(
        self, dairy_004: Database, empty_database: Database
    ) -> None:
        books = Books(dairy_004.connect(autocommit=True))
        customer = books.customer(opening_balance=500)
        invoice = books.invoice(customer, 1000)
        whole, part, _untouched, voided, _nobodys = (
            books.payment(owner, 800) for owner in (customer,) * 4 + (None,)
        )
        books.allocate(whole, {invoice: 800})
        books.allocate(part, {invoice: 100})
        books.run("select public.void_payment(%s, 'bounced')", voided)
        books.run("update public.unapplied_payments set reason = 'advance'")
        restored = restore_rows(dairy_004, empty_database)
        assert table_rows(restored.connection, TABLES) == table_rows(books.connection, TABLES)
        assert restored.violations() == set()

    def test_a_mirror_that_was_wrong_is_right_afterwards(
        self, drifted: Drifted, empty_database: Database
    ) -> None:
        restored = restore_rows(drifted.database, empty_database)
        assert restored.violations() == set()
        assert restored.rows(MIRROR, drifted.faulty["duplicate"]) == [(800, drifted.customer)]


class TestRollingBack:
    """The mirror stays as it is, and the app's own writes count again."""

    def test_no_row_changes_and_the_app_writes_again(self, drifted: Drifted) -> None:
        books = drifted.books
        payment = books.payment(drifted.customer, 300)
        before = table_rows(books.connection, TABLES)
        run_file(drifted.database.url, ROLLBACK)
        assert table_rows(books.connection, TABLES) == before
        deleted = "delete from public.unapplied_payments where payment_id = %s"
        assert books.run(deleted, payment) == 1
        books.run("delete from public.payments where id = %s", payment)
        other = books.payment(drifted.customer, 800)
        books.allocate(other, {drifted.invoice: 300})  # the function keeps the mirror itself again
        assert books.unapplied(other) == [500]

    def test_what_happens_between_rollback_and_deploy_is_listed(self, drifted: Drifted) -> None:
        drifted.fix()
        run_file(drifted.database.url, ROLLBACK)
        forgotten = drifted.books.payment(drifted.customer, 300)
        run_file(drifted.database.url, MIGRATION)
        assert drifted.reconciled() == {forgotten: "missing"}


SABOTAGE = [
    "drop trigger mirror_on_insert on public.payments",
    "drop trigger mirror_on_update on public.payments",
    'drop trigger "00_take_unapplied_along" on public.payments',
    "drop trigger put_true_on_insert on public.unapplied_payments",
    "drop trigger put_true_on_update on public.unapplied_payments",
    "drop trigger keep_one_on_insert on public.unapplied_payments",
    "drop trigger keep_on_delete on public.unapplied_payments",
    "drop trigger refuse_truncate on public.unapplied_payments",
    "grant execute on function public.fix_unapplied_payments_inconsistencies to authenticated",
    "revoke execute on function public.fix_unapplied_payments_inconsistencies from service_role",
    "revoke execute on function public.reconcile_unapplied_payments from authenticated",
    "grant execute on function private.mirror_unapplied to authenticated",
    "create function public.reconcile_unapplied_payments(uuid) returns int language sql return 1",
    """
    create or replace function private.mirror_unapplied(
      p_payment_id uuid, p_customer_id uuid, p_left numeric
    ) returns void language sql as $$
      insert into public.unapplied_payments (payment_id, customer_id, amount_unapplied)
      values (p_payment_id, p_customer_id, p_left)
      on conflict (payment_id) do update set amount_unapplied = excluded.amount_unapplied
    $$
    """,
]


class TestVerify:
    """The canary: in effect or raised, beside whatever rows there are."""

    def test_it_passes_beside_rows_that_are_wrong(self, drifted: Drifted) -> None:
        connection = drifted.database.connect()
        connection.execute(VERIFY.read_bytes())
        connection.rollback()
        assert set(drifted.reconciled()) == set(drifted.faulty.values())

    def test_it_fails_when_something_is_not_in_effect(self, dairy_004: Database) -> None:
        connection = dairy_004.connect()
        for sabotage in SABOTAGE:
            connection.execute("set local check_function_bodies = off")
            connection.execute(sabotage.encode())
            try:
                connection.execute(VERIFY.read_bytes())
            except psycopg.Error:
                connection.rollback()
            else:
                pytest.fail(f"verified all the same: {sabotage}")
