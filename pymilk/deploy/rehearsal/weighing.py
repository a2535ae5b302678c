"""Figures and invariants on the copy: what they look at, how long they take, and that they stay."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from pymilk.database.connection import Connection
from pymilk.deploy.basis.evidence import State, Unread, Violations
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.comparable import reads_what_is_not_there
from pymilk.deploy.change.figures import (
    differing_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.change.script import ScriptFailed
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
        not_there: Files that could not be read, for what they read isn't there, by their short
            paths → what Postgres said.
    """

    violations: Violations
    state: State
    tables: frozenset[str]
    seconds: float
    not_there: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Weighing:
    """Figures and invariants, which a migration must leave as they are.

    Attributes:
        tables: What they look at, before it or after it.
        before_seconds: How long they took before.
        after_seconds: How long they took after.
        unread: Files that read what isn't there.
    """

    tables: frozenset[str] = frozenset()
    before_seconds: float = 0.0
    after_seconds: float = 0.0
    unread: Unread = field(default_factory=Unread)


def weigh(connection: Connection, project: Project) -> Weighed:
    """Read all of them, outside of any transaction, but for those of which nothing is there yet.

    Raises:
        ScriptFailed: One can't be read for another reason.
    """
    not_there: dict[str, str] = {}
    while True:
        try:
            return replace(_weigh(connection, project, not_there), not_there=not_there)
        except ScriptFailed as problem:
            if problem.script is None or not reads_what_is_not_there(problem):
                raise
            not_there[problem.script.short_path] = problem.happened


def _weigh(connection: Connection, project: Project, left_out: Collection[str]) -> Weighed:
    # In a transaction that does nothing else: its locks are on what they look at.
    with connection.transaction():
        started = time.perf_counter()
        violations = read_violations(connection, project.invariants, left_out)
        state = read_state(connection, project.state, left_out)
        seconds = time.perf_counter() - started
        return Weighed(violations, state, in_use(connection), seconds)


def compare(connection: Connection, plan: Plan, before: Weighed) -> Weighing:
    """Read them once more when the migration has committed: nobody else is here.

    Raises:
        RehearsalFailed: An invariant is broken that held before, a figure has moved, or one of them
            reads what isn't there any more, or never will be: no later migration is pending.
        ScriptFailed: One can't be read for another reason.
    """
    after = weigh(connection, plan.project)
    for name, why in after.not_there.items():
        if name not in before.not_there:
            raise RehearsalFailed(
                f"The migration takes away what {name} reads: {why}",
                state=UNCHANGED,
                todo=f"Mend the migration, or {name}: delete it where its time is over.",
            )
        if not _comes_later(plan):
            raise RehearsalFailed(
                why,
                state=UNCHANGED,
                todo=f"Mend {name}: it can be read neither before the migration nor after it.",
            )
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
    tables = before.tables | after.tables
    unread = Unread(before.not_there, after.not_there)
    return Weighing(tables, before.seconds, after.seconds, unread)


def _comes_later(plan: Plan) -> bool:
    """Whether a migration is left that could make what isn't there yet."""
    return any(int(each.version) > int(plan.migration.version) for each in plan.project.migrations)
