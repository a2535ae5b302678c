"""The course of a deployment: each step with when it was, how long it took, and what it found."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pymilk.database.ledger import Entry, Kind
from pymilk.deploy.basis.evidence import Verdict as CheckVerdict
from pymilk.report.deployment import Deployment, Proof
from pymilk.report.facts import BackupFacts, RehearsalFacts, RestoreTestFacts
from pymilk.report.wording import Wording


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: What it is called.
        at: When it had ended.
        seconds: How long it took; none where that was not written down.
        found: What it found, a sentence each.
    """

    name: str
    at: datetime
    seconds: float | None
    found: tuple[str, ...]


def course_of(seen: Deployment, wording: Wording) -> tuple[Step, ...]:
    """The steps of a deployment, in order."""
    return tuple(_steps(seen, wording))


def _steps(seen: Deployment, wording: Wording) -> Iterator[Step]:
    first = seen.proof[0].entry.happened_at if seen.proof else seen.entry.happened_at
    if seen.facts.checks:
        looked = seen.facts.preflight
        yield Step("preflight", looked.ended or first, looked.seconds, tuple(_checks(seen)))
    before: Entry | None = None
    for proof in seen.proof:
        took = _took(proof, before)
        yield Step(_NAMES[proof.entry.kind], proof.entry.happened_at, took, _found(proof, wording))
        before = proof.entry
    if seen.deployed:
        facts = seen.after_facts
        yield Step("apply", seen.entry.happened_at, facts.seconds, tuple(_applied(seen)))
    if seen.after is not None:
        took = _between(seen.entry.happened_at, seen.after.happened_at)
        yield Step("after", seen.after.happened_at, took, tuple(_after(seen, wording)))
    if seen.rollback is not None:
        took = seen.rollback_facts.seconds
        yield Step("rollback", seen.rollback.happened_at, took, tuple(_rollback(seen)))


_NAMES = {
    Kind.BACKUP: "backup",
    Kind.RESTORE_TEST: "restore test",
    Kind.REHEARSAL: "rehearsal",
}


def _took(proof: Proof, before: Entry | None) -> float | None:
    """From what its event says, or from the event right before it to its own."""
    facts, ended = proof.facts, proof.entry.happened_at
    if isinstance(facts, RestoreTestFacts):
        return facts.seconds
    if isinstance(facts, BackupFacts):
        return None if facts.taken_at is None else _between(facts.taken_at, ended)
    if before is None or before.id + 1 != proof.entry.id:
        return None  # something else came in between: another rehearsal, on the same copy
    return _between(before.happened_at, ended)


def _between(began: datetime, ended: datetime) -> float | None:
    """Seconds; none where two clocks disagree."""
    seconds = (ended - began).total_seconds()
    return seconds if seconds >= 0 else None


def _checks(seen: Deployment) -> Iterator[str]:
    """How many passed, and each that did not simply pass."""
    passed = f"{CheckVerdict.PASSED}: "
    others = {
        name: found for name, found in seen.facts.checks.items() if not found.startswith(passed)
    }
    checks = len(seen.facts.checks)
    yield f"{checks - len(others)} of {checks} checks passed."
    yield from (f"{name}, {found}" for name, found in others.items())
    yield from (
        f"{name} went on without it, because: {reason}"
        for name, reason in seen.facts.overrides.items()
    )


def _found(proof: Proof, wording: Wording) -> tuple[str, ...]:
    facts = proof.facts
    if isinstance(facts, BackupFacts):
        return (
            (
                f"{wording.number(facts.rows)} rows in {facts.tables} tables,"
                f" {wording.number(round(facts.bytes / 1e6, 1))} MB: {facts.folder}"
            ),
        )
    if isinstance(facts, RestoreTestFacts):
        stood_in = (f"Stood in for: {', '.join(facts.stood_in)}.",) if facts.stood_in else ()
        return (
            (
                f"{wording.number(facts.rows)} rows in {facts.tables} tables came back equal, and"
                f" so did the schema. After a loss it takes {wording.seconds(facts.seconds)}."
            ),
            *stood_in,
        )
    return (
        (
            f"On the copy ({facts.where}) it was deployed and {_verified(facts)} in"
            f" {wording.seconds(facts.up_seconds)}; the proof of its rollback stands below."
        ),
        *(f"NOT proven to be undone: {each}" for each in facts.not_undone),
        *(
            f"Read for the first time after it, so not compared: {why}"
            for why in facts.unread.only_before
        ),
        *(
            f"NOT looked at until a later migration makes it: {why}"
            for why in facts.unread.after.values()
        ),
    )


def _verified(facts: RehearsalFacts) -> str:
    return "verified" if facts.verified else "not verified"


def _applied(seen: Deployment) -> Iterator[str]:
    facts = seen.facts
    if facts.steps is not None:
        yield f"{facts.steps} steps, each by itself; then the proof, and the record of it."
    else:
        verification = "its verification" if facts.rehearsal.verified else "no verification"
        yield f"One transaction: the change, {verification}, the comparison, and this record."
    if seen.schema is not None:
        yield _schema(seen)
    if facts.written:
        yield f"It wrote rows of {', '.join(facts.written)}."
    elif facts.rows_before:
        yield "It wrote no row of the project's tables."
    for table, rows in facts.given_back.items():
        yield f"Given back from the archive: {rows:,} rows of {table}."
    for table, rows in facts.left_in_archive.items():
        yield f"Left in the archive, as newer values stand there: {rows:,} rows of {table}."


def _schema(seen: Deployment) -> str:
    if not seen.schema:
        return "The schema is the same as before."
    found = seen.schema
    parts = [
        f"{len(names)} {word}"
        for word, names in (
            ("new", found.appeared),
            ("changed", found.changed),
            ("gone", found.vanished),
        )
        if names
    ]
    return f"Objects of the schema: {', '.join(parts)}; exactly what the rehearsal had made of it."


def _after(seen: Deployment, wording: Wording) -> Iterator[str]:
    facts = seen.after_facts
    if facts.canary_seconds is not None:
        yield (
            "The verification ran on the live database as the API's roles, and left nothing"
            f" ({wording.seconds(facts.canary_seconds)})."
        )
    if facts.broken:
        yield f"{len(facts.broken)} violations that were not there just before:"
        yield from facts.broken
    else:
        yield "No rule of the books is broken that held before."


def _rollback(seen: Deployment) -> Iterator[str]:
    facts = seen.rollback_facts
    yield "One transaction: schema as recorded before the deploy, every row and figure compared."
    yield from (f"Into the archive: {kept}" for kept in facts.kept)
    if facts.drift:
        yield f"Left as somebody had changed it by hand: {', '.join(facts.drift)}."
    for why in facts.uncompared:
        yield f"Not compared, for it can't be read both with the change and without: {why}"
