"""Single tables of a backup: beside the live ones, or over them when that is asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pymilk.database.catalog import project_schemas, read_catalog
from pymilk.database.connection import Target, connect
from pymilk.database.dump import take_backup
from pymilk.database.ledger import read_entries
from pymilk.database.manifest import Backup
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.restore_over import (
    BroughtOver,
    Comparison,
    bring_over,
    compared_with_live,
)
from pymilk.deploy.backup.restore_tables import BroughtBeside, Wanted, bring_beside, wanted_tables
from pymilk.deploy.basis.plan import Bench
from pymilk.problem import Problem, TryAgainLater, UsageProblem
from pymilk.project.policy import Policy, Preset
from pymilk.project.project import load_project
from support.databases import Database
from support.projects import Toy

PROGRAMS = find_programs()
QUICK = Policy(lock_timeout_ms=50)
_NOT_NULL = (
    "update public.notes set body = '' where id = 3;"
    "alter table public.notes alter column body set not null"
)


@pytest.fixture
def backup(shop: Database, tmp_path: Path) -> Backup:
    shop.connect(autocommit=True).execute(
        "create type public.mood as enum ('good', 'bad');"
        "create table public.days (id integer primary key, mood public.mood, at timestamptz,"
        " price numeric(12, 2), doubled numeric generated always as (price * 2) stored);"
        "insert into public.days (id, mood, at, price)"
        " values (1, 'good', '2025-09-16 06:10+05:30', 1.5), (2, null, null, null);"
    )
    return take_backup(shop.url, PROGRAMS, tmp_path / "one")


@contextmanager
def wanted(backup: Backup, bench: Bench, *names: str) -> Iterator[Wanted]:
    with wanted_tables(backup.folder, names, bench, PROGRAMS) as found:
        yield found


def beside(backup: Backup, bench: Bench, shop: Database, *names: str) -> BroughtBeside:
    with wanted(backup, bench, *names) as found:
        return bring_beside(found, Target(shop.url, Preset.LIVE))


class TestBeside:
    """In a schema of their own; nothing that is there is touched."""

    def test_they_stand_there_equal_and_unseen(
        self, backup: Backup, bench: Bench, shop: Database
    ) -> None:
        connection = shop.connect(autocommit=True)
        with connect(shop.url, purpose="test") as reading:
            before = read_catalog(reading)
        brought = beside(backup, bench, shop, "days", "public.marks")
        assert brought.tables == {"public.days": 2, "public.marks": 2}
        assert brought.schema == f"restored_{backup.taken_at:%Y%m%d_%H%M%S}"
        rows = f"select * from {brought.schema}.days order by id"
        live = "select * from public.days order by id"
        assert connection.execute(rows).fetchall() == connection.execute(live).fetchall()
        with connect(shop.url, purpose="test") as reading:
            assert not before.difference(read_catalog(reading))  # no deploy stumbles over it
            assert brought.schema not in project_schemas(reading)
            assert read_entries(reading)[-1].evidence["tables"] == brought.tables
        grant = f"select has_schema_privilege('anon', '{brought.schema}', 'usage')"
        assert connection.execute(grant).fetchone() == (False,)

    def test_a_type_that_is_gone_comes_as_text(
        self, backup: Backup, bench: Bench, shop: Database
    ) -> None:
        connection = shop.connect(autocommit=True)
        connection.execute("drop table public.days; drop type public.mood")
        brought = beside(backup, bench, shop, "days")
        found = connection.execute(f"select mood, price from {brought.schema}.days order by id")
        assert str(found.fetchone()) == "('good', Decimal('1.50'))"

    def test_twice_is_refused_and_other_tables_join_them(
        self, backup: Backup, bench: Bench, shop: Database
    ) -> None:
        beside(backup, bench, shop, "days")
        with pytest.raises(UsageProblem, match="is there already"):
            beside(backup, bench, shop, "bills", "days")
        assert beside(backup, bench, shop, "bills").tables == {"public.bills": 4}

    def test_a_table_that_the_backup_lacks(self, backup: Backup, bench: Bench) -> None:
        with (
            pytest.raises(UsageProblem, match=r"no table public\.nope"),
            wanted(backup, bench, "nope"),
        ):
            pass

    def test_of_a_partitioned_table_its_partitions_are_named(
        self, bench: Bench, shop: Database, tmp_path: Path
    ) -> None:
        shop.connect(autocommit=True).execute(
            "create table public.visits (day date, who int) partition by range (day);"
            'create table public."visits 2024" partition of public.visits'
            " for values from ('2024-01-01') to ('2025-01-01');"
            "create table public.visits_2025 partition of public.visits"
            " for values from ('2025-01-01') to ('2026-01-01') partition by hash (who);"
            "create table public.visits_2025_0 partition of public.visits_2025"
            " for values with (modulus 1, remainder 0);"
            "insert into public.visits values ('2025-02-03', 1)"
        )
        taken = take_backup(shop.url, PROGRAMS, tmp_path / "partitioned")
        with (
            pytest.raises(UsageProblem, match=r"public\.visits is partitioned") as refused,
            wanted(taken, bench, "visits"),
        ):
            pass
        named = "'public.visits 2024'", "public.visits_2025_0"
        assert refused.value.todo == f"Name them: --table {named[0]} --table {named[1]}"
        brought = beside(taken, bench, shop, "visits_2025_0")
        assert brought.tables == {"public.visits_2025_0": 1}


@contextmanager
def comparison(backup: Backup, bench: Bench, shop: Database, *names: str) -> Iterator[Comparison]:
    with (
        wanted(backup, bench, *names) as found,
        compared_with_live(found, Target(shop.url, Preset.LIVE)) as compared,
    ):
        yield compared


class TestOver:
    """Gone rows come back, changed ones are put right, new ones stay; all of it or nothing."""

    def over(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy, *names: str
    ) -> BroughtOver:
        with comparison(backup, bench, shop, *names) as compared:
            return bring_over(compared, load_project(toy.root), QUICK)

    def test_what_is_listed_is_what_is_done(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        connection = shop.connect(autocommit=True)
        before = connection.execute("select * from public.customers order by id").fetchall()
        connection.execute(
            "update public.customers set name = 'oops' where id = 2;"
            "delete from public.bills; delete from public.customers where id = 3;"
            "insert into public.customers values (4, 'Dev', 0);"
        )
        with comparison(backup, bench, shop, "bills", "customers") as compared:
            customers, bills = compared.differences  # what others refer to comes first
            assert (customers.table, customers.gone, customers.changed, customers.since) == (
                "public.customers",
                1,
                1,
                1,
            )
            assert any("name: oops → Bela" in line for line in customers.shown)
            assert (bills.gone, bills.changed, bills.since) == (4, 0, 0)
            bring_over(compared, load_project(toy.root), QUICK)
        rows = connection.execute("select * from public.customers order by id").fetchall()
        assert rows == [*before, (4, "Dev", 0)]
        with comparison(backup, bench, shop, "bills", "customers") as compared:
            assert [(each.gone, each.changed) for each in compared.differences] == [(0, 0), (0, 0)]
        with connect(shop.url, purpose="test") as reading:
            assert read_entries(reading)[-1].kind == "restore"

    def test_numbers_go_on_behind_what_came_back(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        connection = shop.connect(autocommit=True)
        connection.execute("truncate public.bills restart identity")
        self.over(backup, bench, shop, toy, "bills")
        new = "insert into public.bills (customer_id, amount) values (1, 1) returning id"
        assert connection.execute(new).fetchone() == (5,)

    def test_triggers_are_off_meanwhile_and_then_as_they_were(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        connection = shop.connect(autocommit=True)
        connection.execute(
            "create function public.spoil() returns trigger language plpgsql as"
            " $$ begin new.name := 'spoilt'; return new; end $$;"
            "create trigger a before insert or update on public.customers for each row"
            " execute function public.spoil();"
            "create trigger b before update on public.customers for each row"
            " execute function public.spoil();"
            "alter table public.customers disable trigger b;"
            "create trigger c before delete on public.customers for each row"
            " execute function public.spoil();"
            "alter table public.customers enable always trigger c;"
            "alter table public.customers disable trigger a;"
            "update public.customers set name = 'oops';"
            "alter table public.customers enable trigger a;"
        )
        self.over(backup, bench, shop, toy, "customers")
        names = connection.execute("select name from public.customers order by id").fetchall()
        assert names == [("Asha",), ("Bela",), ("Chitra",)]
        states = "select tgname, tgenabled from pg_trigger where tgname in ('a', 'b', 'c')"
        assert dict(connection.execute(states).fetchall()) == {"a": "O", "b": "D", "c": "A"}

    def test_a_row_whose_parent_is_gone_is_refused_whole(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        connection = shop.connect(autocommit=True)
        connection.execute("delete from public.bills; delete from public.customers where id = 3")
        with pytest.raises(Problem, match="foreign key") as refused:
            self.over(backup, bench, shop, toy, "bills")
        assert "one more --table" in refused.value.todo
        assert "Key (customer_id)=(3) is not present" in refused.value.happened
        assert connection.execute("select count(*) from public.bills").fetchone() == (0,)

    def test_an_invariant_of_the_project_is_kept(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        toy.write("sql/invariants", "few", "select 1 from public.notes as n having count(*) > 2;")
        connection = shop.connect(autocommit=True)
        connection.execute("delete from public.notes where id = 1")
        with pytest.raises(Problem, match="an invariant is broken"):
            self.over(backup, bench, shop, toy, "notes")
        assert connection.execute("select count(*) from public.notes").fetchone() == (2,)

    def test_what_was_changed_since_the_list_is_not_written_over(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        connection = shop.connect(autocommit=True)
        connection.execute("delete from public.notes where id = 1")
        with comparison(backup, bench, shop, "notes") as compared:
            connection.execute("update public.notes set body = 'newer' where id = 2")
            with pytest.raises(TryAgainLater, match="changed since"):
                bring_over(compared, load_project(toy.root), QUICK)
        rows = connection.execute("select id, body from public.notes order by 1").fetchall()
        assert rows == [(2, "newer"), (3, None)]

    def test_a_table_in_use_is_for_later(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        shop.connect(autocommit=True).execute("delete from public.notes where id = 1")
        somebody = shop.connect()
        somebody.execute("update public.notes set body = 'x' where id = 2")
        with pytest.raises(TryAgainLater, match="in use"):
            self.over(backup, bench, shop, toy, "notes")

    def test_without_a_key_nothing_tells_which_row_is_which(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        with pytest.raises(UsageProblem, match="no primary key"):
            self.over(backup, bench, shop, toy, "marks")

    def test_a_column_that_came_later_keeps_its_values(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        connection = shop.connect(autocommit=True)
        connection.execute(
            "alter table public.notes add column stars int default 5;"
            "update public.notes set body = 'oops', stars = 3 where id = 2;"
            "delete from public.notes where id = 1"
        )
        self.over(backup, bench, shop, toy, "notes")
        rows = connection.execute("select * from public.notes order by id").fetchall()
        assert rows == [(1, "first", 5), (2, "", 3), (3, None, 5)]

    @pytest.mark.parametrize(
        ("change", "left_out"),
        [
            ("drop column body", ("body (not in the live table)",)),
            (
                "alter column body type varchar(20)",
                ("body (character varying(20) there, text in the backup)",),
            ),
            ("rename column body to said", ("body (not in the live table)",)),
        ],
    )
    def test_a_column_that_is_another_one_now_is_named_as_left_out(
        self, change: str, left_out: tuple[str, ...], backup: Backup, bench: Bench, shop: Database
    ) -> None:
        shop.connect(autocommit=True).execute(f"alter table public.notes {change}")
        with comparison(backup, bench, shop, "notes") as compared:
            (notes,) = compared.differences
        assert (notes.gone, notes.changed, notes.left_out) == (0, 0, left_out)
        assert notes.newer == (("said",) if "said" in change else ())

    def test_computed_columns_are_left_out_where_only_one_side_computes(
        self, backup: Backup, bench: Bench, shop: Database
    ) -> None:
        with comparison(backup, bench, shop, "days") as compared:
            assert compared.differences[0].left_out == ()  # what both compute follows by itself
        shop.connect(autocommit=True).execute(
            "alter table public.days alter column doubled drop expression;"
            "alter table public.days drop column at;"
            "alter table public.days add column at timestamptz"
            " generated always as ('2025-01-01 00:00+00') stored"
        )
        with comparison(backup, bench, shop, "days") as compared:
            assert compared.differences[0].left_out == (
                "at (computed there, and not in the other)",
                "doubled (computed in the backup, and not in the other)",
            )

    def test_the_ledger_keeps_what_was_left_out(
        self, backup: Backup, bench: Bench, shop: Database, toy: Toy
    ) -> None:
        connection = shop.connect(autocommit=True)
        connection.execute(
            "delete from public.notes where id = 1; alter table public.notes drop column body"
        )
        self.over(backup, bench, shop, toy, "notes")
        with connect(shop.url, purpose="test") as reading:
            (fact,) = read_entries(reading)[-1].evidence["over"]
        assert fact["left_out"] == ["body (not in the live table)"]

    @pytest.mark.parametrize(
        ("rule", "row", "todo"),
        [
            ("create unique index one on public.notes (body)", "Key (body)=(first)", "A live row"),
            ("alter table public.notes add check (id > 1)", "(1, first)", "a rule that the live"),
            (
                _NOT_NULL,
                "(3, null)",
                "wants a default",
            ),
        ],
        ids=["unique", "check", "not null"],
    )
    def test_what_stands_against_a_row_is_told_with_the_row_and_its_own_advice(
        self, rule: str, row: str, todo: str, over_notes: "OverNotes"
    ) -> None:
        with pytest.raises(Problem, match="A constraint refuses these rows") as refused:
            over_notes(f"update public.notes set id = 9 where id = 1; {rule}")
        assert row in refused.value.happened
        assert todo in refused.value.todo
        assert "one more --table" not in refused.value.todo


OverNotes = Callable[[str], BroughtOver]


@pytest.fixture
def over_notes(backup: Backup, bench: Bench, shop: Database, toy: Toy) -> OverNotes:
    """Puts the notes of the backup over the live ones, after these statements."""

    def over(statements: str) -> BroughtOver:
        shop.connect(autocommit=True).execute(statements)
        with comparison(backup, bench, shop, "notes") as compared:
            return bring_over(compared, load_project(toy.root), QUICK)

    return over
