"""Try mutants: load one, run what concerns it until something notices.

Each worker is a process with a server of its own, on which the stages are made once. A mutant makes
the stages from the one that it changes on, and the verification of each migration that it changes
is asked first: it costs next to nothing. The tests run in a fork, which sees the changed project.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

import support.databases
import support.servers
from mutation.effort import parent_of, spent_by
from mutation.mutants import Mutant
from mutation.outcomes import Fate, Outcome, outcome
from pymilk.database.cluster import SUPERUSER
from support.databases import ROOT, STAGES, Templates
from support.servers import Server, keep_in_memory, running_server

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

# When tests hang rather than fail: seconds of processor time on top of several times what they
# usually take, or seconds by the clock in which nothing is computed: each waits for another.
_PATIENCE, _SLACK, _STANDSTILL = 30.0, 4.0, 90.0
_LOOK, _STIR = 5.0, 0.05
_NOTHING_FAILED = {0, 5}  # pytest: all passed, nothing collected
_ARGUMENTS = (
    *("-x", "-q", "-p", "no:cacheprovider", "-m", "not long or alone"),
    # Of our own pytest plugin, which whoever starts the trials has imported.
    *("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"),
)
_TAIL = 3000  # characters of what pytest says when it can't run the tests


@dataclass(frozen=True)
class Trial:
    """A mutant, the tests that concern it, and the seconds of processor time that these take."""

    mutant: Mutant
    tests: list[str]
    seconds: float


def try_all(chosen: Sequence[Trial], *, workers: int) -> Iterator[tuple[Trial, Outcome]]:
    """Try each with its tests, as they come."""
    fork = multiprocessing.get_context("fork")
    todo: Queue[Trial | None] = fork.Queue()
    done: Queue[tuple[Trial, Outcome]] = fork.Queue()
    for item in (*chosen, *([None] * workers)):
        todo.put(item)
    running = [fork.Process(target=_work, args=(todo, done)) for _ in range(workers)]
    for process in running:
        process.start()
    try:
        for _ in chosen:
            yield done.get()
    finally:
        todo.cancel_join_thread()  # what nobody takes any more would keep this process waiting
        for process in running:
            if sys.exc_info()[0] is not None:
                process.terminate()
            process.join()


def _work(todo: "Queue[Trial | None]", done: "Queue[tuple[Trial, Outcome]]") -> None:
    os.environ["PYMILK_TEST_BACKEND"] = "embedded"
    # Whatever the environment says: or every fork would rewrite the assertions of all tests anew.
    sys.dont_write_bytecode = False
    keep_in_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running_server() as server:
        prefix = f"original_{os.getpid()}"
        originals = Templates(server, prefix)
        for stage in STAGES:
            with originals.clone(stage):
                pass  # made, for the mutants to begin with
        while (trial := todo.get()) is not None:
            done.put((trial, _try(server, prefix, trial)))


def _try(server: Server, originals: str, trial: Trial) -> Outcome:
    mutant = trial.mutant
    with tempfile.TemporaryDirectory() as folder, _changed(Path(folder), mutant):
        try:
            unverified = _make(server, originals, mutant)
        except psycopg.Error:
            return outcome(mutant, Fate.STILLBORN)
        else:
            if unverified:
                return outcome(mutant, Fate.KILLED, killer=unverified)
            return _tested(server, trial, Path(folder))
        finally:
            Templates.ready = {}
            _tidy(server)


@contextmanager
def _changed(folder: Path, mutant: Mutant) -> Iterator[None]:
    """Have the tests find a project in this folder that says what the mutant does."""
    _mirror(ROOT, folder, but="supabase")
    _mirror(ROOT / "supabase", folder / "supabase", but="migrations")
    migrations = folder / "supabase" / "migrations"
    migrations.mkdir()
    for path in (ROOT / "supabase" / "migrations").glob("*.sql"):
        text = mutant.texts.get(path.stem) or path.read_text(encoding="utf-8")
        (migrations / path.name).write_text(text, encoding="utf-8")
    support.databases.ROOT, support.databases.MIGRATIONS = folder, migrations
    try:
        yield
    finally:
        support.databases.ROOT = ROOT
        support.databases.MIGRATIONS = ROOT / "supabase" / "migrations"


def _mirror(original: Path, folder: Path, *, but: str) -> None:
    folder.mkdir(exist_ok=True)
    for path in original.iterdir():
        if path.name != but and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)


def _make(server: Server, originals: str, mutant: Mutant) -> str:
    """Make everything deployed, and say which verification of a changed migration fails.

    Raises:
        psycopg.Error: a migration does not go through.
    """
    first = min(mutant.texts)
    before = STAGES[: STAGES.index(_stage_of(first))]
    # The last stage is of several migrations, and begins with the first of them.
    made_from = min(first, support.databases.after_the_gaps()[0].stem)
    name = f"mutant_{os.getpid()}"
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as session:
        session.execute(
            sql.SQL("create database {} template {} owner postgres strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(f"{originals}_{before[-1]}")
            )
        )
    with psycopg.connect(server.url(name, "postgres")) as connection:
        for path in sorted(support.databases.MIGRATIONS.glob("*.sql")):
            if path.stem >= made_from:
                connection.execute(path.read_bytes())
                connection.commit()
            if path.stem in mutant.texts:
                verification = f"supabase/verify/{path.name}"
                try:
                    connection.execute((ROOT / verification).read_bytes())
                except psycopg.Error:
                    return verification
                finally:
                    connection.rollback()
    Templates.ready = {stage: f"{originals}_{stage}" for stage in before} | {STAGES[-1]: name}
    return ""


def _stage_of(stem: str) -> str:
    gap = stem.partition("_gap_")[2].partition("_")[0]
    return f"dairy_{gap}" if gap else "dairy_hardened"


def _given(server: Server) -> Callable[[], AbstractContextManager[Server]]:
    @contextmanager
    def running() -> Iterator[Server]:
        yield server

    return running


class _Killer:
    """A pytest plugin that writes down which test fails first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self._path.exists():
            self._path.write_text(report.nodeid, encoding="utf-8")


def _tested(server: Server, trial: Trial, folder: Path) -> Outcome:
    """What the tests make of it, in a process of their own."""
    many = len(trial.tests)
    if not many:
        return outcome(trial.mutant, Fate.SURVIVED)
    killer, said = folder / "killer", folder / "said"
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 3
        try:
            support.servers.running_server = _given(server)  # type: ignore[assignment]
            onto = os.open(said, os.O_WRONLY | os.O_CREAT)
            os.dup2(onto, 1)
            os.dup2(onto, 2)
            tests = [str(ROOT / test) for test in trial.tests]
            code = pytest.main(
                [*_ARGUMENTS, "--rootdir", str(ROOT), *tests], plugins=[_Killer(killer)]
            )
        finally:
            if sys.exc_info()[0] is not None:  # told by whoever waits; here nothing is above
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    try:
        ended = _ended(child, server, _PATIENCE + trial.seconds * _SLACK)
    except KeyboardInterrupt:
        os.killpg(child, signal.SIGKILL)
        raise
    if ended is None:
        return outcome(trial.mutant, Fate.HUNG, tests=many)
    if ended in _NOTHING_FAILED:
        return outcome(trial.mutant, Fate.SURVIVED, tests=many)
    if not killer.exists():
        sys.stderr.write(said.read_text(encoding="utf-8", errors="replace")[-_TAIL:])
        return outcome(trial.mutant, Fate.UNTRIED, tests=many)
    first = killer.read_text(encoding="utf-8")
    return outcome(trial.mutant, Fate.KILLED, killer=first, tests=many)


def _ended(child: int, server: Server, patience: float) -> int | None:
    """The exit code of a process; None, and it is ended, when it comes to no end of its own."""
    with psycopg.connect(server.url("postgres", SUPERUSER)) as session:
        processes = (child, parent_of(session.info.backend_pid))
    began = moved = spent_by(*processes)
    still = looked = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
        now = time.monotonic()
        if now - looked < _LOOK:
            continue
        looked, spent = now, spent_by(*processes)
        if spent - moved > _STIR:
            moved, still = spent, now
        if spent - began > patience or now - still > _STANDSTILL:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None


def _tidy(server: Server) -> None:
    """Drop what a mutant and its tests have left."""
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as session:
        left = session.execute(
            "select datname from pg_database where datname like 'mutant%' or datname like 'pymilk%'"
            " or datname like 'privileges%'"
        ).fetchall()
        for (name,) in left:
            session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
