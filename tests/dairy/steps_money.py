"""The RPCs that move money."""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from hypothesis import strategies as st

from dairy.model import NOTHING, Dairy, Payment, paise
from dairy.steps import Faults, Row, Rpc, amounts, hostile, kind, mostly, numbers, one_of

Lines = tuple[tuple[int, object], ...]

lines = mostly(
    st.lists(
        st.tuples(numbers, amounts), min_size=1, max_size=3, unique_by=lambda line: line[0]
    ).map(tuple),
    st.lists(st.tuples(numbers, amounts | hostile), max_size=3).map(tuple),
)


@dataclass(frozen=True, kw_only=True)
class OfPayment(Rpc):
    """A call on one payment."""

    payment: int | None

    def source(self, dairy: Dairy) -> UUID:
        """The payment's id, where it was named."""
        found = dairy.name("payment", self.payment)
        assert found is not None
        return found

    def payment_faults(self, dairy: Dairy) -> Faults:
        """What is wrong with the payment, for a call that allocates it."""
        payment = dairy.payments.get(self.source(dairy))
        if payment is None:
            return {"PT404 payment_not_found"}
        return one_of(
            [
                (payment.voided, "PT409 payment_voided"),
                (payment.customer is None, "PT422 payment_without_customer"),
            ]
        )

    def totals(self, dairy: Dairy, allocated: Decimal) -> dict[str, object]:
        """What an allocating call says."""
        source = self.source(dairy)
        return {
            "success": True,
            "allocated_amount": allocated,
            "total_allocated": dairy.applied(source),
            "payment_amount": dairy.payments[source].amount,
            "unapplied_amount": dairy.left(source),
            "allocation_status": dairy.allocation_status(source),
        }


def malformed_lines(named: Lines) -> Faults:
    """What is wrong with a list of allocations alone."""
    if not named:
        return {"PT400 allocations_empty"}
    return one_of(
        [
            (any(amount is None for _, amount in named), "PT400 allocation_malformed"),
            (any(money(amount) is None for _, amount in named), "PT400 amount_invalid"),
            (
                all(money(amount) is not None for _, amount in named)
                and len({number for number, _ in named}) < len(named),
                "PT422 invoice_named_twice",
            ),
        ]
    )


def money(amount: object) -> Decimal | None:
    """An amount in JSON: a number, or a string of digits."""
    return paise(amount)


def unfit_lines(
    dairy: Dairy, payment: Payment, named: Lines, left: Decimal, *, validate: bool = True
) -> Faults:
    """What speaks against allocating this payment so."""
    faults: Faults = set()
    for number, amount in named:
        identity = dairy.name("invoice", number)
        invoice = None if identity is None else dairy.invoices.get(identity)
        wanted = money(amount)
        assert wanted is not None
        if invoice is None or identity is None:
            faults.add("PT404 invoice_not_found")
            continue
        faults |= one_of(
            [
                (invoice.customer != payment.customer, "PT422 customer_mismatch"),
                (invoice.word == "cancelled", "PT409 invoice_cancelled"),
                (invoice.deleted, "PT409 invoice_deleted"),
                (
                    validate and wanted > dairy.outstanding(identity),
                    "PT409 allocation_exceeds_invoice",
                ),
            ]
        )
    requested = sum((money(amount) or NOTHING for _, amount in named), NOTHING)
    return faults | one_of([(validate and requested > left, "PT409 allocation_exceeds_payment")])


def as_json(dairy: Dairy, named: Lines) -> str:
    """The list as the app sends it."""
    return json.dumps(
        [
            {
                ("invoiceId", "invoice_id")[number % 2]: str(dairy.name("invoice", number)),
                "amount": amount,
            }
            for number, amount in named
        ]
    )


@kind(
    payment=mostly(numbers, st.none()),
    lines=lines,
    validate=st.sampled_from([True, True, False, None]),
)
@dataclass(frozen=True, kw_only=True)
class Allocate(OfPayment):
    """allocate_payment_atomic."""

    weight: ClassVar[int] = 16

    function: ClassVar[str] = "allocate_payment_atomic"
    allocates: ClassVar[bool] = True

    lines: Lines
    validate: bool | None

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_payment_id": dairy.name("payment", self.payment),
            "p_allocations": as_json(dairy, self.lines),
            "p_validate_amounts": self.validate,
        }

    def canonical(self, dairy: Dairy) -> object:
        return (
            self.source(dairy),
            [(dairy.name("invoice", number), money(amount)) for number, amount in self.lines],
            self.validate is not False,
        )

    def malformed(self) -> Faults:
        if self.payment is None:
            return {"PT400 payment_required"}
        return malformed_lines(self.lines)

    def faults(self, dairy: Dairy) -> Faults:
        faults = self.payment_faults(dairy)
        payment = dairy.payments.get(self.source(dairy))
        if faults or payment is None:
            return faults
        left = dairy.left(self.source(dairy))
        return unfit_lines(dairy, payment, self.lines, left, validate=self.validate is not False)

    def happen(self, dairy: Dairy) -> Row:
        source, applied, said = self.source(dairy), NOTHING, []
        for number, amount in self.lines:
            target, wanted = dairy.name("invoice", number), money(amount)
            assert target is not None
            assert wanted is not None
            got = max(min(wanted, dairy.outstanding(target), dairy.left(source)), NOTHING)
            if got:
                dairy.move(dairy.on_invoices, (source, target), got)
            applied += got
            said.append({"invoice_id": str(target), "requested": wanted, "applied": got})
        return {**self.totals(dairy, applied), "applied": said}
