"""Backups that others made: real files of pg_dump and pg_dumpall, and what is said of each.

What they are made of holds what trips a reader: names in quotes, rows that look like commands,
roles that nobody has, an extension that isn't here.
"""

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pymilk.database.connection import Target
from pymilk.database.dump_file import Kind, recognise
from pymilk.database.embedded import scratch
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.file_test import FileTested, prove_file
from pymilk.deploy.basis.plan import Bench
from pymilk.problem import Problem
from pymilk.project.policy import Preset
from support.databases import Database
from support.projects import BASELINE_SQL, ROWS_SQL

PROGRAMS = find_programs()
AWKWARD = r'''
create role "odd Owner";
create schema back;
create table back."Odd ""table""" (
  id integer primary key, "Body; text" text, created_at timestamptz
);
insert into back."Odd ""table""" values
(1, E'\\. \n\\connect nowhere\nCOPY public.bills FROM stdin;', '2025-09-15 10:00+00'),
(2, '\N', '2025-09-14 10:00+00'), (3, null, null);
alter table back."Odd ""table""" owner to "odd Owner";
create function back.f() returns text language plpgsql as $$
begin
  return 'a; b' || $x$;$x$;
end;
$$;
'''
FORMATS = {
    Kind.PLAIN: ("pg_dump", "--format=plain"),
    Kind.CUSTOM: ("pg_dump", "--format=custom"),
    Kind.DIRECTORY: ("pg_dump", "--format=directory", "--jobs=2"),
    Kind.TAR: ("pg_dump", "--format=tar"),
}
EXPECTED = {
    'back."Odd ""table"""': (3, 3),
    "public.bills": (4, 4),
    "public.customers": (3, 3),
    "public.marks": (2, 2),
    "public.notes": (3, 3),
}


@pytest.fixture(scope="module")
def source() -> Iterator[str]:
    """The superuser's URL of a server with the shop on it, and nothing else: for pg_dumpall."""
    with scratch() as server:
        url = server.url(user="supabase_admin")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("set role postgres")
            connection.execute(BASELINE_SQL)
            connection.execute(ROWS_SQL)
            connection.execute("reset role")
            connection.execute(AWKWARD)
        yield url


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Bench]:
    """A server that has none of its roles."""
    with scratch(privileges=DefaultPrivileges.CLOSED) as server:
        yield Bench(server.url(), server.url(user="supabase_admin"), PROGRAMS.major, "embedded")


def dumped(url: str, path: Path, program: str, *options: str) -> Path:
    """What the program makes of the server at the URL."""
    command = [str(PROGRAMS.path(program)), f"--dbname={url}", f"--file={path}", *options]
    subprocess.run(command, check=True)
    return path


def result_of(path: Path, bench: Bench, live: Target | None = None) -> FileTested:
    return prove_file(recognise(path), bench.superuser_url, PROGRAMS, live)


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_every_format_of_pg_dump_is_recognised_and_comes_back(
    kind: Kind, source: str, elsewhere: Bench, tmp_path: Path
) -> None:
    program, *options = FORMATS[kind]
    path = dumped(source, tmp_path / "backup", program, *options)
    result = result_of(path, elsewhere)
    assert result.file.kind is kind
    assert {name: rows for name, rows in result.tables.items() if name in EXPECTED} == EXPECTED
    assert result.not_back == ()
    assert result.refused == ()
    assert result.server_version.startswith(str(PROGRAMS.major))
    assert ("UTC" in result.taken) == (kind is not Kind.PLAIN) or "doesn't say" in result.taken


def test_a_cluster_dump_as_the_dashboard_gives_it(
    source: str, elsewhere: Bench, tmp_path: Path
) -> None:
    """Gzipped, with roles and passwords, several databases, and connections between them."""
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute('create database "an other"')
    try:
        path = dumped(source, tmp_path / "all.sql", "pg_dumpall")
    finally:
        with psycopg.connect(source, autocommit=True) as connection:
            connection.execute('drop database "an other"')
    packed = tmp_path / "db_cluster-15-09-2025.backup.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    result = result_of(packed, elsewhere)
    assert result.file.kind is Kind.CLUSTER
    assert result.file.gzipped
    assert result.databases == ("postgres",)
    assert {name: rows for name, rows in result.tables.items() if name in EXPECTED} == EXPECTED
    assert result.refused == ()


def test_a_role_that_it_needs_and_does_not_bring_is_named(
    source: str, tmp_path: Path, elsewhere: Bench
) -> None:
    with psycopg.connect(elsewhere.superuser_url, autocommit=True) as connection:
        connection.execute("drop role if exists auditor_of_shops")
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute("create role auditor_of_shops")
        connection.execute("grant select on bills to auditor_of_shops")
    path = dumped(source, tmp_path / "backup", "pg_dump")
    assert "auditor_of_shops" in result_of(path, elsewhere).roles


def test_a_table_that_cannot_be_made_here_is_counted_and_named(
    source: str, tmp_path: Path, elsewhere: Bench
) -> None:
    """As a real dump with an extension that isn't here: its rows are no statements."""
    path = dumped(source, tmp_path / "backup", "pg_dump", "--table=public.notes")
    text = path.read_text().replace("body text", "body citext")
    path.write_text(text.replace("SET row_security", "CREATE EXTENSION citext;\nSET row_security"))
    result = result_of(path, elsewhere)
    assert result.not_back == ("public.notes",)
    assert result.tables["public.notes"] == (3, 0)
    assert result.extensions == ("citext",)
    assert any("citext" in each.why for each in result.refused)
    # Its rows were not taken for statements.
    assert {each.words.split()[0] for each in result.refused} == {
        "create",
        "alter",
        "copy",
        "grant",
    }


def test_nothing_in_a_file_is_run_on_this_machine(
    source: str, tmp_path: Path, elsewhere: Bench
) -> None:
    path = dumped(source, tmp_path / "backup", "pg_dump", "--table=public.marks")
    mark = tmp_path / "ran"
    path.write_text(path.read_text().replace("\nCOPY ", f"\n\\! touch {mark}\n\nCOPY ", 1))
    result_of(path, elsewhere)
    assert not mark.exists()


def test_laid_beside_the_live_database(
    source: str, tmp_path: Path, elsewhere: Bench, empty_database: Database
) -> None:
    live = empty_database.connect(autocommit=True)
    live.execute(BASELINE_SQL)
    live.execute(ROWS_SQL)
    live.execute(
        "create schema back; insert into public.marks values ('third');"
        'create table back."Odd ""table""" (id int, "Body; text" text, created_at timestamptz);'
        'insert into back."Odd ""table""" values (1, \'\', \'2025-09-16 10:00+00\');'
        "create table public.receipts (id int); drop table public.notes"
    )
    path = dumped(source, tmp_path / "backup", "pg_dump")
    result = result_of(path, elsewhere, Target(empty_database.url, Preset.LIVE))
    told = {each.table: each for each in result.beside}
    assert told["public.bills"].verdict == "the same, row for row"
    assert (told["public.marks"].backup, told["public.marks"].live) == (2, 3)
    assert told["public.marks"].verdict == "differs"
    assert told["public.receipts"].verdict == "not in the backup"
    assert told["public.notes"].verdict == "not there live"
    odd = told['back.Odd "table"']
    assert odd.verdict == "live is newer"
    assert odd.newest_in_backup == "2025-09-15 10:00:00+00"


class TestWhatIsNone:
    """One clear sentence for each, and nothing is started for it."""

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "it is empty"),
            (b"hello", "doesn't begin like one"),
            (b"\x00" * 4000, "doesn't begin like one"),
            (b"PK\x03\x04zip", "a zip archive"),
            (b"\x28\xb5\x2f\xfdzst", "compressed with zstd"),
            (gzip.compress(b"hello"), "doesn't begin like one"),
            (gzip.compress(b"PGDMP"), "a compressed archive"),
            (gzip.compress(b"-- PostgreSQL database dump" * 99)[:20], "ends in the middle"),
        ],
        ids=["empty", "text", "zeros", "zip", "zstd", "gzipped text", "gzipped archive", "cut"],
    )
    def test_files(self, content: bytes, said: str, tmp_path: Path) -> None:
        path = tmp_path / "backup.gz"
        path.write_bytes(content)
        with pytest.raises(Problem, match=said) as refused:
            recognise(path)
        assert refused.value.todo
        assert refused.value.state

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(Problem, match=r"without toc\.dat"):
            recognise(tmp_path)

    @pytest.mark.parametrize("share", [0.4, 0.99])
    @pytest.mark.parametrize(
        "kind",
        # What a tar ends with is a script that nobody needs.
        [Kind.PLAIN, Kind.CUSTOM, Kind.DIRECTORY, Kind.CLUSTER],
        ids=lambda kind: kind.name,
    )
    def test_cut_short(
        self, kind: Kind, share: float, source: str, elsewhere: Bench, tmp_path: Path
    ) -> None:
        program, *options = FORMATS.get(kind, ("pg_dumpall",))
        path = dumped(source, tmp_path / "backup", program, *options)
        if path.is_dir():
            path = path / "toc.dat"
        file = path
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
        with pytest.raises(Problem, match=r"end|read|corrupt|damaged") as refused:
            result_of(path.parent if path.name == "toc.dat" else path, elsewhere)
        assert "Traceback" not in refused.value.happened

    def test_a_backup_of_nothing(self, source: str, elsewhere: Bench, tmp_path: Path) -> None:
        path = dumped(source, tmp_path / "backup", "pg_dumpall", "--roles-only")
        with pytest.raises(Problem, match="no table"):
            result_of(path, elsewhere)
