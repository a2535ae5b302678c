"""How far a migration has come that is no single transaction, as the ledger tells it."""

from collections.abc import Iterable
from dataclasses import dataclass

from pymilk.database.ledger import Entry, Kind, Outcome


@dataclass(frozen=True)
class Half:
    """How far a migration has come that is no single transaction.

    Attributes:
        done: How many of its steps are done.
        of: How many there are.
        begun: The step that was begun and never ended, as far as the ledger knows.
        before: The fingerprint of the schema before its first step.
        checksum: Of the text whose steps they are.
        statements: The fingerprints of the steps that are done or begun, in order; none where an
            older pymilk ran one of them, which noted the whole text alone.
    """

    done: int
    of: int
    begun: Entry | None
    before: str | None
    checksum: str | None
    statements: tuple[str, ...] | None

    def __str__(self) -> str:
        begun = f", step {self.done + 1} was begun" if self.begun else ""
        return f"half applied: step {self.done} of {self.of} done{begun}"


def half_of(entries: Iterable[Entry], version: str) -> Half | None:
    """How far a migration has come since it was last deployed or rolled back; none: not at all."""
    steps: list[Entry] = []
    for entry in entries:
        if entry.version != version:
            continue
        if entry.kind in {Kind.DEPLOY, Kind.ROLLBACK}:
            steps = []
        elif entry.kind is Kind.STEP:
            steps.append(entry)
    done = max((one.step or 0 for one in steps if one.outcome is Outcome.DONE), default=0)
    last = steps[-1] if steps else None
    begun = last if last is not None and last.outcome is Outcome.BEGUN else None
    if last is None or (not done and begun is None):
        return None
    first = next((one for one in reversed(steps) if one.step == 1 and one.before), None)
    return Half(
        done,
        int(last.evidence["of"]),
        begun,
        first.before if first else None,
        first.checksum if first else None,
        _statements(steps, done + (begun is not None)),
    )


def _statements(steps: Iterable[Entry], count: int) -> tuple[str, ...] | None:
    known = {one.step: one.evidence.get("statement") for one in steps}
    found = tuple(str(known[step]) for step in range(1, count + 1) if known.get(step))
    return found if len(found) == count else None
