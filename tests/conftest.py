"""Fixtures: one real Postgres a run (and xdist worker), and a database of its own for each test."""

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from pymilk.database import embedded
from support.commands import preloaded
from support.databases import GAPS, Database, Templates
from support.servers import Server, keep_in_memory, running_server

# What is compiled is kept, whatever the environment says: each worker, and each `pymilk` that tests
# start, would compile all of it again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_configure() -> None:
    """Put the run's servers and files into memory where there is room; let Ctrl-C be Ctrl-C."""
    keep_in_memory()
    # What a shell starts in the background ignores it, and so would the programs that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish() -> None:
    """End what tests share, and what tools that were killed by tests have left running."""
    preloaded.end()
    embedded.remove_leftovers()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The Postgres that the tests of this worker run on."""
    with running_server() as running:
        yield running


@pytest.fixture(scope="session")
def templates(server: Server, request: pytest.FixtureRequest) -> Iterator[Templates]:
    """The template databases, made when first needed."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    made = Templates(server, f"pymilk_{os.getpid()}_{worker}")
    yield made
    made.drop_all()


@pytest.fixture
def empty_database(templates: Templates) -> Iterator[Database]:
    """Shaped like a Supabase project, with nothing of ours in it."""
    with templates.clone("empty") as database:
        yield database


@pytest.fixture
def baseline(templates: Templates) -> Iterator[Database]:
    """The live schema before any gap is fixed, without rows."""
    with templates.clone("baseline") as database:
        yield database


@pytest.fixture
def dairy(templates: Templates) -> Iterator[Database]:
    """The live schema before any gap is fixed, with the demo dairy's rows."""
    with templates.clone("dairy") as database:
        yield database


def _dairy_at(stage: str, what: str) -> Callable[[Templates], Iterator[Database]]:
    def database(templates: Templates) -> Iterator[Database]:
        with templates.clone(stage) as clone:
            yield clone

    database.__doc__ = what
    return pytest.fixture(name=stage)(database)


for _gap in GAPS:
    globals()[f"dairy_{_gap}"] = _dairy_at(
        f"dairy_{_gap}", f"The demo dairy with the gaps up to {_gap} fixed."
    )


dairy_hardened = _dairy_at("dairy_hardened", "The demo dairy with everything that we have.")
