"""Give back what an earlier rollback had to take away and kept in the archive."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_positions, read_tables, turned_back
from pymilk.database.ledger import Kind, latest, read_entries, whole
from pymilk.database.references import parents_first
from pymilk.deploy.change.archive import texts, values_held
from pymilk.deploy.change.script import run_script
from pymilk.project.migrations import Migration


@dataclass(frozen=True)
class _Archive:
    """One table of the archive, and where its rows belong."""

    id: int
    kind: str
    table: Table
    columns: tuple[str, ...]
    key: tuple[str, ...]
    source: sql.Identifier


def give_back_to(connection: Connection, migration: Migration) -> Mapping[str, int]:
    """Give a migration back what its rollback kept, and let its own script make it consistent.

    The script, supabase/give_back/<stem>.sql, runs only where something had been kept: right after
    it came back, with triggers as they are.

    Raises:
        ScriptFailed: A statement of the script failed.
    """
    given = give_back(connection, migration.version)
    if given and migration.give_back is not None:
        run_script(connection, migration.give_back)
    return given


def give_back(connection: Connection, version: str) -> Mapping[str, int]:
    """Put archived rows back where the migration made room for them again.

    A value that is there already is newer and stays, column by column; the archived one stays in
    the archive. What a column holds by default doesn't count: that is nobody's value.

    Runs in the caller's transaction. Triggers stay silent: they count and check what happens, and
    these rows are no new business. Foreign keys and other constraints hold as always.

    Returns:
        Table → rows given back.
    """
    given: dict[str, int] = {}
    # A table with checks still pending can't be altered.
    connection.execute("set constraints all immediate")
    for archive in _parents_first(connection, _archives(connection, version)):
        table = archive.table
        with _silent_triggers(connection, table):
            rows = connection.execute(_statement(connection, archive)).rowcount
        if archive.kind == "table":
            _advance_sequences(connection, table)
        given[table.qualified] = given.get(table.qualified, 0) + rows
        if _all_there(connection, archive):
            connection.execute(
                "update pymilk.archives set given_back_at = clock_timestamp() where id = %s",
                (archive.id,),
            )
    _count_on(connection, version)
    return given


def still_archived(connection: Connection, version: str) -> Mapping[str, int]:
    """Table → archived rows of which not all could be given back: newer values stand there."""
    rows = connection.execute(
        "select schema_name || '.' || table_name, sum(row_count)::bigint from pymilk.archives"
        " where version = %s and kind <> 'changed' and given_back_at is null group by 1",
        (version,),
    ).fetchall()
    return dict(rows)


def _all_there(connection: Connection, archive: _Archive) -> bool:
    """Whether every archived row stands in its table just as it was kept."""
    columns = tuple(dict.fromkeys((*archive.key, *archive.columns)))
    missing = connection.execute(
        sql.SQL("select {kept} from {source} except select {now} from only {table} limit 1").format(
            kept=sql.SQL(", ").join(sql.Identifier(column) for column in columns),
            now=texts(columns),
            source=archive.source,
            table=archive.table.identifier,
        )
    ).fetchone()
    return missing is None


def _archives(connection: Connection, version: str) -> Iterator[_Archive]:
    rows = connection.execute(
        "select id, kind, schema_name, table_name, column_names, key_columns, archive_name"
        " from pymilk.archives where version = %s and kind <> 'changed'"
        " and given_back_at is null order by id desc",  # what was kept last counts
        (version,),
    ).fetchall()
    for id_, kind, schema, name, columns, key, archive in rows:
        for table in read_tables(connection, [schema]):
            there = tuple(column for column in columns if column in table.columns)
            if kind == "column":
                there = tuple(c for c in there if c not in _made_by_the_server(connection, table))
            if table.name == name and there:
                source = sql.Identifier("pymilk_archive", archive)
                yield _Archive(id_, kind, table, there, tuple(key), source)


def _parents_first(connection: Connection, archives: Iterable[_Archive]) -> Iterator[_Archive]:
    """Rows that others refer to come before them; tables that refer in a circle as they are."""
    waiting = tuple(archives)
    names = list(dict.fromkeys(archive.table.qualified for archive in waiting))
    order = {name: place for place, name in enumerate(parents_first(connection, names))}
    return iter(sorted(waiting, key=lambda archive: order[archive.table.qualified]))


@contextmanager
def _silent_triggers(connection: Connection, table: Table) -> Iterator[None]:
    loud = connection.execute(
        "select tgname, tgenabled = 'A' from pg_catalog.pg_trigger"
        " where tgrelid = %s::regclass and not tgisinternal and tgenabled in ('O', 'A')",
        (table.identifier.as_string(connection),),
    ).fetchall()
    for name, _ in loud:
        _alter(connection, table, "disable trigger {}", name)
    yield
    for name, always in loud:
        _alter(connection, table, f"enable {'always ' if always else ''}trigger {{}}", name)


def _alter(connection: Connection, table: Table, action: str, name: str) -> None:
    connection.execute(
        sql.SQL("alter table {} {}").format(
            table.identifier, sql.SQL(action).format(sql.Identifier(name))
        )
    )


def _statement(connection: Connection, archive: _Archive) -> sql.Composed:
    types = _types(connection, archive.table)
    # Kept as text; the types' names are the server's own.
    value = {
        column: sql.SQL("{}::{}").format(sql.Identifier("a", column), sql.SQL(types[column]))
        for column in (*archive.columns, *archive.key)
    }
    if archive.kind == "table":
        return sql.SQL(
            "insert into {table} ({columns}) overriding system value"
            " select {values} from {source} as a on conflict do nothing"
        ).format(
            table=archive.table.identifier,
            columns=sql.SQL(", ").join(sql.Identifier(column) for column in archive.columns),
            values=sql.SQL(", ").join(value[column] for column in archive.columns),
            source=archive.source,
        )
    newer = values_held(connection, archive.table, archive.columns)
    return sql.SQL(
        "update only {table} as t set {sets} from {source} as a where {same} and ({differs})"
    ).format(
        table=archive.table.identifier,
        source=archive.source,
        sets=sql.SQL(", ").join(
            sql.SQL("{} = case when {} then {} else {} end").format(
                sql.Identifier(column), newer[column], sql.Identifier("t", column), value[column]
            )
            for column in archive.columns
        ),
        same=sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier("t", column), value[column])
            for column in archive.key
        ),
        differs=sql.SQL(" or ").join(
            sql.SQL("not {} and {}::text is distinct from {}").format(
                newer[column], sql.Identifier("t", column), sql.Identifier("a", column)
            )
            for column in archive.columns
        ),
    )


def _made_by_the_server(connection: Connection, table: Table) -> frozenset[str]:
    """Identity columns that no update can set."""
    rows = connection.execute(
        "select attname from pg_catalog.pg_attribute"
        " where attrelid = %s::regclass and attidentity = 'a'",
        (table.identifier.as_string(connection),),
    ).fetchall()
    return frozenset(row[0] for row in rows)


def _types(connection: Connection, table: Table) -> Mapping[str, str]:
    return dict(
        connection.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_catalog.pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            (table.identifier.as_string(connection),),
        ).fetchall()
    )


def _count_on(connection: Connection, version: str) -> None:
    """Sequences that went with the rollback go on from where they were: rows may be deleted."""
    rollback = latest(read_entries(connection, version), Kind.ROLLBACK, version=version)
    counted = whole(connection, rollback).evidence.get("positions", {}) if rollback else {}
    now = read_positions(connection, project_schemas(connection))
    for sequence, position in turned_back(counted, now).items():
        connection.execute("select setval(%s, %s)", (sequence, position))


def _advance_sequences(connection: Connection, table: Table) -> None:
    """Identity and serial columns go on after the highest value given back."""
    for column in table.columns:
        row = connection.execute(
            "select pg_get_serial_sequence(%s, %s)",
            (table.identifier.as_string(connection), column),
        ).fetchone()
        if row and row[0]:
            connection.execute(
                sql.SQL(
                    "select setval({}, max({})) from only {} having max({}) is not null"
                ).format(row[0], sql.Identifier(column), table.identifier, sql.Identifier(column))
            )
