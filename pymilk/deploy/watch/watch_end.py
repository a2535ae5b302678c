"""What the end of a watch means to whoever started it."""

from pymilk.deploy.watch.breach import Breach, Then
from pymilk.deploy.watch.watch import Ended, Happening, Seen
from pymilk.problem import Problem, SomethingToDo

_MENDS_NOTHING = (
    "A rollback takes the change back, not what was written meanwhile: see 'pymilk check' for the"
    " rows, and mend them."
)


def verdict_of(last: Happening | None) -> Problem | None:
    """What is wrong when a watch has ended; none when all is well.

    Args:
        last: What happened last.
    """
    if isinstance(last, Ended):
        return _of_end(last)
    if not isinstance(last, Seen):
        return None
    if last.breach is not None:
        return _of_breach(last.breach)
    failed = last.taken.sample.failed
    if failed:
        return Problem(
            f"{len(failed)} invariant(s) can't be read:"
            + "".join(f"\n    {why}" for why in failed.values()),
            state="Nothing was changed: a watch only reads.",
            todo="Mend the query; what it should have seen is not watched until then.",
        )
    return None


def _of_end(ended: Ended) -> Problem | None:
    if not ended.rolled_back:
        return None
    return Problem(f"{ended.why}.", state="It is not applied any more.", todo=_MENDS_NOTHING)


def _of_breach(breach: Breach) -> Problem:
    broken = "".join(f"\n    {line}" for line in breach.lines)
    happened = f"Broken, and held before the deploy:{broken}"
    if breach.then is Then.ROLLED_BACK and breach.plan is not None:
        migration = breach.plan.migration
        return Problem(
            f"{happened}\n  {migration.label} was rolled back.",
            state=f"{migration.version} is not applied any more; every row is there as it was just"
            " before the rollback.",
            todo=_MENDS_NOTHING,
        )
    if breach.problem is None:
        why = (
            "another deploy was rolled back for it, and it stayed"
            if breach.then is Then.ANSWERED
            else "the policy leaves it to people (rollback_on_breach)"
        )
        return SomethingToDo(
            happened,
            state=f"Nothing was changed: {why}.",
            todo="See 'pymilk check'. Mend the rows, or take the deploy back: pymilk rollback.",
        )
    return SomethingToDo(
        f"{happened}\n  {breach.then}: {breach.problem.happened}",
        state=breach.problem.state,
        todo=breach.problem.todo,
    )
