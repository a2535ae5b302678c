"""The role that others' statements run as: it makes whatever a project has, and reaches nothing.

A superuser's session runs programs (`copy … from program`), reads and writes files and loads
libraries; so would whoever wrote a dump that he loads: with our rights, on our machine. What a role
may not, no statement talks it into, however it is dressed up (`do`, triggers, indexes).

Two things a superuser does beside it, where a statement is recognised piece by piece. He gives what
is the loader's to a role that may make nothing where that is. And he makes event triggers, when all
else is done: before, they would fire in the scripts of extensions, which run as a superuser.
"""

import secrets
from dataclasses import dataclass

from psycopg import conninfo, sql

from pymilk.database.connection import Connection, connect, on_database
from pymilk.database.others_words import Given

LOADER = "pymilk_loader"

# A dump that names no owners belongs to the owner of everything that a project makes.
_OWNER = "postgres"
# What leads out of the database, to whoever is no superuser.
_REACHING_OUT = (
    "pg_execute_server_program",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_create_subscription",
)
# Since 16, who may make roles may only give those that are his to give.
_MAKES_ROLES_SAFELY = 16
# No function of the file's stands in for Postgres's own, and none of its event triggers fires.
_ON_GUARD = "-c search_path=pg_catalog -c session_replication_role=replica"

_IS_THE_LOADERS = """
select
    coalesce(
        pg_catalog.bool_and(pg_catalog.pg_has_role(%(loader)s::name, o.owner, 'member')), false
    )
    and pg_catalog.pg_has_role(%(loader)s::name, %(to)s::name, 'member')
from (
    select c.relowner as owner, c.relnamespace as schema, c.relname as name
    from pg_catalog.pg_class as c
    union all
    select p.proowner, p.pronamespace, p.proname from pg_catalog.pg_proc as p
    union all
    select t.typowner, t.typnamespace, t.typname from pg_catalog.pg_type as t
    union all
    select n.nspowner, 0, n.nspname from pg_catalog.pg_namespace as n
    union all
    select p.pubowner, 0, p.pubname from pg_catalog.pg_publication as p
) as o
left join pg_catalog.pg_namespace as n on o.schema = n.oid
where coalesce(n.nspname, '') = %(schema)s and o.name = %(name)s
"""

_HARMLESS = """
select r.rolname from pg_catalog.pg_roles as r
where
    not r.rolsuper and r.rolname not in (%(loader)s, 'pg_database_owner')
    and not pg_catalog.pg_has_role(%(loader)s::name, r.oid, 'member with admin option')
    and not exists (
        select from pg_catalog.pg_roles as s
        where
            (s.rolsuper or s.rolname = any(%(reaching_out)s))
            and pg_catalog.pg_has_role(r.oid, s.oid, 'member')
    )
"""


@dataclass(frozen=True)
class Loader:
    """A throw-away server, and the role that others' statements run as there.

    Attributes:
        server_url: The superuser's URL of any database there.
        url: The role's URL of the same.
    """

    server_url: str
    url: str

    def new_database(self) -> str:
        """Make an empty database that is the role's own; gives its name."""
        name = f"loaded_{secrets.token_hex(8)}"
        with connect(self.server_url, purpose="restore test") as connection:
            connection.execute(
                sql.SQL("create database {} template template0 owner {}").format(
                    sql.Identifier(name), sql.Identifier(LOADER)
                )
            )
        return name

    def session(self, database: str) -> Connection:
        """The role's session in a database of its own."""
        return connect(on_database(self.url, database), purpose="restore test")

    def guarded(self, database: str) -> Connection:
        """A superuser's session in such a database, in which nothing of it runs by itself."""
        url = conninfo.make_conninfo(on_database(self.server_url, database), options=_ON_GUARD)
        return connect(url, purpose="restore test")


def make_loader(server_url: str) -> Loader:
    """Make the role on a throw-away server, or set it right.

    Args:
        server_url: The superuser's URL of any database there, of which nothing was loaded.

    Raises:
        Problem: The server can't be reached.
    """
    password, role = secrets.token_hex(16), sql.Identifier(LOADER)
    with connect(server_url, purpose="restore test") as connection, connection.transaction():
        found = connection.execute("select from pg_roles where rolname = %s", (LOADER,)).fetchone()
        if found is None:
            connection.execute(sql.SQL("create role {}").format(role))
        safely = connection.info.server_version // 10000 >= _MAKES_ROLES_SAFELY
        connection.execute(
            sql.SQL(
                "alter role {} login nosuperuser createdb {} replication bypassrls password {}"
            ).format(role, sql.SQL("createrole" if safely else "nocreaterole"), password)
        )
        if safely:
            connection.execute(
                sql.SQL("alter role {} set createrole_self_grant = 'set, inherit'").format(role)
            )
        # `supabase db dump` loads rows past the triggers.
        connection.execute(
            sql.SQL("grant set on parameter session_replication_role to {}").format(role)
        )
        _join_what_is_harmless(connection)
    return Loader(server_url, conninfo.make_conninfo(server_url, user=LOADER, password=password))


def make_role(superuser: Connection, name: str) -> None:
    """Make a role that a text names, so that the loader may give to it.

    Raises:
        psycopg.Error: It can't be made.
    """
    superuser.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
    _join_what_is_harmless(superuser)


def is_superuser(connection: Connection, role: str) -> bool:
    """Whether a role of that name is one."""
    found = connection.execute(
        "select from pg_catalog.pg_roles where rolname = %s and rolsuper", (role,)
    )
    return found.fetchone() is not None


def may_be_given(superuser: Connection, given: Given) -> bool:
    """Whether a superuser may give this away for the loader: nothing of a superuser's, nor to one.

    Postgres's own functions are a superuser's: who owned `pg_read_file` could read every file.

    Raises:
        psycopg.Error: There is no such role.
    """
    asked = {"loader": LOADER, "to": given.owner, "schema": given.schema, "name": given.name}
    row = superuser.execute(_IS_THE_LOADERS, asked).fetchone()
    return bool(row and row[0])


def hand_over(session: Connection) -> None:
    """Give what nobody else was given to the owner of everything that a project makes.

    The database and the schemas first: whoever is given something may have to make things where it
    stands, and `reassign owned` goes by no order that could be relied on.

    Args:
        session: The loader's.

    Raises:
        psycopg.Error: It can't be given.
    """
    owner = sql.Identifier(_OWNER)
    session.execute(
        sql.SQL("alter database {} owner to {}").format(sql.Identifier(session.info.dbname), owner)
    )
    schemas = session.execute(
        "select nspname from pg_catalog.pg_namespace where nspowner = %s::regrole", (LOADER,)
    ).fetchall()
    for (schema,) in schemas:
        session.execute(
            sql.SQL("alter schema {} owner to {}").format(sql.Identifier(schema), owner)
        )
    session.execute(
        sql.SQL("reassign owned by {} to {}").format(sql.Identifier(LOADER), sql.Identifier(_OWNER))
    )


def _join_what_is_harmless(superuser: Connection) -> None:
    """Make the loader a member of every role that leads nowhere, so that it may give to them."""
    asked = {"loader": LOADER, "reaching_out": list(_REACHING_OUT)}
    for (name,) in superuser.execute(_HARMLESS, asked).fetchall():
        superuser.execute(
            sql.SQL("grant {} to {} with admin option").format(
                sql.Identifier(name), sql.Identifier(LOADER)
            )
        )
