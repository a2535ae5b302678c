"""What the server itself counts and sees: transactions, statements, who waits for whom.

Not every server has all of it; what there was nothing to be seen of is said, with the reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import SupportsInt

import psycopg
from psycopg import sql

from pymilk.database.connection import Connection
from pymilk.deploy.basis.sample import Activity, Waits
from pymilk.deploy.health.readings import read_query
from pymilk.project.migrations import Script

_DATABASE = """
select d.xact_commit, d.xact_rollback, d.deadlocks, d.stats_reset
from pg_catalog.pg_stat_database as d where d.datname = current_database()
"""

_FUNCTIONS = """
select coalesce(sum(f.calls), 0)::bigint, (coalesce(sum(f.self_time), 0) / 1000)::float8
from pg_catalog.pg_stat_user_functions as f
"""

_STATEMENTS = """
select coalesce(sum(s.calls), 0)::bigint, (coalesce(sum(s.total_exec_time), 0) / 1000)::float8
from {}.pg_stat_statements as s
inner join pg_catalog.pg_database as d on s.dbid = d.oid
where d.datname = current_database()
"""

_WHERE_STATEMENTS_ARE = """
select n.nspname
from pg_catalog.pg_extension as e
inner join pg_catalog.pg_namespace as n on e.extnamespace = n.oid
where e.extname = 'pg_stat_statements'
"""

# Of whoever waits, the locks; of whoever is in the way, what it calls itself.
_WAITS = """
select
    count(distinct a.pid),
    coalesce(max(extract(epoch from clock_timestamp() - l.waitstart)), 0)::float8,
    coalesce(
        array_agg(distinct coalesce(nullif(b.application_name, ''), b.usename, 'a session'))
        filter (where b.pid is not null), '{}'
    )
from pg_catalog.pg_locks as l
inner join pg_catalog.pg_stat_activity as a on l.pid = a.pid and a.datname = current_database()
left join lateral unnest(pg_blocking_pids(l.pid)) as w (pid) on true
left join pg_catalog.pg_stat_activity as b on w.pid = b.pid
where not l.granted
"""


@dataclass(frozen=True)
class Counted:
    """The server's counters, and what there was nothing to be seen of → why."""

    activity: Activity | None
    lacking: Mapping[str, str]


@dataclass(frozen=True)
class Reported:
    """What clients report: query → what → how often so far; and which could not be read → why."""

    outcomes: Mapping[str, Mapping[str, int]]
    lacking: Mapping[str, str]


def read_counters(connection: Connection) -> Counted:
    """The server's counters of this database."""
    lacking: dict[str, str] = {}
    row = connection.execute(_DATABASE).fetchone()
    if row is None:
        return Counted(None, {"pg_stat_database": "it has no row of this database"})
    commits, rollbacks, deadlocks, since = row
    statements = _statements(connection, lacking)
    functions = _functions(connection, lacking)
    return Counted(Activity(commits, rollbacks, deadlocks, since, *statements, *functions), lacking)


def read_waits(connection: Connection) -> Waits:
    """Who waits for a lock at this moment."""
    row = connection.execute(_WAITS).fetchone()
    if row is None:
        raise AssertionError("an aggregate gives one row")
    sessions, longest, blockers = row
    return Waits(sessions, longest, tuple(blockers))


def read_outcomes(connection: Connection, queries: Iterable[Script]) -> Reported:
    """What clients report, by the project's own queries: what, and how often so far.

    A table that is not there yet is no failure: it comes with a later migration.
    """
    outcomes: dict[str, Mapping[str, int]] = {}
    lacking: dict[str, str] = {}
    with connection.transaction():
        connection.execute("set transaction read only")
        for query in queries:
            name, found = query.path.stem, read_query(connection, query)
            if found.failure:
                lacking[f"outcomes/{name}"] = found.failure
                continue
            try:
                outcomes[name] = {str(row[0]): _whole(row[1]) for row in found.rows}
            except (IndexError, ValueError, ArithmeticError):
                lacking[f"outcomes/{name}"] = "its columns are not what and how often"
    return Reported(outcomes, lacking)


def _whole(value: object) -> int:
    return int(value if isinstance(value, SupportsInt) else str(value))


def _statements(connection: Connection, lacking: dict[str, str]) -> tuple[int | None, float | None]:
    where = connection.execute(_WHERE_STATEMENTS_ARE).fetchone()
    if where is None:
        lacking["pg_stat_statements"] = "the extension is not there"
        return None, None
    try:
        query = sql.SQL(_STATEMENTS).format(sql.Identifier(where[0]))
        row = connection.execute(query).fetchone()
    except psycopg.Error as error:  # not loaded by the server, or not ours to read
        if connection.closed:
            raise
        lacking["pg_stat_statements"] = str(error.diag.message_primary or error)
        return None, None
    return row or (None, None)


def _functions(connection: Connection, lacking: dict[str, str]) -> tuple[int | None, float | None]:
    tracked = connection.execute("select current_setting('track_functions')").fetchone()
    if tracked is None or tracked[0] == "none":
        lacking["calls of functions"] = "track_functions is off"
        return None, None
    return connection.execute(_FUNCTIONS).fetchone() or (None, None)
