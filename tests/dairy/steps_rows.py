"""The app's own rows that settle opening balances and sales, and its row for what is left."""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from dairy.model import NOTHING, Dairy, Pair, paise
from dairy.steps import Faults, Row, Statement, Step, either, kind, numbers, one_of, say
from dairy.steps_app import customers, numeric


@dataclass(frozen=True, kw_only=True)
class OnTarget(Step):
    """A statement on the row of a payment and what it pays."""

    needs: ClassVar[str] = "allocate_opening_balance_atomic"
    table: ClassVar[str]
    column: ClassVar[str]
    sum: ClassVar[str]
    kind_of_target: ClassVar[str]

    payment: int
    target: int

    def pair(self, dairy: Dairy) -> Pair:
        """Both ids."""
        payment = dairy.name("payment", self.payment)
        target = dairy.name(self.kind_of_target, self.target)
        assert payment is not None
        assert target is not None
        return payment, target

    def rows(self, dairy: Dairy) -> dict[Pair, Decimal]:
        """What the model has of these rows."""
        return dairy.on_opening if self.kind_of_target == "customer" else dairy.on_sales


@dataclass(frozen=True, kw_only=True)
class InsertOnTarget(OnTarget):
    """A payment is put there by hand."""

    amount: object

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            f"insert into public.{self.table} (payment_id, {self.column}, {self.sum})"
            " values (%s, %s, %s)",
            *self.pair(dairy),
            numeric(self.amount),
        )

    def owner(self, dairy: Dairy, target: UUID) -> UUID | None:
        """Whose the target is, where it is there."""
        if self.kind_of_target == "customer":
            return target if target in dairy.customers else None
        sale = dairy.sales.get(target)
        return None if sale is None else sale.customer

    def unfit(self, dairy: Dairy, target: UUID, amount: Decimal) -> Faults:
        """What the target says against that much."""
        if self.kind_of_target == "customer":
            return one_of([(amount > dairy.opening_left(target), "23514")])
        room = dairy.sales[target].total - dairy.sale_paid(target)
        return one_of([(amount != room or room <= 0 or dairy.bill(target) is not None, "23514")])

    def faults(self, dairy: Dairy) -> Faults:
        (source, target), amount = self.pair(dairy), paise(numeric(self.amount))
        payment, owner = dairy.payments.get(source), self.owner(dairy, target)
        faults = one_of(
            [
                (numeric(self.amount) is None, "23502"),
                (amount is None, "23514"),
                ((source, target) in self.rows(dairy), "23505"),
                (payment is None or owner is None, "23503"),
            ]
        )
        if amount is None or payment is None or owner is None:
            return faults
        return (
            faults
            | self.unfit(dairy, target, amount)
            | one_of([(amount > dairy.left(source), "23514"), (payment.customer != owner, "23514")])
        )

    def happen(self, dairy: Dairy) -> Row:
        amount = paise(numeric(self.amount))
        assert amount is not None
        dairy.move(self.rows(dairy), self.pair(dairy), amount)
        return {}


@dataclass(frozen=True, kw_only=True)
class DeleteOnTarget(OnTarget):
    """And taken off by hand."""

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            f"delete from public.{self.table} where payment_id = %s and {self.column} = %s",
            *self.pair(dairy),
        )

    def happen(self, dairy: Dairy) -> Row:
        payment, target = self.pair(dairy)
        dairy.clear(self.rows(dairy), payment, {target})
        return {}


@dataclass(frozen=True, kw_only=True)
class OnOpening(OnTarget):
    """opening_balance_payments."""

    table: ClassVar[str] = "opening_balance_payments"
    column: ClassVar[str] = "customer_id"
    sum: ClassVar[str] = "amount"
    kind_of_target: ClassVar[str] = "customer"


@dataclass(frozen=True, kw_only=True)
class OnSale(OnTarget):
    """sales_payments."""

    table: ClassVar[str] = "sales_payments"
    column: ClassVar[str] = "sales_id"
    sum: ClassVar[str] = "amount_allocated"
    kind_of_target: ClassVar[str] = "sale"


@kind(payment=numbers, target=customers, amount=either)
@dataclass(frozen=True, kw_only=True)
class InsertOpening(OnOpening, InsertOnTarget):
    """insert into opening_balance_payments."""


@kind(payment=numbers, target=customers)
@dataclass(frozen=True, kw_only=True)
class DeleteOpening(OnOpening, DeleteOnTarget):
    """delete from opening_balance_payments."""


@kind(payment=numbers, target=numbers, amount=either)
@dataclass(frozen=True, kw_only=True)
class InsertOnSale(OnSale, InsertOnTarget):
    """insert into sales_payments."""


@kind(payment=numbers, target=numbers)
@dataclass(frozen=True, kw_only=True)
class DeleteOnSale(OnSale, DeleteOnTarget):
    """delete from sales_payments."""


@kind(customer=customers, amount=either)
@dataclass(frozen=True, kw_only=True)
class UpdateOpeningBalance(Step):
    """update customers set opening_balance."""

    needs: ClassVar[str] = "allocate_opening_balance_atomic"
    weight: ClassVar[int] = 2

    customer: int
    amount: object

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.customers set opening_balance = %s where id = %s",
            numeric(self.amount) or "0",
            dairy.name("customer", self.customer),
        )

    def wanted(self) -> Decimal | None:
        """The new balance, where it is one."""
        text = numeric(self.amount) or "0"
        return NOTHING if text == "0" else paise(text)

    def faults(self, dairy: Dairy) -> Faults:
        customer, amount = dairy.name("customer", self.customer), self.wanted()
        if customer not in dairy.customers:
            return set()
        paid = dairy.customers[customer] - dairy.opening_left(customer)
        return one_of([(amount is None, "23514"), (amount is not None and amount < paid, "23514")])

    def happen(self, dairy: Dairy) -> Row:
        customer, amount = dairy.name("customer", self.customer), self.wanted()
        if customer is not None and customer in dairy.customers:
            assert amount is not None
            dairy.customers[customer] = amount
        return {}


@kind(payment=numbers, customer=customers, amount=either)
@dataclass(frozen=True, kw_only=True)
class InsertUnapplied(Step):
    """insert into unapplied_payments: the row is there already, and says the truth."""

    needs: ClassVar[str] = "reconcile_unapplied_payments"

    payment: int
    customer: int
    amount: object

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "insert into public.unapplied_payments (payment_id, customer_id, amount_unapplied)"
            " values (%s, %s, %s) returning amount_unapplied",
            dairy.name("payment", self.payment),
            dairy.name("customer", self.customer),
            numeric(self.amount) or "5",
        )

    def faults(self, dairy: Dairy) -> Faults:
        missing = dairy.name("payment", self.payment) not in dairy.payments
        # a row without its payment is refused for that, or for what else is wrong with it
        return {"23503", "23514"} if missing else set()

    def happen(self, dairy: Dairy) -> Row:
        payment = dairy.name("payment", self.payment)
        assert payment is not None
        if dairy.payments[payment].customer is None or dairy.left(payment) == 0:
            return {}
        return {"amount_unapplied": dairy.left(payment)}
