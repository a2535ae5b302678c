"""The pipeline, one visible list. Only `apply` changes the live database."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Protocol

from pymilk.database.connection import Connection, connect
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.ledger import prepare_ledger
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.deploy import after, apply, backup, preflight, rehearsal, restore_test
from pymilk.deploy.evidence import Evidence
from pymilk.deploy.lock import only_deploy
from pymilk.deploy.plan import Bench, Plan
from pymilk.deploy.status import Standing, status_of


class Progress(Protocol):
    """Whoever watches a pipeline run: a terminal, a log, nobody."""

    def started(self, step: str) -> None:
        """A step has begun."""

    def stopped(self, step: str) -> None:
        """A step has refused, failed, or was interrupted; what it says follows as an error."""

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """A step has ended, with all the evidence so far."""


@dataclass(frozen=True)
class Step:
    """One step: it takes the plan and the evidence so far, and gives more evidence."""

    name: str
    run: Callable[[Plan, Bench, Evidence], Evidence]


PREFLIGHT = Step("preflight", preflight.run)
PREFLIGHT_OF_A_REHEARSAL = Step("preflight", preflight.run_for_rehearsal)
BACKUP = Step("backup", backup.run)
RESTORE_TEST = Step("restore test", restore_test.run)
REHEARSAL = Step("rehearsal", rehearsal.run)
AFTER = Step("after", after.run)

PROOF = (BACKUP, RESTORE_TEST, REHEARSAL)


def deploy(plan: Plan, progress: Progress) -> Evidence | None:
    """Prove, apply, look: everything that happens to deploy one migration.

    Returns:
        The evidence; none when it is deployed already, perhaps by another deploy that this one
        had to wait for.

    Raises:
        Problem: A step refused; says in which state the database is.
    """
    with ExitStack() as stack:
        guard = stack.enter_context(
            only_deploy(
                plan.target,
                f"deploy {plan.migration.argument}",
                plan.policy.wait_for_other_deploy_seconds,
            )
        )
        if _is_deployed(guard, plan):
            return None
        bench = Bench(stack.enter_context(_copy_server()))
        evidence = _run((PREFLIGHT,), plan, bench, Evidence(), progress)
        prepare_ledger(guard)
        evidence = _run(PROOF, plan, bench, evidence, progress)
        applying = Step("apply", lambda plan, _bench, so_far: apply.run(plan, guard, so_far))
        return _run((applying, AFTER), plan, bench, evidence, progress)


def rehearse(plan: Plan, progress: Progress) -> Evidence:
    """The proof alone; the target's data are read and its ledger written, nothing else.

    Raises:
        Problem: A step refused.
    """
    # Without the deploy lock: a rollback at night must not wait for somebody's rehearsal.
    with _copy_server() as server:
        bench = Bench(server)
        evidence = _run((PREFLIGHT_OF_A_REHEARSAL,), plan, bench, Evidence(), progress)
        with connect(plan.target.url, purpose="ledger") as connection:
            prepare_ledger(connection)
        return _run(PROOF, plan, bench, evidence, progress)


def _copy_server() -> AbstractContextManager[EmbeddedServer]:
    """Where the copy is made: without privileges of its own, for a dump names those there are."""
    return scratch(privileges=DefaultPrivileges.CLOSED)


def _is_deployed(connection: Connection, plan: Plan) -> bool:
    row = status_of(connection, plan.project).find(plan.migration.version)
    return row.standing is Standing.APPLIED


def _run(
    steps: tuple[Step, ...], plan: Plan, bench: Bench, evidence: Evidence, progress: Progress
) -> Evidence:
    for step in steps:
        progress.started(step.name)
        started = time.monotonic()
        try:
            evidence = step.run(plan, bench, evidence)
        except BaseException:
            progress.stopped(step.name)
            raise
        progress.finished(step.name, time.monotonic() - started, evidence)
    return evidence
