"""What one person approved is what another applies: anything that moved is refused by name."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pymilk.database.ledger import read_entries
from pymilk.deploy.approval import (
    Approval,
    Moved,
    approval_of,
    load_approval,
    refuse_moved,
    refuse_other_proof,
    save_approval,
)
from pymilk.deploy.basis.evidence import Evidence, Lost
from pymilk.deploy.pipeline import deploy, rehearse
from pymilk.problem import UsageProblem
from support.databases import Database
from support.projects import DOWN_SQL, GAP, UP_SQL, Silent, Toy, copy_of, schema_and_rows, write_toy

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def looked_at(
    toy_adopted: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Evidence, Approval]]:
    """A database that is only looked at, the rehearsal on it, and what was approved."""
    toy = write_toy(tmp_path_factory.mktemp("approved"))
    with copy_of(toy_adopted) as database:
        evidence = rehearse(toy.plan(database), Silent())
        yield database, evidence, approval_of(toy.plan(database), database.connect(), evidence)


@pytest.fixture
def at(looked_at: tuple[Database, Evidence, Approval]) -> Database:
    return looked_at[0]


@pytest.fixture
def rehearsed(looked_at: tuple[Database, Evidence, Approval]) -> Evidence:
    return looked_at[1]


@pytest.fixture
def approval(looked_at: tuple[Database, Evidence, Approval]) -> Approval:
    return looked_at[2]


def test_approved_saved_and_applied(shop: Database, toy: Toy, tmp_path: Path) -> None:
    evidence = rehearse(toy.plan(shop), Silent())
    approval = approval_of(toy.plan(shop), shop.connect(), evidence)
    file = tmp_path / "plan.json"
    save_approval(approval, file)
    read = load_approval(file)
    assert read == approval
    deployed = deploy(toy.plan(shop), Silent(), read)
    assert deployed is not None
    assert deployed.applied is not None
    (entry,) = [entry for entry in read_entries(shop.connect()) if entry.kind == "deploy"]
    assert entry.plan_hash == approval.hash == json.loads(file.read_text())["hash"]


def test_there_is_no_definition_and_no_row_in_it(shop: Database, toy: Toy, tmp_path: Path) -> None:
    """A trigger may call a webhook with a key in it; a name in a row is nobody's business."""
    shop.connect(autocommit=True).execute(
        "create function public.hook() returns text language sql as $$ select 'sk_live_key' $$"
    )
    plan = toy.plan(shop, overrides={"drift": "the hook"})
    evidence = rehearse(plan, Silent())
    save_approval(approval_of(plan, shop.connect(), evidence), tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    assert "function public.hook()" in text
    for secret in ("sk_live_key", "Chitra", "password"):
        assert secret not in text


MOVED: dict[str, tuple[Callable[[Toy], None], str]] = {
    "the migration": (lambda toy: toy.up(UP_SQL + "select 1;"), f"file supabase/migrations/{GAP}"),
    "the rollback": (lambda toy: toy.down(DOWN_SQL + "select 1;"), "file supabase/rollbacks/"),
    "the verification": (lambda toy: toy.verify("select 2;"), "file supabase/verify/"),
    "a workload": (lambda toy: toy.write("supabase/use", GAP, "select 1;"), "use/.* is new"),
    "an invariant": (lambda toy: toy.write("sql/invariants", "overpaid", None), ".* is gone"),
    "the policy": (
        lambda toy: toy.settings("[tool.pymilk.policy.local]\nlock_attempts = 3\n"),
        "policy lock_attempts is another",
    ),
}


@pytest.mark.parametrize("what", MOVED)
def test_what_moved_is_named(at: Database, toy: Toy, approval: Approval, what: str) -> None:
    refuse_moved(approval, toy.plan(at), at.connect(), NOW)
    move, said = MOVED[what]
    move(toy)
    before = schema_and_rows(at)
    watched = Silent()
    with pytest.raises(Moved, match=said):
        deploy(toy.plan(at), watched, approval)
    assert watched.steps == []
    assert schema_and_rows(at) == before


def test_another_database_another_reason_another_day(
    at: Database, toy: Toy, approval: Approval
) -> None:
    with pytest.raises(Moved, match="override window is new"):
        refuse_moved(approval, toy.plan(at, overrides={"window": "now"}), at.connect(), NOW)
    with pytest.raises(Moved, match="it is 25 hours old; the policy allows 24"):
        refuse_moved(approval, toy.plan(at), at.connect(), NOW + timedelta(hours=25))
    with pytest.raises(Moved, match="this is"):
        refuse_moved(
            replace(approval, target="someone@elsewhere:5432/x"), toy.plan(at), at.connect(), NOW
        )
    with pytest.raises(Moved, match="is another database than it was then"):
        refuse_moved(replace(approval, ledger="another"), toy.plan(at), at.connect(), NOW)


def test_a_schema_that_moved_in_between(shop: Database, toy: Toy) -> None:
    evidence = rehearse(toy.plan(shop), Silent())
    approval = approval_of(toy.plan(shop), shop.connect(), evidence)
    shop.connect(autocommit=True).execute("alter table public.notes add column late text")
    plan = toy.plan(shop)
    excused = replace(approval, overrides={"drift": "made by hand"})
    with pytest.raises(Moved, match=r"the schema before: \+ column public\.notes\.late"):
        deploy(replace(plan, overrides={"drift": "made by hand"}), Silent(), excused)
    applied = shop.connect().execute("select to_regclass('public.receipts')").fetchone()
    assert applied == (None,)


def test_a_rehearsal_that_comes_out_otherwise(approval: Approval, rehearsed: Evidence) -> None:
    refuse_other_proof(approval, rehearsed)
    found = rehearsed.rehearsal
    assert found is not None
    lost = replace(found.used, lost=(Lost("table", "public.receipts", (), 3),))
    with pytest.raises(Moved, match=r"what a rollback takes of public\.receipts is new"):
        refuse_other_proof(approval, replace(rehearsed, rehearsal=replace(found, used=lost)))
    calm = replace(found, up=replace(found.up, locked={}))
    with pytest.raises(Moved, match=r"whom it keeps waiting at public\.bills is gone"):
        refuse_other_proof(approval, replace(rehearsed, rehearsal=calm))


def test_a_file_that_is_no_plan(approval: Approval, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    for text in ("", "[]", "{}", '{"pymilk plan": 1, "hash": "x"}'):
        file.write_text(text)
        with pytest.raises(UsageProblem, match="is no plan of pymilk"):
            load_approval(file)
    save_approval(approval, file)
    file.write_text(file.read_text().replace(GAP, GAP.replace("001", "002"), 1))
    with pytest.raises(UsageProblem, match="was altered after it was saved"):
        load_approval(file)
    with pytest.raises(UsageProblem, match="can't be written"):
        save_approval(approval, tmp_path / "no" / "folder.json")
