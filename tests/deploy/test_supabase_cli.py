"""The real Supabase CLI and we agree on one history, in both directions.

Collected only where PYMILK_SUPABASE_CLI names its binary (tests/deploy/conftest.py). It connects by
TCP alone, so that a socket is reached through a forwarder.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import conninfo

from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.survey.adopt import adopt
from pymilk.deploy.survey.drift import find_drift
from pymilk.deploy.survey.status import Standing, read_status
from support.databases import Database
from support.projects import BASELINE, GAP, Toy, deploy_toy
from support.proxy import Cut, proxy

VERSIONS = [stem.partition("_")[0] for stem in (BASELINE, GAP)]


@dataclass(frozen=True)
class Cli:
    """The binary, in a project, on a database, with a home of its own."""

    root: Path
    home: Path
    url: str

    def run(self, *arguments: str) -> str:
        """Run it; gives what it printed."""
        said = subprocess.run(
            [os.environ["PYMILK_SUPABASE_CLI"], *arguments, f"--remote={self.url}", "--yes"],
            cwd=self.root,
            env={
                "HOME": str(self.home),
                "PATH": os.environ["PATH"],
                "SUPABASE_TELEMETRY_DISABLED": "1",
                "DO_NOT_TRACK": "1",
                "SUPABASE_NO_UPDATE_NOTIFIER": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout + said.stderr

    def applied(self) -> list[str]:
        """The versions that it takes for applied."""
        out = self.run("migration", "list", "--output-format", "json")
        document, _ = json.JSONDecoder().raw_decode(out[out.index("{") :])
        return [row["remote"] for row in document["migrations"] if row["remote"]]

    def would_push(self) -> str:
        """What it says of pushing."""
        return self.run("db", "push", "--dry-run")


@contextmanager
def cli_on(database: Database, toy: Toy) -> Iterator[Cli]:
    """The CLI, working on a database."""
    home = toy.root.parent / f"home_{database.name}"
    home.mkdir()
    # Nothing that the CLI does makes this proxy cut a connection: it waits for our own deploys.
    with proxy(database.url, Cut.BEFORE_COMMIT) as forwarder:
        parts = conninfo.conninfo_to_dict(forwarder.url)
        secret = f":{parts['password']}" if "password" in parts else ""
        where = f"postgres{secret}@127.0.0.1:{parts['port']}/{database.name}"
        yield Cli(toy.root, home, f"postgresql://{where}?sslmode=disable")


@pytest.fixture
def cli(toy: Toy, shop: Database) -> Iterator[Cli]:
    with cli_on(shop, toy) as made:
        yield made


def standings(toy: Toy, database: Database) -> list[Standing]:
    project = toy.plan(database).project
    return [row.standing for row in read_status(database.url, project).rows]


def test_it_sees_what_we_adopt_deploy_and_roll_back(cli: Cli, toy: Toy, shop: Database) -> None:
    assert cli.applied() == VERSIONS[:1]
    assert GAP in cli.would_push()
    deploy_toy(toy.plan(shop))
    assert cli.applied() == VERSIONS
    assert "up to date" in cli.would_push()
    roll_back(toy.plan(shop), archive=False)
    assert cli.applied() == VERSIONS[:1]
    # It would apply it again; we don't until it is named.
    assert GAP in cli.would_push()
    assert standings(toy, shop) == [Standing.APPLIED, Standing.HELD]


def test_we_see_what_it_pushes(cli: Cli, toy: Toy, shop: Database) -> None:
    cli.run("db", "push")
    assert cli.applied() == VERSIONS
    assert standings(toy, shop) == [Standing.APPLIED, Standing.APPLIED]
    plan = toy.plan(shop)
    assert find_drift(plan.project, plan.target).moved == ()
    toy.up("select 'another text';")
    assert standings(toy, shop) == [Standing.APPLIED, Standing.EDITED]


def test_a_database_that_it_has_made_is_adopted(toy: Toy, empty_database: Database) -> None:
    with cli_on(empty_database, toy) as cli:
        cli.run("db", "push")
        plan = toy.plan(empty_database)
        adopted = adopt(plan.project, plan.target, plan.policy, None)
        assert (adopted.marked, adopted.version) == ((), VERSIONS[-1])
        assert "up to date" in cli.would_push()


def test_the_row_that_we_write_is_the_one_that_it_writes(
    toy: Toy, shop: Database, empty_database: Database
) -> None:
    """Statement for statement; it leaves the column for rollbacks empty."""
    deploy_toy(toy.plan(shop))
    with cli_on(empty_database, toy) as cli:
        cli.run("db", "push")
    query = "select version, statements, name from supabase_migrations.schema_migrations order by 1"
    ours = shop.connect(autocommit=True).execute(query).fetchall()
    assert ours == empty_database.connect(autocommit=True).execute(query).fetchall()
