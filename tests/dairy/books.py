"""The dairy's books as tests keep them: customers, payments, invoices and what joins them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import class_row

from pymilk.database.cluster import SUPERUSER
from support.databases import ROOT, Connection, Database

INVARIANTS = sorted((ROOT / "sql" / "invariants").glob("*.sql"))
"""The queries whose rows are violations; they run before gap 001 and after."""

ASKED_OUTSIDE_ALONE = frozenset({"outstanding_both_ways"})
"""Invariants that check_payment_invariants() leaves to validate_outstanding()."""

HELD_SINCE = {
    "unapplied_payments_true": "public.reconcile_unapplied_payments()",
    "payment_methods_canonical": "public.normalize_payment_method(text)",
    "payment_methods_within_limits": "public.normalize_payment_method(text)",
}
"""Invariants that the app's own statements break until a gap holds them: a function of that gap."""

FROM_A_TRIGGER_OF_ONES_OWN = """
create temporary table mine (x int);
create function pg_temp.attack() returns trigger language plpgsql as $$
begin
  {attack};
  return new;
end $$;
create trigger attack before insert on mine for each row execute function pg_temp.attack();
insert into mine values (1)
"""
"""Inside a trigger of the role's own, so deeper than its statement stands."""

Money = Decimal | int | str
"""Rupees: anything that Postgres reads as one exact number."""


Rupees = Decimal | int
"""An amount that came back, or that one is compared with."""


_DAYS = (date(2000, 1, 1) + timedelta(days=day) for day in count())
# Live invoices of one customer do not overlap.


class Answer(NamedTuple):
    """What allocate_payment_atomic answers; amounts in rupees."""

    success: bool
    allocated_amount: Rupees
    total_allocated: Rupees
    payment_amount: Rupees
    unapplied_amount: Rupees
    allocation_status: str
    applied: list[dict[str, Any]]


class PaymentTotals(NamedTuple):
    """What a payment says of itself, in rupees."""

    applied: Rupees
    unapplied: Rupees
    status: str


class InvoiceTotals(NamedTuple):
    """What an invoice says of itself, in rupees."""

    paid: Rupees
    outstanding: Rupees
    status: str


@dataclass(frozen=True)
class Books:
    """Short ways to write and read the books over one session.

    Attributes:
        connection: The session; whether it commits by itself is up to the test.
    """

    connection: Connection

    def value(self, query: str, *arguments: object) -> Any:  # noqa: ANN401 - what SQL gives
        """The first column of the first row."""
        row = self.connection.execute(query.encode(), arguments).fetchone()
        return None if row is None else row[0]

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """All rows."""
        return self.connection.execute(query.encode(), arguments).fetchall()

    def run(self, statement: str, *arguments: object) -> int:
        """Execute a statement; the number of rows that it touched."""
        return self.connection.execute(statement.encode(), arguments).rowcount

    def customer(self, *, opening_balance: Money = 0) -> UUID:
        """A new customer."""
        found = self.value(
            "insert into public.customers (billing_name, opening_balance) values ('A customer', %s)"
            " returning id",
            opening_balance,
        )
        assert isinstance(found, UUID)
        return found

    def payment(
        self, customer: UUID | None, amount: Money, *, paid_on: date = date(2025, 9, 10)
    ) -> UUID:
        """A new payment, recorded the way the app does it."""
        found = self.value(
            "insert into public.payments (customer_id, amount, payment_date, payment_method,"
            " allocation_status, amount_applied, amount_unapplied)"
            " values (%s, %s, %s, 'UPI', 'unapplied', 0, %s) returning id",
            customer,
            amount,
            paid_on,
            amount,
        )
        assert isinstance(found, UUID)
        return found

    def invoice(
        self,
        customer: UUID,
        total: Money,
        *,
        status: str = "sent",
        due: date | None = date(2999, 1, 1),
    ) -> UUID:
        """A new invoice, for days that no other invoice of this run is for."""
        day = next(_DAYS)
        found = self.value(
            "insert into public.invoice_metadata (customer_id, invoice_date, period_start,"
            " period_end, total_amount, invoice_status, due_date, amount_outstanding)"
            " values (%s, '2025-09-01', %s, %s, %s, %s, %s, %s) returning id",
            customer,
            day,
            day,
            total,
            status,
            due,
            total,
        )
        assert isinstance(found, UUID)
        return found

    def allocate(
        self, payment: UUID | None, lines: Mapping[UUID, Money], *, validate: bool | None = True
    ) -> Answer:
        """Call allocate_payment_atomic as the app does."""
        return self.call(
            payment,
            json.dumps([line(invoice, amount) for invoice, amount in lines.items()]),
            validate=validate,
        )

    def call(
        self, payment: UUID | None, allocations: str | None, *, validate: bool | None = True
    ) -> Answer:
        """Call allocate_payment_atomic with whatever JSON text."""
        with self.connection.cursor(row_factory=class_row(Answer)) as cursor:
            answer = cursor.execute(
                "select * from public.allocate_payment_atomic(p_payment_id => %s,"
                " p_allocations => %s::jsonb, p_validate_amounts => %s)",
                (payment, allocations, validate),
            ).fetchone()
        assert answer is not None
        return answer

    def allocate_directly(self, payment: UUID, invoice: UUID, amount: Money) -> None:
        """Insert the allocation's row, as the app's first call of four does."""
        self.run(
            "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)"
            " values (%s, %s, %s)",
            payment,
            invoice,
            amount,
        )

    def payment_totals(self, payment: UUID) -> PaymentTotals:
        """What the payment says of itself."""
        return PaymentTotals(
            *self.rows(
                "select amount_applied, amount_unapplied, allocation_status"
                " from public.payments where id = %s",
                payment,
            )[0]
        )

    def invoice_totals(self, invoice: UUID) -> InvoiceTotals:
        """What the invoice says of itself."""
        return InvoiceTotals(
            *self.rows(
                "select amount_paid, amount_outstanding, invoice_status"
                " from public.invoice_metadata where id = %s",
                invoice,
            )[0]
        )

    def allocations(self, payment: UUID) -> dict[UUID, Rupees]:
        """The rows of invoice_payments of this payment: invoice and rupees."""
        return dict(
            self.rows(
                "select invoice_id, amount_allocated from public.invoice_payments"
                " where payment_id = %s",
                payment,
            )
        )

    def unapplied(self, payment: UUID) -> list[Rupees]:
        """The amounts of the payment's rows in unapplied_payments."""
        return [
            amount
            for (amount,) in self.rows(
                "select amount_unapplied from public.unapplied_payments where payment_id = %s"
                " order by amount_unapplied",
                payment,
            )
        ]

    def broken(self) -> list[tuple[Any, ...]]:
        """What check_payment_invariants() finds."""
        return self.rows("select * from public.check_payment_invariants()")

    def violations(self) -> set[str]:
        """The names of the invariants that are broken, asked from outside.

        One that a gap holds is asked from that gap on.
        """
        return {
            path.stem
            for path in INVARIANTS
            if self._holds(path.stem) and self.connection.execute(path.read_bytes()).rowcount
        }

    def _holds(self, invariant: str) -> bool:
        since = HELD_SINCE.get(invariant)
        return since is None or self.value("select to_regprocedure(%s)", since) is not None

    def setting(self, name: str, value: str) -> None:
        """Set a custom setting for the session."""
        self.connection.execute("select set_config(%s, %s, false)", (name, value))


def line(invoice: UUID, amount: Money) -> dict[str, object]:
    """One allocation as the app writes it."""
    return {
        "invoiceId": str(invoice),
        "amount": amount if isinstance(amount, int) else str(amount),
    }


@contextmanager
def refused(reason: str, *, status: int | None = None) -> Iterator[dict[str, Any]]:
    """Expect a refusal with this reason; gives the facts of its DETAIL.

    Args:
        reason: The snake_case MESSAGE.
        status: The HTTP status that PostgREST makes of it.
    """
    facts: dict[str, Any] = {}
    with pytest.raises(psycopg.DatabaseError) as caught:
        yield facts
    diagnostic = caught.value.diag
    assert diagnostic.message_primary == reason
    if status is not None:
        assert diagnostic.sqlstate == f"PT{status}"
    assert diagnostic.message_detail is not None
    facts.update(json.loads(diagnostic.message_detail))
    assert diagnostic.message_hint is not None
    assert diagnostic.message_hint.endswith(".")


@contextmanager
def ruled_out(rule: str) -> Iterator[None]:
    """Expect a rule of the tables to refuse a direct write, by its name."""
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        yield
    diagnostic = caught.value.diag
    assert diagnostic.constraint_name == rule
    assert diagnostic.table_name is not None
    assert diagnostic.message_hint is not None


def session_past_triggers(database: Database) -> Books:
    """A session in which no trigger looks: it writes rows as they were before there were rules."""
    books = Books(database.connect(user=SUPERUSER, autocommit=True))
    books.run("set session_replication_role = replica")
    return books


def table_rows(connection: Connection, tables: Sequence[str]) -> dict[str, list[Any]]:
    """The whole content of tables, in an order that does not depend on where rows lie."""
    return {
        table: connection.execute(
            sql.SQL("select to_jsonb(r)::text from {} as r order by 1").format(
                sql.Identifier(*table.split("."))
            )
        ).fetchall()
        for table in tables
    }
