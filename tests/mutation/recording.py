"""A pytest plugin that writes down which functions each test calls, at which stage.

    pytest -p mutation.recording …, with MUTATION_CALLS naming a folder

Postgres itself counts the calls (`track_functions`), those of triggers as well.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pymilk.database.cluster import SUPERUSER
from support.databases import Database, Templates

if TYPE_CHECKING:
    from support.servers import Server

_calls: dict[str, dict[str, list[str]]] = {}
_seconds: dict[str, float] = {}
_running: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def _counted(request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue("server")
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as session:
        session.execute("alter system set track_functions to 'all'")
        session.execute("select pg_reload_conf()")
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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Know whose calls are counted."""
    _running[:] = [item.nodeid]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Know how long a test takes."""
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish() -> None:
    """Write it down."""
    folder = Path(os.environ["MUTATION_CALLS"])
    found = {test: {"calls": calls, "seconds": _seconds[test]} for test, calls in _calls.items()}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(found), encoding="utf-8")
