"""From what the database said to what a caller can act on."""

from collections.abc import Mapping
from typing import Final

from pymilk.rpc import failures
from pymilk.rpc.call import Json
from pymilk.rpc.reading import parse

REFUSAL: Final = "PT"

NAMED: Final[Mapping[str, type[failures.DatabaseError]]] = {
    "40001": failures.WriteConflict,
    "40P01": failures.Deadlock,
    "42501": failures.NotAllowed,
    "42725": failures.FunctionAmbiguous,
    "42883": failures.FunctionMissing,
    "55P03": failures.LockTimeout,
    "57014": failures.TimedOut,
    "P0001": failures.ExceptionRaised,
    "PGRST202": failures.FunctionMissing,
    "PGRST203": failures.FunctionAmbiguous,
}
CONSTRAINT: Final = "23"
# Told of something inside of the function, these say nothing of the function itself.
OUTSIDE: Final = frozenset({"42725", "42883"})


def failure(  # noqa: PLR0913 - what an error says
    refusals: Mapping[str, type[failures.Refusal]],
    code: str,
    message: str,
    *,
    detail: str | None = None,
    hint: str | None = None,
    status: int | None = None,
    inside: bool = False,
) -> failures.PymilkError:
    """What an error of the database means.

    The database's functions raise their refusals with SQLSTATE PTnnn, where nnn is the HTTP status
    that PostgREST answers, the reason as message, the facts as JSON in the detail, and a hint.

    Args:
        refusals: The class for each reason.
        code: SQLSTATE, or PostgREST's code for what it found out itself.
        message: What was said.
        detail: And its details.
        hint: And its hint.
        status: The HTTP status, where there is one.
        inside: Whether it was said within the function.
    """
    facts = _facts(detail)
    if code.startswith(REFUSAL) and code[2:].isdigit():
        kind = refusals.get(message, failures.Refusal)
        return kind(message, facts, hint or "", int(code[2:]))
    by_class = failures.ConstraintBroken if code.startswith(CONSTRAINT) else failures.DatabaseError
    told = by_class if inside and code in OUTSIDE else NAMED.get(code, by_class)
    return told(code, message, detail=facts, hint=hint or "", status=status)


def _facts(detail: str | None) -> Mapping[str, Json]:
    if not detail:
        return {}
    try:
        facts = parse(detail)
    except ValueError:
        facts = None
    return facts if isinstance(facts, dict) else {"detail": detail}
