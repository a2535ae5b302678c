"""The one step that changes a database, with the proof at hand: quicker than the whole pipeline."""

from pymilk.deploy import apply
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.lock import only_deploy
from pymilk.deploy.basis.plan import Plan


def change(plan: Plan, proof: Evidence) -> Evidence:
    """Apply, with the proof at hand."""
    with only_deploy(plan.target, f"deploy {plan.migration.argument}", 10) as guard:
        return apply.run(plan, guard, proof)
