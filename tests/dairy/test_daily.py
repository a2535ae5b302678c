"""What a watch times runs at every stage, and only reads."""

import pytest

from pymilk.deploy.health.daily import time_daily
from pymilk.project.project import load_project
from support.databases import ROOT, Database


@pytest.mark.parametrize("stage", ["dairy", "dairy_hardened"])
def test_every_daily_statement_runs(request: pytest.FixtureRequest, stage: str) -> None:
    database: Database = request.getfixturevalue(stage)
    queries = load_project(ROOT).daily
    timed = time_daily(database.connect(autocommit=True), queries)
    assert timed.failed == {}
    assert timed.seconds.keys() == {query.path.stem for query in queries}
    assert len(queries) == 5
