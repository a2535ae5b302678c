"""`restore --table … --over`: rows of a backup in place of the live ones, told beforehand.

Rows that are gone come back, rows that differ get the values of the backup. Rows that are only live
were made since: they stay, whatever happens. The tables' own triggers are off meanwhile (a restored
row is what it was, not something that a customer does now); keys and checks are on, and so are the
project's invariants.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import psycopg
from psycopg import sql

from pymilk.database.connection import Connection, Target, connect, first_line
from pymilk.database.contents import Table, read_key
from pymilk.database.table_copy import carry, definition, read_columns
from pymilk.deploy.backup.restore_tables import Wanted, tell_ledger
from pymilk.deploy.change.figures import new_violations, read_violations
from pymilk.problem import Problem, TryAgainLater, UsageProblem
from pymilk.project.policy import Policy
from pymilk.project.project import Project

_UNTOUCHED = "Nothing was changed in the live database."
_SHOWN = 10


@dataclass(frozen=True)
class Difference:
    """One live table beside its backup.

    Attributes:
        table: Its name.
        gone: Rows that are only in the backup: they come back.
        changed: Rows that differ: they get the values of the backup.
        since: Rows that are only live: they stay.
        shown: Some of the changes, one line each.
    """

    table: str
    gone: int
    changed: int
    since: int
    shown: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """A live table, the backup's rows of it in a temporary one, and what both have in common."""

    live: Table
    kept: sql.Identifier
    key: tuple[str, ...]
    columns: tuple[str, ...]
    settable: tuple[str, ...]


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
    _pairs: tuple[_Pair, ...]


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
        pairs = _in_order(session, tuple(_pair(wanted, table, session) for table in wanted.tables))
        yield Comparison(
            wanted.backup.moment,
            tuple(_difference(session, pair) for pair in pairs),
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
            if tuple(_difference(session, pair) for pair in pairs) != comparison.differences:
                raise TryAgainLater(
                    "The tables were changed since they were compared.",
                    state=_UNTOUCHED,
                    todo="Run it again, and look at what it lists now.",
                )
            before = read_violations(session, project.invariants)
            for pair in pairs:
                _put_back(session, pair)
            broken = new_violations(before, read_violations(session, project.invariants))
            if broken:
                raise Problem(
                    f"With these rows an invariant is broken that holds now: {broken[0]}",
                    state=_UNTOUCHED,
                    todo="Restore what belongs together in one go (several --table), or look at the"
                    " rows beside the live ones, without --over.",
                )
            facts = [vars(each) for each in comparison.differences]
            tell_ledger(session, comparison._wanted.backup, {"over": facts})  # noqa: SLF001
    except psycopg.errors.LockNotAvailable as error:
        raise TryAgainLater(
            "A table is in use.", state=_UNTOUCHED, todo="Run it again in a quieter moment."
        ) from error
    except psycopg.errors.IntegrityError as error:
        raise Problem(
            f"A rule of the database is in the way: {first_line(error)}",
            state=_UNTOUCHED,
            todo="Restore what it refers to as well: one more --table.",
        ) from error
    return BroughtOver(comparison.differences, time.monotonic() - started)


def _pair(wanted: Wanted, table: Table, session: Connection) -> _Pair:
    here = {column.name: column for column in read_columns(session, table)}
    if not here:
        raise UsageProblem(
            f"There is no table {table.qualified} to restore over.",
            state=_UNTOUCHED,
            todo="Without --over it comes back in a schema beside.",
        )
    key = read_key(session, table)
    there = read_columns(wanted.bench, table)
    both = tuple(
        column for column in there if here.get(column.name) == column and not column.generated
    )
    if not key or not set(key) <= {column.name for column in both}:
        raise UsageProblem(
            f"{table.qualified} has no primary key that the backup has too: nothing tells which row"
            " is which.",
            state=_UNTOUCHED,
            todo="Without --over it comes back in a schema beside; copy by hand what is missing.",
        )
    kept = sql.Identifier("pg_temp", f"kept {table.qualified}"[:63])
    session.execute(
        sql.SQL("create temporary table {} ({})").format(
            sql.Identifier(f"kept {table.qualified}"[:63]), definition(both)
        )
    )
    carry(wanted.bench, table, both, session, kept)
    session.execute(sql.SQL("analyze {}").format(kept))
    columns = tuple(column.name for column in both)
    fixed = {*key, *_always_identities(session, table)}
    return _Pair(table, kept, key, columns, tuple(name for name in columns if name not in fixed))


def _always_identities(session: Connection, table: Table) -> frozenset[str]:
    rows = session.execute(
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attidentity = 'a'",
        (table.identifier.as_string(session),),
    )
    return frozenset(row[0] for row in rows)


def _in_order(session: Connection, pairs: tuple[_Pair, ...]) -> tuple[_Pair, ...]:
    """What others refer to comes first."""
    by_name = {pair.live.qualified: pair for pair in pairs}
    rows = session.execute(
        "select n.nspname || '.' || c.relname, m.nspname || '.' || d.relname"
        " from pg_constraint as k"
        " inner join pg_class as c on k.conrelid = c.oid"
        " inner join pg_namespace as n on c.relnamespace = n.oid"
        " inner join pg_class as d on k.confrelid = d.oid"
        " inner join pg_namespace as m on d.relnamespace = m.oid"
        " where k.contype = 'f' and k.conrelid <> k.confrelid"
    ).fetchall()
    sorter: TopologicalSorter[str] = TopologicalSorter({name: set[str]() for name in by_name})
    for child, parent in rows:
        if child in by_name and parent in by_name:
            sorter.add(child, parent)
    try:
        return tuple(by_name[name] for name in sorter.static_order())
    except CycleError:
        return pairs


def _difference(session: Connection, pair: _Pair) -> Difference:
    parts = _parts(pair)
    counts = session.execute(
        sql.SQL(
            "select (select count(*) from {kept} as b where not exists"
            " (select from only {live} as l where {same})),"
            " (select count(*) from {kept} as b inner join only {live} as l on {same}"
            " where {theirs} is distinct from {ours}),"
            " (select count(*) from only {live} as l where not exists"
            " (select from {kept} as b where {same}))"
        ).format(**parts)
    ).fetchone()
    gone, changed, since = counts or (0, 0, 0)
    shown = session.execute(
        sql.SQL(
            "select '+ ' || {theirs} from {kept} as b where not exists"
            " (select from only {live} as l where {same})"
            " union all"
            " select '~ ' || row({key})::text || {changes} from {kept} as b"
            " inner join only {live} as l on {same} where {theirs} is distinct from {ours}"
            " limit {limit}"
        ).format(limit=sql.Literal(_SHOWN), **parts)
    ).fetchall()
    return Difference(pair.live.qualified, gone, changed, since, tuple(row[0] for row in shown))


def _put_back(session: Connection, pair: _Pair) -> None:
    parts = _parts(pair)
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
    after = _difference(session, pair)
    if after.gone or after.changed:
        raise Problem(
            f"{pair.live.qualified} isn't what it was in the backup: {after.shown[0]}",
            state=_UNTOUCHED,
            todo="Look at the rows beside the live ones, without --over.",
        )


_ENABLED = {
    "O": "enable",
    "D": "disable",
    "R": "enable replica",
    "A": "enable always",
}


def _count_on(session: Connection, pair: _Pair) -> None:
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


def _parts(pair: _Pair) -> dict[str, sql.Composable]:
    def row(alias: str) -> sql.Composable:
        names = sql.SQL(", ").join(sql.Identifier(alias, name) for name in pair.columns)
        return sql.SQL("row({})::text").format(names)

    return {
        "key": sql.SQL(", ").join(sql.Identifier("b", name) for name in pair.key),
        "changes": sql.SQL("concat({})").format(
            sql.SQL(", ").join(
                sql.SQL(
                    "case when {b}::text is distinct from {l}::text"
                    " then format('  %s: %s → %s', {name}, coalesce({l}::text, 'null'),"
                    " coalesce({b}::text, 'null')) end"
                ).format(
                    b=sql.Identifier("b", name),
                    l=sql.Identifier("l", name),
                    name=sql.Literal(name),
                )
                for name in pair.settable or pair.key
            )
        ),
        "live": pair.live.identifier,
        "kept": pair.kept,
        "same": sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier("b", name), sql.Identifier("l", name))
            for name in pair.key
        ),
        "theirs": row("b"),
        "ours": row("l"),
    }
