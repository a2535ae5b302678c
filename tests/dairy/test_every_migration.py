"""What holds of each migration: it comes, is verified, and goes again without a trace."""

import re
from pathlib import Path

import psycopg
import pytest

from dairy.books import INVARIANTS, Books
from dairy.legacy import offend_everywhere
from dairy.scripts import dump, dump_rows, dump_still, run_file
from pymilk.database.catalog import read_catalog
from pymilk.database.row_types import changed_row_types
from pymilk.demo import dairy
from pymilk.project.migrations import Migration, load_migrations
from support.databases import ROOT, Connection, Database

MIGRATIONS = load_migrations(ROOT / "supabase")
PAGES = ROOT / "docs" / "gaps"
REVERSIBLE = [migration for migration in MIGRATIONS if not migration.irreversible]


def path(folder: str, migration: Migration) -> Path:
    return ROOT / "supabase" / folder / f"{migration.stem}.sql"


def asked_from_outside(books: Books) -> set[str]:
    """The names of the invariants that are broken, as the toolkit asks for them at any time."""
    execute = books.connection.execute
    return {each.stem for each in INVARIANTS if execute(each.read_bytes()).rowcount}


def verify(connection: Connection, migration: Migration) -> None:
    """Run its verification and undo it, as the toolkit does; what it does breaks no rule.

    It doesn't ask so by itself: it would read all the books with the live locks held.
    """
    before = broken_rows(connection)
    connection.execute(path("verify", migration).read_bytes())
    assert broken_rows(connection) <= before, migration.stem
    connection.rollback()


def broken_rows(connection: Connection) -> set[tuple[object, ...]]:
    return set(connection.execute("select * from public.check_payment_invariants()").fetchall())


@pytest.mark.long
def test_each_comes_and_goes_without_a_trace_one_by_one_with_psql(
    either_privileges: Database,
) -> None:
    url = either_privileges.url
    connection = either_privileges.connect()
    for migration in MIGRATIONS:
        schema, rows = dump_still(either_privileges.superuser_url), dump_rows(url)
        run_file(url, path("migrations", migration))
        if migration.irreversible:
            continue
        verify(connection, migration)
        run_file(url, path("rollbacks", migration))
        assert dump_still(either_privileges.superuser_url) == schema, migration.stem
        assert dump_rows(url) == rows, migration.stem
        run_file(url, path("migrations", migration))


def test_each_comes_and_goes_among_rows_that_break_its_rules(baseline: Database) -> None:
    books = Books(baseline.connect(autocommit=True))
    offend_everywhere(books)
    found = asked_from_outside(books)
    for migration in REVERSIBLE:
        rows = dump_rows(baseline.url)
        run_file(baseline.url, path("migrations", migration))
        verify(baseline.connect(), migration)
        broken = asked_from_outside(books)
        assert broken <= found, migration.stem
        assert {row[0] for row in books.broken()} <= broken, migration.stem
        run_file(baseline.url, path("rollbacks", migration))
        assert dump_rows(baseline.url) == rows, migration.stem
        run_file(baseline.url, path("migrations", migration))


@pytest.mark.long
def test_each_comes_and_goes_on_the_demo_dairy_at_100(either_privileges: Database) -> None:
    url = either_privileges.url
    run_file(url, path("migrations", MIGRATIONS[0]))
    connection = either_privileges.connect(autocommit=True)
    dairy.load(connection, scale=100)
    offend_everywhere(Books(connection))
    for migration in REVERSIBLE:
        schema, rows = dump(url, "--schema-only"), dump_rows(url)
        run_file(url, path("migrations", migration))
        verify(either_privileges.connect(), migration)
        run_file(url, path("rollbacks", migration))
        assert dump(url, "--schema-only") == schema, migration.stem
        assert dump_rows(url) == rows, migration.stem
        run_file(url, path("migrations", migration))


def test_its_page_says_whose_prepared_select_it_breaks(baseline: Database) -> None:
    """What is private is nobody's to select; everything else is."""
    connection = baseline.connect(autocommit=True)
    after = read_catalog(connection)
    for migration in REVERSIBLE:
        run_file(baseline.url, path("migrations", migration))
        before, after = after, read_catalog(connection)
        changed = changed_row_types(before, after)
        bare = {name.removeprefix("public.") for name in changed if name.startswith("public.")}
        page = f"gap_{migration.gap}" if migration.gap else migration.name
        paragraphs = (PAGES / f"{page}.md").read_text().split("\n\n")
        told = next((text for text in paragraphs if "cached plan must not" in text), "")
        named = re.search(r"^(.*?) gains? columns", told)
        assert set(re.findall("`(.*?)`", named[1]) if named else ()) == bare, migration.stem


@pytest.mark.parametrize("migration", REVERSIBLE, ids=lambda each: each.stem)
def test_its_verification_fails_where_it_is_not_applied(
    migration: Migration, request: pytest.FixtureRequest
) -> None:
    position = MIGRATIONS.index(migration)
    before = MIGRATIONS[position - 1]
    stage = f"dairy_{before.gap}" if before.gap else "dairy"
    database: Database = request.getfixturevalue(stage)
    with pytest.raises(psycopg.Error):
        database.connect().execute(path("verify", migration).read_bytes())
