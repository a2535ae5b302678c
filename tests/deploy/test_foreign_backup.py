"""What others dumped becomes a database again: counted in the file, compared row for row after."""

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymilk.database.connection import Target
from pymilk.database.dump_file import recognise
from pymilk.database.embedded import scratch
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.foreign_backup import backup_of_file
from pymilk.deploy.backup.restore_tables import bring_beside, wanted_tables
from pymilk.deploy.backup.restoring import Reborn, restore_at
from pymilk.deploy.basis.plan import Bench
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Preset
from support.databases import Database, Templates

PROGRAMS = find_programs()
ACCOUNT = "11111111-1111-1111-1111-111111111111"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A server that has none of the dumps' roles, and where nothing is granted by default."""
    with scratch(privileges=DefaultPrivileges.CLOSED) as server:
        yield Bench(server.url(), server.url(user="supabase_admin"), PROGRAMS.major, "embedded")


@pytest.fixture
def new(templates: Templates) -> Iterator[Database]:
    """A new project: empty, and as open by default as many are."""
    with templates.clone("empty") as database:
        yield database


def dumped(shop: Database, path: Path, *options: str) -> Path:
    command = [str(PROGRAMS.path("pg_dump")), f"--dbname={shop.superuser_url}", f"--file={path}"]
    subprocess.run([*command, *options], check=True)
    return path


def reborn(path: Path, bench: Bench, new: Database, tmp_path: Path) -> Reborn:
    with backup_of_file(recognise(path), bench, PROGRAMS, tmp_path) as made:
        result = restore_at(made.folder, Target(new.url, Preset.LIVE), PROGRAMS)
        assert made.tested.refused == ()
    assert not made.folder.exists()  # it held names and balances
    return result


def counts(database: Database) -> list[object]:
    names = ("bills", "customers", "marks", "notes")
    query = " union all ".join(f"select '{name}', count(*) from public.{name}" for name in names)
    return list(database.connect(autocommit=True).execute(query).fetchall())


@pytest.mark.parametrize("options", [["-Fc"], ["-Fd"], []], ids=["custom", "directory", "plain"])
def test_a_whole_database(
    options: list[str], shop: Database, new: Database, bench: Bench, tmp_path: Path
) -> None:
    path = dumped(shop, tmp_path / "dump", *options)
    result = reborn(path, bench, new, tmp_path)
    assert counts(new) == counts(shop)
    assert [each for each in result.differences if "supabase_admin" not in each] == []
    assert result.backup.taken_from == "dump"
    assert result.backup.moment.startswith("in dump (taken: ")


def test_a_zipped_dump_of_the_projects_schemas_alone(
    shop: Database, new: Database, bench: Bench, tmp_path: Path
) -> None:
    """It speaks of accounts and of auth's functions, and brings neither: they are stood in for."""
    shop.connect(user="supabase_admin", autocommit=True).execute(
        "create table if not exists auth.users (id uuid primary key);"
        "grant references, select on auth.users to postgres;"
        f"insert into auth.users values ('{ACCOUNT}')"
    )
    shop.connect(autocommit=True).execute(
        "create table public.profiles (id uuid primary key references auth.users (id));"
        f"insert into public.profiles values ('{ACCOUNT}');"
        "alter table public.profiles enable row level security;"
        "create policy own on public.profiles using (id = auth.uid())"
    )
    plain = dumped(shop, tmp_path / "plain.sql", "--schema=public")
    packed = tmp_path / "db.sql.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    new.connect(user="supabase_admin", autocommit=True).execute(
        "create table if not exists auth.users (id uuid primary key);"
        "grant references, select on auth.users to postgres;"
        f"insert into auth.users values ('{ACCOUNT}')"
    )
    result = reborn(packed, bench, new, tmp_path)
    assert [each for each in result.differences if "supabase_admin" not in each] == []
    profiles = new.connect(autocommit=True).execute("select id::text from public.profiles")
    assert profiles.fetchall() == [(ACCOUNT,)]


def test_a_table_of_a_file_beside_the_live_one(
    shop: Database, bench: Bench, tmp_path: Path
) -> None:
    path = dumped(shop, tmp_path / "dump", "-Fc")
    shop.connect(autocommit=True).execute("delete from public.marks")
    with (
        backup_of_file(recognise(path), bench, PROGRAMS, tmp_path) as made,
        wanted_tables(made.folder, ("marks",), bench, PROGRAMS) as wanted,
    ):
        brought = bring_beside(wanted, Target(shop.url, Preset.LIVE))
    assert brought.tables == {"public.marks": 2}
    row = shop.connect(autocommit=True).execute(f"select count(*) from {brought.schema}.marks")
    assert row.fetchone() == (2,)


def test_a_file_of_which_a_table_cannot_be_made_is_not_restored(
    shop: Database, bench: Bench, tmp_path: Path
) -> None:
    path = dumped(shop, tmp_path / "backup", "--table=public.notes")
    text = path.read_text().replace("body text", "body public.geometry")
    path.write_text(text.replace("SET row_security", "CREATE EXTENSION postgis;\nSET row_security"))
    with (
        pytest.raises(Problem, match=r"public\.notes.*lacks the extension postgis"),
        backup_of_file(recognise(path), bench, PROGRAMS, tmp_path),
    ):
        pytest.fail("half of a file must not be restored")


def test_rows_that_break_a_key_stay_told(shop: Database, bench: Bench, tmp_path: Path) -> None:
    """A key that the rows break is no key to an account that isn't in the file."""
    path = dumped(shop, tmp_path / "backup")
    lines = path.read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.startswith("COPY public.customers"))
    del lines[start + 1]
    path.write_text("".join(lines))
    with backup_of_file(recognise(path), bench, PROGRAMS, tmp_path) as made:
        assert any("foreign key constraint" in each.why for each in made.tested.refused)


def test_of_several_databases_none_is_chosen(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "all.sql"
    path.write_text(
        "--\n-- PostgreSQL database cluster dump\n--\n"
        + "".join(
            f"\\connect {name}\ncreate table public.t (id integer);\n" for name in ("one", "two")
        )
        + "--\n-- PostgreSQL database cluster dump complete\n--\n"
    )
    with (
        pytest.raises(UsageProblem, match="several databases: one, two"),
        backup_of_file(recognise(path), bench, PROGRAMS, tmp_path),
    ):
        pytest.fail("nobody said which")
