"""What changes a payment as a whole, and what only the back office may do."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from hypothesis import strategies as st

from dairy.model import NOTHING, Dairy, paise
from dairy.steps import Faults, Row, Rpc, either, kind, mostly, numbers, one_of
from dairy.steps_app import beyond_limits, numeric
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
    amount=mostly(either, st.none(), 3),
    lines=mostly(lines, st.none(), 3),
)
@dataclass(frozen=True, kw_only=True)
class UpdatePayment(OfPayment):
    """update_payment_atomic."""

    needs: ClassVar[str] = "update_payment_atomic"
    function: ClassVar[str] = "update_payment_atomic"
    weight: ClassVar[int] = 8

    amount: object
    lines: Lines | None

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_payment_id": dairy.name("payment", self.payment),
            "p_amount": numeric(self.amount),
            "p_allocations": None if self.lines is None else as_json(dairy, self.lines),
            "p_reason": None,
        }

    def canonical(self, dairy: Dairy) -> object:
        named = self.lines
        return (
            self.source(dairy),
            paise(numeric(self.amount)),
            None
            if named is None
            else [(dairy.name("invoice", number), money(amount)) for number, amount in named],
        )

    def malformed(self) -> Faults:
        amount = numeric(self.amount)
        return one_of(
            [
                (self.payment is None, "PT400 payment_required"),
                (amount is not None and paise(amount) is None, "PT400 amount_invalid"),
            ]
        ) | (malformed_lines(self.lines) if self.lines else set())

    def faults(self, dairy: Dairy) -> Faults:
        source = self.source(dairy)
        payment = dairy.payments.get(source)
        if payment is None or payment.voided:
            return {"PT409 payment_voided" if payment else "PT404 payment_not_found"}
        if payment.customer is None and self.lines:
            return {"PT422 payment_without_customer"}
        amount = paise(numeric(self.amount)) or payment.amount
        after = dairy.copy()
        if self.lines is not None:
            after.clear(after.on_invoices, source)
        elsewhere = after.applied(source)
        faults = one_of(
            [
                (amount < elsewhere, "PT409 amount_below_allocated"),
                (beyond_limits(dairy, payment, amount), "PT422 payment_method_limit_exceeded"),
            ]
        )
        return faults | unfit_lines(after, payment, self.lines or (), amount - elsewhere)

    def happen(self, dairy: Dairy) -> Row:
        source = self.source(dairy)
        payment = dairy.payments[source]
        payment.amount = paise(numeric(self.amount)) or payment.amount
        allocated = NOTHING
        if self.lines is not None:
            wanted = {dairy.name("invoice", number): money(each) for number, each in self.lines}
            mine = {target for payer, target in dairy.on_invoices if payer == source}
            dairy.clear(dairy.on_invoices, source, mine - wanted.keys())
            for target, amount in wanted.items():
                assert target is not None
                assert amount is not None
                held = dairy.on_invoices.get((source, target), NOTHING)
                dairy.move(dairy.on_invoices, (source, target), amount - held)
                allocated += amount
        return self.totals(dairy, allocated)


@kind(
    invoices=mostly(
        st.lists(numbers, min_size=1, max_size=3).map(tuple), st.sampled_from([(), None])
    ),
    validate=st.sampled_from([True, False, None]),
)
@dataclass(frozen=True, kw_only=True)
class DeleteBulk(Rpc):
    """delete_bulk_invoices_safe."""

    needs: ClassVar[str] = "delete_bulk_invoices_safe"
    function: ClassVar[str] = "delete_bulk_invoices_safe"
    role: ClassVar[str] = "service_role"

    invoices: tuple[int, ...] | None
    validate: bool | None

    def named(self, dairy: Dairy) -> set[UUID | None]:
        """The invoices, each once."""
        return {dairy.name("invoice", number) for number in self.invoices or ()}

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        named = self.invoices
        return {
            "p_invoice_ids": None
            if named is None
            else [dairy.name("invoice", number) for number in named],
            "p_validate_payments": self.validate,
        }

    def canonical(self, dairy: Dairy) -> object:
        return self.named(dairy), self.validate is not False

    def malformed(self) -> Faults:
        return one_of([(not self.invoices, "PT400 invoice_ids_invalid")])

    def faults(self, dairy: Dairy) -> Faults:
        named = self.named(dairy)
        holds = any(
            each in dairy.invoices and dairy.paid(each) > 0 for each in named if each is not None
        )
        return one_of(
            [
                (any(each not in dairy.invoices for each in named), "PT404 invoice_not_found"),
                (holds and self.validate is not False, "PT409 invoice_holds_money"),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        deleted = 0
        for each in self.named(dairy):
            assert each is not None
            if not dairy.invoices[each].deleted and dairy.paid(each) == 0:
                dairy.delete(each, permanent=False)
                deleted += 1
        return {
            "success": True,
            "invoices_deleted": deleted,
            "skipped": len(self.named(dairy)) - deleted,
        }


@kind(dry_run=st.sampled_from([True, False, None]))
@dataclass(frozen=True, kw_only=True)
class Repair(Rpc):
    """fix_unapplied_payments_inconsistencies: there is never anything to repair."""

    needs: ClassVar[str] = "fix_unapplied_payments_inconsistencies"
    function: ClassVar[str] = "fix_unapplied_payments_inconsistencies"
    role: ClassVar[str] = "service_role"
    keyed: ClassVar[bool] = False
    weight: ClassVar[int] = 1

    dry_run: bool | None

    def arguments(self, dairy: Dairy) -> dict[str, object]:  # noqa: ARG002 - about everything
        return {"p_dry_run": self.dry_run}

    def happen(self, dairy: Dairy) -> Row:  # noqa: ARG002 - it changes nothing
        return {"success": True, "inconsistencies_found": 0, "inconsistencies_fixed": 0}
