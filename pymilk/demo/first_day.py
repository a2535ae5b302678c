"""The embedded database on its first day: the baseline and the demo dairy, as live as it gets."""

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.history import history_exists, prepare_history, record_applied
from pymilk.database.ledger import Event, Kind, prepare_ledger, record
from pymilk.demo.dairy import load
from pymilk.deploy.change.script import run_script
from pymilk.project.project import Project


def prepare_first_day(url: str, project: Project) -> None:
    """Put the baseline and the demo rows into an empty embedded database; once, all or nothing.

    A project asks for it with `demo = "dairy"` under [tool.pymilk]; any other project's embedded
    database stays as it is.
    """
    with connect(url, purpose="first day") as connection:
        if project.settings.get("demo") != "dairy" or not project.migrations:
            return
        if history_exists(connection):
            return
        with connection.transaction():
            # Two commands at once on an empty database: the second waits, then finds it done.
            connection.execute("select pg_advisory_xact_lock(hashtext('pymilk first day'))")
            if history_exists(connection):
                return
            baseline = project.migrations[0]
            run_script(connection, baseline.up)
            load(connection)
            prepare_history(connection)
            prepare_ledger(connection)
            record_applied(connection, baseline)
            record(
                connection,
                Event(
                    Kind.ADOPT,
                    {"demo": "dairy"},
                    version=baseline.version,
                    name=baseline.name,
                    checksum=baseline.up.checksum,
                    after=read_catalog(connection),
                ),
            )
