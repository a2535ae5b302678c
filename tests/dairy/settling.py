"""Settling opening balances and sales: short ways to call the functions of gap 005."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import dict_row

from dairy.books import Books, Money
from pymilk.database.cluster import SUPERUSER
from support.databases import Database

Answer = dict[str, Any]
"""The one record that a function answers, by column."""


@dataclass(frozen=True)
class Settling(Books):
    """The books with gap 005 fixed."""

    def sale(
        self,
        customer: UUID | None,
        total: Money,
        *,
        kind: str = "Credit",
        status: str | None = None,
    ) -> UUID:
        """A new sale; Credit sales are pending."""
        found = self.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
            " sale_type, payment_status)"
            " select %s, min(id::text)::uuid, 1, 1, %s, %s, %s from public.products returning id",
            customer,
            total,
            kind,
            status or ("Pending" if kind == "Credit" else "Completed"),
        )
        assert isinstance(found, UUID)
        return found

    def bill(self, invoice: UUID, *sales: UUID) -> None:
        """Put sales on an invoice, as the app does."""
        for sale in sales:
            self.run(
                "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id,"
                " line_total) select %s, 'manual_sale', id, total_amount from public.sales"
                " where id = %s",
                invoice,
                sale,
            )

    def make_up(self, invoice: UUID) -> None:
        """Let the lines of an invoice add up to its total, by an adjustment."""
        self.run(
            "insert into public.invoice_line_items (invoice_id, line_item_type, line_total)"
            " select invoice.id, 'adjustment', invoice.total_amount - sum(line.line_total)"
            " from public.invoice_metadata as invoice"
            " join public.invoice_line_items as line on line.invoice_id = invoice.id"
            " where invoice.id = %s group by invoice.id",
            invoice,
        )

    def ask(self, call: str, *arguments: object) -> Answer:
        """Call a function that answers one record."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            answer = cursor.execute(f"select * from {call}".encode(), arguments).fetchone()
        assert answer is not None
        return answer

    def pay_opening(
        self, payment: UUID | None, customer: UUID | None, amount: Money | None
    ) -> Answer:
        """Call allocate_opening_balance_atomic."""
        return self.ask(
            "public.allocate_opening_balance_atomic(p_payment_id => %s, p_customer_id => %s,"
            " p_amount => %s)",
            payment,
            customer,
            amount,
        )

    def pay_sales(self, payment: UUID | None, *sales: UUID | dict[str, object]) -> Answer:
        """Call allocate_payment_to_sales_atomic."""
        return self.pay_sales_with(payment, json.dumps([_line(sale) for sale in sales]))

    def pay_sales_with(self, payment: UUID | None, allocations: str | None) -> Answer:
        """Call allocate_payment_to_sales_atomic with whatever JSON text."""
        return self.ask(
            "public.allocate_payment_to_sales_atomic(p_payment_id => %s,"
            " p_allocations => %s::jsonb)",
            payment,
            allocations,
        )

    def record(self, **payment: object) -> Answer:
        """Call record_payment_atomic with these keys."""
        return self.record_json(json.dumps(payment, default=str))

    def record_json(self, payment: str | None) -> Answer:
        """Call record_payment_atomic with whatever JSON text."""
        return self.ask("public.record_payment_atomic(p_payment => %s::jsonb)", payment)

    def auto(self, payment: UUID | None, strategy: str | None = "opening_first") -> Answer:
        """Call auto_allocate_payment."""
        return self.ask(
            "public.auto_allocate_payment(p_payment_id => %s, p_strategy => %s)", payment, strategy
        )

    def pay_opening_directly(self, payment: UUID, customer: UUID, amount: Money) -> None:
        """Insert into opening_balance_payments, as the app does."""
        self.run(
            "insert into public.opening_balance_payments (payment_id, customer_id, amount)"
            " values (%s, %s, %s)",
            payment,
            customer,
            amount,
        )

    def pay_sale_directly(self, payment: UUID, sale: UUID, amount: Money) -> None:
        """Insert into sales_payments, as the app does."""
        self.run(
            "insert into public.sales_payments (payment_id, sales_id, amount_allocated)"
            " values (%s, %s, %s)",
            payment,
            sale,
            amount,
        )

    def opening_paid(self, customer: UUID) -> Money:
        """What the customer says is paid of the opening balance."""
        found: Money = self.value(
            "select opening_balance_paid from public.customers where id = %s", customer
        )
        return found

    def sale_state(self, sale: UUID) -> tuple[Money, str]:
        """What the sale says of itself: paid, status."""
        (found,) = self.rows(
            "select amount_paid, payment_status from public.sales where id = %s", sale
        )
        return found[0], found[1]

    def with_key(self, key: str | None = None) -> str:
        """Send this key, or a fresh one, with the next calls."""
        key = key or str(uuid4())
        self.setting("pymilk.idempotency_key", key)
        return key


def silently(database: Database, statement: str, *arguments: object) -> None:
    """Make rows as they may have been before the gap: no trigger sees it."""
    session = database.connect(user=SUPERUSER)
    session.execute("set session_replication_role = replica")
    session.execute(statement.encode(), arguments)
    session.commit()


def _line(sale: UUID | dict[str, object]) -> dict[str, object]:
    return {"saleId": str(sale)} if isinstance(sale, UUID) else sale
