"""The toy project's database with its gap rehearsed, and deployed, for reports of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymilk.deploy.pipeline import rehearse
from pymilk.project.project import Project, load_project
from pymilk.report.wording import Wording, wording_of
from support.databases import Database, Templates
from support.projects import Silent, Toy, copy_of, mark_baseline
from support.reported import Rehearsed, write_reported


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return write_reported(tmp_path)


@pytest.fixture
def project(toy: Toy) -> Project:
    return load_project(toy.root)


@pytest.fixture
def wording(project: Project) -> Wording:
    return wording_of(project)


@pytest.fixture(scope="session")
def rehearsed(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rehearsed]:
    """Made once: every test's database is a copy of it. Nobody changes it."""
    made = write_reported(tmp_path_factory.mktemp("reported"))
    with templates.clone("empty") as database:
        mark_baseline(database.url, made)
        plan = made.plan(database)
        yield Rehearsed(database, rehearse(plan, Silent()), plan.run)


@pytest.fixture
def shop_before(rehearsed: Rehearsed) -> Iterator[Database]:
    """The toy's database with its gap rehearsed."""
    with copy_of(rehearsed.database) as database:
        yield database


@pytest.fixture
def shop(rehearsed: Rehearsed, shop_before: Database, toy: Toy) -> Database:
    """The toy's database after its gap, deployed by the real steps."""
    rehearsed.look(toy, shop_before, rehearsed.apply(toy, shop_before))
    return shop_before
