"""A live schema written down as a first migration: pg_dump's text of what is the project's.

With it what the project has on the platform's tables (triggers, policies), its publications,
buckets and jobs: pg_dump leaves those out of a dump of schemas.
"""

from collections.abc import Iterator

from pymilk.database.beside import read_beside_for_owner
from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection
from pymilk.database.dump import schema_text
from pymilk.database.programs import Programs
from pymilk.project.statements import Statement, split

_HEAD = """\
-- The live schema as it was found when pymilk took it into care ({when}).
--
-- irreversible: the history starts here; there is nothing before it to go back to
--
-- It is written down as it is, and was never run there: pymilk adopt marks it as applied.

set check_function_bodies = false;
select pg_catalog.set_config('search_path', '', false);

-- Every grant is named below; what a project's defaults would add is none of them.
alter default privileges in schema public
revoke all on tables from anon, authenticated, service_role;
alter default privileges in schema public
revoke all on sequences from anon, authenticated, service_role;
alter default privileges in schema public
revoke all on functions from anon, authenticated, service_role;

"""

# What pg_dump says of the schema that every database has, and of the platform's own defaults.
_NOT_OURS = (
    ("create", "schema", "public"),
    ("alter", "schema", "public"),
    ("comment", "on", "schema", "public"),
    ("alter", "default", "privileges", "for", "role", "supabase_admin"),
)


def baseline_text(connection: Connection, url: str, programs: Programs) -> str:
    """The text of a migration that makes the live schema of an empty Supabase project.

    Raises:
        Problem: pg_dump failed.
    """
    row = connection.execute("select to_char(now(), 'YYYY-MM-DD')").fetchone()
    dumped = schema_text(url, programs, project_schemas(connection))
    sql = "\n".join(line for line in dumped.splitlines() if not line.startswith("\\"))
    ours = [each for each in split(sql) if _is_ours(each)]
    schemas = [each for each in ours if each.words[:2] == ("create", "schema")]
    statements = [
        # Extensions may be in schemas of the project's own, and what follows may need them.
        *map(_bare, schemas),
        *_extensions(connection),
        *(_bare(each) for each in ours if each not in schemas),
        *read_beside_for_owner(connection),
    ]
    return _HEAD.format(when=row[0] if row else "") + "".join(f"{each};\n\n" for each in statements)


def _is_ours(statement: Statement) -> bool:
    words = statement.words
    if statement.only_comment or words[:1] == ("set",) or "set_config" in words:
        return False
    return not any(words[: len(start)] == start for start in _NOT_OURS)


def _bare(statement: Statement) -> str:
    """Without pg_dump's heading, which names an owner and an oid's kind and nothing else."""
    return "\n".join(statement.text.splitlines()[statement.line - statement.starts :])


def _extensions(connection: Connection) -> Iterator[str]:
    rows = connection.execute(
        "select format('create extension if not exists %I with schema %I', e.extname, n.nspname)"
        " from pg_catalog.pg_extension as e"
        " inner join pg_catalog.pg_namespace as n on e.extnamespace = n.oid"
        " where e.extname <> 'plpgsql' order by e.extname"
    )
    yield from (row[0] for row in rows)
