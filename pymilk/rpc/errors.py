"""Everything that a call can end in but its result: `except errors.AllocationExceedsPayment`."""

# ruff: noqa: F403 - whatever there is, one class a reason
from pymilk.rpc.failures import *
from pymilk.rpc.refusals import *
