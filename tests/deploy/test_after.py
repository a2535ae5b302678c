"""The first look at the live database after the commit, and what the ledger keeps of it."""

import psycopg
import pytest

from pymilk.database.connection import connect
from pymilk.database.ledger import Entry, Kind, latest, read_entries, whole
from pymilk.deploy import after, apply
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.past import read_past, without_proofs
from pymilk.deploy.basis.plan import Bench
from pymilk.problem import Problem
from support.databases import Database
from support.projects import UP_SQL, Toy


def first_look(database: Database) -> Entry:
    session = database.connect()
    found = latest(read_entries(session), Kind.AFTER)
    assert found is not None
    return whole(session, found)


@pytest.mark.long
def test_before_and_after_can_be_laid_side_by_side(shop_001: Database) -> None:
    seen = first_look(shop_001)
    deploy = latest(read_entries(shop_001.connect()), Kind.DEPLOY)
    assert deploy is not None
    assert (seen.version, seen.run) == (deploy.version, deploy.run)
    deploy = whole(shop_001.connect(), deploy)
    assert seen.evidence["rows_after"] == {**deploy.evidence["rows_before"], "public.receipts": 0}
    assert seen.evidence["moved"] == {"owed": {}}
    assert seen.evidence["broken"] == []
    assert seen.evidence["attempts"] == 1
    assert 0 < seen.evidence["locked_seconds"] <= seen.evidence["seconds"]
    assert seen.evidence["canary_seconds"] > 0
    # It belongs to its deploy, and is told with it.
    assert Kind.AFTER not in {entry.kind for entry in without_proofs(read_past(shop_001.url))}


def test_what_moved_and_what_broke_right_after_the_commit_is_kept(
    shop: Database, toy: Toy, proof: Evidence, bench: Bench
) -> None:
    plan = toy.plan(shop)
    with connect(shop.url, purpose="test") as guard:
        applied = apply.run(plan, guard, proof)
    with psycopg.connect(shop.url) as somebody:
        somebody.execute("update public.bills set amount = 10 where id = 2")  # 20 were paid of it
        somebody.execute("insert into public.customers (id, name) values (4, 'Dilip')")
        somebody.execute("delete from public.bills where customer_id = 3")
        somebody.execute("delete from public.customers where id = 3")
    with pytest.raises(Problem, match="held just before: overpaid: 2, 10, 20") as told:
        after.run(plan, bench, applied)
    assert "It wrote no rows that an invariant looks at: somebody has broken" in told.value.state
    seen = first_look(shop).evidence
    assert seen["moved"] == {"owed": {"1": ["90", "0"], "3": None, "4": ["0", "0"]}}
    assert seen["broken"] == ["overpaid: 2, 10, 20"]


WROTE = {
    "update public.notes set body = 'none' where id = 3;": "wrote no rows that an invariant looks",
    "update public.bills set note = null where id = 1;": "wrote rows, and no invariant was broken",
}


@pytest.mark.parametrize("rows", WROTE, ids=["of no invariant", "of an invariant"])
def test_whose_doing_a_violation_is_follows_from_the_rows_that_it_wrote(
    shop: Database, toy: Toy, proof: Evidence, bench: Bench, rows: str
) -> None:
    toy.up(UP_SQL + rows)
    plan = toy.plan(shop)
    with connect(shop.url, purpose="test") as guard:
        applied = apply.run(plan, guard, proof)
    shop.connect(autocommit=True).execute("update public.bills set amount = 10 where id = 2")
    with pytest.raises(Problem, match="held just before") as told:
        after.run(plan, bench, applied)
    assert WROTE[rows] in told.value.state
    assert "is applied and committed" in told.value.state
    assert "pymilk rollback" in told.value.todo
