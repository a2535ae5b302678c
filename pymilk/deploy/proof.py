"""What a change relies on at the moment when it is made: fresh proof, and what it is about."""

from datetime import UTC, datetime

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.history import read_versions
from pymilk.deploy.basis.evidence import Check, Evidence, Preflight, Rehearsed, Violations
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.basis.sample import key_of
from pymilk.deploy.change.kept import backup_facts, rehearsal_facts
from pymilk.deploy.survey.allowed import budget_check, window_check
from pymilk.deploy.survey.preflight import refuse_failed
from pymilk.problem import Refused, TryAgainLater
from pymilk.project.policy import hours_since

# What comes on top of the rehearsed time: the reads of the proof and the commit.
_ALLOWANCE_SECONDS = 30.0


def refuse_stale_proof(plan: Plan, evidence: Evidence) -> Rehearsed:
    """Refuse to change anything outside of the window, over the budget, or on old proof.

    Returns:
        The rehearsal to go by.

    Raises:
        Problem: The change keeps others out for longer than the policy allows.
        TryAgainLater: The window is closing, or the proof is too old.
    """
    rehearsed, backup = evidence.rehearsal, evidence.backup
    if rehearsed is None or evidence.preflight is None or backup is None:
        raise AssertionError("nothing is applied before it was backed up and rehearsed")
    refuse_closed_window(plan, rehearsed.up_seconds + _ALLOWANCE_SECONDS)
    _refuse_over_budget(plan, rehearsed)
    _refuse_old_proof(plan, backup.backup.taken_at)
    return rehearsed


def refuse_closed_window(plan: Plan, seconds_needed: float) -> None:
    """Refuse where deploying isn't allowed now, or not for so many seconds more.

    Raises:
        Problem: It isn't, and that was not overridden.
    """
    found = window_check(plan.policy, datetime.now(UTC), seconds_needed=seconds_needed)
    if isinstance(found, Check) and "window" not in plan.overrides:
        refuse_failed((found,))


def refuse_moved_history(connection: Connection, plan: Plan) -> None:
    """Refuse unless exactly what comes before this migration is applied.

    Raises:
        TryAgainLater: Somebody else has deployed or rolled back.
    """
    applied = set(read_versions(connection))
    expected = {
        migration.version
        for migration in plan.project.migrations
        if int(migration.version) < int(plan.migration.version)
    }
    if applied != expected:
        moved = ", ".join(sorted(applied ^ expected))
        raise TryAgainLater(
            f"Somebody else applied or removed a migration meanwhile: {moved}.",
            state="Nothing was changed: the transaction was rolled back.",
            todo="Look with 'pymilk status', then run it again.",
        )


def refuse_moved_schema(rehearsed: Catalog, live: Catalog) -> None:
    """Refuse a schema that isn't the one it was rehearsed on.

    Raises:
        Refused: It has changed since.
    """
    difference = rehearsed.difference(live)
    if difference:
        raise Refused(
            "The schema has changed since the backup: " + "; ".join(difference.sentences()),
            todo="Run it again: it then rehearses on the schema as it is now.",
        )


def proof_facts(plan: Plan, evidence: Evidence, rehearsed: Rehearsed) -> dict[str, object]:
    """What the ledger keeps beside the outcome: who approved what, on what proof."""
    preflight = evidence.preflight or Preflight((), Catalog({}))
    return {
        "overrides": dict(plan.overrides),
        "checks": {check.name: f"{check.verdict}: {check.found}" for check in preflight.checks},
        "preflight": {"ended": preflight.ended, "seconds": round(preflight.seconds, 3)},
        "daily_before": preflight.daily,
        "backup": backup_facts(evidence.backup.backup) if evidence.backup else {},
        "rehearsal": rehearsal_facts(rehearsed),
        # The text that was rehearsed with this deploy is the one that undoes it.
        "rollback_script": plan.migration.down.text if plan.migration.down else None,
        "uncommitted": plan.revision.uncommitted,
    }


def violation_facts(violations: Violations) -> dict[str, object]:
    """What the ledger keeps of what was broken already: whatever a watch finds beside it is new."""
    return {
        "standing": {name: len(rows) for name, rows in violations.items() if rows},
        "violating": {
            name: sorted({key_of(row) for row in rows}) for name, rows in violations.items()
        },
    }


def _refuse_over_budget(plan: Plan, rehearsed: Rehearsed) -> None:
    found = budget_check(plan.policy, rehearsed)
    if isinstance(found, Check) and "budget" not in plan.overrides:
        refuse_failed((found,))


def _refuse_old_proof(plan: Plan, taken_at: datetime) -> None:
    """A laptop may have slept since; what was proven then says less and less about now."""
    age = hours_since(taken_at, datetime.now(UTC))
    if age > plan.policy.proof_max_age_hours:
        raise TryAgainLater(
            f"The backup and its rehearsal are {age:.1f} hours old by now; the policy allows"
            f" {plan.policy.proof_max_age_hours:g}.",
            state="Nothing was changed.",
            todo="Run it again: it takes a new backup and rehearses on it.",
        )
