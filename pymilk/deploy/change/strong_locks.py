"""Take a migration's strong locks first, all together, within one short time or not at all.

Whoever waits for a strong lock makes every later reader of that table wait behind him; whoever
holds one and waits for the next makes them wait even longer. So the locks that the rehearsal saw
are asked for at once, with one limit for all of them, and nothing else is done until they are
there. The limit is shorter than Postgres waits before it looks for a deadlock: should the app and
a deploy want each other's tables, it is the deploy that lets go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql
from psycopg.errors import LockNotAvailable, QueryCanceled

from pymilk.database.connection import Connection
from pymilk.database.contents import Table
from pymilk.database.references import parents_first
from pymilk.deploy.basis.evidence import ScriptRun, StatementRun
from pymilk.project.policy import Policy

# What makes readers or writers wait, as pg_locks and as `lock table` call it; the strongest last.
_STRONG = {
    "ShareLock": "share",
    "ShareRowExclusiveLock": "share row exclusive",
    "ExclusiveLock": "exclusive",
    "AccessExclusiveLock": "access exclusive",
}

# A shorter queue than this is none at all.
_SHORTEST_QUEUE_MS = 20


class LocksNotHad(LockNotAvailable):
    """The strong locks were not to be had within their time."""


@dataclass(frozen=True)
class Needed:
    """The strong locks of a script, as the rehearsal saw them.

    Attributes:
        line: Of the statement that takes the first of them; what comes before keeps nobody waiting.
        modes: Table → the strongest lock that the script takes on it, as pg_locks names it.
    """

    line: int
    modes: Mapping[str, str]


@dataclass(frozen=True)
class Taking:
    """How to take them.

    Attributes:
        line: Before which statement of the script.
        statement: Takes all of them.
        milliseconds: How long to queue, for all of them together.
    """

    line: int
    statement: sql.Composed
    milliseconds: int


def needed_by(run: ScriptRun | None) -> Needed | None:
    """What a rehearsed script needs; none where it keeps nobody waiting."""
    if run is None:
        return None
    modes = {table: held.mode for table, held in run.locked.items() if held.mode in _STRONG}
    lines = [
        one.line for one in run.statements if any(mode in _STRONG for mode in one.locks.values())
    ]
    return Needed(lines[0], modes) if lines else None


def needed_at(one: StatementRun) -> Needed | None:
    """What a statement needs by itself; none where it keeps nobody waiting."""
    modes = {table: mode for table, mode in one.locks.items() if mode in _STRONG}
    return Needed(one.line, modes) if modes else None


def keeping_out(writers_of: Iterable[str], needed: Needed | None) -> Needed:
    """What a script needs, and beside it nobody else writes to some tables; they can be read."""
    modes = dict.fromkeys(writers_of, "ShareLock")
    if needed is None:
        return Needed(0, modes)
    return Needed(needed.line, {**modes, **needed.modes})


def in_use(connection: Connection) -> frozenset[str]:
    """The tables that this transaction has looked at or written to, functions and views included.

    Materialized views, which keep rows of their own, are among them.

    Postgres keeps a lock on each until the transaction ends.
    """
    rows = connection.execute(
        """
        select n.nspname || '.' || c.relname
        from pg_catalog.pg_locks as l
        inner join pg_catalog.pg_class as c on l.relation = c.oid
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        where l.pid = pg_backend_pid() and l.locktype = 'relation' and c.relkind in ('r', 'p', 'm')
            and n.nspname <> 'pg_catalog'
        """
    ).fetchall()
    return frozenset(row[0] for row in rows)


def queue_ms(policy: Policy, held_seconds: float) -> int:
    """Milliseconds to queue for locks that are then held for as long as was rehearsed.

    A reader who comes meanwhile waits for both.
    """
    left = policy.reader_wait_ms - round(held_seconds * 1000)
    return max(_SHORTEST_QUEUE_MS, min(policy.lock_timeout_ms, left))


def taking(
    connection: Connection, needed: Needed | None, tables: Iterable[Table], milliseconds: int
) -> Taking | None:
    """The statement that takes the locks; none where none is needed.

    Tables of others, as a foreign key of ours may need, can't be locked by a statement of ours.
    """
    if needed is None:
        return None
    ours = _owned(connection)
    ordered = _children_first(
        connection,
        {
            table.qualified: table
            for table in tables
            if table.qualified in needed.modes and table.qualified in ours
        },
    )
    wanted = [
        sql.SQL("lock table only {} in {} mode").format(
            table.identifier, sql.SQL(_STRONG[needed.modes[table.qualified]])
        )
        for table in ordered
    ]
    if not wanted:
        return None
    # A block, because the limit is for a statement: it has to be one.
    body = sql.SQL("begin {}; end").format(sql.SQL("; ").join(wanted))
    statement = sql.SQL("do {}").format(sql.Literal(body.as_string(connection)))
    return Taking(needed.line, statement, milliseconds)


def locking_all(
    connection: Connection, needed: Needed | None, others: Iterable[Table], tables: Iterable[Table]
) -> sql.Composed | None:
    """One statement that takes all the locks of a script, and keeps writers out of other tables.

    It asks for all of them in the strongest mode that any needs, because one statement knows but
    one mode: it alone has one limit for all, and takes no snapshot. Nothing is asked for later:
    who holds a weaker lock and then wants a stronger one meets, sooner or later, an app that has
    read and wants to write.

    Args:
        connection: The live database.
        needed: What the script was seen to need.
        others: Tables that nobody may write to meanwhile.
        tables: All that there are.
    """
    ours = _owned(connection)
    seen = {} if needed is None else {n: m for n, m in needed.modes.items() if n in ours}
    watched = dict.fromkeys((table.qualified for table in others), "ShareRowExclusiveLock")
    names, modes = seen.keys() | watched.keys(), {*seen.values(), *watched.values()}
    ordered = _children_first(
        connection, {table.qualified: table for table in tables if table.qualified in names}
    )
    if not ordered:
        return None
    return sql.SQL("lock table {} in {} mode").format(
        sql.SQL(", ").join(sql.SQL("only {}").format(table.identifier) for table in ordered),
        sql.SQL(_STRONG[max(modes, key=list(_STRONG).index)]),
    )


def take_all(connection: Connection, locking: sql.Composed | None, milliseconds: int) -> None:
    """Take what `locking_all` or `taking` gives, within one short time or not at all.

    Raises:
        LocksNotHad: They were not to be had.
    """
    if locking is None:
        return
    allowed = connection.execute("select current_setting('statement_timeout')").fetchone()
    connection.execute(f"set local statement_timeout = {milliseconds}")
    try:
        connection.execute(locking)
    except QueryCanceled as error:
        raise LocksNotHad(str(error)) from error
    connection.execute("select set_config('statement_timeout', %s, true)", allowed)


def _children_first(connection: Connection, tables: Mapping[str, Table]) -> tuple[Table, ...]:
    """Tables that refer to others before those: where the app's own statements begin.

    A statement on an allocation goes on to its payment and its invoice, by foreign keys and
    triggers. Met at its first table it waits there and holds nothing that we want next; met at its
    second it would keep us from the first for as long as we keep it.
    """
    return tuple(tables[name] for name in reversed(parents_first(connection, sorted(tables))))


def _owned(connection: Connection) -> frozenset[str]:
    rows = connection.execute(
        "select n.nspname || '.' || c.relname from pg_catalog.pg_class as c"
        " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
        " where c.relkind = 'r' and pg_has_role(c.relowner, 'usage')"
    ).fetchall()
    return frozenset(row[0] for row in rows)
