"""Every way in which a live schema and the files drift apart is named, with its side."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from pymilk.database.connection import Target
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.deploy.survey.adopt import adopt
from pymilk.deploy.survey.drift import Drift, Moved, Side, drift_on
from pymilk.project.policy import Preset
from pymilk.project.project import load_project
from support.databases import Database, Templates
from support.projects import BASELINE, BASELINE_SQL, GAP, UP_SQL, Toy

BY_HAND = {
    "create or replace function public.owed(p_customer integer) returns numeric"
    " language sql stable as 'select 0.0'": "~ function public.owed(p_customer integer)",
    "grant execute on function public.pay_bill(integer, numeric) to anon": (
        "~ function public.pay_bill(p_bill integer, p_amount numeric)"
    ),
    "alter policy staff on public.bills using (false)": "~ policy public.bills staff",
    "alter table public.bills add constraint few check (amount < 1000)": (
        "+ constraint public.bills few"
    ),
    "alter table public.bills disable trigger refuse_overpayment": (
        "~ trigger public.bills refuse_overpayment"
    ),
    "drop index public.bills_by_customer": "- index public.bills_by_customer",
    "alter table public.notes add column more text": "+ column public.notes.more",
    "alter table public.bills disable row level security": "~ table public.bills",
}


@pytest.fixture
def drift(scratch_server: EmbeddedServer, toy: Toy, shop_001: Database) -> "Look":
    return Look(scratch_server, toy.root, shop_001)


class Look:
    """Looks for drift, on the scratch server that the tests share."""

    def __init__(self, server: EmbeddedServer, root: Path, database: Database) -> None:
        self._server, self._root, self._database = server, root, database

    def __call__(self) -> Drift:
        project = load_project(self._root)
        target = Target(self._database.url, Preset.LOCAL)
        return drift_on(self._server, project, target)


def named(moved: Moved) -> str:
    """What the command line says of an object."""
    return f"{moved.how} {moved.name}"


def test_a_deployed_database_has_none(drift: Look) -> None:
    found = drift()
    assert found.moved == ()
    assert found.objects > 10


def test_what_was_changed_by_hand_is_named_object_by_object(
    drift: Look, shop_001: Database
) -> None:
    session = shop_001.connect(autocommit=True)
    for statement in BY_HAND:
        session.execute(statement)
    found = drift()
    assert {moved.side for moved in found.found} == {Side.DATABASE}
    names = {named(moved) for moved in found.found}
    assert set(BY_HAND.values()) <= names
    assert all(moved.text for moved in found.found)
    (owed,) = [moved for moved in found.found if moved.name.startswith("function public.owed(")]
    assert "+AS $function$select 0.0$function$" in owed.text


def test_what_waits_is_told_and_is_no_drift(drift: Look, toy: Toy) -> None:
    toy.gap_at("20250918000000_gap_002_later")
    toy.up("create table public.later ();", stem="20250918000000_gap_002_later")
    found = drift()
    assert found.found == ()
    assert [(named(each), each.side, each.file) for each in found.moved] == [
        ("+ table public.later", Side.PENDING, "20250918000000_gap_002_later")
    ]


def test_a_file_that_waits_and_fails_hides_nothing(
    drift: Look, toy: Toy, shop_001: Database
) -> None:
    toy.gap_at("20250918000000_gap_002_later")
    toy.up("select nothing();", stem="20250918000000_gap_002_later")
    shop_001.connect(autocommit=True).execute("drop table public.marks")
    found = drift()
    assert "- table public.marks" in {named(moved) for moved in found.found}
    (note,) = found.notes[:1]
    assert "20250918000000_gap_002_later.sql, line 1" in note


def test_an_edited_file_is_told_from_a_changed_database(
    drift: Look, toy: Toy, shop_001: Database
) -> None:
    toy.up(UP_SQL + "create index later on public.receipts (bill_id);\n")
    shop_001.connect(autocommit=True).execute("create index by_hand on public.notes (body)")
    sides = {named(moved): (moved.side, moved.file) for moved in drift().found}
    assert sides == {
        "+ index public.later": (Side.EDITED, GAP),
        "+ index public.by_hand": (Side.DATABASE, None),
    }


def test_what_has_no_file_here_is_told_from_the_history(drift: Look, toy: Toy) -> None:
    for write in (toy.up, toy.down, toy.verify):
        write(None)
    found = drift()
    assert {moved.side for moved in found.found} == {Side.NO_FILE}
    assert "- table public.receipts" in {named(moved) for moved in found.found}


def test_without_a_history_everything_was_made_by_hand(
    scratch_server: EmbeddedServer, toy: Toy, empty_database: Database
) -> None:
    empty_database.connect(autocommit=True).execute(BASELINE_SQL)
    found = Look(scratch_server, toy.root, empty_database)()
    assert "+ table public.bills" in {named(moved) for moved in found.found}


def test_what_was_accepted_is_told_with_its_reason_until_it_changes_again(
    scratch_server: EmbeddedServer, toy: Toy, empty_database: Database
) -> None:
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute("create table public.legacy (a int)")
    plan = toy.plan(empty_database)
    adopt(
        plan.project,
        plan.target,
        plan.policy,
        "the old app needs it",
        lambda: nullcontext(scratch_server),
    )
    look = Look(scratch_server, toy.root, empty_database)
    assert look().found == ()
    (reason,) = {moved.accepted for moved in look().moved if moved.side is Side.DATABASE}
    assert reason is not None
    assert reason.startswith("the old app needs it (adopt ")
    session.execute("alter table public.legacy alter column a set not null")
    assert [named(moved) for moved in look().found] == ["+ column public.legacy.a"]


def test_default_privileges_that_a_migration_closed_do_not_look_like_drift(
    scratch_server: EmbeddedServer, toy: Toy, templates: Templates
) -> None:
    """The baseline was made when they were open: that is what its tables' grants come from."""
    closing = (
        "alter default privileges in schema public revoke all on tables from anon, authenticated,"
        " service_role;"
    )
    stem = "20250916000000_closing"
    toy.up(closing, stem=stem)
    for write in (toy.up, toy.down, toy.verify):
        write(None)
    toy.up(closing, stem=stem)
    with templates.clone("empty") as database:
        make_supabase_shaped(database.superuser_url, privileges=DefaultPrivileges.OPEN)
        session = database.connect(autocommit=True)
        session.execute(BASELINE_SQL)
        session.execute(closing)
        session.execute("create schema supabase_migrations")
        session.execute(
            "create table supabase_migrations.schema_migrations"
            " (version text primary key, statements text[], name text)"
        )
        for version in (BASELINE.partition("_")[0], stem.partition("_")[0]):
            session.execute(
                "insert into supabase_migrations.schema_migrations (version) values (%s)",
                (version,),
            )
        assert Look(scratch_server, toy.root, database)().moved == ()
