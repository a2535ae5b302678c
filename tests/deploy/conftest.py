"""Databases with the toy project in them: adopted, and deployed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pymilk.database.connection import connect
from pymilk.database.programs import find_programs
from pymilk.deploy.backup import backup, restore_test
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import CopyAt
from pymilk.deploy.rehearsal import rehearsal
from pymilk.deploy.rehearsal.bench import open_bench
from pymilk.deploy.survey import preflight
from support.databases import Database, Templates
from support.projects import (
    Toy,
    bench,
    copy_of,
    deploy_toy,
    mark_baseline,
    scratch_server,
    set_aside,
    write_toy,
)

__all__ = ["bench", "scratch_server", "set_aside"]

# Not skipped where it can't run: CI takes no skip for an answer, and fetches what it needs.
collect_ignore = [] if "PYMILK_SUPABASE_CLI" in os.environ else ["test_supabase_cli.py"]


@pytest.fixture(scope="session")
def toy_adopted(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """The toy's database before its gap, for all tests to copy; nobody changes it."""
    with templates.clone("empty") as database:
        mark_baseline(database.url, write_toy(tmp_path_factory.mktemp("adopted")))
        yield database


@pytest.fixture(scope="session")
def _toy_deployed(
    toy_adopted: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    # Rehearsed as people do it, on a server that is started for it; the tests share one.
    with copy_of(toy_adopted) as database:
        deploy_toy(write_toy(tmp_path_factory.mktemp("deployed")).plan(database))
        yield database


@pytest.fixture
def toy(tmp_path: Path, set_aside: CopyAt) -> Toy:
    """The toy project, to be varied; rehearsed in the database that is set aside for all."""
    return replace(write_toy(tmp_path / "project"), copy=set_aside)


@pytest.fixture
def shop(toy_adopted: Database) -> Iterator[Database]:
    """The toy's database before its gap."""
    with copy_of(toy_adopted) as database:
        yield database


@pytest.fixture
def shop_001(_toy_deployed: Database) -> Iterator[Database]:
    """The toy's database after its gap, deployed by the real pipeline."""
    with copy_of(_toy_deployed) as database:
        yield database


@pytest.fixture(scope="session")
def proof(
    toy_adopted: Database, set_aside: CopyAt, tmp_path_factory: pytest.TempPathFactory
) -> Evidence:
    """Everything that comes before the change, once: every test's database is the same."""
    with (
        copy_of(toy_adopted) as database,
        # Empty, whatever other tests have left on the server's own database.
        open_bench(set_aside, None, find_programs().major) as bench,
    ):
        plan = write_toy(tmp_path_factory.mktemp("proof")).plan(database)
        with connect(database.url, purpose="test") as guard:
            evidence = preflight.run(plan, guard, bench, Evidence())
        for step in (backup, restore_test, rehearsal):
            evidence = step.run(plan, bench, evidence)
        return evidence


__all__ += ["Toy"]
