"""Killed, cut off, interrupted: whatever happens, it is deployed whole or not at all.

The scripts of the toy wait while a test holds an advisory lock of the target (the rehearsal's copy
has none), so that a test knows where the process is when it strikes.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

import psycopg
import pytest

from pymilk.database.connection import connect
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.ledger import Kind, Outcome, read_entries
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.pipeline import deploy
from pymilk.deploy.survey.status import Standing, read_status
from pymilk.problem import Problem
from support.commands import run, start
from support.databases import Database
from support.gate import WAIT, closed_gate, wait_until_at_the_gate
from support.projects import (
    DOWN_SQL,
    GAP,
    UP_SQL,
    Silent,
    Toy,
    mark_baseline,
    schema_and_rows,
    schema_and_rows_at,
)
from support.proxy import Cut, proxy

VERSION = GAP.partition("_")[0]


@pytest.fixture
def slow_toy(toy: Toy) -> Toy:
    """The toy, whose scripts wait half-way while the gate is closed."""
    toy.up(UP_SQL + WAIT + "select 1;")
    toy.down(DOWN_SQL + WAIT + "select 1;")
    return toy


def standing(url: str, toy: Toy) -> Standing:
    return read_status(url, toy.plan(url).project).find(VERSION).standing


def arguments(command: str, url: str) -> tuple[str, ...]:
    return (command, "001", "--policy", "local", "--db-url", url)


Strike = Callable[[subprocess.Popen[str], int, str], None]


def kill_the_tool(process: subprocess.Popen[str], _pid: int, _url: str) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)


def end_the_session(process: subprocess.Popen[str], pid: int, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", (pid,))
    assert process.wait(timeout=60) == 1
    assert process.stderr is not None
    told = process.stderr.read()
    assert "The connection was lost" in told
    assert "Nothing was changed: it was lost before the commit" in told
    assert "Traceback" not in told


def press_ctrl_c(process: subprocess.Popen[str], _pid: int, _url: str) -> None:
    is_interrupted(process, signal.SIGINT)


def tell_it_to_end(process: subprocess.Popen[str], _pid: int, _url: str) -> None:
    is_interrupted(process, signal.SIGTERM)


def is_interrupted(process: subprocess.Popen[str], number: signal.Signals) -> None:
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) == 130
    assert process.stderr is not None
    told = process.stderr.read()
    assert "Interrupted" in told
    assert "read again just now" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "strike",
    [
        kill_the_tool,
        *(
            pytest.param(each, marks=pytest.mark.long)
            for each in (end_the_session, press_ctrl_c, tell_it_to_end)
        ),
    ],
)
def test_struck_in_the_middle_of_the_change_nothing_is_there_and_the_next_run_finishes(
    shop: Database, slow_toy: Toy, strike: Strike
) -> None:
    before = schema_and_rows(shop)
    with closed_gate(shop.url), start(*arguments("deploy", shop.url), cwd=slow_toy.root) as process:
        strike(process, wait_until_at_the_gate(shop.url), shop.url)
    assert standing(shop.url, slow_toy) is Standing.PENDING
    done = run(*arguments("deploy", shop.url), cwd=slow_toy.root)
    assert done.returncode == 0, done.stderr
    assert standing(shop.url, slow_toy) is Standing.APPLIED

    deployed = schema_and_rows(shop)
    with (
        closed_gate(shop.url),
        start(*arguments("rollback", shop.url), cwd=slow_toy.root) as process,
    ):
        strike(process, wait_until_at_the_gate(shop.url), shop.url)
    assert standing(shop.url, slow_toy) is Standing.APPLIED
    assert schema_and_rows(shop) == deployed
    done = run(*arguments("rollback", shop.url), cwd=slow_toy.root)
    assert done.returncode == 0, done.stderr
    assert standing(shop.url, slow_toy) is Standing.HELD
    assert schema_and_rows(shop) == before
    outcome = Outcome.FAILED if strike is end_the_session else Outcome.INTERRUPTED
    with connect(shop.url, purpose="test") as connection:
        tried = [entry for entry in read_entries(connection) if entry.kind is Kind.ATTEMPT]
    # Of the one that was killed the next run has told.
    assert [(each.evidence["of"], each.outcome, each.evidence["step"]) for each in tried] == [
        ("deploy", outcome, "apply"),
        ("rollback", outcome, ""),
    ]
    # Who was only cut off knows that it had not come to the commit.
    proven = "Nothing was changed: it was" if strike is end_the_session else f"{VERSION} is "
    assert all(proven in each.evidence["state"] for each in tried)
    assert list((slow_toy.root / ".pymilk" / "runs").rglob("*.jsonl")) == []


def kill_postgres(server: EmbeddedServer) -> None:
    """As a power cut would, but for the disk."""
    pid_files = [*server.directory.rglob("postmaster.pid"), *_own_place(server)]
    pid = int(pid_files[0].read_text().split("\n", 1)[0])
    os.kill(pid, signal.SIGKILL)


def _own_place(server: EmbeddedServer) -> list[Path]:
    """Where the data are when root's folder can't be reached by who runs Postgres."""
    note = server.directory / "place"
    return [Path(note.read_text()) / "data" / "postmaster.pid"] if note.exists() else []


@contextmanager
def server_that_survives(directory: Path) -> Iterator[EmbeddedServer]:
    """A server whose data are meant to survive; throw-away ones write too little for that."""
    server = EmbeddedServer(directory / "durable")
    server.start()
    try:
        yield server
    finally:
        server.destroy()


@pytest.mark.long
@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_postgres_killed_in_the_middle_of_the_change(
    slow_toy: Toy, command: str, tmp_path: Path
) -> None:
    with server_that_survives(tmp_path) as server:
        mark_baseline(server.url(), slow_toy)
        if command == "rollback":
            deploy(slow_toy.plan(server.url()), Silent())
        expected = standing(server.url(), slow_toy)
        gate = ExitStack()
        gate.enter_context(closed_gate(server.url()))
        with start(*arguments(command, server.url()), cwd=slow_toy.root) as process:
            wait_until_at_the_gate(server.url())
            kill_postgres(server)
            gate.close()
            server.start()
            _, told = process.communicate(timeout=90)
        assert process.returncode == 1
        assert "Nothing was changed: it was lost before the commit" in told
        assert standing(server.url(), slow_toy) is expected
        done = run(*arguments(command, server.url()), cwd=slow_toy.root)
        assert done.returncode == 0, done.stderr
        finished = {"deploy": Standing.APPLIED, "rollback": Standing.HELD}[command]
        assert standing(server.url(), slow_toy) is finished


class TestCutAtTheCommit:
    """The one moment when the tool itself can't know; the ledger does."""

    def test_a_deploy_that_was_committed_is_told_so(self, shop: Database, toy: Toy) -> None:
        with proxy(shop.url, Cut.AFTER_COMMIT) as cut:
            evidence = deploy(toy.plan(cut.url), Silent())
            assert cut.did_cut
        assert evidence is not None
        assert evidence.applied is not None
        assert standing(shop.url, toy) is Standing.APPLIED

    def test_a_deploy_that_was_not_is_told_so(self, shop: Database, toy: Toy) -> None:
        before = schema_and_rows(shop)
        with (
            proxy(shop.url, Cut.BEFORE_COMMIT) as cut,
            pytest.raises(Problem, match="connection was lost") as lost,
        ):
            deploy(toy.plan(cut.url), Silent())
        assert lost.value.state.startswith("Nothing was changed: the ledger")
        assert schema_and_rows(shop) == before
        deploy(toy.plan(shop), Silent())
        assert standing(shop.url, toy) is Standing.APPLIED

    def test_a_rollback_that_was_committed_is_told_so(self, shop_001: Database, toy: Toy) -> None:
        with proxy(shop_001.url, Cut.AFTER_COMMIT) as cut:
            roll_back(toy.plan(cut.url), archive=False)
            assert cut.did_cut
        assert standing(shop_001.url, toy) is Standing.HELD

    def test_a_rollback_that_was_not_is_told_so(self, shop_001: Database, toy: Toy) -> None:
        deployed = schema_and_rows(shop_001)
        with (
            proxy(shop_001.url, Cut.BEFORE_COMMIT) as cut,
            pytest.raises(Problem, match="connection was lost"),
        ):
            roll_back(toy.plan(cut.url), archive=False)
        assert schema_and_rows(shop_001) == deployed


def leftovers(toy: Toy) -> list[str]:
    """What an interrupted run must not leave: unfinished backups."""
    return [path.name for path in (toy.root / ".pymilk").rglob("*.partial")]


@pytest.mark.parametrize(
    "step",
    [
        "apply",
        *(
            pytest.param(each, marks=pytest.mark.long)
            for each in ("backup", "restore test", "rehearsal")
        ),
    ],
)
def test_ctrl_c_at_any_step_leaves_nothing(shop: Database, toy: Toy, step: str) -> None:
    before = schema_and_rows(shop)
    earlier = {"backup": "preflight", "restore test": "backup", "rehearsal": "restore test"}
    with start(*arguments("deploy", shop.url), cwd=toy.root) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if f"✓ {earlier.get(step, 'rehearsal')}" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert "Traceback" not in told
    assert leftovers(toy) == []
    if process.returncode == 0:  # it had come too far: then it is there, whole
        assert standing(shop.url, toy) is Standing.APPLIED
        return
    assert process.returncode == 130
    if standing(shop.url, toy) is Standing.APPLIED:
        assert f"{VERSION} is applied" in told
    else:
        assert f"{VERSION} is not applied" in told
        assert schema_and_rows(shop) == before


def ends_well(url: str, toy: Toy, states: dict[Standing, Mapping[str, object]]) -> Standing:
    """Whole or not at all: which of the two it is, by everything that there is to compare."""
    found = standing(url, toy)
    assert schema_and_rows_at(url) == states[found]
    return found


def deployed_and_not(url: str, toy: Toy) -> dict[Standing, Mapping[str, object]]:
    """What the database looks like before, deployed, and rolled back, when nothing goes wrong."""
    before = schema_and_rows_at(url)
    states = {Standing.PENDING: before, Standing.HELD: before}
    for command in ("deploy", "rollback"):
        assert run(*arguments(command, url), cwd=toy.root).returncode == 0
        states[standing(url, toy)] = schema_and_rows_at(url)
    assert states[Standing.HELD] == before
    return states


@pytest.mark.long
def test_killed_at_a_hundred_moments(shop: Database, toy: Toy) -> None:
    """After each, one rerun ends where the killed one was going."""
    moments = Random(100)  # noqa: S311 - the same moments each time
    states = deployed_and_not(shop.url, toy)
    longest = {"deploy": 5.0, "rollback": 1.5}
    for number in range(100):
        command = ("deploy", "rollback")[number % 2]
        started = time.monotonic()
        with start(*arguments(command, shop.url), cwd=toy.root) as process:
            try:
                process.communicate(timeout=moments.uniform(0, longest[command]))
                longest[command] = time.monotonic() - started
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        ends_well(shop.url, toy, states)
        done = run(*arguments(command, shop.url), cwd=toy.root)
        assert done.returncode == 0, done.stderr
        finished = {"deploy": Standing.APPLIED, "rollback": Standing.HELD}[command]
        assert ends_well(shop.url, toy, states) is finished


@pytest.mark.long
def test_postgres_killed_at_thirty_moments(toy: Toy, tmp_path: Path) -> None:
    """The same for the server: it recovers, and one rerun ends well."""
    moments = Random(30)  # noqa: S311 - the same moments each time
    with server_that_survives(tmp_path) as server:
        url = server.url()
        mark_baseline(url, toy)
        states = deployed_and_not(url, toy)
        for number in range(30):
            command = ("deploy", "rollback")[number % 2]
            longest = {"deploy": 6.0, "rollback": 2.0}[command]
            with start(*arguments(command, url), cwd=toy.root) as process:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=moments.uniform(0.3, longest))
                kill_postgres(server)
                server.start()
                process.communicate(timeout=120)
            ends_well(url, toy, states)
            done = run(*arguments(command, url), cwd=toy.root)
            assert done.returncode == 0, done.stderr
            finished = {"deploy": Standing.APPLIED, "rollback": Standing.HELD}[command]
            assert ends_well(url, toy, states) is finished
