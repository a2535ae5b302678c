"""Invoices with lines: short ways to bill, delete and recover (gap 006)."""

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from dairy.books import Money
from dairy.settling import Answer, Settling


@dataclass(frozen=True)
class Billing(Settling):
    """The books with gap 006 fixed."""

    def delivery(self, customer: UUID, *, on: date = date(2025, 8, 5)) -> UUID:
        """A delivery of ₹50 that was made."""
        found = self.value(
            "insert into public.deliveries (customer_id, product_id, route_id, order_date,"
            " actual_quantity, unit_price, total_amount, delivery_status)"
            " select %s, product.id, route.id, %s, 1, 50, 50, 'delivered'"
            " from public.products as product cross join public.routes as route limit 1"
            " returning id",
            customer,
            on,
        )
        assert isinstance(found, UUID)
        return found

    def line(
        self,
        invoice: UUID | None,
        *,
        sale: UUID | None = None,
        delivery: UUID | None = None,
        bills: bool = True,
    ) -> UUID:
        """A new line of an invoice, as the app writes it (`bills` it does not know).

        It charges what it bills, or 50.
        """
        found = self.value(
            "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id,"
            " delivery_id, product_name, line_total, bills)"
            " values (%s, %s, %s, %s, 'Milk', coalesce("
            " (select total_amount from public.sales where id = %s),"
            " (select total_amount from public.deliveries where id = %s), 50), %s) returning id",
            invoice,
            "manual_sale" if sale else "subscription",
            sale,
            delivery,
            sale,
            delivery,
            bills,
        )
        assert isinstance(found, UUID)
        return found

    def billed(self, customer: UUID, *sales: UUID, total: Money | None = None) -> UUID:
        """A new invoice, sent, with these sales on it; it comes to what they do, or to 100."""
        if total is None:
            total = self.value(
                "select coalesce(sum(total_amount), 100) from public.sales where id = any(%s)",
                list(sales),
            )
        invoice = self.invoice(customer, total)
        for sale in sales:
            self.line(invoice, sale=sale)
        return invoice

    def delete(self, invoice: UUID | None, *, permanent: bool | None = False) -> Answer:
        """Call delete_invoice_safe."""
        return self.ask(
            "public.delete_invoice_safe(p_invoice_id => %s, p_permanent => %s)", invoice, permanent
        )

    def recover(self, invoice: UUID | None) -> Answer:
        """Call recover_invoice."""
        return self.ask("public.recover_invoice(p_invoice_id => %s)", invoice)

    def delete_as_the_app(self, invoice: UUID | None) -> Any:  # noqa: ANN401 - JSON
        """Call delete_invoice_and_revert_sales."""
        return self.value("select public.delete_invoice_and_revert_sales(%s)", invoice)

    def cancel(self, invoice: UUID) -> None:
        """Cancel directly, as the app does."""
        self.set_status(invoice, "cancelled")

    def set_status(self, invoice: UUID, status: str) -> None:
        """Write invoice_status directly."""
        self.run(
            "update public.invoice_metadata set invoice_status = %s where id = %s", status, invoice
        )

    def says(self, sale: UUID) -> str:
        """The sale's payment_status."""
        return self.sale_state(sale)[1]

    def bills(self, invoice: UUID) -> list[bool]:
        """Whether each line of the invoice bills."""
        return [
            bills
            for (bills,) in self.rows(
                "select bills from public.invoice_line_items where invoice_id = %s order by id",
                invoice,
            )
        ]

    def mapped(self, sale: UUID) -> dict[UUID, bool]:
        """Invoices that ever billed the sale, and whether they still do."""
        return dict(
            self.rows(
                "select invoice_id, released_at is null from public.invoice_sales_mapping"
                " where sale_id = %s",
                sale,
            )
        )

    def trail(self, entity: UUID) -> list[str]:
        """What the audit trail says happened, oldest first."""
        return [
            action
            for (action,) in self.rows(
                "select action from public.audit_trail where entity_id = %s order by id", entity
            )
        ]
