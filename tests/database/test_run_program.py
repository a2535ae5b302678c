"""A program that is no longer wanted takes its workers and their sessions with it."""

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pymilk.database.programs import find_programs
from pymilk.database.run_program import Running, Told, run_program, running
from pymilk.problem import Problem
from support.commands import start
from support.databases import Connection, Database

PG_DUMP = str(find_programs().path("pg_dump"))
TOLD = Told("The dump failed", "Nothing was changed.")

TABLES = """
create type public.pair as (one text, other text);
create table public.pairs_1 (names public.pair);
insert into public.pairs_1 values (row('a', 'b'));
create table public.pairs_2 as select * from public.pairs_1;
"""


@pytest.fixture
def held(empty_database: Database) -> Connection:
    """A session in the way of whoever prints what is in two tables, and of nobody before that.

    A lock on a table would be seen by pg_dump before it begins; this one is on a column's type.
    """
    session = empty_database.connect()
    session.execute(TABLES)
    session.commit()
    session.execute("alter type public.pair rename attribute one to first")
    return session


def dumping(folder: Path) -> list[str]:
    return [PG_DUMP, "--format=directory", "--jobs=2", "--schema=public", f"--file={folder}/dump"]


def copying(database: Database, watcher: Connection) -> int:
    """How many sessions wait in the middle of copying a table out."""
    row = watcher.execute(
        "select count(*) from pg_stat_activity"
        " where datname = %s and query ilike 'copy %%' and wait_event_type = 'Lock'",
        (database.name,),
    ).fetchone()
    return row[0] if row else 0


def wait_until_both_copy(database: Database) -> None:
    with database.connect(user="supabase_admin", autocommit=True) as watcher:
        for _ in range(3000):
            if copying(database, watcher) == 2:
                return
            time.sleep(0.01)
    raise AssertionError("pg_dump's workers were not seen copying")


def no_session_of_it_stays(database: Database) -> None:
    """Within less than what holds them up lasts: the lock is still held."""
    with database.connect(user="supabase_admin", autocommit=True) as watcher:
        for _ in range(1000):
            stay = watcher.execute(
                "select application_name, state, query from pg_stat_activity"
                " where datname = %s and application_name ~ '^pg_dump|^pymilk'",
                (database.name,),
            ).fetchall()
            if not stay:
                return
            time.sleep(0.01)
    raise AssertionError(f"sessions stay: {stay}")


def interrupt(_program: Running) -> None:
    raise KeyboardInterrupt


def fail(_program: Running) -> None:
    raise psycopg.OperationalError("the connection was lost")


def tell(program: Running) -> None:
    raise program.told.problem("error: something else failed")


def leave(_program: Running) -> None:
    """Nothing more is wanted of it."""


@pytest.mark.parametrize("way_out", [interrupt, fail, tell, leave])
def test_whatever_ends_the_block_no_session_of_the_program_stays(
    empty_database: Database, held: Connection, tmp_path: Path, way_out: Callable[[Running], None]
) -> None:
    try:
        with running(dumping(tmp_path), TOLD, url=empty_database.url) as program:
            wait_until_both_copy(empty_database)
            way_out(program)
    except (KeyboardInterrupt, psycopg.Error, Problem):
        pass
    assert not held.closed
    no_session_of_it_stays(empty_database)


def test_one_that_is_run_to_its_end_and_interrupted_leaves_none(
    empty_database: Database, held: Connection, tmp_path: Path
) -> None:
    def interrupt_when_both_copy() -> None:
        wait_until_both_copy(empty_database)
        os.kill(os.getpid(), signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(interrupt_when_both_copy)
        with pytest.raises(KeyboardInterrupt):
            run_program(dumping(tmp_path), TOLD, url=empty_database.url)
        done.result()
    assert not held.closed
    no_session_of_it_stays(empty_database)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_that_is_interrupted_leaves_no_session_and_no_lock(
    empty_database: Database, held: Connection, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    with start("backup", "--db-url", empty_database.url, cwd=tmp_path) as process:
        wait_until_both_copy(empty_database)
        # The tool alone, as a CI's runner does; at a terminal its programs hear it themselves.
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert not held.closed
    no_session_of_it_stays(empty_database)


def test_one_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymilk.database.run_program._TIDYING_UP_SECONDS", 0.1)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print(flush=True); time.sleep(90)"
    )
    with running([sys.executable, "-c", deaf], TOLD, piped=True) as program:
        program.output.readline()
    assert program.process.returncode == -signal.SIGKILL


def test_one_that_has_ended_is_left_alone() -> None:
    with running([sys.executable, "-c", ""], TOLD) as program:
        program.finish()
    assert program.process.returncode == 0
    with pytest.raises(Problem, match="The dump failed: no word"):
        run_program([sys.executable, "-c", "exit(3)"], TOLD)
