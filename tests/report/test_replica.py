"""Reports from a read replica: a streaming standby of the embedded server, which only reads."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pymilk.database.cluster import SUPERUSER, Cluster
from pymilk.database.embedded import DURABLE, EmbeddedServer
from pymilk.database.place import find_place, make_place
from pymilk.database.programs import find_programs
from pymilk.database.running_as import programs_reached_by, server_account
from pymilk.demo.first_day import prepare_first_day
from pymilk.project.project import load_project
from support.commands import run
from support.databases import ROOT

_CAUGHT_UP_SECONDS = 60


@contextmanager
def standby_of(primary: EmbeddedServer, folder: Path) -> Iterator[str]:
    """A copy that follows its primary and serves reads; gives its URL."""
    account = server_account()
    programs = programs_reached_by(account, find_programs())
    folder.mkdir()
    cluster = Cluster(find_place(folder) or make_place(folder, account), programs, account)
    copying = [str(programs.path("pg_basebackup")), "--pgdata=data", "--write-recovery-conf"]
    done = account.run(
        [*copying, "--checkpoint=fast", f"--dbname={primary.url(user=SUPERUSER)}"],
        cwd=cluster.place,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    cluster.start()
    try:
        yield cluster.url("postgres", "postgres")
    finally:
        cluster.kill()
        cluster.remove()


def wait_until_caught_up(primary_url: str, standby_url: str) -> None:
    """Until the standby shows what the primary has committed."""
    with (
        psycopg.connect(primary_url, autocommit=True) as primary,
        psycopg.connect(standby_url, autocommit=True) as standby,
    ):
        row = primary.execute("select pg_current_wal_lsn()").fetchone()
        assert row is not None
        give_up = time.monotonic() + _CAUGHT_UP_SECONDS
        reached = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"
        while standby.execute(reached, row).fetchone() != (True,):
            assert time.monotonic() < give_up
            time.sleep(0.02)


@pytest.mark.long
def test_the_books_and_the_rules_are_read_from_a_standby(tmp_path: Path) -> None:
    primary = EmbeddedServer(tmp_path / "primary", DURABLE)
    primary.start()
    try:
        project = load_project(ROOT)
        prepare_first_day(primary.url(), project)
        with standby_of(primary, tmp_path / "standby") as standby:
            with psycopg.connect(primary.url(), autocommit=True) as session:
                for migration in project.migrations[1:]:
                    session.execute(migration.up.text.encode())
            wait_until_caught_up(primary.url(), standby)
            with (
                psycopg.connect(standby) as session,
                pytest.raises(psycopg.Error, match="read-only"),
            ):
                session.execute("update public.customers set status = status")
            pages = {}
            for name, url in (("primary", primary.url()), ("standby", standby)):
                on = ("--db-url", url, "--policy", "local", "--project", str(ROOT))
                done = run("report", "--books", "--format", "md", *on, cwd=tmp_path)
                assert done.returncode == 0, done.stderr
                pages[name] = [line for line in done.stdout.splitlines() if line.startswith("|")]
                assert run("check", *on, cwd=tmp_path).returncode == 0
            assert pages["standby"] == pages["primary"]
            assert len(pages["standby"]) > len(project.books)
    finally:
        primary.destroy()
