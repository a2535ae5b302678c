"""Step 3: restore the backup and compare. "Not sure whether restore works" ends here."""

import time
from dataclasses import asdict, replace

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.contents import differing_tables, read_all_contents, read_tables
from pymilk.database.ledger import Event, Kind, record
from pymilk.database.manifest import Backup, read_backup
from pymilk.database.programs import Programs
from pymilk.database.restore import restore
from pymilk.deploy.evidence import Evidence, RestoreTested
from pymilk.deploy.plan import Bench, Plan
from pymilk.problem import Problem


def run(plan: Plan, bench: Bench, evidence: Evidence) -> Evidence:
    """Restore the backup of this deploy into the bench; the copy stays there for the rehearsal.

    Raises:
        Problem: It can't be restored, or what comes back isn't what was backed up.
    """
    tested = run_alone(plan, bench, evidence)
    with connect(plan.target.url, purpose="ledger") as connection:
        facts = asdict(tested.restore_test) if tested.restore_test else {}
        record(connection, Event(Kind.RESTORE_TEST, facts, run=plan.run))
    return tested


def run_alone(plan: Plan, bench: Bench, evidence: Evidence) -> Evidence:
    """The same on a backup that somebody named: there is no ledger to write to.

    Raises:
        Problem: It can't be restored, or what comes back isn't what was backed up.
    """
    if evidence.backup is None:
        raise AssertionError("the restore test comes after the backup")
    tested = prove_restore(read_backup(evidence.backup.backup.folder), bench, plan.programs)
    return replace(evidence, restore_test=tested)


def prove_restore(backup: Backup, bench: Bench, programs: Programs) -> RestoreTested:
    """Restore a backup and prove that everything in it came back.

    Raises:
        Problem: It didn't; says which tables or objects.
    """
    started = time.monotonic()
    restore(backup, bench.superuser_url, programs)
    seconds = time.monotonic() - started
    with connect(bench.owner_url, purpose="restore test") as connection:
        contents = read_all_contents(connection, read_tables(connection, backup.schemas))
        catalog = read_catalog(connection)
    tables = differing_tables(backup.contents, contents)
    if tables:
        raise _differs(backup, "rows differ in " + "; ".join(tables[:5]))
    objects = backup.catalog.difference(catalog)
    if objects:
        name = next(iter(sorted(objects.names)))
        text = backup.catalog.text_difference(catalog, name)
        raise _differs(backup, "; ".join(objects.sentences(5)) + f"\n{text}")
    return RestoreTested(seconds, len(contents), sum(found.rows for found in contents.values()))


def _differs(backup: Backup, how: str) -> Problem:
    return Problem(
        f"The backup {backup.folder.name} doesn't restore to what was backed up: {how}",
        state="Nothing was changed in the database it was taken from.",
        todo="Don't deploy: there is no way back yet. Take another backup; if it differs again,"
        " the objects named are what pg_dump doesn't carry.",
    )
