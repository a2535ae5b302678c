"""What came to nothing is in the ledger: tried, how far, why; and it never makes things worse."""

import os
import signal
from dataclasses import replace

import pytest

from pymilk.database.connection import connect
from pymilk.database.ledger import Entry, Kind, Outcome, read_entries
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.lock import only_deploy
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.basis.trace import tracing
from pymilk.deploy.change.attempt import noted
from pymilk.deploy.foreseen import roll_back_each
from pymilk.deploy.pipeline import deploy, rehearse
from pymilk.deploy.survey.status import read_status
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.project import load_project
from support.commands import run
from support.databases import Database
from support.projects import Silent, Toy


def attempts(database: Database) -> list[Entry]:
    with connect(database.url, purpose="test") as connection:
        return [entry for entry in read_entries(connection) if entry.kind is Kind.ATTEMPT]


def unfinished(plan: Plan) -> str:
    return read_status(plan.target.url, plan.project).unfinished or ""


@pytest.mark.parametrize("what", [deploy, rehearse])
def test_a_rehearsal_that_fails(what: object, shop: Database, toy: Toy) -> None:
    toy.up("create table public.receipts (id integer); select 1 / 0;")
    plan = toy.plan(shop)
    with pytest.raises(Problem, match="division by zero"):
        (deploy if what is deploy else rehearse)(plan, Silent())
    (entry,) = attempts(shop)
    assert (entry.outcome, entry.run, entry.version) == (
        *(Outcome.FAILED, plan.run, plan.migration.version),
    )
    assert (entry.evidence["of"], entry.evidence["step"]) == (
        *("deploy" if what is deploy else "rehearsal", "rehearsal"),
    )
    assert "division by zero" in entry.evidence["why"]
    assert entry.evidence["seconds"] > 0
    assert "gap_001_pay_bill failed in its rehearsal" in unfinished(plan)
    told = run("history", "--db-url", shop.url, cwd=toy.root)
    assert "failed" in told.stdout
    assert "division by zero" in told.stdout


def test_one_that_is_refused_and_one_that_is_given_up(shop: Database, toy: Toy) -> None:
    plan = toy.plan(shop, policy={"wait_for_other_deploy_seconds": 0})
    with only_deploy(plan.target, "deploy 002", 0), pytest.raises(TryAgainLater):
        deploy(plan, Silent())
    shop.connect(autocommit=True).execute("create table public.receipts (id integer)")
    with pytest.raises(Problem):
        deploy(toy.plan(shop), Silent())
    given_up, refused = attempts(shop)
    assert (given_up.outcome, given_up.evidence["step"]) == (Outcome.NOT_NOW, "")
    assert "Another deploy is running" in given_up.evidence["why"]
    assert (refused.outcome, refused.evidence["step"]) == (Outcome.REFUSED, "preflight")
    assert "was refused in its preflight" in unfinished(plan)


def test_a_rollback_that_is_refused(shop_001: Database, toy: Toy) -> None:
    shop_001.connect(autocommit=True).execute("insert into public.receipts values (default, 1, 5)")
    with pytest.raises(Problem):
        next(roll_back_each((toy.plan(shop_001),), archive=False, mended=False))
    (entry,) = attempts(shop_001)
    assert (entry.evidence["of"], entry.outcome) == ("rollback", Outcome.REFUSED)
    assert "receipts" in entry.evidence["why"]


def test_one_that_somebody_interrupts(shop: Database, toy: Toy) -> None:
    class PressCtrlC(Silent):
        def started(self, step: str) -> None:
            if step == "restore test":
                os.kill(os.getpid(), signal.SIGINT)

    plan = toy.plan(shop)
    with pytest.raises(KeyboardInterrupt):
        deploy(plan, PressCtrlC())
    (entry,) = attempts(shop)
    assert (entry.outcome, entry.evidence["step"]) == (Outcome.INTERRUPTED, "restore test")
    assert "was interrupted in its restore test" in unfinished(plan)


def test_what_was_committed_is_no_attempt(
    shop: Database, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deployed, and then something failed that came after: the deploy stands."""

    def fails(*_: object) -> Evidence:
        raise Problem("It could not be looked at.")

    monkeypatch.setattr("pymilk.deploy.after._look", fails)
    with pytest.raises(Problem, match="is deployed, but could not be looked at"):
        deploy(toy.plan(shop), Silent())
    assert attempts(shop) == []


def test_a_ledger_that_cannot_be_written_changes_nothing_of_what_is_told(
    shop: Database, toy: Toy
) -> None:
    shop.connect(user="supabase_admin", autocommit=True).execute(
        "alter table pymilk.events add constraint none check (kind <> 'attempt')"
    )
    toy.up("select 1 / 0;")
    with pytest.raises(Problem, match="division by zero"):
        deploy(toy.plan(shop), Silent())
    assert attempts(shop) == []


def test_what_the_ledger_could_not_take_the_next_run_writes(shop: Database, toy: Toy) -> None:
    owner = shop.connect(user="supabase_admin", autocommit=True)
    owner.execute("alter table pymilk.events add constraint none check (kind <> 'attempt')")
    up = toy.plan(shop).migration.up.text
    toy.up("select 1 / 0;")
    failing = toy.plan(shop)
    for _ in range(2):  # it is kept until the ledger takes it
        with pytest.raises(Problem, match="division by zero"):
            deploy(failing, Silent())
    owner.execute("alter table pymilk.events drop constraint none")
    toy.up(up)
    plan = toy.plan(shop)
    deploy(plan, Silent())
    (entry,) = attempts(shop)
    assert (entry.run, entry.outcome, entry.evidence["step"]) == (
        *(failing.run, Outcome.FAILED, "rehearsal"),
    )
    assert "division by zero" in entry.evidence["why"]
    assert entry.evidence["told_by"] == str(plan.run)
    assert unfinished(plan) == ""


def test_one_that_is_at_work_is_left_alone(shop: Database, toy: Toy) -> None:
    with noted(toy.plan(shop), Kind.DEPLOY) as trace:
        trace.reach("backup")
        with noted(toy.plan(shop), Kind.REHEARSAL):
            pass
        assert attempts(shop) == []


def test_where_nothing_can_be_left_behind_a_run_goes_on(shop: Database, toy: Toy) -> None:
    # Where the folder should be, there is a file: the disk might as well be full.
    (load_project(toy.root).make_workspace() / "runs").write_text("")
    with noted(toy.plan(shop), Kind.ROLLBACK) as trace:
        trace.reach("anything")


def test_one_that_was_killed_as_it_committed_was_no_attempt(shop_001: Database, toy: Toy) -> None:
    plan = toy.plan(shop_001)
    with connect(shop_001.url, purpose="test") as connection:
        (run,) = {e.run for e in read_entries(connection) if e.kind is Kind.DEPLOY}
    assert run is not None
    with tracing(replace(plan, run=run), Kind.DEPLOY) as trace:
        trace.ended(Outcome.INTERRUPTED, {"why": "killed"}, known=False)
    with noted(plan, Kind.ROLLBACK):
        pass
    assert attempts(shop_001) == []
