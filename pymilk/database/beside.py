"""What belongs to a project's schemas and stands beside them: pg_dump leaves it out.

A dump of chosen schemas carries neither privileges that are granted by default in every schema,
nor publications, nor event triggers, nor what the project has set up in the platform's schemas.
Here they are as statements that make them again.
"""

from importlib import resources

from pymilk.database.catalog import OWN_SCHEMAS, PLATFORM_SCHEMAS
from pymilk.database.configuration import read_configuration
from pymilk.database.connection import Connection

_QUERY = resources.files("pymilk.database").joinpath("beside.sql").read_text(encoding="utf-8")


def read_beside(connection: Connection) -> tuple[str, ...]:
    """The statements, in order, for a superuser to run once the schemas are restored."""
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog")
        rows = connection.execute(_QUERY, {"hidden": [*PLATFORM_SCHEMAS, *OWN_SCHEMAS]}).fetchall()
        connection.execute("set local search_path to default")
    setups = read_configuration(connection)
    return (*(row[0] for row in rows), *(setup.statement for setup in setups))
