"""What became of a call that was made under an idempotency key."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pymilk.rpc import reading
from pymilk.rpc.call import Call, Json, argument, given
from pymilk.rpc.refusals import REFUSALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a key.

    Attributes:
        outcome: done; undone, by `rpc.rollback_partial_allocation`; or unknown: nothing is written
            under it, and a call at work in the database was waited for. One that is still on its
            way there can arrive later: making it again under the same key settles that.
        function_name: What was called; None when unknown, like the rest.
        answer: What it answered: `call.returns.read([answer])` reads it.
        recorded_at: When.
    """

    outcome: Literal["unknown", "done", "undone"]
    function_name: str | None
    answer: Json
    recorded_at: datetime | None


def outcome_of(key: str) -> Call[Outcome]:
    """The call that asks."""
    return Call(
        "request_outcome",
        given(argument("p_key", "text", key)),
        reading.row(Outcome),
        refusals=REFUSALS,
    )
