"""Figures and invariants of what a migration makes: they come with it, and are read after it."""

from collections.abc import Callable
from io import StringIO

import pytest

from pymilk.cli.progress import LineProgress
from pymilk.database.connection import connect
from pymilk.database.ledger import Kind, latest, read_entries, whole
from pymilk.deploy.basis.evidence import Evidence, Unread
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.rehearsal.failed import RehearsalFailed
from support.databases import Database
from support.projects import DOWN_SQL, GAP, UP_SQL, Toy, deploy_toy, schema_and_rows

WHY = {
    "invariants/receipts_small.sql": "invariants/receipts_small.sql, line 1: relation"
    ' "public.receipts" does not exist',
    "state/received.sql": 'state/received.sql, line 1: relation "public.receipts" does not exist',
}
RECEIPT = "insert into public.receipts (bill_id, amount) values (1, {});\n"

IN_STEPS = (
    "-- pg-delta: transaction=false\n"
    "create table public.receipts (id serial primary key, bill_id integer, amount numeric);\n"
    "create index concurrently receipts_by_bill on public.receipts (bill_id);\n"
)


def progress(evidence: Evidence) -> str:
    told = StringIO()
    LineProgress(told).finished("rehearsal", 1.0, evidence)
    return told.getvalue()


def in_one_go(toy: Toy, rows: str = "") -> None:
    toy.gap(UP_SQL + rows, DOWN_SQL, "select 1 from public.receipts;")


def in_steps(toy: Toy, rows: str = "") -> None:
    toy.gap(IN_STEPS + rows, "drop table public.receipts;", "select 1 from public.receipts;")


@pytest.fixture
def own(toy: Toy) -> Toy:
    """A project with a rule and a figure of what its migration makes."""
    toy.write(
        "sql/invariants",
        "receipts_small",
        "select 'receipt', r.id from public.receipts as r where r.amount > 1000",
    )
    toy.write("sql/state", "received", "select r.id, r.amount from public.receipts as r")
    return toy


@pytest.mark.parametrize("write", [in_one_go, in_steps])
def test_they_are_deployed_with_it_rolled_back_and_deployed_again(
    shop: Database, own: Toy, write: Callable[[Toy, str], None]
) -> None:
    write(own, RECEIPT.format(10))
    before = schema_and_rows(shop)
    for _ in range(2):
        evidence = deploy_toy(own.plan(shop))
        assert evidence.rehearsal is not None
        assert evidence.applied is not None
        assert evidence.after is not None
        assert evidence.rehearsal.unread == Unread(before=WHY)
        for why in WHY.values():
            assert f"read for the first time after it, so not compared: {why}" in progress(evidence)
        assert set(evidence.applied.state_before) == {"owed"}
        assert set(evidence.after.state_after) == {"owed", "received"}
        with connect(shop.url, purpose="test") as session:
            entry = latest(read_entries(session), Kind.DEPLOY)
            assert entry is not None
            # Whatever a watch finds of it is new: nothing violated it before.
            assert whole(session, entry).evidence["violating"]["receipts_small"] == []
        result = roll_back(own.plan(shop), archive=True)
        assert result.uncompared == (WHY["state/received.sql"],)
        assert schema_and_rows(shop) == before


@pytest.mark.parametrize("write", [in_one_go, in_steps])
def test_what_the_migration_itself_violates_is_new(
    shop: Database, own: Toy, write: Callable[[Toy, str], None]
) -> None:
    write(own, RECEIPT.format(5000))
    with pytest.raises(RehearsalFailed, match=r"breaks 1 invariant.*receipts_small: receipt, 1"):
        deploy_toy(own.plan(shop))


def test_figures_that_were_there_are_still_compared(shop: Database, own: Toy) -> None:
    in_one_go(own, "insert into public.bills (customer_id, amount) values (2, 7);")
    with pytest.raises(RehearsalFailed, match=r"changes 1 figure.*owed 2"):
        deploy_toy(own.plan(shop))


@pytest.mark.parametrize("folder", ["sql/invariants", "sql/state"])
def test_what_can_not_be_read_after_it_either_is_refused(
    shop: Database, own: Toy, folder: str
) -> None:
    in_one_go(own)
    own.write(folder, "typed", "select r.id, 1 from public.reciepts as r")
    with pytest.raises(RehearsalFailed, match=r'"public.reciepts" does not exist') as refused:
        deploy_toy(own.plan(shop))
    assert "neither before the migration nor after it" in refused.value.todo
    assert "Nothing was changed" in refused.value.state


@pytest.mark.parametrize("folder", ["sql/invariants", "sql/state"])
def test_what_the_migration_takes_away_may_not_be_asked_for(
    shop: Database, toy: Toy, folder: str
) -> None:
    toy.write(folder, "marks", "select m.word, 1 from public.marks as m where m.word = 'never'")
    toy.gap("alter table public.marks rename to signs;", "alter table signs rename to marks;")
    with pytest.raises(RehearsalFailed, match=rf"takes away what {folder[4:]}/marks.sql reads"):
        deploy_toy(toy.plan(shop))


LATER = "20250918000000_gap_002_later"


@pytest.mark.parametrize("write", [in_one_go, in_steps])
def test_what_a_later_migration_makes_is_read_when_that_one_comes(
    shop: Database, own: Toy, write: Callable[[Toy, str], None]
) -> None:
    """Several migrations with their rules in one merge, as `deploy --all` meets them."""
    own.gap_at(LATER)
    write(own, RECEIPT.format(10))
    own.up("alter table public.receipts add column till text not null default 'one';", stem=LATER)
    own.down("alter table public.receipts drop column till;", stem=LATER)
    own.write(
        "sql/invariants",
        "tills",
        "select 'receipt', r.id from public.receipts as r where r.till <> 'two'",
    )
    own.write("supabase/use", GAP, RECEIPT.format(20))
    before = 'invariants/tills.sql, line 1: relation "public.receipts" does not exist'
    after = "invariants/tills.sql, line 1: column r.till does not exist"

    evidence = deploy_toy(own.plan(shop))
    assert evidence.rehearsal is not None
    assert evidence.rehearsal.used.scripts == (f"use/{GAP}.sql",)
    assert evidence.rehearsal.unread.before == {**WHY, "invariants/tills.sql": before}
    assert evidence.rehearsal.unread.after == {"invariants/tills.sql": after}
    told = progress(evidence)
    assert f"NOT looked at until a later migration makes it: {after}" in told
    assert before not in told

    with pytest.raises(RehearsalFailed, match=r"breaks \d invariant.*tills: receipt, 1"):
        deploy_toy(own.plan(shop, "002"))
    own.up("alter table public.receipts add column till text not null default 'two';", stem=LATER)
    evidence = deploy_toy(own.plan(shop, "002"))
    assert evidence.rehearsal is not None
    assert evidence.rehearsal.unread.before == {"invariants/tills.sql": after}
    assert evidence.rehearsal.unread.after == {}
