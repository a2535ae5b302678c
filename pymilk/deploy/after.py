"""Step 6: the first look at the live database afterwards."""

from dataclasses import replace

import psycopg

from pymilk.database.connection import first_line
from pymilk.deploy.evidence import Evidence, Watched
from pymilk.deploy.plan import Bench, Plan
from pymilk.deploy.script import ScriptFailed
from pymilk.deploy.verify import verify_now
from pymilk.problem import Problem


def run(plan: Plan, _bench: Bench, evidence: Evidence) -> Evidence:
    """Run the canary once more, now on the committed change, and undo what it did.

    Raises:
        Problem: It failed, and should be rolled back; or it could not be run. Deployed it is.
    """
    seconds = None
    if plan.migration.verify is not None:
        try:
            seconds = verify_now(plan.target, plan.migration)
        except ScriptFailed as problem:
            raise Problem(
                f"{plan.migration.label} is deployed, but its verification fails now:"
                f" {problem.happened}",
                state=f"{plan.migration.version} is applied and committed.",
                todo=f"Roll it back: pymilk rollback {plan.migration.argument}",
            ) from problem
        except (Problem, psycopg.OperationalError) as problem:
            raise Problem(
                f"{plan.migration.label} is deployed, but could not be looked at afterwards:"
                f" {first_line(problem)}",
                state=f"{plan.migration.version} is applied and committed.",
                todo=f"Look now: pymilk verify {plan.migration.argument}",
            ) from problem
    return replace(evidence, after=Watched(seconds))
