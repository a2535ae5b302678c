"""The RPCs of gap 005: opening balances, sales, all at once, and by itself."""

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from hypothesis import strategies as st

from dairy.model import NOTHING, Dairy, Payment, paise
from dairy.steps import Faults, Row, Rpc, amounts, either, kind, mostly, numbers, one_of
from dairy.steps_app import customers, numeric
from dairy.steps_money import (
    Lines,
    OfPayment,
    as_json,
    lines,
    malformed_lines,
    money,
    unfit_lines,
)


@kind(
    payment=mostly(numbers, st.none(), 12),
    customer=mostly(customers, st.none(), 12),
    amount=either,
)
@dataclass(frozen=True, kw_only=True)
class PayOpeningBalance(OfPayment):
    """allocate_opening_balance_atomic."""

    needs: ClassVar[str] = "allocate_opening_balance_atomic"
    function: ClassVar[str] = "allocate_opening_balance_atomic"
    allocates: ClassVar[bool] = True
    weight: ClassVar[int] = 6

    customer: int | None
    amount: object

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_payment_id": dairy.name("payment", self.payment),
            "p_customer_id": dairy.name("customer", self.customer),
            "p_amount": numeric(self.amount),
        }

    def canonical(self, dairy: Dairy) -> object:
        customer = dairy.name("customer", self.customer)
        return self.source(dairy), customer, paise(numeric(self.amount))

    def malformed(self) -> Faults:
        amount = numeric(self.amount)
        return one_of(
            [
                (self.payment is None, "PT400 payment_required"),
                (self.customer is None, "PT400 customer_required"),
                (amount is None, "PT400 amount_required"),
                (amount is not None and paise(amount) is None, "PT400 amount_invalid"),
            ]
        )

    def faults(self, dairy: Dairy) -> Faults:
        customer, amount = dairy.name("customer", self.customer), paise(numeric(self.amount))
        faults, payment = self.payment_faults(dairy), dairy.payments.get(self.source(dairy))
        if customer not in dairy.customers:
            return {*faults, "PT404 customer_not_found"}
        if faults or payment is None:
            return faults
        assert amount is not None
        left, open_ = dairy.left(self.source(dairy)), dairy.opening_left(customer)
        return one_of(
            [
                (payment.customer != customer, "PT422 customer_mismatch"),
                (amount > left, "PT409 allocation_exceeds_payment"),
                (amount > open_, "PT409 allocation_exceeds_opening_balance"),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        customer, amount = dairy.name("customer", self.customer), paise(numeric(self.amount))
        assert customer is not None
        assert amount is not None
        dairy.move(dairy.on_opening, (self.source(dairy), customer), amount)
        remaining = dairy.opening_left(customer)
        return {**self.totals(dairy, amount), "opening_balance_remaining": remaining}


Sales = tuple[int, ...]

sales = mostly(
    st.lists(numbers, min_size=1, max_size=2, unique=True).map(tuple),
    st.lists(numbers, max_size=2).map(tuple),
)


def sale_faults(dairy: Dairy, customer: UUID | None, named: Sales, left: Decimal) -> Faults:
    """What speaks against paying these sales whole."""
    faults: Faults = set()
    total = NOTHING
    for number in named:
        identity = dairy.name("sale", number)
        sale = None if identity is None else dairy.sales.get(identity)
        if sale is None or identity is None:
            faults.add("PT404 sale_not_found")
            continue
        room = sale.total - dairy.sale_paid(identity)
        total += room
        faults |= one_of(
            [
                (sale.customer != customer, "PT422 customer_mismatch"),
                (dairy.bill(identity) is not None, "PT409 sale_billed"),
                (room <= 0, "PT409 sale_already_paid"),
            ]
        )
    return faults | one_of([(total > left, "PT409 allocation_exceeds_payment")])


def malformed_sales(named: Sales) -> Faults:
    """What is wrong with a list of sales alone."""
    return one_of(
        [
            (not named, "PT400 allocations_empty"),
            (len(set(named)) < len(named), "PT422 sale_named_twice"),
        ]
    )


def pay_sales(dairy: Dairy, payment: UUID, named: Sales) -> list[dict[str, object]]:
    """Pay them; how the answer lists it."""
    said: list[dict[str, object]] = []
    for number in named:
        sale = dairy.name("sale", number)
        assert sale is not None
        room = dairy.sales[sale].total - dairy.sale_paid(sale)
        dairy.move(dairy.on_sales, (payment, sale), room)
        said.append({"sale_id": str(sale), "applied": room})
    return said


def sales_json(dairy: Dairy, named: Sales) -> list[dict[str, str]]:
    """The list as the app sends it."""
    return [
        {("saleId", "sale_id")[number % 2]: str(dairy.name("sale", number))} for number in named
    ]


@kind(payment=mostly(numbers, st.none(), 12), sales=sales)
@dataclass(frozen=True, kw_only=True)
class PaySales(OfPayment):
    """allocate_payment_to_sales_atomic."""

    needs: ClassVar[str] = "allocate_payment_to_sales_atomic"
    function: ClassVar[str] = "allocate_payment_to_sales_atomic"
    allocates: ClassVar[bool] = True
    weight: ClassVar[int] = 6

    sales: Sales

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_payment_id": dairy.name("payment", self.payment),
            "p_allocations": json.dumps(sales_json(dairy, self.sales)),
        }

    def canonical(self, dairy: Dairy) -> object:
        return self.source(dairy), [dairy.name("sale", number) for number in self.sales]

    def malformed(self) -> Faults:
        if self.payment is None:
            return {"PT400 payment_required"}
        return malformed_sales(self.sales)

    def faults(self, dairy: Dairy) -> Faults:
        faults, payment = self.payment_faults(dairy), dairy.payments.get(self.source(dairy))
        if faults or payment is None:
            return faults
        return sale_faults(dairy, payment.customer, self.sales, dairy.left(self.source(dairy)))

    def happen(self, dairy: Dairy) -> Row:
        said = pay_sales(dairy, self.source(dairy), self.sales)
        allocated = sum((paise(line["applied"]) or NOTHING for line in said), NOTHING)
        return {**self.totals(dairy, allocated), "applied": said}


@kind(
    payment=mostly(numbers, st.none(), 12),
    strategy=st.sampled_from(["opening_first", "oldest_first", None, "richest_first"]),
)
@dataclass(frozen=True, kw_only=True)
class AutoAllocate(OfPayment):
    """auto_allocate_payment."""

    needs: ClassVar[str] = "auto_allocate_payment"
    function: ClassVar[str] = "auto_allocate_payment"
    allocates: ClassVar[bool] = True
    weight: ClassVar[int] = 6

    strategy: str | None

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_payment_id": dairy.name("payment", self.payment),
            "p_strategy": self.strategy,
        }

    def canonical(self, dairy: Dairy) -> object:
        return self.source(dairy), self.strategy or "opening_first"

    def malformed(self) -> Faults:
        return one_of(
            [
                (self.payment is None, "PT400 payment_required"),
                (self.strategy == "richest_first", "PT400 strategy_unknown"),
            ]
        )

    def faults(self, dairy: Dairy) -> Faults:
        return self.payment_faults(dairy)

    def happen(self, dairy: Dairy) -> Row:
        source = self.source(dairy)
        customer = dairy.payments[source].customer
        assert customer is not None
        before = dairy.applied(source)
        if self.strategy != "oldest_first":
            opening = min(dairy.left(source), dairy.opening_left(customer))
            if opening > 0:
                dairy.move(dairy.on_opening, (source, customer), opening)
        for invoice in dairy.oldest_first(customer):
            got = min(dairy.left(source), dairy.outstanding(invoice))
            if got > 0:
                dairy.move(dairy.on_invoices, (source, invoice), got)
        return self.totals(dairy, dairy.applied(source) - before)


@kind(
    customer=mostly(customers, st.none()),
    amount=either,
    opening=mostly(st.none(), amounts, 3),
    lines=mostly(st.just(()), lines, 2),
    sales=mostly(st.just(()), sales, 3),
)
@dataclass(frozen=True, kw_only=True)
class Record(Rpc):
    """record_payment_atomic."""

    needs: ClassVar[str] = "record_payment_atomic"
    function: ClassVar[str] = "record_payment_atomic"
    allocates: ClassVar[bool] = True
    weight: ClassVar[int] = 6

    customer: int | None
    amount: object
    opening: object
    lines: Lines
    sales: Sales

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        customer = dairy.name("customer", self.customer)
        payment = {
            "customer_id": None if customer is None else str(customer),
            "amount": self.amount,
            "payment_date": "2025-09-12",
            "opening_balance": self.opening,
            "allocations": json.loads(as_json(dairy, self.lines)),
            "sales": sales_json(dairy, self.sales),
        }
        return {"p_payment": json.dumps(payment)}

    def canonical(self, dairy: Dairy) -> object:
        return (
            dairy.name("customer", self.customer),
            money(self.amount),
            money(self.opening),
            [(dairy.name("invoice", number), money(amount)) for number, amount in self.lines],
            [dairy.name("sale", number) for number in self.sales],
        )

    def malformed(self) -> Faults:
        return (
            one_of(
                [
                    (self.amount is None, "PT400 amount_required"),
                    (money(self.amount) is None, "PT400 amount_invalid"),
                ]
            )
            | (malformed_lines(self.lines) if self.lines else set())
            | (malformed_sales(self.sales) if self.sales else set())
        )

    def about(self, dairy: Dairy, row: Row) -> UUID | None:  # noqa: ARG002 - it makes its own
        return UUID(str(row["payment_id"]))

    def faults(self, dairy: Dairy) -> Faults:
        customer, amount = dairy.name("customer", self.customer), money(self.amount)
        opening = money(self.opening) or NOTHING
        assert amount is not None
        if customer is None:
            wants = bool(self.opening or self.lines or self.sales)
            return one_of([(wants, "PT422 payment_without_customer")])
        if customer not in dairy.customers:
            return {"PT404 customer_not_found"}
        payment = Payment(customer, amount, date(2025, 9, 12))
        faults = unfit_lines(dairy, payment, self.lines, amount - opening)
        requested = sum((money(each) or NOTHING for _, each in self.lines), NOTHING)
        left = amount - opening - requested
        return (
            faults
            | (sale_faults(dairy, customer, self.sales, left) if self.sales else set())
            | one_of(
                [
                    (opening > amount, "PT409 allocation_exceeds_payment"),
                    (
                        opening > dairy.opening_left(customer),
                        "PT409 allocation_exceeds_opening_balance",
                    ),
                ]
            )
        )

    def conclude(self, dairy: Dairy, row: Row) -> Row:
        source, customer = UUID(str(row["payment_id"])), dairy.name("customer", self.customer)
        amount, opening = money(self.amount), money(self.opening)
        assert amount is not None
        dairy.payments[source] = Payment(customer, amount, date(2025, 9, 12))
        dairy.adopt("payment", source)
        if customer is not None and opening is not None:
            dairy.move(dairy.on_opening, (source, customer), opening)
        for number, wanted in self.lines:
            target, got = dairy.name("invoice", number), money(wanted)
            assert target is not None
            assert got is not None
            dairy.move(dairy.on_invoices, (source, target), got)
        pay_sales(dairy, source, self.sales)
        return {
            "success": True,
            "total_allocated": dairy.applied(source),
            "unapplied_amount": dairy.left(source),
            "allocation_status": dairy.allocation_status(source),
        }
