"""What Postgres itself says of a project's functions, on a scratch server that replays its files.

A function that was created says nothing about whether it is right: its body is looked at when it
is made, and only as far as it is asked to. Here each is made once more with everything asked.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg

from pymilk.database.catalog import project_schemas
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Connection, connect
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.extensions import supply_of
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.deploy.change.replay import empty_project, replay_one
from pymilk.deploy.change.script import ScriptFailed
from pymilk.project.finding import Finding, Looked
from pymilk.project.functions import makes_function, read_declaration
from pymilk.project.migrations import Script, read_script
from pymilk.project.project import Project

_NEAR = re.compile(r"near line (\d+)|, line (\d+) at")
_FAILED = re.compile(r"^(\S+), line (\d+): (.*)$|^(\S+): (.*)$", re.DOTALL)
_CHECKER = "plpgsql_check"


@dataclass(frozen=True)
class Place:
    """Where a function is written: the file, and the line that its body begins on."""

    file: str
    line: int


def lint_on_server(server: EmbeddedServer, project: Project) -> Looked:
    """Replay the files on a scratch server, and let Postgres compile every function once more."""
    places = _places(project)
    with empty_project(server, DefaultPrivileges.OPEN) as connection:
        replayed = _replayed(connection, project)
        connection.execute("reset all")
        compiled = [
            found
            for oid, name in _functions(connection)
            for found in _compiled(connection, oid, places.get(name, Place(name, 1)))
        ]
        return replayed + Looked(tuple(compiled)) + _checked(server, connection, places)


def _replayed(connection: Connection, project: Project) -> Looked:
    for migration in project.migrations:
        try:
            replay_one(connection, migration.up)
        except ScriptFailed as problem:
            note = f"what {migration.stem} and later files make was not compiled"
            return Looked((_failed(problem),), (note,))
    return Looked()


def _failed(problem: ScriptFailed) -> Finding:
    found = _FAILED.match(problem.happened)
    if found is None:
        return Finding("supabase", 1, "replay", problem.happened)
    file, line, said = found[1] or found[4], int(found[2] or 1), found[3] or found[5]
    return Finding(f"supabase/{file}", line, "replay", f"on an empty project: {said}")


def _functions(connection: Connection) -> list[tuple[int, str]]:
    """The project's functions in plpgsql and SQL: oid and name."""
    rows = connection.execute(
        "select p.oid, n.nspname || '.' || p.proname from pg_catalog.pg_proc as p"
        " inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid"
        " inner join pg_catalog.pg_language as l on p.prolang = l.oid"
        " where n.nspname = any(%s) and l.lanname in ('plpgsql', 'sql') and p.prokind in ('f', 'p')"
        " and not exists (select from pg_catalog.pg_depend as d where d.objid = p.oid"
        " and d.classid = 'pg_proc'::regclass and d.deptype = 'e')"
        " order by 2, p.oid",
        (list(project_schemas(connection)),),
    ).fetchall()
    return [(oid, name) for oid, name in rows]


def _compiled(connection: Connection, oid: int, place: Place) -> Iterator[Finding]:
    row = connection.execute("select pg_catalog.pg_get_functiondef(%s)", (oid,)).fetchone()
    definition = str(row[0]) if row else ""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local plpgsql.extra_errors = 'all'")
            connection.execute("set local check_function_bodies = on")
            connection.execute(definition.encode())
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error)
        yield Finding(place.file, place.line + _lines_into_body(error, definition), "compile", said)


def _lines_into_body(error: psycopg.Error, definition: str) -> int:
    """How many lines after the one that the body begins on."""
    if error.diag.statement_position is not None:
        body = re.search(r"^AS \$\w*\$", definition, re.MULTILINE)
        start = body.end() if body else 0
        return max(definition.count("\n", start, int(error.diag.statement_position) - 1), 0)
    near = _NEAR.search(error.diag.context or "")
    return int(near[1] or near[2]) - 1 if near else 0


def _checked(server: EmbeddedServer, connection: Connection, places: Mapping[str, Place]) -> Looked:
    """What plpgsql_check says, where the server has it: names in bodies that aren't there."""
    if not supply_of(connection, (_CHECKER,)).real:
        note = f"{_CHECKER} is not on the scratch server: names in bodies were not looked up"
        return Looked(notes=(note,))
    with connect(server.url(connection.info.dbname, SUPERUSER), purpose="lint") as superuser:
        superuser.execute(f"create extension if not exists {_CHECKER}")
        rows = superuser.execute(
            "select n.nspname || '.' || p.proname, coalesce(c.lineno, 1), c.message"
            " from pg_catalog.pg_proc as p"
            " inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid"
            " inner join pg_catalog.pg_language as l on p.prolang = l.oid,"
            " plpgsql_check_function_tb(p.oid) as c"
            " where n.nspname = any(%s) and l.lanname = 'plpgsql'"
            " and p.prorettype <> 'trigger'::regtype and c.level = 'error'",
            (list(project_schemas(superuser)),),
        ).fetchall()
    found = []
    for name, line, message in rows:
        place = places.get(name, Place(name, 1))
        found.append(Finding(place.file, place.line + line - 1, _CHECKER, message))
    return Looked(tuple(found))


def _places(project: Project) -> Mapping[str, Place]:
    """Function → where it is written last: its own file where there is one, else a migration."""
    places: dict[str, Place] = {}
    scripts = [migration.up for migration in project.migrations]
    folder = project.root / project.functions
    scripts += [read_script(path) for path in sorted(folder.rglob("*.sql"))]
    for script in scripts:
        for name, line in _made_in(script):
            file = script.path.relative_to(project.root).as_posix()
            places[name] = Place(file, line)
    return places


def _made_in(script: Script) -> Iterator[tuple[str, int]]:
    for statement in script.statements:
        if not makes_function(statement):
            continue
        name = read_declaration(statement.text).name.replace('"', "")
        body = re.search(r"\bas\s+(\$\w*\$|')", statement.text, re.IGNORECASE)
        before = statement.text[: body.end()] if body else ""
        line = statement.starts + before.count("\n")
        yield (name if "." in name else f"public.{name}"), line
