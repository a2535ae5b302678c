"""The app's own edits of invoices."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from hypothesis import strategies as st

from dairy.model import FAR, PAST, Dairy, Invoice, paise
from dairy.steps import (
    Faults,
    Outcome,
    Row,
    Statement,
    Step,
    either,
    kind,
    mostly,
    numbers,
    one_of,
    say,
)
from dairy.steps_app import numeric, overlapping


@dataclass(frozen=True, kw_only=True)
class OnOneInvoice(Step):
    """A statement on one invoice."""

    invoice: int

    def found(self, dairy: Dairy) -> Invoice | None:
        """The invoice, if it is there."""
        identity = dairy.name("invoice", self.invoice)
        return None if identity is None else dairy.invoices.get(identity)


@kind(
    invoice=numbers,
    status=st.sampled_from(
        ["sent", "sent", "cancelled", "cancelled", "draft", "paid", "partially_paid", "overdue"]
    ),
)
@dataclass(frozen=True, kw_only=True)
class SayInvoiceStatus(OnOneInvoice):
    """update invoice_metadata set invoice_status: intent, or something that is not believed."""

    status: str

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.invoice_metadata set invoice_status = %s, amount_paid = 5,"
            " amount_outstanding = 7, last_payment_date = '2001-01-01' where id = %s",
            self.status,
            dairy.name("invoice", self.invoice),
        )

    def word(self, invoice: Invoice) -> str:
        """What becomes of people's word."""
        if invoice.word in {"draft", "cancelled"} and self.status not in {
            "draft",
            "cancelled",
            "sent",
        }:
            return invoice.word
        return self.status if self.status in {"draft", "cancelled"} else "sent"

    def faults(self, dairy: Dairy) -> Faults:
        invoice, identity = self.found(dairy), dairy.name("invoice", self.invoice)
        if invoice is None or identity is None:
            return set()
        lines = [thing for thing, invoices in dairy.lines.items() if identity in invoices]
        back = invoice.word == "cancelled" and self.word(invoice) != "cancelled"
        paid = self.word(invoice) == "sent" and dairy.outstanding(identity) <= 0
        return one_of(
            [
                (self.word(invoice) == "cancelled" and dairy.paid(identity) > 0, "23514"),
                (back and invoice.deleted, "23514"),
                (
                    invoice.was_issued
                    and not invoice.issued
                    and self.word(invoice) == "sent"
                    and dairy.off(identity),
                    "23514",
                ),
                (
                    back and overlapping(dairy, invoice.customer, invoice.period, identity),
                    "23514",
                ),
                (back and any(dairy.bill(thing) is not None for thing in lines), "23505"),
                (
                    back
                    and any(
                        unbillable(dairy, thing, invoice.customer, paid=paid) for thing in lines
                    ),
                    "23514",
                ),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        invoice = self.found(dairy)
        identity = dairy.name("invoice", self.invoice)
        if invoice is not None and identity is not None:
            if invoice.live and self.word(invoice) == "cancelled":
                dairy.free(identity)
            invoice.was_issued |= invoice.issued
            invoice.word = self.word(invoice)
        return {}


def unbillable(dairy: Dairy, thing: UUID, customer: UUID, *, paid: bool = False) -> bool:
    """Whether it is a sale or a delivery that this customer's invoice can't bill.

    On a paid invoice it may have been settled: that is what a sale is there.
    """
    if thing not in dairy.sales and thing not in dairy.deliveries:
        return False
    return dairy.price(thing)[0] != customer or (
        thing in dairy.sales
        and (dairy.sale_paid(thing) > 0 or (dairy.sales[thing].word == "Completed" and not paid))
    )


@kind(invoice=numbers, total=mostly(either, st.just(0)))
@dataclass(frozen=True, kw_only=True)
class UpdateInvoiceTotal(OnOneInvoice):
    """An invoice is corrected."""

    total: object

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.invoice_metadata set total_amount = %s where id = %s",
            numeric(self.total),
            dairy.name("invoice", self.invoice),
        )

    def faults(self, dairy: Dairy) -> Faults:
        invoice, total = self.found(dairy), numeric(self.total)
        identity = dairy.name("invoice", self.invoice)
        if invoice is None or identity is None:
            return set()
        amount = Decimal(0) if total == "0" else paise(total)
        return one_of(
            [
                (total is None, "23502"),
                (amount is None, "23514"),
                (amount is not None and amount < dairy.paid(identity), "23514"),
                (
                    amount not in {None, invoice.total}
                    and (invoice.deleted or (invoice.issued and dairy.has_lines(identity)))
                    and (invoice.deleted or amount != dairy.listed(identity)),
                    "23514",
                ),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        invoice = self.found(dairy)
        if invoice is not None:
            invoice.total = Decimal(str(self.total))
        return {}


@kind(invoice=numbers, due=st.sampled_from([FAR, PAST]))
@dataclass(frozen=True, kw_only=True)
class UpdateDueDate(OnOneInvoice):
    """An invoice gets more time, or less."""

    weight: ClassVar[int] = 2

    due: date

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.invoice_metadata set due_date = %s, file_path = 'x.pdf' where id = %s",
            self.due,
            dairy.name("invoice", self.invoice),
        )

    def happen(self, dairy: Dairy) -> Row:
        invoice = self.found(dairy)
        if invoice is not None:
            invoice.due = self.due
        return {}


@kind(
    invoice=numbers,
    function=st.sampled_from(
        ["update_invoice_status", "update_invoice_status_with_sales_completion"]
    ),
)
@dataclass(frozen=True, kw_only=True)
class RefreshStatus(OnOneInvoice):
    """rpc('update_invoice_status'): nothing is to do, since the status is right already."""

    weight: ClassVar[int] = 2

    function: str

    def statement(self, dairy: Dairy) -> Statement:
        return say(f"select public.{self.function}(%s)", dairy.name("invoice", self.invoice))

    def faults(self, dairy: Dairy) -> Faults:
        # an unknown invoice: nothing to do before gap 002, a refusal is welcome after it
        return set() if self.found(dairy) else {"PT404 invoice_not_found"}

    def disagreement(self, dairy: Dairy, outcome: Outcome) -> str | None:
        if self.found(dairy) is None and outcome.fault is None:
            return None
        return super().disagreement(dairy, outcome)
