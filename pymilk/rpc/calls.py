"""The database's functions, one a function: each makes a `Call` and touches no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from pymilk.rpc import reading
from pymilk.rpc.call import Argument, Call, Json, plain
from pymilk.rpc.shapes import Allocation, AppliedAllocation, read_applied


@dataclass(frozen=True, slots=True)
class AllocatePaymentAtomicResult:
    """What `allocate_payment_atomic` answers; amounts in rupees.

    Attributes:
        success: Always true; a refusal is raised.
        allocated_amount: Allocated by this call.
        total_allocated: Allocated of the payment by now.
        payment_amount: The payment's amount.
        unapplied_amount: What is left of the payment.
        allocation_status: partially_applied or fully_applied; unapplied if nothing could be.
        applied: What became of each allocation, in the order given.
    """

    success: bool
    allocated_amount: Decimal
    total_allocated: Decimal
    payment_amount: Decimal
    unapplied_amount: Decimal
    allocation_status: str
    applied: tuple[AppliedAllocation, ...]


def allocate_payment_atomic(
    *,
    payment_id: UUID | str,
    allocations: Sequence[Allocation],
    validate_amounts: bool = True,
) -> Call[AllocatePaymentAtomicResult]:
    """Allocates a payment to invoices: all of it or nothing, with every total and status.

    Args:
        payment_id: The payment.
        allocations: Which invoice gets how much; an invoice is named once.
        validate_amounts: False cuts each allocation, in the order given, to what payment and
            invoice can take, instead of refusing.

    Refusals:
        400: errors.PaymentRequired, errors.AllocationsNotAList, errors.AllocationsEmpty,
            errors.AllocationMalformed, errors.AmountInvalid, errors.IdempotencyKeyInvalid
        404: errors.PaymentNotFound, errors.InvoiceNotFound
        409: errors.AllocationExceedsPayment, errors.AllocationExceedsInvoice,
            errors.InvoiceCancelled, errors.PaymentVoided, errors.IdempotencyKeyReused,
            errors.RequestUndone
        422: errors.InvoiceNamedTwice, errors.CustomerMismatch, errors.PaymentWithoutCustomer
    """
    return Call(
        "allocate_payment_atomic",
        (
            Argument("p_payment_id", "uuid", plain(payment_id)),
            Argument("p_allocations", "jsonb", plain(allocations)),
            Argument("p_validate_amounts", "boolean", plain(validate_amounts)),
        ),
        reading.one(
            reading.fields(
                AllocatePaymentAtomicResult,
                success=reading.boolean,
                allocated_amount=reading.numeric,
                total_allocated=reading.numeric,
                payment_amount=reading.numeric,
                unapplied_amount=reading.numeric,
                allocation_status=reading.text,
                applied=read_applied,
            )
        ),
    )


def business_today() -> Call[date]:
    """The dairy's calendar day (Asia/Kolkata), the only clock of what depends on a date."""
    return Call("business_today", (), reading.one(reading.day))


@dataclass(frozen=True, slots=True)
class CheckPaymentInvariantsRow:
    """One broken invariant.

    Attributes:
        invariant: Its name.
        entity: What kind of thing breaks it, such as payment or invoice.
        entity_id: Which one; None when it is the dairy as a whole.
        expected: What should be.
        found: What is.
    """

    invariant: str
    entity: str
    entity_id: str | None
    expected: str | None
    found: str | None


def check_payment_invariants() -> Call[tuple[CheckPaymentInvariantsRow, ...]]:
    """Every broken invariant of payments and invoices as a row; none when all is well."""
    return Call(
        "check_payment_invariants",
        (),
        reading.every(
            reading.fields(
                CheckPaymentInvariantsRow,
                invariant=reading.text,
                entity=reading.text,
                entity_id=reading.nullable(reading.text),
                expected=reading.nullable(reading.text),
                found=reading.nullable(reading.text),
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class RequestOutcomeResult:
    """What `request_outcome` answers.

    Attributes:
        outcome: unknown, done or undone.
        function_name: What was called; None when unknown, like the rest.
        answer: What it answered, by the names of that call's result.
        recorded_at: When.
    """

    outcome: str
    function_name: str | None
    answer: Json
    recorded_at: datetime | None


def request_outcome(*, key: str) -> Call[RequestOutcomeResult]:
    """What became of the caller's own request with this idempotency key.

    Unknown is final for a call that had reached the database: it waits for one still in flight.

    Args:
        key: The idempotency key of that call.

    Refusals:
        400: errors.IdempotencyKeyInvalid
    """
    return Call(
        "request_outcome",
        (Argument("p_key", "text", plain(key)),),
        reading.one(
            reading.fields(
                RequestOutcomeResult,
                outcome=reading.text,
                function_name=reading.nullable(reading.text),
                answer=reading.anything,
                recorded_at=reading.nullable(reading.moment),
            )
        ),
    )
