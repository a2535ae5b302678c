"""A pytest plugin that writes down which functions each test calls, at which stage.

    pytest -p mutation.recording …, with MUTATION_CALLS naming a folder

Postgres itself counts the calls (`track_functions`), those of triggers as well.
"""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from mutation.effort import parent_of, spent_by
from pymilk.database.cluster import SUPERUSER
from support.databases import STAGES, Database, Templates

if TYPE_CHECKING:
    from support.servers import Server

_calls: dict[str, dict[str, list[str]]] = {}
_seconds: dict[str, float] = {}
_failed: set[str] = set()
_running: list[str] = []
_postgres: list[int] = []
_began: list[float] = []


@pytest.fixture(scope="session", autouse=True)
def _counted(request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue("server")
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as session:
        session.execute("alter system set track_functions to 'all'")
        session.execute("select pg_reload_conf()")
        _postgres[:] = [parent_of(session.info.backend_pid)]
    templates: Templates = request.getfixturevalue("templates")
    for stage in STAGES:
        with templates.clone(stage):
            pass  # made, so that no test is charged with it
    _began[:] = [spent_by(os.getpid(), *_postgres)]
    Templates.before_drop.append(_read)


def _read(database: Database, stage: str) -> None:
    """Sessions that are closed have told what they counted."""
    with psycopg.connect(database.superuser_url, autocommit=True) as session:
        rows = session.execute(
            "select schemaname || '.' || funcname from pg_stat_user_functions"
        ).fetchall()
    for test in _running[-1:]:
        known = _calls.setdefault(test, {}).setdefault(stage, [])
        known += sorted({row[0] for row in rows} - set(known))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Leave out a test that fails anyway: it would notice every mutant."""
    if report.failed:
        _failed.add(report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Know whose calls are counted, and what the test costs."""
    _running[:] = [item.nodeid]
    _began[:] = [spent_by(os.getpid(), *_postgres)]
    try:
        return (yield)
    finally:
        _seconds[item.nodeid] = spent_by(os.getpid(), *_postgres) - _began[0]


def pytest_sessionfinish() -> None:
    """Write it down."""
    folder = Path(os.environ["MUTATION_CALLS"])
    found = {
        test: {"calls": _calls.get(test, {}), "seconds": seconds}
        for test, seconds in _seconds.items()
        if test not in _failed
    }
    (folder / f"{os.getpid()}.json").write_text(json.dumps(found), encoding="utf-8")
