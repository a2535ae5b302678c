"""The pytest plugin: `pymilk_client` is a client on a real database with the project's migrations.

    def test_a_payment_is_recorded(pymilk_client):
        done = pymilk_client.call(rpc.record_payment_atomic(payment={"amount": 300}))
        assert done.unapplied_amount == 300

The project is the folder that pytest starts from, or the one that `pymilk_project` names in
pytest's settings. Each test has a database of its own, copied from one that is made once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# What the fixtures need is imported when a test first asks for them: every pytest loads this.
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pymilk.rpc.client import Client
    from pymilk.testing.databases import Template


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which project the database is made of."""
    parser.addini(
        "pymilk_project",
        "The folder with supabase/ in it, from pytest's own; its migrations make the database.",
        default="",
    )


@pytest.fixture(scope="session")
def pymilk_template(request: pytest.FixtureRequest) -> "Iterator[Template]":
    """The database that others are copied from: all of the project's migrations, no rows."""
    folder = request.config.rootpath / str(request.config.getini("pymilk_project"))
    with _migrated(folder) as template:
        yield template


@pytest.fixture
def pymilk_url(pymilk_template: "Template") -> Iterator[str]:
    """The URL of a database of the test's own, as its owner; what rows it needs it puts there."""
    with pymilk_template.copy() as url:
        yield url


@pytest.fixture
def pymilk_client(pymilk_url: str) -> "Iterator[Client]":
    """A client on the test's own database."""
    from pymilk.rpc.client import Client  # noqa: PLC0415

    with Client.postgres(pymilk_url) as client:
        yield client


def _migrated(folder: Path) -> "AbstractContextManager[Template]":
    try:
        from pymilk.project.project import load_project  # noqa: PLC0415
        from pymilk.testing.databases import migrated  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"pymilk_client needs a server of its own, and {error.name} is missing:"
            " pip install 'pymilk[deploy,embedded]'"
        ) from error
    return migrated(load_project(folder))
