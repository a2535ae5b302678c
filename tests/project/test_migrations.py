"""Migrations and their pairs: read, found by what a person types, refused when unfit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pymilk.problem import UsageProblem
from pymilk.project.migrations import (
    Migration,
    Script,
    find_migration,
    load_migrations,
    refuse_rows_for_psql,
    refuse_what_cannot_be_one_transaction,
)


@pytest.fixture
def supabase(tmp_path: Path) -> Path:
    folder = tmp_path / "supabase"
    for name in ("migrations", "rollbacks", "verify"):
        (folder / name).mkdir(parents=True)
    return folder


def write(supabase: Path, stem: str, *, kind: str = "migrations", text: str = "select 1;") -> None:
    (supabase / kind / f"{stem}.sql").write_text(text, encoding="utf-8")


@pytest.fixture
def migrations(supabase: Path) -> tuple[Migration, ...]:
    write(supabase, "20250901000000_baseline")
    write(supabase, "20250917000000_gap_001_atomic")
    write(supabase, "20250918000000_gap_002_undo")
    write(supabase, "20250919000000_gap_012_more")
    write(supabase, "20250920000000_harden_access")
    write(supabase, "20250921000000_twice")
    write(supabase, "20250922000000_twice")
    return load_migrations(supabase)


def test_a_migration_comes_with_its_pairs(supabase: Path) -> None:
    stem = "20250917000000_gap_001_atomic"
    write(supabase, stem, text="create table a ();")
    write(supabase, stem, kind="rollbacks", text="drop table a;")
    write(supabase, stem, kind="verify", text="select from a;")
    (found,) = load_migrations(supabase)
    assert (found.version, found.name, found.stem) == ("20250917000000", "gap_001_atomic", stem)
    assert (found.gap, found.label, found.argument) == ("001", "GAP-001", "001")
    assert found.up.text == "create table a ();"
    assert found.down is not None
    assert found.down.text == "drop table a;"
    assert found.verify is not None
    assert found.verify.text == "select from a;"


VERIFIED = "20250917000000_gap_001_atomic"


@pytest.mark.parametrize(
    "text", ["", "\n-- to be written\n", "-- a\n/* select 1;\n /* nested */ */ ;\n"]
)
def test_a_verification_of_comments_alone_is_none(text: str, supabase: Path) -> None:
    write(supabase, VERIFIED, text="-- nothing")
    write(supabase, VERIFIED, kind="rollbacks", text="-- nothing")
    write(supabase, VERIFIED, kind="verify", text=text)
    (found,) = load_migrations(supabase)
    assert found.verify is None
    assert found.down is not None  # what changes nothing is undone by nothing


@pytest.mark.parametrize(
    "text", ["-- a\n/* b */ select 1;", "-- a\n\ndo $$ begin end $$;", "\ufeffselect 1;"]
)
def test_a_verification_with_a_statement_is_one(text: str, supabase: Path) -> None:
    write(supabase, VERIFIED)
    write(supabase, VERIFIED, kind="verify", text=text)
    (found,) = load_migrations(supabase)
    assert found.verify is not None


def test_a_migration_without_pairs_says_so(supabase: Path) -> None:
    write(supabase, "20250917000000_other", text="-- irreversible:  rows are merged \nselect 1;")
    (found,) = load_migrations(supabase)
    assert (found.down, found.verify, found.gap) == (None, None, None)
    assert (found.label, found.argument) == ("other", "20250917000000")
    assert found.irreversible == "rows are merged"


def test_versions_are_ordered_as_numbers(supabase: Path) -> None:
    for stem in ("9_first", "10_second", "20250917000000_third", "00000000000011_between"):
        write(supabase, stem)
    names = [migration.name for migration in load_migrations(supabase)]
    assert names == ["first", "second", "between", "third"]


def test_what_the_supabase_cli_skips_is_skipped(supabase: Path) -> None:
    write(supabase, "20250917000000_gap_001_atomic")
    write(supabase, "notes")
    write(supabase, "20250917_no.sql.bak")
    (supabase / "migrations" / "README.md").write_text("not a migration")
    assert len(load_migrations(supabase)) == 2


@pytest.mark.parametrize("second", ["20250917000000_two", "020250917000000_two"])
def test_one_version_twice_is_refused(supabase: Path, second: str) -> None:
    write(supabase, "20250917000000_one")
    write(supabase, second)
    with pytest.raises(UsageProblem, match=r"20250917000000_one.*two|two.*20250917000000_one"):
        load_migrations(supabase)


def test_no_migrations_folder_is_a_usage_problem(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="There is no folder"):
        load_migrations(tmp_path / "supabase")


def test_text_that_is_no_utf8_is_named(supabase: Path) -> None:
    (supabase / "migrations" / "1_a.sql").write_bytes(b"select '\xff';")
    with pytest.raises(UsageProblem, match=r"1_a\.sql isn't UTF-8"):
        load_migrations(supabase)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("001", "gap_001_atomic"),
        ("1", "gap_001_atomic"),
        ("GAP-001", "gap_001_atomic"),
        ("gap_001", "gap_001_atomic"),
        ("Gap 1", "gap_001_atomic"),
        (" 001 ", "gap_001_atomic"),
        ("gap_001_atomic", "gap_001_atomic"),
        ("20250917000000", "gap_001_atomic"),
        ("20250917000000_gap_001_atomic", "gap_001_atomic"),
        ("20250917000000_gap_001_atomic.sql", "gap_001_atomic"),
        ("012", "gap_012_more"),
        ("12", "gap_012_more"),
        ("harden_access", "harden_access"),
        ("20250921000000", "twice"),
    ],
)
def test_a_migration_is_found_by_what_people_type(
    migrations: tuple[Migration, ...], asked: str, name: str
) -> None:
    assert find_migration(migrations, asked).name == name


@pytest.mark.parametrize("asked", ["099", "gap", "", "atomic", "2025", "20250917000000.sql", "%"])
def test_an_unknown_name_lists_the_known_ones(
    migrations: tuple[Migration, ...], asked: str
) -> None:
    with pytest.raises(UsageProblem) as refused:
        find_migration(migrations, asked)
    assert f"'{asked}'" in refused.value.happened
    assert "001, 002, 012" in refused.value.todo


def test_a_name_that_means_several_lists_them(migrations: tuple[Migration, ...]) -> None:
    with pytest.raises(UsageProblem) as refused:
        find_migration(migrations, "twice")
    assert "20250921000000_twice, 20250922000000_twice" in refused.value.happened


@pytest.mark.parametrize(
    "statement",
    [
        *("begin", "commit", "rollback", "end", "abort", "savepoint a", "rollback to a"),
        *("start transaction", "START  TRANSACTION read only", "commit and chain"),
        *("prepare transaction 'a'", "commit prepared 'a'"),
        *("create index concurrently a on t (b)", "drop index concurrently a"),
        "create unique index concurrently if not exists a on t (b)",
        "reindex (verbose) table concurrently t",
        "alter table public.t detach partition public.p concurrently",
        *("vacuum", "vacuum full t", "alter system set work_mem = '1MB'"),
        *("create database a", "drop database a", "create tablespace a location '/a'"),
        "/* not */ -- really\n COMMIT",
    ],
)
def test_what_would_end_our_transaction_is_refused_with_its_line(statement: str) -> None:
    text = f"-- a comment\nselect 'begin;';\n\n{statement};\nselect 2;"
    script = Script(Path("supabase/migrations/1_a.sql"), text)
    with pytest.raises(UsageProblem) as refused:
        refuse_what_cannot_be_one_transaction(script)
    line = 5 if "\n" in statement else 4
    assert refused.value.happened.startswith(f"migrations/1_a.sql, line {line}: ")


@pytest.mark.parametrize(
    ("statement", "way"),
    [
        ("COPY public.t FROM stdin", "from stdin"),
        ("copy public.t (a, b, c, d, e, f, g, h, i, j, k, l) from stdin with (format csv)", "from"),
        ("copy (select 1 from t) to stdout", "to stdout"),
    ],
)
@pytest.mark.parametrize(
    "refuse", [refuse_rows_for_psql, refuse_what_cannot_be_one_transaction], ids=["step", "one"]
)
def test_rows_that_only_psql_can_send_are_refused_in_words(
    statement: str, way: str, refuse: Callable[[Script], None]
) -> None:
    script = Script(Path("supabase/migrations/1_a.sql"), f"select 1;\n{statement};\n1\t'a\n\\.\n")
    with pytest.raises(UsageProblem, match=f"1_a.sql, line 2: 'copy … {way}") as refused:
        refuse(script)
    assert "insert into … values" in refused.value.todo


@pytest.mark.parametrize(
    "statement",
    [
        "do $$ begin perform 1; end $$",
        "create function f() returns int begin atomic select 1; end",
        "create function f() returns void language plpgsql as $$ begin vacuum; end $$",
        "comment on table t is 'commit; create index concurrently'",
        "create table commits (begin_at date, end_at date)",
        'create table "begin" (a int)',
        "refresh materialized view concurrently m",
        "prepare p as select 1",
        "release_notes()",
        "copy public.t from '/tmp/stdin'",
        "select copy, 'from stdin' from stdin",
    ],
)
def test_what_only_looks_like_it_is_let_through(statement: str) -> None:
    refuse_what_cannot_be_one_transaction(Script(Path("a.sql"), f"{statement};"))


def test_text_is_read_as_the_supabase_cli_reads_it(supabase: Path) -> None:
    (supabase / "migrations" / "1_a.sql").write_bytes(b"\xef\xbb\xbfselect 1;\r\n\r\nselect 2;\r\n")
    (found,) = load_migrations(supabase)
    assert found.up.text == "select 1;\r\n\r\nselect 2;\r\n"


def test_the_checksum_covers_every_byte_but_the_ends_of_lines() -> None:
    lines = Script(Path("a.sql"), "select 1;\n"), Script(Path("a.sql"), "select 1;\r\n")
    assert lines[0].checksum == lines[1].checksum
    one, other = Script(Path("a.sql"), "select 1;"), Script(Path("b.sql"), "select 1; ")
    assert one.checksum != other.checksum
    assert one.checksum == Script(Path("c.sql"), "select 1;").checksum


@pytest.mark.parametrize("begin", ["begin", "BEGIN WORK", "start transaction"])
@pytest.mark.parametrize("commit", ["commit", "END", "commit transaction"])
def test_a_plain_transaction_around_the_whole_file_is_ours(begin: str, commit: str) -> None:
    text = f"-- what it is for\n{begin};\nselect 1;\nselect 2;\n{commit};\n-- the end\n"
    script = Script(Path("a.sql"), text)
    refuse_what_cannot_be_one_transaction(script)
    assert [statement.text for statement in script.inside] == ["select 1", "select 2"]
    # the history gets all of it, as the Supabase CLI would write it
    assert len(script.statements) == 5


@pytest.mark.parametrize(
    "text",
    [
        "begin; select 1; commit; select 2;",
        "select 1; begin; select 2; commit;",
        "begin; select 1; commit; begin; select 2; commit;",
        "begin isolation level serializable; select 1; commit;",
        "begin; select 1; commit and chain;",
        "begin; select 1; rollback;",
        "begin; select 1;",
    ],
)
def test_any_other_control_of_transactions_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match="controls the transaction itself"):
        refuse_what_cannot_be_one_transaction(Script(Path("supabase/migrations/a.sql"), text))
