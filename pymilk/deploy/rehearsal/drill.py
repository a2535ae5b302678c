"""The drill without a live database: every migration both ways, then the way back at night.

All migrations go onto an empty database shaped like a Supabase project, each rehearsed in full, on
the project's own demo or seed. Then, with everything used, the rollbacks go from the newest to the
oldest as `pymilk rollback` does them, and all migrations go up again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pymilk.database.catalog import describe_difference, project_schemas, read_catalog
from pymilk.database.connection import Connection, Target, connect
from pymilk.database.contents import Contents, differing_tables, read_all_contents, read_tables
from pymilk.database.history import prepare_history, read_versions, record_applied
from pymilk.database.ledger import prepare_ledger
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.database.programs import find_programs
from pymilk.deploy.basis.evidence import Rehearsed
from pymilk.deploy.basis.plan import Bench, CopyAt, Plan
from pymilk.deploy.change.script import run_script
from pymilk.deploy.rehearsal.bench import open_bench
from pymilk.deploy.rehearsal.failed import UNCHANGED, RehearsalFailed
from pymilk.deploy.rehearsal.on_the_copy import down_as_at_night, up_as_deploy
from pymilk.deploy.rehearsal.rehearsal import rehearse, without
from pymilk.project.migrations import Migration, read_script
from pymilk.project.policy import Preset
from pymilk.project.project import Project, Revision

# That of hosted projects; it counts where the copy is made in a container.
_MAJOR = 17


@dataclass(frozen=True)
class Night:
    """The way back, from the newest to the oldest that has one, and up again.

    Attributes:
        rolled_back: Migration → seconds that its rollback took, in the order in which they went.
        rows_kept: How many rows the archive took on the way.
        rewritten: Tables whose rows are others now, because a migration writes to them itself or
            newer values stood in the archived ones' place. Every other table is as it was.
        stays: Why it went no further back; empty where it went all the way.
    """

    rolled_back: Mapping[str, float]
    rows_kept: int
    rewritten: tuple[str, ...]
    stays: str


@dataclass(frozen=True)
class Drill:
    """A drill that went well.

    Attributes:
        first: What was there before: the baseline's version.
        rehearsed: Every migration, as rehearsed.
        night: The way back.
        seconds: How long all of it took.
    """

    first: str
    rehearsed: tuple[Rehearsed, ...]
    night: Night
    seconds: float


def run_drill(
    project: Project,
    copy: CopyAt,
    first_day: Callable[[str, Project], None],
    told: Callable[[str], None],
) -> Drill:
    """Rehearse every migration from nothing, and go back from the newest to the oldest.

    Args:
        project: Whose migrations.
        copy: On what kind of server.
        first_day: Puts the project's baseline and its demo rows into an empty database. Where it
            does nothing, the first migration does, and supabase/seed.sql comes after the last one.
        told: Hears a line of what was proven, while it goes on.

    Raises:
        Problem: Something did not hold; says which migration.
    """
    started = time.perf_counter()
    with open_bench(copy, None, _MAJOR, DefaultPrivileges.OPEN) as bench:
        first_day(bench.owner_url, project)
        with connect(bench.owner_url, purpose="drill") as connection:
            prepare_history(connection)
            prepare_ledger(connection)
            seeded = bool(read_versions(connection))
            if not seeded:
                _begin(connection, project)
            there = read_versions(connection)
            plans = tuple(
                _plan(project, bench, migration)
                for migration in project.migrations
                if migration.version not in there
            )
            rehearsed = []
            for plan in plans:
                rehearsed.append(rehearse(plan, bench))
                told(f"{plan.migration.stem}: both ways")
            if not seeded:
                _seed(connection, project)
            night = _night(connection, bench, plans, told)
    return Drill(", ".join(there), tuple(rehearsed), night, time.perf_counter() - started)


def _begin(connection: Connection, project: Project) -> None:
    """The first migration is what everything stands on; its workload brings the first rows."""
    for baseline in project.migrations[:1]:
        with connection.transaction():
            run_script(connection, baseline.up)
            record_applied(connection, baseline)
        if baseline.use is not None:
            with connection.transaction():
                run_script(connection, baseline.use)


def _night(
    connection: Connection, bench: Bench, plans: tuple[Plan, ...], told: Callable[[str], None]
) -> Night:
    schema, rows = read_catalog(connection), _contents(connection)
    undone: list[tuple[Plan, float]] = []
    kept, stays = 0, ""
    excused: set[str] = set()
    for plan in reversed(plans):
        if plan.migration.down is None:
            stays = f"{plan.migration.stem} has no rollback"
            break
        back = down_as_at_night(bench, plan)
        undone.append((plan, back.seconds))
        kept += sum(loss.rows for loss in back.kept)
        excused |= {loss.table.qualified for loss in back.kept if loss.kind == "changed"}
        told(f"{plan.migration.stem}: rolled back in {back.seconds:.2f} s")
    for plan, _ in reversed(undone):
        again = up_as_deploy(connection, bench, plan)
        excused |= again.wrote | set(again.left)
    told(f"{len(undone)} deployed again")
    now = read_catalog(connection)
    if schema.difference(now):
        raise RehearsalFailed(
            "Rolled back to the oldest and deployed again, the schema isn't what it was: "
            + describe_difference(schema, now),
            state=UNCHANGED,
            todo="Rehearse each migration by itself: its rollback depends on a later one.",
        )
    there_again = _contents(connection)
    differing = differing_tables(without(rows, excused), without(there_again, excused))
    if differing:
        raise RehearsalFailed(
            "Rolled back to the oldest and deployed again, the rows aren't what they were:"
            f" {'; '.join(differing[:5])}",
            state=UNCHANGED,
            todo="What one rollback keeps, another one's deploy has to leave room for.",
        )
    rewritten = tuple(sorted(name for name in excused if rows.get(name) != there_again.get(name)))
    return Night({plan.migration.stem: s for plan, s in undone}, kept, rewritten, stays)


def _plan(project: Project, bench: Bench, migration: Migration) -> Plan:
    return Plan(
        project=project,
        migration=migration,
        target=Target(bench.owner_url, Preset.LOCAL),
        policy=project.policy(Preset.LOCAL),
        programs=find_programs(),
        revision=Revision(None, ()),
    )


def _seed(connection: Connection, project: Project) -> None:
    path = project.root / "supabase" / "seed.sql"
    if path.is_file():
        with connection.transaction():
            run_script(connection, read_script(path))


def _contents(connection: Connection) -> Mapping[str, Contents]:
    return read_all_contents(connection, read_tables(connection, project_schemas(connection)))
