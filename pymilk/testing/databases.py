"""Databases for tests: a project's migrations replayed once, and a copy of that for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import psycopg
from psycopg import sql

from pymilk.database.cluster import SUPERUSER
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.deploy.change.replay import empty_project, replay_one
from pymilk.project.project import Project

_numbers = count(1)


@dataclass(frozen=True)
class Template:
    """A database with a project's migrations in it, to be copied.

    Attributes:
        server: Where it is.
        name: Its name there.
    """

    server: EmbeddedServer
    name: str

    @contextmanager
    def copy(self) -> Iterator[str]:
        """A database like it, dropped when the block ends; gives its owner's URL."""
        name = f"test_{next(_numbers)}"
        self._run("create database {} template {} owner postgres", name, self.name)
        try:
            yield self.server.url(name)
        finally:
            self._run("drop database {} with (force)", name)

    def _run(self, statement: str, *names: str) -> None:
        url = self.server.url("postgres", SUPERUSER)
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def migrated(project: Project) -> Iterator[Template]:
    """A project's migrations on a throw-away server, shaped like a Supabase project.

    Raises:
        ScriptFailed: A migration fails there; says which statement.
    """
    with scratch() as server, empty_project(server, DefaultPrivileges.OPEN) as connection:
        for migration in project.migrations:
            replay_one(connection, migration.up)
        name = connection.info.dbname
        connection.close()  # nobody may be in a database that is copied
        yield Template(server, name)
