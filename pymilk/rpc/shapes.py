"""The shapes inside jsonb arguments and results, which the database's catalog can't tell."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from pymilk.rpc import reading


@dataclass(frozen=True, slots=True)
class Allocation:
    """So much of a payment for one invoice.

    Attributes:
        invoice_id: The invoice.
        amount: In rupees, above 0, with at most two decimals. A Decimal, a whole number or a
            string such as "300.50"; never a float.
    """

    invoice_id: UUID | str
    amount: Decimal | int | str


@dataclass(frozen=True, slots=True)
class AppliedAllocation:
    """What became of one allocation.

    Attributes:
        invoice_id: The invoice.
        requested: What was asked for, in rupees.
        applied: What it got; less than requested only when amounts are not validated.
    """

    invoice_id: UUID
    requested: Decimal
    applied: Decimal


read_applied = reading.several(
    reading.fields(
        AppliedAllocation,
        invoice_id=reading.uuid,
        requested=reading.numeric,
        applied=reading.numeric,
    )
)
