"""Step 3: restore the backup and compare. "Not sure whether restore works" ends here."""

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from pymilk.database.connection import Target, connect
from pymilk.database.ledger import Event, Kind, record
from pymilk.database.manifest import Backup, read_backup
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.programs import Programs
from pymilk.database.restore import compare, restore
from pymilk.deploy.backup.backup import record_if_adopted
from pymilk.deploy.backup.shelf import Proof, keep_proof
from pymilk.deploy.basis.evidence import Evidence, RestoreTested
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.problem import Problem


def run(plan: Plan, bench: Bench, evidence: Evidence) -> Evidence:
    """Restore the backup of this deploy into the bench; the copy stays there for the rehearsal.

    Raises:
        Problem: It can't be restored, or what comes back isn't what was backed up.
    """
    tested = run_alone(plan, bench, evidence)
    with connect(plan.target.url, purpose="ledger") as connection:
        if tested.backup and tested.restore_test:
            facts = tested_facts(tested.backup.backup, tested.restore_test)
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


def prove_restore(
    backup: Backup, bench: Bench, programs: Programs, meter: Meter = UNWATCHED
) -> RestoreTested:
    """Restore a backup and prove that everything in it came back; its folder remembers that.

    Raises:
        Problem: It didn't; says which tables or objects.
    """
    started = time.monotonic()
    supply = restore(backup, bench.superuser_url, programs, meter)
    seconds = time.monotonic() - started
    with (
        phase(meter, "comparing"),
        connect(bench.owner_url, purpose="restore test") as connection,
    ):
        found = compare(backup, connection)
    if found.rows_differ:
        raise _differs(backup, "; ".join(found.rows_differ[:5]))
    if found.objects:
        name = min(found.objects.names)
        text = backup.catalog.text_difference(found.catalog, name)
        raise _differs(backup, "; ".join(found.objects.sentences(5)) + f"\n{text}")
    keep_proof(backup.folder, Proof(datetime.now(UTC), seconds, backup.rows))
    return RestoreTested(seconds, len(backup.contents), backup.rows, supply.stood_in)


def prove_and_record(
    folder: Path, bench: Bench, programs: Programs, target: Target, meter: Meter = UNWATCHED
) -> tuple[RestoreTested, str]:
    """Prove a backup that is named, and tell the ledger of the database that it was taken from.

    Returns:
        What was proven; and why the ledger wasn't told, or nothing.

    Raises:
        Problem: It was altered, or doesn't come back as it was.
    """
    backup = read_backup(folder)
    tested = prove_restore(backup, bench, programs, meter)
    if backup.taken_from != target.label:
        return tested, f"it was taken from {backup.taken_from}, not from {target.label}"
    event = Event(Kind.RESTORE_TEST, tested_facts(backup, tested))
    return tested, record_if_adopted(target, event)


def tested_facts(backup: Backup, tested: RestoreTested) -> dict[str, object]:
    """What the ledger keeps of a restore test."""
    return {"folder": backup.folder.name, **asdict(tested)}


def _differs(backup: Backup, how: str) -> Problem:
    return Problem(
        f"The backup {backup.folder.name} doesn't restore to what was backed up: {how}",
        state="Nothing was changed in the database it was taken from.",
        todo="Don't deploy: there is no way back yet. Take another backup; if it differs again,"
        " the objects named are what pg_dump doesn't carry.",
    )
