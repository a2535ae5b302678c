"""Files that can't be one transaction: each step known, each resumable, the whole proven."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pymilk.database.connection import connect
from pymilk.database.ledger import Kind, Outcome, read_entries
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.change.transaction import standing as told_of
from pymilk.deploy.pipeline import deploy
from pymilk.deploy.survey.status import Standing, read_status
from pymilk.problem import Problem, UsageProblem
from pymilk.project.migrations import refuse_what_cannot_be_one_transaction
from pymilk.project.project import load_project
from support.commands import run, start
from support.databases import Database
from support.projects import GAP, Silent, Toy, deploy_toy, schema_and_rows
from support.sessions import wait_until_blocked, wait_until_gone

VERSION = GAP.partition("_")[0]
MARK = "-- pg-delta: transaction=false\n"
UP = (
    MARK
    + """
alter table public.bills add column settled_by text;
create index concurrently bills_by_payer on public.bills (settled_by);
create unique index concurrently words_once on public.marks (word);
"""
)
DOWN = """
drop index public.words_once;
drop index public.bills_by_payer;
alter table public.bills drop column settled_by;
"""


@pytest.fixture
def stepwise(shop: Database, toy: Toy) -> Toy:
    """A column, an index, and one that the live rows don't allow, which the copy can't know."""
    shop.connect(autocommit=True).execute("delete from public.marks")
    toy.gap(UP, DOWN, "select settled_by from public.bills;")
    return toy


def standing(database: Database, toy: Toy) -> tuple[Standing, str | None]:
    row = read_status(database.url, load_project(toy.root)).find(VERSION)
    return row.standing, row.half


def outcomes(database: Database) -> list[tuple[int | None, Outcome]]:
    with connect(database.url, purpose="test") as session:
        entries = read_entries(session)
    return [(entry.step, entry.outcome) for entry in entries if entry.kind is Kind.STEP]


def invalid_indexes(database: Database) -> int:
    found = (
        database.connect(autocommit=True)
        .execute("select count(*) from pg_index where not indisvalid")
        .fetchone()
    )
    assert found is not None
    return int(found[0])


def test_there_and_back(shop: Database, stepwise: Toy) -> None:
    before = schema_and_rows(shop)
    evidence = deploy_toy(stepwise.plan(shop))
    assert evidence.after is not None
    assert standing(shop, stepwise) == (Standing.APPLIED, None)
    assert outcomes(shop) == [
        (1, Outcome.DONE),
        (2, Outcome.BEGUN),
        (2, Outcome.DONE),
        (3, Outcome.BEGUN),
        (3, Outcome.DONE),
    ]
    roll_back(stepwise.plan(shop), archive=False)
    assert schema_and_rows(shop) == before
    assert standing(shop, stepwise) == (Standing.HELD, None)


@pytest.mark.long
def test_a_step_that_fails_leaves_no_invalid_index_and_is_gone_on_from(
    shop: Database, stepwise: Toy
) -> None:
    before = schema_and_rows(shop)
    plan = stepwise.plan(shop)
    clerk = shop.connect(autocommit=True)
    watcher = shop.connect(autocommit=True)
    # A reader of old rows keeps the second index waiting; meanwhile what it can't have comes in.
    reader = shop.connect()
    with ThreadPoolExecutor(1) as pool:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select * from public.marks")
        deploying = pool.submit(deploy, plan, Silent())
        wait_until_blocked(watcher, _building(watcher, "bills_by_payer"), timeout=60)
        clerk.execute("insert into public.marks values ('twice'), ('twice')")
        reader.rollback()
        with pytest.raises(ScriptFailed, match="words_once"):
            deploying.result(timeout=60)
    half = "half applied: step 2 of 3 done"
    assert standing(shop, stepwise) == (Standing.HALF, half)
    assert half in told_of(plan.target, VERSION)
    assert invalid_indexes(shop) == 0
    # Nothing else is deployed in its place, and it can't be rolled back from the middle.
    with pytest.raises(Problem, match="is half applied"):
        roll_back(plan, archive=False)
    stepwise.up(UP + "select 1;")
    with pytest.raises(Problem, match="its file was edited since"):
        deploy(stepwise.plan(shop), Silent())
    stepwise.up(UP)
    clerk.execute("delete from public.marks")
    deploy_toy(stepwise.plan(shop))
    assert standing(shop, stepwise) == (Standing.APPLIED, None)
    roll_back(stepwise.plan(shop), archive=False)
    assert schema_and_rows(shop) == before


def _building(watcher: psycopg.Connection[tuple[object, ...]], index: str) -> int:
    """The process that builds an index, once it does."""
    query = (
        "select pid from pg_stat_activity where datname = current_database() and state = 'active'"
        " and query like %s and pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 120
    while (row := watcher.execute(query, (f"%concurrently {index}%",)).fetchone()) is None:
        assert time.monotonic() < deadline, f"{index} was not seen being made"
        time.sleep(0.01)
    return int(str(row[0]))


@pytest.mark.long
def test_killed_while_an_index_is_made(shop: Database, stepwise: Toy) -> None:
    """It is left invalid, or the server finishes it alone: either way the next run knows."""
    reader, watcher = shop.connect(), shop.connect(autocommit=True)
    reader.execute("set transaction isolation level repeatable read")
    reader.execute("select * from public.marks")
    command = ("deploy", "001", "--policy", "local", "--db-url", shop.url)
    with start(*command, cwd=stepwise.root) as process:
        pid = _building(watcher, "bills_by_payer")
        wait_until_blocked(watcher, pid, timeout=60)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
    watcher.execute("select pg_terminate_backend(%s)", (pid,))
    reader.rollback()
    wait_until_gone(watcher, pid)
    assert invalid_indexes(shop) == 1
    told = run("status", "--db-url", shop.url, cwd=stepwise.root).stdout
    assert "half applied: step 1 of 3 done, step 2 was begun" in told
    done = run(*command, cwd=stepwise.root)
    assert done.returncode == 0, done.stderr
    assert invalid_indexes(shop) == 0
    assert standing(shop, stepwise) == (Standing.APPLIED, None)


@pytest.mark.parametrize("text", [MARK + "begin;\nselect 1;\ncommit;", UP.removeprefix(MARK)])
def test_what_is_refused_all_the_same(shop: Database, toy: Toy, text: str) -> None:
    toy.gap(text, "select 1;")
    with pytest.raises(Problem, match=r"controls the transaction|can't run in a transaction"):
        deploy(toy.plan(shop), Silent())


def test_only_the_first_line_marks_it(toy: Toy) -> None:
    toy.up("-- why\n" + UP)
    script = toy.plan("postgresql://nowhere").migration.up
    assert not script.in_steps
    with pytest.raises(UsageProblem) as refused:
        refuse_what_cannot_be_one_transaction(script)
    assert MARK.strip() in refused.value.todo
