"""Everything that a call can end in but its result. A class's first line is its sentence."""

# ruff: noqa: N818 - a name says what happened: errors.AmountInvalid

import re
from collections.abc import Mapping
from typing import ClassVar

from pymilk.rpc.call import Json


class PymilkError(Exception):
    """The call did not come to a result."""

    def __init__(self, *facts: str) -> None:
        super().__init__(" ".join([_sentence(type(self)), *filter(None, facts)]))


# What the functions refuse: raised in the database, so nothing of the call was written.


class Refusal(PymilkError):
    """The database refused the call; nothing was written.

    Attributes:
        reason: The stable name that the function raised, such as `allocation_exceeds_payment`.
        detail: The facts; amounts are in rupees, exactly.
        hint: A sentence of what to do.
        status: What PostgREST answers for it over HTTP: 400, 403, 404, 409 or 422.
    """

    by_reason: ClassVar[dict[str, type["Refusal"]]] = {}

    def __init_subclass__(cls) -> None:
        """A refusal's reason is its name: AmountInvalid is for amount_invalid."""
        cls.by_reason[re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()] = cls

    def __init__(self, reason: str, detail: Mapping[str, Json], hint: str, status: int) -> None:
        facts = ", ".join(f"{name} {value}" for name, value in detail.items())
        named = "" if type(self) is not Refusal else f"Reason: {reason}."
        super().__init__(named, f"({facts})" if facts else "", hint)
        self.reason = reason
        self.detail = detail
        self.hint = hint
        self.status = status


class PaymentRequired(Refusal):
    """No payment was named."""


class CustomerRequired(Refusal):
    """No customer was named."""


class DateInvalid(Refusal):
    """A date is not a day between 1900 and 9999."""


class InvoiceRequired(Refusal):
    """No invoice was named."""


class AllocationsNotAList(Refusal):
    """The allocations are not a list."""


class AllocationsEmpty(Refusal):
    """There is nothing to allocate."""


class AllocationMalformed(Refusal):
    """An allocation doesn't name an invoice and an amount."""


class AmountInvalid(Refusal):
    """An amount is not a sum of money: above 0, below 10,000,000,000, at most two decimals."""


class AmountRequired(Refusal):
    """No amount was named."""


class StrategyUnknown(Refusal):
    """There is no such way of allocating a payment by itself."""


class PaymentNotAnObject(Refusal):
    """The payment is not a JSON object."""


class PaymentKeyUnknown(Refusal):
    """The payment has a key that is not known."""


class PaymentFieldMalformed(Refusal):
    """A field of the payment is not of its kind."""


class PeriodReversed(Refusal):
    """The period ends before it starts."""


class IdempotencyKeyInvalid(Refusal):
    """An idempotency key has 1 to 200 characters."""


class ReasonRequired(Refusal):
    """No reason was given, and this is not done without one."""


class ReasonTooLong(Refusal):
    """The reason has more than 1,000 characters."""


class InvoiceIdsInvalid(Refusal):
    """The list of invoices is empty or has a gap."""


class PaymentNotFound(Refusal):
    """There is no such payment."""


class InvoiceNotFound(Refusal):
    """There is no such invoice."""


class SaleNotFound(Refusal):
    """There is no such sale."""


class CustomerNotFound(Refusal):
    """There is no such customer."""


class AllocationNotFound(Refusal):
    """The payment is not allocated to that invoice."""


class AllocationExceedsPayment(Refusal):
    """The allocations come to more than is left of the payment."""


class AllocationExceedsInvoice(Refusal):
    """An allocation is more than is outstanding on its invoice."""


class AllocationExceedsOpeningBalance(Refusal):
    """The allocation is more than remains of the opening balance."""


class SaleBilled(Refusal):
    """The sale stands on an invoice and is paid through it."""


class SaleAlreadyPaid(Refusal):
    """The sale is paid already."""


class AmountBelowAllocated(Refusal):
    """The amount of the payment would be less than what is allocated of it."""


class PaymentVoided(Refusal):
    """The payment is voided, takes no allocation and stays voided."""


class PaymentMoved(Refusal):
    """The payment was given to another customer at this moment."""


class InvoiceCancelled(Refusal):
    """The invoice is cancelled and takes no money."""


class InvoiceDeleted(Refusal):
    """The invoice was deleted already."""


class InvoiceHoldsMoney(Refusal):
    """An invoice that holds money can't be deleted."""


class InvoiceNotDeleted(Refusal):
    """The invoice isn't deleted, so there is nothing to recover."""


class PeriodTaken(Refusal):
    """The customer has another invoice for these days by now."""


class SaleTaken(Refusal):
    """A sale of the invoice was billed elsewhere or paid since."""


class DeliveryTaken(Refusal):
    """A delivery of the invoice was billed elsewhere since."""


class BilledChanged(Refusal):
    """What the invoice bills was cancelled, moved to another customer or priced anew since."""


class IdempotencyKeyReused(Refusal):
    """The idempotency key belongs to a call with other arguments."""


class RequestUndone(Refusal):
    """The call with this idempotency key was undone and can't be made any more."""


class KeyOfAnotherPayment(Refusal):
    """The call with this idempotency key was about another payment."""


class KeyNotUndoable(Refusal):
    """The call with this idempotency key allocated nothing that could be undone."""


class InvoiceNamedTwice(Refusal):
    """An invoice is named twice in one call."""


class SaleNamedTwice(Refusal):
    """A sale is named twice in one call."""


class SaleNotPayable(Refusal):
    """The sale is not one that a payment pays."""


class SalePaidWhole(Refusal):
    """A sale is paid whole; the amount is not what remains of it."""


class CustomerMismatch(Refusal):
    """The payment and what it is to pay belong to different customers."""


class PaymentWithoutCustomer(Refusal):
    """A payment without a customer can't be allocated."""


class PaymentMethodUnknown(Refusal):
    """The payment method is none that is known."""


class PaymentMethodLimitExceeded(Refusal):
    """The amount is beyond the limits of the payment method."""


class PeriodRequired(Refusal):
    """The period to invoice has no first or no last day."""


class PeriodInvalid(Refusal):
    """The period is reversed, infinite or longer than a year."""


class CustomersEmpty(Refusal):
    """There is no customer in the list."""


class FinancialYearInvalid(Refusal):
    """A financial year is written like 202526, from April 2025 to March 2026."""


class OperationInvalid(Refusal):
    """The name of an operation has 1 to 100 characters."""


class ParametersInvalid(Refusal):
    """The parameters of a bulk run are a JSON object of at most 4 MB."""


class StatusInvalid(Refusal):
    """A bulk run is running, completed or failed."""


class OutcomesInvalid(Refusal):
    """The outcomes of a bulk run are a list of objects, at most 64 MB."""


class BulkOperationNotFound(Refusal):
    """There is no such bulk run in the log."""


class BulkOperationFinished(Refusal):
    """The log of a finished bulk run stays as it is."""


class AlreadyInvoiced(Refusal):
    """A live invoice covers days of the period already."""


class InvoiceNumbersExhausted(Refusal):
    """The invoice numbers of the financial year are used up."""


class NothingToBill(Refusal):
    """The customer has nothing to bill in the period."""


class DeliveryInvalid(Refusal):
    """A delivery's total isn't its quantity times its price."""


class SaleInvalid(Refusal):
    """A sale's amount is no sum of money, or its GST no part of it."""


class TotalTooLarge(Refusal):
    """Everything that is to be billed comes to more than an invoice can say."""


# What the database says by itself. Nothing of the call was written in any of them.


class DatabaseError(PymilkError):
    """The database reported an error; nothing of this call was written.

    Attributes:
        sqlstate: Postgres's five characters for it.
    """

    def __init__(self, sqlstate: str, said: str) -> None:
        super().__init__(said)
        self.sqlstate = sqlstate


class NotAllowed(DatabaseError):
    """This role may not do that; nothing was written."""


class FunctionMissing(DatabaseError):
    """The database has no such function: its gap isn't deployed, or was rolled back."""


class ConstraintBroken(DatabaseError):
    """A constraint of the database refused the call; nothing was written."""


class Transient(DatabaseError):
    """The call met another one and lost; nothing was written. The same call can be made again."""


class Deadlock(Transient):
    """Two calls waited for each other and this one was ended; nothing was written. Repeat it."""


class WriteConflict(Transient):
    """Another transaction changed the same rows first; nothing was written. Repeat it."""


class LockTimeout(Transient):
    """Another session held a lock for too long; nothing was written. Repeat it."""


class TimedOut(Transient):
    """The call ran out of time or was cancelled; nothing was written. It can be repeated."""


# What becomes of the connection.


class NotConnected(PymilkError):
    """The database can't be reached; nothing was sent."""


class ConnectionLost(PymilkError):
    """The connection was lost before anything could be committed; nothing was written."""


class OutcomeUnknown(ConnectionLost):
    """The connection was lost during commit: the call may have been written, or not.

    Ask `rpc.request_outcome` with the call's idempotency key, or make the same call again with the
    same key. Without a key, look at the payment before anything else.
    """


class UnexpectedAnswer(PymilkError):
    """The function's answer isn't what this client knows: one of the two is too old.

    The call itself was made, and stays when its transaction is committed.
    """

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(f"Expected {expected}, found {found!r}.")


def _sentence(kind: type[PymilkError]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]
