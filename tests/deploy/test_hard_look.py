"""Ways in which a proof could have been talked around; each was one once."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import connect
from pymilk.database.dump import take_backup
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.programs import find_programs
from pymilk.database.restore import restore
from pymilk.deploy.basis.plan import Bench
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.change.verify import verify_now
from pymilk.problem import UsageProblem
from support.databases import Database
from support.projects import DOWN_SQL, VERIFY_SQL, Toy, deploy_toy, schema_and_rows


def test_a_mended_rollback_that_commits_by_itself_is_refused(shop_001: Database, toy: Toy) -> None:
    deployed = schema_and_rows(shop_001)
    toy.down("drop trigger refuse_overpayment on public.bills;\ncommit;\n" + DOWN_SQL)
    with pytest.raises(UsageProblem, match="line 2: 'commit' controls the transaction itself"):
        roll_back(toy.plan(shop_001), archive=False, mended=True)
    assert schema_and_rows(shop_001) == deployed


def test_a_verification_that_would_stay_is_refused(shop_001: Database, toy: Toy) -> None:
    deployed = schema_and_rows(shop_001)
    toy.verify(VERIFY_SQL + "reset role;\ncommit;\n")
    plan = toy.plan(shop_001)
    with pytest.raises(UsageProblem, match="'commit' controls the transaction itself"):
        verify_now(plan.target, plan.migration)
    assert schema_and_rows(shop_001) == deployed


@pytest.mark.long
def test_what_comes_back_never_overwrites_what_is_newer(shop: Database, toy: Toy) -> None:
    """The migration itself fills a column and seeds a table; a person had changed both before."""
    toy.gap(
        "alter table public.notes add column length integer;\n"
        "update public.notes set length = coalesce(length(body), 0);\n"
        "create table public.prices (id integer primary key, price integer);\n"
        "insert into public.prices values (1, 10), (2, 20);",
        "drop table public.prices;\nalter table public.notes drop column length;",
    )
    deploy_toy(toy.plan(shop))
    session = shop.connect(autocommit=True)
    session.execute("update public.prices set price = 12 where id = 1")
    roll_back(toy.plan(shop), archive=True)
    session.execute("update public.notes set body = 'a longer one' where id = 1")
    applied = deploy_toy(toy.plan(shop)).applied
    lengths = session.execute("select id, length from public.notes order by id").fetchall()
    assert lengths == [(1, 12), (2, 0), (3, 0)]
    # Which price is right, only a person can say: the kept one is still in the archive. The
    # lengths were the migration's own, and it has filled them anew.
    assert applied is not None
    assert set(applied.left_in_archive) == {"public.prices"}
    kept = session.execute(
        "select archive_name from pymilk.archives where table_name = 'prices'"
    ).fetchone()
    assert kept is not None
    rows = session.execute(
        f'select id, price from pymilk_archive."{kept[0]}" order by 1'
    ).fetchall()
    assert rows == [("1", "12"), ("2", "20")]


def test_figures_whose_key_hides_a_row_are_refused(shop: Database, toy: Toy) -> None:
    shop.connect(autocommit=True).execute("insert into public.customers values (4, 'Asha', 5)")
    toy.write("sql/state", "owed", "select name, opening from public.customers;")
    with pytest.raises(ScriptFailed, match="gives a key twice"):
        deploy_toy(toy.plan(shop))


@pytest.mark.parametrize("folder", ["sql/state", "sql/invariants"])
@pytest.mark.parametrize("text", ["-- to be written\n", "set work_mem = '1MB';"])
def test_files_without_a_query_do_not_count_as_books_that_hold(
    shop: Database, toy: Toy, folder: str, text: str
) -> None:
    toy.write(folder, "owed", text)
    with pytest.raises(ScriptFailed, match=r"/owed\.sql holds no query") as refused:
        deploy_toy(toy.plan(shop))
    assert "Nothing was changed" in refused.value.state
    assert "its query" in refused.value.todo


@pytest.fixture
def own_bench(scratch_server: EmbeddedServer) -> Iterator[Bench]:
    """A bench for one test: what comes back there is in nobody's way afterwards."""
    with psycopg.connect(scratch_server.url(user=SUPERUSER), autocommit=True) as session:
        session.execute("create database hard_look template template0 owner postgres")
        yield Bench(
            scratch_server.url("hard_look"),
            scratch_server.url("hard_look", SUPERUSER),
            *(find_programs().major, "embedded"),
        )
        session.execute("drop database hard_look with (force)")


def test_names_letters_and_event_triggers_come_back(
    empty_database: Database, own_bench: Bench, tmp_path: Path
) -> None:
    superuser = empty_database.connect(user="supabase_admin", autocommit=True)
    superuser.execute(
        """
        create schema "Shop" authorization postgres;
        create table "Shop"."Order Items" (
          id integer primary key,
          name text check (name ~ '^[[:alpha:]]+$')
        );
        insert into "Shop"."Order Items" values (1, 'Müller');
        """
        if _knows_letters(empty_database)
        else 'create schema "Shop" authorization postgres;'
        ' create table "Shop"."Order Items" (id integer primary key)'
    )
    superuser.execute(
        "create function public.seen() returns event_trigger language plpgsql"
        " as $$ begin null; end; $$; create event trigger seen on ddl_command_end"
        " execute function public.seen()"
    )
    try:
        backup = take_backup(empty_database.url, find_programs(), tmp_path / "one")
        assert "Shop" in backup.schemas
        restore(backup, own_bench.superuser_url, find_programs())
        with connect(own_bench.owner_url, purpose="test") as copy:
            assert not backup.catalog.difference(read_catalog(copy))
    finally:
        superuser.execute("drop event trigger seen")


def _knows_letters(database: Database) -> bool:
    """Whether this server's locale takes letters of every script for letters."""
    row = database.connect().execute("select 'ü' ~ '^[[:alpha:]]$'").fetchone()
    return bool(row and row[0])
