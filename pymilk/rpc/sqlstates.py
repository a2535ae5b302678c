"""From what psycopg raises to what a caller can act on."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import psycopg

from pymilk.rpc import errors
from pymilk.rpc.call import Json

REFUSAL: Final = "PT"

NAMED: Final[Mapping[str, type[errors.DatabaseError]]] = {
    "40001": errors.WriteConflict,
    "40P01": errors.Deadlock,
    "42501": errors.NotAllowed,
    "55P03": errors.LockTimeout,
    "57014": errors.TimedOut,
}
MISSING: Final = "42883"
CONSTRAINT: Final = "23"


def failure(error: psycopg.Error) -> errors.PymilkError:
    """What an error that the server sent means.

    The database's functions raise their refusals with SQLSTATE PTnnn, where nnn is the HTTP status
    that PostgREST answers, the reason as message, the facts as JSON in the detail, and a hint.
    """
    state = error.sqlstate or ""
    said = error.diag
    if state.startswith(REFUSAL) and state[2:].isdigit():
        reason = said.message_primary or ""
        kind = errors.Refusal.by_reason.get(reason, errors.Refusal)
        return kind(reason, _facts(said.message_detail), said.message_hint or "", int(state[2:]))
    return _kind(state, said)(state, said.message_primary or str(error))


def _kind(state: str, said: psycopg.errors.Diagnostic) -> type[errors.DatabaseError]:
    if state == MISSING:
        # With a context it is something inside of the function that is missing.
        return errors.DatabaseError if said.context else errors.FunctionMissing
    by_class = errors.ConstraintBroken if state.startswith(CONSTRAINT) else errors.DatabaseError
    return NAMED.get(state, by_class)


def _facts(detail: str | None) -> Mapping[str, Json]:
    try:
        facts = json.loads(detail or "{}", parse_float=Decimal)
    except ValueError:
        facts = None
    return facts if isinstance(facts, dict) else {"detail": detail}
