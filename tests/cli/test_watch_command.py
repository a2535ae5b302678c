"""`pymilk watch` and `pymilk deploy --watch`, as processes: seen, rolled back, struck, gone on."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from pymilk.cli.watching import log_line
from pymilk.database.ledger import Kind, latest, read_entries
from pymilk.deploy.basis.sample import Sample
from pymilk.deploy.health.samples import Taken, read_samples
from pymilk.deploy.watch.watch import Seen
from support.commands import environment, run, start
from support.databases import Database, Templates
from support.projects import Toy, copy_of, deploy_toy, mark_baseline, toy, write_toy

__all__ = ["toy"]

BREAK = "update public.bills set paid = amount + 1 where id = 1"


def weaken(toy: Toy) -> None:
    """A gap that doesn't guard the bills."""
    toy.gap("create table public.extra (id int primary key);", "drop table public.extra;")


@pytest.fixture(scope="module")
def _deployed(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    project = write_toy(tmp_path_factory.mktemp("weak"))
    with templates.clone("empty") as database:
        mark_baseline(database.url, project)
        weaken(project)
        deploy_toy(project.plan(database))
        yield database


@pytest.fixture
def weak(_deployed: Database, toy: Toy) -> Iterator[Database]:
    weaken(toy)
    with copy_of(_deployed) as database:
        yield database


@pytest.fixture
def shop(empty_database: Database, toy: Toy) -> Database:
    weaken(toy)
    mark_baseline(empty_database.url, toy)
    return empty_database


def samples_of(database: Database) -> int:
    with psycopg.connect(database.url, autocommit=True) as session:
        deploy = latest(read_entries(session), Kind.DEPLOY)
        return len(read_samples(session, deploy.id)) if deploy else 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_once_is_for_cron(weak: Database, toy: Toy) -> None:
    on = ("watch", "--once", "--db-url", weak.url)
    good = run(*on, cwd=toy.root)
    assert good.returncode == 0, good.stderr
    assert "1 of 1 invariants hold" in good.stdout
    assert "not to be seen here: " in good.stdout
    weak.connect(autocommit=True).execute(BREAK)
    broken = run(*on, "--json", cwd=toy.root)
    assert broken.returncode == 3
    assert "leaves it to people" in broken.stderr
    told = json.loads(broken.stdout)
    assert told["breach"]["then"] == "left to people"
    assert told["broken"][0]["examples"] == [["1", "100", "101"]]


@pytest.mark.long
def test_deployed_watched_broken_and_rolled_back(shop: Database, toy: Toy) -> None:
    """The whole story, with a second session that breaks an invariant meanwhile."""
    deploying = start(
        *("deploy", "001", "--watch", "2m", "--watch-every", "1s"),
        *("--db-url", shop.url, "--policy", "local"),
        cwd=toy.root,
    )
    until(lambda: samples_of(shop) > 0)
    session = shop.connect(autocommit=True)
    session.execute(BREAK)
    bills = session.execute("select b::text from public.bills as b order by 1").fetchall()
    out, err = deploying.communicate(timeout=60)
    assert deploying.returncode == 1, out + err
    assert "broken, and held before the deploy: overpaid: 1 new row(s): 1, 100, 101" in out
    assert "GAP-001 was rolled back" in err
    assert session.execute("select to_regclass('public.extra')").fetchone() == (None,)
    assert session.execute("select b::text from public.bills as b order by 1").fetchall() == bills
    history = run("history", "--db-url", shop.url, cwd=toy.root).stdout
    assert re.search(r"breach +gap_001_pay_bill", history)


@pytest.mark.long
def test_killed_it_goes_on_from_the_ledger(weak: Database, toy: Toy) -> None:
    on = ("watch", "--every", "1s", "--db-url", weak.url, "--for")
    first = start(*on, "1h", cwd=toy.root)
    until(lambda: samples_of(weak) > 1)
    first.kill()
    first.communicate(timeout=60)
    second = run(*on, "2s", cwd=toy.root)
    assert second.returncode == 0, second.stderr
    assert "it goes on from the ledger: watched for" in second.stdout
    assert "hold" in second.stdout


@pytest.mark.long
def test_it_outlives_its_terminal(weak: Database, toy: Toy) -> None:
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "pymilk", "watch", "--for", "1h", "--every", "1s"],
        cwd=toy.root,
        env=environment({"SUPABASE_DB_URL": weak.url, "TERM": "xterm"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        until(lambda: samples_of(weak) > 0)
        assert b"watching" in os.read(ours, 10_000)
        watching.send_signal(signal.SIGHUP)
        os.close(ours)
        before = samples_of(weak)
        until(lambda: samples_of(weak) > before + 1)
        log = Path(toy.root / ".pymilk" / "watch.log")
        until(lambda: "invariants hold" in log.read_text())
        assert "The terminal was lost" in log.read_text()
        assert log.stat().st_mode & 0o077 == 0
    finally:
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(timeout=30) == 130


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("watch", "--once", "--for", "1h"), "--once and --for don't go together"),
        (("watch", "--for", "soon"), "that is no duration"),
        (("watch", "--for", "1h", "--every", "0s"), "that is no duration"),
        (("watch", "--for", "9h", "--every", "2h"), "too seldom"),
        (("deploy", "001", "--watch", "x"), "that is no duration"),
        (("watch", "--policy", "local"), "The policy asks for no soak time"),
    ],
)
def test_what_cannot_be_meant(toy: Toy, arguments: tuple[str, ...], said: str) -> None:
    on = ("--db-url", "postgresql://x@127.0.0.1:1/x")
    refused = run(*arguments, *on, cwd=toy.root)
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr


def test_what_clients_reported_is_told_as_so_far_and_then_as_new() -> None:
    moment = datetime(2025, 9, 16, 23, 30, tzinfo=UTC)

    def line(outcomes: dict[str, dict[str, int]], before: Taken | None) -> tuple[str, Taken]:
        sample = Sample(moment, 0.1, {}, outcomes=outcomes)
        taken = Taken(1, 1, uuid.uuid4(), "asha", sample)
        return log_line(Seen(taken, before, 60.0, None), None), taken

    told, first = line({"failed": {"pay: refused": 437}}, None)
    assert "failed: pay: refused 437 so far" in told
    told, _ = line({"failed": {"pay: refused": 439, "pay: 40P01": 1}}, first)
    assert "failed: pay: refused +2, pay: 40P01 +1" in told
    assert "failed: nothing new" in line(first.sample.outcomes, first)[0]  # type: ignore[arg-type]
    # The table came in between.
    assert "later: x 3 so far" in line({"later": {"x": 3}}, first)[0]
    assert "later: nothing;" in line({"later": {}}, None)[0]
