"""Figures and invariants on the copy: what they look at, how long they take, and that they stay."""

import time
from dataclasses import dataclass

from pymilk.database.connection import Connection
from pymilk.deploy.basis.evidence import State, Violations
from pymilk.deploy.change.figures import (
    differing_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.change.strong_locks import in_use
from pymilk.deploy.rehearsal.failed import UNCHANGED, RehearsalFailed
from pymilk.project.project import Project


@dataclass(frozen=True)
class Weighed:
    """What the project's figures and invariants said.

    Attributes:
        violations: Of the invariants.
        state: The figures.
        tables: What they looked at, by way of functions and views as well.
        seconds: How long that took.
    """

    violations: Violations
    state: State
    tables: frozenset[str]
    seconds: float


@dataclass(frozen=True)
class Weighing:
    """Figures and invariants, which a migration must leave as they are.

    Attributes:
        tables: What they look at, before it or after it.
        before_seconds: How long they took before.
        after_seconds: How long they took after.
    """

    tables: frozenset[str] = frozenset()
    before_seconds: float = 0.0
    after_seconds: float = 0.0


def weigh(connection: Connection, project: Project) -> Weighed:
    """Read all of them, outside of any transaction."""
    # In a transaction that does nothing else: its locks are on what they look at.
    with connection.transaction():
        started = time.perf_counter()
        violations = read_violations(connection, project.invariants)
        state = read_state(connection, project.state)
        seconds = time.perf_counter() - started
        return Weighed(violations, state, in_use(connection), seconds)


def compare(connection: Connection, project: Project, before: Weighed) -> Weighing:
    """Read them once more when the migration has committed: nobody else is here.

    Raises:
        RehearsalFailed: An invariant is broken that held before, or a figure has moved.
    """
    after = weigh(connection, project)
    broken = new_violations(before.violations, after.violations)
    if broken:
        raise RehearsalFailed(
            f"The migration breaks {len(broken)} invariant(s) that held before:"
            f" {'; '.join(broken[:5])}",
            state=UNCHANGED,
            todo="Mend the migration; sql/invariants says what each one means.",
        )
    moved = differing_figures(before.state, after.state)
    if moved:
        raise RehearsalFailed(
            f"The migration changes {len(moved)} figure(s): {'; '.join(moved[:5])}",
            state=UNCHANGED,
            todo="No deploy may change what anybody owes; mend the migration.",
        )
    return Weighing(before.tables | after.tables, before.seconds, after.seconds)
