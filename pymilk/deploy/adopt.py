"""Take a database into care that has tables and no history: compare it, then mark the baseline."""

from dataclasses import dataclass

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.connection import Connection, Target, connect
from pymilk.database.embedded import scratch
from pymilk.database.history import prepare_history, read_history, record_applied
from pymilk.database.ledger import Event, Kind, prepare_ledger, record
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.deploy.checks import owner_check, session_check
from pymilk.deploy.lock import only_deploy
from pymilk.deploy.preflight import named, refuse_failed
from pymilk.deploy.script import run_script
from pymilk.problem import Problem, UsageProblem
from pymilk.project.migrations import Migration
from pymilk.project.policy import Policy
from pymilk.project.project import Project


@dataclass(frozen=True)
class Adopted:
    """A database taken into care.

    Attributes:
        version: The baseline that was marked as applied.
        name: Its name.
        objects: How many objects were compared.
        differences: Objects that differ, accepted with a reason.
    """

    version: str
    name: str
    objects: int
    differences: tuple[str, ...]


def adopt(project: Project, target: Target, policy: Policy, reason: str | None) -> Adopted:
    """Compare the live schema with the baseline; mark the baseline as applied when it is the same.

    Args:
        project: Whose first migration is the baseline.
        target: The database.
        policy: How long to wait for another deploy.
        reason: Why differences are accepted, if they are.

    Raises:
        Problem: The schemas differ and no reason was given, or there is a history already.
    """
    if not project.migrations:
        raise UsageProblem(
            "There is no migration to adopt with.",
            state="No database was touched.",
            todo="Write the live schema as the first migration in supabase/migrations.",
        )
    baseline = project.migrations[0]
    with only_deploy(target, "adopt", policy.wait_for_other_deploy_seconds) as connection:
        if read_history(connection):
            raise Problem(
                "The database has a migration history already; there is nothing to adopt.",
                state="Nothing was changed.",
                todo="'pymilk status' shows it; deploying works from there.",
            )
        refuse_failed(
            (
                named("role", owner_check(connection)),
                named("session", session_check(connection, target.url)),
            )
        )
        expected = _expected(baseline, _privileges(connection))
        live = read_catalog(connection)
        difference = expected.difference(live)
        if difference and not reason:
            name = min(difference.names)
            raise Problem(
                f"The live schema isn't the baseline {baseline.stem}: "
                + "; ".join(difference.sentences())
                + f"\n{expected.text_difference(live, name)}",
                state="Nothing was changed.",
                todo="Make the baseline say what is live. Or accept the difference:"
                " --override drift='your reason'.",
            )
        differences = tuple(sorted(difference.names))
        _mark(connection, baseline, live, {"differences": differences, "reason": reason})
    return Adopted(baseline.version, baseline.name, len(live.objects), differences)


def _privileges(connection: Connection) -> DefaultPrivileges:
    """Which default privileges the project has: they differ between projects and over time."""
    row = connection.execute(
        "select exists (select from pg_default_acl as d, aclexplode(d.defaclacl) as x"
        " where d.defaclobjtype = 'r' and d.defaclrole = to_regrole(current_user::text)"
        " and x.grantee = to_regrole('anon'))"
    ).fetchone()
    return DefaultPrivileges.OPEN if row and row[0] else DefaultPrivileges.CLOSED


def _expected(baseline: Migration, privileges: DefaultPrivileges) -> Catalog:
    """The schema that the baseline makes, on an empty Supabase-shaped database."""
    with (
        scratch(privileges=privileges) as server,
        connect(server.url(), purpose="adopt") as connection,
    ):
        with connection.transaction():
            run_script(connection, baseline.up)
        return read_catalog(connection)


def _mark(
    connection: Connection, baseline: Migration, live: Catalog, evidence: dict[str, object]
) -> None:
    with connection.transaction():
        prepare_history(connection)
        prepare_ledger(connection)
        record_applied(connection, baseline)
        record(
            connection,
            Event(
                Kind.ADOPT,
                evidence,
                version=baseline.version,
                name=baseline.name,
                checksum=baseline.up.checksum,
                after=live,
            ),
        )
