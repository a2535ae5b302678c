"""Try mutants: load one, run the tests that concern it until one fails.

Each worker is a process with a server of its own, on which the stages are made once. A mutant makes
the stage that it changes anew; the tests run in a fork, which has everything imported already.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

import support.databases
import support.servers
from mutation.mutants import Mutant
from pymilk.database.cluster import SUPERUSER
from support.databases import GAPS, ROOT, Templates
from support.servers import Server, running_server

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

_STAGES = ("empty", "baseline", "dairy", *(f"dairy_{gap}" for gap in GAPS), "dairy_hardened")
_ORIGINALS = support.databases.MIGRATIONS
# When tests hang rather than fail: seconds, on top of several times what they usually take.
_PATIENCE, _SLACK = 30.0, 4.0
_NOTHING_FAILED = {0, 5}  # pytest: all passed, nothing collected


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    HUNG = "hung"
    """Noticed too: the tests came to no end."""
    SURVIVED = "survived"
    STILLBORN = "stillborn"
    """Postgres doesn't even take it."""


@dataclass(frozen=True)
class Trial:
    """A mutant, the tests that concern it, and the seconds that these take."""

    mutant: Mutant
    tests: list[str]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """One mutant tried."""

    trial: Trial
    fate: Fate
    seconds: float


def try_all(chosen: Sequence[Trial], *, workers: int) -> Iterator[Outcome]:
    """Try each with its tests, as they come."""
    fork = multiprocessing.get_context("fork")
    todo: Queue[Trial | None] = fork.Queue()
    done: Queue[Outcome] = fork.Queue()
    for item in (*chosen, *([None] * workers)):
        todo.put(item)
    running = [fork.Process(target=_work, args=(todo, done)) for _ in range(workers)]
    for process in running:
        process.start()
    try:
        for _ in chosen:
            yield done.get()
    finally:
        for process in running:
            if sys.exc_info()[0] is not None:
                process.terminate()
            process.join()


def _work(todo: "Queue[Trial | None]", done: "Queue[Outcome]") -> None:
    os.environ["PYMILK_TEST_BACKEND"] = "embedded"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running_server() as server:
        originals = Templates(server, f"original_{os.getpid()}")
        for stage in _STAGES:
            with originals.clone(stage):
                pass  # made, for the mutants to begin with
        while (item := todo.get()) is not None:
            done.put(_try(server, f"original_{os.getpid()}", item))


def _try(server: Server, originals: str, trial: Trial) -> Outcome:
    began = time.monotonic()
    mutant = trial.mutant
    prefix = f"mutant_{os.getpid()}"
    folder = Path(tempfile.mkdtemp())
    try:
        first = min(mutant.texts)
        for path in _ORIGINALS.glob("*.sql"):
            text = mutant.texts.get(path.stem)
            (folder / path.name).write_text(text or path.read_text())
        support.databases.MIGRATIONS = folder
        changed = _stage_of(first)
        Templates.ready = {
            stage: f"{originals}_{stage}" for stage in _STAGES[: _STAGES.index(changed)]
        }
        try:
            with Templates(server, prefix).clone(changed):
                pass
        except psycopg.Error:
            return Outcome(trial, Fate.STILLBORN, time.monotonic() - began)
        Templates.ready[changed] = f"{prefix}_{changed}"
        fate = _tested(server, trial) if trial.tests else Fate.SURVIVED
        return Outcome(trial, fate, time.monotonic() - began)
    finally:
        Templates.ready = {}
        support.databases.MIGRATIONS = _ORIGINALS
        shutil.rmtree(folder)
        _tidy(server)


def _stage_of(stem: str) -> str:
    gap = stem.partition("_gap_")[2].partition("_")[0]
    return f"dairy_{gap}" if gap else "dairy_hardened"


def _given(server: Server) -> Callable[[], AbstractContextManager[Server]]:
    @contextmanager
    def running() -> Iterator[Server]:
        yield server

    return running


def _tested(server: Server, trial: Trial) -> Fate:
    """What the tests make of it, in a process of their own."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 3
        try:
            support.servers.running_server = _given(server)  # type: ignore[assignment]
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            arguments = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not long or alone"]
            code = pytest.main([*arguments, "--rootdir", str(ROOT), *trial.tests])
        finally:
            os._exit(code)
    ends = time.monotonic() + _PATIENCE + trial.seconds * _SLACK
    while time.monotonic() < ends:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            passed = os.waitstatus_to_exitcode(status) in _NOTHING_FAILED
            return Fate.SURVIVED if passed else Fate.KILLED
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Fate.HUNG


def _tidy(server: Server) -> None:
    """Drop what a mutant and its tests have left."""
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as session:
        left = session.execute(
            "select datname from pg_database where datname like 'mutant%' or datname like 'pymilk%'"
            " or datname like 'privileges%'"
        ).fetchall()
        for (name,) in left:
            session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
