"""The database's functions as typed calls: `client.call(rpc.allocate_payment_atomic(…))`."""

from pymilk.rpc.call import Argument, Call, Json
from pymilk.rpc.calls import (
    AllocatePaymentAtomicResult,
    CheckPaymentInvariantsRow,
    RequestOutcomeResult,
    allocate_payment_atomic,
    business_today,
    check_payment_invariants,
    request_outcome,
)
from pymilk.rpc.shapes import Allocation, AppliedAllocation

__all__ = [
    "AllocatePaymentAtomicResult",
    "Allocation",
    "AppliedAllocation",
    "Argument",
    "Call",
    "CheckPaymentInvariantsRow",
    "Json",
    "RequestOutcomeResult",
    "allocate_payment_atomic",
    "business_today",
    "check_payment_invariants",
    "request_outcome",
]
