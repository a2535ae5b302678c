"""The statements that the live app issues itself (and a hostile one or two like them)."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ClassVar

from hypothesis import strategies as st

from dairy.model import (
    FAR,
    LIMIT,
    NOTHING,
    PAST,
    Dairy,
    Invoice,
    Pair,
    Payment,
    paise,
)
from dairy.steps import Faults, Row, Statement, Step, either, kind, mostly, numbers, one_of, say

METHODS = {
    None: None,
    " ": None,
    "gpay": "UPI",
    "cash": "Cash",
    "Cheque": "Cheque",
    "NEFT": "Bank Transfer",
    "barter": "nothing that the dairy takes",
}
RANGES = {"Cash": (0, 50_000), "UPI": (1, 100_000), "Cheque": (1_000, 1_000_000)}
MONTHS = [
    (date(2024, 1, 1), date(2024, 1, 31)),
    (date(2024, 2, 1), date(2024, 2, 29)),
    (date(2024, 3, 1), date(2024, 3, 31)),
]
OLD = [(date(2023, month, 1), date(2023, month, 28)) for month in range(1, 13)]
"""A month of its own for each invoice of the app's."""

customers = st.sampled_from([0, 1, 0, 0, 1, 0, 1, 0, 9])


def method_fits(dairy: Dairy, method: str | None, amount: Decimal) -> bool:
    """Whether the dairy takes that much by that method."""
    if not dairy.has("normalize_payment_method"):
        return True
    known = METHODS[method]
    least, most = RANGES.get(known or "", (Decimal("0.01"), LIMIT))
    if known == "Bank Transfer":
        least, most = 1, 1_000_000
    return method != "barter" and least <= amount <= most


def beyond_limits(dairy: Dairy, payment: Payment, amount: Decimal) -> bool:
    """Whether an edit breaks the limits of the payment's method."""
    return amount != payment.amount and not method_fits(dairy, payment.method, amount)


@kind(
    number=st.integers(3, 9),
    customer=mostly(customers, st.none()),
    amount=either,
    method=st.sampled_from(list(METHODS)),
    lie=st.sampled_from([0, 0, 77, None]),
)
@dataclass(frozen=True, kw_only=True)
class InsertPayment(Step):
    """insert into payments, with whatever the app thinks follows from it."""

    number: int
    customer: int | None
    amount: object
    method: str | None
    lie: int | None

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "insert into public.payments (id, customer_id, amount, payment_date, payment_method,"
            " amount_applied, amount_unapplied, allocation_status)"
            " values (%s, %s, %s, '2025-09-10', %s, %s, %s, 'unapplied')",
            dairy.name("payment", self.number),
            dairy.name("customer", self.customer),
            numeric(self.amount),
            self.method,
            self.lie,
            self.lie,
        )

    def faults(self, dairy: Dairy) -> Faults:
        amount, customer = paise(numeric(self.amount)), dairy.name("customer", self.customer)
        return one_of(
            [
                (numeric(self.amount) is None, "23502"),
                (amount is None, "23514"),
                (amount is not None and not method_fits(dairy, self.method, amount), "23514"),
                (amount is None and not method_fits(dairy, self.method, NOTHING), "23514"),
                (dairy.name("payment", self.number) in dairy.payments, "23505"),
                (customer is not None and customer not in dairy.customers, "23503"),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        identity, amount = dairy.name("payment", self.number), paise(numeric(self.amount))
        assert identity is not None
        assert amount is not None
        customer = dairy.name("customer", self.customer)
        dairy.payments[identity] = Payment(customer, amount, date(2025, 9, 10), self.method)
        return {}


@kind(
    number=st.integers(3, 9),
    customer=customers,
    total=mostly(either, st.just(0)),
    month=st.none() | st.sampled_from(MONTHS),
    due=st.sampled_from([FAR, PAST]),
    status=st.sampled_from(["draft", "sent", "paid", "overdue", "cancelled"]),
)
@dataclass(frozen=True, kw_only=True)
class InsertInvoice(Step):
    """insert into invoice_metadata, for a month of its own or one that others bill too."""

    number: int
    customer: int
    total: object
    month: tuple[date, date] | None
    due: date
    status: str

    @property
    def period(self) -> tuple[date, date]:
        return self.month or OLD[self.number]

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "insert into public.invoice_metadata (id, customer_id, invoice_date, period_start,"
            " period_end, total_amount, due_date, invoice_status, amount_paid, amount_outstanding)"
            " values (%s, %s, '2025-09-01', %s, %s, %s, %s, %s, 11, 22)",
            dairy.name("invoice", self.number),
            dairy.name("customer", self.customer),
            *self.period,
            numeric(self.total),
            self.due,
            self.status,
        )

    def faults(self, dairy: Dairy) -> Faults:
        customer, total = dairy.name("customer", self.customer), numeric(self.total)
        return one_of(
            [
                (total is None, "23502"),
                (total != "0" and paise(total) is None, "23514"),
                (dairy.name("invoice", self.number) in dairy.invoices, "23505"),
                (customer not in dairy.customers, "23503"),
                (
                    self.status != "cancelled" and overlapping(dairy, customer, self.period),
                    "23514",
                ),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        identity, customer = (
            dairy.name("invoice", self.number),
            dairy.name("customer", self.customer),
        )
        assert identity is not None
        assert customer is not None
        word = self.status if self.status in {"draft", "cancelled"} else "sent"
        dairy.invoices[identity] = Invoice(
            customer, Decimal(str(self.total)), self.due, self.period, word
        )
        return {}


def overlapping(
    dairy: Dairy, customer: object, period: tuple[date, date], but: object = None
) -> bool:
    """Whether a live invoice of the customer covers a day of the period (from gap 010 on)."""
    return dairy.has("generate_invoice_atomic") and any(
        invoice.customer == customer
        and invoice.live
        and key != but
        and invoice.period[0] <= period[1]
        and period[0] <= invoice.period[1]
        for key, invoice in dairy.invoices.items()
    )


@dataclass(frozen=True, kw_only=True)
class OnInvoice(Step):
    """A statement on the row of a payment and an invoice."""

    payment: int
    invoice: int

    def pair(self, dairy: Dairy) -> Pair:
        """Both ids."""
        payment, invoice = dairy.name("payment", self.payment), dairy.name("invoice", self.invoice)
        assert payment is not None
        assert invoice is not None
        return payment, invoice

    def unfit(self, dairy: Dairy, change: Decimal | None) -> Faults:
        """What the tables say against that much more (or less) on the pair."""
        payment, invoice = (
            dairy.payments.get(self.pair(dairy)[0]),
            dairy.invoices.get(self.pair(dairy)[1]),
        )
        if change is None:
            return {"23514"}
        if payment is None or invoice is None:
            return {"23503"}
        source, target = self.pair(dairy)
        return one_of(
            [
                (change > dairy.left(source), "23514"),
                (change > dairy.outstanding(target), "23514"),
                (change > 0 and payment.customer != invoice.customer, "23514"),
                (change > 0 and invoice.word == "cancelled", "23514"),
            ]
        )


@kind(payment=numbers, invoice=numbers, amount=either)
@dataclass(frozen=True, kw_only=True)
class InsertAllocation(OnInvoice):
    """The first of the app's four calls."""

    weight: ClassVar[int] = 10

    amount: object

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)"
            " values (%s, %s, %s)",
            *self.pair(dairy),
            numeric(self.amount),
        )

    def faults(self, dairy: Dairy) -> Faults:
        return self.unfit(dairy, paise(numeric(self.amount))) | one_of(
            [
                (numeric(self.amount) is None, "23502"),
                (self.pair(dairy) in dairy.on_invoices, "23505"),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        amount = paise(numeric(self.amount))
        assert amount is not None
        dairy.move(dairy.on_invoices, self.pair(dairy), amount)
        return {}


@kind(payment=numbers, invoice=numbers, amount=either)
@dataclass(frozen=True, kw_only=True)
class UpdateAllocation(OnInvoice):
    """An allocation's amount is corrected by hand."""

    amount: object

    def statement(self, dairy: Dairy) -> Statement:
        payment, invoice = self.pair(dairy)
        return say(
            "update public.invoice_payments set amount_allocated = %s"
            " where payment_id = %s and invoice_id = %s",
            numeric(self.amount),
            payment,
            invoice,
        )

    def faults(self, dairy: Dairy) -> Faults:
        held = dairy.on_invoices.get(self.pair(dairy))
        if held is None:
            return set()
        amount = paise(numeric(self.amount))
        if numeric(self.amount) is None:
            return {"23502", "23514"}
        return self.unfit(dairy, None if amount is None else amount - held)

    def happen(self, dairy: Dairy) -> Row:
        pair, amount = self.pair(dairy), paise(numeric(self.amount))
        if pair in dairy.on_invoices:
            assert amount is not None
            dairy.move(dairy.on_invoices, pair, amount - dairy.on_invoices[pair])
        return {}


@kind(payment=numbers, invoice=numbers)
@dataclass(frozen=True, kw_only=True)
class DeleteAllocation(OnInvoice):
    """An allocation is taken off by hand."""

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "delete from public.invoice_payments where payment_id = %s and invoice_id = %s",
            *self.pair(dairy),
        )

    def happen(self, dairy: Dairy) -> Row:
        payment, invoice = self.pair(dairy)
        dairy.clear(dairy.on_invoices, payment, [invoice])
        return {}


def numeric(amount: object) -> str | None:
    """What somebody types, as a value for a numeric column: text that Postgres takes as one."""
    if amount is None or isinstance(amount, bool) or amount == "":
        return None
    return str(amount).strip()
