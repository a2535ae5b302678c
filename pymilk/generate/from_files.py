"""A database to read that the project's files have made."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pymilk.database import embedded
from pymilk.database.connection import Connection, connect, first_line
from pymilk.deploy.change.replay import replay_one
from pymilk.problem import Problem
from pymilk.project.function_files import read_function_files
from pymilk.project.project import Project


@contextmanager
def replayed(project: Project) -> Iterator[Connection]:
    """A throw-away database that the project's files have made: migrations, then function files.

    So a function whose file no migration quotes yet is there as well.

    Raises:
        ScriptFailed: A migration fails there.
        Problem: A function file does.
    """
    with embedded.scratch() as server, connect(server.url(), purpose="generate") as connection:
        for migration in project.migrations:
            replay_one(connection, migration.up)
        connection.execute("reset all")
        if (project.root / project.functions).is_dir():
            _run_function_files(connection, project)
        yield connection


def _run_function_files(connection: Connection, project: Project) -> None:
    for file in read_function_files(project).values():
        try:
            with connection.transaction():
                connection.execute("set local check_function_bodies = off")  # in any order
                connection.execute(file.text.encode())
        except psycopg.Error as error:
            raise Problem(
                f"{file.path} fails on a new database: {first_line(error)}",
                state="No file was written.",
                todo="Mend it; or read the functions from a database that has them: --db-url.",
            ) from error
