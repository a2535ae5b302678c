"""Use what was deployed, on the copy, as people will: so that its rollback meets their rows.

A project says how in supabase/use/<stem>.sql: through the real functions, as the app's roles, on
rows of its own or on those that are there. The workloads of earlier migrations run as well: what
people could do before has to go on. Each may run any number of times.

Rows that a program makes up from the catalog alone would prove nothing: where there is no workload
the rehearsal says so.
"""

import time
from collections.abc import Iterable

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.connection import Connection
from pymilk.deploy.basis.evidence import Used
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.figures import newly_violating, read_violations
from pymilk.deploy.change.row_proof import read_marks, tables_written
from pymilk.deploy.change.script import run_script
from pymilk.problem import Problem
from pymilk.project.migrations import Migration, Script


class BadWorkload(Problem):
    """A workload did what no workload may."""


def use(
    connection: Connection,
    plan: Plan,
    earlier: Iterable[Migration],
    schema: Catalog,
    invariants: tuple[Script, ...],
) -> Used:
    """Run the workloads on what was deployed, and keep what they do.

    Args:
        connection: To the copy, outside of any transaction.
        plan: Whose migration is deployed there.
        earlier: The migrations that were deployed before it, oldest first.
        schema: What is there now.
        invariants: Those of the project that can be read there.

    Raises:
        ScriptFailed: A workload failed.
        BadWorkload: It changed the schema, or broke an invariant.
    """
    workloads = [one.use for one in (*earlier, plan.migration) if one.use is not None]
    started = time.perf_counter()
    written = {
        table
        for workload in workloads
        for table in _run(connection, plan, workload, schema, invariants)
    }
    if not written:
        return Used(unused=f"no workload: supabase/use/{plan.migration.stem}.sql")
    names = tuple(workload.short_path for workload in workloads)
    return Used(names, "", time.perf_counter() - started, tuple(sorted(written)))


def _run(
    connection: Connection,
    plan: Plan,
    workload: Script,
    schema: Catalog,
    invariants: tuple[Script, ...],
) -> frozenset[str]:
    """Run one workload and keep what it does; gives the tables that it wrote to."""
    with connection.transaction():
        violations = read_violations(connection, invariants)
        marks = read_marks(connection)
        run_script(connection, workload)
        written = tables_written(connection, marks)
        connection.execute("discard temporary")
        changed = schema.difference(read_catalog(connection))
        if changed:
            raise BadWorkload(
                f"{workload.short_path} changes the schema: {'; '.join(changed.sentences())}",
                todo="A workload does what people do: it writes rows, and makes nothing.",
            )
        broken = newly_violating(violations, read_violations(connection, invariants))
        if broken:
            raise BadWorkload(
                f"Used as people will, {plan.migration.label} breaks {len(broken)} invariant(s):"
                f" {'; '.join(broken[:5])}",
                todo=f"Mend the migration, or {workload.short_path} where it does what the app"
                " can't.",
            )
    return written
