"""The RPCs that take money off again: rollback, unallocate, void."""

from dataclasses import dataclass, replace
from typing import ClassVar

from hypothesis import strategies as st

from dairy.model import Dairy, Kept
from dairy.steps import (
    ROLLBACK,
    Faults,
    Row,
    kind,
    mostly,
    numbers,
    one_of,
)
from dairy.steps_money import OfPayment


@dataclass(frozen=True, kw_only=True)
class OffPayment(OfPayment):
    """A call that takes a payment off what it pays."""

    def malformed(self) -> Faults:
        return one_of([(self.payment is None, "PT400 payment_required")])

    def faults(self, dairy: Dairy) -> Faults:
        return one_of([(self.source(dairy) not in dairy.payments, "PT404 payment_not_found")])


@kind(payment=mostly(numbers, st.none(), 12), key=mostly(st.integers(0, 2), st.none(), 3))
@dataclass(frozen=True, kw_only=True)
class Rollback(OffPayment):
    """rollback_partial_allocation: the app's compensation; its key names the call to undo."""

    needs: ClassVar[str] = ROLLBACK
    function: ClassVar[str] = ROLLBACK
    weight: ClassVar[int] = 6

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {"p_payment_id": dairy.name("payment", self.payment)}

    def kept_at(self, dairy: Dairy) -> tuple[str, str, str]:
        """The first under its key says what the key is for; each payment has its answer."""
        first = dairy.kept.get(self.place())
        if first is None or first.arguments == self.canonical(dairy):
            return self.place()
        return self.place(f"{ROLLBACK} of {self.source(dairy)}")

    def requests(self, dairy: Dairy) -> dict[str, Kept]:
        """What is kept under the key, by function."""
        wanted = self.place()
        return {
            place[1]: kept
            for place, kept in dairy.kept.items()
            if self.key is not None and (place[0], place[2]) == (wanted[0], wanted[2])
        }

    def named(self, dairy: Dairy) -> dict[str, Kept]:
        """The calls that allocated this payment under the key."""
        return {
            function: kept
            for function, kept in self.requests(dairy).items()
            if function in UNDOABLE and kept.payment == self.source(dairy)
        }

    def spent(self, dairy: Dairy) -> Faults:
        requests = self.requests(dairy)
        if self.source(dairy) not in dairy.payments:
            return {"PT404 payment_not_found"}
        same = self.kept_at(dairy) in dairy.kept
        if not requests or same or self.named(dairy):
            return set()
        undoable = any(function in {*UNDOABLE, ROLLBACK} for function in requests)
        return {f"PT409 {'key_of_another_payment' if undoable else 'key_not_undoable'}"}

    def happen(self, dairy: Dairy) -> Row:
        source, named = self.source(dairy), self.named(dairy)
        calls = [None] if self.key is None else [kept.call for kept in named.values()]
        taken = [amount for call in calls for amount in dairy.undo(dairy.on_invoices, source, call)]
        if dairy.has("undo_settlements"):
            for call in calls:
                taken += dairy.undo(dairy.on_opening, source, call)
                taken += dairy.undo(dairy.on_sales, source, call)
        for function, kept in named.items():
            dairy.kept[self.place(function)] = replace(kept, undone=True)
        return {
            "success": True,
            "removed_amount": sum(taken),
            "payment_reset_to_unapplied": bool(taken) and dairy.applied(source) == 0,
        }


UNDOABLE = {
    "allocate_payment_atomic",
    "allocate_opening_balance_atomic",
    "allocate_payment_to_sales_atomic",
    "auto_allocate_payment",
    "record_payment_atomic",
}


@kind(
    payment=mostly(numbers, st.none(), 12),
    invoices=mostly(st.none(), st.lists(numbers, max_size=2).map(tuple), 2),
    reason=st.sampled_from(["wrong invoice", None]),
)
@dataclass(frozen=True, kw_only=True)
class Unallocate(OffPayment):
    """unallocate_payment."""

    needs: ClassVar[str] = "unallocate_payment"
    function: ClassVar[str] = "unallocate_payment"

    invoices: tuple[int, ...] | None
    reason: str | None

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        named = self.invoices
        return {
            "p_payment_id": dairy.name("payment", self.payment),
            "p_invoice_ids": None
            if named is None
            else [dairy.name("invoice", number) for number in named],
            "p_reason": self.reason,
        }

    def canonical(self, dairy: Dairy) -> object:
        named = self.invoices
        targets = None if named is None else {dairy.name("invoice", number) for number in named}
        return self.source(dairy), targets, self.reason

    def malformed(self) -> Faults:
        return super().malformed() | one_of([(self.invoices == (), "PT400 invoice_ids_invalid")])

    def faults(self, dairy: Dairy) -> Faults:
        missing = any(
            (self.source(dairy), dairy.name("invoice", number)) not in dairy.on_invoices
            for number in self.invoices or ()
        )
        return super().faults(dairy) or one_of([(missing, "PT404 allocation_not_found")])

    def happen(self, dairy: Dairy) -> Row:
        source = self.source(dairy)
        named = self.invoices
        wanted = None if named is None else {dairy.name("invoice", number) for number in named}
        before = len(dairy.on_invoices)
        removed = dairy.clear(dairy.on_invoices, source, wanted)
        answer = self.totals(dairy, removed)
        del answer["allocated_amount"]
        return {
            **answer,
            "removed_amount": removed,
            "affected_invoices": before - len(dairy.on_invoices),
        }


@kind(
    payment=mostly(numbers, st.none(), 12),
    reason=mostly(st.just("bounced"), st.sampled_from([None, " "])),
)
@dataclass(frozen=True, kw_only=True)
class Void(OffPayment):
    """void_payment."""

    needs: ClassVar[str] = "void_payment"
    function: ClassVar[str] = "void_payment"
    weight: ClassVar[int] = 1

    reason: str | None

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_payment_id": dairy.name("payment", self.payment),
            "p_reason": self.reason,
        }

    def malformed(self) -> Faults:
        return super().malformed() | one_of([(self.reason != "bounced", "PT400 reason_required")])

    def faults(self, dairy: Dairy) -> Faults:
        payment = dairy.payments.get(self.source(dairy))
        return super().faults(dairy) or one_of(
            [(payment is not None and payment.voided, "PT409 payment_voided")]
        )

    def happen(self, dairy: Dairy) -> Row:
        source = self.source(dairy)
        removed = sum(
            dairy.clear(rows, source)
            for rows in (dairy.on_invoices, dairy.on_opening, dairy.on_sales)
        )
        dairy.payments[source].voided = True
        return {
            "success": True,
            "removed_amount": removed,
            "payment_amount": dairy.payments[source].amount,
        }
