"""The rehearsal finds on the copy what would have gone wrong on the live database."""

from typing import TYPE_CHECKING

import pytest

from pymilk.database.dump import take_backup
from pymilk.database.manifest import Backup
from pymilk.database.programs import find_programs
from pymilk.database.restore import restore
from pymilk.deploy.basis.evidence import Rehearsed
from pymilk.deploy.basis.plan import Bench
from pymilk.deploy.rehearsal.rehearsal import rehearse
from pymilk.problem import Problem
from support.databases import Database
from support.projects import BASELINE, DOWN_SQL, GAP, UP_SQL, VERIFY_SQL, Toy

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def backup(toy_adopted: Database, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    folder = tmp_path_factory.mktemp("backup") / "one"
    return take_backup(toy_adopted.url, find_programs(), folder)


class Rehearsal:
    """Rehearses the toy, as it is on disk, on a fresh copy."""

    def __init__(self, backup: Backup, bench: Bench, toy: Toy) -> None:
        self._backup = backup
        self._bench = bench
        self._toy = toy

    def run(self) -> Rehearsed:
        restore(self._backup, self._bench.superuser_url, find_programs())
        # The target is never connected to: the copy is all that a rehearsal touches.
        return rehearse(self._toy.plan("postgresql://nobody@nowhere.invalid/none"), self._bench)

    def refused(self) -> Problem:
        with pytest.raises(Problem) as refused:
            self.run()
        assert refused.value.todo
        return refused.value


@pytest.fixture
def rehearsal(backup: Backup, bench: Bench, toy: Toy) -> Rehearsal:
    return Rehearsal(backup, bench, toy)


def test_what_it_finds_when_all_is_well(rehearsal: Rehearsal) -> None:
    found = rehearsal.run()
    assert found.before != found.after
    assert "function public.pay_bill(p_bill integer, p_amount numeric)" in found.after.objects
    assert found.up.locked["public.bills"].mode == "AccessExclusiveLock"
    assert "public.notes" not in found.up.locked
    assert found.changed_tables == ()
    assert found.reshaped == ("public.bills",)
    assert found.down is not None
    assert [" ".join(time.words.split()[:4]) for time in found.up.statements][:3] == [
        "create table public receipts",
        "alter table public bills",
        "create function public pay_bill",
    ]
    assert [time.line for time in found.up.statements][:2] == [2, 7]


def test_rows_that_the_migration_changes_are_named(rehearsal: Rehearsal, toy: Toy) -> None:
    toy.up(UP_SQL + "update public.notes set body = 'none' where body is null;")
    toy.down(DOWN_SQL + "update public.notes set body = null where body = 'none';")
    assert rehearsal.run().changed_tables == ("public.notes",)


def test_what_the_canary_looks_at_is_known(rehearsal: Rehearsal, toy: Toy) -> None:
    assert "public.notes" not in rehearsal.run().canary_tables
    toy.verify("do $$ begin perform count(*) from public.notes; end; $$;")
    assert "public.notes" in rehearsal.run().canary_tables


def test_what_figures_and_invariants_look_at_is_known(rehearsal: Rehearsal, toy: Toy) -> None:
    # By way of a function, and not what only the migration or its verification looks at.
    assert rehearsal.run().weighed_tables == {"public.bills", "public.customers"}
    # Before it is deployed or once it is, and views with what they keep.
    toy.up(
        UP_SQL + "create materialized view public.seen as select word from public.marks;"
        "create or replace function public.owed(p_customer integer) returns numeric"
        " language sql stable as $$ select coalesce(sum(b.amount - b.paid), 0)"
        " + 0 * (select count(*) from public.receipts) + 0 * (select count(*) from public.seen)"
        " from public.bills as b where b.customer_id = p_customer; $$;"
    )
    toy.down(DOWN_SQL + "drop materialized view public.seen;")
    assert rehearsal.run().weighed_tables == {
        "public.bills",
        "public.customers",
        "public.receipts",
        "public.seen",
    }


def test_comparing_figures_under_the_locks_is_part_of_the_wait(
    rehearsal: Rehearsal, toy: Toy
) -> None:
    toy.write("sql/state", "slow", "select c.id, pg_sleep(0.1) from public.customers as c;")
    toy.up(UP_SQL + "update public.bills set note = null where id = 1;")
    toy.down(DOWN_SQL + """update public.bills set note = '{"a": 1}' where id = 1;""")
    found = rehearsal.run()
    # Three customers, under the locks once before the script and once after it.
    assert found.up.strong_lock_seconds > 0.6
    assert found.up.locked["public.bills"].seconds > 0.6
    # Read where nobody has to wait for it.
    toy.up(UP_SQL + "update public.notes set body = null where id = 1;")
    toy.down(DOWN_SQL + "update public.notes set body = 'first' where id = 1;")
    assert rehearsal.run().up.strong_lock_seconds < found.up.strong_lock_seconds


def test_writing_the_ledger_is_part_of_the_wait(rehearsal: Rehearsal, toy: Toy) -> None:
    toy.up(
        UP_SQL + "create function public.slowly() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.3); return new; end; $$;"
        "create trigger slowly before insert on pymilk.events"
        " for each row execute function public.slowly();"
    )
    toy.down(DOWN_SQL + "drop trigger slowly on pymilk.events; drop function public.slowly();")
    assert rehearsal.run().up.strong_lock_seconds > 0.3


WRONG = {
    "the migration fails": (
        {"up": "-- one\nselect 1;\n\nalter table public.notes add column id int;"},
        [f'migrations/{GAP}.sql, line 4: column "id" of relation "notes" already exists'],
    ),
    "the migration fails deferred": (
        {
            "up": "alter table public.bills alter constraint bills_customer_id_fkey deferrable"
            " initially deferred; insert into public.bills (customer_id, amount) values (77, 1);"
        },
        [f"migrations/{GAP}.sql:", "violates foreign key", "(77)"],
    ),
    "the migration runs out of its own time": (
        {"up": "set local statement_timeout = '20ms';\nselect pg_sleep(5);"},
        [f"migrations/{GAP}.sql, line 2: canceling statement due to statement timeout"],
    ),
    "the migration raises what would be tried again": (
        {"up": "select 1;\ndo $$ begin raise exception using errcode = '40001'; end; $$;"},
        ["raises what says 'try again'", "40001"],
    ),
    "the verification raises": (
        {"verify": "do $$ begin raise exception 'not in effect'; end; $$;"},
        [f"verify/{GAP}.sql, line 1: not in effect"],
    ),
    "the verification lacks a right": (
        {"verify": "set local role anon;\nselect public.pay_bill(1, 1);"},
        [f"verify/{GAP}.sql, line 2: permission denied for function pay_bill"],
    ),
    "the rollback fails": (
        {"down": "drop function public.pay_bill(integer);"},
        [f"rollbacks/{GAP}.sql, line 1: function public.pay_bill(integer) does not exist"],
    ),
    "the rollback leaves something": (
        {"down": DOWN_SQL.replace("drop function public.pay_bill(integer, numeric);", "")},
        ["doesn't restore the schema", "+ function public.pay_bill("],
    ),
    "the rollback takes too much": (
        {"down": DOWN_SQL + "drop table public.marks;"},
        ["doesn't restore the schema", "- table public.marks"],
    ),
    "the rollback restores another body": (
        {"down": DOWN_SQL.replace("sum(b.amount - b.paid)", "sum(b.amount)")},
        [
            "doesn't restore the schema",
            "~ function public.owed",
            "-  select coalesce(sum(b.amount -",
        ],
    ),
    "the rollback changes rows": (
        {"down": DOWN_SQL + "update public.notes set body = 'x' where id = 1;"},
        ["doesn't restore the rows: public.notes: 3 rows ("],
    ),
    "the rollback adds rows": (
        {"down": DOWN_SQL + "insert into public.marks values ('new');"},
        ["doesn't restore the rows: public.marks: 2 rows"],
    ),
    "the rollback does not take back what the migration did to rows": (
        {"up": UP_SQL + "update public.notes set body = 'none' where body is null;"},
        ["doesn't restore the rows: public.notes"],
    ),
    "an invariant breaks": (
        {"up": "update public.bills set amount = 5, paid = 25 where id = 2;", "down": "select 1;"},
        ["breaks 1 invariant(s)", "overpaid: 2, 5, 25"],
    ),
    "a figure changes": (
        {"up": UP_SQL.replace("sum(b.amount) - sum(b.paid)", "sum(b.amount)")},
        ["changes 1 figure(s)", "owed 1: 130, 0 → 150, 0"],
    ),
    "somebody disappears from the figures": (
        {
            "up": "delete from public.bills where customer_id = 3;"
            " delete from public.customers where id = 3;"
        },
        ["owed 3: 10, 99 → absent"],
    ),
    "the second time differs from the first": (
        {
            "up": "do $$ begin execute format('create table public.extra_%s ()',"
            " nextval('public.bills_id_seq')); end; $$;",
            "down": "do $$ begin execute format('drop table public.extra_%s',"
            " currval('public.bills_id_seq')); end; $$;",
            "verify": "select 1;",
        },
        ["Deployed a second time", "+ table public.extra_6", "- table public.extra_5"],
    ),
    "the migration sets a sequence back": (
        {"up": UP_SQL + "alter sequence public.bills_id_seq restart;"},
        [f"migrations/{GAP}.sql sets sequences back: public.bills_id_seq"],
    ),
    "the rollback sets a sequence back": (
        {"down": DOWN_SQL + "select setval('public.bills_id_seq', 1);"},
        [f"rollbacks/{GAP}.sql sets sequences back: public.bills_id_seq"],
    ),
    "an invariant can't be read": (
        {"invariant": "select 1 from public.no_such_table;"},
        ["invariants/broken.sql", "no_such_table"],
    ),
    "a figure can't be read": (
        {"state": "selec 1;"},
        ["state/broken.sql", "syntax error"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_would_have_gone_wrong(rehearsal: Rehearsal, toy: Toy, what: str) -> None:
    scripts, said = WRONG[what]
    writers: dict[str, Callable[[str], None]] = {
        "up": toy.up,
        "down": toy.down,
        "verify": toy.verify,
        "invariant": lambda text: toy.write("sql/invariants", "broken", text),
        "state": lambda text: toy.write("sql/state", "broken", text),
    }
    if "up" in scripts and UP_SQL not in scripts["up"] and "verify" not in scripts:
        toy.verify("select 1;")
    for name, text in scripts.items():
        writers[name](text)
    problem = rehearsal.refused()
    for words in said:
        assert words in problem.happened
    assert "Nothing was changed" in problem.state


def test_violations_that_were_there_before_do_not_stop_it(rehearsal: Rehearsal, toy: Toy) -> None:
    toy.write("sql/invariants", "overpaid", "select b.id from public.bills as b where b.paid < 50;")
    assert rehearsal.run().changed_tables == ()


def test_what_a_script_sets_for_itself_does_not_outlive_it(rehearsal: Rehearsal, toy: Toy) -> None:
    """As `supabase db pull` and pg_dump begin their files."""
    settings = (
        "set statement_timeout = 0; set lock_timeout = 0; set check_function_bodies = false;"
        " select pg_catalog.set_config('search_path', '', false); set DateStyle = 'German';"
        " set xmloption = content; set client_min_messages = warning;"
    )
    role = "set role authenticated;"
    toy.gap(settings + UP_SQL + role, settings + DOWN_SQL + role, settings + VERIFY_SQL)
    assert rehearsal.run().down is not None


USE_SQL = """\
set local role authenticated;
select public.pay_bill(b.id, 1) from public.bills as b where b.amount > b.paid order by b.id;
reset role;
insert into public.notes (id, body) select max(n.id) + 1, 'used' from public.notes as n;
"""


class TestUsed:
    """What was deployed is used on the copy, and rolled back with that in place."""

    @pytest.fixture(autouse=True)
    def _workload(self, toy: Toy) -> None:
        toy.write("supabase/use", GAP, USE_SQL)

    def test_what_a_rollback_takes_is_counted_and_the_rest_is_as_it_was(
        self, rehearsal: Rehearsal
    ) -> None:
        used = rehearsal.run().used
        assert used.unused == ""
        assert used.scripts == (f"use/{GAP}.sql",)
        assert used.tables == ("public.bills", "public.notes", "public.receipts")
        assert {(one.kind, one.table, one.columns, one.rows) for one in used.lost} == {
            ("table", "public.receipts", (), 4),
            ("column", "public.bills", ("settled_by",), 4),
        }
        assert used.down_seconds is not None
        assert used.left == {}
        assert used.rewritten == ()

    def test_without_a_workload_it_says_so(self, rehearsal: Rehearsal, toy: Toy) -> None:
        toy.write("supabase/use", GAP, None)
        used = rehearsal.run().used
        assert used.unused == f"no workload: supabase/use/{GAP}.sql"
        assert used.down_seconds is None

    def test_what_people_did_before_goes_on(self, rehearsal: Rehearsal, toy: Toy) -> None:
        toy.write("supabase/use", BASELINE, "update public.bills set paid = paid - 1 where id = 2;")
        assert rehearsal.run().used.scripts == (f"use/{BASELINE}.sql", f"use/{GAP}.sql")
        toy.write("supabase/use", BASELINE, "update public.bills set paid = paid + 60;")
        assert "overpaid" in rehearsal.refused().happened

    def test_a_rollback_that_fails_only_on_used_tables(
        self, rehearsal: Rehearsal, toy: Toy
    ) -> None:
        toy.down(
            "do $$ begin if exists (select from public.receipts) then"
            " raise exception 'there are receipts'; end if; end; $$;" + DOWN_SQL
        )
        said = rehearsal.refused().happened
        assert said.startswith("Once it has been used, GAP-001 can't be rolled back:")
        assert "there are receipts" in said

    def test_a_rollback_that_loses_rows_which_stay(self, rehearsal: Rehearsal, toy: Toy) -> None:
        """It keeps what it deletes; nobody gives such rows back, and so they are told."""
        toy.down("delete from public.notes where body = 'used';" + DOWN_SQL)
        used = rehearsal.run().used
        lost = used.lost
        assert used.rewritten == ("public.notes",)
        assert ("changed", "public.notes", 1) in {(one.kind, one.table, one.rows) for one in lost}

    def test_rows_that_come_back_otherwise(self, rehearsal: Rehearsal, toy: Toy) -> None:
        """What is given back passes by a script of the project, which may get it wrong."""
        toy.write("supabase/give_back", GAP, "update public.receipts set amount = amount + 1;")
        said = rehearsal.refused().happened
        assert "Used, rolled back and deployed again, the rows aren't what they were" in said
        assert "public.receipts: 4 rows" in said

    def test_a_workload_makes_nothing_and_breaks_nothing(
        self, rehearsal: Rehearsal, toy: Toy
    ) -> None:
        toy.write("supabase/use", GAP, "create table public.mine ();")
        assert f"use/{GAP}.sql changes the schema: + table public.mine" in (
            rehearsal.refused().happened
        )
        toy.write("supabase/use", GAP, "select 1/0;")
        problem = rehearsal.refused()
        assert f"use/{GAP}.sql, line 1: division by zero" in problem.happened
        assert "this was the copy" in problem.state


def test_a_backup_of_another_time_is_no_proof(rehearsal: Rehearsal, toy: Toy) -> None:
    toy.gap_at("20250910000000_between")
    assert "GAP-001 isn't next: 20250910000000" in rehearsal.refused().happened


def test_what_cannot_be_undone_is_tried_once(rehearsal: Rehearsal, toy: Toy) -> None:
    toy.gap("-- irreversible: rows are merged\n" + UP_SQL, None, VERIFY_SQL)
    toy.write("supabase/use", GAP, "select public.pay_bill(1, 1);")
    found = rehearsal.run()
    assert found.down is None
    assert found.used.tables == ("public.bills", "public.receipts")
    assert found.used.lost == ()
