"""The function files: each the one source of its function, quoted by the migrations."""

import re
from hashlib import sha256

import pytest

from dairy.books import Books
from dairy.scripts import FUNCTIONS, dump, run_file
from support.databases import MIGRATIONS, ROOT, Database

BLOCK = re.compile(r"(?ms)^-- >>> (\S+) sha256:(\w{64})\n(.*?)^-- <<<$")


def test_the_newest_quotation_of_each_file_is_the_file() -> None:
    quoted = {
        path: (digest, text)
        for migration in sorted(MIGRATIONS.glob("*.sql"))
        for path, digest, text in BLOCK.findall(migration.read_text())
    }
    assert quoted == {
        str(path.relative_to(ROOT)): (sha256(path.read_bytes()).hexdigest(), path.read_text())
        for path in FUNCTIONS
    }


def test_what_is_quoted_has_the_hash_that_stands_beside_it() -> None:
    for migration in sorted(MIGRATIONS.glob("*.sql")):
        for path, digest, text in BLOCK.findall(migration.read_text()):
            assert sha256(text.encode()).hexdigest() == digest, (migration.stem, path)


@pytest.mark.long
def test_loading_the_files_over_a_migrated_database_changes_nothing(
    either_privileges: Database,
) -> None:
    for file in sorted(MIGRATIONS.glob("*.sql")):
        run_file(either_privileges.url, file)
    before = dump(either_privileges.superuser_url, "--schema-only")
    for path in FUNCTIONS:
        run_file(either_privileges.url, path)
    assert dump(either_privileges.superuser_url, "--schema-only") == before


def test_a_file_is_named_like_the_one_function_in_it() -> None:
    for path in FUNCTIONS:
        made = re.findall(r"(?m)^create or replace function \w+\.(\w+)\(", path.read_text())
        assert made == [path.stem]


def test_a_file_says_who_may_execute_and_what_it_locks() -> None:
    for path in FUNCTIONS:
        text = path.read_text()
        assert re.search(r"(?m)^-- Locks: \S", text), path.stem
        assert re.search(
            r"revoke all on function [^;]+\s+from public, anon, authenticated, service_role;", text
        ), path.stem
        assert "when others" not in text, path.stem


def test_the_only_clock_of_days_is_business_today() -> None:
    for path in FUNCTIONS:
        code = re.sub(r"--[^\n]*", "", path.read_text())
        assert not re.search(r"current_date|now\(\)::date|localtime|'today'", code), path.stem
        assert ("at time zone" in code) == (path.stem == "business_today"), path.stem


def test_definers_say_why_and_fix_their_search_path(dairy_hardened: Database) -> None:
    for path in FUNCTIONS:
        text = path.read_text()
        assert re.search(r"(?m)^security (invoker|definer -- \S.+)$", text), path.stem
        assert "set search_path = pg_catalog, pg_temp\n" in text, path.stem
    exposed = Books(dairy_hardened.connect()).rows(
        "select proname from pg_proc"
        " where pronamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " and prosecdef and not coalesce(proconfig, '{}')"
        " @> array['search_path=pg_catalog, pg_temp']"
    )
    assert exposed == []


def test_postgres_finds_nothing_to_warn_of(dairy_hardened: Database) -> None:
    books = Books(dairy_hardened.connect())
    books.run("set plpgsql.extra_errors = 'all'")
    for path in FUNCTIONS:
        books.connection.execute(path.read_bytes())
