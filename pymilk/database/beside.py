"""What belongs to a project's schemas and stands beside them: pg_dump leaves it out.

A dump of chosen schemas carries neither privileges that are granted by default in every schema,
nor publications, nor event triggers, nor what the project has set up in the platform's schemas.
Here they are as statements that make them again.
"""

import re
from importlib import resources

from pymilk.database.catalog import OWN_SCHEMAS, PLATFORM_SCHEMAS
from pymilk.database.configuration import read_configuration
from pymilk.database.connection import Connection

_EVENT_TRIGGER = re.compile("(create|alter) event trigger ")
_QUERY = resources.files("pymilk.database").joinpath("beside.sql").read_text(encoding="utf-8")


def read_beside(connection: Connection) -> tuple[str, ...]:
    """The statements, in order, for a superuser to run once the schemas are restored."""
    setups = read_configuration(connection)
    return (*_statements(connection), *(setup.statement for setup in setups))


def read_beside_for_owner(connection: Connection) -> tuple[str, ...]:
    """Those that the project's owner can run, who is no superuser: the role that we are."""
    row = connection.execute("select current_user::regrole::text").fetchone()
    mine = f"alter default privileges for role {row[0] if row else ''} "
    setups = read_configuration(connection)
    return (
        *(
            text
            for text in _statements(connection)
            if not _EVENT_TRIGGER.match(text)
            and (text.startswith(mine) or not text.startswith("alter default privileges"))
        ),
        *(setup.owners for setup in setups),
    )


def _statements(connection: Connection) -> tuple[str, ...]:
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog")
        rows = connection.execute(_QUERY, {"hidden": [*PLATFORM_SCHEMAS, *OWN_SCHEMAS]}).fetchall()
        connection.execute("set local search_path to default")
    return tuple(row[0] for row in rows)
