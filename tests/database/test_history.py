"""Supabase's history table: read and written as its own CLI does."""

from pathlib import Path

import psycopg
import pytest

from pymilk.database.connection import Connection
from pymilk.database.history import (
    Applied,
    forget_applied,
    history_exists,
    lock_history,
    prepare_history,
    read_history,
    record_applied,
)
from pymilk.project.migrations import Migration, Script
from support.databases import Database

UP = "-- makes it\ncreate table a (b int);\n\nselect ';' /* ; */;\n-- the end\n"
DOWN = "drop table a;"


def migration(up: str = UP, down: str | None = DOWN) -> Migration:
    return Migration(
        "20250917000000",
        "gap_001_x",
        Script(Path("up.sql"), up),
        None if down is None else Script(Path("down.sql"), down),
        None,
    )


@pytest.fixture
def session(empty_database: Database) -> Connection:
    return empty_database.connect(autocommit=True)


def locks(connection: Connection) -> set[str]:
    rows = connection.execute(
        "select mode from pg_locks where pid = pg_backend_pid()"
        " and relation = 'supabase_migrations.schema_migrations'::regclass"
    ).fetchall()
    return {row[0] for row in rows}


def test_where_there_is_no_history(session: Connection) -> None:
    assert not history_exists(session)
    assert read_history(session) == ()


def test_the_row_is_the_one_that_the_supabase_cli_writes(session: Connection) -> None:
    prepare_history(session)
    record_applied(session, migration())
    row = session.execute("select * from supabase_migrations.schema_migrations").fetchone()
    statements = ["-- makes it\ncreate table a (b int)", "select ';' /* ; */", "-- the end"]
    assert row == ("20250917000000", statements, "gap_001_x", ["drop table a"])
    assert read_history(session) == (Applied("20250917000000", "gap_001_x", tuple(statements)),)


def test_a_hosted_projects_wider_table_is_left_as_it_is(session: Connection) -> None:
    session.execute(
        "create schema supabase_migrations; create table supabase_migrations.schema_migrations ("
        " version text primary key, statements text[], name text, created_by text,"
        " idempotency_key text unique, rollback text[]);"
        " insert into supabase_migrations.schema_migrations (version) values ('9'), ('10')"
    )
    prepare_history(session)
    record_applied(session, migration(down=None))
    assert [row.version for row in read_history(session)] == ["9", "10", "20250917000000"]
    assert read_history(session)[0] == Applied("9", "", ())
    columns = session.execute(
        "select count(*) from pg_attribute where attnum > 0"
        " and attrelid = 'supabase_migrations.schema_migrations'::regclass"
    ).fetchone()
    assert columns == (6,)


def test_an_older_clis_table_gets_the_column_for_rollbacks(session: Connection) -> None:
    session.execute(
        "create schema supabase_migrations; create table supabase_migrations.schema_migrations"
        " (version text primary key, statements text[], name text)"
    )
    prepare_history(session)
    record_applied(session, migration())
    assert len(read_history(session)) == 1


def test_preparing_it_again_changes_and_locks_nothing(session: Connection) -> None:
    prepare_history(session)
    record_applied(session, migration())
    with session.transaction():
        prepare_history(session)
        assert locks(session) <= {"AccessShareLock"}
    assert len(read_history(session)) == 1


def test_preparing_it_does_not_wait_for_readers(
    empty_database: Database, session: Connection
) -> None:
    prepare_history(session)
    reader = empty_database.connect()
    reader.execute("select from supabase_migrations.schema_migrations")
    session.execute("set lock_timeout = '50ms'")
    prepare_history(session)


def test_the_lock_keeps_writers_out_and_lets_readers_go_on(
    empty_database: Database, session: Connection
) -> None:
    prepare_history(session)
    other = empty_database.connect(autocommit=True)
    with session.transaction():
        lock_history(session)
        assert read_history(other) == ()
        other.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            record_applied(other, migration())
        with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
            lock_history(other)


def test_a_row_is_forgotten_once(session: Connection) -> None:
    prepare_history(session)
    record_applied(session, migration())
    assert forget_applied(session, "20250917000000")
    assert not forget_applied(session, "20250917000000")
    assert read_history(session) == ()


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        (UP, False),
        (UP.replace("\n\n", "\n\n\n"), False),  # between statements nothing counts
        (UP.replace("\n", "\r\n"), False),  # a checkout with other line ends
        (UP.replace("the end", "no end"), False),
        (UP.replace("b int", "b bigint"), True),
        (UP.replace("makes", "made"), True),
        (UP + "select 1;", True),
        ("", True),
    ],
)
def test_an_edited_file_is_told_from_the_statements(
    session: Connection, text: str, *, edited: bool
) -> None:
    prepare_history(session)
    record_applied(session, migration())
    (applied,) = read_history(session)
    assert applied.is_edited(migration(text)) == edited


def test_others_record_a_file_as_one_piece() -> None:
    assert not Applied("20250917000000", "gap_001_x", (UP,)).is_edited(migration())
    assert Applied("20250917000000", "gap_001_x", (UP + "select 2",)).is_edited(migration())


def test_without_statements_nothing_can_be_said() -> None:
    assert not Applied("20250917000000", "x", ()).is_edited(migration())
