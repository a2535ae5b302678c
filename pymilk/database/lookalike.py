"""Making a plain Postgres look like a hosted Supabase project."""

from collections.abc import Iterable
from enum import Enum
from importlib.resources import files

import psycopg
from psycopg import sql

from pymilk.problem import Problem

_BOOTSTRAP_OID = 10  # the role that initdb made: it can't stop being a superuser

_API_ROLES = sql.SQL("anon, authenticated, service_role")


WITH_PASSWORDS = ("postgres", "authenticator")
"""Who logs in by a password."""


class DefaultPrivileges(Enum):
    """What the API's roles get on new tables, sequences and functions in schema public.

    Hosted projects differ in it by age and by choice.
    """

    OPEN = "open"
    """Everything, to anon, authenticated and service_role: what projects had for years."""

    CLOSED = "closed"
    """Nothing. Also what a database needs that a dump is restored into: a dump names only the
    grants that there are, so that the open variant would add its own to every restored object.
    """


def make_supabase_shaped(
    superuser_url: str, *, privileges: DefaultPrivileges = DefaultPrivileges.OPEN
) -> None:
    """Give the database that the URL names the roles, schemas and privileges of Supabase.

    Roles belong to the whole server; they are made where absent. It can be run again, and in
    several databases of one server at once.

    Args:
        superuser_url: Logs in as the superuser `supabase_admin`.
        privileges: What new objects of `postgres` in schema public are granted to the API's roles.

    Raises:
        Problem: the superuser is another one, or `postgres` has to stay a superuser there.
        psycopg.Error: the server refused something else; nothing was changed.
    """
    with psycopg.connect(superuser_url) as connection:
        _refuse_another_superuser(connection)
        connection.execute(shape())
        for creator in ("postgres", "supabase_admin"):
            connection.execute(_default_privileges(creator, privileges))


def give_passwords(
    superuser_url: str, password: str, roles: Iterable[str] = WITH_PASSWORDS
) -> None:
    """Let roles log in with this password: `postgres` and PostgREST's `authenticator`.

    For servers that are reached through TCP; behind a private socket nobody needs one.

    Raises:
        psycopg.Error: the server refused.
    """
    with psycopg.connect(superuser_url) as connection:
        for role in roles:
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(password)
                )
            )


def shape() -> bytes:
    """The statements that give a database the shape, default privileges aside."""
    return files("pymilk.database").joinpath("lookalike.sql").read_bytes()


def _refuse_another_superuser(connection: psycopg.Connection) -> None:
    row = connection.execute(
        """
        select session_user::text, r.rolsuper, b.rolname::text
        from pg_catalog.pg_roles as r, pg_catalog.pg_roles as b
        where r.rolname = session_user and b.oid = %s
        """,
        (_BOOTSTRAP_OID,),
    ).fetchone()
    user, is_superuser, bootstrap = row or ("nobody", False, "nobody")
    if bootstrap == "postgres" or user != "supabase_admin" or not is_superuser:
        raise Problem(
            f"This server was set up for the superuser {bootstrap}, and we are {user}; a Supabase "
            "look-alike needs the superuser supabase_admin, with postgres an ordinary owner.",
            state="Nothing was changed.",
            todo="Set the server up with that superuser: initdb --username=supabase_admin, or "
            "POSTGRES_USER=supabase_admin for a container.",
        )


def _default_privileges(creator: str, privileges: DefaultPrivileges) -> sql.Composed:
    opened = privileges is DefaultPrivileges.OPEN
    return sql.SQL("; ").join(
        sql.SQL("alter default privileges for role {} in schema public {} all on {} {} {}").format(
            sql.Identifier(creator),
            sql.SQL("grant" if opened else "revoke"),
            sql.SQL(kind),
            sql.SQL("to" if opened else "from"),
            _API_ROLES,
        )
        for kind in ("tables", "sequences", "functions")
    )
