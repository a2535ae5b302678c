"""Invoicing: what can be billed, and short ways to call the functions of gaps 007 and 010."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from dairy.books import Books, Money

Answer = dict[str, Any]
"""The one record that a function answers, by column."""

SEPTEMBER: Final = (date(2025, 9, 1), date(2025, 9, 30))
OCTOBER: Final = (date(2025, 10, 1), date(2025, 10, 31))
KEY: Final = "pymilk.idempotency_key"

Period = tuple[date | None, date | None]


@dataclass(frozen=True)
class Invoicing(Books):
    """The books with gaps 007 and 010 fixed."""

    def household(
        self,
        *,
        name: str = "A household",
        billing_day: int | None = None,
        deliveries: int = 0,
        start: date = SEPTEMBER[0],
    ) -> UUID:
        """A new customer, with deliveries of ₹93 on so many days."""
        found = self.value(
            "insert into public.customers (billing_name, billing_cycle_day) values (%s, %s)"
            " returning id",
            name,
            billing_day,
        )
        assert isinstance(found, UUID)
        for number in range(deliveries):
            self.delivery(found, start + timedelta(days=number))
        return found

    def delivery(  # noqa: PLR0913 - what a delivery says, each by its name
        self,
        customer: UUID,
        day: date,
        *,
        quantity: Money | None = Decimal("1.5"),
        price: Money = 62,
        total: Money | None = None,
        status: str = "delivered",
    ) -> UUID:
        """A new delivery; its total is quantity times price unless it says otherwise."""
        found = self.value(
            "insert into public.deliveries (customer_id, product_id, route_id, order_date,"
            " actual_quantity, unit_price, total_amount, delivery_status)"
            " select %s, min(product.id::text)::uuid, (select id from public.routes limit 1),"
            " %s, %s::numeric, %s::numeric, %s::numeric, %s from public.products as product"
            " returning id",
            customer,
            day,
            quantity,
            price,
            Decimal(str(quantity)) * Decimal(str(price)) if total is None else total,
            status,
        )
        assert isinstance(found, UUID)
        return found

    def sale(
        self,
        customer: UUID,
        day: date,
        amount: Money,
        *,
        gst: Money | None = 0,
        status: str = "Pending",
    ) -> UUID:
        """A new Credit sale."""
        found = self.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
            " gst_amount, sale_type, sale_date, payment_status)"
            " select %s, min(id::text)::uuid, 1, 1, %s::numeric, %s::numeric, 'Credit', %s, %s"
            " from public.products returning id",
            customer,
            amount,
            gst,
            day,
            status,
        )
        assert isinstance(found, UUID)
        return found

    def ask(self, call: str, *arguments: object) -> Answer:
        """Call a function that answers one record."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            answer = cursor.execute(f"select * from {call}".encode(), arguments).fetchone()
        assert answer is not None
        return answer

    def bulk(
        self,
        period: Period = SEPTEMBER,
        customers: Sequence[UUID | None] | None = None,
        *,
        validate: bool | None = True,
    ) -> Answer:
        """Call generate_bulk_invoices_atomic."""
        return self.ask(
            "public.generate_bulk_invoices_atomic(p_period_start => %s, p_period_end => %s,"
            " p_customer_ids => %s::uuid[], p_validate_existing => %s)",
            *period,
            None if customers is None else list(customers),
            validate,
        )

    def single(self, customer: UUID | None, period: Period = SEPTEMBER) -> Answer:
        """Call generate_invoice_atomic."""
        return self.ask(
            "public.generate_invoice_atomic(p_customer_id => %s, p_period_start => %s,"
            " p_period_end => %s)",
            customer,
            *period,
        )

    def preview(
        self, period: Period = SEPTEMBER, customers: Sequence[UUID] | None = None
    ) -> dict[UUID, Answer]:
        """Call preview_bulk_invoices; its rows by customer."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                "select * from public.preview_bulk_invoices(%s, %s, %s::uuid[])",
                (*period, None if customers is None else list(customers)),
            ).fetchall()
        return {row["customer_id"]: row for row in rows}

    def invoice_row(self, invoice: UUID | str) -> Answer:
        """An invoice, by column."""
        return self.ask("public.invoice_metadata where id = %s", invoice)

    def billed(self, invoice: UUID | str) -> list[tuple[Any, ...]]:
        """The lines of an invoice: type, what it bills, total, GST."""
        return self.rows(
            "select line_item_type, coalesce(delivery_id, sale_id), line_total, gst_amount"
            " from public.invoice_line_items where invoice_id = %s order by line_total, id",
            invoice,
        )

    def app_invoice(  # noqa: PLR0913 - what an invoice says, each by its name
        self,
        customer: UUID,
        start: date,
        end: date,
        *,
        status: str = "sent",
        number: str | None = None,
        total: Money = 100,
    ) -> UUID:
        """An invoice as the app inserts it, with a period and a number of the app's own."""
        found = self.value(
            "insert into public.invoice_metadata (customer_id, invoice_date, period_start,"
            " period_end, total_amount, invoice_status, invoice_number)"
            " values (%s, '2025-09-01', %s, %s, %s, %s, %s) returning id",
            customer,
            start,
            end,
            total,
            status,
            number,
        )
        assert isinstance(found, UUID)
        return found


def outcomes(answer: Answer) -> dict[UUID, str]:
    """What became of each customer of a bulk run."""
    return {UUID(each["customer_id"]): each["outcome"] for each in answer["outcomes"]}
