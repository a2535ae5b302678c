"""Gap 009 comes onto payments with methods of every spelling, is verified and rolled back."""

from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, Money, ruled_out, table_rows
from dairy.scripts import run_file
from support.databases import MIGRATIONS, ROOT, Database

STEM = "20250925000000_gap_009_payment_methods"
MIGRATION = MIGRATIONS / f"{STEM}.sql"
ROLLBACK = ROOT / "supabase" / "rollbacks" / f"{STEM}.sql"
VERIFY = ROOT / "supabase" / "verify" / f"{STEM}.sql"


@dataclass(frozen=True)
class Free:
    """Payments that were recorded while the method was free text; then gap 009."""

    database: Database
    books: Books
    alias: UUID
    barter: UUID
    large: UUID
    small: UUID
    true: UUID

    def method(self, payment: UUID) -> object:
        """What the payment says of its method."""
        return self.books.value("select payment_method from public.payments where id = %s", payment)

    def edit(self, payment: UUID, **columns: object) -> int:
        """Update the payment."""
        names = ", ".join(f"{column} = %s" for column in columns)
        return self.books.run(
            f"update public.payments set {names} where id = %s", *columns.values(), payment
        )


def paid(books: Books, method: str, amount: Money) -> UUID:
    found = books.value(
        "insert into public.payments (customer_id, amount, payment_date, payment_method)"
        " values (%s, %s, '2025-09-10', %s) returning id",
        books.customer(),
        amount,
        method,
    )
    assert isinstance(found, UUID)
    return found


@pytest.fixture
def free(dairy_008: Database) -> Free:
    books = Books(dairy_008.connect(autocommit=True))
    payments = [
        paid(books, method, amount)
        for method, amount in (
            ("gpay", 800),
            ("barter", 800),
            ("Cash", 60_000),
            ("Cheque", 500),
            ("Cash", 500),
        )
    ]
    before = table_rows(books.connection, ["public.payments"])
    run_file(dairy_008.url, MIGRATION)
    assert table_rows(books.connection, ["public.payments"]) == before
    return Free(dairy_008, books, *payments)


class TestRowsThatAreThere:
    """They stay as they are, are listed, can be touched elsewhere, and get better only."""

    def test_they_are_listed_inside_and_from_outside(self, free: Free) -> None:
        assert {row[:3] for row in free.books.broken()} == {
            ("payment_methods_canonical", "payment", str(free.alias)),
            ("payment_methods_canonical", "payment", str(free.barter)),
            ("payment_methods_within_limits", "payment", str(free.large)),
            ("payment_methods_within_limits", "payment", str(free.small)),
        }
        assert free.books.violations() == {
            "payment_methods_canonical",
            "payment_methods_within_limits",
        }

    def test_a_blank_that_is_not_none_is_listed(self, free: Free) -> None:
        run_file(free.database.url, ROLLBACK)
        free.edit(free.alias, payment_method="")
        run_file(free.database.url, MIGRATION)
        assert str(free.alias) in {row[2] for row in free.books.broken()}
        assert free.books.violations() >= {"payment_methods_canonical"}

    def test_they_can_be_touched_elsewhere(self, free: Free) -> None:
        invoice = free.books.invoice(
            free.books.value("select customer_id from public.payments where id = %s", free.barter),
            1000,
        )
        free.books.allocate(free.barter, {invoice: 300})
        for payment in (free.alias, free.barter, free.large, free.small):
            before = free.method(payment)
            assert free.edit(payment, notes="counted", payment_date="2025-09-11") == 1
            assert free.method(payment) == before

    def test_an_edited_amount_brings_the_name_along(self, free: Free) -> None:
        free.edit(free.alias, amount=700)
        assert free.method(free.alias) == "UPI"

    def test_a_method_that_nobody_knows_may_stay_with_another_amount(self, free: Free) -> None:
        free.edit(free.barter, amount=700)
        assert free.method(free.barter) == "barter"
        with ruled_out("payments_method_known"):
            free.edit(free.barter, payment_method="swap")
        free.edit(free.barter, payment_method="cash")
        assert free.method(free.barter) == "Cash"

    def test_an_amount_beyond_the_limits_may_come_nearer(self, free: Free) -> None:
        for payment, nearer, farther in ((free.large, 55_000, 55_001), (free.small, 700, 699)):
            free.edit(payment, amount=nearer)
            with ruled_out("payments_method_within_limits"):
                free.edit(payment, amount=farther)
        with ruled_out("payments_method_within_limits"):
            free.edit(free.large, payment_method="Card", amount=100_001)
        with ruled_out("payments_method_within_limits"):
            free.edit(free.small, payment_method="Cash", amount=50_001)
        free.edit(free.large, payment_method="neft")
        assert free.method(free.large) == "Bank Transfer"

    def test_a_voided_one_is_left_alone(self, free: Free) -> None:
        free.books.run("select public.void_payment(%s, 'never came')", free.large)
        free.books.run("select public.void_payment(%s, 'never came')", free.alias)
        assert {row[2] for row in free.books.broken()} == {str(free.barter), str(free.small)}

    def test_the_statement_of_the_page_names_what_has_a_name(self, free: Free) -> None:
        page = (ROOT / "docs" / "gaps" / "gap_009.md").read_text()
        statement = page.partition("```sql\n")[2].partition("```")[0]
        assert free.books.run(statement) == 1
        assert free.method(free.alias) == "UPI"
        assert free.method(free.barter) == "barter"
        assert free.books.rows("select was, became from private.payment_edits") == [
            ({"payment_method": "gpay"}, {"payment_method": "UPI"})
        ]


def test_rolling_back_changes_no_row_and_any_text_goes_again(free: Free) -> None:
    free.edit(free.alias, amount=700)
    before = table_rows(free.books.connection, ["public.payments"])
    run_file(free.database.url, ROLLBACK)
    assert table_rows(free.books.connection, ["public.payments"]) == before
    assert free.method(paid(free.books, "swap", 1_000_000)) == "swap"


SABOTAGE = [
    "drop trigger spell_method_on_insert on public.payments",
    "drop trigger spell_method_on_update on public.payments",
    "grant execute on function public.normalize_payment_method to anon",
    "revoke execute on function public.normalize_payment_method from authenticated",
    "grant execute on function private.payment_method_limits to authenticated",
    "create function public.normalize_payment_method(int) returns int language sql return 1",
    (
        "create or replace function private.canonical_payment_method(p_method text) returns text"
        " language sql return p_method"
    ),
    (
        "create or replace function private.payment_method_limits(p_method text,"
        " out least_amount numeric, out most_amount numeric) language sql as 'select 0, 1e9'"
    ),
    (
        "create or replace function private.payment_method_limits(p_method text,"
        " out least_amount numeric, out most_amount numeric) language sql as 'select 1, 100000'"
    ),
]


class TestVerify:
    """The canary: in effect or raised, beside whatever rows there are."""

    def test_it_passes_beside_rows_that_offend(self, free: Free) -> None:
        connection = free.database.connect()
        connection.execute(VERIFY.read_bytes())
        connection.rollback()

    @pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda each: each[:40])
    def test_it_fails_when_something_is_not_in_effect(
        self, dairy_009: Database, sabotage: str
    ) -> None:
        connection = dairy_009.connect()
        connection.execute(sabotage.encode())
        with pytest.raises(psycopg.Error):
            connection.execute(VERIFY.read_bytes())
