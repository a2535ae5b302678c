"""The app's own edits of payments, and how it deletes them."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

import psycopg
from hypothesis import strategies as st

from dairy.model import Dairy, Payment, paise
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
from dairy.steps_app import beyond_limits, customers, numeric
from support.databases import Connection


@dataclass(frozen=True, kw_only=True)
class OnPayment(Step):
    """A statement on one payment."""

    payment: int

    def found(self, dairy: Dairy) -> Payment | None:
        """The payment, if it is there."""
        identity = dairy.name("payment", self.payment)
        return None if identity is None else dairy.payments.get(identity)


@kind(payment=numbers, amount=either, lie=st.sampled_from([0, 55]))
@dataclass(frozen=True, kw_only=True)
class UpdatePaymentAmount(OnPayment):
    """update payments set amount, with what the app thinks follows from it."""

    amount: object
    lie: int

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.payments set amount = %s, amount_applied = %s, amount_unapplied = %s,"
            " allocation_status = 'fully_applied' where id = %s",
            numeric(self.amount),
            self.lie,
            self.lie,
            dairy.name("payment", self.payment),
        )

    def faults(self, dairy: Dairy) -> Faults:
        payment, amount = self.found(dairy), paise(numeric(self.amount))
        identity = dairy.name("payment", self.payment)
        if payment is None or identity is None:
            return set()
        return one_of(
            [
                (numeric(self.amount) is None, "23502"),
                (amount is None, "23514"),
                (amount is not None and amount < dairy.applied(identity), "23514"),
                (amount is not None and payment.voided and amount != payment.amount, "23514"),
                (amount is not None and beyond_limits(dairy, payment, amount), "23514"),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        payment, amount = self.found(dairy), paise(numeric(self.amount))
        if payment is not None:
            assert amount is not None
            payment.amount = amount
        return {}


@kind(payment=numbers, customer=mostly(customers, st.none()))
@dataclass(frozen=True, kw_only=True)
class UpdatePaymentCustomer(OnPayment):
    """Somebody finds out whose payment it was."""

    weight: ClassVar[int] = 2

    customer: int | None

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.payments set customer_id = %s where id = %s",
            dairy.name("customer", self.customer),
            dairy.name("payment", self.payment),
        )

    def faults(self, dairy: Dairy) -> Faults:
        payment, customer = self.found(dairy), dairy.name("customer", self.customer)
        identity = dairy.name("payment", self.payment)
        if payment is None or identity is None or customer == payment.customer:
            return set()
        return one_of(
            [
                (dairy.applied(identity) > 0, "23514"),
                (customer is not None and customer not in dairy.customers, "23503"),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        payment = self.found(dairy)
        if payment is not None:
            payment.customer = dairy.name("customer", self.customer)
        return {}


@kind(payment=numbers, paid_on=st.dates(date(2025, 8, 1), date(2025, 9, 30)))
@dataclass(frozen=True, kw_only=True)
class UpdatePaymentDate(OnPayment):
    """The day was noted wrongly."""

    weight: ClassVar[int] = 2

    paid_on: date

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.payments set payment_date = %s, notes = 'corrected' where id = %s",
            self.paid_on,
            dairy.name("payment", self.payment),
        )

    def happen(self, dairy: Dairy) -> Row:
        payment = self.found(dairy)
        if payment is not None:
            payment.paid_on = self.paid_on
        return {}


TABLES = ("invoice_payments", "opening_balance_payments", "sales_payments", "unapplied_payments")


@kind(payment=numbers)
@dataclass(frozen=True, kw_only=True)
class DeletePaymentAlone(OnPayment):
    """delete from payments, while something may still hang on it."""

    weight: ClassVar[int] = 1

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "delete from public.payments where id = %s returning id",
            dairy.name("payment", self.payment),
        )

    def faults(self, dairy: Dairy) -> Faults:
        identity = dairy.name("payment", self.payment)
        if self.found(dairy) is None or identity is None:
            return set()
        return one_of([(dairy.applied(identity) > 0, "23503")])

    def disagreement(self, dairy: Dairy, outcome: Outcome) -> str | None:
        if outcome.fault == "23503" and self.found(dairy) is not None:
            return None  # its row in unapplied_payments, or its history, is enough
        return super().disagreement(dairy, outcome)

    def happen(self, dairy: Dairy) -> Row:
        identity = dairy.name("payment", self.payment)
        if identity is not None:
            dairy.payments.pop(identity, None)
        return {}


@kind(payment=numbers)
@dataclass(frozen=True, kw_only=True)
class DeletePaymentSeries(OnPayment):
    """The app's way to delete a payment: its rows in four tables, then itself."""

    weight: ClassVar[int] = 1

    alone: ClassVar[bool] = True

    def take(self, connection: Connection, dairy: Dairy) -> Outcome:
        identity = dairy.name("payment", self.payment)
        try:
            for table in TABLES:
                connection.execute(
                    f"delete from public.{table} where payment_id = %s".encode(), [identity]
                )
            connection.execute("delete from public.payments where id = %s", [identity])
        except psycopg.DatabaseError as error:
            diagnostic = error.diag
            return Outcome({}, diagnostic.sqlstate or "lost", diagnostic.constraint_name)
        return Outcome({})

    def statement(self, dairy: Dairy) -> Statement:
        raise NotImplementedError

    def happen(self, dairy: Dairy) -> Row:
        identity = dairy.name("payment", self.payment)
        if identity in dairy.payments:
            for rows in (dairy.on_invoices, dairy.on_opening, dairy.on_sales):
                dairy.clear(rows, identity)
            del dairy.payments[identity]
        return {}
