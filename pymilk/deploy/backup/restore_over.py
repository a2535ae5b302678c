"""`restore --table … --over`: rows of a backup in place of the live ones, told beforehand.

Rows that are gone come back, rows that differ get the values of the backup. Rows that are only live
were made since: they stay, whatever happens. The tables' own triggers are off meanwhile (a restored
row is what it was, not something that a customer does now); keys and checks are on, and so are the
project's invariants. Columns that aren't the same in both are left out of it, and named.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from pymilk.database.connection import Connection, Target, connect, first_line
from pymilk.deploy.backup.beside_live import (
    UNTOUCHED,
    Difference,
    Pair,
    difference_of,
    in_order,
    lay_beside,
    parts_of,
)
from pymilk.deploy.backup.restore_tables import Wanted, tell_ledger
from pymilk.deploy.change.figures import new_violations, read_violations
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.policy import Policy
from pymilk.project.project import Project


@dataclass(frozen=True)
class Comparison:
    """The backup's rows at hand on a session of the live database, and how the live ones differ.

    Attributes:
        moment: Of when the backup is, in words: at a time, or in a file of others.
        differences: Table by table; those that others refer to come first.
    """

    moment: str
    differences: tuple[Difference, ...]
    _wanted: Wanted
    _session: Connection
    _pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class BroughtOver:
    """What was put back.

    Attributes:
        differences: What was told beforehand, and done.
        seconds: How long the tables were locked for others who write.
    """

    differences: tuple[Difference, ...]
    seconds: float


@contextmanager
def compared_with_live(wanted: Wanted, target: Target) -> Iterator[Comparison]:
    """Lay the backup's rows beside the live ones; reads only, but for temporary tables.

    Raises:
        UsageProblem: A table isn't there, or has no primary key to know its rows by.
    """
    with connect(target.url, purpose="restore") as session:
        pairs = in_order(
            session, tuple(lay_beside(wanted, table, session) for table in wanted.tables)
        )
        yield Comparison(
            wanted.backup.moment,
            tuple(difference_of(session, pair) for pair in pairs),
            wanted,
            session,
            pairs,
        )


def bring_over(comparison: Comparison, project: Project, policy: Policy) -> BroughtOver:
    """Put the rows back, all of them or none.

    Raises:
        TryAgainLater: A table was in use, or was changed since it was compared.
        Problem: A rule of the database or of the project would be broken; nothing was changed.
    """
    session, pairs = comparison._session, comparison._pairs  # noqa: SLF001 - made and used here
    try:
        with session.transaction():
            session.execute(
                sql.SQL("set local lock_timeout = {}").format(sql.Literal(policy.lock_timeout_ms))
            )
            session.execute(
                sql.SQL("lock table {} in share row exclusive mode").format(
                    sql.SQL(", ").join(pair.live.identifier for pair in pairs)
                )
            )
            started = time.monotonic()
            if tuple(difference_of(session, pair) for pair in pairs) != comparison.differences:
                raise TryAgainLater(
                    "The tables were changed since they were compared.",
                    state=UNTOUCHED,
                    todo="Run it again, and look at what it lists now.",
                )
            before = read_violations(session, project.invariants)
            for pair in pairs:
                _put_back(session, pair)
            broken = new_violations(before, read_violations(session, project.invariants))
            if broken:
                raise Problem(
                    f"With these rows an invariant is broken that holds now: {broken[0]}",
                    state=UNTOUCHED,
                    todo="Restore what belongs together in one go (several --table), or look at the"
                    " rows beside the live ones, without --over.",
                )
            facts = [vars(each) for each in comparison.differences]
            tell_ledger(session, comparison._wanted.backup, {"over": facts})  # noqa: SLF001
    except psycopg.errors.LockNotAvailable as error:
        raise TryAgainLater(
            "A table is in use.", state=UNTOUCHED, todo="Run it again in a quieter moment."
        ) from error
    except psycopg.errors.IntegrityError as error:
        raise _in_the_way(error) from error
    return BroughtOver(comparison.differences, time.monotonic() - started)


_BESIDE = "Without --over the backup's rows come in a schema beside, to be copied from by hand."
# What stands against rows that come back, and what to do about it.
_ADVICE: tuple[tuple[type[psycopg.Error], str], ...] = (
    (psycopg.errors.ForeignKeyViolation, "Restore what it refers to as well: one more --table."),
    (
        psycopg.errors.UniqueViolation,
        f"A live row has that value already: change that one, or the backup's. {_BESIDE}",
    ),
    (
        psycopg.errors.NotNullViolation,
        f"A column that the backup lacks wants a default. {_BESIDE}",
    ),
)


def _in_the_way(error: psycopg.errors.IntegrityError) -> Problem:
    """Which rule it is, and of which row: that stands in Postgres's detail."""
    said = " ".join(filter(None, (first_line(error), error.diag.message_detail)))
    advice = (words for kind, words in _ADVICE if isinstance(error, kind))
    otherwise = f"Rows of the backup break a rule that the live table has now. {_BESIDE}"
    return Problem(
        f"A constraint refuses these rows: {said}",
        state=UNTOUCHED,
        todo=next(advice, otherwise),
    )


def _put_back(session: Connection, pair: Pair) -> None:
    parts = parts_of(pair)
    triggers = session.execute(
        "select tgname, tgenabled from pg_trigger"
        " where tgrelid = to_regclass(%s) and not tgisinternal",
        (pair.live.identifier.as_string(session),),
    ).fetchall()
    if triggers:
        session.execute(sql.SQL("alter table {live} disable trigger user").format(**parts))
    names = sql.SQL(", ").join(map(sql.Identifier, pair.columns))
    session.execute(
        sql.SQL(
            "insert into {live} ({names}) overriding system value select {names} from {kept} as b"
            " where not exists (select from only {live} as l where {same})"
        ).format(names=names, **parts)
    )
    if pair.settable:
        session.execute(
            sql.SQL(
                "update only {live} as l set {assigned} from {kept} as b"
                " where {same} and {theirs} is distinct from {ours}"
            ).format(
                assigned=sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("b", name))
                    for name in pair.settable
                ),
                **parts,
            )
        )
    session.execute("set constraints all immediate")  # nothing may wait when triggers are put back
    for name, enabled in triggers:
        session.execute(
            sql.SQL("alter table {live} {how} trigger {name}").format(
                how=sql.SQL(_ENABLED[enabled]), name=sql.Identifier(name), **parts
            )
        )
    _count_on(session, pair)
    after = difference_of(session, pair)
    if after.gone or after.changed:
        raise Problem(
            f"{pair.live.qualified} isn't what it was in the backup: {after.shown[0]}",
            state=UNTOUCHED,
            todo="Look at the rows beside the live ones, without --over.",
        )


_ENABLED = {
    "O": "enable",
    "D": "disable",
    "R": "enable replica",
    "A": "enable always",
}


def _count_on(session: Connection, pair: Pair) -> None:
    """Let the table's own sequences go on behind the highest number that came back."""
    for column in pair.columns:
        row = session.execute(
            "select pg_get_serial_sequence(%s, %s)",
            (pair.live.identifier.as_string(session), column),
        ).fetchone()
        if row and row[0]:
            session.execute(
                sql.SQL(
                    "select setval({sequence}, max({column})) from only {live}"
                    " having max({column}) > coalesce(pg_sequence_last_value({sequence}), 0)"
                ).format(
                    sequence=sql.SQL("{}::regclass").format(sql.Literal(row[0])),
                    column=sql.Identifier(column),
                    live=pair.live.identifier,
                )
            )
