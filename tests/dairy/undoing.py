"""Calls of the functions that take allocations back, change payments and void them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from psycopg.rows import class_row

from dairy.books import Answer, Books, Money, Rupees, line

Shape = TypeVar("Shape")

KEY = "pymilk.idempotency_key"


class RolledBack(NamedTuple):
    """What rollback_partial_allocation answers."""

    success: bool
    affected_invoices: int
    removed_amount: Rupees
    payment_reset_to_unapplied: bool


class Unallocated(NamedTuple):
    """What unallocate_payment answers."""

    success: bool
    affected_invoices: int
    removed_amount: Rupees
    total_allocated: Rupees
    payment_amount: Rupees
    unapplied_amount: Rupees
    allocation_status: str


class Voided(NamedTuple):
    """What void_payment answers."""

    success: bool
    affected_invoices: int
    removed_amount: Rupees
    payment_amount: Rupees
    voided_at: Any


def roll_back(books: Books, payment: UUID | None) -> RolledBack:
    """Call rollback_partial_allocation as the app does."""
    return _call(
        books,
        RolledBack,
        "select * from public.rollback_partial_allocation(p_payment_id => %s)",
        payment,
    )


def unallocate(
    books: Books,
    payment: UUID | None,
    invoices: Sequence[UUID | None] | None = None,
    reason: str | None = "booked wrongly",
) -> Unallocated:
    """Call unallocate_payment."""
    return _call(
        books,
        Unallocated,
        "select * from public.unallocate_payment(p_payment_id => %s, p_invoice_ids => %s::uuid[],"
        " p_reason => %s)",
        payment,
        None if invoices is None else list(invoices),
        reason,
    )


def void(books: Books, payment: UUID | None, reason: str | None = "cheque returned") -> Voided:
    """Call void_payment."""
    return _call(
        books,
        Voided,
        "select * from public.void_payment(p_payment_id => %s, p_reason => %s)",
        payment,
        reason,
    )


def update(
    books: Books,
    payment: UUID | None,
    amount: Money | None = None,
    lines: Mapping[UUID, Money] | None = None,
    reason: str | None = "typed wrongly",
) -> Answer:
    """Call update_payment_atomic; no lines keep the allocations, empty ones take them off."""
    allocations = None if lines is None else json.dumps([line(*each) for each in lines.items()])
    return update_as_told(books, payment, amount, allocations, reason)


def update_as_told(
    books: Books,
    payment: UUID | None,
    amount: Money | None,
    allocations: str | None,
    reason: str | None = None,
) -> Answer:
    """Call update_payment_atomic with whatever JSON text."""
    return _call(
        books,
        Answer,
        "select * from public.update_payment_atomic(p_payment_id => %s, p_amount => %s::numeric,"
        " p_allocations => %s::jsonb, p_reason => %s)",
        payment,
        amount,
        allocations,
        reason,
    )


def _call(books: Books, shape: type[Shape], statement: str, *arguments: object) -> Shape:
    with books.connection.cursor(row_factory=class_row(shape)) as cursor:
        answer = cursor.execute(statement.encode(), arguments).fetchone()
    assert answer is not None
    return answer
