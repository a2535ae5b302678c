"""Look before touching: every reason not to deploy now, found while nothing has been changed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import Connection, connect
from pymilk.database.history import Applied, read_history
from pymilk.database.ledger import read_entries
from pymilk.database.recorded_catalog import read_catalog_beside
from pymilk.deploy.basis.evidence import Check, Evidence, Preflight, Verdict
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.health.daily import time_daily
from pymilk.deploy.survey.checks import (
    CHECKS,
    CHECKS_BEFORE_A_CHANGE,
    CHECKS_OF_ITS_FILES,
    Checks,
    Look,
)
from pymilk.deploy.survey.last_schema import last_schema
from pymilk.problem import Problem, TryAgainLater, UsageProblem

# What no reason can talk away: without these nothing that follows would prove anything.
_NEVER_OVERRIDDEN = frozenset({"server", "session", "writable", "history", "files"})
# What passes by itself: worth another try later rather than a change.
_PASSING = frozenset({"others", "transactions", "window", "soak"})


class ChecksFailed(Problem):
    """Checks that failed; nothing was touched."""


class ChecksNotNow(TryAgainLater):
    """Checks that failed for now only; nothing was touched."""


def run(plan: Plan, guard: Connection, bench: Bench, evidence: Evidence) -> Evidence:
    """Run every check; all failures are told at once.

    On the connection that holds the deploy lock: it knows the schema then, when it reads it again.

    Raises:
        ChecksFailed: A check failed and was not overridden.
        ChecksNotNow: The same, but only such as pass by themselves.
    """
    started = time.monotonic()
    found = _look(guard, plan, bench.major, (*CHECKS, *CHECKS_BEFORE_A_CHANGE))
    refuse_failed(found.checks)
    daily = time_daily(guard, plan.project.daily).seconds
    found = replace(found, daily=daily, ended=datetime.now(UTC), seconds=time.monotonic() - started)
    return replace(evidence, preflight=found)


def run_for_rehearsal(plans: Sequence[Plan], bench: Bench, evidence: Evidence) -> Evidence:
    """The same without the checks on when a change may be made: a rehearsal makes none.

    Args:
        plans: What is rehearsed, oldest first; each is looked at before the first is begun.
        bench: Where.
        evidence: What is known so far.

    Raises:
        ChecksFailed: A check failed and was not overridden.
        ChecksNotNow: The same, but only such as pass by themselves.
    """
    first, *later = plans
    with connect(first.target.url, purpose="preflight") as connection:
        found = _look(connection, first, bench.major, CHECKS, later)
    refuse_failed(found.checks)
    return replace(evidence, preflight=found)


def survey(plan: Plan, copy_major: int | None = None) -> Preflight:
    """Every check with its verdict, whatever it is; for somebody who only wants to know.

    Args:
        plan: What would be deployed.
        copy_major: The version that it would be rehearsed on; the target's own when not given.
    """
    with connect(plan.target.url, purpose="preflight") as connection:
        return _look(connection, plan, copy_major, (*CHECKS, *CHECKS_BEFORE_A_CHANGE))


def _look(
    connection: Connection,
    plan: Plan,
    copy_major: int | None,
    checks: Checks,
    later: Sequence[Plan] = (),
) -> Preflight:
    entries = read_entries(connection)
    recorded = last_schema(connection, entries)
    look = Look(
        connection,
        plan,
        read_catalog_beside(connection, recorded.schema) if recorded else read_catalog(connection),
        recorded,
        read_history(connection),
        entries,
        datetime.now(UTC),
        copy_major or connection.info.server_version // 10000,
    )
    found = list(_checked(look, checks))
    for one in later:
        before = Applied(look.migration.version, look.migration.name, ())
        look = replace(look, plan=one, history=(*look.history, before))
        found += _checked(look, CHECKS_OF_ITS_FILES)
    return Preflight(tuple(found), look.catalog)


def _checked(look: Look, checks: Checks) -> Iterator[Check]:
    for name, check in checks:
        yield _overridden(named(name, check(look)), look.plan.overrides)


def refuse_failed(checks: tuple[Check, ...]) -> None:
    """Raise when a check failed, with everything that failed and what to do about each."""
    failed = [check for check in checks if check.verdict is Verdict.FAILED]
    if not failed:
        return
    problem = ChecksNotNow if all(c.name in _PASSING for c in failed) else ChecksFailed
    raise problem(
        "Not now: " + " ".join(f"[{check.name}] {check.found}" for check in failed),
        state="Nothing was changed: the checks only read.",
        todo=" ".join(
            f"[{check.name}] {check.todo}"
            + (
                ""
                if check.name in _NEVER_OVERRIDDEN
                else f" Or go on with --override {check.name}='your reason'."
            )
            for check in failed
        ),
    )


def refuse_unknown_overrides(overrides: Mapping[str, str]) -> None:
    """Refuse an override of something that isn't a check, or that has no reason.

    Raises:
        UsageProblem: There is such a one.
    """
    names = {"budget", *(name for name, _ in (*CHECKS, *CHECKS_BEFORE_A_CHANGE))}
    known = sorted(names - _NEVER_OVERRIDDEN)
    for name, reason in overrides.items():
        if name not in known:
            raise UsageProblem(
                f"'{name}' can't be overridden.",
                state="No database was touched.",
                todo=f"What can: {', '.join(known)}.",
            )
        if not reason.strip():
            raise UsageProblem(
                f"The override of '{name}' has no reason.",
                state="No database was touched.",
                todo=f"Say why: --override {name}='…'. It is written into the ledger.",
            )


def _overridden(check: Check, overrides: Mapping[str, str]) -> Check:
    reason = overrides.get(check.name)
    if check.verdict is Verdict.FAILED and reason and check.name not in _NEVER_OVERRIDDEN:
        return replace(check, verdict=Verdict.OVERRIDDEN, reason=reason)
    return check


def named(name: str, found: Check | str) -> Check:
    """A check gives a sentence when it passed."""
    if isinstance(found, str):
        return Check(name, Verdict.PASSED, found)
    return replace(found, name=name)
