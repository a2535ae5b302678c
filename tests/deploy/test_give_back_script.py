"""supabase/give_back: what a migration does with what comes back from the archive."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pymilk.deploy.basis.plan import CopyAt
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.rehearsal.failed import RehearsalFailed
from pymilk.deploy.survey.preflight import ChecksFailed
from support.databases import Database
from support.projects import GAP, Toy, copy_of, deploy_toy, schema_and_rows, write_toy

UP = """\
create table public.tips (id integer primary key, amount numeric not null);
create table public.tip_total (id integer primary key, total numeric not null);
insert into public.tip_total values (1, 0);
"""
DOWN = "drop table public.tip_total;\ndrop table public.tips;\n"
TOTAL = "select sum(t.amount), (select total from public.tip_total) from public.tips as t"
COUNT = "update public.tip_total set total = (select coalesce(sum(amount), 0) from public.tips);\n"
VERIFY = f"""\
do $$ begin
  if (select a is distinct from b from ({TOTAL}) as x (a, b) where a is not null) then
    raise exception 'the total is not the total';
  end if;
end; $$;
"""


@pytest.fixture(scope="module")
def tipped_once(
    toy_adopted: Database, set_aside: CopyAt, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """Deployed, used and rolled back: for the tests to copy."""
    toy = replace(write_toy(tmp_path_factory.mktemp("tipped")), copy=set_aside)
    toy.gap(UP, DOWN, VERIFY)
    with copy_of(toy_adopted) as database:
        deploy_toy(toy.plan(database))
        with database.lent() as used:
            session = used.connect(autocommit=True)
            session.execute("insert into public.tips values (1, 5), (2, 7)")
            session.execute(COUNT)
        roll_back(toy.plan(database), archive=True)
        yield database


@pytest.fixture
def tipped(tipped_once: Database, toy: Toy) -> Iterator[Database]:
    """A gap whose total has to follow its rows: deployed, used and rolled back."""
    toy.gap(UP, DOWN, VERIFY)
    with copy_of(tipped_once) as database:
        yield database


def give_back(toy: Toy, text: str | None) -> None:
    toy.write("supabase/give_back", GAP, text)


def test_it_runs_on_what_came_back_before_the_canary(tipped: Database, toy: Toy) -> None:
    with pytest.raises(ScriptFailed, match="the total is not the total"):
        deploy_toy(toy.plan(tipped))
    give_back(toy, COUNT)
    applied = deploy_toy(toy.plan(tipped)).applied
    assert applied is not None
    assert applied.given_back["public.tips"] == 2
    assert tipped.connect().execute(TOTAL).fetchone() == (12, 12)


def test_it_stays_away_where_nothing_was_kept(shop: Database, toy: Toy) -> None:
    toy.gap(UP, DOWN, VERIFY)
    give_back(toy, "select 1 / 0;\n")
    deploy_toy(toy.plan(shop))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("select 1;\n\nselect nothing;\n", rf"give_back/{GAP}\.sql, line 3: column"),
        ("insert into public.tips values (1, 1);\n", rf"give_back/{GAP}\.sql, line 1: duplicate"),
    ],
)
def test_an_error_of_it_names_it(text: str, told: str, tipped: Database, toy: Toy) -> None:
    """The rehearsal gives back too, so the live database isn't even touched."""
    before = schema_and_rows(tipped)
    give_back(toy, text)
    with pytest.raises(ScriptFailed, match=told) as failed:
        deploy_toy(toy.plan(tipped))
    assert failed.value.state == "Nothing was changed in the target: this was the copy."
    assert schema_and_rows(tipped) == before


def test_it_may_not_end_the_transaction(tipped: Database, toy: Toy) -> None:
    give_back(toy, f"{COUNT}commit;\n")
    with pytest.raises(ChecksFailed, match="'commit' controls the transaction itself"):
        deploy_toy(toy.plan(tipped))


def test_it_may_not_change_what_anybody_owes(tipped: Database, toy: Toy) -> None:
    give_back(toy, f"{COUNT}update public.bills set paid = paid + 1;\n")
    with pytest.raises(RehearsalFailed, match="changes 3 figure"):
        deploy_toy(toy.plan(tipped))
