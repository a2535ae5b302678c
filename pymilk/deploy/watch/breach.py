"""What a watch does when something breaks that held before the deploy.

It says so, to whoever is to be told; and where the policy has it do so, it takes the deploy back.
What was written meanwhile stays: a rollback loses no row, and mends none.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pymilk.database.connection import Connection, Target
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.basis.sample import Row, Sample, key_of
from pymilk.deploy.change.attempt import noted
from pymilk.deploy.change.recorded import RowsWouldBeLost
from pymilk.deploy.change.rollback import RolledBack, roll_back
from pymilk.deploy.health.before import Before
from pymilk.deploy.health.samples import Taken
from pymilk.problem import Problem, TryAgainLater

# Whoever is told has to be told before the next sample; one that hangs must not stop the watch.
_COMMAND_SECONDS = 30.0


class Then(StrEnum):
    """What was done about a breach."""

    LEFT = "left to people"
    ANSWERED = "not rolled back: rolling back another deploy did not mend it"
    ROLLED_BACK = "rolled back"
    ROWS_WOULD_BE_LOST = "not rolled back: rows would be lost"
    REFUSED = "not rolled back"
    LATER = "to be rolled back at the next sample"

    @property
    def ends_the_watch(self) -> bool:
        """Whether there is nothing to watch any more, or a person is to decide first."""
        return self in {Then.ROLLED_BACK, Then.ROWS_WOULD_BE_LOST, Then.REFUSED}


@dataclass(frozen=True)
class Breach:
    """A breach, and what was done about it.

    Attributes:
        lines: What broke, a line each.
        then: What was done.
        problem: Why it was not rolled back, in which state the database is, and what to do.
        rolled_back: The rollback, if there was one.
        plan: What was, or was to be, rolled back.
        command: What the command to be told by ended with; none where none was run.
    """

    lines: tuple[str, ...]
    then: Then
    problem: Problem | None = None
    rolled_back: RolledBack | None = None
    plan: Plan | None = None
    command: int | None = None


@dataclass(frozen=True)
class Answer:
    """How breaches are answered.

    Attributes:
        target: The database.
        plan: Gives the plan of the watched deploy's rollback; none where the policy leaves it to
            people. Raises a `Problem` where there can be none.
        command: Is run on each new breach, by the shell.
    """

    target: Target
    plan: Callable[[], Plan] | None = None
    command: str | None = None


def is_told(taken: Taken, before: Before, previous: Sample | None, *, by_command: bool) -> bool:
    """Whether all that is broken was broken at the sample before too, and somebody was told.

    What was mended and breaks again is told again; so is what the command could not tell, and
    what was written down when there was no command to tell it.

    Args:
        taken: The sample.
        before: What was watched.
        previous: The sample before it.
        by_command: Whether there is a command to be told by.
    """
    told = {
        key
        for entry in before.breaches
        if entry.evidence.get("command") in ({0} if by_command else {None, 0})
        for key in _keys_of(entry.evidence.get("broken", {}))
    }
    known = _keys(previous) if previous else frozenset()
    return _keys(taken.sample) <= told & known


def answer_breach(
    connection: Connection, answer: Answer, taken: Taken, before: Before, *, told: bool
) -> Breach:
    """Roll back or leave it, tell whoever is to be told, and write down what was done.

    Args:
        connection: The watch's own, for the ledger.
        answer: How.
        taken: The sample that found it.
        before: What was watched.
        told: Whether it was told before; then nobody is told again.
    """
    lines = tuple(
        f"{found.invariant}: {found.new} new row(s): "
        + "; ".join(", ".join(row) for row in found.new_examples[:3])
        for found in taken.sample.breach
    )
    if answer.plan is not None and _stayed(connection, taken, before):
        breach = Breach(lines, Then.ANSWERED)
    else:
        breach = _roll_back(answer, lines, told=told)
    if told and not breach.then.ends_the_watch:
        return breach
    if answer.command is not None and not told:
        breach = replace(breach, command=_tell(answer, breach, before))
    _record(connection, taken, before, breach)
    return breach


def _roll_back(answer: Answer, lines: tuple[str, ...], *, told: bool) -> Breach:
    if answer.plan is None:
        return Breach(lines, Then.LEFT)
    plan: Plan | None = None
    try:
        plan = replace(answer.plan(), because=lines)
        # What is tried again at each sample is written down once.
        with noted(plan, Kind.ROLLBACK, known=TryAgainLater if told else ()):
            return Breach(lines, Then.ROLLED_BACK, None, roll_back(plan, archive=False), plan)
    except RowsWouldBeLost as problem:
        return Breach(lines, Then.ROWS_WOULD_BE_LOST, problem, None, plan)
    except TryAgainLater as problem:
        return Breach(lines, Then.LATER, problem, None, plan)
    except Problem as problem:
        return Breach(lines, Then.REFUSED, problem, None, plan)


# Invariants that a later deploy was rolled back for, and that no sample has seen whole since.
_STAYED = """
select a.invariant
from
    (
        select b.invariant, max(e.happened_at) as answered_at
        from pymilk.events as e
        cross join lateral jsonb_object_keys(e.evidence -> 'broken') as b (invariant)
        where e.kind = 'breach' and e.evidence ->> 'then' = %(rolled_back)s
            and (e.evidence ->> 'deploy')::bigint > %(deploy)s
        group by b.invariant
    ) as a
where
    not exists (
        select from pymilk.samples as s
        where s.deploy = %(deploy)s and s.taken_at > a.answered_at
            and s.facts -> 'invariants' ? a.invariant
            and not jsonb_path_exists(
                s.facts,
                '$.broken[*] ? (@.invariant == $invariant && @.new > 0)',
                jsonb_build_object('invariant', a.invariant)
            )
    )
"""


def _stayed(connection: Connection, taken: Taken, before: Before) -> bool:
    """Whether all that is broken was answered by the rollback of a later deploy, in vain.

    What was written stays written: rolling back one deploy after the other would mend nothing.
    """
    values = {"deploy": before.number, "rolled_back": Then.ROLLED_BACK}
    stayed = {name for (name,) in connection.execute(_STAYED, values)}
    return {found.invariant for found in taken.sample.breach} <= stayed


def _tell(answer: Answer, breach: Breach, before: Before) -> int:
    """Run the command; gives what it ended with, -1 where it did not end."""
    said = "\n".join(breach.lines)
    words = {
        "PYMILK_BREACH": said,
        "PYMILK_THEN": str(breach.then),
        "PYMILK_DATABASE": answer.target.label,
        "PYMILK_DEPLOY": before.label,
    }
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", answer.command or ""],
            env={**os.environ, **words},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as running:
            try:
                running.communicate(f"{before.label}: {breach.then}\n{said}\n", _COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                # All that it has started, too: it is run again at the next sample.
                os.killpg(running.pid, signal.SIGKILL)
                return -1
            return running.returncode
    except OSError:
        return -1


def _record(connection: Connection, taken: Taken, before: Before, breach: Breach) -> None:
    facts = {
        "deploy": before.number,
        "sample": taken.id,
        "broken": {
            found.invariant: [key_of(row) for row in found.new_examples]
            for found in taken.sample.breach
        },
        "said": breach.lines,
        "then": breach.then,
        "why": breach.problem.happened if breach.problem else None,
        "command": breach.command,
    }
    deploy = before.deploy
    event = Event(
        Kind.BREACH,
        facts,
        version=deploy.version if deploy else None,
        name=deploy.name if deploy else None,
        run=taken.watch,
    )
    record(connection, event)


def _keys(sample: Sample) -> frozenset[tuple[str, Row]]:
    return frozenset(
        (found.invariant, key_of(row)) for found in sample.breach for row in found.new_examples
    )


def _keys_of(broken: Mapping[str, list[list[str]]]) -> frozenset[tuple[str, Row]]:
    return frozenset((name, tuple(row)) for name, rows in broken.items() for row in rows)
