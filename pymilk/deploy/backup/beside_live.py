"""A live table beside the backup's rows of it: what both have in common, and how they differ.

Columns that aren't the same in both are neither compared nor put back, and named.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_key
from pymilk.database.references import parents_first
from pymilk.database.table_copy import Column, carry, definition, read_columns
from pymilk.deploy.backup.restore_tables import Wanted
from pymilk.problem import UsageProblem

UNTOUCHED = "Nothing was changed in the live database."
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
        left_out: Columns of the backup that are neither compared nor put back, each with why.
        newer: Columns that the backup lacks: rows that come back have their defaults there.
    """

    table: str
    gone: int
    changed: int
    since: int
    shown: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A live table, the backup's rows of it in a temporary one, and what both have in common."""

    live: Table
    kept: sql.Identifier
    key: tuple[str, ...]
    columns: tuple[str, ...]
    settable: tuple[str, ...]
    left_out: tuple[str, ...]
    newer: tuple[str, ...]


def lay_beside(wanted: Wanted, table: Table, session: Connection) -> Pair:
    """Bring the backup's rows of a table into a temporary one on the live database's session.

    Raises:
        UsageProblem: The table isn't there, or has no primary key to know its rows by.
    """
    here = {column.name: column for column in read_columns(session, table)}
    if not here:
        raise UsageProblem(
            f"There is no table {table.qualified} to restore over.",
            state=UNTOUCHED,
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
            state=UNTOUCHED,
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
    return Pair(
        table,
        kept,
        key,
        columns,
        settable=tuple(name for name in columns if name not in fixed),
        left_out=tuple(_left_out(here, there)),
        newer=tuple(name for name in here if name not in {column.name for column in there}),
    )


def _left_out(here: dict[str, Column], there: tuple[Column, ...]) -> Iterator[str]:
    """The backup's columns whose values can't go into the live table, each with why."""
    for column in there:
        live = here.get(column.name)
        if live is None:
            yield f"{column.name} (not in the live table)"
        elif live.type != column.type:
            yield f"{column.name} ({live.type} there, {column.type} in the backup)"
        elif live.generated != column.generated:
            computed = "there" if live.generated else "in the backup"
            yield f"{column.name} (computed {computed}, and not in the other)"


def _always_identities(session: Connection, table: Table) -> frozenset[str]:
    rows = session.execute(
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attidentity = 'a'",
        (table.identifier.as_string(session),),
    )
    return frozenset(row[0] for row in rows)


def in_order(session: Connection, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """What others refer to comes first."""
    by_name = {pair.live.qualified: pair for pair in pairs}
    return tuple(by_name[name] for name in parents_first(session, tuple(by_name)))


def difference_of(session: Connection, pair: Pair) -> Difference:
    """How the two differ at this moment."""
    parts = parts_of(pair)
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
    return Difference(
        pair.live.qualified,
        gone,
        changed,
        since,
        shown=tuple(row[0] for row in shown),
        left_out=pair.left_out,
        newer=pair.newer,
    )


def parts_of(pair: Pair) -> dict[str, sql.Composable]:
    """The parts of statements on both: `b` is the backup's row, `l` the live one."""

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
