"""What the platform's services keep in a project's database, stood in for.

Triggers on auth.users, policies on storage.objects, foreign keys, extensions that every new project
has: a project's files refer to them, and on a copy they have to be there. The services themselves
are not: nobody signs up, no file is stored, nothing is broadcast or sent.
"""

from importlib.resources import files

from pymilk.database.connection import Connection, connect
from pymilk.database.extensions import Extension, make_extension, supply_of
from pymilk.database.lookalike import shape

# Each with a file of that name; the publication of realtime is owned by postgres.
SERVICES = ("auth", "storage", "realtime", "supabase_functions")

# What a new project has before its first migration.
PREINSTALLED = (
    Extension("uuid-ossp", "extensions"),
    Extension("pgcrypto", "extensions"),
    Extension("pg_stat_statements", "extensions"),
    Extension("pg_graphql", "graphql"),
    Extension("supabase_vault", "vault"),
)

_FOLDER = files("pymilk.database").joinpath("stand_ins/services")


def stand_in_for_services(superuser_url: str) -> None:
    """Give a Supabase-shaped database what the services and a new project's extensions keep in it.

    It can be run again: what is there stays as it is.

    Args:
        superuser_url: Logs in as the superuser `supabase_admin`.

    Raises:
        Problem: the database doesn't answer.
        psycopg.Error: the server refused something; nothing was changed.
    """
    with connect(superuser_url, purpose="stand-ins") as connection, connection.transaction():
        supply = supply_of(connection, (extension.name for extension in PREINSTALLED))
        for extension in PREINSTALLED:
            if extension.name not in supply.lacking:
                make_extension(connection, extension)
        for service in SERVICES:
            if not _is_there(connection, service):
                connection.execute(_FOLDER.joinpath(f"{service}.sql").read_bytes())


def platform_text() -> bytes:
    """The same in statements, for somebody who is no superuser: what he may not, he leaves out."""
    extensions = b"".join(
        f"create schema if not exists {each.schema};"
        f'create extension if not exists "{each.name}" with schema {each.schema} cascade;'.encode()
        for each in PREINSTALLED
    )
    services = [_FOLDER.joinpath(f"{service}.sql").read_bytes() for service in SERVICES]
    return b"\n".join((shape(), extensions, *services))


def _is_there(connection: Connection, service: str) -> bool:
    row = connection.execute(
        "select exists (select from pg_catalog.pg_class where relnamespace = to_regnamespace(%s))",
        (service,),
    ).fetchone()
    return bool(row and row[0])
