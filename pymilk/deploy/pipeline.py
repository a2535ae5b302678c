"""The pipeline, one visible list. Only `apply` changes the live database."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pymilk.database.connection import Connection, Target, connect
from pymilk.database.ledger import Kind, prepare_ledger, read_entries
from pymilk.database.manifest import read_backup
from pymilk.deploy import after, apply
from pymilk.deploy.approval import Approval, approval_of, refuse_moved, refuse_other_proof
from pymilk.deploy.backup import backup, restore_test
from pymilk.deploy.basis.evidence import BackupTaken, Evidence
from pymilk.deploy.basis.half import half_of
from pymilk.deploy.basis.lock import only_deploy
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.basis.trace import Trace
from pymilk.deploy.change.attempt import noted
from pymilk.deploy.change.cut_off import settle
from pymilk.deploy.proof import refuse_closed_window
from pymilk.deploy.rehearsal import rehearsal
from pymilk.deploy.rehearsal.bench import OpenBench, open_bench
from pymilk.deploy.survey import preflight
from pymilk.deploy.survey.status import Standing, standing_of
from pymilk.problem import Problem


class Progress(Protocol):
    """Whoever watches a pipeline run: a terminal, a log, nobody."""

    def started(self, step: str) -> None:
        """A step has begun."""

    def stopped(self, step: str) -> None:
        """A step has refused, failed, or was interrupted; what it says follows as an error."""

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """A step has ended, with all the evidence so far."""


@dataclass(frozen=True)
class _Followed:
    """The same watcher, while the trace of the run is kept."""

    watcher: Progress
    trace: Trace

    def started(self, step: str) -> None:
        """A step has begun."""
        self.trace.reach(step)
        self.watcher.started(step)

    def stopped(self, step: str) -> None:
        """A step has refused, failed, or was interrupted."""
        self.watcher.stopped(step)

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """A step has ended."""
        self.watcher.finished(step, seconds, evidence)


@dataclass(frozen=True)
class Step:
    """One step: it takes the plan and the evidence so far, and gives more evidence."""

    name: str
    run: Callable[[Plan, Bench, Evidence], Evidence]


BACKUP = Step("backup", backup.run)
RESTORE_TEST = Step("restore test", restore_test.run)
REHEARSAL = Step("rehearsal", rehearsal.run)
AFTER = Step("after", after.run)

# On a backup that somebody names there is no target, and no ledger to write to.
RESTORE_TEST_ALONE = Step("restore test", restore_test.run_alone)
REHEARSAL_ALONE = Step("rehearsal", rehearsal.run_alone)

PROOF = (BACKUP, RESTORE_TEST, REHEARSAL)


def deploy(
    plan: Plan,
    progress: Progress,
    approval: Approval | None = None,
    opening: OpenBench = open_bench,
) -> Evidence | None:
    """Prove, apply, look: everything that happens to deploy one migration.

    Args:
        plan: What, where to, under which rules.
        progress: Who watches.
        approval: What somebody approved; anything else is refused.
        opening: Opens the bench for its proof.

    Returns:
        The evidence; none when it is deployed already, perhaps by another deploy that this one
        had to wait for.

    Raises:
        Problem: A step refused; says in which state the database is.
    """
    with noted(plan, Kind.DEPLOY) as trace, ExitStack() as stack:
        progress = _Followed(progress, trace)
        guard = stack.enter_context(
            only_deploy(
                plan.target,
                f"deploy {plan.migration.argument}",
                plan.policy.wait_for_other_deploy_seconds,
            )
        )
        stands = standing_of(guard, plan.migration)
        if stands is Standing.APPLIED:
            return None
        if approval is not None:
            refuse_moved(approval, plan, guard, datetime.now(UTC))
        if stands is Standing.HALF:
            _settle(guard, plan)
        bench = stack.enter_context(opening(plan.copy, plan.target.url, _major(guard)))
        looking = Step(
            "preflight", lambda plan, bench, so_far: preflight.run(plan, guard, bench, so_far)
        )
        evidence = _run((looking,), plan, bench, Evidence(), progress)
        prepare_ledger(guard)
        evidence = _run(PROOF, plan, bench, evidence, progress)
        if approval is not None:
            refuse_other_proof(approval, evidence)
        evidence = replace(
            evidence, plan_hash=(approval or approval_of(plan, guard, evidence)).hash
        )
        applying = Step("apply", lambda plan, _bench, so_far: apply.run(plan, guard, so_far))
        return _run((applying, AFTER), plan, bench, evidence, progress)


def rehearse(plan: Plan, progress: Progress) -> Evidence:
    """The proof alone; the target's data are read and its ledger written, nothing else.

    Raises:
        Problem: A step refused.
    """
    return rehearse_all((plan,), progress)[0]


def rehearse_backup(plan: Plan, folder: Path, progress: Progress) -> Evidence:
    """The proof on a given backup; no database but the copy is connected to.

    Raises:
        Problem: A step refused.
    """
    backup = read_backup(folder)
    with open_bench(plan.copy, None, backup.server_major) as bench:
        here = replace(plan, target=Target(bench.owner_url, plan.target.preset))
        evidence = Evidence(backup=BackupTaken(backup, None))
        return _run((RESTORE_TEST_ALONE, REHEARSAL_ALONE), here, bench, evidence, progress)


def rehearse_all(plans: Sequence[Plan], progress: Progress) -> tuple[Evidence, ...]:
    """The proof of one migration after the other, all on one copy.

    Raises:
        Problem: A step refused; those before it are proven.
    """
    first = plans[0]
    # Without the deploy lock: a rollback at night must not wait for somebody's rehearsal.
    with noted(first, Kind.REHEARSAL) as trace, _bench_for(first) as bench:
        progress = _Followed(progress, trace)
        looking = Step(
            "preflight",
            lambda _plan, bench, so_far: preflight.run_for_rehearsal(plans, bench, so_far),
        )
        evidence = _run((looking,), first, bench, Evidence(), progress)
        with connect(first.target.url, purpose="ledger") as connection:
            prepare_ledger(connection)
        evidence = _run((BACKUP, RESTORE_TEST), first, bench, evidence, progress)
        return tuple(_run((REHEARSAL,), plan, bench, evidence, progress) for plan in plans)


def deploy_all(
    plans: Sequence[Plan],
    progress: Progress,
    around: Callable[[Plan], AbstractContextManager[None]],
    approval: Approval | None = None,
    opening: OpenBench = open_bench,
) -> Iterator[tuple[Plan, Evidence | None]]:
    """Deploy one after the other, each with everything proven; stops at the first that fails.

    Args:
        plans: The deploys, oldest first.
        progress: Who watches.
        around: Entered for each of them, for as long as it may change something.
        approval: What somebody approved, of one plan.
        opening: Opens the bench for the proof of each.

    Raises:
        Problem: A step refused; what it says to do ends with what stays pending.
    """
    for number, plan in enumerate(plans):
        try:
            with around(plan):
                evidence = deploy(plan, progress, approval, opening)
        except Problem as problem:
            if len(plans) > 1:
                stays = ", ".join(later.migration.label for later in plans[number:])
                problem.todo = f"{problem.todo} Still pending: {stays}."
            raise
        yield plan, evidence


@contextmanager
def _bench_for(plan: Plan) -> Iterator[Bench]:
    with connect(plan.target.url, purpose="preflight") as connection:
        major = _major(connection)
    with open_bench(plan.copy, plan.target.url, major) as bench:
        yield bench


def _major(connection: Connection) -> int:
    return connection.info.server_version // 10000


def _settle(guard: Connection, plan: Plan) -> None:
    """Find out what became of a step that a run before this one was cut off in.

    What is left of an index is dropped, so that the database can be backed up and compared: this
    one change comes before the proof, and not outside of the window either.
    """
    refuse_closed_window(plan, seconds_needed=0)
    half = half_of(read_entries(guard, plan.migration.version), plan.migration.version)
    if half is not None:
        settle(guard, plan, half)


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
